"""Exercises of lab 32: where the parameters of a Gemma 3n are, and what it takes to keep some of them on a disk."""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from .check import Exercise


def gemma3n_counts(config: dict) -> dict[str, int]:
    """Numbers stored by the text model of a Gemma 3n: "per-layer table", "token embedding", "decoder".

    config: vocab_size, vocab_size_per_layer_input, hidden_size, hidden_size_per_layer_input, intermediate_size,
    num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, laurel_rank, altup_num_inputs; int each.
    The output head is the token embedding once more, stored once.
    """
    d, p, f = config["hidden_size"], config["hidden_size_per_layer_input"], config["intermediate_size"]
    layers, width, rank = config["num_hidden_layers"], config["head_dim"], config["laurel_rank"]
    q, kv = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
    streams = config["altup_num_inputs"]
    shapes = []  # of every tensor of the decoder
    for _ in range(layers):
        shapes += [(d, q), (d, kv), (d, kv), (q, d)]  # attention
        shapes += [(d, f), (d, f), (f, d)]  # MLP
        shapes += [(d, rank), (rank, d)]  # LAuReL
        shapes += [(d, p), (p, d)]  # gate and projection of the per-layer input
        shapes += [(streams, streams), (streams, streams * streams), (d, streams), (d,), (d,)]  # AltUp
        shapes += [(d,)] * 6 + [(width,)] * 2  # norms
    shapes += [(d, layers * p), (p,)]  # the per-layer inputs that are computed, and their norm
    shapes += [(d, d)] * (2 * (streams - 1))  # AltUp's projections, in and out
    shapes += [(d,)]  # the last norm
    return {
        "per-layer table": config["vocab_size_per_layer_input"] * layers * p,
        "token embedding": config["vocab_size"] * d,
        "decoder": sum(math.prod(shape) for shape in shapes),
    }


def _gemma3n_config(rng: np.random.Generator, size: int) -> dict:
    draw = lambda low, high: int(rng.integers(low, high))  # noqa: E731
    rows = draw(2, 50 * size + 3)
    kv_heads = draw(1, size + 2)
    return {
        "vocab_size": rows + draw(1, 9),  # the table has rows for fewer tokens
        "vocab_size_per_layer_input": rows,
        "hidden_size": draw(2, 10 * size + 3),
        "hidden_size_per_layer_input": draw(1, 4 * size + 2),
        "intermediate_size": draw(2, 20 * size + 3),
        "num_hidden_layers": draw(1, size + 2),
        "num_attention_heads": kv_heads * draw(1, 4),
        "num_key_value_heads": kv_heads,
        "head_dim": draw(1, 6 * size + 2),
        "laurel_rank": draw(1, 3 * size + 2),
        "altup_num_inputs": draw(2, 5),
    }


def _gemma3n_cases(rng: np.random.Generator) -> Iterator[tuple]:
    names = list(_gemma3n_config(rng, 1))
    yield (dict.fromkeys(names, 1) | {"altup_num_inputs": 2},)
    for size in range(1, 16):
        yield (_gemma3n_config(rng, size),)


