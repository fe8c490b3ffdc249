"""Bytes of packed matrices: one under the glass, and whole files by what they hold."""

from collections.abc import Mapping

import plotly.graph_objects as go

from .style import BLUE, GREEN, INK, NAMES, ORANGE, PURPLE, SKY, VERMILLION, number, width

FIELD_COLORS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
COLUMNS = ("field", "row", "column", "digit", "weight", "x", "adds", "to a sum of")  # of the table of weights
SCALE = SKY  # of the bytes of scales


def bit_inspector(state) -> go.Figure:
    """One byte among its neighbours, its bits and weights, where they stand in the matrix, and what they add.

    state: widgets.bit_inspector.State
    """
    N, K = state.packed.layer.codes.shape
    rows = list(state.sums)
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": 700,
        "margin": {"l": 64, "r": 20, "t": 116, "b": 52},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,  # a click on a byte chooses it
        **_page_axes(state),
        "shapes": [_frame(state), *_scales(state)],
        "xaxis2": {"domain": [0, 1], "anchor": "y2", "range": [-0.7, 17.2], **HIDDEN},
        "yaxis2": {"domain": [0.36, 0.62], "range": [5.3, -0.9], **HIDDEN},
        "xaxis3": {"domain": [0, 0.36], "anchor": "y3", "range": [-0.02 * K, 1.02 * K], "title": {"text": "column"}},
        "yaxis3": {"domain": [0, 0.27], "anchor": "x3", "range": [1.03 * N, -0.03 * N], "title": {"text": "row"}},
        "xaxis4": {"domain": [0.5, 1], "anchor": "y4", "title": {"text": f"byte of {_rows(rows)}, as it lies there"}},
        "yaxis4": {"domain": [0, 0.27], "anchor": "x4", "title": {"text": "sum so far"}},
        "annotations": [
            _heading(
                0, 0.29, "where its weights stand in the matrix" if state.block is None else "the weights it scales"
            ),
            _heading(0.5, 0.29, "the sum of code times x, and the step that this byte adds"),
            _heading(0, 0.645, f"the byte: {state.reading}"),
        ],
    }
    return go.Figure({"data": [_page(state), *_byte(state), *_matrix(state), *_sums(state)], "layout": layout})


def file_bars(
    files: Mapping[str, Mapping[str, float]], title: str, line_at: tuple[str, float] | None = None
) -> go.Figure:
    """Bytes of files, a bar each, first on top, stacked by what they hold; the total at its end.

    files: name -> {part: bytes}; all have the same parts. line_at: a name and bytes, drawn as a dashed line.
    """
    parts = list(dict.fromkeys(part for sizes in files.values() for part in sizes))
    patterns = ("", "/", "x", ".")
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": list(files),
            "x": [sizes.get(part, 0) / 1e9 for sizes in files.values()],
            "marker": {
                "color": FIELD_COLORS[index % len(FIELD_COLORS)],
                "line": {"color": INK, "width": 1},
                "pattern": {"shape": patterns[index % len(patterns)], "fillmode": "overlay", "fgcolor": "white"},
            },
            "hovertemplate": f"%{{y}}, {part}: %{{x:.3f}} GB<extra></extra>",
        }
        for index, part in enumerate(parts)
    ]
    totals = [sum(sizes.values()) / 1e9 for sizes in files.values()]
    layout = {
        "template": "slmlab",
        "barmode": "stack",
        "bargap": 0.35,
        "title": {"text": title},
        "height": 170 + 36 * len(files),
        "margin": {"l": width(files), "t": 96},
        "legend": {"traceorder": "normal"},
        "xaxis": {"title": {"text": "GB (10⁹ bytes)"}, "range": [0, 1.15 * max(totals)]},
        "yaxis": NAMES,
        "annotations": [
            {"x": total, "y": name, "text": f" {number(total)} GB", "xanchor": "left", "showarrow": False}
            for name, total in zip(files, totals, strict=True)
        ],
    }
    if line_at is not None:
        name, size = line_at
        look = {"color": INK, "dash": "dash", "width": 2}
        ends = {"x0": size / 1e9, "x1": size / 1e9, "y0": 0, "y1": 1, "yref": "paper"}
        layout["shapes"] = [{"type": "line", **ends, "line": look}]
        bars.append({"type": "scatter", "mode": "lines", "name": name, "x": [None], "y": [None], "line": look})
    return go.Figure({"data": bars, "layout": layout})


