"""Exercises of labs 00 and 01: how to measure, and what a model's numbers cost in memory."""

from collections.abc import Iterator

import numpy as np

from .check import Exercise


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
)
