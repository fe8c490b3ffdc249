"""The ternary mode of the QuantizationExplorer: where to cut, and how far from 0 to put what is left.

Its own widget, because a threshold and a scale mean nothing to the other schemes.
"""

import html
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ipywidgets
import numpy as np

from slmlab import figures
from slmlab.ledger import html_table

from .view import View

THRESHOLDS = np.linspace(0, 2, 41)  # in mean |w|, as the slider has them
SCALES = np.linspace(0.5, 2.5, 41)
BINS = 101  # of the histogram, to 4 mean |w| on both sides
REACH = 4.0
ABSMEAN = (0.5, 1.0)  # w / mean|w| is rounded to 0 up to a half


@dataclass(frozen=True)
class Point:
    """What a model's loss became with this threshold and scale in all its matrices."""

    threshold: float
    scale: float
    nats_more: float


@dataclass(frozen=True, eq=False)
class State:
    """What figures.ternary_rounding draws of a matrix. Weights, thresholds and scales are in units of mean |w|.

    shares: of the codes -1, 0 and +1
    value_edges, value_counts: histogram of the weights, (BINS + 1,) and (BINS,); those beyond REACH are in the last bin
    plane_db: SQNR of every pair, (scales, thresholds)
    best: threshold, scale and SQNR of the ternary rounding that has the least error of all
    """

    name: str
    threshold: float
    scale: float
    shares: tuple[float, float, float]
    sqnr_db: float
    value_edges: np.ndarray
    value_counts: np.ndarray
    thresholds: np.ndarray
    scales: np.ndarray
    plane_db: np.ndarray
    absmean_db: float
    best: tuple[float, float, float]
    points: tuple[Point, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name}: 0 up to {self.threshold:.2f} mean |w|, else ±{self.scale:.2f} mean |w|"

    @property
    def numbers(self) -> str:
        threshold, scale, best_db = self.best
        return (
            f"SQNR {self.sqnr_db:.2f} dB · absmean {self.absmean_db:.2f} dB · best {best_db:.2f} dB, "
            f"at {threshold:.2f} and {scale:.2f}"
        )

    def __str__(self) -> str:
        return f"{self.title}. {self.numbers}."


def rounded(w: np.ndarray, threshold: float, scale: float) -> np.ndarray:
    """w with 0 where |w| <= threshold * mean|w|, else +-scale * mean|w|: float32, the same shape."""
    mean = np.abs(w).mean(dtype=np.float64)
    return (np.sign(w) * (np.abs(w) > threshold * mean) * float(scale * mean)).astype(np.float32)


def state(w: np.ndarray, name: str, threshold: float, scale: float, points: tuple[Point, ...] = ()) -> State:
    """Round the matrix w, and find the error of all other pairs. ValueError when w has no weight that is not 0."""
    w = np.asarray(w, np.float32)
    if w.ndim != 2 or not w.any():
        raise ValueError(f"{name}: shape {w.shape}, wanted a matrix (N, K) with a weight that is not 0")
    mean = np.abs(w).mean(dtype=np.float64)
    size = np.sort(np.abs(w), axis=None)[::-1].astype(np.float64) / mean  # the largest first
    sums = np.concatenate([[0.0], np.cumsum(size)])
    signal = float(np.square(size).sum())

    def error_db(thresholds, scales):
        kept = np.searchsorted(-size, -np.asarray(thresholds, float), side="left")  # how many are larger
        error = signal - 2 * np.multiply.outer(scales, sums[kept]) + np.multiply.outer(np.square(scales), kept)
        return 10 * np.log10(signal / np.maximum(error, 1e-12 * signal))

    counts = np.arange(1, w.size + 1)
    m = int(np.argmax(sums[1:] ** 2 / counts)) + 1
    cut = (size[m - 1] + (size[m] if m < w.size else 0)) / 2  # anywhere between the last kept and the first that is not
    best_scale = sums[m] / m
    at = w / np.float32(mean)
    positive, zero = float((at > threshold).mean()), float((np.abs(at) <= threshold).mean())
    edges = np.linspace(-REACH, REACH, BINS + 1)
    return State(
        name=name,
        threshold=float(threshold),
        scale=float(scale),
        shares=(1 - positive - zero, zero, positive),
        sqnr_db=float(error_db([threshold], [scale])[0, 0]),
        value_edges=edges,
        value_counts=np.histogram(np.clip(at, -REACH, REACH), edges)[0],
        thresholds=THRESHOLDS,
        scales=SCALES,
        plane_db=error_db(THRESHOLDS, SCALES),
        absmean_db=float(error_db(ABSMEAN[:1], ABSMEAN[1:])[0, 0]),
        best=(float(cut), float(best_scale), float(error_db([cut], [best_scale])[0, 0])),
        points=points,
    )


