"""What an evaluation found: rows, the goals they are held to, the table, the JSON, and the record that cards read."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .. import ledger, places
from .errors import EvaluationError
from .intervals import Estimate

RECORD = places.HERE / "minis" / "evaluation.json"


@dataclass(frozen=True)
class Goal:
    """What a value is wanted to be, "at least" or "at most" the bound, and in words what else must hold."""

    sense: str
    bound: float
    besides: str = ""

    def __post_init__(self):
        if self.sense not in (">=", "<="):
            raise EvaluationError(f"a goal's sense came as {self.sense!r}, wanted >= or <=")

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:g}{', ' * bool(self.besides)}{self.besides}"

    def holds(self, value: float) -> bool:
        """Whether the value itself, not its interval, reaches the bound."""
        return value >= self.bound if self.sense == ">=" else value <= self.bound


GOALS = {  # (claim, model): what the minis were built to reach
    ("facts-new-wording", "mini-phi"): Goal(">=", 0.85),
    ("facts-clean-minus-noisy", "mini-phi"): Goal(">=", 0.15, "intervals apart"),
    ("sums-2-terms-thinking", "mini-qwen"): Goal(">=", 0.95),
    ("sums-3-terms-thinking", "mini-qwen"): Goal(">=", 0.90),
    ("sums-4-terms-thinking", "mini-qwen"): Goal(">=", 0.80),
    ("sums-3-terms-gain-by-thinking", "mini-qwen"): Goal(">=", 0.3),
    ("sums-gain-by-budget", "mini-qwen"): Goal(">=", 0.0, "interval above 0, no step down"),
    ("tool-calls", "mini-phi"): Goal(">=", 0.90),
    ("tool-calls", "mini-qwen"): Goal(">=", 0.90),
    ("experts-distance", "mini-qwen-moe"): Goal(">=", 0.25),
    ("experts-dead", "mini-qwen-moe"): Goal("<=", 0),
    ("needles-within-window", "mini-gemma"): Goal(">=", 0.9),
    ("needles-beyond-window", "mini-gemma"): Goal(">=", 0.7),
    ("half-width-costs", "mini-gemma3n"): Goal("<=", 0.15),
    ("half-width-costs-twin", "mini-gemma3n"): Goal(">=", 1.0),
    ("ternary-training-costs", "mini-bitnet"): Goal("<=", 0.05),
    ("ternary-rounding-costs", "mini-bitnet"): Goal(">=", 0.8),
    ("packed-same-answers", "mini-bitnet"): Goal(">=", 1.0),
}


@dataclass(frozen=True)
class Row:
    """One number: a claim of a model. Where it could not be measured, value, low, high and met are None, and the note
    says why and what to do."""

    claim: str  # words with hyphens; with the model it names the row
    model: str
    what: str
    value: float | None
    low: float | None  # of the 95 % interval
    high: float | None
    unit: str
    goal: str  # "" where there is none
    met: bool | None  # None: no goal, or no value
    count: int  # items it rests on
    note: str = ""


def measured(claim: str, model: str, what: str, found: Estimate, unit: str, provided: bool = True) -> Row:
    """The row of an estimate, held to the goal of its claim and model. `provided`: what else the goal demands holds."""
    goal = GOALS.get((claim, model))
    numbers = found.value, found.low, found.high
    if not all(map(math.isfinite, numbers)):
        raise EvaluationError(f"{model}, {claim}: {numbers} came, wanted finite numbers. Next: train the model again")
    met = None if goal is None else goal.holds(found.value) and provided
    return Row(claim, model, what, *numbers, unit, str(goal or ""), met, found.count)


def missing(claim: str, model: str, what: str, unit: str, note: str) -> Row:
    """The row of something that could not be measured."""
    return Row(claim, model, what, None, None, None, unit, str(GOALS.get((claim, model), "")), None, 0, note)


def table(rows: Sequence[Row]) -> str:
    """Text for a terminal: one line a row, notes below, and last how many goals are met."""
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    marks = {note: f"[{number}]" for number, note in enumerate(notes, 1)}
    lines = []
    for row in rows:
        met = {True: "yes", False: "no", None: ""}[row.met]
        value = "-" if row.value is None else _spelt(row.value)
        interval = "" if row.value is None else f"{_spelt(row.low)} to {_spelt(row.high)}"
        what = f"{row.what} {marks.get(row.note, '')}".rstrip()
        lines.append([row.model, what, value, interval, row.unit, row.goal, met, str(row.count or "")])
    header = ["model", "what", "value", "95 % interval", "unit", "goal", "met", "count"]
    wanted = [row for row in rows if row.goal]
    closing = f"{sum(row.met is True for row in wanted)} of {len(wanted)} goals met"
    if unmeasured := sum(row.met is None for row in wanted):
        closing += f", {unmeasured} not measured"
    return "\n".join(
        [
            ledger.table(header, lines, left=(0, 1, 4, 5, 6)),
            *(f"{mark} {note}" for note, mark in marks.items()),
            closing,
        ]
    )


def _spelt(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # not -0.000


def as_json(rows: Iterable[Row]) -> str:
    """All rows as one line of JSON: a list of objects with the fields of Row."""
    return json.dumps([asdict(row) for row in rows], ensure_ascii=False, allow_nan=False)


# ------------------------------------------------------------------------------------------------------------------
# The record


@dataclass(frozen=True)
class Recorded:
    """The stored evaluation: rows, and the sha256 of the weights that each model had."""

    rows: tuple[Row, ...]
    weights_sha256: Mapping[str, str]

    def rows_of(self, model: str) -> list[Row]:
        return [row for row in self.rows if row.model == model]


def recorded(path: Path | None = None) -> Recorded:
    """The stored evaluation; one without rows where nothing was stored. EvaluationError: the file is not one."""
    path = path or RECORD
    if not path.exists():
        return Recorded((), {})
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        wanted = {field.name for field in fields(Row)}
        if any(set(row) != wanted for row in stored["rows"]):
            raise ValueError(f"a row has other fields than {', '.join(sorted(wanted))}")
        return Recorded(tuple(Row(**row) for row in stored["rows"]), stored["weights_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"{path} is not a stored evaluation ({error}): delete it, then slmlab minis eval --record"
        ) from error


def store(rows: Sequence[Row], weights_sha256: Mapping[str, str], path: Path | None = None) -> Path:
    """Keep rows and the digests of their models' weights, in place of all older rows of the same models."""
    path = path or RECORD
    old = recorded(path)
    models = {row.model for row in rows}
    if unknown := models - set(weights_sha256):
        raise EvaluationError(f"rows of {', '.join(sorted(unknown))} came without a digest of the weights")
    kept = [row for row in old.rows if row.model not in models]
    digests = {model: digest for model, digest in old.weights_sha256.items() if model not in models}
    whole = {
        "rows": [asdict(row) for row in sorted([*kept, *rows], key=lambda row: row.model)],
        "weights_sha256": dict(sorted({**digests, **{model: weights_sha256[model] for model in models}}.items())),
    }
    with places.replacing(path) as new:
        new.write_text(
            json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8", newline="\n"
        )
    return path
