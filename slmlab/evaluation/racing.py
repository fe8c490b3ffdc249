"""A race: trainings that take turns, a step each, so that at any moment all of them have read as many tokens.

    race = Race({"clean": Training(...), "noisy": Training(...)}, Onlooker(texts, exam), every=80)
    for step in race.turns_left(): ...      an interrupted loop can be begun again, and goes on

What an onlooker sees on the way is kept in `race.laps`. A training's own losses are of its own text; those of two
trainings can be compared on texts that both are held to, which are an onlooker's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..minis import tokenizer
from ..minis.corpus import Document
from ..minis.training import Training
from . import exams, generation, losses
from .errors import EvaluationError
from .exams import Sheet
from .intervals import Estimate

ANSWER_TOKENS = 24  # longer than any answer to a question for one fact


@dataclass(frozen=True)
class Look:
    """What is seen of one runner. nats: a token of each held-out text, by its name; sheet: an exam it sat."""

    nats: Mapping[str, Estimate]
    sheet: Sheet


@dataclass(frozen=True)
class Lap:
    """All runners, looked at after as many steps. tokens: read by each of them so far."""

    step: int
    tokens: int
    looks: Mapping[str, Look]


class Onlooker:
    """Looks at a training: texts -> nats a token, an exam -> its answers.

    texts: name -> whole documents; exam: documents without their answers, judged sign by sign
    """

    def __init__(self, texts: Mapping[str, Sequence[Document]], exam: Sequence[Document]):
        self.texts, self.exam = texts, exam

    def __call__(self, training: Training) -> Look:
        model, words = training.model.eval(), training.words
        nats = {
            name: losses.per_token(losses.costs(model, [tokenizer.encode(document, words) for document in documents]))
            for name, documents in self.texts.items()
        }
        prompts = [tokenizer.encode_prompt(document, words) for document in self.exam]
        said = generation.greedy(model, prompts, ANSWER_TOKENS, tokenizer.stop_ids(words))
        answers = [words.decode(ids) for ids in said]
        model.train()
        return Look(nats, exams.mark(self.exam, answers, exams.says))


class Race:
    """Trainings under way, and what was seen of them.

    runners: name -> training; all take as many steps of as many tokens; every: steps between two looks, beside those
    before the first step and after the last. EvaluationError: the runners are of unequal length.
    """

    def __init__(self, runners: Mapping[str, Training], look: Callable[[Training], Look], every: int):
        sizes = {name: (run.steps, run.recipe.batch * run.recipe.sequence) for name, run in runners.items()}
        if len(set(sizes.values())) != 1 or every < 1:
            told = ", ".join(f"{name}: {steps} steps of {tokens} tokens" for name, (steps, tokens) in sizes.items())
            raise EvaluationError(f"a look every {every} steps, and {told or 'no runners'} came: wanted alike ones")
        ((self.steps, self.tokens_per_step),) = set(sizes.values())
        self.runners, self.look, self.every = dict(runners), look, every
        self.laps: list[Lap] = []

    @property
    def step(self) -> int:
        """How many steps every runner has taken."""
        return min(run.step for run in self.runners.values())

    def turns_left(self) -> Iterator[int]:
        """Each runner takes a step, then comes the number of steps taken, until there are none left."""
        self._look_if_due()
        while (step := self.step) < self.steps:
            for run in self.runners.values():
                if run.step == step:  # an interrupt may have come between two
                    next(run.steps_left())
            self._look_if_due()
            yield self.step

    def _look_if_due(self) -> None:
        step = self.step
        due = step % self.every == 0 or step == self.steps
        if due and (not self.laps or self.laps[-1].step < step):
            looks = {name: self.look(run) for name, run in self.runners.items()}
            self.laps.append(Lap(step, step * self.tokens_per_step, looks))
