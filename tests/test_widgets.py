"""States against loops that a reader can check by eye; views by moving their controls and reading what is drawn."""

import dataclasses
import math

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest

from slmlab import catalog, figures, quant
from slmlab.ledger import LedgerError
from slmlab.widgets import MemoryBudget, QuantizationExplorer, Settings, memory_budget, quantization_explorer

GB = 10**9


def controls(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    """Everything under `widget` that a user can change or press."""
    found = [widget] if hasattr(widget, "disabled") else []
    for child in getattr(widget, "children", ()):
        found += controls(child)
    return found


# ------------------------------------------------------------------------------------------------------------------
# memory_budget.state


def test_the_budget_of_phi_4_mini_by_hand():
    budget = memory_budget.state("Phi-4-mini-instruct", 16, 16, 1000, memory_bytes=8 * GB)

    assert budget.total_bytes == 3_836_021_760 * 2 + 1000 * 131_072  # published count; 32 layers · 2 · 8 · 128 · 2 B
    assert budget.components["KV cache"] == 1000 * 131_072
    assert budget.components["embedding, head"] == 200_064 * 3072 * 2
    assert budget.fits and budget.most_tokens == (8 * GB - 3_836_021_760 * 2) // 131_072


@pytest.mark.parametrize("model", [model for model in catalog.models() if model.computable], ids=lambda m: m.name)
@pytest.mark.parametrize("weight_bits", memory_budget.WEIGHT_BITS)
def test_the_parts_add_up_for_every_model(model, weight_bits):
    budget = memory_budget.state(model, weight_bits, 8, 3000, memory_bytes=8 * GB)

    cache = catalog.kv_cache_bytes(model, min(3000, model.context_length), 8)
    assert sum(budget.components.values()) == catalog.weight_bytes(model, weight_bits) + cache == budget.total_bytes
    assert budget.components.get("KV cache", 0) == cache
    assert set(budget.components) <= set(figures.COMPONENTS)


def test_components_hold_what_their_names_say():
    parts = {row.what: row.bytes for row in catalog.parameters(catalog.get("Gemma 3n E2B"), 4).rows}
    drawn = memory_budget.state("Gemma 3n E2B", 4, tokens=1).components
    assert drawn["per-layer table"] == parts["per-layer embedding table"]
    assert drawn["mlp"] == parts["mlp"]
    assert drawn["attention"] == sum(size for what, size in parts.items() if what.startswith("attention"))

    parts = {row.what: row.bytes for row in catalog.parameters(catalog.get("Qwen3-30B-A3B"), 4).rows}
    drawn = memory_budget.state("Qwen3-30B-A3B", 4, tokens=1).components
    assert drawn["experts"] == parts["experts"] and "mlp" not in drawn
    assert drawn["other"] == parts["router"] + parts["norms, biases"]


@pytest.mark.parametrize("name", ["Gemma 3 270M", "Qwen3-0.6B", "phi-2"])
@pytest.mark.parametrize("memory_bytes", [10**6, 5 * 10**8, 15 * 10**8, 64 * GB])
def test_the_longest_conversation_is_the_last_that_fits(name, memory_bytes):
    model = catalog.get(name)
    most = memory_budget.state(model, 4, 16, memory_bytes=memory_bytes).most_tokens

    def fits(tokens):
        return catalog.weight_bytes(model, 4) + catalog.kv_cache_bytes(model, tokens, 16) <= memory_bytes

    assert most == 0 or fits(most)
    assert most == model.context_length or not fits(most + 1)


def test_a_conversation_ends_with_the_models_context():
    assert memory_budget.state("phi-2", tokens=10**6).tokens == 2048


@pytest.mark.parametrize(
    ("memory_bytes", "words"),
    [
        (24 * GB, ["It fits in 24.0 GB", "131,072 tokens, all of its context"]),
        (4 * GB, ["does not fit in 4.00 GB", "the KV cache is 3.14 GB", "fits: 8,848 tokens."]),
        (1 * GB, ["does not fit in 1.00 GB", "the weights alone are 1.84 GB"]),
    ],
)
def test_the_sentence_says_whether_it_fits_and_why(memory_bytes, words):
    # 3,221,225,472 weights of 4 bits and 614,796,288 of 16 are 2.840 GB; (4 - 2.840) GB / 131,072 bytes = 8,848.5
    sentence = str(memory_budget.state("Phi-4-mini-instruct", 4, 16, 32_768, memory_bytes))

    assert [word for word in words if word not in sentence] == []


def test_a_model_that_nobody_published_is_refused():
    with pytest.raises(catalog.CatalogError, match="Phi-4-mini"):
        memory_budget.state("Phi-4-minni")
    with pytest.raises(catalog.CatalogError, match="no configuration published"):
        MemoryBudget(["Phi-4-mini-instruct", "Falcon-E-1B"])


def test_a_ledger_that_does_not_add_up_is_not_drawn(monkeypatch):
    real = catalog.weight_bytes
    monkeypatch.setattr(catalog, "weight_bytes", lambda model, bits: real(model, bits) + 1)

    with pytest.raises(LedgerError, match=r"difference -1"):
        memory_budget.state("phi-2")


# ------------------------------------------------------------------------------------------------------------------
# MemoryBudget


def drawn_gb(view: MemoryBudget) -> dict[str, float]:
    """GB by model, added up from the bars of the figure that is on the page."""
    totals = {}
    for trace in view.plot.figure.data:
        for name, size in zip(trace.y, trace.x, strict=True):
            totals[name] = totals.get(name, 0) + size
    return totals


def test_the_view_draws_what_its_controls_say():
    view = MemoryBudget(memory_bytes=8 * GB)
    assert view.models.value == ("Phi-4-mini-instruct",)

    view.weight_bits.value, view.kv_bits.value, view.tokens.value = 1.58, 8, 65_536

    wanted = memory_budget.state("Phi-4-mini-instruct", 1.58, 8, 65_536, 8 * GB)
    assert drawn_gb(view) == pytest.approx({"Phi-4-mini-instruct": wanted.total_bytes / 1e9})
    assert str(wanted) in view.text.value
    assert [line.x0 for line in view.plot.figure.layout.shapes] == pytest.approx([2 * 1.073741824, 8.0])


def test_several_models_stand_side_by_side():
    view = MemoryBudget(["phi-2", "Qwen/Qwen3-0.6B", "phi-4"], memory_bytes=8 * GB)

    view.models.value = ("phi-2", "Qwen3-0.6B", "phi-4")
    view.weight_bits.value, view.tokens.value = 16, 4096

    states = [memory_budget.state(name, 16, 16, 4096, 8 * GB) for name in view.models.value]
    assert [state.tokens for state in states] == [2048, 4096, 4096]
    drawn = {name.split("<br>")[0]: size for name, size in drawn_gb(view).items()}
    assert drawn == pytest.approx({state.name: state.total_bytes / 1e9 for state in states})
    assert "2 of 3 fit in 8.00 GB (7.45 GiB). Too large: phi-4." in view.text.value


def test_a_family_filters_the_models():
    view = MemoryBudget(memory_bytes=8 * GB)

    view.family.value = "bitnet"
    assert set(view.models.options) == {m.name for m in catalog.models("bitnet") if m.computable}
    assert list(drawn_gb(view)) == list(view.models.value) == [view.models.options[0]]

    view.family.value = "all"
    assert len(view.models.options) == len([m for m in catalog.models() if m.computable])
    assert len(view.models.value) == 1


def test_the_context_goes_to_the_limit_of_the_model():
    view = MemoryBudget(memory_bytes=8 * GB)
    view.tokens.value = 131_072
    assert view.tokens.options[-1] == ("131,072", 131_072)

    view.models.value = ["phi-2"]

    assert view.tokens.options[-1] == ("2,048", 2048) and view.tokens.value == 2048
    assert view.states[0].tokens == 2048


def test_no_model_chosen_is_said():
    view = MemoryBudget(memory_bytes=8 * GB)

    view.models.value = ()

    assert "Choose a model" in view.text.value and not view.trouble.value


def test_this_machines_memory_is_a_line_when_none_is_given(monkeypatch):
    machine = dataclasses.replace(memory_budget.bench.machine(), ram_bytes=5 * GB)
    monkeypatch.setattr(memory_budget.bench, "machine", lambda: machine)

    view = MemoryBudget()

    assert "this machine: 4.66 GiB" in {label.text for label in view.plot.figure.layout.annotations}
    assert view.states[0].memory_bytes == 5 * GB


# ------------------------------------------------------------------------------------------------------------------
# quantization_explorer.state

RNG = np.random.default_rng(3)
SMALL = RNG.standard_normal((5, 40)).astype(np.float32)
EVERY_SETTING = [
    Settings("small", scheme, bits, group)
    for scheme, choices in quantization_explorer.BITS.items()
    for bits in choices
    for group in (("tensor", "row") if scheme == "ternary" else ("tensor", "row", 16))
]


@pytest.mark.parametrize("settings", EVERY_SETTING, ids=str)
def test_a_state_is_what_loops_find(settings):
    state = quantization_explorer.state(SMALL, settings)
    quantized = settings.quantize(SMALL)
    restored = quantized.dequantize()

    counts = dict.fromkeys(state.codes.tolist(), 0)
    for code in quantized.codes.ravel().tolist():
        counts[code] += 1  # a KeyError here: a code that the state does not know
    assert state.code_counts.tolist() == list(counts.values())
    assert state.codes.tolist() == sorted(counts)

    errors = [abs(float(x) - float(y)) for x, y in zip(SMALL.ravel(), restored.ravel(), strict=True)]
    assert state.max_error == pytest.approx(max(errors))
    assert state.rms_error == pytest.approx(math.sqrt(sum(e * e for e in errors) / len(errors)))
    assert state.stored_bytes == quantized.stored_bytes
    assert state.bits_per_weight == 8 * quantized.stored_bytes / 200

    rms = math.sqrt(sum(float(x) ** 2 for x in SMALL.ravel()) / 200)
    assert state.block == (1, 1)
    assert state.error_blocks.ravel().tolist() == pytest.approx([e / rms for e in errors], rel=1e-4, abs=1e-7)

    levels = [{round(float(v), 6) for v in row} for row in state.levels.values()]
    assert all(len(row) == state.codes.size for row in state.levels.values())
    assert all((np.diff(row) > 0).all() for row in state.levels.values())
    if settings.group == "tensor":
        assert {round(float(v), 6) for v in restored.ravel()} <= levels[0] and list(state.levels) == ["levels"]
    else:
        largest = int(np.argmax(quantized.scale))
        if settings.group == "row":
            assert {round(float(v), 6) for v in restored[largest]} <= levels[0]
        assert list(state.levels) == ["largest scale", "median scale", "smallest scale"]


def test_the_histogram_counts_every_weight_once():
    state = quantization_explorer.state(SMALL, Settings())
    largest = float(np.abs(SMALL).max())

    middles = [largest * (bin - 60) / 60 for bin in range(quantization_explorer.BINS)]
    counts = [0] * len(middles)
    for value in SMALL.ravel():
        counts[min(range(len(middles)), key=lambda bin: abs(middles[bin] - value))] += 1
    assert state.value_counts.tolist() == counts
    assert ((state.value_edges[:-1] + state.value_edges[1:]) / 2).tolist() == pytest.approx(middles, abs=1e-12)


@pytest.mark.parametrize(("shape", "block"), [((96, 128), (1, 1)), ((97, 129), (2, 2)), ((250, 700), (3, 6))])
def test_blocks_pool_by_root_mean_square_up_to_the_ragged_edge(shape, block):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    settings = Settings(bits=2, group="tensor")

    state = quantization_explorer.state(x, settings)

    difference = x - settings.quantize(x).dequantize()
    (height, width), rows = block, []
    for top in range(0, shape[0], height):
        pieces = (difference[top : top + height, left : left + width] for left in range(0, shape[1], width))
        rows.append([math.sqrt(sum(float(e) ** 2 for e in piece.ravel()) / piece.size) for piece in pieces])
    rms = math.sqrt(float((x.astype(np.float64) ** 2).mean()))
    assert state.block == block
    assert np.allclose(state.error_blocks, np.array(rows) / rms, rtol=1e-4)
    assert state.error_blocks.shape[0] <= 96 and state.error_blocks.shape[1] <= 128


def test_a_layer_of_zeros_has_a_state_and_a_figure():
    state = quantization_explorer.state(np.zeros((3, 8), np.float32), Settings())

    assert (state.max_error, state.rms_error, state.sqnr_db) == (0, 0, math.inf)
    assert not state.error_blocks.any()
    assert figures.quantization(state).to_json()


def test_numbers_are_written_out():
    x = np.array([[-7, 7, 3, 0.5]], np.float32)  # scale 1: levels are whole numbers, and only 0.5 is off, by 0.5

    state = quantization_explorer.state(x, Settings("q", bits=4, group="row"))

    # 4 codes of 4 bits and one scale of 16 are 4 bytes; codes -7, 7, 3, 1; 10 log10(107.25 / 0.25) = 26.3
    assert str(state) == (
        "q: symmetric, 4 bits, one scale for a row. 4 bytes, 8.00 bits per weight · max error 0.5 · RMS error 0.25 · "
        "SQNR 26.3 dB · 4 of 15 codes in use."
    )


@pytest.mark.parametrize("x", [np.ones(4), np.ones((2, 2, 2)), np.ones((0, 4))])
def test_what_is_no_matrix_is_refused(x):
    with pytest.raises(ValueError, match=r"wanted a matrix \(N, K\)"):
        quantization_explorer.state(x, Settings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "int4"}, "scheme is 'int4', wanted one of symmetric, asymmetric, nf4, ternary"),
        ({"bits": 5}, "bits is 5, wanted 2 or 3 or 4 or 8 for scheme 'symmetric'"),
        ({"scheme": "ternary", "bits": 2}, r"wanted 1.58 for scheme 'ternary'"),
    ],
)
def test_settings_that_do_not_exist_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_an_unknown_group_is_refused_by_quant():
    with pytest.raises(quant.QuantError, match="'column'"):
        quantization_explorer.state(SMALL, Settings(group="column"))


