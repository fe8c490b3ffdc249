"""Quantization against slow loops, exact byte counts, and the libraries that use the same schemes."""

import math
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest

from slmlab import quant
from slmlab.quant import QuantError, error, quantize, quantize_nf4, quantize_ternary

GROUPS = ["tensor", "row", 1, 5, 32, 64]
SHAPES = [(64,), (7,), (3, 64), (4, 37), (2, 3, 40)]


def weights(shape, seed=0):
    """Normal, with one outlier in the middle and a quiet last row."""
    x = np.random.default_rng(seed).normal(0, 0.05, shape).astype(np.float32)
    x.reshape(-1)[x.size // 2] = 1.7
    x[-1:] *= 1e-3
    return x


def groups(shape, group):
    """The flat indices of each group, and the index of its scale, one element at a time."""
    found = {}
    for flat, index in enumerate(np.ndindex(*shape)):
        if group == "tensor":
            place = (0,) * len(shape)
        elif group == "row":
            place = (*index[:-1], 0)
        else:
            place = (*index[:-1], index[-1] // group)
        found.setdefault(place, []).append(flat)
    return found


def half_away(value):
    return math.copysign(math.floor(abs(value) + 0.5), value)


# ------------------------------------------------------------------------------------------------------------------
# The uniform grids


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_symmetric_codes_and_scales_are_those_of_a_loop(bits, group, shape):
    x = weights(shape)
    got = quantize(x, bits, "symmetric", group)
    top = 2 ** (bits - 1) - 1
    expected_groups = groups(shape, group)
    assert got.scale.size == len(expected_groups) and got.scale.ndim == x.ndim and got.zero_point is None
    for place, members in expected_groups.items():
        values = [float(x.flat[i]) for i in members]
        scale = max(map(abs, values)) / top
        assert got.scale[place] == np.float16(np.float32(scale))
        assert [got.codes.flat[i] for i in members] == [half_away(value / scale) for value in values]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_asymmetric_codes_scales_and_zero_points_are_those_of_a_loop(bits, group, shape):
    x = weights(shape) + np.float32(0.03)
    got = quantize(x, bits, "asymmetric", group)
    levels = 2**bits - 1
    assert got.zero_point.shape == got.scale.shape
    for place, members in groups(shape, group).items():
        values = [float(x.flat[i]) for i in members]
        low, high = min(*values, 0.0), max(*values, 0.0)
        scale = (high - low) / levels
        zero_point = half_away(-low / scale)
        assert got.scale[place] == np.float16(np.float32(scale))
        assert got.zero_point[place] == zero_point
        codes = [min(max(half_away(value / scale) + zero_point, 0), levels) for value in values]
        assert [got.codes.flat[i] for i in members] == codes


@pytest.mark.parametrize(
    "magnitude", [1e-9, 1e-6, 1e-3, 1.0, 1e4]
)  # the first two: scales below float16's normal range
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_the_error_is_at_most_half_a_step_and_what_the_stored_scale_is_off(scheme, bits, group, magnitude):
    x = (weights((6, 150)) + np.float32(0.02)) * np.float32(magnitude)
    got = quantize(x, bits, scheme, group)
    y = got.dequantize()
    assert y.shape == x.shape and y.dtype == np.float32
    for place, members in groups(x.shape, group).items():
        values = [float(x.flat[i]) for i in members]
        if scheme == "symmetric":
            scale = max(map(abs, values)) / (2 ** (bits - 1) - 1)
        else:
            scale = (max(*values, 0.0) - min(*values, 0.0)) / (2**bits - 1)
        zero_point = 0 if scheme == "symmetric" else int(got.zero_point[place])
        off = abs(scale - float(got.scale[place]))
        for i, value in zip(members, values, strict=True):
            steps = abs(int(got.codes.flat[i]) - zero_point)
            bound = scale / 2 + steps * off + 1e-6 * abs(value)  # 1e-6: the float32 arithmetic itself
            assert abs(value - float(y.flat[i])) <= bound


def test_ties_go_away_from_zero_and_the_number_before_a_tie_does_not():
    x = np.array([7, 0.5, -0.5, 1.5, 2.5, -2.5, np.nextafter(np.float32(0.5), np.float32(0))], np.float32)
    assert quantize(x, 4).codes.tolist() == [7, 1, -1, 2, 3, -3, 0]


def test_int2_symmetric_has_three_levels_and_asymmetric_four():
    x = np.linspace(-1, 1, 101, dtype=np.float32)
    assert np.unique(quantize(x, 2).codes).tolist() == [-1, 0, 1]
    assert np.unique(quantize(x, 2, "asymmetric").codes).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_symmetric_codes_of_minus_x_are_the_negated_codes_of_x(bits):
    x = weights((4, 96))
    assert np.array_equal(quantize(-x, bits, group=32).codes, -quantize(x, bits, group=32).codes)


@pytest.mark.parametrize("shift", [-3.0, -0.02, 0.0, 0.02, 3.0])
def test_an_asymmetric_zero_stays_exactly_zero(shift):
    x = weights((4, 96)) + np.float32(shift)
    x[:, ::7] = 0
    assert (quantize(x, 4, "asymmetric", 32).dequantize()[:, ::7] == 0).all()


def test_one_outlier_silences_its_own_group_and_no_other():
    x = np.tile(np.array([1, -1], np.float32), 64)
    x[40] = 1000
    assert np.count_nonzero(quantize(x, 4, group="tensor").codes) == 1
    assert np.count_nonzero(quantize(x, 4, group=32).codes) == 1 + 96


@pytest.mark.parametrize("bits", [4, 8])
def test_the_error_on_uniform_values_is_the_step_over_the_square_root_of_twelve(bits):
    x = np.random.default_rng(1).uniform(-1, 1, 200_000)
    step = 1 / (2 ** (bits - 1) - 1)
    assert error(x, quantize(x, bits).dequantize()).rms == pytest.approx(step / math.sqrt(12), rel=0.01)


# ------------------------------------------------------------------------------------------------------------------
# What is stored


def packed_length(codes, bits):
    """Write every code as `bits` binary digits, and count the bytes that hold them."""
    digits = "".join(format(int(code) & (2**bits - 1), f"0{bits}b") for code in codes.flat)
    return len([digits[i : i + 8] for i in range(0, len(digits), 8)])


@pytest.mark.parametrize("shape", [*SHAPES, (5, 0), (0, 5)])
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_stored_bytes_are_the_length_of_the_packed_codes_the_scales_and_the_zero_points(scheme, bits, group, shape):
    got = quantize(np.ones(shape, np.float32), bits, scheme, group)
    expected = packed_length(got.codes, bits) + len(got.scale.tobytes())
    if scheme == "asymmetric":
        expected += packed_length(got.zero_point, bits)
    assert got.scale.dtype == np.float16
    assert got.stored_bytes == expected


def test_bits_per_weight_of_known_formats():
    x = weights((64, 128))
    assert quantize(x, 8, group=32).stored_bits_per_weight == 8.5  # 34 bytes for 32 weights, as Q8_0
    assert quantize(x, 4, group=32).stored_bits_per_weight == 4.5  # 18 bytes for 32 weights, as Q4_0
    assert quantize(x, 4, "asymmetric", 32).stored_bits_per_weight == 4 + (16 + 4) / 32
    assert quantize_nf4(x).stored_bits_per_weight == 4.25
    assert quantize_ternary(x).stored_bits_per_weight == 2 + 16 / x.size
    assert math.isnan(quantize(np.zeros((0, 3))).stored_bits_per_weight)


@pytest.mark.parametrize("make", [quantize, lambda x: quantize(x, 4, "asymmetric", 32), quantize_nf4, quantize_ternary])
def test_a_large_tensor_needs_no_more_than_three_temporaries(make):
    x = weights((1000, 997))
    tracemalloc.start()
    try:
        got = make(x)
        assert tracemalloc.get_traced_memory()[1] < 3.5 * x.nbytes  # the codes are a quarter
        tracemalloc.reset_peak()
        y = got.dequantize()
        assert tracemalloc.get_traced_memory()[1] < 3.5 * x.nbytes
        tracemalloc.reset_peak()
        error(x, y)
        assert tracemalloc.get_traced_memory()[1] < 2 * x.nbytes  # y and the codes are there already
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------------------
# NF4 and ternary


def test_the_nf4_values_are_the_normal_quantiles_of_their_definition():
    top = 1 - (1 / 32 + 1 / 30) / 2
    quantile = NormalDist().inv_cdf
    above = [quantile(0.5 + (top - 0.5) * i / 8) for i in range(9)]  # 0 and eight above it
    below = [-quantile(0.5 + (top - 0.5) * i / 7) for i in range(7, 0, -1)]  # seven below
    expected = [value / above[-1] for value in below + above]
    assert quant.NF4.tolist() == pytest.approx(expected, abs=2e-7)  # the paper computed in float32


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group", ["tensor", "row", 16, 64])
def test_nf4_takes_the_nearest_of_its_values(group, shape):
    x = weights(shape)
    got = quantize_nf4(x, group)
    y = got.dequantize()
    assert got.scheme == "nf4" and got.codes.dtype == np.uint8 and got.codes.shape == shape
    for place, members in groups(shape, group).items():
        largest = max(abs(float(x.flat[i])) for i in members)
        assert got.scale[place] == np.float16(largest)
        for i in members:
            distances = [abs(float(x.flat[i]) / largest - float(value)) for value in quant.NF4]
            assert distances[got.codes.flat[i]] == pytest.approx(min(distances), abs=1e-7)
            assert y.flat[i] == quant.NF4[got.codes.flat[i]] * np.float32(got.scale[place])


def test_an_nf4_tie_goes_to_the_lower_value():
    midpoints = (quant.NF4[:-1] + quant.NF4[1:]) / 2
    assert quantize_nf4(np.append(midpoints, np.float32(1)), "row").codes.tolist() == [*range(15), 15]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group", ["tensor", "row"])
def test_ternary_codes_and_scales_are_those_of_a_loop(group, shape):
    x = weights(shape)
    got = quantize_ternary(x, group)
    y = got.dequantize()
    for place, members in groups(shape, group).items():
        scale = sum(abs(float(x.flat[i])) for i in members) / len(members)
        assert got.scale[place] == np.float16(scale)
        for i in members:
            code = max(-1, min(1, round(float(x.flat[i]) / scale)))
            assert got.codes.flat[i] == code
            assert y.flat[i] == code * np.float32(got.scale[place])


def test_a_ternary_tie_goes_to_zero():
    assert quantize_ternary(np.array([0.5, -0.5, 1.5, -1.5])).codes.tolist() == [0, 0, 1, -1]


# ------------------------------------------------------------------------------------------------------------------
# Edges


EVERY = {
    "int8": lambda x: quantize(x),
    "int4 in groups": lambda x: quantize(x, 4, group=4),
    "int3 asymmetric": lambda x: quantize(x, 3, "asymmetric", "row"),
    "nf4": lambda x: quantize_nf4(x, 4),
    "ternary": lambda x: quantize_ternary(x, "row"),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


@every
def test_zeros_stay_zeros(make):
    assert np.array_equal(make(np.zeros((3, 10))).dequantize(), np.zeros((3, 10)))


@every
@pytest.mark.parametrize("constant", [3.0, -0.125, 60000.0, 1e-4])
def test_a_constant_group_comes_back_to_the_precision_of_its_scale(make, constant):
    y = make(np.full((3, 10), constant, np.float32)).dequantize()
    # float16's half step: 2**-11 of the scale, or 2**-25 below its normal range; 127 steps of it at most
    np.testing.assert_allclose(y, constant, rtol=2**-11 + 1e-6, atol=127 * 2**-25)


@every
@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3)])
def test_an_empty_tensor_gives_an_empty_tensor(make, shape):
    got = make(np.zeros(shape))
    assert got.codes.shape == got.dequantize().shape == got.shape == shape


