"""EnergyModel: its states against a bill counted by hand, and the view moved by its controls."""

from itertools import pairwise

import pytest

from slmlab import catalog, energy, figures
from slmlab.widgets import EnergyModel, energy_model

BITNET = "BitNet b1.58 2B4T"


def test_what_is_drawn_adds_up_to_the_bill():
    for phase in ("decode", "prompt"):
        state = energy_model.state(BITNET, phase=phase, context=300, batch=4)

        for weights, parts in state.spent.items():
            assert sum(parts.values()) == pytest.approx(
                energy.token_bill(state.model, weights, phase=phase, context=300, batch=4).joules
            )
            assert set(parts) <= set(figures.SPENT)


def test_the_machine_meanwhile_is_watts_times_the_time_of_reading():
    # (2,084,044,800 / 4 + 328,335,360 * 2 + 512 * 76,800) bytes at 10 GB/s: 121.7 ms; 15 W for that
    state = energy_model.state(BITNET, watts=15, read_bytes_per_s=1e10)

    nbytes = 2_084_044_800 / 4 + 128_256 * 2560 * 2 + 512 * 76_800
    assert state.spent["ternary"]["the machine meanwhile"] == pytest.approx(15 * nbytes / 1e10)
    assert "15 W for the 122 ms that reading takes at least" in str(state)

    shared = energy_model.state(BITNET, batch=2, watts=15, read_bytes_per_s=1e10)
    assert shared.seconds("ternary") == pytest.approx((nbytes + 512 * 76_800) / 1e10 / 2)


def test_a_prompt_is_not_timed_by_its_reading():
    assert (
        "the machine meanwhile"
        not in energy_model.state(BITNET, phase="prompt", watts=9, read_bytes_per_s=1e9).spent["fp16"]
    )


def test_watts_without_a_read_limit_are_refused():
    with pytest.raises(ValueError, match="watts is 5 and read_bytes_per_s None"):
        energy_model.state(BITNET, watts=5)


def test_a_state_says_the_share_that_is_not_arithmetic_and_tokens_per_charge():
    state = energy_model.state(BITNET)  # 48.898 mJ, of it 0.218 arithmetic; 54 kJ in 15 Wh

    assert str(state).startswith(
        "ternary: 48.9 mJ a token, 99.6% of it not arithmetic; the largest part is reading the head, 54%."
    )
    assert "a phone's battery, 15 Wh: 1,100,000" in state.numbers
    assert state.title == "BitNet b1.58 2B4T: one token written after 512 tokens, batch 1"


def test_no_model_gets_more_context_than_it_has():
    assert energy_model.state("phi-2", context=4096).context == 2048


def test_every_model_that_is_offered_has_a_bill():
    view = EnergyModel()

    for name in view.model.options:
        view.model.value = name
        assert view.state.model.name == name and not view.trouble.value
    assert len(view.model.options) > 60 and view.model.options[0] == "LLaMA 3.2 1B"


@pytest.fixture
def view():
    return EnergyModel(read_bytes_per_s=2e10)


@pytest.mark.parametrize(
    ("control", "value"),
    [
        *(("model", "phi-4"), ("weights", "int8"), ("phase", "prompt"), ("node", 45)),
        *(("picojoules", 20), ("context", 2048), ("batch", 16), ("watts", 15)),
    ],
)
def test_every_control_changes_the_figure(view, control, value):
    before = view.plot.figure.to_json()

    getattr(view, control).value = value

    assert view.plot.figure.to_json() != before and not view.trouble.value


def test_the_view_draws_what_its_controls_say(view):
    view.weights.value, view.picojoules.value, view.batch.value, view.watts.value = "int4", 20, 8, 5

    wanted = energy_model.state(BITNET, "int4", "decode", 7, 20, 512, 8, 5, 2e10)
    drawn = {}
    for trace in view.plot.figure.data:
        for name, value in zip(trace.y, trace.x, strict=True):
            drawn[name] = drawn.get(name, 0) + value
    assert list(drawn) == ["fp16", "int8", "<b>int4</b>", "ternary"]
    assert list(drawn.values()) == pytest.approx([1e3 * sum(parts.values()) for parts in wanted.spent.values()])
    assert view.plot.figure.layout.title.text == wanted.title


def test_watts_wait_for_a_read_limit_and_for_decode(view):
    assert EnergyModel().watts.disabled and not view.watts.disabled

    view.phase.value = "prompt"

    assert view.watts.disabled


def test_parts_differ_by_more_than_colour():
    patterns = [pattern for _, pattern in figures.SPENT.values()]

    neighbours = [a != b or not a for a, b in pairwise(patterns)]
    assert all(neighbours) and len(set(patterns)) >= 5


def test_the_catalogs_models_can_be_named():
    view = EnergyModel(["Gemma 3 1B"])

    assert view.state.model is catalog.get("Gemma 3 1B")
