"""Accuracy over tokens of thought, and one thought that is cut: its tokens, what was never written, and the answer."""

from collections.abc import Iterable

import plotly.graph_objects as go

from . import tokens
from .style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, TICKS_125, VERMILLION, above, line

STYLES = (  # of curves, so that they can be told apart without colour
    (BLUE, "circle", "solid"),
    (VERMILLION, "square", "dash"),
    (GREEN, "diamond", "dot"),
    (PURPLE, "triangle-up", "dashdot"),
    (ORANGE, "x", "longdash"),
    (SKY, "cross", "solid"),
)
LINE = 92  # letters
CURVE_PX, GAP_PX, LINE_PX = 250, 92, 40
FAINT = "#767676"


def accuracy(curves: Iterable, title: str = "", across: str = "tokens", log: bool = False) -> go.Figure:
    """Shares of right answers over tokens, with 95 % intervals; log: the tokens on a scale of ratios.

    curves: objects with name, tokens, shares, lows, highs, count (widgets.think_budget.Curve)
    """
    layout = {
        "template": "slmlab",
        "title": {"text": title},
        "height": 380,
        "margin": {"t": 96 if title else 56},
        "xaxis": {"title": {"text": across}, **({"type": "log", "tickvals": TICKS_125} if log else {})},
        "yaxis": _SHARES,
    }
    return go.Figure({"data": _lines(curves), "layout": layout})


_SHARES = {"title": {"text": "share right"}, "range": [-0.03, 1.05], "tickvals": [0, 0.25, 0.5, 0.75, 1]}


def _lines(curves: Iterable, **axes: str) -> list[dict]:
    traces = []
    for number, curve in enumerate(curves):
        color, symbol, dash = STYLES[number % len(STYLES)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": curve.name,
                "x": list(curve.tokens),
                "y": list(curve.shares),
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [high - share for high, share in zip(curve.highs, curve.shares, strict=True)],
                    "arrayminus": [share - low for low, share in zip(curve.lows, curve.shares, strict=True)],
                    "color": color,
                    "thickness": 1.2,
                    "width": 3,
                },
                "line": {"color": color, "dash": dash, "width": 2},
                "marker": {"color": color, "symbol": symbol, "size": 8},
                "customdata": [[low, high, curve.count] for low, high in zip(curve.lows, curve.highs, strict=True)],
                "hovertemplate": "%{x:.4g} tokens: %{y:.2f} right, %{customdata[0]:.2f} to %{customdata[1]:.2f}, "
                f"of %{{customdata[2]}}<extra>{curve.name}</extra>",
                **axes,
            }
        )
    return traces


