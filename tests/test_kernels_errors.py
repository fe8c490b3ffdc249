"""What the kernels refuse: every wrong argument is a TypeError or a ValueError that says what was wanted."""

import importlib

import numpy as np
import pytest
from kernel_loops import elsewhere

import cython_kernels
from cython_kernels import linear, matmul, matrix, pack, packed_bytes, quantize, reference

PACKED = pack(np.zeros((3, 5), np.int8))
GOOD = {"packed": PACKED, "N": 3, "K": 5, "x": np.zeros((2, 5), np.int8)}
X = np.ones((2, 5), np.float32)
NORM = np.ones(5, np.float32)


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("packed", [0] * 128, TypeError, "packed is a list, wanted a NumPy array of uint8: pass what pack"),
        ("packed", bytes(128), TypeError, "packed is a bytes, wanted a NumPy array"),
        ("packed", np.zeros(128, np.int8), TypeError, "packed is int8, wanted uint8"),
        ("packed", np.zeros(64, np.uint16), TypeError, "packed is uint16, wanted uint8"),
        ("packed", np.zeros((2, 64), np.uint8), ValueError, r"packed has shape \(2, 64\), wanted \(bytes\)"),
        ("packed", np.zeros(127, np.uint8), ValueError, "packed has 127 bytes, wanted 128 for N = 3, K = 5, 2bit"),
        ("packed", PACKED[1:], ValueError, "packed has 127 bytes, wanted 128"),
        ("packed", np.zeros(129, np.uint8), ValueError, "packed has 129 bytes, wanted 128"),
        ("packed", np.zeros(0, np.uint8), ValueError, "packed has 0 bytes, wanted 128"),
        ("packed", np.zeros(256, np.uint8)[::2], ValueError, "packed is not contiguous"),
        ("packed", np.zeros(128, np.uint8)[::-1], ValueError, "packed is not contiguous"),
        ("N", 33, ValueError, "packed has 128 bytes, wanted 256 for N = 33"),
        ("N", -1, ValueError, "N is -1, wanted 0 or more"),
        ("N", 3.0, TypeError, "N is the float 3.0, wanted an int"),
        ("N", 2**70, ValueError, f"N is {2**70}, wanted at most 2147483647: split the rows"),
        ("K", 6, ValueError, "x has 5 columns, wanted K = 6"),
        ("K", -5, ValueError, "K is -5, wanted 0 or more"),
        ("K", 2**19 + 1, ValueError, "K is 524289, wanted at most 524288: split"),
        ("K", 2**70, ValueError, "wanted at most 524288: split"),
        ("K", None, TypeError, "K is the NoneType None, wanted an int"),
        ("x", [[0] * 5], TypeError, "x is a list, wanted a NumPy array of int8: quantize the activations"),
        ("x", memoryview(GOOD["x"]), TypeError, "x is a memoryview, wanted a NumPy array of int8"),
        ("x", np.zeros((2, 5), np.float32), TypeError, "x is float32, wanted int8: quantize the activations"),
        ("x", np.zeros((2, 5), np.uint8), TypeError, "x is uint8, wanted int8"),
        ("x", np.zeros((2, 5), np.bool_), TypeError, "x is bool, wanted int8"),
        ("x", np.zeros((2, 5), "S1"), TypeError, r"x is \|S1, wanted int8"),
        ("x", np.zeros((2, 5), [("code", np.int8)]), TypeError, r"x is \[\('code', 'i1'\)\], wanted int8"),
        ("x", np.zeros((2, 5), object), TypeError, "x is object, wanted int8"),
        ("x", np.zeros(5, np.int8), ValueError, r"x has shape \(5,\), wanted \(M, K\)"),
        ("x", np.zeros((1, 2, 5), np.int8), ValueError, r"x has shape \(1, 2, 5\), wanted \(M, K\)"),
        ("x", np.zeros((), np.int8), ValueError, r"x has shape \(\), wanted \(M, K\)"),
        ("x", np.zeros((2, 4), np.int8), ValueError, "x has 4 columns, wanted K = 5"),
        ("x", np.zeros((5, 2), np.int8).T, ValueError, "not C-contiguous: pass np.ascontiguousarray"),
        ("x", np.zeros((2, 10), np.int8)[:, ::2], ValueError, "not C-contiguous"),
        ("x", np.zeros((4, 5), np.int8)[::2], ValueError, "not C-contiguous"),
        ("x", np.zeros((2, 5), np.int8)[::-1], ValueError, "not C-contiguous"),
        ("x", np.broadcast_to(np.int8(1), (2, 5)), ValueError, "not C-contiguous"),
        ("format", "3bit", ValueError, "there is no format '3bit', wanted one of 2bit, base3, int8"),
        ("format", None, ValueError, "there is no format None"),
        ("format", "int8", ValueError, "packed has 128 bytes, wanted 256 for N = 3, K = 5, int8"),
    ],
)
def test_matmul_refuses(backend, argument, value, error, message):
    with pytest.raises(error, match=message):
        matmul(**GOOD | {argument: value}, backend=backend)


