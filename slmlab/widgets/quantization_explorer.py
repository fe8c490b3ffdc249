"""What quantization does to one layer: its values and codes, where the error lies, and what the model says to it."""

import html
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import ipywidgets
import numpy as np

from slmlab import figures, quant
from slmlab.ledger import format_bytes, html_table

from .view import Plot, View

BITS = {"symmetric": (2, 3, 4, 8), "asymmetric": (2, 3, 4, 8), "nf4": (4,), "ternary": (1.58,)}
GROUPS = ("tensor", "row", 256, 128, 64, 32, 16)
SMOOTH = 4_000_000  # weights; more take longer than 100 ms
BINS = 121  # of the histogram: odd, so that zero is in the middle of one, and the extremes in the middle of the last
BLOCKS = (96, 128)  # at most so many rows and columns in the map of errors: 12,288 numbers, 65 kB on the wire


@dataclass(frozen=True)
class Settings:
    """How to quantize: a scheme of slmlab.quant, its bits, and what shares a scale.

    layer: a name, for titles and for the function that measures perplexity
    bits: 2, 3, 4 or 8 for "symmetric" and "asymmetric"; fixed for "nf4" (4) and "ternary" (1.58)
    group: "tensor", "row", or so many neighbours in a row; "ternary" has no such groups
    """

    layer: str = "layer"
    scheme: str = "symmetric"
    bits: float = 4
    group: quant.Group = "row"

    def __post_init__(self):
        if self.scheme not in BITS:
            raise ValueError(f"scheme is {self.scheme!r}, wanted one of {', '.join(BITS)}")
        if self.bits not in BITS[self.scheme]:
            wanted = " or ".join(map(str, BITS[self.scheme]))
            raise ValueError(f"bits is {self.bits!r}, wanted {wanted} for scheme {self.scheme!r}")

    def quantize(self, x: np.ndarray) -> quant.Quantized:
        """x by these settings. QuantError for what quant cannot do."""
        if self.scheme == "nf4":
            return quant.quantize_nf4(x, self.group)
        if self.scheme == "ternary":
            return quant.quantize_ternary(x, self.group)
        return quant.quantize(x, self.bits, self.scheme, self.group)

    def __str__(self) -> str:
        name = {"nf4": "NF4", "ternary": "ternary"}.get(self.scheme, f"{self.scheme}, {self.bits} bits")
        shared = f"a {self.group}" if isinstance(self.group, str) else f"{self.group} weights"
        return f"{name}, one scale for {shared}"


@dataclass(frozen=True, eq=False)
class State:
    """What figures.quantization draws of an (N, K) matrix.

    value_edges, value_counts: histogram of the values, (BINS + 1,) and (BINS,)
    levels: all values that a code can stand for, ascending, in the group of the largest, median and smallest scale
    codes, code_counts: every code there is, ascending, and how many weights have it
    block, error_blocks: (height, width) of a block of weights; RMS error of each over the RMS of the matrix
    max_error, rms_error: in the unit of the weights
    """

    settings: Settings
    value_edges: np.ndarray
    value_counts: np.ndarray
    levels: dict[str, np.ndarray]
    codes: np.ndarray
    code_counts: np.ndarray
    block: tuple[int, int]
    error_blocks: np.ndarray
    stored_bytes: int
    bits_per_weight: float
    max_error: float
    rms_error: float
    sqnr_db: float

    @property
    def title(self) -> str:
        return f"{self.settings.layer}: {self.settings}"

    @property
    def numbers(self) -> str:
        return (
            f"{format_bytes(self.stored_bytes)}, {self.bits_per_weight:.2f} bits per weight · max error "
            f"{self.max_error:.3g} · RMS error {self.rms_error:.3g} · SQNR {self.sqnr_db:.1f} dB · "
            f"{np.count_nonzero(self.code_counts)} of {self.codes.size} codes in use"
        )

    def __str__(self) -> str:
        return f"{self.title}. {self.numbers}."