@every
@pytest.mark.parametrize("tiny", [1e-12, 1e-30, 1e-39, 1e-45])
def test_values_too_small_for_the_stored_scale_become_zero_or_stay_tiny(make, tiny):
    y = make(np.array([tiny, -tiny, 0, tiny / 2], np.float32)).dequantize()
    assert np.isfinite(y).all() and np.abs(y).max() <= 2e-5


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_and_infinity_are_refused_with_their_place(make, bad, dtype):
    x = np.ones((2, 6), dtype)
    x[1, 4] = bad
    with pytest.raises(QuantError, match=rf"x\[1, 4\] is {bad} in float32 \(1 such\)"):
        make(x)


@every
def test_a_float64_beyond_float32_is_refused_with_its_place(make):
    with pytest.raises(QuantError, match=r"x\[0\] is inf in float32"):
        make(np.array([1e300, 1.0]))


@every
def test_scales_beyond_float16_are_refused(make):
    with pytest.raises(QuantError, match="float16 holds 65504"):
        make(np.array([3e38, -3e38], np.float32))


@every
def test_other_dtypes_and_layouts_give_what_float32_gives(make):
    bfloat16_values = (weights((6, 10)).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    half = weights((6, 10)).astype(np.float16)
    for x in (bfloat16_values, half, half.astype(np.float64), np.arange(-30, 30).reshape(6, 10)):
        expected = make(np.array(x, np.float32))
        for same in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
            got = make(same)
            assert np.array_equal(got.codes, expected.codes) and np.array_equal(got.scale, expected.scale)


@every
def test_the_input_is_left_as_it_was(make):
    x = weights((6, 10))
    before = x.copy()
    x.setflags(write=False)
    got = make(x)
    codes = got.codes.copy()
    got.dequantize()
    assert np.array_equal(x, before) and np.array_equal(got.codes, codes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: quantize(x, 5), "bits is 5, wanted 2, 3, 4 or 8"),
        (lambda x: quantize(x, 8, "nf4"), "scheme is 'nf4', wanted 'symmetric' or 'asymmetric'"),
        (lambda x: quantize(x, group="column"), "group is 'column'"),
        (lambda x: quantize(x, group=0), "group is 0"),
        (lambda x: quantize(x, group=True), "group is True"),
        (lambda x: quantize(x, group=2.0), "group is 2.0"),
        (lambda x: quantize_nf4(x, -1), "group is -1"),
        (lambda x: quantize_ternary(x, 32), "group is 32, wanted 'tensor' or 'row'"),
        (lambda x: quantize(np.float32(1)), "single number"),
        (lambda x: quantize(x.astype(complex)), "dtype complex128, wanted real numbers"),
        (lambda x: quantize(x > 0), "dtype bool, wanted real numbers"),
        (lambda x: error(x, x[:2]), r"x has shape \(3, 4\) and y \(2, 4\)"),
    ],
)
def test_an_error_says_what_came_and_what_was_wanted(call, message):
    with pytest.raises(QuantError, match=message):
        call(np.ones((3, 4), np.float32))


