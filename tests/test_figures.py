"""Figures show the numbers they are given, and stay small enough to be sent while a slider moves."""

import math
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest

from cython_kernels.bench import Row
from slmlab import bench, catalog, figures
from slmlab.widgets import (
    Settings,
    bench_panel,
    bit_inspector,
    energy_model,
    kernel_bench,
    memory_budget,
    ple_inspector,
    quantization_explorer,
    talk,
    ternary_explorer,
    think_budget,
    training_race,
)

LIMIT_BYTES = 350_000  # plotly 5 writes arrays as text, three times as long as the bytes of later ones


def matrix(rows: int = 576, columns: int = 1536) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, columns)).astype(np.float32)


def rung(contender: str, bits: int) -> Row:
    format, _, backend = contender.partition("/")
    macs = 640 * 2560
    return Row(
        what="640 x 2560",
        format=format,
        backend=backend,
        held=format,
        threads=1,
        M=1,
        macs=macs,
        weights_bytes=macs * bits // 8,
        footprint_bytes=macs * bits // 8,
        samples_ms=(0.1,),
        ms=(0.09, 0.1, 0.12),
        gb_per_s=macs * bits / 8 / 1e5,
        gmac_per_s=macs / 1e5,
        ratio=(1.0, 1.0, 1.0),
        baseline="fp16/gemv",
        read_limit_gb_per_s=40.0,
        share=(0.8, 0.9, 1.0),
    )


def thought_of(tokens: int) -> think_budget.Trial:
    steps = talk.steps(matrix(tokens), range(tokens), str)
    answers = tuple(think_budget.Answer("64", False, (), steps[:3]) for _ in range(2))
    curves = [think_budget.curve(f"{terms} terms", (0, 60), [[False] * 9, [True] * 9]) for terms in (2, 3, 4)]
    problem = think_budget.Problem("4 terms", "What is 47+38-21+5?", "69", steps, answers)
    return think_budget.Trial("a mini", (0, 60), tuple(curves), {}, (problem,), ("\n", "</think>", "\n\n"))


def race_of(steps: int) -> SimpleNamespace:
    """As evaluation.racing.Race has it after its last step."""
    question = SimpleNamespace(messages=[{"content": "What is the capital of Japan?"}], answer="Tokyo.")
    sheet = SimpleNamespace(
        documents=[question], answers=["Tokyo."], right=[True], score=SimpleNamespace(value=1.0, low=0.2, high=1.0)
    )
    look = SimpleNamespace(nats={"clean text": SimpleNamespace(value=1.0, low=0.9, high=1.1)}, sheet=sheet)
    laps = [SimpleNamespace(tokens=512 * n, looks={"a": look, "b": look}) for n in range(0, steps + 1, 100)]
    runners = {name: SimpleNamespace(losses=[1.0 + 1 / n for n in range(1, steps + 1)]) for name in ("a", "b")}
    return SimpleNamespace(step=steps, steps=steps, tokens_per_step=512, runners=runners, laps=laps)


