"""Other people's layouts against their own code: transformers, gguf; I2_S against loops read off its source."""

import itertools

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType

from cython_kernels.layouts import (
    hf_pack,
    hf_pack_scale,
    hf_unpack,
    hf_unpack_scale,
    i2_s_pack,
    i2_s_unpack,
    tq1_0_pack,
    tq1_0_unpack,
    tq2_0_pack,
    tq2_0_unpack,
)

bitnet = pytest.importorskip("transformers.integrations.bitnet")  # an import alone would raise torch's warnings

TQ = {
    "TQ1_0": (tq1_0_pack, tq1_0_unpack, GGMLQuantizationType.TQ1_0, 54),
    "TQ2_0": (tq2_0_pack, tq2_0_unpack, GGMLQuantizationType.TQ2_0, 66),
}
SHAPES = [(0, 0), (0, 256), (1, 256), (2, 512), (5, 1280), (3, 0)]
FLOAT16 = [  # from the smallest to the largest
    2.0**-24,
    2.0**-14,
    float(np.float16(1 / 3)),
    1.0,
    1.71875,
    65504.0,
]


@pytest.fixture(params=TQ)
def tq(request):
    return TQ[request.param]


def ternary(seed, N, K):
    return np.random.default_rng(seed).integers(-1, 2, (N, K), dtype=np.int8)


