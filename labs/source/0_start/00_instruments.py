# %% [markdown]
# # 00 · How do you measure a model without fooling yourself?
#
# Every number in this course comes out of an instrument: a clock, a counter of memory, a formula. Most wrong numbers
# about small models were measured with care, by an instrument that nobody had measured.
#
# *In this lab* you build a timer and find how far to trust it, weigh a model's tensors where the system's counter
# misleads, and take reading apart from writing: 60 minutes. Model: SmolLM2-135M-Instruct, which works offline.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | warm-up: calls that do not count | | calls | `warmup` |
# | one timed call | | ms | `samples_ms` |
# | prefill: reading the prompt, all tokens in one pass | | tokens/s | |
# | decode: writing, one pass for each token | | tokens/s | |
# | time to first token | TTFT | ms | `ttft_ms` |
# | time per output token after the first | TPOT | ms | `tpot_ms` |
# | resident memory: pages of this process in RAM | RSS | bytes | `rss_bytes` |
# | of these, the ones that stand behind no file | | bytes | `anonymous_bytes` |
# | how fast memory can be read | | bytes/s | `read_limit` |

# %% tags=["parameters"]
MODE = "fast"
MODEL = "smollm2-135m"  # or a hub model: "Qwen/Qwen3-0.6B", which takes about 4 GB in float32

# %% tags=["golden-setup"]
import time
from collections.abc import Callable
from math import comb
from statistics import mean, median

import numpy as np
from IPython.display import HTML

from slmlab import bench, catalog, claims, figures, models
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import format_bytes, html_table
from slmlab.widgets import BenchPanel, bench_panel

rng = np.random.default_rng(0)
clock = time.perf_counter

# %%
if MODEL == "smollm2-135m":
    MODEL = models.that_fits(MODEL, "mini-phi", needs_bytes=900_000_000)
limit_at_start = bench.read_limit()
print(bench.machine(), f"read limit: {limit_at_start}", sep="\n")

# %% [markdown]
# ## 1 · How long does one call take?
#
# The chapter's monitors read the clock before a call and after it, and print the difference with two decimals.
# Below, the same product 200 times: 128 tokens times one MLP matrix of SmolLM2's shape. The same arrays, the same
# code, nothing to decide.
#
# **Predict.** How many times as long as the fastest of the 200 calls does the slowest take?

# %%
spread = answer("slowest-over-fastest", default=1.2)  # your guess

# %%
x = rng.standard_normal((128, 576), dtype=np.float32)
matrix = rng.standard_normal((576, 1536), dtype=np.float32)


def work():
    return x @ matrix


raw_ms = []
for _ in range(200):
    start = clock()
    work()
    raw_ms.append(1000 * (clock() - start))
shown = {"first call": raw_ms[0], "slowest": max(raw_ms), "mean": mean(raw_ms), "median": median(raw_ms)}
compare("times as long as the fastest of 200", {name: ms / min(raw_ms) for name, ms in shown.items()}, spread)

# %% [markdown]
# One timing may be any of these. The first call of a session pays for what later ones find done: pages, threads, a
# filled cache (run the cell again, and it does not pay). A few slow calls lift the mean; the median hardly notices.
#
# **Write it.** The timer takes its clock as an argument, so that a test can hand it one whose answers are known.


# %% tags=["exercise"]
@exercise("measure")
def measure(call: Callable, clock: Callable, warmup: int, repetitions: int) -> list[float]:
    """Milliseconds of each of `repetitions` calls, in the order of time. About 8 lines.

    `warmup` calls come first and do not count. clock() gives seconds since some moment.
    """
    ### BEGIN SOLUTION
    for _ in range(warmup):
        call()
    samples_ms = []
    for _ in range(repetitions):
        start = clock()
        call()
        samples_ms.append(1000 * (clock() - start))
    return samples_ms
    ### END SOLUTION


# %% [markdown]
# A median wants an error bar. Each sample falls under the true median like a coin: with probability ½. So from
# the k-th smallest to the k-th largest of n samples is an interval that misses only when fewer than k coins show
# heads, or fewer than k tails. No bell curve is assumed. What is assumed: that samples do not know of each other.
#
# **Write it.** With six samples, k is 1: both extremes miss with probability 2 · (½)⁶, or 3 %.


