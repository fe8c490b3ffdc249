"""Exercises of labs 00 and 01: how to measure, and what a model's numbers cost in memory. Those of 02: meeting."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator

import numpy as np

from . import meeting
from .check import Exercise


class _Machine:
    """A pretended machine: its clock stands still but for calls, each `slowdowns[n]` times as long as it would be."""

    def __init__(self, slowdowns: list[float]):
        self.now_s, self.slowdowns, self.ran = 100.0, slowdowns, 0


class _Call:
    def __init__(self, machine: _Machine, seconds: float):
        self.machine, self.seconds = machine, seconds

    def __call__(self) -> None:
        if self.machine.ran == len(self.machine.slowdowns):
            raise RuntimeError(f"that was call {self.machine.ran + 1}, and {self.machine.ran} were asked for")
        self.machine.now_s += self.seconds * self.machine.slowdowns[self.machine.ran]
        self.machine.ran += 1

    def __repr__(self) -> str:
        return f"<a call of {self.seconds:g} s>"


class _Clock:
    def __init__(self, machine: _Machine):
        self.machine = machine

    def __call__(self) -> float:
        return self.machine.now_s

    def __repr__(self) -> str:
        times = ", ".join(f"{slowdown:.3g}" for slowdown in self.machine.slowdowns[:8])
        more = ", ..." if len(self.machine.slowdowns) > 8 else ""
        return f"<clock of a machine where call after call takes {times}{more} times as long>"


def measure(call: Callable, clock: Callable, warmup: int, repetitions: int) -> list[float]:
    """Milliseconds of each of `repetitions` calls, in the order of time, after `warmup` calls that do not count.

    clock() gives seconds since some moment.
    """
    for _ in range(warmup):
        call()
    samples_ms = []
    for _ in range(repetitions):
        start_s = clock()
        call()
        samples_ms.append(1000 * (clock() - start_s))
    return samples_ms


def _measure_cases(rng: np.random.Generator) -> Iterator[tuple]:
    def case(slowdowns: list[float], warmup: int, seconds: float = 1.0) -> tuple:
        machine = _Machine(slowdowns)
        return _Call(machine, seconds), _Clock(machine), warmup, len(slowdowns) - warmup

    yield case([1.0], 0)
    yield case([9.0, 2.0], 1)
    yield case([1.0, 2.0, 4.0], 0)
    yield case([9.0, 5.0, 1.0, 1.0, 6.0], 2)
    for size in range(1, 12):
        warmup = int(rng.integers(0, size + 1))
        yield case((1 + rng.exponential(size=warmup + 2 * size)).tolist(), warmup, float(rng.integers(1, 50)))


def median_interval(samples_ms: list[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median, from the k-th smallest to the k-th largest of n >= 6 samples.

    Each sample falls under the true median with probability 1/2, like a coin. The interval misses when fewer than k
    fall under it, or fewer than k above. k is the largest for which both together have probability 0.05 or less.
    """
    n, k = len(samples_ms), 0
    sequences = 0  # of n coins, those with at most k heads
    while True:
        sequences += math.comb(n, k)
        if 2 * sequences / 2**n > 0.05:
            ordered = sorted(samples_ms)
            return ordered[k - 1], ordered[n - k]
        k += 1


def _median_interval_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0],)
    yield ([6.0, 1.0, 5.0, 2.0, 4.0, 3.0],)
    yield ([float(n) for n in range(1, 10)],)
    yield ([float(n) for n in range(30, 0, -1)],)
    for n in (6, 7, 8, 10, 15, 20, 25, 31, 50, 100, 200):
        yield ((1 + rng.exponential(size=n)).round(3).tolist(),)


