"""Exercises of lab 11: equal amounts of text, what noise can and cannot take, seeds, and exams in the training text."""

import math
import re
from collections.abc import Iterator

import numpy as np

from .check import Exercise


def words(text: str) -> list[str]:
    """The text as n-grams see it: runs of letters and digits, in small letters."""
    return re.findall(r"\w+", text.lower())


def equal_tokens(first: list[int], second: list[int], slack: int) -> tuple[int, int]:
    """How many documents to take of two corpora, whole and from the start, so that their tokens are equally many.

    first, second: the tokens of each document, at least 1. The two sums may differ by `slack` tokens. Of all pairs
    of numbers for which they do not differ by more, the one with the most tokens together; it is the only one.
    """
    sums = []  # of both: the tokens of the first 0, 1, 2 ... documents
    for lengths in (first, second):
        running = [0]
        for length in lengths:
            running.append(running[-1] + length)
        sums.append(running)
    best = (0, 0, 0)
    for i, a in enumerate(sums[0]):
        for j, b in enumerate(sums[1]):
            if abs(a - b) <= slack and a + b > best[0]:
                best = (a + b, i, j)
    return best[1], best[2]


def _equal_tokens_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [5], [5], 0
    yield [5], [6], 0
    yield [5], [6], 1
    yield [3, 4], [3, 4, 5], 0
    yield [2, 2, 2], [3, 3], 0
    yield [1, 9], [4, 4], 3
    yield [10, 1], [9, 1, 1], 1
    yield [], [4], 2
    for size in range(2, 15):
        first, second = (rng.integers(1, high, size + int(rng.integers(0, 4))).tolist() for high in (9, 12))
        yield first, second, int(rng.integers(0, 5))


def best_reader(tellings: list[tuple[str, str]], truths: dict[str, str]) -> tuple[float, float]:
    """(share of the facts right, nats a telling) of a reader who knows a text by heart, and nothing else.

    tellings: (fact, value) in the order of the text; truths: the true value of each fact. Asked for a fact, the reader
    says the value that was told most often, of equals the one that was told first; of a fact that was never told, none
    that is right. Reading the text again, each telling costs the reader -log of the share that its value has among the
    tellings of its fact; nats a telling is the mean of that.
    """
    told: dict[str, dict[str, int]] = {}
    for fact, value in tellings:
        values = told.setdefault(fact, {})
        values[value] = values.get(value, 0) + 1
    right = 0
    for fact, truth in truths.items():
        best, most = None, 0
        for value, times in told.get(fact, {}).items():
            if times > most:
                best, most = value, times
        right += best == truth
    nats = 0.0
    for fact, value in tellings:
        nats -= math.log(told[fact][value] / sum(told[fact].values()))
    return right / len(truths), nats / len(tellings)


def _best_reader_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [("legs", "8")], {"legs": "8"}
    yield [("legs", "6")], {"legs": "8"}
    yield [("legs", "8"), ("legs", "8"), ("legs", "6")], {"legs": "8"}
    yield [("legs", "6"), ("legs", "8")], {"legs": "8"}  # a tie
    yield [("legs", "8"), ("legs", "6")], {"legs": "8"}
    yield [("legs", "8"), ("home", "6"), ("home", "8"), ("home", "8")], {"legs": "8", "home": "6"}
    yield [("legs", "8")], {"legs": "8", "home": "6"}  # one was never told
    for size in range(2, 15):
        facts = [f"fact {n}" for n in range(1 + size // 3)]
        truths = {fact: str(rng.integers(4)) for fact in facts}
        tellings = []
        for _ in range(2 * size):
            fact = facts[int(rng.integers(len(facts)))]
            tellings.append((fact, truths[fact] if rng.random() < 0.55 else str(rng.integers(4))))
        yield tellings, truths


def paired_gap(first: list[float], second: list[float], t: float) -> tuple[float, float, float]:
    """(mean, low, high) of second - first, where both lists have one run for each seed, in the same order.

    The interval is mean ± t * s / sqrt(n): n seeds, s the standard deviation of their gaps (with n - 1), t the quantile
    of Student's distribution with n - 1 degrees of freedom. n is at least 2.
    """
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    n = len(gaps)
    mean = sum(gaps) / n
    s = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / (n - 1))
    half = t * s / math.sqrt(n)
    return mean, mean - half, mean + half


T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365}  # by number of seeds: Student's t, 95 %, two-sided


def _paired_gap_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [1.0, 2.0], [1.5, 2.5], T95[2]  # runs differ, gaps do not
    yield [1.0, 2.0], [2.0, 2.0], T95[2]
    yield [2.0, 1.0, 3.0], [1.0, 0.5, 1.0], T95[3]
    for size in range(2, 15):
        n = [2, 3, 4, 5, 6, 8][size % 6]
        level = rng.normal(1, 0.2, n)
        gaps = rng.normal(0.1, 0.05, n)
        yield level.tolist(), (level + gaps).tolist(), T95[n]


