"""A text in tokens, each with its probability; above it, what else might stand in the place of one of them."""

import html

import plotly.graph_objects as go

from .style import BLUE, INK, LETTER, ORANGE, SKY

LINE = 78  # letters
NARROWEST = 5.0  # letters: room for "100 %"
GAP = 0.4  # letters, between two tokens
LONGEST = 24  # letters of a token that are shown
LINE_PX, BAR_PX = 46, 24
SURE, UNSURE = (255, 255, 255), (0, 41, 63)  # of a colour scale that darkens evenly: the same for any colour vision
DARK_BELOW = 0.37  # of a probability: white letters up to there, black ones above, both at a contrast of 4.5 or more


def talk(state) -> go.Figure:
    """Bars of the ten likeliest tokens for one place; below, the whole text, the darker a token the less likely.

    state: widgets.talk.State. The framed token is the one whose place the bars are about; the ten of any other are in
    its hover text. The bars come first so that they stay where they are, however long the text.
    """
    steps = state.text.steps
    labels = [visible(step.piece) for step in steps]
    places = lines([step.piece for step in steps], labels)
    count = places[-1][0] + 1
    framed = [place == state.token for place in range(len(steps))]
    tokens = boxes(
        places,
        [
            (shade(step.probability), ORANGE if frame else INK, letters(step.probability))
            for step, frame in zip(steps, framed, strict=True)
        ],
        [4 if frame else 0.7 for frame in framed],
        [f"{escaped(label)}<br>{_percent(step.probability)}" for label, step in zip(labels, steps, strict=True)],
        [hover(step) for step in steps],
    )
    chosen = state.step
    pieces = [visible(piece) for piece, _ in chosen.likeliest]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "likeliest",
        "x": [100 * p for _, p in chosen.likeliest],
        "y": [str(place) for place in range(len(pieces))],
        "xaxis": "x2",
        "yaxis": "y2",
        "marker": {
            "color": [BLUE if piece == chosen.piece else SKY for piece, _ in chosen.likeliest],
            "pattern": {"shape": ["" if piece == chosen.piece else "/" for piece, _ in chosen.likeliest]},
        },
        "text": [f"{_percent(p)}{', this token' if piece == chosen.piece else ''}" for piece, p in chosen.likeliest],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    above, between, below = BAR_PX * len(pieces), 76, LINE_PX * count
    whole = above + between + below
    layout = {
        "template": "slmlab",
        "title": {"text": escaped(state.title), "subtitle": {"text": escaped(state.numbers)}},
        "height": whole + 88 + 52,
        "margin": {"l": 24 + LETTER * max(10, *map(len, pieces)), "t": 88, "b": 52},
        "showlegend": False,
        "bargap": 0.25,
        "dragmode": False,  # a click on a token chooses it
        "xaxis": {
            "range": [0, LINE],
            "showgrid": False,
            "showline": False,
            "showticklabels": False,
            "ticks": "",
            "title": {"text": "the tokens in their order; below each its probability, the darker the less likely"},
        },
        "yaxis": _names([str(line) for line in range(count)])
        | {"domain": [0, below / whole], "showline": False}
        | {"showticklabels": False},
        "xaxis2": {"anchor": "y2", "range": [0, 118], "tickvals": [0, 25, 50, 75, 100]}
        | {"title": {"text": f"probability (%) of the ten likeliest in the place of token {state.token + 1}"}},
        "yaxis2": _names([str(place) for place in range(len(pieces))])
        | {"anchor": "x2", "domain": [1 - above / whole, 1], "ticktext": [escaped(piece) for piece in pieces]},
    }
    return go.Figure({"data": [tokens, bars], "layout": layout})


def percent(probability: float) -> str:
    """A probability in whole percent; what is shown as "<1 %" is not 0, and ">99 %" not all."""
    if probability < 0.005:
        return "<1 %"
    return ">99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def visible(piece: str) -> str:
    """A token so that its spaces and line breaks can be seen; a long one is cut."""
    shown = piece.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def lines(pieces: list[str], labels: list[str], full: float = LINE) -> list[tuple[int, float, float]]:
    """Line, left edge and width of each token, in letters; a new line where the text has one, or a line is full."""
    found: list[tuple[int, float, float]] = []
    line, left = 0, 0.0
    for before, label in zip(["", *pieces[:-1]], labels, strict=True):
        width = max(NARROWEST, len(label) + 1.5)
        if found and ("\n" in before or left + width > full):
            line, left = line + 1, 0.0
        found.append((line, left, width))
        left += width + GAP
    return found


def boxes(
    places: list[tuple[int, float, float]],
    colors: list[tuple[str, str, str]],
    edges: list[float],
    texts: list[str],
    hovers: list[str],
    text_size: int = 13,
) -> dict:
    """A bar for each token, with its text inside.

    places: from lines(). colors: fill, edge and letters of each. edges: their widths in pixels
    """
    fills, edge_colors, letter_colors = (list(column) for column in zip(*colors, strict=True))
    return {
        "type": "bar",
        "orientation": "h",
        "name": "token",
        "y": [str(line) for line, _, _ in places],
        "base": [left for _, left, _ in places],
        "x": [width for _, _, width in places],
        "width": 0.86,
        "marker": {"color": fills, "line": {"color": edge_colors, "width": edges}},
        "text": texts,
        "textposition": "inside",
        "insidetextanchor": "middle",
        "insidetextfont": {"color": letter_colors, "size": text_size},
        "textangle": 0,
        "constraintext": "none",
        "cliponaxis": False,
        "customdata": hovers,
        "hoverlabel": {"bgcolor": "white", "bordercolor": INK, "font": {"color": INK}},
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _names(categories: list[str]) -> dict:
    """An axis of categories, the first on top."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": categories,
        "range": [len(categories) - 0.5, -0.5],
        "showgrid": False,
        "ticks": "",
        "tickvals": categories,
        "ticktext": categories,
    }


def shade(probability: float) -> str:
    """The colour of a token, the darker the less likely."""
    red, green, blue = (round(low + (high - low) * probability) for low, high in zip(UNSURE, SURE, strict=True))
    return f"rgb({red},{green},{blue})"


def letters(probability: float) -> str:
    """The colour of the letters on that shade."""
    return "#FFFFFF" if probability < DARK_BELOW else "#000000"


def hover(step) -> str:
    """Of a token (widgets.talk.Step): its probability, and the likeliest in its place."""
    others = "<br>".join(f"{_percent(p)} {escaped(visible(piece))}" for piece, p in step.likeliest)
    return f"<b>{escaped(visible(step.piece))}</b> {_percent(step.probability)}, {step.bits:.2f} bits<br><br>{others}"


def _percent(probability: float) -> str:
    return escaped(percent(probability))


def escaped(text: str) -> str:
    """Plotly takes tags out of text."""
    return html.escape(text, quote=False)
