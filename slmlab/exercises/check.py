"""Run a learner's function against the reference, and say what came out: no display, no records.

The learner's function and the reference each get their own deep copy of a case. Values are compared by type, then
shape, then content (`difference`). "Not attempted" is read from the compiled code, never from what it returns.
"""

import copy
import dataclasses
import html
import inspect
import io
import itertools
import os
import reprlib
import traceback
import zlib
from collections.abc import Callable, Iterable
from contextlib import contextmanager, redirect_stdout

import numpy as np

NOT_ATTEMPTED, NOT_YET, ERROR, PASSES = "not attempted", "not yet", "error", "passes"


@dataclasses.dataclass(frozen=True)
class Exercise:
    """One function that the learner writes.

    id         words with hyphens; the name in `@exercise("id")`, in records and in reports
    reference  the readable slow specification; its parameters bear the names of the stub's
    cases      given a seeded generator, yields argument tuples, smallest first; about twenty
    hint       one sentence, shown with the first wrong result
    lines      budget: how many lines a solution needs (without docstring, comments, blank lines)
    rtol, atol floats agree when |yours - expected| <= atol + rtol * |expected|; integers agree exactly
    """

    id: str
    reference: Callable
    cases: Callable[[np.random.Generator], Iterable[tuple]]
    hint: str
    lines: int
    rtol: float = 0.0
    atol: float = 0.0


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check found: `status` is one of the four constants above, `facts` are (label, text) rows."""

    id: str
    status: str
    summary: str
    facts: tuple[tuple[str, str], ...] = ()
    exception: BaseException | None = None

    def __str__(self) -> str:
        width = max((len(label) for label, _ in self.facts), default=0)
        rows = [
            f"    {name if n == 0 else '':<{width}}  {line}"
            for name, text in self.facts
            for n, line in enumerate(text.splitlines() or [""])
        ]
        return "\n".join([f"{self.id}: {self.status}. {self.summary}", *rows])

    def __repr__(self) -> str:  # what a notebook shows where it cannot show HTML
        return str(self)

    def _repr_html_(self) -> str:
        # The symbol and the words carry the meaning; the colours (Okabe-Ito) only repeat it.
        symbol, colour = {
            NOT_ATTEMPTED: ("○", "#767676"),
            NOT_YET: ("≠", "#D55E00"),
            ERROR: ("!", "#CC79A7"),
            PASSES: ("✓", "#0072B2"),
        }[self.status]
        pre = '<pre style="margin:0;white-space:pre-wrap;word-break:normal;overflow-wrap:break-word">'
        rows = "".join(f"<div>{html.escape(label)}</div>{pre}{html.escape(text)}</pre>" for label, text in self.facts)
        grid = "display:grid;grid-template-columns:max-content minmax(0,1fr);gap:0.2em 1em;align-items:baseline"
        return (
            f'<div role="status" style="border-left:0.35em solid {colour};padding:0.3em 0.8em">'
            f"<div>{symbol} <code>{html.escape(self.id)}</code> <b>{self.status}</b>. {html.escape(self.summary)}</div>"
            + (f'<div style="{grid}">{rows}</div>' if rows else "")
            + "</div>"
        )


def attempt(exercise: Exercise, function: Callable) -> Result:
    """Run `function` on the exercise's cases until one fails. Ctrl-C passes through.

    The cases are the same each time, so that the message holds still while the learner edits; SLMLAB_SEED (an
    integer, default 0) draws others.
    """
    if is_stub(function):
        summary = f"Write the body (about {exercise.lines} lines). Later cells run on the reference."
        return Result(exercise.id, NOT_ATTEMPTED, summary)
    tried = 0
    with _own_name(function):
        for case in exercise.cases(_generator(exercise.id)):
            tried += 1
            if failure := _try_case(exercise, function, case):
                return failure
    if tried == 0:
        raise ValueError(f"exercise {exercise.id!r} has no cases: its `cases` must yield argument tuples")
    return Result(exercise.id, PASSES, f"{tried} cases agree with the reference. Later cells run on your function.")


def _try_case(exercise: Exercise, function: Callable, case: tuple) -> Result | None:
    """The failure that `case` shows, or None."""
    expected = exercise.reference(*copy.deepcopy(case))
    given = copy.deepcopy(case)
    printed = io.StringIO()
    shown = [("input", call_text(exercise.reference, function, case))]
    try:
        with redirect_stdout(printed):
            yours = function(*given)
    except (Exception, SystemExit) as error:
        shown.append(("error", "".join(traceback.format_exception_only(error)).strip()))
        if line := _line(error, function):
            shown.append(("line", line))
        status, summary, exception = ERROR, "Your function raised. Later cells run on the reference.", error
    else:
        wrong = difference(yours, expected, exercise.rtol, exercise.atol)
        changed = _changed(exercise.reference, given, case)
        if not wrong and not changed:
            return None
        if wrong:
            shown += [("yours", short(yours)), ("expected", short(expected))]
            if wrong != f"{short(yours)}, wanted {short(expected)}":
                shown.append(("differs", wrong))
        if changed:
            shown.append(("changed", changed))
        shown.append(("hint", exercise.hint))
        status, summary, exception = NOT_YET, "The smallest case that fails. Later cells run on the reference.", None
    if printed.getvalue():
        shown.append(("printed", printed.getvalue().rstrip()[-1000:]))
    return Result(exercise.id, status, summary, tuple(shown), exception)


def is_stub(function: Callable) -> bool:
    """Whether the body compiles to what a docstring and `...` compile to (on this Python)."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    body = "..." if function.__doc__ is None else f"{function.__doc__!r}\n    ..."
    names: dict = {}
    exec(f"def stub():\n    {body}\n", names)
    stub = names["stub"].__code__
    return (code.co_code, code.co_consts) == (stub.co_code, stub.co_consts)


