"""Table 1 of the BitNet b1.58 2B4T report: six models, their printed costs, and the scores that a source gives.

datasets/bitnet_report.json holds it. Two of the models have no scores there, because no stored source prints them.
"""

import json
from dataclasses import dataclass
from functools import cache

from .. import places
from . import Model, get


@dataclass(frozen=True, eq=False)
class Compared:
    """A column of the table.

    energy_joules, ms_per_token, non_embedding_gb, average: as printed
    scores: by benchmark; per cent, MT-bench from 1 to 10; empty where no source gives them
    """

    name: str
    model: Model
    energy_joules: float
    ms_per_token: float
    non_embedding_gb: float
    average: float
    scores: dict[str, float]
    sources: list[str]


@cache
def _file() -> dict:
    return json.loads(places.dataset("bitnet_report.json").read_text(encoding="utf-8"))


def columns() -> list[Compared]:
    """The six models in the order of the table, BitNet last."""
    return [_column(**entry) for entry in _file()["models"]]


def _column(*, name, catalog=None, config=None, context_length=None, **printed) -> Compared:
    model = get(catalog) if catalog else None
    if model is None:  # of a family that the catalog does not follow
        model = Model(name, "llama", name, config, True, context_length=context_length, sources=printed["sources"])
    return Compared(name=name, model=model, **printed)


def shown() -> list[str]:
    """The benchmarks that the chapter prints, of the 16 in the table."""
    return list(_file()["shown_in_the_chapter"])
