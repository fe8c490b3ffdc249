"""The command: what it prints, and how it refuses."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slmlab import cli

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


def test_a_taken_port_is_refused_before_anything_starts(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit) as refused:
            cli.main(["lab", "--port", str(taken.getsockname()[1])])

    assert refused.value.code == 2
    assert "is taken" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = "import sys, slmlab.cli; slmlab.cli.parser(); print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_tree_is_clean_by_ruff():
    pytest.importorskip("ruff")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
