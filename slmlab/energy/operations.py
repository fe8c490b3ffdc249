"""Energy by counting: operations times picojoules, bits moved times picojoules.

What a table of operations leaves out is said where it is used: fetching and decoding instructions (some 70 pJ each on
a processor of 45 nm, without a source), caches, leakage, and everything that is on while a program waits.
"""

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from slmlab import catalog
from slmlab.ledger import html_table, table


class EnergyError(LookupError):
    """No such operation, width or phase, or a model for which nothing can be counted; or a bill that is wrong."""


@dataclass(frozen=True)
class Operation:
    """One addition or multiplication on numbers of one kind. `unverified`: remembered, no stored source has it."""

    picojoules: float
    source: str
    unverified: bool = False


_HOROWITZ = "M. Horowitz, ISSCC 2014, 45 nm"
_SEVEN = "table for 7 nm that the BitNet papers cite (arXiv 2310.11453)"
OPERATIONS: dict[tuple[int, str, str], Operation] = {  # (node in nm, kind of number, operation)
    (45, "fp32", "add"): Operation(0.9, _HOROWITZ),
    (45, "fp32", "mul"): Operation(3.7, _HOROWITZ),
    (45, "fp16", "add"): Operation(0.4, _HOROWITZ),
    (45, "fp16", "mul"): Operation(1.1, _HOROWITZ),
    (45, "int32", "add"): Operation(0.1, _HOROWITZ),
    (45, "int32", "mul"): Operation(3.1, _HOROWITZ),
    (45, "int8", "add"): Operation(0.03, _HOROWITZ),
    (45, "int8", "mul"): Operation(0.2, _HOROWITZ),
    (7, "fp32", "add"): Operation(0.38, _SEVEN),
    (7, "fp32", "mul"): Operation(1.31, _SEVEN),
    (7, "fp16", "add"): Operation(0.16, _SEVEN, unverified=True),
    (7, "fp16", "mul"): Operation(0.34, _SEVEN),
    (7, "int32", "add"): Operation(0.03, _SEVEN),
    (7, "int32", "mul"): Operation(1.48, _SEVEN),
    (7, "int8", "add"): Operation(0.007, _SEVEN),
    (7, "int8", "mul"): Operation(0.07, _SEVEN),
}
NODES = (45, 7)


@dataclass(frozen=True)
class Memory:
    """Picojoules for a bit that comes from memory, from `low` to `high`."""

    low: float
    high: float
    source: str
    unverified: bool = False


DRAM = {
    "LPDDR5": Memory(4, 6, "an order of magnitude, remembered", unverified=True),
    "HBM2e": Memory(4, 4, "an order of magnitude, remembered", unverified=True),
    "45 nm era": Memory(20, 20, f"640 pJ for 32 bits: {_HOROWITZ}"),
    "45 nm era, with its interface": Memory(20, 40, "1.3 to 2.6 nJ for 64 bits, remembered", unverified=True),
}

WEIGHTS = {  # how a multiply-accumulate is done: bits of a weight as stored, and the operations
    "fp16": (16, (("fp16", "mul"), ("fp16", "add"))),
    "int8": (8, (("int8", "mul"), ("int32", "add"))),
    "int4": (4, (("fp16", "mul"), ("fp16", "add"))),  # weights alone: expanded, then multiplied as fp16
    "ternary": (2, (("int8", "add"),)),  # as the BitNet papers count: no multiplication, and sums of 8 bits
}


def mac_picojoules(weights: str, node_nm: int = 7) -> float:
    """One multiply-accumulate with weights of a kind in WEIGHTS."""
    if weights not in WEIGHTS:
        raise EnergyError(f"no weights {weights!r}: wanted one of {', '.join(WEIGHTS)}")
    if node_nm not in NODES:
        raise EnergyError(f"no table for {node_nm} nm: wanted one of {', '.join(map(str, NODES))}")
    return math.fsum(OPERATIONS[node_nm, kind, operation].picojoules for kind, operation in WEIGHTS[weights][1])


# ---------------------------------------------------------------------------------------------------------------- bills


@dataclass(frozen=True)
class Charge:
    """`count` operations or bits at `picojoules` each; `place` is "arithmetic" or "memory"."""

    what: str
    count: float
    picojoules: float
    place: str

    @property
    def joules(self) -> float:
        return self.count * self.picojoules * 1e-12