# ----------------------------------------------------------------------------------------------------------------------
# Parts of bit_inspector

HIDDEN = {"visible": False}  # it measures nothing: boxes and a table


def _heading(x: float, y: float, text: str) -> dict:
    place = {"x": x, "xref": "paper", "xanchor": "left", "y": y, "yref": "paper", "yanchor": "bottom"}
    return {**place, "text": f"<b>{text}</b>", "showarrow": False}


def _rows(rows: list[int]) -> str:
    return "a row" if not rows else f"row {rows[0]}" if len(rows) == 1 else f"rows {', '.join(map(str, rows))}"


def _page_axes(state) -> dict:
    (first_line, first_byte), (lines, bytes_) = state.page_at, state.page.shape
    return {
        "xaxis": {
            **{"domain": [0, 1], "anchor": "y", "side": "top", "range": [-0.6, 21.6], "showgrid": False, "ticks": ""},
            **{"showline": False, "tickvals": list(range(0, bytes_, 2)), "title": {"text": "byte", "standoff": 4}},
            "ticktext": [str(first_byte + place) for place in range(0, bytes_, 2)],
        },
        "yaxis": {
            **{"domain": [0.7, 1], "range": [7.6, -0.6], "showgrid": False, "ticks": "", "showline": False},
            **{"tickvals": list(range(lines)), "title": {"text": "line"}},
            "ticktext": [str(first_line + place) for place in range(lines)],
        },
    }


def _frame(state) -> dict:
    """Around the chosen byte."""
    across, down = state.byte - state.page_at[1], state.line - state.page_at[0]
    ends = {"x0": across - 0.48, "x1": across + 0.48, "y0": down - 0.5, "y1": down + 0.5}
    return {"type": "rect", **ends, "line": {"color": INK, "width": 2.5}}


def _scales(state) -> list[dict]:
    """Behind the bytes of scales: a line has them all at the same places."""
    look = {"y0": -0.5, "y1": len(state.page) - 0.5, "fillcolor": SCALE, "line": {"width": 0}, "layer": "below"}
    return [
        {"type": "rect", "x0": place - 0.4, "x1": place + 0.4, **look}
        for place, is_scale in enumerate(state.page_kinds[0])
        if is_scale
    ]