# ------------------------------------------------------------------------------------------------------------------
# The error itself


def test_error_is_that_of_a_loop():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 50_000)).astype(np.float32)  # more than one slice
    y = x + rng.normal(0, 0.01, x.shape).astype(np.float32)
    differences = [float(a) - float(b) for a, b in zip(x.flat, y.flat, strict=True)]
    noise, signal = math.fsum(d * d for d in differences), math.fsum(float(a) ** 2 for a in x.flat)
    got = error(x, y)
    assert got.max_abs == max(map(abs, differences))
    assert got.rms == pytest.approx(math.sqrt(noise / x.size), rel=1e-12)
    assert got.sqnr_db == pytest.approx(10 * math.log10(signal / noise), rel=1e-12)


def test_error_at_its_ends():
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert error(one, one) == quant.Error(0.0, 0.0, math.inf)
    assert error(zero, one) == quant.Error(1.0, 1.0, -math.inf)
    assert error(one, zero) == quant.Error(1.0, 1.0, 0.0)
    assert error(np.zeros(0), np.zeros(0)) == quant.Error(0.0, 0.0, math.inf)
    assert math.isnan(error(np.array([np.nan, 1.0]), np.ones(2)).max_abs)


# ------------------------------------------------------------------------------------------------------------------
# Other libraries