def think_budget(state) -> go.Figure:
    """Above, accuracy over the budget, and the budget; below, the tokens of one thought, cut there, and its answer.

    state: widgets.think_budget.State. A token is the darker the less likely. One that was never written is grey, one
    that was written for the model is framed.
    """
    boxes, rows = state.boxes, _rows(state.boxes)
    lines = rows[-1][0] + 1
    below = LINE_PX * lines
    whole = CURVE_PX + GAP_PX + below
    colors = [_colors(step, kind) for _, step, kind in boxes]
    edges = [2.5 if edge == ORANGE else 0.7 for _, edge, _ in colors]
    labels, hovers = [_label(*box) for box in boxes], [_hover(*box) for box in boxes]
    drawn = tokens.boxes(rows, colors, edges, labels, hovers, text_size=12)
    drawn |= {"showlegend": False, "xaxis": "x2", "yaxis": "y2"}
    first_of_answer = next(row for (row, _, _), (_, _, kind) in zip(rows, boxes, strict=True) if kind not in _THOUGHT)
    ticks = {str(row): "" for row in range(lines)} | {"0": "thought", str(first_of_answer): "answer"}
    mark = line(state.budget, VERMILLION) | {"yref": "y domain"}
    told = above(state.budget, f"{state.budget} tokens", VERMILLION) | {"yref": "y domain"}
    near_end = state.budget > 0.85 * state.trial.budgets[-1]
    told["xanchor"] = "right" if near_end else "left" if state.budget < 0.15 * state.trial.budgets[-1] else "center"
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": whole + 112 + 16,
        "margin": {"t": 112, "b": 16, "l": 80},
        "legend": {"y": 1, "yanchor": "bottom", "yref": "paper", "x": 0, "traceorder": "normal"}
        | {"entrywidth": 80, "xanchor": "left"},
        "dragmode": False,
        "xaxis": {"anchor": "y", "title": {"text": "budget: tokens of thought"}, "range": _range(state.trial.budgets)},
        "yaxis": _SHARES | {"anchor": "x", "domain": [1 - CURVE_PX / whole, 1]},
        "xaxis2": {"anchor": "y2", "range": [0, LINE], "visible": False},
        "yaxis2": {
            **{"anchor": "x2", "domain": [0, below / whole], "type": "category", "showgrid": False, "ticks": ""},
            **{"categoryorder": "array", "categoryarray": list(ticks), "range": [lines - 0.5, -0.5]},
            **{"showline": False, "ticklabelstandoff": 6, "tickvals": list(ticks), "ticktext": list(ticks.values())},
        },
        "shapes": [mark],
        "annotations": [
            told,
            {
                **{"text": _heading(state), "showarrow": False, "align": "left"},
                **{"x": 0, "xref": "paper", "xanchor": "left"},
                **{"y": below / whole, "yref": "paper", "yanchor": "bottom", "yshift": 6},
            },
            {
                **{"text": "cut: never written; put in: not by the model", "showarrow": False},
                **{"visible": state.is_cut},
                **{"x": 1, "xref": "paper", "xanchor": "right", "font": {"color": FAINT}},
                **{"y": below / whole, "yref": "paper", "yanchor": "bottom", "yshift": 6},
            },
        ],
    }
    return go.Figure({"data": [*_lines(state.trial.curves), drawn], "layout": layout})


_THOUGHT = ("thought", "never written")


def _range(budgets: tuple[int, ...]) -> list[float]:
    room = 0.03 * (budgets[-1] - budgets[0] or 1)
    return [budgets[0] - room, budgets[-1] + room]


def _heading(state) -> str:
    sign = "✓" if state.answer.right else "≠"
    return f"{tokens.escaped(state.problem.question)}  <b>{sign} {tokens.escaped(state.verdict)}</b>"


def _rows(boxes: list[tuple]) -> list[tuple[int, float, float]]:
    """Line, left edge and width of each token; the answer begins a line, and the first line break ends none."""
    pieces = [piece for piece, _, _ in boxes]
    labels = [tokens.visible(piece) for piece in pieces]
    breaks = list(pieces)
    breaks[0] = ""
    turn = next((place for place, (_, _, kind) in enumerate(boxes) if kind not in _THOUGHT), len(boxes))
    for place in range(turn, len(boxes)):
        breaks[place] = ""
    if turn:
        breaks[turn - 1] = "\n"
    return tokens.lines(breaks, labels, LINE)


def _colors(step, kind: str) -> tuple[str, str, str]:
    """Fill, edge and letters of a box."""
    if kind == "never written":
        return "white", FAINT, FAINT
    if step is None:
        return "white", ORANGE, INK
    return tokens.shade(step.probability), INK, tokens.letters(step.probability)


def _label(piece: str, step, kind: str) -> str:
    told = {"never written": "cut", "written for it": "put in"}.get(kind) or tokens.percent(step.probability)
    return f"{tokens.escaped(tokens.visible(piece))}<br>{tokens.escaped(told)}"


def _hover(piece: str, step, kind: str) -> str:
    return f"<b>{tokens.escaped(tokens.visible(piece))}</b> {kind}" if step is None else tokens.hover(step)
