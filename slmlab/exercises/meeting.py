"""Exercises of lab 02: from a text to tokens, from scores to bits, to an answer, and to how far one may trust it."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from .check import Exercise


def merge_pairs(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """The pieces that byte-pair encoding leaves of a word.

    pieces: the word, cut into its smallest. ranks: pair of pieces -> its rank, 0 for the pair that was merged first.
    As long as two neighbours are a pair of `ranks`, the pair of the lowest rank is joined wherever it stands, from
    left to right.
    """
    while True:
        known = [pair for pair in itertools.pairwise(pieces) if pair in ranks]
        if not known:
            return list(pieces)
        best = min(known, key=ranks.__getitem__)
        joined, place = [], 0
        while place < len(pieces):
            if tuple(pieces[place : place + 2]) == best:
                joined.append("".join(best))
                place += 2
            else:
                joined.append(pieces[place])
                place += 1
        pieces = joined


def _learnt(words: list[str], merges: int) -> dict[tuple[str, str], int]:
    """Ranks as byte-pair encoding learns them: each time the most frequent pair of neighbours."""
    ranks: dict[tuple[str, str], int] = {}
    for rank in range(merges):
        pairs = Counter(pair for word in words for pair in itertools.pairwise(merge_pairs(list(word), ranks)))
        if not pairs:
            break
        ranks[max(pairs, key=lambda pair: (pairs[pair], pair))] = rank
    return ranks


def _merge_pairs_cases(rng: np.random.Generator) -> Iterator[tuple]:
    def word(letters: str, length: int) -> str:
        return "".join(rng.choice(list(letters), length))

    yield ["a"], {("a", "b"): 0}
    yield ["a", "b"], {}
    yield ["a", "b"], {("a", "b"): 0}
    yield ["b", "a", "b", "a"], {("a", "b"): 0, ("b", "ab"): 1}
    yield ["a", "b", "c"], {("b", "c"): 0, ("a", "b"): 1}  # the later pair was learnt earlier
    yield ["a", "b", "a", "b"], {("a", "b"): 0, ("ab", "ab"): 1}
    yield ["a", "a", "a"], {("a", "a"): 0}
    for size in range(2, 16):
        letters = "abcd"[: 2 + size // 5]
        ranks = _learnt([word(letters, size) for _ in range(12)], 2 * size)
        yield list(word(letters, 2 * size)), ranks


def answer_bits(logits: np.ndarray, ids: np.ndarray, start: int) -> float:
    """Bits that a model needs for ids[start:], given all that stands before each of them.

    logits: (T, V) float32, row t holds the scores of the id at place t + 1. ids: (T,) int64. 1 <= start < T. A token
    of probability p takes -log2(p) bits.
    """
    bits = 0.0
    for place in range(start, len(ids)):
        scores = logits[place - 1].astype(np.float64)
        scores -= scores.max()  # exp of a large score would overflow
        probability = np.exp(scores[ids[place]]) / np.exp(scores).sum()
        bits -= float(np.log2(probability))
    return bits


def _answer_bits_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[0, 0], [9, 1]], np.float32), np.array([1, 0]), 1  # one of two: one bit
    yield np.array([[0, 0, 0, 0], [5, 5, 5, 5], [1, 2, 3, 4]], np.float32), np.array([3, 2, 1]), 1
    yield np.array([[4, 0], [0, 0], [0, 3]], np.float32), np.array([1, 1, 0]), 2  # the first answer is not asked for
    yield np.array([[1000, 999, 990], [0, 0, 0]], np.float32), np.array([2, 1]), 1  # exp(1000) is infinite
    for size in range(1, 16):
        tokens, vocabulary = int(rng.integers(3, 3 * size + 4)), int(rng.integers(2, 12 * size))
        logits = rng.normal(rng.uniform(-200, 200), 3, (tokens, vocabulary)).astype(np.float32)
        yield logits, rng.integers(vocabulary, size=tokens), int(rng.integers(1, tokens))


class _Scores:
    """A pretended model: its scores depend on all the ids that it is given, in their order."""

    def __init__(self, table: np.ndarray, strides: tuple[int, int]):
        self.table, self.strides = table, strides

    def __call__(self, ids: list[int]) -> np.ndarray:
        row = 1
        for id in ids:
            row = (self.strides[0] * row + self.strides[1] * id + 1) % len(self.table)
        return self.table[row].copy()

    def __repr__(self) -> str:
        return f"<scores of a model with {self.table.shape[1]} tokens>"


def greedy_answer(
    next_scores: Callable[[list[int]], np.ndarray], ids: list[int], stop: list[int], limit: int
) -> list[int]:
    """What a model says to the prompt `ids`: at each step the token of the highest score, given all before it.

    next_scores(ids) gives the (V,) scores of the token that follows; of equal ones the first counts. The answer ends
    before the first id of `stop`, or with `limit` tokens; the prompt is not part of it.
    """
    answer: list[int] = []
    while len(answer) < limit:
        scores = next_scores([*ids, *answer])
        best = 0
        for id in range(len(scores)):
            if scores[id] > scores[best]:
                best = id
        if best in stop:
            break
        answer.append(best)
    return answer


def _greedy_answer_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield _Scores(np.array([[1.0, 0.0]] * 2), (1, 1)), [0], [1], 1
    yield _Scores(np.array([[1.0, 0.0]] * 2), (1, 1)), [0], [1], 3  # no stop: the limit ends it
    yield _Scores(np.array([[0.0, 1.0]] * 2), (1, 1)), [0], [1], 3  # it stops at once
    yield _Scores(np.array([[1.0, 0.0]] * 2), (1, 1)), [1], [1, 0], 3  # two ways to stop
    yield _Scores(np.array([[2.0, 2.0, 1.0]] * 2), (1, 1)), [2], [1, 2], 2  # a tie
    for size in range(2, 18):
        rows, vocabulary = 8 * size + 5, 2 + size
        table = rng.normal(0, 1, (rows, vocabulary)).round(6)
        stop = [vocabulary - 1] if size % 2 else [vocabulary - 1, 0]
        ids = rng.integers(vocabulary, size=int(rng.integers(1, size + 1))).tolist()
        yield _Scores(table, (3, int(rng.integers(1, 9)))), ids, stop, int(rng.integers(1, 3 * size))


def trusted_share(confidences: list[float], right: list[bool], wanted: float) -> float:
    """The largest share of the questions that may be answered, if `wanted` of these answers are to be right.

    A threshold decides: every question whose confidence reaches it is answered, all others are not. 0.0 where no
    threshold does.
    """
    best = 0.0
    for threshold in confidences:
        answered = [was for confidence, was in zip(confidences, right, strict=True) if confidence >= threshold]
        if sum(answered) / len(answered) >= wanted:
            best = max(best, len(answered) / len(confidences))
    return best


def _trusted_share_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [0.9], [True], 0.8
    yield [0.9], [False], 0.8
    yield [0.2, 0.9], [False, True], 0.8
    yield [0.5, 0.5], [True, False], 0.8  # nothing tells the two apart
    yield [0.9, 0.8, 0.7, 0.6, 0.5], [False, True, True, True, True], 0.77  # the surest one is wrong
    yield [0.9, 0.6, 0.6, 0.3], [True, True, False, True], 0.7
    for size in range(3, 18):
        confidences = rng.choice(np.linspace(0.05, 1, 3 + 2 * size), 2 * size).round(3)
        right = rng.random(2 * size) < 0.3 + 0.65 * confidences
        yield confidences.tolist(), right.tolist(), float(rng.uniform(0.55, 0.95))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="merge-pairs",
        reference=merge_pairs,
        cases=_merge_pairs_cases,
        hint="In each round look at all neighbours first; the pair with the lowest rank is joined wherever it stands, "
        "and then everything is looked at again.",
        lines=10,
    ),
    Exercise(
        id="answer-bits",
        reference=answer_bits,
        cases=_answer_bits_cases,
        hint="The scores of ids[t] stand in row t - 1; take the largest off a row before exp, and log2 at the end.",
        lines=5,
        rtol=1e-4,
        atol=1e-4,
    ),
    Exercise(
        id="greedy-answer",
        reference=greedy_answer,
        cases=_greedy_answer_cases,
        hint="Ask for the scores after prompt and answer so far, in that order; test for the end before you append.",
        lines=7,
    ),
    Exercise(
        id="trusted-share",
        reference=trusted_share,
        cases=_trusted_share_cases,
        hint="Every confidence is a threshold worth trying: a wrong answer near the top does not rule out a lower one.",
        lines=6,
        rtol=1e-9,
    ),
)
