import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slmlab import exercises
from slmlab.grading import build
from slmlab.grading.build import BuildError, cut

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "labs" / "source").glob("*/*.py"))
NOTEBOOKS = sorted((ROOT / "labs").glob("[0-9]_*/[0-9][0-9]_*.ipynb"))
GOLDENS = sorted((ROOT / "tests" / "golden").glob("*.ipynb"))

SOURCE = '''# %% [markdown]
# # 01 · Does it fit?
#
# *In this lab* you count, predict and check. 15 minutes, no model.

# %% tags=["parameters"]
MODE = "fast"

# %% tags=["golden-setup"]
from slmlab.exercises import exercise

# %% tags=["exercise"]
@exercise("kv-cache-bytes")
def kv_cache_bytes(
    num_key_value_heads: int, head_dim: int, windows: list[int | None], tokens: int, value_bits: int
) -> int:
    """Bytes of keys and values.

    A line with "quotes" and ü.
    """
    ### BEGIN SOLUTION
    kept = sum(tokens if window is None else min(tokens, window) for window in windows)

    return 2 * kept * num_key_value_heads * head_dim * value_bits // 8
    ### END SOLUTION

# %% tags=["golden"]
3 * 0.5
'''
STUB = '''@exercise("kv-cache-bytes")
def kv_cache_bytes(
    num_key_value_heads: int, head_dim: int, windows: list[int | None], tokens: int, value_bits: int
) -> int:
    """Bytes of keys and values.

    A line with "quotes" and ü.
    """
    ...'''


@pytest.fixture
def tree(tmp_path):
    """A tree with the one source above."""
    write(tmp_path, SOURCE)
    return tmp_path


