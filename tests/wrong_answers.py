"""Planted wrong answers by exercise id: mistakes a learner could make. Each must fail its exercise's check.

At least two an exercise, with the parameters of its stub; test_exercises.py says so.
"""

from math import comb

import numpy as np


def measured_with_the_warm_up(call, clock, warmup, repetitions):
    samples_ms = []
    for _ in range(warmup + repetitions):
        start = clock()
        call()
        samples_ms.append(1000 * (clock() - start))
    return samples_ms


def measured_with_the_warm_up_cut_off_the_repetitions(call, clock, warmup, repetitions):
    samples_ms = []
    for _ in range(repetitions):
        start = clock()
        call()
        samples_ms.append(1000 * (clock() - start))
    return samples_ms[warmup:]


def measured_in_seconds(call, clock, warmup, repetitions):
    return [sample / 1000 for sample in _samples(call, clock, warmup, repetitions)]


def measured_all_together(call, clock, warmup, repetitions):
    samples = _samples(call, clock, warmup, repetitions)
    return [sum(samples) / len(samples)] * len(samples)


def measured_from_one_start(call, clock, warmup, repetitions):
    return np.cumsum(_samples(call, clock, warmup, repetitions)).tolist()


def measured_without_outliers(call, clock, warmup, repetitions):
    samples = _samples(call, clock, warmup, repetitions)
    return [sample for sample in samples if sample < 3 * np.median(samples)]


def _samples(call, clock, warmup, repetitions):
    for _ in range(warmup):
        call()
    samples_ms = []
    for _ in range(repetitions):
        start = clock()
        call()
        samples_ms.append(1000 * (clock() - start))
    return samples_ms


def interval_of_the_mean(samples_ms):
    mean, error = np.mean(samples_ms), 1.96 * np.std(samples_ms, ddof=1) / len(samples_ms) ** 0.5
    return float(mean - error), float(mean + error)


def interval_of_the_samples(samples_ms):
    low, high = np.percentile(samples_ms, (2.5, 97.5)).tolist()
    return low, high


def interval_by_quartiles(samples_ms):
    low, high = np.percentile(samples_ms, (25, 75)).tolist()
    return low, high


def _interval(samples_ms, ordered=sorted, tails=2, shift=0):
    n, k, tail = len(samples_ms), 0, 0.0
    while tails * (tail := tail + comb(n, k) / 2**n) <= 0.05:
        k += 1
    samples_ms = ordered(samples_ms)
    return samples_ms[k - 1 + shift], samples_ms[n - k - shift]


def interval_in_the_order_of_time(samples_ms):
    return _interval(samples_ms, ordered=list)


def interval_with_one_tail(samples_ms):
    return _interval(samples_ms, tails=1)


def interval_one_rank_too_narrow(samples_ms):
    return _interval(samples_ms, shift=1)


def _timed(call, clock):
    start = clock()
    call()
    return clock() - start


def ratio_of_one_after_the_other(a, b, clock, rounds):
    a_s = [_timed(a, clock) for _ in range(rounds)]
    b_s = [_timed(b, clock) for _ in range(rounds)]
    return float(np.median(b_s) / np.median(a_s))


def _rounds(a, b, clock, rounds):
    a_s, b_s = np.empty(rounds), np.empty(rounds)
    for n in range(rounds):
        if n % 2:
            b_s[n], a_s[n] = _timed(b, clock), _timed(a, clock)
        else:
            a_s[n], b_s[n] = _timed(a, clock), _timed(b, clock)
    return a_s, b_s


def ratio_of_medians(a, b, clock, rounds):
    a_s, b_s = _rounds(a, b, clock, rounds)
    return float(np.median(b_s) / np.median(a_s))


def ratio_of_sums(a, b, clock, rounds):
    a_s, b_s = _rounds(a, b, clock, rounds)
    return float(b_s.sum() / a_s.sum())


def mean_of_ratios(a, b, clock, rounds):
    a_s, b_s = _rounds(a, b, clock, rounds)
    return float(np.mean(b_s / a_s))


def ratio_of_times_instead_of_speeds(a, b, clock, rounds):
    a_s, b_s = _rounds(a, b, clock, rounds)
    return float(np.median(a_s / b_s))


