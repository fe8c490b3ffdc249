"""Needles: codes of some people among plain sentences, and questions for them at the end.

    The old boat lay by the river. The code of Lena is 48. The small dog slept near the gate. ...
    What is the code of Lena?                                       The code of Lena is 48.

The distance is the number of words between a code and the first question. Several people have codes, and only the name
says whose is wanted. Held out are sentences: those of codes, and all those between them.
"""

import random

from .document import Document, conversation
from .splits import between, choose, draw, shuffled
from .stories import NAMES

LEAST_WORDS, MOST_WORDS = 10, 300  # of distances in training documents
KEYS = (3, 4, 5)
QUESTIONS = (3, 4, 5)  # in training documents; the first is for the code at the distance
BEFORE_WORDS = 20  # of filler before the first code, at most

KEY = "The code of {name} is {code}."
QUESTION = "What is the code of {name}?"
FILLER = "The {look} {thing} {did} {where}."
LOOKS = ("old", "small", "red", "blue", "green", "big", "grey", "white", "young", "quiet")
THINGS = ("boat", "dog", "cat", "man", "woman", "bird", "horse", "girl", "boy", "cart", "bus", "goat")
DID = ("stood", "slept", "waited", "stopped", "rested", "stayed", "was seen", "turned round")
WHERE = (
    "by the river", "near the gate", "in the park", "at the station", "under a tree", "on the hill", "by the wall",
    "behind the house", "near the bridge", "in the street",
)  # fmt: skip


def document(
    rng: random.Random, split: str, distance_words: int | None = None, questions: int | None = None
) -> Document:
    if distance_words is None:  # as many between 10 and 30 words as between 100 and 300
        distance_words = round(LEAST_WORDS * (MOST_WORDS / LEAST_WORDS) ** rng.random())
    names = shuffled(rng, list(NAMES))[: choose(rng, KEYS)]
    asked_name, *other_names = names
    others = [_key(rng, split, name) for name in other_names]
    key = _key(rng, split, asked_name)

    before, after = [], []  # sentences on both sides of the needle
    for other in others:
        fits = _words(after) + len(other.split()) <= distance_words
        (after if fits and rng.random() < 0.7 else before).append(other)
    while _words(after) < distance_words:
        after.append(_filler(rng, split))
    spare_words = between(rng, 0, BEFORE_WORDS)
    while _words(before) < spare_words:
        before.append(_filler(rng, split))
    text = " ".join([*shuffled(rng, before), key, *shuffled(rng, after)])
    keys = dict(zip(names, [key, *others], strict=True))
    count = min(len(names), choose(rng, QUESTIONS) if questions is None else questions)
    turns = [(QUESTION.format(name=name), keys[name]) for name in names[:count]]
    first_question, first_answer = turns[0]
    return conversation("needle", "needles", (f"{text}\n{first_question}", first_answer), *turns[1:])


def _key(rng: random.Random, split: str, name: str) -> str:
    return _drawn(lambda: KEY.format(name=name, code=between(rng, 10, 99)), split)


def _filler(rng: random.Random, split: str) -> str:
    columns = {"look": LOOKS, "thing": THINGS, "did": DID, "where": WHERE}
    return _drawn(lambda: FILLER.format(**{name: choose(rng, column) for name, column in columns.items()}), split)


def _drawn(make, split: str) -> str:
    while (sentence := draw(make, split)) is None:
        pass
    return sentence


def _words(sentences: list[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)
