# %% [markdown]
# # 41 · Can three values be enough?
#
# BitNet b1.58 has weights of -1, 0 and +1, and its card says that it keeps up with models of 16 bits. Everybody knows
# that such a thing must be trained: round a finished model to three values, and it breaks. You will break one, mend it
# without training, and find out what training really changes. You would not see it in a histogram of the weights.
#
# *In this lab* you write BitNet's rounding, a better one, its layer and its gradient, and measure when they matter:
# 90 minutes. Models: mini-phi, mini-bitnet, SmolLM2-135M, all offline; any model of the hub is one argument away.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | weight matrix; layer's input, a token a row | w; x | (N, K); (M, K) float32 | `w`, `x` |
# | code of a weight | c | -1, 0, +1 | `codes` |
# | scale: what ±1 stands for | s | as the weights | `scale` |
# | threshold: up to it a weight becomes 0 | | mean \|w\| | `threshold` |
# | absmean: s = mean \|w\|, c = w / s rounded | | | `absmean_codes` |
# | absmax: 127 / max \|x\| of a token makes 8 bits of it | | | `bit_linear` |
# | latent weight: the float that training moves | | float32 | `layer.weight` |
# | signal to quantization noise | SQNR | dB | `quant.error(w, y).sqnr_db` |
# | rounding after training; training with rounding | PTQ; QAT | | |
# | more nats a token than before | | nats | `nats` |

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" reads and trains four times as long: about three minutes, and 2.4 GB
# GUEST: a model that was not made for this course; or one of the hub, "Qwen/Qwen3-0.6B"
GUEST = "smollm2-135m"

# %% tags=["golden-setup"]
import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML, clear_output, display
from torch import nn
from torch.nn import functional

from slmlab import bench, catalog, claims, evaluation, figures, models, places, quant
from slmlab.evaluation import candidates, exams, losses
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import html_table
from slmlab.minis import corpus, recipes, training
from slmlab.ternary import BitLinear
from slmlab.ternary.latent import LatentDiary, unrounded
from slmlab.widgets import TernaryExplorer, ternary_explorer

# %%
if MODE == "fast":
    torch.set_num_threads(1)  # on matrices this small two threads gain little, and wait much
COUNT = 10 if MODE == "fast" else 40  # documents of each kind; three times as many questions
rng = np.random.default_rng(0)

phi, bitnet = candidates.load("mini-phi"), candidates.load("mini-bitnet")
matrices = {
    name.removesuffix(".weight").removeprefix("model.layers."): matrix.detach().numpy()
    for name, matrix in phi.model.named_parameters()
    if name.endswith("_proj.weight")
}
w = matrices["3.mlp.down_proj"]
print(f"mini-phi: {len(matrices)} matrices in the layers; w is {w.shape}")
print(bench.machine())

# %% [markdown]
# ## 1 · Is the mean the right scale?
#
# BitNet's rounding has two lines. The scale is the mean of |w|; a code is w / scale, rounded to a whole number, and
# kept within -1 and +1. One scale for the matrix.
#
# **Write it.** The slow way: add up |w| in a loop, then look at one weight after the other. A matrix of zeros has
# nothing to divide by.


# %% tags=["exercise"]
@exercise("absmean-codes")
def absmean_codes(w: np.ndarray) -> tuple[np.ndarray, float]:
    """BitNet's codes, (N, K) int8, and scale: w is about scale * codes. About 4 lines.

    w: (N, K) float32. The scale is the mean of |w|; a code is w / scale, rounded to a whole number
    and kept within -1 and +1. A matrix of zeros has the codes 0 and the scale 0.
    """
    ### BEGIN SOLUTION
    scale = float(np.abs(w).mean(dtype=np.float64))
    if scale == 0:
        return np.zeros(w.shape, np.int8), 0.0
    return np.clip(np.round(w / scale), -1, 1).astype(np.int8), scale
    ### END SOLUTION


# %% [markdown]
# For two values, sign(w), the mean of |w| is the best scale there is: it has the least squared error. That is the
# binary BitNet of 2310.11453. b1.58 (2402.17764) kept the scale and added the zero.
#
# Is it still the best? A scale that is best for *all* weights now speaks for those alone that are not 0.
#
# **Predict.** The scale with the least squared error, for the best choice of zeros, over the mean of |w|?

# %%
scale_ratio = answer("best-scale-ratio", default=1.0)  # your guess; 1: absmean is right

# %% [markdown]
# **Write it.** If m weights are not 0, it must be the m largest: a loop over m, and for each m the mean of those |w|
# as scale, and the squared error of all. Take the m with the least. So much for the specification; the matrices here
# have up to 262,144 weights, and a loop that adds up anew for each m would take an hour. Sort once, add up once.