# %% tags=["exercise"]
@exercise("median-interval")
def median_interval(samples_ms: list[float]) -> tuple[float, float]:
    """95 % interval of the median: k-th smallest and k-th largest of n >= 6 samples. About 6 lines.

    k: the largest for which "fewer than k of n fair coins show heads" has probability 0.025 or less.
    """
    ### BEGIN SOLUTION
    n, k, tail = len(samples_ms), 0, 1 / 2 ** len(samples_ms)
    while 2 * tail <= 0.05:  # tail: the probability of k heads or fewer
        k += 1
        tail += comb(n, k) / 2**n
    ordered = sorted(samples_ms)
    return ordered[k - 1], ordered[n - k]
    ### END SOLUTION


# %% [markdown]
# Now test the promise. Cut 200 samples into ten blocks of 20, as if you had measured ten times. Each block has a
# median and a 95 % interval.
#
# **Predict.** For which share of the pairs of blocks does the interval of one hold the median of the other?

# %%
held_guess = answer("interval-holds-share", default=0.95)  # your guess, between 0 and 1

# %%
samples_ms = measure(work, clock, warmup=10, repetitions=200)


def share_held(samples):
    blocks = np.reshape(samples, (10, 20)).tolist()
    intervals, medians = [median_interval(block) for block in blocks], [median(block) for block in blocks]
    pairs = [(i, j) for i in range(10) for j in range(10) if i != j]
    return mean(intervals[i][0] <= medians[j] <= intervals[i][1] for i, j in pairs)


shuffled = mean(share_held(rng.permutation(samples_ms)) for _ in range(50))
shares = {"in the order of time": share_held(samples_ms), "the same 200, shuffled": shuffled}
compare("share of intervals that hold another block's median", shares, held_guess)

# %% [markdown]
# Shuffled, the promise is tested fairly, and it still does not reach 0.95: the other median scatters as well, and the
# interval was promised for the truth, not for your next run. If the upper bar is clearly shorter than the lower one,
# neighbours in time resemble each other: the machine changed its mind between blocks, and no block could know. If
# it is not, these seconds were of one kind; try again while something else runs.
#
# The panel below works on your 200 timings, cold start included. Discard a warm-up, keep more or fewer, and watch
# the red line: how many repetitions until the answer stops moving? Which estimator moves longest?

# %%
figures.bench_panel(bench_panel.state(raw_ms, warmup=5, kept=30))

# %%
BenchPanel(raw_ms)

# %% [markdown]
# ## 2 · Which of the two is faster?
#
# Time A thirty times, then B thirty times, and divide the medians: that is how most speed-ups in the field were
# found. Test this instrument before you use it. Give it the same function twice, ten times over. A true instrument
# answers 1.
#
# **Predict.** What is the largest difference it finds in ten tries, in percent?

# %%
false_percent = answer("false-difference-percent", default=1.0)  # your guess


# %%
def one_after_the_other(a, b, repetitions=30):
    """How many times as fast as b is a? All of a, then all of b."""
    return median(measure(b, clock, 3, repetitions)) / median(measure(a, clock, 3, repetitions))


in_blocks = [100 * (one_after_the_other(work, work) - 1) for _ in range(10)]
compare("difference of a function from itself", {"largest of ten": max(map(abs, in_blocks))}, false_percent, "%")

# %% [markdown]
# An engineer's answer is: more repetitions. On a pretended machine the truth is known, so that answer can be checked.
# Both contenders take the same time. Each call is slower or faster than the one before by 0.3 % at random, as when
# neighbours come and go, and carries 5 % of noise of its own.
#
# **Predict.** With 10,000 repetitions instead of 100, by which factor does the error of A-then-B shrink?
# (Averaging noise alone would give √100 = 10.)

# %%
shrinks_guess = answer("error-shrinks-by", default=10.0)  # your guess


