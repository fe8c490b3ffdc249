"""How long to think: accuracy over the budget, and what one thought comes to when it is cut there."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ipywidgets
from tqdm import tqdm

from slmlab import figures, thinking
from slmlab.exercises.qwen import share_interval
from slmlab.minis.corpus import Document

from . import talk
from .talk import Step
from .view import View

SHOWN = 4  # problems of each group whose thoughts can be looked at
KEPT, CUT, OURS, ANSWER = "thought", "never written", "written for it", "answer"


@dataclass(frozen=True)
class Curve:
    """Shares of right answers with their 95 % intervals, over tokens."""

    name: str
    tokens: tuple[float, ...]
    shares: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    count: int  # problems


def curve(name: str, tokens: Sequence[float], right: Sequence[Sequence[bool]]) -> Curve:
    """right: for each number of tokens, whether each problem was answered rightly."""
    shares, lows, highs = zip(*(share_interval(sum(of_all), len(of_all)) for of_all in right), strict=True)
    return Curve(name, tuple(tokens), shares, lows, highs, len(right[0]))


@dataclass(frozen=True)
class Answer:
    """What was answered after a budget of thought."""

    text: str
    right: bool
    closing: tuple[Step, ...]  # </think> where the model wrote it; () where it was written for it
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Problem:
    """One question: the whole thought, token by token, and the answer after each budget."""

    group: str
    question: str
    truth: str
    thought: tuple[Step, ...]
    answers: tuple[Answer, ...]  # one a budget

    @property
    def name(self) -> str:
        return f"{self.group}: {self.question}"


@dataclass(frozen=True)
class Trial:
    """Groups of problems, answered after each of the budgets.

    curves: one a group, over the budgets; written: tokens a problem that the model wrote, mean of a group, one a budget
    """

    model: str
    budgets: tuple[int, ...]
    curves: tuple[Curve, ...]
    written: Mapping[str, tuple[float, ...]]
    problems: tuple[Problem, ...]
    end: tuple[str, ...]  # the tokens that close a cut thought, as text


@dataclass(frozen=True)
class State:
    """What figures.think_budget draws: a trial, one of its budgets and one of its problems, both counted from 0."""

    trial: Trial
    place: int
    chosen: int

    @property
    def budget(self) -> int:
        return self.trial.budgets[self.place]

    @property
    def problem(self) -> Problem:
        return self.trial.problems[self.chosen]

    @property
    def answer(self) -> Answer:
        return self.problem.answers[self.place]

    @property
    def is_cut(self) -> bool:
        return len(self.problem.thought) > self.budget

    @property
    def boxes(self) -> list[tuple[str, Step | None, str]]:
        """(text, step, kind) of all tokens in their order; what the model did not write has no probability."""
        kept, rest = self.problem.thought[: self.budget], self.problem.thought[self.budget :]
        found: list[tuple[str, Step | None, str]] = [(step.piece, step, KEPT) for step in kept]
        found += [(step.piece, None, CUT) for step in rest]
        if self.is_cut:
            found += [(piece, None, OURS) for piece in self.trial.end]
        else:
            found += [(step.piece, step, ANSWER) for step in self.answer.closing]
        return found + [(step.piece, step, ANSWER) for step in self.answer.steps]

    @property
    def verdict(self) -> str:
        found = self.answer.text or "nothing"
        return f"{found} is right" if self.answer.right else f"{found} is wrong, {self.problem.truth} wanted"

    @property
    def title(self) -> str:
        tokens = "token" if self.budget == 1 else "tokens"
        return f"{self.trial.model} with {self.budget} {tokens} of thought"

    @property
    def numbers(self) -> str:
        return " · ".join(f"{curve.name}: {curve.shares[self.place]:.2f} right" for curve in self.trial.curves)

    def __str__(self) -> str:
        length = len(self.problem.thought)
        if self.is_cut:
            fate = f"takes {length} tokens and is cut after {self.budget}"
        else:
            fate = f"takes {length} tokens and is closed by the model"
        at = self.place
        intervals = ", ".join(
            f"{curve.name} {curve.shares[at]:.2f} ({curve.lows[at]:.2f} to {curve.highs[at]:.2f})"
            for curve in self.trial.curves
        )
        return (
            f"{self.problem.question} The thought {fate}; {self.verdict}. Share right of "
            f"{self.trial.curves[0].count} problems each: {intervals}."
        )


def state(trial: Trial, place: int, chosen: int = 0) -> State:
    """Look at one budget and one problem of a trial. ValueError: it has no such."""
    for what, number, count in (("budget", place, len(trial.budgets)), ("problem", chosen, len(trial.problems))):
        if not 0 <= number < count:
            raise ValueError(f"the {what} is number {number}, wanted 0 to {count - 1}")
    return State(trial, place, chosen)


# ------------------------------------------------------------------------------------------------------------------
# The model is asked, before anything moves


def trial(
    loaded: tuple,
    groups: Mapping[str, Sequence[Document]],
    write: thinking.Write,
    replies: Mapping[str, Sequence[thinking.Reply]],
    budgets: Sequence[int],
    answer_limit: int = 16,
    name: str = "the model",
) -> Trial:
    """Answer every problem after each budget.

    loaded: (model, tokenizer), as slmlab.models.load() gives them; groups: name -> problems, whose `answer` is a whole
    number; write: greedy, of this model; replies: of each group, what the model says without a budget; budgets: tokens,
    rising. ValueError: nothing to ask.
    """
    _, tokenizer = loaded
    if not groups or not all(groups.values()) or not budgets:
        raise ValueError(f"{len(groups)} groups and {len(budgets)} budgets came, wanted at least one problem and one")
    marks = thinking.marks(tokenizer)
    curves, written, problems = [], {}, []
    shape = "{desc} {percentage:3.0f} % {bar:20} {elapsed}"
    total = len(groups) * (len(budgets) + SHOWN)
    with tqdm(total=total, desc=name, file=sys.stdout, leave=False, bar_format=shape, delay=2) as bar:
        for group, documents in groups.items():
            prompts = [prompt(tokenizer, document) for document in documents]
            whole = list(replies[group])
            found = []
            for budget in budgets:
                found += thinking.by_budget(write, prompts, whole, [budget], answer_limit, marks)
                bar.update()
            right = [
                [is_right(tokenizer, reply, document) for reply, document in zip(of_all, documents, strict=True)]
                for of_all in found
            ]
            curves.append(curve(group, budgets, right))
            written[group] = tuple(sum(reply.written for reply in of_all) / len(of_all) for of_all in found)
            for index, document in enumerate(documents[:SHOWN]):
                of_one = [of_all[index] for of_all in found]
                problems.append(_problem(loaded, group, document, prompts[index], whole[index], of_one, marks))
                bar.update()
    end = tuple(tokenizer.decode([id]) for id in marks.end)
    return Trial(name, tuple(budgets), tuple(curves), written, tuple(problems), end)


def prompt(tokenizer, document: Document, thinks: bool = True) -> thinking.Ids:
    """The question in the family's template, thinking wanted or ruled out."""
    text = talk.prompt(tokenizer, document.messages[0]["content"], thinks)
    return tokenizer.encode(text, add_special_tokens=False)