class TernaryExplorer(View):
    """Move the threshold and the scale of a ternary rounding; see codes and error, and measure what a model says to it.

    tensors: matrices by name, each (N, K), with a weight that is not 0
    nats_more: called with threshold and scale, in mean |w|, when the button is pressed; returns what a token costs the
        model more, in nats, when all its matrices are rounded so. Without it, no button

    Attributes: the controls `layer`, `threshold`, `scale` and `measure`; `state`, what is drawn now; `points`, what was
    measured. An interrupted measurement (Kernel, Interrupt) leaves them as they were.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], nats_more: Callable[[float, float], float] | None = None):
        if not tensors:
            raise ValueError("tensors is empty, wanted {name: matrix of weights}")
        self._tensors, self._nats_more = dict(tensors), nats_more
        self.points: tuple[Point, ...] = ()
        look = {"style": {"description_width": "64px"}, "layout": {"width": "380px"}}
        stepped = {"step": 0.05, "readout_format": ".2f", **look}
        self.layer = ipywidgets.Dropdown(options=list(tensors), description="layer", **look)
        self.threshold = ipywidgets.FloatSlider(ABSMEAN[0], min=0, max=2, description="threshold", **stepped)
        self.scale = ipywidgets.FloatSlider(ABSMEAN[1], min=0.5, max=2.5, description="scale", **stepped)
        self.measure = ipywidgets.Button(description="measure the loss", layout={"width": "180px"})
        self.measure.on_click(self._measure)
        self.note, self.table = ipywidgets.HTML(), ipywidgets.HTML()
        sliders = ipywidgets.HBox([self.threshold, self.scale], layout={"flex_flow": "row wrap"})
        below = [ipywidgets.HBox([self.measure, self.note]), self.table]
        super().__init__([self.layer, sliders], below if nats_more else [])
        self._start(self.layer, self.threshold, self.scale)

    def _redraw(self) -> None:
        name = self.layer.value
        self.state = state(self._tensors[name], name, self.threshold.value, self.scale.value, self.points)
        self.plot.figure = figures.ternary_rounding(self.state)

    def _measure(self, _button: ipywidgets.Button) -> None:
        at = self.threshold.value, self.scale.value
        self.measure.disabled = True
        busy = f"measuring {at[0]:.2f}, {at[1]:.2f}; Kernel, Interrupt stops it"
        self.note.value = f"<label><progress></progress> {html.escape(busy)}</label>"
        note, start = "", time.perf_counter()
        try:
            with self._showing_trouble():
                point = Point(*at, float(self._nats_more(*at)))
                self.points = (*(old for old in self.points if (old.threshold, old.scale) != at), point)
                note = f"{point.nats_more:+.3f} nats a token, measured in {time.perf_counter() - start:.1f} s"
                self._redraw()
                self._tabulate()
        except KeyboardInterrupt:
            note = f"Interrupted. Points kept: {len(self.points)}."
        finally:
            self.measure.disabled = False
            self.note.value = note

    def _tabulate(self) -> None:
        name, w = self.layer.value, self._tensors[self.layer.value]
        rows = []
        for point in sorted(self.points, key=lambda point: point.nats_more):
            sqnr_db = state(w, name, point.threshold, point.scale).sqnr_db
            numbers = f"{point.threshold:.2f}", f"{point.scale:.2f}", f"{sqnr_db:.2f}", f"{point.nats_more:+.3f}"
            rows.append([*numbers])
        self.table.value = html_table(["threshold", "scale", f"SQNR of {name}, dB", "nats more"], rows)