# %%
def errors_percent(repetitions, machines=100):
    """Median errors over pretended machines: one after the other, and in turns with a ratio in each round."""
    shape = machines, 2 * repetitions
    log_time = np.cumsum(rng.normal(0, 0.003, shape), axis=1) + rng.normal(0, 0.05, shape)
    a, b = log_time[:, :repetitions], log_time[:, repetitions:]
    after = np.median(b, axis=1) - np.median(a, axis=1)
    in_turns = np.median(log_time[:, 1::2] - log_time[:, 0::2], axis=1)
    return [float(100 * np.median(np.abs(np.expm1(error)))) for error in (after, in_turns)]


few, many = errors_percent(100), errors_percent(10_000)
print(f"From 100 to 10,000 repetitions the error of A-then-B shrinks by a factor of {few[0] / many[0]:.2g}.")
names = [f"{how}, {count}" for count in ("100", "10,000") for how in ("A then B", "in turns")]
errors = dict(zip(names, few + many, strict=True))
compare("error of the ratio, by repetitions", errors, few[0] / shrinks_guess, unit="%")

# %% [markdown]
# The dashed line is where your factor would put 10,000 repetitions. A factor below 1 is no slip: more repetitions
# take longer, and a machine that wanders is further away when B's turn comes. Averaging removes noise; it cannot
# remove a difference between *when* A and *when* B was measured.
#
# **Write it.** Measure both in the same round, divide there, and take the median of these ratios. Whoever came second
# may find a warmer cache or a slower machine, so let them take turns at being first.


# %% tags=["exercise"]
@exercise("paired-ratio")
def paired_ratio(a: Callable, b: Callable, clock: Callable, rounds: int) -> float:
    """How many times as fast as b is a: the median over rounds of b's time over a's. About 10 lines.

    a goes first in the rounds 0, 2, 4, ..., b in the rounds 1, 3, 5, ... Call nothing else.
    clock() gives seconds since some moment.
    """
    ### BEGIN SOLUTION
    ratios = []
    for number in range(rounds):
        moments = [clock()]
        for call in (a, b) if number % 2 == 0 else (b, a):
            call()
            moments.append(clock())
        first, second = np.diff(moments)
        ratios.append(second / first if number % 2 == 0 else first / second)
    return median(ratios)
    ### END SOLUTION


# %%
in_rounds = [100 * (paired_ratio(work, work, clock, 30) - 1) for _ in range(10)]
largest = {"A then B": max(map(abs, in_blocks)), "in turns": max(map(abs, in_rounds))}
compare("difference of a function from itself, largest of ten", largest, false_percent, unit="%")

# %% [markdown]
# The lower bar is the smallest speed-up that you may report from 30 rounds on this machine today: below it, you
# would find a difference between a function and itself. `bench.race` does the same for many contenders, and this
# course states no speed-up without it.

# %% [markdown]
# ## 3 · How much memory is a model?
#
# SmolLM2 has 134.5 million parameters: 269 MB in bfloat16. The chapter measures memory as RSS after less RSS before.
#
# **Predict.** By how many MB does RSS rise when the model is loaded in bfloat16?

# %%
rise_mb = answer("rss-rise-mb", default=269.0)  # MB, your guess

# %%
import torch

stages = {"torch imported": bench.memory()}
loaded = models.load(MODEL, dtype="bfloat16")
model, tokenizer = loaded
stages["loaded, bfloat16"] = bench.memory()
ids = torch.from_numpy(rng.integers(0, 1000, size=(1, 64)))
with torch.inference_mode():
    model(ids)
stages["used once"] = bench.memory()
model.float()
stages["turned into float32"] = bench.memory()
rises_mb = (np.diff([memory.rss_bytes for memory in stages.values()]) / 1e6).tolist()
compare("RSS after less RSS before", dict(zip(list(stages)[1:], rises_mb, strict=True)), rise_mb, unit="MB")

# %%
rows = []
for name, memory in stages.items():
    anonymous = "not told here" if memory.anonymous_bytes is None else format_bytes(memory.anonymous_bytes)
    rows.append([name, format_bytes(memory.rss_bytes), anonymous, format_bytes(memory.peak_bytes)])
HTML(html_table(["", "resident", "of it anonymous", "peak so far"], rows))

