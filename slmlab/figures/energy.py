"""Joules of a token by what they are spent on, and the rows of a table of scores."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from .style import BLUE, GREEN, INK, NAMES, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, number, width

SPENT = {  # the parts of a bar in the order of the stack: colour and pattern
    "arithmetic": (BLUE, ""),
    "attention": (SKY, "x"),
    "reading the layers": (ORANGE, ""),
    "reading the head": (YELLOW, "\\"),
    "KV cache": (VERMILLION, "/"),
    "the machine meanwhile": ("#999999", "."),
}
MARKS = (  # colour and symbol of the models of a table
    *((BLUE, "circle"), (ORANGE, "square"), (GREEN, "diamond"), (PURPLE, "triangle-up"), (SKY, "cross")),
    (YELLOW, "star"),
)


def energy_bars(state) -> go.Figure:
    """One stacked bar for each kind of weights: joules of a token, arithmetic and memory apart; the chosen one is bold.

    state: an object with title, numbers, chosen, and spent = {weights: {name in SPENT: joules}}, such as
        widgets.energy_model.State
    """
    names = [f"<b>{name}</b>" if name == state.chosen else name for name in state.spent]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "x": [1e3 * parts.get(part, 0.0) for parts in state.spent.values()],
            "y": names,
            "marker": {
                "color": color,
                "line": {"color": "white", "width": 1},
                "pattern": {"bgcolor": color, "fgcolor": INK, "shape": pattern, "size": 7, "solidity": 0.2},
            },
            "customdata": [
                [number(1e3 * parts.get(part, 0.0)), f"{parts.get(part, 0.0) / sum(parts.values()):.1%}"]
                for parts in state.spent.values()
            ],
            "hovertemplate": "%{y}, " + part + ": %{customdata[0]} mJ, %{customdata[1]}<extra></extra>",
        }
        for part, (color, pattern) in SPENT.items()
        if any(parts.get(part) for parts in state.spent.values())
    ]
    totals = [1e3 * sum(parts.values()) for parts in state.spent.values()]
    ends = [
        {
            **{"x": total, "y": name, "xanchor": "left", "xshift": 4, "showarrow": False},
            **{"text": f"<b>{number(total)} mJ</b>", "bgcolor": "white", "borderpad": 1},
        }
        for total, name in zip(totals, names, strict=True)
    ]
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "barmode": "stack",
        "bargap": 0.3,
        "height": 252 + 34 * len(names),
        "margin": {"b": 124, "l": width(state.spent), "r": 92, "t": 84},
        "legend": {
            **{"entrywidth": 170, "traceorder": "normal"},
            **{"xref": "container", "x": 0.02, "yref": "container", "y": 0.01},
        },
        "xaxis": {"title": {"text": "mJ per token"}, "range": [0, 1.02 * max(totals)]},
        "yaxis": NAMES,
        "annotations": ends,
    }
    return go.Figure({"data": bars, "layout": layout})


def benchmark_rows(
    scores: Mapping[str, Mapping[str, float]], shown: Sequence[str], first: str, title: str = ""
) -> go.Figure:
    """A row for each benchmark, a mark for each model; the rows that were shown come first and are bold.

    scores: {model: {benchmark: per cent}}. first: the model whose mark is filled, the others are outlines.
    """
    rows = [*shown, *(row for row in next(iter(scores.values())) if row not in shown)]
    names = [f"<b>{row}</b>" if row in shown else row for row in rows]
    marks = []
    for (model, column), (color, symbol) in zip(scores.items(), MARKS, strict=False):
        marks.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": model,
                "x": [column[row] for row in rows],
                "y": names,
                "marker": {
                    "color": color,
                    "size": 13 if model == first else 10,
                    "symbol": symbol if model == first else f"{symbol}-open",
                    "line": {"color": INK if model == first else color, "width": 1 if model == first else 2},
                },
                "hovertemplate": "%{y}: %{x}<extra>" + model + "</extra>",
            }
        )
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": -0.5, "y1": len(shown) - 0.5}
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 150 + 26 * len(rows),
        "margin": {"l": width(rows), "t": 88},
        "xaxis": {"title": {"text": "score (per cent; MT-bench: 1 to 10)"}, "rangemode": "tozero"},
        "yaxis": NAMES | {"showgrid": True},
        "shapes": [{"type": "rect", **ends, "fillcolor": SKY, "opacity": 0.2, "line": {"width": 0}, "layer": "below"}],
    }
    return go.Figure({"data": marks, "layout": layout})