def extremes(N, K):
    """All -1, all 0, all +1, one code of each sign alone, and random codes with some blocks of zeros."""
    first, last, holes = np.zeros((N, K), np.int8), np.zeros((N, K), np.int8), ternary(8, N, K)
    first[0, 0], last[-1, -1], holes[:, K // 2 :], holes[0] = -1, 1, 0, 0
    return [*(np.full((N, K), code, np.int8) for code in (-1, 0, 1)), first, last, holes]


def unpack_of_transformers(packed):
    with torch.compiler.set_stance("force_eager"):  # it is compiled, which would need a C++ compiler
        return bitnet.unpack_weights(torch.from_numpy(packed), dtype=torch.int8).numpy()


# ---- Hugging Face


@pytest.mark.parametrize("N", range(1, 22))
@pytest.mark.parametrize("K", [1, 2, 7])
def test_hf_bytes_are_those_of_pack_weights(N, K):
    codes = ternary(N, N, K)
    theirs = bitnet.pack_weights(torch.from_numpy(codes.copy())).numpy()  # it adds 1 to its argument

    assert hf_pack(codes).dtype == np.uint8
    assert np.array_equal(hf_pack(codes), theirs)
    assert np.array_equal(hf_unpack(theirs, N), codes)


@pytest.mark.parametrize("N", [4, 8, 20, 64])
def test_unpack_weights_gives_back_what_hf_pack_packed(N):
    codes = ternary(N, N, 9)

    assert np.array_equal(unpack_of_transformers(hf_pack(codes)), codes)


@pytest.mark.parametrize("N", [1, 2, 3, 5, 6, 7, 13])
def test_the_rows_that_fill_the_last_bytes_are_minus_one_to_transformers_and_left_out_here(N):
    codes = ternary(N, N, 3)

    theirs = unpack_of_transformers(hf_pack(codes))

    assert np.array_equal(theirs[:N], codes) and (theirs[N:] == -1).all() and len(theirs) % 4 == 0
    assert hf_unpack(hf_pack(codes), N).shape == (N, 3)


def test_hf_takes_any_strides_and_no_rows():
    codes = ternary(1, 8, 10)

    assert np.array_equal(hf_unpack(hf_pack(codes.T[::-1, ::2]), 10), codes.T[::-1, ::2])
    assert np.array_equal(hf_unpack(hf_pack(codes)[:, ::3], 8), codes[:, ::3])
    assert hf_unpack(hf_pack(codes[:0]), 0).shape == (0, 10)


@pytest.mark.parametrize("scale", [0.25, 0.75, 1.0, 3.0])
@pytest.mark.parametrize("linear_class", ["autobitlinear", "bitlinear"])
def test_a_layer_of_transformers_with_our_bytes_and_scale_has_our_weights(linear_class, scale):
    codes = ternary(2, 8, 8)
    columns = torch.eye(8)  # each input is quantized to 127 times a unit vector, so the outputs are the weights
    if linear_class == "bitlinear":
        layer = bitnet.BitLinear(8, 8, bias=False, dtype=torch.float32)
        layer.weight = torch.from_numpy(hf_pack(codes))
    else:
        layer = bitnet.AutoBitLinear(8, 8, bias=False, dtype=torch.float32)
        layer.weight.data = torch.from_numpy(unpack_of_transformers(hf_pack(codes)).astype(np.float32))
    layer.weight_scale = torch.tensor([hf_pack_scale(scale, linear_class)], dtype=torch.float32)

    with torch.compiler.set_stance("force_eager"), torch.no_grad():
        weights = layer(columns).numpy().T

    np.testing.assert_allclose(weights, codes * scale, rtol=1e-6)


@pytest.mark.parametrize("linear_class", ["autobitlinear", "bitlinear"])
def test_a_scale_of_the_other_side_comes_back_to_the_last_bit(linear_class):
    bfloat16 = [sign * 2.0**exponent for sign in np.arange(128, 256) / 128 for exponent in (-133, -9, 0, 120)]
    float32 = np.random.default_rng(3).lognormal(0, 20, 2000).astype(np.float32)

    for scale in [*np.float32(bfloat16), *float32]:
        assert np.float32(hf_unpack_scale(hf_pack_scale(scale, linear_class), linear_class)) == scale
        assert np.float32(hf_pack_scale(hf_unpack_scale(scale, linear_class), linear_class)) == scale


def test_a_reciprocal_that_was_stored_in_bfloat16_loses_22_of_128_significands():
    lost = 0
    for scale in torch.arange(128, 256, dtype=torch.float64) / 128:  # all bfloat16 from 1 to 2
        weight_scale = torch.tensor(hf_pack_scale(scale.item(), "bitlinear")).bfloat16()
        lost += torch.tensor(hf_unpack_scale(weight_scale.item(), "bitlinear")).bfloat16().item() != scale.item()

    assert lost == 22


# ---- GGUF


@pytest.mark.parametrize(("N", "K"), [shape for shape in SHAPES if min(shape)])
@pytest.mark.parametrize("scale", FLOAT16)
def test_tq_equals_gguf_byte_for_byte_and_back(tq, N, K, scale):
    pack, unpack, qtype, _ = tq
    for codes in [ternary(4, N, K), *extremes(N, K)]:
        weights = codes * np.float32(scale)
        theirs = gguf.quants.quantize(weights, qtype)

        assert np.array_equal(pack(codes, scale), theirs)
        again, its_scale = unpack(theirs)
        assert again.dtype == np.int8 and np.array_equal(again, codes)
        assert its_scale == (scale if codes.any() else 1.0)
        assert np.array_equal(gguf.quants.dequantize(pack(codes, scale), qtype), weights)


@pytest.mark.parametrize(("N", "K"), SHAPES)
def test_tq_unpack_gives_back_what_was_packed(tq, N, K):
    pack, unpack, _, block_bytes = tq
    codes = ternary(5, N, K)

    packed = pack(codes, 0.5)

    assert packed.dtype == np.uint8 and packed.shape == (N, K // 256 * block_bytes)
    assert np.array_equal(unpack(packed)[0], codes) and unpack(packed)[0].shape == (N, K)


def test_tq_takes_any_strides(tq):
    pack, unpack, _, block_bytes = tq
    codes = ternary(6, 512, 6)

    packed = pack(codes.T[::-1], 2.0)

    assert np.array_equal(unpack(packed[::2, block_bytes:])[0], codes.T[::-1][::2, 256:])


def test_tq_refuses_blocks_of_different_scales(tq):
    _, unpack, qtype, _ = tq
    weights = ternary(7, 3, 512).astype(np.float32)
    weights[1, :256] *= 0.5
    weights[2, 256:] *= 0.25

    with pytest.raises(
        ValueError, match=r"3 different scales, 0\.25 to 1\.0, wanted one: .* quantize the whole matrix"
    ):
        unpack(gguf.quants.quantize(weights, qtype))


def test_tq_scales_of_blocks_without_weights_do_not_matter(tq):
    pack, unpack, qtype, block_bytes = tq
    codes = ternary(9, 2, 512)
    codes[0, :256] = 0
    packed = pack(codes, 0.5)
    packed[0, block_bytes - 2 : block_bytes] = np.array([7.0], "<f2").view(np.uint8)  # codes 0, with some d
    packed[1, -2:] = 0  # codes other than 0, with d = 0

    again, scale = unpack(packed)

    assert scale == 0.5 and not again[1, 256:].any()
    assert np.array_equal(again * np.float32(scale), gguf.quants.dequantize(packed, qtype))


@pytest.mark.parametrize("d", [-1.0, np.inf, np.nan])
def test_tq_refuses_a_scale_that_is_none(tq, d):
    pack, unpack, _, _ = tq
    packed = pack(ternary(10, 2, 512), 1.0)
    packed[1, -2:] = np.array([d], "<f2").view(np.uint8)

    with pytest.raises(ValueError, match=r"block 1 of row 1 has the scale .*, wanted 0 or more, finite"):
        unpack(packed)


@pytest.mark.parametrize("place", [0, 31, 32, 47, 48, 51])
def test_tq1_0_reads_the_bytes_that_gguf_writes_and_refuses_the_others(place):
    refused = 0
    for byte in range(256):
        packed = tq1_0_pack(np.full((1, 256), -1, np.int8), 1.0)
        packed[0, place] = byte
        weights = gguf.quants.dequantize(packed, GGMLQuantizationType.TQ1_0)
        if np.array_equal(gguf.quants.quantize(weights, GGMLQuantizationType.TQ1_0), packed):
            assert np.array_equal(tq1_0_unpack(packed)[0], weights)
            continue
        refused += 1
        with pytest.raises(ValueError, match=rf"packed\[0, {place}\] is 0x{byte:02x}, which no base-3 digits give"):
            tq1_0_unpack(packed)

    assert refused == 256 - (3**5 if place < 48 else 3**4)


# ---- bitnet.cpp

# Byte positions read off microsoft/BitNet, src/ggml-bitnet-mad.cpp, quantize_i2_s, at 16da220 (2026-07-21): its x86
# branch with ACT_PARALLEL (blocks of 128 codes, 32 bytes) and its ARM branch (64 codes, 16 bytes). The first is also
# the only one at 6cfd883 (2024-10-17) and what quantize_to_i2_s in utils/convert-hf-to-gguf-bitnet.py writes at
# 16da220. The length is that of ggml_nbytes in Eddie-Wang1120/llama.cpp, ggml/src/ggml.c, at 406a503, its submodule.


def i2_s_loop(codes, scale, block):
    N, K = codes.shape
    packed = bytearray(N * K // 4 + 32)
    lanes = block // 4
    for n, k in itertools.product(range(N), range(K)):
        place = n * K + k
        group = place % block // lanes
        byte = place // block * lanes + place % lanes
        packed[byte] |= (int(codes[n, k]) + 1) << (6 - 2 * group)
    packed[N * K // 4 : N * K // 4 + 4] = np.array([scale], "<f4").tobytes()
    return bytes(packed)


@pytest.mark.parametrize("block", [128, 64])
@pytest.mark.parametrize(("N", "K"), [(1, 128), (4, 128), (3, 640)])
@pytest.mark.parametrize("scale", [1.0, float(np.float32(0.7)), 2.0**-149])
def test_i2_s_equals_a_loop_and_back(block, N, K, scale):
    for codes in [ternary(11, N, K), *extremes(N, K)]:
        packed = i2_s_pack(codes, scale, block)

        assert packed.dtype == np.uint8 and packed.tobytes() == i2_s_loop(codes, scale, block)
        again, its_scale = i2_s_unpack(packed, N, K, block)
        assert again.dtype == np.int8 and np.array_equal(again, codes) and its_scale == scale


def test_i2_s_first_byte_by_hand():
    codes = np.zeros((1, 128), np.int8)
    codes[0, [0, 16, 32, 48, 64, 96]] = [1, -1, 1, -1, -1, 1]

    assert i2_s_pack(codes, 1.0)[0] == 0b10_10_00_10  # columns 0, 32, 64, 96
    assert i2_s_pack(codes, 1.0, block=64)[0] == 0b10_00_10_00  # columns 0, 16, 32, 48


def test_i2_s_ignores_what_stands_behind_the_scale_and_takes_no_rows():
    codes = ternary(12, 2, 256)
    packed = i2_s_pack(codes, 0.5)
    packed[-28:] = 0xFF

    assert np.array_equal(i2_s_unpack(packed, 2, 256)[0], codes)
    assert i2_s_unpack(i2_s_pack(codes[:0], 0.5), 0, 256)[0].shape == (0, 256)


# ---- what is refused


@pytest.mark.parametrize(
    "pack", [hf_pack, *(lambda codes, p=p: p(codes, 1.0) for p in (tq1_0_pack, tq2_0_pack, i2_s_pack))]
)
@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        ([[1, 0]], TypeError, "codes is a list, wanted a NumPy array of int8: quantize"),
        (np.zeros((1, 256), np.float32), TypeError, "codes is float32, wanted int8"),
        (np.zeros(256, np.int8), ValueError, r"codes has shape \(256,\), wanted \(N, K\)"),
        (np.full((1, 256), 2, np.int8), ValueError, r"codes\[0, 0\] is 2, wanted -1, 0 or \+1"),
        (np.full((1, 256), -128, np.int8), ValueError, r"codes\[0, 0\] is -128, wanted"),
    ],
)
def test_pack_refuses_what_is_no_codes(pack, codes, error, message):
    with pytest.raises(error, match=message):
        pack(codes)


@pytest.mark.parametrize("K", [1, 32, 255, 257])
def test_pack_refuses_columns_that_fill_no_block(K):
    codes = np.zeros((4, K), np.int8)

    for pack in (tq1_0_pack, tq2_0_pack):
        with pytest.raises(ValueError, match=f"K is {K}, wanted a multiple of 256, the block of TQ"):
            pack(codes, 1.0)
    for block in (128, 64):
        with pytest.raises(ValueError, match=f"K is {K}, wanted a multiple of {block}, the block of I2_S"):
            i2_s_pack(codes, 1.0, block)
        with pytest.raises(ValueError, match=f"K is {K}, wanted a multiple of {block}, the block of I2_S"):
            i2_s_unpack(np.zeros(K + 32, np.uint8), 4, K, block)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan, 0])
