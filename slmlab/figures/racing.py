"""A race of trainings: their losses at equal tokens, what they were seen to know on the way, and one question."""

import math

import plotly.graph_objects as go

from .style import INK, TICKS_125, VERMILLION, above, line
from .thinking import STYLES
from .tokens import escaped

PLOT_PX, LINE_PX = 300, 24
SAID = 80  # letters of an answer: what an untrained runner says has no end


def training_race(state) -> go.Figure:
    """Above, each runner's loss on its own text as a line, on held-out text as marks with their 95 % intervals, over
    the tokens read; below, what each answers to one question after the lap that is looked at.

    state: widgets.training_race.State
    """
    traces = []
    for number, name in enumerate(state.names):
        color, symbol, dash = STYLES[number % len(STYLES)]
        own = state.losses[name]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name}, its own text",
                "x": [tokens for tokens, _ in own],
                "y": [nats for _, nats in own],
                "line": {"color": color, "dash": dash, "width": 1.5},
                "hovertemplate": f"{name}: %{{y:.3f}} nats after %{{x:,}} tokens<extra></extra>",
            }
        )
        seen = [lap.looks[name].nats[state.text] for lap in state.laps]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{name}, {state.text}",
                "x": [lap.tokens for lap in state.laps],
                "y": [nats.value for nats in seen],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [nats.high - nats.value for nats in seen],
                    "arrayminus": [nats.value - nats.low for nats in seen],
                    "color": color,
                    "thickness": 1.2,
                    "width": 4,
                },
                "marker": {"color": color, "symbol": symbol, "size": 9},
                "hovertemplate": f"{name}, {state.text}: %{{y:.3f}} nats after %{{x:,}} tokens<extra></extra>",
            }
        )
    rows = [f"<b>{escaped(state.question)}</b>  right: {escaped(state.truth)}"]
    for name, said, right in state.answers:
        shown = said if len(said) <= SAID else f"{said[:SAID]}…"
        rows.append(f"{'✓' if right else '≠'} {name}: {escaped(shown)}")
    nats = [value for trace in traces for value in trace["y"]]
    lowest = max(tick for tick in TICKS_125 if tick <= min(nats))
    highest = min(tick for tick in TICKS_125 if tick >= max(nats))
    below = LINE_PX * len(rows)
    height = 112 + PLOT_PX + 56 + below + 12
    under = {"x": 0, "xref": "paper", "xanchor": "left", "y": 0, "yref": "paper", "yanchor": "top", "align": "left"}
    at = state.laps[state.lap].tokens
    told = above(at, f"{at:,} tokens", VERMILLION)
    told["xanchor"] = "right" if at > 0.85 * state.tokens else "left" if at < 0.15 * state.tokens else "center"
    layout = {
        "template": "slmlab",
        "title": {"text": state.title, "subtitle": {"text": state.numbers}},
        "height": height,
        "margin": {"t": 112, "b": 56 + below + 12, "l": 72},
        "legend": {"x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "orientation": "v"}
        | {"bgcolor": "rgba(255,255,255,0.8)"},
        "xaxis": {"title": {"text": "tokens read"}, "range": [-0.02 * state.tokens, 1.02 * state.tokens]}
        | {"tickformat": ",d"},
        "yaxis": {"title": {"text": "nats a token"}, "type": "log", "tickvals": TICKS_125}
        | {"range": [math.log10(0.9 * lowest), math.log10(1.1 * highest)]},  # with a tick at each end
        "shapes": [line(at, VERMILLION)],
        "annotations": [
            told,
            *(
                {**under, "text": row, "showarrow": False, "yshift": -56 - LINE_PX * place, "font": {"color": INK}}
                for place, row in enumerate(rows)
            ),
        ],
    }
    return go.Figure({"data": traces, "layout": layout})
