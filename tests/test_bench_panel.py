"""The panel's numbers against ones that a reader can work out by eye, and its view by moving the controls."""

import statistics

import numpy as np
import pytest

from slmlab.widgets import BenchPanel, bench_panel

SAMPLES_MS = [9.0, 2.0, 1.0, 4.0, 2.0, 2.0, 3.0, 2.0, 8.0, 2.0]


@pytest.mark.parametrize(
    ("estimator", "estimate"), [("median", statistics.median), ("mean", statistics.fmean), ("minimum", min)]
)
@pytest.mark.parametrize(("warmup", "kept"), [(0, 10), (0, 1), (1, 6), (4, 3)])
def test_the_estimate_is_of_the_kept_samples_alone(estimator, estimate, warmup, kept):
    state = bench_panel.state(SAMPLES_MS, warmup, kept, estimator)

    assert state.estimate_ms == pytest.approx(estimate(SAMPLES_MS[warmup : warmup + kept]))
    running = [estimate(SAMPLES_MS[warmup:end]) for end in range(warmup + 1, 11)]
    assert state.running_ms.tolist() == pytest.approx(running)
    assert state.bin_counts.sum() == kept
    assert state.difference == pytest.approx(state.estimate_ms / 2.0 - 1)  # the median of all ten is 2


def test_intervals_by_hand():
    # six samples: from the smallest to the largest; their mean is 3.5 and their deviation the root of 3.5
    assert bench_panel.state([3, 1, 2, 6, 5, 4]).interval_ms == (1, 6)
    low, high = bench_panel.state([3, 1, 2, 6, 5, 4], estimator="mean").interval_ms
    assert (low, high) == pytest.approx((3.5 - 1.96 * (3.5 / 6) ** 0.5, 3.5 + 1.96 * (3.5 / 6) ** 0.5))


@pytest.mark.parametrize(("kept", "estimator"), [(5, "median"), (1, "mean"), (6, "minimum")])
def test_where_there_is_no_interval_it_says_so(kept, estimator):
    state = bench_panel.state(SAMPLES_MS, 0, kept, estimator)

    assert state.interval_ms is None and "no interval" in state.numbers


def test_settled_is_where_the_answer_stops_moving():
    # minima: 9, 2, 1, 1, ...: right from the third on; a series that never moves is settled at once
    assert bench_panel.state(SAMPLES_MS, estimator="minimum").settled == 3
    assert bench_panel.state([2.0] * 7).settled == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "wanted milliseconds"),
        (([1.0, 0.0],), "one positive number"),
        (([1.0, float("nan")],), "one positive number"),
        ((SAMPLES_MS, 10), "wanted one or more kept"),
        ((SAMPLES_MS, 5, 6), "warmup is 5 and kept 6, of 10 samples"),
        ((SAMPLES_MS, 0, 10, "mode"), "estimator is 'mode', wanted one of median, mean, minimum"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        bench_panel.state(*arguments)


def test_the_view_draws_what_its_controls_say():
    view = BenchPanel(SAMPLES_MS)

    view.warmup.value, view.kept.value, view.estimator.value = 2, 5, "mean"

    wanted = bench_panel.state(SAMPLES_MS, 2, 5, "mean")
    drawn = {trace.name: np.asarray(trace.y).tolist() for trace in view.plot.figure.data if trace.name}
    assert drawn["discarded"] == SAMPLES_MS[:2] and drawn["used"] == SAMPLES_MS[2:7]
    assert drawn["not used"] == SAMPLES_MS[7:]
    assert view.plot.figure.layout.title.text == wanted.title == "mean of 5 calls after 2: 2.4 ms"
    assert str(wanted) in view.text.value and not view.trouble.value


def test_a_longer_warm_up_leaves_fewer_to_keep():
    view = BenchPanel(SAMPLES_MS)
    view.kept.value = 10

    view.warmup.value = 4

    assert view.kept.max == view.kept.value == view.state.kept == 6
    assert not view.trouble.value


def test_one_sample_is_no_series():
    with pytest.raises(ValueError, match="has 1 samples, wanted 2 or more"):
        BenchPanel([1.0])
