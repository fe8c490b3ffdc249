"""KernelBench: what its state picks, what its figure shows, and its view on a bench that pretends."""

import dataclasses

import numpy as np
import pytest

from cython_kernels.bench import Row, single
from slmlab import figures
from slmlab.widgets import KernelBench, kernel_bench


def row(contender="2bit/scalar", N=2560, K=2560, M=1, threads=1, ms=1.0, bits=2.0, ratio=(1.9, 2.0, 2.1), limit=10.0):
    format, _, backend = contender.partition("/")
    work, nbytes = single(N, K, M), int(N * K * bits / 8)
    return Row(
        what=work.name,
        format=format,
        backend=backend,
        held=format,
        threads=threads,
        M=M,
        macs=work.macs,
        weights_bytes=nbytes,
        footprint_bytes=nbytes,
        samples_ms=(ms,),
        ms=(ms * 0.9, ms, ms * 1.2),
        gb_per_s=nbytes / ms / 1e6,
        gmac_per_s=work.macs / ms / 1e6,
        ratio=ratio,
        baseline="fp16/gemv",
        read_limit_gb_per_s=limit,
        share=(0.1, nbytes / ms / 1e6 / limit, 0.3),
    )


class Pretended:
    """A bench that answers at once and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def measure(self, work, contenders, *, threads, repetitions, sample_s):
        self.asked.append((work.name, work.M, threads, *contenders))
        N, K = map(int, work.name.split(" x "))
        count = len(self.asked)
        names = ("fp16/torch", *contenders)
        reading = dataclasses.replace(row("bytes/read", N, K), macs=0, gmac_per_s=0.0, ratio=None)
        return [reading, *(row(name, N, K, work.M, threads, ms=float(count)) for name in names)]


def test_a_state_takes_the_newest_row_of_each_contender_and_only_its_own_setting():
    old, new = row(ms=2.0), row(ms=3.0)
    others = [row(M=4), row(threads=2), row(N=640), row("fp16/gemv", bits=16, ms=5.0), row("2bit/avx2")]

    state = kernel_bench.state([old, *others, new], "2560 x 2560", 1, 1, "2bit/scalar")

    assert state.row is new
    assert [(r.contender, r.ms[1]) for r in state.rows] == [
        ("2bit/scalar", 3.0),
        ("fp16/gemv", 5.0),
        ("2bit/avx2", 1.0),
    ]
    assert {(r.contender, r.M) for r in state.path} == {("2bit/scalar", 1), ("2bit/scalar", 4), ("fp16/gemv", 1)}


def test_what_was_not_measured_is_told():
    with pytest.raises(LookupError, match="2bit/avx2 was not measured for 2560 x 2560, 1 tokens, 2 threads"):
        kernel_bench.state([row()], "2560 x 2560", 1, 2, "2bit/avx2")


def test_a_state_tells_time_ratio_and_share():
    # 2560 * 2560 weights of 2 bits are 1.6384 MB; in 0.2 ms 8.192 GB/s, 82 % of 10 GB/s
    state = kernel_bench.state([row(ms=0.2)], "2560 x 2560", 1, 1, "2bit/scalar")

    assert state.title == "2bit/scalar: 2560 x 2560, 1 token, 1 thread"
    assert state.numbers == "200 µs · 2.00 times as fast as fp16/gemv · 8.2 GB/s of weights, 82% of the read limit"
    assert "reading the weights is the limit" in str(state)


def test_the_ladder_shows_rates_ratios_quartiles_and_where_the_bytes_meet_the_limit():
    rows = [row("fp16/gemv", bits=16, ms=1.0), row("2bit/yours", ms=0.5), row("2bit/avx2", ms=0.25)]
    figure = figures.ladder(rows, "2bit/yours", (2.0, 6.0))

    drawn = {trace.name: trace for trace in figure.data}
    assert drawn["yours"].y == ("2bit/yours",) and drawn["yours"].x == pytest.approx((13.1072,))
    assert "13.1 · 2.00x" in drawn["yours"].text[0]
    assert drawn["yours"].error_x.array == pytest.approx((13.1072 / 0.9 - 13.1072,))
    assert drawn["yours"].error_x.arrayminus == pytest.approx((13.1072 - 13.1072 / 1.2,))
    assert drawn["its read limit"].x == pytest.approx((5.0, 40.0, 40.0))  # 10 GB/s over 2 bytes, and over 2 bits
    assert list(figure.layout.yaxis.categoryarray) == ["fp16/gemv", "2bit/yours", "2bit/avx2"]
    (band,) = figure.layout.shapes
    assert (band.x0, band.x1) == pytest.approx((2 * 6.5536, 6 * 6.5536))


def test_kinds_differ_by_more_than_color():
    rows = [row("fp16/gemv"), row("2bit/yours"), row("2bit/avx2")]

    symbols = {trace.marker.symbol for trace in figures.ladder(rows, "2bit/yours").data}
    dashes = {trace.line.dash for trace in figures.roofline(rows).data if trace.name.startswith("roof")}
    assert len(symbols) == 4 and len(dashes) == 2


def test_the_roof_rises_with_the_read_limit_to_the_most_that_was_reached():
    rows = [row(M=1, ms=0.2), row(M=64, ms=4.0), row("fp16/torch", bits=16, M=64, ms=40.0)]
    roof, dashed, path, _ = figures.roofline(rows).data

    peak = 64 * 2560 * 2560 / 4e-3 / 1e9
    assert roof.y[1:] == pytest.approx((peak, peak)) and roof.y[0] == pytest.approx(10.0 * roof.x[0])
    assert max(dashed.y) == pytest.approx(peak / 10)
    assert (path.x, path.text) == (pytest.approx((4.0, 256.0)), ("1", "64"))


@pytest.fixture
def view(monkeypatch):
    monkeypatch.setattr(kernel_bench, "threads", lambda: 2)
    bench = Pretended()
    view = KernelBench(bench, own=["2bit/yours"], rows=[row("fp16/torch", bits=16)])
    assert not view.trouble.value
    return view, bench


def test_the_view_measures_what_its_controls_say_once(view):
    view, bench = view
    backend = view.backend.value

    view.tokens.value = 4
    view.threads.value = 2
    view.threads.value = 1

    shape = "2560 x 2560"
    assert bench.asked == [(shape, M, team, f"2bit/{backend}") for M, team in ((1, 1), (4, 1), (4, 2))]
    assert view.state.title == f"2bit/{backend}: {shape}, 4 tokens, 1 thread"
    assert view.plot.figure.layout.title.text == view.state.title
    assert not view.trouble.value


def test_measure_again_measures_again(view):
    view, bench = view
    before = view.state.row.ms[1]

    view.again.click()

    assert bench.asked == bench.asked[:1] * 2 and view.state.row.ms[1] == before + 1


def test_ones_own_kernel_is_offered_in_its_own_format(view):
    view, bench = view
    view.format.value = "base3"

    view.backend.value = "yours"

    assert bench.asked[-1] == ("2560 x 2560", 1, 1, "2bit/yours")
    assert view.format.disabled and not view.trouble.value


def test_a_kernel_that_fails_is_shown(view, monkeypatch):
    view, bench = view

    def fail(*_arguments, **_named):
        raise ValueError("no such kernel")

    monkeypatch.setattr(bench, "measure", fail)
    view.tokens.value = 8

    assert "KernelBench: ValueError: no such kernel" in view.trouble.value


def test_one_thread_leaves_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(kernel_bench, "threads", lambda: 1)

    assert KernelBench(Pretended()).threads.disabled


def test_a_real_bench_fits():
    from cython_kernels.bench import Bench

    view = KernelBench(Bench(1 << 20))
    view.shape.value = (640, 2560)

    assert view.state.row.what == "640 x 2560" and np.isfinite(view.state.row.gmac_per_s)
    assert not view.trouble.value
