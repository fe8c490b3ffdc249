"""Exercises of lab 21: thoughts, their budgets, votes, and what all of it costs.

The models in the cases are scripts: they write what stands in them, and refuse to write more than the budget allows.
"""

import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from slmlab import thinking

from .check import Exercise

Sample = tuple[int, int | None]  # tokens, the answer as a number

THOUGHTS: dict[str, tuple[str, bool]] = {  # what a model may write, and whether the prompt has opened a thought
    "closed": ("<think>\n47+38\n85\n</think>\n\n85", False),
    "no thought": ("85", False),
    "empty": ("<think>\n\n</think>\n\n85", False),
    "cut": ("<think>\n47+38\n7+8=1", False),
    "cut at once": ("<think>", False),
    "opened by the prompt": ("47+38\n85\n</think>\n\n85", True),
    "opened by the prompt, cut": ("47+38\n7+8=1", True),
    "nested": ("<think>\nfirst <think>47</think>, then\n85\n</think>\n\n85", False),
    "a mark in the answer": ("<think>\n85\n</think>\n\n85, after </think>", False),
    "two thoughts": ("<think>\n47+38\n</think>\n\nIt is <think>\n85\n</think>85", False),
}


def _split_thought_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield from sorted(THOUGHTS.values(), key=lambda case: len(case[0]))
    pieces = ["<think>", "</think>", "\n", "85", " so ", "47+38"]
    for size in range(2, 14):
        yield "".join(rng.choice(pieces, size)), bool(rng.random() < 0.3)


def answer_within(
    write: Callable[[list[int], int], list[int]],
    prompt: list[int],
    budget: int,
    answer_limit: int,
    close: int,
    end: list[int],
) -> list[int]:
    """All ids that follow the prompt, which ends inside of an open thought: thought, end, answer.

    write(ids, limit): what the model writes after ids: at most `limit` ids, fewer where its turn ends. The first pass
    may take `budget`, the second `answer_limit`. close: the id of </think>. end: ids that close a thought for the
    model, where it did not close it itself. A thought that was closed may have left its answer unfinished: it goes on
    from there. No second pass where the turn has ended with an answer.
    """
    first = write(prompt, budget)
    if close not in first:
        first = first + end
    elif len(first) < budget:
        return first
    return first + write(prompt + first, answer_limit)


CLOSE, END_OF_TURN = 7, 8


class Script:
    """A model that has one turn in mind, and answers a closed thought of another kind in its own way."""

    def __init__(self, start: int, turn: list[int], most: int):
        self.start, self.turn, self.most = start, turn, most  # the prompt's length; the largest limit

    def __call__(self, ids: list[int], limit: int) -> list[int]:
        if limit > self.most:
            raise ValueError(f"write() was asked for {limit} ids at once, and only {self.most} may be needed")
        said = list(ids)[self.start :]
        if said == self.turn[: len(said)]:
            return self.turn[len(said) :][:limit]
        if CLOSE not in said:
            return []
        return [10 + sum(said) % 89, 10 + len(said) % 89, 9][:limit]  # an answer that depends on all before

    def __repr__(self) -> str:
        return f"<a model that would write {self.turn}>"


def _answer_within_cases(rng: np.random.Generator) -> Iterator[tuple]:
    def case(thought: list[int], answer: list[int], budget: int, answer_limit: int, prompt: list[int]) -> tuple:
        turn = [*thought, CLOSE, *answer]
        return Script(len(prompt), turn, max(budget, answer_limit)), prompt, budget, answer_limit, CLOSE, [1, CLOSE, 2]

    yield case([4], [5], 8, 4, [3])  # the turn ends within the budget
    yield case([4, 4], [5], 1, 4, [3])  # cut
    yield case([4, 4], [5], 0, 4, [3])  # no thought at all
    yield case([4, 4], [5, 6, 5], 4, 4, [3])  # closed in time, the answer cut
    yield case([4, 4], [5, 6], 3, 4, [3])  # the last id of the budget closes it
    yield case([4], [5, 6], 4, 4, [3])  # the turn ends with the budget
    yield case([4, 4, 4], [5, 6, 5], 2, 1, [3])  # the answer has its limit too
    yield Script(1, [4, 4], 8), [3], 8, 4, CLOSE, [1, CLOSE, 2]  # the turn ends inside of the thought
    for size in range(1, 14):
        thought, answer, prompt = (rng.integers(20, 90, n).tolist() for n in (size, 1 + size % 4, 1 + size % 3))
        yield case(thought, answer, int(rng.integers(0, size + 4)), int(rng.integers(1, 6)), prompt)