def ratio_with_a_always_first(a, b, clock, rounds):
    pairs = [(_timed(a, clock), _timed(b, clock)) for _ in range(rounds)]
    return float(np.median([b_s / a_s for a_s, b_s in pairs]))


def bytes_added_up(spans):
    return sum(nbytes for _, nbytes in spans)


def bytes_of_different_spans(spans):
    return sum(nbytes for _, nbytes in set(spans))


def bytes_of_different_pointers(spans):
    return sum(dict(sorted(spans)).values())


def bytes_from_first_to_last(spans):
    return max((p + n for p, n in spans), default=0) - min((p for p, _ in spans), default=0)


def bytes_without_sorting(spans):
    held = furthest = 0
    for pointer, nbytes in spans:
        held += max(0, pointer + nbytes - max(pointer, furthest))
        furthest = max(furthest, pointer + nbytes)
    return held


def bytes_compared_with_the_last_span_alone(spans):
    held = end = 0
    for pointer, nbytes in sorted(spans):
        held += max(0, pointer + nbytes - max(pointer, end))
        end = pointer + nbytes
    return held


def _phases(ttft_s, tpot_s, prompt_tokens):
    return 1000 * ttft_s, 1000 * tpot_s, prompt_tokens / ttft_s, 1 / tpot_s


def decode_by_tokens_instead_of_gaps(token_times_s, prompt_tokens):
    first, last = token_times_s[0], token_times_s[-1]
    return _phases(first, (last - first) / len(token_times_s), prompt_tokens)


def decode_with_the_prompt_in_it(token_times_s, prompt_tokens):
    return _phases(token_times_s[0], token_times_s[-1] / len(token_times_s), prompt_tokens)


def decode_by_the_median_gap(token_times_s, prompt_tokens):
    return _phases(token_times_s[0], float(np.median(np.diff(token_times_s))), prompt_tokens)


def prefill_with_the_written_tokens(token_times_s, prompt_tokens):
    first, last = token_times_s[0], token_times_s[-1]
    return _phases(first, (last - first) / (len(token_times_s) - 1), prompt_tokens + len(token_times_s))


def prefill_and_decode_in_seconds(token_times_s, prompt_tokens):
    first, last = token_times_s[0], token_times_s[-1]
    tpot_s = (last - first) / (len(token_times_s) - 1)
    return first, tpot_s, prompt_tokens / first, 1 / tpot_s


def kv_cache_without_values(num_key_value_heads, head_dim, windows, tokens, value_bits):
    kept = sum(tokens if window is None else min(tokens, window) for window in windows)
    return kept * num_key_value_heads * head_dim * value_bits // 8


def kv_cache_without_windows(num_key_value_heads, head_dim, windows, tokens, value_bits):
    return 2 * len(windows) * tokens * num_key_value_heads * head_dim * value_bits // 8


def kv_cache_with_windows_always_full(num_key_value_heads, head_dim, windows, tokens, value_bits):
    kept = sum(tokens if window is None else window for window in windows)
    return 2 * kept * num_key_value_heads * head_dim * value_bits // 8


