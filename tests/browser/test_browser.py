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


TALK = [
    """
    from slmlab.minis import recipes, tokenizer
    from slmlab.widgets import TalkToAMini, talk
    talk.LIMIT = 24
    mini = recipes.new_model(recipes.RECIPES["mini-phi"]).eval(), tokenizer.load("phi")
    """,
    "view = TalkToAMini({'untrained': mini}, ['How many legs does a spider have?'])\nview",
]


def test_a_mini_answers_what_is_typed_and_a_click_on_a_token_looks_at_it(opened, capsys):
    notebook = opened(TALK)
    notebook.run_all(120)
    (widget,) = notebook.widgets()
    title = widget.locator(".gtitle").first

    line = widget.get_by_label("question")
    line.fill("What is the capital of Japan?")
    before = title.text_content()
    line.press("Enter")
    notebook._wait(lambda: title.text_content() != before and notebook._idle(), 30, "an answer")
    answered = title.text_content()
    token = widget.locator(".trace.bars").first.locator(".point").nth(1 if "token 3 " in answered else 2)
    token.scroll_into_view_if_needed()
    box = token.bounding_box()  # plotly's own layer lies above it and takes the click
    notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    notebook.page.mouse.down()
    notebook.page.mouse.up()
    notebook._wait(lambda: title.text_content() != answered, 20, "the token that was clicked")

    assert title.text_content().startswith("untrained: token ")
    (handle,) = sliders(widget)
    with capsys.disabled():
        print("\na mini, 24 tokens:", latency(widget, handle), sep="\n    ")
    check_quiet(notebook)


INSPECTOR = [
    """
    import numpy as np
    from slmlab.widgets import BitInspector, bit_inspector
    dice = np.random.default_rng(0)
    codes = dice.integers(-1, 2, (512, 512), dtype=np.int8)
    layer = bit_inspector.Layer(codes, 0.05, dice.integers(-127, 128, 512, dtype=np.int8))
    """,
    "BitInspector({'random': layer})",
]


def test_a_byte_is_chosen_by_keys_by_a_click_by_its_number_and_in_another_format(opened, capsys):
    notebook = opened(INSPECTOR)
    notebook.run_all(120)
    (widget,) = notebook.widgets()
    title = widget.locator(".gtitle").first

    def shows(text: str) -> None:
        notebook._wait(lambda: text in title.text_content() and notebook._idle(), 20, f"a title with {text!r}")

    line, byte = sliders(widget)
    press(widget, line, "ArrowRight")
    press(widget, byte, "ArrowRight")
    shows("byte 1 of line 1 ")
    point = widget.locator(".trace.scatter").first.locator(".textpoint").nth(3 * 22 + 7)
    point.scroll_into_view_if_needed()
    point = point.bounding_box()  # plotly's own layer lies above it and takes the click
    notebook.page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2, steps=5)
    widget.locator(".hoverlayer").get_by_text("line 3, byte 7").wait_for()  # a click takes the point that is told
    notebook.page.mouse.down()
    notebook.page.mouse.up()
    shows("byte 7 of line 3 ")
    number = widget.locator(".widget-readout").nth(1)
    number.click()
    number.fill("300")
    number.press("Enter")
    shows("byte 300 of line 3 ")
    widget.get_by_label("format").select_option("GGUF TQ1_0")
    shows("in GGUF TQ1_0: byte 107 of line 3 ")  # a line of it has 108 bytes
    assert "half of the block's scale" in widget.locator(".infolayer").first.text_content()

    with capsys.disabled():
        print("\na byte, 512 x 512:", *(latency(widget, handle) for handle in sliders(widget)), sep="\n    ")
    check_quiet(notebook)


PARTS = ["from slmlab.widgets import PLEInspector", "PLEInspector([('What', 100), (' is', 7), (' up', 262_143)])"]


def test_parts_of_a_model_are_moved_by_their_menus_and_rows_looked_at_by_keys(opened, capsys):
    notebook = opened(PARTS)
    notebook.run_all(120)
    (widget,) = notebook.widgets()

    def shows(text: str) -> None:
        read = widget.locator(".jp-OutputArea-output").first.text_content
        notebook._wait(lambda: text in read() and notebook._idle(), 20, text)

    shows("Gemma 3n E2B on a phone")
    shows("row 262,143")
    widget.get_by_label("device").select_option("laptop with a GPU")
    shows("15.4 kB (15.0 KiB) from disk")
    widget.get_by_label("per-layer table").select_option("accelerator")
    widget.get_by_label("bits").first.select_option("16")
    shows("GPU memory lacks")
    model = widget.get_by_label("model")
    model.focus()
    model.press("ArrowDown")
    shows("Gemma 3n E4B on a laptop with a GPU")
    number = widget.locator(".widget-readout").nth(2)
    number.click()
    number.fill("2")
    number.press("Enter")
    shows("row 7, bytes 125,440 to 143,359")

    with capsys.disabled():
        print("\nparts of Gemma 3n E4B:", *(latency(widget, handle) for handle in sliders(widget)), sep="\n    ")
    check_quiet(notebook)


JOULES = ["from slmlab.widgets import EnergyModel", "EnergyModel(read_bytes_per_s=2e10)"]


def test_energy_model_is_led_by_its_menus_and_a_prompt_knows_no_watts(opened, capsys):
    notebook = opened(JOULES)
    notebook.run_all(120)
    (widget,) = notebook.widgets()
    title = widget.locator(".gtitle").first
    written = title.text_content()
    assert len(sliders(widget)) == 5

    widget.get_by_label("phase").select_option("prompt")
    notebook._wait(lambda: title.text_content() != written, 20, "the bill of a prompt")
    assert "read in a prompt of 512 tokens" in title.text_content()
    assert len(sliders(widget)) == 4

    widget.get_by_label("model").select_option("Gemma 3 1B")
    notebook._wait(lambda: title.text_content().startswith("Gemma 3 1B"), 20, "the bill of another model")
    lines = [latency(widget, handle) for handle in sliders(widget)]
    check_quiet(notebook)
    with capsys.disabled():
        print("\nEnergyModel:", *lines, sep="\n    ")


