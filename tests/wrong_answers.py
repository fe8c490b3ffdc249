"""Planted wrong answers by exercise id: mistakes a learner could make. Each must fail its exercise's check.

At least two an exercise, with the parameters of its stub; test_exercises.py says so.
"""


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
