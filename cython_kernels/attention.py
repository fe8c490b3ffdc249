"""The attention of one new token a sequence, in NumPy: the specification of c/attend.c, in float32 up to rounding."""

import numpy as np

from .reference import FLOAT32, check_array


def attend(
    qkv: np.ndarray, cosines: np.ndarray, sines: np.ndarray, cache: np.ndarray, past: int, threads: int | None = None
) -> np.ndarray:
    """Turn a new token's queries and keys by its position, put its keys and values into the cache, and mix the values.

    qkv      (B, H + 2 KV, D) float32: H queries, KV keys, KV values; turned in place
    cosines  (B, D), sines (B, D) float32: of its position, the first half of the sines negated
    cache    (B, room, 2 KV, D) float32: keys and values of the `past` tokens before; the new ones are put behind them
    threads: as many as `cython_kernels.threads()` when left out; NumPy does not care
    Returns (B, H, D) float32. H / KV neighbouring queries share a key.
    TypeError: not a float32 array. ValueError: shapes that do not fit, an array that is not dense, a full cache.
    """
    check(qkv, cosines, sines, cache, past)
    B, heads, D = qkv.shape
    KV = cache.shape[2] // 2
    H = heads - 2 * KV
    qk = qkv[:, : H + KV]
    halves = qk.reshape(B, H + KV, 2, D // 2)[:, :, ::-1].reshape(B, H + KV, D)
    qk[...] = qk * cosines[:, None] + halves * sines[:, None]
    cache[:, past] = qkv[:, H:]
    keys, values = cache[:, : past + 1, :KV], cache[:, : past + 1, KV:]
    queries = qkv[:, :H].reshape(B, KV, H // KV, D)
    weights = np.einsum("bgqd,btgd->bgqt", queries, keys) / np.sqrt(np.float32(D))
    weights = np.exp(weights - weights.max(axis=3, keepdims=True))
    weights /= weights.sum(axis=3, keepdims=True)
    return np.einsum("bgqt,btgd->bgqd", weights, values).reshape(B, H, D)


def check(qkv: np.ndarray, cosines: np.ndarray, sines: np.ndarray, cache: np.ndarray, past: int) -> None:
    """TypeError or ValueError unless these are arrays that go together."""
    for name, array, axes, remedy in (
        ("qkv", qkv, ("B", "H + 2 KV", "D"), "pass queries, keys and values of one token"),
        ("cosines", cosines, ("B", "D"), "pass one row a sequence"),
        ("sines", sines, ("B", "D"), "pass one row a sequence"),
        ("cache", cache, ("B", "room", "2 KV", "D"), "pass np.empty of this shape"),
    ):
        check_array(name, array, FLOAT32, axes, remedy)
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(f"{name} is not contiguous and aligned: pass {name}.copy()")
    for name, array in (("qkv", qkv), ("cache", cache)):
        if not array.flags.writeable:
            raise ValueError(f"{name} is read-only, and it is written to: pass {name}.copy()")
    B, heads, D = qkv.shape
    KV = cache.shape[2] // 2
    H = heads - 2 * KV
    if cache.shape[2] % 2 or KV < 1 or H < 1 or H % KV:
        raise ValueError(
            f"qkv has {heads} heads and the cache {cache.shape[2]}, wanted H + 2 KV and 2 KV, and KV a divisor of H"
        )
    if D < 2 or D % 2:
        raise ValueError(f"the heads have width {D}, wanted an even one: their halves are turned together")
    room = cache.shape[1]
    for name, array, wanted in (
        ("cosines", cosines, (B, D)),
        ("sines", sines, (B, D)),
        ("cache", cache, (B, room, 2 * KV, D)),
    ):
        if array.shape != wanted:
            raise ValueError(f"{name} has shape {array.shape}, wanted {wanted}: one row for each row of qkv")
    if not 0 <= past < room:
        raise ValueError(f"past is {past}, and the cache has room for {room}: wanted room for one more")
