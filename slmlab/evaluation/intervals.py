"""95 % confidence intervals of what an evaluation counts and averages.

Accuracies      share()        Wilson's score interval
two of them     difference()   Newcombe's hybrid score interval ("method 10")
losses          ratio()        a ratio of sums over documents, linearized
anything else   bootstrap()    percentiles over resampled documents

Sources: E. B. Wilson, JASA 22 (1927) 209; R. G. Newcombe, Statistics in Medicine 17 (1998) 857 and 873; W. G. Cochran,
Sampling Techniques (3rd ed. 1977), 6.4; B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), 13.3.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .errors import EvaluationError

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and how many items (questions, documents, pairs) it rests on."""

    value: float
    low: float
    high: float
    count: int


def share(right: int, count: int) -> Estimate:
    """The share right / count. It has an interval of some width even where all are right, or none."""
    if not 0 <= right <= count or count < 1:
        raise EvaluationError(f"{right} of {count} came, wanted 0 to all of at least one item")
    p, spread = right / count, Z * Z / count
    middle = (p + spread / 2) / (1 + spread)
    half = Z * math.sqrt(p * (1 - p) / count + spread / (4 * count)) / (1 + spread)
    low = 0.0 if right == 0 else middle - half  # exactly so; in floating point it is nearly so
    high = 1.0 if right == count else middle + half
    return Estimate(p, low, high, count)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a.value - b.value of two share()s. Where both saw the same items the interval is, as a rule, too wide."""
    value = a.value - b.value
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, value - below, value + above, min(a.count, b.count))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """sum(numerators) / sum(denominators), one pair a document: nats and tokens give nats a token.

    Documents are the sample, not tokens: those of one document are no independent witnesses. Denominators of 1 give
    the mean and value +- 1.96 s / sqrt(n).
    """
    y, x = np.asarray(numerators, float), np.asarray(denominators, float)
    if len(y) < 2 or len(y) != len(x) or not x.sum() > 0:
        raise EvaluationError(
            f"{len(y)} numerators and {len(x)} denominators with the sum {x.sum():g} came, wanted as many of both, "
            "at least two documents, and some tokens"
        )
    value = y.sum() / x.sum()
    half = Z * math.sqrt(len(y) / (len(y) - 1) * np.square(y - value * x).sum()) / x.sum()
    return Estimate(float(value), float(value - half), float(value + half), len(y))


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], groups: Sequence[int], seed: int = 0) -> Estimate:
    """A statistic of documents that are drawn again and again, with its percentiles.

    statistic: weights (draws, documents), how often each document was drawn -> (draws,). All 1 gives the value
    groups: how many documents each group has, one group after another; as many are drawn from it
    """
    if not groups or min(groups) < 2:
        raise EvaluationError(f"groups of {list(groups)} documents came, wanted at least two in each to resample")
    rng = np.random.default_rng(seed)
    draws = np.hstack([rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) for count in groups])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(statistic(draws), [tail, 1 - tail])
    (value,) = statistic(np.ones((1, sum(groups)), int))
    return Estimate(float(value), float(low), float(high), sum(groups))
