"""What a mini says, token by token: how likely it found each, and what it might have said instead."""

import html
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import traitlets

from slmlab import figures
from slmlab.figures.tokens import percent

from .view import RENDER, Plot, View

LIKELIEST = 10  # tokens that are shown for each place
LIMIT = 160  # tokens of an answer
PAUSE_S = 0.12  # between two pictures while an answer grows


@dataclass(frozen=True)
class Step:
    """One token of a text, as the model found it.

    piece: the token as text; what is no whole letter, as the tokenizer spells it
    probability: of this token, given all that stands before it
    rank: 1 if no other was likelier
    likeliest: (piece, probability) of the ten likeliest, falling
    """

    piece: str
    probability: float
    rank: int
    likeliest: tuple[tuple[str, float], ...]

    @property
    def bits(self) -> float:
        """What the token costs: 0 for a sure one."""
        return float(-np.log2(self.probability)) + 0.0  # not -0.0


@dataclass(frozen=True)
class Text:
    """A text that follows a prompt, said by the model (ask) or put into its mouth (read).

    prompt: all that stands before, the template's tokens among it
    ended: whether it stopped by itself; the token that ends it is the last step then
    """

    model: str
    prompt: str
    steps: tuple[Step, ...]
    ended: bool

    @property
    def bits(self) -> float:
        return sum(step.bits for step in self.steps)

    @property
    def probability(self) -> float:
        """Of all of it, in these very tokens."""
        return 2.0**-self.bits

    def __str__(self) -> str:
        """The text itself, without the token that ends it."""
        return "".join(step.piece for step in (self.steps[:-1] if self.ended else self.steps))


@dataclass(frozen=True)
class State:
    """What figures.talk draws: a text, and the token that is looked at, counted from 0."""

    text: Text
    token: int

    @property
    def step(self) -> Step:
        return self.text.steps[self.token]

    @property
    def title(self) -> str:
        return f"{self.text.model}: token {self.token + 1} of {len(self.text.steps)} is {self.step.piece!r}"

    @property
    def numbers(self) -> str:
        unsure = sum(step.probability < 0.5 for step in self.text.steps)
        return (
            f"{percent(self.step.probability)} likely, {self.step.bits:.2f} bits · all tokens together "
            f"{self.text.bits:.1f} bits · {unsure} of them under 50 %"
        )

    def __str__(self) -> str:
        others = ", ".join(f"{piece!r} {percent(p)}" for piece, p in self.step.likeliest)
        end = "" if self.text.ended else " It was cut here, or goes on."
        return f"{self.title}. {self.numbers}. Likeliest here: {others}. The whole: {str(self.text)!r}.{end}"


def state(text: Text, token: int | None = None) -> State:
    """Look at one token of a text; without a number, at the one that the model was least sure of.

    ValueError: the text has no such token, or none at all.
    """
    if not text.steps:
        raise ValueError(f"{text.model}: the text has no tokens, wanted at least one")
    if token is None:
        token = min(range(len(text.steps)), key=lambda place: text.steps[place].probability)
    if not 0 <= token < len(text.steps):
        raise ValueError(f"token is {token}, wanted 0 to {len(text.steps) - 1}")
    return State(text, token)


def steps(logits: np.ndarray, ids: Sequence[int], piece: Callable[[int], str]) -> tuple[Step, ...]:
    """Tokens as the model found them.

    logits: (T, V), row t holds the scores for the place of ids[t]; ids: (T,); piece: the text of an id
    """
    logits = np.asarray(logits, np.float64)
    found = []
    for scores, id in zip(logits, ids, strict=True):
        p = np.exp(scores - scores.max())
        p /= p.sum()
        first = np.argsort(-p, kind="stable")[:LIKELIEST]
        likeliest = tuple((piece(int(other)), float(p[other])) for other in first)
        found.append(Step(piece(int(id)), float(p[id]), 1 + int((p > p[id]).sum()), likeliest))
    return tuple(found)


# ------------------------------------------------------------------------------------------------------------------
# The model speaks


def prompt(tokenizer, question: str, thinking: bool | None = None) -> str:
    """A question in the family's template, up to where the answer begins.

    thinking: the template's enable_thinking; None where the family has no such switch
    """
    switch = {} if thinking is None else {"enable_thinking": thinking}
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **switch)


def ask(
    name: str,
    model,
    tokenizer,
    question: str,
    thinking: bool | None = None,
    hear: Callable[[Text], None] = lambda text: None,
) -> Text:
    """What the model says, the likeliest token at each step, at most LIMIT of them.

    model, tokenizer: of slmlab.models.load(); hear: called with the text so far after each token. Ctrl-C ends the
    answer where it is, and what is there is returned.
    """
    asked = prompt(tokenizer, question, thinking)
    inputs = tokenizer(asked, add_special_tokens=False, return_tensors="pt")
    start = inputs["input_ids"].shape[1]
    stop = model.generation_config.eos_token_id
    stop = set(stop) if isinstance(stop, list) else {stop}
    said: list[Step] = []
    ended = False

    def listen(ids, scores, **_) -> bool:
        nonlocal ended
        id = int(ids[0, -1])
        said.extend(steps(scores[-1].float().numpy(), [id], lambda id: _piece(tokenizer, id)))
        ended = id in stop
        hear(Text(name, asked, tuple(said), ended))
        return False

    with suppress(KeyboardInterrupt):
        model.generate(
            **inputs,
            max_length=start + LIMIT,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            stopping_criteria=[listen],
        )
    return Text(name, asked, tuple(said), ended)


