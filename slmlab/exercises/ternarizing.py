"""Exercises of lab 41: three values a weight, how to choose them, how to compute with them, how to train them."""

from collections.abc import Iterator

import numpy as np

from .check import Exercise


def absmean_codes(w: np.ndarray) -> tuple[np.ndarray, float]:
    """BitNet's codes and scale of a matrix: w, (N, K) float32, is about scale * codes.

    The scale is the mean of |w|. A code is w / scale, rounded to a whole number and kept within -1 and +1: (N, K) int8.
    A matrix of zeros has the codes 0 and the scale 0.
    """
    scale = float(np.abs(w).mean(dtype=np.float64))
    if scale == 0:
        return np.zeros(w.shape, np.int8), 0.0
    return np.clip(np.round(w / scale), -1, 1).astype(np.int8), scale


def _absmean_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield (np.array([[1.0, -1.0]], np.float32),)
    yield (np.array([[3.0, -0.6, 0.2, 0.2]], np.float32),)
    yield (np.array([[0.2, 0.9], [-5.0, 0.1]], np.float32),)
    yield (np.zeros((2, 3), np.float32),)
    yield (np.array([[1e-20, -1e-20, 0.0]], np.float32),)
    for size in range(1, 14):
        w = rng.standard_t(4, (size, int(rng.integers(1, 5 * size + 1)))) * 10.0 ** rng.integers(-3, 2)
        yield (w.astype(np.float32),)
    yield (np.array([[0.0, 0.0, 0.0], [0.4, -0.1, 0.2]], np.float32),)  # a row of zeros is no matrix of zeros


def best_ternary(w: np.ndarray) -> tuple[np.ndarray, float]:
    """The codes -1, 0, +1 and the scale for which sum((w - scale * codes)**2) is least.

    w: (N, K) float32, no two of its weights equally large. If m weights are not 0, they are the m largest by |w|, each
    with its own sign. The best scale for them is the mean of their |w|, and each weight more or less is tried: of all m
    from 1 to N * K the one with the least error. A matrix of zeros has the codes 0 and the scale 0.
    Returns (N, K) int8 and the scale.
    """
    if not w.any():
        return np.zeros(w.shape, np.int8), 0.0
    largest_first = np.sort(np.abs(w), axis=None)[::-1].astype(np.float64)
    sums = np.cumsum(largest_first)  # of the 1, 2, 3 ... largest
    counts = np.arange(1, w.size + 1)
    # sum((w - s c)**2) = sum(w**2) - 2 s S + s**2 m, and with s = S / m: sum(w**2) - S**2 / m
    m = int(np.argmax(sums**2 / counts)) + 1
    kept = np.abs(w) >= largest_first[m - 1]
    return (np.sign(w) * kept).astype(np.int8), float(sums[m - 1] / m)


def _best_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield (np.array([[2.0]], np.float32),)
    yield (np.array([[-2.0, 0.5]], np.float32),)
    yield (np.array([[-2.0, 1.5, 0.25]], np.float32),)
    yield (np.array([[10.0, 1.0, -0.9], [0.8, 1.1, -0.7]], np.float32),)  # one large weight takes all
    yield (np.zeros((2, 2), np.float32),)
    for size in range(1, 13):
        w = rng.standard_t(4, (size, int(rng.integers(2, 5 * size + 2)))) * 10.0 ** rng.integers(-3, 2)
        yield (w.astype(np.float32),)
    yield (rng.standard_normal((2, 60)).astype(np.float32) + 3,)  # no weight is small: none becomes 0
    yield (rng.standard_normal((100, 100)).astype(np.float32),)


def bit_linear(x: np.ndarray, w_codes: np.ndarray, w_scale: float) -> np.ndarray:
    """A ternary layer on tokens of 8 bits, (M, K) float32 -> (M, N) float32.

    w_codes: (N, K) int8 of -1, 0, +1; the weights are w_scale * w_codes. Each token x[m] is rounded by itself to whole
    numbers from -127 to 127: x_codes[m] = round(x[m] * 127 / max|x[m]|). The products of codes are summed as whole
    numbers, and the sum is turned back into the units of x @ w.T. A token of zeros gives zeros.
    """
    y = np.zeros((len(x), len(w_codes)), np.float32)
    for m, token in enumerate(x):
        largest = np.abs(token).max()
        if largest > 0:
            x_codes = np.round(token * (127 / largest)).astype(np.int64)
            y[m] = (w_codes @ x_codes) * (w_scale * largest / 127)
    return y


