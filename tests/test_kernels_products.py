"""Every backend's products, exact to the last bit; the layers on float32; threads of both kinds.

Run: pytest tests/test_kernels_products.py
"""

import itertools
import threading

import numpy as np
import pytest
import torch
from kernel_loops import FIELDS, VALUES, activations, elsewhere, triple_loop, weights

from cython_kernels import FORMATS, backends, linear, matmul, matrix, pack, quantize, reference

EDGES = (0, 1, 31, 32, 33)


@pytest.fixture(params=FIELDS)
def format(request):
    return request.param


def packed_matrix(rng, N, K, format, backend, **arguments):
    """A Matrix and the codes in it."""
    codes = weights(rng, N, K, format)
    return matrix(pack(codes, format), N, K, format=format, backend=backend, **arguments), codes


# ---- int32 sums


@pytest.mark.parametrize(("N", "K"), list(itertools.product(EDGES, EDGES)))
def test_matmul_equals_three_loops(backend, format, N, K):
    rng = np.random.default_rng(3)
    codes = weights(rng, N, K, format)
    for M in (0, 1, 3):
        x = activations(rng, M, K)

        y = matmul(pack(codes, format), N, K, x, format=format, backend=backend)

        assert y.dtype == np.int32 and y.shape == (M, N)
        assert np.array_equal(y, triple_loop(codes, x))


@pytest.mark.parametrize("M", [*range(1, 14), 23, 24, 25, 40])  # a tile has 12 tokens at most
def test_matmul_equals_three_loops_for_every_number_of_tokens(backend, format, M):
    rng = np.random.default_rng(4)
    W, codes = packed_matrix(rng, 35, 45, format, backend)
    x = activations(rng, M, 45)

    assert np.array_equal(W.matmul(x), triple_loop(codes, x))


@pytest.mark.parametrize(("N", "K"), [(5, 2560), (97, 131), (2, 6912), (3, 6911)])
@pytest.mark.parametrize("M", [1, 2])
def test_matmul_equals_three_loops_on_long_rows(backend, format, N, K, M):
    rng = np.random.default_rng(5)
    W, codes = packed_matrix(rng, N, K, format, backend)
    x = activations(rng, M, K)

    assert np.array_equal(W.matmul(x), triple_loop(codes, x))


@pytest.mark.parametrize("K", [1, 15, 16, 17, 19, 20, 21, 127, 128, 129, 1023, 2560, 6911, 6912, "most"])
def test_extreme_sums_are_exact(backend, format, K):
    # K = 2560 at 127 is 325120: a kernel that adds too many products in 16 bits loses it
    K = FORMATS[format].K_max if K == "most" else K
    for weight in VALUES[format]:
        packed = pack(np.full((1, K), weight, np.int8), format)
        for M, value in itertools.product([1, 7] if K < 10000 else [1, 2], [-128, -127, 0, 127]):
            y = matmul(packed, 1, K, np.full((M, K), value, np.int8), format=format, backend=backend)

            assert y.tolist() == [[weight * value * K]] * M, f"{M} tokens of {value}, weights {weight}"


@pytest.mark.parametrize("M", [1, 12])
def test_signs_against_signs_give_the_largest_sum(backend, format, M):
    low, high = VALUES[format][0], VALUES[format][-1]
    positive = np.random.default_rng(6).random(2560) < 0.5
    x = np.tile(np.where(positive, 127, -127).astype(np.int8), (M, 1))
    codes = np.stack([np.where(positive, high, low), np.where(positive, low, high)]).astype(np.int8)
    up, down = int(positive.sum()), int((~positive).sum())

    y = matmul(pack(codes, format), 2, 2560, x, format=format, backend=backend)

    assert y.tolist() == [[127 * (up * high - down * low), 127 * (up * low - down * high)]] * M


def test_extremes_in_one_field_alone_are_exact(backend, format):
    # 16 and 20 columns a step: what a kernel adds up unshifted is largest where only one field of the bytes counts
    N, K, width = 33, 2560, 4 * FIELDS[format]
    for field, value in itertools.product(range(FIELDS[format]), [-128, 127]):
        here = np.arange(K) % width // 4 == field
        x = np.where(here, value, 0).astype(np.int8)[None]
        for weight in (VALUES[format][0], VALUES[format][-1]):
            y = matmul(pack(np.full((N, K), weight, np.int8), format), N, K, x, format=format, backend=backend)

            assert y.tolist() == [[weight * value * int(here.sum())] * N]


