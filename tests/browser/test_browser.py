"""The widgets in JupyterLab in a real browser: run, moved by the keyboard, nothing from outside, a quiet console.

Needs playwright and a Chromium (Debian: `apt-get install chromium`); without them the tests are skipped.
SLMLAB_SCREENSHOT=1 also renews labs/memory_budget.png, which the README shows.
"""

import os
import shutil
import statistics
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

import nbformat
from lab import ROOT, Notebook, Server, press, sliders
from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
LABS = [
    path
    for path in sorted((ROOT / "labs").glob("[0-9]_*/[0-9][0-9]_*.ipynb"))
    if "slmlab.widgets" in path.read_text(encoding="utf-8")
]
MOVES = 24  # of each slider
SLIDERS = ["weight bits", "KV cache bits", "context (tokens)", "bits", "group"]  # of the two widgets in BOTH
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path (Debian: apt-get install chromium)"),
    pytest.mark.timeout(900),
]

BOTH = [
    """
    import numpy as np
    from slmlab.widgets import MemoryBudget, QuantizationExplorer
    rows = np.random.default_rng(0).standard_normal((576, 1536)) * np.linspace(0.02, 0.2, 576)[:, None]
    """,
    "MemoryBudget()",
    "QuantizationExplorer({'random': rows}, perplexity=lambda settings: 10 + 2.0**-settings.bits, baseline=10)",
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Open a notebook, given as a list of cells or as a path whose folder is copied, in a JupyterLab of its own."""
    servers, pages = [], []

    def open_notebook(source: list[str] | Path, **env: str) -> Notebook:
        root = tmp_path / "labs"
        if isinstance(source, Path):
            shutil.copytree(source.parent, root, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
            name = source.name
        else:
            root.mkdir()
            name = "cells.ipynb"
            cells = [nbformat.v4.new_code_cell("\n".join(map(str.strip, cell.strip().splitlines()))) for cell in source]
            nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), root / name)
        home = {"SLMLAB_HOME": os.environ.get("SLMLAB_HOME", str(tmp_path / "home"))}
        records = {"SLMLAB_RECORDS": str(tmp_path / "records")}
        server = Server(root, tmp_path / "jupyter", home | records | env).__enter__()
        servers.append(server)
        pages.append(browser.new_page(viewport={"width": 1280, "height": 1000}))
        return Notebook(server, pages[-1], name)

    yield open_notebook
    for page in pages:
        page.close()
    for server in servers:
        server.__exit__()


def moves(cell, handle, count: int) -> list[float]:
    """Press a slider there and back, `count` times in all; milliseconds until the figure was drawn, for each."""
    times = []
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    for move in range(count):
        plot = cell.locator(".js-plotly-plot").first
        before = plot.inner_html()
        times.append(press(cell, handle, "ArrowLeft" if at_end == (move % 2 == 0) else "ArrowRight"))
        assert plot.inner_html() != before, "the slider moved, and the figure stayed as it was"
    return times


def check_quiet(notebook: Notebook) -> None:
    assert notebook.errors() == []
    assert notebook.outside == [], "the page asked for something that is not on this machine"
    assert notebook.console == []


def latency(widget, handle) -> str:
    """A line about MOVES moves of a slider, from the key press to the new figure on the page."""
    times = sorted(moves(widget, handle, MOVES))
    p95 = times[round(0.95 * (len(times) - 1))]
    name = handle.get_attribute("aria-label")
    return f"{name:18} median {statistics.median(times):4.0f} ms, p95 {p95:4.0f} ms, {len(times)} moves"


def test_both_widgets_follow_their_sliders(opened, capsys):
    notebook = opened(BOTH)
    notebook.run_all(120)

    lines = [latency(widget, handle) for widget in notebook.widgets() for handle in sliders(widget)]
    assert [line.split("  ")[0] for line in lines] == SLIDERS
    check_quiet(notebook)
    with capsys.disabled():
        print("\nboth widgets, 576 x 1536:", *lines, sep="\n    ")


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_runs_and_its_widgets_follow_the_keyboard(opened, smollm2, path, capsys):
    notebook = opened(path, SLMLAB_HOME=str(smollm2))
    notebook.run_all(300)
    widgets = notebook.widgets()

    lines = [latency(widget, handle) for widget in widgets for handle in sliders(widget)]
    assert lines
    check_quiet(notebook)
    with capsys.disabled():
        print(f"\n{path.stem}:", *lines, sep="\n    ")
    if os.environ.get("SLMLAB_SCREENSHOT") == "1" and path.stem == "01_memory_budget":
        widgets[0].screenshot(path=ROOT / "labs" / "memory_budget.png")
