"""Exercises of lab 44: operations and bits into joules, a counter that wraps around, and rows picked from a table."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np

from .check import Exercise


def pass_macs(config: dict, tokens: int) -> tuple[int, int]:
    """Multiply-accumulates of one pass over `tokens` tokens: (in the matrices of the layers, in attention).

    config: num_hidden_layers, hidden_size, intermediate_size, num_attention_heads, num_key_value_heads, head_dim. A
    layer has query, key, value and output matrices, and gate, up and down; each weight is used once for each token. In
    attention every query of every head meets the key of every token, head_dim products, and every value is weighted,
    head_dim more. Embedding and head are left out, and so is that a token sees only what is before it.
    """
    hidden, width = config["hidden_size"], config["head_dim"]
    matrices = attention = 0
    for _layer in range(config["num_hidden_layers"]):
        for _head in range(config["num_attention_heads"]):
            matrices += 2 * hidden * width  # its queries, and its part of the output matrix
            attention += tokens * tokens * width  # queries times keys
            attention += tokens * tokens * width  # weights times values
        for _head in range(config["num_key_value_heads"]):
            matrices += 2 * hidden * width
        matrices += 3 * hidden * config["intermediate_size"]
    return tokens * matrices, attention


def _pass_macs_cases(rng: np.random.Generator) -> Iterator[tuple]:
    names = (
        *("num_hidden_layers", "hidden_size", "intermediate_size"),
        *("num_attention_heads", "num_key_value_heads", "head_dim"),
    )
    yield dict(zip(names, (1, 1, 1, 1, 1, 1), strict=True)), 1
    yield dict(zip(names, (1, 4, 8, 2, 1, 2), strict=True)), 3
    yield dict(zip(names, (2, 4, 8, 2, 1, 8), strict=True)), 5  # heads wider than the stream
    for _ in range(14):
        kv_heads = int(rng.integers(1, 5))
        heads = kv_heads * int(rng.integers(1, 5))
        layers, hidden, inner = (int(rng.integers(1, most)) for most in (6, 65, 257))
        yield (
            dict(zip(names, (layers, hidden, inner, heads, kv_heads, int(rng.integers(1, 33))), strict=True)),
            int(rng.integers(1, 600)),
        )


def pass_joules(macs: dict, operations: dict, picojoules: dict) -> dict:
    """Joules of each part of a pass: {part: joules}.

    macs: {part: multiply-accumulates}; operations: {part: the operations of one multiply-accumulate, as a tuple of
    names}; picojoules: {operation: picojoules}.
    """
    joules = {}
    for part, count in macs.items():
        joules[part] = 0.0
        for operation in operations[part]:
            joules[part] += count * picojoules[operation] / 1e12
    return joules


def _pass_joules_cases(rng: np.random.Generator) -> Iterator[tuple]:
    prices = {"fp16 mul": 0.5, "fp16 add": 0.25, "int8 add": 0.125}
    yield {"layers": 4_000_000_000_000}, {"layers": ("int8 add",)}, prices
    yield {"layers": 1_000_000_000_000}, {"layers": ("fp16 mul", "fp16 add")}, prices
    both = {"layers": ("int8 add",), "attention": ("fp16 mul", "fp16 add")}
    yield {"layers": 8_000_000_000_000, "attention": 1_000_000_000_000}, both, prices
    names = list(prices)
    for _ in range(12):
        parts = [f"part {n}" for n in range(int(rng.integers(1, 5)))]
        macs = {part: int(rng.integers(10**9, 10**13)) for part in parts}
        used = {part: tuple(rng.choice(names, int(rng.integers(1, 4))).tolist()) for part in parts}
        yield macs, used, {name: float(rng.uniform(0.005, 4)) for name in names}


def decode_joules(matrices: list, cache_bytes: int, batch: int, picojoules_per_bit: float) -> float:
    """Joules that memory costs for one generated token, when a step makes one token for each of `batch` sequences.

    matrices: (weights, bits of each) of everything that a step reads, once for all sequences. cache_bytes: the keys and
    values of one sequence, which a step reads for each sequence.
    """
    picojoules = 0.0
    for weights, bits in matrices:
        picojoules += weights * bits * picojoules_per_bit
    for _sequence in range(batch):
        picojoules += 8 * cache_bytes * picojoules_per_bit
    return picojoules / batch / 1e12


def _decode_joules_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [(1_000_000_000_000, 1)], 0, 1, 1.0
    yield [(1_000_000_000_000, 16)], 0, 1, 5.0
    yield [(1_000_000_000_000, 2), (500_000_000_000, 16)], 0, 1, 1.0
    yield [], 125_000_000_000, 1, 1.0
    yield [(1_000_000_000_000, 2)], 125_000_000_000, 4, 1.0
    for _ in range(14):
        count = int(rng.integers(1, 4))
        matrices = [
            (int(rng.integers(10**6, 10**10)), float(rng.choice([1.6, 2.0, 4.0, 8.0, 16.0]))) for _ in range(count)
        ]
        yield matrices, int(rng.integers(0, 10**9)), int(rng.integers(1, 65)), float(rng.uniform(1, 40))


def counter_joules(readings_uj: dict, range_uj: dict) -> float:
    """Joules that a processor used while its counters were read again and again.

    readings_uj: {zone: its readings in microjoules, in the order of time}. range_uj: {zone: the largest reading}; the
    next after that is 0. A counter goes around at most once between two readings. Zones: "package-0", "package-1" are
    the processors. "core" and "uncore" are parts of a package, "psys" contains the packages. "dram" is memory, beside
    the packages.
    """
    total = 0
    for zone, readings in readings_uj.items():
        if not (zone.startswith("package") or zone == "dram"):
            continue
        for before, after in pairwise(readings):
            if after >= before:
                total += after - before
            else:  # to the end of the range, one more to 0, and on
                total += range_uj[zone] - before + 1 + after
    return total / 1e6


def _counter_joules_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield {"package-0": [1_000_000, 3_000_000]}, {"package-0": 9_999_999}
    yield {"package-0": [1_000_000, 3_000_000, 7_000_000]}, {"package-0": 9_999_999}
    yield {"package-0": [9_000_000, 2_000_000]}, {"package-0": 9_999_999}
    yield {"package-0": [5_000_000]}, {"package-0": 9_999_999}
    yield (
        {"package-0": [0, 4], "core": [0, 3], "uncore": [0, 1], "psys": [0, 9]},
        dict.fromkeys(("package-0", "core", "uncore", "psys"), 99),
    )
    yield (
        {"package-0": [0, 4_000_000], "package-1": [7, 7_000_007], "dram": [1, 2_000_001]},
        dict.fromkeys(("package-0", "package-1", "dram"), 9_999_999),
    )
    zones = ["package-0", "core", "package-1", "dram", "uncore", "psys"]
    for size in range(1, 13):
        chosen = zones[: int(rng.integers(1, len(zones) + 1))]
        ranges = {zone: int(rng.integers(10**6, 10**8)) for zone in chosen}
        # rising from near the end, so that some go around
        readings = {
            zone: [
                int(value) % (last + 1) for value in last // 2 + np.cumsum(rng.integers(0, last // 2, size=size + 1))
            ]
            for zone, last in ranges.items()
        }
        yield readings, ranges


def best_rows(scores: np.ndarray, model: int, count: int) -> tuple:
    """The `count` rows of a table on whose average a model leads the best of the others by the most.

    scores: (rows, models) float64. The lead is the mean of the model's scores in the chosen rows less the largest mean
    that another model has in the same rows. Returns row numbers, ascending.
    """
    best, lead = (), -np.inf
    for rows in combinations(range(len(scores)), count):
        means = [sum(scores[row, column] for row in rows) / count for column in range(scores.shape[1])]
        own = means.pop(model)
        if own - max(means) > lead:
            best, lead = rows, own - max(means)
    return best


def _best_rows_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[1.0, 2.0], [5.0, 3.0], [4.0, 4.0]]), 0, 1
    yield np.array([[1.0, 2.0], [5.0, 3.0], [4.5, 4.0]]), 1, 2
    yield np.array([[5.0, 4.0], [9.0, 1.0]]), 0, 1
    yield np.array([[9.0, 8.0], [5.0, 1.0]]), 0, 1
    yield np.array([[5.0, 1.0, 4.75], [5.0, 3.0, 3.0]]), 0, 1
    # each of the first two rows is far ahead of one rival and far behind the other; the last leads by a little, twice
    yield np.array([[50.0, 10.0, 60.0], [50.0, 60.0, 10.0], [50.0, 49.0, 48.0], [50.0, 70.0, 70.0]]), 0, 2
    for size in range(3, 9):
        for models in (2, 4):
            scores = rng.uniform(10, 90, (size, models))
            yield scores, int(rng.integers(models)), int(rng.integers(1, min(size, 5)))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="pass-macs",
        reference=pass_macs,
        cases=_pass_macs_cases,
        hint="Queries and output have num_attention_heads * head_dim columns, keys and values num_key_value_heads * "
        "head_dim; attention has no weights, two products, and as many heads as there are queries.",
        lines=6,
    ),
    Exercise(
        id="pass-joules",
        reference=pass_joules,
        cases=_pass_joules_cases,
        hint="One multiply-accumulate takes each of its part's operations once; a picojoule is 1e-12 J.",
        lines=4,
        rtol=1e-9,
    ),
    Exercise(
        id="decode-joules",
        reference=decode_joules,
        cases=_decode_joules_cases,
        hint="The batch shares the weights and nothing else; the cache is given in bytes, the price for bits.",
        lines=3,
        rtol=1e-9,
    ),
    Exercise(
        id="counter-joules",
        reference=counter_joules,
        cases=_counter_joules_cases,
        hint="Add what lies between neighbouring readings, modulo range + 1, of the packages and of dram alone.",
        lines=6,
        rtol=1e-12,
    ),
    Exercise(
        id="best-rows",
        reference=best_rows,
        cases=_best_rows_cases,
        hint="The best other model depends on which rows are chosen, so rows cannot be judged one by one: try all "
        "combinations.",
        lines=6,
    ),
)