def all_figures() -> dict[str, go.Figure]:
    state = quantization_explorer.state(matrix(), Settings(scheme="asymmetric", bits=8, group=16))
    point = SimpleNamespace(settings=Settings(), bits_per_weight=4.0, perplexity=20.0)
    rungs = [rung("fp16/gemv", 16), rung("2bit/avx2", 2)]
    ternary = bit_inspector.Layer(np.ones((2560, 2560), np.int8), 0.5, np.full(2560, 127, np.int8))
    every = [model for model in catalog.models() if model.computable]
    budgets = [memory_budget.state(model, memory_bytes=2**33) for model in every]
    return {
        "compare_bars": figures.compare_bars("share", {"a": 1.0, "b": 2}, 1.5, "GB"),
        "race": figures.race([SimpleNamespace(name="a", median_ms=2.0, q1_ms=1.0, q3_ms=4.0)], "title"),
        "prefill_decode": figures.prefill_decode([16, 64], [2.0, 1.0], [9.0, 9.5], "title"),
        "bench_panel": figures.bench_panel(bench_panel.state(np.linspace(1, 9, 200), 10, 30)),
        "memory_bars": figures.memory_bars(budgets, memory_budget.DEVICES),
        "quantization": figures.quantization(state),
        "perplexity_points": figures.perplexity_points([point], 18.0),
        "ladder": figures.ladder(rungs, "2bit/avx2", (2.0, 6.0)),
        "roofline": figures.roofline(rungs),
        "energy_bars": figures.energy_bars(energy_model.state("BitNet b1.58 2B4T", watts=5, read_bytes_per_s=1e10)),
        "benchmark_rows": figures.benchmark_rows(
            {"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0, "y": 1.0}}, ["y"], "a", "t"
        ),
        "bit_inspector": figures.bit_inspector(
            bit_inspector.state(bit_inspector.pack("q_proj", ternary, "Hugging Face"), 5, 9)
        ),
        "file_bars": figures.file_bars({"a": {"matrices": 5e8, "embedding": 6e8}}, "files", ("claimed", 4e8)),
        "kernel_bench": figures.kernel_bench(kernel_bench.state(rungs, "640 x 2560", 1, 1, "2bit/avx2")),
        "ple_inspector": figures.ple_inspector(ple_inspector.state("Gemma 3n E2B", trace=[("a", 5), ("b", 9)])),
        "ternary_rounding": figures.ternary_rounding(ternary_explorer.state(matrix(), "q_proj", 0.5, 1.0)),
        "latent_weights": figures.latent_weights(
            SimpleNamespace(
                edges=np.arange(4), first=np.ones(3), now=np.ones(3), losses=[2.0], flipped=[0.1], changed=0.1
            )
        ),
        "accuracy": figures.accuracy([think_budget.curve("a", [1, 9], [[True], [False]])], "t", "tokens", log=True),
        "think_budget": figures.think_budget(think_budget.state(thought_of(120), 1)),
        "training_race": figures.training_race(training_race.state(race_of(8000))),
        "talk": figures.talk(talk.state(talk.Text("a mini", "", talk.steps(matrix(160), range(160), str), False))),
    }


ALL = all_figures()


def axes(figure: go.Figure) -> list:
    every = (*figure.select_xaxes(), *figure.select_yaxes())
    return [axis for axis in every if axis.type != "category" and axis.visible is not False]


@pytest.mark.parametrize("name", ALL)
def test_a_figure_is_small_on_the_wire(name):
    assert len(ALL[name].to_json()) < LIMIT_BYTES


@pytest.mark.parametrize("name", ALL)
def test_every_axis_of_numbers_says_what_it_measures(name):
    silent = [axis.plotly_name for axis in axes(ALL[name]) if not axis.title.text]

    assert silent == (["yaxis2"] if name == "quantization" else [])  # the rows of levels are named one by one


@pytest.mark.parametrize("name", ALL)
def test_no_letter_is_smaller_than_12_px_and_the_card_is_white(name):
    figure = ALL[name]
    look = go.Figure(figure).update_layout(figure.layout.template.layout).layout

    sizes = [look.font.size, look.title.font.size, look.title.subtitle.font.size, figure.layout.font.size]
    assert all(size is None or size >= 12 for size in sizes) and look.font.size
    assert look.paper_bgcolor == look.plot_bgcolor == "white"


def test_every_public_figure_is_among_those_tested_here():
    drawn = {name for name, value in vars(figures).items() if callable(value) and name[0].islower()}

    assert drawn - {"format_bytes"} == set(ALL)


# ------------------------------------------------------------------------------------------------------------------
# compare_bars, race, prefill_decode


def test_bars_keep_order_names_and_numbers():
    figure = figures.compare_bars("bits", {"two": 2.0, "five to a byte": 8 / 5, "entropy": np.float32(1.5)})

    (bars,) = figure.data
    assert bars.y == ("two", "five to a byte", "entropy")
    assert bars.x == (2.0, 1.6, 1.5)
    assert bars.text == ("2.00", "1.60", "1.50")
    assert figure.layout.yaxis.autorange == "reversed"
    assert not figure.layout.shapes


def test_the_guess_is_a_line_with_its_number_inside_the_range():
    figure = figures.compare_bars("size", {"a": 1.0}, guess=40, unit="GB")

    (line,), (label,) = figure.layout.shapes, figure.layout.annotations
    assert line.x0 == line.x1 == label.x == 40
    assert label.text == "your guess: 40.0 GB"
    assert figure.layout.xaxis.range[0] <= 0 < 40 < figure.layout.xaxis.range[1]
    assert figure.layout.xaxis.title.text == "GB"


def test_a_long_negative_number_has_room_between_its_bar_and_the_axis():
    short = figures.compare_bars("change", {"a": -0.5, "b": 1.0}).layout.xaxis.range
    long = figures.compare_bars("change", {"a": -0.5, "b": 1.0}, unit="nats a token").layout.xaxis.range

    assert long[0] < short[0] < -0.5 and long[1] == short[1]


def test_negative_numbers_lie_inside_the_range():
    low, high = figures.compare_bars("change", {"a": -3.0, "b": -1.0}).layout.xaxis.range

    assert low < -3 and high >= 0


@pytest.mark.parametrize(
    ("measured", "guess", "message"),
    [({}, None, "nothing was measured"), ({"a": math.nan}, None, "a is nan"), ({"a": 1.0}, math.inf, "guess is inf")],
)
def test_what_cannot_be_drawn_is_named(measured, guess, message):
    with pytest.raises(ValueError, match=message):
        figures.compare_bars("share", measured, guess)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (0.1, "0.100"), (0.01234, "0.0123"), (1e-7, "1.00e-07"), (-2.716, "-2.72"), (1, "1.00")),
        *((10, "10.0"), (10.94, "10.9"), (100, "100"), (999.6, "1,000"), (131072, "131,072")),
    ],
)
def test_numbers_have_three_digits_and_all_whole_ones(value, text):
    (bars,) = figures.compare_bars("x", {"a": value}).data

    assert bars.text == (text,)


