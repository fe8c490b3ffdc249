"""The bootstrap: what it can say before anything is installed, and when it takes a set-up for finished."""

import ast
import http.server
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from packaging import requirements, specifiers

from slmlab import __main__ as bootstrap
from slmlab import doctor, environment

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def clone(tmp_path):
    """The files that decide what is installed, and an empty .venv."""
    for name in ("pyproject.toml", "setup.py", "binder/constraints.txt", "cython_kernels/c/scalar.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / ".venv").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py", "environment.py"])
def test_an_old_python_can_parse_what_runs_first(name):
    ast.parse((ROOT / "slmlab" / name).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_an_old_python_is_told_which_one_to_take(monkeypatch):
    monkeypatch.setattr(environment, "answers", lambda command: command[0] == "python3.12")
    assert "run `python3.12 -m slmlab lab --port 1`" in bootstrap.too_old(["lab", "--port", "1"])

    monkeypatch.setattr(environment, "answers", lambda command: False)
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
    assert advice in environment.remedy(said)


def test_only_linux_asks_for_another_torch_index():
    assert environment.torch_index(platform="darwin") == ([], "")
    assert environment.torch_index(platform="win32") == ([], "")


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
        assert environment.torch_index(url, platform="linux")[0] == ["--extra-index-url", url]
        server.shutdown()
    assert environment.torch_index(url, platform="linux")[0] == []


def test_a_torch_index_that_takes_the_call_and_stays_silent_is_left_out_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        arguments, why = environment.torch_index(url, seconds=0.2, platform="linux")

    assert arguments == [] and "did not answer" in why
    assert time.monotonic() - start < 30  # it came back at all: the server never answers


def test_pip_forgets_a_package_whose_install_was_cut_off(clone):
    packages = clone / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("whole-1.0.dist-info", "cut_off-1.0.dist-info"):
        (packages / name).mkdir(parents=True)
        (packages / name / "METADATA").write_text("", encoding="utf-8")
    (packages / "whole-1.0.dist-info" / "RECORD").write_text("", encoding="utf-8")

    environment.remove_broken_installs(clone)

    assert [info.name for info in packages.iterdir()] == ["whole-1.0.dist-info"]


def test_a_failed_step_names_its_log_and_the_lines_that_tell_why(clone):
    code = "print('Collecting x'); print('ERROR: No space left on device'); raise SystemExit(1)"
    with pytest.raises(environment.SetupError) as failed:
        environment.run([sys.executable, "-c", code], clone, environment.Output())

    log = clone / ".venv" / "install.log"
    assert "The disk is full" in str(failed.value) and str(log) in str(failed.value)
    assert "ERROR: No space left on device" in str(failed.value) and "Collecting x" not in str(failed.value)
    assert "Collecting x" in log.read_text(encoding="utf-8")


def test_a_step_that_succeeds_returns_what_it_said(clone):
    said = environment.run([sys.executable, "-c", "print('scalar')"], clone, environment.Output())

    assert said.split() == ["scalar"]


def test_pips_output_becomes_a_few_words_of_progress(clone):
    packages = clone / ".venv" / "lib" / "python3.11" / "site-packages"
    (packages / "pip-1.dist-info").mkdir(parents=True)
    output = environment.PipOutput(clone)
    said = []
    for line in (
        "Collecting torch==2.13.0 (from x)",
        "  Downloading https://host/torch-2.13.0-cp311-none-any.whl (198.0 MB)",
        "Progress 62000000 of 198000000",
        "Building wheels for collected packages: slmlab",
        "Installing collected packages: a, b, c",
    ):
        output.read(line)
        said.append(output.status)

    assert said == [
        "looking for torch==2.13.0",
        "downloading torch 2.13.0 (198.0 MB)",
        "downloading torch 2.13.0 (62 of 198 MB)",
        "compiling the kernels",
        "installed 1 of 4 packages",
    ]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Replace what is installed by what this adds: name, place, requirements."""
    found = []

    class Distribution(importlib.metadata.Distribution):
        def __init__(self, name, place, requires):
            self.text = f"Name: {name}\n" + "".join(f"Requires-Dist: {one}\n" for one in requires)
            self.place = place
            found.append((name, self))

        def read_text(self, filename):
            return self.text if filename == "METADATA" else None

        def locate_file(self, path):
            return self.place / path

    def distributions(name):
        return [one for known, one in found if known == name]

    def distribution(name):
        if not distributions(name):
            raise importlib.metadata.PackageNotFoundError(name)
        return distributions(name)[0]

    monkeypatch.setattr(importlib.metadata, "distributions", distributions)
    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    return lambda name, place=tmp_path / "site-packages", requires=(): Distribution(name, place, requires)


REQUIRES = (
    "numpy>=2",
    "gguf; extra == 'notebooks'",
    "slmlab[notebooks]; extra == 'labs'",
    "jupyterlab; extra == 'labs'",
    "pytest>=9; extra == 'test'",
    'bitsandbytes; (sys_platform != "darwin" or platform_machine == "arm64") and extra == "test"',
)


def test_the_egg_info_that_a_build_leaves_in_the_clone_is_no_install(installed, clone):
    installed("slmlab", place=clone, requires=REQUIRES)

    assert bootstrap.missing(clone, "labs") == ["slmlab"]


def test_an_environment_is_ready_when_it_has_what_the_command_needs(installed, clone):
    installed("slmlab", requires=REQUIRES)
    installed("numpy")
    assert bootstrap.missing(clone, "labs") == ["gguf", "jupyterlab"]

    installed("gguf")
    installed("jupyterlab")
    assert bootstrap.missing(clone, "labs") == []
    assert bootstrap.is_ready(clone, "labs") and not bootstrap.is_ready(clone, "test")
    assert bootstrap.missing(clone, "test") == ["pytest"]


def test_a_set_up_that_is_there_is_left_alone(clone, monkeypatch):
    python = environment.venv_python(clone)
    python.parent.mkdir(parents=True)
    python.write_text("", encoding="utf-8")
    bootstrap.write_stamp(clone, "labs")
    monkeypatch.setattr(environment, "make", lambda root: pytest.fail("it was set up again"))

    bootstrap.set_up(clone, "labs")


def test_a_python_without_venv_is_told_how_to_get_it(clone, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(environment.SetupError, match=r"no venv module.*sudo apt install python3\.\d+-venv"):
        bootstrap.check_before_starting(clone, "labs")


def test_a_python_that_has_no_pytorch_is_told_before_the_set_up_begins(clone, monkeypatch):
    monkeypatch.setattr(doctor, "no_torch_here", lambda: "there is none")

    with pytest.raises(environment.SetupError, match=r"there is none\. Then run the same command again"):
        bootstrap.check_before_starting(clone, "labs")


def test_a_folder_that_a_pipe_cannot_spell_does_not_stop_the_set_up():
    code = "from slmlab import __main__ as m\nm.is_ready = lambda *_: False\nm.set_up = lambda *_: print('für ≥')\n"
    code += "from slmlab import cli\ncli.hand_over = lambda command: 0\nraise SystemExit(m.main(['lab']))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True)

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [b"f?r", b"?"], b"")


def test_every_pin_takes_the_oldest_python_of_the_package():
    """What asks for a later one has a second line, as soupsieve: Debian 12 has Python 3.11.2."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    oldest = oldest.removeprefix(">=") + ".0"
    late = []
    lines = (ROOT / "binder" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in (line for line in lines if line and not line.startswith("#")):
        pin = requirements.Requirement(line)
        if pin.marker is None or pin.marker.evaluate({"python_full_version": oldest, "python_version": oldest[:4]}):
            try:
                about = importlib.metadata.metadata(pin.name)
            except importlib.metadata.PackageNotFoundError:
                continue
            known = about["Version"] in pin.specifier and about["Requires-Python"]
            late += [line] if known and oldest not in specifiers.SpecifierSet(about["Requires-Python"]) else []

    assert late == []


def test_a_full_disk_is_found_before_the_set_up_begins(clone, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED_BYTES", 10**18)

    with pytest.raises(environment.SetupError, match=r"needs 1000000000 GB: free some"):
        bootstrap.check_before_starting(clone, "labs")


def test_binder_installs_what_the_package_asks_for_at_the_tested_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras["labs"][0] == "slmlab[notebooks]"
    asked = project["dependencies"] + extras["notebooks"] + extras["labs"][1:]
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").split("\n")
    options = [line.split() for line in lines if line.startswith("--")]
    pinned = re.findall(
        r"^([\w.-]+)==", (ROOT / "binder" / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )

    names = {line for line in lines if line and not line.startswith(("--", "#"))}
    of_the_image = {"nbgitpuller", "notebook"}
    assert names == {re.match(r"[\w.-]+", one).group() for one in asked} | of_the_image
    assert names <= {name.lower() for name in pinned}
    (constraint,) = (value for option, value in options if option == "--constraint")
    assert (ROOT / "binder" / constraint).is_file()  # pip looks for it beside the requirements
