"""Pictures: rows and arrays in, plotly Figures out. Nothing here measures, reads a file or keeps a state.

style      palette, template, parts of figures      memory      memory_bars
timings    compare_bars, race, prefill_decode,      quantized   quantization, perplexity_points
           bench_panel                              kernels     ladder, roofline, kernel_bench
"""

from .kernels import kernel_bench, ladder, roofline
from .memory import COMPONENTS, memory_bars
from .quantized import FLOOR_DB, perplexity_points, quantization
from .timings import bench_panel, compare_bars, prefill_decode, race

__all__ = [
    "COMPONENTS",
    "FLOOR_DB",
    "bench_panel",
    "compare_bars",
    "kernel_bench",
    "ladder",
    "memory_bars",
    "perplexity_points",
    "prefill_decode",
    "quantization",
    "race",
    "roofline",
]
