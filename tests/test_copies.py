"""A student's copy of the labs: complete, brought up to date, and never over their work."""

import json
from pathlib import Path

import pytest

from slmlab import cli, copies

ROOT = Path(__file__).resolve().parent.parent
LAB = "0_start/00_a.ipynb"


@pytest.fixture
def source(tmp_path):
    """Labs that ship: two notebooks and a syllabus, beside sources with their solutions."""
    for path in (LAB, "1_phi/11_b.ipynb", "README.md", "picture.png", "source/0_start/00_a.py"):
        write(tmp_path / "shipped" / path, f"first version of {path}")
    return tmp_path / "shipped"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != copies.RECORD)
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_the_copy_holds_the_notebooks_and_no_solutions(source, tmp_path):
    done = copies.copy(tmp_path / "mine", source)

    assert set(done.new) == {LAB, "1_phi/11_b.ipynb", "README.md", "picture.png"}
    assert read(tmp_path / "mine") == {path: f"first version of {path}" for path in done.new}


def test_what_ships_here_are_the_notebooks_of_the_clone(tmp_path):
    copies.copy(tmp_path)

    theirs = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.ipynb")}
    assert theirs == {path.relative_to(ROOT / "labs") for path in (ROOT / "labs").rglob("*.ipynb")} != set()
    assert list(tmp_path.rglob("*.py")) == []


def test_a_second_copy_changes_nothing(source, tmp_path):
    copies.copy(tmp_path / "mine", source)

    assert copies.copy(tmp_path / "mine", source) == copies.Copied()


def test_what_the_student_left_as_it_came_is_brought_up_to_date(source, tmp_path):
    copies.copy(tmp_path / "mine", source)
    write(source / LAB, "second version")
    write(source / "2_qwen" / "21_c.ipynb", "a new lab")

    done = copies.copy(tmp_path / "mine", source)

    assert done == copies.Copied(new=("2_qwen/21_c.ipynb",), updated=(LAB,))
    assert read(tmp_path / "mine")[LAB] == "second version"


def test_what_the_student_changed_stays_and_the_newer_version_lies_beside_it_once(source, tmp_path):
    mine = tmp_path / "mine"
    copies.copy(mine, source)
    write(mine / LAB, "my work")
    assert copies.copy(mine, source) == copies.Copied()  # nothing newer ships

    write(source / LAB, "second version")
    done = copies.copy(mine, source)
    ((kept, new),) = done.beside
    assert kept == LAB and Path(new).parent == Path(LAB).parent and Path(new).suffix == ".ipynb"
    assert f"{LAB} is as you left it" in str(done) and new in str(done)
    assert copies.copy(mine, source) == copies.Copied()

    write(source / LAB, "third version")
    copies.copy(mine, source)
    found = read(mine)
    assert found[LAB] == "my work"
    assert {text for path, text in found.items() if path.startswith("0_start/")} == {
        "my work",
        "second version",
        "third version",
    }


@pytest.mark.parametrize("record", [None, "", "[]", '{"files": []}', '{"files": {"0_start/00_a.ipynb": 3}}'])
def test_without_a_record_whatever_differs_counts_as_the_students(source, tmp_path, record):
    mine = tmp_path / "mine"
    write(mine / LAB, "whose is this?")
    if record is not None:
        write(mine / copies.RECORD, record)

    done = copies.copy(mine, source)

    assert [kept for kept, _ in done.beside] == [LAB]
    assert read(mine)[LAB] == "whose is this?"


def test_a_lab_that_was_deleted_comes_back(source, tmp_path):
    copies.copy(tmp_path / "mine", source)
    (tmp_path / "mine" / LAB).unlink()

    assert copies.copy(tmp_path / "mine", source).new == (LAB,)


def test_a_copy_that_was_cut_off_is_finished_by_the_next(source, tmp_path, monkeypatch):
    mine, real, done = tmp_path / "mine", copies._write, []

    def cut_off(file, target):
        if done:
            raise KeyboardInterrupt
        done.append(real(file, target))

    monkeypatch.setattr(copies, "_write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        copies.copy(mine, source)
    monkeypatch.setattr(copies, "_write", real)

    assert len(read(mine)) == 1
    assert len(copies.copy(mine, source).new) == 3
    assert len(json.loads((mine / copies.RECORD).read_text(encoding="utf-8"))["files"]) == 4


def test_the_labs_that_ship_are_not_copied_onto_themselves(source):
    with pytest.raises(copies.CopyError, match="name another folder"):
        copies.copy(source / "0_start", source)
    assert not (source / copies.RECORD).exists()


def test_a_file_in_the_way_is_left_alone(source, tmp_path):
    write(tmp_path / "mine", "a letter")
    with pytest.raises(copies.CopyError, match="is a file: name another folder"):
        copies.copy(tmp_path / "mine", source)

    assert (tmp_path / "mine").read_text(encoding="utf-8") == "a letter"


def test_a_package_without_notebooks_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(copies.CopyError, match="holds no notebooks: reinstall"):
        copies.copy(tmp_path / "mine", tmp_path / "empty")


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The folders that JupyterLab would have been started on; the working directory is a new one."""
    folders = []

    def hand_over(command):
        (root,) = (word for word in command if word.startswith("--ServerApp.root_dir="))
        folders.append(Path(root.partition("=")[2]))
        return 0

    monkeypatch.setattr(cli, "hand_over", hand_over)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folders


def test_a_clone_opens_its_own_labs(started):
    assert cli.main(["lab"]) == 0

    assert started == [ROOT / "labs"]
    assert list(Path().iterdir()) == []


def test_a_folder_that_is_named_gets_a_copy(started, capsys):
    assert cli.main(["lab", "my labs"]) == 0

    assert started == [Path("my labs").resolve()]
    assert sorted(path.name for path in Path("my labs").rglob("00_*")) == ["00_instruments.ipynb"]
    assert "files copied" in capsys.readouterr().out


def test_without_a_clone_a_copy_is_made_here_and_found_again_from_inside_it(started, monkeypatch):
    monkeypatch.setattr(cli, "ROOT", Path("site-packages").resolve())
    assert cli.main(["lab"]) == 0
    inside = Path(cli.COPY).resolve()
    monkeypatch.chdir(inside)
    assert cli.main(["lab"]) == 0

    assert started == [inside, inside]


def test_a_folder_that_cannot_hold_a_copy_is_a_mistake(started, capsys):
    Path("taken").write_text("", encoding="utf-8")
    assert cli.main(["lab", "taken"]) == 2

    assert "is a file: name another folder" in capsys.readouterr().err
    assert started == []


def test_a_folder_called_tests_in_site_packages_is_no_clone(started, monkeypatch, capsys):
    Path("tests").mkdir()
    monkeypatch.setattr(cli, "ROOT", Path().resolve())
    assert cli.main(["test"]) == 2

    assert "clone the repository" in capsys.readouterr().err
