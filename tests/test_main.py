"""The bootstrap: what it can say before anything is installed, and when it takes a set-up for finished."""

import ast
import http.server
import threading
from pathlib import Path

import pytest

from slmlab import __main__ as bootstrap

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def clone(tmp_path):
    """The files that decide what is installed, and an empty .venv."""
    for name in ("pyproject.toml", "setup.py", "binder/constraints.txt", "cython_kernels/c/scalar.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / ".venv").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py"])
def test_an_old_python_can_parse_what_runs_first(name):
    ast.parse((ROOT / "slmlab" / name).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_an_old_python_is_told_which_one_to_take(monkeypatch):
    monkeypatch.setattr(bootstrap, "answers", lambda command: command[0] == "python3.12")
    assert "run `python3.12 -m slmlab lab --port 1`" in bootstrap.too_old(["lab", "--port", "1"])

    monkeypatch.setattr(bootstrap, "answers", lambda command: False)
    assert "Install one" in bootstrap.too_old(["lab"])


def test_without_a_stamp_the_set_up_is_not_finished(clone):
    assert not bootstrap.stamp_holds(clone, "labs")


def test_the_test_set_up_serves_the_labs_but_not_the_other_way_round(clone):
    bootstrap.write_stamp(clone, "test")
    assert bootstrap.stamp_holds(clone, "labs") and bootstrap.stamp_holds(clone, "test")

    bootstrap.write_stamp(clone, "labs")
    assert bootstrap.stamp_holds(clone, "labs") and not bootstrap.stamp_holds(clone, "test")


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "binder/constraints.txt", "cython_kernels/c/scalar.c"])
def test_a_changed_requirement_or_kernel_asks_for_a_new_set_up(clone, name):
    bootstrap.write_stamp(clone, "labs")
    (clone / name).write_text("changed", encoding="utf-8")

    assert not bootstrap.stamp_holds(clone, "labs")


@pytest.mark.parametrize("text", ["", "{"])
def test_a_stamp_cut_off_counts_as_none(clone, text):
    (clone / ".venv" / "slmlab.json").write_text(text, encoding="utf-8")

    assert not bootstrap.stamp_holds(clone, "labs")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("Failed to establish a new connection: [Errno 111] Connection refused", "cannot be reached"),
        ("ERROR: No matching distribution found for torch", "has no such release for Python"),
        ("PermissionError: [Errno 13] Permission denied", "cannot be written"),
        ("something new", "report these lines"),
    ],
)
def test_a_failed_step_says_what_to_do(said, advice):
    assert advice in bootstrap.remedy(said)


def test_only_linux_asks_for_another_torch_index():
    assert bootstrap.torch_index(platform="darwin") == ([], "")
    assert bootstrap.torch_index(platform="win32") == ([], "")


def test_the_torch_index_is_taken_only_if_it_answers():
    class Always(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Always) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert bootstrap.torch_index(url, platform="linux")[0] == ["--extra-index-url", url]
        server.shutdown()
    assert bootstrap.torch_index(url, platform="linux")[0] == []
