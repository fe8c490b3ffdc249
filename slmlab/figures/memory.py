"""The memory that a model needs."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from slmlab.ledger import format_bytes

from .style import BLUE, GREEN, INK, LETTER, NAMES, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, above, line, number, width

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
    left, right = width(part for name in names for part in name.split("<br>")), 88
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
            **{"text": f"<b>{number(budget.total_bytes / 1e9)} GB</b>", "bgcolor": "white", "borderpad": 1},
        }
        for budget, name in zip(budgets, names, strict=True)
    ]
    lines, labels, tier_ends = [], [], [-math.inf, -math.inf]
    for size, name in sorted((size / 1e9, name) for name, size in devices.items() if size / 1e9 <= end):
        label = above(size, f"{name}: {size * 1e9 / 2**30:.3g} GiB", INK)
        half = len(label["text"]) * LETTER / 2 / (820 - left - right) * end  # in GB, in a figure 820 px wide
        tier = 0 if size - half > tier_ends[0] else 1
        tier_ends[tier] = size + half
        lines.append(line(size, INK))
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
