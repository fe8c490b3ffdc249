"""The claim ledger: what the chapter says, where, what we read about it, your number, and the verdict.

datasets/claims.json holds the claims. A claim that can be tested carries checks: named quantities, each with the
interval of numbers that its print admits ("32K" admits 32,000 to 32,768). A verdict is computed from them:

    >>> verdict("P5", {"context_tokens": 16_384}).value
    'does not hold here'
"""

import html
import json
import math
import numbers
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

from . import places, records
from .ledger import format_bytes, format_count, html_table, table

FAMILIES = ("phi", "qwen", "gemma", "bitnet")
HOLDS, FAILS, OPEN = "holds here", "does not hold here", "not measured yet"


class ClaimError(LookupError):
    """No such claim, no such quantity in it, or nothing measured."""


@dataclass(frozen=True)
class Check:
    """What a claim asserts of one quantity: a number from `low` to `high`, both included; None is no bound."""

    what: str  # what is to be measured
    printed: str  # as the chapter prints it
    because: str  # why the bounds follow from the print
    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


@dataclass(frozen=True, eq=False)
class Claim:
    """One entry of datasets/claims.json."""

    id: str
    family: str
    claim: str  # in our words
    file: str  # of the chapter
    lines: str
    reading: str  # OK, VENDOR (the maker's claim, fairly quoted), MISLEADING, WRONG or UNSUPPORTED
    reason: str
    evidence: list[str]  # of the reading: run, computed, source, second-hand, unverified (from memory: confirm first)
    lab: str | None = None  # the lab that tests it
    checks: dict[str, Check] = field(default_factory=dict)
    untested: str | None = None  # the part of the claim that no check covers
    not_testable_because: str | None = None

    @property
    def source(self) -> str:
        return f"{_file()['chapter']}/{self.file}, line{'' if self.lines.isdigit() else 's'} {self.lines}"


@cache
def _file() -> dict:
    return json.loads(places.dataset("claims.json").read_text(encoding="utf-8"))


@cache
def _all() -> tuple[Claim, ...]:
    entries = []
    for entry in _file()["claims"]:
        checks = {quantity: Check(**check) for quantity, check in entry.get("checks", {}).items()}
        entries.append(Claim(**{**entry, "checks": checks}))
    return tuple(entries)


def claims(family: str | None = None) -> list[Claim]:
    """Every claim, or those about one family, in the order of their ids."""
    if family is not None and family not in FAMILIES:
        raise ClaimError(f"family {family!r}: wanted one of {', '.join(FAMILIES)}")
    return [claim for claim in _all() if family in (None, claim.family)]


def get(id: str) -> Claim:
    """The claim with this id ("P5")."""
    for claim in _all():
        if claim.id == id:
            return claim
    raise ClaimError(f"no claim has the id {id!r}; there are P1 to P18, Q1 to Q15, G1 to G18 and B1 to B16")


