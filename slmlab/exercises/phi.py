"""Exercises of lab 14: quantization of a weight matrix. Of 11: textbook.

The random matrices lie on a grid, give or take 0.4 of a step: no value is near the middle between two codes, where
one rounding in float32 more or less would decide.
"""

from collections.abc import Iterator

import numpy as np

from . import textbook
from .check import Exercise


def round_symmetric(x: np.ndarray, bits: int, group: int) -> np.ndarray:
    """x rounded to a symmetric grid, as float32: `group` neighbours in a row share the scale max|x| / Q.

    x: (N, K) float32, group divides K. Codes are whole numbers in -Q ... Q with Q = 2**(bits - 1) - 1; each value
    becomes scale * code. A group of zeros stays zero.
    """
    largest_code = 2 ** (bits - 1) - 1
    rounded = np.zeros(x.shape, np.float32)
    for row in range(x.shape[0]):
        for start in range(0, x.shape[1], group):
            values = x[row, start : start + group]
            scale = np.abs(values).max() / largest_code
            if scale > 0:
                rounded[row, start : start + group] = np.round(values / scale) * scale
    return rounded


def _near_symmetric_grid(rng: np.random.Generator, rows: int, groups: int, group: int, bits: int) -> np.ndarray:
    """(rows, groups * group) float32; a scale of its own for each group, whose largest value has the largest code."""
    shape, largest_code = (rows, groups, group), 2 ** (bits - 1) - 1
    steps = rng.integers(-largest_code, largest_code + 1, shape) + rng.uniform(-0.4, 0.4, shape)
    steps = np.clip(steps, -largest_code, largest_code)
    place = rng.integers(group, size=(rows, groups, 1))
    np.put_along_axis(steps, place, rng.choice([-largest_code, largest_code], (rows, groups, 1)), axis=2)
    return (steps * rng.uniform(0.01, 1, (rows, groups, 1))).astype(np.float32).reshape(rows, groups * group)


def _round_symmetric_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[7, -3, 1, 0]], np.float32), 4, 4  # on the grid already
    yield np.array([[-0.7, 0.28, 0.13, 0]], np.float32), 4, 4  # the largest is negative
    yield np.array([[1.4, 0.2, -7, 3]], np.float32), 4, 2
    yield np.zeros((2, 4), np.float32), 8, 2
    yield np.array([[0, 0, 3, -1.9]], np.float32), 3, 2  # a group of zeros beside another
    for size in range(1, 16):
        bits, group = int(rng.choice([2, 3, 4, 8])), int(rng.integers(2, 4 * size + 2))
        yield _near_symmetric_grid(rng, size, int(rng.integers(1, 4)), group, bits), bits, group


def stored_bits_per_weight(rows: int, columns: int, bits: int, group: int, zero_points: bool) -> float:
    """Bits that a weight takes in a file, all counted.

    A (rows, columns) matrix: a code of `bits` a weight, a scale of 16 bits a group, and a zero point of `bits` a group
    if `zero_points`. `group` neighbours in a row make a group; the last one of a row may be shorter.
    """
    total = 0
    for _ in range(rows):
        total += columns * bits
        for _ in range(0, columns, group):
            total += 16
            if zero_points:
                total += bits
    return total / (rows * columns)


def _stored_bits_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield 1, 32, 4, 32, False
    yield 1, 32, 4, 32, True
    yield 1, 48, 4, 32, False  # the second group is short
    yield 3, 10, 8, 10, False
    yield 2, 7, 3, 16, True  # the only group is short
    for size in range(1, 16):
        columns = int(rng.integers(1, 60 * size))
        bits, group = int(rng.choice([2, 3, 4, 8])), int(rng.choice([16, 32, 64, 128, columns]))
        yield int(rng.integers(1, 20)), columns, bits, group, bool(rng.integers(2))


