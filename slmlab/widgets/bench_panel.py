"""How many repetitions until the answer stops moving: one series of timings, cut and estimated in different ways."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets
import numpy as np

from slmlab import figures
from slmlab.exercises.start import median_interval

from .view import View

ESTIMATORS = ("median", "mean", "minimum")
BINS = 32  # of the histogram, equal on a logarithmic scale
STILL = 0.02  # an answer that stays within this share of its last value has stopped moving


@dataclass(frozen=True, eq=False)
class State:
    """What figures.bench_panel draws of n samples in the order of time.

    samples_ms: (n,), all of them; used are samples_ms[warmup : warmup + kept]
    running_ms: (n - warmup,), the estimate after each sample that follows the warm-up
    bin_edges_ms, bin_counts: histogram of the used ones, (BINS + 1,) and (BINS,); edges from all samples
    interval_ms: 95 % interval of the estimate; None for the minimum, and where the samples are too few for one
    settled: after so many repetitions the estimate stays within STILL of its last value
    """

    samples_ms: np.ndarray
    warmup: int
    kept: int
    estimator: str
    estimate_ms: float
    interval_ms: tuple[float, float] | None
    running_ms: np.ndarray
    bin_edges_ms: np.ndarray
    bin_counts: np.ndarray
    whole_median_ms: float
    settled: int

    @property
    def difference(self) -> float:
        """From the median of all samples, as a share of that."""
        return self.estimate_ms / self.whole_median_ms - 1

    @property
    def title(self) -> str:
        calls = "call" if self.kept == 1 else "calls"
        return f"{self.estimator} of {self.kept} {calls} after {self.warmup}: {self.estimate_ms:.4g} ms"

    @property
    def numbers(self) -> str:
        interval = "no interval"
        if self.interval_ms:
            low, high = self.interval_ms
            interval = f"95 % interval {low:.4g} to {high:.4g} ms"
        return f"{interval} · {self.difference:+.1%} from the median of all {self.samples_ms.size}"

    def __str__(self) -> str:
        return (
            f"{self.title}. {self.numbers}. After {self.settled} of {self.running_ms.size} repetitions the "
            f"{self.estimator} stays within {STILL:.0%} of where it ends."
        )


def state(samples_ms: Sequence[float], warmup: int = 0, kept: int | None = None, estimator: str = "median") -> State:
    """Discard `warmup` samples, keep the next `kept` (all that follow when left out), and estimate from these.

    ValueError for samples that are no positive numbers, a cut that leaves none, or an unknown estimator.
    """
    samples_ms = np.asarray(samples_ms, np.float64)
    if samples_ms.ndim != 1 or not samples_ms.size or not (np.isfinite(samples_ms) & (samples_ms > 0)).all():
        raise ValueError("samples_ms: wanted milliseconds, one positive number a repetition, in the order of time")
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}, wanted one of {', '.join(ESTIMATORS)}")
    kept = samples_ms.size - warmup if kept is None else kept
    if warmup < 0 or kept < 1 or warmup + kept > samples_ms.size:
        raise ValueError(f"warmup is {warmup} and kept {kept}, of {samples_ms.size} samples: wanted one or more kept")
    running_ms = _running(samples_ms[warmup:], estimator)
    used_ms = samples_ms[warmup : warmup + kept]
    edges_ms = np.geomspace(samples_ms.min() * 0.999, samples_ms.max() * 1.001, BINS + 1)
    moving = np.flatnonzero(np.abs(running_ms / running_ms[-1] - 1) > STILL)
    return State(
        samples_ms=samples_ms,
        warmup=warmup,
        kept=kept,
        estimator=estimator,
        estimate_ms=float(running_ms[kept - 1]),
        interval_ms=_interval(used_ms, estimator),
        running_ms=running_ms,
        bin_edges_ms=edges_ms,
        bin_counts=np.histogram(used_ms, edges_ms)[0],
        whole_median_ms=float(np.median(samples_ms)),
        settled=int(moving[-1]) + 2 if moving.size else 1,
    )


def _running(values: np.ndarray, estimator: str) -> np.ndarray:
    if estimator == "minimum":
        return np.minimum.accumulate(values)
    counts = np.arange(1, values.size + 1)
    if estimator == "mean":
        return np.cumsum(values) / counts
    return np.array([np.median(values[:count]) for count in counts])


def _interval(values: np.ndarray, estimator: str) -> tuple[float, float] | None:
    """None for the minimum: the next sample may be lower, and nothing says by how much."""
    if estimator == "median" and values.size >= 6:
        return median_interval(values.tolist())
    if estimator == "mean" and values.size >= 2:
        error = 1.96 * values.std(ddof=1) / math.sqrt(values.size)
        return float(values.mean() - error), float(values.mean() + error)
    return None


class BenchPanel(View):
    """Choose what to discard, how much to keep and what to compute; see how far that is from all you measured.

    samples_ms: your timings in the order of time, the warm-up among them; 2 or more

    Attributes: the controls `warmup`, `kept` and `estimator`; `state`, what is drawn now.
    """

    def __init__(self, samples_ms: Sequence[float]):
        self._samples_ms = list(samples_ms)
        n = len(self._samples_ms)
        if n < 2:
            raise ValueError(f"samples_ms has {n} samples, wanted 2 or more")
        look = {"style": {"description_width": "140px"}, "layout": {"width": "448px"}}
        self.warmup = ipywidgets.IntSlider(min=0, max=n // 2, value=0, description="warm-up discarded", **look)
        self.kept = ipywidgets.IntSlider(min=1, max=n, value=min(30, n), description="repetitions kept", **look)
        self.estimator = ipywidgets.Dropdown(options=ESTIMATORS, description="estimator", **look)
        super().__init__([self.warmup, self.kept, self.estimator], [])
        self._start(self.warmup, self.kept, self.estimator)

    def _redraw(self) -> None:
        self.kept.max = len(self._samples_ms) - self.warmup.value  # takes the value down with it
        self.state = state(self._samples_ms, self.warmup.value, self.kept.value, self.estimator.value)
        self.plot.figure = figures.bench_panel(self.state)
        self.text.value = str(self.state)
