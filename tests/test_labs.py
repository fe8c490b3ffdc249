"""Every lab, run by a kernel with the network closed: unsolved, unsolved and strict, solved.

Memory is asserted. Time is printed in the summary, and asserted only by the timeout of the test.
"""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slmlab import runner
from slmlab.grading import build

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "labs").glob("[0-9]_*/[0-9][0-9]_*.ipynb"))
PEAK_BYTES = 1_400_000_000  # resident, mapped files included: 1.27 GB seen, lab 00. Of that a container counts 1.1
SECONDS = 60  # what a lab may take on two cores; the timeout allows five times as much for a busy machine

FIGURE, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"

# Read by every Python that starts with its folder on PYTHONPATH. Loopback stays open: a kernel talks through it.
FENCE = """
import ipaddress
import socket

def is_here(host):
    if host in (None, "", b"", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False

def refuse(what):
    with open({attempts!r}, "a", encoding="utf-8") as log:
        log.write(what + "\\n")
    raise OSError("this run is offline: " + what)

def fenced(name, real):
    def call(self, address, *rest):
        if isinstance(address, tuple) and not is_here(address[0]):
            refuse(f"{{name}} to {{address}}")
        return real(self, address, *rest)
    return call

for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, fenced(name, getattr(socket.socket, name)))

look_up = socket.getaddrinfo

def getaddrinfo(host, *rest, **named):
    if not is_here(host):
        refuse(f"look-up of {{host}}")
    return look_up(host, *rest, **named)

socket.getaddrinfo = getaddrinfo
"""


