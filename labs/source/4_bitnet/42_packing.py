# %% [markdown]
# # 42 · How many bits is 1.58 bits?
#
# A weight that is -1, 0 or +1 takes log₂ 3 = 1.58 bits, so two billion of them take 0.4 GB. The multiplication is
# right, and its result is printed on a model card. The file behind that card is three times as large, and a weight of
# this lab's model takes anything from 1.58 to 32 bits, depending on whom you ask.
#
# *In this lab* you count the zeros, pack five weights into a byte, decode a stream that wastes no bit, read two files
# byte by byte, and weigh a whole model: 75 minutes. Model: mini-bitnet, offline; any BitNet that is stored in two bits
# is one argument away.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | ternary weights without their scale: -1, 0, +1 | | (N, K) int8 | `codes` |
# | the weights are codes · scale | | one number a matrix | `scales` |
# | code + 1, as it is stored | c | 0, 1, 2 | |
# | entropy: mean of log₂(1 / share) | H | bits per weight | `entropy_bits` |
# | byte that holds five codes | | 0 ... 242 | |
# | state of an ANS coder | x | whole number | |
# | block: columns of a row that share bytes and a scale | | 256 columns | `block` |
# | activations of one token, quantized | x | (K,) int8 | `Layer.x` |

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" decodes all matrices in section 3, not one, and takes half a minute longer
# MODEL: or a BitNet of the hub, "microsoft/bitnet-b1.58-2B-4T": 24 GB of memory, some minutes
MODEL = "mini-bitnet"

# %% tags=["golden-setup"]
import json
import lzma
import math
import tempfile
import zlib
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType
from IPython.display import HTML

import cython_kernels
from cython_kernels import layouts
from slmlab import bench, catalog, claims, figures, models
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import html_table
from slmlab.ternary import PackedLinear
from slmlab.widgets import BitInspector, bit_inspector

# %%
rng = np.random.default_rng(0)
loaded = models.load(MODEL, "float32")
model, tokenizer = loaded
modules = {name.removeprefix("model."): module for name, module in model.named_modules()}
linears = {name: module for name, module in modules.items() if hasattr(module, "weight_scale")}
packed = {name: PackedLinear.from_linear(linear) for name, linear in linears.items()}
codes = {name: layer.codes() for name, layer in packed.items()}  # (N, K) int8 each
scales = {name: float(layer.weight_scale[0]) for name, layer in packed.items()}
weights = sum(matrix.size for matrix in codes.values())
print(f"{len(codes)} ternary matrices, {weights:,} weights")
print(bench.machine())

# %% [markdown]
# ## 1 · How many zeros are there?
#
# log₂ 3 is the price of three values that are *equally likely*. Nobody promised that. The zero is there to leave
# features out, says the paper, and pruned models are mostly zeros. The more zeros, the fewer bits: count them before
# you believe the name of the model.
#
# **Predict.** What share of mini-bitnet's ternary weights is zero?

# %%
zero_share = answer("zero-share", default=0.5)  # your guess, between 0 and 1

# %%
zeros = {name: float((matrix == 0).mean()) for name, matrix in codes.items()}
fewest, most = min(zeros, key=zeros.get), max(zeros, key=zeros.get)
everything = np.concatenate([matrix.ravel() for matrix in codes.values()])[None]  # (1, weights)
shares = {"all weights": float((everything == 0).mean())}
shares |= {f"fewest: {fewest}": zeros[fewest], f"most: {most}": zeros[most]}
compare("share of zeros", shares, zero_share)

# %% [markdown]
# Where does that number come from? Not from the task. A BitNet rounds w / mean|w| to the nearest of -1, 0, +1, so a
# weight becomes 0 when it is smaller than *half the mean*. What share that is depends on the shape of the distribution,
# and on nothing else.


# %% tags=["golden"]
def bits_with(zero):
    """Entropy when a share `zero` is 0 and both signs are equally likely."""
    return -sum(p * math.log2(p) for p in (zero, (1 - zero) / 2, (1 - zero) / 2))


below_half_the_mean = {
    "uniform": 1 / 4,
    "normal": math.erf(1 / (2 * math.sqrt(math.pi))),
    "Laplace": 1 - math.exp(-1 / 2),
}
for name, zero in below_half_the_mean.items():
    print(f"{name:8} {zero:6.1%} zeros, {bits_with(zero):.3f} bits")
