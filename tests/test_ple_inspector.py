"""PLEInspector: its state against sums by hand, its figure, and its view by moving the controls."""

import pytest

from slmlab import catalog, figures, ple
from slmlab.ple import LEFT_OUT, Choice
from slmlab.widgets import PLEInspector, ple_inspector

GIB = 2**30
EVERYTHING = dict.fromkeys(ple.COMPONENTS, Choice("accelerator"))
TRACE = [("What", 100), (" is", 7), (" is", 7), (" up", 262_143)]


def stack(state, pool):
    return sum(state.stacks[pool].values())


def test_stacks_hold_every_byte_of_the_checkpoint_and_its_cache():
    model = catalog.get("Gemma 3n E2B")
    state = ple_inspector.state(model, EVERYTHING, 1000, 8, "laptop with a GPU")

    assert stack(state, "GPU memory") == 2 * 5_439_595_456 + catalog.kv_cache_bytes(model, 1000, 8)
    assert stack(state, "RAM") == stack(state, "disk") == 0
    assert state.stacks["GPU memory"]["encoders"] == 2 * 983_438_688
    assert state.stacks["GPU memory"]["per-layer table"] == 262_144 * 30 * 256 * 2


@pytest.mark.parametrize("model", ple_inspector.MODELS)
@pytest.mark.parametrize("device", ple_inspector.DEVICES)
def test_the_stacks_of_any_device_add_up_to_the_ledger(model, device):
    state = ple_inspector.state(model, tokens=2000, device=device)

    assert list(state.stacks) == [*ple_inspector.DEVICES[device].memories, "disk"]
    assert sum(stack(state, pool) for pool in state.stacks) == state.ledger.bytes
    assert "encoders" not in {name for parts in state.stacks.values() for name in parts}
    assert set(state.stacks["disk"]) == {"per-layer table"}


def test_on_a_phone_the_accelerators_memory_is_the_ram():
    apart = ple_inspector.state("Gemma 3n E2B", EVERYTHING | {"per-layer table": Choice("RAM")}, device="phone")
    together = ple_inspector.state("Gemma 3n E2B", EVERYTHING, device="phone")

    assert apart.stacks == together.stacks
    assert "the same memory" in str(apart) and "the same memory" not in str(
        ple_inspector.state("Gemma 3n E2B", device="laptop with a GPU")
    )


def test_a_token_reads_the_decoder_the_head_one_row_and_the_cache():
    model = catalog.get("Gemma 3n E2B")
    choices = EVERYTHING | {"per-layer table": Choice("disk", 8), "encoders": Choice(LEFT_OUT)}
    state = ple_inspector.state(model, choices, 1000, device="laptop with a GPU")

    unread = 10 * 2 * 2048 * 512  # ten layers' projections of keys and values
    matrices = 1_905_495_648 - unread + 262_400 * 2048
    assert state.read_bytes["GPU memory"] == 2 * matrices + catalog.kv_cache_bytes(model, 1000)
    assert state.read_bytes["disk"] == 30 * 256 == state.row_bytes
    assert state.read_bytes["RAM"] == 0


