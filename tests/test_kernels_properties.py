"""Whatever the arguments, a compiled backend does what the reference does, and stays within its arrays.

test_kernels_sanitizers.py runs this file once more on kernels that stop at a read or write outside an array. So the
arrays are as large as what they hold, with nothing to spare behind them, and nothing but NumPy is needed here.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cython_kernels import FORMATS, attend, attention, backends, linear, matrix, pack, quantize, reference

COMPILED = [row.name for row in backends()[1:] if row.built and row.supported]
each_backend = pytest.mark.parametrize("backend", COMPILED)  # none: skipped
once = settings(derandomize=True, database=None, deadline=None, max_examples=60)

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
formats = st.sampled_from(list(FORMATS))
rows, columns = st.integers(0, 70), st.integers(0, 130)
tokens = st.one_of(st.sampled_from([0, 1, 2]), st.integers(1, 26))
threads = st.sampled_from([None, 1, 2, 3])
offsets = st.one_of(st.just(0), st.integers(1, 65))


def exactly(array, offset=0):
    """A read-only copy that ends where its memory ends, `offset` bytes behind where that begins."""
    room = np.empty(offset + array.nbytes, np.uint8)
    copy = room[offset:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy


def random_weights(rng, N, K, format):
    layout = FORMATS[format]
    return rng.integers(layout.lowest, layout.highest + 1, (N, K), np.int8)


def outcome(function, *arguments, **named):
    """What comes back, or the error's type and words."""
    try:
        return function(*arguments, **named)
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def same(one, other):
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return one == other


@given(seeds, formats, tokens, rows, columns, threads, offsets, offsets)
@once
@each_backend
def test_a_product_is_exact_wherever_its_arrays_lie(backend, rng, format, M, N, K, threads, at_packed, at_x):
    codes = random_weights(rng, N, K, format)
    x = exactly(rng.integers(-128, 128, (M, K), np.int8), at_x)
    W = matrix(exactly(pack(codes, format), at_packed), N, K, format=format, backend=backend)

    y = W.matmul(x, threads=threads)

    assert np.array_equal(y, x.astype(np.int64) @ codes.T.astype(np.int64))


@given(seeds, st.lists(st.tuples(formats, rows, st.booleans()), max_size=4), tokens, columns, threads, st.booleans())
@once
@each_backend
def test_layers_are_those_of_the_reference_bit_for_bit(backend, rng, layers, M, K, threads, normed):
    def make(backend):
        return [
            matrix(exactly(packed), N, K, format=format, scale=exactly(scale), backend=backend)
            for (format, N, per_row), packed, scale in zip(layers, packs, scales, strict=True)
        ]

    packs = [pack(random_weights(rng, N, K, format), format) for format, N, per_row in layers]
    scales = [rng.uniform(0.1, 2, N if per_row else ()).astype(np.float32) for format, N, per_row in layers]
    scales = [np.asarray(scale, np.float32) for scale in scales]
    x = exactly((rng.standard_normal((M, K)) * 10.0 ** rng.integers(-8, 9)).astype(np.float32), 4)
    norm = exactly(rng.standard_normal(K).astype(np.float32), 12) if normed else None

    ys = linear(make(backend), x, norm, 1e-5, threads)

    assert same(ys, reference.linear(make("reference"), x, norm, 1e-5))
    assert same(quantize(x, norm, 1e-5), reference.quantize(x, norm, 1e-5))


@given(seeds, *(st.integers(low, 3) for low in (0, 1, 1)), st.integers(1, 20), st.integers(1, 40), threads)
@once
def test_attention_is_that_of_numpy(rng, B, KV, group, half, room, threads):
    def normal(*shape):
        array = exactly(rng.standard_normal(shape).astype(np.float32))
        array.flags.writeable = True
        return array

    D, past = 2 * half, int(rng.integers(room))
    qkv, cache, turns = normal(B, (group + 2) * KV, D), normal(B, room, 2 * KV, D), (normal(B, D), normal(B, D))
    other_qkv, other_cache = qkv.copy(), cache.copy()

    y = attend(qkv, *turns, cache, past, threads)
    wanted = attention.attend(other_qkv, *turns, other_cache, past)

    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-4)
    np.testing.assert_allclose(cache, other_cache, rtol=0, atol=1e-4)


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[::-1],
    "mirrored": lambda x: x[:, ::-1],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "one token": lambda x: x.ravel(),
    "batch": lambda x: x[None],
    "list": np.ndarray.tolist,
    "buffer": lambda x: memoryview(np.ascontiguousarray(x)),
    "misaligned": lambda x: exactly(x, 1),
}
layouts = st.one_of(st.just("C"), st.sampled_from(list(LAYOUTS)))
dtypes = st.one_of(st.none(), st.sampled_from(["i1", "u1", "?", "S1", "i2", "<f4", ">f4", "f2", "f8"]))
misfits = st.one_of(st.just(0), st.sampled_from([-130, -128, -16, -1, 1, 4, 128]))


def activations(rng, M, K, dtype, layout):
    x = rng.integers(-128, 128, (M, K), np.int8)
    return LAYOUTS[layout](exactly(x.astype(np.bool_) if dtype == "S1" else x).astype(dtype))


@given(seeds, formats, tokens, rows, columns, dtypes, layouts, misfits, misfits, misfits, misfits, threads)
@once
@each_backend
def test_matmul_takes_or_refuses_what_the_reference_does(
    backend, rng, format, M, N, K, dtype, layout, more_bytes, more_N, more_K, more_columns, threads
):
    packed = pack(random_weights(rng, N, K, format), format)
    packed = exactly(packed[:more_bytes] if more_bytes < 0 else np.append(packed, np.zeros(more_bytes, np.uint8)))
    x = activations(rng, M, max(K + more_columns, 0), dtype or "i1", layout)

    def product(backend):
        return matrix(packed, N + more_N, K + more_K, format=format, backend=backend).matmul(x, threads)

    assert same(outcome(product, backend), outcome(product, "reference"))


@given(seeds, formats, tokens, rows, columns, dtypes, layouts, misfits, misfits, layouts, threads)
@once
@each_backend
def test_linear_takes_or_refuses_what_the_reference_does(
    backend, rng, format, M, N, K, dtype, layout, more_columns, more_norm, norm_layout, threads
):
    codes = random_weights(rng, N, K, format)
    x = activations(rng, M, max(K + more_columns, 0), dtype or "f4", layout)
    norm = activations(rng, 1, max(K + more_norm, 0), "f4", norm_layout)
    norm = norm[0] if isinstance(norm, np.ndarray) and norm_layout != "one token" else norm

    def layer(backend):
        W = matrix(exactly(pack(codes, format)), N, K, format=format, backend=backend)
        return (linear if backend != "reference" else reference.linear)([W], x, norm, 0.5, threads)

    assert same(outcome(layer, backend), outcome(layer, "reference"))


@given(seeds, formats, rows, columns, misfits, misfits, misfits)
@once
def test_unpack_refuses_bytes_that_do_not_fit(rng, format, N, K, more_bytes, more_N, more_K):
    codes = random_weights(rng, N, K, format)
    packed = pack(codes, format)
    packed = exactly(packed[:more_bytes] if more_bytes < 0 else np.append(packed, np.zeros(more_bytes, np.uint8)))

    found = outcome(reference.unpack, packed, N + more_N, K + more_K, format)

    if isinstance(found, tuple):
        assert more_bytes or more_N or more_K
    else:
        assert found.shape == (N + more_N, K + more_K)
        assert np.array_equal(found, codes) or more_N or more_K
