"""The compiled backends. Use them through `cython_kernels`."""

from collections.abc import Sequence

import numpy as np

FORMAT: int
ROWS: tuple[tuple[str, bool, bool], ...]
"""(name, built, supported) of every row of c/dispatch.c, slowest first."""

class Matrix:
    """Packed weights (N, K), checked once and ready to be multiplied by one backend.

    packed: what `pack(codes, format)` returned, kept without a copy (and read only) unless `held` differs from `format`.
    scale: the weights are codes * scale; one number, or (N,) float32, one a row.
    backend: a name of `ROWS` that is built and supported.
    A backend without a kernel for base-3 bytes holds them expanded to "2bit", at 2 bits a weight.
    """

    N: int
    K: int
    format: str
    held: str
    backend: str
    scale: np.ndarray
    nbytes: int
    """Of the weights as held."""

    def __init__(
        self, packed: np.ndarray, N: int, K: int, *, format: str = "2bit", scale: float | np.ndarray = 1.0, backend: str
    ) -> None: ...
    def matmul(self, x: np.ndarray, threads: int | None = None) -> np.ndarray:
        """x (M, K) int8, any value -> (M, N) int32, y[m, n] = sum over k of w[n, k] x[m, k], exact."""

def quantize(x: np.ndarray, norm: np.ndarray | None = None, eps: float = 0.0) -> tuple[np.ndarray, np.ndarray]: ...
def linear(
    matrices: Sequence[Matrix],
    x: np.ndarray,
    norm: np.ndarray | None = None,
    eps: float = 0.0,
    threads: int | None = None,
) -> tuple[np.ndarray, ...]:
    """One w1.58a8 layer for each matrix, all on the same x (M, K) float32, in one parallel region: (M, N) float32 each."""

def threads() -> int: ...
