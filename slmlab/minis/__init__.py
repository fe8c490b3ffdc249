"""Minis: a tiny trained member of every family, of about four million weights each, shipped with the course.

    mini-phi         the dense reference                 mini-phi-noisy   the same, taught by noisy text
    mini-qwen        thinks before it answers, or not    mini-qwen-moe    eight experts, two for each token
    mini-gemma       five local layers, one global       mini-gemma3n     per-layer embeddings, nested FFN
    mini-bitnet      ternary weights from the first step

corpus      the text they learn from, made here     tokenizer   one vocabulary, a chat template for each family
recipes     what each is made of and taught         training    train(name, output), resumable

models.load("mini-qwen") loads one. This face reads files and imports nothing but the standard library.
"""

import hashlib
import json
from pathlib import Path

NAMES = ("mini-phi", "mini-phi-noisy", "mini-qwen", "mini-qwen-moe", "mini-gemma", "mini-gemma3n", "mini-bitnet")
WEIGHTS = Path(__file__).resolve().parent / "weights"
CARD = "card.json"
UNLISTED = {CARD, "README.md"}  # the card lists the others; README.md is written from it


class MiniError(Exception):
    """No mini has this name, or its files are not as its card says."""


def folder(name: str) -> Path:
    """Where the mini called `name` lies, in the hub's layout. The folder does not exist before it is trained.

    MiniError: no shipped mini has this name.
    """
    if name not in NAMES:
        raise MiniError(f"the mini came as {name!r}, wanted one of {', '.join(NAMES)}")
    return WEIGHTS / name


def card(name: str) -> dict:
    """What the mini's card.json says: data, tokens, seconds, loss curve, scores, files. MiniError: there is none."""
    return read_card(folder(name))


def read_card(where: Path) -> dict:
    """The card of the mini in the folder `where`."""
    file = where / CARD
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MiniError(f"{file} is not there. Next: slmlab minis train {where.name} --output {where}") from error
    except ValueError as error:
        next_step = f"slmlab minis train {where.name} --output {where}"
        raise MiniError(f"{file} is not JSON ({error}). Next: {next_step}") from error


def digests(where: Path) -> dict[str, dict]:
    """What a card lists as "files": name -> {"bytes", "sha256"}, of all files but card.json and README.md."""
    found = {}
    for file in sorted(where.iterdir()):
        if file.is_file() and file.name not in UNLISTED:
            with file.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            found[file.name] = {"bytes": file.stat().st_size, "sha256": sha256}
    return found


def fault(where: Path) -> str | None:
    """Why the mini in `where` cannot be trusted, or None: the sha256 of each file that its card lists is taken."""
    try:
        wanted = dict(read_card(where)["files"])
    except MiniError as error:
        return str(error)
    except (KeyError, TypeError, ValueError):
        return f"{where / CARD} lists no files"
    came = digests(where)
    for name, entry in wanted.items():
        if name not in came:
            return f"{where / name} is missing"
        if came[name] != entry:
            return f"{where / name} has sha256 {came[name]['sha256']}, its card lists another"
    return None