def test_a_race_is_drawn_from_its_medians_and_quartiles():
    timing = bench.Timing("a", samples_ms=(1.0, 2.0, 3.0, 4.0, 10.0), calls=1)  # quartiles 2, 3, 4 by hand

    (bars,) = figures.race(bench.Race((timing,)).rows).data
    assert (bars.y, bars.x) == (("a",), (3.0,))
    assert (bars.error_x.arrayminus, bars.error_x.array) == ((1.0,), (1.0,))


def test_prefill_and_decode_are_told_apart_without_color():
    prefill, decode = figures.prefill_decode([16, 64], [2.0, 1.0], [9.0, 9.5]).data

    assert prefill.x == decode.x == (16, 64)
    assert (prefill.y, decode.y) == ((2.0, 1.0), (9.0, 9.5))
    assert prefill.line.dash != decode.line.dash and prefill.marker.symbol != decode.marker.symbol


# ------------------------------------------------------------------------------------------------------------------
# memory_bars


def budget(name, setting=("4-bit weights",), **components):
    components = {key.replace("_", " "): value for key, value in components.items()}
    return SimpleNamespace(name=name, setting=setting, components=components, total_bytes=sum(components.values()))


def test_bars_stack_to_the_total_and_the_total_is_written():
    figure = figures.memory_bars(
        [budget("a", attention=10**9, KV_cache=2 * 10**9), budget("b", mlp=5 * 10**9)], {"phone": 8 * 2**30}
    )

    drawn = {trace.name: trace.x for trace in figure.data}
    assert drawn == {"attention": (1.0, 0.0), "mlp": (0.0, 5.0), "KV cache": (2.0, 0.0)}
    assert figure.layout.barmode == "stack"
    assert {a.y: a.text for a in figure.layout.annotations if a.y in ("a", "b")} == {
        "a": "<b>3.00 GB</b>",
        "b": "<b>5.00 GB</b>",
    }