def pages_read(rows: np.ndarray, row_bytes: int, start: int, page_bytes: int) -> np.ndarray:
    """Numbers of the pages of a file that hold a byte of the given rows: sorted, each once, int64.

    rows: (n,) int64, in any order, some more than once. Row r of the table has the `row_bytes` bytes of the file from
    start + r * row_bytes on; page n those from n * page_bytes on.
    """
    found = set()
    for row in rows.tolist():
        for byte in range(row_bytes):
            found.add((start + row * row_bytes + byte) // page_bytes)
    return np.array(sorted(found), np.int64)


def _pages_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([0]), 4, 0, 8
    yield np.array([1]), 4, 6, 8  # bytes 10 to 13, on one page
    yield np.array([1]), 6, 0, 8  # bytes 6 to 11, on two
    yield np.array([2, 0, 2]), 8, 0, 8  # not sorted, one twice
    yield np.array([1]), 30, 3, 8  # bytes 33 to 62: four pages
    yield np.array([0, 1]), 8, 0, 8  # each ends where the next page begins
    yield np.array([3, 4]), 5, 1, 16  # neighbours on one page
    for size in range(1, 14):
        page_bytes = int(rng.choice([8, 16, 64]))
        row_bytes = int(rng.choice([int(rng.integers(1, 3 * page_bytes)), page_bytes, page_bytes // 2]))
        rows = rng.integers(0, 30, int(rng.integers(1, size + 2)))
        yield rows, row_bytes, int(rng.integers(0, 2 * page_bytes)), page_bytes


def fetch_seconds(pages: np.ndarray, page_bytes: int, latency_s: float, bytes_per_s: float, queue: int) -> float:
    """Seconds until a disk has given the pages of a file.

    pages: (n,) int64, sorted, each once. Pages that follow one another are one read. The disk works on `queue` reads
    at a time, and such a round of reads waits latency_s once; after that, all bytes come at bytes_per_s.
    """
    reads, before = 0, None
    for page in pages.tolist():
        if before is None or page != before + 1:
            reads += 1
        before = page
    rounds = 0
    while reads > 0:
        rounds, reads = rounds + 1, reads - queue
    return rounds * latency_s + len(pages) * page_bytes / bytes_per_s


def _fetch_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([7]), 4096, 0.01, 4096e3, 1
    yield np.array([7, 8, 9]), 4096, 0.01, 4096e3, 1  # one read
    yield np.array([7, 9, 11]), 4096, 0.01, 4096e3, 1  # three
    yield np.array([0, 1, 5, 6, 7, 9]), 4096, 0.01, 4096e3, 2  # three reads, two rounds
    yield np.array([3, 30, 300]), 4096, 0.01, 4096e3, 8  # one round
    yield np.empty(0, np.int64), 4096, 0.01, 4096e3, 4  # nothing to read
    for size in range(1, 15):
        most = int(rng.integers(4, 12 * size + 4))
        pages = np.flatnonzero(rng.random(most) < rng.uniform(0.2, 0.9))
        latency_s, bytes_per_s = float(10.0 ** rng.uniform(-5, -1)), float(10.0 ** rng.uniform(6, 10))
        yield pages, int(rng.choice([4096, 16_384])), latency_s, bytes_per_s, int(rng.integers(1, 9))


def fastest_places(components: dict[str, tuple[int, int]], places: dict[str, tuple[int, float]]) -> dict[str, str]:
    """The place of each component with which a token takes the least time; {} where nothing fits.

    components: name -> (bytes stored, bytes that a token reads). places: name -> (capacity in bytes, bytes per
    second). A token takes the sum, over the components, of what it reads by the speed of where that is. Of equally
    fast ways counts the one with the fewest bytes in the first place of `places`, then in the second, and so on.
    """
    best = None
    for chosen in itertools.product(places, repeat=len(components)):
        seconds, held = 0.0, dict.fromkeys(places, 0)
        for place, (stored, read) in zip(chosen, components.values(), strict=True):
            held[place] += stored
            seconds += read / places[place][1]
        if any(held[place] > capacity for place, (capacity, _) in places.items()):
            continue
        rank = (seconds, *held.values())
        if best is None or rank < best[0]:
            best = rank, chosen
    return {} if best is None else dict(zip(components, best[1], strict=True))


def _places_cases(rng: np.random.Generator) -> Iterator[tuple]:
    two = {"fast": (10, 10.0), "slow": (100, 1.0)}
    yield {"a": (5, 5)}, two
    yield {"a": (20, 5)}, two  # too large for the fast one
    yield {"a": (7, 7), "b": (9, 1)}, two  # both do not fit: the one that is read more goes first
    yield {"a": (9, 7), "b": (6, 6), "c": (4, 5)}, two  # two small ones are worth more than the large one
    yield {"a": (6, 8), "b": (5, 6), "c": (5, 6)}, two  # nor is it the most that is read of a byte that decides
    yield {"a": (6, 0), "b": (3, 3)}, two  # what nobody reads stays out of the fast place
    yield {"a": (200, 1)}, two  # nowhere
    yield {"a": (10, 3)}, two  # exactly full
    for size in range(1, 13):
        speeds = 10.0 ** -np.sort(rng.uniform(0, 3, 3))
        stored = rng.permutation(np.arange(1, 12 + 9 * size))[: 2 + size % 3]
        read = rng.permutation(stored)
        read[0] = 0 if size % 4 == 0 else read[0]
        capacities = (stored.sum() * rng.uniform([0.2, 0.2, 0.5], [0.9, 0.9, 1.4])).astype(int)
        names = [f"part {n + 1}" for n in range(len(stored))]
        components = dict(zip(names, zip(stored.tolist(), read.tolist(), strict=True), strict=True))
        yield (
            components,
            {f"place {n + 1}": (int(capacities[n]), float(speeds[n])) for n in range(3)},
        )


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="gemma3n-counts",
        reference=gemma3n_counts,
        cases=_gemma3n_cases,
        hint="Take the table of tensors row by row; what stands under `once` is not times the number of layers.",
        lines=15,
    ),
    Exercise(
        id="pages-read",
        reference=pages_read,
        cases=_pages_cases,
        hint="A row begins at start + row * row_bytes and its last byte is one before the next row's first.",
        lines=4,
    ),
    Exercise(
        id="fetch-seconds",
        reference=fetch_seconds,
        cases=_fetch_cases,
        hint="A read begins at every page whose predecessor is missing; rounds are reads over queue, rounded up.",
        lines=4,
        rtol=1e-9,
        atol=1e-12,
    ),
    Exercise(
        id="fastest-places",
        reference=fastest_places,
        cases=_places_cases,
        hint="itertools.product gives every way; skip what does not fit, and compare (seconds, bytes in each place).",
        lines=11,
    ),
)
