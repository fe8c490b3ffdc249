"""Executes labs, one after the other, and writes what came out: executed copies, report.html, report.json.

Each lab runs in a kernel of this very Python, in the lab's own folder, with its own records.
"""

import html
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil

from slmlab import bench, claims, places, records

CELL_SECONDS = {"fast": 600, "full": None}  # a cell that takes longer is stopped
SAMPLE_SECONDS = 0.05


class LabNotFoundError(LookupError):
    """No lab has this number, or this in its name; the message lists the labs."""


class OutputError(ValueError):
    """The folder for the report cannot be made."""


@dataclass(frozen=True)
class LabResult:
    """What the run of one lab gave. `notebook` is the executed copy; `error` is None where it reached the end.

    peak_bytes: the largest sum of resident memory over the kernel and what it started, looked at every 50 ms.
    exercises, verdicts: the records that the lab wrote, by id.
    """

    name: str
    notebook: Path
    seconds: float
    peak_bytes: int
    error: str | None
    exercises: dict[str, dict]
    verdicts: dict[str, dict]

    @property
    def solved(self) -> int:
        return sum(entry["status"] == "passes" for entry in self.exercises.values())


@dataclass
class Report:
    """The results so far, and what they were measured on."""

    folder: Path
    mode: str
    machine: str
    started: str
    results: list[LabResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        return not self.interrupted and all(result.error is None for result in self.results)

    def save(self) -> None:
        """Write report.json and report.html, in place of older ones."""
        for name, text in (("report.json", _json(self)), ("report.html", _html(self))):
            with places.replacing(self.folder / name) as new:
                new.write_text(text, encoding="utf-8", newline="\n")


def run(labs: Path, words: Sequence[str] = (), mode: str = "fast", output: Path | None = None) -> Report:
    """Run the labs of folder `labs` that `words` name (all of them without words); report into `output`.

    A lab that fails does not stop the rest. The report is written after each lab, so Ctrl-C keeps what is done.
    Raises LabNotFoundError and OutputError before anything runs.
    """
    chosen = find(labs, words)
    now = datetime.now().astimezone()
    folder = (output or Path("runs") / f"{now:%Y-%m-%d_%H%M%S}").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}): name another folder with --output") from error
    report = Report(folder, mode, str(bench.machine()), now.isoformat(timespec="seconds"))
    width = max(len(lab.stem) for lab in chosen)
    print(f"{len(chosen)} lab{'s' if len(chosen) > 1 else ''}, {mode} mode: {report.machine}")
    try:
        for lab in chosen:
            result = run_one(lab, folder / lab.name, mode)
            report.results.append(result)
            report.save()
            print(f"{result.name:<{width}}  {_line(result)}", flush=True)
    except KeyboardInterrupt:
        report.interrupted = True
        raise
    finally:
        report.save()
        print(f"Report: {folder / 'report.html'}", flush=True)
    return report


def find(labs: Path, words: Sequence[str] = ()) -> list[Path]:
    """The notebooks that `words` name, each by its number ("14") or a part of its name ("quant"), in course order."""
    notebooks = sorted(labs.glob("[0-9]_*/[0-9][0-9]_*.ipynb"))
    names = ", ".join(notebook.stem for notebook in notebooks) or "none"
    chosen = set()
    for word in words:
        matching = [lab for lab in notebooks if (lab.stem[:2] == word if word.isdecimal() else word in lab.stem)]
        if not matching:
            raise LabNotFoundError(f"no lab is called {word!r}; there are: {names}")
        chosen.update(matching)
    if not notebooks:
        raise LabNotFoundError(f"{labs} holds no notebooks: `slmlab build` makes them")
    return sorted(chosen) if words else notebooks


def run_one(notebook: Path, output: Path, mode: str = "fast", env: Mapping[str, str] | None = None) -> LabResult:
    """Run a notebook, keep the executed copy at `output`. Its records go beside that, or to env["SLMLAB_RECORDS"].

    Whatever stops the notebook becomes the result's error. `mode` is passed as MODE where a parameters cell has one.
    """
    import papermill

    own_records = output.parent.resolve() / "records" / notebook.stem
    shutil.rmtree(own_records, ignore_errors=True)  # of an earlier run into the same folder
    environment = {
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, whatever the user's home offers
        "SLMLAB_LAB": notebook.stem,
        "SLMLAB_RECORDS": str(own_records),
        **(env or {}),
    }
    declared = papermill.inspect_notebook(notebook)
    start, error = time.monotonic(), None
    with _environment(environment):
        with PeakMemory() as memory:
            try:
                papermill.execute_notebook(
                    notebook,
                    output.resolve(),
                    parameters={"MODE": mode} if mode != "fast" and "MODE" in declared else None,
                    cwd=notebook.parent,
                    store_widget_state=False,  # megabytes for each figure with widgets
                    execution_timeout=CELL_SECONDS[mode],
                    progress_bar={"desc": notebook.stem, "leave": False, "disable": None, "bar_format": BAR},
                )
            except papermill.PapermillExecutionError as failed:
                error = f"cell [{failed.exec_count}]: {failed.ename}: {failed.evalue}"
            except Exception as stopped:  # a kernel that died, a cell without end, a file that is no notebook
                error = f"{type(stopped).__name__}: {stopped}"
        exercises, verdicts = records.read("exercise"), records.read("verdict")
    return LabResult(notebook.stem, output, time.monotonic() - start, memory.peak_bytes, error, exercises, verdicts)