def paired_ratio(a: Callable, b: Callable, clock: Callable, rounds: int) -> float:
    """How many times as fast as `b` is `a`: the median, over `rounds` rounds, of b's time over a's time in the round.

    a goes first in the rounds 0, 2, 4, ..., b in the rounds 1, 3, 5, ... Nothing else is called; clock() gives
    seconds since some moment.
    """
    ratios = []
    for number in range(rounds):
        taken_s = {}
        for name in ("a", "b") if number % 2 == 0 else ("b", "a"):
            start_s = clock()
            if name == "a":
                a()
            else:
                b()
            taken_s[name] = clock() - start_s
        ratios.append(taken_s["b"] / taken_s["a"])
    return statistics.median(ratios)


def _paired_ratio_cases(rng: np.random.Generator) -> Iterator[tuple]:
    def case(a_s: float, b_s: float, slowdowns: list[float]) -> tuple:
        machine = _Machine(slowdowns)
        return _Call(machine, a_s), _Call(machine, b_s), _Clock(machine), len(slowdowns) // 2

    yield case(1.0, 2.0, [1.0, 1.0])
    yield case(1.0, 2.0, [1.0, 1.0, 3.0, 3.0])
    yield case(4.0, 2.0, [1.0, 2.0, 3.0, 4.0])  # it slows down steadily
    yield case(1.0, 1.0, [1.0, 1.0, 9.0, 1.0, 1.0, 1.0])  # once it was busy
    for rounds in range(3, 15):
        walk = np.exp(np.cumsum(rng.normal(0, 0.2, 2 * rounds)))
        yield case(*rng.integers(1, 9, size=2).astype(float).tolist(), walk.tolist())


def tensor_bytes(spans: list[tuple[int, int]]) -> int:
    """Bytes of memory that tensors hold together; what several share counts once.

    spans: (pointer, nbytes) of each: it occupies the addresses pointer, ..., pointer + nbytes - 1.
    """
    edges = sorted({edge for pointer, nbytes in spans for edge in (pointer, pointer + nbytes)})
    held = 0
    for start, end in itertools.pairwise(edges):  # between two edges, all or nothing is held
        if any(pointer <= start and end <= pointer + nbytes for pointer, nbytes in spans):
            held += end - start
    return held


def _tensor_bytes_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield ([],)
    yield ([(100, 8)],)
    yield ([(100, 8), (200, 8)],)
    yield ([(100, 8), (100, 8)],)  # tied
    yield ([(100, 8), (100, 4)],)  # a view of the first half
    yield ([(100, 8), (102, 4), (200, 2)],)  # a view of the middle
    yield ([(200, 8), (104, 8), (100, 8)],)  # two views that overlap
    yield ([(100, 20), (104, 4), (112, 8)],)  # and two inside of a third
    for size in range(2, 14):
        pointers = 64 * rng.integers(0, 2 * size, size) + 8 * rng.integers(0, 2, size)
        yield (list(zip(pointers.tolist(), (16 * rng.integers(1, 9, size)).tolist(), strict=True)),)


def prefill_decode(token_times_s: list[float], prompt_tokens: int) -> tuple[float, float, float, float]:
    """Time to first token (ms), time per output token after it (ms), prefill and decode speed (tokens per second).

    token_times_s: seconds from the request until each written token was there, two or more of them; the first comes
    out of the pass that reads the prompt. Each number is a mean over its own phase.
    """
    ttft_s = token_times_s[0]
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(token_times_s)]
    tpot_s = sum(gaps_s) / len(gaps_s)
    return 1000 * ttft_s, 1000 * tpot_s, prompt_tokens / ttft_s, 1 / tpot_s


def _prefill_decode_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [1.0, 3.0], 4
    yield [0.5, 0.75, 1.0], 8
    yield [2.0, 2.1, 2.2, 5.2], 100
    for size in range(1, 12):
        gaps_s = 0.01 + rng.exponential(0.05, size=1 + size)
        yield (rng.exponential() + np.cumsum(gaps_s)).tolist(), int(rng.integers(1, 100 * size))


