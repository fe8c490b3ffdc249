"""Races of kernels: the ladder of rungs under the read limit, and the roofline.

rows are those of cython_kernels.bench (bench.Row). A contender's name is "format/backend" everywhere.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from .style import BLUE, INK, NAMES, ORANGE, SKY, VERMILLION, number, width

STYLES = {  # colour and symbol
    "16 or 32 bits": (ORANGE, "square"),
    "ternary": (BLUE, "circle"),
    "chosen": (VERMILLION, "diamond"),
}
DECADES = [10.0**power for power in range(-5, 6)]
HALF_DECADES = sorted([*DECADES, *(3 * decade for decade in DECADES)])


def ladder(
    rows: Iterable, chosen: str | None = None, published: tuple[float, float] | None = None, title: str = ""
) -> go.Figure:
    """Multiply-accumulates per second of each contender, and a tick where its own bytes meet the read limit.

    rows: in the order of the figure, first on top; reading alone is left out
    chosen: the name of the contender that stands out
    published: speed-ups over fp16 from and to, a band from the fastest 16-bit row
    """
    rows = [row for row in rows if row.macs]
    rungs = _rungs(rows, chosen)
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 166 + 30 * len(rows),
        "margin": {"l": width(map(_label, rows)), "r": 24, "t": 100},
        "xaxis": _rate_axis(rows),
        "yaxis": _names(rows),
        "showlegend": True,
    }
    sixteen = [row.gmac_per_s for row in rows if row.format in ("fp16", "bf16")]
    if published and sixteen:
        low, high = (bound * max(sixteen) for bound in published)
        ends = {"x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "paper"}
        layout["shapes"] = [
            {"type": "rect", **ends, "fillcolor": SKY, "opacity": 0.25, "line": {"width": 0}, "layer": "below"}
        ]
        band = {"color": SKY, "opacity": 0.4, "size": 15, "symbol": "square"}
        name = f"published: {published[0]:g} to {published[1]:g} times fp16"
        rungs.append({"type": "scatter", "mode": "markers", "name": name, "x": [None], "y": [None], "marker": band})
    return go.Figure({"data": rungs, "layout": layout})


def roofline(rows: Iterable, chosen: str | None = None, title: str = "") -> go.Figure:
    """Multiply-accumulates per second over multiply-accumulates per byte of weights: a line a contender, and roofs.

    The slope is the read limit of the rows; the flat part the most that the contenders of a kind reached.
    """
    rows = [row for row in rows if row.macs]
    traces = _roofs(rows) + _paths(rows, chosen)
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 440,
        "margin": {"t": 100},
        "xaxis": _intensity_axis(rows),
        "yaxis": _rate_axis(rows),
    }
    return go.Figure({"data": traces, "layout": layout})


def kernel_bench(state) -> go.Figure:
    """The ladder of one setting, and beside it the roofline of what was measured of this shape.

    state: widgets.kernel_bench.State
    """
    rows = sorted(state.rows, key=lambda row: row.gmac_per_s)
    rungs = _rungs(rows, state.chosen)
    roofs = _roofs(state.path) + _paths(state.path, state.chosen)
    for trace in rungs:
        trace["showlegend"] = False
    for trace in roofs:
        trace |= {"xaxis": "x2", "yaxis": "y2", "showlegend": trace["mode"] != "lines"}
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": 470,
        "margin": {"l": width(map(_label, rows)), "r": 16, "t": 120},
        "legend": {"x": 1, "xanchor": "right", "entrywidth": 116},
        "xaxis": {"domain": [0, 0.44], **_rate_axis(rows)},
        "yaxis": _names(rows),
        "xaxis2": {"anchor": "y2", "domain": [0.56, 1], **_intensity_axis(state.path)},
        "yaxis2": {"anchor": "x2", **_rate_axis(state.path)},
    }
    return go.Figure({"data": rungs + roofs, "layout": layout})


# ------------------------------------------------------------------------------------------------------------------
# Parts


def _rungs(rows: Sequence, chosen: str | None) -> list[dict]:
    traces, middle = [], 10 ** np.mean(_rate_axis(rows)["range"])
    for kind, (color, symbol) in STYLES.items():
        own = [row for row in rows if _kind(row, chosen) == kind]
        slowest_to_fastest = [[row.macs / ms / 1e6 for ms in reversed(row.ms)] for row in own]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": "yours" if kind == "chosen" else kind,
                "x": [row.gmac_per_s for row in own],
                "y": [_label(row) for row in own],
                "marker": {"color": color, "line": {"color": INK, "width": 1}, "size": 13, "symbol": symbol},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [high - median for _, median, high in slowest_to_fastest],
                    "arrayminus": [median - low for low, median, _ in slowest_to_fastest],
                    "color": INK,
                },
                "text": [_told(row) for row in own],
                "textposition": [f"middle {'left' if row.gmac_per_s > middle else 'right'}" for row in own],
                "cliponaxis": False,
                "hovertemplate": "%{y}:%{text}<extra></extra>",
            }
        )
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "its read limit",
            "x": [_ceiling(row) for row in rows],
            "y": [_label(row) for row in rows],
            "marker": {"color": INK, "line": {"color": INK, "width": 3}, "size": 15, "symbol": "line-ns-open"},
            "customdata": [f"{8 * row.M * row.weights_bytes / row.macs:.2f}" for row in rows],
            "hovertemplate": "%{customdata} bits a weight at the read limit: %{x:.3~g} G/s<extra></extra>",
        }
    )
    return traces


def _label(row) -> str:
    return row.contender if row.held == row.format else f"{row.contender}, held as {row.held}"


def _names(rows: Sequence) -> dict:
    """An axis with the rows in their order, which is not that of the traces."""
    return NAMES | {"categoryarray": [_label(row) for row in rows], "categoryorder": "array", "showgrid": True}


def _told(row) -> str:
    rate = number(row.gmac_per_s)
    return f"  {rate}  " if row.ratio is None else f"  {rate} · {number(row.ratio[1])}x  "


def _roofs(rows: Sequence) -> list[dict]:
    limit = float(np.median([row.read_limit_gb_per_s for row in rows]))  # GB/s times MAC/byte is GMAC/s
    ends = _reach(_intensity(row) for row in rows)
    roofs = []
    for kind in ("ternary", "16 or 32 bits"):
        peak = max((row.gmac_per_s for row in rows if _kind(row, None) == kind), default=0.0)
        if not peak:
            continue
        x = [ends[0], min(max(peak / limit, ends[0]), ends[1]), ends[1]]
        roofs.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"roof, {kind}",
                "x": x,
                "y": [min(limit * at, peak) for at in x],
                "line": {"color": INK, "dash": "solid" if kind == "ternary" else "dash", "width": 1.5},
                "hovertemplate": f"{number(limit)} GB/s; at most {number(peak)} G/s were reached<extra></extra>",
            }
        )
    return roofs


def _paths(rows: Sequence, chosen: str | None) -> list[dict]:
    paths = []
    for name in dict.fromkeys(row.contender for row in rows):
        own = sorted((row for row in rows if row.contender == name), key=lambda row: row.M)
        color, symbol = STYLES[_kind(own[0], chosen)]
        paths.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "name": name,
                "x": [_intensity(row) for row in own],
                "y": [row.gmac_per_s for row in own],
                "text": [str(row.M) for row in own],
                "textposition": "top left",
                "line": {"color": color, "width": 1.5, "dash": _DASHES[len(paths) % len(_DASHES)]},
                "marker": {"color": color, "line": {"color": INK, "width": 1}, "size": 10, "symbol": symbol},
                "hovertemplate": name + ", %{text} tokens: %{y:.3~g} G/s<extra></extra>",
            }
        )
    return paths


_DASHES = ("solid", "dot", "dashdot", "dash")


def _kind(row, chosen: str | None) -> str:
    if row.contender == chosen:
        return "chosen"
    return "16 or 32 bits" if row.format in ("fp16", "bf16", "fp32") else "ternary"


def _intensity(row) -> float:
    return row.macs / row.weights_bytes


def _ceiling(row) -> float:
    """GMAC/s at which its weights come in at the read limit."""
    return row.read_limit_gb_per_s * _intensity(row)


def _reach(values: Iterable[float]) -> tuple[float, float]:
    values = list(values)
    return min(values) / 1.6, max(values) * 1.6


def _rate_axis(rows: Sequence) -> dict:
    rates = [row.gmac_per_s for row in rows]
    low, high = min(rates) / 1.6, max(rates + [_ceiling(row) for row in rows if row.M == 1]) * 2
    ticks = DECADES if high / low > 3000 else HALF_DECADES
    return {
        "type": "log",
        "range": np.log10([low, high]),
        "tickvals": ticks,
        "title": {"text": "10⁹ MAC/s"},
    }


def _intensity_axis(rows: Sequence) -> dict:
    return {
        "type": "log",
        "range": np.log10(_reach(map(_intensity, rows))),
        "tickvals": HALF_DECADES,
        "title": {"text": "MAC per byte of weights"},
    }
