"""Where the course is published is said once; every link follows from it, and none is there before."""

import json
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from slmlab import cli
from slmlab.grading import build, links
from slmlab.grading.links import BEGIN, END, Home, LinkError

ROOT = Path(__file__).resolve().parent.parent
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


def test_the_set_up_cell_stands_before_the_other_code_and_does_nothing_here(clone, monkeypatch):
    import IPython

    cli.main(["links", "ada/slmlab"])
    shell = IPython.core.interactiveshell.InteractiveShell.instance()
    asked = []
    monkeypatch.setattr(shell, "run_line_magic", lambda *given, **_: asked.append(given))

    assert shell.run_cell(set_up(clone)).success
    assert asked == []
    ids = [cell["id"] for cell in json.loads(texts(clone)["labs/0_start/01_fit.ipynb"])["cells"]]
    assert ids == ["01_fit-01", "01_fit-colab", "01_fit-02"]


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
