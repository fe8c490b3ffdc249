"""Three values: where to cut and how far out to put them, and what training does to the weights behind them."""

import numpy as np
import plotly.graph_objects as go

from .style import BLUE, GREEN, INK, ORANGE, VERMILLION, number, steps

WORST_DB = 0  # of the plane: below, the codes are worse than all zeros


def ternary_rounding(state) -> go.Figure:
    """A matrix's weights with the threshold and the scale of a ternary rounding, and the error of every such pair.

    state: widgets.ternary_explorer.State
    """
    values = steps(state.value_edges, state.value_counts, BLUE)
    values["hovertemplate"] = "%{y:,} weights near %{x:.2f} mean |w|<extra></extra>"
    tall = float(state.value_counts.max())
    comb = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [-state.scale, 0, state.scale],
        "y": [1.06 * tall] * 3,
        "line": {"color": VERMILLION, "width": 1},
        "marker": {"color": VERMILLION, "size": 9, "symbol": "line-ns-open", "line": {"width": 3}},
        "hovertemplate": "level %{x:.2f} mean |w|<extra></extra>",
    }
    plane = {
        "type": "contour",
        "x": state.thresholds.astype(np.float32),
        "y": state.scales.astype(np.float32),
        "z": np.maximum(state.plane_db, WORST_DB).astype(np.float32),
        **{"xaxis": "x2", "yaxis": "y2", "colorscale": "Cividis", "line": {"width": 0.5, "color": INK}},
        "contours": {"start": WORST_DB, "end": 9, "size": 0.5},
        **{"zmin": WORST_DB, "zmax": 8},
        "colorbar": {
            "title": {"text": "dB"},
            "outlinewidth": 0,
            "thickness": 14,
            "x": 1.01,
            "tickvals": [0, 2, 4, 6, 8],
        },
        "hovertemplate": "threshold %{x:.2f}, scale %{y:.2f}: %{z:.2f} dB<extra></extra>",
    }
    places = [
        ("binary", 0.0, 1.0, "square", "bottom right"),
        ("absmean", 0.5, 1.0, "diamond", "bottom right"),
        ("best", state.best[0], state.best[1], "star", "top left"),
        ("yours", state.threshold, state.scale, "circle", "middle left"),
    ]
    marks = {
        "type": "scatter",
        "mode": "markers+text",
        **{"xaxis": "x2", "yaxis": "y2"},
        "x": [x for _, x, *_ in places],
        "y": [y for _, _, y, *_ in places],
        "text": [name for name, *_ in places],
        "textposition": [side for *_, side in places],
        "textfont": {"color": "white", "size": 13},
        "marker": {
            "symbol": [symbol for *_, symbol, _ in places],
            "size": [10, 11, 14, 13],
            "color": ["white", "white", "white", VERMILLION],
            "line": {"color": INK, "width": 1.5},
        },
        "hovertemplate": "%{text}: threshold %{x:.2f}, scale %{y:.2f}<extra></extra>",
    }
    measured = {
        "type": "scatter",
        "mode": "markers+text",
        **{"xaxis": "x2", "yaxis": "y2"},
        "x": [point.threshold for point in state.points],
        "y": [point.scale for point in state.points],
        "text": [f"{point.nats_more:+.2f}" for point in state.points],
        "textposition": "top right",
        "textfont": {"color": "white"},
        "marker": {"symbol": "x-thin", "size": 9, "line": {"color": "white", "width": 2}},
        "hovertemplate": "threshold %{x:.2f}, scale %{y:.2f}: %{text} nats a token<extra></extra>",
    }
    cuts = [
        {
            **{"type": "line", "x0": side * state.threshold, "x1": side * state.threshold, "y0": 0, "y1": 0.86},
            **{"yref": "y domain", "line": {"color": INK, "dash": "dash", "width": 1.5}},
        }
        for side in (-1, 1)
    ]
    reach = float(np.abs(state.value_edges).max())
    shares = [
        {
            **{"x": at * reach, "y": 1, "yref": "y domain", "yanchor": "top", "showarrow": False},
            **{"text": f"code {code}: {100 * share:.0f} %", "font": {"color": VERMILLION}},
        }
        for code, at, share in zip(("-1", "0", "+1"), (-0.72, 0, 0.72), state.shares, strict=True)
    ]
    layout = {
        "template": "slmlab",
        "annotations": shares,
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": 460,
        "margin": {"l": 78, "r": 70, "t": 92},
        "showlegend": False,
        "shapes": cuts,
        "xaxis": {"domain": [0, 0.46], "range": [-reach, reach], "title": {"text": "weight, in mean |w|"}},
        "yaxis": {"range": [0, 1.22 * tall], "title": {"text": "weights"}},
        "xaxis2": {
            **{"anchor": "y2", "domain": [0.56, 1], "title": {"text": "threshold, in mean |w|"}},
            "range": [float(state.thresholds[0]) - 0.04, float(state.thresholds[-1])],
        },
        "yaxis2": {
            **{"anchor": "x2", "title": {"text": "scale, in mean |w|"}},
            "range": [float(state.scales[0]), float(state.scales[-1])],
        },
    }
    return go.Figure({"data": [values, comb, plane, marks, measured], "layout": layout})


