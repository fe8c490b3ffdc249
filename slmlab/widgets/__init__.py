"""Tools that move: each a pure state function, a pure figure of it in slmlab.figures, and a thin view.

memory_budget.state, figures.memory_bars, MemoryBudget
quantization_explorer.state, figures.quantization, QuantizationExplorer
"""

from .memory_budget import MemoryBudget
from .quantization_explorer import QuantizationExplorer, Settings

__all__ = ["MemoryBudget", "QuantizationExplorer", "Settings"]