def _tokens(rng: np.random.Generator, M: int, K: int) -> np.ndarray:
    """(M, K) float32 of loud and soft tokens; none is so near to the middle of two codes that arithmetic decides."""
    codes = rng.integers(-126, 127, (M, K)) + rng.uniform(-0.4, 0.4, (M, K))
    codes[np.arange(M), rng.integers(0, K, M)] = 127 * rng.choice([-1, 1], M)
    return (codes * 10.0 ** rng.integers(-4, 2, (M, 1))).astype(np.float32)


def _bit_linear_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[1.0]], np.float32), np.array([[1]], np.int8), 0.5
    yield np.array([[1.0, 0.25]], np.float32), np.array([[0, 1]], np.int8), 1.0
    yield np.array([[0.5, -0.3], [200.0, 100.0]], np.float32), np.array([[1, -1], [0, 1]], np.int8), 0.5  # a loud token
    yield np.array([[0.0, 0.0], [0.01, -0.02]], np.float32), np.array([[1, 1]], np.int8), 2.0  # a silent one
    yield np.ones((2, 300), np.float32), np.ones((1, 300), np.int8), 1.0  # a sum of 38,100: more than int16 holds
    for size in range(1, 13):
        M, K, N = (int(n) for n in rng.integers(1, 4 * size + 1, 3))
        yield _tokens(rng, M, K), rng.integers(-1, 2, (N, K), dtype=np.int8), float(rng.uniform(0.01, 2))


def straight_through(
    gradient: np.ndarray, x: np.ndarray, w_codes: np.ndarray, w_scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of a loss by x, (M, K), and by the latent weights, (N, K), float32, where y = bit_linear(x, ...).

    gradient: (M, N) float32, of the loss by y. Both roundings are passed as if they were not there, but the product is
    the rounded one: y = xr @ wr.T with wr = w_scale * w_codes and each token of xr = x rounded to multiples of its
    max|x| / 127. So that of x[m, k] is sum over n of gradient[m, n] * wr[n, k], and that of the latent weight [n, k] is
    sum over m of gradient[m, n] * xr[m, k].
    """
    step = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    step[step == 0] = 1  # any step keeps zeros
    xr = np.round(x / step) * step
    wr = np.float32(w_scale) * w_codes
    return gradient @ wr, gradient.T @ xr


def _straight_through_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[1.0]], np.float32), np.array([[0.5]], np.float32), np.array([[1]], np.int8), 0.25
    yield np.array([[2.0]], np.float32), np.array([[0.5]], np.float32), np.array([[0]], np.int8), 0.25
    yield (
        *(np.array([[1.0, -2.0]], np.float32), np.array([[1.0, 0.203, -0.4]], np.float32)),
        *(np.array([[1, 0, -1], [0, 1, 1]], np.int8), 0.5),
    )
    yield np.ones((2, 1), np.float32), np.array([[0.0, 0.0], [3.0, -1.0]], np.float32), np.ones((1, 2), np.int8), 1.0
    for size in range(1, 13):
        M, K, N = (int(n) for n in rng.integers(1, 3 * size + 1, 3))
        gradient = rng.standard_normal((M, N)).astype(np.float32)
        yield gradient, _tokens(rng, M, K), rng.integers(-1, 2, (N, K), dtype=np.int8), float(rng.uniform(0.01, 2))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="absmean-codes",
        reference=absmean_codes,
        cases=_absmean_cases,
        hint="One scale for the whole matrix: the mean of |w|, not |mean of w|. Round first, clip to -1 ... +1 then.",
        lines=4,
        rtol=1e-5,
    ),
    Exercise(
        id="best-ternary",
        reference=best_ternary,
        cases=_best_cases,
        hint="With m weights kept, whose |w| sum up to S, the error is sum(w**2) - S**2 / m: sort |w|, add up once, "
        "take the m with the largest S**2 / m.",
        lines=7,
        rtol=1e-5,
    ),
    Exercise(
        id="bit-linear",
        reference=bit_linear,
        cases=_bit_linear_cases,
        hint="A token's scale is its own largest |x|; what was multiplied by 127 / max|x| must be divided by it again.",
        lines=6,
        rtol=1e-4,
        atol=1e-5,
    ),
    Exercise(
        id="straight-through",
        reference=straight_through,
        cases=_straight_through_cases,
        hint="A factor of a product gets the gradient times the other factor, as that stood in the product: rounded.",
        lines=5,
        rtol=1e-3,
        atol=1e-4,
    ),
)