TERNARY = [
    """
    import numpy as np
    from slmlab.widgets import TernaryExplorer
    bell = np.random.default_rng(0).standard_normal((256, 512)).astype(np.float32)
    """,
    "TernaryExplorer({'bell': bell}, lambda threshold, scale: (threshold - 0.75) ** 2 + (scale - 1.5) ** 2)",
]


def test_a_ternary_rounding_that_is_measured_is_written_and_drawn(opened, capsys):
    notebook = opened(TERNARY)
    notebook.run_all(120)
    (widget,) = notebook.widgets()
    threshold, scale = sliders(widget)
    press(widget, threshold, "ArrowRight")  # 0.55
    press(widget, scale, "End")  # 2.50

    widget.get_by_role("button", name="measure the loss").click()
    notebook._wait(lambda: "+1.040" in widget.inner_text() and notebook._idle(), 30, "the loss")

    assert widget.locator("td", has_text="0.55").count() == 1
    assert "+1.04" in widget.locator(".js-plotly-plot .textpoint").all_text_contents()
    with capsys.disabled():
        print("\na ternary rounding, 256 x 512:", latency(widget, threshold), latency(widget, scale), sep="\n    ")
    check_quiet(notebook)


RACE = [
    """
    from dataclasses import replace
    from itertools import islice
    from pathlib import Path
    from slmlab.evaluation import racing
    from slmlab.minis import corpus, recipes, training
    from slmlab.widgets import TrainingRace
    own = recipes.recipe("mini-phi")
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = own.config | shape | {"head_dim": 16}
    small = replace(own, config=shape, mixture={"question": 1.0}, sequence=64, batch=2, tokens=400 * 128)
    runs = {name: training.Training(replace(small, noisy=name == "noisy"), Path("none")) for name in ("clean", "noisy")}
    texts = {"clean text": corpus.exams.held_out("question", 8, seed=1)}
    race = racing.Race(runs, racing.Onlooker(texts, corpus.exams.facts("new", 6, seed=2)), every=20)
    taken = list(islice(race.turns_left(), 20))
    """,
    "TrainingRace(race)",
]


def test_a_race_is_started_paused_and_looked_back_at_while_it_trains(opened, capsys):
    notebook = opened(RACE)
    notebook.run_all(120)
    (widget,) = notebook.widgets()
    title = widget.locator(".gtitle").first
    laps = widget.locator(".widget-readout").first

    def wait_for_title(text: str) -> None:
        notebook._wait(lambda: text in title.text_content(), 60, text)

    wait_for_title("After 2,560 of 51,200 tokens each")
    widget.get_by_role("button", name="go on").click()
    wait_for_title("After 5,120")  # the last lap is followed
    (lap,) = sliders(widget)
    press(widget, lap, "Home")
    wait_for_title("After 0 of")
    while_training = latency(widget, lap)
    if (pause := widget.get_by_role("button", name="pause")).count():
        pause.click()
    notebook._wait(lambda: widget.get_by_role("button", name="pause").count() == 0, 30, "a pause")
    press(widget, lap, "End")
    assert laps.text_content() != "0"
    question = widget.get_by_label("question")
    asked = question.locator("option").nth(1).text_content().replace("\xa0", " ")
    question.focus()
    question.press("ArrowDown")
    notebook._wait(lambda: asked in widget.locator(".infolayer").first.text_content(), 20, asked)

    paused = latency(widget, lap)
    check_quiet(notebook)
    with capsys.disabled():
        print("\na race, while it trains and paused:", while_training, paused, sep="\n    ")


THOUGHT = [
    """
    import numpy as np
    from slmlab.widgets import ThinkBudget, talk, think_budget
    steps = talk.steps(np.eye(40) * 3, range(40), str)
    ends = [think_budget.Answer(text, text == "64", (), steps[:2]) for text in ("7", "64", "64")]
    curves = [think_budget.curve("sums", (0, 20, 40), [[False] * 9, [True, False] * 4, [True] * 9])]
    problems = [think_budget.Problem("sums", f"What is {n}+1?", "64", steps, tuple(ends)) for n in (62, 63)]
    trial = think_budget.Trial("a mini", (0, 20, 40), tuple(curves), {}, tuple(problems), ("</think>",))
    """,
    "ThinkBudget(trial)",
]


def test_a_thought_is_cut_by_keys_and_another_problem_is_chosen(opened, capsys):
    notebook = opened(THOUGHT)
    notebook.run_all(120)
    (widget,) = notebook.widgets()

    def shows(text: str) -> None:
        read = widget.locator(".jp-OutputArea-output").first.text_content
        notebook._wait(lambda: text in read() and notebook._idle(), 20, text)

    (budget,) = sliders(widget)
    shows("is cut after 20; 64 is right")
    press(widget, budget, "Home")
    shows("is cut after 0; 7 is wrong, 64 wanted")
    press(widget, budget, "End")
    shows("is closed by the model; 64 is right")
    shows("What is 63+1?")
    problem = widget.get_by_label("problem")
    problem.focus()
    problem.press("ArrowUp")
    shows("What is 62+1?")

    with capsys.disabled():
        print("\na thought of 40 tokens:", latency(widget, budget), sep="\n    ")
    check_quiet(notebook)
