"""labs/source/<part>/<name>.py, solutions inside -> the notebooks that students open.

    build()            labs/<part>/<name>.ipynb, labs/README.md and tests/golden/<name>.ipynb, where they are stale;
                       in a published course the links of grading.links as well
    build(check=True)  writes nothing, and names the stale ones
    solutions(folder)  the solved notebooks, into a folder of yours
    refresh_goldens()  runs tests/golden/*.ipynb and keeps the outputs: after a look at why they changed,
                       python -c "from slmlab.grading import build; build.refresh_goldens()"

A source is a jupytext percent script. Its cells may bear these tags:

    parameters    the first code cell, with the line MODE = "fast"
    exercise      one or more functions under @exercise("id"), whose bodies after the docstring stand between
                  `### BEGIN SOLUTION` and `### END SOLUTION`; students get `...` there. The cell may be compiled: its
                  first line is `# %%cython` then (exercises.cython_cells)
    golden        arithmetic whose output is the same on every machine: it goes to tests/golden with its output
    golden-setup  what the golden cells need before them

The first cell is `# NN · Question?`. A paragraph `*In this lab* …` before the first section names the minutes.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slmlab import exercises, places
from slmlab.grading import links

ROOT = places.HERE.parent  # of the clone
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
TAGS = {"parameters", "exercise", "golden", "golden-setup"}
PARTS = {
    "0_start": "Start",
    "1_phi": "Phi",
    "2_qwen": "Qwen",
    "3_gemma": "Gemma",
    "4_bitnet": "BitNet",
    "5_practice": "Practice",
}


class BuildError(Exception):
    """Sources that cannot be built; one line each says where, and what was wanted."""


@dataclass(frozen=True)
class Cell:
    kind: str  # "markdown" or "code"
    source: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lab:
    """A source that was read and found in order."""

    part: str
    name: str
    question: str
    minutes: int
    exercises: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def path(self) -> str:
        """The students' notebook in the clone."""
        return f"labs/{self.part}/{self.name}.ipynb"


# ------------------------------------------------------------------------------------------------------------- commands


def build(check: bool = False, root: Path = ROOT) -> list[Path]:
    """Write what is stale under `root`; with `check`, write nothing. Returns the stale paths, sorted.

    Raises BuildError before anything is written when a source is not in order.
    """
    texts = _generated(root)
    stale = [path for path, text in sorted(texts.items()) if not path.is_file() or _text(path) != text]
    if not check:
        for path in stale:
            _write(path, texts[path])
    return stale


def solutions(folder: Path, root: Path = ROOT) -> list[Path]:
    """Write the solved notebook of every lab to folder/<part>/<name>.ipynb. Returns their paths."""
    texts = {folder / lab.part / f"{lab.name}.ipynb": _notebook(lab.name, lab.cells) for lab in read_labs(root)}
    for path, text in texts.items():
        _write(path, text)
    return list(texts)


def refresh_goldens(root: Path = ROOT) -> list[Path]:
    """Build, then run every golden notebook and keep its outputs. Returns their paths."""
    import os

    import nbformat
    from nbclient import NotebookClient

    build(root=root)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    goldens = sorted((root / "tests" / "golden").glob("*.ipynb"))
    for golden in goldens:
        notebook = nbformat.reads(_text(golden), as_version=4)
        client = NotebookClient(
            notebook, timeout=60, record_timing=False, resources={"metadata": {"path": str(golden.parent)}}
        )
        client.execute(env={**os.environ, "PYTHONPATH": path})
        notebook.metadata = _metadata()
        _write(golden, nbformat.writes(notebook) + "\n")
    return goldens


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    with places.replacing(path) as new:
        new.write_text(text, encoding="utf-8", newline="\n")


def _generated(root: Path) -> dict[Path, str]:
    """Every generated file of the tree, with the text it should have."""
    labs, home = read_labs(root), links.home(root)
    texts = {root / "labs" / "README.md": readme(labs, home), **links.pages(root, home, labs[0].path)}
    set_up = links.colab_cell(home) if home else None
    for lab in labs:
        texts[root / lab.path] = _notebook(lab.name, student_cells(lab), set_up)
        if cells := golden_cells(lab):
            path = root / "tests" / "golden" / f"{lab.name}.ipynb"
            texts[path] = _golden(lab.name, cells, path)
    return texts


# -------------------------------------------------------------------------------------------------------------- sources