def tokens_spent(
    prompt: int, thoughts: list[int], answers: list[int], cut: list[bool], end: int, cached: bool
) -> tuple[int, int]:
    """(tokens read, tokens written) for all samples of one question.

    Sample j writes a thought and an answer of so many tokens. If cut[j], the thought is closed by `end` tokens that are
    not the model's, and the answer needs a second pass. A pass reads all that stands before what it writes: prompt,
    thought, end. cached: what was read or written once, in any sample, is never read again.
    """
    read = written = 0
    for thought, answer, was_cut in zip(thoughts, answers, cut, strict=True):
        written += thought + answer
        if not cached:
            read += prompt
        if was_cut:
            read += end if cached else prompt + thought + end
    if cached:
        read += prompt
    return read, written


def _tokens_spent_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield 20, [50], [3], [False], 3, False
    yield 20, [50], [3], [False], 3, True
    yield 20, [50], [3], [True], 3, False
    yield 20, [50], [3], [True], 3, True
    yield 20, [50, 40], [3, 3], [False, False], 3, True
    yield 20, [50, 40], [3, 3], [False, True], 3, False
    for size in range(1, 15):
        thoughts, answers = (rng.integers(0, high, size).tolist() for high in (90, 6))
        cut = (rng.random(size) < 0.5).tolist()
        yield int(rng.integers(5, 60)), thoughts, answers, cut, int(rng.integers(1, 9)), bool(rng.integers(2))


def majority_vote(answers: list[int | None]) -> int | None:
    """The number that most answers give; of equally many, the one that was given first. None does not vote.

    None where nobody votes.
    """
    best, most = None, 0
    for candidate in answers:
        votes = sum(answer == candidate for answer in answers)
        if candidate is not None and votes > most:
            best, most = candidate, votes
    return best


def _majority_vote_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield ([],)
    yield ([64],)
    yield ([None],)
    yield ([3, 64, 64],)
    yield ([None, None, 64],)  # two that say nothing are no majority
    yield ([64, 3],)  # a tie
    yield ([3, 64, 64, 3],)
    yield ([85, 3, 64, 64, 3],)  # a tie of two that come later
    yield ([0, None, 0],)  # nought is a number
    for size in range(2, 14):
        pool = [None, *rng.integers(0, 99, 1 + size // 3).tolist()]
        yield ([pool[place] for place in rng.integers(0, len(pool), size)],)


def share_interval(right: int, count: int) -> tuple[float, float, float]:
    """Share right / count with the ends of its 95 % interval: Wilson's, JASA 22 (1927) 209."""
    p, spread = right / count, 1.959964**2 / count
    middle = (p + spread / 2) / (1 + spread)
    half = 1.959964 * math.sqrt(p * (1 - p) / count + spread / (4 * count)) / (1 + spread)
    return p, max(0.0, middle - half), min(1.0, middle + half)


def share_within(samples: list[list[Sample]], truths: list[int], limit: int) -> tuple[float, float, float]:
    """(share right, low, high) of a vote on each question, where all samples of a question take at most `limit` tokens.

    samples: for each question (tokens, answer) in the order in which they were drawn. They vote as long as all tokens
    so far stay within the limit; one that would pass it does not vote, and none after it. No vote is a wrong answer.
    low, high: Wilson's 95 % interval.
    """
    right = 0
    for drawn, truth in zip(samples, truths, strict=True):
        votes, spent = [], 0
        for tokens, answer in drawn:
            spent += tokens
            if spent > limit:
                break
            votes.append(answer)
        right += majority_vote(votes) == truth
    return share_interval(right, len(truths))


def _share_within_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield [[(5, 64)]], [64], 5
    yield [[(6, 64)]], [64], 5  # it does not fit
    yield [[(5, 3), (5, 64), (5, 64)]], [64], 15
    yield [[(5, 3), (5, 64), (5, 64)]], [64], 14
    yield [[(5, 3), (9, 64), (1, 64), (1, 64)]], [64], 9  # the second does not fit, and nothing comes after it
    yield [[(5, 64)], [(5, None)], [(5, 3)]], [64, 64, 64], 9
    for size in range(1, 14):
        samples, truths = [], []
        for _ in range(4 * size):
            truth = int(rng.integers(10, 99))
            answers = [truth, truth + 10, truth - 1, None]
            drawn = [(int(rng.integers(3, 30)), answers[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])]) for _ in range(6)]
            samples.append(drawn)
            truths.append(truth)
        yield samples, truths, int(rng.integers(10, 120))


