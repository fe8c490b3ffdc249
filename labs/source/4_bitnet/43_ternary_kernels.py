# %% [markdown]
# # 43 · Is ternary really faster than fp16?
#
# A weight that is -1, 0 or +1 needs no multiplication and an eighth of the bytes of an fp16 number. Both are true, and
# every text about BitNet says both. One of them makes a model fast. The other makes it slow, if you believe it.
#
# *In this lab* you write a kernel, compile it, race it against the strongest fp16 that this machine has, find the
# overflow that got into a well-known library, and see where the speed-up ends: 90 minutes. The shapes are those of
# BitNet b1.58 2B4T, the weights random; nothing is downloaded.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | ternary weights: -1, 0, +1 | w | (N, K) int8 | `weights` |
# | codes of the weights: w + 1 | | 0, 1, 2 | |
# | four codes in a byte | | (N/4, K) uint8 | `packed` |
# | activations of one token, quantized | x | (K,) int8 | `x` |
# | tokens that are multiplied at once | M | | `M` |
# | one multiplication and its addition | MAC | | `macs` |
# | how fast memory is read | | GB/s | `read_limit_gb_per_s` |
# | a kernel for one kind of processor | backend | | `rungs` |

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" races on the weights of a whole model: two minutes, 3 GB of memory

# %% tags=["golden-setup"]
import platform

import numpy as np
from IPython.display import HTML
from tqdm.auto import tqdm

import cython_kernels
from cython_kernels import quantize
from cython_kernels.bench import OTHERS, Bench, bitnet_2b4t, single
from slmlab import bench, catalog, claims, figures
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import html_table
from slmlab.widgets import KernelBench, kernel_bench

# %%
# %load_ext slmlab.exercises.cython_cells
rng = np.random.default_rng(0)
racing = Bench(138_000_000) if MODE == "fast" else Bench()  # bytes of weights to go through
repetitions = 5 if MODE == "fast" else 15


def race(work, contenders, threads=1, **how):
    """A row for each contender and each baseline, the slowest first."""
    how |= {"threads": threads, "repetitions": repetitions}
    with tqdm(total=repetitions, desc=work.name, delay=2, leave=False) as bar:
        rows = racing.measure(work, contenders, tick=bar.update, **how)
    return sorted((row for row in rows if row.macs), key=lambda row: row.gmac_per_s)


print(bench.machine())
for backend in cython_kernels.backends():
    print(f"{backend.name:11}", backend.reason or "runs here")
names = [backend.name for backend in cython_kernels.backends() if backend.built and backend.supported]
rungs = names[: names.index(cython_kernels.active().name) + 1]
if rungs == ["reference"]:
    print("No compiled kernel is to be used here: NumPy is the highest rung.")

# %% [markdown]
# ## 1 · What is a multiplication worth?
#
# Activations are int8, weights -1, 0 or +1, sums int32: y = W x. "BitNet replaces multiplications by additions": add x
# where the weight is +1, subtract it where it is -1, skip where it is 0.
#
# The next cell has both ways in Cython, in its pure Python mode: the syntax is Python, a name that is declared with a
# type (`total=cython.int`) becomes a variable of C, and `cython.schar[:, ::1]` is an array of int8 whose rows lie one
# after the other. `%%cython` compiles the cell for exactly this processor and imports what it defines.
#
# **Predict.** How many times as fast as the multiplying loop is the one that only adds, subtracts and skips?

# %%
without_guess = answer("without-multiplications", default=1.5)  # your guess

# %%
# %%cython
# cython: boundscheck=False, wraparound=False
import cython


def adding(weights: cython.schar[:, ::1], x: cython.schar[::1], y: cython.int[::1]):
    cython.declare(n=cython.Py_ssize_t, k=cython.Py_ssize_t, total=cython.int)
    for n in range(weights.shape[0]):
        total = 0
        for k in range(weights.shape[1]):
            if weights[n, k] == 1:
                total += x[k]
            elif weights[n, k] == -1:
                total -= x[k]
        y[n] = total


def multiplying(weights: cython.schar[:, ::1], x: cython.schar[::1], y: cython.int[::1]):
    cython.declare(n=cython.Py_ssize_t, k=cython.Py_ssize_t, total=cython.int)
    for n in range(weights.shape[0]):
        total = 0
        for k in range(weights.shape[1]):
            total += weights[n, k] * x[k]
        y[n] = total


