"""What a token costs in joules: arithmetic beside what is fetched from memory, for four kinds of weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import ipywidgets

from slmlab import catalog, energy, figures
from slmlab.catalog import bitnet_report

from .view import View

PICOJOULES_PER_BIT = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS = (128, 512, 2048, 4096)
WATTS = (0, 2, 5, 10, 15, 28, 45, 65, 120)
BATTERIES_WH = {"a phone's battery, 15 Wh": 15, "a laptop's, 60 Wh": 60}


@dataclass(frozen=True, eq=False)
class State:
    """One setting, with a bill for each kind of weights.

    watts: what the machine draws while it reads, 0 to leave that out
    read_bytes_per_s: how fast it reads; needed where watts is not 0
    """

    model: catalog.Model
    chosen: str
    phase: str
    node_nm: int
    picojoules_per_bit: float
    context: int
    batch: int
    watts: float
    read_bytes_per_s: float | None
    bills: dict[str, energy.Bill]

    def seconds(self, weights: str) -> float:
        """Least time of one token: what a step reads over the read limit, shared by the batch. Decode alone."""
        read = energy.read_bytes(self.model, weights, self.context, self.batch)
        return read / self.read_bytes_per_s / self.batch

    @cached_property
    def spent(self) -> dict[str, dict[str, float]]:
        """{weights: {name in figures.SPENT: joules}}"""
        spent = {}
        for weights, bill in self.bills.items():
            parts = {
                "arithmetic": bill.of("layers") + bill.of("head"),
                "attention": bill.of("attention"),
                "reading the layers": bill.of("reading the layers"),
                "reading the head": bill.of("reading the head"),
                "KV cache": bill.of("KV cache"),
            }
            if self.watts:
                parts["the machine meanwhile"] = self.watts * self.seconds(weights)
            spent[weights] = parts
        return spent

    @property
    def joules(self) -> float:
        """Of the chosen weights."""
        return sum(self.spent[self.chosen].values())

    @property
    def title(self) -> str:
        tokens = f"{self.context:,} tokens"
        where = f"written after {tokens}" if self.phase == "decode" else f"read in a prompt of {tokens}"
        return f"{self.model.name}: one token {where}, batch {self.batch}"

    @property
    def numbers(self) -> str:
        counts = {name: 3600 * hours / self.joules for name, hours in BATTERIES_WH.items()}
        charges = ", ".join(f"{name}: {float(f'{count:.3g}'):,.0f}" for name, count in counts.items())
        return f"{self.chosen}, tokens per charge if nothing else were on: {charges}"

    def __str__(self) -> str:
        bill, parts = self.bills[self.chosen], self.spent[self.chosen]
        share = 1 - bill.at("arithmetic") / self.joules
        fp16 = sum(self.spent["fp16"].values()) / self.joules
        largest = max(parts, key=parts.get)
        words = (
            f"{self.chosen}: {1e3 * self.joules:.3g} mJ a token, {share:.1%} of it not arithmetic; the largest part is "
            f"{largest}, {parts[largest] / self.joules:.0%}. fp16 takes {fp16:.3g} times as much."
        )
        if self.watts:
            milliseconds = 1e3 * self.seconds(self.chosen)
            words += f" {self.watts:g} W for the {milliseconds:.3g} ms that reading takes at least."
        return words


def state(
    model: str | catalog.Model,
    chosen: str = "ternary",
    phase: str = "decode",
    node_nm: int = 7,
    picojoules_per_bit: float = 5,
    context: int = 512,
    batch: int = 1,
    watts: float = 0,
    read_bytes_per_s: float | None = None,
) -> State:
    """Bills of one token of a model for all of energy.WEIGHTS (energy.token_bill).

    watts: drawn while the bytes of a decode step come in at `read_bytes_per_s`; it is not counted in a prompt, whose
    time is not that of reading. No more context than the model has is counted. ValueError when watts are given without
    a read limit.
    """
    model = catalog.get(model) if isinstance(model, str) else model
    if watts and read_bytes_per_s is None:
        raise ValueError(f"watts is {watts} and read_bytes_per_s None: measure it (bench.read_limit())")
    context = min(context, model.context_length or context)
    setting = {"phase": phase, "picojoules_per_bit": picojoules_per_bit, "node_nm": node_nm}
    bills = {
        weights: energy.token_bill(model, weights, **setting, context=context, batch=batch)
        for weights in energy.WEIGHTS
    }
    counted = watts if phase == "decode" else 0
    return State(model, chosen, phase, node_nm, picojoules_per_bit, context, batch, counted, read_bytes_per_s, bills)


class EnergyModel(View):
    """Choose a model and how it runs, and see where the joules of a token go.

    models: names or hub ids from the catalog; the six of the BitNet report and all dense ones when left out
    read_bytes_per_s: this machine's, measured; with it the slider `watts` can be moved

    Attributes: the controls `model`, `weights`, `phase`, `node`, `picojoules`, `context`, `batch` and `watts`; `state`,
    what is drawn now.
    """

    def __init__(self, models: Iterable[str] | None = None, read_bytes_per_s: float | None = None):
        self._read = None if read_bytes_per_s is None else float(read_bytes_per_s)
        offered = _offered() if models is None else [catalog.get(name) for name in models]
        self._models = {model.name: model for model in offered}
        first = "BitNet b1.58 2B4T" if models is None else offered[0].name
        left = {"style": {"description_width": "64px"}, "layout": {"width": "320px"}}
        right = {"style": {"description_width": "136px"}, "layout": {"width": "440px"}}
        self.model = ipywidgets.Dropdown(options=list(self._models), value=first, description="model", **left)
        self.weights = ipywidgets.SelectionSlider(
            options=list(energy.WEIGHTS), value="ternary", description="weights", **left
        )
        self.phase = ipywidgets.Dropdown(options=["decode", "prompt"], description="phase", **left)
        self.node = ipywidgets.Dropdown(options=[("7 nm", 7), ("45 nm", 45)], description="node", **left)
        self.picojoules = ipywidgets.SelectionSlider(
            options=PICOJOULES_PER_BIT, value=5, description="memory (pJ/bit)", **right
        )
        self.context = ipywidgets.SelectionSlider(
            options=[(f"{tokens:,}", tokens) for tokens in CONTEXTS], value=512, description="context (tokens)", **right
        )
        self.batch = ipywidgets.SelectionSlider(options=BATCHES, value=1, description="batch", **right)
        self.watts = ipywidgets.SelectionSlider(
            options=WATTS, value=0, description="machine (W)", disabled=self._read is None, **right
        )
        columns = [
            [self.model, self.weights, self.phase, self.node],
            [self.picojoules, self.context, self.batch, self.watts],
        ]
        boxes = [ipywidgets.VBox(column) for column in columns]
        super().__init__([ipywidgets.HBox(boxes, layout={"flex_flow": "row wrap"})], [])
        self._start(
            *(self.model, self.weights, self.phase, self.node, self.picojoules, self.context, self.batch, self.watts)
        )

    def _redraw(self) -> None:
        self.watts.disabled = self._read is None or self.phase.value == "prompt"
        self.state = state(
            self._models[self.model.value],
            self.weights.value,
            self.phase.value,
            self.node.value,
            self.picojoules.value,
            self.context.value,
            self.batch.value,
            self.watts.value if self._read else 0,
            self._read,
        )
        self.plot.figure = figures.energy_bars(self.state)
        self._say(str(self.state))


def _offered() -> list[catalog.Model]:
    """The report's six, then every other model of the catalog whose attention is counted in full."""
    report = [column.model for column in bitnet_report.columns()]
    others = [
        model
        for model in catalog.models()
        if model.computable and "full_attention_interval" not in model.config and model not in report
    ]
    return report + others
