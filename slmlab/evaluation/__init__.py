"""Evaluation of the minis: what they can do on text they never saw, with confidence intervals, held to their goals.

    rows = evaluate(("mini-phi",))        every exam of these minis: facts, sums, tool calls, needles, losses
    print(table(rows), as_json(rows), sep="\\n")
    record(rows)                          kept in slmlab/minis/evaluation.json, which the model cards read

intervals    Wilson, Newcombe, ratios over documents        rows       Row, goals, table, JSON, record
generation   greedy answers in batches                      losses     nats a token, nats a byte
exams        questions, and what counts as right            experts    who is chosen for what
widths       slices of the feed-forward layers              ternary    trained, rounded, packed
needles      distances in tokens                            candidates a mini, and how it is asked
measures     the rows of each exam                          plan       which mini sits which
racing       trainings that take turns, looked at on the way
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from .. import minis
from .errors import EvaluationError
from .rows import RECORD, Row, as_json, recorded, table

__all__ = ["RECORD", "EvaluationError", "Row", "as_json", "evaluate", "record", "recorded", "table"]


def evaluate(
    names: Sequence[str] = minis.NAMES, progress: bool = True, folder: Callable[[str], Path] | None = None
) -> list[Row]:
    """Every row of these minis, twins among them if they are named. It takes minutes; the same each time.

    folder: where a mini or a twin lies; without it those of the package are taken. Comparisons load the second mini
    themselves. Twins are not shipped: where one is missing, the row of the stored evaluation stands in if the first
    mini has the very weights that it had then, and says so; else the row says what is missing.

    Raises what models.load() does for a mini that is named and not there.
    """
    from . import plan

    return plan.evaluate(names, progress, folder)


def record(rows: Sequence[Row], folder: Callable[[str], Path] | None = None) -> Path:
    """Store rows in slmlab/minis/evaluation.json, in place of all older ones of the same models; return its path.

    folder: where the models lie that were measured, as for evaluate()
    """
    from . import plan

    return plan.record(rows, folder)