@pytest.mark.parametrize("M", [1, 5])
@pytest.mark.parametrize("offset", [1, 2, 7, 63])
def test_matmul_takes_read_only_and_misaligned_bytes(backend, format, offset, M):
    rng = np.random.default_rng(7)
    codes, x = weights(rng, 70, 50, format), activations(rng, M, 50)

    y = matmul(elsewhere(pack(codes, format), offset), 70, 50, elsewhere(x, offset), format=format, backend=backend)

    assert np.array_equal(y, triple_loop(codes, x))


def test_matmul_takes_one_token_out_of_many(backend):
    rng = np.random.default_rng(7)
    W, codes = packed_matrix(rng, 5, 9, "2bit", backend)
    x = activations(rng, 6, 9)

    assert np.array_equal(W.matmul(x[4:5]), triple_loop(codes, x[4:5]))
    assert np.array_equal(W.matmul(x[::6]), triple_loop(codes, x[:1]))  # its row stride is 54, and never taken


def test_matmul_without_a_name_runs_the_active_backend():
    codes, x = np.eye(3, dtype=np.int8), np.array([[5, -6, 7]], np.int8)

    assert matmul(pack(codes), 3, 3, x).tolist() == [[5, -6, 7]]


# ---- a matrix


def test_a_matrix_knows_its_shape_and_what_it_holds(backend, format):
    W, codes = packed_matrix(np.random.default_rng(8), 40, 50, format, backend, scale=0.5)

    assert (W.N, W.K, W.format, W.backend) == (40, 50, format, backend)
    assert W.held == format or (format == "base3" and W.held == "2bit")
    assert W.nbytes == pack(codes, W.held).nbytes
    assert W.scale.dtype == np.float32 and W.scale.tolist() == 0.5


@pytest.mark.parametrize(
    ("name", "held"), [("reference", "base3"), ("scalar", "base3"), ("avx2", "2bit"), ("avx512", "2bit")]
)
def test_base3_is_held_as_2bit_by_the_backends_that_lack_a_kernel_for_it(name, held):
    if not any(row.name == name and row.built and row.supported for row in backends()):
        pytest.skip(f"{name} does not run here")
    W, codes = packed_matrix(np.random.default_rng(9), 40, 50, "base3", name)

    assert (W.format, W.held, W.nbytes) == ("base3", held, pack(codes, held).nbytes)


def test_wrong_base3_bytes_are_found_where_they_are_expanded(backend):
    if packed_matrix(np.random.default_rng(9), 1, 1, "base3", backend)[0].held == "base3":
        pytest.skip(f"{backend} holds them as they are")
    with pytest.raises(ValueError, match=r"packed\[0\] is 0xff, which holds a code over 2"):
        matrix(np.full(128, 255, np.uint8), 1, 1, format="base3", backend=backend)


def test_a_code_over_2_leads_no_kernel_out_of_its_arrays(backend):
    if backend == "reference":
        pytest.skip("the reference unpacks, and refuses")
    y = matmul(np.full(128 * 6, 255, np.uint8), 40, 40, np.ones((2, 40), np.int8), backend=backend)

    assert y.shape == (2, 40)


def test_a_matrix_keeps_its_bytes_alive(backend):
    codes = np.ones((64, 64), np.int8)
    W = matrix(pack(codes).copy(), 64, 64, backend=backend)
    np.zeros((10, 1024), np.uint8)  # what could come to lie in its place

    assert W.matmul(np.ones((1, 64), np.int8)).tolist() == [[64] * 64]


# ---- float32 activations


def tokens(rng, M, K):
    """(M, K) float32, each token of another magnitude."""
    return (rng.standard_normal((M, K)) * 10.0 ** rng.integers(-6, 7, (M, 1))).astype(np.float32)


def every_token():
    """(20, 12) float32: ties, zeros, the smallest and the largest, and values about the least absmax."""
    largest = np.finfo(np.float32).max
    rows = [
        np.arange(12) - 6,  # absmax 6
        [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 63.5, -63.5, 126.5, -126.5, 0.49999997],  # scale 1: halves go to even
        [-127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 63.5, -63.5, 126.5, -126.5, 0.49999997],
        np.zeros(12),
        -np.zeros(12),
        np.full(12, 1e-45),
        np.full(12, 1e-5),
        np.full(12, -9.9e-6),
        np.full(12, 1.1e-5),
        np.full(12, largest),
        np.full(12, -largest),
        np.where(np.arange(12) == 5, largest, 1.0),
        *(np.linspace(-1, 1, 12) * 3.0**power for power in range(-12, 12, 3)),
    ]
    return np.array(rows, np.float32)


@pytest.fixture(params=["reference", "compiled"])
def quantize_by(request):
    """The two functions that quantize: all compiled backends share one."""
    if request.param == "reference":
        return reference.quantize
    if quantize is reference.quantize:
        pytest.skip("not compiled")
    return quantize


