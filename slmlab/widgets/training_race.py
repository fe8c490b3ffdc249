"""Trainings that race at equal tokens: their losses while they train, and what they answer on the way."""

import bisect
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets
import numpy as np

from slmlab import figures

from .view import View

SMOOTH = 10  # steps: a runner's own loss is drawn as the mean of the last ones
POINTS = 300  # of a line: more than a page has room for take longer to draw
SHOWN = 6  # questions of the exam that can be looked at
PAUSE_S = 0.4  # between two pictures while they train


@dataclass(frozen=True)
class State:
    """What figures.training_race draws: a race so far, one of its laps and one question of its exam, from 0.

    losses: by runner, (tokens read, nats a token of its own text, smoothed); text: the name of the held-out text
    """

    names: tuple[str, ...]
    tokens: int  # at the end
    losses: Mapping[str, tuple[tuple[int, float], ...]]
    laps: tuple  # evaluation.racing.Lap
    text: str
    lap: int
    chosen: int

    @property
    def looks(self) -> dict:
        return {name: self.laps[self.lap].looks[name] for name in self.names}

    @property
    def question(self) -> str:
        return _question(self._document)

    @property
    def truth(self) -> str:
        return self._document.answer

    @property
    def _document(self):
        return self.looks[self.names[0]].sheet.documents[self.chosen]

    @property
    def answers(self) -> list[tuple[str, str, bool]]:
        """(runner, what it says, whether that is right)"""
        sheets = {name: look.sheet for name, look in self.looks.items()}
        return [(name, sheet.answers[self.chosen], sheet.right[self.chosen]) for name, sheet in sheets.items()]

    @property
    def title(self) -> str:
        return f"After {self.laps[self.lap].tokens:,} of {self.tokens:,} tokens each"

    @property
    def numbers(self) -> str:
        return " · ".join(
            f"{name}: {look.nats[self.text].value:.3f} nats, {sum(look.sheet.right)} of {len(look.sheet.right)} facts"
            for name, look in self.looks.items()
        )

    def __str__(self) -> str:
        told = [
            f"{name} {look.nats[self.text].value:.3f} ({look.nats[self.text].low:.3f} to "
            f"{look.nats[self.text].high:.3f}) nats a token, facts {look.sheet.score.value:.2f} "
            f"({look.sheet.score.low:.2f} to {look.sheet.score.high:.2f})"
            for name, look in self.looks.items()
        ]
        return f"{self.title}, held to {self.text}: {'; '.join(told)}. Intervals of 95 %."


def _question(document) -> str:
    return document.messages[-1]["content"]