for zero in (1 / 3, 1 / 2, 3 / 4, 9 / 10):
    print(f"given    {zero:6.1%} zeros, {bits_with(zero):.3f} bits")

# %% [markdown]
# With a heavy tail or with none, between a quarter and 40 % are rounded to zero, and the entropy hardly notices. Half
# of all weights must be zeros before it comes down to 1.5 bits. So 1.58 is no promise of sparsity, and no accident
# either: it is where this rounding rule ends up.
#
# **Write it**, for each row of a matrix. The slow way is a loop over rows and values. A value that does not occur adds
# nothing, though its logarithm has other ideas.


# %% tags=["exercise"]
@exercise("ternary-entropy")
def entropy_bits(codes: np.ndarray) -> np.ndarray:
    """Entropy of each row in bits a weight, (N, K) int8 of -1, 0, +1 -> (N,) float. About 4 lines.

    The sum over the three values of share * log2(1 / share), share being that of the row's codes
    which have the value. A value that does not occur adds 0.
    """
    ### BEGIN SOLUTION
    shares = np.stack([(codes == value).mean(axis=1) for value in (-1, 0, 1)])
    present = np.where(shares > 0, shares, 1)
    return -(shares * np.log2(present)).sum(axis=0)
    ### END SOLUTION


# %%
entropy = float(entropy_bits(everything)[0])
floors = {"two bits": 2.0, "five to a byte": 8 / 5, "log₂ 3": math.log2(3)}
print(f"entropy {entropy:.4f}, log₂ 3 {math.log2(3):.4f}")
compare("bits per weight", floors | {"entropy of these weights": entropy})

# %% [markdown]
# The last bar is the floor for a coder that gives all weights the same three prices, in bits. A coder with three prices
# *for each row* may do better, if rows differ. The next cell takes the mean entropy of the rows. Beside it stands a
# control: the same weights in random order, where rows cannot differ but by luck. Last, the price list: a decoder must
# be told two numbers of 12 bits for each row.


# %%
def by_row(matrices):
    """Mean entropy of the rows, bits per weight."""
    return sum(entropy_bits(m).sum() * m.shape[1] for m in matrices) / sum(m.size for m in matrices)


rows = []
for kind in ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj", ""):
    chosen = [m for name, m in codes.items() if name.endswith(kind)]
    mixed = [rng.permutation(m.ravel()).reshape(m.shape) for m in chosen]
    told = 24 * sum(len(m) for m in chosen) / sum(m.size for m in chosen)
    row_bits = by_row(chosen) + told
    numbers = by_row(chosen), by_row(mixed), row_bits
    rows.append([kind or "all", *(f"{bits:.3f}" for bits in numbers)])
HTML(html_table(["matrices", "entropy by row", "control", "with the prices told"], rows))

# %% [markdown]
# Where the first column is below the second, rows do differ: some outputs listen to fewer inputs than others. The
# control itself is below log₂ 3, because a row of a few hundred weights never hits its shares exactly; without it, luck
# would pass for structure. But look at the last column. If it is above 1.6, telling the decoder costs more than it will
# ever save.

# %% [markdown]
# ## 2 · What does a byte hold?
#
# 3⁵ = 243 fits into a byte's 256: 8 / 5 = 1.6 bits, within 1 % of log₂ 3, and a byte is what a processor loads. The
# course's format `base3` (cython_kernels/README.md draws it) cuts a row into steps of 20 columns, four bytes each. Byte
# b of a step holds columns b, 4 + b, 8 + b, 12 + b, 16 + b as c₀ ... c₄.
#
# Any K must do. What is left over is filled up with the weight 0, whose code is not 0. And the weights come as int8,
# which ends at 127, before a byte does.
#
# **Write it.** The slow way is three loops: over steps, bytes and fields.


