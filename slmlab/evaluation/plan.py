"""Which mini sits which exam, and what happens where the other one of a comparison is not at hand."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from .. import minis
from ..minis import recipes
from ..models import ModelError
from . import measures, rows
from .candidates import Candidate, sha256
from .intervals import Estimate
from .measures import Hall
from .rows import Row

Measure = Callable[[Hall, Candidate], list[Row]]


@dataclass(frozen=True)
class Comparison:
    """A row that needs a second mini. `provided`: what its goal demands besides."""

    other: str
    claim: str
    what: str
    unit: str
    measure: Callable[[Hall, Candidate, Candidate], Estimate]
    provided: Callable[[Hall, Candidate, Candidate], bool] = lambda hall, one, other: True


COMPARISONS = {
    "mini-phi": [
        Comparison(
            "mini-phi-noisy",
            "facts-clean-minus-noisy",
            "facts, new wording: clean text minus noisy",
            measures.SHARE,
            measures.clean_minus_noisy,
            measures.intervals_apart,
        )
    ],
    "mini-qwen-moe": [
        Comparison(
            f"mini-qwen-moe-{size}",
            f"mixture-above-dense-{size}",
            f"loss above the dense twin with as many {size} weights",
            measures.LOSS,
            measures.loss_above,
        )
        for size in ("active", "total")
    ],
    "mini-gemma3n": [
        Comparison(
            "mini-gemma3n-twin",
            "half-width-costs-twin",
            "the same half of its twin, always trained whole: loss above the whole",
            measures.LOSS,
            lambda hall, one, twin: measures.halved_above(hall, twin),
        )
    ],
    "mini-bitnet": [
        Comparison(
            "mini-bitnet-twin",
            "ternary-training-costs",
            "trained ternary: loss above its twin's",
            measures.LOSS,
            measures.loss_above,
        ),
        Comparison(
            "mini-bitnet-twin",
            "ternary-rounding-costs",
            "twin rounded to ternary after training: loss above itself",
            measures.LOSS,
            measures.rounded_above,
        ),
    ],
}


def alone(recipe: recipes.Recipe) -> list[tuple[str, Measure]]:
    """The exams of one mini: those of what it was taught, and what its family shows."""
    kinds = set(recipe.mixture)
    found: list[tuple[str, Measure]] = [("losses", measures.held_out_loss)]
    if "question" in kinds:
        found.append(("facts", measures.facts))
    if "sum" in kinds:
        found += [(f"sums of {terms} terms", partial(measures.sums, terms=terms)) for terms in measures.TERMS]
    if "sum-direct" in kinds:
        found.append(("budgets of thought", measures.budgets))
    if "tool" in kinds:
        found.append(("tool calls", measures.tool_calls))
    if "needle" in kinds:
        found.append(("needles", measures.recall))
    if "parallel" in kinds:
        found.append(("languages", measures.languages))
    if "num_experts" in recipe.config:
        found.append(("experts", measures.expert_shares))
    if recipe.matformer:
        found.append(("half the width", measures.half_width))
    if recipe.ternary:
        found.append(("packed", measures.on_kernels))
    return found


def evaluate(names: Sequence[str], progress: bool, folder: Callable[[str], Path] | None) -> list[Row]:
    """evaluation.evaluate()."""
    hall = Hall(folder)
    chosen = [hall.candidate(name) for name in dict.fromkeys(names)]
    steps = [step for one in chosen for step in _steps(hall, one)]
    found: list[Row] = []
    shape = "{desc} {percentage:3.0f} % {bar:20} {elapsed}"
    with tqdm(total=len(steps), file=sys.stdout, leave=False, bar_format=shape, disable=not progress, delay=2) as bar:
        for name, what, measure in steps:
            bar.set_description_str(f"{name}: {what}")
            found += measure()
            bar.update()
    return found


def _steps(hall: Hall, one: Candidate) -> Iterator[tuple[str, str, Callable[[], list[Row]]]]:
    for what, measure in alone(one.recipe):
        yield one.name, what, partial(measure, hall, one)
    for comparison in COMPARISONS.get(one.name, []):
        try:
            other = hall.candidate(comparison.other)
        except (ModelError, minis.MiniError):
            yield one.name, f"without {comparison.other}", partial(_stand_in, one, comparison)
        else:
            yield one.name, f"against {comparison.other}", partial(_compare, hall, one, other, comparison)


def _compare(hall: Hall, one: Candidate, other: Candidate, comparison: Comparison) -> list[Row]:
    found, provided = comparison.measure(hall, one, other), comparison.provided(hall, one, other)
    return [rows.measured(comparison.claim, one.name, comparison.what, found, comparison.unit, provided)]


def _stand_in(one: Candidate, comparison: Comparison) -> list[Row]:
    """The stored row if it is of these weights, else one without a value."""
    stored = rows.recorded()
    if stored.weights_sha256.get(one.name) == one.weights_sha256:
        for row in stored.rows_of(one.name):
            if row.claim == comparison.claim and row.value is not None:
                return [replace(row, note=f"as stored, not measured now: {comparison.other} is not here")]
    note = (
        f"{comparison.other} is not here. Next: slmlab minis train {comparison.other}, then slmlab minis eval --folder "
        "with the folder that it lies in"
    )
    return [rows.missing(comparison.claim, one.name, comparison.what, comparison.unit, note)]


def record(found: Sequence[Row], folder: Callable[[str], Path] | None = None) -> Path:
    """Store rows, with the digests of the weights they were measured on, in slmlab/minis/evaluation.json."""
    where = folder or minis.folder
    return rows.store(found, {row.model: sha256(where(row.model)) for row in found})