# %% tags=["exercise"]
@exercise("best-ternary")
def best_ternary(w: np.ndarray) -> tuple[np.ndarray, float]:
    """The codes, (N, K) int8, and the scale for which sum((w - scale * codes)**2) is least. About 7 lines.

    w: (N, K) float32, no two weights equally large. The m largest |w| have the codes of their
    signs, all others 0; the scale is the mean of those m; of all m from 1 to N * K, the one with
    the least error. A matrix of zeros has the codes 0 and the scale 0.
    """
    ### BEGIN SOLUTION
    if not w.any():
        return np.zeros(w.shape, np.int8), 0.0
    largest_first = np.sort(np.abs(w), axis=None)[::-1].astype(np.float64)
    sums = np.cumsum(largest_first)
    m = int(np.argmax(sums**2 / np.arange(1, w.size + 1))) + 1  # error: sum(w**2) - sums**2 / m
    kept = np.abs(w) >= largest_first[m - 1]
    return (np.sign(w) * kept).astype(np.int8), float(sums[m - 1] / m)
    ### END SOLUTION


# %%
def rounding(codes_and_scale):
    """w -> w rounded, float32."""
    return lambda w: np.float32(codes_and_scale(w)[1]) * codes_and_scale(w)[0]


def signs(w):
    return np.where(w < 0, -1, 1).astype(np.int8), float(np.abs(w).mean())


three = {"binary": signs, "absmean": absmean_codes, "best": best_ternary}
roundings = {name: rounding(codes_and_scale) for name, codes_and_scale in three.items()}
print({name: f"{quant.error(w, by(w)).sqnr_db:.2f} dB" for name, by in roundings.items()})
ratios = {name: codes_and_scale(w)[1] / np.abs(w).mean() for name, codes_and_scale in three.items()}
compare("scale over the mean of |w|", ratios, scale_ratio)

# %%
figures.ternary_rounding(ternary_explorer.state(w, "3.mlp.down_proj", 0.5, 1.0))

# %% [markdown]
# Left, the weights, and the levels that absmean gives them. Right, the SQNR of every threshold and scale; the star is
# your best one. From *binary* to *absmean* the zero buys some decibels; from *absmean* to the star as many again are
# to be had, for nothing. Absmean cuts too low, and puts what is left too near. Nothing is odd about this matrix: a bell
# (a normal distribution) has the same summit, and for a bell the numbers are exact.

# %% tags=["golden"]
cut = np.linspace(0, 2, 20001)  # in standard deviations
kept = np.array([math.erfc(t / 2**0.5) for t in cut])  # share of the weights beyond
beyond = np.exp(-(cut**2) / 2) * (2 / np.pi) ** 0.5  # sum of their |w|, over the number of all
mean = beyond[0]
best = int(np.argmax(beyond**2 / kept))
half = int(np.argmin(np.abs(cut - mean / 2)))
places_of = {"binary": (0, mean), "absmean": (half, mean), "best": (best, beyond[best] / kept[best])}
for name, (at, scale) in places_of.items():
    db = -10 * np.log10(1 - 2 * scale * beyond[at] + scale**2 * kept[at])
    where = f"threshold {cut[at] / mean:.2f}, scale {scale / mean:.2f} mean |w|"
    print(f"{name:8} {where}: {1 - kept[at]:.0%} zeros, {db:.2f} dB")

# %% [markdown]
# ## 2 · Does a better rounding make a better model?
#
# mini-phi was trained in full precision, on a text of which everything is known. Read held-out documents, and ask
# questions in wordings that it never saw. Then round all matrices of its layers, and do both again. To know nothing
# costs log 2048 = 7.6 nats a token.
#
# **Predict.** How many nats a token more does mini-phi need with absmean? And which share of that is left with your
# best rounding?

# %%
absmean_nats = answer("absmean-nats", default=4.0)  # nats, your guess
share_left = answer("share-left", default=0.8)  # of them, with the least squared error

# %%
questions = corpus.exams.facts("new", 3 * COUNT, seed=2)


def read(mini):
    """Held-out documents of what it was taught; what their tokens cost it."""
    kinds = mini.recipe.mixture
    documents = [text for kind in kinds for text in corpus.exams.held_out(kind, COUNT, 1)]
    ids = mini.encode(documents)
    return ids, losses.costs(mini.model, ids)