def ngram_share(item: str, texts: list[str], n: int) -> float:
    """Which share of the item's n-grams stands in the texts. nan: it has fewer than n words, so none was looked for.

    An n-gram is n words in a row, by words(); each place in the item counts, and none reaches from one text into the
    next.
    """
    own = words(item)
    if len(own) < n:
        return math.nan
    there = set()
    for text in texts:
        said = words(text)
        for start in range(len(said) - n + 1):
            there.add(tuple(said[start : start + n]))
    found = 0
    for start in range(len(own) - n + 1):
        found += tuple(own[start : start + n]) in there
    return found / (len(own) - n + 1)


PIECES = (
    "What",
    "is",
    "the",
    "capital",
    "of",
    "Japan",
    "Japan's",
    "Kenya",
    "a",
    "cat",
    "cathedral",
    "Cat?",
    "legs,",
    "has",
)


def _sentence(rng: np.random.Generator, size: int) -> str:
    return " ".join(rng.choice(PIECES, size))


def _ngram_share_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield "a cat", ["a cat"], 2
    yield "A cat.", ["has a cat?"], 2
    yield "a cat", ["a cathedral"], 2
    yield "a cat", ["has a", "cat"], 2
    yield "a cat", ["a cat"], 3  # too short
    yield "a cat a cat a dog", ["a cat"], 2  # a place counts as often as it stands there
    yield "what is the capital of Japan?", ["What is the capital of Kenya?"], 3
    for size in range(2, 14):
        texts = [_sentence(rng, size + 4) for _ in range(3)]
        chosen = texts[0].split()
        item = " ".join([*chosen[: size // 2 + 1], *_sentence(rng, 3).split()])
        yield item, texts, int(rng.integers(1, 4))


def leaked_items(items: list[str], texts: list[str], n: int, common: int) -> list[int]:
    """The items, counted from 0, of which an n-gram stands in the texts that is not a template's.

    An n-gram that stands in `common` items or more is a template's, and says nothing of any of them. n-grams as in
    ngram_share().
    """

    def grams(text: str) -> set[tuple[str, ...]]:
        own = words(text)
        return {tuple(own[start : start + n]) for start in range(len(own) - n + 1)}

    there = set()
    for text in texts:
        there |= grams(text)
    grams_of = [grams(item) for item in items]
    leaked = []
    for number, own in enumerate(grams_of):
        for gram in own:
            if gram in there and sum(gram in others for others in grams_of) < common:
                leaked.append(number)
                break
    return leaked


def _leaked_items_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield ["a cat"], ["has a cat"], 2, 2
    yield ["a cat"], ["has a dog"], 2, 2
    yield ["a cat", "a cat"], ["a cat"], 2, 2
    yield ["a cat a cat", "a dog"], ["a cat"], 2, 2  # twice in one item is one item
    yield ["a cat", "the cat", "a cat"], ["a cat, the cat"], 2, 3
    yield ["A cat", "legs"], ["a", "cat legs"], 2, 2
    yield ["cat"], ["a cat"], 2, 2  # too short to be found
    yield ["the capital of Japan", "the capital of Kenya"], ["the capital of Japan", "the capital of Cuba"], 3, 2
    for size in range(2, 14):
        items = [_sentence(rng, 5) for _ in range(size)]
        texts = [_sentence(rng, 9) for _ in range(3)] + [f"so {item}" for item in items[: size // 4]]
        yield items, texts, int(rng.integers(2, 4)), int(rng.integers(2, 4))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="equal-tokens",
        reference=equal_tokens,
        cases=_equal_tokens_cases,
        hint="Running sums of both, each with a 0 in front; then every pair of them that differs by slack or less.",
        lines=6,
    ),
    Exercise(
        id="best-reader",
        reference=best_reader,
        cases=_best_reader_cases,
        hint="Count the values of each fact; the share is over facts, the nats are over tellings.",
        lines=8,
        rtol=1e-9,
        atol=1e-12,
    ),
    Exercise(
        id="paired-gap",
        reference=paired_gap,
        cases=_paired_gap_cases,
        hint="Subtract seed by seed first: what a seed does to both runs is gone before anything is averaged.",
        lines=4,
        rtol=1e-9,
        atol=1e-12,
    ),
    Exercise(
        id="ngram-share",
        reference=ngram_share,
        cases=_ngram_share_cases,
        hint="A set of tuples of n words, text by text; then count the places of the item whose tuple is in it.",
        lines=6,
        rtol=1e-9,
    ),
    Exercise(
        id="leaked-items",
        reference=leaked_items,
        cases=_leaked_items_cases,
        hint="Count for each n-gram in how many items it stands, once an item; those below `common` may tell.",
        lines=8,
    ),
)
