"""Pictures: rows and arrays in, plotly Figures out. Nothing here measures, reads a file or keeps a state.

The colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which stay apart for any colour vision; the map of
errors uses cividis for the same reason. A figure is a white card, so that it reads the same on a dark page.

These figures are redrawn while a slider moves, so two things are not as plotly's examples have them: the template is
given by name (to check one that is given by value takes 20 ms a figure), and margins are fixed where it matters (with
`automargin` plotly.js lays a figure out two or three times).
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

from .ledger import format_bytes

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
INK, GRID = "#222222", "#E3E3E3"
LETTER = 7.4  # px, the width of an average letter of a tick label: for margins
TICKS_125 = [digit * 10.0**power for power in range(-4, 6) for digit in (1, 2, 5)]  # for axes of type log

AXIS = {
    "gridcolor": GRID,
    "linecolor": INK,
    "showline": True,
    "tickcolor": INK,
    "ticklen": 4,
    "ticks": "outside",
    "title": {"standoff": 8},
    "zeroline": False,
}
NAMES = {"autorange": "reversed", "showgrid": False, "ticks": "", "type": "category"}  # an axis of names, first on top

pio.templates["slmlab"] = go.layout.Template(
    layout={
        "colorway": [BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, YELLOW, BLACK],
        "font": {"color": INK, "family": "Roboto, 'Segoe UI', Helvetica, 'DejaVu Sans', sans-serif", "size": 13},
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"},
        "margin": {"b": 52, "l": 72, "r": 24, "t": 64},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "title": {"font": {"size": 16}, "x": 0, "xanchor": "left", "xref": "container", "pad": {"l": 16, "t": 16}}
        | {"y": 1, "yanchor": "top", "subtitle": {"font": {"size": 13}}},
        "xaxis": AXIS,
        "yaxis": AXIS,
    }
)
for _name in filter(None, pio.renderers.default.split("+")):
    pio.renderers[_name].config["displaylogo"] = False


# ------------------------------------------------------------------------------------------------------------------
# Measured numbers


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
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [float(value) for value in measured.values()],
        "y": list(measured),
        "marker": {"color": BLUE},
        "text": [_number(value, unit) for value in measured.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": (116 if guess is None else 140) + 36 * len(measured),
        "bargap": 0.35,
        "margin": {"l": _width(measured), "t": 56 if guess is None else 80},
        "xaxis": {"title": {"text": unit or title}, "range": [low - room * (low < 0), high + room]},
        "yaxis": NAMES,
    }
    if guess is not None:
        layout["shapes"] = [_line(float(guess), VERMILLION)]
        layout["annotations"] = [_above(float(guess), f"your guess: {_number(guess, unit)}", VERMILLION)]
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
        "customdata": [[_number(v) for v in (row.median_ms, row.q1_ms, row.q3_ms)] for row in rows],
        "hovertemplate": "%{y}: median %{customdata[0]} ms, quartiles %{customdata[1]} and %{customdata[2]} ms"
        "<extra></extra>",
    }
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 132 + 36 * len(rows),
        "bargap": 0.35,
        "margin": {"l": _width(row.name for row in rows)},
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
            "customdata": [_number(value) for value in values],
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
    bars = _steps(state.bin_edges_ms, state.bin_counts, BLUE)
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
        "shapes": [*band, _line(state.whole_median_ms, INK, "y")],
    }
    return go.Figure({"data": [*traces, bars], "layout": layout})


# ------------------------------------------------------------------------------------------------------------------
# The memory a model needs

COMPONENTS = {  # the parts of a memory bar in the order of the stack: colour, and a pattern for what is not weights
    "attention": (BLUE, ""),
    "mlp": (SKY, ""),
    "experts": (GREEN, ""),
    "other": ("#999999", ""),
    "embedding, head": (ORANGE, ""),
    "per-layer table": (YELLOW, ""),
    "encoders": (PURPLE, ""),
    "KV cache": (VERMILLION, "/"),
}


def memory_bars(budgets: Sequence, devices: Mapping[str, int]) -> go.Figure:
    """One stacked bar a budget: weights by component, and KV cache; a dashed line for the memory of each device.

    budgets: objects with name, setting (a tuple of words), total_bytes, and components = {name in COMPONENTS: bytes}
        (widgets.memory_budget.Budget). What all settings share is in the title, what differs beside each bar.
    devices: {name: bytes}. The axis ends behind the first that holds the largest bar; larger ones are not drawn.
    """
    largest = max(budget.total_bytes for budget in budgets)
    end = 1.06 * min((size for size in devices.values() if size >= largest), default=1.06 * largest) / 1e9
    shared = [words[0] for words in zip(*(b.setting for b in budgets), strict=True) if len(set(words)) == 1]
    own = [", ".join(word for word in budget.setting if word not in shared) for budget in budgets]
    names = [f"{b.name}<br>{words}" if words else b.name for b, words in zip(budgets, own, strict=True)]
    left, right = _width(part for name in names for part in name.split("<br>")), 88
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [budget.components.get(name, 0) / 1e9 for budget in budgets],
            "y": names,
            "marker": {
                "color": color,
                "line": {"color": "white", "width": 1},
                "pattern": {"bgcolor": color, "fgcolor": "white", "shape": pattern, "size": 7, "solidity": 0.25},
            },
            "customdata": [format_bytes(budget.components.get(name, 0)) for budget in budgets],
            "hovertemplate": "%{y}<br>" + name + ": %{customdata}<extra></extra>",
        }
        for name, (color, pattern) in COMPONENTS.items()
        if any(budget.components.get(name) for budget in budgets)
    ]
    totals = [
        {
            **{"x": budget.total_bytes / 1e9, "y": name, "xanchor": "left", "xshift": 4, "showarrow": False},
            **{"text": f"<b>{_number(budget.total_bytes / 1e9)} GB</b>", "bgcolor": "white", "borderpad": 1},
        }
        for budget, name in zip(budgets, names, strict=True)
    ]
    lines, labels, tier_ends = [], [], [-math.inf, -math.inf]
    for size, name in sorted((size / 1e9, name) for name, size in devices.items() if size / 1e9 <= end):
        label = _above(size, f"{name}: {size * 1e9 / 2**30:.3g} GiB", INK)
        half = len(label["text"]) * LETTER / 2 / (820 - left - right) * end  # in GB, in a figure 820 px wide
        tier = 0 if size - half > tier_ends[0] else 1
        tier_ends[tier] = size + half
        lines.append(_line(size, INK))
        labels.append(label | {"yshift": 17 * tier})
    layout = {
        "template": "slmlab",
        "title": {"text": f"Memory: {', '.join(shared)}" if shared else "Memory"},
        "barmode": "stack",
        "bargap": 0.3,
        "height": 244 + (48 if any(own) else 34) * len(budgets),
        "margin": {"b": 120, "l": left, "r": right, "t": 92},
        "legend": {
            **{"entrywidth": 118, "traceorder": "normal"},
            **{"xref": "container", "x": 0.02, "yref": "container", "y": 0.01},
        },
        "xaxis": {"title": {"text": "GB (10⁹ bytes)"}, "range": [0, end]},
        "yaxis": NAMES,
        "shapes": lines,
        "annotations": [*labels, *totals],
    }
    return go.Figure({"data": bars, "layout": layout})


# ------------------------------------------------------------------------------------------------------------------
# Quantization

FLOOR_DB = -50  # of the map of errors: 0.3 %


def quantization(state) -> go.Figure:
    """What quantization does to one layer: its values over the levels they may take, the use of each code, the error.

    state: widgets.quantization_explorer.State
    """
    values = _steps(state.value_edges, state.value_counts, BLUE)
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
    codes = _steps(
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
                "customdata": [[str(point.settings), _number(point.perplexity)] for point in chosen],
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
                "hovertemplate": f"not quantized: perplexity {_number(baseline)}<extra></extra>",
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


# ------------------------------------------------------------------------------------------------------------------
# Parts of figures


def _steps(edges: np.ndarray, counts: np.ndarray, color: str) -> dict:
    """A histogram as one filled path: with a hundred bars the page has a hundred elements more to redraw."""
    x = np.repeat(np.asarray(edges, np.float32), 2)[1:-1]
    y = np.repeat(np.asarray(counts, np.float32), 2)
    return {"type": "scatter", "mode": "lines", "fill": "tozeroy", "x": x, "y": y, "line": {"color": color, "width": 1}}


def _line(at: float, color: str, across: str = "x") -> dict:
    """A dashed line over the whole plot, at a value of the axis `across`."""
    along = "y" if across == "x" else "x"
    ends = {f"{across}0": at, f"{across}1": at, f"{along}0": 0, f"{along}1": 1, f"{along}ref": "paper"}
    return {"type": "line", **ends, "line": {"color": color, "dash": "dash", "width": 2}}


def _above(x: float, text: str, color: str) -> dict:
    """Text above the plot, centred on a value of the x axis."""
    place = {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom"}
    return {**place, "text": text, "font": {"color": color}, "showarrow": False}


def _number(value: float, unit: str = "") -> str:
    """Three digits, all of the whole ones: 0.0123, 1.18, 131,072; then the unit."""
    decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}" if decimals < 7 else f"{value:.2e}"
    return f"{text} {unit}".rstrip()


def _width(names: Iterable[str]) -> float:
    """Margin in px for the names on an axis."""
    return 24 + LETTER * max(map(len, names))
