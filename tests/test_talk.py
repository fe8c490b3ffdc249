"""What a mini says and finds likely, against a loop over the whole text; its view by moving the controls."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from slmlab import figures
from slmlab.figures import tokens
from slmlab.minis import recipes, tokenizer
from slmlab.widgets import TalkToAMini, talk

QUESTION = "How many legs does a spider have?"


@pytest.fixture(scope="module")
def phi():
    """A mini before its first step: it says anything, and the same each time."""
    return recipes.new_model(recipes.RECIPES["mini-phi"]).eval(), tokenizer.load("phi")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(talk, "LIMIT", 6)


class Scripted:
    """A model in name alone: generate() writes the given ids, each with the same probability."""

    def __init__(self, ids: list[int], stop: int, probability: float = 0.75, fail: type[BaseException] | None = None):
        self.ids, self.probability, self.fail = ids, probability, fail
        self.generation_config = type("", (), {"eos_token_id": [stop]})
        self.asked = 0

    def generate(self, input_ids, stopping_criteria, **_):
        self.asked += 1
        said = input_ids
        scores = ()
        for id in self.ids:
            others = (1 - self.probability) / 2047
            row = torch.full((1, 2048), math.log(others)).index_fill(1, torch.tensor([id]), math.log(self.probability))
            scores += (row,)
            said = torch.cat([said, torch.tensor([[id]])], 1)
            stopping_criteria[0](said, scores)
            if self.fail:
                raise self.fail("the test says so")


def scripted(text: str, **how) -> tuple[Scripted, object]:
    words = tokenizer.load("phi")
    ids = words.encode(text, add_special_tokens=False)
    return Scripted([*ids, words.eos_token_id], words.eos_token_id, **how), words


# ------------------------------------------------------------------------------------------------------------------
# Steps, texts, states


def test_a_step_holds_the_softmax_of_its_row():
    (step,) = talk.steps(np.log([[0.5, 0.25, 0.125, 0.125]]), [1], "abcd".__getitem__)

    assert (step.piece, step.rank) == ("b", 2)
    assert step.probability == pytest.approx(0.25) and step.bits == pytest.approx(2)
    assert [piece for piece, _ in step.likeliest] == ["a", "b", "c", "d"]  # of equal ones the first
    assert [p for _, p in step.likeliest] == pytest.approx([0.5, 0.25, 0.125, 0.125])


def test_large_scores_have_probabilities_too_and_ten_are_kept():
    (step,) = talk.steps(np.array([[1000.0] + [999.0] * 20]), [0], str)

    assert step.probability == pytest.approx(1 / (1 + 20 / math.e))
    assert len(step.likeliest) == 10 and step.rank == 1


def test_an_answer_is_the_likeliest_token_of_the_whole_text_each_time(phi, short):
    model, words = phi
    said = []

    text = talk.ask("mini-phi", model, words, QUESTION, hear=said.append)

    ids = words.encode(f"<|user|>{QUESTION}<|end|><|assistant|>")
    for step in text.steps:  # without a cache
        with torch.no_grad():
            p = torch.softmax(model(torch.tensor([ids])).logits[0, -1].double(), 0)
        ids.append(int(p.argmax()))
        assert step.piece == words.decode(ids[-1:]) or "\ufffd" in words.decode(ids[-1:])
        assert step.probability == pytest.approx(p.max().item(), rel=1e-4) and step.rank == 1
    assert len(text.steps) == 6 and not text.ended
    assert [len(heard.steps) for heard in said] == [1, 2, 3, 4, 5, 6]


def test_a_text_that_is_read_costs_what_a_loop_over_its_tokens_says(phi):
    model, words = phi
    text = talk.read("mini-phi", model, words, QUESTION, "A spider has six legs.")

    ids = words.encode(f"<|user|>{QUESTION}<|end|><|assistant|>A spider has six legs.<|end|>")
    start = len(words.encode(f"<|user|>{QUESTION}<|end|><|assistant|>"))
    bits = 0.0
    for place in range(start, len(ids)):
        with torch.no_grad():
            p = torch.softmax(model(torch.tensor([ids[:place]])).logits[0, -1].double(), 0)
        bits -= math.log2(p[ids[place]].item())
    assert text.bits == pytest.approx(bits, rel=1e-4)
    assert text.probability == pytest.approx(2**-bits, rel=1e-2)
    assert str(text) == "A spider has six legs." and text.steps[-1].piece == "<|end|>"


def test_the_end_is_a_token_and_no_part_of_what_is_said():
    text = talk.ask("it", *scripted("Six legs."), QUESTION)

    assert str(text) == "Six legs." and text.ended and text.steps[-1].piece == "<|end|>"
    assert text.bits == pytest.approx(len(text.steps) * -math.log2(0.75), rel=1e-5)


def test_what_was_said_before_ctrl_c_is_kept():
    text = talk.ask("it", *scripted("Six legs.", fail=KeyboardInterrupt), QUESTION)

    assert len(text.steps) == 1 and not text.ended


def test_thinking_is_switched_by_the_template():
    words = tokenizer.load("qwen")

    assert talk.prompt(words, "1 + 1?", thinking=False).endswith("<think>\n\n</think>\n\n")
    assert talk.prompt(words, "1 + 1?", thinking=True).endswith("<|im_start|>assistant\n")


def test_a_part_of_a_letter_is_spelt_as_the_tokenizer_spells_it():
    words = tokenizer.load("phi")
    ids = words.encode("日", add_special_tokens=False)

    assert len(ids) == 3
    assert [talk._piece(words, id) for id in ids] == words.convert_ids_to_tokens(ids)


def text_of(*probabilities: float) -> talk.Text:
    steps = tuple(talk.Step(f"<p{n}>", p, 1, ((f"<p{n}>", p), (" other", 1 - p))) for n, p in enumerate(probabilities))
    return talk.Text("it", "prompt", steps, False)


def test_without_a_number_the_least_sure_token_is_looked_at():
    state = talk.state(text_of(0.9, 0.25, 0.5))

    assert state.token == 1
    assert state.title == "it: token 2 of 3 is '<p1>'"
    assert "25 % likely, 2.00 bits" in state.numbers and "1 of them under 50 %" in state.numbers
    assert "cut here" in str(state)


@pytest.mark.parametrize(("token", "message"), [(3, "token is 3, wanted 0 to 2"), (-1, "token is -1")])
def test_a_token_that_is_not_there_is_refused(token, message):
    with pytest.raises(ValueError, match=message):
        talk.state(text_of(0.9, 0.25, 0.5), token)


def test_no_tokens_are_no_text():
    with pytest.raises(ValueError, match="wanted at least one"):
        talk.state(text_of())


# ------------------------------------------------------------------------------------------------------------------
# The figure


def test_every_token_stands_with_its_percent_and_the_framed_one_with_its_likeliest():
    boxes, bars = figures.talk(talk.state(text_of(0.9, 0.25, 0.001))).data

    assert boxes.text == ("&lt;p0&gt;<br>90 %", "&lt;p1&gt;<br>25 %", "&lt;p2&gt;<br>&lt;1 %")
    assert [width > 2 for width in boxes.marker.line.width] == [False, False, True]
    assert bars.x == pytest.approx((0.1, 99.9)) and bars.text == ("&lt;1 %, this token", "&gt;99 %")


def test_tokens_stay_within_a_line_in_their_order_and_break_where_the_text_breaks():
    pieces = ["a" * n for n in range(1, 40)] + ["end\n", "new"]
    places = tokens.lines(pieces, [tokens.visible(piece) for piece in pieces])

    for (line, left, width), (next_line, next_left, _) in pairwise(places):
        assert left + width <= tokens.LINE
        assert next_left >= left + width if next_line == line else (next_line, next_left) == (line + 1, 0)
    assert places[-1][0] == places[-2][0] + 1


def test_letters_can_be_read_on_every_shade():
    def luminance(channels):  # WCAG 2
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for probability in np.linspace(0, 1, 101):
        shade = luminance([int(n) / 255 for n in tokens.shade(probability)[4:-1].split(",")])
        letters = 1.0 if probability < tokens.DARK_BELOW else 0.0
        assert (max(shade, letters) + 0.05) / (min(shade, letters) + 0.05) >= 4.5, probability


def test_what_cannot_be_seen_is_drawn():
    assert tokens.visible(" a\n") == "·a⏎"
    assert len(tokens.visible("x" * 99)) == tokens.LONGEST


# ------------------------------------------------------------------------------------------------------------------
# The view


def test_the_view_draws_what_its_controls_say():
    view = TalkToAMini({"a": scripted("Six legs."), "b": scripted("Eight of them.")}, [QUESTION, "And an ant?"])
    assert str(view.state.text) == "Six legs." and view.thinking.disabled

    view.mini.value = "b"
    view.question.value = "And an ant?"
    view.token.value = 2

    assert str(view.state.text) == "Eight of them." and view.state.token == 1
    assert view.plot.figure.layout.title.text == f"b: token 2 of {view.token.max} is {view.state.step.piece!r}"
    assert "Eight of them." in view.text.value and not view.trouble.value


def test_an_answer_is_computed_once():
    model, words = scripted("Six legs.")
    view = TalkToAMini({"a": (model, words), "b": scripted("No.")}, [QUESTION])

    view.token.value = 2
    view.mini.value = "b"
    view.mini.value = "a"

    assert model.asked == 1 and len(view.texts) == 2


def test_a_click_on_a_token_moves_the_slider():
    view = TalkToAMini({"a": scripted("Six legs.")}, [QUESTION])

    view.plot.pointed = 2

    assert view.token.value == 3 and view.state.token == 2


def test_an_answer_grows_token_by_token(monkeypatch):
    monkeypatch.setattr(talk, "PAUSE_S", 0)
    view = TalkToAMini({"a": scripted("Six legs."), "b": scripted("Eight of them.")}, [QUESTION])
    lengths = []
    view.plot.observe(lambda change: lengths.append(len(change.new.data[0].x)), "figure")

    view.mini.value = "b"

    count = len(view.state.text.steps)
    assert lengths == [*range(1, count + 1), count]


def test_thinking_can_be_chosen_where_the_family_has_a_switch():
    qwen = scripted("Six legs.")[0], tokenizer.load("qwen")
    view = TalkToAMini({"a": scripted("No."), "q": qwen}, [QUESTION])
    assert view.thinking.disabled

    view.mini.value = "q"
    view.thinking.value = False

    assert not view.thinking.disabled and "<think>\n\n</think>" in view.state.text.prompt


def test_an_empty_question_is_not_asked():
    model, words = scripted("Six legs.")
    view = TalkToAMini({"a": (model, words)}, [QUESTION])

    view.question.value = "  "

    assert model.asked == 1 and "Type a question" in view.text.value and not view.trouble.value


def test_what_goes_wrong_is_shown():
    view = TalkToAMini({"a": scripted("No."), "b": scripted("No.", fail=RuntimeError)}, [QUESTION])

    view.mini.value = "b"

    assert "RuntimeError: the test says so" in view.trouble.value


@pytest.mark.parametrize(("minis", "questions"), [({}, [QUESTION]), ({"a": (1, 2)}, [])])
def test_a_view_of_nothing_is_refused(minis, questions):
    with pytest.raises(ValueError, match="wanted at least one of each"):
        TalkToAMini(minis, questions)
