"""Pictures: rows and arrays in, plotly Figures out. Nothing here measures, reads a file or keeps a state.

style      palette, template, parts of figures      memory      memory_bars
timings    compare_bars, race, prefill_decode,      quantized   quantization, perplexity_points
           bench_panel                              kernels     ladder, roofline, kernel_bench
tokens     talk                                     bits        bit_inspector, file_bars
energy     energy_bars, benchmark_rows
placement  ple_inspector                            ternary     ternary_rounding, latent_weights
thinking   accuracy, think_budget                      racing      training_race
"""

from .bits import bit_inspector, file_bars
from .energy import SPENT, benchmark_rows, energy_bars
from .kernels import kernel_bench, ladder, roofline
from .memory import COMPONENTS, memory_bars
from .placement import ple_inspector
from .quantized import FLOOR_DB, perplexity_points, quantization
from .racing import training_race
from .ternary import latent_weights, ternary_rounding
from .thinking import accuracy, think_budget
from .timings import bench_panel, compare_bars, prefill_decode, race
from .tokens import talk

__all__ = [
    "COMPONENTS",
    "FLOOR_DB",
    "SPENT",
    "accuracy",
    "bench_panel",
    "benchmark_rows",
    "bit_inspector",
    "compare_bars",
    "energy_bars",
    "file_bars",
    "kernel_bench",
    "ladder",
    "latent_weights",
    "memory_bars",
    "perplexity_points",
    "ple_inspector",
    "prefill_decode",
    "quantization",
    "race",
    "roofline",
    "talk",
    "ternary_rounding",
    "think_budget",
    "training_race",
]
