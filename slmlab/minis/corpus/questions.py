"""Questions and answers: facts in ten wordings each, explanations, comparisons, reasons."""

import random

from . import tables, wordings
from .document import Document, conversation
from .facts import FACTS, SUBJECTS, Fact, fill
from .splits import belongs, chance, choose

SHARES = {"explain": 0.08, "compare": 0.1, "why": 0.04}  # the rest asks for one fact, or for two
SECOND_SHARE = 0.3  # of the questions for a fact are followed by another of the same domain
BY_DOMAIN = {domain: tuple(fact for fact in FACTS if fact.domain == domain) for domain in SUBJECTS}


def document(rng: random.Random, split: str) -> Document:
    drawn = rng.random()
    for make, share in ((explanation, "explain"), (comparison, "compare"), (reason, "why")):
        if drawn < SHARES[share]:
            return make(rng, split)
        drawn -= SHARES[share]
    fact = choose(rng, FACTS)
    turns = [asked(rng, fact, split)]
    if chance(rng, SECOND_SHARE):
        turns.append(asked(rng, choose(rng, BY_DOMAIN[fact.domain]), split))
    return conversation("question", fact.domain, *turns)


def asked(rng: random.Random, fact: Fact, split: str) -> tuple[str, str]:
    return choose(rng, fact.questions(split)), fact.answer


def explanation(rng: random.Random, split: str) -> Document:
    """All facts of a subject in their order. Which wording goes with which subject decides the split."""
    while True:
        fact = choose(rng, FACTS)
        question = fill(choose(rng, wordings.EXPLAIN), fact.domain, fact.subject)
        if belongs(question, split):
            facts = SUBJECTS[fact.domain][fact.subject].values()
            return conversation("question", fact.domain, (question, " ".join(fact.answer for fact in facts)))


def comparison(rng: random.Random, split: str) -> Document:
    """One relation of two subjects, and what follows. The two, in their order, decide the split."""
    while True:
        one, other = choose(rng, FACTS), choose(rng, FACTS)
        domain, relation = one.domain, COMPARED[one.domain]
        if (
            other.domain != domain
            or one.subject == other.subject
            or not belongs(f"{one.subject}|{other.subject}", split)
        ):
            continue
        names = {"other": fill("{the}", domain, other.subject)}
        question = fill(choose(rng, wordings.COMPARE), domain, one.subject, **names)
        answer = conclusion(*(SUBJECTS[domain][fact.subject][relation] for fact in (one, other)))
        return conversation("question", domain, (question, answer))


COMPARED = {"animals": tables.LEGS, "places": tables.CONTINENT, "materials": tables.USE}


def conclusion(one: Fact, other: Fact) -> str:
    """Both facts, and what follows from them."""
    a, b = (fill("{a}", fact.domain, fact.subject) for fact in (one, other))
    if one.relation == tables.LEGS:
        mine, others = tables.LEG_COUNTS[one.value], tables.LEG_COUNTS[other.value]
        if mine == others:
            last = f"So {a} has as many legs as {b}."
        else:
            last = f"So {a} has more legs than {b}." if mine > others else f"So {a} has fewer legs than {b}."
    elif one.relation == tables.CONTINENT:
        same = one.value == other.value
        last = f"So {a} and {b} lie on {'the same continent' if same else 'different continents'}."
    else:
        last = f"So {a} and {b} have different uses."
    return f"{one.answer} {other.answer} {last}"


def reason(rng: random.Random, split: str) -> Document:
    """Why a material is good for its use: its property. Which wording goes with which decides the split."""
    while True:
        subject, facts = choose(rng, list(SUBJECTS["materials"].items()))
        use, quality = facts[tables.USE], facts[tables.PROPERTY]
        question = use.say(choose(rng, wordings.WHY))
        if belongs(question, split):
            return conversation(
                "question", "materials", (question, f"{use.answer[:-1]} because {subject} is {quality.value}.")
            )