# ------------------------------------------------------------------------------------------------------------------
# QuantizationExplorer


def explorer(**options) -> QuantizationExplorer:
    return QuantizationExplorer({"small": SMALL, "large": RNG.standard_normal((8, 32))}, **options)


def test_the_view_draws_the_state_of_its_controls():
    view = explorer()

    view.layer.value, view.scheme.value, view.bits.value, view.group.value = "small", "asymmetric", 3, 16

    wanted = quantization_explorer.state(SMALL, Settings("small", "asymmetric", 3, 16))
    figure = view.plot.figure
    assert figure.layout.title.text == wanted.title == "small: asymmetric, 3 bits, one scale for 16 weights"
    assert figure.layout.title.subtitle.text == wanted.numbers
    assert np.array_equal(np.asarray(figure.data[3].z), np.asarray(figures.quantization(wanted).data[3].z))


def test_controls_that_do_not_apply_are_disabled():
    view = explorer()
    view.bits.value, view.group.value = 3, 64
    assert not view.bits.disabled and not view.group.disabled

    view.scheme.value = "nf4"
    assert view.bits.disabled and view.bits.value == 4 and view.group.value == 64
    assert view.state.settings == Settings("small", "nf4", 4, 64)

    view.scheme.value = "ternary"
    assert view.bits.disabled and view.bits.value == 1.58
    assert view.group.options == ("tensor", "row") and view.group.value == "row"
    assert view.state.settings == Settings("small", "ternary", 1.58, "row")

    view.scheme.value = "symmetric"
    assert not view.bits.disabled and view.bits.value in (2, 3, 4, 8)
    assert view.group.options == quantization_explorer.GROUPS and view.group.value == "row"


