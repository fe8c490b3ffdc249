"""Where the parts of a model lie, and which rows of its per-layer table were read."""

import plotly.graph_objects as go

from slmlab.ledger import format_bytes

from .style import BLUE, INK, LETTER, NAMES, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, number, width

PARTS = {  # colour, pattern, and what is written on it
    "decoder": (BLUE, "", "white"),
    "token embedding": (ORANGE, "", INK),
    "per-layer table": (YELLOW, ".", INK),
    "encoders": (PURPLE, "\\", INK),
    "KV cache": (VERMILLION, "/", INK),
}
PLOT_PX = 640  # width of the plot that labels are cut to
OFF = 3  # memories larger than so many times the largest stack are not drawn, but named


def ple_inspector(state) -> go.Figure:
    """A stacked bar for each memory of a device, and for the disk, with the size of each memory; below them the rows
    of the per-layer table that a text has read.

    state: widgets.ple_inspector.State
    """
    pools = list(state.stacks)
    totals = {pool: sum(parts.values()) for pool, parts in state.stacks.items()}
    sizes = state.device.memories
    largest = max(totals.values())
    shown = [size for size in sizes.values() if size <= OFF * largest]
    end = 1.04 * max([largest, *shown]) / 1e9
    left, with_rows = width(pools), bool(state.trace)
    traces = [*_bars(state, pools, end), _edges(sizes, end)]
    if with_rows:
        traces += _rows(state)
    bars_height, rows_height = 20 + 62 * len(pools), 128 if with_rows else 0  # px, with their axes
    margin = {"b": 128, "l": left, "r": 24, "t": 52}
    inner = bars_height + rows_height
    layout = {
        "template": "slmlab",
        "title": {"text": state.title},
        "barmode": "stack",
        "bargap": 0.5,
        "height": inner + margin["b"] + margin["t"],
        "margin": margin,
        "legend": {
            **{"entrywidth": 138, "traceorder": "normal"},
            **{"xref": "container", "x": 0.02, "yref": "container", "y": 0.01, "yanchor": "bottom"},
        },
        "xaxis": {"title": {"text": "GB (10⁹ bytes)"}, "range": [0, end], "anchor": "y"},
        "yaxis": NAMES
        | {"categoryarray": pools, "categoryorder": "array", "domain": [rows_height / inner, 1]}
        | {"range": [len(pools) - 0.5, -0.62], "autorange": False},
        "annotations": [_told(state, pool, totals[pool]) for pool in pools],
    }
    if with_rows:
        layout["xaxis2"] = {
            "anchor": "y2",
            "range": [-0.01 * state.table_rows, 1.01 * state.table_rows],
            "title": {"text": f"row of the per-layer table: {state.table_rows:,} rows of {state.row_bytes:,} bytes"},
        }
        layout["yaxis2"] = {
            "anchor": "x2",
            "domain": [0, 56 / inner],
            "range": [-1, 1],
            "title": {"text": "height of the marks"},
            "visible": False,
        }
    return go.Figure({"data": traces, "layout": layout})


def _bars(state, pools: list[str], end: float) -> list[dict]:
    bars = []
    for name, (color, pattern, ink) in PARTS.items():
        sizes = [state.stacks[pool].get(name, 0) for pool in pools]
        if not any(sizes):
            continue
        fitting = [LETTER * len(name) < size / 1e9 / end * PLOT_PX for size in sizes]
        bars.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": [size / 1e9 for size in sizes],
                "y": pools,
                "text": [name if fits else "" for fits in fitting],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "insidetextfont": {"color": ink},
                "textangle": 0,
                "constraintext": "none",
                "marker": {
                    "color": color,
                    "line": {"color": "white", "width": 1},
                    "pattern": {"bgcolor": color, "fgcolor": "white", "shape": pattern, "size": 7, "solidity": 0.2},
                },
                "customdata": [format_bytes(size) for size in sizes],
                "hovertemplate": "%{y}<br>" + name + ": %{customdata}<extra></extra>",
            }
        )
    return bars


def _edges(sizes, end: float) -> dict:
    """Where each memory ends."""
    drawn = {pool: size / 1e9 for pool, size in sizes.items() if size / 1e9 <= end}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "end of the memory",
        "x": list(drawn.values()) or [None],
        "y": list(drawn) or [None],
        "marker": {"color": INK, "line": {"color": INK, "width": 3}, "size": 34, "symbol": "line-ns-open"},
        "hovertemplate": "%{y} ends at %{x:.3~g} GB<extra></extra>",
    }


def _told(state, pool: str, total: int) -> dict:
    """What a bar holds, above it: its total, and the memory that there is."""
    size = state.device.memories.get(pool)
    text = f"<b>{number(total / 1e9)} GB</b>"
    if size:
        text += f" of {number(size / 1e9)} GB ({size / 2**30:.3g} GiB)"
    if pool in state.too_much:
        text += ", <b>too much</b>"
    return {
        **{"x": 0, "y": pool, "xanchor": "left", "yshift": 24, "showarrow": False, "text": text},
        "font": {"color": INK, "size": 12},
    }


def _rows(state) -> list[dict]:
    """Rows read by the tokens up to the one that is looked at, and that one."""
    text, row = state.trace[state.at]
    before = sorted({row for _, row in state.trace[: state.at]})
    first = row * state.row_bytes
    name = f"{text!r}: row {row:,}, bytes {first:,} to {first + state.row_bytes - 1:,}"
    middle = row > state.table_rows / 2
    shared = {"type": "scatter", "xaxis": "x2", "yaxis": "y2"}
    return [
        {
            **shared,
            "mode": "markers",
            "name": f"rows read before ({len(before):,})",
            "x": before or [None],
            "y": [-0.6] * max(len(before), 1),
            "marker": {"color": SKY, "line": {"color": INK, "width": 1.5}, "size": 16, "symbol": "line-ns-open"},
            "hovertemplate": "row %{x:,}<extra></extra>",
        },
        {
            **shared,
            "mode": "markers+text",
            "name": "row of this token",
            "x": [row],
            "y": [-0.6],
            "text": [f"  {name}  <br> "],
            "textposition": "top left" if middle else "top right",
            "cliponaxis": False,
            "marker": {"color": VERMILLION, "line": {"color": INK, "width": 1}, "size": 13, "symbol": "diamond"},
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
