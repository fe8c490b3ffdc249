"""Exercises of lab 42: how few bits three values need, where files keep them, and what a whole model weighs."""

import json
import math
from collections.abc import Iterator

import numpy as np

from .check import Exercise

TOTAL = 4096  # of the counts of an ANS stream
LOWEST = 1 << 23  # its state, between two weights


def entropy_bits(codes: np.ndarray) -> np.ndarray:
    """Entropy of each row of ternary codes, in bits a weight: (N, K) int8 of -1, 0, +1 -> (N,) float.

    The sum over the three values of share * log2(1 / share), where share is that of the row's codes which have the
    value. A value that does not occur adds 0.
    """
    entropies = []
    for row in codes.tolist():
        bits = 0.0
        for value in (-1, 0, 1):
            share = row.count(value) / len(row)
            if share > 0:
                bits += share * math.log2(1 / share)
        entropies.append(bits)
    return np.array(entropies)


def _entropy_bits_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield (np.array([[-1, 0, 1]], np.int8),)
    yield (np.array([[-1, 1, 1, -1]], np.int8),)  # no zero
    yield (np.array([[0, 0], [1, 1], [0, 1]], np.int8),)
    for size in range(1, 14):
        shares = rng.dirichlet([0.7] * 3)
        shape = int(rng.integers(1, 2 + size)), int(rng.integers(1, 12 * size))
        yield (rng.choice(np.array([-1, 0, 1], np.int8), shape, p=shares),)


