"""A mini that sits an exam: its model, its tokenizer, and how it is asked."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import minis, models, thinking
from ..minis import recipes, tokenizer
from ..minis.corpus import Document
from ..models.folders import SINGLE
from .generation import Ids, greedy

ANSWER_TOKENS = 64  # longer than any right answer without thought
THOUGHT_TOKENS = 384  # longer than any right thought


@dataclass(frozen=True, eq=False)
class Candidate:
    """A loaded mini."""

    name: str
    recipe: recipes.Recipe
    model: Any  # transformers.PreTrainedModel, float32, in eval mode
    words: Any  # its tokenizer
    weights_sha256: str

    def on(self, model) -> "Candidate":
        """The same with another model."""
        return replace(self, model=model)

    def encode(self, documents: Sequence[Document]) -> list[Ids]:
        """Whole documents, as they are learnt."""
        return [tokenizer.encode(document, self.words) for document in documents]

    def encode_answered(self, documents: Sequence[Document]) -> tuple[list[Ids], list[int]]:
        """Documents that end before the answer, with the answer, up to its last sign; and where each answer starts."""
        prompts = [tokenizer.encode_prompt(document, self.words) for document in documents]
        answers = [self.words.encode(document.answer, add_special_tokens=False) for document in documents]
        whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        return whole, [len(prompt) for prompt in prompts]

    def ask(self, documents: Sequence[Document]) -> list[Ids]:
        """The ids that the mini answers each document with, which ends before the answer."""
        prompts = [tokenizer.encode_prompt(document, self.words) for document in documents]
        limit = THOUGHT_TOKENS if any(document.thinking for document in documents) else ANSWER_TOKENS
        return greedy(self.model, prompts, limit, tokenizer.stop_ids(self.words))

    def say(self, answers: Sequence[Ids]) -> list[str]:
        """As text, with every special token in it: a stray one makes an answer wrong."""
        return [self.words.decode(ids) for ids in answers]

    def respond(self, documents: Sequence[Document]) -> list[str]:
        """The answers as text."""
        return self.say(self.ask(documents))

    def after_budget(self, documents: Sequence[Document], answers: Sequence[Ids], budget: int) -> list[str]:
        """The answers where thinking is cut after `budget` tokens; what ended within the budget stays as it is.

        answers: what ask() gave without a budget. Greedy ids do not depend on how many may follow, so that the first
        tokens of a long thought are those of a short one. A thought that is cut is closed as the template closes one;
        none at all is the template's block for no thinking.
        """
        marks = thinking.marks(self.words)
        prompts = [tokenizer.encode_prompt(replace(document, thinking=True), self.words) for document in documents]
        replies = [thinking.reply(ids, marks) for ids in answers]
        write = partial(greedy, self.model, stop=tokenizer.stop_ids(self.words))
        (cut,) = thinking.by_budget(write, prompts, replies, [budget], ANSWER_TOKENS, marks)
        return [
            self.words.decode(now.answer) if now is not before else self.words.decode(ids)
            for ids, before, now in zip(answers, replies, cut, strict=True)
        ]


def load(name: str, folder: Path | None = None) -> Candidate:
    """The mini or twin called `name`, out of `folder`, or of the package, which has no twins.

    What ships is checked by its digests. ModelError, MiniError: it is not there.
    """
    recipe = recipes.recipe(name)
    shipped = folder is None or (name in minis.NAMES and folder == minis.folder(name))
    loaded = models.load(minis.folder(name).name if shipped else str(folder.resolve()), "float32")
    return Candidate(name, recipe, loaded.model, loaded.tokenizer, sha256(loaded.path))


def sha256(folder: Path) -> str:
    """Of the weights in a mini's folder."""
    with (folder / SINGLE).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
