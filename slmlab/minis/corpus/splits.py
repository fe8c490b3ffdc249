"""What is held out, and how chance is drawn: the same on every machine and in every version of Python.

A sentence (a sum, a call) is held out if its hash says so, whoever makes it: training never says it, and exams say
nothing else. Where each of a few things must be seen, such as the wordings of one fact, those with the least hashes are
held out, so that their number is fixed.

Random numbers come from random.Random.random() alone, which Python promises to keep; choice(), shuffle() and the like
are not promised.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from .. import MiniError

Item = TypeVar("Item")

TRAIN, HELD_OUT = SPLITS = ("train", "held-out")
HELD_OUT_SHARE = 1 / 8  # of all sentences, sums, calls
PATIENCE = 100  # draws; one in eight is held out


def fraction(text: str) -> float:
    """A number from 0 to 1, evenly spread, that the text alone decides."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def held_out(text: str) -> bool:
    return fraction(text) < HELD_OUT_SHARE


def belongs(text: str, split: str) -> bool:
    """Whether a split may say this."""
    return held_out(text) == (split == HELD_OUT)


def least(subject: str, options: Sequence[str], count: int) -> frozenset[str]:
    """The `count` options that are held out for this subject."""
    return frozenset(sorted(options, key=lambda option: fraction(f"{subject}|{option}"))[:count])


def draw(make: Callable[[], str], split: str) -> str | None:
    """The first text of make() that the split may say; None if there seems to be none."""
    for _ in range(PATIENCE):
        if belongs(text := make(), split):
            return text
    return None


def check(split: str) -> None:
    """MiniError: there is no such split."""
    if split not in SPLITS:
        raise MiniError(f"the split came as {split!r}, wanted one of {', '.join(SPLITS)}")


# ------------------------------------------------------------------------------------------------------------------
# Chance


def generator(*parts: object) -> random.Random:
    """Random numbers of their own for these parts, such as a seed, a split and a document's number."""
    return random.Random("/".join(map(str, parts)))


def below(rng: random.Random, count: int) -> int:
    return int(rng.random() * count)


def between(rng: random.Random, low: int, high: int) -> int:
    """From low to high, both included."""
    return low + below(rng, high - low + 1)


def choose(rng: random.Random, items: Sequence[Item]) -> Item:
    return items[below(rng, len(items))]


def chance(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def shuffled(rng: random.Random, items: Sequence[Item]) -> list[Item]:
    mixed = list(items)
    for last in range(len(mixed) - 1, 0, -1):
        other = below(rng, last + 1)
        mixed[last], mixed[other] = mixed[other], mixed[last]
    return mixed