# %% [markdown]
# Where loading maps the file, a page of weights arrives when it is first touched: then "used once" costs more than
# its activations, and the anonymous column does not move, because these pages belong to the file. In the last
# step 538 MB of float32 arrive while mapped pages leave, and the difference is the size of neither. The peak keeps
# the moment at which both were there. Imports and the tokenizer hide in the first bar.
#
# **Write it.** Count tensors instead. The trap is sharing: tied weights and views lie on the same addresses.


# %% tags=["exercise"]
@exercise("tensor-bytes")
def tensor_bytes(spans: list[tuple[int, int]]) -> int:
    """Bytes of memory that tensors hold together; what several share counts once. About 6 lines.

    spans: (pointer, nbytes) of each, in any order: it occupies the addresses pointer, ..., pointer + nbytes - 1.
    """
    ### BEGIN SOLUTION
    held = furthest = 0
    for pointer, nbytes in sorted(spans):
        end = pointer + nbytes
        held += max(0, end - max(pointer, furthest))
        furthest = max(furthest, end)
    return held
    ### END SOLUTION


# %%
def spans(tensors):
    """Of the memory behind each tensor, which a view keeps alive as a whole."""
    return [(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) for t in tensors]


with torch.inference_mode():
    last = model(ids).logits[0, -1]  # one row, for the next token
state_dict = model.state_dict().values()
rows = [
    ["weights, every name in the state dict", sum(t.nbytes for t in state_dict), tensor_bytes(spans(state_dict))],
    ["one row of logits, kept for later", last.nbytes, tensor_bytes(spans([last]))],
]
rows = [[what, format_bytes(added), format_bytes(held)] for what, added, held in rows]
HTML(html_table(["", "nbytes added up", "held"], rows))

# %% [markdown]
# Two errors, in opposite directions. Where a head is tied to the embedding, adding up counts the largest matrix
# twice. And the row is a view: as long as you keep it, the logits of all 64 tokens stay.
#
# The chapter's optimizer divides by the memory of an answer: RSS after less RSS before, around the call.
#
# **Predict.** The same prompt is answered twice. How many MB does the formula find for the second answer?

# %%
second_mb = answer("second-answer-mb", default=5.0)  # MB, your guess

# %%
deltas_mb = []
with torch.inference_mode():
    for _ in range(4):
        before = bench.memory().rss_bytes
        cache = model(ids).past_key_values
        deltas_mb.append((bench.memory().rss_bytes - before) / 1e6)
held = tensor_bytes(spans(t for layer in cache.layers for t in (layer.keys, layer.values)))
shown = {f"answer {n}: RSS after less before": mb for n, mb in enumerate(deltas_mb, 1)}
print(f"The formula gives 0 or less for {sum(mb <= 0 for mb in deltas_mb)} of 4 answers. The score divides by it.")
compare("memory of an answer", shown | {"its KV cache, counted": held / 1e6}, second_mb, unit="MB")

# %% [markdown]
# Memory that was freed is mostly kept by the process and handed out again. So RSS knows what was needed at most so
# far, not what is in use. Where the formula gives 0, the chapter's score raises ZeroDivisionError; the last bar is
# there in every run.

# %% [markdown]
# ## 4 · Is reading as fast as writing?
#
# A model reads a prompt in one pass and writes its answer in one pass a token. Both are "tokens per second".
#
# **Predict.** The prompt has 256 tokens. How many times as long as reading one of them does writing one token take?

# %%
write_over_read = answer("write-over-read", default=2.0)  # your guess


# %%
@torch.inference_mode()
def token_times(ids, most, stops=()):
    """Greedy answer to ids (1, T), until a token in `stops` or `most` tokens; (its tokens, s at which each came)."""
    start, cache, written, times = clock(), None, [], []
    while len(written) < most and (not written or written[-1] not in stops):
        result = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, ids = result.past_key_values, result.logits[:, -1].argmax(-1, keepdim=True)
        written.append(ids.item())
        times.append(clock() - start)
    return written, times


# %% [markdown]
# **Write it.** From the moments at which tokens came to the four numbers that a serving report needs. The first
# token comes out of the pass that reads the prompt.