def is_right(tokenizer, reply: thinking.Reply, document: Document) -> bool:
    """Whether the last number of the answer is the document's."""
    answer = tokenizer.decode(reply.answer, skip_special_tokens=True)
    return thinking.number(answer) == int(document.answer)


def _problem(loaded: tuple, group: str, document: Document, prompt: thinking.Ids, whole, of_one, marks) -> Problem:
    _, tokenizer = loaded
    opened = [*prompt, marks.opened]
    thought = _steps(loaded, opened, whole.thought)
    known: dict[tuple[int, ...], Answer] = {}
    answers = []
    for reply in of_one:
        if reply.cut:
            head, closing = [*prompt, *marks.shut(reply.thought)], []
        else:
            head, closing = [*opened, *reply.thought], [marks.closed]
        key = tuple(head)
        if key not in known:
            steps = _steps(loaded, head, [*closing, *reply.answer, tokenizer.eos_token_id])
            text = tokenizer.decode(reply.answer, skip_special_tokens=True).strip()
            right, closed = is_right(tokenizer, reply, document), len(closing)
            known[key] = Answer(text, right, steps[:closed], steps[closed:])
        answers.append(known[key])
    return Problem(group, document.messages[0]["content"], document.answer, thought, tuple(answers))


def _steps(loaded: tuple, head: thinking.Ids, ids: thinking.Ids) -> tuple[Step, ...]:
    """How likely the model finds each of `ids` after `head`."""
    model, tokenizer = loaded
    if not ids:
        return ()
    inputs = tokenizer.pad({"input_ids": [[*head, *ids]]}, return_tensors="pt")
    logits = model(**inputs, use_cache=False).logits[0, len(head) - 1 : -1].detach().float().numpy()
    return talk.steps(logits, ids, lambda id: tokenizer.decode([id]))


# ------------------------------------------------------------------------------------------------------------------
# The view


class ThinkBudget(View):
    """Move the budget: the place on the curve, and one thought that is cut there, with the answer that follows.

    trial: of trial(), so that nothing is asked while a slider moves

    Attributes: the controls `budget` and `problem`; `state`, what is drawn now.
    """

    def __init__(self, trial: Trial):
        self._trial = trial
        look = {"style": {"description_width": "128px"}, "layout": {"width": "560px", "max_width": "100%"}}
        budgets = [(f"{budget}", place) for place, budget in enumerate(trial.budgets)]
        self.budget = ipywidgets.SelectionSlider(
            options=budgets, value=len(budgets) // 2, description="tokens of thought", **look
        )
        names = [(problem.name, place) for place, problem in enumerate(trial.problems)]
        self.problem = ipywidgets.Dropdown(options=names, value=len(names) - 1, description="problem", **look)
        super().__init__([self.budget, self.problem], [])
        self._start(self.budget, self.problem)

    def _redraw(self) -> None:
        self.state = state(self._trial, self.budget.value, self.problem.value)
        self.plot.figure = figures.think_budget(self.state)
        self._say(str(self.state))
