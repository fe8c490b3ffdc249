"""Running labs: a failing one stops nothing, and the report tells what each gave."""

import json
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from slmlab import runner

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def labs(tmp_path):
    """Two labs: one that raises, one that tells its MODE and records a result."""
    cells = {
        "0_start/00_broken": ["1 / 0"],
        "0_start/01_sound": [
            'MODE = "fast"',
            "from slmlab import records; records.write('exercise', MODE, {'status': 'passes'})",
            "import sys; from pathlib import Path; print(sys.executable, Path.cwd().name, sep='|')",
        ],
    }
    for name, sources in cells.items():
        nodes = [nbformat.v4.new_code_cell(source) for source in sources]
        nodes[0].metadata["tags"] = ["parameters"]
        path = tmp_path / "labs" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=nodes, metadata=KERNEL), path)
    return tmp_path / "labs"


def test_a_failing_lab_stops_nothing_and_is_in_the_report(labs, tmp_path):
    report = runner.run(labs, mode="full", output=tmp_path / "out")

    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert not report.ok and not told["ok"]
    broken, sound = told["labs"]
    assert "ZeroDivisionError" in broken["error"]
    assert sound["error"] is None and sound["exercises"] == {"full": "passes"}
    assert sound["peak_mb"] > 10  # a kernel is never smaller
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "ZeroDivisionError" in page and "http" not in page


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("while True:\n    pass", "CellTimeoutError"),
        (
            "try:\n    import time; time.sleep(1000)\nexcept KeyboardInterrupt:\n    time.sleep(1000)",
            "CellTimeoutError",
        ),
        ("import os\nos._exit(1)", "DeadKernelError"),  # as when the system ends it because memory ran out
    ],
)
def test_a_cell_without_end_and_a_kernel_that_dies_become_the_lab_s_error(tmp_path, monkeypatch, cell, told):
    nodes = [nbformat.v4.new_code_cell(source) for source in ("1 + 1", cell, "2 + 2")]
    nbformat.write(nbformat.v4.new_notebook(cells=nodes, metadata=KERNEL), tmp_path / "00_stuck.ipynb")
    monkeypatch.setitem(runner.CELL_SECONDS, "fast", 3)
    before = set(psutil.Process().children(recursive=True))

    result = runner.run_one(tmp_path / "00_stuck.ipynb", tmp_path / "done.ipynb")

    assert told in result.error
    assert set(psutil.Process().children(recursive=True)) <= before  # its kernel is gone
    first, _, last = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells[-3:]
    assert first.outputs and not last.outputs


def test_a_lab_is_named_by_its_number_or_a_part_of_its_name(labs):
    assert [lab.stem for lab in runner.find(labs, ["01"])] == ["01_sound"]
    assert [lab.stem for lab in runner.find(labs, ["brok"])] == ["00_broken"]
    with pytest.raises(runner.LabNotFoundError, match="00_broken, 01_sound"):
        runner.find(labs, ["77"])


def test_a_lab_runs_in_this_python_in_its_own_folder(labs, tmp_path):
    (lab,) = runner.find(labs, ["sound"])
    runner.run_one(lab, tmp_path / "sound.ipynb")

    (output,) = nbformat.read(tmp_path / "sound.ipynb", as_version=4).cells[-1].outputs
    python, folder = output.text.strip().split("|")
    assert Path(python) == Path(sys.executable) and folder == "0_start"


def test_a_second_run_into_the_same_folder_forgets_the_records_of_the_first(labs, tmp_path):
    (lab,) = runner.find(labs, ["sound"])
    assert set(runner.run_one(lab, tmp_path / "sound.ipynb", "full").exercises) == {"full"}
    assert set(runner.run_one(lab, tmp_path / "sound.ipynb").exercises) == {"fast"}


def test_an_interrupted_run_keeps_what_is_done(labs, tmp_path, monkeypatch):
    real = runner.run_one

    def stopped_at_the_second(lab, *rest):
        if lab.stem == "01_sound":
            raise KeyboardInterrupt
        return real(lab, *rest)

    monkeypatch.setattr(runner, "run_one", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        runner.run(labs, output=tmp_path / "out")

    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [lab["lab"] for lab in told["labs"]] == ["00_broken"] and told["interrupted"] and not told["ok"]


def test_an_output_that_is_a_file_is_refused_before_anything_runs(labs, tmp_path):
    (tmp_path / "out").write_text("", encoding="utf-8")

    with pytest.raises(runner.OutputError, match="--output"):
        runner.run(labs, output=tmp_path / "out")