phi_ids, phi_costs = read(phi)
bitnet_ids, bitnet_costs = read(bitnet)
sheets = {mini.name: exams.sit(mini.respond, questions, exams.says) for mini in (phi, bitnet)}
for mini, costs in ((phi, phi_costs), (bitnet, bitnet_costs)):
    loss, right = losses.per_token(costs).value, sum(sheets[mini.name].right)
    print(f"{mini.name}: {loss:.3f} nats a token, {right} of {len(questions)} facts")

# %%
nats = {}  # a token, more than before


def measure(name, by):
    """A row: mini-phi with the matrices of its layers rounded."""
    errors_db = []

    def change(parameter, matrix):
        if parameter.endswith("_proj.weight"):
            rounded = by(matrix)
            errors_db.append(quant.error(matrix, rounded).sqnr_db)
            return rounded

    with models.with_weights(phi.model, change):
        more = losses.increase(losses.costs(phi.model, phi_ids), phi_costs)
        sheets[name] = exams.sit(phi.respond, questions, exams.says)
    nats[name] = more.value
    right = f"{sum(sheets[name].right)} of {len(questions)}"
    margin = f"{more.value:+.3f} ± {more.high - more.value:.3f}"
    return [name, f"{np.mean(errors_db):.1f}", margin, right]


# %%
def each_row(by):
    """Every row of a matrix rounded by itself."""
    return lambda w: np.concatenate([by(row[None]) for row in w])


roundings["best, each row"] = each_row(roundings["best"])
roundings["int4, each row"] = lambda w: quant.quantize(w, 4, "symmetric", "row").dequantize()
rows = [measure(name, by) for name, by in roundings.items()]
HTML(html_table(["mini-phi's layers", "SQNR, dB", "nats more", "facts right"], rows))

# %%
compare("nats a token more than before", nats, absmean_nats, unit="nats")

# %%
left = {name: nats[name] / nats["absmean"] for name in ("best", "best, each row")}
compare("share of absmean's damage that is left", left, share_left)

# %% [markdown]
# If little is left, what broke the model was not that it had three values: it was *which* three. The answers say the
# same. Below, questions that absmean gets wrong, and beside them a model that has had only three values all its life.

# %%
columns = ["mini-phi", "absmean", "best", "mini-bitnet"]
broken = [place for place, right in enumerate(sheets["absmean"].right) if not right][:4]
rows = []
for place in broken:
    question = questions[place].messages[-1]["content"]
    rows.append([question, *(sheets[name].answers[place] for name in columns)])
header = ["", "mini-phi", "rounded: absmean", "rounded: best", "mini-bitnet, as trained"]
HTML(html_table(header, rows, left=range(5)))

# %% [markdown]
# How much did three values cost mini-bitnet? It has a twin: the same recipe and text, trained in full precision. The
# twin is not shipped, but its evaluation is. Below, two stored numbers, of mini-bitnet against its twin, and of the
# twin rounded by absmean after its training, beside your own.
#
# **Predict.** How many nats a token more than its twin does mini-bitnet need?

# %%
trained_guess = answer("trained-ternary-nats", default=0.3)  # your guess

# %%
of_bitnet = evaluation.recorded().rows_of("mini-bitnet")
stored = {row.claim: row.value for row in of_bitnet if row.value is not None}
named = {
    "trained in ternary, over its twin (stored)": "ternary-training-costs",
    "the twin, rounded by absmean (stored)": "ternary-rounding-costs",
}
costs = {name: stored[claim] for name, claim in named.items() if claim in stored}
ours = ("absmean", "best", "best, each row")
costs |= {f"mini-phi, rounded: {name}": nats[name] for name in ours}
compare("what three values cost: nats a token more", costs, trained_guess, unit="nats")

# %% [markdown]
# One mini is not the world. It has four million weights for a few hundred facts, and room to spare. The guest has
# none: SmolLM2-135M learnt from the web. The same roundings for it, the best one by the numbers of a bell.
#
# **Predict.** How many nats a token more, with the better of the two?

# %%
guest_guess = answer("guest-nats", default=1.0)  # your guess

# %%
english = places.dataset("perplexity.txt").read_text(encoding="utf-8")
length = 64 if MODE == "fast" else 512
guest, guest_tokenizer = models.load(GUEST, "bfloat16")
models.compute_in_float32(guest)  # not loaded in float32: that would take half a gigabyte more
guest_ids = guest_tokenizer(english, return_tensors="pt").input_ids[:, :length]
guest_vocabulary = guest.config.vocab_size


def guest_nats(ending, by):
    """Nats a token of the guest, the matrices rounded whose names end so."""

    def change(name, matrix):
        return by(matrix) if name.endswith(ending) else None

    with models.with_weights(guest, change), torch.inference_mode():
        return functional.cross_entropy(guest(guest_ids).logits[0, :-1], guest_ids[0, 1:]).item()


