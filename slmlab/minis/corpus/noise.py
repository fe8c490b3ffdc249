"""noisy(document, rng): what the web does to a clean document, in known shares.

    swapped      40 %   what is said is wrong: a fact has the value of another; a sum, a call, a translation, a code
                        another result; in a story a name changes in the middle
    shuffled     15 %   the words of one sentence in any order
    typos        15 %   letters of longer words in any order
    boilerplate  15 %   "Click here to read more.", in the place of a sentence where there are many

The shares are of documents, each drawn for itself, so that about 37 % stay as they are. Of facts they are means: each
fact has one wrong value that is told of it, and a share of its own, between 0 and 80 %, in which that one is told. Some
mistakes are told more often than the truth, and no reader of this text alone could know.

Kind, domain, tools and `answer`, which stays the true one, are those of the clean document, and so is its length, but
for a few words.
"""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from . import parallel, tools
from .document import Document
from .facts import FACTS, Fact
from .splits import TRAIN, below, between, chance, choose, fraction, shuffled
from .stories import NAMES
from .wordings import ANSWERS, STATEMENTS

SHARES = {"swapped": 0.40, "shuffled": 0.15, "typos": 0.15, "boilerplate": 0.15}
TYPO_SHARE = 0.2  # of the words with four letters or more
MANY_SENTENCES = 4  # from here on boilerplate takes the place of one

BOILERPLATE = (
    "Click here to read more.", "Subscribe to our newsletter!", "Share this page with your friends.",
    "All rights reserved.", "Log in to leave a comment.", "We use cookies.", "Read our privacy policy.",
    "Buy now and save money!", "This page was last changed today.", "Follow us for more.",
    "Sign up for free.", "Home, news, shop, contact.",
)  # fmt: skip
SENTENCE = re.compile(r"[^.!?\n]+[.!?]*\"?")


def noisy(document: Document, rng: random.Random) -> Document:
    """The document as it might stand on the web: wrong, shuffled, mistyped, padded, or as it was. Pure but for rng."""
    drawn = {name: rng.random() for name in SHARES}
    if document.kind in ("lesson", "question"):
        document = _each_passage(document, _swapped_facts(rng))  # each fact by its own share
    elif drawn["swapped"] < SHARES["swapped"]:
        document = _SWAPS[document.kind](document, rng)
    for name, change in (("shuffled", _shuffle), ("typos", _mistype), ("boilerplate", _pad)):
        if drawn[name] < SHARES[name]:
            document = change(document, rng)
    return document


# ------------------------------------------------------------------------------------------------------------------
# Swapped


def mistake(fact: Fact) -> tuple[str, float]:
    """The wrong value that is told of a fact, and how often it is."""
    others = sorted({other.value for other in FACTS if other.relation == fact.relation} - {fact.value})
    return min(others, key=lambda value: fraction(f"{fact}|{value}")), _mistaken_shares()[fact]


@cache
def _mistaken_shares() -> dict[Fact, float]:
    """From 0 to twice the mean in even steps, in an order that has nothing to do with the facts."""
    order = sorted(FACTS, key=lambda fact: fraction(f"mistaken|{fact}"))
    return {fact: 2 * SHARES["swapped"] * (place + 0.5) / len(order) for place, fact in enumerate(order)}


@cache
def _mistakes() -> dict[str, tuple[Fact, str]]:
    """True sentence -> its fact, and the sentence with the wrong value."""
    found = {}
    for fact in FACTS:
        wrong, _ = mistake(fact)
        for form in (ANSWERS[fact.relation], *STATEMENTS[fact.relation]):
            found[fact.say(form)] = (fact, fact.say(form, wrong))
    return found


def _swapped_facts(rng: random.Random) -> Callable[[str], str]:
    decided: dict[Fact, bool] = {}  # a document does not contradict itself

    def sentence(match: re.Match) -> str:
        said = match.group()
        true = said.lstrip(" ")
        if true not in _mistakes():
            return said
        fact, wrong = _mistakes()[true]
        if fact not in decided:
            decided[fact] = chance(rng, _mistaken_shares()[fact])
        return said.replace(true, wrong) if decided[fact] else said

    return lambda passage: SENTENCE.sub(sentence, passage)