def read(name: str, model, tokenizer, question: str, answer: str, thinking: bool | None = None) -> Text:
    """How likely the model finds an answer that somebody else gives, the end of the turn included."""
    asked = prompt(tokenizer, question, thinking)
    whole = asked + answer + tokenizer.eos_token
    inputs = tokenizer(whole, add_special_tokens=False, return_tensors="pt")
    start = len(tokenizer(asked, add_special_tokens=False)["input_ids"])
    logits = model(**inputs, use_cache=False).logits[0, start - 1 : -1].detach().float().numpy()
    ids = inputs["input_ids"][0, start:].tolist()
    return Text(name, asked, steps(logits, ids, lambda id: _piece(tokenizer, id)), True)


def _piece(tokenizer, id: int) -> str:
    """A token as text. A part of a letter has no text of its own: then as the tokenizer spells its bytes."""
    piece = tokenizer.decode([id])
    return tokenizer.convert_ids_to_tokens(id) if "\ufffd" in piece else piece


# ------------------------------------------------------------------------------------------------------------------
# The view


class PointedPlot(Plot):
    """A Plot that tells which element of its first trace was clicked last: `pointed`, -1 for none."""

    _esm = (
        RENDER.replace("export default {", "const plain = {")
        + """
export default {
  async render(context) {
    const stop = await plain.render(context);
    context.el.querySelector(".js-plotly-plot").on("plotly_click", ({ points: [point] }) => {
      if (point.curveNumber !== 0) return;
      context.model.set("pointed", point.pointNumber);
      context.model.save_changes();
    });
    return stop;
  },
};
"""
    )
    pointed = traitlets.Int(-1).tag(sync=True)


class TalkToAMini(View):
    """Ask a mini; see how likely it found each token that it says, and what it might have said instead.

    minis: name -> (model, tokenizer), as slmlab.models.load() gives them
    questions: what the line for questions offers; the first is asked at the start

    Attributes: the controls `mini`, `thinking`, `question` and `token`; `state`, what is drawn now; `texts`, all that
    was said, by name, question and whether it was to think. An answer is computed once.
    """

    def __init__(self, minis: Mapping[str, tuple], questions: Sequence[str]):
        if not minis or not questions:
            raise ValueError(f"{len(minis)} minis and {len(questions)} questions came, wanted at least one of each")
        self._minis = {name: tuple(pair) for name, pair in minis.items()}
        self.texts: dict[tuple[str, str, bool | None], Text] = {}
        self._shown: tuple | None = None

        look = {"style": {"description_width": "64px"}, "layout": {"width": "560px", "max_width": "100%"}}
        narrow = {"style": {"description_width": "64px"}, "layout": {"width": "320px"}}
        self.mini = ipywidgets.Dropdown(options=list(self._minis), description="mini", **narrow)
        self.thinking = ipywidgets.Checkbox(value=True, description="think first", indent=False)
        self.question = ipywidgets.Combobox(
            value=questions[0], options=list(questions), description="question", continuous_update=False, **look
        )
        self.token = ipywidgets.IntSlider(min=1, max=1, description="token", **look)
        row = ipywidgets.HBox([self.mini, self.thinking], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.question, self.token], [])
        plain, self.plot = self.plot, PointedPlot(go.Figure())
        # The plain one stays open and unseen: a page that is told of a model and its end at once reports a failure.
        self.children = [self.plot if child is plain else child for child in self.children]
        self.plot.observe(self._pointed, "pointed")
        self._start(self.mini, self.thinking, self.question, self.token)

    def _redraw(self) -> None:
        _, tokenizer = self._minis[self.mini.value]
        switch = "enable_thinking" in (tokenizer.chat_template or "")
        self.thinking.disabled = not switch
        key = self.mini.value, self.question.value.strip(), self.thinking.value if switch else None
        if not key[1]:
            self._say("Type a question, then Enter.")
            return
        if key not in self.texts:
            text = self._ask(*key)
            if not text.steps:
                self._say("Interrupted before the first token.")
                return
            self.texts[key] = text
        if key != self._shown:  # another text: look at its least sure token
            self._shown = key
            self._look_at(state(self.texts[key]))
        self._draw(state(self.texts[key], self.token.value - 1))

    def _ask(self, name: str, question: str, thinking: bool | None) -> Text:
        drawn = 0.0

        def hear(text: Text) -> None:
            nonlocal drawn
            if time.monotonic() - drawn > PAUSE_S:
                drawn = time.monotonic()
                self.plot.figure = figures.talk(state(text, len(text.steps) - 1))
                self.text.value = (
                    f"<label><progress></progress> {html.escape(name)} writes: {len(text.steps)} tokens so far; "
                    "Kernel, Interrupt stops it</label>"
                )

        return ask(name, *self._minis[name], question, thinking, hear)

    def _look_at(self, now: State) -> None:
        with self.token.hold_trait_notifications():
            self.token.max = len(now.text.steps)
            self.token.value = now.token + 1

    def _draw(self, now: State) -> None:
        self.state = now
        self.plot.figure = figures.talk(now)
        self._say(str(now))

    def _pointed(self, _change: object) -> None:
        if 0 <= self.plot.pointed < self.token.max:
            self.token.value = self.plot.pointed + 1
