"""The specification in NumPy, slow and obvious: the packed formats and the products computed on them.

README.md draws the formats, c/ternary.h repeats the constants. Every compiled backend equals this file bit for bit and
makes the same checks. N and K are rows and columns of the weights, M the number of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FORMAT = 2  # goes up when a drawing changes
PANEL_ROWS = 32
BLOCK_ROWS = 16
STEP_BYTES = 128  # a step of a panel: 32 rows x 4 bytes, in two blocks of 16 rows
LANES = 16  # of the sum of squares
MOST = (1 << 31) - 1  # rows, and tokens: the frame in C multiplies their numbers as int64

INT8, UINT8, FLOAT32 = np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.float32)


@dataclass(frozen=True)
class Format:
    """A packed format: every byte holds `fields` codes, and the code of weight w is w + zero."""

    name: str
    fields: int
    zero: int
    lowest: int
    highest: int
    K_max: int

    @property
    def step_columns(self) -> int:
        """Columns of a step: field f of byte b of a row is column 4 f + b."""
        return 4 * self.fields


FORMATS = {
    format.name: format
    for format in (
        Format("2bit", fields=4, zero=1, lowest=-1, highest=1, K_max=1 << 19),
        Format("base3", fields=5, zero=1, lowest=-1, highest=1, K_max=1 << 18),
        Format("int8", fields=1, zero=128, lowest=-128, highest=127, K_max=1 << 16),
    )
}


def encode(fields: np.ndarray, format: str) -> np.ndarray:
    """Codes (fields, ...) uint8 -> bytes (...) uint8."""
    if format == "int8":
        return fields[0]
    if format == "2bit":
        return fields[0] | fields[1] << 2 | fields[2] << 4 | fields[3] << 6
    v = fields[0] + 3 * fields[1] + 9 * fields[2] + 27 * fields[3]  # 0..80; 64 of them fit into six bits
    return np.where(v < 64, 64 * fields[4] + v, 192 + 3 * (v - 64) + fields[4])


def decode(packed: np.ndarray, format: str) -> np.ndarray:
    """Bytes (...) uint8 -> codes (fields, ...) uint8; a byte that `encode` does not give has a code over 2."""
    if format == "int8":
        return packed[None]
    if format == "2bit":
        return np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)])
    late = packed >= 192
    v = np.where(late, 64 + (packed - 192) // 3, packed % 64)
    return np.stack([v % 3, v // 3 % 3, v // 9 % 3, v // 27, np.where(late, packed % 3, packed // 64)])


def packed_bytes(N: int, K: int, format: str = "2bit") -> int:
    """Bytes of N x K packed weights: N padded to 32 rows, K to a whole step (16, 20 or 4 columns)."""
    panels, steps = _panels_and_steps(N, K, format_named(format))
    return panels * steps * STEP_BYTES


def pack(codes: np.ndarray, format: str = "2bit") -> np.ndarray:
    """Pack weights, (N, K) int8, into `packed_bytes(N, K, format)` uint8 that start at a multiple of 64.

    The values are -1, 0, +1, or any int8 where the format is "int8". TypeError: not an int8 array. ValueError: not two
    dimensions, another value, K over the format's K_max, a format that does not exist.
    """
    layout = format_named(format)
    check_array("codes", codes, INT8, ("N", "K"), "quantize the weights first")
    wrong = (codes < layout.lowest) | (codes > layout.highest)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"codes[{row}, {column}] is {codes[row, column]}, wanted -1, 0 or +1: quantize the weights to ternary first"
        )
    N, K = codes.shape
    panels, steps = _panels_and_steps(N, K, layout)
    padded = np.full((panels * PANEL_ROWS, steps * layout.step_columns), layout.zero, np.uint8)
    padded[:N, :K] = codes.view(np.uint8) + np.uint8(layout.zero)  # modulo 256: -1 + 1 is 0
    fields = padded.reshape(panels, 2, BLOCK_ROWS, steps, layout.fields, 4)  # panel, block, row, step, field, byte
    packed = empty(packed_bytes(N, K, format))
    packed.reshape(panels, steps, 2, BLOCK_ROWS, 4)[...] = encode(fields.transpose(4, 0, 3, 1, 2, 5), format)
    return packed


def unpack(packed: np.ndarray, N: int, K: int, format: str = "2bit") -> np.ndarray:
    """Give back the (N, K) int8 weights that `pack` packed.

    TypeError: not a uint8 array. ValueError: wrong length for N x K, or a byte that no three-valued codes give.
    """
    layout = format_named(format)
    check_packed(packed, N, K, format)
    panels, steps = _panels_and_steps(N, K, layout)
    fields = decode(packed.reshape(panels, steps, 2, BLOCK_ROWS, 4), format)  # field, panel, step, block, row, byte
    if format != "int8" and fields.max(initial=0) > 2:
        byte = np.flatnonzero((fields > 2).any(axis=0))[0]
        raise ValueError(
            f"packed[{byte}] is {packed[byte]:#04x}, which holds a code over 2; wanted codes 0, 1, 2: "
            "these bytes do not come from pack(), pack the weights again"
        )
    padded = fields.transpose(1, 3, 4, 2, 0, 5).reshape(panels * PANEL_ROWS, steps * layout.step_columns)
    return (padded[:N, :K] - np.uint8(layout.zero)).view(np.int8)


class Matrix:
    """Packed weights at work: what the compiled `Matrix` is, computed by NumPy. See ternary.pyi."""

    backend = "reference"

    def __init__(self, packed, N, K, *, format="2bit", scale=1.0):
        check_packed(packed, N, K, format)
        self.packed, self.N, self.K, self.format, self.held = packed, int(N), int(K), format, format
        self.scale = check_scale(scale, N)
        self._codes = None

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes

    def matmul(self, x, threads=None):
        check_x(x, self.K, INT8)
        check_threads(threads)
        return x.astype(np.int32) @ self.codes().T.astype(np.int32)  # |sum| < 2^31: README.md, Exactness

    def codes(self):
        """The weights, (N, K) int8, unpacked at the first use and kept."""
        if self._codes is None:
            self._codes = unpack(self.packed, self.N, self.K, self.format)
        return self._codes


def quantize(x: np.ndarray, norm: np.ndarray | None = None, eps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Quantize activations to int8 with one absmax scale a token, as BitNet b1.58 does (w1.58a8).

    x: (M, K) float32. norm: (K,) float32, the weight of an RMSNorm with `eps` that comes first; None leaves it out.
    Returns codes (M, K) int8 and scale (M,) float32: x is about codes / scale.
    ValueError: shapes that do not fit, or a token that holds nan or inf (as 0 / 0 is, of zeros where eps is 0).
    Source: BitLinear.activation_quant in transformers/integrations/bitnet.py.
    """
    check_x(x, None, FLOAT32)
    check_norm(norm, x.shape[1], eps)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # inf and nan are told below
        if norm is not None:
            x = rms_norm(x, norm, eps)
        largest = np.abs(x).max(axis=1, initial=0.0)
    check_finite(largest)
    scale = np.float32(127) / np.maximum(largest, np.float32(1e-5))
    return np.rint(x * scale[:, None]).astype(np.int8), scale