@dataclass(frozen=True)
class Bill:
    """A title and its charges; `joules` is their sum."""

    title: str
    charges: Sequence[Charge]

    def __post_init__(self):
        object.__setattr__(self, "charges", tuple(self.charges))

    @property
    def joules(self) -> float:
        return math.fsum(charge.joules for charge in self.charges)

    def at(self, place: str) -> float:
        """Joules of the charges at a place. EnergyError when none is there."""
        found = [charge.joules for charge in self.charges if charge.place == place]
        if not found:
            places = ", ".join(sorted({repr(charge.place) for charge in self.charges}))
            raise EnergyError(f"{self.title}: no charge at {place!r}; there are {places or 'none'}")
        return math.fsum(found)

    def of(self, what: str) -> float:
        """Joules of the charges with this name; 0 when there is none."""
        return math.fsum(charge.joules for charge in self.charges if charge.what == what)

    def check(self, joules: float, within: float) -> "Bill":
        """This bill, if its total is `joules` give or take `within`; else EnergyError with both and the charges."""
        if abs(self.joules - joules) > within:
            raise EnergyError(f"{self.title}: {self.joules:.6g} J, wanted {joules:.6g} within {within:g}\n{self}")
        return self

    def __str__(self) -> str:
        return f"{self.title}\n{table(*self._cells(), left=(0, 5))}"

    def _repr_html_(self) -> str:
        return f"<p><b>{html.escape(self.title)}</b></p>{html_table(*self._cells(), left=(0, 5))}"

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [c.what, f"{c.count:.4g}", f"{c.picojoules:g}", f"{1e3 * c.joules:.4g}", self._share(c.joules), c.place]
            for c in self.charges
        ]
        rows.append(["total", "", "", f"{1e3 * self.joules:.4g}", "", ""])
        return ["what", "count", "pJ each", "mJ", "share", "place"], rows

    def _share(self, joules: float) -> str:
        return f"{joules / self.joules:.1%}" if self.joules else ""


# --------------------------------------------------------------------------------------------------------------- counts


def layer_weights(model: catalog.Model, sequences: int = 1) -> float:
    """Weights in the matrices of the layers that one step of `sequences` tokens reads: one MAC each, for one token.

    Of experts, those that so many independent tokens ask for on average when the router spreads them evenly. The keys
    and values that Gemma 3n stores for KV-shared layers are never read.
    """
    rows = [row for row in catalog.parameters(model, bits=8).rows if row.place == "decoder" and row.bits == 8]
    total = 0.0
    for row in rows:
        if row.what.startswith("attention: K, V of KV-shared layers"):
            continue
        share = 1.0
        if row.what == "experts":
            share = 1 - (1 - model.config["num_experts_per_tok"] / model.config["num_experts"]) ** sequences
        total += row.count * share
    return total


def head_weights(model: catalog.Model) -> int:
    """Weights of the output head, which a tied embedding lends; every generated token reads them all."""
    return model.config["vocab_size"] * model.config["hidden_size"]


def attention_macs(model: catalog.Model, tokens: int, past: int = 0, causal: bool = True) -> int:
    """MACs of queries with keys, and of weights with values, of `tokens` tokens after `past` others, in all layers.

    causal: token t sees itself and what is before it, in a window if its layer has one. False: each of the tokens
        meets each of them, as the BitNet papers count.
    Layers of linear attention (Qwen3-Next, Qwen3.5) are not counted.
    """
    total = 0
    for (width, window), layers in Counter(_attention_layers(SimpleNamespace(**model.config))).items():
        seen = _seen(tokens, past, window) if causal else tokens * (past + tokens)
        total += layers * 2 * width * seen
    return total


def _seen(tokens: int, past: int, window: int | None) -> int:
    """Sum of min(past + t, window) for t from 1 to `tokens`."""
    growing = tokens if window is None else min(max(window - past, 0), tokens)
    return growing * past + growing * (growing + 1) // 2 + (tokens - growing) * (window or 0)


