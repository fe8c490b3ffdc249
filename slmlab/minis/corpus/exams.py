"""Exams: what training never said, without the answers. `answer` is the whole of what is to be said, sign by sign.

    facts("new")     fact and wording were both taught, never together; facts("seen"): as they were taught, for recall
    sums             the sum was never asked, and never stood in scratch work
    tool_calls       these values never came together
    needles          codes and filler sentences that training never said
    languages        the meaning was never said in any language; `answer` is the sentence in `code`
    held_out         whole documents of a kind, with their answers, for a loss by domain

One seed gives one exam; no question comes twice in it.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from .. import MiniError
from . import needles as needle_documents
from . import parallel, tools
from . import sums as sum_documents
from .document import KINDS, Document, conversation
from .facts import FACTS
from .kinds import MAKERS
from .splits import HELD_OUT, TRAIN, generator, shuffled

Item = TypeVar("Item")

PATIENCE = 200  # draws in a row that brought nothing new
TERMS = (2, 3, 4, 5, 6)


def facts(wording: str, count: int, seed: int) -> list[Document]:
    """Questions for single facts; wording: "seen" or "new". MiniError: there are not so many."""
    splits = {"seen": TRAIN, "new": HELD_OUT}
    if wording not in splits:
        raise MiniError(f"the wording came as {wording!r}, wanted one of {', '.join(splits)}")
    all_of_them = [
        conversation("question", fact.domain, (question, fact.answer))
        for fact in FACTS
        for question in fact.questions(splits[wording])
    ]
    if count > len(all_of_them):
        raise MiniError(f"{count} questions were wanted in {wording} wordings, and there are {len(all_of_them)}")
    mixed = shuffled(generator("facts", wording, seed), all_of_them)
    return [_unanswered(document) for document in mixed[:count]]


def sums(terms: int, thinking: bool, count: int, seed: int) -> list[Document]:
    """Sums of 2 to 6 terms, more than training had (4). The same ones with thinking and without."""
    if terms not in TERMS:
        raise MiniError(f"terms came as {terms!r}, wanted one of {', '.join(map(str, TERMS))}")
    drawn = _different(lambda rng: sum_documents.numbers(rng, HELD_OUT, terms), count, "sums", terms, seed)
    rng = generator("sums' wordings", terms, seed)
    asked = [_unanswered(sum_documents.asked(rng, numbers)) for numbers in drawn]
    return [replace(document, thinking=thinking) for document in asked]


def tool_calls(count: int, seed: int) -> list[Document]:
    return _different(lambda rng: _unanswered(tools.document(rng, HELD_OUT, turns=1)), count, "tools", seed)


def needles(distance_words: int, count: int, seed: int) -> list[Document]:
    """Between the wanted code and the question lie `distance_words` words, or up to eight more: whole sentences."""
    return _different(
        lambda rng: _unanswered(needle_documents.document(rng, HELD_OUT, distance_words, questions=1)),
        count,
        "needles",
        distance_words,
        seed,
    )


def languages(code: str, count: int, seed: int) -> list[Document]:
    """Translations into a language: en, de, fr, es, it."""
    if code not in parallel.CODES:
        raise MiniError(f"the language came as {code!r}, wanted one of {', '.join(parallel.CODES)}")
    return _different(
        lambda rng: _unanswered(parallel.translation(rng, HELD_OUT, code)), count, "languages", code, seed
    )


def held_out(kind: str, count: int, seed: int) -> list[Document]:
    """Whole held-out documents of a kind, a key of mixtures."""
    if kind not in MAKERS:
        raise MiniError(f"the kind came as {kind!r}, wanted one of {', '.join(KINDS)}")
    rng = generator("held-out", kind, seed)
    return [MAKERS[kind](rng, HELD_OUT) for _ in range(count)]


def _different(make: Callable[[random.Random], Item], count: int, *parts: object) -> list[Item]:
    """`count` draws of make(rng), no two alike. MiniError: there seem to be fewer."""
    rng = generator("exam", *parts)
    found: list[Item] = []
    known: set[str] = set()
    missed = 0
    while len(found) < count:
        drawn = make(rng)
        if repr(drawn) in known:
            missed += 1
            if missed > PATIENCE:
                raise MiniError(f"{count} different questions were wanted, and there are about {len(found)}")
            continue
        known.add(repr(drawn))
        found.append(drawn)
        missed = 0
    return found


def _unanswered(document: Document) -> Document:
    return replace(document, messages=document.messages[:-1])
