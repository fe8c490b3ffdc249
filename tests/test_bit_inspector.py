"""BitInspector: what a byte holds, against flipping weights one by one; its sums, its figure, its view."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest

from slmlab import figures
from slmlab.widgets import BitInspector, bit_inspector
from slmlab.widgets.bit_inspector import NAMES, Layer

SHAPES = {"Hugging Face": (36, 50), "GGUF TQ2_0": (5, 512), "GGUF TQ1_0": (5, 512), "2bit": (35, 50), "base3": (35, 50)}


def layer_of(N, K, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 2, (N, K), dtype=np.int8)
    return Layer(codes, 0.25, rng.integers(-128, 128, K, dtype=np.int8))


@pytest.fixture(params=NAMES)
def packed(request):
    return bit_inspector.pack("it", layer_of(*SHAPES[request.param]), request.param)


def every_byte(packed):
    lines, width = packed.lines.shape
    return [bit_inspector.state(packed, line, byte) for line in range(lines) for byte in range(width)]


def test_every_weight_stands_in_one_byte_with_its_own_code(packed):
    found = np.full(packed.layer.codes.shape, 9)
    for state in every_byte(packed):
        for weight in state.weights:
            if weight.row is not None:
                assert found[weight.row, weight.column] == 9
                found[weight.row, weight.column] = weight.code

    assert np.array_equal(found, packed.layer.codes)


def test_another_code_changes_the_byte_that_is_said_to_hold_it_and_no_other(packed):
    layer = packed.layer
    for seed in range(40):
        row, column = (int(np.random.default_rng(seed).integers(size)) for size in layer.codes.shape)
        changed = layer.codes.copy()
        changed[row, column] = (changed[row, column] + 2) % 3 - 1
        ((line, byte),) = np.argwhere(
            bit_inspector.pack("it", Layer(changed, layer.scale, layer.x), packed.format).lines != packed.lines
        )
        holds = [(weight.row, weight.column) for weight in bit_inspector.state(packed, line, byte).weights]
        assert (row, column) in holds


def test_the_parts_of_all_bytes_add_up_to_the_kernels_result(packed):
    totals = np.zeros(packed.layer.codes.shape[0], int)
    for state in every_byte(packed):
        for weight in state.weights:
            if weight.row is not None:
                totals[weight.row] += weight.part

    assert totals.tolist() == packed.y.tolist()
    assert packed.y.tolist() == (packed.layer.codes.astype(int) @ packed.layer.x).tolist()


def test_a_running_sum_steps_by_the_part_of_the_byte_and_ends_at_the_kernels_result(packed):
    for state in every_byte(packed)[::7]:
        for row, sums in state.sums.items():
            part = sum(weight.part for weight in state.weights if weight.row == row)
            assert sums[state.at] - (sums[state.at - 1] if state.at else 0) == part
            assert sums[-1] == packed.y[row]


def test_a_bytes_bits_are_read_as_the_formats_drawings_say():
    codes = np.array([[1, -1, 0, 1, -1]], np.int8)  # the example of cython_kernels/README.md
    x = np.zeros(5, np.int8)

    base3 = bit_inspector.state(bit_inspector.pack("it", Layer(codes, 1.0, x), "base3"), 0, 0)
    two = bit_inspector.state(bit_inspector.pack("it", Layer(codes, 1.0, x), "2bit"), 0, 0)

    assert base3.value == 0x66 and base3.reading == "102 = 64 c4 + v, so c4 = 1 and v = 38 = 2·1 + 0·3 + 1·9 + 1·27"
    assert [weight.column for weight in base3.weights] == [0, 4, None, None, None]
    assert two.value == 0x52 and two.reading.endswith("10 00 01 01")


def test_a_scales_bytes_hold_no_weights_and_say_what_they_scale():
    packed = bit_inspector.pack("it", layer_of(2, 512), "GGUF TQ1_0")

    state = bit_inspector.state(packed, 1, 54 + 53)

    assert (state.weights, state.sums, state.block) == ((), {}, (256, 512))
    assert "d = 0.25" in state.reading and "multiplies" in str(state)
    assert state.page_kinds.sum() == 2 * len(state.page)


def test_gguf_keeps_the_scale_as_float16_and_its_blocks_want_rows_of_256():
    wide, narrow = layer_of(2, 256), layer_of(2, 255)
    third = Layer(wide.codes, 1 / 3, wide.x)

    assert bit_inspector.pack("it", third, "GGUF TQ2_0").scale == float(np.float16(1 / 3)) != 1 / 3
    assert bit_inspector.formats(narrow.codes) == ("Hugging Face", "2bit", "base3")
    with pytest.raises(ValueError, match="wanted one of Hugging Face, 2bit, base3 for 255 columns"):
        bit_inspector.pack("it", narrow, "GGUF TQ2_0")


def test_bytes_that_only_fill_up_say_so():
    packed = bit_inspector.pack("it", layer_of(3, 5), "base3")  # of a panel of 32 rows the first three

    state = bit_inspector.state(packed, 1, 8)

    assert all(weight.row is None for weight in state.weights) and len(state.weights) == 5
    assert "only fills up" in str(state)


def test_a_byte_that_is_not_there_is_told():
    packed = bit_inspector.pack("it", layer_of(8, 5), "Hugging Face")

    with pytest.raises(IndexError, match="byte 5 of line 1 came, wanted bytes 0 to 4 of lines 0 to 1"):
        bit_inspector.state(packed, 1, 5)


def test_the_figure_shows_the_bytes_of_the_page_the_bits_and_the_places(packed):
    state = bit_inspector.state(packed, 1, 2)
    page, bits, _, table, *_ = (figure := figures.bit_inspector(state)).data

    assert isinstance(figure, go.Figure)
    assert [re.sub("<.*?>", "", text) for text in page.text] == [f"{value:02x}" for value in state.page.ravel()]
    chosen = page.text.index(f"<b>{state.value:02x}</b>")
    frame, *scales = figure.layout.shapes
    assert len(scales) == state.page_kinds[0].sum()
    assert (frame.x0 < page.x[chosen] < frame.x1) and (frame.y0 < page.y[chosen] < frame.y1)
    assert re.sub("<.*?>", "", "".join(bits.text)) == f"{state.value:08b}"
    assert "adds" in " ".join(table.text)


def test_file_bars_stack_parts_and_tell_totals():
    files = {"a": {"x": 1e9, "y": 5e8}, "b": {"x": 2e9, "y": 0.0}}

    figure = figures.file_bars(files, "files", ("claimed", 4e8))

    assert [(trace.name, trace.x) for trace in figure.data[:2]] == [("x", (1.0, 2.0)), ("y", (0.5, 0.0))]
    assert [note.text.strip() for note in figure.layout.annotations] == ["1.50 GB", "2.00 GB"]
    assert figure.data[2].name == "claimed" and figure.layout.shapes[0].x0 == 0.4


# ----------------------------------------------------------------------------------------------------------------------
# The view


@pytest.fixture
def view():
    view = BitInspector({"wide": layer_of(64, 512), "narrow": layer_of(8, 5, seed=1)})
    assert not view.trouble.value
    return view


def test_the_view_starts_at_the_first_byte_and_follows_its_controls(view):
    assert (view.state.line, view.state.byte) == (0, 0)
    assert tuple(view.format.options) == NAMES

    view.format.value = "GGUF TQ1_0"
    view.line.value, view.byte.value = 63, 107

    assert view.state.title == f"wide in GGUF TQ1_0: byte 107 of line 63 is {view.state.value:#04x}"
    assert view.plot.figure.layout.title.text == view.state.title


def test_a_smaller_matrix_keeps_the_choice_inside_it(view):
    view.format.value = "GGUF TQ1_0"
    view.line.value, view.byte.value = 63, 107
    view.layer.value = "narrow"

    assert tuple(view.format.options) == ("Hugging Face", "2bit", "base3")
    assert view.format.value == "Hugging Face"
    assert (view.state.line, view.state.byte) == (1, 4)
    assert not view.trouble.value


def test_a_click_chooses_the_byte_and_a_second_one_at_the_same_place_too(view):
    view.line.value, view.byte.value = 9, 30  # the page begins at line 8, byte 22
    view.plot.pointed = 2 * 22 + 3

    assert (view.line.value, view.byte.value) == (10, 25)
    assert (view.state.line, view.state.byte) == (10, 25)

    view.byte.value = 100
    view.plot.pointed = 2 * 22 + 3
    assert (view.line.value, view.byte.value) == (10, 91)


def test_without_layers_there_is_no_view():
    with pytest.raises(ValueError, match="layers is empty"):
        BitInspector({})