def _page(state) -> dict:
    """The bytes around the chosen one as hexadecimal numbers. It is the first trace: a click tells its point."""
    (first_line, first_byte), (lines, bytes_) = state.page_at, state.page.shape
    cells = [(line, byte) for line in range(lines) for byte in range(bytes_)]
    chosen = [(first_line + line, first_byte + byte) == (state.line, state.byte) for line, byte in cells]
    scale = [bool(state.page_kinds[cell]) for cell in cells]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [byte for _, byte in cells],
        "y": [line for line, _ in cells],
        "text": [
            f"<b>{state.page[cell]:02x}</b>"
            if is_chosen
            else f"<i>{state.page[cell]:02x}</i>"
            if is_scale
            else f"{state.page[cell]:02x}"
            for cell, is_chosen, is_scale in zip(cells, chosen, scale, strict=True)
        ],
        "textfont": {"family": "DejaVu Sans Mono, Consolas, monospace", "size": 13},
        "customdata": [
            f"line {first_line + line}, byte {first_byte + byte}" + ", of a scale" * is_scale
            for (line, byte), is_scale in zip(cells, scale, strict=True)
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _byte(state) -> list[dict]:
    """Its eight bits, and a table of the weights that they hold."""
    bits = f"{state.value:08b}"
    two_bits = state.packed.format in ("Hugging Face", "GGUF TQ2_0", "2bit") and state.weights
    colors = [FIELD_COLORS[(7 - place) // 2] if two_bits else INK for place in range(8)]
    boxes = {
        "type": "scatter",
        "mode": "markers+text",
        "xaxis": "x2",
        "yaxis": "y2",
        "x": [0.64 * place for place in range(8)],
        "y": [1.6] * 8,
        "text": [f"<b>{bit}</b>" for bit in bits],
        "textfont": {"family": "DejaVu Sans Mono, Consolas, monospace", "size": 17},
        "marker": {"symbol": "square", "size": 27, "color": "white", "line": {"color": colors, "width": 2.5}},
        "hoverinfo": "skip",
    }
    names = {
        "type": "scatter",
        "mode": "text",
        "xaxis": "x2",
        "yaxis": "y2",
        "x": [0.64 * place for place in range(8)],
        "y": [2.8] * 8,
        "text": [f"bit {7 - place}" for place in range(8)],
        "textfont": {"size": 12},
        "hoverinfo": "skip",
    }
    return [boxes, names, *_weights(state)]


def _weights(state) -> list[dict]:
    cells: list[tuple[float, float, str]] = []
    places = [6.2, 7.5, 8.9, 10.2, 11.7, 13.2, 14.4, 16.1]
    if state.weights:
        cells += [(x, -0.4, f"<b>{name}</b>") for x, name in zip(places, COLUMNS, strict=True)]
    for field, weight in enumerate(state.weights):
        row = [str(field), "fills up", "", str(weight.digit), "", "", "", ""]
        if weight.row is not None:
            row[1:3] = str(weight.row), str(weight.column)
            product = f"{weight.code * state.packed.scale:+.4g}" if weight.code else "0"
            adds = f"{weight.part:+}" if weight.part else "0"
            row[4:] = product, str(weight.x), adds, f"{state.packed.y[weight.row]:,}"
        cells += [(x, 0.7 + field, text) for x, text in zip(places, row, strict=True)]
    table = {
        "type": "scatter",
        "mode": "text",
        "xaxis": "x2",
        "yaxis": "y2",
        "x": [x for x, _, _ in cells],
        "y": [y for _, y, _ in cells],
        "text": [text for _, _, text in cells],
        "hoverinfo": "skip",
    }
    marks = {
        "type": "scatter",
        "mode": "markers",
        "xaxis": "x2",
        "yaxis": "y2",
        "x": [5.5] * len(state.weights),
        "y": [0.7 + field for field in range(len(state.weights))],
        "marker": _markers(range(len(state.weights)), 10),
        "hoverinfo": "skip",
    }
    return [table, marks]


def _markers(fields, size: float) -> dict:
    return {
        "color": [FIELD_COLORS[field] for field in fields],
        "symbol": [SYMBOLS[field] for field in fields],
        "size": size,
        "line": {"color": INK, "width": 1},
    }


def _matrix(state) -> list[dict]:
    """The weights as points of the (N, K) plane."""
    N, K = state.packed.layer.codes.shape
    outline = {"type": "scatter", "mode": "lines", "x": [0, K, K, 0, 0], "y": [0, 0, N, N, 0], "xaxis": "x3"}
    outline |= {"yaxis": "y3", "line": {"color": INK, "width": 1}, "hoverinfo": "skip"}
    there = [(field, weight) for field, weight in enumerate(state.weights) if weight.row is not None]
    points = {
        "type": "scatter",
        "mode": "markers",
        "xaxis": "x3",
        "yaxis": "y3",
        "x": [weight.column + 0.5 for _, weight in there],
        "y": [weight.row + 0.5 for _, weight in there],
        "marker": _markers([field for field, _ in there], 11),
        "cliponaxis": False,
        "customdata": [f"field {field}: row {weight.row}, column {weight.column}" for field, weight in there],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if state.block is None:
        return [outline, points]
    ends = {"x": list(state.block), "y": [state.line + 0.5] * 2, "line": {"color": SCALE, "width": 6}}
    block = {"type": "scatter", "mode": "lines", "xaxis": "x3", "yaxis": "y3", **ends, "hoverinfo": "skip"}
    return [outline, block]


def _sums(state) -> list[dict]:
    """The running sum of each row that the byte has a weight of, and where the byte stands."""
    traces = []
    for index, (row, sums) in enumerate(state.sums.items()):
        color, symbol = (FIELD_COLORS[index], SYMBOLS[index]) if len(state.sums) > 1 else (INK, "diamond")
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "xaxis": "x4",
                "yaxis": "y4",
                "y": sums,
                "line": {"color": color, "dash": DASHES[index], "width": 1.5, "shape": "hv"},
                "hovertemplate": f"row {row}, after byte %{{x}}: %{{y:,}}<extra></extra>",
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "xaxis": "x4",
                "yaxis": "y4",
                "x": [state.at],
                "y": [sums[state.at]],
                "marker": {"color": color, "symbol": symbol, "size": 11, "line": {"color": INK, "width": 1}},
                "hovertemplate": f"this byte, row {row}: %{{y:,}}<extra></extra>",
            }
        )
    return traces
