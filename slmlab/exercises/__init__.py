"""Exercises that check themselves on definition, and answers that wait for the learner's guess.

    @exercise("kv-cache-bytes")      public random cases against the reference; the cell shows *not attempted*,
    def kv_cache_bytes(...): ...     *not yet*, *error* or *passes*; until it passes, calls run on the reference

    zero_share = answer("zero-share", default=1 / 3)     the learner types a guess as second argument

A part's exercises stand in the module of its name (`start`, `phi`, `qwen`, `gemma`, `bitnet`), as the tuple
`EXERCISES`. One that is compiled stands in a `%%cython` cell (`cython_cells`). SLMLAB_STRICT=1 raises ExerciseFailed
where the reference would step in. Results and answers are kept by `records`.
"""

import difflib
import functools
import importlib
import math
import os
import sys
from collections.abc import Callable

from slmlab import records

from . import check
from .check import Exercise

__all__ = ["Exercise", "ExerciseFailed", "UnknownExercise", "answer", "compare", "exercise", "get", "registered"]

PARTS = ("start", "phi", "qwen", "gemma", "bitnet")


class ExerciseFailed(Exception):
    """An exercise does not pass, and SLMLAB_STRICT=1 asked for an error instead of the reference."""


class UnknownExercise(LookupError):
    """No part registers this id; the message names near ones."""


def exercise(id: str) -> Callable[[Callable], Callable]:
    """Check the decorated function at once, show the result, record it, and return what later cells call.

    What is returned has `student` (the learner's function), `status` ("not attempted", "not yet", "error", "passes")
    and `result`. It runs `student` if that passes, else the reference. Raises UnknownExercise, and ExerciseFailed
    under SLMLAB_STRICT=1.
    """
    task = get(id)

    def decorate(function: Callable) -> Callable:
        if not callable(function):
            raise TypeError(f'@exercise("{id}") stands on {function!r}: wanted a function')
        result = check.attempt(task, function)
        records.write("exercise", id, {"status": result.status})
        if result.status != check.PASSES and os.environ.get("SLMLAB_STRICT") == "1":
            raise ExerciseFailed(str(result)) from result.exception
        _show(result)
        runs = function if result.status == check.PASSES else task.reference

        @functools.wraps(function)
        def chosen(*args, **kwargs):
            return runs(*args, **kwargs)

        chosen.student, chosen.status, chosen.result = function, result.status, result
        return chosen

    return decorate


def registered() -> dict[str, Exercise]:
    """Every exercise by id, part by part. Raises ValueError when an id is registered twice."""
    found: dict[str, Exercise] = {}
    for part in PARTS:
        for task in importlib.import_module(f"{__name__}.{part}").EXERCISES:
            if task.id in found:
                raise ValueError(f"exercise {task.id!r} is registered twice, the second time in {part}.py")
            found[task.id] = task
    return found


def get(id: str) -> Exercise:
    """The exercise of this id. Raises UnknownExercise naming near ids."""
    tasks = registered()
    if id not in tasks:
        near = difflib.get_close_matches(id, tasks, n=3) or sorted(tasks)
        raise UnknownExercise(f"no exercise {id!r}: did you mean {', '.join(near)}?")
    return tasks[id]


def answer(id: str, value: object = None, *, default: object) -> object:
    """The learner's guess: `value` once one is typed, until then `default`. Shows which, in a line, and records it.

    `default` (bool, int, float or str) sets the type; a whole number is taken for a float. Raises TypeError for
    another type and ValueError for NaN or an infinity.
    """
    default = _checked(id, default, like=default)
    given = value is not None
    used = _checked(id, value, like=default) if given else default
    records.write("answer", id, {"value": used, "default": default, "given": given})
    _show(_Line(f"{id}: your answer is {used!r}." if given else _waiting(id, default)))
    return used


def _waiting(id: str, default: object) -> str:
    return f'{id}: no answer yet, so {default!r} stands in. Type yours as second argument: answer("{id}", …).'


def _checked(id: str, value: object, like: object) -> object:
    value = check.python_number(value)
    if type(like) is float and type(value) is int:
        value = float(value)
    if type(value) not in (bool, int, float, str) or type(value) is not type(check.python_number(like)):
        kind = type(like).__name__
        raise TypeError(f"answer {id!r}: got {value!r} ({type(value).__name__}), wanted {kind} such as {like!r}")
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"answer {id!r}: got {value!r}, wanted a finite number such as {like!r}")
    return value


def compare(title: str, measured: dict[str, float], your_guess: float | None = None, unit: str = ""):
    """Bars of what was measured, with the guess drawn in: a plotly Figure, shown when it is the cell's last line."""
    from slmlab import figures

    return figures.compare_bars(title, measured, your_guess, unit)


class _Line(str):
    """Text that a notebook shows without quotes."""

    __repr__ = str.__str__


def _show(thing: object) -> None:
    """Display in a notebook, print elsewhere."""
    shell = sys.modules.get("IPython")
    if shell and shell.get_ipython():
        from IPython.display import display

        display(thing)
    else:
        print(thing)
