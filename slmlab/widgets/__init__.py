"""Tools that move: each a pure state function, a pure figure of it in slmlab.figures, and a thin view.

bench_panel.state, figures.bench_panel, BenchPanel
bit_inspector.state, figures.bit_inspector, BitInspector
energy_model.state, figures.energy_bars, EnergyModel
kernel_bench.state, figures.kernel_bench, KernelBench
memory_budget.state, figures.memory_bars, MemoryBudget
ple_inspector.state, figures.ple_inspector, PLEInspector
quantization_explorer.state, figures.quantization, QuantizationExplorer
talk.state, figures.talk, TalkToAMini
ternary_explorer.state, figures.ternary_rounding, TernaryExplorer
think_budget.state, figures.think_budget, ThinkBudget
training_race.state, figures.training_race, TrainingRace
"""

from .bench_panel import BenchPanel
from .bit_inspector import BitInspector
from .energy_model import EnergyModel
from .kernel_bench import KernelBench
from .memory_budget import MemoryBudget
from .ple_inspector import PLEInspector
from .quantization_explorer import QuantizationExplorer, Settings
from .talk import TalkToAMini
from .ternary_explorer import TernaryExplorer
from .think_budget import ThinkBudget
from .training_race import TrainingRace

__all__ = [
    "BenchPanel",
    "BitInspector",
    "EnergyModel",
    "KernelBench",
    "MemoryBudget",
    "PLEInspector",
    "QuantizationExplorer",
    "Settings",
    "TalkToAMini",
    "TernaryExplorer",
    "ThinkBudget",
    "TrainingRace",
]