def state(race, lap: int = -1, chosen: int = 0, text: str | None = None) -> State:
    """The race as it stands (evaluation.racing.Race), looked at after one of its laps; -1 is the last so far.

    text: the name of a held-out text; without it the first. ValueError: there is no such lap, question or text.
    """
    laps = tuple(race.laps)
    if not laps:
        raise ValueError("the race has no laps yet: let it take a turn first, next(race.turns_left())")
    if not -1 <= lap < len(laps):
        raise ValueError(f"the lap is number {lap}, wanted 0 to {len(laps) - 1}, or -1 for the last")
    look = next(iter(laps[0].looks.values()))
    if not 0 <= chosen < len(look.sheet.documents):
        raise ValueError(f"the question is number {chosen}, wanted 0 to {len(look.sheet.documents) - 1}")
    text = next(iter(look.nats)) if text is None else text
    if text not in look.nats:
        raise ValueError(f"the text is {text!r}, wanted one of {', '.join(look.nats)}")
    step = race.step
    thinner = -(-step // POINTS) or 1
    shown = range(step, 0, -thinner)[::-1]  # the last step is among them
    losses = {}
    for name, run in race.runners.items():
        smoothed = _smoothed(run.losses[:step])
        losses[name] = tuple((n * race.tokens_per_step, smoothed[n - 1]) for n in shown)
    tokens = race.steps * race.tokens_per_step
    return State(tuple(race.runners), tokens, losses, laps, text, lap % len(laps), chosen)


def _smoothed(losses: list[float]) -> tuple[float, ...]:
    """The mean of each value and those before it, SMOOTH in all."""
    sums = np.cumsum([0.0, *losses])
    ends = np.arange(1, len(sums))
    starts = np.maximum(0, ends - SMOOTH)
    return tuple(((sums[ends] - sums[starts]) / (ends - starts)).tolist())


# ------------------------------------------------------------------------------------------------------------------
# The view


class TrainingRace(View):
    """Start and pause a race; look at any of its laps, and at what the runners answered then.

    race: evaluation.racing.Race, with at least one lap. It trains in a thread of its own, so that the controls answer
    meanwhile; a pause keeps all that was learnt, and a start goes on. While the last lap is looked at, a new one is
    followed.

    Attributes: `button`, the controls `lap` and `question`; `state`, what is drawn now.
    """

    def __init__(self, race):
        self._race, self._thread = race, None
        self._stop, self._drawing = threading.Event(), threading.RLock()
        self.state = state(race)  # before any control is made: it may have no laps
        look = {"style": {"description_width": "96px"}, "layout": {"width": "560px", "max_width": "100%"}}
        self.button = ipywidgets.Button(layout={"width": "160px"})
        self.button.on_click(self._pressed)
        # Its end may move while it is held: that leaves its value alone, where new options would choose one.
        tokens, every = race.laps[-1].tokens, race.every * race.tokens_per_step
        self.lap = ipywidgets.IntSlider(
            tokens, 0, max(tokens, every), every, description="after tokens", readout_format=",d", **look
        )
        documents = self.state.looks[self.state.names[0]].sheet.documents[:SHOWN]
        asked = [(_question(document), place) for place, document in enumerate(documents)]
        self.question = ipywidgets.Dropdown(options=asked, value=0, description="question", **look)
        super().__init__([self.button, self.lap, self.question], [])
        self._name_button()
        self._start(self.lap, self.question)

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def pause(self) -> None:
        """Let the runners end their step, and wait for that."""
        self._stop.set()
        if self.running and threading.current_thread() is not self._thread:
            self._thread.join()

    def close(self) -> None:
        self._stop.set()
        super().close()

    def _pressed(self, _button: ipywidgets.Button) -> None:
        if self.running:
            self._stop.set()  # the thread itself renames the button once it has stopped
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()
        self._name_button()

    def _name_button(self, running: bool | None = None) -> None:
        running = self.running if running is None else running
        race = self._race
        done = race.step == race.steps
        self.button.description = "finished" if done else "pause" if running else "go on" if race.step else "start"
        self.button.disabled = done

    def _train(self) -> None:
        with self._showing_trouble():
            shown = time.monotonic()
            for _ in self._race.turns_left():
                if self._stop.is_set():
                    break
                if time.monotonic() - shown > PAUSE_S:
                    self._follow()
                    shown = time.monotonic()
            self._follow()
        self._name_button(running=False)

    def _follow(self) -> None:
        """Draw what has been added; to the last lap if the last one was looked at."""
        with self._drawing:
            at_end = self.lap.value >= self.state.laps[-1].tokens
            last = self._race.laps[-1].tokens
            self.lap.max = max(self.lap.max, last)
            if at_end and last > self.lap.value:
                self.lap.value = last  # which draws it
            else:
                self._redraw()

    def _changed(self, change: object) -> None:
        with self._drawing:  # a move is drawn after what is being drawn, not left out
            super()._changed(change)

    def _redraw(self) -> None:
        with self._drawing:
            laps = [lap.tokens for lap in list(self._race.laps)]
            lap = bisect.bisect(laps, self.lap.value) - 1  # the last one at or before
            self.state = state(self._race, lap, self.question.value)
            self.plot.figure = figures.training_race(self.state)
            self._say(str(self.state))