# %%
weights = rng.integers(-1, 2, (2560, 2560), dtype=np.int8)
x = quantize(rng.standard_normal((1, 2560), dtype=np.float32))[0][0]
wide, y = weights.astype(np.int32), np.empty(2560, np.int32)
runners = {
    "NumPy, adding": lambda: np.where(wide == 1, x, 0).sum(1) - np.where(wide == -1, x, 0).sum(1),
    "NumPy, multiplying": lambda: wide @ x,
}
if adding:
    runners["C, adding"] = lambda: adding(weights, x, y)
    runners["C, multiplying"] = lambda: multiplying(weights, x, y)
contest = bench.race(runners, repetitions)
for row in contest.rows:
    print(f"{row.name:18} {weights.size / row.median_ms / 1e6:8.3g} billion weights per second")
kinds = ("NumPy", "C") if adding else ("NumPy",)
ratios = [contest.ratio(f"{kind}, adding", f"{kind}, multiplying") for kind in kinds]
compare("times as fast as multiplying", {ratio.name: ratio.median for ratio in ratios}, without_guess)

# %% [markdown]
# A multiplication is one of 16 or 64 that a vector instruction does at once, and it does not care what the weight is.
# An `if` wants to know, weight by weight, and a processor that guesses three equally likely ways is wrong most of the
# time. If the bar of adding is the shorter one, the multiplication was never the price. (In silicon of your own it
# would be: the energy of lab 44.)
#
# So keep the multiplication, and look at the other promise: the bytes.

# %% [markdown]
# ## 2 · How do you multiply what is packed?
#
# A code w + 1 is 0, 1 or 2 and fits into two bits. BitNet's own file on the hub puts four *rows* into a byte: rows n,
# n + N/4, n + N/2 and n + 3N/4, the first in the two lowest bits.
#
# **Write it.** The slow way is a loop over all rows and columns.


# %% tags=["exercise"]
@exercise("pack-rows")
def pack_rows(codes: np.ndarray) -> np.ndarray:
    """Four rows to a byte: (N, K) int8 of -1, 0, +1 -> (N / 4, K) uint8. About 3 lines. 4 divides N.

    Bits 2f and 2f + 1 of byte (i, k) hold codes[f * N / 4 + i, k] + 1.
    """
    ### BEGIN SOLUTION
    fields = (codes + 1).astype(np.uint8).reshape(4, -1, codes.shape[1])
    return fields[0] | fields[1] << 2 | fields[2] << 4 | fields[3] << 6
    ### END SOLUTION


# %% [markdown]
# **Write it.** The product straight from these bytes, without building the weights. Two remarks save most of the work:
# Σ w·x = Σ code·x - Σ x, so codes may stay 0, 1, 2, and the sum of x is taken off once. And a code need not be shifted
# down before it is used: masked where it stands it is 4^f times too large, and so is the sum, exactly.
#
# In Python, one weight at a time, it is this:


# %%
def in_python(packed, x):
    """One weight at a time."""
    rows, x, y = packed.tolist(), x.tolist(), []
    for field in range(4):
        for row in rows:
            total = 0
            for byte, value in zip(row, x, strict=True):
                total += ((byte >> 2 * field & 3) - 1) * value
            y.append(total)
    return np.array(y, np.int32)


