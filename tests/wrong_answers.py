"""Planted wrong answers by exercise id: mistakes a learner could make. Each must fail its exercise's check.

At least two an exercise, with the parameters of its stub; test_exercises.py says so.
"""

import json
import re
from itertools import combinations, pairwise, product
from math import comb

import numpy as np

from slmlab import thinking
from slmlab.exercises import qwen, textbook
from slmlab.exercises.qwen import share_interval


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


def _symmetric(blocks, bits, scale=None, rounding=np.round):
    """blocks: (groups, group)"""
    if scale is None:
        scale = np.abs(blocks).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    return (rounding(blocks / np.where(scale > 0, scale, 1)) * scale).astype(np.float32)


def symmetric_with_a_code_too_many(x, bits, group):
    blocks = x.reshape(-1, group)
    return _symmetric(blocks, bits, np.abs(blocks).max(axis=1, keepdims=True) / 2 ** (bits - 1)).reshape(x.shape)


def symmetric_by_the_largest_value(x, bits, group):
    blocks = x.reshape(-1, group)
    return _symmetric(blocks, bits, blocks.max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)).reshape(x.shape)


def symmetric_cut_off(x, bits, group):
    return _symmetric(x.reshape(-1, group), bits, rounding=np.trunc).reshape(x.shape)


def symmetric_with_one_scale_for_all(x, bits, group):
    return _symmetric(x.reshape(1, -1), bits).reshape(x.shape)


def symmetric_with_a_scale_a_row(x, bits, group):
    return _symmetric(x, bits)


def symmetric_with_groups_down_the_columns(x, bits, group):
    return _symmetric(x.T.reshape(-1, group), bits).reshape(x.T.shape).T


def symmetric_codes_without_scale(x, bits, group):
    blocks = x.reshape(-1, group)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.round(blocks / np.where(scale > 0, scale, 1)).astype(np.float32).reshape(x.shape)


def symmetric_with_nan_for_zeros(x, bits, group):
    blocks = x.reshape(-1, group)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    with np.errstate(invalid="ignore"):
        return (np.round(blocks / scale) * scale).reshape(x.shape)


def stored_bits_of_codes_alone(rows, columns, bits, group, zero_points):
    return float(bits)