# %% tags=["exercise"]
@exercise("base3-pack")
def base3_pack(codes: np.ndarray) -> np.ndarray:
    """One row in base3: (K,) int8 of -1, 0, +1 -> (4 * ceil(K / 20),) uint8. About 7 lines.

    Byte b of step s holds columns 20 s + 4 f + b, f = 0 ... 4, as c0 ... c4 with c = weight + 1.
    Columns from K on are weights 0. With v = c0 + 3 c1 + 9 c2 + 27 c3, the byte is 64 c4 + v where
    v < 64, else 192 + 3 (v - 64) + c4.
    """
    ### BEGIN SOLUTION
    steps = -(-len(codes) // 20)
    padded = np.ones(20 * steps, int)
    padded[: len(codes)] = codes + 1
    c = padded.reshape(steps, 5, 4)  # step, field, byte
    v = c[:, 0] + 3 * c[:, 1] + 9 * c[:, 2] + 27 * c[:, 3]
    late = 192 + 3 * (v - 64) + c[:, 4]
    return np.where(v < 64, 64 * c[:, 4] + v, late).astype(np.uint8).ravel()
    ### END SOLUTION


# %%
first, matrix = next(iter(codes.items()))
panel = cython_kernels.pack(matrix[:1], "base3").reshape(-1, 32, 4)  # steps, rows, bytes
mine = base3_pack(matrix[0])
print("as the kernels have it:", np.array_equal(mine, panel[:, 0].ravel()))
K = matrix.shape[1]
print(f"{len(mine)} bytes for {K} weights: {8 * len(mine) / K:.4g} bits each")

# %% tags=["golden"]
for K in (256, 512, 2560, 6912):
    for format in ("2bit", "base3"):
        bits = 8 * cython_kernels.packed_bytes(32, K, format) / (32 * K)
        print(f"{K:5} columns in {format:5}: {bits:.4f} bits per weight")

# %% [markdown]
# 1.6 is 1.625 where 20 does not divide the columns, as in the mini.
#
# Now forget base 3. The file that ships holds two bits a weight, four weights to a byte. Compress it with zlib, which
# is what gzip, a web server or a Python wheel would do. zlib has never heard of ternary weights.
#
# **Predict.** How many bits per weight does it leave?

# %%
zlib_bits = answer("zlib-bits", default=1.9)  # your guess; 2 is no gain

# %%
two_bits = b"".join(layouts.hf_pack(matrix).tobytes() for matrix in codes.values())
base3 = b"".join(cython_kernels.pack(matrix, "base3").tobytes() for matrix in codes.values())
bits = {
    "2 bits": len(two_bits),
    "2 bits, zlib": len(zlib.compress(two_bits)),
    "2 bits, lzma": len(lzma.compress(two_bits)),
    "base 3": len(base3),
    "base 3, zlib": len(zlib.compress(base3)),
    "a byte a weight, zlib": len(zlib.compress(everything.tobytes(), 1)),
}
bits = {name: 8 * size / weights for name, size in bits.items()}
compare("bits per weight", bits, zlib_bits)

# %% [markdown]
# Four codes make 81 of a byte's 256 values. zlib gives each value that occurs a name of 6 or 7 bits (Huffman's code),
# and log₂ 81 / 4 is log₂ 3 again. So if its bar is near 1.6, base 3 saves nothing on the way through a network. It
# saves in memory, where bytes are read as they lie.
#
# The last bar is the same weights, a byte each. Now a name must stand for a single weight, and names have whole bits:
# 1, 2 and 2 for the three values. What a compressor can find depends on how you pack.

# %% [markdown]
# ## 3 · What would the last percent cost?
#
# From 1.6 down to the entropy no byte can hold a whole number of weights. A stream can. A number in base 3 takes a
# digit by x → 3 x + digit, and grows by log₂ 3 bits. Give each value a base of its own, 4096 divided by how often it
# occurs in 4096, and x grows by log₂(4096 / count) bits. That is ANS, asymmetric numeral systems; zstd has it inside.
# This encoder takes the weights last first, and hands out bytes whenever x gets large:


# %%
def ans_encode(codes, counts):
    """(K,) int8 of -1, 0, +1 -> bytes. counts: of -1, 0 and +1, 4096 together."""
    starts = (0, counts[0], counts[0] + counts[1])
    x, out = 2**23, bytearray()
    for code in codes[::-1].tolist():
        count, start = counts[code + 1], starts[code + 1]
        while x >= count * 2**19:  # the next line would make it 2**31 or more
            out.append(x % 256)
            x //= 256
        x = 4096 * (x // count) + x % count + start
    return x.to_bytes(4, "big") + bytes(reversed(out))


# %% [markdown]
# **Write it.** The way back: x % 4096 is the *slot*. The slots 0 ... count - 1 belong to -1, those after them to 0, the
# last ones to +1. Undo the last line of the loop, then refill x until it is 2²³ again. The slow way is the way: each
# step needs the x that the step before has left.


# %% tags=["exercise"]
@exercise("ans-decode")
def ans_decode(stream: bytes, counts: tuple[int, int, int], K: int) -> np.ndarray:
    """The K weights of a stream: (K,) int8 of -1, 0, +1. About 12 lines.

    x begins as the first four bytes, the highest first. For each weight: slot = x % 4096; the value
    is the one whose slots, start to start + count - 1, hold it; x becomes
    count * (x // 4096) + slot - start; then, as long as x < 2**23, 256 x plus the next byte.
    """
    ### BEGIN SOLUTION
    starts = (0, counts[0], counts[0] + counts[1])
    value_of = [0] * counts[0] + [1] * counts[1] + [2] * counts[2]
    x, place, codes = int.from_bytes(stream[:4], "big"), 4, []
    for _ in range(K):
        slot = x % 4096
        value = value_of[slot]
        codes.append(value - 1)
        x = counts[value] * (x // 4096) + slot - starts[value]
        while x < 2**23:
            x = 256 * x + stream[place]
            place += 1
    return np.array(codes, np.int8)
    ### END SOLUTION


# %%
some = everything[0] if MODE == "full" else matrix.ravel()


def counts_of(codes):
    """How many of 4096 slots each value gets, none of them 0."""
    low, high = (max(1, round(4096 * float((codes == value).mean()))) for value in (-1, 1))
    return low, 4096 - low - high, high


counts = counts_of(some)
stream = ans_encode(some, counts)
stream_bits = 8 * len(stream) / some.size
print("decoded without loss:", np.array_equal(ans_decode(stream, counts, some.size), some))
print(f"{stream_bits:.4f} bits per weight")
print(f"{entropy_bits(some[None])[0]:.4f} is the entropy, {math.log2(3):.4f} log₂ 3")

# %% [markdown]
# The entropy is reached, to three digits. The price is time. Below are three decoders in the same language, plain
# Python: two that look a byte up in a table, and yours.
#
# **Predict.** How many times as long as the two-bit decoder does ANS take?

# %%
ans_times = answer("ans-times", default=2.0)  # your guess

# %%
FOUR = [tuple((byte >> shift & 3) - 1 for shift in (0, 2, 4, 6)) for byte in range(256)]
FIVE = [tuple(byte // 3**power % 3 - 1 for power in range(5)) for byte in range(256)]
weights_here = some[: some.size // 20 * 20]
four = layouts.hf_pack(weights_here.reshape(4, -1)).tobytes()
five = weights_here.reshape(-1, 5) + 1
five = (five * 3 ** np.arange(5)).sum(axis=1).astype(np.uint8).tobytes()


def by_table(packed, weights_of):
    found = []
    for byte in packed:
        found += weights_of[byte]
    return found


contest = bench.race(
    {
        "2 bits": lambda: by_table(four, FOUR),
        "five to a byte": lambda: by_table(five, FIVE),
        "ANS": lambda: ans_decode(stream, counts, some.size),
    },
    5,
)
times = {row.name: 1e6 * row.median_ms / some.size for row in contest.rows}  # ns a weight
compare("ns per weight, plain Python", times, ans_times * times["2 bits"], unit="ns")

# %%
limit = bench.read_limit(1)
saved_s = (8 / 5 - stream_bits) / 8 / limit
spent_s = (times["ANS"] - times["five to a byte"]) / 1e9
print(f"memory here gives {limit / 1e9:.1f} GB/s to one thread")
print(f"reading fewer bytes saves {1e12 * saved_s:.3g} ps a weight")
print(f"decoding them takes {1e12 * spent_s:,.0f} ps more")
print(f"a decoder {spent_s / saved_s:,.0f} times as fast as this one would break even")

# %% [markdown]
# A compiled decoder is faster, but not by *that*. And it must go weight by weight: where one ends is known when the one
# before is decoded. The kernels decode 64 bytes of base 3, 320 weights, with 14 vector instructions.
#
# So the last percent is not lying around because nobody thought of it. It pays on a disk or a wire, and there zlib has
# already taken most of it.

# %% [markdown]
# ## 4 · What is in the file?
#
# mini-bitnet is stored as the BitNets of the hub are. Read it yourself: a safetensors file is eight bytes of length, a
# JSON, and then nothing but tensors.

# %%
file = (loaded.path / "model.safetensors").read_bytes()
length = int.from_bytes(file[:8], "little")
header = json.loads(file[8 : 8 + length])
name = f"model.{first}.weight"
print(f"{len(file):,} bytes; the JSON has {length:,}, and names {len(header):,} things")
for tensor in (name, f"{name}_scale", "model.norm.weight"):
    print(f"{tensor:40}", header[tensor])
linear_class = model.config.quantization_config.linear_class
print("first bytes:", file[8 + length : 8 + length + 8].hex(" "), "· linear_class:", linear_class)

# %% [markdown]
# The tensor has a quarter of the matrix's rows: R = N / 4. A byte holds the weights of four *rows*, R apart, so that
# neighbouring bytes are neighbouring columns of all four. The scale is a tensor of its own, and here is a trap: an
# `autobitlinear` multiplies by it, a `bitlinear` divides. Same name, same shape; the configuration tells which.
#
# **Write it.** The slow way is a loop over the rows.


# %% tags=["exercise"]
@exercise("hf-weights")
def hf_weights(file: bytes, name: str, linear_class: str) -> np.ndarray:
    """A ternary matrix out of the bytes of a safetensors file, (N, K) float32. About 14 lines.

    The JSON: {tensor: {"dtype", "shape", "data_offsets": [begin, end]}}; begin and end count from
    the byte after it. Tensor `name` is U8 (R, K): bits 2f and 2f + 1 of byte (r, k) hold the weight
    of row f * R + r, column k, plus 1. Tensor `name` + "_scale" is one number: F32, little-endian,
    or BF16, the upper half of such an F32. "autobitlinear" multiplies by it, "bitlinear" divides.
    """
    ### BEGIN SOLUTION
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])

    def read(tensor):
        begin, end = header[tensor]["data_offsets"]
        return file[start + begin : start + end]

    raw = read(f"{name}_scale")
    scale = np.frombuffer(raw if len(raw) == 4 else b"\0\0" + raw, "<f4")[0]
    packed = np.frombuffer(read(name), np.uint8).reshape(header[name]["shape"])
    fields = [(packed >> 2 * f & 3).astype(np.float32) - 1 for f in range(4)]
    weights = np.concatenate(fields)
    return weights * scale if linear_class == "autobitlinear" else weights / scale
    ### END SOLUTION


# %%
from_file = hf_weights(file, name, linear_class)
print("the model's own weights:", np.allclose(from_file, matrix * scales[first], rtol=1e-6))
other = "bitlinear" if linear_class == "autobitlinear" else "autobitlinear"
ratio = np.abs(hf_weights(file, name, other)).max() / np.abs(from_file).max()
print(f"read as {other}: {ratio:.4g} times as large")

# %% [markdown]
# llama.cpp has two ternary types of its own, TQ1_0 with five weights to a byte, and TQ2_0 with four. The next cell
# writes the model's ternary matrices as GGUF files of both, with the package that llama.cpp's converters use.
#
# **Predict.** Five weights to a byte are 1.6 bits. How many bits per weight does TQ1_0 take in the file?

# %%
tq1_bits = answer("tq1-bits", default=1.6)  # your guess


# %%
def write_gguf(path, pack, kind):
    """The ternary matrices as tensors of this kind, and the embedding in float16."""
    writer = gguf.GGUFWriter(path, "bitnet")
    for name, matrix in codes.items():
        d = float(np.float16(scales[name]))  # the type of a block's scale
        writer.add_tensor(f"{name}.weight", pack(matrix, d), raw_dtype=kind)
    embedding = model.get_input_embeddings().weight.detach().numpy()
    writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
tq1_file = write_gguf(Path(folder.name, "tq1.gguf"), layouts.tq1_0_pack, GGMLQuantizationType.TQ1_0)
tq2_file = write_gguf(Path(folder.name, "tq2.gguf"), layouts.tq2_0_pack, GGMLQuantizationType.TQ2_0)

# %%
found = {}  # bits per weight, by file
for path in (tq1_file, tq2_file):
    reader = gguf.GGUFReader(path)
    ternary = [tensor for tensor in reader.tensors if tensor.tensor_type.name.startswith("TQ")]
    size = sum(int(tensor.n_bytes) for tensor in ternary)
    found[ternary[0].tensor_type.name] = 8 * size / weights
raw = tq1_file.read_bytes()
version, tensors = int.from_bytes(raw[4:8], "little"), int.from_bytes(raw[8:16], "little")
print(f"{raw[:4]} version {version}, {tensors} tensors, {len(raw):,} bytes")
compare("bits per weight in the file", found, tq1_bits)

# %% tags=["golden"]
for kind in (GGMLQuantizationType.TQ1_0, GGMLQuantizationType.TQ2_0):
    columns, size = gguf.GGML_QUANT_SIZES[kind]
    print(f"{kind.name}: {columns} columns in {size} bytes, {8 * size / columns} bits per weight")

# %% [markdown]
# 256 is no multiple of 5: the block of TQ1_0 has 48 bytes of five weights, 4 bytes of four, and two bytes for a scale
# in float16, of which a BitNet has one a *matrix*. The file repeats it for every 256 weights.
#
# A byte is not the number v = 81 d₀ + 27 d₁ + 9 d₂ + 3 d₃ + d₄ itself but the fraction v / 243 of 256, rounded up. So 3
# times the byte has the first digit above its eight bits, and no division is needed.
#
# **Write it.** The slow way is a loop over 256 columns. Mind the four bytes of four: their digits are d₀ ... d₃.


# %% tags=["exercise"]
@exercise("tq1-block")
def tq1_block(block: np.ndarray) -> np.ndarray:
    """The weights of a TQ1_0 block: (54,) uint8 -> (256,) float32. About 9 lines.

    byte = ceil(256 v / 243), v = 81 d0 + 27 d1 + 9 d2 + 3 d3 + d4. Byte b < 32 holds columns b,
    32 + b, 64 + b, 96 + b, 128 + b as d0 ... d4. Byte 32 + b, b < 16: columns 160 + b, 176 + b,
    ... 224 + b. Byte 48 + b, b < 4: columns 240 + b, 244 + b, 248 + b, 252 + b, as d0 ... d3.
    A weight is (digit - 1) * scale; bytes 52 and 53 are the scale, a little-endian float16.
    """
    ### BEGIN SOLUTION
    v = block[:52].astype(int) * 243 // 256
    digits = []
    for part, count in ((v[:32], 5), (v[32:48], 5), (v[48:], 4)):
        digits += [part // power % 3 for power in (81, 27, 9, 3, 1)[:count]]
    scale = np.frombuffer(block[52:].tobytes(), "<f2")[0]
    return (np.concatenate(digits) - 1).astype(np.float32) * np.float32(scale)
    ### END SOLUTION


# %%
tensor = gguf.GGUFReader(tq1_file).tensors[0]
offset = int(tensor.data_offset)
block = np.frombuffer(raw[offset : offset + 54], np.uint8)
print(f"{tensor.name} begins at byte {offset:,}: {block[:16].tobytes().hex(' ')} ...")
decoded, exact = tq1_block(block), matrix[0, :256] * scales[first]
print("codes as in the model:", np.array_equal(np.sign(decoded), np.sign(exact)))
print(f"scale: {np.abs(decoded).max():.8f} in the file, {scales[first]:.8f} in the model")

# %% [markdown]
# No code was rounded; the scale lost digits to float16, one part in 2,048 at most.
#
# Below is one byte under the glass, in any of five formats: its bits, the weights in it, where they stand in the
# matrix, and what they add to one product, of that layer and the last token of a real question. Arrow keys, a click on
# a byte or a number beside a slider choose another. Which format lets you compute *one* output from neighbouring bytes?
# Which one touches four?

# %%
inputs = {}  # of each ternary layer, at the last token: (1, K) float32


def keep(name):
    def hook(_, x):
        inputs[name] = x[0][0, -1:].numpy().copy()

    return hook


hooks = [linear.register_forward_pre_hook(keep(name)) for name, linear in linears.items()]
question = [{"role": "user", "content": "How many legs does a spider have?"}]
text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
with torch.inference_mode():
    model(**tokenizer(text, add_special_tokens=False, return_tensors="pt"))
for hook in hooks:
    hook.remove()
layers = {
    name: bit_inspector.Layer(matrix, scales[name], cython_kernels.quantize(inputs[name])[0][0])
    for name, matrix in codes.items()
}
in_tq1 = bit_inspector.pack(first, layers[first], "GGUF TQ1_0")
figures.bit_inspector(bit_inspector.state(in_tq1, 40, 5))

# %%
BitInspector(layers)

# %% [markdown]
# ## 5 · Where is the 0.4 GB?
#
# BitNet b1.58 2B4T is in the catalog: 30 layers, 2,560 wide. Its maker prints 0.4 GB, "non-embedding"; claim B5 quotes
# the number and not the word.
#
# **Predict.** How many GB has a file with its ternary matrices in two bits, and all the rest in 16?

# %%
file_gb = answer("file-gb", default=0.5)  # your guess

# %% [markdown]
# **Write it.** Count three things: ternary matrices, embedding, norms. Keys and values have fewer heads than queries.
# The embedding is also the head, and stored once. The slow way is a loop over layers and matrices; blocks are counted
# row by row.


# %% tags=["exercise"]
@exercise("file-bytes")
def file_bytes(
    config: dict[str, int],
    block_columns: int,
    block_bytes: int,
    embedding_bits: int,
) -> tuple[int, int, int]:
    """Whole bytes of ternary matrices, of the embedding, of norms. About 9 lines.

    config has hidden_size H, intermediate_size F, num_hidden_layers, num_attention_heads,
    num_key_value_heads, vocab_size. A layer: (rows, columns) q and o (H, H), k and v
    (H * KV heads / heads, H), gate and up (F, H), down (H, F), three norms of H values and one of
    F; after the last layer one more norm of H. Norms have 16 bits. Each row of a matrix is cut into
    blocks of block_columns weights and block_bytes bytes, the last one filled up.
    """
    ### BEGIN SOLUTION
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layers = config["num_hidden_layers"]
    kv = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    of_hidden = 2 * hidden + 2 * kv + 2 * inner  # rows with so many columns
    blocks = of_hidden * -(-hidden // block_columns) + hidden * -(-inner // block_columns)
    norms = layers * (3 * hidden + inner) + hidden
    embedding = config["vocab_size"] * hidden * embedding_bits // 8
    return layers * blocks * block_bytes, embedding, 2 * norms
    ### END SOLUTION


# %%
bitnet = catalog.get("BitNet b1.58 2B4T")
parameters = catalog.parameter_count(bitnet)
plans = {
    "2 bits, as on the hub": (4, 1, 16),
    "base 3": (20, 4, 16),
    "TQ1_0": (256, 54, 16),
    "TQ2_0": (256, 66, 16),
    "2 bits, embedding in 8": (4, 1, 8),
    "base 3, embedding in 4": (20, 4, 4),
}
sizes = {}
for name, plan in plans.items():
    ternary, embedding, norms = file_bytes(bitnet.config, *plan)
    sizes[name] = {"ternary matrices": ternary, "embedding": embedding, "norms": norms}
totals = {name: sum(parts.values()) / 1e9 for name, parts in sizes.items()}
compare("2B4T as a file", totals, file_gb, unit="GB")

# %%
figures.file_bars(sizes, "BitNet b1.58 2B4T: what its bytes are", ("0.4 GB, as published", 0.4e9))

# %%
hub = sizes["2 bits, as on the hub"]
whole_bits = 8 * sum(hub.values()) / parameters
print(f"{parameters:,} parameters, {sum(hub.values()):,} bytes")
print(f"{whole_bits:.2f} bits per parameter")
for name in ("base 3", "2 bits, embedding in 8"):
    saved = sum(hub.values()) - sum(sizes[name].values())
    print(f"{name:22}: {saved / 1e6:4.0f} MB less, {saved / sum(hub.values()):.0%} of the file")

# %% [markdown]
# The embedding outweighs all ternary matrices together. To pack the matrices better is to tidy the smaller half: eight
# bits for the table, which nobody calls a breakthrough, save three times as much as base 3.
#
# And the comparison, "against 2 to 4.8 GB"? Compare like with like: all without embeddings, or all with; and with a
# model as somebody would deploy it. (Four bits with a scale for 32 weights are 4.5.)

# %%
non_embedding = hub["ternary matrices"] + hub["norms"]
peers = {name: catalog.get(name) for name in ("Gemma 3 1B", "Qwen2.5-1.5B")}
decoders = {name: catalog.parameters(peer).select("decoder").count for name, peer in peers.items()}
plain = {name: 2 * count for name, count in decoders.items()}  # bytes, without the embedding
rows = []
for name, peer in peers.items():
    pairs = [(plain[name], non_embedding), (4.5 / 16 * plain[name], non_embedding)]
    pairs.append((catalog.weight_bytes(peer, 16), sum(hub.values())))
    rows.append([name, *(f"{size / 1e9:.2f} GB, {size / of:.2f} times" for size, of in pairs)])
header = ["against BitNet", "16 bits, no embedding", "4.5 bits, no embedding", "whole file"]
HTML(html_table(header, rows))

# %% [markdown]
# The first column is the published comparison, and it is one between 16 bits and 2. The second is what somebody with
# little memory would run. A number below 1 there is an ordinary model that takes *less* than the ternary one. It has
# fewer parameters, too: bits per weight are no measure of anything until you have multiplied.

# %% [markdown]
# ## What we found
#
# All the answers to the question of the title:

# %%
held = 8 * sum(linear.weight.nbytes for linear in linears.values()) / weights
answers = {
    "entropy of mini-bitnet": entropy,
    "log₂ 3": math.log2(3),
    "ANS, one matrix": stream_bits,
    "five to a byte": 8 / 5,
    "2 bits through zlib": bits["2 bits, zlib"],
    "base3, mini-bitnet": bits["base 3"],
    "entropy by row, prices told": row_bits,
    "TQ1_0": found["TQ1_0"],
    "on the hub": 2.0,
    "TQ2_0": found["TQ2_0"],
    "2B4T, its whole file": whole_bits,
}
print(f"and mini-bitnet in memory, as transformers loads it in float32: {held:.0f} bits per weight")
compare("bits per weight", dict(sorted(answers.items(), key=lambda item: item[1])))

# %%
ternary_parameters = parameters - (hub["embedding"] + hub["norms"]) // 2  # two bytes each
claims.verdict(
    "B5",
    {
        "file_bytes": sum(hub.values()),
        "non_embedding_bytes": non_embedding,
        "bits_per_weight": 8 * hub["ternary matrices"] / ternary_parameters,
        "smallest_comparable_bytes": min(plain.values()),
        "reduction": min(plain.values()) / non_embedding,
    },
    beside={
        "base3_non_embedding_bytes": sizes["base 3"]["ternary matrices"] + hub["norms"],
        "reduction, Qwen2.5-1.5B": plain["Qwen2.5-1.5B"] / non_embedding,
    },
)

# %%
dense = 8 * next(model.parameters()).element_size()  # bits of any other weight of this model
saving = {"memory_saving_without_kernels": 1 - held / dense}
claims.verdict("B16", saving, beside={"bits_per_weight": held})

# %%
both = bench.read_limit()
claims.verdict(
    "B6",
    {"ms_per_token_bound": 1e3 * sum(hub.values()) / both},
    beside={"ms_if_0.4_GB": 1e3 * 0.4e9 / both, "ms_if_ternary_alone": 1e3 * non_embedding / both},
)

# %% [markdown]
# B5 holds in one reading alone: the ternary matrices and nothing else, at 1.58 bits or at base 3's 1.6. The published
# file has 2, and a table beside them. B16 says it plainly: without kernels that read packed bytes, a ternary weight in
# memory is as wide as any other. B6 is a bound, since no token comes faster than its bytes are read. The numbers beside
# it say what the bound would be if 0.4 GB were all, or if the ternary matrices were. Which of the three does your
# machine read in 29 ms?

# %% [markdown]
# ## Limits and sources
#
# One mini of three million ternary weights. Its share of zeros comes from absmean rounding; a model trained to be
# sparse would have more. The coder is of order 0: it does not look at neighbours. Times are plain Python's; ratios
# between them say what order the costs are in, no more.
#
# Ternary weights, absmean and what the zero is for: arXiv 2402.17764. 2B4T and its 0.4 GB: 2504.12285. ANS: Duda,
# 1311.2540 (from memory, and so is zstd's use of it). TQ1_0, TQ2_0: gguf 0.19, quants.py. The layouts:
# cython_kernels/layouts.py draws them and names their sources. Claims: microsoft/edgeai-for-beginners @ 05d7c7ef,
# Module02.
