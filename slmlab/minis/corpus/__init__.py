"""The text that minis learn from, made here: plain, regular, true, and little enough for four million weights.

>>> from itertools import islice
>>> [document] = islice(documents({"story": 1.0}, seed=0), 1)
>>> document.kind
'story'

lesson      what there is to know of an animal, a place or a material        domains animals, places, materials
question    facts in ten wordings each, explanations, comparisons, reasons   the same domains
story       two friends, a thing that is lost or broken, help, an end        stories
sum         2 to 4 terms with scratch work; sum-direct: the answer alone     arithmetic
tool        functions are offered; one call, its arguments out of the text   tools
parallel    five languages, one meaning                                      languages-en -de -fr -es -it
needle      codes of people among filler, asked for at the end               needles

All facts are in tables.py, all words in the module of their kind. From a seed and a document's number follows the
document, on every machine: documents(mixture, seed, start=n) goes on where another run stopped.

Two splits, "train" and "held-out", share no sentence of a lesson or a story, no sum, no call, no meaning, no filler or
code of a needle; for questions, no wording together with its fact. What is held out is decided by a hash of the thing
itself (splits.py), so that it is the same for all mixtures and seeds. Parts are not held out, combinations are: each
fact, each wording, each word is taught. Answers are the exception: what "How many legs does a spider have?" is
answered with is always said in the same words, so that an exam can compare it sign by sign.

exams.facts(), sums(), ... are held-out questions; noisy(document, rng) is what the web would make of a document.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from itertools import count

from .. import MiniError
from . import exams
from .document import KINDS, Document
from .kinds import MAKERS
from .noise import noisy
from .splits import HELD_OUT, TRAIN, check, generator

__all__ = ["HELD_OUT", "KINDS", "TRAIN", "Document", "documents", "exams", "fingerprint", "noisy"]


def documents(mixture: Mapping[str, float], seed: int, split: str = TRAIN, start: int = 0) -> Iterator[Document]:
    """Documents without end, from the one with the number `start`.

    mixture: kind -> share of the documents, of any sum; kinds as in KINDS
    split: "train", or "held-out"

    MiniError: a kind or the split is unknown, or a share is negative, or all are 0.
    """
    check(split)
    if strangers := set(mixture) - set(KINDS):
        raise MiniError(f"the mixture has {', '.join(sorted(strangers))}, wanted kinds among {', '.join(KINDS)}")
    if not all(share >= 0 for share in mixture.values()) or not sum(mixture.values()) > 0:
        raise MiniError(f"the mixture came as {dict(mixture)}, wanted shares of 0 or more, and one above 0")
    shares = {kind: mixture[kind] for kind in KINDS if mixture.get(kind)}
    return (_document(shares, generator(seed, split, number), split) for number in count(start))


def _document(shares: Mapping[str, float], rng: random.Random, split: str) -> Document:
    drawn = rng.random() * sum(shares.values())
    *others, last = shares
    for kind in others:
        if drawn < shares[kind]:
            return MAKERS[kind](rng, split)
        drawn -= shares[kind]
    return MAKERS[last](rng, split)


@cache
def fingerprint() -> str:
    """A sha256 that changes when the text does: of 200 documents of each kind, half of them noisy. Takes 0.2 s."""
    digest = hashlib.sha256()
    for kind in KINDS:
        for number, document in zip(range(200), documents({kind: 1.0}, 0), strict=False):
            said = noisy(document, generator("fingerprint", number)) if number % 2 else document
            digest.update(json.dumps(asdict(said), sort_keys=True).encode())
    return digest.hexdigest()