# %% tags=["exercise"]
@exercise("packed-product")
def packed_product(packed: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Packed weights times one token, exact: (N / 4, K) uint8, (K,) int8 -> (N,) int32. About 5 lines.

    Bits 2f and 2f + 1 of byte (i, k) hold the code, 0, 1 or 2, of weight (f * N / 4 + i, k); the
    weight is code - 1.
    """
    ### BEGIN SOLUTION
    x = x.astype(np.int32)
    fields = [(packed & mask).astype(np.int32) @ x for mask in (3, 12, 48, 192)]
    sums = [total >> 2 * field for field, total in enumerate(fields)]
    return np.concatenate(sums) - x.sum(dtype=np.int32)
    ### END SOLUTION


# %%
packed = pack_rows(weights)
exact = wide @ x.astype(np.int32)
print("in Python, 8 rows:", np.array_equal(in_python(pack_rows(weights[:8]), x), exact[:8]))
print("in NumPy:", np.array_equal(packed_product(packed, x), exact), f"· {packed.nbytes:,} bytes")

# %% [markdown]
# NumPy walks through memory once for each operation. A compiled loop takes a byte, uses it for four rows, and never
# stores what is between.
#
# **Predict.** Your compiled kernel against the strongest fp16 kernel here, one thread each: how many times as fast?

# %%
yours_guess = answer("yours-over-fp16", default=1.0)  # your guess

# %% [markdown]
# **Write it**, and run the cell: it compiles, which takes some seconds, and is checked. Start from `multiplying`. Each
# variable of the loops wants a type: `cython.Py_ssize_t` for an index, `cython.uchar` for a byte, `cython.int`, which
# has 32 bits, for a sum. The result is made by NumPy, `y = np.empty(shape, np.int32)`, and written under a name with
# a type: `out: cython.int[:, ::1] = y`.
#
# Two things decide the speed. No processor shifts lanes of 8 bits, so `byte >> 2` makes the compiler widen everything
# to 32; a mask, `byte & 12`, does not. And one pass over the bytes of a row does for all four sums.


# %% tags=["exercise"]
# %%cython
# cython: boundscheck=False, wraparound=False
import cython
import numpy as np

from slmlab.exercises import exercise


@exercise("ternary-kernel")
def ternary_kernel(packed: cython.uchar[:, ::1], x: cython.schar[::1]) -> np.ndarray:
    """The same product, compiled: (N / 4, K) uint8, (K,) int8 -> (N,) int32. About 15 lines."""
    ### BEGIN SOLUTION
    cython.declare(i=cython.Py_ssize_t, k=cython.Py_ssize_t, byte=cython.uchar)
    cython.declare(a=cython.int, b=cython.int, c=cython.int, d=cython.int)
    y = np.empty((4, packed.shape[0]), np.int32)
    out: cython.int[:, ::1] = y
    for i in range(packed.shape[0]):
        a = b = c = d = 0
        for k in range(packed.shape[1]):
            byte = packed[i, k]
            a += (byte & 3) * x[k]
            b += (byte & 12) * x[k]
            c += (byte & 48) * x[k]
            d += (byte & 192) * x[k]
        out[0, i], out[1, i], out[2, i], out[3, i] = a, b >> 2, c >> 4, d >> 6
    return y.ravel() - np.sum(x, dtype=np.int32)
    ### END SOLUTION


# %% [markdown]
# Now the race. `racing` takes the contenders in turn, on many copies of the matrix so that weights come from memory
# as they do in a model, and quantizes the activations inside of the timing. Reading memory and doing nothing else is a
# contender too: nobody can pass it, and it gives the read limit of the race. `fp16/gemv` is a kernel of the course,
# written to be as fast as fp16 can be.


# %%
def join(name, kernel):
    """Let kernel(packed, x) race as the contender 2bit/name."""

    def product(parts, K, x, format, backend, threads):
        ((bytes_, N),) = parts
        packed = bytes_[: N * K // 4].reshape(N // 4, K)
        return lambda: [kernel(packed, token) for token in quantize(x)[0]]

    OTHERS[name] = product


mine = "yours" if ternary_kernel.status == "passes" else "NumPy for yours"
join("python", in_python)
join("numpy", packed_product)
join(mine, ternary_kernel)
sprint = race(single(2560, 2560), ["2bit/numpy", f"2bit/{mine}"])
speed_ups = {row.contender: row.ratio[1] for row in sprint}
compare("2560 x 2560, one thread: times as fast as the best of fp16 and bf16", speed_ups, yours_guess)

# %% [markdown]
# Bars shorter than 1 are rungs that compute; a bar near 8 is a kernel that waits for memory, and cannot be made faster.
# If yours is far from both, try what the compiler makes of it: with a shift in the loop instead of a mask, or with
# four passes over the row instead of one. (Until your kernel passes, NumPy stands in for it.)

# %% [markdown]
# ## 3 · How far up does the ladder go?
#
# The course's kernels compute the same sums. `scalar` is plain C, a byte at a time. `avx2` has registers of 32 bytes,
# `avx512` of 64, and `avx512vbmi` also decodes *base 3*: five weights in a byte, 1.6 bits each. On arm64 there is
# `neon`.
#
# **Predict.** The last step up in width doubles the registers. How many times as fast does it make the product?

# %%
wider_guess = answer("twice-as-wide", default=2.0)  # your guess

# %%
top = rungs[-1]
few = cython_kernels.pack(weights[:32], "base3")
held = cython_kernels.matrix(few, 32, 2560, format="base3", backend=top).held
ours = [f"2bit/{top}"] + ([f"base3/{top}"] if held == "base3" else [])  # else it is held as 2bit
field = ["fp32/torch", "2bit/numpy", f"2bit/{mine}", *(f"2bit/{rung}" for rung in rungs), *ours[1:]]
ladder = race(single(2560, 2560), field)
ladder = race(single(16, 2560), ["2bit/python"], baselines=()) + ladder
row_of = {row.contender: row for row in ladder}
PUBLISHED = 2.37, 6.17  # bitnet.cpp on x86, models of 125M to 13B: arXiv 2410.16144
figures.ladder(ladder, f"2bit/{mine}", PUBLISHED, "2560 x 2560, one token, one thread")

# %%
narrow, broad = ("avx2", "avx512") if "avx512" in rungs else (rungs[max(0, len(rungs) - 2)], top)
wider = row_of[f"2bit/{narrow}"].ms[1] / row_of[f"2bit/{broad}"].ms[1]
compare("times as fast as the rung below", {f"{broad} over {narrow}": wider}, wider_guess)

# %% [markdown]
# Each vertical tick is where that contender's bytes meet the read limit of this race. A point on its tick has nothing
# left to gain (beyond its tick, memory was slower for reading alone, or a large cache helped): registers twice as wide
# wait for the same memory. If the bar above is near 1, that is why. What still helps is fewer bytes: base 3 has a tick
# of its own, further to the right.
#
# Against an fp16 kernel that is at *its* tick, no ternary kernel can pass the ratio of the bits. A larger speed-up says
# only that the baseline was weak.

# %% tags=["golden"]
for bits in (16, 8, 4, 2, 8 / 5, np.log2(3)):
    print(f"{bits:5.2f} bits a weight: at most {16 / bits:5.2f} times as fast as fp16")

# %%
PEERS = {"125M": 2.37, "700M": 3.88, "2.5B": 4.19, "7B": 5.68, "13B": 6.17}  # on an i7-13700H
versus = {f"published for {size}, fp16": ratio for size, ratio in PEERS.items()}
for name in ours:
    versus[f"{name}, best fp16"] = row_of[name].ratio[1]
    versus[f"{name}, torch fp32"] = row_of["fp32/torch"].ms[1] / row_of[name].ms[1]
compare("times as fast as the baseline named", versus)

# %% [markdown]
# The published ratios (arXiv 2410.16144: bitnet.cpp over llama.cpp at fp16, whole models with mostly random weights)
# rise with the size of the model, towards 8 and not beyond: its format takes 2 bits. A ratio over fp32 is no
# lie either. It compares with something that nobody needs to run.
#
# One shape proves little. The four of the 2B:

# %%
racers = ["fp16/gemv", "fp16/torch", "bf16/torch", f"2bit/{mine}", *ours]
shapes, table = [row for row in ladder if row.what == "2560 x 2560"], []
for N, K in kernel_bench.SHAPES:
    measured = race(single(N, K), racers[3:])
    shapes += measured
    found = {row.contender: f"{row.ratio[1]:.2f}" for row in measured}
    limit = f"{measured[0].read_limit_gb_per_s:.1f}"
    table.append([f"{N} x {K}", *(found.get(name, "") for name in racers), limit])
print("times as fast as the best of the first three")
HTML(html_table(["N x K, one thread", *racers, "read limit, GB/s"], table))

# %% [markdown]
# Below, the same for any setting: move a control and it is measured then and there. Left the ladder of that setting;
# right the roofline, to which section 5 comes. Which setting brings 2bit under 4 times fp16, and which one above 8?

# %%
first = kernel_bench.state(shapes, "2560 x 2560", 1, 1, ours[0])
figures.kernel_bench(first)

# %%
KernelBench(racing, own=[f"2bit/{mine}"], rows=shapes)

# %% [markdown]
# ## 4 · Is it exact?
#
# BitNet's definition sums in integers, so every kernel must give the same sums, to the last bit. AVX2 has no
# instruction from int8 to int32 sums: `vpmaddubsw` multiplies codes by activations, adds neighbours, and leaves
# 16-bit *pair sums* of at most 2 · 2 · 127 = 508 in 16 lanes. Adding those up in 16 bits is fast, and 16 bits wrap.
#
# A well-known library added up to 128 of them before it widened to 32 bits; K = 2,560 makes 80 a lane.
#
# **Predict.** Of 1,000 lanes with random weights and activations, how many sums come out wrong?

# %%
wrong_guess = answer("wrong-lanes", default=100.0)  # your guess, of 1,000


# %% [markdown]
# **Write it**: what a lane does, in plain Python, wrapping included.


# %% tags=["exercise"]
@exercise("int16-lane")
def int16_lane(codes: np.ndarray, x: np.ndarray, flush_after: int) -> int:
    """Sum of codes * x as a signed 16-bit lane adds it up. About 7 lines.

    codes: (K,) uint8 of 0, 1, 2. x: (K,) int8. K is even.
    A pair sum is codes[2j] * x[2j] + codes[2j + 1] * x[2j + 1]. The lane begins at 0, adds one pair
    sum after the other, and wraps around: one more than 32767 is -32768. After every `flush_after`
    pair sums, and at the end, the lane is added to a total that cannot overflow, and set to 0.
    """
    ### BEGIN SOLUTION
    pairs = (codes.astype(int) * x).reshape(-1, 2).sum(axis=1)
    total = 0
    for start in range(0, len(pairs), flush_after):
        lane = int(pairs[start : start + flush_after].sum())
        total += (lane + 32768) % 65536 - 32768
    return total
    ### END SOLUTION


# %%
wrong = 0
for _ in range(1000):
    some_codes = rng.integers(0, 3, 160, dtype=np.uint8)  # what one of 16 lanes sees of 2,560 columns
    some_x = quantize(rng.standard_normal((1, 2560), dtype=np.float32))[0][0, :160]
    wrong += int16_lane(some_codes, some_x, 80) != int(some_codes.astype(int) @ some_x)
compare("wrong sums of 1,000 random lanes", {"80 pair sums in 16 bits": wrong}, wrong_guess)

# %% [markdown]
# If the bar is 0, a test with random numbers passes for ever: plus and minus cancel, and a lane stays far from its
# ends. Nothing promises that a model's numbers are random. An input that is not:

# %% tags=["golden"]
lane = np.zeros(1, np.int16)
for _ in range(80):
    lane += np.int16(2 * 127 + 2 * 127)  # weight +1 has the code 2; x is 127 in every column
print(f"2,560 columns, all weights +1, all x = 127: {16 * int(lane[0]):,} instead of {2560 * 2 * 127:,}")


# %% [markdown]
# (That is issue 629 of bitnet.cpp.) So the bound must be computed. **Write it.** An int8 reaches one further down than
# up, and so does a lane: mind both ends.


# %% tags=["exercise"]
@exercise("safe-additions")
def safe_additions(largest_code: int, lane_bits: int) -> int:
    """Most pair sums that a signed lane can add without wrapping, whatever the numbers. About 3 lines.

    A pair sum is code * x + code * x, codes from 0 to `largest_code`, each x from -128 to 127.
    0 where one pair sum may already wrap.
    """
    ### BEGIN SOLUTION
    up = (2 ** (lane_bits - 1) - 1) // (2 * largest_code * 127)
    down = 2 ** (lane_bits - 1) // (2 * largest_code * 128)
    return min(up, down)
    ### END SOLUTION


# %%
most = safe_additions(largest_code=2, lane_bits=16)
full = np.full(160, 2, np.uint8)
for flush_after in (most, most + 1):
    for value in (127, -128):
        right = int16_lane(full, np.full(160, value, np.int8), flush_after) == 160 * 2 * value
        print(f"flushed after {flush_after}, x = {value:4}:", "exact" if right else "WRONG")
shift = {mask: safe_additions(2 * mask, 16) for mask in (1, 4, 16, 64)}
print("pair sums of codes masked where they stand, by 4^f:", shift)

# %% [markdown]
# One more than the bound is wrong, on one of the inputs at least. The last line is why masks without shifts and 16-bit
# lanes do not go well together: the highest field leaves room for a single addition. A 32-bit lane has room for
# all of K, which is what AVX-512's `vpdpbusd` adds in, and what your kernel does.
#
# Now the same trial for every rung, and for yours: the extremes, where random numbers do not go.

# %%
rows = []
for weight, value in ((1, 127), (1, -128), (-1, 127), (-1, -128)):
    extreme, token = np.full((64, 2560), weight, np.int8), np.full((1, 2560), value, np.int8)
    bits2 = cython_kernels.pack(extreme)
    sums = {rung: cython_kernels.matmul(bits2, 64, 2560, token, backend=rung) for rung in rungs}
    sums[mine] = ternary_kernel(pack_rows(extreme), token[0])
    rows.append([f"{weight:+d}, {value}", f"{2560 * weight * value:,}"])
    rows[-1] += ["exact" if (found == 2560 * weight * value).all() else "WRONG" for found in sums.values()]
HTML(html_table(["w, x", "sum", *sums], rows))

# %% [markdown]
# ## 5 · Where does the speed-up end?
#
# One token at a time, each weight is read for one multiplication. A prompt, or several users, bring M tokens at once:
# each weight is read once and used M times.
#
# **Predict.** With 64 tokens at once, how many times as fast as the best kernel on 16 or 32 bits is the 2-bit kernel?

# %%
batch_guess = answer("speed-up-at-64-tokens", default=8.0)  # your guess

# %%
batches = (1, 4, 32, 64) if MODE == "fast" else (1, 2, 4, 8, 16, 32, 64, 128, 256)
floats = ("fp16/gemv", "bf16/torch", "fp32/torch")  # torch's fp16 falls behind with several tokens
by_tokens = [row for M in batches for row in race(single(6912, 2560, M), ours, baselines=floats)]
against = {row.M: row for row in by_tokens if row.contender == ours[0]}
named = {f"{M} tokens, {row.baseline}": row.ratio[1] for M, row in against.items()}
compare("6912 x 2560, one thread: times as fast as the best of 16 or 32 bits", named, batch_guess)

# %% [markdown]
# **Write it.** Two things take time: reading a weight, once, and one multiply-accumulate for each token. They overlap,
# so the longer one decides.


# %% tags=["exercise"]
@exercise("roofline")
def roofline(bits: float, tokens: int, read_bytes_per_s: float, peak_macs_per_s: float) -> float:
    """The most multiply-accumulates a second of a product with `tokens` tokens. About 3 lines.

    Each weight has `bits` bits, is read once for all tokens, and takes one multiply-accumulate for
    each. Memory gives `read_bytes_per_s`; the processor does at most `peak_macs_per_s`.
    """
    ### BEGIN SOLUTION
    reading_s = bits / 8 / read_bytes_per_s
    computing_s = tokens / peak_macs_per_s
    return tokens / max(reading_s, computing_s)
    ### END SOLUTION


# %%
peak = {}  # the most that each contender reached with any number of tokens
for row in by_tokens:
    peak[row.contender] = max(peak.get(row.contender, 0), row.gmac_per_s)
table = []
for row in sorted(by_tokens, key=lambda row: (row.contender, row.M)):
    bits = 8 * row.M * row.weights_bytes / row.macs
    bound = roofline(bits, row.M, 1e9 * row.read_limit_gb_per_s, 1e9 * peak[row.contender]) / 1e9
    reached = f"{row.gmac_per_s / bound:.0%}"
    numbers = f"{bits:.1f}", f"{row.M}", f"{row.gmac_per_s:.1f}", f"{bound:.1f}"
    table.append([row.contender, *numbers, reached])
HTML(html_table(["", "bits", "tokens", "10⁹ MAC/s", "its roof", "reached"], table))

# %%
figures.roofline(by_tokens, ours[0], "6912 x 2560, one thread; the numbers are tokens")

# %% [markdown]
# On the slope memory decides, and bytes are speed: that is where 8 and 10 come from. On the flat part arithmetic
# decides, and a weight of 2 bits takes as many multiplications as one of 16. The 2-bit line bends at fewer tokens,
# because each of its bytes brings four weights.
#
# A bar longer than 8 tells of a gap: if the best float kernel is far below the slope with 4 tokens, nobody wrote one
# for them. What is left with 64 is the processor's int8 over its floats; an instruction of VNNI holds four times
# as many multiplications as one on fp32. Matrix units for bfloat16 (AMX) would turn the comparison around.

# %% [markdown]
# And a model is more than its ternary matrices. The head of the 2B stays in 16 bits in the published file:

# %% tags=["golden"]
bitnet = catalog.get("microsoft/bitnet-b1.58-2B-4T")
sixteen, two = (catalog.parameters(bitnet, bits=bits).bytes for bits in (16, 2))
print(f"read for one token: {sixteen / 1e9:.2f} GB in 16 bits, {two / 1e9:.2f} GB with layers of 2 bits")
print(f"at most {sixteen / two:.2f} times as fast")

# %% [markdown]
# The factor of 8 becomes half of it, before attention has taken its time. That is Amdahl's law, and the reason why
# runtimes quantize the head too.

# %% [markdown]
# ## What we found
#
# All matrices of the 2B's 30 layers, measured in one race; the head is counted at the speed of the fp16 rung.

# %%
HEAD = 128_256 * 2560  # weights
measured = {}  # by threads: speed-up of the layers, ms of a token in ternary and in 16 bits
for threads in sorted({1, cython_kernels.threads()}):
    layers = {row.contender: row for row in race(bitnet_2b4t(), [ours[0]], threads)}
    ternary = layers.pop(ours[0])
    fp16 = [*layers.values()][-1]  # the fastest
    head_ms = HEAD / fp16.gmac_per_s / 1e6
    measured[threads] = ternary.ratio[1], ternary.ms[1] + head_ms, fp16.ms[1] + head_ms
    print(f"threads: {threads}; ms of the layers: {ternary.ms[1]:.1f}, {fp16.contender} {fp16.ms[1]:.1f}")
    print(f"    the head at the speed of {fp16.contender}: {head_ms:.1f} ms")
layers_ratio, ternary_ms, fp16_ms = min(measured.values(), key=lambda of_threads: of_threads[1])

# %%
processor = "arm" if platform.machine().lower() in ("arm64", "aarch64") else "x86"
claims.verdict("B2", {f"{processor}_speedup": layers_ratio}, beside={"ceiling_at_2_bits": 8})

# %%
claims.verdict("B4", {"tokens_per_second_bound": 1000 / measured[1][1]})

# %%
claims.verdict("B6", {"speedup": fp16_ms / ternary_ms}, beside={"ms_of_the_matrices": ternary_ms})

# %%
by_batch = {f"speedup_at_batch_{M}": row.ratio[1] for M, row in against.items()}
claims.verdict("B15", {"speedup_at_batch_32": by_batch.pop("speedup_at_batch_32")}, beside=by_batch)

# %% [markdown]
# B2 is a range that was measured on one laptop with one library. A ratio above it does not hold either, and that says
# something about the range: it belongs to a kernel, a baseline and a memory, not to the weights. B4 and B6 are bounds
# without attention and norms: one that allows a claim does not prove it.
#
# transformers itself reads ternary weights and unpacks them to 16 bits, which gains nothing. To put these kernels under
# such a model, and decode with it, there is `slmlab.ternary.accelerate`.

# %% [markdown]
# ## Limits and sources
#
# Random weights, one machine, a few seconds: second digits wander. Where the last cache holds more than 140 MB, part of
# the weights may come from there; `MODE = "full"` takes four times as many. The baseline is the fastest of our own
# fp16 kernel (cython_kernels/c/baseline.c) and torch's two; a faster one would lower every ratio.
#
# bitnet.cpp: arXiv 2410.16144, and issue 629 of its repository; BitNet b1.58: 2402.17764; 2B4T: 2504.12285. The
# roofline: Williams, Waterman and Patterson, CACM 52(4), 2009. Claims: microsoft/edgeai-for-beginners @ 05d7c7ef,
# Module02.