def kv_cache_bytes(
    num_key_value_heads: int, head_dim: int, windows: list[int | None], tokens: int, value_bits: int
) -> int:
    """Bytes of keys and values after `tokens` tokens.

    windows: one entry a layer: how many of the last tokens it keeps, or None for all of them.
    value_bits: bits of one stored number: 4, 8, 16 or 32.
    """
    bits = 0
    for window in windows:
        kept = tokens if window is None else min(tokens, window)
        for _ in ("keys", "values"):
            bits += kept * num_key_value_heads * head_dim * value_bits
    return bits // 8


def _kv_cache_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield 1, 1, [None], 1, 16
    yield 1, 1, [None], 1, 4
    yield 2, 3, [None, None], 5, 16
    yield 1, 1, [2], 5, 16  # the window is full
    yield 1, 1, [5], 2, 16  # and not yet full
    for size in range(1, 16):
        layers = int(rng.integers(1, 2 + size))
        windows = [None if rng.random() < 0.3 else int(rng.integers(1, 8 * size)) for _ in range(layers)]
        heads, head_dim = int(rng.integers(1, 9)), int(rng.choice([32, 64, 128, 256]))
        yield heads, head_dim, windows, int(rng.integers(1, 8 * size)), int(rng.choice([4, 8, 16, 32]))


def parameter_count(config: dict) -> int:
    """Numbers that a Llama-like decoder stores, from its config.

    config: vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
    head_dim (int each), tie_word_embeddings (bool). No biases; RMSNorm has one weight per channel.
    """
    hidden = config["hidden_size"]
    query_width = config["num_attention_heads"] * config["head_dim"]
    key_width = config["num_key_value_heads"] * config["head_dim"]
    count = config["vocab_size"] * hidden  # embedding
    for _ in range(config["num_hidden_layers"]):
        count += hidden  # norm before attention
        count += hidden * query_width  # q_proj
        count += hidden * key_width  # k_proj
        count += hidden * key_width  # v_proj
        count += query_width * hidden  # o_proj
        count += hidden  # norm before the MLP
        count += 3 * hidden * config["intermediate_size"]  # gate_proj, up_proj, down_proj
    count += hidden  # last norm
    if not config["tie_word_embeddings"]:
        count += hidden * config["vocab_size"]  # lm_head
    return count


def _config(vocab: int, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, head_dim: int) -> dict:
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "tie_word_embeddings": True,
    }


def _parameter_count_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield (_config(1, 1, 1, 1, 1, 1, 1),)
    yield (_config(10, 4, 8, 1, 2, 2, 2),)
    yield (_config(10, 4, 8, 1, 2, 2, 2) | {"tie_word_embeddings": False},)
    yield (_config(10, 4, 8, 2, 2, 1, 2),)  # grouped queries
    yield (_config(10, 4, 8, 2, 2, 1, 3),)  # heads * head_dim is not hidden_size
    for size in range(1, 11):
        kv_heads = int(rng.integers(1, 5))
        heads = kv_heads * int(rng.integers(1, 5))
        vocab, hidden, intermediate = (int(n) for n in rng.integers(8, 64 * size, size=3))
        config = _config(vocab, hidden, intermediate, int(rng.integers(1, 4 * size)), heads, kv_heads, 8 * size)
        yield (config | {"tie_word_embeddings": bool(rng.integers(2))},)


def experts_read(num_experts: int, num_experts_per_tok: int, tokens: int) -> float:
    """Expected number of different experts that `tokens` tokens ask for.

    Each token picks `num_experts_per_tok` different experts, evenly and independently of the other tokens.
    """
    unread = float(num_experts)
    for _ in range(tokens):
        unread -= unread * num_experts_per_tok / num_experts  # each token finds this share of the rest
    return num_experts - unread


def _experts_read_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield 1, 1, 1
    yield 2, 1, 1
    yield 2, 1, 2
    yield 4, 2, 0
    yield 128, 8, 32
    for _ in range(10):
        experts = int(rng.integers(2, 200))
        yield experts, int(rng.integers(1, experts + 1)), int(rng.integers(1, 65))