@dataclass(frozen=True)
class Verdict:
    """The claim, your numbers and what follows from them. As a cell's last value it shows itself."""

    claim: Claim
    value: str
    measured: dict[str, float]
    beside: dict[str, float]

    @property
    def missing(self) -> list[str]:
        """Quantities of the claim that were not measured this time."""
        return [quantity for quantity in self.claim.checks if quantity not in self.measured]

    def __repr__(self) -> str:
        lines = [f"{self.claim.id}  {self.claim.claim}", self.claim.source]
        if self.measured or self.beside:
            lines.append(table(*self._table(), left=(0, 3, 4)))
        return "\n".join([*lines, *self._notes(), self.value])

    def _repr_html_(self) -> str:
        escaped = [html.escape(text) for text in (f"{self.claim.id}: {self.claim.claim}", self.claim.source)]
        shown = html_table(*self._table(), left=(0, 3, 4)) if self.measured or self.beside else ""
        notes = "".join(f"<br>{html.escape(note)}" for note in self._notes())
        return (
            f"<p><b>{escaped[0]}</b><br><small>{escaped[1]}</small></p>{shown}"
            f"<p><b>{html.escape(self.value)}</b><small>{notes}</small></p>"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for quantity, value in self.measured.items():
            check = self.claim.checks.get(quantity)
            told = [check.printed, "yes" if check.holds(value) else "no", check.what] if check else ["", "", ""]
            rows.append([quantity, told[0], spell(quantity, value), *told[1:]])
        rows += [[quantity, "", spell(quantity, value), "", ""] for quantity, value in self.beside.items()]
        return ["quantity", "claimed", "yours", "holds", "what"], rows

    def _notes(self) -> list[str]:
        notes = {"Not measured": ", ".join(self.missing), "No check covers": self.claim.untested}
        return [f"{name}: {text}." for name, text in notes.items() if text]


def verdict(id: str, measured: dict[str, float], beside: dict[str, float] | None = None) -> Verdict:
    """Compute, record and return the verdict on claim `id` from what you measured.

    `measured`: numbers by the names of the claim's checks, any of them, at least one. "holds here" if each lies in
    its interval, else "does not hold here". A claim without checks is "not testable here, because ..." whatever was
    measured; the numbers are kept as evidence. `beside`: further numbers to show and keep; they decide nothing.

    Raises ClaimError for an unknown id or quantity (naming the known ones) and when nothing was measured, ValueError
    for something that is no finite number.
    """
    claim = get(id)
    measured, beside = _numbers(claim, measured), _numbers(claim, beside or {})
    if not claim.checks:
        value = f"not testable here, because {claim.not_testable_because}"
    else:
        unknown = [quantity for quantity in measured if quantity not in claim.checks]
        if unknown or not measured:
            known = "".join(f"\n  {quantity}: {check.what}" for quantity, check in claim.checks.items())
            came = f"has no quantity {', '.join(unknown)}" if unknown else "needs at least one number"
            raise ClaimError(f"{id} {came}. It is decided by:{known}\nOther numbers go into beside={{...}}.")
        value = HOLDS if all(claim.checks[name].holds(number) for name, number in measured.items()) else FAILS
    records.write("verdict", id, {"value": value, "measured": measured, "beside": beside})
    return Verdict(claim, value, measured, beside)


def _numbers(claim: Claim, given: dict[str, float]) -> dict[str, float]:
    """The same as plain Python numbers."""
    plain = {}
    for quantity, value in given.items():
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(f"{claim.id}: {quantity} is {value!r}, wanted one finite number")
        plain[quantity] = int(value) if isinstance(value, numbers.Integral) else float(value)
    return plain


def spell(quantity: str, value: float) -> str:
    """A number in the unit that its name ends with: bytes, parameters, else the bare number."""
    if quantity.endswith("bytes"):
        return format_bytes(round(value))
    if quantity.endswith("parameters"):
        return format_count(round(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


@dataclass(frozen=True)
class Entry:
    """A row of the ledger, as text."""

    id: str
    family: str
    lab: str | None
    claim: str
    source: str
    reading: str  # ours, of the chapter
    number: str  # yours; "" when there is none
    verdict: str  # yours, or "not measured yet"


def ledger() -> list[Entry]:
    """All claims with your latest recorded number and verdict."""
    recorded = records.read("verdict")
    entries = []
    for claim in _all():
        record = recorded.get(claim.id, {"value": OPEN, "measured": {}})
        number = "; ".join(f"{quantity} {spell(quantity, value)}" for quantity, value in record["measured"].items())
        entries.append(
            Entry(claim.id, claim.family, claim.lab, claim.claim, claim.source, claim.reading, number, record["value"])
        )
    return entries


WIDTHS = (3, 11, 44, 34, 20)  # id, reading, claim, number, verdict: 120 columns with two spaces between


def report() -> str:
    """The ledger as text for a terminal, by family, at most 120 columns wide."""
    entries = ledger()
    lines = [_line("id", "we read", "claim", "your number", "verdict"), _line(*("-" * width for width in WIDTHS))]
    for family in FAMILIES:
        lines += ["", family]
        for entry in entries:
            if entry.family == family:
                lines.append(_line(entry.id, entry.reading, entry.claim, entry.number, entry.verdict))
    counted = Counter(entry.verdict.partition(",")[0] for entry in entries)
    order = (HOLDS, FAILS, "not testable here", OPEN)
    lines += ["", f"{len(entries)} claims: " + ", ".join(f"{counted[value]} {value}" for value in order)]
    return "\n".join([*lines, f"source: {_file()['chapter']}"])


def _line(*cells: str) -> str:
    """One row, its cells wrapped to WIDTHS."""
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, columns))
    rows = zip(*(column + [""] * (height - len(column)) for column in columns), strict=True)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, WIDTHS, strict=True)).rstrip() for row in rows
    )