def stored_bits_with_whole_groups_alone(rows, columns, bits, group, zero_points):
    return bits + (16 + bits * zero_points) * (columns // group) / columns


def stored_bits_with_a_part_of_a_scale(rows, columns, bits, group, zero_points):
    return bits + (16 + bits * zero_points) / group


def stored_bits_with_groups_over_row_ends(rows, columns, bits, group, zero_points):
    count = rows * columns
    return bits + (16 + bits * zero_points) * -(-count // group) / count


def stored_bits_with_wide_zero_points(rows, columns, bits, group, zero_points):
    return bits + (16 + 16 * zero_points) * -(-columns // group) / columns


def stored_bits_without_zero_points(rows, columns, bits, group, zero_points):
    return bits + 16 * -(-columns // group) / columns


def _nll(logits, ids):
    """(T, V) float64: of each token at each place"""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted


def nll_of_the_same_place(logits, ids):
    return _nll(logits, ids)[np.arange(1, len(ids)), ids[1:]]


def nll_of_the_token_just_read(logits, ids):
    return _nll(logits, ids)[np.arange(len(ids) - 1), ids[:-1]]


def nll_with_the_first_token(logits, ids):
    return _nll(logits, ids)[np.arange(len(ids)), ids]


def nll_in_bits(logits, ids):
    return _nll(logits, ids)[np.arange(len(ids) - 1), ids[1:]] / np.log(2)


def nll_without_the_sum(logits, ids):
    return -logits[np.arange(len(ids) - 1), ids[1:]].astype(np.float64)


def nll_that_overflows(logits, ids):
    with np.errstate(all="ignore"):
        sums = np.exp(logits[:-1]).sum(axis=1)
        return np.log(sums) - logits[np.arange(len(ids) - 1), ids[1:]]


def nll_averaged(logits, ids):
    return float(_nll(logits, ids)[np.arange(len(ids) - 1), ids[1:]].mean())


def _asymmetric(x, bits, group, with_zero=True, whole=True):
    blocks = x.reshape(-1, group)
    low, high = blocks.min(axis=1, keepdims=True), blocks.max(axis=1, keepdims=True)
    if with_zero:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    scale = (high - low) / (2**bits - 1)
    scale = np.where(scale > 0, scale, 1)
    if whole:
        zero_point = np.round(-low / scale)
        codes = np.clip(np.round(blocks / scale) + zero_point, 0, 2**bits - 1)
        return (scale * (codes - zero_point)).astype(np.float32).reshape(x.shape)
    return (low + scale * np.round((blocks - low) / scale)).astype(np.float32).reshape(x.shape)


def asymmetric_with_a_minimum(x, bits, group):
    return _asymmetric(x, bits, group, whole=False)


def asymmetric_by_minimum_and_maximum(x, bits, group):
    return _asymmetric(x, bits, group, with_zero=False)


def asymmetric_with_a_step_too_many(x, bits, group):
    blocks = x.reshape(-1, group)
    low = np.minimum(blocks.min(axis=1, keepdims=True), 0)
    scale = (np.maximum(blocks.max(axis=1, keepdims=True), 0) - low) / 2**bits
    scale = np.where(scale > 0, scale, 1)
    zero_point = np.round(-low / scale)
    codes = np.clip(np.round(blocks / scale) + zero_point, 0, 2**bits - 1)
    return (scale * (codes - zero_point)).astype(np.float32).reshape(x.shape)


def asymmetric_with_a_range_a_row(x, bits, group):
    return _asymmetric(x, bits, x.shape[1])


def asymmetric_that_is_symmetric(x, bits, group):
    return _symmetric(x.reshape(-1, group), bits).reshape(x.shape)


def distinct_in_whole_rows(x, group):
    counts = [[len(np.unique(row))] * (x.shape[1] // group) for row in x]
    return np.array(counts)


def distinct_neighbours(x, group):
    blocks = x.reshape(x.shape[0], -1, group)
    return 1 + (np.diff(blocks, axis=2) != 0).sum(axis=2)


def distinct_changes_without_the_first(x, group):
    blocks = np.sort(x.reshape(x.shape[0], -1, group), axis=2)
    return (np.diff(blocks, axis=2) != 0).sum(axis=2)


def distinct_but_for_nearly_equal_ones(x, group):
    blocks = np.sort(x.reshape(x.shape[0], -1, group), axis=2)
    return 1 + (np.diff(blocks, axis=2) > 1e-6).sum(axis=2)


def distinct_in_a_flat_list(x, group):
    return np.array([len(np.unique(block)) for block in x.reshape(-1, group)])


def _codes(x, axis=1):
    scale = np.abs(x).max(axis=axis, keepdims=True) / 127
    return np.round(x / np.where(scale > 0, scale, 1)), scale


def w8a8_in_int8(x, w):
    (x_codes, x_scale), (w_codes, w_scale) = _codes(x), _codes(w)
    return (x_codes.astype(np.int8) @ w_codes.astype(np.int8).T * x_scale * w_scale.T).astype(np.float32)


def w8a8_in_int16(x, w):
    (x_codes, x_scale), (w_codes, w_scale) = _codes(x), _codes(w)
    return (x_codes.astype(np.int16) @ w_codes.astype(np.int16).T * x_scale * w_scale.T).astype(np.float32)


def w8a8_with_one_scale_for_all_tokens(x, w):
    (x_codes, x_scale), (w_codes, w_scale) = _codes(x, axis=None), _codes(w)
    return (x_codes @ w_codes.T * x_scale * w_scale.T).astype(np.float32)


def w8a8_without_the_scales_of_the_weights(x, w):
    (x_codes, x_scale), (w_codes, _) = _codes(x), _codes(w)
    return (x_codes @ w_codes.T * x_scale).astype(np.float32)


def w8a8_with_weights_alone(x, w):
    codes, scale = _codes(w)
    return (x @ (codes * scale).T).astype(np.float32)


def w8a8_not_quantized(x, w):
    return x @ w.T


def w8a8_with_scales_by_column(x, w):
    (x_codes, x_scale), (w_codes, w_scale) = _codes(x, axis=0), _codes(w, axis=0)
    return ((x_codes * x_scale) @ (w_codes * w_scale).T).astype(np.float32)


def _fields(codes):
    """(4, N / 4, K) uint8"""
    return (codes + 1).astype(np.uint8).reshape(4, -1, codes.shape[1])


def packed_neighbouring_rows(codes):
    first, second, third, fourth = ((codes[n::4] + 1).astype(np.uint8) for n in range(4))
    return first | second << 2 | third << 4 | fourth << 6


def packed_from_the_high_bits(codes):
    first, second, third, fourth = _fields(codes)
    return fourth | third << 2 | second << 4 | first << 6


def packed_without_the_one(codes):
    first, second, third, fourth = codes.astype(np.uint8).reshape(4, -1, codes.shape[1])
    return (first & 3) | (second & 3) << 2 | (third & 3) << 4 | (fourth & 3) << 6


def packed_columns(codes):
    if codes.shape[1] % 4:
        return (codes[:1] + 1).astype(np.uint8)
    first, second, third, fourth = ((codes[:, n::4] + 1).astype(np.uint8) for n in range(4))
    return first | second << 2 | third << 4 | fourth << 6


def packed_wide(codes):
    first, second, third, fourth = _fields(codes).astype(np.int64)
    return first + 4 * second + 16 * third + 64 * fourth + 0.0


def _product(packed, x, dtype=np.int32, zero=1, shifts=(0, 2, 4, 6)):
    sums = [(packed >> shift & 3).astype(dtype) @ x.astype(dtype) for shift in shifts]
    return (np.concatenate(sums) - zero * x.sum(dtype=dtype)).astype(np.int32)


def product_of_the_codes(packed, x):
    return _product(packed, x, zero=0)


def product_in_16_bits(packed, x):
    return _product(packed, x, np.int16)


def product_with_fields_reversed(packed, x):
    return _product(packed, x, shifts=(6, 4, 2, 0))


def product_with_masks_not_shifted_back(packed, x):
    sums = [(packed & mask).astype(np.int32) @ x.astype(np.int32) for mask in (3, 12, 48, 192)]
    return (np.concatenate(sums) - x.sum(dtype=np.int32)).astype(np.int32)


def product_with_the_sum_taken_off_before_the_shift(packed, x):
    total, sums = x.sum(dtype=np.int32), []
    for field, mask in enumerate((3, 12, 48, 192)):
        sums.append(((packed & mask).astype(np.int32) @ x.astype(np.int32) - total) >> 2 * field)
    return np.concatenate(sums).astype(np.int32)


def product_with_rows_in_the_order_of_bytes(packed, x):
    return np.ascontiguousarray(_product(packed, x).reshape(4, -1).T).ravel()


def product_in_floats(packed, x):
    return _product(packed, x).astype(np.float32)


def _lane(codes, x, flush_after, keep=lambda lane: (lane + 32768) % 65536 - 32768, last=True):
    pairs = (codes.astype(int) * x).reshape(-1, 2).sum(axis=1)
    total = lane = 0
    for number, pair in enumerate(pairs.tolist(), 1):
        lane = keep(lane + pair)
        if number % flush_after == 0:
            total, lane = total + lane, 0
    return total + lane if last else total


def lane_without_end(codes, x, flush_after):
    return int(codes.astype(int) @ x.astype(int))


def lane_that_saturates(codes, x, flush_after):
    return _lane(codes, x, flush_after, keep=lambda lane: max(-32768, min(32767, lane)))


def lane_that_forgets_the_rest(codes, x, flush_after):
    return _lane(codes, x, flush_after, last=False)


def lane_that_is_never_flushed(codes, x, flush_after):
    return _lane(codes, x, len(codes))


def lane_flushed_by_products(codes, x, flush_after):
    return _lane(codes, x, max(1, flush_after // 2))


def lane_without_a_sign(codes, x, flush_after):
    return _lane(codes, x, flush_after, keep=lambda lane: lane % 65536)


def additions_by_the_positive_end(largest_code, lane_bits):
    return (2 ** (lane_bits - 1) - 1) // (2 * largest_code * 127)


def additions_by_128_and_the_positive_end(largest_code, lane_bits):
    return (2 ** (lane_bits - 1) - 1) // (2 * largest_code * 128)


def additions_of_single_products(largest_code, lane_bits):
    return 2 ** (lane_bits - 1) // (largest_code * 128)


def additions_without_a_sign(largest_code, lane_bits):
    return 2**lane_bits // (2 * largest_code * 128)


def additions_one_less(largest_code, lane_bits):
    return max(0, 2 ** (lane_bits - 1) // (2 * largest_code * 128) - 1)


def roofline_one_after_the_other(bits, tokens, read_bytes_per_s, peak_macs_per_s):
    return tokens / (bits / 8 / read_bytes_per_s + tokens / peak_macs_per_s)


def roofline_of_the_faster(bits, tokens, read_bytes_per_s, peak_macs_per_s):
    return tokens / min(bits / 8 / read_bytes_per_s, tokens / peak_macs_per_s)


def roofline_in_bits_per_second(bits, tokens, read_bytes_per_s, peak_macs_per_s):
    return min(tokens * read_bytes_per_s / bits, peak_macs_per_s)


def roofline_with_weights_read_for_each_token(bits, tokens, read_bytes_per_s, peak_macs_per_s):
    return min(read_bytes_per_s * 8 / bits, peak_macs_per_s)


def roofline_of_weights(bits, tokens, read_bytes_per_s, peak_macs_per_s):
    return min(read_bytes_per_s * 8 / bits, peak_macs_per_s / tokens)


def merged_from_the_left(pieces, ranks):
    pieces, place = list(pieces), 0
    while place < len(pieces) - 1:
        if (pieces[place], pieces[place + 1]) in ranks:
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
            place = 0
        else:
            place += 1
    return pieces


def merged_longest_first(pieces, ranks):
    known = {a + b for a, b in ranks} | set(pieces)
    word, found = "".join(pieces), []
    while word:
        length = max(n for n in range(1, len(word) + 1) if word[:n] in known)
        found.append(word[:length])
        word = word[length:]
    return found


def merged_highest_rank_first(pieces, ranks):
    return _merged(pieces, {pair: -rank for pair, rank in ranks.items()})


def merged_once(pieces, ranks):
    return _merged(pieces, ranks, rounds=1)


def _merged(pieces, ranks, rounds=1000):
    pieces = list(pieces)
    for _ in range(rounds):
        known = [pair for pair in pairwise(pieces) if pair in ranks]
        if not known:
            break
        best, joined = min(known, key=ranks.get), []
        while pieces:
            width = 2 if tuple(pieces[:2]) == best else 1
            joined.append("".join(pieces[:width]))
            pieces = pieces[width:]
        pieces = joined
    return pieces


def bits_in_nats(logits, ids, start):
    return _bits(logits, ids, start) * float(np.log(2))


def bits_of_the_prompt_too(logits, ids, start):
    return _bits(logits, ids, 1)


def bits_without_the_first(logits, ids, start):
    return _bits(logits, ids, start + 1)


def bits_of_the_token_just_read(logits, ids, start):
    return _bits(np.concatenate([logits[:1], logits])[1:], np.concatenate([[0], ids])[:-1], start)


def bits_a_token(logits, ids, start):
    return _bits(logits, ids, start) / (len(ids) - start)


def bits_that_overflow(logits, ids, start):
    with np.errstate(all="ignore"):
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return float(-np.log2(p[np.arange(start - 1, len(ids) - 1), ids[start:]]).sum())


def _bits(logits, ids, start):
    scores = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log2 = (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))) / np.log(2)
    return float(-sum(log2[place - 1, ids[place]] for place in range(start, len(ids))))


def greedy_with_the_stop(next_scores, ids, stop, limit):
    answer = []
    while len(answer) < limit and (not answer or answer[-1] not in stop):
        answer.append(int(next_scores([*ids, *answer]).argmax()))
    return answer


def greedy_with_the_prompt(next_scores, ids, stop, limit):
    return [*ids, *_greedy(next_scores, ids, stop, limit)]


def greedy_that_writes_into_the_prompt(next_scores, ids, stop, limit):
    length = len(ids)
    while len(ids) - length < limit and (best := int(next_scores(ids).argmax())) not in stop:
        ids.append(best)
    return ids[length:]


def greedy_that_forgets(next_scores, ids, stop, limit):
    return _greedy(lambda all_of_them: next_scores(all_of_them[-1:]), ids, stop, limit)


def greedy_that_knows_one_stop(next_scores, ids, stop, limit):
    return _greedy(next_scores, ids, stop[:1], limit)


def greedy_one_too_many(next_scores, ids, stop, limit):
    return _greedy(next_scores, ids, stop, limit + 1)


def greedy_by_the_last_of_equals(next_scores, ids, stop, limit):
    return _greedy(next_scores, ids, stop, limit, lambda scores: len(scores) - 1 - int(scores[::-1].argmax()))


def _greedy(next_scores, ids, stop, limit, best=lambda scores: int(scores.argmax())):
    answer = []
    while len(answer) < limit and (id := best(next_scores([*ids, *answer]))) not in stop:
        answer.append(id)
    return answer


def trusted_until_the_first_too_many(confidences, right, wanted):
    best = 0.0
    for answered in range(1, len(right) + 1):
        threshold = sorted(confidences, reverse=True)[answered - 1]
        chosen = [was for confidence, was in zip(confidences, right, strict=True) if confidence >= threshold]
        if sum(chosen) / len(chosen) < wanted:
            break
        best = len(chosen) / len(right)
    return best


def trusted_one_by_one(confidences, right, wanted):
    pairs = sorted(zip(confidences, right, strict=True), reverse=True)
    counts = [n for n in range(1, len(pairs) + 1) if sum(was for _, was in pairs[:n]) / n >= wanted]
    return max(counts, default=0) / len(pairs)


def trusted_above_the_threshold(confidences, right, wanted):
    best = 0.0
    for threshold in confidences:
        chosen = [was for confidence, was in zip(confidences, right, strict=True) if confidence > threshold]
        if chosen and sum(chosen) / len(chosen) >= wanted:
            best = max(best, len(chosen) / len(confidences))
    return best


def trusted_by_the_confidence_itself(confidences, right, wanted):
    return sum(confidence >= wanted for confidence in confidences) / len(confidences)


def trusted_share_of_the_right(confidences, right, wanted):
    return sum(right) / len(right)


def entropy_in_nats(codes):
    return np.array([_entropy(row, np.log) for row in codes])


def entropy_of_the_whole_matrix(codes):
    return np.full(len(codes), _entropy(codes, np.log2))


def entropy_with_zero_times_the_log_of_zero(codes):
    shares = np.array([[(row == value).mean() for value in (-1, 0, 1)] for row in codes])
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(shares * np.log2(shares)).sum(axis=1)


def entropy_of_zero_or_not(codes):
    return np.array([_entropy(np.abs(row), np.log2) for row in codes])


def entropy_of_columns(codes):
    return np.array([_entropy(column, np.log2) for column in codes.T])


def entropy_as_the_log_of_the_values_in_use(codes):
    return np.array([np.log2(len(np.unique(row))) for row in codes])


def _entropy(codes, log):
    shares = np.array([(codes == value).mean() for value in (-1, 0, 1)])
    shares = shares[shares > 0]
    return float(-(shares * log(shares)).sum())


def _base3(codes, fill=1, order=lambda padded: padded.reshape(-1, 5, 4), byte=None):
    """The bytes of a row, with something of it exchanged."""
    padded = np.full(-(-len(codes) // 20) * 20, fill, np.uint8)
    padded[: len(codes)] = codes + 1
    c = order(padded).transpose(1, 0, 2).reshape(5, -1).astype(int)
    v = c[0] + 3 * c[1] + 9 * c[2] + 27 * c[3]
    if byte is None:
        return np.where(v < 64, 64 * c[4] + v, 192 + 3 * (v - 64) + c[4]).astype(np.uint8)
    return byte(v, c[4]).astype(np.uint8)


def base3_as_a_plain_number(codes):
    return _base3(codes, byte=lambda v, c4: v + 81 * c4)


def base3_filled_with_minus_one(codes):
    return _base3(codes, fill=0)


def base3_of_neighbouring_columns(codes):
    return _base3(codes, order=lambda padded: padded.reshape(-1, 4, 5).transpose(0, 2, 1))


def base3_without_the_second_range(codes):
    return _base3(codes, byte=lambda v, c4: 64 * c4 + v)


def base3_without_the_rest(codes):
    return _base3(codes[: len(codes) // 20 * 20])


def base3_of_weights_for_codes(codes):
    return _base3(codes - 1, fill=0)


def base3_highest_digit_first(codes):
    return _base3(codes, order=lambda padded: padded.reshape(-1, 5, 4)[:, ::-1])


def _decoded(stream, counts, K, order="big", shift=1, least=1 << 23, within=True, loop=True, start=True):
    """The weights of an ANS stream, with something of it exchanged. Bytes past the end are 0."""
    starts = (0, counts[0], counts[0] + counts[1])
    x, place, codes = int.from_bytes(stream[:4], order), 4, []
    for _ in range(K):
        slot = x % 4096
        code = 2 if slot >= starts[2] else 1 if slot >= starts[1] else 0
        codes.append(code - shift)
        x = counts[code] * (x // 4096) + (slot if within else 0) - (starts[code] if start and within else 0)
        while x < least:
            x = 256 * x + (stream[place] if place < len(stream) else 0)
            place += 1
            if not loop or place > len(stream) + 8:
                break
    return np.array(codes, np.int8)


def decoded_low_byte_first(stream, counts, K):
    return _decoded(stream, counts, K, order="little")


def decoded_codes_for_weights(stream, counts, K):
    return _decoded(stream, counts, K, shift=0)


def decoded_one_byte_at_most(stream, counts, K):
    return _decoded(stream, counts, K, loop=False)


def decoded_without_the_place_in_the_slots(stream, counts, K):
    return _decoded(stream, counts, K, within=False)


def decoded_without_the_start(stream, counts, K):
    return _decoded(stream, counts, K, start=False)


def decoded_with_a_lower_bound_too_low(stream, counts, K):
    return _decoded(stream, counts, K, least=1 << 16)


def decoded_last_first(stream, counts, K):
    return _decoded(stream, counts, K)[::-1]


def _hf(file, name, linear_class, base=True, axis="fields", shift=1, divide=None, high=False, half="upper"):
    """A matrix of a safetensors file, with something of the layout exchanged."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    begin, end = header[name]["data_offsets"]
    at = 8 + length if base else 8
    packed = np.frombuffer(file[at + begin : at + end], np.uint8).reshape(header[name]["shape"])
    begin, end = header[f"{name}_scale"]["data_offsets"]
    scale = file[8 + length + begin : 8 + length + end]
    scale = np.frombuffer(
        scale if end - begin == 4 else bytes(2) + scale if half == "upper" else scale + bytes(2), "<f4"
    )[0]
    fields = [(packed >> bits & 3).astype(np.float32) - shift for bits in (0, 2, 4, 6)]
    fields = fields[::-1] if high else fields
    weights = np.concatenate(fields) if axis == "fields" else np.stack(fields, 1).reshape(-1, packed.shape[1])
    divide = linear_class == "bitlinear" if divide is None else divide
    return weights / scale if divide else weights * scale


def hf_from_the_end_of_the_length(file, name, linear_class):
    return _hf(file, name, linear_class, base=False)


def hf_of_neighbouring_rows(file, name, linear_class):
    return _hf(file, name, linear_class, axis="rows")


def hf_always_multiplied(file, name, linear_class):
    return _hf(file, name, linear_class, divide=False)


def hf_always_divided(file, name, linear_class):
    return _hf(file, name, linear_class, divide=True)


def hf_highest_bits_first(file, name, linear_class):
    return _hf(file, name, linear_class, high=True)


def hf_codes_for_weights(file, name, linear_class):
    return _hf(file, name, linear_class, shift=0)


def hf_with_bfloat16_as_the_lower_half(file, name, linear_class):
    return _hf(file, name, linear_class, half="lower")


def _tq1(block, number=lambda byte: byte * 243 // 256, digits=(81, 27, 9, 3, 1), last=(81, 27, 9, 3), order="<f2"):
    """The weights of a block, with something of it exchanged."""
    v = number(block[:52].astype(int))
    d = np.float32(block[52:].copy().view(order)[0])
    parts = [(0, 32, digits), (32, 48, digits), (48, 52, last)]
    codes = [v[first:end] // digit % 3 for first, end, powers in parts for digit in powers]
    return ((np.concatenate(codes) - 1) * d).astype(np.float32)


def tq1_of_plain_bytes(block):
    return _tq1(block, number=lambda byte: byte)


def tq1_in_8_bits(block):
    return _tq1(block, number=lambda byte: byte * 243 % 256)


def tq1_lowest_digit_first(block):
    return _tq1(block, digits=(1, 3, 9, 27, 81), last=(1, 3, 9, 27))


def tq1_with_a_shorter_last_number(block):
    return _tq1(block, last=(27, 9, 3, 1))


def tq1_with_the_scale_high_byte_first(block):
    return _tq1(block, order=">f2")


def tq1_five_neighbours_a_byte(block):
    weights = _tq1(block)
    return np.concatenate([weights[:160].reshape(5, 32).T.ravel(), weights[160:]])


def tq1_rounded(block):
    return _tq1(block, number=lambda byte: np.rint(byte * 243 / 256).astype(int))


def _sizes(config, blocks_of_a_row, block_bytes, embedding_bits, kv=True, heads=1, norms=3):
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    narrow = hidden * config["num_key_value_heads"] // config["num_attention_heads"] if kv else hidden
    of = blocks_of_a_row
    rows = of(hidden, 2 * hidden + 2 * narrow + 2 * inner) + of(inner, hidden)
    embedding = heads * config["vocab_size"] * hidden * embedding_bits // 8
    return layers * rows * block_bytes, embedding, 2 * (layers * (norms * hidden + inner * (norms > 2)) + hidden)


def sizes_with_queries_keys_and_values_alike(config, block_columns, block_bytes, embedding_bits):
    return _sizes(config, lambda K, N: N * -(-K // block_columns), block_bytes, embedding_bits, kv=False)


def sizes_with_the_head_beside_the_embedding(config, block_columns, block_bytes, embedding_bits):
    return _sizes(config, lambda K, N: N * -(-K // block_columns), block_bytes, embedding_bits, heads=2)


def sizes_without_the_norms_inside(config, block_columns, block_bytes, embedding_bits):
    return _sizes(config, lambda K, N: N * -(-K // block_columns), block_bytes, embedding_bits, norms=2)


def sizes_with_blocks_over_the_ends_of_rows(config, block_columns, block_bytes, embedding_bits):
    return _sizes(config, lambda K, N: -(-K * N // block_columns), block_bytes, embedding_bits)


def sizes_without_the_last_block(config, block_columns, block_bytes, embedding_bits):
    return _sizes(config, lambda K, N: N * (K // block_columns), block_bytes, embedding_bits)


def sizes_in_bits(config, block_columns, block_bytes, embedding_bits):
    return tuple(
        8 * size for size in _sizes(config, lambda K, N: N * -(-K // block_columns), block_bytes, embedding_bits)
    )


# ------------------------------------------------------------------------------------------------------------- lab 32


def _gemma3n(config, attention=4, norms=6, shared=(), once=None, table_rows="vocab_size_per_layer_input"):
    d, p, f = config["hidden_size"], config["hidden_size_per_layer_input"], config["intermediate_size"]
    layers, width, rank = config["num_hidden_layers"], config["head_dim"], config["laurel_rank"]
    q, kv, s = config["num_attention_heads"] * width, config["num_key_value_heads"] * width, config["altup_num_inputs"]
    heads = {4: 2 * d * (q + kv), 3: d * (2 * q + kv), 1: 4 * d * q}[attention]
    layer = heads + 3 * d * f + 2 * d * rank + 2 * d * p + s**2 + s**3 + d * s + 2 * d + norms * d + 2 * width
    once = d * layers * p + p + 2 * (s - 1) * d * d + d if once is None else once(d, layers, p, s)
    return {
        "per-layer table": config[table_rows] * layers * p,
        "token embedding": config["vocab_size"] * d,
        "decoder": layers * layer + once,
    }


def gemma3n_with_keys_as_wide_as_queries(config):
    return _gemma3n(config, attention=1)


def gemma3n_with_keys_and_values_in_one(config):
    return _gemma3n(config, attention=3)


def gemma3n_with_four_norms(config):
    return _gemma3n(config, norms=4)


def gemma3n_with_a_projection_for_every_layer_twice(config):
    return _gemma3n(config, once=lambda d, layers, p, s: layers * (d * layers * p + p) + 2 * (s - 1) * d * d + d)


def gemma3n_with_altup_one_way(config):
    return _gemma3n(config, once=lambda d, layers, p, s: d * layers * p + p + (s - 1) * d * d + d)


def gemma3n_with_rows_for_every_token(config):
    return _gemma3n(config, table_rows="vocab_size")


def gemma3n_with_the_head_counted_again(config):
    counts = _gemma3n(config)
    return counts | {"token embedding": 2 * counts["token embedding"]}


def pages_of_the_first_byte(rows, row_bytes, start, page_bytes):
    return np.unique((start + rows * row_bytes) // page_bytes)


def pages_of_both_ends(rows, row_bytes, start, page_bytes):
    first, last = start + rows * row_bytes, start + (rows + 1) * row_bytes - 1
    return np.unique(np.concatenate([first // page_bytes, last // page_bytes]))


def pages_with_the_byte_after(rows, row_bytes, start, page_bytes):
    return _pages(rows, row_bytes, start, page_bytes, end=0)


def pages_without_the_start(rows, row_bytes, start, page_bytes):
    return _pages(rows, row_bytes, 0, page_bytes)


def pages_in_the_order_of_the_rows(rows, row_bytes, start, page_bytes):
    return np.concatenate([_pages(rows[n : n + 1], row_bytes, start, page_bytes) for n in range(len(rows))])


def pages_counted_per_row(rows, row_bytes, start, page_bytes):
    return np.arange(len(rows) * -(-row_bytes // page_bytes))


def _pages(rows, row_bytes, start, page_bytes, end=-1):
    found = {
        page
        for row in rows.tolist()
        for page in range(
            (start + row * row_bytes) // page_bytes, (start + (row + 1) * row_bytes + end) // page_bytes + 1
        )
    }
    return np.array(sorted(found), np.int64)


def _fetch(pages, page_bytes, latency_s, bytes_per_s, queue, reads=None, rounds=lambda n, q: -(-n // q)):
    reads = int((np.diff(pages) != 1).sum()) + min(len(pages), 1) if reads is None else reads
    return float(rounds(reads, queue) * latency_s + len(pages) * page_bytes / bytes_per_s)


def fetch_with_a_read_for_each_page(pages, page_bytes, latency_s, bytes_per_s, queue):
    return _fetch(pages, page_bytes, latency_s, bytes_per_s, queue, reads=len(pages))


def fetch_with_one_read_too_few(pages, page_bytes, latency_s, bytes_per_s, queue):
    return _fetch(pages, page_bytes, latency_s, bytes_per_s, queue, reads=int((np.diff(pages) != 1).sum()))


def fetch_without_a_queue(pages, page_bytes, latency_s, bytes_per_s, queue):
    return _fetch(pages, page_bytes, latency_s, bytes_per_s, 1)


def fetch_with_parts_of_rounds(pages, page_bytes, latency_s, bytes_per_s, queue):
    return _fetch(pages, page_bytes, latency_s, bytes_per_s, queue, rounds=lambda n, q: n / q)


def fetch_with_rounds_cut_off(pages, page_bytes, latency_s, bytes_per_s, queue):
    return _fetch(pages, page_bytes, latency_s, bytes_per_s, queue, rounds=lambda n, q: n // q)


def fetch_of_the_longer_of_the_two(pages, page_bytes, latency_s, bytes_per_s, queue):
    wait_s = _fetch(pages, page_bytes, latency_s, 1e30, queue)
    return float(max(wait_s, len(pages) * page_bytes / bytes_per_s))


def fetch_with_bytes_shared_by_the_queue(pages, page_bytes, latency_s, bytes_per_s, queue):
    return _fetch(pages, page_bytes, latency_s, bytes_per_s * queue, queue)


def _fastest(components, places, key=None, fits=None):
    ways = []
    for way in product(places, repeat=len(components)):
        held = dict.fromkeys(places, 0)
        seconds = 0.0
        for place, (stored, read) in zip(way, components.values(), strict=True):
            held[place] += stored
            seconds += read / places[place][1]
        allowed = fits or (lambda held: all(held[name] <= size for name, (size, _) in places.items()))
        if allowed(held):
            ways.append(((key or (lambda s, h: (s, *h.values())))(seconds, held), way))
    return dict(zip(components, min(ways)[1], strict=True)) if ways else {}


def places_by_size_alone(components, places):
    """The largest first, into the fastest place that has room."""
    return _placed_in_turn(components, places, lambda part: -part[0])


def places_by_what_is_read(components, places):
    return _placed_in_turn(components, places, lambda part: -part[1])


def places_by_what_is_read_of_a_byte(components, places):
    return _placed_in_turn(components, places, lambda part: -part[1] / part[0])


def _placed_in_turn(components, places, key):
    left, found = {name: size for name, (size, _) in places.items()}, {}
    for name in sorted(components, key=lambda name: key(components[name])):
        room = [place for place in places if left[place] >= components[name][0]]
        if not room:
            return {}
        found[name] = room[0]
        left[room[0]] -= components[name][0]
    return {name: found[name] for name in components}


def places_that_are_never_full(components, places):
    return _fastest(components, places, fits=lambda held: True)


def places_with_room_to_spare(components, places):
    return _fastest(components, places, fits=lambda held: all(held[name] < places[name][0] for name in places))


def places_with_what_nobody_reads_in_front(components, places):
    return _fastest(components, places, key=lambda seconds, held: (seconds, *(-size for size in held.values())))


def places_by_the_slowest_part(components, places):
    best = None
    for way in product(places, repeat=len(components)):
        held = dict.fromkeys(places, 0)
        times = []
        for place, (stored, read) in zip(way, components.values(), strict=True):
            held[place] += stored
            times.append(read / places[place][1])
        rank = (max(times), *held.values())
        if all(held[name] <= places[name][0] for name in places) and (best is None or rank < best[0]):
            best = rank, way
    return dict(zip(components, best[1], strict=True)) if best else {}


def _pass_macs(config, tokens, kv=None, width=None, mlp=3, pairs=None, heads=None):
    """With something of the count exchanged."""
    hidden, queries = config["hidden_size"], config["num_attention_heads"]
    kv = config["num_key_value_heads"] if kv is None else kv
    width = width or config["head_dim"]
    layer = 2 * hidden * width * (queries + kv) + mlp * hidden * config["intermediate_size"]
    pairs = tokens * tokens if pairs is None else pairs
    attention = 2 * (queries if heads is None else heads) * width * pairs
    return config["num_hidden_layers"] * tokens * layer, config["num_hidden_layers"] * attention


def macs_for_one_token(config, tokens):
    return _pass_macs(config, 1, pairs=tokens)


def macs_without_grouped_queries(config, tokens):
    return _pass_macs(config, tokens, kv=config["num_attention_heads"])


def macs_with_heads_cut_from_hidden_size(config, tokens):
    return _pass_macs(config, tokens, width=max(1, config["hidden_size"] // config["num_attention_heads"]))


def macs_with_two_mlp_matrices(config, tokens):
    return _pass_macs(config, tokens, mlp=2)


def macs_of_the_past_alone(config, tokens):
    return _pass_macs(config, tokens, pairs=tokens * (tokens + 1) // 2)


def macs_with_attention_by_key_value_heads(config, tokens):
    return _pass_macs(config, tokens, heads=config["num_key_value_heads"])


def macs_with_one_product_in_attention(config, tokens):
    matrices, attention = _pass_macs(config, tokens)
    return matrices, attention // 2


def macs_counted_as_operations(config, tokens):
    matrices, attention = _pass_macs(config, tokens)
    return 2 * matrices, 2 * attention


def pass_joules_in_picojoules(macs, operations, picojoules):
    return {part: float(count * sum(picojoules[name] for name in operations[part])) for part, count in macs.items()}


def pass_joules_of_the_first_operation(macs, operations, picojoules):
    return {part: count * picojoules[operations[part][0]] * 1e-12 for part, count in macs.items()}


def pass_joules_of_different_operations(macs, operations, picojoules):
    return {part: count * sum(picojoules[n] for n in set(operations[part])) * 1e-12 for part, count in macs.items()}


def pass_joules_added_up(macs, operations, picojoules):
    return sum(count * sum(picojoules[name] for name in operations[part]) for part, count in macs.items()) * 1e-12


def pass_joules_of_nanojoules(macs, operations, picojoules):
    return {part: count * sum(picojoules[name] for name in operations[part]) * 1e-9 for part, count in macs.items()}


def decode_joules_of_bytes_as_bits(matrices, cache_bytes, batch, picojoules_per_bit):
    bits = sum(weights * width for weights, width in matrices) / batch + cache_bytes
    return bits * picojoules_per_bit * 1e-12


def decode_joules_of_a_step(matrices, cache_bytes, batch, picojoules_per_bit):
    bits = sum(weights * width for weights, width in matrices) + 8 * cache_bytes * batch
    return bits * picojoules_per_bit * 1e-12


def decode_joules_with_weights_for_each(matrices, cache_bytes, batch, picojoules_per_bit):
    return (sum(weights * width for weights, width in matrices) + 8 * cache_bytes) * picojoules_per_bit * 1e-12


def decode_joules_with_a_shared_cache(matrices, cache_bytes, batch, picojoules_per_bit):
    bits = sum(weights * width for weights, width in matrices) + 8 * cache_bytes
    return bits / batch * picojoules_per_bit * 1e-12


def decode_joules_of_bytes_of_weights(matrices, cache_bytes, batch, picojoules_per_bit):
    bits = sum(weights * width / 8 for weights, width in matrices) / batch + 8 * cache_bytes
    return bits * picojoules_per_bit * 1e-12


def _counted(readings_uj, range_uj, zones=("package", "dram"), end=1, unit=1e6):
    total = 0
    for zone, readings in readings_uj.items():
        if zone.startswith(zones):
            total += sum((after - before) % (range_uj[zone] + end) for before, after in pairwise(readings))
    return total / unit


def counter_joules_last_less_first(readings_uj, range_uj):
    kept = [readings for zone, readings in readings_uj.items() if zone.startswith(("package", "dram"))]
    return sum(readings[-1] - readings[0] for readings in kept) / 1e6


def counter_joules_of_every_zone(readings_uj, range_uj):
    return _counted(readings_uj, range_uj, zones=("",))


def counter_joules_of_packages_alone(readings_uj, range_uj):
    return _counted(readings_uj, range_uj, zones=("package",))


def counter_joules_of_the_first_package(readings_uj, range_uj):
    return _counted(readings_uj, range_uj, zones=("package-0",))


def counter_joules_with_a_shorter_range(readings_uj, range_uj):
    return _counted(readings_uj, range_uj, end=0)


def counter_joules_without_what_went_around(readings_uj, range_uj):
    kept = [readings for zone, readings in readings_uj.items() if zone.startswith(("package", "dram"))]
    return sum(max(0, after - before) for readings in kept for before, after in pairwise(readings)) / 1e6


def counter_joules_in_millijoules(readings_uj, range_uj):
    return _counted(readings_uj, range_uj, unit=1e3)


def _best_by(scores, model, count, worth):
    order = sorted(range(len(scores)), key=lambda row: -worth(scores[row], np.delete(scores[row], model)))
    return tuple(sorted(order[:count]))


def rows_where_the_score_is_highest(scores, model, count):
    return _best_by(scores, model, count, lambda row, others: row[model])


def rows_by_the_best_rival_of_each(scores, model, count):
    return _best_by(scores, model, count, lambda row, others: row[model] - others.max())


def rows_by_the_mean_rival(scores, model, count):
    return _best_by(scores, model, count, lambda row, others: row[model] - others.mean())


def rows_in_the_order_of_the_lead(scores, model, count):
    lead = {rows: _lead(scores, model, rows) for rows in combinations(range(len(scores)), count)}
    return max(lead, key=lead.get)[::-1]


def rows_with_the_model_among_its_rivals(scores, model, count):
    chosen = combinations(range(len(scores)), count)
    return max(chosen, key=lambda rows: scores[list(rows), model].mean() - scores[list(rows)].mean(axis=0).max())


def rows_of_the_largest_lead_over_anyone(scores, model, count):
    def lead(rows):
        means = scores[list(rows)].mean(axis=0)
        return means[model] - np.delete(means, model).min()

    return max(combinations(range(len(scores)), count), key=lead)


def _lead(scores, model, rows):
    means = scores[list(rows)].mean(axis=0)
    return means[model] - np.delete(means, model).max()


def split_at_the_first_close(text, opened=False):
    thought, close, answer = text.partition("</think>")
    return thought.removeprefix("<think>").strip(), answer.strip() if close else None


def split_at_the_last_close(text, opened=False):
    thought, _, answer = text.rpartition("</think>")
    return thought.removeprefix("<think>").strip(), answer.strip()


def split_blind_to_the_prompt(text, opened=False):
    return thinking.split(text)


def split_with_a_cut_thought_as_the_answer(text, opened=False):
    thought, answer = thinking.split(text, opened)
    return thought, thought if answer is None else answer


def split_without_nesting(text, opened=False):
    inside, parts = opened, {True: "", False: ""}
    for piece in thinking.MARK.split(text):
        if piece in (thinking.OPEN, thinking.CLOSE):
            inside = piece == thinking.OPEN
        else:
            parts[inside] += piece
    return parts[True].strip(), None if inside else parts[False].strip()


def answer_cut_with_the_thought(write, prompt, budget, answer_limit, close, end):
    return write(prompt, budget)


def answer_without_the_end(write, prompt, budget, answer_limit, close, end):
    first = write(prompt, budget)
    if close in first and len(first) < budget:
        return first
    return first + write(prompt + first, answer_limit)


def answer_that_is_always_closed(write, prompt, budget, answer_limit, close, end):
    first = write(prompt, budget) + end
    return first + write(prompt + first, answer_limit)


def answer_unfinished_where_the_thought_was_closed(write, prompt, budget, answer_limit, close, end):
    first = write(prompt, budget)
    if close in first:
        return first
    return first + end + write(prompt + first + end, answer_limit)


def answer_that_forgets_the_thought(write, prompt, budget, answer_limit, close, end):
    first = write(prompt, budget)
    if close in first and len(first) < budget:
        return first
    if close not in first:
        first = first + end
    return first + write(prompt + end, answer_limit)


def tokens_of_the_model_alone(prompt, thoughts, answers, cut, end, cached):
    return prompt, sum(thoughts) + sum(answers)


def tokens_with_the_prompt_read_for_each(prompt, thoughts, answers, cut, end, cached):
    again = 0 if cached else prompt
    read = sum(
        prompt + (again + thought * (not cached) + end) * was for thought, was in zip(thoughts, cut, strict=True)
    )
    return read, sum(thoughts) + sum(answers)


def tokens_with_the_end_written(prompt, thoughts, answers, cut, end, cached):
    again = sum((prompt + thought) * was for thought, was in zip(thoughts, cut, strict=True))
    read = prompt if cached else prompt * len(cut) + again
    return read, sum(thoughts) + sum(answers) + end * sum(cut)


def vote_with_the_silent(answers):
    return max(answers, key=answers.count, default=None)


def vote_for_the_last_of_equals(answers):
    return max((answer for answer in reversed(answers) if answer is not None), key=answers.count, default=None)


def vote_for_the_smallest_of_equals(answers):
    return max(sorted(answer for answer in answers if answer is not None), key=answers.count, default=None)


def vote_that_forgets_nought(answers):
    return max((answer for answer in answers if answer), key=answers.count, default=None)


def vote_by_more_than_half(answers):
    votes = [answer for answer in answers if answer is not None]
    return next((answer for answer in votes if 2 * votes.count(answer) > len(votes)), None)


def _share_within(samples, truths, limit, fit, interval=share_interval):
    votes = [qwen.majority_vote(fit(drawn, limit)) for drawn in samples]
    return interval(sum(vote == truth for vote, truth in zip(votes, truths, strict=True)), len(truths))


def share_of_samples_that_fit_alone(samples, truths, limit):
    return _share_within(samples, truths, limit, lambda drawn, limit: [n for tokens, n in drawn if tokens <= limit])


def share_with_the_sample_that_passes_the_limit(samples, truths, limit):
    def fit(drawn, limit):
        spent = np.cumsum([0, *(tokens for tokens, _ in drawn)])
        return [n for (_, n), before in zip(drawn, spent, strict=False) if before < limit]

    return _share_within(samples, truths, limit, fit)


def share_with_smaller_ones_after_the_limit(samples, truths, limit):
    def fit(drawn, limit):
        votes = []
        for tokens, answer in drawn:
            if tokens <= limit:
                limit -= tokens
                votes.append(answer)
        return votes

    return _share_within(samples, truths, limit, fit)


def _fitting(drawn, limit):
    spent = np.cumsum([tokens for tokens, _ in drawn])
    return [n for (_, n), so_far in zip(drawn, spent, strict=True) if so_far <= limit]


def share_with_an_interval_that_leaves_zero_to_one(samples, truths, limit):
    def interval(right, count):
        p = right / count
        half = 1.96 * (p * (1 - p) / count) ** 0.5
        return p, p - half, p + half

    return _share_within(samples, truths, limit, _fitting, interval)


def lines_held_against_the_question(asked, thought):
    def value(line):
        return sum(map(int, re.findall(r"[+-]?\d+", line)))

    lines = enumerate(thought.split("\n"))
    return [n for n, line in lines if "=" not in line and (not line or value(line) != value(asked))]


def lines_without_the_first(asked, thought):
    return [number for number in qwen.broken_lines(thought.split("\n")[0], thought) if number]


def lines_without_the_steps_counted(asked, thought):
    return qwen.broken_lines(asked, "\n".join(line for line in thought.split("\n") if "=" not in line))


def lines_up_to_the_first_broken(asked, thought):
    return qwen.broken_lines(asked, thought)[:1]


def _absmean(w, scale=lambda w: np.abs(w).mean(), rounding=np.round, low=-1):
    size = float(scale(w))
    if size == 0:
        return np.zeros(w.shape, np.int8), 0.0
    return np.clip(rounding(w / size), low, 1).astype(np.int8), size


def absmean_by_the_largest(w):
    return _absmean(w, lambda w: np.abs(w).max())


def absmean_by_the_root_mean_square(w):
    return _absmean(w, lambda w: np.sqrt(np.mean(np.square(w, dtype=np.float64))))


def absmean_of_signed_weights(w):
    return _absmean(w, lambda w: abs(w.mean()))


def absmean_with_the_inverse_scale(w):
    codes, scale = _absmean(w)
    return codes, 1 / scale if scale else 0.0


def absmean_rounded_down(w):
    return _absmean(w, rounding=np.floor)


def absmean_without_zeros(w):
    return _absmean(w, rounding=lambda u: np.where(u < 0, -1, 1))


def absmean_not_clipped(w):
    return _absmean(w, low=-9)


def absmean_a_row(w):
    found = [_absmean(row) for row in w]
    return np.stack([codes for codes, _ in found]), float(np.mean([scale for _, scale in found]))


def _best(w, gain=lambda sums, counts: sums**2 / counts, scale=None, sign=np.sign):
    if not w.any():
        return np.zeros(w.shape, np.int8), 0.0
    largest_first = np.sort(np.abs(w), axis=None)[::-1].astype(np.float64)
    sums, counts = np.cumsum(largest_first), np.arange(1, w.size + 1)
    m = int(np.argmax(gain(sums, counts))) + 1
    kept = np.abs(w) >= largest_first[m - 1]
    return (sign(w) * kept).astype(np.int8), float(scale(w, kept) if scale else sums[m - 1] / m)


def best_with_the_scale_of_all(w):
    return _best(w, scale=lambda w, kept: np.abs(w).mean(dtype=np.float64))


def best_without_signs(w):
    return _best(w, sign=lambda w: np.ones_like(w))


def best_by_the_sum_alone(w):
    return _best(w, gain=lambda sums, counts: sums)


def best_by_the_mean_alone(w):
    return _best(w, gain=lambda sums, counts: sums / counts)


def best_by_the_sum_over_the_count(w):
    return _best(w, gain=lambda sums, counts: sums / np.sqrt(counts) - 1e-3 * counts)


def best_with_the_smallest_kept_as_scale(w):
    return _best(w, scale=lambda w, kept: np.abs(w[kept]).min())


def best_by_three_quarters_of_the_mean(w):  # what is best for a normal distribution
    kept = np.abs(w) > 0.766 * np.abs(w).mean()
    return (np.sign(w) * kept).astype(np.int8), float(np.abs(w[kept]).mean(dtype=np.float64)) if kept.any() else 0.0


def _bit_linear(x, w_codes, w_scale, largest=None, whole=np.int64, levels=127, back=True, rounding=np.round):
    largest = np.abs(x).max(axis=1, keepdims=True) if largest is None else largest
    largest = np.where(largest == 0, 1, largest)
    x_codes = rounding(x * (levels / largest)).astype(whole)
    sums = (x_codes @ w_codes.T.astype(whole)).astype(np.float64)
    return (sums * (w_scale * largest / levels if back else w_scale * levels / largest)).astype(np.float32)


def bit_linear_with_one_scale_for_all_tokens(x, w_codes, w_scale):
    return _bit_linear(x, w_codes, w_scale, largest=np.abs(x).max(keepdims=True))


def bit_linear_with_a_scale_a_column(x, w_codes, w_scale):
    y = np.zeros((len(x), len(w_codes)), np.float32)
    largest = np.abs(x).max(axis=0, keepdims=True)
    step = np.where(largest == 0, 1, largest) / 127
    y[:] = (np.round(x / step) * step) @ w_codes.T * w_scale
    return y


def bit_linear_not_turned_back(x, w_codes, w_scale):
    return _bit_linear(x, w_codes, w_scale, back=False)


def bit_linear_in_16_bits(x, w_codes, w_scale):
    return _bit_linear(x, w_codes, w_scale, whole=np.int16)


def bit_linear_cut_off(x, w_codes, w_scale):
    return _bit_linear(x, w_codes, w_scale, rounding=np.trunc)


def bit_linear_without_rounding_tokens(x, w_codes, w_scale):
    return (x @ w_codes.T * w_scale).astype(np.float32)


def bit_linear_of_128_levels(x, w_codes, w_scale):
    return _bit_linear(x, w_codes, w_scale, levels=128)


def bit_linear_by_the_weights_scale_twice(x, w_codes, w_scale):
    return _bit_linear(x, w_codes, w_scale) * np.float32(w_scale)


def _through(gradient, x, w_codes, w_scale, rounded=True, scale=True, mask=False, mean=False):
    step = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    step[step == 0] = 1
    xr = np.round(x / step) * step if rounded else x
    wr = np.float32(w_scale if scale else 1) * w_codes
    of_w = gradient.T @ xr
    if mask:
        of_w = of_w * np.abs(w_codes)
    return gradient @ wr, of_w / np.float32(len(x) if mean else 1)


def through_nothing(gradient, x, w_codes, w_scale):  # the true derivative of a staircase
    return np.zeros(x.shape, np.float32), np.zeros(w_codes.shape, np.float32)


def through_tokens_that_were_not_rounded(gradient, x, w_codes, w_scale):
    return _through(gradient, x, w_codes, w_scale, rounded=False)


def through_codes_without_scale(gradient, x, w_codes, w_scale):
    return _through(gradient, x, w_codes, w_scale, scale=False)


def through_weights_that_are_not_zero(gradient, x, w_codes, w_scale):
    return _through(gradient, x, w_codes, w_scale, mask=True)


def through_the_mean_of_the_tokens(gradient, x, w_codes, w_scale):
    return _through(gradient, x, w_codes, w_scale, mean=True)


def through_with_the_scale_on_the_latent_weights(gradient, x, w_codes, w_scale):
    of_x, of_w = _through(gradient, x, w_codes, w_scale)
    return of_x, of_w * np.float32(w_scale)


def through_in_the_wrong_order(gradient, x, w_codes, w_scale):
    return _through(gradient, x, w_codes, w_scale)[::-1]


# ------------------------------------------------------------------------------------------------------- textbook data


def equal_number_of_documents(first, second, slack):
    count = min(len(first), len(second))
    return count, count


def equal_up_to_the_smaller_corpus(first, second, slack):
    budget = min(sum(first), sum(second))
    return tuple(int(np.searchsorted(np.cumsum(lengths), budget, "right")) for lengths in (first, second))


def equal_with_less_than_the_slack(first, second, slack):
    return textbook.equal_tokens(first, second, slack - 1) if slack else (0, 0)


def equal_as_nearly_as_can_be(first, second, slack):
    pairs = [
        (-abs(sum(first[:i]) - sum(second[:j])), sum(first[:i]) + sum(second[:j]), i, j)
        for i in range(len(first) + 1)
        for j in range(len(second) + 1)
    ]
    return max(pairs)[2:]


def equal_up_to_the_first_that_does_not_fit(first, second, slack):
    i = j = 0
    while i < len(first) and j < len(second) and abs(sum(first[: i + 1]) - sum(second[: j + 1])) <= slack:
        i, j = i + 1, j + 1
    return i, j


def reader_of_the_last_telling(tellings, truths):
    last = dict(tellings)
    right = sum(last.get(fact) == truth for fact, truth in truths.items())
    return right / len(truths), textbook.best_reader(tellings, truths)[1]


def reader_who_draws(tellings, truths):
    shares = []
    for fact, truth in truths.items():
        own = [value for other, value in tellings if other == fact]
        shares.append(own.count(truth) / len(own) if own else 0.0)
    return sum(shares) / len(shares), textbook.best_reader(tellings, truths)[1]


def reader_scored_by_tellings(tellings, truths):
    right = sum(value == truths[fact] for fact, value in tellings)
    return right / len(tellings), textbook.best_reader(tellings, truths)[1]


def reader_without_the_facts_never_told(tellings, truths):
    told = {fact for fact, _ in tellings}
    known = {fact: truth for fact, truth in truths.items() if fact in told}
    return textbook.best_reader(tellings, known)


def reader_with_the_last_of_equals(tellings, truths):
    return textbook.best_reader(tellings[::-1], truths)


def reader_in_bits(tellings, truths):
    share, nats = textbook.best_reader(tellings, truths)
    return share, nats / np.log(2)


def reader_with_the_mean_over_facts(tellings, truths):
    facts = {fact for fact, _ in tellings}
    by_fact = [textbook.best_reader([pair for pair in tellings if pair[0] == fact], truths)[1] for fact in facts]
    return textbook.best_reader(tellings, truths)[0], float(np.mean(by_fact))


def gap_of_two_samples(first, second, t):
    mean = np.mean(second) - np.mean(first)
    half = t * np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / len(first))
    return float(mean), float(mean - half), float(mean + half)


def gap_with_n_seeds(first, second, t):
    return _gap(first, second, t, 0, len(first) ** 0.5)


def gap_of_a_single_run(first, second, t):
    return _gap(first, second, t, 1, 1)


def gap_by_the_normal_distribution(first, second, t):
    return _gap(first, second, 1.96, 1, len(first) ** 0.5)


def gap_the_other_way_round(first, second, t):
    return textbook.paired_gap(second, first, t)


def _gap(first, second, t, ddof, root):
    gaps = np.subtract(second, first)
    half = t * gaps.std(ddof=ddof) / root
    return float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half)


def ngrams_with_capitals_and_stops(item, texts, n):
    own = item.split()
    there = {tuple(text.split()[start : start + n]) for text in texts for start in range(len(text.split()) - n + 1)}
    found = [tuple(own[start : start + n]) in there for start in range(len(own) - n + 1)]
    return sum(found) / len(found) if found else float("nan")


def ngrams_over_the_ends_of_texts(item, texts, n):
    return textbook.ngram_share(item, [" ".join(texts)], n)


def ngrams_within_words(item, texts, n):
    own = textbook.words(item)
    there = [" ".join(textbook.words(text)) for text in texts]
    found = [any(" ".join(own[start : start + n]) in text for text in there) for start in range(len(own) - n + 1)]
    return sum(found) / len(found) if found else float("nan")


def ngrams_of_short_items_as_clean(item, texts, n):
    found = textbook.ngram_share(item, texts, n)
    return 0.0 if np.isnan(found) else found


def ngrams_as_a_set(item, texts, n):
    own = textbook.words(item)
    grams = {" ".join(own[start : start + n]) for start in range(len(own) - n + 1)}
    shares = [textbook.ngram_share(gram, texts, n) for gram in sorted(grams)]
    return sum(shares) / len(shares) if shares else float("nan")


def leaks_with_templates(items, texts, n, common):
    return [number for number, item in enumerate(items) if textbook.ngram_share(item, texts, n) > 0]


def leaks_above_common(items, texts, n, common):
    return textbook.leaked_items(items, texts, n, common + 1)


def leaks_with_templates_counted_in_the_texts(items, texts, n, common):
    leaked = []
    for number, item in enumerate(items):
        own = textbook.words(item)
        for start in range(len(own) - n + 1):
            gram = " ".join(own[start : start + n])
            if 0 < sum(textbook.ngram_share(gram, [text], n) > 0 for text in texts) < common:
                leaked.append(number)
                break
    return leaked


def leaks_with_each_place_counted(items, texts, n, common):
    places = [
        tuple(textbook.words(item)[start : start + n])
        for item in items
        for start in range(len(textbook.words(item)) - n + 1)
    ]
    leaked = []
    for number, item in enumerate(items):
        own = textbook.words(item)
        grams = [tuple(own[start : start + n]) for start in range(len(own) - n + 1)]
        if any(places.count(gram) < common and textbook.ngram_share(" ".join(gram), texts, n) > 0 for gram in grams):
            leaked.append(number)
    return leaked


def leaks_of_whole_items(items, texts, n, common):
    return [number for number, item in enumerate(items) if textbook.ngram_share(item, texts, n) == 1]


WRONG_ANSWERS = {
    "absmean-codes": [
        absmean_by_the_largest,
        absmean_by_the_root_mean_square,
        absmean_of_signed_weights,
        absmean_with_the_inverse_scale,
        absmean_rounded_down,
        absmean_without_zeros,
        absmean_not_clipped,
        absmean_a_row,
    ],
    "best-ternary": [
        best_with_the_scale_of_all,
        best_without_signs,
        best_by_the_sum_alone,
        best_by_the_mean_alone,
        best_by_the_sum_over_the_count,
        best_with_the_smallest_kept_as_scale,
        best_by_three_quarters_of_the_mean,
    ],
    "bit-linear": [
        bit_linear_with_one_scale_for_all_tokens,
        bit_linear_with_a_scale_a_column,
        bit_linear_not_turned_back,
        bit_linear_in_16_bits,
        bit_linear_cut_off,
        bit_linear_without_rounding_tokens,
        bit_linear_of_128_levels,
        bit_linear_by_the_weights_scale_twice,
    ],
    "straight-through": [
        through_nothing,
        through_tokens_that_were_not_rounded,
        through_codes_without_scale,
        through_weights_that_are_not_zero,
        through_the_mean_of_the_tokens,
        through_with_the_scale_on_the_latent_weights,
        through_in_the_wrong_order,
    ],
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
    "merge-pairs": [merged_from_the_left, merged_longest_first, merged_highest_rank_first, merged_once],
    "answer-bits": [
        bits_in_nats,
        bits_of_the_prompt_too,
        bits_without_the_first,
        bits_of_the_token_just_read,
        bits_a_token,
        bits_that_overflow,
    ],
    "greedy-answer": [
        greedy_with_the_stop,
        greedy_with_the_prompt,
        greedy_that_writes_into_the_prompt,
        greedy_that_forgets,
        greedy_that_knows_one_stop,
        greedy_one_too_many,
        greedy_by_the_last_of_equals,
    ],
    "trusted-share": [
        trusted_until_the_first_too_many,
        trusted_one_by_one,
        trusted_above_the_threshold,
        trusted_by_the_confidence_itself,
        trusted_share_of_the_right,
    ],
    "symmetric-round": [
        symmetric_with_a_code_too_many,
        symmetric_by_the_largest_value,
        symmetric_cut_off,
        symmetric_with_one_scale_for_all,
        symmetric_with_a_scale_a_row,
        symmetric_with_groups_down_the_columns,
        symmetric_codes_without_scale,
        symmetric_with_nan_for_zeros,
    ],
    "stored-bits": [
        stored_bits_of_codes_alone,
        stored_bits_with_whole_groups_alone,
        stored_bits_with_a_part_of_a_scale,
        stored_bits_with_groups_over_row_ends,
        stored_bits_with_wide_zero_points,
        stored_bits_without_zero_points,
    ],
    "token-nll": [
        nll_of_the_same_place,
        nll_of_the_token_just_read,
        nll_with_the_first_token,
        nll_in_bits,
        nll_without_the_sum,
        nll_that_overflows,
        nll_averaged,
    ],
    "asymmetric-round": [
        asymmetric_with_a_minimum,
        asymmetric_by_minimum_and_maximum,
        asymmetric_with_a_step_too_many,
        asymmetric_with_a_range_a_row,
        asymmetric_that_is_symmetric,
    ],
    "distinct-values": [
        distinct_in_whole_rows,
        distinct_neighbours,
        distinct_changes_without_the_first,
        distinct_but_for_nearly_equal_ones,
        distinct_in_a_flat_list,
    ],
    "w8a8-matmul": [
        w8a8_in_int8,
        w8a8_in_int16,
        w8a8_with_one_scale_for_all_tokens,
        w8a8_without_the_scales_of_the_weights,
        w8a8_with_weights_alone,
        w8a8_not_quantized,
        w8a8_with_scales_by_column,
    ],
    "pack-rows": [
        packed_neighbouring_rows,
        packed_from_the_high_bits,
        packed_without_the_one,
        packed_columns,
        packed_wide,
    ],
    "packed-product": [
        product_of_the_codes,
        product_in_16_bits,
        product_with_fields_reversed,
        product_with_masks_not_shifted_back,
        product_with_the_sum_taken_off_before_the_shift,
        product_with_rows_in_the_order_of_bytes,
        product_in_floats,
    ],
    "ternary-kernel": [
        product_of_the_codes,
        product_in_16_bits,
        product_with_fields_reversed,
        product_with_masks_not_shifted_back,
        product_with_the_sum_taken_off_before_the_shift,
        product_with_rows_in_the_order_of_bytes,
        product_in_floats,
    ],
    "int16-lane": [
        lane_without_end,
        lane_that_saturates,
        lane_that_forgets_the_rest,
        lane_that_is_never_flushed,
        lane_flushed_by_products,
        lane_without_a_sign,
    ],
    "safe-additions": [
        additions_by_the_positive_end,
        additions_by_128_and_the_positive_end,
        additions_of_single_products,
        additions_without_a_sign,
        additions_one_less,
    ],
    "roofline": [
        roofline_one_after_the_other,
        roofline_of_the_faster,
        roofline_in_bits_per_second,
        roofline_with_weights_read_for_each_token,
        roofline_of_weights,
    ],
    "ternary-entropy": [
        entropy_in_nats,
        entropy_of_the_whole_matrix,
        entropy_with_zero_times_the_log_of_zero,
        entropy_of_zero_or_not,
        entropy_of_columns,
        entropy_as_the_log_of_the_values_in_use,
    ],
    "base3-pack": [
        base3_as_a_plain_number,
        base3_filled_with_minus_one,
        base3_of_neighbouring_columns,
        base3_without_the_second_range,
        base3_without_the_rest,
        base3_of_weights_for_codes,
        base3_highest_digit_first,
    ],
    "ans-decode": [
        decoded_low_byte_first,
        decoded_codes_for_weights,
        decoded_one_byte_at_most,
        decoded_without_the_place_in_the_slots,
        decoded_without_the_start,
        decoded_with_a_lower_bound_too_low,
        decoded_last_first,
    ],
    "hf-weights": [
        hf_from_the_end_of_the_length,
        hf_of_neighbouring_rows,
        hf_always_multiplied,
        hf_always_divided,
        hf_highest_bits_first,
        hf_codes_for_weights,
        hf_with_bfloat16_as_the_lower_half,
    ],
    "tq1-block": [
        tq1_of_plain_bytes,
        tq1_in_8_bits,
        tq1_lowest_digit_first,
        tq1_with_a_shorter_last_number,
        tq1_with_the_scale_high_byte_first,
        tq1_five_neighbours_a_byte,
        tq1_rounded,
    ],
    "file-bytes": [
        sizes_with_queries_keys_and_values_alike,
        sizes_with_the_head_beside_the_embedding,
        sizes_without_the_norms_inside,
        sizes_with_blocks_over_the_ends_of_rows,
        sizes_without_the_last_block,
        sizes_in_bits,
    ],
    "gemma3n-counts": [
        gemma3n_with_keys_as_wide_as_queries,
        gemma3n_with_keys_and_values_in_one,
        gemma3n_with_four_norms,
        gemma3n_with_a_projection_for_every_layer_twice,
        gemma3n_with_altup_one_way,
        gemma3n_with_rows_for_every_token,
        gemma3n_with_the_head_counted_again,
    ],
    "pages-read": [
        pages_of_the_first_byte,
        pages_of_both_ends,
        pages_with_the_byte_after,
        pages_without_the_start,
        pages_in_the_order_of_the_rows,
        pages_counted_per_row,
    ],
    "fetch-seconds": [
        fetch_with_a_read_for_each_page,
        fetch_with_one_read_too_few,
        fetch_without_a_queue,
        fetch_with_parts_of_rounds,
        fetch_with_rounds_cut_off,
        fetch_of_the_longer_of_the_two,
        fetch_with_bytes_shared_by_the_queue,
    ],
    "fastest-places": [
        places_by_size_alone,
        places_by_what_is_read,
        places_by_what_is_read_of_a_byte,
        places_that_are_never_full,
        places_with_room_to_spare,
        places_with_what_nobody_reads_in_front,
        places_by_the_slowest_part,
    ],
    "pass-macs": [
        macs_for_one_token,
        macs_without_grouped_queries,
        macs_with_heads_cut_from_hidden_size,
        macs_with_two_mlp_matrices,
        macs_of_the_past_alone,
        macs_with_attention_by_key_value_heads,
        macs_with_one_product_in_attention,
        macs_counted_as_operations,
    ],
    "pass-joules": [
        pass_joules_in_picojoules,
        pass_joules_of_the_first_operation,
        pass_joules_of_different_operations,
        pass_joules_added_up,
        pass_joules_of_nanojoules,
    ],
    "decode-joules": [
        decode_joules_of_bytes_as_bits,
        decode_joules_of_a_step,
        decode_joules_with_weights_for_each,
        decode_joules_with_a_shared_cache,
        decode_joules_of_bytes_of_weights,
    ],
    "counter-joules": [
        counter_joules_last_less_first,
        counter_joules_of_every_zone,
        counter_joules_of_packages_alone,
        counter_joules_of_the_first_package,
        counter_joules_with_a_shorter_range,
        counter_joules_without_what_went_around,
        counter_joules_in_millijoules,
    ],
    "best-rows": [
        rows_where_the_score_is_highest,
        rows_by_the_best_rival_of_each,
        rows_by_the_mean_rival,
        rows_in_the_order_of_the_lead,
        rows_with_the_model_among_its_rivals,
        rows_of_the_largest_lead_over_anyone,
    ],
    "split-thought": [
        split_at_the_first_close,
        split_at_the_last_close,
        split_blind_to_the_prompt,
        split_with_a_cut_thought_as_the_answer,
        split_without_nesting,
    ],
    "answer-within": [
        answer_cut_with_the_thought,
        answer_without_the_end,
        answer_that_is_always_closed,
        answer_unfinished_where_the_thought_was_closed,
        answer_that_forgets_the_thought,
    ],
    "tokens-spent": [tokens_of_the_model_alone, tokens_with_the_prompt_read_for_each, tokens_with_the_end_written],
    "majority-vote": [
        vote_with_the_silent,
        vote_for_the_last_of_equals,
        vote_for_the_smallest_of_equals,
        vote_that_forgets_nought,
        vote_by_more_than_half,
    ],
    "share-within": [
        share_of_samples_that_fit_alone,
        share_with_the_sample_that_passes_the_limit,
        share_with_smaller_ones_after_the_limit,
        share_with_an_interval_that_leaves_zero_to_one,
    ],
    "broken-lines": [
        lines_held_against_the_question,
        lines_without_the_first,
        lines_without_the_steps_counted,
        lines_up_to_the_first_broken,
    ],
    "equal-tokens": [
        equal_number_of_documents,
        equal_up_to_the_smaller_corpus,
        equal_with_less_than_the_slack,
        equal_as_nearly_as_can_be,
        equal_up_to_the_first_that_does_not_fit,
    ],
    "best-reader": [
        reader_of_the_last_telling,
        reader_who_draws,
        reader_scored_by_tellings,
        reader_without_the_facts_never_told,
        reader_with_the_last_of_equals,
        reader_in_bits,
        reader_with_the_mean_over_facts,
    ],
    "paired-gap": [
        gap_of_two_samples,
        gap_with_n_seeds,
        gap_of_a_single_run,
        gap_by_the_normal_distribution,
        gap_the_other_way_round,
    ],
    "ngram-share": [
        ngrams_with_capitals_and_stops,
        ngrams_over_the_ends_of_texts,
        ngrams_within_words,
        ngrams_of_short_items_as_clean,
        ngrams_as_a_set,
    ],
    "leaked-items": [
        leaks_with_templates,
        leaks_above_common,
        leaks_with_templates_counted_in_the_texts,
        leaks_with_each_place_counted,
        leaks_of_whole_items,
    ],
}
