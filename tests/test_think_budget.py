"""What a trial asks, against two passes one by one; the widget by moving its controls."""

from functools import partial

import numpy as np
import pytest
import torch

from slmlab import figures, thinking
from slmlab.evaluation import generation, intervals
from slmlab.exercises.qwen import share_interval
from slmlab.minis import corpus, recipes, tokenizer
from slmlab.widgets import ThinkBudget, talk, think_budget

BUDGETS = (0, 1, 3, 6, 9)


@pytest.fixture(scope="module")
def mini():
    """Before its first step: it says anything, and the same each time."""
    return recipes.new_model(recipes.RECIPES["mini-qwen"]).eval().requires_grad_(False), tokenizer.load("qwen")


@pytest.fixture(scope="module")
def write(mini):
    return partial(generation.greedy, mini[0], stop=tokenizer.stop_ids(mini[1]))


@pytest.fixture(scope="module")
def asked(mini):
    """Groups of problems, and thoughts of 5 to 7 tokens that a better model might have had."""
    _, words = mini
    groups = {f"{terms} terms": corpus.exams.sums(terms, True, 5, 0) for terms in (2, 3)}
    replies = {}
    for name, documents in groups.items():
        found = []
        for number, document in enumerate(documents):
            thought = words.encode("\n" + "47+38-2"[: 4 + number % 3] + "\n", add_special_tokens=False)
            found.append(thinking.Reply(thought, words.encode(f"\n\n{document.answer}"), cut=False))
        replies[name] = found
    return groups, replies


@pytest.fixture(scope="module")
def trial(mini, write, asked):
    return think_budget.trial(mini, asked[0], write, asked[1], BUDGETS, answer_limit=3, name="mini-qwen")


def test_a_trial_answers_after_each_budget_what_one_prompt_alone_is_answered(mini, write, asked, trial):
    _, words = mini
    marks = thinking.marks(words)
    assert len(trial.problems) == 2 * think_budget.SHOWN
    for problem in trial.problems:
        place = [document.messages[0]["content"] for document in asked[0][problem.group]].index(problem.question)
        document, whole = asked[0][problem.group][place], asked[1][problem.group][place]
        assert problem.truth == document.answer
        assert [step.piece for step in problem.thought] == [words.decode([id]) for id in whole.thought]
        for budget, answer in zip(BUDGETS, problem.answers, strict=True):
            if budget >= len(whole.thought):
                assert (answer.text, answer.right, len(answer.closing)) == (document.answer, True, 1)
                continue
            head = [*tokenizer.encode_prompt(document, words), *marks.shut(whole.thought[:budget])]
            (ids,) = write([head], 3)
            assert answer.text == words.decode(ids, skip_special_tokens=True).strip()
            assert answer.right == (thinking.number(answer.text) == int(document.answer))
            assert [step.piece for step in answer.steps] == [words.decode([id]) for id in [*ids, words.eos_token_id]]


def test_shares_are_counted_and_their_intervals_are_wilson_s(trial):
    for curve in trial.curves:
        assert curve.tokens == BUDGETS and curve.count == 5
        assert curve.shares[-1] == 1  # nothing is cut, and the whole thoughts were made right
        for share, low, high in zip(curve.shares, curve.lows, curve.highs, strict=True):
            wanted = intervals.share(round(5 * share), 5)
            assert (share, low, high) == pytest.approx((wanted.value, wanted.low, wanted.high), abs=1e-6)
    assert share_interval(0, 9)[1] == 0 and share_interval(9, 9)[2] == 1


def test_what_was_written_grows_with_the_budget_by_the_tokens_of_thought(asked, trial):
    for name, replies in asked[1].items():
        thoughts = [len(reply.thought) for reply in replies]
        for budget, written in zip(BUDGETS, trial.written[name], strict=True):
            thought = sum(min(budget, length) for length in thoughts) / 5
            assert thought + 1 <= written <= thought + 1 + 1 + 6  # the end of the turn, </think>, an answer


def test_a_token_s_probability_is_that_of_the_softmax_at_its_place(mini, trial):
    model, words = mini
    problem = trial.problems[0]
    prompt = words.encode(talk.prompt(words, problem.question, True), add_special_tokens=False)
    ids = [*prompt, thinking.marks(words).opened]
    for step in problem.thought:
        p = torch.softmax(model(torch.tensor([ids])).logits[0, -1].double(), -1)
        (id,) = words.encode(step.piece, add_special_tokens=False)
        assert step.probability == pytest.approx(p[id].item(), rel=1e-3)
        ids.append(id)


def test_nothing_to_ask_is_refused(mini, write):
    with pytest.raises(ValueError, match="0 groups and 1 budgets came"):
        think_budget.trial(mini, {}, write, {}, [1])


@pytest.mark.parametrize(("place", "chosen", "what"), [(5, 0, "budget is number 5"), (0, 8, "problem is number 8")])
def test_what_is_not_there_is_refused(trial, place, chosen, what):
    with pytest.raises(ValueError, match=what):
        think_budget.state(trial, place, chosen)


def test_a_cut_thought_shows_what_was_written_what_never_was_and_what_was_put_in(trial):
    state = think_budget.state(trial, 2)  # 3 tokens
    kinds = [kind for _, _, kind in state.boxes]

    assert kinds[:3] == [think_budget.KEPT] * 3
    assert kinds.count(think_budget.CUT) == len(state.problem.thought) - 3
    assert [piece for piece, _, kind in state.boxes if kind == think_budget.OURS] == ["\n", "</think>", "\n\n"]
    assert "is cut after 3" in str(state) and state.problem.truth in str(state)
    whole = think_budget.state(trial, 4)
    assert {kind for _, _, kind in whole.boxes} == {think_budget.KEPT, think_budget.ANSWER}
    assert "closed by the model" in str(whole)


@pytest.mark.parametrize("place", range(len(BUDGETS)))
def test_every_token_is_drawn_once_within_its_line_and_the_answer_on_its_own(trial, place):
    state = think_budget.state(trial, place)
    drawn = figures.think_budget(state).data[-1]
    rows = [int(row) for row in drawn.y]

    assert len(drawn.text) == len(state.boxes) and rows == sorted(rows)
    for row in set(rows):
        inside = [n for n, own in enumerate(rows) if own == row]
        edges = np.array([[drawn.base[n], drawn.base[n] + drawn.x[n]] for n in inside])
        assert (edges[1:, 0] >= edges[:-1, 1]).all() and edges.max() <= 92
    of_answer = [
        row for row, (_, _, kind) in zip(rows, state.boxes, strict=True) if kind in ("answer", "written for it")
    ]
    of_thought = [
        row for row, (_, _, kind) in zip(rows, state.boxes, strict=True) if kind in ("thought", "never written")
    ]
    assert not set(of_answer) & set(of_thought)


def test_the_height_stays_while_the_budget_moves(trial):
    assert len({figures.think_budget(think_budget.state(trial, place)).layout.height for place in range(5)}) == 1


def test_the_view_draws_what_its_controls_say(trial):
    view = ThinkBudget(trial)
    assert all(control.description for control in (view.budget, view.problem))

    for place, chosen in ((0, 0), (4, 3), (2, 7)):
        view.budget.value, view.problem.value = place, chosen
        assert view.state == think_budget.state(trial, place, chosen)
        assert view.plot.figure == figures.think_budget(view.state)
        assert str(view.state).replace("&", "&amp;")[:30] in view.text.value


def test_curves_can_be_told_apart_without_colour(trial):
    drawn = figures.accuracy(trial.curves).data

    assert len({(trace.marker.symbol, trace.line.dash) for trace in drawn}) == len(trial.curves)