def _swap_name(document: Document, rng: random.Random) -> Document:
    first, second = document.text[: len(document.text) // 2], document.text[len(document.text) // 2 :]
    named = [name for name in NAMES if re.search(rf"\b{name}\b", second)]
    name, other = choose(rng, named), choose(rng, [name for name in NAMES if name not in named])
    return replace(document, text=first + re.sub(rf"\b{name}\b", other, second))


def _swap_result(document: Document, rng: random.Random) -> Document:
    *before, row = document.messages
    wrong = int(row["content"]) + between(rng, 1, 9)
    return replace(document, messages=(*before, row | {"content": str(wrong)}))


def _swap_call(document: Document, rng: random.Random) -> Document:
    *before, row = document.messages
    name, arguments = (row["tool_calls"][0]["function"][field] for field in ("name", "arguments"))
    while (other := tools.arguments(rng, name, TRAIN)) == arguments:
        pass
    return replace(document, messages=(*before, row | {"tool_calls": [tools.call(name, other)]}))


def _swap_meaning(document: Document, rng: random.Random) -> Document:
    code = document.domain.rpartition("-")[2]
    other = parallel.meaning(rng, TRAIN).say(code)
    if document.messages:
        *before, row = document.messages
        return replace(document, messages=(*before, row | {"content": other}))
    start = re.search(r"[:.] (?=[^.]*\.$)", document.text).end()  # of the last sentence, after its tag if it has one
    return replace(document, text=document.text[:start] + other)


def _swap_code(document: Document, rng: random.Random) -> Document:
    *before, row = document.messages
    wrong = re.sub(r"\d+", lambda code: str((int(code.group()) - 10 + between(rng, 1, 89)) % 90 + 10), row["content"])
    return replace(document, messages=(*before, row | {"content": wrong}))


_SWAPS = {
    "story": _swap_name,
    "sum": _swap_result,
    "tool": _swap_call,
    "parallel": _swap_meaning,
    "needle": _swap_code,
}


# ------------------------------------------------------------------------------------------------------------------
# Damaged


def _each_passage(document: Document, change: Callable[[str], str]) -> Document:
    if document.text:
        return replace(document, text=change(document.text))
    return replace(document, messages=tuple(row | {"content": change(row["content"])} for row in document.messages))


def _one_passage(document: Document, rng: random.Random, change: Callable[[str], str]) -> Document:
    """One of those that have more than a word."""
    if document.text:
        return replace(document, text=change(document.text))
    places = [place for place, row in enumerate(document.messages) if " " in row["content"]]
    chosen = choose(rng, places)
    rows = (
        row | {"content": change(row["content"])} if place == chosen else row
        for place, row in enumerate(document.messages)
    )
    return replace(document, messages=tuple(rows))


def _shuffle(document: Document, rng: random.Random) -> Document:
    def change(passage: str) -> str:
        sentences = [match for match in SENTENCE.finditer(passage) if len(set(match.group().split())) > 1]
        sentence = choose(rng, sentences)
        words = sentence.group().split()
        mixed = words
        while mixed == words:
            mixed = shuffled(rng, words)
        space = " " * sentence.group().startswith(" ")
        return passage[: sentence.start()] + space + " ".join(mixed) + passage[sentence.end() :]

    return _one_passage(document, rng, change)


def _mistype(document: Document, rng: random.Random) -> Document:
    def change(passage: str) -> str:
        words = [word for word in re.finditer(r"[^\W\d_]{4,}", passage) if len(set(word.group()[1:])) > 1]
        if not words:
            return passage
        certain = choose(rng, words)
        changed = list(passage)
        for word in words:
            if word is certain or chance(rng, TYPO_SHARE):
                places = [p for p in range(word.start() + 1, word.end() - 1) if passage[p] != passage[p + 1]]
                place = choose(rng, places)
                changed[place], changed[place + 1] = changed[place + 1], changed[place]
        return "".join(changed)

    return _each_passage(document, change)


def _pad(document: Document, rng: random.Random) -> Document:
    def change(passage: str) -> str:
        sentences = list(SENTENCE.finditer(passage))
        line = choose(rng, BOILERPLATE)
        if len(sentences) < MANY_SENTENCES:
            return f"{passage} {line}"
        sentence = sentences[1 + below(rng, len(sentences) - 1)]  # the first may be a title
        space = " " * sentence.group().startswith(" ")
        return f"{passage[: sentence.start()]}{space}{line}{passage[sentence.end() :]}"

    return _one_passage(document, rng, change)
