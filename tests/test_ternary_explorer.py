"""The ternary explorer: states against loops, the view by moving its controls and reading what is drawn."""

import math

import numpy as np
import pytest

from slmlab import figures
from slmlab.exercises.ternarizing import absmean_codes, best_ternary
from slmlab.widgets import TernaryExplorer, ternary_explorer
from slmlab.widgets.ternary_explorer import Point, rounded

W = np.random.default_rng(5).standard_t(4, (12, 30)).astype(np.float32)
MEAN = float(np.abs(W).mean(dtype=np.float64))


def sqnr_db(w: np.ndarray, y: np.ndarray) -> float:
    signal = sum(float(a) ** 2 for a in w.ravel())
    noise = sum((float(a) - float(b)) ** 2 for a, b in zip(w.ravel(), y.ravel(), strict=True))
    return 10 * math.log10(signal / noise)


@pytest.mark.parametrize(("threshold", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.75, 1.55), (2.0, 2.5)])
def test_a_state_is_what_loops_find(threshold, scale):
    state = ternary_explorer.state(W, "w", threshold, scale)

    levels = [0 if abs(w) <= threshold * MEAN else math.copysign(scale * MEAN, w) for w in W.ravel().tolist()]
    shares = [
        sum(level < 0 for level in levels),
        sum(level == 0 for level in levels),
        sum(level > 0 for level in levels),
    ]
    assert state.shares == pytest.approx([share / W.size for share in shares])
    assert np.allclose(rounded(W, threshold, scale).ravel(), levels, rtol=1e-6)
    assert state.sqnr_db == pytest.approx(sqnr_db(W, np.array(levels)), rel=1e-6)
    at = np.argmin(np.abs(state.scales - scale)), np.argmin(np.abs(state.thresholds - threshold))
    assert state.plane_db[at] == pytest.approx(state.sqnr_db, rel=1e-9)
    assert state.value_counts.sum() == W.size


def test_absmean_and_the_best_stand_where_the_exercises_put_them():
    state = ternary_explorer.state(W, "w", 0.5, 1.0)

    codes, scale = absmean_codes(W)
    assert state.absmean_db == pytest.approx(sqnr_db(W, codes * scale), rel=1e-6)
    codes, scale = best_ternary(W)
    threshold, of_mean, best_db = state.best
    assert of_mean == pytest.approx(scale / MEAN) and best_db == pytest.approx(sqnr_db(W, codes * scale), rel=1e-6)
    assert np.array_equal(rounded(W, threshold, of_mean) != 0, codes != 0)
    assert state.plane_db.max() <= best_db + 1e-9


def test_numbers_are_written_out():
    w = np.array([[2.0, -2.0, 0.5, -0.5, 0.0]], np.float32)  # mean 1; the best keeps the two large ones

    state = ternary_explorer.state(w, "q", 0.25, 1.0)

    # error 1 + 1 + 1/4 + 1/4 of 8.5; absmean, a tie to even at 0.5: 2 + 1/2; the best: 1/2
    assert str(state) == (
        "q: 0 up to 0.25 mean |w|, else ±1.00 mean |w|. "
        "SQNR 5.31 dB · absmean 5.31 dB · best 12.30 dB, at 1.25 and 2.00."
    )


@pytest.mark.parametrize("w", [np.ones(4), np.zeros((2, 2))])
def test_what_has_no_scale_is_refused(w):
    with pytest.raises(ValueError, match="wanted a matrix"):
        ternary_explorer.state(w, "w", 0.5, 1.0)


def test_the_view_draws_the_state_of_its_controls():
    view = TernaryExplorer({"one": W, "two": 2 * W + 1})
    assert [control.disabled for control in (view.layer, view.threshold, view.scale)] == [False] * 3

    view.layer.value, view.threshold.value, view.scale.value = "two", 0.8, 1.5

    wanted = ternary_explorer.state(2 * W + 1, "two", 0.8, 1.5)
    figure = view.plot.figure
    assert figure.layout.title.text == wanted.title == "two: 0 up to 0.80 mean |w|, else ±1.50 mean |w|"
    assert figure.layout.title.subtitle.text == wanted.numbers
    assert np.allclose(figure.data[1].x, [-1.5, 0, 1.5])
    assert len(figure.to_json()) < 100_000


def test_a_measurement_is_kept_and_drawn_and_one_that_fails_is_said():
    asked = []

    def nats_more(threshold, scale):
        asked.append((threshold, scale))
        if threshold > 1:
            raise RuntimeError("too little is left")
        return 0.25

    view = TernaryExplorer({"one": W}, nats_more)
    view.scale.value = 1.5
    view.measure.click()
    view.measure.click()
    assert asked == [(0.5, 1.5)] * 2 and view.points == (Point(0.5, 1.5, 0.25),)
    assert list(view.plot.figure.data[4].text) == ["+0.25"] and "+0.250" in view.table.value

    view.threshold.value = 1.2
    view.measure.click()
    assert "too little is left" in view.trouble.value and not view.measure.disabled and len(view.points) == 1


def test_an_interrupted_measurement_leaves_the_points():
    def nats_more(threshold, scale):
        raise KeyboardInterrupt

    view = TernaryExplorer({"one": W}, nats_more)
    view.measure.click()

    assert view.points == () and "Interrupted" in view.note.value and not view.measure.disabled


def test_without_tensors_there_is_no_view():
    with pytest.raises(ValueError, match="tensors is empty"):
        TernaryExplorer({})


def test_the_figure_names_the_four_places():
    figure = figures.ternary_rounding(ternary_explorer.state(W, "w", 0.7, 1.4))

    assert list(figure.data[3].text) == ["binary", "absmean", "best", "yours"]
    assert (figure.data[3].x[3], figure.data[3].y[3]) == (0.7, 1.4)
