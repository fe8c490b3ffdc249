"""The kernels' benchmark: its arithmetic from its own samples. No time is asserted here."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cython_kernels
from cython_kernels import bench, unpack
from cython_kernels.bench import Bench, Work, __main__, bitnet_2b4t, single

ROOT = Path(cython_kernels.__file__).resolve().parent.parent
SMALL = 1 << 20

pytestmark = pytest.mark.skipif(
    not any(row.built for row in cython_kernels.backends()[1:]), reason=cython_kernels.backends()[-1].reason or "built"
)


def quartiles(values):
    return pytest.approx(statistics.quantiles(values, n=4, method="inclusive"))


@pytest.fixture(scope="module")
def report():
    run = [sys.executable, "-m", "cython_kernels.bench", "--quick"]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONIOENCODING": "utf-8"}
    found = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    return found.stdout.splitlines()


@pytest.fixture(scope="module")
def rows(report):
    return json.loads(report[-1])["rows"]


def race_of(row, rows):
    """The rows that were measured in the same race."""
    return [other for other in rows if all(other[name] == row[name] for name in ("what", "M", "threads"))]


def test_a_table_row_for_every_contender_and_the_machine_line(report, rows):
    lines = [line for line in report if line.startswith("| ")]

    assert len(lines) == 2 + len([row for row in rows if row["format"] != "bytes"])
    assert len({len(line) for line in lines}) == 1
    assert f"numpy {np.__version__}" in report[0]


def test_every_race_has_our_kernels_and_the_read_limit(rows):
    for row in rows:
        assert {"bytes", "2bit", "base3"} <= {other["format"] for other in race_of(row, rows)}


def test_times_and_rates_follow_from_the_samples(rows):
    for row in rows:
        assert row["ms"] == quartiles(row["samples_ms"])
        assert row["gb_per_s"] == pytest.approx(row["weights_bytes"] / row["ms"][1] / 1e6)
        assert row["gmac_per_s"] == pytest.approx(row["macs"] / row["ms"][1] / 1e6)


def test_a_share_is_taken_within_its_repetition(rows):
    for row in rows:
        reading = next(other for other in race_of(row, rows) if other["format"] == "bytes")
        limits = [reading["weights_bytes"] / ms / 1e6 for ms in reading["samples_ms"]]
        rates = [row["weights_bytes"] / ms / 1e6 for ms in row["samples_ms"]]
        assert row["share"] == quartiles([rate / limit for rate, limit in zip(rates, limits, strict=True)])
        assert row["read_limit_gb_per_s"] == pytest.approx(statistics.median(limits))


def test_a_ratio_is_to_the_best_baseline_of_its_repetition(rows):
    baselines = {"fp16/gemv", "fp16/torch", "bf16/torch"}
    compared = [row for row in rows if row["ratio"] is not None]
    for row in compared:
        others = [other["samples_ms"] for other in race_of(row, rows) if other["contender"] in baselines]
        best = [min(times) for times in zip(*others, strict=True)]
        assert row["ratio"] == quartiles([theirs / ours for theirs, ours in zip(best, row["samples_ms"], strict=True)])
        assert row["ratio"][0] > 0
        assert row["baseline"] in baselines
    assert {row["format"] for row in compared} > {"2bit", "base3"}


def test_a_goal_is_met_by_ratio_and_share(rows):
    asked = [row for row in rows if row["goal"] is not None]
    for row in asked:
        share_is_enough = row["goal_share"] is None or row["share"][1] >= row["goal_share"]
        assert row["met"] == (row["ratio"][1] >= row["goal"] and share_is_enough)
    assert asked


def test_the_call_overhead_is_python_less_c(report):
    call = json.loads(report[-1])["call"]

    assert call["overhead_us"] == quartiles([a - b for a, b in zip(call["python_us"], call["c_us"], strict=True)])


def test_what_is_kept_beside_a_busy_program_is_busy_over_quiet(report, rows):
    neighbour = json.loads(report[-1])["neighbour"]
    team = max(row["threads"] for row in rows)
    if team == 1:
        assert neighbour is None
        return

    pairs = zip(neighbour["busy_gb_per_s"], neighbour["quiet_gb_per_s"], strict=True)
    assert neighbour["kept"] == quartiles([busy / quiet for busy, quiet in pairs])
    assert neighbour["core_share"] == 1 / team


def test_no_share_is_asked_for_where_memory_is_fast():
    row = Bench(SMALL).measure(single(32, 64), ["2bit"], threads=1, repetitions=2)[-1]
    row = replace(row, ratio=(9.0, 9.0, 9.0), share=(0.8, 0.8, 0.8), read_limit_gb_per_s=40.0)
    goal = __main__.Goal(7.5, 0.95)

    assert __main__.judge(row, goal)["met"] is False
    assert __main__.judge(replace(row, read_limit_gb_per_s=40.1), goal)["met"] is True
    assert __main__.judge(row, None)["met"] is None


def test_a_layer_of_bitnet_has_its_published_shapes():
    q, k, v, o, gate, up, down = 2560 * 2560, 640 * 2560, 640 * 2560, 2560 * 2560, 6912 * 2560, 6912 * 2560, 2560 * 6912

    assert bitnet_2b4t(M=4, layers=30).macs == 4 * 30 * (q + k + v + o + gate + up + down)


def test_weights_are_counted_by_the_size_formula_and_lie_side_by_side():
    work = Work("two products", (((64, 32), 160), ((32,), 80)), layers=5)
    rows = {row.format: row for row in Bench(SMALL).measure(work, ["2bit", "base3"], threads=1, repetitions=2)}

    weights = (64 + 32) * 160 + 32 * 80
    for name, bits in (("fp16", 16), ("2bit", 2), ("base3", 1.6)):
        if name in rows:
            assert rows[name].weights_bytes == 5 * weights * bits / 8
            assert SMALL <= rows[name].footprint_bytes < SMALL + weights * bits / 8


@pytest.mark.parametrize("format", ["2bit", "base3"])
def test_the_random_weights_are_valid(format):
    columns = SMALL // 128 * cython_kernels.FORMATS[format].step_columns
    codes = unpack(Bench()._arena(format, SMALL), 32, columns, format)  # a byte that holds no codes would be an error

    assert set(np.unique(codes)) == {-1, 0, 1}


def test_a_format_alone_is_its_active_backend():
    twice = ["2bit", f"2bit/{cython_kernels.active().name}"]

    rows = Bench(SMALL).measure(single(32, 64), twice, threads=1, baselines=(), repetitions=1)

    assert [row.contender for row in rows] == ["bytes/read", twice[1]]


def test_a_copy_is_used_again_after_all_others():
    used = []
    contender = bench._Contender("2bit", "scalar", "2bit", 1, [lambda i=i: used.append(i) for i in range(5)])

    contender.seconds(1)
    contender.seconds(3)  # and one before that is not timed
    contender.seconds(2)

    assert used == [0, 1, 2, 3, 4, 0, 1, 2]


def test_every_repetition_begins_with_another_contender():
    order = []
    racers = {
        name: bench._Contender(name, "", name, 1, [lambda name=name: order.append(name)]) for name in ("a", "b", "c")
    }

    bench._race(racers, 1, 3, lambda: order.append("tick"))

    raced = "".join(order).split("tick")
    assert [raced[0][-3:], *raced[1:]] == ["abc", "bca", "cab", ""]


def test_a_kernel_of_ones_own_is_given_valid_weights_and_races_under_its_name(monkeypatch):
    given = []

    def mine(parts, K, x, format, backend, threads):
        ((weights, N),) = parts
        return lambda: given.append((weights.nbytes, 3 in weights >> 6, N, K, x.shape, format, backend, threads))

    monkeypatch.setitem(bench.OTHERS, "mine", mine)
    rows = Bench(SMALL).measure(single(32, 64), ["2bit/mine"], threads=1, baselines=(), repetitions=1)

    assert [(row.format, row.backend) for row in rows] == [("bytes", "read"), ("2bit", "mine")]
    assert set(given) == {(512, False, 32, 64, (1, 64), "2bit", "mine", 1)}


def test_reading_is_measured_where_nothing_is_compiled_too(monkeypatch):
    def not_built():
        raise cython_kernels.BackendNotBuiltError("no compiler")

    monkeypatch.setattr(bench, "_extension", not_built)
    rows = Bench(SMALL).measure(single(32, 64), ["2bit/reference"], threads=1, baselines=(), repetitions=1)

    assert [(row.format, row.backend) for row in rows] == [("bytes", "read"), ("2bit", "reference")]
    assert all(row.read_limit_gb_per_s > 0 for row in rows)


def test_baselines_that_cannot_run_are_left_out(monkeypatch):
    monkeypatch.setattr(bench, "runs", lambda name, M: False)

    rows = Bench(SMALL).measure(single(32, 64), ["2bit"], threads=1, repetitions=2)

    assert [(row.contender, row.ratio, row.baseline) for row in rows] == [
        ("bytes/read", None, None),
        (f"2bit/{cython_kernels.active().name}", None, None),
    ]


def test_a_backend_without_base3_is_measured_on_what_it_holds():
    if not bench.runs("base3/avx2"):
        pytest.skip("avx2 cannot run here")

    row = Bench(SMALL).measure(single(32, 160), ["base3/avx2"], threads=1, repetitions=2)[-1]

    assert (row.format, row.held, row.backend, row.weights_bytes) == ("base3", "2bit", "avx2", 32 * 160 * 2 // 8)


def test_a_wrong_kernel_is_not_timed(monkeypatch):
    monkeypatch.setattr(
        __main__, "linear", lambda matrices, x: tuple(np.zeros((len(x), m.N), np.float32) for m in matrices)
    )

    with pytest.raises(RuntimeError, match="backend reference is wrong on 1 tokens times 2bit weights"):
        __main__.check_exactness()