def _attention_layers(c: SimpleNamespace) -> list[tuple[int, int | None]]:
    """(query heads times their width, window) of each layer with attention; window None: it sees everything."""
    window = getattr(c, "sliding_window", None)
    pattern = getattr(c, "sliding_window_pattern", None)
    interval = getattr(c, "full_attention_interval", 1)
    layers = []
    for layer in range(1, c.num_hidden_layers + 1):
        if layer % interval:
            continue
        whole = window is None or (pattern and layer % pattern == 0)
        width = getattr(c, "global_head_dim", c.head_dim) if whole else c.head_dim
        layers.append((c.num_attention_heads * width, None if whole else window))
    return layers


def read_bytes(model: catalog.Model, weights: str, context: int = 0, batch: int = 1, head_bits: float = 16) -> float:
    """Bytes from memory for one step in which each of `batch` sequences of `context` tokens gets one more.

    Matrices of the layers at the width of `weights`, the head at `head_bits`, the KV cache of each sequence at 16
    bits. Norms, and the rows of the embedding that are looked up, are left out: under a thousandth.
    """
    cache = catalog.kv_cache_bytes(model, context)
    return layer_weights(model, batch) * WEIGHTS[weights][0] / 8 + head_weights(model) * head_bits / 8 + batch * cache


def pass_bill(model: catalog.Model, weights: str, tokens: int = 512, node_nm: int = 7) -> Bill:
    """The arithmetic of one pass over `tokens` tokens, as the BitNet papers seem to count it.

    Matrices of the layers by `weights`, attention in fp16 with each token meeting each, no head, nothing from memory.
    A reconstruction: it gives the six values that arXiv 2504.12285 prints, to the last digit.
    """
    fp16 = mac_picojoules("fp16", node_nm)
    linear = tokens * layer_weights(model)
    attention = attention_macs(model, tokens, causal=False)
    charges = [
        Charge("layers", linear, mac_picojoules(weights, node_nm), "arithmetic"),
        Charge("attention", attention, fp16, "arithmetic"),
    ]
    title = f"{model.name}, {weights}, a pass over {tokens} tokens, {node_nm} nm"
    return Bill(title, charges)


def token_bill(
    model: catalog.Model,
    weights: str,
    *,
    phase: str = "decode",
    picojoules_per_bit: float = 5.0,
    node_nm: int = 7,
    context: int = 512,
    batch: int = 1,
    head_bits: float = 16,
) -> Bill:
    """What one token costs: arithmetic, and what is fetched from memory for it.

    phase "decode": one more token for each of `batch` sequences of `context` tokens; a step reads the weights once for
        all of them, and the KV cache of each.
    phase "prompt": `batch` prompts of `context` tokens in one pass; it reads the weights once for all tokens, writes
        the KV cache once, and needs the head for the last token alone. Activations stay on the chip.
    The head is multiplied in fp16. Norms, activation functions and the sampler are left out.
    """
    if phase not in ("decode", "prompt"):
        raise EnergyError(f'phase is {phase!r}, wanted "decode" or "prompt"')
    if batch < 1 or context < 1:
        raise EnergyError(f"batch is {batch} and context {context}, wanted 1 or more of each")
    fp16 = mac_picojoules("fp16", node_nm)
    cache_bits = 8 * catalog.kv_cache_bytes(model, context)
    if phase == "decode":
        step, head_share = batch, 1.0
        attention = attention_macs(model, 1, past=context - 1)
        kv_bits = cache_bits
    else:
        step, head_share = batch * context, 1 / context
        attention = attention_macs(model, context) / context
        kv_bits = cache_bits / context
    layers, head = layer_weights(model, step), head_weights(model)
    charges = [
        Charge("layers", layer_weights(model), mac_picojoules(weights, node_nm), "arithmetic"),
        Charge("head", head * head_share, fp16, "arithmetic"),
        Charge("attention", attention, fp16, "arithmetic"),
        Charge("reading the layers", layers * WEIGHTS[weights][0] / step, picojoules_per_bit, "memory"),
        Charge("reading the head", head * head_bits / step, picojoules_per_bit, "memory"),
        Charge("KV cache", kv_bits, picojoules_per_bit, "memory"),
    ]
    what = f"{context:,} tokens of context" if phase == "decode" else f"of a prompt of {context:,}"
    return Bill(f"{model.name}, {weights}, one token, {what}, batch {batch}", charges)
