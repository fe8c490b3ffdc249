"""Facts: a subject, a relation, a value, and the sentences that ask for it and tell it.

For each fact two of its ten question wordings and one of its five statement wordings are held out. Each wording is
seen with other facts, and each fact in other wordings: it is the combination that is new.
"""

from dataclasses import dataclass
from functools import cache

from . import tables, wordings
from .splits import HELD_OUT, least

HELD_OUT_QUESTIONS = 2  # of ten, for each fact
HELD_OUT_STATEMENTS = 1  # of five


@dataclass(frozen=True)
class Fact:
    domain: str
    subject: str
    relation: str
    value: str  # as it stands in the answer: "an insect", "in a web"

    @property
    def answer(self) -> str:
        return self.say(wordings.ANSWERS[self.relation])

    def say(self, form: str, value: str | None = None) -> str:
        """A form of wordings.py about this fact, with another value if given."""
        value = self.value if value is None else value
        return fill(form, self.domain, self.subject, v=value, V=capital(value))

    def questions(self, split: str) -> tuple[str, ...]:
        return self._of(split, QUESTION_FORMS[self.relation], HELD_OUT_QUESTIONS)

    def statements(self, split: str) -> tuple[str, ...]:
        """Of a training document the answer is among them."""
        told = self._of(split, wordings.STATEMENTS[self.relation], HELD_OUT_STATEMENTS)
        return told if split == HELD_OUT else (self.answer, *told)

    def _of(self, split: str, forms: tuple[str, ...], count: int) -> tuple[str, ...]:
        return _spoken(self, split, forms, count)


@cache
def _spoken(fact: Fact, split: str, forms: tuple[str, ...], count: int) -> tuple[str, ...]:
    held_out = least(f"{fact.subject}|{fact.relation}", forms, count)
    return tuple(fact.say(form) for form in forms if (form in held_out) == (split == HELD_OUT))


def fill(form: str, domain: str, subject: str, **fields: str) -> str:
    """A form with its subject: "{a}" of an owl is "an owl", of a place or a material its name."""
    a, the = (with_article(subject), f"the {subject}") if domain == "animals" else (subject, subject)
    names = {"a": a, "A": capital(a), "the": the, "The": capital(the), "x": subject, "X": capital(subject)}
    return form.format(**names, **fields)


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


QUESTION_FORMS = {
    relation: wordings.QUESTIONS[relation] + tuple(asking.format(clause) for asking in wordings.ASKING)
    for relation, clause in wordings.CLAUSES.items()
}


def _facts() -> tuple[Fact, ...]:
    found = []
    for domain, rows in tables.ROWS.items():
        for row in filter(str.strip, rows.splitlines()):
            subject, *values = (cell.strip() for cell in row.split(","))
            for relation, value in zip(tables.RELATIONS[domain], values, strict=True):
                if value != "-":
                    found.append(Fact(domain, subject, relation, value))
    return tuple(found)


FACTS = _facts()
SUBJECTS: dict[str, dict[str, dict[str, Fact]]] = {domain: {} for domain in tables.ROWS}  # domain, subject, relation
for _fact in FACTS:
    SUBJECTS[_fact.domain].setdefault(_fact.subject, {})[_fact.relation] = _fact