def base3_pack(codes: np.ndarray) -> np.ndarray:
    """One row of ternary weights in the course's base3 format: (K,) int8 -> (4 * ceil(K / 20),) uint8.

    Twenty columns make a step of four bytes: byte b of step s holds columns 20 s + 4 f + b for f = 0 ... 4, as
    c0 ... c4 with c = weight + 1. Columns from K on are weights 0. With v = c0 + 3 c1 + 9 c2 + 27 c3 the byte is
    64 c4 + v where v < 64, else 192 + 3 (v - 64) + c4.
    """
    steps = -(-len(codes) // 20)
    packed = np.zeros(4 * steps, np.uint8)
    for step in range(steps):
        for b in range(4):
            columns = [20 * step + 4 * f + b for f in range(5)]
            c = [int(codes[column]) + 1 if column < len(codes) else 1 for column in columns]
            v = c[0] + 3 * c[1] + 9 * c[2] + 27 * c[3]
            packed[4 * step + b] = 64 * c[4] + v if v < 64 else 192 + 3 * (v - 64) + c[4]
    return packed


def _base3_pack_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield (np.array([1, -1, 0, 1, -1], np.int8),)  # worked in cython_kernels/README.md
    yield (np.array([0] * 16 + [1, -1, 0, 1], np.int8),)  # c4 alone
    yield (np.ones(20, np.int8),)
    yield (np.full(20, -1, np.int8),)
    yield (np.zeros(0, np.int8),)
    for size in (1, 3, 4, 19, 21, 39, 40, 41, 100):
        yield (rng.integers(-1, 2, size, dtype=np.int8),)
    for _ in range(5):
        yield (rng.integers(-1, 2, int(rng.integers(1, 300)), dtype=np.int8),)


def ans_encode(codes: np.ndarray, counts: tuple[int, int, int]) -> bytes:
    """What `ans_decode` reads: (K,) int8 of -1, 0, +1 as a stream. counts: of -1, 0, +1 in 4096; 0 for one not used.

    A positional numeral system appends a digit by x -> 3 x + digit. Here the base of a value is 4096 / its count: the
    state takes log2 of that many bits. The last weight goes in first, so that the first comes out first.
    """
    starts = (0, counts[0], counts[0] + counts[1])
    x, pushed = LOWEST, bytearray()
    for code in codes[::-1].tolist():
        count, start = counts[code + 1], starts[code + 1]
        while x >= count * (LOWEST // TOTAL) * 256:
            pushed.append(x % 256)
            x //= 256
        x = TOTAL * (x // count) + x % count + start
    return x.to_bytes(4, "big") + bytes(reversed(pushed))


def ans_decode(stream: bytes, counts: tuple[int, int, int], K: int) -> np.ndarray:
    """The K ternary weights of an ANS stream: (K,) int8 of -1, 0, +1.

    counts: how many of 4096 slots belong to -1, to 0 and to +1, in this order. The state x begins as the first four
    bytes, the highest first. For each weight: slot = x % 4096; the value is the one whose slots, `start` to
    start + count, hold it; x becomes count * (x // 4096) + slot - start, and then, as long as x < 2**23, 256 x plus
    the next byte.
    """
    x, place, codes = int.from_bytes(stream[:4], "big"), 4, []
    for _ in range(K):
        slot, start, code = x % TOTAL, 0, -1
        while slot >= start + counts[code + 1]:
            start, code = start + counts[code + 1], code + 1
        codes.append(code)
        x = counts[code + 1] * (x // TOTAL) + slot - start
        while x < LOWEST:
            x = 256 * x + stream[place]
            place += 1
    return np.array(codes, np.int8)


def _ans_decode_cases(rng: np.random.Generator) -> Iterator[tuple]:
    even = (1365, 1366, 1365)
    for codes in ([1], [-1, 0, 1], [0] * 12):
        yield ans_encode(np.array(codes, np.int8), even), even, len(codes)
    rare = (1, 4094, 1)  # a state that gives three bytes back at once
    yield (
        ans_encode(
            np.array([0, 1, 0, -1, -1, 1] * 3, np.int8),
            rare,
        ),
        rare,
        18,
    )
    without_zero = (1000, 0, 3096)
    yield ans_encode(np.array([1, 1, -1, 1, -1] * 4, np.int8), without_zero), without_zero, 20
    for size in range(1, 14):
        shares = rng.dirichlet([1.0] * 3)
        counts = np.maximum(1, (shares * 4000).astype(int)).tolist()
        counts[0] += TOTAL - sum(counts)
        codes = rng.choice(np.array([-1, 0, 1], np.int8), int(rng.integers(1, 40 * size)), p=shares)
        yield ans_encode(codes, tuple(counts)), tuple(counts), len(codes)


def hf_weights(file: bytes, name: str, linear_class: str) -> np.ndarray:
    """A ternary matrix out of the bytes of a safetensors file, as BitNets of the hub keep it: (N, K) float32.

    Bytes 0 to 7 of the file are a little-endian number n, the next n bytes JSON: {tensor: {"dtype": ..., "shape": ...,
    "data_offsets": [begin, end]}}; begin and end count from the byte after the JSON. The tensor `name` is U8 (R, K):
    bits 2 f and 2 f + 1 of byte (r, k) hold the weight of row f R + r, column k, plus 1. The tensor `name` + "_scale"
    is one number: F32, little-endian, or BF16, which is the upper half of such an F32. An "autobitlinear" multiplies
    its weights by it, a "bitlinear" divides.
    """
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])

    def tensor(key):
        begin, end = header[key]["data_offsets"]
        return file[8 + length + begin : 8 + length + end]

    lower_half = b"" if header[f"{name}_scale"]["dtype"] == "F32" else b"\0\0"
    (scale,) = np.frombuffer(lower_half + tensor(f"{name}_scale"), "<f4")
    R, K = header[name]["shape"]
    packed = np.frombuffer(tensor(name), np.uint8).reshape(R, K)
    weights = np.zeros((4 * R, K), np.float32)
    for row in range(4 * R):
        f, r = divmod(row, R)
        code = (packed[r] // 4**f % 4).astype(np.float32) - 1
        weights[row] = code * scale if linear_class == "autobitlinear" else code / scale
    return weights


def _safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """A file of these tensors; uint16 stands for bfloat16, which NumPy does not have."""
    kinds = {"uint8": "U8", "float32": "F32", "uint16": "BF16"}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        place = [len(data), len(data) + values.nbytes]
        header[name] = {"dtype": kinds[values.dtype.name], "shape": list(values.shape), "data_offsets": place}
        data += values.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def _hf_weights_cases(rng: np.random.Generator) -> Iterator[tuple]:
    one = {"w": np.array([[0b10_01_00_10]], np.uint8), "w_scale": np.array([0.5], np.float32)}
    yield _safetensors(one), "w", "autobitlinear"
    two = {"w": np.array([[0b10_01_00_10], [0b00_10_01_10]], np.uint8), "w_scale": np.array([0.5], np.float32)}
    yield _safetensors(two), "w", "autobitlinear"
    yield _safetensors(two), "w", "bitlinear"
    yield _safetensors(two | {"w_scale": np.array([0x3F80], np.uint16)}), "w", "autobitlinear"  # 1.0
    for size in range(1, 13):
        tensors = {}
        for name in ("up_proj.weight", "layers.0.q_proj.weight", "o.weight")[: 1 + size % 3]:
            digits = rng.integers(0, 3, (4, int(rng.integers(1, 2 * size)), int(rng.integers(1, 4 * size))))
            tensors[name] = np.einsum("frk,f->rk", digits, [1, 4, 16, 64]).astype(np.uint8)
            scale = rng.uniform(0.01, 3, 1).astype("<f4")
            tensors[f"{name}_scale"] = scale if rng.random() < 0.5 else scale.view("<u2")[1:]
            tensors[f"{name}.norm"] = rng.standard_normal(size).astype(np.float32)
        shuffled = {name: tensors[name] for name in rng.permutation([*tensors])}
        yield _safetensors(shuffled), name, str(rng.choice(["autobitlinear", "bitlinear"]))


def tq1_block(block: np.ndarray) -> np.ndarray:
    """The weights of one block of GGUF's TQ1_0: (54,) uint8 -> (256,) float32.

    A byte holds a number v in base 3 as byte = ceil(256 v / 243), with v = 81 d0 + 27 d1 + 9 d2 + 3 d3 + d4. The byte
    b < 32 holds columns b, 32 + b, 64 + b, 96 + b, 128 + b as d0 ... d4. Byte 32 + b, b < 16, holds columns 160 + b,
    176 + b, ... 224 + b. Byte 48 + b, b < 4, holds four columns, 240 + b, 244 + b, 248 + b, 252 + b, as d0 ... d3.
    A weight is (digit - 1) * scale; the scale is bytes 52 and 53, a little-endian float16.
    """
    weights = np.zeros(256, np.float32)
    scale = np.float32(block[52:].copy().view("<f2")[0])
    column = 0
    for first, count, digits in ((0, 32, 5), (32, 16, 5), (48, 4, 4)):
        for place in range(digits):
            for b in range(count):
                v = int(block[first + b]) * 243 // 256
                weights[column] = (v // 3 ** (4 - place) % 3 - 1) * scale
                column += 1
    return weights


def _tq1_block_cases(rng: np.random.Generator) -> Iterator[tuple]:
    def block(numbers: np.ndarray, scale: float) -> tuple[np.ndarray]:
        numbers = numbers.copy()
        numbers[48:] -= numbers[48:] % 3  # four columns: the last digit is 0
        codes = -(-256 * numbers // 243)
        return (np.concatenate([codes.astype(np.uint8), np.array([scale], "<f2").view(np.uint8)]),)

    yield block(np.full(52, 242), 1.0)
    yield block(np.zeros(52, int), 0.5)
    yield block(np.full(52, 162), 1.0)  # first digit 2, the others 0
    yield block(np.where(np.arange(52) < 32, 121, 1), 2.0)
    for _ in range(12):
        yield block(rng.integers(0, 243, 52), float(rng.uniform(0.001, 4)))


def file_bytes(
    config: dict[str, int], block_columns: int, block_bytes: int, embedding_bits: int
) -> tuple[int, int, int]:
    """Whole bytes of a BitNet's ternary matrices, of its embedding, and of its norms.

    config: hidden_size H, intermediate_size F, num_hidden_layers, num_attention_heads, num_key_value_heads,
    vocab_size. A layer has the matrices (rows, columns) q (H, H), k and v (H * KV heads / heads, H), o (H, H), gate and
    up (F, H), down (H, F). Every row is cut into blocks of `block_columns` weights, `block_bytes` each, the last one
    filled up. The embedding, vocab_size rows of H values of `embedding_bits`, is the head too. Values of norms take 16
    bits: a layer has three norms of H and one of F, and one of H comes after the last layer.
    """
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    kv = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    shapes = [(hidden, hidden), (kv, hidden), (kv, hidden), (hidden, hidden)]
    shapes += [(inner, hidden), (inner, hidden), (hidden, inner)]
    ternary = norms = 0
    for _ in range(layers):
        for rows, columns in shapes:
            ternary += rows * math.ceil(columns / block_columns) * block_bytes
        norms += 2 * (3 * hidden + inner)
    return ternary, config["vocab_size"] * hidden * embedding_bits // 8, norms + 2 * hidden


def _file_bytes_cases(rng: np.random.Generator) -> Iterator[tuple]:
    def config(hidden, inner, layers, heads, kv_heads, words):
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
        return dict(zip((*names, "vocab_size"), (hidden, inner, layers, heads, kv_heads, words), strict=True))

    yield config(4, 8, 1, 1, 1, 0), 4, 1, 16
    yield config(8, 8, 1, 2, 1, 10), 4, 1, 16  # half as many heads of keys and values
    yield config(8, 24, 2, 2, 1, 10), 20, 4, 8  # 8 and 24 columns in blocks of 20
    blocks = [(4, 1), (16, 4), (20, 4), (256, 54), (256, 66)]
    for _ in range(14):
        kv_heads, times, width = (int(rng.integers(1, most)) for most in (4, 5, 9))
        hidden = 8 * width * kv_heads * times
        shape = config(hidden, 8 * int(rng.integers(1, 90)), int(rng.integers(1, 9)), kv_heads * times, kv_heads, 0)
        shape["vocab_size"] = int(rng.integers(1, 2000))
        yield shape, *blocks[rng.integers(len(blocks))], int(rng.choice([4, 8, 16]))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="ternary-entropy",
        reference=entropy_bits,
        cases=_entropy_bits_cases,
        hint="Take the three shares of each row by itself, in log2; where a share is 0, log2 is not asked.",
        lines=4,
        rtol=1e-9,
        atol=1e-12,
    ),
    Exercise(
        id="base3-pack",
        reference=base3_pack,
        cases=_base3_pack_cases,
        hint="Fill up with code 1, which is weight 0, to whole steps, as ints; then reshape(-1, 5, 4) is (step, f, b).",
        lines=7,
    ),
    Exercise(
        id="ans-decode",
        reference=ans_decode,
        cases=_ans_decode_cases,
        hint="The update uses count and start of the value just found; then bytes follow until x is 2**23 or more.",
        lines=12,
    ),
    Exercise(
        id="hf-weights",
        reference=hf_weights,
        cases=_hf_weights_cases,
        hint="The tensor's bytes begin 8 + n + begin bytes into the file; field f of all bytes is R neighbouring rows.",
        lines=14,
        rtol=1e-6,
    ),
    Exercise(
        id="tq1-block",
        reference=tq1_block,
        cases=_tq1_block_cases,
        hint="v is byte * 243 // 256, in more than 8 bits; its digits come highest first, all of d0 before any of d1.",
        lines=9,
        rtol=1e-6,
    ),
    Exercise(
        id="file-bytes",
        reference=file_bytes,
        cases=_file_bytes_cases,
        hint="Round up the blocks of one row, then multiply by the rows; k and v are narrower than q; divide by //.",
        lines=9,
    ),
)
