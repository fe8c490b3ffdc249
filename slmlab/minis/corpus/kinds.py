"""Who makes a document of which kind."""

import random
from collections.abc import Callable
from functools import partial

from . import lessons, needles, parallel, questions, stories, sums, tools
from .document import Document

MAKERS: dict[str, Callable[[random.Random, str], Document]] = {  # in the order of document.KINDS
    "lesson": lessons.document,
    "question": questions.document,
    "story": stories.document,
    "sum": partial(sums.document, thinking=True),
    "sum-direct": partial(sums.document, thinking=False),
    "tool": tools.document,
    "parallel": parallel.document,
    "needle": needles.document,
}
