"""Thoughts and their budgets, on models that are a script: what is written, what is read, and never a token more."""

import pytest

from slmlab import thinking
from slmlab.minis import tokenizer
from slmlab.thinking import Reply, split

OPENED, CLOSED = 100, 101
MARKS = thinking.Marks(
    OPENED, CLOSED, begin=(OPENED, 1), end=(1, CLOSED, 2), none=(OPENED, 2, CLOSED, 2), blank=frozenset({1, 2})
)


class Script:
    """Writes the same turn after any prompt, from the place where the prompt broke off; answers [9, 9] once shut."""

    def __init__(self, *turns: list[int]):
        self.turns, self.asked = turns, []

    def __call__(self, prompts, limit):
        self.asked.append((prompts, limit))
        return [self.follow(prompt)[:limit] for prompt in prompts]

    def follow(self, prompt):
        turn = self.turns[prompt[0]]
        said = prompt[prompt.index(OPENED) + 1 :]
        return turn[len(said) :] if said == turn[: len(said)] else [9, 9]


def by_loop(text: str, opened: bool) -> tuple[str, str | None]:
    """split(), a letter at a time."""
    depth, thought, answer = int(opened), "", ""
    while text:
        if text.startswith("<think>"):
            thought += "<think>" * (depth > 0)
            depth, text = depth + 1, text[7:]
        elif text.startswith("</think>"):
            thought += "</think>" * (depth > 1)
            answer += "</think>" * (depth == 0)
            depth, text = max(0, depth - 1), text[8:]
        else:
            if depth:
                thought += text[0]
            else:
                answer += text[0]
            text = text[1:]
    return thought.strip(), None if depth else answer.strip()


@pytest.mark.parametrize("opened", [False, True])
def test_every_order_of_marks_and_words_is_split_as_letter_by_letter(opened):
    pieces = ("<think>", "</think>", "\na ", "b")
    texts = [""]
    for _ in range(5):
        texts += [text + piece for text in texts for piece in pieces]

    for text in set(texts):
        assert split(text, opened) == by_loop(text, opened), text


@pytest.mark.parametrize(
    ("answer", "number"),
    [("64", 64), ("It is **1,064**.", 1064), ("-3", -3), ("47+38 = 85", 85), ("", None), (None, None), ("four", None)],
)
def test_the_last_number_of_an_answer_counts(answer, number):
    assert thinking.number(answer) == number


def test_the_marks_of_a_family_are_those_of_its_template():
    words = tokenizer.load("qwen")
    marks = thinking.marks(words)
    chat = [{"role": "user", "content": "What is 1+1?"}]
    thought = words.encode("\n1+1", add_special_tokens=False)

    def prompt(messages, **switch):
        return words.apply_chat_template(messages, tokenize=False, **switch)

    asked = prompt(chat, add_generation_prompt=True)
    without = prompt(chat, add_generation_prompt=True, enable_thinking=False)
    answered = prompt([*chat, {"role": "assistant", "content": "2", "reasoning_content": "1+1"}])
    assert without == asked + words.decode(marks.none)
    assert answered == asked + words.decode(marks.shut(thought)) + "2<|im_end|>\n"
    assert marks.shut([*thought, *words.encode("\n")]) == marks.shut(thought)
    assert marks.shut([]) == marks.shut(thought[:1]) == list(marks.none)


def test_a_tokenizer_without_marks_is_refused():
    class Letters:
        def encode(self, text, add_special_tokens):
            return list(text.encode())

    with pytest.raises(ValueError, match="7 and 8 tokens, wanted one each"):
        thinking.marks(Letters())


def test_a_turn_is_read_into_thought_and_answer():
    assert thinking.reply([5, 6], MARKS) == Reply([], [5, 6], cut=False)
    assert thinking.reply([OPENED, 5, CLOSED, 2, 6], MARKS) == Reply([5], [2, 6], cut=False)
    assert thinking.reply([OPENED, 5, 6], MARKS) == Reply([5, 6], [], cut=True)


def test_the_tokens_that_a_model_wrote_are_all_counted():
    assert thinking.reply([5, 6], MARKS).written == 3  # and the end of its turn
    assert thinking.reply([OPENED, 5, CLOSED, 2, 6], MARKS).written == 5  # <think> was opened for it
    assert Reply([5, 5, 5], [6], cut=True).written == 5  # </think> was not its own


TURN = [1, 5, 6, 7, 1, CLOSED, 2, 8]  # a line break, three ids of thought, a line break; the answer


@pytest.mark.parametrize(
    ("budget", "reply"),
    [
        (0, Reply([], [9, 9], cut=True)),
        (1, Reply([1], [9, 9], cut=True)),
        (3, Reply([1, 5, 6], [9, 9], cut=True)),
        (5, Reply([1, 5, 6, 7, 1], [8], cut=True)),  # as far as the model itself would have thought
        (6, Reply([1, 5, 6, 7, 1], [2, 8], cut=False)),  # closed by itself, its answer written in the second pass
        (7, Reply([1, 5, 6, 7, 1], [2, 8], cut=False)),
        (8, Reply([1, 5, 6, 7, 1], [2, 8], cut=False)),
        (99, Reply([1, 5, 6, 7, 1], [2, 8], cut=False)),
    ],
)
def test_a_thought_is_cut_at_its_budget_closed_and_answered(budget, reply):
    script = Script(TURN)

    assert thinking.within_budget(script, [[0]], budget, 4, MARKS) == [reply]
    first = [budget - 1] if budget > 1 else []  # the line break is the first token
    second = [] if budget > 8 else [4]
    assert [limit for _, limit in script.asked] == first + second


def test_a_cut_thought_ends_as_the_template_ends_one():
    script = Script(TURN)
    thinking.within_budget(script, [[0]], 1, 9, MARKS)
    thinking.within_budget(script, [[0]], 3, 9, MARKS)
    thinking.within_budget(script, [[0]], 5, 9, MARKS)

    second = [prompts[0] for prompts, limit in script.asked if limit == 9]
    assert second == [[0, *MARKS.none], [0, OPENED, 1, 5, 6, *MARKS.end], [0, OPENED, 1, 5, 6, 7, *MARKS.end]]


def test_a_turn_that_ends_within_its_thought_is_asked_for_an_answer():
    assert thinking.within_budget(Script([1, 5]), [[0]], 8, 4, MARKS) == [Reply([1, 5], [9, 9], cut=True)]


def test_several_prompts_keep_their_order_and_their_own_budgets_end():
    turns = [TURN, [1, CLOSED, 2, 8], [1, 5, 6]]

    found = thinking.within_budget(Script(*turns), [[0], [1], [2]], 3, 4, MARKS)

    assert found == [Reply([1, 5, 6], [9, 9], True), Reply([1], [2, 8], False), Reply([1, 5, 6], [9, 9], True)]


def test_the_first_pass_of_a_greedy_model_serves_every_budget():
    turns = [TURN, [1, 5, CLOSED, 2, 7, 7]]
    prompts = [[0], [1]]
    script = Script(*turns)
    whole = [thinking.reply([OPENED, *turn], MARKS) for turn in turns]
    budgets = [0, 1, 2, 3, 5, 6, 20]

    found = thinking.by_budget(script, prompts, whole, budgets, 4, MARKS)

    for budget, replies in zip(budgets, found, strict=True):
        two_passes = thinking.within_budget(script, prompts, budget, 4, MARKS)
        for one, other in zip(replies, two_passes, strict=True):
            if len(one.thought) < budget:
                assert one == other
            assert len(one.thought) <= budget
            assert one.thought == other.thought
    assert found[-1] == whole
