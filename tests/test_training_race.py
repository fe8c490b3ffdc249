"""A race as it is drawn, against the race itself; the widget by its button, its slider and its menu."""

import threading
import time
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest

from slmlab import figures
from slmlab.evaluation.exams import Sheet
from slmlab.evaluation.intervals import Estimate, share
from slmlab.evaluation.racing import Lap, Look
from slmlab.minis import corpus
from slmlab.widgets import TrainingRace, training_race

EXAM = tuple(corpus.exams.facts("new", 8, seed=0))


def look(nats, right):
    answers = tuple(document.answer if n < right else "A <b> does not know." for n, document in enumerate(EXAM))
    sheet = Sheet(EXAM, answers, tuple(n < right for n in range(len(EXAM))))
    return Look({"clean text": Estimate(nats, nats - 0.1, nats + 0.2, 9), "noisy text": share(1, 2)}, sheet)


class Race:
    """A race without models: a runner's loss is 8 / step; looked at every other step."""

    def __init__(self, steps=8, gate=None):
        self.steps, self.step, self.every, self.tokens_per_step, self.gate = steps, 0, 2, 100, gate
        self.runners = {name: SimpleNamespace(losses=[]) for name in ("clean", "noisy")}
        self.laps = []

    def turns_left(self):
        if not self.laps:
            self._look()
        while self.step < self.steps:
            if self.gate:
                self.gate.wait(10)
            for place, runner in enumerate(self.runners.values()):
                runner.losses.append(8 / (self.step + 1) + place)
            self.step += 1
            if self.step % 2 == 0:
                self._look()
            yield self.step

    def _look(self):
        looks = {"clean": look(5 - self.step / 2, self.step), "noisy": look(5 - self.step / 4, self.step // 2)}
        self.laps.append(Lap(self.step, 100 * self.step, looks))


def raced(turns):
    race = Race()
    going = race.turns_left()
    for _ in range(turns):
        next(going)
    return race


def test_a_state_has_what_the_race_has():
    race = raced(5)
    state = training_race.state(race)

    assert state.names == ("clean", "noisy") and state.tokens == 800 and state.lap == 2
    assert state.title == "After 400 of 800 tokens each"
    assert state.numbers == "clean: 3.000 nats, 4 of 8 facts · noisy: 4.000 nats, 2 of 8 facts"
    assert "clean 3.000 (2.900 to 3.200) nats a token, facts 0.50" in str(state)


def test_a_runner_s_own_loss_is_smoothed_over_the_last_steps():
    losses = [float(n * n % 7) for n in range(25)]
    found = training_race._smoothed(losses)

    for n in range(25):
        last = losses[max(0, n - training_race.SMOOTH + 1) : n + 1]
        assert found[n] == pytest.approx(sum(last) / len(last))
    assert training_race._smoothed([]) == ()


def test_a_long_race_is_drawn_with_few_points_the_last_among_them():
    race = Race(steps=1000)
    for _ in race.turns_left():
        pass
    line = training_race.state(race).losses["clean"]

    assert 250 <= len(line) <= training_race.POINTS
    assert line[-1] == (100_000, pytest.approx(sum(8 / n for n in range(991, 1001)) / 10))
    assert len({b[0] - a[0] for a, b in pairwise(line)}) == 1


def test_a_question_is_shown_with_what_both_said_then():
    race = raced(8)
    state = training_race.state(race, lap=2, chosen=3)

    assert state.question == EXAM[3].messages[-1]["content"] and state.truth == EXAM[3].answer
    assert state.answers == [("clean", EXAM[3].answer, True), ("noisy", "A <b> does not know.", False)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lap": 3}, "lap is number 3, wanted 0 to 2"),
        ({"lap": -2}, "lap is number -2"),
        ({"chosen": 8}, "question is number 8, wanted 0 to 7"),
        ({"text": "prose"}, "wanted one of clean text, noisy text"),
    ],
)
def test_what_is_not_there_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        training_race.state(raced(5), **options)


def test_a_race_that_nobody_has_looked_at_is_refused():
    with pytest.raises(ValueError, match="no laps yet"):
        training_race.state(Race())
    with pytest.raises(ValueError, match="no laps yet"):
        TrainingRace(Race())


def test_the_figure_draws_losses_looks_and_answers():
    figure = figures.training_race(training_race.state(raced(5), lap=1, chosen=1))
    lines, marks = figure.data[0::2], figure.data[1::2]

    assert [trace.name for trace in lines] == ["clean, its own text", "noisy, its own text"]
    assert list(lines[0].x) == [100, 200, 300, 400, 500] and lines[0].y[0] == 8
    assert list(marks[1].x) == [0, 200, 400] and list(marks[1].y) == [5, 4.5, 4]
    assert list(marks[0].error_y.array) == pytest.approx([0.2] * 3)
    assert list(marks[0].error_y.arrayminus) == pytest.approx([0.1] * 3)
    assert figure.layout.shapes[0].x0 == 200
    told = [note.text for note in figure.layout.annotations]
    assert f"✓ clean: {EXAM[1].answer}" in told and "≠ noisy: A &lt;b&gt; does not know." in told


def test_the_axis_has_a_tick_above_and_below_from_the_first_lap_on():
    untrained, fallen = Race(), raced(8)
    untrained._look()  # 5 nats
    fallen.runners["clean"].losses[:] = [0.3] * 8
    for race, lowest, highest in ((untrained, 5, 5), (fallen, 0.2, 10)):
        axis = figures.training_race(training_race.state(race)).layout.yaxis
        assert [10**end for end in axis.range] == pytest.approx([0.9 * lowest, 1.1 * highest])


def test_an_answer_without_end_is_cut_where_the_figure_ends():
    race = raced(1)
    looked = race.laps[0].looks["clean"]
    said = replace(looked.sheet, answers=("the dog " * 40, *looked.sheet.answers[1:]))
    race.laps[0].looks["clean"] = replace(looked, sheet=said)
    [told] = [
        note.text
        for note in figures.training_race(training_race.state(race, 0, 0)).layout.annotations
        if "clean: the dog" in note.text
    ]
    assert told.partition(" ")[2] == "clean: " + "the dog " * 10 + "…"


def test_runners_can_be_told_apart_without_colour():
    traces = figures.training_race(training_race.state(raced(5))).data
    assert len({trace.line.dash for trace in traces[0::2]}) == 2
    assert len({trace.marker.symbol for trace in traces[1::2]}) == 2


def test_the_height_stays_while_one_looks_around():
    race = raced(8)
    heights = {
        figures.training_race(training_race.state(race, lap, chosen)).layout.height
        for lap in range(5)
        for chosen in range(8)
    }
    assert len(heights) == 1


def test_the_view_draws_what_its_controls_say():
    race = raced(8)
    view = TrainingRace(race)
    assert view.state == training_race.state(race)
    assert len(view.question.options) == training_race.SHOWN
    assert (view.lap.min, view.lap.max, view.lap.step, view.lap.value) == (0, 800, 200, 800)

    view.lap.value, view.question.value = 200, 4

    assert view.state == training_race.state(race, 1, 4)
    assert view.plot.figure == figures.training_race(view.state)
    assert "After 200 of 800 tokens" in view.text.value


def ended(view):
    view._thread.join(10)
    assert not view.running


def test_the_button_starts_and_pauses_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(training_race, "PAUSE_S", 0)
    gate = threading.Event()
    race = Race(gate=gate)
    gate.set()
    next(race.turns_left())
    gate.clear()
    view = TrainingRace(race)
    assert (view.button.description, view.button.disabled) == ("go on", False)

    view.button.click()
    assert view.button.description == "pause" and view.running
    view.button.click()
    gate.set()
    ended(view)
    assert race.step < race.steps and view.button.description == "go on"
    before = race.step

    view.button.click()
    ended(view)
    assert before < race.step == race.steps and view.trouble.value == ""
    assert (view.button.description, view.button.disabled) == ("finished", True)
    assert view.state == training_race.state(race)  # it followed to the last lap


def test_who_looks_back_is_left_there_while_it_trains(monkeypatch):
    monkeypatch.setattr(training_race, "PAUSE_S", 0)
    race = raced(5)
    view = TrainingRace(race)
    view.lap.value = 200

    view.button.click()
    ended(view)

    assert (view.lap.value, view.lap.max) == (200, 800)
    assert view.state == training_race.state(race, 1)


def test_what_goes_wrong_in_training_is_said():
    race = raced(3)

    def fall():
        yield 4
        raise RuntimeError("the loss is nan")

    race.turns_left = fall
    view = TrainingRace(race)
    view.button.click()
    ended(view)

    assert "the loss is nan" in view.trouble.value and view.button.description == "go on"


def test_a_pause_waits_for_the_step_and_a_closed_view_stops():
    gate = threading.Event()
    race = Race(steps=10_000, gate=gate)
    gate.set()
    next(race.turns_left())
    view = TrainingRace(race)

    view.button.click()
    view.pause()
    assert not view.running and 1 <= race.step < race.steps

    view.button.click()
    view.close()
    end = time.monotonic() + 10
    while view.running and time.monotonic() < end:
        time.sleep(0.01)
    assert not view.running