def test_a_scale_is_finite_and_above_0(scale):
    codes = np.zeros((1, 256), np.int8)

    for pack in (tq1_0_pack, tq2_0_pack, i2_s_pack):
        with pytest.raises(ValueError, match=r"scale is .*, wanted a finite number above 0"):
            pack(codes, scale)
    for swap, linear_class in itertools.product((hf_pack_scale, hf_unpack_scale), ("autobitlinear", "bitlinear")):
        with pytest.raises(ValueError, match=r"scale is .*, wanted a finite number above 0"):
            swap(scale, linear_class)


@pytest.mark.parametrize(
    ("pack", "scale", "message"),
    [
        (tq1_0_pack, 0.7, r"scale is 0\.7, which is no float16; the nearest is 0\.7001953125: pass that one"),
        (tq2_0_pack, 1e5, r"scale is 100000\.0, which is no float16; the nearest is inf: .* wider scale"),
        (tq2_0_pack, 1e-9, r"which is no float16; the nearest is 0\.0: .* wider scale"),
        (i2_s_pack, 0.7, r"which is no float32; the nearest is 0\.699999988"),
    ],
)
def test_a_scale_that_the_file_cannot_hold_is_not_rounded_in_silence(pack, scale, message):
    with pytest.raises(ValueError, match=message):
        pack(np.zeros((1, 256), np.int8), scale)


