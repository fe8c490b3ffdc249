"""One byte of a packed matrix: its bits, the weights in it and where they belong, and their part in a product."""

from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets
import numpy as np
import plotly.graph_objects as go

import cython_kernels
from cython_kernels import FORMATS, layouts
from cython_kernels.reference import BLOCK_ROWS, PANEL_ROWS
from slmlab import figures

from .talk import PointedPlot
from .view import View

HF, TQ2_0, TQ1_0 = "Hugging Face", "GGUF TQ2_0", "GGUF TQ1_0"
TQ_BYTES = {TQ2_0: layouts.TQ2_0_BYTES, TQ1_0: layouts.TQ1_0_BYTES}  # of a block of 256 columns, the scale included
SCALE_BYTES = 2  # of them: d, a float16
LINE_BYTES = 4 * BLOCK_ROWS  # of the course's own formats that are shown as a line: a block, 16 rows
NAMES = (HF, TQ2_0, TQ1_0, "2bit", "base3")
PAGE = (8, 22)  # lines and bytes that are seen at once


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights = codes * scale: codes (N, K) int8 of -1, 0, +1. x: (K,) int8, the codes of one token's activations."""

    codes: np.ndarray
    scale: float
    x: np.ndarray


@dataclass(frozen=True, eq=False)
class Packed:
    """A layer in one of the formats NAMES.

    lines: (lines, bytes of a line) uint8: rows of the matrix; of the Hugging Face layout, four rows; of the course's
        own formats, blocks of 16 rows
    scale: of the weights, as this format keeps it
    slots: (K,) which of the bytes that hold a row holds column k
    y: (N,) int32, the product with x by a kernel, and which one computed it
    """

    name: str
    format: str
    layer: Layer
    lines: np.ndarray
    scale: float
    slots: np.ndarray
    y: np.ndarray
    kernel: str


@dataclass(frozen=True)
class Weight:
    """A field of the byte. row and column are None where the field only fills the byte up."""

    digit: int
    row: int | None
    column: int | None
    x: int = 0

    @property
    def code(self) -> int:
        return self.digit - 1

    @property
    def part(self) -> int:
        """What it adds to the sum of its row."""
        return self.code * self.x


@dataclass(frozen=True, eq=False)
class State:
    """What figures.bit_inspector draws.

    line, byte: which byte; value is what it is, `reading` how digits come out of it
    weights: first field first; empty where the byte belongs to a scale
    page: the bytes around it, (lines, bytes) uint8, with the place of the first; page_kinds says which hold a scale
    block: of a scale's byte the first column of its block and the one after the last; else None
    sums: row -> its sum so far after each of the bytes that hold it, int64; at: the place of this byte among them
    """

    packed: Packed
    line: int
    byte: int
    value: int
    reading: str
    weights: tuple[Weight, ...]
    page: np.ndarray
    page_at: tuple[int, int]
    page_kinds: np.ndarray
    block: tuple[int, int] | None
    sums: dict[int, np.ndarray]
    at: int

    @property
    def title(self) -> str:
        return f"{self.packed.name} in {self.packed.format}: byte {self.byte} of line {self.line} is {self.value:#04x}"

    @property
    def numbers(self) -> str:
        packed = self.packed
        bits = 8 * packed.lines.size / packed.layer.codes.size
        return f"{packed.lines.size:,} bytes for {packed.layer.codes.size:,} weights, {bits:.4g} bits each"

    def __str__(self) -> str:
        if not self.weights:
            return "A block's scale adds nothing to the sum of codes; it multiplies what its block adds to the result."
        if not self.sums:
            return "All of it only fills up: it holds no weight of the matrix, and adds nothing."
        ends = [
            f"row {row}: all bytes {int(sums[-1]):,}, kernel {int(self.packed.y[row]):,}"
            for row, sums in self.sums.items()
        ]
        return f"Sums of code times x over the whole row, by {self.packed.kernel}. " + "; ".join(ends) + "."


# ----------------------------------------------------------------------------------------------------------------------
# Formats


def formats(codes: np.ndarray) -> tuple[str, ...]:
    """The formats that can hold a matrix of this shape: blocks of GGUF do not end within a row."""
    return tuple(name for name in NAMES if name not in TQ_BYTES or codes.shape[1] % layouts.TQ_COLUMNS == 0)