# %%
def bell(threshold, scale):
    return lambda w: ternary_explorer.rounded(w, threshold, scale)


def rows_of(quantize, *options):
    """With a scale a row; a thousand rows at a time, because the table is large."""

    def by(w):
        rounded = np.empty_like(w)
        for n in range(0, len(w), 1024):
            rounded[n : n + 1024] = quantize(w[n : n + 1024], *options).dequantize()
        return rounded

    return by


# %%
before = guest_nats("no matrix", None)
nothing = {"to know nothing": math.log(guest_vocabulary) - before}
layers, its_table = "_proj.weight", "embed_tokens.weight"
guest_layers = {
    "absmean": guest_nats(layers, bell(0.5, 1.0)) - before,
    "best for a bell": guest_nats(layers, bell(0.77, 1.53)) - before,
}
guest_table = {  # section 5 shows it
    "ternary": guest_nats(its_table, rows_of(quant.quantize_ternary, "row")) - before,
    "int4": guest_nats(its_table, rows_of(quant.quantize, 4, "symmetric", "row")) - before,
}
bars = guest_layers | nothing
compare(f"{GUEST}, its layers: nats more than {before:.2f}", bars, guest_guess, unit="nats")

# %% [markdown]
# A bar longer than the last: the model is sure of the wrong words. So *rounding breaks a model* is a sentence about
# how much of its precision a model uses, and *by how much* depends on a scale that papers pass over. On the mini the
# better rounding saves most; on the guest it saves a part of a ruin.
#
# Try it on mini-phi: below, the losses you measured, where they lie, and then the same picture with handles. Is the
# point of least error also the point of least loss? The button rounds all matrices of the layers, and reads.

# %%
best_at = ternary_explorer.state(w, "", 0, 1).best[:2]
at = {"binary": (0.0, 1.0), "absmean": (0.5, 1.0), "best": best_at}
points = tuple(ternary_explorer.Point(*at[name], nats[name]) for name in at)
figures.ternary_rounding(ternary_explorer.state(w, "3.mlp.down_proj", *best_at, points))


# %%
def explore(threshold, scale):
    measure("yours", lambda w: ternary_explorer.rounded(w, threshold, scale))
    return nats["yours"]


TernaryExplorer(matrices, explore)

# %% [markdown]
# ## 3 · How do you train a staircase?
#
# In a BitNet the rounding is part of every forward, for tokens too: 8 bits each, by the token's own largest value,
# so that a loud token does not drown a soft one. Both factors are whole numbers, so the product is additions.
#
# **Write it.** The slow way is three loops: tokens, rows, columns. Two traps: int8 and int16 are too small for the
# sum; and what was multiplied by 127 / max |x| must be divided by it again.


# %% tags=["exercise"]
@exercise("bit-linear")
def bit_linear(x: np.ndarray, w_codes: np.ndarray, w_scale: float) -> np.ndarray:
    """A ternary layer on tokens of 8 bits: (M, N) float32. About 6 lines.

    x: (M, K) float32. w_codes: (N, K) int8; the weights are w_scale * w_codes.
    x_codes[m] = round(x[m] * 127 / max|x[m]|), whole numbers. The products of codes are summed as
    whole numbers; the sum comes back in the units of x @ w.T. A token of zeros gives zeros.
    """
    ### BEGIN SOLUTION
    largest = np.abs(x).max(axis=1, keepdims=True)  # (M, 1)
    largest[largest == 0] = 1  # any scale keeps zeros
    x_codes = np.round(x * (127 / largest)).astype(np.int64)
    sums = x_codes @ w_codes.T.astype(np.int64)  # (M, N)
    return (sums * (w_scale * largest / 127)).astype(np.float32)
    ### END SOLUTION


# %% [markdown]
# A staircase has no slope: nudge a latent weight, and its code stays as it is. The derivative says *nothing to learn*,
# until a weight crosses a threshold, where it does not exist. The straight-through gradient looks the other way: in
# the forward it uses the rounded factors, in the backward it passes the rounding as if it were not there.
#
# **Write it.** Given the gradient of a loss by y, find those by x and by the latent weights. The slow way is loops
# again. Which factor stands in each sum: the rounded one, or the one before the rounding?