def test_a_scale_is_a_number_and_no_tensor():
    with pytest.raises(TypeError, match="weight_scale is a Tensor, wanted a number: pass the value"):
        hf_unpack_scale(torch.ones(1), "bitlinear")


@pytest.mark.parametrize("swap", [hf_pack_scale, hf_unpack_scale])
def test_an_unknown_linear_class_is_refused(swap):
    with pytest.raises(ValueError, match="no linear_class 'BitLinear', wanted one of autobitlinear, bitlinear"):
        swap(1.0, "BitLinear")


BYTES = np.full((2, 5), 0b01010101, np.uint8)


@pytest.mark.parametrize(
    ("packed", "N", "error", "message"),
    [
        (BYTES.tolist(), 8, TypeError, "packed is a list, wanted a NumPy array of uint8"),
        (BYTES.view(np.int8), 8, TypeError, "packed is int8, wanted uint8"),
        (BYTES[0], 8, ValueError, r"packed has shape \(5,\), wanted \(ceil\(N / 4\), K\)"),
        (BYTES, 9, ValueError, r"packed has 2 rows, wanted 3 = ceil\(N / 4\) for N = 9"),
        (BYTES, 4, ValueError, "packed has 2 rows, wanted 1"),
        (BYTES, -1, ValueError, "N is -1, wanted 0 or more"),
        (BYTES, 8.0, TypeError, r"N is the float 8\.0, wanted an int"),
        (BYTES | 2, 8, ValueError, r"packed\[0, 0\] is 0x57, which holds a code 3"),
    ],
)
def test_hf_unpack_refuses(packed, N, error, message):
    with pytest.raises(error, match=message):
        hf_unpack(packed, N)


