"""What quantization does to a layer, and what it costs a model."""

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

from .style import BLUE, GREEN, INK, ORANGE, VERMILLION, number, steps

FLOOR_DB = -50  # of the map of errors: 0.3 %


def quantization(state) -> go.Figure:
    """What quantization does to one layer: its values over the levels they may take, the use of each code, the error.

    state: widgets.quantization_explorer.State
    """
    values = steps(state.value_edges, state.value_counts, BLUE)
    values["hovertemplate"] = "%{y:,} weights near %{x:.3~g}<extra></extra>"

    kinds = len(state.levels)
    combs = []  # a tooth a level, a row a kind of group; a stroke for each level would be an element of the page each
    for row, levels in enumerate(state.levels.values()):
        comb = np.empty((levels.size, 3, 2), np.float32)  # (levels, up and down, x and y)
        comb[:, :, 0] = levels[:, None]
        comb[:, :, 1] = row + 0.35, row - 0.35, row + 0.35
        combs += [comb.reshape(-1, 2), [[np.nan, np.nan]]]  # no line from row to row
    x, y = np.concatenate(combs, dtype=np.float32).T
    rug = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "yaxis": "y2",
        "line": {"color": VERMILLION, "width": 1.5},
        "hoverinfo": "skip",
    }
    codes = steps(
        np.append(state.codes, state.codes[-1] + 1) - 0.5, 100 * state.code_counts / state.code_counts.sum(), GREEN
    )
    codes |= {"xaxis": "x3", "yaxis": "y3", "hovertemplate": "code %{x:.0f}: %{y:.3~g} %<extra></extra>"}

    with np.errstate(divide="ignore"):
        error_db = 20 * np.log10(state.error_blocks)
    height, width = state.block
    errors = {
        "type": "heatmap",
        "z": np.maximum(error_db, FLOOR_DB).astype(np.float32),
        **{"x0": width / 2, "dx": width, "xaxis": "x4"},
        **{"y0": height / 2, "dy": height, "yaxis": "y4"},
        **{"zmin": FLOOR_DB, "zmax": 0, "colorscale": "Cividis"},
        "colorbar": {
            "outlinewidth": 0,
            "thickness": 14,
            "tickvals": [-50, -40, -30, -20, -10, 0],
            "ticktext": ["≤ 0.3 %", "1 %", "3 %", "10 %", "32 %", "≥ 100 %"],
            "x": 1.01,
        },
        "hovertemplate": "around row %{y:.0f}, column %{x:.0f}: %{z:.1f} dB<extra></extra>",
    }
    reach = 1.04 * max(np.abs(state.value_edges).max(), *(np.abs(levels).max() for levels in state.levels.values()))
    blocks = "weight" if state.block == (1, 1) else f"block of {height} by {width} weights"
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": 520,
        "margin": {"l": 112, "r": 84, "t": 96},
        "showlegend": False,
        "xaxis": {
            "anchor": "y2",
            "domain": [0, 0.41],
            "range": [-reach, reach],
            "title": {"text": "value of a weight"},
        },
        "yaxis": {"domain": [0.6, 1], "type": "log", "dtick": 1, "title": {"text": "weights"}},
        "yaxis2": {
            **{"domain": [0.44, 0.58], "range": [kinds - 0.5, -0.5], "showgrid": False, "ticks": ""},
            **{"tickvals": list(range(kinds)), "ticktext": list(state.levels)},
        },
        "xaxis3": {"anchor": "y3", "domain": [0, 0.41], "title": {"text": "code"}},
        "yaxis3": {"anchor": "x3", "domain": [0, 0.24], "rangemode": "tozero", "title": {"text": "weights (%)"}},
        "xaxis4": {"anchor": "y4", "domain": [0.53, 1], "showgrid": False, "title": {"text": "column"}},
        "yaxis4": {"anchor": "x4", "autorange": "reversed", "showgrid": False, "title": {"text": "row"}},
        "annotations": [
            {
                **{"text": f"RMS error of each {blocks}, % of the layer's RMS", "showarrow": False},
                **{"x": 1, "xref": "paper", "xanchor": "right", "xshift": 76},
                **{"y": 1, "yref": "paper", "yanchor": "bottom", "yshift": 4},
            }
        ],
    }
    return go.Figure({"data": [values, rug, codes, errors], "layout": layout})


def perplexity_points(points: Iterable, baseline: float | None = None) -> go.Figure:
    """Measured perplexity over stored bits per weight, a marker a setting; the unquantized model is a dashed line.

    points: objects with settings (of a scheme), bits_per_weight, perplexity (widgets.quantization_explorer.Point)
    """
    styles = {
        "symmetric": (BLUE, "circle"),
        "asymmetric": (ORANGE, "square"),
        "nf4": (GREEN, "diamond"),
        "ternary": (VERMILLION, "triangle-up"),
    }
    points = list(points)
    markers = []
    for scheme, (color, symbol) in styles.items():
        chosen = [point for point in points if point.settings.scheme == scheme]
        markers.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": scheme,
                "x": [point.bits_per_weight for point in chosen],
                "y": [point.perplexity for point in chosen],
                "marker": {"color": color, "line": {"color": INK, "width": 1}, "size": 12, "symbol": symbol},
                "customdata": [[str(point.settings), number(point.perplexity)] for point in chosen],
                "hovertemplate": "%{customdata[0]}<br>%{x:.2f} bits per weight, perplexity %{customdata[1]}"
                "<extra></extra>",
            }
        )
    if baseline is not None:
        markers.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "not quantized",
                "x": [0, 9],
                "y": [float(baseline)] * 2,
                "line": {"color": INK, "dash": "dash", "width": 2},
                "hovertemplate": f"not quantized: perplexity {number(baseline)}<extra></extra>",
            }
        )
    layout = {
        "template": "slmlab",
        "height": 320,
        "margin": {"t": 40},
        "xaxis": {"title": {"text": "stored bits per weight"}, "range": [0, 9]},
        "yaxis": {"title": {"text": "perplexity"}, "type": "log"},
    }
    return go.Figure({"data": markers, "layout": layout})
