"""Where each part of a model with per-layer embeddings is put, whether that fits a device, and what a token reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ipywidgets
import numpy as np

from slmlab import bench, catalog, figures, ple
from slmlab.ledger import Ledger, format_bytes
from slmlab.ple import COMPONENTS, LEFT_OUT, PLACES, Choice

from .view import View

MODELS = ("Gemma 3n E2B", "Gemma 3n E4B", "Gemma 4 E2B", "Gemma 4 E4B")
BITS = {
    "decoder": (16, 8, 4.5, 4),
    "token embedding": (16, 8, 4.5, 4),
    "per-layer table": (16, 8, 4),
    "encoders": (16,),
}
CONTEXTS = tuple(2**power for power in range(9, 18))
GIB = 2**30
PUBLISHED = {  # text alone, the table elsewhere
    "decoder": Choice("accelerator", 4.5),
    "token embedding": Choice("accelerator", 16),
    "per-layer table": Choice("disk", 16),
    "encoders": Choice(LEFT_OUT),
}


@dataclass(frozen=True)
class Device:
    """Memories by name, with the bytes of each, and which of them is the accelerator's and the RAM: one may be both."""

    memories: Mapping[str, int]
    accelerator: str
    ram: str

    def pool(self, place: str) -> str:
        """The memory (or "disk") that a place of ple.PLACES is on this device."""
        return {"accelerator": self.accelerator, "RAM": self.ram, "disk": "disk"}[place]


DEVICES = {
    "laptop with a GPU": Device({"GPU memory": 8 * GIB, "RAM": 16 * GIB}, "GPU memory", "RAM"),
    "phone": Device({"the one memory": 8 * GIB}, "the one memory", "the one memory"),
    "Pi 5": Device({"RAM, no accelerator": 8 * GIB}, "RAM, no accelerator", "RAM, no accelerator"),
}


def this_machine(accelerator_bytes: int = 0) -> Device:
    """This machine: its RAM by bench.machine(), and the memory of an accelerator of its own if it has one."""
    ram = bench.machine().ram_bytes
    if accelerator_bytes:
        return Device({"accelerator": accelerator_bytes, "RAM": ram}, "accelerator", "RAM")
    return Device({"RAM, no accelerator": ram}, "RAM, no accelerator", "RAM, no accelerator")