def pack(name: str, layer: Layer, format: str) -> Packed:
    """The layer in `format`, one of formats(layer.codes), and its product with x. GGUF rounds the scale to float16."""
    codes, scale = layer.codes, float(layer.scale)
    if format not in formats(codes):
        raise ValueError(
            f"format is {format!r}, wanted one of {', '.join(formats(codes))} for {codes.shape[1]} columns"
        )
    ours = format if format in FORMATS else "2bit"
    bytes_ = cython_kernels.pack(codes, ours)
    matrix = cython_kernels.matrix(bytes_, *codes.shape, format=ours, scale=scale)
    kernel = f"{matrix.backend} on {matrix.held}"
    if format == HF:
        lines = layouts.hf_pack(codes)
    elif format in TQ_BYTES:
        scale = float(np.float16(scale))
        lines = (layouts.tq2_0_pack if format == TQ2_0 else layouts.tq1_0_pack)(codes, scale)
    else:
        lines = bytes_.reshape(-1, LINE_BYTES)
    y = matrix.matmul(layer.x[None])[0]
    return Packed(name, format, layer, lines, scale, slots(format, codes.shape[1]), y, kernel)


def slots(format: str, K: int) -> np.ndarray:
    """(K,) int64: which of the bytes that hold a row, scales left out, holds column k. Later fields, later columns."""
    k = np.arange(K)
    if format == HF:
        return k
    if format in FORMATS:
        return 4 * (k // FORMATS[format].step_columns) + k % 4
    block, c = divmod(k, layouts.TQ_COLUMNS)
    if format == TQ2_0:
        return 64 * block + 32 * (c // 128) + c % 32
    return 52 * block + np.select([c < 160, c < 240], [c % 32, 32 + (c - 160) % 16], 48 + (c - 240) % 4)


def is_scale(format: str, byte: int | np.ndarray) -> np.ndarray:
    """Whether a byte of a line belongs to the scale of a block."""
    size = TQ_BYTES.get(format, 0)
    return np.asarray(byte) % size >= size - SCALE_BYTES if size else np.zeros(np.shape(byte), bool)


def places(packed: Packed, line: int, byte: int) -> tuple[list[tuple[int, int]], int]:
    """Row and column of each field of a byte, and its place among the bytes that hold a row.

    Fields that only fill up have a row or a column past the matrix, or are missing at the end.
    """
    format, (lines, _) = packed.format, packed.lines.shape
    if format == HF:
        return [(field * lines + line, byte) for field in range(4)], byte
    if format in TQ_BYTES:
        size = TQ_BYTES[format]
        row, slot = line, byte // size * (size - SCALE_BYTES) + byte % size
    else:
        steps = -(-packed.layer.codes.shape[1] // FORMATS[format].step_columns)
        panel, block = divmod(line, 2 * steps)
        step, half = divmod(block, 2)
        row, slot = PANEL_ROWS * panel + BLOCK_ROWS * half + byte // 4, 4 * step + byte % 4
    return [(row, int(column)) for column in np.flatnonzero(packed.slots == slot)], slot


def read(format: str, value: int, fields: int) -> tuple[list[int], str]:
    """The digits of a byte, first field first, and how they come out of it."""
    if format in (HF, TQ2_0, "2bit"):
        digits = [value >> shift & 3 for shift in (0, 2, 4, 6)]
        return digits, "two bits a field, the first on the right: " + " ".join(f"{digit:02b}" for digit in digits)
    if format == TQ1_0:
        v = value * 243 // 256
        digits = [v // 3**power % 3 for power in (4, 3, 2, 1, 0)][:fields]
        powers = [81, 27, 9, 3, 1][:fields]
        how = f"{value} · 243 / 256, rounded down, is "
    else:
        late = value >= 192
        v, last = (64 + (value - 192) // 3, (value - 192) % 3) if late else (value % 64, value // 64)
        digits = [v % 3, v // 3 % 3, v // 9 % 3, v // 27, last]
        powers = [1, 3, 9, 27]
        rule = f"{value} - 192 = 3 (v - 64) + c4" if late else f"{value} = 64 c4 + v"
        how = f"{rule}, so c4 = {last} and "
    terms = " + ".join(f"{digit}·{power}" for digit, power in zip(digits, powers, strict=False))
    return digits, f"{how}v = {v} = {terms}"


# ----------------------------------------------------------------------------------------------------------------------
# State


def state(packed: Packed, line: int, byte: int) -> State:
    """Look at one byte. IndexError for one that is not there."""
    lines, width = packed.lines.shape
    if not (0 <= line < lines and 0 <= byte < width):
        raise IndexError(f"byte {byte} of line {line} came, wanted bytes 0 to {width - 1} of lines 0 to {lines - 1}")
    value = int(packed.lines[line, byte])
    page_at = tuple(at // size * size for at, size in zip((line, byte), PAGE, strict=True))
    page = packed.lines[page_at[0] : page_at[0] + PAGE[0], page_at[1] : page_at[1] + PAGE[1]]
    kinds = np.broadcast_to(is_scale(packed.format, np.arange(page_at[1], page_at[1] + page.shape[1])), page.shape)
    seen = {"packed": packed, "line": line, "byte": byte, "value": value}
    seen |= {"page": page, "page_at": page_at, "page_kinds": kinds}
    if is_scale(packed.format, byte):
        size = TQ_BYTES[packed.format]
        end = byte // size * size + size
        d = packed.lines[line, end - SCALE_BYTES : end].copy().view("<f2")[0]
        reading = f"half of the block's scale: d = {d:.6g}, a float16, low byte first"
        first = byte // size * layouts.TQ_COLUMNS
        return State(**seen, reading=reading, weights=(), block=(first, first + layouts.TQ_COLUMNS), sums={}, at=0)
    N, K = packed.layer.codes.shape
    at_rows, slot = places(packed, line, byte)
    fields = FORMATS[packed.format].fields if packed.format in FORMATS else len(at_rows)
    digits, reading = read(packed.format, value, fields)
    at_rows += [(N, K)] * (len(digits) - len(at_rows))
    weights = tuple(
        Weight(digit, row, column, int(packed.layer.x[column])) if row < N and column < K else Weight(digit, None, None)
        for digit, (row, column) in zip(digits, at_rows, strict=True)
    )
    rows = dict.fromkeys(weight.row for weight in weights if weight.row is not None)
    sums = {row: running(packed, row) for row in rows}
    return State(**seen, reading=reading, weights=weights, block=None, sums=sums, at=slot)


def running(packed: Packed, row: int) -> np.ndarray:
    """The sum of code * x of a row after each of the bytes that hold it, int64: it ends at y[row]."""
    parts = packed.layer.codes[row].astype(np.int64) * packed.layer.x
    return np.cumsum(np.bincount(packed.slots, parts)).astype(np.int64)


# ----------------------------------------------------------------------------------------------------------------------
# The view


class BitInspector(View):
    """Choose a layer, a format and a byte: its bits, its weights, their places, and their part in a product.

    layers: name -> Layer. A byte is chosen by the sliders, by their numbers, or by a click on it.

    Attributes: the controls `layer`, `format`, `line` and `byte`; `state`, what is drawn now.
    """

    def __init__(self, layers: Mapping[str, Layer]):
        if not layers:
            raise ValueError("layers is empty, wanted {name: Layer(codes, scale, x)}")
        self._layers, self._packed = dict(layers), None
        look = {"style": {"description_width": "52px"}, "layout": {"width": "360px"}}
        self.layer = ipywidgets.Dropdown(options=list(layers), description="layer", **look)
        self.format = ipywidgets.Dropdown(options=NAMES[:1], description="format", **look)
        self.line = ipywidgets.IntSlider(max=0, description="line", **look)
        self.byte = ipywidgets.IntSlider(max=0, description="byte", **look)
        rows = [[self.layer, self.format], [self.line, self.byte]]
        super().__init__([ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows], [])
        plain, self.plot = self.plot, PointedPlot(go.Figure())
        # The plain one stays open and unseen: a page that is told of a model and its end at once reports a failure.
        self.children = [self.plot if child is plain else child for child in self.children]
        self.plot.observe(self._pointed, "pointed")
        self._start(self.layer, self.format, self.line, self.byte)

    def _redraw(self) -> None:
        layer = self._layers[self.layer.value]
        offered = formats(layer.codes)
        if tuple(self.format.options) != offered:
            chosen = self.format.value
            self.format.options = offered
            self.format.value = chosen if chosen in offered else offered[0]
        wanted = self.layer.value, self.format.value
        if self._packed is None or (self._packed.name, self._packed.format) != wanted:
            self._packed = pack(self.layer.value, layer, self.format.value)
        for control, size in zip((self.line, self.byte), self._packed.lines.shape, strict=True):
            control.max = size - 1  # a value past it moves there
        self.state = state(self._packed, self.line.value, self.byte.value)
        self.plot.figure = figures.bit_inspector(self.state)
        self._say(str(self.state))

    def _pointed(self, _change: object) -> None:
        """A click on a byte of the page."""
        if self.plot.pointed < 0:
            return
        down, right = divmod(self.plot.pointed, self.state.page.shape[1])
        self.plot.pointed = -1  # so that a click on the same place of another page is one too
        line, byte = self.state.page_at[0] + down, self.state.page_at[1] + right
        self._settling = True  # both move, and one redraw follows
        self.line.value, self.byte.value = line, byte
        self._settling = False
        self._changed(None)
