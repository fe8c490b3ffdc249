"""Trainings that take turns, against the same trainings alone; what is seen of them, counted one by one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slmlab.evaluation import EvaluationError, exams, generation, losses, racing
from slmlab.minis import corpus, recipes, tokenizer, training

STEPS = 5
PHI = recipes.RECIPES["mini-phi"]
SHAPE = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL = replace(
    PHI,
    config=PHI.config | SHAPE | {"head_dim": 16},
    mixture={"question": 1.0},
    sequence=64,
    batch=2,
    tokens=STEPS * 2 * 64,
)
EXAM = corpus.exams.facts("new", 5, seed=0)
TEXTS = {
    "stories": corpus.exams.held_out("story", 3, seed=0),
    "questions": corpus.exams.held_out("question", 4, seed=0),
}


def run(**changes):
    return training.Training(replace(SMALL, **changes), Path("no checkpoint"))


def nothing(_training):
    return None


def race(look=nothing, every=2):
    return racing.Race({"clean": run(), "noisy": run(noisy=True)}, look, every)


def test_a_runner_ends_with_the_weights_of_the_same_training_alone():
    raced, alone = race(), run(noisy=True)

    assert list(raced.turns_left()) == [1, 2, 3, 4, 5]
    for _ in alone.steps_left():
        pass

    for mine, other in zip(raced.runners["noisy"].model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert raced.runners["noisy"].losses == alone.losses != raced.runners["clean"].losses


def test_after_every_turn_all_have_read_as_many_tokens():
    raced = race()

    for step in raced.turns_left():
        assert {runner.step for runner in raced.runners.values()} == {step} == {raced.step}
    assert raced.tokens_per_step == 2 * 64 and raced.laps[-1].tokens == STEPS * 2 * 64


def test_they_are_looked_at_before_the_first_step_then_at_times_and_after_the_last():
    seen = []
    raced = race(lambda training: seen.append(training.step) or len(seen))

    for _ in raced.turns_left():
        pass

    assert [lap.step for lap in raced.laps] == [0, 2, 4, 5]
    assert seen == [0, 0, 2, 2, 4, 4, 5, 5]
    assert dict(raced.laps[1].looks) == {"clean": 3, "noisy": 4}


@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_a_race_that_is_left_goes_on_where_it_was(stopped):
    raced, whole = race(), race()
    for step in raced.turns_left():
        if step == stopped:
            break
    next(raced.runners["clean"].steps_left())  # an interrupt came between the two runners of a turn

    assert list(raced.turns_left()) == list(range(stopped + 1, STEPS + 1))
    for _ in whole.turns_left():
        pass
    for name in ("clean", "noisy"):
        assert raced.runners[name].losses == whole.runners[name].losses
    assert [lap.step for lap in raced.laps] == [0, 2, 4, 5]


def test_an_interrupted_look_is_taken_when_the_race_goes_on():
    calls = []

    def look(training):
        calls.append(training.step)
        if len(calls) == 4:  # after two steps, at the second runner
            raise KeyboardInterrupt
        return training.step

    raced = race(look)
    with pytest.raises(KeyboardInterrupt):
        list(raced.turns_left())
    assert list(raced.turns_left()) == [3, 4, 5]
    assert [lap.step for lap in raced.laps] == [0, 2, 4, 5]


def test_an_onlooker_sees_nats_of_the_texts_and_answers_of_the_exam():
    training = run()
    for _ in training.steps_left():
        pass

    found = racing.Onlooker(TEXTS, EXAM)(training)

    words = training.words
    for name, documents in TEXTS.items():
        total = sum(losses.costs(training.model, [tokenizer.encode(document, words)])[0].nats for document in documents)
        predicted = sum(len(tokenizer.encode(document, words)) - 1 for document in documents)
        assert found.nats[name].value == pytest.approx(total / predicted, rel=1e-4)
        assert found.nats[name].low < found.nats[name].value < found.nats[name].high
    for document, answer, right in zip(EXAM, found.sheet.answers, found.sheet.right, strict=True):
        prompt = tokenizer.encode_prompt(document, words)
        (ids,) = generation.greedy(training.model, [prompt], racing.ANSWER_TOKENS, tokenizer.stop_ids(words))
        assert answer == words.decode(ids) and right == exams.says(document, answer)
    assert training.model.training  # it may go on


def test_every_answer_to_a_question_for_a_fact_fits():
    words = tokenizer.load("phi")
    answers = {document.answer for document in corpus.exams.facts("new", 400, seed=0)}
    assert max(len(words.encode(answer)) for answer in answers) < racing.ANSWER_TOKENS


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"tokens": 6 * 2 * 64}, "6 steps of 128 tokens"), ({"batch": 4}, "3 steps of 256 tokens")],
)
def test_unequal_runners_are_refused(changes, told):
    with pytest.raises(EvaluationError, match=told):
        racing.Race({"clean": run(), "other": run(**changes)}, nothing, 2)


def test_nobody_to_race_and_no_looks_are_refused():
    with pytest.raises(EvaluationError, match="no runners"):
        racing.Race({}, nothing, 2)
    with pytest.raises(EvaluationError, match="every 0 steps"):
        racing.Race({"clean": run()}, nothing, 0)