def state(x: np.ndarray, settings: Settings) -> State:
    """Quantize the (N, K) matrix x, and gather what there is to see.

    ValueError when x is no matrix; QuantError for what quant cannot do.
    """
    x = np.asarray(x)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"{settings.layer}: shape {x.shape}, wanted a matrix (N, K) with at least one weight")
    x = x.astype(np.float32, copy=False)
    quantized = settings.quantize(x)
    restored = quantized.dequantize()
    error = quant.error(x, restored)
    value_edges, value_counts = _histogram(x)
    codes = _codes(quantized)
    block = tuple(-(-size // most) for size, most in zip(x.shape, BLOCKS, strict=True))
    rms = float(np.sqrt(np.mean(np.square(x), dtype=np.float64)))
    error_blocks = _rms_of_blocks(x - restored, block)
    return State(
        settings=settings,
        value_edges=value_edges,
        value_counts=value_counts,
        levels=_levels(quantized, codes),
        codes=codes,
        code_counts=np.bincount(quantized.codes.ravel() - codes[0], minlength=codes.size),
        block=block,
        error_blocks=error_blocks / rms if rms else error_blocks,
        stored_bytes=quantized.stored_bytes,
        bits_per_weight=quantized.stored_bits_per_weight,
        max_error=error.max_abs,
        rms_error=error.rms,
        sqnr_db=error.sqnr_db,
    )


def _histogram(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of BINS bins, and how many weights are nearest to the middle of each. (np.histogram takes four times as
    long, and this is done while a slider moves.)"""
    side = BINS // 2
    step = (float(np.abs(x).max()) or 1.0) / side
    nearest = np.rint(x * np.float32(1 / step)).astype(np.int8)
    return step * (np.arange(BINS + 1) - BINS / 2), np.bincount(nearest.ravel() + np.int64(side), minlength=BINS)


def _codes(quantized: quant.Quantized) -> np.ndarray:
    """Every code of the scheme, ascending."""
    if quantized.scheme == "symmetric":
        largest = 2 ** (quantized.bits - 1) - 1
        return np.arange(-largest, largest + 1)
    return np.arange(-1, 2) if quantized.scheme == "ternary" else np.arange(2**quantized.bits)


def _levels(quantized: quant.Quantized, codes: np.ndarray) -> dict[str, np.ndarray]:
    scales = quantized.scale.ravel()
    order = np.argsort(scales, kind="stable")
    places = {"largest scale": order[-1], "median scale": order[len(order) // 2], "smallest scale": order[0]}
    if scales.size == 1:
        places = {"levels": 0}
    levels = {}
    for name, place in places.items():
        zero_point = None if quantized.zero_point is None else quantized.zero_point.reshape(-1, 1)[[place]]
        codes_of_one = codes.astype(quantized.codes.dtype).reshape(1, -1)
        one = replace(quantized, codes=codes_of_one, scale=scales[[place]].reshape(1, 1), zero_point=zero_point)
        levels[name] = replace(one, group="tensor").dequantize().ravel()
    return levels


def _rms_of_blocks(x: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Root mean square of each block of x; those at the right and lower edge may be smaller."""
    starts = [np.arange(0, size, step) for size, step in zip(x.shape, block, strict=True)]
    sums = np.add.reduceat(np.add.reduceat(np.square(x), starts[1], axis=1), starts[0], axis=0)
    sizes = [np.diff(np.append(start, size)) for start, size in zip(starts, x.shape, strict=True)]
    return np.sqrt(sums / np.outer(*sizes))


@dataclass(frozen=True)
class Point:
    """One measured perplexity. bits_per_weight: as stored, scales included, of the layer shown."""

    settings: Settings
    bits_per_weight: float
    perplexity: float


class QuantizationExplorer(View):
    """Choose a layer and how to quantize it; see values, codes, error and size, and measure what the model makes of it.

    tensors: the layers' weights by name, each (N, K), taken as float32
    perplexity: called with the Settings when the button is pressed; returns the perplexity. Without it, no button
    baseline: perplexity of the model as it was, drawn as a line

    Attributes: the controls `layer`, `scheme`, `bits`, `group` and `measure`; `state`, what is drawn now; `points`,
    what was measured, one Point a Settings. An interrupted measurement (Kernel, Interrupt) leaves them as they were.
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        perplexity: Callable[[Settings], float] | None = None,
        baseline: float | None = None,
    ):
        if not tensors:
            raise ValueError("tensors is empty, wanted {name: matrix of weights}")
        self._tensors, self._perplexity, self._baseline = dict(tensors), perplexity, baseline
        self.points: list[Point] = []

        look = {"style": {"description_width": "52px"}, "layout": {"width": "360px"}}
        self.layer = ipywidgets.Dropdown(options=list(tensors), description="layer", **look)
        self.scheme = ipywidgets.Dropdown(options=list(BITS), description="scheme", **look)
        self.bits = ipywidgets.SelectionSlider(options=BITS["symmetric"], value=4, description="bits", **look)
        self.group = ipywidgets.SelectionSlider(options=GROUPS, value="row", description="group", **look)
        self.measure = ipywidgets.Button(description="measure perplexity", layout={"width": "180px"})
        self.measure.on_click(self._measure)
        self.note = ipywidgets.HTML()
        self.curve = Plot(figures.perplexity_points([], baseline))
        self.table = ipywidgets.HTML()
        self.results = ipywidgets.VBox()  # empty until there is a point
        rows = [[self.layer, self.bits], [self.scheme, self.group]]
        below = [ipywidgets.HBox([self.measure, self.note]), self.results]
        super().__init__(
            [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows], below if perplexity else []
        )
        self._start(self.layer, self.scheme, self.bits, self.group)

    def _redraw(self) -> None:
        scheme = self.scheme.value
        _offer(self.bits, BITS[scheme], fallback=4)
        _offer(self.group, GROUPS[:2] if scheme == "ternary" else GROUPS, fallback="row")
        x = self._tensors[self.layer.value]
        if np.size(x) > SMOOTH:
            self.text.value = _progress("quantizing")
        self.state = state(x, Settings(self.layer.value, scheme, self.bits.value, self.group.value))
        self.plot.figure = figures.quantization(self.state)
        self.text.value = ""

    def _measure(self, _button: ipywidgets.Button) -> None:
        settings = self.state.settings
        self.measure.disabled = True
        self.note.value = _progress(f"measuring {settings}; Kernel, Interrupt stops it")
        note, start = "", time.perf_counter()
        try:
            with self._showing_trouble():
                point = Point(settings, self.state.bits_per_weight, float(self._perplexity(settings)))
                self.points = [*(old for old in self.points if old.settings != settings), point]
                self._show_points()
                note = f"perplexity {point.perplexity:.4g}, measured in {time.perf_counter() - start:.1f} s"
        except KeyboardInterrupt:
            note = f"Interrupted. Points kept: {len(self.points)}."
        finally:
            self.measure.disabled = False
            self.note.value = note

    def _show_points(self) -> None:
        self.curve.figure = figures.perplexity_points(self.points, self._baseline)
        self.table.value = html_table(
            ["layer", "settings", "bits per weight", "perplexity"],
            [
                [p.settings.layer, str(p.settings), f"{p.bits_per_weight:.2f}", f"{p.perplexity:.4g}"]
                for p in sorted(self.points, key=lambda p: p.bits_per_weight)
            ],
            left=(0, 1),
        )
        self.results.children = [self.curve, self.table]


def _offer(control: ipywidgets.SelectionSlider, options: tuple, fallback: object) -> None:
    """Give a slider these options; it keeps its value where it can, and is disabled where there is no choice."""
    if tuple(control.options) != options:
        value = control.value
        with control.hold_sync():
            control.options = options
            control.value = value if value in options else fallback if fallback in options else options[0]
    control.disabled = len(options) == 1


def _progress(what: str) -> str:
    """A bar without an end in sight: the browser keeps it moving while the kernel is at work."""
    return f"<label><progress></progress> {html.escape(what)}</label>"