def test_each_move_draws_once(monkeypatch):
    view, drawn = explorer(), []
    real = quantization_explorer.figures.quantization
    monkeypatch.setattr(quantization_explorer.figures, "quantization", lambda s: drawn.append(s.settings) or real(s))

    view.bits.value = 8
    view.scheme.value = "ternary"  # moves bits and group with it

    assert drawn == [Settings("small", "symmetric", 8, "row"), Settings("small", "ternary", 1.58, "row")]


def test_without_a_function_there_is_no_button():
    assert all(not isinstance(control, ipywidgets.Button) for control in controls(explorer()))
    assert any(isinstance(control, ipywidgets.Button) for control in controls(explorer(perplexity=lambda s: 1.0)))


def test_a_measured_perplexity_becomes_a_point_and_a_row():
    asked = []
    view = explorer(perplexity=lambda settings: asked.append(settings) or 10.0 + len(asked), baseline=9.5)

    view.measure.click()
    view.scheme.value = "nf4"
    view.measure.click()

    assert asked == [Settings("small", "symmetric", 4, "row"), Settings("small", "nf4", 4, "row")]
    assert [point.perplexity for point in view.points] == [11.0, 12.0]
    drawn = {t.name: (t.x, t.y) for t in view.curve.figure.data if t.x}
    bits = 8 * (5 * 20 + 5 * 2) / 200  # 5 rows of 40 codes of 4 bits, and a scale of 2 bytes each
    assert drawn == {
        "symmetric": ((bits,), (11.0,)),
        "nf4": ((bits,), (12.0,)),
        "not quantized": ((0, 9), (9.5, 9.5)),
    }
    assert "NF4, one scale for a row" in view.table.value and "perplexity 12" in view.note.value
    assert view.curve in view.results.children