def latent_weights(diary) -> go.Figure:
    """Latent weights before the first step and now, over the borders of their codes; beside it loss and flips by step.

    diary: ternary.latent.LatentDiary
    """
    from_to = np.asarray(diary.edges, np.float32)
    now = steps(from_to, 100 * diary.now, BLUE) | {"name": "now"}
    first = steps(from_to, 100 * diary.first, INK) | {"name": "before the first step", "fill": "none"}
    first["line"] = {"color": INK, "width": 2, "dash": "dot"}
    for trace in (now, first):
        trace["hovertemplate"] = "%{y:.2f} % near %{x:.2f} scales<extra>%{fullData.name}</extra>"
    count = len(diary.losses)
    x = np.arange(1, count + 1)
    loss = {
        **{"type": "scatter", "mode": "lines", "x": x, "y": np.asarray(diary.losses, np.float32)},
        **{"xaxis": "x2", "yaxis": "y2", "line": {"color": ORANGE, "width": 2}, "showlegend": False},
        "hovertemplate": "step %{x}: %{y:.2f} nats a token<extra></extra>",
    }
    flips = {
        **{"type": "scatter", "mode": "lines", "x": x, "y": 100 * np.asarray(diary.flipped, np.float32)},
        **{"xaxis": "x2", "yaxis": "y3", "line": {"color": GREEN, "width": 2}, "showlegend": False},
        "hovertemplate": "step %{x}: %{y:.2f} % of the codes<extra></extra>",
    }
    borders = [
        {
            **{"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "y domain"},
            "line": {"color": VERMILLION, "dash": "dash", "width": 1.5},
        }
        for at in (-0.5, 0.5)
    ]
    codes = [
        {
            **{"x": at, "y": 1, "yref": "y domain", "yanchor": "top", "text": text, "showarrow": False},
            "font": {"color": VERMILLION},
        }
        for at, text in ((-1.6, "code -1"), (0, "code 0"), (1.6, "code +1"))
    ]
    title = f"{count} steps" + (f", loss {number(float(np.mean(diary.losses[-10:])))}" if count else "")
    layout = {
        "template": "slmlab",
        "title": {
            "text": title,
            "subtitle": {"text": f"{100 * diary.changed:.0f} % of the codes are not the first ones"},
        },
        "height": 400,
        "margin": {"l": 66, "r": 24, "t": 104},
        "legend": {"x": 0, "y": 1.0},
        "shapes": borders,
        "annotations": codes,
        "xaxis": {"domain": [0, 0.5], "title": {"text": "latent weight, in scales of its matrix"}, "range": [-3, 3]},
        "yaxis": {
            "title": {"text": "weights (%)"},
            "range": [0, 118 * float(max(diary.now.max(), diary.first.max()))],
        },
        "xaxis2": {"anchor": "y3", "domain": [0.6, 1], "title": {"text": "step"}, "rangemode": "tozero"},
        "yaxis2": {"anchor": "x2", "domain": [0.56, 1], "rangemode": "tozero", "title": {"text": "loss (nats)"}},
        "yaxis3": {"anchor": "x2", "domain": [0, 0.44], "rangemode": "tozero", "title": {"text": "flips (%)"}},
    }
    return go.Figure({"data": [now, first, loss, flips], "layout": layout})
