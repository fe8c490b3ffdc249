"""What the kernels are compared with: the drawings of the formats and the products, one code at a time."""

import itertools

import numpy as np

FIELDS = {"2bit": 4, "base3": 5, "int8": 1}  # codes in a byte
ZERO = {"2bit": 1, "base3": 1, "int8": 128}  # the code of weight 0
VALUES = {"2bit": (-1, 0, 1), "base3": (-1, 0, 1), "int8": (-128, -127, -1, 0, 1, 127)}  # weights at the ends


def weights(rng, N, K, format):
    low, high = (-128, 128) if format == "int8" else (-1, 2)
    return rng.integers(low, high, (N, K), dtype=np.int8)


def activations(rng, M, K):
    """(M, K) int8, any value."""
    return rng.integers(-128, 128, (M, K), dtype=np.int8)


def triple_loop(codes, x):
    """(M, N) int64: y[m, n] = sum over k of codes[n, k] x[m, k]."""
    y = np.zeros((len(x), len(codes)), np.int64)
    for m, token in enumerate(x.tolist()):
        for n, row in enumerate(codes.tolist()):
            for weight, value in zip(row, token, strict=True):
                y[m, n] += weight * value
    return y


def byte_of(fields, format):
    """The byte that holds these codes, the first field first."""
    if format == "int8":
        return fields[0]
    if format == "2bit":
        return sum(code * 4**f for f, code in enumerate(fields))
    v = sum(code * 3**f for f, code in enumerate(fields[:4]))
    return 64 * fields[4] + v if v < 64 else 192 + 3 * (v - 64) + fields[4]


def bytes_of_codes(format):
    """Every byte that codes give, with its codes."""
    ends = range(256) if format == "int8" else range(3)
    return {byte_of(fields, format): fields for fields in itertools.product(ends, repeat=FIELDS[format])}


def place(n, k, K, format):
    """Byte and field of weight (n, k), read off the drawing: panel, step, block, row, byte."""
    panel, row_in_panel = divmod(n, 32)
    block, row = divmod(row_in_panel, 16)
    step, column = divmod(k, 4 * FIELDS[format])
    field, byte = divmod(column, 4)
    steps = len(range(0, K, 4 * FIELDS[format]))
    return panel * steps * 128 + step * 128 + block * 64 + row * 4 + byte, field


def pack_by_loop(codes, format):
    """The packed bytes of `codes` (N, K)."""
    N, K = codes.shape
    count = len(range(0, N, 32)) * len(range(0, K, 4 * FIELDS[format])) * 128
    fields = [[ZERO[format]] * FIELDS[format] for _ in range(count)]
    for n, k in itertools.product(range(N), range(K)):
        byte, field = place(n, k, K, format)
        fields[byte][field] = int(codes[n, k]) + ZERO[format]
    return bytes(byte_of(one, format) for one in fields)


def elsewhere(array, offset=1):
    """A read-only copy that begins `offset` bytes after a multiple of 16, or of what malloc gives."""
    return np.frombuffer(bytearray(offset) + array.tobytes(), array.dtype, offset=offset).reshape(array.shape)
