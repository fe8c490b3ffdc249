"""Tools that move: each a pure state function, a pure figure of it in slmlab.figures, and a thin view.

bench_panel.state, figures.bench_panel, BenchPanel
kernel_bench.state, figures.kernel_bench, KernelBench
memory_budget.state, figures.memory_bars, MemoryBudget
quantization_explorer.state, figures.quantization, QuantizationExplorer
"""

from .bench_panel import BenchPanel
from .kernel_bench import KernelBench
from .memory_budget import MemoryBudget
from .quantization_explorer import QuantizationExplorer, Settings

__all__ = ["BenchPanel", "KernelBench", "MemoryBudget", "QuantizationExplorer", "Settings"]
