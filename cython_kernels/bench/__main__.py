"""Measure all that README.md tabulates: python -m cython_kernels.bench [--quick]

First every backend is checked, then come the machine, the table and, as the last line, all of it as JSON. It takes
four minutes and 6 GB of memory; nothing else should run meanwhile, since that would take bandwidth and cores.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

import numpy as np

from cython_kernels import FORMATS, backends, linear, matrix, pack, reference, threads
from cython_kernels.bench import BEST_FP16, LAYER, Bench, Row, Work, bitnet_2b4t, full_name, runs, single
from cython_kernels.bench.machine import available_bytes, line, machine

SLOW_MEMORY_GB_PER_S = 40  # the goal for the share of the read limit holds up to here: see Goal
CHECKED = ((1, 32, 64), (1, 33, 131), (3, 70, 50), (13, 65, 403), (1, 96, 2560))  # M, N, K


@dataclass(frozen=True)
class Goal:
    """What the project set out to reach: times as fast as the best baseline, and a share of the read limit.

    The share is asked for only where memory is slow: where it is fast, computing shows beside reading.
    """

    ratio: float
    share: float | None = None


@dataclass(frozen=True)
class Race:
    """One call of `Bench.measure`, and the goals of its contenders."""

    work: Work
    threads: int
    contenders: tuple[str, ...]
    goals: dict[str, Goal] = field(default_factory=dict)
    baselines: tuple[str, ...] = BEST_FP16


def races() -> list[Race]:
    decode = ("2bit", "base3", "2bit/avx2", "2bit/litespark")
    all_threads = {"2bit": Goal(7.5, 0.95), "base3": Goal(10, 0.95), "2bit/avx2": Goal(7.5)}
    found = [
        Race(bitnet_2b4t(), threads(), decode, all_threads),
        Race(bitnet_2b4t(), 1, decode, {"2bit": Goal(7), "base3": Goal(8)}),
    ]
    # 1.3 times what the fastest of bitnet.cpp, llama.cpp and ik_llama.cpp reached against the best fp16 on one AMD EPYC
    # (Zen 4, two cores), November 2026.
    for N, K, peer in ((2560, 2560, 4.88), (6912, 2560, 7.20), (2560, 6912, 7.81), (640, 2560, 4.39)):
        found.append(Race(single(N, K), threads(), decode, {"base3": Goal(1.3 * peer)}))
    for name, product in (("q+k+v in one call", LAYER[0]), ("gate+up in one call", LAYER[2])):
        found.append(Race(Work(name, (product,)), threads(), decode))
    for M, ratio in ((4, 10), (16, 4), (64, 2.2), (256, 1.6)):
        prefill = ("2bit", "base3", "fp32/torch")
        found.append(Race(bitnet_2b4t(M, layers=1), threads(), prefill, {"2bit": Goal(ratio)}, ("bf16/torch",)))
    return found


def check_exactness() -> None:
    """Every backend and format against the specification. RuntimeError: a kernel is wrong, and not worth a time."""
    rng = np.random.default_rng(0)
    for backend in (row.name for row in backends() if row.built and row.supported):
        for M, N, K in CHECKED:
            for name, layout in FORMATS.items():
                codes = rng.integers(layout.lowest, layout.highest, (N, K), np.int8, endpoint=True)
                x = rng.integers(-128, 127, (M, K), np.int8, endpoint=True)
                activations, scale = rng.standard_normal((M, K), np.float32), rng.standard_normal(N, np.float32)
                packed = pack(codes, name)
                slow = reference.Matrix(packed, N, K, format=name, scale=scale)
                fast = matrix(packed, N, K, format=name, scale=scale, backend=backend)
                if not (
                    np.array_equal(fast.matmul(x), x.astype(np.int64) @ codes.T.astype(np.int64))
                    and np.array_equal(linear([fast], activations)[0], reference.linear([slow], activations)[0])
                ):
                    raise RuntimeError(
                        f"backend {backend} is wrong on {M} tokens times {name} weights ({N}, {K}), so nothing is "
                        "timed: build the extension again, and report it if it stays wrong"
                    )


def call_overhead(repetitions: int) -> dict:
    """Microseconds of a 32 x 64 product called from Python, and of the same one called from C, in turn."""
    from cython_kernels import ternary

    weights, x, calls = matrix(pack(np.zeros((32, 64), np.int8)), 32, 64), np.zeros((1, 64), np.int8), 5000
    python_us, c_us = [], []
    for _ in range(repetitions):
        start = time.perf_counter()
        for _ in range(calls):
            weights.matmul(x)
        python_us.append(1e6 * (time.perf_counter() - start) / calls)
        c_us.append(1e6 * ternary.seconds_in_c(weights, x, threads(), calls) / calls)
    overhead_us = np.percentile(np.subtract(python_us, c_us), (25, 50, 75)).tolist()
    return {
        "what": "32 x 64, called from Python and from C",
        "python_us": python_us,
        "c_us": c_us,
        "overhead_us": overhead_us,
        "goal_us": 1.5,
        "met": overhead_us[1] < 1.5,
    }


def beside_a_busy_program(bench: Bench, repetitions: int, seconds: float) -> dict | None:
    """What base-3 decoding on all CPUs keeps while another program wants one of them; None where there is but one.

    The other program may be on any CPU. A core's share is what must be lost: 1 / threads.
    """
    team = threads()
    if team < 2:
        return None
    quiet, busy = [], []
    for _ in range(repetitions):
        quiet.append(bench.sustained("base3", bitnet_2b4t(), team, seconds))
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            try:
                time.sleep(min(seconds, 0.5))
                busy.append(bench.sustained("base3", bitnet_2b4t(), team, seconds))
            finally:
                other.kill()
    kept = np.percentile(np.divide(busy, quiet), (25, 50, 75)).tolist()
    return {
        "what": "30 layers of base3 beside a busy program",
        "threads": team,
        "quiet_gb_per_s": quiet,
        "busy_gb_per_s": busy,
        "kept": kept,
        "core_share": 1 / team,
    }


def judge(row: Row, goal: Goal | None) -> dict:
    """The row with its goal: goal, goal_share, met, each None where nothing is asked."""
    entry = {"contender": row.contender, **asdict(row), "goal": None, "goal_share": None, "met": None}
    if goal is not None and row.ratio is not None:
        share = goal.share if row.read_limit_gb_per_s <= SLOW_MEMORY_GB_PER_S else None
        met = row.ratio[1] >= goal.ratio and (share is None or row.share[1] >= share)
        entry |= {"goal": goal.ratio, "goal_share": share, "met": met}
    return entry


def table(entries: list[dict]) -> str:
    """A Markdown table that can be read as it stands."""
    header = ("what", "M", "threads", "format", "backend", "ms", "GB/s", "limit GB/s", "of limit", "G MAC/s")
    lines = [(*header, "times", "as fast as", "goal", "met")] + [_cells(entry) for entry in entries]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
        for cells in lines
    )


def _cells(entry: dict) -> tuple[str, ...]:
    decimals = max(0, 2 - int(np.floor(np.log10(entry["ms"][1]))))
    goal = "" if entry["goal"] is None else f"{entry['goal']:.1f}"
    return (
        entry["what"],
        str(entry["M"]),
        str(entry["threads"]),
        entry["format"],
        entry["backend"],
        f"{entry['ms'][1]:.{decimals}f}",
        f"{entry['gb_per_s']:.1f}",
        f"{entry['read_limit_gb_per_s']:.1f}",
        "{1:.0f} % ({0:.0f}–{2:.0f})".format(*(100 * share for share in entry["share"])),  # noqa: RUF001
        f"{entry['gmac_per_s']:.0f}",
        "" if entry["ratio"] is None else "{1:.2f} ({0:.2f}–{2:.2f})".format(*entry["ratio"]),  # noqa: RUF001
        entry["baseline"] or "",
        goal if entry["goal_share"] is None else f"{goal}, {100 * entry['goal_share']:.0f} %",
        {None: "", True: "yes", False: "no"}[entry["met"]],
    )


def main() -> None:
    sys.stdout.reconfigure(errors="replace")  # a Windows pipe cannot spell every sign of the table
    parser = argparse.ArgumentParser("python -m cython_kernels.bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="show within seconds that it runs: the figures mean nothing"
    )
    quick = parser.parse_args().quick
    check_exactness()

    fp16_layers = 30 if (available_bytes() or 0) > 12e9 else 8
    bench = Bench(1 << 25) if quick else Bench(fp16_footprint_bytes=fp16_layers * 2 * bitnet_2b4t(layers=1).macs)
    found, entries = machine(), []
    print(line(found))

    plan = races()
    if quick:
        plan = [plan[0], plan[2], plan[6], plan[8]]  # one of each kind
    for number, race in enumerate(plan, 1):
        print(f"race {number} of {len(plan)}: {race.work.name}, M = {race.work.M}", file=sys.stderr)
        rows = bench.measure(
            race.work,
            [name for name in race.contenders if runs(name, race.work.M)],
            threads=race.threads,
            baselines=race.baselines,
            repetitions=3 if quick else 31 if race.work.M == 1 else 9,
        )
        goals = {full_name(name): goal for name, goal in race.goals.items()}
        entries += [judge(row, goals.get(row.contender)) for row in rows]
    overhead = call_overhead(3 if quick else 31)
    neighbour = beside_a_busy_program(bench, *((2, 0.1) if quick else (5, 3.0)))

    print(table([entry for entry in entries if entry["contender"] != "bytes/read"]))
    print("ms and GB/s: medians. of limit, times: medians and quartiles of what each repetition gave.")
    for name in dict.fromkeys(entry["contender"] for entry in entries):
        footprints = [entry["footprint_bytes"] / 1e6 for entry in entries if entry["contender"] == name]
        print(f"{name}: {min(footprints):,.0f} to {max(footprints):,.0f} MB of distinct weights, in turn")
    print("{what}: {1:.2f} us ({0:.2f} to {2:.2f}) more".format(*overhead["overhead_us"], what=overhead["what"]))
    if neighbour is not None:
        kept = [100 * part for part in neighbour["kept"]]
        print(f"{neighbour['what']}: keeps {kept[1]:.0f} % ({kept[0]:.0f} to {kept[2]:.0f}) of its speed;", end=" ")
        print(f"a core's share is {100 * neighbour['core_share']:.0f} %")
    limits = {}
    for entry in entries:
        limits.setdefault(str(entry["threads"]), []).append(entry["read_limit_gb_per_s"])
    limits = {number: float(np.median(values)) for number, values in limits.items()}
    report = {"machine": found, "quick": quick, "read_limit_gb_per_s": limits, "rows": entries}
    report |= {"call": overhead, "neighbour": neighbour}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
