"""The command: what it prints, and how it refuses."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slmlab import cli, evaluation, minis

ROOT = Path(__file__).resolve().parent.parent


def test_models_prints_a_family(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SLMLAB_HOME", str(tmp_path))
    assert cli.main(["models", "--family", "bitnet"]) == 0

    shown = capsys.readouterr().out
    assert "BitNet b1.58 2B4T" in shown and "Phi-4" not in shown


def test_claims_prints_every_claim(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SLMLAB_HOME", str(tmp_path))
    assert cli.main(["claims"]) == 0

    shown = capsys.readouterr().out.split()
    assert {"P15", "Q15", "G18", "B16"} <= set(shown)


def test_doctor_has_a_line_for_each_thing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SLMLAB_HOME", str(tmp_path))
    assert cli.main(["doctor"]) == 0

    shown = capsys.readouterr().out.lower()
    for thing in ("python", "compiler", "simd", "thread", "memory", "disk", "model"):
        assert thing in shown


def test_an_unknown_lab_is_a_mistake_and_names_the_labs(capsys):
    assert cli.main(["run", "no-such-lab"]) == 2

    assert "01_memory_budget" in capsys.readouterr().err


def test_a_mistake_is_told_in_a_line_by_the_module_too(tmp_path):
    (tmp_path / "slmlab").mkdir()  # a package without a clone around it
    for name in ("__init__.py", "cli.py"):
        (tmp_path / "slmlab" / name).write_bytes((ROOT / "slmlab" / name).read_bytes())
    command = [sys.executable, "-m", "slmlab.cli", "test"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")

    assert done.returncode == 2
    assert (
        done.stderr.startswith("slmlab: tests/ is not part of the installed package") and "Traceback" not in done.stderr
    )


def test_a_taken_port_is_refused_before_anything_starts(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit) as refused:
            cli.main(["lab", "--port", str(taken.getsockname()[1])])

    assert refused.value.code == 2
    assert "is taken" in capsys.readouterr().err


def test_minis_train_passes_on_what_was_asked_and_says_where_it_is(capsys, monkeypatch, tmp_path):
    from slmlab.minis import training

    asked = []

    def train(name, output, *, tokens):
        asked.append((name, output, tokens))
        return output

    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setattr(training, "train", train)
    assert cli.main(["minis", "train", "mini-phi"]) == 0
    assert cli.main(["minis", "train", "mini-bitnet-twin", "--output", str(tmp_path), "--tokens", "5000"]) == 0

    assert asked == [("mini-phi", Path("mini-phi"), None), ("mini-bitnet-twin", tmp_path, 5000)]
    assert capsys.readouterr().out.splitlines() == ["written: mini-phi", f"written: {tmp_path}"]


def test_a_mini_that_nobody_knows_is_a_mistake_and_names_the_minis(capsys, tmp_path):
    assert cli.main(["minis", "train", "mini-llama", "--output", str(tmp_path / "x")]) == 2

    assert "came as 'mini-llama', wanted one of mini-phi" in capsys.readouterr().err


@pytest.mark.parametrize("tokens", ["0", "-3", "many"])
def test_tokens_are_a_whole_number_of_at_least_1(capsys, tokens):
    with pytest.raises(SystemExit) as refused:
        cli.main(["minis", "train", "mini-phi", f"--tokens={tokens}"])

    assert refused.value.code == 2
    assert f"'{tokens}' came, wanted a whole number" in capsys.readouterr().err


def score(**changes) -> evaluation.Row:
    row = evaluation.Row("held-out-loss", "mini-phi", "held-out loss", 0.4, 0.3, 0.5, "nats a token", "", None, 9)
    return replace(row, **changes)


def test_minis_eval_ends_with_its_table_as_json(capsys, monkeypatch, tmp_path):
    asked = []

    def evaluate(names, *, folder):
        asked.append((tuple(names), folder))
        return [score(), score(model="mini-qwen")]

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    (tmp_path / "mini-phi").mkdir()
    assert cli.main(["minis", "eval"]) == 0
    assert cli.main(["minis", "eval", "mini-phi", "--folder", str(tmp_path)]) == 0

    *table, last = capsys.readouterr().out.splitlines()
    assert [(row["model"], row["value"]) for row in json.loads(last)] == [("mini-phi", 0.4), ("mini-qwen", 0.4)]
    assert any("0.300 to 0.500" in line for line in table)
    (names, nowhere), (one, folder) = asked
    assert (names, nowhere, one) == (minis.NAMES, None, ("mini-phi",))
    assert (folder("mini-phi"), folder("mini-qwen")) == (tmp_path / "mini-phi", minis.folder("mini-qwen"))


def test_minis_eval_records_and_writes_the_cards_again(capsys, monkeypatch, tmp_path):
    from slmlab.minis import cards

    done = []
    rows = [score(), score(claim="facts-new-wording"), score(model="mini-qwen")]
    monkeypatch.setattr(evaluation, "evaluate", lambda names, folder: rows)
    monkeypatch.setattr(evaluation, "record", lambda rows, folder: done.append(("record", rows)) or tmp_path)
    monkeypatch.setattr(cards, "refresh", lambda folder: done.append(("refresh", folder)) or folder / "README.md")
    assert cli.main(["minis", "eval", "--record"]) == 0

    folders = [minis.folder("mini-phi"), minis.folder("mini-qwen")]
    assert done == [("record", rows), *(("refresh", folder) for folder in folders)]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[2]["model"] == "mini-qwen"


def test_minis_export_passes_on_what_was_asked_and_says_where_it_is(capsys, monkeypatch, tmp_path):
    from slmlab import export

    asked = []
    monkeypatch.setattr(export, "export", lambda *given: asked.append(given) or Path("out"))
    assert cli.main(["minis", "export", "mini-qwen", "--to", "gguf"]) == 0
    assert cli.main(["minis", "export", "mini-phi", "--to", "onnx", "--output", str(tmp_path)]) == 0

    assert asked == [("mini-qwen", "gguf", None), ("mini-phi", "onnx", tmp_path)]
    assert capsys.readouterr().out == "written: out\n" * 2


def test_help_loads_nothing_heavy():
    code = "import sys, slmlab.cli; slmlab.cli.parser(); print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)

    assert done.stdout.strip() == "[]"


def test_the_tree_is_clean_by_ruff():
    pytest.importorskip("ruff")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr
