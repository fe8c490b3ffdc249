"""Which models fit in which memory: weights by component, KV cache, and the memory of some devices."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import ipywidgets

from slmlab import bench, catalog, figures
from slmlab.ledger import Ledger, Row, format_bytes

from .view import View

WEIGHT_BITS = (1.58, 2, 3, 4, 8, 16)
KV_BITS = (8, 16)
DEVICES = {"Binder": 2 * 2**30, "phone, Pi 5": 8 * 2**30, "laptop": 16 * 2**30}  # sold as "8 GB": 8 GiB


@dataclass(frozen=True)
class Budget:
    """What one model needs for one conversation.

    ledger: the components of catalog.parameters, and the KV cache
    tokens: of the conversation, at most the model's context length
    memory_bytes: what it is to fit in
    most_tokens: the longest conversation that fits, 0 when the weights alone do not
    """

    model: catalog.Model
    weight_bits: float
    kv_bits: float
    tokens: int
    ledger: Ledger
    memory_bytes: int
    most_tokens: int

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def setting(self) -> tuple[str, str, str]:
        return f"{self.weight_bits:g}-bit weights", f"{self.kv_bits:g}-bit KV cache", f"{self.tokens:,} tokens"

    @property
    def total_bytes(self) -> int:
        return self.ledger.bytes

    @cached_property
    def components(self) -> dict[str, int]:
        """Bytes by name in figures.COMPONENTS, in that order."""
        sums = dict.fromkeys(figures.COMPONENTS, 0)
        for row in self.ledger.rows:
            sums[_component(row)] += row.bytes
        return {name: size for name, size in sums.items() if size}

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.memory_bytes

    def __str__(self) -> str:
        """Whether it fits, and why."""
        cache = self.components.get("KV cache", 0)
        memory = format_bytes(self.memory_bytes)
        left = self.memory_bytes - self.total_bytes
        longest = f"The longest conversation that fits: {self.most_tokens:,} tokens"
        longest += ", all of its context." if self.most_tokens == self.model.context_length else "."
        if self.fits:
            why = f"It fits in {memory} and leaves {format_bytes(left)} for all else. {longest}"
        elif -left <= cache:
            why = f"It does not fit in {memory}: the KV cache is {format_bytes(-left)} too large. {longest}"
        else:
            why = f"It does not fit in {memory}: the weights alone are {format_bytes(-left - cache)} too much."
        return (
            f"{self.name} with {', '.join(self.setting)} needs {format_bytes(self.total_bytes)}: "
            f"{format_bytes(self.total_bytes - cache)} of weights and {format_bytes(cache)} of KV cache. {why}"
        )


def state(
    model: str | catalog.Model,
    weight_bits: float = 16,
    kv_bits: float = 16,
    tokens: int = 4096,
    memory_bytes: int | None = None,
) -> Budget:
    """The budget of one model from the catalog.

    weight_bits: of the matrices in the layers; embeddings, norms and encoders stay at 16 (catalog.parameters)
    tokens: of one conversation; no more than the model's context length are counted
    memory_bytes: this machine's (bench.machine) when left out

    CatalogError for an unknown model, and for one whose shapes were never published.
    """
    model = catalog.get(model) if isinstance(model, str) else model
    memory_bytes = bench.machine().ram_bytes if memory_bytes is None else memory_bytes
    weights = catalog.parameters(model, weight_bits)
    tokens = min(tokens, model.context_length)

    def kv_cache(tokens: int) -> Row:
        values = catalog.kv_cache_bytes(model, tokens, value_bits=8)  # a byte a value
        return Row("KV cache", values, kv_bits, "KV cache")

    ledger = Ledger(model.name, [*weights.rows, kv_cache(tokens)])
    ledger.check(
        bytes=catalog.weight_bytes(model, weight_bits) + catalog.kv_cache_bytes(model, tokens, value_bits=kv_bits)
    )
    most, too_many = 0, model.context_length + 1  # bisection: the cache never shrinks as the conversation grows
    while too_many - most > 1:
        middle = (most + too_many) // 2
        if weights.bytes + kv_cache(middle).bytes <= memory_bytes:
            most = middle
        else:
            too_many = middle
    return Budget(model, weight_bits, kv_bits, tokens, ledger, memory_bytes, most)


def _component(row: Row) -> str:
    """The name in figures.COMPONENTS of a row of catalog.parameters, or of the KV cache."""
    if row.place in ("embedding", "head"):
        return "embedding, head"
    if row.place != "decoder":
        return row.place
    for start, name in (("attention", "attention"), ("linear attention", "attention"), ("mlp", "mlp")):
        if row.what.startswith(start):
            return name
    return "experts" if row.what in ("experts", "shared expert") else "other"


class MemoryBudget(View):
    """Choose models, widths and a length of context, and see what fits.

    models: names or hub ids from the catalog; all whose shapes are published when left out
    memory_bytes: the memory that the sentence speaks of; this machine's when left out

    Attributes: the controls `family`, `models` (several may be chosen), `weight_bits`, `kv_bits` and `tokens`, and
    `states`, a Budget for each model that is drawn now.
    """

    def __init__(self, models: Iterable[str] | None = None, memory_bytes: int | None = None):
        if models is None:
            self._offered = [model for model in catalog.models() if model.computable]
            first = "Phi-4-mini-instruct"
        else:
            self._offered = [catalog.get(name) for name in models]
            if not self._offered:
                raise ValueError("models is empty, wanted names from catalog.models(), or None for all")
            for model in self._offered:
                catalog.parameters(model)  # says now why a model without published shapes cannot be drawn
            first = self._offered[0].name
        self._memory_bytes = bench.machine().ram_bytes if memory_bytes is None else memory_bytes
        self._devices = {**DEVICES, "this machine" if memory_bytes is None else "memory given": self._memory_bytes}

        families = [family for family in catalog.FAMILIES if any(model.family == family for model in self._offered)]
        left = {"style": {"description_width": "56px"}, "layout": {"width": "300px"}}
        right = {"style": {"description_width": "112px"}, "layout": {"width": "470px"}}
        self.family = ipywidgets.Dropdown(options=["all", *families], description="family", **left)
        self.models = ipywidgets.SelectMultiple(
            options=[model.name for model in self._offered], value=[first], rows=6, description="models", **left
        )
        self.weight_bits = ipywidgets.SelectionSlider(options=WEIGHT_BITS, value=4, description="weight bits", **right)
        self.kv_bits = ipywidgets.SelectionSlider(options=KV_BITS, value=16, description="KV cache bits", **right)
        self.tokens = ipywidgets.SelectionSlider(
            options=[("4,096", 4096)], description="context (tokens)", **right
        )  # its options come with the model
        what = ipywidgets.VBox([self.family, self.models])
        how = ipywidgets.VBox([self.weight_bits, self.kv_bits, self.tokens])
        super().__init__([ipywidgets.HBox([what, how], layout={"flex_flow": "row wrap"})], [])
        self._start(self.family, self.models, self.weight_bits, self.kv_bits, self.tokens)

    def _redraw(self) -> None:
        names = [model.name for model in self._offered if self.family.value in ("all", model.family)]
        if names != list(self.models.options):
            chosen = [name for name in self.models.value if name in names] or names[:1]
            with self.models.hold_sync():
                self.models.options, self.models.value = names, chosen
        if not self.models.value:
            self._say("Choose a model, or several with Ctrl or Shift.")
            return
        chosen = [catalog.get(name) for name in self.models.value]
        lengths = _lengths(max(model.context_length for model in chosen))
        if lengths != list(self.tokens.options):
            wanted = self.tokens.value
            with self.tokens.hold_sync():
                self.tokens.options = lengths
                self.tokens.value = max(tokens for _, tokens in lengths if tokens <= max(wanted, lengths[0][1]))
        self.states = [
            state(model, self.weight_bits.value, self.kv_bits.value, self.tokens.value, self._memory_bytes)
            for model in chosen
        ]
        self.plot.figure = figures.memory_bars(self.states, self._devices)
        self._say(str(self.states[0]) if len(self.states) == 1 else _count_fitting(self.states))


def _lengths(limit: int) -> list[tuple[str, int]]:
    """Powers of two from 512 on, and the limit itself, as the options of a slider."""
    powers = (2**power for power in range(9, limit.bit_length()))
    return [(f"{tokens:,}", tokens) for tokens in sorted({*powers, limit})]


def _count_fitting(states: list[Budget]) -> str:
    memory = format_bytes(states[0].memory_bytes)
    too_large = ", ".join(budget.name for budget in states if not budget.fits)
    fitting = sum(budget.fits for budget in states)
    return f"{fitting} of {len(states)} fit in {memory}." + (f" Too large: {too_large}." if too_large else "")
