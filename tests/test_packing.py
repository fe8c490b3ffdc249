"""Exercises of lab 42 against other people's readers and writers, the kernels, closed forms and counted parameters."""

import math

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save

import cython_kernels
from cython_kernels import layouts
from slmlab import catalog
from slmlab.exercises import packing

BITNET = catalog.get("BitNet b1.58 2B4T")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_entropy_of_equal_thirds_is_log2_of_3_and_of_two_values_a_bit():
    codes = np.array([[-1, 0, 1] * 4, [1, -1] * 6, [0] * 12, [0] * 6 + [-1] * 3 + [1] * 3], np.int8)

    assert packing.entropy_bits(codes) == pytest.approx([math.log2(3), 1, 0, 1.5])


def test_a_base3_row_is_the_first_row_of_the_kernels_panel(rng):
    for K in (1, 5, 20, 21, 256):
        codes = rng.integers(-1, 2, (1, K), dtype=np.int8)
        steps = cython_kernels.pack(codes, "base3").reshape(-1, 32, 4)  # a panel of 32 rows, step by step

        assert np.array_equal(packing.base3_pack(codes[0]), steps[:, 0].ravel())


@pytest.mark.parametrize("counts", [(1365, 1366, 1365), (1, 4094, 1), (0, 4096, 0), (3000, 0, 1096)])
def test_an_ans_stream_gives_its_weights_back_for_the_bits_of_its_counts(rng, counts):
    shares = np.array(counts) / 4096
    codes = rng.choice(np.array([-1, 0, 1], np.int8), 20_000, p=shares)
    stream = packing.ans_encode(codes, counts)

    assert np.array_equal(packing.ans_decode(stream, counts, codes.size), codes)
    bits = sum(-math.log2(shares[code + 1]) for code in codes.tolist())
    assert len(stream) == pytest.approx(bits / 8, rel=2e-3, abs=8)


@pytest.mark.parametrize("linear_class", layouts.LINEAR_CLASSES)
def test_a_matrix_of_a_safetensors_file_is_what_layouts_read(rng, linear_class):
    codes = rng.integers(-1, 2, (24, 10), dtype=np.int8)
    stored = np.array([layouts.hf_pack_scale(0.25, linear_class)], np.float32)
    other = np.arange(5, dtype=np.float32)
    file = save({"a": other, "w": layouts.hf_pack(codes), "w_scale": stored, "z": other})

    assert np.array_equal(packing.hf_weights(file, "w", linear_class), codes * np.float32(0.25))


def test_a_bfloat16_scale_is_read_as_torch_reads_it(rng):
    import torch
    from safetensors.torch import save as save_torch

    packed = torch.from_numpy(layouts.hf_pack(rng.integers(-1, 2, (8, 3), dtype=np.int8)))
    scale = torch.tensor([1.3]).bfloat16()

    weights = packing.hf_weights(save_torch({"w": packed, "w_scale": scale}), "w", "autobitlinear")

    assert set(np.abs(weights).ravel().tolist()) <= {0.0, scale.item()} and np.abs(weights).max() == scale.item()


def test_the_files_of_the_cases_are_read_by_safetensors(rng):
    from safetensors.numpy import load

    tensors = {"w": rng.integers(0, 255, (3, 5), dtype=np.uint8), "s": np.ones(1, np.float32)}

    read = load(packing._safetensors(tensors))

    assert {name: (value.dtype, value.tolist()) for name, value in read.items()} == {
        name: (value.dtype, value.tolist()) for name, value in tensors.items()
    }


def test_a_block_of_tq1_0_is_what_gguf_makes_of_it(rng):
    weights = (rng.integers(-1, 2, (6, 256)) * np.float32(0.375)).astype(np.float32)
    blocks = gguf.quants.quantize(weights, Type.TQ1_0)

    for row, block in zip(weights, blocks, strict=True):
        assert np.array_equal(packing.tq1_block(block), row)


def test_a_file_of_2b4t_holds_the_catalogs_count_of_parameters():
    ternary, embedding, norms = packing.file_bytes(BITNET.config, 4, 1, 16)

    assert ternary * 4 + embedding // 2 + norms // 2 == catalog.parameter_count(BITNET)
    assert (4 * ternary, embedding // 2) == (2_084_044_800, 328_335_360)
    assert ternary + embedding + norms == catalog.weight_bytes(BITNET, 2)


@pytest.mark.parametrize(
    ("format", "columns", "size"), [("2bit", 16, 4), ("base3", 20, 4), ("TQ1_0", 256, 54), ("TQ2_0", 256, 66)]
)
def test_blocks_of_a_row_are_those_of_the_formats(format, columns, size):
    N, K = 64, 512
    if format.startswith("TQ"):
        elements, block_bytes = gguf.GGML_QUANT_SIZES[Type[format]]
        assert (elements, block_bytes) == (columns, size)
    else:
        assert cython_kernels.packed_bytes(N, K, format) == N * math.ceil(K / columns) * size