def read_labs(root: Path = ROOT) -> list[Lab]:
    """Every lab of root/labs/source, in order. Raises BuildError with a line for each thing that is wrong."""
    sources = sorted((root / "labs" / "source").glob("*/*.py"))
    if not sources:
        raise BuildError(f"{root / 'labs' / 'source'} holds no sources: build the labs in a clone of the repository")
    labs, wrong, seen = [], [], {}
    for path in sources:
        where = path.relative_to(root).as_posix()
        cells = _read(path)
        if problems := list(_problems(path, cells)):
            wrong += [where + problem for problem in problems]
            continue
        ids = tuple(id for cell in cells if "exercise" in cell.tags for id, _ in _exercises(cell))
        for id in ids:
            if id in seen:
                wrong.append(f"{where}: exercise {id!r} stands in {seen[id]} already; it has one place")
            seen[id] = where
        labs.append(Lab(path.parent.name, path.stem, _question(cells), _minutes(cells), ids, cells))
    if wrong:
        raise BuildError("\n".join(wrong))
    return labs


def _read(path: Path) -> tuple[Cell, ...]:
    import jupytext

    cells = jupytext.reads(_text(path), fmt="py:percent").cells
    for number, cell in enumerate(cells, 1):
        if extra := set(cell.metadata) - {"tags", "lines_to_next_cell"}:  # the latter is jupytext's own
            raise BuildError(
                f"{path}, cell {number}: {', '.join(sorted(extra))} beside `# %%`: write tags=[…] or nothing"
            )
    return tuple(Cell(cell.cell_type, cell.source.rstrip("\n"), tuple(cell.metadata.get("tags", ()))) for cell in cells)


def _question(cells: tuple[Cell, ...]) -> str | None:
    found = re.match(r"# \d\d · (.+\?)$", cells[0].source, re.MULTILINE) if cells else None
    return found[1] if found and cells[0].kind == "markdown" else None


def _minutes(cells: tuple[Cell, ...]) -> int | None:
    paragraphs = [text for cell in cells if cell.kind == "markdown" for text in cell.source.split("\n\n")]
    found = [re.search(r"\b(\d+) minutes", text) for text in paragraphs if text.startswith("*In this lab*")]
    return int(found[0][1]) if found and found[0] else None


def _exercises(cell: Cell) -> list[tuple[str, ast.FunctionDef]]:
    """(id, function) of each function under @exercise("id"); the id as it is written, if it is no literal."""
    return [
        (str(argument.value) if isinstance(argument, ast.Constant) else ast.unparse(argument), node)
        for node in ast.walk(ast.parse(python(cell.source)))
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "exercise"
        for argument in mark.args
    ]


def python(source: str) -> str:
    """A cell without its magic: below `%%cython` stands Python too (exercises.cython_cells). Line numbers stay."""
    return re.sub(r"^%%cython.*", "", source)


def _problems(path: Path, cells: tuple[Cell, ...]) -> Iterator[str]:
    """What keeps a source from being built, each as the rest of a line that begins with the path."""
    part, name = path.parent.name, path.stem
    if part not in PARTS:
        yield f": the folder is none of {', '.join(PARTS)}"
    if not re.fullmatch(rf"{part[0]}\d_[a-z0-9_]+", name):
        yield f": the name of the file is not {part[0]}, a digit, `_` and words in lower case"
    if not _question(cells) or not cells[0].source.startswith(f"# {name[:2]} · "):
        yield f", cell 1: no title `# {name[:2]} · Question?`"
    if _minutes(cells) is None:
        yield ": no paragraph that begins with `*In this lab*` and says how many `NN minutes`"
    code = [cell for cell in cells if cell.kind == "code"]
    tagged = [cell for cell in code if "parameters" in cell.tags]
    if not code or tagged != code[:1] or 'MODE = "fast"' not in tagged[0].source.splitlines():
        yield ': the first code cell, and no other, is tagged parameters and has the line `MODE = "fast"`'
    if any("golden-setup" in cell.tags for cell in cells) and not any("golden" in cell.tags for cell in cells):
        yield ": a golden-setup cell, and no golden cell"
    for number, cell in enumerate(cells, 1):
        for problem in _cell_problems(cell):
            yield f", cell {number}: {problem}"


def _cell_problems(cell: Cell) -> Iterator[str]:
    if unknown := set(cell.tags) - TAGS:
        yield f"unknown tag {', '.join(sorted(unknown))}: wanted one of {', '.join(sorted(TAGS))}"
    if cell.kind != "code":
        return
    if re.search(r"(?<![\w.])input\(", cell.source):
        yield 'input( stops Run All: ask with answer("id", default=…)'
    is_exercise = re.search(r"^@exercise\b", cell.source, re.MULTILINE) is not None
    if is_exercise != ("exercise" in cell.tags):
        yield "the tag `exercise` and `@exercise` go together"
    if {"golden", "golden-setup"} & set(cell.tags) and re.search(r"\b(exercise|answer|verdict)\(", cell.source):
        yield "a golden cell is arithmetic alone: no exercise, answer or verdict"
    try:
        stub = cut(cell.source)
    except ValueError as error:
        yield str(error)
        return
    if is_exercise:
        yield from _exercise_problems(cell.source, stub)
    elif stub != cell.source:
        yield f"{BEGIN} outside of an exercise: nothing would check what a student writes there"