def kv_cache_in_whole_bytes(num_key_value_heads, head_dim, windows, tokens, value_bits):
    kept = sum(tokens if window is None else min(tokens, window) for window in windows)
    return 2 * kept * num_key_value_heads * head_dim * (value_bits // 8)


def kv_cache_as_float(num_key_value_heads, head_dim, windows, tokens, value_bits):
    kept = sum(tokens if window is None else min(tokens, window) for window in windows)
    return 2 * kept * num_key_value_heads * head_dim * value_bits / 8


def _count(config, *, head_dim=None, kv_heads=None, layer_norms=2, last_norm=1, matrices=3, head=None):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = head_dim or config["head_dim"]
    kv_heads = kv_heads or config["num_key_value_heads"]
    embeddings = 1 if config["tie_word_embeddings"] else 2
    attention = 2 * hidden * heads * head_dim + 2 * hidden * kv_heads * head_dim
    layer = attention + matrices * hidden * config["intermediate_size"] + layer_norms * hidden
    return (
        (head or embeddings) * config["vocab_size"] * hidden + config["num_hidden_layers"] * layer + last_norm * hidden
    )


def parameters_with_the_head_always(config):
    return _count(config, head=2)


def parameters_with_the_head_never(config):
    return _count(config, head=1)


def parameters_without_grouped_queries(config):
    return _count(config, kv_heads=config["num_attention_heads"])


def parameters_with_heads_cut_from_hidden_size(config):
    return _count(config, head_dim=config["hidden_size"] // config["num_attention_heads"])


def parameters_without_the_last_norm(config):
    return _count(config, last_norm=0)


def parameters_with_one_norm_a_layer(config):
    return _count(config, layer_norms=1)


def parameters_with_two_mlp_matrices(config):
    return _count(config, matrices=2)


def experts_read_added_up(num_experts, num_experts_per_tok, tokens):
    return float(min(num_experts, num_experts_per_tok * tokens))


def experts_read_with_one_pick_a_token(num_experts, num_experts_per_tok, tokens):
    return num_experts * (1 - (1 - 1 / num_experts) ** tokens)


def experts_read_with_picks_put_back(num_experts, num_experts_per_tok, tokens):
    return num_experts * (1 - (1 - 1 / num_experts) ** (tokens * num_experts_per_tok))


def experts_missed(num_experts, num_experts_per_tok, tokens):
    return num_experts * (1 - num_experts_per_tok / num_experts) ** tokens


def context_by_division(memory_bytes, weight_bytes, layer_bytes, windows, limit):
    return max(0, min(limit, (memory_bytes - weight_bytes) // (layer_bytes * len(windows))))


def context_without_limit(memory_bytes, weight_bytes, layer_bytes, windows, limit):
    tokens = 0
    while tokens < 10 * limit and (
        weight_bytes + layer_bytes * sum(min(tokens + 1, w or tokens + 1) for w in windows) <= memory_bytes
    ):
        tokens += 1
    return tokens


def context_one_too_many(memory_bytes, weight_bytes, layer_bytes, windows, limit):
    tokens = 0
    while (
        tokens < limit and weight_bytes + layer_bytes * sum(min(tokens, w or tokens) for w in windows) <= memory_bytes
    ):
        tokens += 1
    return tokens


WRONG_ANSWERS = {
    "measure": [
        measured_with_the_warm_up,
        measured_with_the_warm_up_cut_off_the_repetitions,
        measured_in_seconds,
        measured_all_together,
        measured_from_one_start,
        measured_without_outliers,
    ],
    "median-interval": [
        interval_of_the_mean,
        interval_of_the_samples,
        interval_by_quartiles,
        interval_in_the_order_of_time,
        interval_with_one_tail,
        interval_one_rank_too_narrow,
    ],
    "paired-ratio": [
        ratio_of_one_after_the_other,
        ratio_of_medians,
        ratio_of_sums,
        mean_of_ratios,
        ratio_of_times_instead_of_speeds,
        ratio_with_a_always_first,
    ],
    "tensor-bytes": [
        bytes_added_up,
        bytes_of_different_spans,
        bytes_of_different_pointers,
        bytes_from_first_to_last,
        bytes_without_sorting,
        bytes_compared_with_the_last_span_alone,
    ],
    "prefill-decode": [
        decode_by_tokens_instead_of_gaps,
        decode_with_the_prompt_in_it,
        decode_by_the_median_gap,
        prefill_with_the_written_tokens,
        prefill_and_decode_in_seconds,
    ],
    "kv-cache-bytes": [
        kv_cache_without_values,
        kv_cache_without_windows,
        kv_cache_with_windows_always_full,
        kv_cache_in_whole_bytes,
        kv_cache_as_float,
    ],
    "parameter-count": [
        parameters_with_the_head_always,
        parameters_with_the_head_never,
        parameters_without_grouped_queries,
        parameters_with_heads_cut_from_hidden_size,
        parameters_without_the_last_norm,
        parameters_with_one_norm_a_layer,
        parameters_with_two_mlp_matrices,
    ],
    "experts-read": [
        experts_read_added_up,
        experts_read_with_one_pick_a_token,
        experts_read_with_picks_put_back,
        experts_missed,
    ],
    "longest-context": [context_by_division, context_without_limit, context_one_too_many],
}
