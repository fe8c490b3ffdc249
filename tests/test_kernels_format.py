"""The packed formats: every byte against its drawing, code by code."""

import importlib
import itertools

import numpy as np
import pytest
from kernel_loops import FIELDS, bytes_of_codes, pack_by_loop, weights

import cython_kernels
from cython_kernels import FORMATS, pack, packed_bytes, reference, unpack

EDGES = (0, 1, 31, 32, 33)


@pytest.fixture(params=FIELDS)
def format(request):
    return request.param


def test_the_formats_are_the_three_that_are_drawn():
    assert list(FORMATS) == list(FIELDS)


@pytest.mark.parametrize(
    ("format", "row", "first", "rest"),
    [
        # codes 2 0 1 2 0; columns 0 to 3 are field 0 of bytes 0 to 3, column 4 is field 1 of byte 0, the rest is code 1
        ("2bit", [1, -1, 0, 1, -1], "52545556", 0x55),
        # v = 2 + 0 + 9 + 27, 0 + 3 + 9 + 27, 1 + 3 + 9 + 27, 2 + 3 + 9 + 27, and 64 x code 1 is added
        ("base3", [1, -1, 0, 1, -1], "66676869", 0x68),
        # v = 2 + 6 + 18 + 54 = 80, over 63: 192 + 3 x 16 + 2
        ("base3", [1] * 20, "f2f2f2f2", 0x68),
        ("base3", [-1] * 20, "00000000", 0x68),
        ("int8", [-128, 127, 0, 1], "00ff8081", 0x80),
    ],
)
def test_an_example_by_hand_packs_to_its_bytes(format, row, first, rest):
    packed = pack(np.array([row], np.int8), format)

    assert packed.tobytes() == bytes.fromhex(first) + bytes([rest]) * 124


@pytest.mark.parametrize(("N", "K"), [(1, 1), (3, 5), (16, 16), (17, 15), (32, 20), (33, 17), (70, 50)])
def test_every_code_stands_where_the_drawing_says(format, N, K):
    codes = weights(np.random.default_rng(N * 100 + K), N, K, format)

    assert pack(codes, format).tobytes() == pack_by_loop(codes, format)


def test_different_codes_give_different_bytes():
    assert {format: len(bytes_of_codes(format)) for format in FIELDS} == {"2bit": 3**4, "base3": 3**5, "int8": 256}
    assert sorted(bytes_of_codes("base3")) == list(range(243))


def test_unpack_reads_the_bytes_that_codes_give_and_refuses_all_others(format):
    given, columns = bytes_of_codes(format), 4 * FIELDS[format]
    for byte in range(256):
        packed = pack(np.zeros((20, columns), np.int8), format)
        packed[77] = byte  # block 1, row 3 of 16, byte 1: columns 1, 5, ... of row 19
        if byte in given:
            row = unpack(packed, 20, columns, format)[19, 1::4].tolist()
            assert row == [code - FORMATS[format].zero for code in given[byte]]
        else:
            with pytest.raises(ValueError, match=rf"packed\[77\] is {byte:#04x}, which holds a code over 2"):
                unpack(packed, 20, columns, format)


def test_unpack_refuses_a_wrong_byte_among_the_padding():
    packed = pack(np.zeros((3, 5), np.int8))
    packed[127] = 0xFF

    with pytest.raises(ValueError, match=r"packed\[127\] is 0xff"):
        unpack(packed, 3, 5)


@pytest.mark.parametrize(("N", "K"), list(itertools.product((*EDGES, 70), (*EDGES, 15, 16, 17, 19, 20, 21, 50))))
def test_unpack_gives_back_what_was_packed(format, N, K):
    codes = weights(np.random.default_rng(1), N, K, format)

    packed = pack(codes, format)
    again = unpack(packed, N, K, format)

    assert packed.dtype == np.uint8 and packed.shape == (packed_bytes(N, K, format),)
    assert packed.ctypes.data % 64 == 0 or not packed.size
    assert again.dtype == np.int8 and again.shape == (N, K)
    assert np.array_equal(again, codes)