def _exercise_problems(source: str, stub: str) -> Iterator[str]:
    if stub == source:
        yield f"@exercise without {BEGIN} and {END}"
        return
    try:
        ast.parse(python(source))
        functions = _exercises(Cell("code", stub))
    except SyntaxError as error:
        yield f"line {error.lineno}: {error.msg}"
        return
    if not functions:
        yield '@exercise stands on no function, or has no id: write @exercise("id")'
    for id, function in functions:
        body = "\n".join(ast.unparse(statement) for statement in function.body[1:])
        if ast.get_docstring(function) is None or body != "...":
            yield f"{function.name}: wanted a docstring, then {BEGIN}, the whole rest of the body, {END}"
        try:
            exercises.get(id)
        except exercises.UnknownExercise as error:
            yield f"{error}; exercises are registered in slmlab/exercises"


# ------------------------------------------------------------------------------------------------------------ notebooks


def cut(source: str) -> str:
    """The source of a cell with each solution replaced by `...` at its indentation.

    Raises ValueError for markers that are unbalanced or written in another way.
    """
    kept: list[str] = []
    opened = None  # the line on which a solution began
    for number, line in enumerate(source.splitlines(), 1):
        marker = line.strip()
        if marker == BEGIN and opened is None:
            opened = number
            kept.append(line.replace(BEGIN, "..."))
        elif marker == END and opened is not None:
            opened = None
        elif marker in (BEGIN, END):
            raise ValueError(f"line {number}: {marker} " + ("without a beginning" if opened is None else "twice"))
        elif re.search(r"#\s*(begin|end)\W*solution", line, re.IGNORECASE):
            raise ValueError(f"line {number}: {marker!r} is not exactly {BEGIN} or {END}")
        elif opened is None:
            kept.append(line)
    if opened is not None:
        raise ValueError(f"line {opened}: {BEGIN} without {END}")
    return "\n".join(kept)


def student_cells(lab: Lab) -> tuple[Cell, ...]:
    """The cells of the unsolved notebook."""
    return tuple(replace(cell, source=cut(cell.source)) if "exercise" in cell.tags else cell for cell in lab.cells)


def golden_cells(lab: Lab) -> tuple[Cell, ...]:
    """The cells of the golden notebook, with the tag that makes nbval compare the golden ones' outputs."""
    return tuple(
        Cell(cell.kind, cell.source, ("nbval-check-output",) if "golden" in cell.tags else ())
        for cell in lab.cells
        if {"golden", "golden-setup"} & set(cell.tags)
    )


def _metadata() -> dict:
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"kernelspec": kernel, "language_info": {"name": "python"}}


def _notebook(name: str, cells: tuple[Cell, ...], set_up: str | None = None) -> str:
    """The notebook file: no outputs, ids from the lab's name and the cell's position; `set_up` is its first code."""
    from nbformat import v4, writes

    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    nodes = [
        make[cell.kind](cell.source, id=f"{name}-{number:02}", metadata={"tags": list(cell.tags)} if cell.tags else {})
        for number, cell in enumerate(cells, 1)
    ]
    if set_up:
        first = next(place for place, cell in enumerate(cells) if cell.kind == "code")
        nodes.insert(first, v4.new_code_cell(set_up, id=f"{name}-colab"))
    return writes(v4.new_notebook(cells=nodes, metadata=_metadata())) + "\n"


def _golden(name: str, cells: tuple[Cell, ...], path: Path) -> str:
    """The golden notebook: the file's own text while its cells are the source's, else the cells without outputs."""
    import nbformat

    if path.is_file():
        there = nbformat.reads(_text(path), as_version=4)
        if [(c.cell_type, c.source, tuple(c.metadata.get("tags", ()))) for c in there.cells] == [
            (c.kind, c.source, c.tags) for c in cells
        ]:
            return _text(path)
    return _notebook(name, cells)


def readme(labs: list[Lab], home: links.Home | None = None) -> str:
    """labs/README.md: a table for each part; with `home` a column that opens the lab elsewhere."""
    lines = [
        "# The labs",
        "",
        "<!-- Generated from the headers of labs/source by `slmlab build`: edit those. -->",
        "",
        "Open a notebook with `slmlab lab` and run it from top to bottom. Exercises are unsolved: each tells what is",
        "missing, and later cells run on a reference until yours passes.",
    ]
    for part, title in PARTS.items():
        rows = [
            f"| [{lab.name}]({part}/{lab.name}.ipynb) | {lab.question} | {lab.minutes} | {', '.join(lab.exercises)} |"
            + (f" {home.everywhere(lab.path)} |" if home else "")
            for lab in labs
            if lab.part == part
        ]
        if rows:
            head, rule = "| lab | question | minutes | exercises |", "|---|---|--:|---|"
            head, rule = (f"{head} open on |", f"{rule}---|") if home else (head, rule)
            lines += ["", f"## {title}", "", head, rule, *rows]
    return "\n".join(lines) + "\n"