SUM = re.compile(r"-?\d+(?:[+-]\d+)*")


def broken_lines(asked: str, thought: str) -> list[int]:
    """The lines of a thought that do not follow from the line before, counted from 0.

    asked: a sum like "47+38-21". A line with "=" is a step and is passed over; any other should be a sum of the same
    value as the sum before it, the first of the same value as the one that was asked. A line that is no sum is
    broken, and the next is held against the last sum before it.
    """
    broken = []
    value = sum(int(term) for term in re.findall(r"[+-]?\d+", asked))
    for number, line in enumerate(thought.split("\n")):
        if "=" in line:
            continue
        if not SUM.fullmatch(line):
            broken.append(number)
            continue
        found = sum(int(term) for term in re.findall(r"[+-]?\d+", line))
        if found != value:
            broken.append(number)
        value = found
    return broken


def _broken_lines_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield "47+38", "47+38\n7+8=15 4+3+1=8\n85"
    yield "47+38", "47+38\n7+8=15 4+3+1=8\n75"
    yield "47+38", "47+36\n7+6=13 4+3+1=8\n83"  # another sum, rightly worked out
    yield "47+38-21", "47+38\n7+8=15 4+3+1=8\n85"  # a term was lost
    yield "47+38-21", "47+38-21\n7+8=15 4+3+1=8\n85-21\n5-1=4 8-2=6\n64"
    yield "47+38-21", "47+38-21\n7+8=15 4+3+1=8\n85-12\n5-2=3 8-1=7\n73"
    yield "47+38-21", "47+38-21\n7+8=15 4+3+1=8\n85-\n64"
    yield "85-21-4", "64-4"  # steps left out, the value kept
    yield "47+38", ""
    for size in range(2, 16):
        terms = [int(rng.integers(10, 99))]
        while len(terms) < 2 + size // 3:
            terms.append(int(rng.integers(1, 99)) * (1 if sum(terms) < 100 else -1))
        asked = _written(terms)
        lines = []
        for done in range(1, len(terms) + 1):
            total = sum(terms[:done])
            if rng.random() < 0.25:  # a slip, from here on
                terms = [*terms[:done], *[term + 1 for term in terms[done:]]] if done < len(terms) else [total + 10]
                total = sum(terms[:done])
            lines += [f"{total % 10}+1={total % 10 + 1}"] * (done > 1)
            lines.append(_written([total, *terms[done:]]))
        yield asked, "\n".join(lines)


def _written(terms: list[int]) -> str:
    return "".join(f"{term:+d}" for term in terms).removeprefix("+")


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="split-thought",
        reference=thinking.split,
        cases=_split_thought_cases,
        hint="Count how many thoughts are open; it starts at 1 where the prompt opened one, and never falls below 0.",
        lines=12,
    ),
    Exercise(
        id="answer-within",
        reference=answer_within,
        cases=_answer_within_cases,
        hint="Three ways out of the first pass: not closed, closed and the limit reached, closed and the turn ended.",
        lines=6,
    ),
    Exercise(
        id="tokens-spent",
        reference=tokens_spent,
        cases=_tokens_spent_cases,
        hint="With a cache the prompt is read once for all samples, and a second pass reads the end alone.",
        lines=8,
    ),
    Exercise(
        id="majority-vote",
        reference=majority_vote,
        cases=_majority_vote_cases,
        hint="Leave the silent ones out before you count; a tie goes to the number that was said first, and 0 is one.",
        lines=4,
    ),
    Exercise(
        id="share-within",
        reference=share_within,
        cases=_share_within_cases,
        hint="A sample that does not fit ends the draw for its question; your majority vote gives None for no votes.",
        lines=9,
        rtol=1e-4,
        atol=1e-9,
    ),
    Exercise(
        id="broken-lines",
        reference=broken_lines,
        cases=_broken_lines_cases,
        hint="Keep the value of the last sum, right or wrong: a line is held against the line before it.",
        lines=11,
    ),
)