@pytest.mark.parametrize(
    ("packed", "error", "message"),
    [
        ([[0] * 66], TypeError, "packed is a list, wanted a NumPy array of uint8"),
        (np.zeros((1, 33), np.float16), TypeError, "packed is float16, wanted uint8"),
        (np.zeros(66 * 54, np.uint8), ValueError, r"packed has shape \(3564,\), wanted \(N, K / 256 \* "),
        (np.zeros((1, 66 * 54 - 1), np.uint8), ValueError, "packed has 3563 bytes a row, wanted a multiple of "),
    ],
)
def test_tq_unpack_refuses(tq, packed, error, message):
    with pytest.raises(error, match=message):
        tq[1](packed)


@pytest.mark.parametrize("field", range(4))
def test_tq2_0_refuses_a_code_3_but_not_in_its_scale(field):
    packed = tq2_0_pack(ternary(13, 2, 512), float(np.array(0x7BFF, np.uint16).view(np.float16)))  # d is all threes
    tq2_0_unpack(packed)
    packed[1, 66 + 40] |= 3 << 2 * field

    with pytest.raises(ValueError, match=r"packed\[1, 106\] is 0x.., which holds a code 3"):
        tq2_0_unpack(packed)


I2_S = i2_s_pack(np.zeros((2, 128), np.int8), 1.0)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"packed": I2_S.tobytes()}, TypeError, "packed is a bytes, wanted a NumPy array of uint8"),
        ({"packed": I2_S.view(np.int8)}, TypeError, "packed is int8, wanted uint8"),
        ({"packed": I2_S.reshape(2, 48)}, ValueError, r"packed has shape \(2, 48\), wanted \(bytes\)"),
        ({"packed": I2_S[:-1]}, ValueError, r"packed has 95 bytes, wanted 96 = N \* K / 4 \+ 32 for N = 2, K = 128"),
        ({"N": 3}, ValueError, "packed has 96 bytes, wanted 128"),
        ({"N": -2, "K": -128}, ValueError, "N is -2, wanted 0 or more"),
        ({"K": 128.0}, TypeError, r"K is the float 128\.0, wanted an int"),
        ({"block": 32}, ValueError, "block is 32, wanted 128, or 64 for files"),
        (
            {"packed": np.concatenate([I2_S[:9] | 12, I2_S[9:]])},
            ValueError,
            r"packed\[0\] is 0x5d, which holds a code 3",
        ),
        ({"packed": np.concatenate([I2_S[:64], I2_S[68:], I2_S[:4]])}, ValueError, r"scale behind the codes is 0\.0"),
    ],
)
def test_i2_s_unpack_refuses(changed, error, message):
    with pytest.raises(error, match=message):
        i2_s_unpack(**{"packed": I2_S, "N": 2, "K": 128} | changed)