def write(root, text, place="0_start/01_fit.py"):
    path = root / "labs" / "source" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def relative(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


# ---------------------------------------------------------------------------------------------------- what build writes


def test_build_writes_the_notebook_the_readme_and_the_golden(tree):
    assert relative(build.build(root=tree), tree) == [
        "labs/0_start/01_fit.ipynb",
        "labs/README.md",
        "tests/golden/01_fit.ipynb",
    ]


def test_the_student_notebook_byte_for_byte(tree):
    build.build(root=tree)
    expected = {
        "cells": [
            {
                "cell_type": "markdown",
                "id": "01_fit-01",
                "metadata": {},
                "source": [
                    "# 01 · Does it fit?\n",
                    "\n",
                    "*In this lab* you count, predict and check. 15 minutes, no model.",
                ],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "01_fit-02",
                "metadata": {"tags": ["parameters"]},
                "outputs": [],
                "source": ['MODE = "fast"'],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "01_fit-03",
                "metadata": {"tags": ["golden-setup"]},
                "outputs": [],
                "source": ["from slmlab.exercises import exercise"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "01_fit-04",
                "metadata": {"tags": ["exercise"]},
                "outputs": [],
                "source": STUB.splitlines(keepends=True),
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "01_fit-05",
                "metadata": {"tags": ["golden"]},
                "outputs": [],
                "source": ["3 * 0.5"],
            },
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    raw = (tree / "labs" / "0_start" / "01_fit.ipynb").read_bytes()
    assert json.loads(raw) == expected
    assert raw == (json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def test_a_second_build_writes_nothing(tree):
    build.build(root=tree)
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}
    assert build.build(root=tree) == []
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()} == before


def test_check_writes_nothing_and_names_what_is_stale(tree):
    assert len(build.build(check=True, root=tree)) == 3
    assert not (tree / "labs" / "0_start").exists()
    build.build(root=tree)
    assert build.build(check=True, root=tree) == []
    write(tree, SOURCE.replace("you count,", "you count and"))
    assert relative(build.build(check=True, root=tree), tree) == ["labs/0_start/01_fit.ipynb"]
    write(tree, SOURCE.replace("15 minutes", "16 minutes"))
    assert relative(build.build(check=True, root=tree), tree) == ["labs/0_start/01_fit.ipynb", "labs/README.md"]


def test_a_notebook_that_was_run_or_edited_is_stale(tree):
    build.build(root=tree)
    path = tree / "labs" / "0_start" / "01_fit.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][1]["execution_count"] = 1
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert relative(build.build(check=True, root=tree), tree) == ["labs/0_start/01_fit.ipynb"]


def test_solutions_keep_the_solution_and_stay_out_of_the_tree(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("solved")
    paths = build.solutions(folder, root=tree)
    assert relative(paths, folder) == ["0_start/01_fit.ipynb"]
    source = "".join(cells(paths[0])[3]["source"])
    assert "    kept = sum(" in source and "    return 2 * kept" in source
    assert [cell["id"] for cell in cells(paths[0])] == [f"01_fit-0{n}" for n in range(1, 6)]
    assert not (tree / "labs" / "0_start").exists()


def test_the_readme_lists_lab_question_minutes_and_exercises(tree):
    write(tree, SOURCE.replace("# 01 ·", "# 02 ·").replace("kv-cache-bytes", "parameter-count"), "0_start/02_next.py")
    write(tree, without_exercise().replace("# 01 ·", "# 14 ·"), "1_phi/14_bits.py")
    build.build(root=tree)
    text = (tree / "labs" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^(?:##|\| \[).*", text, re.MULTILINE) == [
        "## Start",
        "| [01_fit](0_start/01_fit.ipynb) | Does it fit? | 15 | kv-cache-bytes |",
        "| [02_next](0_start/02_next.ipynb) | Does it fit? | 15 | parameter-count |",
        "## Phi",
        "| [14_bits](1_phi/14_bits.ipynb) | Does it fit? | 15 |  |",
    ]


def without_exercise():
    blocks = re.split(r"(?m)^(?=# %%)", SOURCE)
    return "".join(block for block in blocks if "@exercise" not in block)


# ------------------------------------------------------------------------------------------------------------- cutting


def test_a_solution_becomes_dots_at_its_indentation():
    assert cut("a\n  ### BEGIN SOLUTION\n  b\n\n    c\n  ### END SOLUTION\nd") == "a\n  ...\nd"


def test_two_solutions_are_cut_apart():
    block = "### BEGIN SOLUTION\nb\n### END SOLUTION\n"
    assert cut(f"a\n{block}c\n{block}d") == "a\n...\nc\n...\nd"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("### BEGIN SOLUTION\nx", "line 1: ### BEGIN SOLUTION without ### END SOLUTION"),
        ("x\n### END SOLUTION", "line 2: ### END SOLUTION without a beginning"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "line 2: ### BEGIN SOLUTION twice"),
        ("### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION", "line 3: ### END SOLUTION without a beginning"),
        ("## BEGIN SOLUTION\nx\n## END SOLUTION", "line 1: '## BEGIN SOLUTION' is not exactly"),
        ("### begin solution\nx\n### END SOLUTION", "line 1: '### begin solution' is not exactly"),
        ("### BEGIN SOLUTION\nx\n### END SOLUTIONS", "line 3: '### END SOLUTIONS' is not exactly"),
    ],
)
def test_markers_out_of_order_are_told(source, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        cut(source)


# -------------------------------------------------------------------------------------------------------------- errors

MARKERS = ("    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("# # 01 · Does it fit?", "# # 01 · It fits", ", cell 1: no title `# 01 · Question?`"),
        ("# # 01 · Does", "# # 02 · Does", ", cell 1: no title `# 01 · Question?`"),
        ("15 minutes", "a while", ": no paragraph that begins with `*In this lab*`"),
        ("*In this lab* you", "Here you", ": no paragraph that begins with `*In this lab*`"),
        (' tags=["parameters"]', "", ": the first code cell, and no other, is tagged parameters"),
        ('MODE = "fast"', 'MODE = "full"', "`MODE = \"fast\"`"),
        ('["golden-setup"]', '["parameters"]', ": the first code cell, and no other, is tagged parameters"),
        ('["golden"]', '["gold"]', ", cell 5: unknown tag gold: wanted one of exercise, golden, golden-setup"),
        ('tags=["golden"]', 'slideshow={"x": 1}', "cell 5: slideshow beside `# %%`"),
        (MARKERS[0], "", ", cell 4: line 12: ### END SOLUTION without a beginning"),
        (MARKERS[1], "", ", cell 4: line 9: ### BEGIN SOLUTION without ### END SOLUTION"),
        (MARKERS[0] + "    kept", "    kept = 3\n" + MARKERS[0] + "    kept", "wanted a docstring, then ###"),
        (MARKERS[1], MARKERS[1] + "    return kept\n", "wanted a docstring, then ### BEGIN SOLUTION"),
        ("    kept = sum(", "    kept = = sum(", ", cell 4: line 10: invalid syntax"),
        ('@exercise("kv-cache-bytes")', "@exercise(KEY)", ", cell 4: no exercise 'KEY'"),
        ('@exercise("kv-cache-bytes")', "@exercise()", ", cell 4: @exercise stands on no function, or has no id"),
        ("kv-cache-bytes", "kv-cache-byte", ", cell 4: no exercise 'kv-cache-byte': did you mean kv-cache-bytes?"),
        (' tags=["exercise"]', "", ", cell 4: the tag `exercise` and `@exercise` go together"),
        ('@exercise("kv-cache-bytes")\n', "", ", cell 4: the tag `exercise` and `@exercise` go together"),
        ("3 * 0.5", "guess = input('?')", ", cell 5: input( stops Run All"),
        ("3 * 0.5", "answer('x', default=1)", ", cell 5: a golden cell is arithmetic alone"),
        ("3 * 0.5", "### BEGIN SOLUTION\n3\n### END SOLUTION", ", cell 5: ### BEGIN SOLUTION outside of an exercise"),
        (' tags=["golden"]', "", ": a golden-setup cell, and no golden cell"),
    ],
)  # fmt: skip
def test_a_source_that_is_not_in_order_is_named_with_its_cell_and_nothing_is_written(tmp_path, old, new, words):
    assert SOURCE.count(old) >= 1
    write(tmp_path, without_exercise().replace("# 01 ·", "# 14 ·"), "1_phi/14_bits.py")
    write(tmp_path, SOURCE.replace(old, new))
    with pytest.raises(BuildError) as error:
        build.build(root=tmp_path)
    assert words in str(error.value) and "0_start/01_fit.py" in str(error.value)
    assert sorted(relative(tmp_path.rglob("*.*"), tmp_path)) == [
        "labs/source/0_start/01_fit.py",
        "labs/source/1_phi/14_bits.py",
    ]


def test_an_exercise_may_be_compiled(tmp_path):
    cell = SOURCE.replace('@exercise("kv', '# %%cython\nimport cython\n\n@exercise("kv').replace(
        "tokens: int", "tokens: cython.int"
    )
    write(tmp_path, cell)

    (lab,) = build.read_labs(tmp_path)
    assert lab.exercises == ("kv-cache-bytes",)
    stub = next(cell.source for cell in build.student_cells(lab) if "exercise" in cell.tags)
    assert stub.startswith("%%cython\nimport cython\n") and stub.endswith('"""\n    ...')


def test_an_exercise_without_markers_is_told(tmp_path):
    write(tmp_path, SOURCE.replace(MARKERS[0], "").replace(MARKERS[1], ""))
    with pytest.raises(BuildError, match="cell 4: @exercise without ### BEGIN SOLUTION and ### END SOLUTION"):
        build.build(root=tmp_path)


def test_an_exercise_without_docstring_is_told(tmp_path):
    write(tmp_path, re.sub(r'    """.*?"""\n', "", SOURCE, flags=re.DOTALL))
    with pytest.raises(BuildError, match="cell 4: kv_cache_bytes: wanted a docstring"):
        build.build(root=tmp_path)


def test_every_problem_is_told_at_once(tmp_path):
    write(tmp_path, SOURCE.replace("15 minutes", "a while").replace("3 * 0.5", "input()"))
    write(tmp_path, without_exercise(), "1_phi/Bits.py")
    with pytest.raises(BuildError) as error:
        build.build(root=tmp_path)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].split(",")[0] for line in lines] == [
        "labs/source/0_start/01_fit.py",
        "labs/source/0_start/01_fit.py",
        "labs/source/1_phi/Bits.py",
        "labs/source/1_phi/Bits.py",
    ]


def test_an_exercise_has_one_place(tree):
    write(tree, SOURCE.replace("# 01 ·", "# 02 ·"), "0_start/02_next.py")
    with pytest.raises(BuildError, match=r"02_next\.py: exercise 'kv-cache-bytes' stands in .*01_fit\.py already"):
        build.build(root=tree)


def test_a_folder_that_is_no_part_is_told(tmp_path):
    write(tmp_path, SOURCE, "0_begin/01_fit.py")
    with pytest.raises(BuildError, match="the folder is none of 0_start, 1_phi"):
        build.build(root=tmp_path)


def test_without_sources_the_build_says_where_it_looked(tmp_path):
    with pytest.raises(BuildError, match="holds no sources"):
        build.build(root=tmp_path)


# ------------------------------------------------------------------------------------------------------------- goldens


def test_the_golden_notebook_holds_the_golden_cells_and_their_set_up(tree):
    build.build(root=tree)
    golden = cells(tree / "tests" / "golden" / "01_fit.ipynb")
    assert [("".join(cell["source"]), cell["metadata"]) for cell in golden] == [
        ("from slmlab.exercises import exercise", {}),
        ("3 * 0.5", {"tags": ["nbval-check-output"]}),
    ]


def test_outputs_are_kept_while_the_cells_stay_and_dropped_when_they_change(tree):
    path = tree / "tests" / "golden" / "01_fit.ipynb"
    assert build.refresh_goldens(root=tree) == [path]
    refreshed = path.read_bytes()
    output = cells(path)[1]["outputs"][0]
    assert output["data"] == {"text/plain": ["1.5"]} and cells(path)[1]["execution_count"] == 2

    write(tree, SOURCE.replace("you count,", "you count and"))
    build.build(root=tree)
    assert path.read_bytes() == refreshed

    write(tree, SOURCE.replace("3 * 0.5", "4 * 0.5"))
    assert relative(build.build(check=True, root=tree), tree)[-1] == "tests/golden/01_fit.ipynb"
    build.build(root=tree)
    assert cells(path)[1]["outputs"] == [] and cells(path)[1]["execution_count"] is None
    assert build.build(check=True, root=tree) == []


@pytest.mark.parametrize(("shown", "code"), [("1.5", 0), ("1.6", 1)])
def test_nbval_compares_a_golden_output(tree, shown, code):
    build.refresh_goldens(root=tree)
    path = tree / "tests" / "golden" / "01_fit.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace('"1.5"', f'"{shown}"'), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", str(path.parent)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == code, done.stdout
    assert "2 passed" in done.stdout if code == 0 else "Cell outputs differ" in done.stdout


# ------------------------------------------------------------------------------------------------- the labs of the tree


def test_the_generated_files_are_not_stale():
    assert relative(build.build(check=True), ROOT) == [], "run `slmlab build` and commit what it writes"


def test_every_notebook_and_golden_has_a_source():
    names = {(path.parent.name, path.stem) for path in SOURCES}
    assert {(path.parent.name, path.stem) for path in NOTEBOOKS} == names
    assert {path.stem for path in GOLDENS} <= {stem for _, stem in names}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_widget_state(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags"}
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden_cells_are_those_of_the_source_and_have_outputs(path):
    (source,) = [source for source in SOURCES if source.stem == path.stem]
    blocks = [block.split("\n", 1) for block in re.split(r"(?m)^# %%", source.read_text(encoding="utf-8"))[1:]]
    tagged = [body.strip() for head, body in blocks if re.search(r'"golden(-setup)?"', head)]
    golden = cells(path)
    assert ["".join(cell["source"]) for cell in golden] == tagged, "run `slmlab build`"
    for cell in golden:
        if "nbval-check-output" in cell["metadata"].get("tags", []):
            assert cell["outputs"] and cell["execution_count"], "refresh_goldens() of slmlab/grading/build.py"


def solution_lines(text):
    """The lines between markers, and those outside of them."""
    inside = [line for block in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", text, re.DOTALL)
              for line in block.splitlines()]  # fmt: skip
    outside = re.sub(r"### BEGIN SOLUTION\n.*?### END SOLUTION", "", text, flags=re.DOTALL).splitlines()
    return {line.strip() for line in inside}, {line.strip() for line in outside}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_line_of_a_solution_is_in_the_student_notebook(source):
    inside, outside = solution_lines(source.read_text(encoding="utf-8"))
    notebook = ROOT / "labs" / source.parent.name / f"{source.stem}.ipynb"
    seen = {line.strip() for cell in cells(notebook) for line in "".join(cell["source"]).splitlines()}
    assert inside, "a lab has exercises"
    assert seen & (inside - outside) == set()
    assert not [line for line in seen if "SOLUTION" in line]


def functions(source):
    """(id, function) of every @exercise in some Python source."""
    for node in ast.walk(ast.parse(build.python(source))):
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(d).startswith("exercise(") for d in node.decorator_list
        ):
            yield node.decorator_list[0].args[0].value, node


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_stub_is_the_solution_without_its_body(source):
    solved = dict(functions(source.read_text(encoding="utf-8")))
    notebook = cells(ROOT / "labs" / source.parent.name / f"{source.stem}.ipynb")
    stubs = dict(
        pair
        for cell in notebook
        if "exercise" in cell["metadata"].get("tags", [])
        for pair in functions("".join(cell["source"]))
    )
    assert list(stubs) == list(solved)
    for id, stub in stubs.items():
        assert ast.dump(stub.args) == ast.dump(solved[id].args)
        assert ast.dump(stub.returns) == ast.dump(solved[id].returns)
        assert ast.get_docstring(stub) == ast.get_docstring(solved[id])
        assert [ast.unparse(statement) for statement in stub.body[1:]] == ["..."]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_an_exercise_has_the_parameters_of_its_reference_and_a_solution_within_its_line_budget(source):
    for id, function in functions(source.read_text(encoding="utf-8")):
        task = exercises.get(id)
        assert [a.arg for a in function.args.args] == list(inspect.signature(task.reference).parameters)
        assert all(a.annotation for a in function.args.args) and function.returns, f"{id}: annotate the stub"
        text = ast.unparse(ast.Module(body=function.body[1:], type_ignores=[]))
        assert len(text.splitlines()) <= task.lines, f"{id}: the solution is longer than its budget"


def test_every_registered_exercise_stands_in_a_lab():
    placed = {id for source in SOURCES for id, _ in functions(source.read_text(encoding="utf-8"))}
    assert placed == set(exercises.registered())


def prose_words(markdown):
    """Words of a markdown cell that are read as prose: no fenced code, no table rows."""
    text = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("|")]
    return [word for line in lines for word in line.split() if re.search(r"\w", word)]


def code_lines(source):
    return [line for line in source.splitlines() if "SOLUTION" not in line]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cells_keep_to_the_limits_of_the_house(source):
    limits = {"markdown": ("words", 120, prose_words), "code": ("lines", 25, code_lines)}
    too_long = []
    for number, cell in enumerate(build._read(source), 1):
        unit, limit, measure = limits[cell.kind]
        if (count := len(measure(cell.source))) > limit:
            too_long.append(f"{source.stem}, cell {number}: {count} {unit}, at most {limit}")
    assert too_long == []