# %% tags=["exercise"]
@exercise("prefill-decode")
def prefill_decode(token_times_s: list[float], prompt_tokens: int) -> tuple[float, float, float, float]:
    """TTFT (ms), mean TPOT (ms), prefill tokens per second, decode tokens per second. About 4 lines.

    token_times_s: seconds from the request until each written token was there, two or more of them.
    """
    ### BEGIN SOLUTION
    ttft_s = token_times_s[0]
    tpot_s = (token_times_s[-1] - ttft_s) / (len(token_times_s) - 1)
    return 1000 * ttft_s, 1000 * tpot_s, prompt_tokens / ttft_s, 1 / tpot_s
    ### END SOLUTION


# %%
lengths, rounds, written = ((16, 32, 64, 128, 256), 2, 8) if MODE == "fast" else ((16, 64, 256, 512, 1024), 5, 16)
found = {length: [] for length in lengths}
token_times(torch.zeros(1, 16, dtype=torch.int64), 2)  # warm-up
for number in range(rounds):
    for length in lengths[number:] + lengths[:number]:  # in turns, as in section 2
        prompt = torch.from_numpy(rng.integers(0, 1000, size=(1, length)))
        found[length].append(prefill_decode(token_times(prompt, written)[1], length))
middle = {length: np.median(runs, axis=0) for length, runs in found.items()}
read_ms = [1000 / middle[length][2] for length in lengths]
write_ms = [middle[length][1] for length in lengths]
figures.prefill_decode(lengths, read_ms, write_ms, f"{MODEL}, float32: one token read, one token written")

# %%
at = lengths.index(256)
compare("times as long as reading one of 256 tokens", {"writing one": write_ms[at] / read_ms[at]}, write_over_read)

# %% [markdown]
# A pass reads every weight from memory once. With 256 tokens it uses each weight 256 times; with one token, once.
# That is why the solid line falls with the length of the prompt and the dashed one does not.
#
# The chapter prints one number for both: tokens asked for (or written) over the time from the request to the end.
#
# **Predict.** A short question with `max_new_tokens` = 128 is answered in one sentence. By which factor is
# "128 over elapsed" larger than the speed at which tokens were written?

# %%
wrong_by = answer("requested-over-elapsed", default=1.5)  # your guess

# %%
note = "The river is wide, the bridge is old, and the ferry leaves at nine. "
questions = {
    "short prompt": "What is the capital of France?",
    "long prompt": 14 * note + "\n\nWhen does the ferry leave?",
}
rates, rows = {}, []
for name, question in questions.items():
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    prompt = prompt["input_ids"]
    written, times = token_times(prompt, 128, stops={tokenizer.eos_token_id})
    decode = prefill_decode(times, prompt.shape[1])[3]
    rates[f"{name}: 128 over elapsed"] = 128 / times[-1] / decode
    rates[f"{name}: written over elapsed"] = len(written) / times[-1] / decode
    text = tokenizer.decode(written, skip_special_tokens=True)
    rows.append([name, f"{prompt.shape[1]}", f"{len(written)}", f"{decode:.1f}", text[:60]])
HTML(html_table(["", "tokens read", "tokens written", "decode, tokens/s", "answer"], rows, left=(0, 4)))

# %%
compare("times the speed at which tokens were written", rates, wrong_by)

# %% [markdown]
# The first formula counts tokens that were never written; both count the time in which the prompt was read as
# writing. The errors pull in opposite directions, so a wrong number may look right. A monitor that mixes them changes
# with the users' prompts while the machine stays the same.

# %% [markdown]
# ## 5 · How fast could it be?
#
# To write one token, every weight must come out of memory once. So bytes per token and the speed of memory give a
# ceiling that no cleverness of the arithmetic can lift.
#
# **Predict.** Which share of that ceiling does this model reach when it writes?

# %%
share_guess = answer("share-of-the-read-limit", default=0.8)  # your guess, between 0 and 1

# %%
weights = [p.detach() for p in model.parameters()]
bytes_per_token = tensor_bytes(spans(weights))
one = torch.zeros(1, 1, dtype=torch.int64)


def read():
    for weight in weights:
        weight.sum()


def write():
    with torch.inference_mode():
        model(one, use_cache=False)