class Fence:
    """An environment in which Python reaches this machine alone, and the list of what it tried to reach beyond."""

    def __init__(self, folder: Path):
        self.log = folder / "attempts.txt"
        (folder / "sitecustomize.py").write_text(FENCE.format(attempts=str(self.log)), encoding="utf-8")
        path = os.pathsep.join(filter(None, [str(folder), str(ROOT), os.environ.get("PYTHONPATH")]))
        self.env = {"PYTHONPATH": path}

    @property
    def attempts(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def fence(tmp_path) -> Fence:
    folder = tmp_path / "fence"
    folder.mkdir()
    return Fence(folder)


@pytest.fixture(scope="session")
def labs() -> dict[str, build.Lab]:
    return {lab.name: lab for lab in build.read_labs()}


@pytest.fixture(scope="session")
def solved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("solved labs")  # a path with a space, somewhere else
    build.solutions(folder)
    return folder


@pytest.fixture
def run(fence, smollm2, tmp_path, record_property):
    """Run a notebook offline; its time and memory go to the summary of the test run."""

    def run(notebook: Path, kind: str, strict: bool) -> runner.LabResult:
        env = {**fence.env, "SLMLAB_HOME": str(smollm2), "SLMLAB_RECORDS": str(tmp_path / "records")}
        env |= {"SLMLAB_STRICT": "1"} if strict else {}
        result = runner.run_one(notebook, tmp_path / notebook.name, mode="fast", env=env)
        record_property("lab", (result.name, kind, result.seconds, result.peak_bytes))
        return result

    return run


def shown(notebook: Path) -> list[dict]:
    """What the cells of an executed notebook show, in order: each a dictionary by MIME type."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [output["data"] for cell in cells for output in cell.get("outputs", ()) if "data" in output]


def unread_without_a_kernel(outputs: list[dict]) -> list[int]:
    """Places of widgets above which no figure stands, below the widget before. Bars of progress may be lost."""
    places, drawn = [], False
    for place, output in enumerate(outputs):
        drawn |= FIGURE in output
        if WIDGET in output and "%|" not in "".join(output["text/plain"]):
            places += [] if drawn else [place]
            drawn = False
    return places


def statuses(result) -> dict[str, str]:
    return {id: entry["status"] for id, entry in result.exercises.items()}


def test_there_are_labs():
    assert NOTEBOOKS


QUANTITY = re.compile(
    r"\d[\d.,]*\s(?:(?:ns|µs|ms|s|seconds?|tok/s|[GM]B/s)\b|tokens? (?:a|per) second|times (?:as|faster))"
)
TOLD = {  # what a lab quotes, or gives to reckon with: no measurement of ours
    "00_instruments": {"650 tokens a second"},
    "32_per_layer_embeddings": {"12 ms", "100 GB/s", "20 GB/s", "1 GB/s"},
    "42_packing": {"29 ms"},
    "44_energy": {"71 times as", "5.7 times as", "7 tokens per second", "165 GB/s", "1.7 tokens per second"},
}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_prose_tells_no_time_and_no_speed_that_the_reader_s_machine_may_contradict(notebook):
    """What is quoted or assumed stands in TOLD; what was measured belongs into the output of a cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    prose = [" ".join("".join(cell["source"]).split()) for cell in cells if cell["cell_type"] == "markdown"]

    assert set(QUANTITY.findall("\n".join(prose))) == TOLD.get(notebook.stem, set())


@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_unsolved_lab_runs_to_the_end_offline_on_the_references(notebook, run, fence, labs):
    result = run(notebook, "unsolved", strict=False)

    assert result.error is None
    assert statuses(result) == dict.fromkeys(labs[notebook.stem].exercises, "not attempted")
    assert result.peak_bytes <= PEAK_BYTES
    assert fence.attempts == []
    outputs = shown(result.notebook)
    assert unread_without_a_kernel(outputs) == []
    assert [output for output in outputs if "<script" in json.dumps(output)] == []  # a page's own, from who knows where


@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_unsolved_lab_fails_at_its_first_exercise_when_strict(notebook, run, labs):
    result = run(notebook, "unsolved, strict", strict=True)

    first = labs[notebook.stem].exercises[0]
    assert "ExerciseFailed" in result.error and f"{first}: not attempted" in result.error
    assert statuses(result) == {first: "not attempted"}


@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_solved_lab_runs_to_the_end_offline_when_strict(notebook, run, fence, labs, solved):
    result = run(solved / notebook.parent.name / notebook.name, "solved, strict", strict=True)

    assert result.error is None
    assert statuses(result) == dict.fromkeys(labs[notebook.stem].exercises, "passes")
    assert result.peak_bytes <= PEAK_BYTES
    assert fence.attempts == []


def test_a_widget_without_a_figure_above_it_is_found():
    figure, widget, text = {FIGURE: {}}, {WIDGET: {}, "text/plain": ["Race(children=())"]}, {"text/plain": ["1"]}
    bar = {WIDGET: {}, "text/plain": ["a:  20%|##        | 1/5 [00:12<00:48, 12.17s/it]"]}

    assert unread_without_a_kernel([bar, figure, text, widget, bar, figure, bar, widget]) == []
    assert unread_without_a_kernel([text, widget, figure, widget, widget]) == [1, 4]


@pytest.mark.parametrize(
    ("call", "attempt"),
    [
        ("socket.create_connection(('203.0.113.1', 80), timeout=1)", "look-up of 203.0.113.1"),
        ("socket.socket().connect(('203.0.113.1', 80))", "connect to ('203.0.113.1', 80)"),
        ("socket.socket().connect_ex(('203.0.113.1', 80))", "connect_ex to ('203.0.113.1', 80)"),
        (
            "urllib.request.build_opener(urllib.request.ProxyHandler({})).open('http://example.org')",
            "look-up of example.org",
        ),
    ],
)
def test_the_fence_refuses_the_network_and_keeps_what_was_tried(fence, call, attempt):
    code = f"import socket, urllib.request\ntry:\n    {call}\nexcept OSError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **fence.env}, capture_output=True, encoding="utf-8", check=True
    )
    assert "this run is offline" in done.stdout
    assert fence.attempts == [attempt]


def test_the_fence_leaves_loopback_open(fence):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('localhost', {port}), timeout=5).close()"
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **fence.env}, check=True)
    assert fence.attempts == []