def real_looking(rows=48, columns=256):
    """bfloat16 values, which tie often, with groups of zeros and of very small values among them."""
    x = np.random.default_rng(3).standard_t(4, (rows, columns)).astype(np.float32) * np.float32(0.05)
    x[3] = 0
    x[4] *= 1e-4
    x[5, :32] = 1e-8
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def test_symmetric_int8_in_groups_of_32_is_q8_0_bit_for_bit():
    gguf = pytest.importorskip("gguf", reason="the peer that defines Q8_0")
    x = real_looking()
    blocks = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q8_0).reshape(-1, 34)  # float16 scale, 32 codes
    got = quantize(x, 8, "symmetric", 32)
    assert np.array_equal(got.scale.reshape(-1), blocks[:, :2].copy().view(np.float16)[:, 0])
    assert np.array_equal(got.codes.reshape(-1, 32), blocks[:, 2:].view(np.int8))
    assert got.stored_bytes == blocks.nbytes
    assert np.array_equal(
        got.dequantize(), gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0).reshape(x.shape)
    )


def test_q4_0_is_an_asymmetric_grid_with_zero_point_8_and_a_signed_scale():
    """Q4_0's scale is the signed value of largest magnitude over -8, so that this value gets code 0, which is -8 steps.

    quantize(bits=4) has no such grid (symmetric uses 15 codes, asymmetric picks its zero point), but Quantized holds
    one: the constant zero point is not stored, hence 18 bytes for 32 weights.
    """
    gguf = pytest.importorskip("gguf", reason="the peer that defines Q4_0")
    x = real_looking()
    blocks = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q4_0).reshape(-1, 18)  # float16 scale, 16 bytes of codes
    scale = blocks[:, :2].copy().view(np.float16)
    codes = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)  # element j and j + 16 share a byte
    q4_0 = quant.Quantized(
        codes.reshape(x.shape), scale.reshape(len(x), -1), np.full((len(x), x.shape[1] // 32), 8, np.uint8),
        bits=4, scheme="asymmetric", group=32,
    )  # fmt: skip
    expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q4_0).reshape(x.shape)
    assert np.array_equal(q4_0.dequantize(), expected)
    assert blocks.nbytes == quantize(x, 4, "symmetric", 32).stored_bytes

    for row, signed in zip(x.reshape(-1, 32), scale[:, 0], strict=True):
        largest = max(row, key=abs)
        assert signed == np.float16(largest / -8)
    assert np.unique(codes[np.abs(x.reshape(-1, 32)).max(axis=1) > 0]).size == 16  # where symmetric int4 has 15


def test_the_nf4_values_are_those_of_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional", reason="the peer that published NF4")
    assert np.array_equal(functional.get_4bit_type("nf4", device="cpu").numpy(), quant.NF4)


def test_nf4_codes_are_those_of_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional", reason="the peer that published NF4")
    torch = pytest.importorskip("torch")
    x = real_looking()
    packed, state = functional.quantize_4bit(torch.from_numpy(x), blocksize=64, quant_type="nf4")
    packed = packed.numpy().reshape(-1)
    codes = np.stack([packed >> 4, packed & 15], axis=1).reshape(x.shape)  # the first of a pair in the high half
    got = quantize_nf4(x, 64)
    assert np.array_equal(got.codes, codes)
    assert np.array_equal(got.scale.reshape(-1), state.absmax.numpy().astype(np.float16))
    assert got.stored_bytes == packed.nbytes + 2 * state.absmax.numel()


def test_ternary_codes_survive_the_packing_of_transformers_and_fill_as_many_bytes():
    torch = pytest.importorskip("torch")
    bitnet = pytest.importorskip("transformers.integrations.bitnet")
    got = quantize_ternary(real_looking())
    packed = bitnet.pack_weights(torch.from_numpy(got.codes.copy()))
    assert packed.numel() == got.stored_bytes - got.scale.nbytes
    with torch.compiler.set_stance("force_eager"):  # unpack_weights is compiled, which would need a C++ compiler
        assert np.array_equal(bitnet.unpack_weights(packed, dtype=torch.int8).numpy(), got.codes)


def test_ternary_values_are_those_of_the_bitnet_layer_of_transformers():
    torch = pytest.importorskip("torch")
    bitnet = pytest.importorskip("transformers.integrations.bitnet")
    for x in (real_looking(), real_looking() * np.float32(1e-4), np.zeros((2, 3), np.float32)):  # below the floor too
        with torch.compiler.set_stance("force_eager"):
            expected = bitnet.WeightQuant.apply(torch.from_numpy(x)).numpy()
        got = quantize_ternary(x)
        assert np.array_equal(got.codes, np.sign(expected))
        np.testing.assert_allclose(got.dequantize(), expected, rtol=2**-11, atol=2**-25)  # our scale is float16