@pytest.mark.parametrize(
    ("scale", "error", "message"),
    [
        ("1", TypeError, "scale is <U1, wanted a number or float32"),
        (None, TypeError, "scale is object, wanted a number"),
        (True, TypeError, "scale is bool, wanted a number"),
        (1j, TypeError, "scale is complex128, wanted a number"),
        ([1.0, 2.0], ValueError, r"scale has shape \(2,\), wanted one number or \(3,\): one for each row"),
        (np.ones((3, 1), np.float32), ValueError, r"scale has shape \(3, 1\), wanted one number or \(3,\)"),
        (np.nan, ValueError, "scale holds nan or inf as float32"),
        (1e300, ValueError, "scale holds nan or inf as float32"),
        (np.array([1, np.inf, 1], np.float32), ValueError, "scale holds nan or inf as float32"),
    ],
)
def test_a_matrix_refuses_a_scale(backend, scale, error, message):
    with pytest.raises(error, match=message):
        matrix(PACKED, 3, 5, scale=scale, backend=backend)


@pytest.mark.parametrize(
    "scale",
    [
        [1, 2, 3],
        np.array([1, 2, 3], ">f4"),
        np.array([1, 2, 3], np.float64),
        np.array([1, 9, 2, 9, 3, 9], np.float32)[::2],
        elsewhere(np.array([1, 2, 3], np.float32)),
    ],
    ids=["list", "other endianness", "float64", "strided", "misaligned"],
)
def test_a_scale_of_any_kind_of_numbers_is_one_a_row(backend, scale):
    W = matrix(pack(np.ones((3, 5), np.int8)), 3, 5, scale=scale, backend=backend)

    assert W.scale.dtype == np.float32 and W.scale.tolist() == [1, 2, 3]
    assert np.allclose(linear([W], X)[0], [[5, 10, 15]] * 2)


FLOAT_X = [
    (X.tolist(), TypeError, "x is a list, wanted a NumPy array of float32: pass the activations as float32"),
    (X.astype(np.float64), TypeError, "x is float64, wanted float32"),
    (X.astype(np.float16), TypeError, "x is float16, wanted float32"),
    (X.astype(X.dtype.newbyteorder()), TypeError, "x is [<>]f4, wanted float32"),
    (X.view(np.int32), TypeError, "x is int32, wanted float32"),
    (memoryview(X), TypeError, "x is a memoryview, wanted a NumPy array of float32"),
    (X[0], ValueError, r"x has shape \(5,\), wanted \(M, K\)"),
    (np.ones((5, 2), np.float32).T, ValueError, "not C-contiguous: pass np.ascontiguousarray"),
    (np.ones((4, 5), np.float32)[::2], ValueError, "not C-contiguous"),
    (elsewhere(X), ValueError, r"x begins at an address that is no multiple of 4: pass x\.copy\(\)"),
    (elsewhere(X, 2), ValueError, "x begins at an address that is no multiple of 4"),
]


@pytest.fixture
def W(backend):
    return matrix(pack(np.ones((3, 5), np.int8)), 3, 5, backend=backend)


@pytest.mark.parametrize(("x", "error", "message"), FLOAT_X)
def test_linear_refuses_activations(W, x, error, message):
    with pytest.raises(error, match=message):
        linear([W], x)


@pytest.mark.parametrize(("x", "error", "message"), FLOAT_X)
@pytest.mark.parametrize("function", [quantize, reference.quantize], ids=["active", "reference"])
def test_quantize_refuses_activations(function, x, error, message):
    with pytest.raises(error, match=message):
        function(x)


def test_linear_takes_activations_that_are_read_only(W):
    assert linear([W], elsewhere(X, 4))[0].tolist() == linear([W], X)[0].tolist()


@pytest.mark.parametrize(
    ("norm", "error", "message"),
    [
        (NORM.tolist(), TypeError, "norm is a list, wanted a NumPy array of float32: pass the RMSNorm's weight"),
        (NORM.astype(np.float64), TypeError, "norm is float64, wanted float32"),
        (NORM.astype(NORM.dtype.newbyteorder()), TypeError, "norm is [<>]f4, wanted float32"),
        (np.ones((1, 5), np.float32), ValueError, r"norm has shape \(1, 5\), wanted \(K\)"),
        (np.ones(4, np.float32), ValueError, "norm has 4 values, wanted K = 5"),
        (np.ones(6, np.float32), ValueError, "norm has 6 values, wanted K = 5"),
        (np.ones(10, np.float32)[::2], ValueError, "norm has 5 values, wanted K = 5, contiguous"),
        (elsewhere(NORM), ValueError, r"norm begins at an address that is no multiple of 4: pass norm\.copy\(\)"),
    ],
)
def test_a_norm_is_refused(W, norm, error, message):
    for refused in (lambda: linear([W], X, norm), lambda: quantize(X, norm), lambda: reference.quantize(X, norm)):
        with pytest.raises(error, match=message):
            refused()


