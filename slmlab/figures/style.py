"""What all figures share: the palette, the template "slmlab", and parts of figures.

The colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which stay apart for any colour vision; the map of
errors uses cividis for the same reason. A figure is a white card, so that it reads the same on a dark page.

Figures are redrawn while a slider moves, so two things are not as plotly's examples have them: the template is given by
name (to check one that is given by value takes 20 ms a figure), and margins are fixed where it matters (with
`automargin` plotly.js lays a figure out two or three times).
"""

import math
from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

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


def steps(edges: np.ndarray, counts: np.ndarray, color: str) -> dict:
    """A histogram as one filled path: with a hundred bars the page has a hundred elements more to redraw."""
    x = np.repeat(np.asarray(edges, np.float32), 2)[1:-1]
    y = np.repeat(np.asarray(counts, np.float32), 2)
    return {"type": "scatter", "mode": "lines", "fill": "tozeroy", "x": x, "y": y, "line": {"color": color, "width": 1}}


def line(at: float, color: str, across: str = "x") -> dict:
    """A dashed line over the whole plot, at a value of the axis `across`."""
    along = "y" if across == "x" else "x"
    ends = {f"{across}0": at, f"{across}1": at, f"{along}0": 0, f"{along}1": 1, f"{along}ref": "paper"}
    return {"type": "line", **ends, "line": {"color": color, "dash": "dash", "width": 2}}


def above(x: float, text: str, color: str) -> dict:
    """Text above the plot, centred on a value of the x axis."""
    place = {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom"}
    return {**place, "text": text, "font": {"color": color}, "showarrow": False}


def number(value: float, unit: str = "") -> str:
    """Three digits, all of the whole ones: 0.0123, 1.18, 131,072; then the unit."""
    decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}" if decimals < 7 else f"{value:.2e}"
    return f"{text} {unit}".rstrip()


def width(names: Iterable[str]) -> float:
    """Margin in px for the names on an axis."""
    return 24 + LETTER * max(map(len, names))