def test_measuring_the_same_settings_again_replaces_the_point():
    answers = iter([11.0, 12.0])
    view = explorer(perplexity=lambda settings: next(answers))

    view.measure.click()
    view.measure.click()

    assert [point.perplexity for point in view.points] == [12.0]


def test_while_it_measures_a_bar_moves_and_the_button_rests():
    seen = []
    view = explorer(perplexity=lambda settings: seen.append((view.note.value, view.measure.disabled)) or 1.0)

    view.measure.click()

    ((note, disabled),) = seen
    assert "<progress>" in note and disabled
    assert "<progress>" not in view.note.value and not view.measure.disabled


def test_an_interrupt_keeps_the_points_there_are():
    def perplexity(settings):
        if settings.bits == 8:
            raise KeyboardInterrupt
        return 12.0

    view = explorer(perplexity=perplexity)
    view.measure.click()
    view.bits.value = 8
    view.measure.click()

    assert [point.perplexity for point in view.points] == [12.0]
    assert "Interrupted. Points kept: 1." in view.note.value and not view.measure.disabled


def test_what_goes_wrong_in_a_callback_is_shown_and_goes_away():
    def perplexity(settings):
        raise RuntimeError("<b>out of memory</b>")

    view = explorer(perplexity=perplexity)
    view.measure.click()
    assert "QuantizationExplorer: RuntimeError: &lt;b&gt;out of memory" in view.trouble.value
    assert 'role="alert"' in view.trouble.value and not view.measure.disabled and view.points == []

    view.bits.value = 8
    assert view.trouble.value == ""


