"""The table and the line of JSON."""

import json

import numpy as np

from slmlab import bench
from slmlab.ledger import format_bytes, table

from .contenders import Turn, is_ours
from .greedy import GREEDY_TOKENS
from .llama_cpp import NAME as PEER

GOAL = 1.4  # times as fast as llama.cpp's TQ2_0, in decoding


def report(
    turns: dict[str, list[Turn]], limits: list[bench.ReadLimit], ids: dict, memory: dict[str, dict], peer: dict | None
) -> None:
    """Print them. turns: by contender, the first of which is the one to compare with; one turn a repetition, or one.

    peer: what is known of llama.cpp, None without it; its turns are those whose name begins with its own.
    """
    rows = [_row(name, turns, memory.get(name)) for name in turns]
    print(_table(rows))
    base = next(iter(turns))
    print(f"{len(turns[base])} repetitions in rotating order; medians, quartiles in brackets")
    for row in rows:
        if row["peer_ratios"] and is_ours(row["name"]):
            each = " ".join(f"{ratio:.2f}" for ratio in row["peer_ratios"])
            print(f"{row['name']} decodes {_spread(row['peer_ratio'])} times as fast as {PEER}, wanted {GOAL}: {each}")
    if peer:
        idle = ", ".join("unknown" if share is None else f"{share:.2%}" for share in peer["idle_shares"])
        print(f"{PEER}: xllamacpp {peer['version']} ({' '.join(peer['features'])}); {idle} of a core between its turns")
    print(f"read limit: {', '.join(f'{limit / 1e9:.1f}' for limit in limits)} GB/s; best: {max(limits)}")
    print(f"ids: {ids['equal']} of {GREEDY_TOKENS}; blocks: {ids['blocks_equal']}; last bit: {ids['noise_equal']}")
    print(f"int8 head: an error of {ids['head_rms']:.2%} of the logits, {ids['head_equal']} choices as before")
    line = {"machine": str(bench.machine()), "read_limit_bytes_per_s": [float(limit) for limit in limits]}
    print(json.dumps({**line, "greedy": ids, "peer": peer, "rows": rows}))


def _row(name: str, turns: dict[str, list[Turn]], memory: dict | None) -> dict:
    """Quartiles of one contender, and those of its ratios, each taken within a repetition; above 1 is faster."""
    own, base = turns[name], next(iter(turns.values()))
    peers = [its for other, its in turns.items() if other.startswith(PEER)]
    best_ms = [min(turn.decode_ms for turn in each) for each in zip(*peers, strict=True)]  # [] without a peer
    peer_ratios = [peer_ms / turn.decode_ms for peer_ms, turn in zip(best_ms, own, strict=False)]
    kernels_ms = [turn.kernels_ms for turn in own if turn.kernels_ms is not None]
    pairs = list(zip(own, base, strict=False))  # a slow one has the first repetition alone
    return {
        "name": name,
        "decode_ms": _quartiles([turn.decode_ms for turn in own]),
        "decode_ratio": _quartiles([its.decode_ms / turn.decode_ms for turn, its in pairs]),
        "peer_ratio": _quartiles(peer_ratios) if peer_ratios else None,
        "peer_ratios": peer_ratios,
        "prompt_tok_per_s": _quartiles([turn.prompt_tok_per_s for turn in own]),
        "prompt_ratio": _quartiles([turn.prompt_tok_per_s / its.prompt_tok_per_s for turn, its in pairs]),
        "kernels_ms": _quartiles(kernels_ms) if kernels_ms else None,
        "above_kernels": _quartiles([t.decode_ms / t.kernels_ms - 1 for t in own]) if kernels_ms else None,
        "memory": memory,
    }


def _table(rows: list[dict]) -> str:
    base = rows[0]["name"]
    header = ["", "tok/s", "ms a token", f"x {base}", f"x {PEER}", "prompt tok/s", f"x {base}", "kernels ms"]
    cells = [
        [
            row["name"],
            f"{1000 / row['decode_ms'][1]:.3g}",
            _spread(row["decode_ms"], 1),
            _spread(row["decode_ratio"]),
            _spread(row["peer_ratio"]) if row["peer_ratio"] else "",
            f"{row['prompt_tok_per_s'][1]:.3g}",
            _spread(row["prompt_ratio"]),
            f"{row['kernels_ms'][1]:.1f}" if row["kernels_ms"] else "",
            f"{row['above_kernels'][1]:.0%}" if row["kernels_ms"] else "",
            format_bytes(row["memory"]["rss_bytes"]) if row["memory"] else "",
        ]
        for row in rows
    ]
    if not any(row["peer_ratio"] for row in rows):
        header.pop(4)
        cells = [row[:4] + row[5:] for row in cells]
    return table([*header, "above them", "resident"], cells)


def _spread(quartiles: tuple[float, float, float], digits: int = 2) -> str:
    q1, median, q3 = quartiles
    return f"{median:.{digits}f} ({q1:.{digits}f} to {q3:.{digits}f})"


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    return tuple(np.percentile(values, (25, 50, 75)).tolist())