@dataclass(frozen=True, eq=False)
class State:
    """What figures.ple_inspector draws.

    ledger: the rows of the model and its KV cache, with their places
    stacks: bytes by memory of the device (the last is "disk"), then by component, "KV cache" among them
    read_bytes: by memory, what one generated token reads there, the KV cache of all tokens before it included
    trace: (text, row of the table) of each token of a text; `at` is the one that is looked at, None without a trace
    row_bytes: of the per-layer table at its bits; pages: those of the row, if the table begins with a page
    """

    model: catalog.Model
    choices: Mapping[str, Choice]
    device_name: str
    device: Device
    tokens: int
    kv_bits: float
    ledger: Ledger
    stacks: Mapping[str, Mapping[str, int]]
    read_bytes: Mapping[str, int]
    trace: tuple[tuple[str, int], ...]
    at: int | None

    @property
    def table_rows(self) -> int:
        return self.model.config["vocab_size_per_layer_input"]

    @property
    def row_bytes(self) -> int:
        numbers = self.model.config["num_hidden_layers"] * self.model.config["hidden_size_per_layer_input"]
        return int(numbers * self.choices["per-layer table"].bits // 8)

    @property
    def pages(self) -> int:
        row = self.trace[self.at][1] if self.at is not None else 0
        return ple.pages(np.array([row]), self.row_bytes, 0, ple.PAGE_BYTES).size

    @property
    def too_much(self) -> dict[str, int]:
        """By memory, the bytes that do not fit."""
        over = {pool: sum(self.stacks[pool].values()) - size for pool, size in self.device.memories.items()}
        return {pool: size for pool, size in over.items() if size > 0}

    @property
    def title(self) -> str:
        device = self.device_name if self.device_name.startswith("this") else f"a {self.device_name}"
        return f"{self.model.name} on {device}, {self.tokens:,} tokens of context"

    def __str__(self) -> str:
        """Whether it fits, and what a token reads."""
        if self.too_much:
            fits = "It does not fit: " + ", ".join(
                f"{pool} lacks {format_bytes(n)}" for pool, n in self.too_much.items()
            )
        else:
            fits = "It fits"
        reads = ", ".join(f"{format_bytes(size)} from {pool}" for pool, size in self.read_bytes.items() if size)
        row = f"its row of the table is {self.row_bytes:,} bytes on {self.pages} pages of {ple.PAGE_BYTES:,}"
        one = self.device.pool("accelerator") == self.device.pool("RAM")
        note = " Accelerator and RAM are the same memory here." if one else ""
        return f"{fits}. A token reads {reads}; {row}.{note}"


def state(
    model: str | catalog.Model,
    choices: Mapping[str, Choice] | None = None,
    tokens: int = 4096,
    kv_bits: float = 16,
    device: str = "phone",
    trace: Sequence[tuple[str, int]] = (),
    at: int | None = None,
    devices: Mapping[str, Device] | None = None,
) -> State:
    """The parts of a model on a device.

    choices: PUBLISHED when left out; tokens: of the conversation, at most the model's context; at: the token of the
    trace that is looked at, the last one when left out. CatalogError for a model without per-layer embeddings,
    ValueError for an unknown device or a row that the table has not.
    """
    model = catalog.get(model) if isinstance(model, str) else model
    choices, devices, trace = dict(choices or PUBLISHED), devices or DEVICES, tuple(trace)
    if device not in devices:
        raise ValueError(f"device is {device!r}, wanted one of {', '.join(devices)}")
    tokens = min(tokens, model.context_length)
    ledger = ple.placed(model, choices, tokens, kv_bits)
    rows = model.config["vocab_size_per_layer_input"]
    if wrong := [row for _, row in trace if not 0 <= row < rows]:
        raise ValueError(f"the trace has row {wrong[0]}, wanted 0 to {rows - 1}")
    if trace:
        at = len(trace) - 1 if at is None else at
    where = devices[device]
    pools = [*where.memories, "disk"]
    stacks: dict[str, dict[str, int]] = {pool: {} for pool in pools}
    for row in ledger.rows:
        parts, name = stacks[where.pool(row.place)], _component(row.what)
        parts[name] = parts.get(name, 0) + row.bytes
    read = dict.fromkeys(pools, 0)
    for name, count in ple.reads(model).items():
        choice = choices[name]
        if choice.place == LEFT_OUT or not count:
            continue
        pool = where.pool(choice.place)
        whole = name != "per-layer table"
        unread = ple.components(model)[name] - count if whole else 0
        size = stacks[pool][name] if whole else 0
        read[pool] += size - int(unread * choice.bits // 8) if whole else int(count * choice.bits // 8)
    read[where.pool(choices["decoder"].place)] += sum(parts.get("KV cache", 0) for parts in stacks.values())
    return State(model, choices, device, where, tokens, kv_bits, ledger, stacks, read, trace, at if trace else None)


def _component(what: str) -> str:
    """The component that a row of ple.placed belongs to."""
    if what in ("KV cache", "token embedding"):
        return what
    if what == "per-layer embedding table":
        return "per-layer table"
    return "encoders" if "encoder" in what or "residual" in what else "decoder"


class PLEInspector(View):
    """Put each part of a Gemma 3n or 4 on the accelerator, into RAM or onto the disk, and see what that means.

    trace: (text, row of the table) of the tokens of a text; with it, a slider goes through them
    accelerator_bytes: of this machine, 0 for none

    Attributes: the controls `model`, `device`, `tokens`, `kv_bits`, `token`, and by component `place` and `bits`;
    `state`, what is drawn now.
    """

    def __init__(self, trace: Sequence[tuple[str, int]] = (), accelerator_bytes: int = 0):
        self._trace = tuple(trace)
        self._devices = {**DEVICES, "this machine": this_machine(accelerator_bytes)}
        look = {"style": {"description_width": "118px"}, "layout": {"width": "272px"}}
        narrow = {"style": {"description_width": "32px"}, "layout": {"width": "108px"}}
        wide = {"style": {"description_width": "118px"}, "layout": {"width": "392px"}}
        self.model = ipywidgets.Dropdown(options=MODELS, description="model", **look)
        self.device = ipywidgets.Dropdown(options=list(self._devices), value="phone", description="device", **look)
        self.place, self.bits, rows = {}, {}, []
        for name in COMPONENTS:
            choice = PUBLISHED[name]
            options = [*PLACES, LEFT_OUT] if name == "encoders" else list(PLACES)
            self.place[name] = ipywidgets.Dropdown(options=options, value=choice.place, description=name, **look)
            self.bits[name] = ipywidgets.Dropdown(
                options=[(f"{bits:g}", bits) for bits in BITS[name]], value=choice.bits, description="bits", **narrow
            )
            rows.append(ipywidgets.HBox([self.place[name], self.bits[name]]))
        self.tokens = ipywidgets.SelectionSlider(
            options=[(f"{n:,}", n) for n in CONTEXTS], value=4096, description="context (tokens)", **wide
        )
        self.kv_bits = ipywidgets.SelectionSlider(options=(8, 16), value=16, description="KV cache bits", **wide)
        self.token = ipywidgets.IntSlider(
            value=len(self._trace), min=1, max=max(len(self._trace), 1), description="token", **wide
        )
        sliders = [self.tokens, self.kv_bits] + ([self.token] if self._trace else [])
        left, right = ipywidgets.VBox(rows), ipywidgets.VBox([self.model, self.device, *sliders])
        super().__init__([ipywidgets.HBox([left, right], layout={"flex_flow": "row wrap"})], [])
        self._start(self.model, self.device, *self.place.values(), *self.bits.values(), *sliders)

    def _redraw(self) -> None:
        choices = {name: Choice(self.place[name].value, self.bits[name].value) for name in COMPONENTS}
        at = self.token.value - 1 if self._trace else None
        self.state = state(
            self.model.value,
            choices,
            self.tokens.value,
            self.kv_bits.value,
            self.device.value,
            self._trace,
            at,
            self._devices,
        )
        self.plot.figure = figures.ple_inspector(self.state)
        self._say(str(self.state))