def token_nll(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """What each token but the first cost the model: -log of the probability it gave to that token, in nats.

    logits: (T, V) float32, row t holds the scores of token t + 1. ids: (T,) int64. Returns (T - 1,) floats.
    """
    nll = np.zeros(len(ids) - 1)
    for t in range(len(ids) - 1):
        scores = logits[t].astype(np.float64)
        scores -= scores.max()  # exp of a large score would overflow
        nll[t] = np.log(np.exp(scores).sum()) - scores[ids[t + 1]]
    return nll


def _token_nll_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[0, 0], [5, 1]], np.float32), np.array([1, 0])  # log 2
    yield np.array([[0, 3], [5, 1], [2, 2]], np.float32), np.array([1, 0, 1])
    yield np.array([[1000, 999, 0], [0, 0, 0]], np.float32), np.array([2, 1])  # exp(1000) is infinite
    for size in range(1, 15):
        tokens, vocabulary = int(rng.integers(2, 3 * size + 2)), int(rng.integers(2, 12 * size))
        logits = rng.normal(rng.uniform(-200, 200), 3, (tokens, vocabulary)).astype(np.float32)
        yield logits, rng.integers(vocabulary, size=tokens)


def round_asymmetric(x: np.ndarray, bits: int, group: int) -> np.ndarray:
    """x rounded to an asymmetric grid on which 0 is exact, as float32.

    x: (N, K) float32, group divides K. The range of each group, stretched to contain 0, is cut into L = 2**bits - 1
    steps: scale = (high - low) / L, zero_point = -low / scale rounded to a whole number, code = x / scale rounded plus
    zero_point, in 0 ... L. Each value becomes scale * (code - zero_point). A group of zeros stays zero.
    """
    levels = 2**bits - 1
    rounded = np.zeros(x.shape, np.float32)
    for row in range(x.shape[0]):
        for start in range(0, x.shape[1], group):
            values = x[row, start : start + group]
            low, high = min(values.min(), 0), max(values.max(), 0)
            scale = (high - low) / levels
            if scale > 0:
                zero_point = np.round(-low / scale)
                codes = np.clip(np.round(values / scale) + zero_point, 0, levels)
                rounded[row, start : start + group] = scale * (codes - zero_point)
    return rounded


def _near_asymmetric_grid(rng: np.random.Generator, rows: int, group: int, bits: int, kind: str) -> np.ndarray:
    """(rows, group) float32, a row a group. kind: "both" signs, or all "positive" or "negative" and far from 0."""
    shape, levels = (rows, group), 2**bits - 1
    if kind == "both":
        below = rng.integers(1, levels, (rows, 1)) + rng.uniform(-0.4, 0.4, (rows, 1))  # steps from low to 0
        steps = rng.integers(0, levels + 1, shape) - np.round(below) + rng.uniform(-0.4, 0.4, shape)
        steps = np.clip(steps, -below, levels - below)
        steps[:, [0]], steps[:, [1]] = -below, levels - below
    else:
        steps = rng.integers(levels // 2 + 1, levels + 1, shape) + rng.uniform(-0.4, 0.4, shape)
        steps = np.minimum(steps, levels)
        steps[:, 0] = levels
        steps *= 1 if kind == "positive" else -1
    steps = rng.permuted(steps, axis=1)
    return (steps * rng.uniform(0.01, 1, (rows, 1))).astype(np.float32)


def _round_asymmetric_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[-1, 0, 1, 2]], np.float32), 2, 4  # on the grid already
    yield np.array([[-1.3, 0, 1, 1.7]], np.float32), 2, 4  # low / scale is no whole number
    yield np.array([[2, 3, 2.2, 2.9]], np.float32), 2, 4  # 0 lies outside
    yield np.array([[-2, -3, -2.2, -2.9]], np.float32), 2, 4
    yield np.array([[0.3, 0.13, 0, 0, 5, 1.1]], np.float32), 4, 2  # a scale a group, a group of zeros among them
    for size in range(1, 16):
        bits, group = int(rng.choice([2, 3, 4, 8])), 2 + 2 * size
        kinds = [str(rng.choice(["both", "both", "positive", "negative"])) for _ in range(int(rng.integers(1, 4)))]
        yield np.hstack([_near_asymmetric_grid(rng, size, group, bits, kind) for kind in kinds]), bits, group