@pytest.mark.parametrize(("format", "bits"), [("2bit", 2), ("base3", 1.6), ("int8", 8)])
def test_whole_panels_take_the_bits_that_the_format_promises(format, bits):
    assert packed_bytes(2560, 2560, format) * 8 == bits * 2560 * 2560


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int64, np.uint64])
def test_a_shape_may_be_of_any_integer_type(integer):
    codes = weights(np.random.default_rng(1), 100, 90, "2bit")
    packed = pack(codes)

    assert packed_bytes(integer(100), integer(90)) == packed.size
    assert np.array_equal(unpack(packed, integer(100), integer(90)), codes)


def test_pack_takes_any_strides(format):
    codes = weights(np.random.default_rng(2), 40, 40, format)

    assert np.array_equal(unpack(pack(codes.T[::-1, ::2], format), 40, 20, format), codes.T[::-1, ::2])


def test_pack_leaves_read_only_weights_as_they_are():
    codes = np.frombuffer(bytes([255, 0, 1, 1]), np.int8).reshape(2, 2)

    assert np.array_equal(unpack(pack(codes), 2, 2), [[-1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("format", "K_max"),
    [  # the largest K at which the bound of ternary.h still fits an int32
        ("2bit", 2**31 // (128 * 128) * 4),
        ("base3", 2**18),  # a power of two below 2^31 / 128^2 * 5 / 2
        ("int8", 2**16),  # likewise below 2^31 / (255 * 128)
    ],
)
def test_the_largest_K_is_packed_and_one_more_is_refused(format, K_max):
    assert packed_bytes(1, K_max, format) > 0
    for refused in (
        lambda: packed_bytes(1, K_max + 1, format),
        lambda: pack(np.zeros((0, K_max + 1), np.int8), format),
        lambda: unpack(np.zeros(0, np.uint8), 0, K_max + 1, format),
    ):
        with pytest.raises(ValueError, match=f"K is {K_max + 1}, wanted at most {K_max}: split"):
            refused()


def test_header_and_reference_agree():
    if not any(row.built for row in cython_kernels.backends()[1:]):
        pytest.skip(cython_kernels.backends()[-1].reason)
    compiled = importlib.import_module("cython_kernels.ternary")

    assert compiled.FORMAT == reference.FORMAT
    assert {
        "PANEL_ROWS": reference.PANEL_ROWS,
        "STEP_BYTES": reference.STEP_BYTES,
        "fields": {name: format.fields for name, format in FORMATS.items()},
        "K_max": {name: format.K_max for name, format in FORMATS.items()},
    } == compiled.CONSTANTS


@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        ([[1, 0]], TypeError, "codes is a list, wanted a NumPy array of int8: quantize the weights"),
        (np.zeros((1, 2), np.float32), TypeError, "codes is float32, wanted int8"),
        (np.zeros((1, 2), np.uint8), TypeError, "codes is uint8, wanted int8"),
        (np.zeros(2, np.int8), ValueError, r"codes has shape \(2,\), wanted \(N, K\)"),
        (np.array([[0, 1], [0, 2]], np.int8), ValueError, r"codes\[1, 1\] is 2, wanted -1, 0 or \+1"),
        (np.array([[0, -128]], np.int8), ValueError, r"codes\[0, 1\] is -128, wanted"),
    ],
)
@pytest.mark.parametrize("format", ["2bit", "base3"])
def test_pack_refuses(format, codes, error, message):
    with pytest.raises(error, match=message):
        pack(codes, format)


@pytest.mark.parametrize("name", ["3bit", "", None, ["2bit"]])
def test_a_format_that_does_not_exist_is_refused_with_those_that_do(name):
    for refused in (
        lambda: pack(np.zeros((1, 1), np.int8), name),
        lambda: unpack(np.zeros(128, np.uint8), 1, 1, name),
        lambda: packed_bytes(1, 1, name),
    ):
        with pytest.raises(ValueError, match=r"there is no format .*, wanted one of 2bit, base3, int8"):
            refused()
