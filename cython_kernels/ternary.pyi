"""The compiled backends. Use them through `cython_kernels`."""

from collections.abc import Sequence

import numpy as np

FORMAT: int
ROWS: tuple[tuple[str, bool, bool], ...]
"""(name, built, supported) of every row of c/dispatch.c, slowest first."""

class Matrix:
    """Packed weights (N, K), checked once and ready to be multiplied by one backend.

    packed: what `pack(codes, format)` returned, kept without a copy unless `held` differs from `format`.
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

def quantize(x: np.ndarray, norm: np.ndarray | None = None, eps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Quantize x (M, K) float32 to int8, one absmax scale a token: codes (M, K) int8, scale (M,) float32.

    x is about codes / scale. norm, (K,) float32, is the weight of an RMSNorm with `eps` that comes first.
    ValueError: shapes that do not fit, or a token that holds nan or inf.
    """

def linear(
    matrices: Sequence[Matrix],
    x: np.ndarray,
    norm: np.ndarray | None = None,
    eps: float = 0.0,
    threads: int | None = None,
) -> tuple[np.ndarray, ...]:
    """One w1.58a8 layer for each matrix, all on the same x: (M, K) float32 -> (M, N) float32 each.

    x is quantized once, as by `quantize(x, norm, eps)`, and one parallel region works through all the matrices.
    Then y = int32 sum * (scale of the row / scale of the token), in float32.
    """

def attend(
    qkv: np.ndarray, cosines: np.ndarray, sines: np.ndarray, cache: np.ndarray, past: int, threads: int | None = None
) -> np.ndarray:
    """The attention of one new token a sequence: see attention.py, which this equals up to rounding."""

def set_default_threads(threads: int) -> None: ...
def fp16_gemv(weights: np.ndarray, x: np.ndarray, threads: int) -> np.ndarray | None:
    """weights (N, K) float16 times x (K,) float32 -> (N,) float32; None where this CPU does not convert fp16 quickly.

    The strongest fp16 baseline: it runs near the read limit.
    """

def read_bytes(memory: np.ndarray, fetch: bool, threads: int) -> int:
    """Read all of `memory`, uint8, rounded down to 256 KiB: bytes / seconds of the faster call is the read limit.

    fetch: ask for later lines in advance; which way is faster depends on the processor
    """

def seconds_in_c(matrix, x: np.ndarray, threads: int, calls: int) -> float:
    """Seconds of `calls` times matrix.matmul(x) without Python in between. x: (M, K) int8."""
