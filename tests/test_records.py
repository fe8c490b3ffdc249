import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from slmlab import records


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMLAB_RECORDS", str(tmp_path / "kept"))
    monkeypatch.delenv("SLMLAB_LAB", raising=False)
    return tmp_path / "kept"


def test_nothing_is_there_before_the_first_write(folder):
    assert records.read("verdict") == {}
    assert not folder.exists()


def test_an_entry_comes_back_with_its_time_and_lab(monkeypatch):
    monkeypatch.setenv("SLMLAB_LAB", "01_memory_budget")
    records.write("answer", "zero-share", {"value": 0.4, "unit": "µJ"})
    entry = records.read("answer")["zero-share"]
    assert (entry["value"], entry["unit"], entry["lab"]) == (0.4, "µJ", "01_memory_budget")
    age = datetime.now(UTC) - datetime.fromisoformat(entry["time"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_a_second_write_replaces_the_first_and_kinds_do_not_mix(folder):
    records.write("exercise", "b", {"status": "not yet", "got": 1})
    records.write("exercise", "b", {"status": "passes"})
    records.write("exercise", "a", {"status": "passes"})
    records.write("verdict", "b", {"verdict": "holds here"})
    assert list(records.read("exercise")) == ["a", "b"]
    assert "got" not in records.read("exercise")["b"]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "exercise/a.json",
        "exercise/b.json",
        "verdict/b.json",
    ]


def test_files_are_plain_json_in_utf8(folder):
    records.write("answer", "x", {"label": "log₂ 3", "count": np.int64(3), "share": np.float32(0.5)})
    raw = (folder / "answer" / "x.json").read_bytes()
    assert json.loads(raw.decode("utf-8"))["label"] == "log₂ 3"
    assert json.loads(raw)["count"] == 3 and json.loads(raw)["share"] == 0.5
    assert b"\r" not in raw


@pytest.mark.parametrize("id", ["", "../escape", "a/b", "a b", "a.b", "ü"])
def test_an_id_that_is_no_file_name_is_refused(id, folder):
    with pytest.raises(ValueError, match="record id"):
        records.write("answer", id, {})
    assert not folder.exists()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"'grade'.*verdict, answer, exercise"):
        records.write("grade", "x", {})
    with pytest.raises(ValueError, match="'grade'"):
        records.read("grade")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_json_does_not_have_leaves_the_older_entry(value):
    records.write("answer", "x", {"value": 1})
    with pytest.raises(ValueError):
        records.write("answer", "x", {"value": value})
    assert records.read("answer")["x"]["value"] == 1


def test_an_array_is_refused_with_what_to_give_instead():
    with pytest.raises(TypeError, match="ndarray cannot be kept in a record: give it as"):
        records.write("answer", "x", {"value": np.zeros(3)})


def test_a_broken_file_is_named(folder):
    records.write("answer", "x", {"value": 1})
    (folder / "answer" / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json is not a record"):
        records.read("answer")


def test_without_the_variable_entries_lie_in_the_records_of_slmlab_home(tmp_path, monkeypatch):
    monkeypatch.delenv("SLMLAB_RECORDS")
    monkeypatch.setenv("SLMLAB_HOME", str(tmp_path / "home"))
    records.write("answer", "x", {"value": 1})
    assert (tmp_path / "home" / "records" / "answer" / "x.json").is_file()
