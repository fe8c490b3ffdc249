"""Sentences with one meaning in English, German, French, Spanish and Italian, from a small grammar.

Meanings are built first and said afterwards: an agent and what it does to a thing in a place, a thing that has a
quality, a thing that is somewhere. Gender, case and articles agree: adjectives follow the gender of their noun, in
German also the case; French, Spanish and Italian have theirs after the noun but for French size. Held out are
meanings, by the hash of their English sentence: in training they are said in no language.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from .document import Document, conversation
from .splits import belongs, chance, choose
from .vocabulary import ADJECTIVES, AGENTS, LANGUAGES, PLACES, THINGS, VERBS, Adjective, Thing

CODES = tuple(LANGUAGES)
PASSAGE_SHARE, LINES_SHARE = (
    0.4,
    0.2,
)  # of the documents: several sentences of one language; lines of two; else questions
PASSAGE_SENTENCES = 4
QUESTIONS = ('How do you say "{}" in {}?', 'What is "{}" in {}?', 'Say "{}" in {}.')


@dataclass(frozen=True)
class Meaning:
    """What is said, by the words' places in vocabulary.py."""

    form: Callable[["Meaning", str], str]
    thing: Thing
    adjective: Adjective
    place: dict[str, str]
    agent: dict[str, str]
    verb: dict[str, str]

    def say(self, code: str) -> str:
        sentence = self.form(self, code)
        return sentence[0].upper() + sentence[1:] + "."


def deed(meaning: Meaning, code: str) -> str:
    """The man buys a red lamp at the market."""
    thing = indefinite(meaning.thing, meaning.adjective, code, "accusative")
    return f"{meaning.agent[code]} {meaning.verb[code]} {thing} {meaning.place[code]}"


def quality(meaning: Meaning, code: str) -> str:
    """The lamp is red."""
    is_ = {"en": "is", "de": "ist", "fr": "est", "es": "es", "it": "è"}[code]
    return f"{meaning.thing.definite[code]} {is_} {predicate(meaning.thing, meaning.adjective, code)}"


def presence(meaning: Meaning, code: str) -> str:
    """There is a red lamp at the market."""
    thing, place = indefinite(meaning.thing, meaning.adjective, code, "nominative"), meaning.place[code]
    if code == "de":
        return f"{place} ist {thing}"
    there = {"en": "there is", "fr": "il y a", "es": "hay", "it": "c'è"}[code]
    return f"{there} {thing} {place}"


FORMS = (deed, deed, quality, presence)


def predicate(thing: Thing, adjective: Adjective, code: str) -> str:
    """The adjective after "is": German's does not change there."""
    return adjective.plain[code] if code in ("en", "de") else adjective.of_gender[code][thing.gender[code]]


def indefinite(thing: Thing, adjective: Adjective, code: str, case: str) -> str:
    """ "a red lamp", "eine rote Lampe", "une lampe rouge", "una lámpara roja", "una lampada rossa"."""
    noun = thing.noun[code]
    if code == "en":
        word = adjective.plain["en"]
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word} {noun}"
    gender = thing.gender[code]
    if code == "de":
        article = {"m": "einen" if case == "accusative" else "ein", "f": "eine", "n": "ein"}[gender]
        ending = {"m": "en" if case == "accusative" else "er", "f": "e", "n": "es"}[gender]
        return f"{article} {adjective.plain['de']}{ending} {noun}"
    word = adjective.of_gender[code][gender]
    if code == "fr" and adjective.before_french_noun:
        return f"{thing.article['fr']} {word} {noun}"
    return f"{thing.article[code]} {noun} {word}"


def meaning(rng: random.Random, split: str) -> Meaning:
    while True:
        drawn = Meaning(*(choose(rng, column) for column in (FORMS, THINGS, ADJECTIVES, PLACES, AGENTS, VERBS)))
        if belongs(drawn.say("en"), split):
            return drawn


def document(rng: random.Random, split: str, code: str | None = None) -> Document:
    """A document in which `code` is what is read, or what is translated to."""
    code = choose(rng, CODES) if code is None else code
    drawn = rng.random()
    if drawn < PASSAGE_SHARE:
        sentences = (meaning(rng, split).say(code) for _ in range(PASSAGE_SENTENCES))
        return Document("parallel", f"languages-{code}", text=f"{code}: " + " ".join(sentences))
    if drawn < PASSAGE_SHARE + LINES_SHARE:
        other = _other(rng, code)
        said = [meaning(rng, split) for _ in range(2)]
        lines = [f"{other}: {one.say(other)}\n{code}: {one.say(code)}" for one in said]
        return Document("parallel", f"languages-{code}", text="\n".join(lines))
    return translation(rng, split, code)


def translation(rng: random.Random, split: str, code: str) -> Document:
    """A question for a sentence in the language `code`."""
    said = meaning(rng, split)
    question = choose(rng, QUESTIONS).format(said.say(_other(rng, code)), LANGUAGES[code])
    return conversation("parallel", f"languages-{code}", (question, said.say(code)))


def _other(rng: random.Random, code: str) -> str:
    """A language to translate from: English, or one of all others."""
    if code != "en" and chance(rng, 0.5):
        return "en"
    return choose(rng, [other for other in CODES if other != code])
