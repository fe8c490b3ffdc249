"""Joules: what a forward pass costs by its operations and its bytes, and what a counter of this machine says.

operations   picojoules of an operation and of a bit, counts of operations, and bills whose totals check themselves
meter        the energy counter of a processor, a battery, or the reason why there is neither

>>> from slmlab import catalog
>>> bitnet = catalog.get("BitNet b1.58 2B4T")
>>> round(pass_bill(bitnet, "ternary", tokens=512).joules, 4)  # published as 0.028
0.0276
"""

from .meter import Meter, NoMeterError, Usage, given, meter, metered
from .operations import (
    DRAM,
    OPERATIONS,
    WEIGHTS,
    Bill,
    Charge,
    EnergyError,
    Memory,
    Operation,
    attention_macs,
    head_weights,
    layer_weights,
    mac_picojoules,
    pass_bill,
    read_bytes,
    token_bill,
)

__all__ = [
    "DRAM",
    "OPERATIONS",
    "WEIGHTS",
    "Bill",
    "Charge",
    "EnergyError",
    "Memory",
    "Meter",
    "NoMeterError",
    "Operation",
    "Usage",
    "attention_macs",
    "given",
    "head_weights",
    "layer_weights",
    "mac_picojoules",
    "meter",
    "metered",
    "pass_bill",
    "read_bytes",
    "token_bill",
]