def difference(got: object, wanted: object, rtol: float = 0.0, atol: float = 0.0, where: str = "") -> str | None:
    """The first thing in which `got` is not `wanted`, in words, or None when they agree.

    Types must be the same, though a NumPy number counts as the Python number of its kind, and an array's dtype needs
    only the wanted kind (float32 for float64, not int64 for float64). NaN agrees with NaN. `rtol` and `atol` concern
    floats alone. Raises TypeError for a wanted value of a type that is not compared.
    """
    at = f"at {where}: " if where else ""
    got, wanted = python_number(got), python_number(wanted)
    if type(got) is not type(wanted):
        return f"{at}type {type(got).__name__}, wanted {type(wanted).__name__}"
    if isinstance(wanted, float):
        agree = bool(_close(np.float64(got), np.float64(wanted), rtol, atol))
        return None if agree else f"{at}{got!r}, wanted {wanted!r}"
    if wanted is None or isinstance(wanted, (bool, int, str, bytes)):
        return None if got == wanted else f"{at}{short(got)}, wanted {short(wanted)}"
    if isinstance(wanted, np.ndarray):
        return _array_difference(got, wanted, rtol, atol, at)
    if isinstance(wanted, (list, tuple)):
        if len(got) != len(wanted):
            return f"{at}{len(got)} elements, wanted {len(wanted)}"
        pairs = [(f"{where}[{n}]", g, w) for n, (g, w) in enumerate(zip(got, wanted, strict=True))]
    elif isinstance(wanted, dict):
        if absent := [key for key in wanted if key not in got]:
            return f"{at}key {absent[0]!r} is missing"
        if extra := [key for key in got if key not in wanted]:
            return f"{at}key {extra[0]!r} is not wanted"
        pairs = [(f"{where}[{key!r}]", got[key], value) for key, value in wanted.items()]
    elif dataclasses.is_dataclass(wanted):
        names = [field.name for field in dataclasses.fields(wanted)]
        pairs = [(f"{where}.{name}", getattr(got, name), getattr(wanted, name)) for name in names]
    elif got is wanted:
        return None
    else:
        raise TypeError(f"{at}cannot compare values of type {type(wanted).__name__}: add it to check.difference")
    return next((found for place, g, w in pairs if (found := difference(g, w, rtol, atol, place))), None)