def rms_norm(x: np.ndarray, norm: np.ndarray, eps: float) -> np.ndarray:
    """norm * x / sqrt(mean of x squared + eps), (M, K) float32, summed in an order that every backend keeps.

    16 lanes add every 16th square, front to back; then the lanes are added by halves.
    """
    M, K = x.shape
    squares = np.zeros((M, -(-K // LANES) * LANES), np.float32)
    squares[:, :K] = x * x
    lanes = np.zeros((M, LANES), np.float32)
    for start in range(0, K, LANES):
        lanes += squares[:, start : start + LANES]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    mean = lanes / np.float32(max(K, 1))
    return x * (np.float32(1) / np.sqrt(mean + np.float32(eps))) * norm


def linear(
    matrices: Sequence[Matrix], x: np.ndarray, norm: np.ndarray | None = None, eps: float = 0.0, threads=None
) -> tuple[np.ndarray, ...]:
    """One w1.58a8 layer for each matrix, all on the same x: (M, K) float32 -> (M, N) float32 each.

    x is quantized once, by `quantize(x, norm, eps)`; then y = sum * (scale of the row / scale of the token).
    """
    matrices = tuple(matrices)
    check_x(x, None, FLOAT32)
    for index, matrix in enumerate(matrices):
        if not hasattr(matrix, "held"):
            raise TypeError(f"matrices[{index}] is a {type(matrix).__name__}, wanted what matrix() returns")
        check_x(x, matrix.K, FLOAT32)
    check_threads(threads)
    codes, x_scale = quantize(x, norm, eps)
    return tuple(
        matrix.matmul(codes).astype(np.float32) * (matrix.scale / x_scale[:, None]).astype(np.float32)
        for matrix in matrices
    )


def empty(count: int) -> np.ndarray:
    """`count` bytes, uint8, whose address is a multiple of 64: no vector load crosses a cache line."""
    room = np.empty(count + 63, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count]


def format_named(name: str) -> Format:
    """The Format called `name`; ValueError lists the names."""
    if not isinstance(name, str) or name not in FORMATS:
        raise ValueError(f"there is no format {name!r}, wanted one of {', '.join(FORMATS)}")
    return FORMATS[name]


def check_packed(packed: np.ndarray, N: int, K: int, format: str) -> None:
    """Raise TypeError or ValueError unless `packed` has the type and the length of N x K weights.

    Its codes are not looked at: that would read all the weights. A wrong code cannot make a kernel leave its arrays,
    but its sums are unspecified; `unpack` finds it.
    """
    check_array("packed", packed, UINT8, ("bytes",), "pass what pack() returned")
    wanted = packed_bytes(N, K, format)
    if packed.size != wanted:
        raise ValueError(
            f"packed has {packed.size} bytes, wanted {wanted} for N = {N}, K = {K}, {format}: check N, K and format"
        )
    if not packed.flags.c_contiguous:
        raise ValueError("packed is not contiguous: pass np.ascontiguousarray(packed)")


def check_x(x: np.ndarray, K: int | None, dtype: np.dtype) -> None:
    """Raise TypeError or ValueError unless x is (M, K), C-contiguous and of this type. Every value is allowed."""
    what = "quantize the activations to int8 first" if dtype == INT8 else "pass the activations as float32"
    check_array("x", x, dtype, ("M", "K"), f"{what}, one token a row")
    if K is not None and x.shape[1] != K:
        raise ValueError(f"x has {x.shape[1]} columns, wanted K = {K}: x is (tokens, K), one token a row")
    if x.shape[0] > MOST:
        raise ValueError(f"x has {x.shape[0]} tokens, wanted at most {MOST}: pass fewer at a time")
    if not x.flags.c_contiguous:
        raise ValueError(f"x of shape {x.shape} is not C-contiguous: pass np.ascontiguousarray(x)")
    check_aligned("x", x)


def check_norm(norm: np.ndarray | None, K: int, eps: float) -> None:
    """Raise TypeError or ValueError unless norm is None, or (K,) float32, contiguous, and eps a number from 0 on."""
    if norm is None:
        return
    check_array("norm", norm, FLOAT32, ("K",), "pass the RMSNorm's weight as float32")
    if norm.size != K or not norm.flags.c_contiguous:
        raise ValueError(f"norm has {norm.size} values, wanted K = {K}, contiguous: one weight for each column of x")
    check_aligned("norm", norm)
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps is {eps}, wanted 0 or more: pass the RMSNorm's own")


def check_threads(threads: int | None) -> None:
    """Raise TypeError or ValueError unless threads is None (the default) or an int from 1 on."""
    if threads is None:
        return
    if not isinstance(threads, (int, np.integer)):
        raise TypeError(f"threads is a {type(threads).__name__}, wanted an int, or None for the default")
    if threads < 1:
        raise ValueError(f"threads is {threads}, wanted 1 or more, or None for the default")


def check_scale(scale: float | np.ndarray, N: int) -> np.ndarray:
    """The scale as float32: shape () for one number, (N,) for one a row. TypeError, ValueError: it is neither."""
    array = np.asarray(scale)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"scale is {array.dtype}, wanted a number or float32 (N,)")
    if array.shape not in ((), (N,)):
        raise ValueError(f"scale has shape {array.shape}, wanted one number or ({N},): one for each row")
    with np.errstate(over="ignore"):  # inf is told below
        array = np.require(array, FLOAT32, ["C", "ALIGNED"])
    if not np.isfinite(array).all():
        raise ValueError("scale holds nan or inf as float32, wanted numbers: look at where the weights come from")
    return array


def check_finite(largest: np.ndarray) -> None:
    """Raise ValueError when the largest magnitude of a token, (M,), is inf or nan."""
    if not np.isfinite(largest).all():
        token = int(np.flatnonzero(~np.isfinite(largest))[0])
        raise ValueError(f"token {token} of x holds nan or inf (after its norm): look at the layer before")


def check_aligned(name: str, array: np.ndarray) -> None:
    if not array.flags.aligned:
        raise ValueError(f"{name} begins at an address that is no multiple of {array.itemsize}: pass {name}.copy()")


def check_array(name: str, array: np.ndarray, dtype: np.dtype, axes: tuple[str, ...], remedy: str) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}, wanted a NumPy array of {dtype}: {remedy}")
    if array.dtype != dtype:
        raise TypeError(f"{name} is {array.dtype}, wanted {dtype}: {remedy}")
    if array.ndim != len(axes):
        raise ValueError(f"{name} has shape {array.shape}, wanted ({', '.join(axes)}): {remedy}")


def _panels_and_steps(N: int, K: int, layout: Format) -> tuple[int, int]:
    for name, value, most, remedy in (
        ("N", N, MOST, "split the rows"),
        ("K", K, layout.K_max, "split the columns and add the products"),
    ):
        if not isinstance(value, (int, np.integer)):
            raise TypeError(
                f"{name} is the {type(value).__name__} {value!r}, wanted an int: pass the shape of the codes"
            )
        if value < 0:
            raise ValueError(f"{name} is {value}, wanted 0 or more: pass the shape of the codes")
        if value > most:
            raise ValueError(f"{name} is {value}, wanted at most {most}: {remedy}")
    return -(-int(N) // PANEL_ROWS), -(-int(K) // layout.step_columns)
