"""The attention between the products: compiled and in NumPy, against torch's."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import cython_kernels
from cython_kernels import attention

BOTH = pytest.mark.parametrize("attend", [cython_kernels.attend, attention.attend], ids=["chosen", "numpy"])
SHAPES = [(1, 20, 5, 128, 33), (2, 4, 2, 6, 7), (3, 2, 1, 34, 0), (1, 1, 1, 2, 500)]


def case(B, H, KV, D, past):
    """Arguments for attend: random qkv and cache, and the tables of position `past`."""
    random = np.random.default_rng(0)
    qkv = random.standard_normal((B, H + 2 * KV, D), np.float32)
    cache = random.standard_normal((B, past + 3, 2 * KV, D), np.float32)
    angles = past / 10 ** np.linspace(0, 4, D // 2)
    cosines = np.tile(np.cos(angles), (B, 2)).astype(np.float32)
    sines = np.tile(np.concatenate([-np.sin(angles), np.sin(angles)]), (B, 1)).astype(np.float32)
    return qkv, cosines, sines, cache, past


@BOTH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_token_attends_as_torch_does(attend, shape):
    _, H, KV, D, past = shape
    qkv, cosines, sines, cache, _ = arguments = case(*shape)
    q, k, v = torch.from_numpy(qkv.copy()).split([H, KV, KV], 1)

    def turned(x):  # as transformers writes it
        x1, x2 = x.chunk(2, -1)
        sin = np.tile(sines[:, None, D // 2 :], 2)
        return x * torch.from_numpy(cosines[:, None]) + torch.cat([-x2, x1], -1) * torch.from_numpy(sin)

    before = torch.from_numpy(cache[:, :past].copy()).transpose(1, 2)
    keys = torch.cat([before[:, :KV], turned(k)[:, :, None]], 2)
    values = torch.cat([before[:, KV:], v[:, :, None]], 2)
    wanted = scaled_dot_product_attention(turned(q)[:, :, None], keys, values, enable_gqa=True)[:, :, 0]

    y = attend(*arguments)

    torch.testing.assert_close(torch.from_numpy(y), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.from_numpy(cache[:, : past + 1, :KV]).transpose(1, 2), keys)
    torch.testing.assert_close(torch.from_numpy(cache[:, : past + 1, KV:]).transpose(1, 2), values)


@BOTH
def test_what_lies_behind_the_token_is_not_touched(attend):
    qkv, cosines, sines, cache, past = case(2, 4, 2, 6, 5)
    rest = cache[:, past + 1 :].copy()
    cache[:, past + 1 :] = np.nan  # nor read

    y = attend(qkv, cosines, sines, cache, past)

    assert np.isfinite(y).all()
    cache[:, past + 1 :] = rest
    np.testing.assert_array_equal(cache[:, past + 1 :], rest)


@BOTH
def test_one_key_far_ahead_of_the_others_takes_all(attend):
    qkv, cosines, sines, cache, past = case(1, 1, 1, 16, 40)
    cosines[:], sines[:] = 1, 0
    qkv[0, 0] = 1000
    cache[0, :40, 0] = -1000
    cache[0, 17, 0] = 1000  # leads by 8 million: the others' e^x is no float32
    qkv[0, 1] = -1000

    np.testing.assert_array_equal(attend(qkv, cosines, sines, cache, past)[0, 0], cache[0, 17, 1])


@BOTH
def test_nan_stays_nan(attend):
    qkv, cosines, sines, cache, past = case(1, 2, 2, 16, 20)
    cache[0, 3, 1] = np.nan  # a key of the second head

    y = attend(qkv, cosines, sines, cache, past)

    assert np.isfinite(y[0, 0]).all()
    assert np.isnan(y[0, 1]).all()


def test_threads_do_not_change_a_bit():
    results = [cython_kernels.attend(*case(2, 8, 4, 64, 100), threads=threads) for threads in (1, 2, 5)]

    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_no_sequence_is_no_work():
    assert cython_kernels.attend(*case(0, 4, 2, 6, 5)).shape == (0, 4, 6)


@BOTH
@pytest.mark.parametrize(
    "change, message",
    [
        ({"past": 8}, "past is 8, and the cache has room for 8"),
        ({"past": -1}, "past is -1"),
        ({"cosines": np.ones((2, 8), np.float32)}, r"cosines has shape \(2, 8\), wanted \(2, 6\)"),
        ({"sines": np.ones((1, 6), np.float32)}, r"sines has shape \(1, 6\), wanted \(2, 6\)"),
        ({"cache": np.ones((1, 8, 4, 6), np.float32)}, r"cache has shape \(1, 8, 4, 6\), wanted \(2, 8, 4, 6\)"),
        ({"cache": np.ones((2, 8, 3, 6), np.float32)}, "the cache 3"),
        ({"cache": np.ones((2, 8, 8, 6), np.float32)}, "qkv has 8 heads"),  # and no query
        ({"qkv": np.ones((2, 7, 6), np.float32)}, "divisor of H"),
        ({"qkv": np.ones((2, 8, 5), np.float32)}, "an even one"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else next(iter(value)),
)
def test_arrays_that_do_not_go_together_are_refused(attend, change, message):
    arguments = dict(zip(("qkv", "cosines", "sines", "cache", "past"), case(2, 4, 2, 6, 5), strict=True))
    with pytest.raises(ValueError, match=message):
        attend(**{**arguments, **change})


@BOTH
def test_arrays_of_another_kind_are_refused(attend):
    qkv, cosines, sines, cache, past = case(2, 4, 2, 6, 5)
    odd = np.frombuffer(b"\0" + qkv.tobytes(), np.uint8)[1:].view(np.float32).reshape(qkv.shape)

    with pytest.raises(TypeError, match="qkv is float64, wanted float32"):
        attend(qkv.astype(np.float64), cosines, sines, cache, past)
    with pytest.raises(TypeError, match="sines is a list, wanted a NumPy array of float32"):
        attend(qkv, cosines, sines.tolist(), cache, past)
    with pytest.raises(ValueError, match=r"cosines has shape \(6,\), wanted \(B, D\)"):
        attend(qkv, cosines[0], sines, cache, past)
    with pytest.raises(ValueError, match=r"cache is not contiguous and aligned: pass cache\.copy"):
        attend(qkv, cosines, sines, cache[:, ::2], 1)
    with pytest.raises(ValueError, match="qkv is not contiguous and aligned"):
        attend(odd, cosines, sines, cache, past)
    cache.setflags(write=False)
    with pytest.raises(ValueError, match="cache is read-only, and it is written to"):
        attend(qkv, cosines, sines, cache, past)
