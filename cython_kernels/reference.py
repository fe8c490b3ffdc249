"""The specification in NumPy, slow and obvious: the packed 2-bit format and the product computed on it.

README.md draws the format, c/ternary.h repeats the constants. Every compiled backend equals `matmul` here bit for
bit, and makes its checks by `check_matmul`. N and K are rows and columns of the weights, M the number of tokens.
"""

import numpy as np

FORMAT = 1  # goes up when the drawing changes
PANEL_ROWS = 32
STEP_COLUMNS = 16
BLOCK_ROWS = 16
BLOCK_BYTES = 64
STEP_BYTES = 128  # the two blocks that hold 16 columns of a panel
K_MAX = 1 << 19  # c/ternary.h says why

INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)


def packed_bytes(N: int, K: int) -> int:
    """Bytes of N x K packed weights: N padded to 32 rows, K to 16 columns, 2 bits each."""
    panels, steps = _panels_and_steps(N, K)
    return panels * steps * STEP_BYTES


def pack(codes: np.ndarray) -> np.ndarray:
    """Pack ternary weights, (N, K) int8 of -1, 0, +1, into `packed_bytes(N, K)` uint8.

    TypeError: not an int8 array. ValueError: not two dimensions, another value, K over K_MAX.
    """
    _check_array("codes", codes, INT8, ("N", "K"), "quantize the weights to ternary codes first")
    wrong = (codes < -1) | (codes > 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"codes[{row}, {column}] is {codes[row, column]}, wanted -1, 0 or +1: quantize the weights to ternary first"
        )
    N, K = codes.shape
    panels, steps = _panels_and_steps(N, K)
    padded = np.ones((panels * PANEL_ROWS, steps * STEP_COLUMNS), np.uint8)  # code 1 is the weight 0
    padded[:N, :K] = codes + 1
    fields = padded.reshape(panels, 2, BLOCK_ROWS, steps, 4, 4)  # panel, block, row, step, field, byte
    fields = fields.transpose(0, 3, 1, 2, 5, 4)  # panel, step, block, row, byte, field
    return (fields[..., 0] | fields[..., 1] << 2 | fields[..., 2] << 4 | fields[..., 3] << 6).reshape(-1)


def unpack(packed: np.ndarray, N: int, K: int) -> np.ndarray:
    """Give back the (N, K) int8 weights that `pack` packed.

    TypeError: not a uint8 array. ValueError: wrong length for N x K, or a code 3 inside, which stands for nothing.
    """
    _check_packed(packed, N, K)
    panels, steps = _panels_and_steps(N, K)
    blocks = packed.reshape(panels, steps, 2, BLOCK_ROWS, 4, 1)  # panel, step, block, row, byte, 1
    fields = blocks >> np.array([0, 2, 4, 6], np.uint8) & 3  # panel, step, block, row, byte, field
    if (fields == 3).any():
        byte = np.flatnonzero((fields == 3).any(axis=-1))[0]
        raise ValueError(
            f"packed[{byte}] is {packed[byte]:#04x}, which holds a code 3; wanted codes 0, 1, 2: "
            f"these bytes do not come from pack() of format {FORMAT}, pack the weights again"
        )
    padded = fields.transpose(0, 2, 3, 1, 5, 4).reshape(panels * PANEL_ROWS, steps * STEP_COLUMNS)
    return padded[:N, :K].astype(np.int8) - 1


def matmul(packed: np.ndarray, N: int, K: int, x: np.ndarray) -> np.ndarray:
    """Multiply int8 activations x (M, K) with packed weights (N, K): (M, N) int32, exact.

    Raises as `check_matmul` and `unpack` do.
    """
    check_matmul(packed, N, K, x)
    weights = unpack(packed, N, K).astype(np.int32)
    return x.astype(np.int32) @ weights.T  # |sum| <= 128 K <= 2^26: int32 cannot overflow


def check_matmul(packed: np.ndarray, N: int, K: int, x: np.ndarray) -> None:
    """Raise TypeError or ValueError unless these are the arguments of a matmul: what every backend relies on.

    Every value of x is allowed, -128 too. The codes in `packed` are not looked at: that would read all the weights
    twice. A code 3 cannot make a kernel leave its arrays, but its sums are unspecified; `unpack` finds it.
    """
    _check_packed(packed, N, K)
    _check_array("x", x, INT8, ("M", "K"), "quantize the activations to int8 first, one token a row")
    if x.shape[1] != K:
        raise ValueError(f"x has {x.shape[1]} columns, wanted K = {K}: x is (tokens, K), one token a row")
    if not x.flags.c_contiguous:
        raise ValueError(f"x of shape {x.shape} is not C-contiguous: pass np.ascontiguousarray(x)")


def _check_packed(packed: np.ndarray, N: int, K: int) -> None:
    _check_array("packed", packed, UINT8, ("bytes",), "pass what pack() returned")
    wanted = packed_bytes(N, K)
    if packed.size != wanted:
        raise ValueError(f"packed has {packed.size} bytes, wanted {wanted} for N = {N}, K = {K}: check N and K")
    if not packed.flags.c_contiguous:
        raise ValueError("packed is not contiguous: pass np.ascontiguousarray(packed)")


def _check_array(name: str, array: np.ndarray, dtype: np.dtype, axes: tuple[str, ...], remedy: str) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}, wanted a NumPy array of {dtype}: {remedy}")
    if array.dtype != dtype:
        raise TypeError(f"{name} is {array.dtype}, wanted {dtype}: {remedy}")
    if array.ndim != len(axes):
        raise ValueError(f"{name} has shape {array.shape}, wanted ({', '.join(axes)}): {remedy}")


def _panels_and_steps(N: int, K: int) -> tuple[int, int]:
    for name, value in (("N", N), ("K", K)):
        if not isinstance(value, (int, np.integer)):
            raise TypeError(
                f"{name} is the {type(value).__name__} {value!r}, wanted an int: pass the shape of the codes"
            )
        if value < 0:
            raise ValueError(f"{name} is {value}, wanted 0 or more: pass the shape of the codes")
    if K > K_MAX:
        raise ValueError(f"K is {K}, wanted at most {K_MAX}: split the columns and add the products")
    return -(-N // PANEL_ROWS), -(-K // STEP_COLUMNS)
