"""How far a fact lies from where it is recalled, in tokens."""

from dataclasses import dataclass

from ..minis import tokenizer
from ..minis.corpus import Document
from .errors import EvaluationError

EDGES = (0, 16, 32, 64, 128, 256, 512)  # tokens; the rows of an evaluation lie between two of them


@dataclass(frozen=True)
class Reach:
    """Tokens that a recall must reach back: a token sees its own place and `sliding_window - 1` before it.

    nearest     from the prompt's last token to the needle's last one
    farthest    from the answer's last token to the needle's first one
    """

    nearest: int
    farthest: int


def reach(document: Document, words) -> Reach:
    """Of a document whose answer is told in its text, word by word, before it is asked for.

    EvaluationError: it is nowhere told.
    """
    text = tokenizer.prompt(document, words)
    place = text.rfind(document.answer)
    if place < 0:
        raise EvaluationError(f"the answer {document.answer!r} is not in its document: {text[:80]!r} ...")
    offsets = words(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    end = place + len(document.answer)
    needle = [index for index, (start, stop) in enumerate(offsets) if start < end and stop > place]
    answer = words.encode(document.answer, add_special_tokens=False)
    last = len(offsets) - 1
    return Reach(last - needle[-1], last + len(answer) - needle[0])
