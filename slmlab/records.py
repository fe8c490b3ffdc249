"""What this learner measured, answered and solved: one JSON file per entry, kept between sessions.

The files are `places.records()/<kind>/<id>.json`. `$SLMLAB_RECORDS` names another folder: a run of a lab keeps its
own records there. `$SLMLAB_LAB` is the lab that writes, and becomes the entry's "lab".
"""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from . import places

KINDS = ("verdict", "answer", "exercise")


def write(kind: str, id: str, entry: dict) -> None:
    """Keep `entry` (JSON values; NumPy numbers are accepted) under `id`, in place of an older one.

    "time" (UTC, ISO 8601) and "lab" (or None) are added. Raises ValueError for an unknown kind, an id with other
    characters than letters, digits, `-` and `_`, or a number that JSON does not have (NaN, infinity).
    """
    path = _folder(kind) / f"{id}.json"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", id):
        raise ValueError(f"record id {id!r}: use letters, digits, '-' and '_' only, as it becomes a file name")
    entry = {**entry, "time": datetime.now(UTC).isoformat(timespec="seconds"), "lab": os.environ.get("SLMLAB_LAB")}
    text = json.dumps(entry, indent=1, ensure_ascii=False, allow_nan=False, default=_number)
    with places.replacing(path) as new:
        new.write_text(text + "\n", encoding="utf-8", newline="\n")


def read(kind: str) -> dict[str, dict]:
    """Every entry of `kind` by id, in the order of the ids. Raises ValueError naming a file that is not a record."""
    entries = {}
    for path in sorted(_folder(kind).glob("*.json")):
        try:
            entries[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not a record ({error}): delete it, and run its lab again") from error
    return entries


def _folder(kind: str) -> Path:
    if kind not in KINDS:
        raise ValueError(f"record kind {kind!r}: wanted one of {', '.join(KINDS)}")
    chosen = os.environ.get("SLMLAB_RECORDS")
    return (Path(chosen).expanduser() if chosen else places.records()) / kind


def _number(value: object) -> object:
    """A NumPy scalar as the Python number it stands for."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in a record: give it as a number, string, list or dict")
