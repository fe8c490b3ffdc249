"""What the project says about itself beside the README: it can be followed, and it does not contradict the code."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

import slmlab
from slmlab.grading import build

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAPERS = sorted(ROOT.glob(".github/*.md"))


def test_the_lab_of_contributing_can_be_built(tmp_path):
    (shown,) = re.findall(r"(?m)^   ```python\n(.*?)^   ```$", CONTRIBUTING, re.DOTALL)
    (place,) = re.findall(r"^# # (\d\d) · ", textwrap.dedent(shown), re.MULTILINE)
    source = tmp_path / "labs" / "source" / "5_practice" / f"{place}_serving.py"
    source.parent.mkdir(parents=True)
    source.write_text(textwrap.dedent(shown).replace("waiting-users", "kv-cache-bytes"), encoding="utf-8")

    built = [path.relative_to(tmp_path).as_posix() for path in build.build(root=tmp_path)]

    assert built == [f"labs/5_practice/{place}_serving.ipynb", "labs/README.md", f"tests/golden/{place}_serving.ipynb"]


def test_the_exercise_of_contributing_does_what_it_says():
    (solution,) = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", CONTRIBUTING, re.DOTALL)
    names = {}
    exec("def waits(arrivals_s, seconds_each):\n" + textwrap.indent(textwrap.dedent(solution), "    "), names)

    assert names["waits"]([0.0, 0.0, 5.0, 5.5], 1.0) == [0.0, 1.0, 0.0, 0.5]  # the server is idle from 2 s to 5 s


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_the_files_that_a_paper_names_are_there(paper):
    named = re.findall(
        r"`((?:slmlab|tests|labs|binder|cython_kernels|datasets)/[\w./]*\w)`", paper.read_text(encoding="utf-8")
    )

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert str(citation["version"]) == slmlab.__version__
    assert citation["license"] == "MIT" and "MIT" in (ROOT / "LICENSE").read_text(encoding="utf-8")