def distinct_values(x: np.ndarray, group: int) -> np.ndarray:
    """How many different values each group of `group` neighbours in a row holds.

    x: (N, K) float32, group divides K. Returns (N, K // group) integers.
    """
    counts = np.zeros((x.shape[0], x.shape[1] // group), np.int64)
    for row in range(x.shape[0]):
        for place in range(x.shape[1] // group):
            counts[row, place] = len(set(x[row, place * group : (place + 1) * group].tolist()))
    return counts


def _distinct_values_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[1, 1]], np.float32), 2
    yield np.array([[1, 2, 1, 1]], np.float32), 4  # 1 comes back after 2
    yield np.array([[1, 2, 3, 3], [4, 4, 4, 4]], np.float32), 2
    yield np.array([[0.1, 0.10000001, 0.2, 0.1]], np.float32), 4  # the first two differ in the last bit
    for size in range(1, 16):
        group = int(rng.integers(2, 4 * size + 2))
        levels = rng.normal(size=int(rng.integers(1, 2 * group))).astype(np.float32)
        yield rng.choice(levels, (size, int(rng.integers(1, 4)) * group)), group


def w8a8_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w.T with both in int8: one scale max|x| / 127 a token (row of x), one scale max|w| / 127 a row of w.

    x: (T, K) float32, w: (N, K) float32, no row all zero. The products of codes are summed in int32, then scaled.
    Returns (T, N) float32.
    """
    x_scale = np.abs(x).max(axis=1) / 127
    w_scale = np.abs(w).max(axis=1) / 127
    x_codes = [np.round(x[t] / x_scale[t]).astype(np.int32) for t in range(len(x))]
    w_codes = [np.round(w[n] / w_scale[n]).astype(np.int32) for n in range(len(w))]
    y = np.zeros((len(x), len(w)), np.float32)
    for t in range(len(x)):
        for n in range(len(w)):
            y[t, n] = np.dot(x_codes[t], w_codes[n]) * x_scale[t] * w_scale[n]
    return y


def _w8a8_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[127]], np.float32), np.array([[127]], np.float32)
    yield np.array([[2, -1.2]], np.float32), np.array([[3, 3], [1, -0.6]], np.float32)
    yield np.full((2, 40), 0.5, np.float32), np.full((2, 40), -0.25, np.float32)  # 40 * 127 * 127 is beyond int16
    yield np.array([[1000, 5], [1, 0.4]], np.float32), np.array([[0.1, 1], [1, 0.1]], np.float32)  # an outlier
    for size in range(1, 14):
        tokens, rows, width = (int(n) for n in rng.integers(1, [size + 1, size + 3, 30 * size]))
        x = _near_symmetric_grid(rng, tokens, 1, width, bits=8)
        x *= np.where(rng.random((tokens, 1)) < 0.2, 300, 1).astype(np.float32)  # some tokens are far larger
        yield x, _near_symmetric_grid(rng, rows, 1, width, bits=8)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="symmetric-round",
        reference=round_symmetric,
        cases=_round_symmetric_cases,
        hint="Reshape to (groups, group), take the largest |x| of each line, and mind the lines of zeros.",
        lines=5,
        rtol=1e-5,
        atol=1e-7,
    ),
    Exercise(
        id="stored-bits",
        reference=stored_bits_per_weight,
        cases=_stored_bits_cases,
        hint="Groups do not run over the end of a row: count those of one row, the short one included.",
        lines=3,
        rtol=1e-9,
    ),
    Exercise(
        id="token-nll",
        reference=token_nll,
        cases=_token_nll_cases,
        hint="Row t of the logits speaks of token t + 1, and log-sum-exp is safe once the largest logit is subtracted.",
        lines=4,
        rtol=1e-4,
        atol=1e-4,
    ),
    Exercise(
        id="asymmetric-round",
        reference=round_asymmetric,
        cases=_round_asymmetric_cases,
        hint="The zero point is a whole number, and 0 belongs to the range even where no value is 0.",
        lines=8,
        rtol=1e-5,
        atol=1e-6,
    ),
    Exercise(
        id="distinct-values",
        reference=distinct_values,
        cases=_distinct_values_cases,
        hint="In a sorted group, equal values are neighbours.",
        lines=3,
    ),
    Exercise(
        id="w8a8-matmul",
        reference=w8a8_matmul,
        cases=_w8a8_cases,
        hint="A sum of int8 products leaves int8 after two terms: widen the codes before you multiply them.",
        lines=6,
        rtol=1e-4,
        atol=1e-4,
    ),
    *textbook.EXERCISES,
)