share = paired_ratio(write, read, clock, rounds=9)
limit = bytes_per_token / (median(measure(read, clock, 1, 9)) / 1000)
decode = max(run[3] for runs in found.values() for run in runs)
limits = {"writing a token": share, "reading the weights and adding them up": 1.0}
ceiling = limit / bytes_per_token
print(f"{format_bytes(bytes_per_token)} a token at {limit / 1e9:.1f} GB/s: at most {ceiling:.1f} tokens/s")
compare("share of the read limit", limits | {"the read limit, at the start": limit_at_start / limit}, share_guess)

# %% [markdown]
# What the first bar lacks to 1 is not memory's fault. If it passes 1, weights stayed in a large cache or adding up
# was the slower work. If the last bar is far from 1, the machine changed within this lab: a limit from another hour
# would have told you nothing.
#
# Half the bytes, then, should be twice as fast. The head is the largest matrix, too large for most caches.
#
# **Predict.** How many times as fast as float32 is one token through the head in bfloat16?

# %%
half_guess = answer("bfloat16-speed-up", default=2.0)  # your guess

# %%
head = model.get_output_embeddings().weight.detach()
half, token = head.bfloat16(), torch.ones(1, head.shape[1])
token_half = token.bfloat16()
speed_up = paired_ratio(lambda: token_half @ half.T, lambda: token @ head.T, clock, rounds=31)
compare("times as fast as float32", {"bfloat16, half the bytes": speed_up}, half_guess)

# %% [markdown]
# If the bar reaches 2, bytes were the limit. If not, the work did not halve with them: the kernel for this format is
# not at the limit of memory. Fewer bytes lift the ceiling; a kernel must still climb. The claims below speak of other
# machines; what they need from memory is arithmetic.

# %% tags=["golden"]
bitnet_bytes = catalog.parameters(catalog.get("microsoft/bitnet-b1.58-2B-4T"), bits=2).bytes
claimed = [
    ("B3: 100 B at 2 bit, writing", 100e9 * 2 / 8, 5),
    ("B3: the same, upper end", 100e9 * 2 / 8, 7),
    ("B4: BitNet 2B4T as stored, writing", bitnet_bytes, 5),
    ("B6: the same, 29 ms a token", bitnet_bytes, 1000 / 29),
    ("P4: 3.3 B at 4 bit, writing", 3.3e9 * 4 / 8, 650),
    ("P4: the same, reading 128 tokens a pass", 3.3e9 * 4 / 8 / 128, 650),
]
for what, size, rate in claimed:
    print(f"{what:42} {size / 1e9:8.3f} GB a token at {rate:6.1f} tokens/s: {size * rate / 1e9:8.1f} GB/s")

# %% [markdown]
# The last two lines are one claim, read in two ways. With 4-bit weights (our assumption), a device that
# *writes* 650 tokens a second must read a terabyte of them in that second. One that *reads a prompt* at that speed, 128
# tokens a pass, needs 1/128 of it. The maker's text speaks of the prompt.

# %% [markdown]
# ## What we found
#
# Each row: what was claimed, where, your number, and the verdict that follows from it. A bound that allows a claim
# does not prove it; a bound below it refutes it on this machine.

# %%
claims.verdict(
    "P4",
    {"generation_tokens_per_second": decode},
    beside={"prefill_tokens_per_second": max(1000 / ms for ms in read_ms)},
)

# %%
best_limit = max(limit, limit_at_start)
claims.verdict(
    "B3", {"tokens_per_second_bound": best_limit / (100e9 * 2 / 8)}, beside={"read_limit_gb_per_s": best_limit / 1e9}
)

# %%
claims.verdict("B6", {"ms_per_token_bound": 1000 * bitnet_bytes / best_limit}, beside={"weight_bytes": bitnet_bytes})

# %% [markdown]
# ## Limits and sources
#
# The pretended machine wanders without end; a real one comes back, so very long runs are less bad than shown. Samples
# under a few microseconds need many calls each, which `bench.race` takes care of. Energy, GPUs and several users at
# once are not measured here. The interval of the median: David and Nagaraja, *Order Statistics*, section 7.1. What
# order and surroundings do to timings: Mytkowicz et al., ASPLOS 2009. Claims: microsoft/edgeai-for-beginners @
# 05d7c7ef, Module02.