def longest_context(
    memory_bytes: int, weight_bytes: int, layer_bytes: int, windows: list[int | None], limit: int
) -> int:
    """The most tokens, at most `limit`, for which weights and cache fit; 0 when not one does.

    layer_bytes: bytes that one layer stores for one token.
    windows: one entry a layer: how many of the last tokens it keeps, or None for all of them.
    """
    used, tokens = weight_bytes, 0
    while tokens < limit:
        growing = sum(1 for window in windows if window is None or tokens < window)  # layers that keep one more
        used += growing * layer_bytes
        if used > memory_bytes:
            return tokens
        tokens += 1
    return limit


def _longest_context_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield 1, 2, 1, [None], 9  # the weights alone are too much
    yield 10, 5, 1, [None], 9
    yield 10, 5, 1, [None], 3  # the limit comes first
    yield 10, 5, 2, [None, None], 9
    yield 10, 2, 1, [None, 2], 9
    yield 10, 2, 1, [2, 3], 99  # every window is full: no end but the limit
    for size in range(1, 12):
        windows = [None if rng.random() < 0.4 else int(rng.integers(1, 6 * size)) for _ in range(1 + size // 2)]
        weights, layer = int(rng.integers(0, 50 * size)), int(rng.integers(1, 5))
        yield weights + int(rng.integers(0, 60 * size)), weights, layer, windows, int(rng.integers(1, 20 * size))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="measure",
        reference=measure,
        cases=_measure_cases,
        hint="The clock is read twice a repetition, right before and right after the call; the warm-up is not timed.",
        lines=8,
        rtol=1e-9,
    ),
    Exercise(
        id="median-interval",
        reference=median_interval,
        cases=_median_interval_cases,
        hint="math.comb(n, j) / 2**n is the chance that exactly j of n samples fall under the median; add them up from "
        "j = 0 while twice the sum stays at 0.05 or less.",
        lines=6,
    ),
    Exercise(
        id="paired-ratio",
        reference=paired_ratio,
        cases=_paired_ratio_cases,
        hint="Time both in the same round and divide there; whoever is second in one round is first in the next.",
        lines=10,
        rtol=1e-9,
    ),
    Exercise(
        id="tensor-bytes",
        reference=tensor_bytes,
        cases=_tensor_bytes_cases,
        hint="Go through the spans in the order of their pointers and remember the furthest end so far: only what lies "
        "beyond it is new.",
        lines=6,
    ),
    Exercise(
        id="prefill-decode",
        reference=prefill_decode,
        cases=_prefill_decode_cases,
        hint="n tokens have n - 1 gaps between them, and the time before the first one belongs to the prompt.",
        lines=4,
        rtol=1e-9,
    ),
    Exercise(
        id="kv-cache-bytes",
        reference=kv_cache_bytes,
        cases=_kv_cache_cases,
        hint="Every layer stores keys and values, and a layer with a window never keeps more tokens than it.",
        lines=5,
    ),
    Exercise(
        id="parameter-count",
        reference=parameter_count,
        cases=_parameter_count_cases,
        hint="Print your terms for a model of one layer: embedding, four projections, three MLP matrices, the norms, "
        "the head.",
        lines=10,
    ),
    Exercise(
        id="experts-read",
        reference=experts_read,
        cases=_experts_read_cases,
        hint="A token misses a given expert with probability 1 - k / E. Then ask how likely it is that all tokens do.",
        lines=2,
        rtol=1e-9,
        atol=1e-9,
    ),
    Exercise(
        id="longest-context",
        reference=longest_context,
        cases=_longest_context_cases,
        hint="Write first what a number of tokens takes, windows included; then halve the range between a number that "
        "fits and one that does not.",
        lines=9,
    ),
    *meeting.EXERCISES,
)