@pytest.mark.parametrize(
    ("model", "bits", "row", "row_bytes"),
    [("Gemma 3n E2B", 16, 7, 15_360), ("Gemma 3n E4B", 16, 0, 17_920), ("Gemma 4 E2B", 4, 5, 4480)],
)
def test_pages_are_counted_by_the_bytes_of_the_row(model, bits, row, row_bytes):
    choices = ple_inspector.PUBLISHED | {"per-layer table": Choice("disk", bits)}
    state = ple_inspector.state(model, choices, trace=[("a", row)])

    assert state.row_bytes == row_bytes
    assert state.pages == len({(row * row_bytes + byte) // ple.PAGE_BYTES for byte in range(row_bytes)})


def test_it_says_what_does_not_fit_and_by_how_much():
    state = ple_inspector.state("Gemma 3n E2B", EVERYTHING, 512, device="laptop with a GPU")
    too_much = stack(state, "GPU memory") - 8 * GIB
    assert state.too_much == {"GPU memory": too_much} and str(state).startswith("It does not fit: GPU memory lacks 2.")
    assert str(ple_inspector.state("Gemma 3n E2B")).startswith("It fits. A token reads 2.19 GB")


def test_a_context_ends_where_the_models_does():
    assert ple_inspector.state("Gemma 3n E2B", tokens=10**6).tokens == 32_768


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="device is 'toaster', wanted one of laptop with a GPU, phone, Pi 5"):
        ple_inspector.state("Gemma 3n E2B", device="toaster")
    with pytest.raises(ValueError, match="the trace has row 262144, wanted 0 to 262143"):
        ple_inspector.state("Gemma 3n E2B", trace=[("a", 262_144)])
    with pytest.raises(catalog.CatalogError, match="no per-layer embeddings"):
        ple_inspector.state("Qwen3-8B")


def test_this_machine_has_an_accelerator_where_it_is_told_so():
    assert set(ple_inspector.this_machine().memories) == {"RAM, no accelerator"}
    assert ple_inspector.this_machine(24 * GIB).memories["accelerator"] == 24 * GIB


def test_the_figure_draws_the_stacks_the_memories_and_the_rows():
    state = ple_inspector.state("Gemma 3n E2B", device="laptop with a GPU", trace=TRACE)
    figure = figures.ple_inspector(state)

    bars = {trace.name: list(trace.x) for trace in figure.data if trace.type == "bar"}
    assert bars["per-layer table"] == [0, 0, 262_144 * 30 * 256 * 2 / 1e9]
    assert bars["decoder"][0] == state.stacks["GPU memory"]["decoder"] / 1e9
    marks = {trace.name: trace for trace in figure.data if trace.type == "scatter"}
    assert list(marks["end of the memory"].x) == [8 * GIB / 1e9]  # 16 GiB are far beyond the bars
    assert list(marks["rows read before (2)"].x) == [7, 100]
    assert list(marks["row of this token"].x) == [262_143]
    assert (
        marks["row of this token"].text[0].split("<br>")[0].strip()
        == "' up': row 262,143, bytes 4,026,516,480 to 4,026,531,839"
    )


def test_without_a_text_no_rows_are_drawn():
    figure = figures.ple_inspector(ple_inspector.state("Gemma 4 E4B"))
    assert "row of this token" not in [trace.name for trace in figure.data]


def test_the_view_draws_what_its_controls_say():
    view = PLEInspector(TRACE, accelerator_bytes=4 * GIB)
    view.model.value, view.device.value = "Gemma 3n E4B", "this machine"
    view.place["per-layer table"].value, view.bits["decoder"].value = "RAM", 16
    view.tokens.value, view.kv_bits.value, view.token.value = 8192, 8, 2

    choices = ple_inspector.PUBLISHED | {"per-layer table": Choice("RAM"), "decoder": Choice("accelerator", 16)}
    devices = {"this machine": ple_inspector.this_machine(4 * GIB)}
    wanted = ple_inspector.state("Gemma 3n E4B", choices, 8192, 8, "this machine", TRACE, 1, devices)
    assert view.state.stacks == wanted.stacks and view.state.at == 1
    assert view.plot.figure.layout.title.text == wanted.title
    assert str(wanted).split(".")[0] in view.text.value and not view.trouble.value


def test_every_control_has_a_name_and_every_choice_can_be_drawn():
    view = PLEInspector(TRACE)
    for control in (view.model, view.device, *view.place.values(), *view.bits.values(), view.tokens, view.kv_bits):
        assert control.description
        for _, value in [(option, option) if isinstance(option, str) else option for option in view.model.options]:
            view.model.value = value
    for name in ple.COMPONENTS:
        for place in view.place[name].options:
            view.place[name].value = place
            assert not view.trouble.value
