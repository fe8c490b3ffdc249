"""Lessons: what there is to know of one subject, in prose, and comparisons with others."""

import random

from . import tables, wordings
from .document import Document
from .facts import SUBJECTS, Fact, fill
from .splits import HELD_OUT, belongs, chance, choose, least, shuffled

DOMAINS = tuple(SUBJECTS)
GENERAL_SHARE = 0.6  # of the lessons say something about a whole group
COMPARING_SHARE = 0.6
LINKING_SHARE = 0.6

LINKS = {  # two facts of one subject, named by their relations
    "animals": (
        "{The} is {class} and has {legs} legs.",
        "{The} lives {home} and eats {food}.",
        "{The} is {class} that lives {home}.",
        "{The} is {class} that eats {food}.",
        "{The} has {legs} legs and eats {food}.",
    ),
    "places": (
        "People in {capital} speak {language}.",
        "{capital} is a city in {continent}, and the capital of {x}.",
        "Among the countries of {continent}, {x} is the one with the capital {capital}.",
        "You hear {language} in {x}, a country in {continent}.",
        "In {capital}, the capital of {x}, people speak {language}.",
    ),
    "materials": (
        "Because {x} is {property}, we use it for {use}.",
        "{X} comes from {origin} and is {property}.",
        "{X}, which comes from {origin}, is used for {use}.",
        "People get {x} from {origin} and use it for {use}.",
        "{X} is {property}, so it is good for {use}.",
    ),
}

ALIKE = {  # two subjects with one value
    tables.LEGS: ("{The} has as many legs as {other}.", "{The} and {other} have the same number of legs."),
    tables.CLASS: ("Both {the} and {other} are animals of the same class.", "Like {other}, {the} is {v}."),
    tables.FOOD: ("Both {the} and {other} eat {v}.", "Like {other}, {the} eats {v}."),
    tables.HOME: ("Both {the} and {other} live {v}.", "Like {other}, {the} lives {v}."),
    tables.YOUNG: ("The young of {the} has the same name as the young of {other}.",),
    tables.CONTINENT: ("Both {the} and {other} lie in {v}.", "Like {other}, {the} lies in {v}."),
    tables.LANGUAGE: (
        "People speak {v} in {the} and in {other}.",
        "Like people in {other}, people in {the} speak {v}.",
    ),
}
UNLIKE = {  # two subjects with two values
    tables.LEGS: ("{The} has {v} legs, but {other} has {w} legs.",),
    tables.CLASS: ("{The} is {v}, but {other} is {w}.",),
    tables.FOOD: ("{The} eats {v}, but {other} eats {w}.",),
    tables.HOME: ("{The} lives {v}, but {other} lives {w}.",),
    tables.YOUNG: ("A young {x} is called {v}, but a young {y} is called {w}.",),
    tables.CAPITAL: ("The capital of {x} is {v}, and the capital of {y} is {w}.",),
    tables.CONTINENT: ("{The} lies in {v}, but {other} lies in {w}.",),
    tables.LANGUAGE: ("People in {x} speak {v}, but people in {y} speak {w}.",),
    tables.ORIGIN: ("{X} comes from {v}, but {y} comes from {w}.",),
    tables.PROPERTY: ("{X} is {v}, and {y} is {w}.",),
    tables.USE: ("{X} is used for {v}, and {y} is used for {w}.",),
}


def document(rng: random.Random, split: str) -> Document:
    domain = choose(rng, DOMAINS)
    subject = choose(rng, list(SUBJECTS[domain]))
    facts = SUBJECTS[domain][subject]
    sentences = [choose(rng, fact.statements(split)) for fact in shuffled(rng, list(facts.values()))]
    if chance(rng, LINKING_SHARE) and (links := linked(facts, split)):
        sentences.append(choose(rng, links))
    if chance(rng, GENERAL_SHARE) and (general := _general(facts, split)):
        sentences.append(choose(rng, general))
    if chance(rng, COMPARING_SHARE) and (comparison := comparing(rng, domain, subject, split)):
        sentences.append(comparison)
    return Document("lesson", domain, text="\n\n".join([_title(rng, domain, subject, split), " ".join(sentences)]))


def comparing(rng: random.Random, domain: str, subject: str, split: str) -> str | None:
    """A sentence about this subject and another; None if the split has none about the two that were drawn."""
    others = [name for name in SUBJECTS[domain] if name != subject]
    other = choose(rng, others)
    mine, others_facts = SUBJECTS[domain][subject], SUBJECTS[domain][other]
    sentences = []
    for relation in mine:
        if relation in others_facts:
            sentences += compared(mine[relation], others_facts[relation])
    allowed = [sentence for sentence in sentences if belongs(sentence, split)]
    return choose(rng, allowed) if allowed else None


def linked(facts: dict[str, Fact], split: str) -> list[str]:
    """Sentences with two facts of one subject that the split may say."""
    values = {relation: fact.value for relation, fact in facts.items()}
    fact = next(iter(facts.values()))
    sentences = [fill(form, fact.domain, fact.subject, **values) for form in LINKS[fact.domain]]
    return [sentence for sentence in sentences if belongs(sentence, split)]


def compared(one: Fact, other: Fact) -> list[str]:
    """Sentences that say whether two facts of one relation are alike."""
    forms = ALIKE.get(one.relation, ()) if one.value == other.value else UNLIKE[one.relation]
    names = {"other": fill("{the}", other.domain, other.subject), "y": other.subject}
    return [fill(form, one.domain, one.subject, v=one.value, w=other.value, **names) for form in forms]


def _title(rng: random.Random, domain: str, subject: str, split: str) -> str:
    held_out = least(f"title|{subject}", wordings.TITLES, 1)
    forms = [form for form in wordings.TITLES if (form in held_out) == (split == HELD_OUT)]
    return fill(choose(rng, forms), domain, subject)


def _general(facts: dict[str, Fact], split: str) -> list[str]:
    found = []
    for fact in facts.values():
        sentences = tables.GENERAL.get((fact.relation, fact.value), ())
        held_out = least(fact.value, sentences, 1)
        found += [sentence for sentence in sentences if (sentence in held_out) == (split == HELD_OUT)]
    return found