def test_the_axis_ends_behind_the_first_device_that_holds_the_largest_bar():
    devices = {"small": 10**9, "next": 6 * 10**9, "huge": 64 * 10**9}

    figure = figures.memory_bars([budget("a", mlp=2 * 10**9)], devices)
    assert [line.x0 for line in figure.layout.shapes] == [1.0, 6.0]
    assert 6 < figure.layout.xaxis.range[1] < 7

    figure = figures.memory_bars([budget("a", mlp=100 * 10**9)], devices)
    assert [line.x0 for line in figure.layout.shapes] == [1.0, 6.0, 64.0]
    assert figure.layout.xaxis.range[1] > 100


def test_labels_of_near_devices_stand_above_each_other():
    figure = figures.memory_bars([budget("a", mlp=165 * 10**8)], {"laptop": 16 * 2**30, "this machine": 16 * 10**9})

    labels = [a for a in figure.layout.annotations if a.y == 1]
    assert [label.text for label in labels] == ["this machine: 14.9 GiB", "laptop: 16 GiB"]
    assert labels[0].yshift != labels[1].yshift


def test_what_all_settings_share_is_the_title_and_the_rest_is_at_the_bar():
    figure = figures.memory_bars(
        [budget("a", ("4-bit weights", "10 tokens"), mlp=1), budget("a", ("8-bit weights", "10 tokens"), mlp=2)], {}
    )

    assert figure.layout.title.text == "Memory: 10 tokens"
    assert figure.data[0].y == ("a<br>4-bit weights", "a<br>8-bit weights")


def test_the_cache_differs_from_weights_by_more_than_color():
    figure = figures.memory_bars([budget("a", mlp=1, KV_cache=1)], {})

    assert {trace.name: bool(trace.marker.pattern.shape) for trace in figure.data} == {"mlp": False, "KV cache": True}


# ------------------------------------------------------------------------------------------------------------------
# quantization, perplexity_points


@pytest.mark.parametrize("group", ["tensor", "row"])
def test_the_figure_of_a_state_shows_its_numbers(group):
    state = quantization_explorer.state(matrix(20, 300), Settings("q_proj", "symmetric", 3, group))

    figure = figures.quantization(state)
    values, rug, codes, errors = figure.data
    assert values.y[::2].tolist() == values.y[1::2].tolist() == state.value_counts.tolist()
    assert np.allclose(codes.y[::2], 100 * state.code_counts / 6000) and codes.y.sum() == pytest.approx(200)
    assert codes.x[:2].tolist() == [-3.5, -2.5]
    assert figure.layout.title.text == state.title and figure.layout.title.subtitle.text == state.numbers
    assert list(figure.layout.yaxis2.ticktext) == list(state.levels)
    rows = np.stack([rug.x, rug.y], axis=1).reshape(len(state.levels), 7 * 3 + 1, 2)
    teeth = rows[:, :-1].reshape(len(state.levels), 7, 3, 2)
    assert np.array_equal(teeth[..., 1, 0], np.stack(list(state.levels.values()))) and np.isnan(rows[:, -1]).all()
    assert (np.round(teeth[..., 1]).transpose(2, 1, 0) == range(len(state.levels))).all()
    assert np.allclose(10 ** (np.asarray(errors.z) / 20), np.maximum(state.error_blocks, 10**-2.5), rtol=1e-5)
    assert (errors.dy, errors.dx) == state.block == (1, 3)


def test_no_error_at_all_is_drawn_as_the_floor():
    state = quantization_explorer.state(np.ones((4, 4), np.float32), Settings(bits=2))

    assert set(np.asarray(figures.quantization(state).data[3].z).ravel()) == {figures.FLOOR_DB}


def test_points_are_grouped_by_scheme_and_the_baseline_is_a_line():
    points = [
        SimpleNamespace(settings=Settings(scheme="nf4"), bits_per_weight=4.25, perplexity=20.0),
        SimpleNamespace(settings=Settings(bits=8), bits_per_weight=8.0, perplexity=18.5),
    ]

    drawn = {trace.name: (trace.x, trace.y) for trace in figures.perplexity_points(points, 18).data if trace.x}
    assert drawn == {
        "symmetric": ((8.0,), (18.5,)),
        "nf4": ((4.25,), (20.0,)),
        "not quantized": ((0, 9), (18.0, 18.0)),
    }
