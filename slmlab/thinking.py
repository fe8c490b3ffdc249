"""Thinking before the answer: where a thought begins and ends, and how it is kept within a budget of tokens.

>>> split("<think>\\n47+38\\n85\\n</think>\\n\\n85")
('47+38\\n85', '85')

A model has no budget: it stops thinking when it writes </think>, and generate() counts tokens of any kind. So two
passes: at most so many tokens of thought; if the thought was not closed by then, it is closed for the model, which then
answers. Described for Qwen3 in its report (arXiv 2505.09388) and its documentation (thinking_budget.md).

Nothing here loads a model: `Write` is whatever continues prompts, greedy or drawn.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"
MARK = re.compile(f"({OPEN}|{CLOSE})")
NUMBER = re.compile(r"-?\d+(?:,\d{3})*")

Ids = list[int]
Write = Callable[[list[Ids], int], list[Ids]]  # what follows each prompt: at most so many ids, up to the turn's end


def split(text: str, opened: bool = False) -> tuple[str, str | None]:
    """(thought, answer) of what a model wrote: what stands inside of the marks, and outside of them.

    opened: the prompt has opened a thought already, as some templates do; the text begins inside of it. Marks nest like
    brackets; those inside belong to the thought, and a </think> that closes nothing to the answer. Both come without
    spaces around them; the thought is "" where there is none, and the answer None where a thought was never closed.
    """
    inside, outside, depth = "", "", int(opened)
    for piece in MARK.split(text):
        step = {OPEN: 1, CLOSE: -1 if depth else 0}.get(piece, 0)
        is_outermost = step != 0 and depth + max(step, 0) == 1
        if not is_outermost and depth:
            inside += piece
        elif not is_outermost:
            outside += piece
        depth += step
    return inside.strip(), None if depth else outside.strip()


def number(answer: str | None) -> int | None:
    """The last whole number in an answer, or None: "64", "It is **1,064**." """
    found = NUMBER.findall(answer or "")
    return int(found[-1].replace(",", "")) if found else None


# ------------------------------------------------------------------------------------------------------------------
# A budget


@dataclass(frozen=True)
class Marks:
    """How a tokenizer writes the edges of a thought."""

    opened: int  # <think>
    closed: int  # </think>
    begin: tuple[int, ...]  # what opens a thought: <think>, and the line break after it
    end: tuple[int, ...]  # what closes a thought that was cut, from its line break to the place of the answer
    none: tuple[int, ...]  # the block of a template that rules thinking out
    blank: frozenset[int]  # ids of spaces and line breaks alone

    def shut(self, thought: Sequence[int]) -> Ids:
        """The whole block of a thought that was cut there: an answer may follow it.

        thought: ids that the model wrote after <think>. Spaces and line breaks at its end are left out, as the template
        leaves them out; where nothing else is left, it is the block of no thought.
        """
        kept = list(thought)
        while kept and kept[-1] in self.blank:
            kept.pop()
        return [self.opened, *kept, *self.end] if kept else list(self.none)


def marks(tokenizer) -> Marks:
    """The marks of a tokenizer (transformers). ValueError: it does not write <think> and </think> as one id each."""
    edges = [tokenizer.encode(mark, add_special_tokens=False) for mark in (OPEN, CLOSE)]
    if [len(ids) for ids in edges] != [1, 1]:
        raise ValueError(
            f"{OPEN} and {CLOSE} came as {len(edges[0])} and {len(edges[1])} tokens, wanted one each: this family was "
            "not taught to think. Next: take one of the Qwen family"
        )
    blanks = (" ", "\n", "\n\n", "  ", " \n", "\t")
    return Marks(
        opened=edges[0][0],
        closed=edges[1][0],
        begin=tuple(tokenizer.encode(f"{OPEN}\n", add_special_tokens=False)),
        end=tuple(tokenizer.encode(f"\n{CLOSE}\n\n", add_special_tokens=False)),
        none=tuple(tokenizer.encode(f"{OPEN}\n\n{CLOSE}\n\n", add_special_tokens=False)),
        blank=frozenset(id for text in blanks for id in tokenizer.encode(text, add_special_tokens=False)),
    )


@dataclass(frozen=True)
class Reply:
    """What a model wrote for one prompt.

    thought: ids between the marks; [] where it did not think
    answer: ids after the thought, or all of them
    cut: the thought was closed for the model, or it was never closed and the answer is empty
    """

    thought: Ids
    answer: Ids
    cut: bool

    @property
    def written(self) -> int:
        """Tokens that the model wrote: thought, </think> if it was the model's own, answer, the end of the turn."""
        return len(self.thought) + (not self.cut and bool(self.thought)) + len(self.answer) + 1


def reply(written: Ids, marks: Marks) -> Reply:
    """Thought and answer of ids that a model wrote in one go, its <think> among them."""
    if marks.opened not in written:
        return Reply([], written, False)
    return _inside(written[written.index(marks.opened) + 1 :], marks)


def _inside(written: Ids, marks: Marks) -> Reply:
    if marks.closed not in written:
        return Reply(written, [], True)
    end = written.index(marks.closed)
    return Reply(written[:end], written[end + 1 :], False)


def within_budget(write: Write, prompts: list[Ids], budget: int, answer_limit: int, marks: Marks) -> list[Reply]:
    """Two passes over each prompt: at most `budget` tokens of thought, then at most `answer_limit` of answer.

    prompts: up to where the model's turn begins. The thought is opened here, with its line break, so that the model
    cannot leave it out; the line break counts as its first token. A model that ends its turn without an answer is asked
    for one all the same.
    """
    lead = list(marks.begin[1:])
    limit = budget - len(lead)
    opened = [[*prompt, *marks.begin] for prompt in prompts]
    first = write(opened, limit) if limit > 0 else [[] for _ in prompts]
    replies, unfinished, heads = [], [], []
    for index, (prompt, ids) in enumerate(zip(prompts, first, strict=True)):
        found = _inside([*lead[:budget], *ids], marks)
        replies.append(found)
        if found.cut:
            heads.append([*prompt, *marks.shut(found.thought)])
        elif len(ids) == limit:  # closed in time, but the budget's end cut the answer
            heads.append([*opened[index], *ids])
        else:
            continue
        unfinished.append(index)
    for index, more in zip(unfinished, write(heads, answer_limit) if heads else [], strict=True):
        found = replies[index]
        replies[index] = Reply(found.thought, [*found.answer, *more], found.cut)
    return replies


def by_budget(
    write: Write, prompts: list[Ids], replies: list[Reply], budgets: Sequence[int], answer_limit: int, marks: Marks
) -> list[list[Reply]]:
    """For each budget what within_budget() would give, where `write` is greedy.

    replies: those without a budget. Greedy ids do not depend on how many may follow, so the begin of a long thought is
    the thought of a small budget: the first pass is not run again.
    """
    found = []
    for budget in budgets:
        cut = [index for index, whole in enumerate(replies) if len(whole.thought) > budget]
        heads = [[*prompts[index], *marks.shut(replies[index].thought[:budget])] for index in cut]
        of_budget = list(replies)
        for index, answer in zip(cut, write(heads, answer_limit) if heads else [], strict=True):
            of_budget[index] = Reply(replies[index].thought[:budget], answer, True)
        found.append(of_budget)
    return found