def _array_difference(got: np.ndarray, wanted: np.ndarray, rtol: float, atol: float, at: str) -> str | None:
    if got.dtype.kind != wanted.dtype.kind:
        return f"{at}dtype {got.dtype}, wanted {wanted.dtype}"
    if got.shape != wanted.shape:
        return f"{at}shape {got.shape}, wanted {wanted.shape}"
    agree = _close(got, wanted, rtol, atol) if wanted.dtype.kind in "fc" else got == wanted
    if np.all(agree):
        return None
    wrong = np.argwhere(~np.asarray(agree))
    first = tuple(int(n) for n in wrong[0])
    return f"{at}at {list(first)}: {got[first]}, wanted {wanted[first]} ({len(wrong)} of {wanted.size} elements differ)"


def _close(got: np.ndarray, wanted: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Element by element; an infinity agrees with itself alone, NaN with NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.isfinite(wanted) & (np.abs(got - wanted) <= atol + rtol * np.abs(wanted))
    return near | (got == wanted) | (np.isnan(got) & np.isnan(wanted))


def call_text(reference: Callable, function: Callable, case: tuple) -> str:
    """The call as one would type it: `pack(trits=array([1, 0], dtype=int8))`."""
    bound = inspect.signature(reference).bind(*case).arguments
    arguments = ", ".join(f"{name}={short(value)}" for name, value in bound.items())
    return f"{getattr(function, '__name__', reference.__name__)}({arguments})"


class _Short(reprlib.Repr):
    """Values as text that fits in a cell's output."""

    def __init__(self):
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12
        self.maxstring = self.maxother = self.maxlong = 200

    def repr_dict(self, values: dict, level: int) -> str:  # reprlib's own sorts the keys
        if level <= 0 and values:
            return "{...}"
        items = [f"{key!r}: {self.repr1(values[key], level - 1)}" for key in itertools.islice(values, self.maxdict)]
        return "{" + ", ".join(items + ["..."] * (len(values) > self.maxdict)) + "}"

    def repr_ndarray(self, array: np.ndarray, level: int) -> str:
        with np.printoptions(threshold=24, edgeitems=4, precision=7, linewidth=100):
            return repr(array)


short = _Short().repr


def python_number(value: object) -> object:
    """A NumPy scalar as the Python number of its kind; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _changed(reference: Callable, given: tuple, case: tuple) -> str | None:
    """Which argument the learner's function changed, if any. A generator or a model may well change."""
    for name, after, before in zip(inspect.signature(reference).parameters, given, case, strict=False):
        if isinstance(before, (np.ndarray, list, dict)) and (found := difference(after, before)):
            return f"your function changed its argument {name} ({found}): work on a copy"
    return None


def _line(error: BaseException, function: Callable) -> str | None:
    """Number and text of the learner's line that raised: the deepest one in the file (or cell) of the function."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{own[-1].lineno}: {own[-1].line}" if own else None


@contextmanager
def _own_name(function: Callable):
    """Bind the function's name in its module to itself while it is checked, so that a recursive one finds itself.

    A decorator runs before the name is bound, or while it still means the definition before.
    """
    names, name = getattr(function, "__globals__", {}), getattr(function, "__name__", "")
    before = {name: names[name]} if name in names else {}
    names[name] = function
    try:
        yield
    finally:
        del names[name]
        names.update(before)


def _generator(id: str) -> np.random.Generator:
    seed = os.environ.get("SLMLAB_SEED", "0")
    if not seed.isdecimal():
        raise ValueError(f"SLMLAB_SEED is {seed!r}: wanted a whole number from 0 up")
    return np.random.default_rng([zlib.crc32(id.encode()), int(seed)])