@pytest.mark.parametrize("eps", [-1e-5, np.nan, np.inf])
def test_an_eps_that_is_no_number_from_0_on_is_refused(W, eps):
    for refused in (lambda: linear([W], X, NORM, eps), lambda: reference.quantize(X, NORM, eps)):
        with pytest.raises(ValueError, match=r"eps is .*, wanted 0 or more"):
            refused()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", [None, NORM], ids=["plain", "normed"])
@pytest.mark.parametrize("column", [0, 9, 36])
def test_a_token_that_holds_nan_or_inf_is_named(backend, value, norm, column):
    W = matrix(pack(np.ones((3, 37), np.int8)), 3, 37, backend=backend)
    x, norm = np.ones((20, 37), np.float32), None if norm is None else np.ones(37, np.float32)
    x[17, column] = x[19, column] = value

    for refused in (lambda: linear([W], x, norm), lambda: quantize(x, norm), lambda: reference.quantize(x, norm)):
        with pytest.raises(ValueError, match="token 17 of x holds nan or inf"):
            refused()


def test_zeros_normed_without_eps_are_nan(W):
    with pytest.raises(ValueError, match="token 0 of x holds nan or inf"):
        linear([W], np.zeros((1, 5), np.float32), NORM)
    with pytest.raises(ValueError, match="token 0 of x holds nan or inf"):
        reference.quantize(np.zeros((1, 5), np.float32), NORM)


def test_linear_refuses_matrices_of_another_K(W, backend):
    other = matrix(pack(np.ones((3, 6), np.int8)), 3, 6, backend=backend)

    for M in (0, 2):
        with pytest.raises(ValueError, match="x has 5 columns, wanted K = 6"):
            linear([W, other], np.ones((M, 5), np.float32))


@pytest.mark.parametrize("matrices", [[1], [None], [PACKED], [np.ones((3, 5))]])
def test_linear_refuses_what_is_no_matrix(W, matrices):
    with pytest.raises(TypeError, match=r"matrices\[1\] is a \w+, wanted what matrix\(\) returns"):
        linear([W, *matrices], X)


def test_linear_wants_several_matrices(W):
    with pytest.raises(TypeError, match="not iterable"):
        linear(W, X)


@pytest.mark.parametrize(
    ("threads", "error", "message"),
    [
        (0, ValueError, "threads is 0, wanted 1 or more, or None for the default"),
        (-1, ValueError, "threads is -1, wanted 1 or more"),
        (-(2**70), ValueError, "wanted 1 or more"),
        (1.0, TypeError, "threads is a float, wanted an int, or None for the default"),
        ("2", TypeError, "threads is a str, wanted an int"),
    ],
)
def test_a_number_of_threads_is_refused(W, threads, error, message):
    for refused in (
        lambda: W.matmul(np.ones((1, 5), np.int8), threads),
        lambda: linear([W], X, threads=threads),
        lambda: linear([], X, threads=threads),
    ):
        with pytest.raises(error, match=message):
            refused()


def test_more_tokens_than_int32_counts_are_refused(backend):
    W = matrix(np.zeros(0, np.uint8), 0, 0, backend=backend)

    with pytest.raises(ValueError, match=f"x has {2**62} tokens, wanted at most 2147483647"):
        W.matmul(np.zeros((2**62, 0), np.int8))
    with pytest.raises(ValueError, match=f"x has {2**60} tokens, wanted at most 2147483647"):
        linear([W], np.zeros((2**60, 0), np.float32))


def test_a_shape_without_bytes_is_bounded_too():
    assert packed_bytes(2**31 - 1, 0) == 0
    with pytest.raises(ValueError, match="N is 2147483648, wanted at most 2147483647"):
        packed_bytes(2**31, 0)


# ---- the compiled module, used past its face


@pytest.fixture
def compiled():
    if not any(row.built for row in cython_kernels.backends()[1:]):
        pytest.skip(cython_kernels.backends()[-1].reason)
    return importlib.import_module("cython_kernels.ternary")


@pytest.mark.parametrize("name", ["reference", "magic", None, 3])
def test_the_compiled_module_refuses_a_backend_that_it_lacks(compiled, name):
    with pytest.raises(ValueError, match=f"backend {name!r} cannot run here, wanted one of scalar"):
        compiled.Matrix(PACKED, 3, 5, backend=name)


def test_a_compiled_matrix_is_made_whole_or_not_at_all(compiled):
    with pytest.raises(TypeError):
        compiled.Matrix.__new__(compiled.Matrix)
    W = compiled.Matrix(pack(np.ones((3, 5), np.int8)), 3, 5, backend="scalar")
    W.__init__(PACKED, 0, 0, backend="magic")  # changes nothing: its pointers belong to the bytes it was made with

    assert W.matmul(np.ones((1, 5), np.int8)).tolist() == [[5, 5, 5]]
