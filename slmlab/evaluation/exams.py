"""Exams: documents whose answer is left out, what a model says to them, and what counts as right."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

from ..minis.corpus import Document
from .intervals import Estimate, share

THOUGHT = ("<think>", "</think>")
CALL = re.compile(r"<tool_call>(.*?)</tool_call>|<\|tool_call\|>(.*?)<\|/tool_call\|>", re.DOTALL)

Respond = Callable[[Sequence[Document]], list[str]]  # the answers' text, special tokens that end a turn left out
Judge = Callable[[Document, str], bool]


@dataclass(frozen=True)
class Sheet:
    """An exam that was sat: documents, answers, and which of them are right."""

    documents: tuple[Document, ...]
    answers: tuple[str, ...]
    right: tuple[bool, ...]

    @property
    def score(self) -> Estimate:
        return share(sum(self.right), len(self.right))

    def where(self, wanted: Iterable[bool]) -> "Sheet":
        """The part of it that is wanted."""
        columns = (self.documents, self.answers, self.right)
        wanted = list(wanted)
        return Sheet(*(tuple(compress(column, wanted)) for column in columns))


def sit(respond: Respond, documents: Sequence[Document], judge: Judge) -> Sheet:
    answers = respond(documents)
    return mark(documents, answers, judge)


def mark(documents: Sequence[Document], answers: Sequence[str], judge: Judge) -> Sheet:
    right = tuple(judge(document, answer) for document, answer in zip(documents, answers, strict=True))
    return Sheet(tuple(documents), tuple(answers), right)


def join(sheets: Sequence[Sheet]) -> Sheet:
    return Sheet(
        tuple(document for sheet in sheets for document in sheet.documents),
        tuple(answer for sheet in sheets for answer in sheet.answers),
        tuple(right for sheet in sheets for right in sheet.right),
    )


# ------------------------------------------------------------------------------------------------------------------
# Judges


def says(document: Document, answer: str) -> bool:
    """Whether the answer, after any thought, is the document's, sign by sign."""
    return spoken(answer) == document.answer


def spoken(answer: str) -> str:
    """The answer without its thought; a thought that was not ended is all there is, and no right answer."""
    return answer.rpartition(THOUGHT[1])[2].strip()


def calls_valid_json(document: Document, answer: str) -> bool:
    """Whether the answer holds one call, written as JSON, with a name and arguments."""
    return _call(answer) is not None


def calls_right_function(document: Document, answer: str) -> bool:
    call = _call(answer)
    return call is not None and call["name"] == json.loads(document.answer)["name"]


def calls_rightly(document: Document, answer: str) -> bool:
    """Whether the answer is one call of the right function with the right arguments, no more and no fewer.

    Their order is free; 5 and "5", or 5 and 5.0, are not the same.
    """
    call = _call(answer)
    return call is not None and _canonical(call) == _canonical(json.loads(document.answer))


def _call(answer: str) -> dict | None:
    written = ["".join(groups) for groups in CALL.findall(answer)]
    if len(written) != 1:
        return None
    try:
        call = json.loads(written[0])
    except ValueError:
        return None
    if isinstance(call, list) and len(call) == 1:  # Phi writes a list of calls
        (call,) = call
    if isinstance(call, dict) and isinstance(call.get("name"), str) and isinstance(call.get("arguments"), dict):
        return call
    return None


def _canonical(call: dict) -> str:
    return json.dumps([call["name"], call["arguments"]], sort_keys=True)
