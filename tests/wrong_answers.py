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
}
