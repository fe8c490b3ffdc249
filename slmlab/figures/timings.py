"""Measured numbers: bars with a guess, a race, prefill beside decode, a series of timings."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from .style import BLUE, INK, NAMES, ORANGE, SKY, TICKS_125, VERMILLION, above, line, number, steps, width


def compare_bars(title: str, measured: Mapping[str, float], guess: float | None = None, unit: str = "") -> go.Figure:
    """One bar a number, first on top, with the number at its end; the guess is a dashed line.

    ValueError for nothing measured, and for a number that is not finite.
    """
    if not measured:
        raise ValueError(f"{title}: nothing was measured, wanted {{name: number}}")
    values = {**measured, **({} if guess is None else {"your guess": guess})}
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{title}: {name} is {value}, wanted a finite number")
    low, high = min(0, *values.values()), max(0, *values.values())
    room = 0.15 * (high - low or 1)  # for the numbers at the ends
    written = [number(value, unit) for value in measured.values()]
    # On the left a number must not run into the name of its bar
    left = max(
        [0.026 * len(text) * (high - low) for text, x in zip(written, measured.values(), strict=True) if x < 0] + [room]
    )
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [float(value) for value in measured.values()],
        "y": list(measured),
        "marker": {"color": BLUE},
        "text": written,
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": (116 if guess is None else 140) + 36 * len(measured),
        "bargap": 0.35,
        "margin": {"l": width(measured), "t": 56 if guess is None else 80},
        "xaxis": {"title": {"text": unit or title}, "range": [low - left * (low < 0), high + room]},
        "yaxis": NAMES,
    }
    if guess is not None:
        layout["shapes"] = [line(float(guess), VERMILLION)]
        layout["annotations"] = [above(float(guess), f"your guess: {number(guess, unit)}", VERMILLION)]
    return go.Figure({"data": [bars], "layout": layout})


def race(rows: Iterable, title: str = "") -> go.Figure:
    """One bar a contender: its median, with whiskers from the first to the third quartile.

    rows: objects with name, median_ms, q1_ms and q3_ms (bench.Race.rows)
    """
    rows = list(rows)
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [row.median_ms for row in rows],
        "y": [row.name for row in rows],
        "marker": {"color": SKY},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [row.q3_ms - row.median_ms for row in rows],
            "arrayminus": [row.median_ms - row.q1_ms for row in rows],
            "color": INK,
            "thickness": 2,
            "width": 7,
        },
        "customdata": [[number(v) for v in (row.median_ms, row.q1_ms, row.q3_ms)] for row in rows],
        "hovertemplate": "%{y}: median %{customdata[0]} ms, quartiles %{customdata[1]} and %{customdata[2]} ms"
        "<extra></extra>",
    }
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 132 + 36 * len(rows),
        "bargap": 0.35,
        "margin": {"l": width(row.name for row in rows)},
        "xaxis": {"title": {"text": "time (ms): the median, its quartiles as whiskers"}, "rangemode": "tozero"},
        "yaxis": NAMES,
    }
    return go.Figure({"data": [bars], "layout": layout})


def prefill_decode(
    tokens: Sequence[int], prefill_ms: Sequence[float], decode_ms: Sequence[float], title: str = ""
) -> go.Figure:
    """Two lines over the length of the prompt: ms for each prompt token read, ms for each token written after it.

    tokens: lengths of prompts; prefill_ms, decode_ms: milliseconds per token, one at each length
    """
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": list(tokens),
            "y": list(values),
            "line": {"color": color, "dash": dash, "width": 2.5},
            "marker": {"size": 9, "symbol": symbol},
            "customdata": [number(value) for value in values],
            "hovertemplate": "prompt of %{x:,} tokens: %{customdata} ms per token<extra></extra>",
        }
        for name, values, color, dash, symbol in (
            ("prefill, reading the prompt", prefill_ms, BLUE, "solid", "circle"),
            ("decode, writing the next token", decode_ms, VERMILLION, "dash", "square"),
        )
    ]
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 400,
        "margin": {"t": 88},
        "xaxis": {"title": {"text": "prompt (tokens)"}, "type": "log", "tickvals": list(tokens)},
        "yaxis": {"title": {"text": "time (ms per token)"}, "type": "log", "tickvals": TICKS_125},
    }
    return go.Figure({"data": lines, "layout": layout})


def bench_panel(state) -> go.Figure:
    """Timings in the order of time, the used ones filled, under the running estimate; their histogram beside them.

    state: widgets.bench_panel.State. The band is the interval of the estimate, the dashed line the median of all.
    """
    n, first, end = state.samples_ms.size, state.warmup, state.warmup + state.kept
    parts = {
        "discarded": (slice(0, first), INK, "x-thin-open", 1.0),
        "used": (slice(first, end), BLUE, "circle", 0.8),
        "not used": (slice(end, n), SKY, "circle-open", 0.5),
    }
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": np.arange(1, n + 1)[part],
            "y": state.samples_ms[part].astype(np.float32),
            "marker": {"color": color, "opacity": opacity, "size": 6, "symbol": symbol},
            "hovertemplate": "call %{x}: %{y:.4~g} ms<extra></extra>",
        }
        for name, (part, color, symbol, opacity) in parts.items()
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{state.estimator} so far",
            "x": np.arange(first + 1, n + 1),
            "y": state.running_ms.astype(np.float32),
            "line": {"color": VERMILLION, "width": 2.5},
            "hovertemplate": "up to call %{x}: %{y:.4~g} ms<extra></extra>",
        }
    )
    bars = steps(state.bin_edges_ms, state.bin_counts, BLUE)
    bars |= {"x": bars["y"], "y": bars["x"], "fill": "tozerox", "xaxis": "x2", "showlegend": False}
    bars["hovertemplate"] = "%{x} calls near %{y:.4~g} ms<extra></extra>"
    band = []
    if state.interval_ms:
        low, high = state.interval_ms
        ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": low, "y1": high}
        band = [{"type": "rect", **ends, "fillcolor": ORANGE, "opacity": 0.35, "line": {"width": 0}, "layer": "below"}]
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": 420,
        "margin": {"t": 100},
        "xaxis": {"domain": [0, 0.78], "range": [0, n + 1], "title": {"text": "call, in the order of time"}},
        "xaxis2": {"domain": [0.8, 1], "rangemode": "tozero", "title": {"text": "calls used"}},
        "yaxis": {
            "range": np.log10(state.bin_edges_ms[[0, -1]] * [0.95, 1.05]),
            "type": "log",
            "title": {"text": "time of one call (ms)"},
        },
        "shapes": [*band, line(state.whole_median_ms, INK, "y")],
    }
    return go.Figure({"data": [*traces, bars], "layout": layout})
