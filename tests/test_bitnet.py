"""The references of lab 43 against something dumber: a loop over bits, the kernels, published numbers."""

import numpy as np
import pytest

from cython_kernels import reference
from slmlab.exercises import bitnet


def test_packed_rows_are_those_of_bitnets_file():
    # transformers' own unpack_weights, by hand: the i-th quarter of the rows is the i-th pair of bits, minus 1
    codes = np.random.default_rng(0).integers(-1, 2, (12, 5), dtype=np.int8)
    packed = bitnet.pack_rows(codes)

    unpacked = np.concatenate([(packed >> 2 * quarter & 3).astype(np.int8) - 1 for quarter in range(4)])
    assert packed.shape == (3, 5) and np.array_equal(unpacked, codes)


def test_a_product_of_packed_rows_is_that_of_the_kernels_specification():
    rng = np.random.default_rng(1)
    codes, x = rng.integers(-1, 2, (32, 40), dtype=np.int8), rng.integers(-128, 128, 40, dtype=np.int8)

    wanted = reference.Matrix(reference.pack(codes), 32, 40).matmul(x[None])[0]
    assert np.array_equal(bitnet.packed_product(bitnet.pack_rows(codes), x), wanted)


@pytest.mark.parametrize("flush_after", [1, 7, 64, 80, 1000])
def test_a_lane_is_what_numpys_int16_does(flush_after):
    rng = np.random.default_rng(2)
    codes, x = rng.integers(1, 3, 400, dtype=np.uint8), rng.integers(90, 128, 400, dtype=np.int8)

    total, lane = 0, np.zeros(1, np.int16)
    for number, pair in enumerate((codes.astype(np.int16) * x).reshape(-1, 2).sum(1), 1):
        lane += np.int16(pair)
        if number % flush_after == 0 or number == 200:
            total += int(lane[0])
            lane[0] = 0
    assert bitnet.int16_lane(codes, x, flush_after) == total


def test_the_overflow_of_issue_629_of_bitnet_cpp():
    # K = 2560, all weights +1 (code 2), all x = 127: reported as -398336 instead of 650240; AVX2 has 16 lanes
    assert 16 * bitnet.int16_lane(np.full(160, 2, np.uint8), np.full(160, 127, np.int8), 80) == -398_336
    assert 16 * bitnet.int16_lane(np.full(160, 2, np.uint8), np.full(160, 127, np.int8), 64) == 650_240


@pytest.mark.parametrize(("largest_code", "lane_bits"), [(1, 16), (2, 16), (3, 16), (128, 16), (200, 16), (40, 14)])
def test_as_many_additions_as_are_safe_fit_and_one_more_does_not(largest_code, lane_bits):
    safe = bitnet.safe_additions(largest_code, lane_bits)

    def fits(additions):
        ends = [additions * 2 * largest_code * x for x in (127, -128)]
        return max(ends) < 2 ** (lane_bits - 1) and min(ends) >= -(2 ** (lane_bits - 1))

    assert fits(safe) and not fits(safe + 1)


def test_two_bits_and_one_token_are_eight_times_as_fast_as_sixteen_while_memory_is_the_limit():
    two, sixteen = (bitnet.roofline(bits, 1, 40e9, 1e12) for bits in (2, 16))

    assert (two, sixteen) == pytest.approx((160e9, 20e9))
    assert bitnet.roofline(2, 64, 40e9, 1e12) == 1e12  # arithmetic