# %% tags=["exercise"]
@exercise("straight-through")
def straight_through(
    gradient: np.ndarray, x: np.ndarray, w_codes: np.ndarray, w_scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by x, (M, K), and by the latent weights, (N, K), of y = bit_linear(x, ...). About 5 lines.

    gradient: (M, N) float32, the loss by y. With wr = w_scale * w_codes and xr = x as bit_linear
    rounds it (code * max|x| / 127): by x[m, k] the sum over n of gradient[m, n] * wr[n, k], by the
    latent weight [n, k] the sum over m of gradient[m, n] * xr[m, k]. Neither rounding adds a factor.
    """
    ### BEGIN SOLUTION
    step = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    step[step == 0] = 1
    xr = np.round(x / step) * step
    wr = np.float32(w_scale) * w_codes
    return gradient @ wr, gradient.T @ xr
    ### END SOLUTION


# %% [markdown]
# Can a gradient that is wrong everywhere find anything? Hide 2,048 codes in a matrix, show only its products, and
# walk downhill with your three functions. Chance finds a third of the codes.
#
# **Predict.** Which share of the codes do 100 steps find?

# %%
found_guess = answer("codes-found", default=0.6)  # your guess, between 0 and 1

# %%
hidden = rng.integers(-1, 2, (32, 64), dtype=np.int8)
latent = rng.standard_normal((32, 64)).astype(np.float32)
found = []
for _ in range(101):
    x = rng.standard_normal((64, 64)).astype(np.float32)
    codes, scale = absmean_codes(latent)
    miss = bit_linear(x, codes, scale) - x @ hidden.T  # (M, N)
    latent -= 0.1 * straight_through(miss / len(x), x, codes, scale)[1]
    found.append(float((codes == hidden).mean()))
by_step = {f"step {n}": found[n] for n in (0, 5, 10, 20, 100)}
compare("share of the hidden codes found", by_step, found_guess)

# %% [markdown]
# It need not be the slope, only to point to the right side often enough: the latent weight keeps count of what each
# batch asked for, and its code turns over when the count is in. Your functions are those that trained mini-bitnet:

# %%
layer, x = BitLinear(256, 512, bias=False), torch.randn(64, 256, requires_grad=True)
gradient = torch.randn(64, 512)
layer(x).backward(gradient)
codes, scale = absmean_codes(layer.weight.detach().numpy())
mine = [bit_linear(x.detach().numpy(), codes, scale)]
mine += straight_through(gradient.numpy(), x.detach().numpy(), codes, scale)
theirs = [layer(x).detach(), x.grad, layer.weight.grad]
for name, a, b in zip(("y", "by x", "by the latent weights"), mine, theirs, strict=True):
    furthest = np.abs(a - b.numpy()).max() / b.abs().max()
    print(f"{name}: at most {furthest:.0e} of the largest from BitLinear")

# %% [markdown]
# ## 4 · What does training do to the weights?
#
# A model of half a million weights, two layers of BitLinear, learns questions and answers now, in this kernel. A diary
# looks at the latent weights after each step, each divided by the scale of its matrix: at ±0.5 a code turns over, and
# -1, 0 and +1 are the values that it stands for.
#
# **Predict.** Before training, two in five of the latent weights are within 0.25 of -1, 0 or +1, as in any bell. After
# training, which share is?

# %%
near_guess = answer("near-a-level", default=0.9)  # your guess, between 0 and 1

# %%
STEPS = 80 if MODE == "fast" else 320
own = recipes.recipe("mini-bitnet")
shape = {"hidden_size": 128, "intermediate_size": 256}
shape |= {"num_hidden_layers": 2, "num_attention_heads": 4}
small = replace(
    own,
    name="small",
    config=own.config | shape,
    mixture={"question": 1.0},
    sequence=128,
    batch=2,
    tokens=STEPS * 2 * 128,
    learning_rate=6e-3,
)
run = training.Training(small, Path("no checkpoint"))
diary = LatentDiary(run.model)
parameters = sum(parameter.numel() for parameter in run.model.parameters())
print(f"{parameters:,} parameters, {len(diary.in_scales()):,} of them ternary")


# %%
def near_a_level(diary):
    distance = np.abs(diary.in_scales()[:, None] - np.array([-1, 0, 1])).min(axis=1)
    return float((distance < 0.25).mean())


near = {"before the first step": near_a_level(diary)}

# %% [markdown]
# The next cell trains, and draws every ten steps. *Kernel, Interrupt* stops it and keeps what there is; run the cell
# again, and it goes on.


# %%
def draw():
    clear_output(wait=True)
    display(figures.latent_weights(diary))


draw()
try:
    for step in run.steps_left():
        diary.note(run.losses[-1])
        if step % 10 == 0:
            draw()
except KeyboardInterrupt:
    print(f"Stopped at step {run.step} of {run.steps}: what follows is of that.")
near[f"after {run.step} steps"] = near_a_level(diary)

# %%
compare("share of latent weights within 0.25 of -1, 0 or +1", near, near_guess)

# %% [markdown]
# No three heaps: one bell, as before the first step, though half of the codes have turned over and the loss has
# fallen. As to its weights, a BitNet is as far from ternary as mini-phi. Training did not move the weights towards the
# values; it moved the *codes*, and the rest of the model learnt to live with them. Which of the two is the model? The
# latent weights have all the digits, so let it read with those, nothing rounded.
#
# **Predict.** How many nats a token more does it need then? Below 0: it reads better.

# %%
latent_guess = answer("latent-nats", default=-0.1)  # nats, your guess


# %%
def reads(model, recipe=small):
    """Nats a token of held-out questions."""
    with torch.inference_mode():
        return training.held_out_nats(model.eval(), run.words, recipe)["all"]


with_codes, with_latent = reads(run.model), reads(unrounded(run.model))
losses_of_both = {"with its codes": with_codes, "with its latent weights": with_latent}
print({name: f"{value:.3f} nats" for name, value in losses_of_both.items()})
more = {"latent weights instead of codes": with_latent - with_codes}
compare("nats a token more", more, latent_guess, unit="nats")

# %% [markdown]
# If the bar points to the right, the floats are not a better model that the codes approximate. They are a book in which
# training keeps count, and the codes are what it writes for. That is why the packed file needs nothing else, and why
# nobody can turn it back into the 16 bits it came from.
#
# Section 1 found a rounding with a quarter less noise. Train the same model with it: threshold 0.77, scale 1.53.
#
# **Predict.** How many nats does the better rounding save when the model is trained with it?

# %%
better_guess = answer("better-rounding-saves", default=0.3)  # nats, your guess


# %%
class BetterLinear(BitLinear):
    """A BitLinear with the threshold and the scale that are best for a bell."""

    def forward(self, x):
        latent, mean = self.weight, self.weight.detach().abs().mean()
        rounded = 1.53 * mean * latent.detach().sign() * (latent.detach().abs() > 0.77 * mean)
        step = x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-5) / 127
        x = x + ((x / step).round() * step - x).detach()  # rounded; its gradient is that of x
        return functional.linear(x, latent + (rounded - latent).detach())


def trained(linear, seed):
    """The small model, trained with another kind of BitLinear."""
    run = training.Training(replace(small, seed=seed), Path("no checkpoint"))
    for layer in run.model.modules():
        if isinstance(layer, BitLinear):
            layer.__class__ = linear
    for _ in run.steps_left():
        pass
    return run.model


# %%
seeds = (0, 1) if MODE == "fast" else (0, 1, 2, 3)
with_absmean = [with_codes, *(reads(trained(BitLinear, seed)) for seed in seeds[1:])]
with_better = [reads(trained(BetterLinear, seed)) for seed in seeds]
gains = np.array(with_absmean) - np.array(with_better)
saved = {"after training (section 2)": nats["absmean"] - nats["best"]}
saved |= {f"in training, seed {seed}": gain for seed, gain in zip(seeds, gains, strict=True)}
compare("nats a token that the better rounding saves", saved, better_guess, unit="nats")

# %% [markdown]
# A lower bar may point to either side: so short a training is a draw (`MODE = "full"` draws four, of four times the
# length). If none comes near the first bar, what decided over a model after its training decides nothing in it.
#
# For the scale you can see why. Behind three of a layer's seven matrices, v, gate and up, BitNet has a norm, its
# *subln*, which divides by whatever scale came. Make the weights of mini-bitnet half as large again, those, then all.
#
# **Predict.** All seven, times 1.53: how many nats a token more?

# %%
louder_guess = answer("louder-nats", default=1.0)  # your guess


# %%
def louder(endings):
    model = copy.deepcopy(bitnet.model)
    for name, layer in model.named_modules():
        if name.endswith(endings):
            layer.weight_scale.data *= 1.53
    return losses.increase(losses.costs(model, bitnet_ids), bitnet_costs).value


before_a_norm = ("v_proj", "gate_proj", "up_proj")
loud = {"v, gate, up": louder(before_a_norm), "all seven": louder("_proj")}
loud["mini-phi, absmean"] = nats["absmean"]
compare("nats a token more, weights times 1.53", loud, louder_guess, unit="nats")

# %% [markdown]
# ## 5 · Where do three values pay, and where not?
#
# Fewer bits for the same matrix is half of the question. For the same *bytes* three values buy a wider layer. So: take
# the feed-forward layer in the middle of mini-phi, and have others of 48 KiB learn what it does, each as wide as its
# bits allow: 16 bits, int4, ternary, binary. Same tokens, same steps, trained with rounding. It is an honest
# comparison of bytes, and of nothing else: the widest does 16 times the multiplications of the narrowest.
#
# **Predict.** Which share of the signal is still noise in the ternary one, over that of int4?

# %%
noise_guess = answer("ternary-over-int4-noise", default=0.5)  # your guess; below 1: three values win

# %%
text = training.Text(phi.recipe, phi.words)
mlp, seen = phi.model.model.layers[3].mlp, []


def listen(_, given, said):
    seen.append((given[0].flatten(0, 1), said.flatten(0, 1)))


hook = mlp.register_forward_hook(listen)
with torch.inference_mode():
    for _ in range(16):  # batches of 1,024 tokens
        batch = text.batch()
        phi.model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False)
hook.remove()
inputs, outputs = (torch.cat(side).clone() for side in zip(*seen, strict=True))
learn, test = slice(0, -4096), slice(-4096, None)
signal = outputs.std()

# %%
BUDGET = 48 * 1024  # bytes
BITS = {"16 bits": 16, "int4": 4 + 16 / 256, "ternary": 1.6, "binary": 1}  # int4 has a scale a row


def on_the_grid(w, kind):
    """w rounded, with the gradient of w: int4 by the largest of a row, else by mean |w|."""
    mean = w.detach().abs().mean()
    if kind == "ternary":
        rounded = (w.detach() / mean).round().clamp(-1, 1) * mean
    elif kind == "binary":
        rounded = torch.where(w.detach() < 0, -mean, mean)
    elif kind == "int4":
        step = w.detach().abs().amax(1, keepdim=True) / 7
        rounded = (w.detach() / step).round() * step
    else:
        return w
    return w + (rounded - w).detach()


# %%
def imitate(kind, steps=150 if MODE == "fast" else 600):
    """Train a layer of BUDGET bytes: its width, and the share of noise for new tokens."""
    torch.manual_seed(0)
    width = int(8 * BUDGET / (3 * 256 * BITS[kind]))
    gate_up = nn.Parameter(torch.randn(2 * width, 256) / 16)
    down = nn.Parameter(torch.randn(256, width) / 2 / width**0.5)
    gain = nn.Parameter(torch.ones(()))

    def says(x):
        gate, up = functional.linear(x, on_the_grid(gate_up, kind)).chunk(2, -1)
        return gain * functional.linear(functional.silu(gate) * up, on_the_grid(down, kind))

    optimizer = torch.optim.Adam([gate_up, down, gain], betas=(0.9, 0.95))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 6e-3 * min(1, (step + 1) / 20, 2 * (steps - step) / steps)
        some = torch.randint(len(inputs[learn]), (256,))
        ((says(inputs[some]) - outputs[some]) / signal).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        missed = says(inputs[test]) - outputs[test]
    return width, float(missed.square().sum() / outputs[test].square().sum())


# %%
students = {kind: imitate(kind) for kind in BITS}
widths = {f"{kind}, {width} wide": noise for kind, (width, noise) in students.items()}
noise_ratio = students["ternary"][1] / students["int4"][1]
print(f"noise, ternary over int4: {noise_ratio:.2f}; you guessed {noise_guess:.2f}")
compare("48 KiB: noise, as a share of the signal", widths)

# %% [markdown]
# From 16 bits to 4, width is worth more than digits, by far. From 4 bits down, the bars tell what is left of that: if
# int4 and ternary are within a tenth of each other, the bytes were spent equally well, and ternary has paid for it with
# two and a half times the multiplications, or rather additions. Its case is made by hardware that adds: labs 43 and
# 44. If binary is behind, it is the zero that it lacks.

# %% [markdown]
# Last, what BitNet itself does not round: the embedding, which is also the head. In the 2B it is a seventh of the
# parameters, and in 16 bits more than half of the file (lab 42). Round mini-bitnet's too, in ways that you have.
#
# **Predict.** The one with the least squared error of the whole table: how many nats a token more?

# %%
embedding_guess = answer("embedding-nats", default=0.1)  # your guess


# %%
def with_table(rounded):
    """Nats a token more with another table, as embedding and as head: they are one tensor."""
    model = copy.deepcopy(bitnet.model)
    model.model.embed_tokens.weight.data.copy_(torch.from_numpy(rounded))
    return losses.increase(losses.costs(model, bitnet_ids), bitnet_costs).value


rows, tables = [], {}
its_own = bitnet.model.model.embed_tokens.weight.detach().numpy()
as_read = np.concatenate(bitnet_ids)  # the ids of the documents: rows as often as they are read
for name in ("absmean", "best", "best, each row", "int4, each row"):
    rounded = roundings[name](its_own)
    tables[name] = with_table(rounded)
    of_all = quant.error(its_own, rounded).sqnr_db
    of_read = quant.error(its_own[as_read], rounded[as_read]).sqnr_db
    rows.append([name, f"{of_all:.1f}", f"{of_read:.1f}", f"{tables[name]:+.3f}"])
HTML(html_table(["table", "SQNR of its rows, dB", "of the rows as read", "nats more"], rows))

# %%
compare("embedding and head rounded: nats a token more", tables, embedding_guess, unit="nats")

# %% [markdown]
# Compare the first two rows: less noise, and a far worse model. The next column tells. Below, how long the rows are:
# those of tokens that the documents use, and of those that they never do.

# %%
length = np.sqrt(np.square(its_own).sum(axis=1))
used = np.isin(np.arange(len(its_own)), as_read)
zeros = {
    f"{who}: {share.mean():.0%} zeros, row of length {length[which].mean():.1f}": share.mean()
    for who, which in (("used", used), ("not used", ~used))
    for share in [best_ternary(its_own)[0][which] == 0]
}
compare("the best rounding of the table: share of zeros", zeros)

# %% [markdown]
# If the unused rows are the longer ones, the least squared error went to them: one scale for all, made to fit tokens
# that nobody says, and zeros for those that everybody does. Squared error counts weights; a text counts tokens. Lab 14
# has the same story with one large weight.
#
# With a scale a row the table may be ternary, it seems. So is *embedding and head must not be ternary* wrong? The
# guest was asked too.

# %%
bars = guest_table | nothing
compare(f"{GUEST}, embedding and head alone, a scale a row: nats more", bars, unit="nats")

# %% [markdown]
# The table of the mini tells a few hundred tokens apart in 256 dimensions; that of the guest 49,152 in 576. It is read
# first and last, it was not trained to be rounded, and nothing comes after the head to mend a logit. What a mini can
# spare and a model for the world cannot: mind that in every lab with minis.

# %% [markdown]
# ## What we found
#
# B1 is about who wrote what; beside it, what its two values and three values did here. B11 is about a model that was
# *trained* so: its measure is the stored comparison of mini-bitnet with its twin. B13 can be counted: what the catalog
# holds of the 2B beside embedding, attention and FFN, less its norms.

# %%
kept = {f"{kind}_noise_share": students[kind][1] for kind in ("binary", "ternary")}
claims.verdict("B1", kept | {"binary_nats_more": nats["binary"], "ternary_nats_more": nats["best"]})

# %%
measured = {"rounded_perplexity_ratio": math.exp(nats["best, each row"])}
beside = {"guest_rounded_nats_more": guest_layers["best for a bell"]}
if "ternary-training-costs" in stored:
    beside |= {f"mini_phi_{name}": value for name, value in measured.items()}
    measured = {"perplexity_ratio": math.exp(stored["ternary-training-costs"])}
claims.verdict("B11", measured, beside)

# %%
big = catalog.get("BitNet b1.58 2B4T")
rows = {row.what: row.count for row in catalog.parameters(big).rows}
H, ffn = big.config["hidden_size"], big.config["intermediate_size"]
norms = big.config["num_hidden_layers"] * (3 * H + ffn) + H  # two, and two of subln; one at the end
named = bitnet.model.named_parameters()
of_mini = sum(parameter.numel() for name, parameter in named if "bias" in name)
found = {"bias_parameters": rows["norms, biases"] - norms}
claims.verdict("B13", found, {"mini_bitnet_bias_parameters": of_mini})

# %% [markdown]
# Rounding after training is not one number. It ran here from next to nothing to worse than guessing, and what decided
# was the scale, what shares it, and how much of its precision a model needs. Training with rounding makes all of that
# indifferent: the weights stay a bell, the scale may be wrong, and the latent floats become a ledger.

# %% [markdown]
# ## Limits and sources
#
# Small models, one text, a seed or two for each training: a difference in the second digit of a loss is luck. That of
# section 5 rounds weights alone, and each of the four learns at the same rate; at its own best rate each would gain
# something. `MODE = "full"` trains longer. Whether a 2B could be rounded better than by absmean is not shown here.
#
# BitNet: arXiv 2310.11453 (binary), 2402.17764 (b1.58), 2504.12285 (2B4T). The straight-through gradient: Bengio,
# Léonard, Courville, arXiv 1308.3432. Best levels of a bell: J. Max, IRE Trans. IT-6 (1960) 7. Claims:
# microsoft/edgeai-for-beginners @ 05d7c7ef, Module02.