BAR = "{desc}  {percentage:3.0f} % {bar:20} {elapsed}"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that the block starts."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class PeakMemory:
    """Within `with`: the largest sum of resident bytes over the processes started below this one meanwhile."""

    def __init__(self):
        self.peak_bytes = 0
        self._me = psutil.Process()
        self._done = threading.Event()

    def __enter__(self):
        self._before = set(self._me.children(recursive=True))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(SAMPLE_SECONDS):
            started = set(self._me.children(recursive=True)) - self._before
            self.peak_bytes = max(self.peak_bytes, sum(map(_resident_bytes, started)))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


# The report


def _line(result: LabResult) -> str:
    """A result for the terminal."""
    if result.error:
        return f"failed in {result.error.splitlines()[0][:160]}"
    solved = f"{result.solved} of {len(result.exercises)} exercises pass, {len(result.verdicts)} verdicts"
    return f"{result.seconds:6.1f} s  {result.peak_bytes / 1e6:6.0f} MB  {solved}"


def _json(report: Report) -> str:
    labs = [
        {
            "lab": result.name,
            "notebook": result.notebook.name,
            "seconds": round(result.seconds, 2),
            "peak_mb": round(result.peak_bytes / 1e6, 1),
            "error": result.error,
            "exercises": {id: entry["status"] for id, entry in result.exercises.items()},
            "verdicts": {id: {k: entry[k] for k in ("value", "measured")} for id, entry in result.verdicts.items()},
        }
        for result in report.results
    ]
    about = {key: getattr(report, key) for key in ("started", "mode", "machine", "interrupted", "ok")}
    return json.dumps({**about, "labs": labs}, indent=1, ensure_ascii=False) + "\n"


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>slmlab report</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 0.5rem 0 1.5rem; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #8885; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
pre {{ white-space: pre-wrap; border-left: 0.3rem solid #d55e00; padding: 0.5rem 1rem; margin: 0.5rem 0; }}
small {{ opacity: 0.75; }}
</style>
</head>
<body>
<h1>slmlab report</h1>
<p>{about}</p>
{sections}
</body>
</html>
"""


def _html(report: Report) -> str:
    """The report as one page that needs nothing else, except for its links to the executed copies beside it."""
    summary = [
        [
            f'<a href="#{result.name}">{result.name}</a>',
            "failed" if result.error else "ran to the end",
            f"{result.seconds:.1f}",
            f"{result.peak_bytes / 1e6:.0f}",
            f"{result.solved} of {len(result.exercises)}",
            f"{len(result.verdicts)}",
        ]
        for result in report.results
    ]
    head = ["lab", "", "seconds", "peak MB", "exercises passed", "verdicts"]
    about = f"{report.started}, {report.mode} mode. {report.machine}"
    if report.interrupted:
        about += ". Stopped with Ctrl-C: what is missing did not run to the end."
    sections = [_table(head, summary, numbers=(2, 3, 4, 5)), *map(_section, report.results)]
    return PAGE.format(about=html.escape(about), sections="\n".join(sections))


def _section(result: LabResult) -> str:
    """One lab in full."""
    parts = [f'<h2 id="{result.name}">{result.name}</h2>']
    parts.append(f'<p><a href="{result.notebook.name}">The executed notebook</a></p>')
    if result.error:
        parts.append(f"<pre>{html.escape(result.error)}</pre>")
    if result.exercises:
        rows = [[html.escape(id), html.escape(entry["status"])] for id, entry in result.exercises.items()]
        parts.append(_table(["exercise", "result"], rows))
    if result.verdicts:
        rows = [_verdict_row(id, entry) for id, entry in result.verdicts.items()]
        parts.append(_table(["claim", "", "your number", "verdict"], rows))
    return "\n".join(parts)


def _verdict_row(id: str, entry: dict) -> list[str]:
    claim = claims.get(id)
    numbers = "; ".join(f"{name} {claims.spell(name, value)}" for name, value in entry["measured"].items())
    told = f"{html.escape(claim.claim)}<br><small>{html.escape(claim.source)}</small>"
    return [html.escape(id), told, html.escape(numbers), html.escape(entry["value"])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """An HTML table; the cells are HTML already, the columns `numbers` stand to the right."""

    def row(tag: str, cells: Sequence[str]) -> str:
        kind = [' class="number"' if column in numbers else "" for column in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{k}>{cell}</{tag}>" for k, cell in zip(kind, cells, strict=True)) + "</tr>"

    return "\n".join(["<table>", row("th", head), *(row("td", cells) for cells in rows), "</table>"])