MANY_TOKENS = [
    every_token(),
    *(tokens(np.random.default_rng(seed), 50, K) for seed, K in enumerate([1, 7, 8, 16, 17, 100, 2560])),
]


@pytest.mark.parametrize("x", MANY_TOKENS, ids=lambda x: f"{x.shape[0]}x{x.shape[1]}")
def test_quantize_is_what_torch_makes_of_the_definition_bit_for_bit(quantize_by, x):
    one = torch.from_numpy(x)
    wanted_scale = torch.tensor(127.0) / one.abs().amax(dim=1).clamp(min=1e-5)

    codes, scale = quantize_by(x)

    assert codes.dtype == np.int8 and scale.dtype == np.float32 and scale.shape == (len(x),)
    assert np.array_equal(scale, wanted_scale.numpy())
    assert np.array_equal(codes, (one * wanted_scale[:, None]).round().to(torch.int8).numpy())


@pytest.mark.parametrize("x", MANY_TOKENS, ids=lambda x: f"{x.shape[0]}x{x.shape[1]}")
def test_quantize_is_activation_quant_of_transformers_but_for_its_second_rounding(quantize_by, x):
    bitnet = pytest.importorskip("transformers.integrations.bitnet")
    with torch.compiler.set_stance("force_eager"):  # it is compiled, which would need a C++ compiler
        theirs, their_scale = (one.numpy() for one in bitnet.BitLinear.activation_quant(None, torch.from_numpy(x)))

    codes, scale = quantize_by(x)

    # an int divided by a tensor is the rounded reciprocal times the int in torch: a last place may differ
    assert np.allclose(scale[:, None], their_scale, rtol=2 * 2.0**-23, atol=0)
    exact = x.astype(np.float64) * scale[:, None]
    near_a_tie = np.abs(exact - np.floor(exact) - 0.5) < 127 * 3 * 2.0**-23
    assert np.array_equal(codes[~near_a_tie], theirs[~near_a_tie])
    assert near_a_tie.mean() < 0.2 and np.abs(codes.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("K", [1, 15, 16, 17, 31, 2560, 2563])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_rms_norm_is_that_of_float64_within_its_roundings(K, eps):
    rng = np.random.default_rng(K)
    x, norm = tokens(rng, 6, K), rng.standard_normal(K).astype(np.float32)
    x64 = x.astype(np.float64)
    wanted = x64 / np.sqrt((x64**2).mean(axis=1, keepdims=True) + np.float64(np.float32(eps))) * norm

    # a lane adds ceil(K / 16) squares, then 4 halvings; square, mean, eps, root, inverse, two products: one each
    roundings = -(-K // 16) + 4 + 7
    assert np.allclose(reference.rms_norm(x, norm, eps), wanted, rtol=roundings * 2.0**-24, atol=0)


@pytest.mark.parametrize("K", [0, 1, 7, 8, 15, 16, 17, 31, 33, 100, 2560, 2563])
def test_quantize_after_a_norm_is_quantize_of_the_normed(quantize_by, K):
    rng = np.random.default_rng(K)
    x, norm = tokens(rng, 6, K), rng.standard_normal(K).astype(np.float32)

    codes, scale = quantize_by(x, norm, 1e-5)
    wanted, wanted_scale = reference.quantize(reference.rms_norm(x, norm, 1e-5))

    assert np.array_equal(codes, wanted) and np.array_equal(scale, wanted_scale)


def test_a_token_of_zeros_and_one_without_columns_have_the_largest_scale(quantize_by):
    for K in (0, 3):
        codes, scale = quantize_by(np.zeros((2, K), np.float32))

        assert codes.shape == (2, K) and not codes.any()
        assert scale.tolist() == [np.float32(127) / np.float32(1e-5)] * 2


def float64_layer(x, codes, weight_scale):
    """y of w1.58a8 as it is defined, token by token, sums as Python's integers."""
    y = np.zeros((len(x), len(codes)))
    for m, token in enumerate(x):
        scale = np.float32(127) / max(np.float32(abs(token).max()), np.float32(1e-5))
        quantized = [int(np.rint(value * scale)) for value in token]
        for n, row in enumerate(codes.tolist()):
            total = sum(weight * value for weight, value in zip(row, quantized, strict=True))
            y[m, n] = total * float(weight_scale[n]) / float(scale)
    return y


@pytest.mark.parametrize("M", [1, 2, 13])
@pytest.mark.parametrize("per_row", [False, True])
def test_linear_is_the_definition_within_three_roundings(backend, format, M, per_row):
    rng = np.random.default_rng(10)
    scale = rng.uniform(0.1, 2, 35).astype(np.float32) if per_row else np.float32(0.37)
    W, codes = packed_matrix(rng, 35, 45, format, backend, scale=scale)
    x = tokens(rng, M, 45)

    (y,) = linear([W], x)

    assert y.dtype == np.float32 and y.shape == (M, 35)
    # the sum to float32 (exact below 2^24), the quotient of the scales, the product
    assert np.allclose(y, float64_layer(x, codes, np.broadcast_to(scale, 35)), rtol=3 * 2.0**-24, atol=0)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("M", [1, 3, 12, 14, 30])
def test_linear_is_the_reference_bit_for_bit(backend, M, norm):
    rng = np.random.default_rng(11)
    x, weight = tokens(rng, M, 130), rng.standard_normal(130).astype(np.float32) if norm else None
    shapes = [
        (40, "base3", 0.3),
        (1, "2bit", 7),
        (0, "2bit", 1.0),
        (65, "int8", rng.uniform(0, 1, 65)),
        (32, "base3", 2.0),
    ]
    codes = [weights(rng, N, 130, format) for N, format, scale in shapes]

    def layers(name):
        return [
            matrix(pack(code, format), N, 130, format=format, scale=scale, backend=name)
            for code, (N, format, scale) in zip(codes, shapes, strict=True)
        ]

    ys = linear(layers(backend), x, weight, 1e-6)
    wanted = reference.linear(layers("reference"), x, weight, 1e-6)

    assert [y.shape for y in ys] == [(M, N) for N, format, scale in shapes]
    assert all(np.array_equal(y, want) for y, want in zip(ys, wanted, strict=True))


def test_a_fused_call_is_its_single_calls_bit_for_bit(backend):
    rng = np.random.default_rng(12)
    matrices = [
        packed_matrix(rng, N, 50, format, backend, scale=0.1)[0] for N, format in zip((64, 1, 33), FIELDS, strict=True)
    ]
    x, norm = tokens(rng, 5, 50), rng.standard_normal(50).astype(np.float32)

    for threads in (1, 3):
        together = linear(matrices, x, norm, 1e-5, threads=threads)
        assert all(np.array_equal(y, linear([W], x, norm, 1e-5)[0]) for W, y in zip(matrices, together, strict=True))


def test_matrices_of_different_backends_work_in_one_call(backend):
    rng = np.random.default_rng(13)
    one, codes = packed_matrix(rng, 20, 30, "2bit", backend)
    other = matrix(pack(codes), 20, 30, backend="reference")
    x = tokens(rng, 2, 30)

    assert np.array_equal(*linear((W for W in (one, other)), x))


def test_linear_takes_no_tokens_no_rows_no_columns_and_no_matrices(backend, format):
    def layer(N, K):
        return packed_matrix(np.random.default_rng(0), N, K, format, backend)[0]

    assert linear([layer(3, 5)], np.zeros((0, 5), np.float32))[0].shape == (0, 3)
    assert linear([layer(0, 5)], np.ones((2, 5), np.float32))[0].shape == (2, 0)
    assert linear([layer(3, 0)], np.zeros((2, 0), np.float32))[0].tolist() == [[0, 0, 0]] * 2
    assert linear([], np.ones((2, 5), np.float32)) == ()


# ---- threads


@pytest.mark.parametrize("M", [1, 5, 30])
def test_several_threads_give_what_one_gives(backend, format, M):
    rng = np.random.default_rng(14)
    W, codes = packed_matrix(rng, 500, 300, format, backend, scale=rng.uniform(0, 1, 500))
    x, x_float = activations(rng, M, 300), tokens(rng, M, 300)
    y, (y_float,) = W.matmul(x, threads=1), linear([W, W], x_float, threads=1)[1:]

    assert np.array_equal(y, x.astype(np.int64) @ codes.T.astype(np.int64))
    for threads in (None, 2, 3, np.int64(7)):
        for _ in range(5):  # who takes which panel is another matter each time
            assert np.array_equal(W.matmul(x, threads=threads), y)
            assert np.array_equal(linear([W, W], x_float, threads=threads)[1], y_float)


def test_calls_from_several_python_threads_at_once_are_exact(backend):
    rng = np.random.default_rng(15)
    wrong, start = [], threading.Barrier(4)
    cases = []
    for M in (1, 2, 7, 13):
        W, codes = packed_matrix(rng, 200, 90, "2bit", backend)
        cases.append((W, x := activations(rng, M, 90), triple_loop(codes, x)))

    def work(W, x, y):
        start.wait()
        if not all(np.array_equal(W.matmul(x, threads=3), y) for _ in range(100)):
            wrong.append(len(x))

    workers = [threading.Thread(target=work, args=case) for case in cases]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
