"""Sums of two to six terms, with scratch work, or with the answer alone.

    What is 47+38-21?           47+38-21
                                7+8=15 4+3+1=8      ones; tens and what was carried
                                85-21               the total in the place of the first two terms
                                5-1=4 8-2=6
                                64

All terms are 1 to 99 and all totals on the way 0 to 199, so that a step is two lookups in small tables; the answer
alone would need all of them at once. A borrowed ten is written where it goes and where it comes from: 52-38 is 12-8=4,
5-3-1=1.

A share of the thoughts is cut short anywhere and followed by the right answer, so that a mini learns to answer when it
may not think on: with it, accuracy grows with the budget.

Held out are sums, "47+38-21" by its hash. None of them is the question of a training document or a line of its scratch
work.
"""

import random

from .document import Document
from .splits import HELD_OUT, between, chance, choose, held_out

LARGEST_TERM, LARGEST_TOTAL = 99, 199
ONE_DIGIT_SHARE = 0.25  # of the terms
CUT_SHARE = 0.2  # of the thoughts in training documents
TERMS = (2, 3, 3, 4, 4)  # in training documents, evenly drawn
WORDINGS = ("What is {}?", "How much is {}?", "Calculate {}.", "Work out {}.")


def document(rng: random.Random, split: str, thinking: bool) -> Document:
    drawn = numbers(rng, split, choose(rng, TERMS))
    thought = scratch_work(drawn) if thinking else ""
    if thinking and chance(rng, CUT_SHARE):
        thought = _cut(rng, thought)
    return asked(rng, drawn, thought)


def asked(rng: random.Random, terms: list[int], thought: str = "") -> Document:
    answer = str(sum(terms))
    rows = (
        {"role": "user", "content": choose(rng, WORDINGS).format(written(terms))},
        {"role": "assistant", "content": answer, "reasoning_content": thought},
    )
    return Document("sum", "arithmetic", messages=rows, thinking=bool(thought), answer=answer)


def _cut(rng: random.Random, thought: str) -> str:
    """The begin of a thought, but not where its last line would be a sum that is held out."""
    while True:
        begin = thought[: between(rng, 1, len(thought) - 1)].strip()
        if not held_out(begin.rpartition("\n")[2]):
            return begin


def written(terms: list[int]) -> str:
    """Terms with their signs as a sum: [47, -21] is "47-21"."""
    first, *others = terms
    return str(first) + "".join(f"{'-' if n < 0 else '+'}{abs(n)}" for n in others)


def lines(terms: list[int]) -> list[str]:
    """The sum, and what is left of it after each step but the last."""
    return [written([sum(terms[:done]), *terms[done:]]) for done in range(1, len(terms))]


def scratch_work(terms: list[int]) -> str:
    parts = []
    for done, line in enumerate(lines(terms), 1):
        parts += [line, step(sum(terms[:done]), terms[done])]
    return "\n".join([*parts, str(sum(terms))])


def step(total: int, term: int) -> str:
    """total + term, or total - |term|, ones first."""
    (tens, ones), (term_tens, term_ones) = divmod(total, 10), divmod(abs(term), 10)
    if term >= 0:
        carried = ones + term_ones > 9
        return f"{ones}+{term_ones}={ones + term_ones} {tens}+{term_tens}{'+1' * carried}={tens + term_tens + carried}"
    borrowed = ones < term_ones
    ones += 10 * borrowed
    return f"{ones}-{term_ones}={ones - term_ones} {tens}-{term_tens}{'-1' * borrowed}={tens - term_tens - borrowed}"


def numbers(rng: random.Random, split: str, count: int) -> list[int]:
    """The terms of a sum that the split may ask for, those to take away with a minus."""
    while True:
        drawn = [_term(rng)]
        while len(drawn) < count:
            term = _term(rng) * (1 if chance(rng, 0.5) else -1)
            if 0 <= sum(drawn) + term <= LARGEST_TOTAL:
                drawn.append(term)
        if split == HELD_OUT and held_out(written(drawn)):
            return drawn
        if split != HELD_OUT and not any(map(held_out, lines(drawn))):
            return drawn


def _term(rng: random.Random) -> int:
    return between(rng, 1, 9) if chance(rng, ONE_DIGIT_SHARE) else between(rng, 10, LARGEST_TERM)