def test_a_layer_that_cannot_be_quantized_is_said_under_the_widget():
    view = QuantizationExplorer({"good": SMALL, "bad": np.full((2, 2), np.nan, np.float32)})

    view.layer.value = "bad"

    assert "QuantError" in view.trouble.value and "nan" in view.trouble.value


def test_a_large_layer_is_quantized_behind_a_bar(monkeypatch):
    view, shown = explorer(), []
    monkeypatch.setattr(quantization_explorer, "SMOOTH", SMALL.size)  # "large" has 256 weights, "small" 200
    real = quantization_explorer.state
    monkeypatch.setattr(
        quantization_explorer, "state", lambda x, settings: shown.append(view.text.value) or real(x, settings)
    )

    view.layer.value = "large"
    view.layer.value = "small"

    assert ["<progress>" in text for text in shown] == [True, False]
    assert view.text.value == ""


def test_no_tensors_are_refused():
    with pytest.raises(ValueError, match="tensors is empty"):
        QuantizationExplorer({})
    with pytest.raises(ValueError, match="models is empty"):
        MemoryBudget([])


# ------------------------------------------------------------------------------------------------------------------
# What every view keeps to

VIEWS = {
    "MemoryBudget": lambda: MemoryBudget(memory_bytes=8 * GB),
    "QuantizationExplorer": lambda: QuantizationExplorer(
        {"layer": RNG.standard_normal((576, 1536)).astype(np.float32)}, perplexity=lambda settings: 1.0
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_control_has_a_name(name):
    found = controls(VIEWS[name]())

    assert len(found) == 5
    assert all(control.description for control in found)


@pytest.mark.parametrize("widget", [MemoryBudget, QuantizationExplorer])
def test_an_unknown_keyword_is_refused(widget):
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        widget({"layer": SMALL}, colour="red")


@pytest.mark.parametrize("name", VIEWS)
def test_a_move_sends_one_figure_and_nothing_large_beside_it(name):
    view = VIEWS[name]()

    state = view.plot.get_state()
    assert state["figure"] == view.plot.figure.to_json() and len(state["figure"]) < 300_000
    assert len(str({key: value for key, value in state.items() if key != "figure"})) < 10_000


def test_plotly_comes_from_the_package_and_nothing_from_the_network():
    plot, sent = MemoryBudget(memory_bytes=8 * GB).plot, []
    plot.send = lambda content, buffers=None: sent.append((content, buffers))

    plot._handle_custom_msg("plotly.js", [])

    ((content, (source,)),) = sent
    assert content == "plotly.js" and b"plotly.js v" in source[:500]
    assert "http" not in plot._esm


def test_an_equal_figure_is_not_sent_again():
    view, sent = MemoryBudget(memory_bytes=8 * GB), []
    view.plot.observe(sent.append, "figure")

    view.plot.figure = go.Figure(view.plot.figure)
    assert sent == []

    view.tokens.value = 512
    assert len(sent) == 1
