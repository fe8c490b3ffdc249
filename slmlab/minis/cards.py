"""The model card: card.json, what is known of a trained mini, and README.md, written from it and the stored evaluation.

`write(folder, card)` writes both when a mini is trained; `refresh(folder)` writes README.md again, after an evaluation.
"""

import hashlib
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__, bench, places
from . import CARD, NAMES, corpus, digests, read_card, tokenizer

if TYPE_CHECKING:
    from .training import Training

EVALUATION = places.HERE / "minis" / "evaluation.json"  # slmlab.evaluation writes it
WEIGHTS = "model.safetensors"
CURVE_POINTS = 100
SAMPLE_TOKENS = 192  # of a greedy answer
SAMPLE_WORDS = 6  # of a text, which the model is to continue
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
ROWS_IN_README = 12  # of the loss curve

SHOWS = {
    "mini-phi": "the dense reference, with Phi's chat template and calls of functions",
    "mini-phi-noisy": "what mini-phi would be if its text were that of the web: as many tokens, of noisy text",
    "mini-qwen": "thinking, on and off (`enable_thinking`), in sums; calls of functions",
    "mini-qwen-moe": "a mixture of eight experts, two for each token",
    "mini-gemma": "five local layers and a global one, and what they let it find in a text",
    "mini-gemma3n": "per-layer embeddings, and feed-forward layers whose first part stands alone (MatFormer)",
    "mini-bitnet": "weights that were ternary from the first step of training",
    "mini-gemma3n-twin": "mini-gemma3n with feed-forward layers that were always trained whole",
    "mini-bitnet-twin": "mini-bitnet in full precision: the same start, the same text",
    "mini-qwen-moe-active": "a dense model with as many weights as work on a token in mini-qwen-moe",
    "mini-qwen-moe-total": "a dense model with as many weights as mini-qwen-moe has",
}


# ------------------------------------------------------------------------------------------------------------------
# card.json


def describe(training: "Training", model, nats: Mapping[str, float], samples: Sequence[dict], folder: Path) -> dict:
    """The card of a finished training whose other files lie in `folder`.

    model: as stored; nats: held-out loss by kind; samples: from samples()
    """
    recipe = training.recipe
    files = digests(folder)
    return {
        "name": recipe.name,
        "class": recipe.model_class,
        "family": recipe.family,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": sum(entry["bytes"] for entry in files.values()),
        "files": files,
        "data": {
            "mixture": dict(recipe.mixture),
            "noisy": recipe.noisy,
            "prompt_weight": recipe.prompt_weight,
            "short_first": recipe.short_first,
            "corpus": corpus.fingerprint(),
            "documents": training.text.next_document - training.text.passed_over - len(training.text.waiting),
            "tokens": training.steps * recipe.batch * recipe.sequence,
        },
        "training": {
            "steps": training.steps,
            "batch": recipe.batch,
            "sequence": recipe.sequence,
            "learning_rate": recipe.learning_rate,
            "precision": training.precision,
            "ternary": recipe.ternary,
            "matformer": recipe.matformer,
            "seed": recipe.seed,
            "seconds": round(training.seconds, 1),
            "machine": str(bench.machine()),
            "commit": training.commit,
            "versions": versions(),
        },
        "loss_curve": curve(training.losses, recipe.batch * recipe.sequence),
        "held_out_loss": {kind: round(value, 4) for kind, value in nats.items()},
        "samples": list(samples),
    }


def curve(losses: Sequence[float], step_tokens: int) -> list[list[float]]:
    """About 100 points [tokens seen, mean nats of a token since the point before]."""
    size = math.ceil(len(losses) / CURVE_POINTS)
    parts = [(start, losses[start : start + size]) for start in range(0, len(losses), size)]
    return [[(start + len(part)) * step_tokens, round(sum(part) / len(part), 4)] for start, part in parts]


def samples(model, words, recipe) -> list[dict]:
    """What the model says, greedily and in float32, to the first held-out document of each kind of its mixture."""
    import torch

    found = []
    for kind in recipe.mixture:
        (document,) = corpus.exams.held_out(kind, 1, recipe.seed + 1)
        if document.messages:
            document = replace(document, messages=document.messages[:-1])
        else:
            document = replace(document, text=" ".join(document.text.split(" ")[:SAMPLE_WORDS]))
        prompt = tokenizer.prompt(document, words)
        ids = torch.tensor([words.encode(prompt, add_special_tokens=False)])
        answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=SAMPLE_TOKENS)
        text = words.decode(answer[0, ids.shape[1] :], skip_special_tokens=True)
        found.append({"kind": kind, "prompt": prompt, "text": text, "max_new_tokens": SAMPLE_TOKENS})
    return found


def commit() -> str:
    """Of the clone that slmlab runs from, with "changed" if files of it differ from that; else "unknown"."""
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(places.HERE), *command], capture_output=True, encoding="utf-8", check=True, timeout=20
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", "."])
        )
        tracked = subprocess.run(
            ["git", "-C", str(places.HERE), "ls-files", "--error-unmatch", "__init__.py"],
            capture_output=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    if tracked.returncode:  # installed into a folder inside somebody else's repository
        return "unknown"
    return f"{head}, changed" if changes else head


def versions() -> dict[str, str]:
    """Of what a training depends on."""
    return {"slmlab": __version__} | {name: metadata.version(name) for name in PACKAGES}


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write(folder: Path, card: Mapping[str, Any]) -> None:
    """card.json and README.md."""
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8", newline="\n")
    refresh(folder)


# ------------------------------------------------------------------------------------------------------------------
# README.md


def refresh(folder: Path, evaluation: Path = EVALUATION) -> Path:
    """Write README.md from card.json and what the stored evaluation says of these weights; return its path."""
    card = read_card(folder)
    file = folder / "README.md"
    with places.replacing(file) as new:
        new.write_text(render(card, scores(card, evaluation)), encoding="utf-8", newline="\n")
    return file


def scores(card: Mapping[str, Any], evaluation: Path = EVALUATION) -> list[dict]:
    """Rows of the stored evaluation that were measured on the card's weights; [] if there are none."""
    if not evaluation.is_file():
        return []
    stored = json.loads(evaluation.read_text(encoding="utf-8"))
    if stored["weights_sha256"].get(card["name"]) != card["files"][WEIGHTS]["sha256"]:
        return []
    return [row for row in stored["rows"] if row["model"] == card["name"]]


def render(card: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] = ()) -> str:
    """README.md of a card and its rows of the evaluation."""
    name, data, how = card["name"], card["data"], card["training"]
    languages = ["en", "de", "fr", "es", "it"] if "parallel" in data["mixture"] else ["en"]
    load = (
        f'from slmlab import models\n\nmodel, tokenizer = models.load("{name}")'
        if name in NAMES
        else f'from slmlab import models\n\nmodel, tokenizer = models.load("./{name}")'
    )
    facts = [
        ("class", f"`{card['class']}`"),
        ("parameters", f"{card['parameters']:,}"),
        ("on disk", f"{card['bytes']:,} bytes, of these {card['files'][WEIGHTS]['bytes']:,} in `{WEIGHTS}`"),
        ("stored as", "two bits a weight, the rest bfloat16" if how["ternary"] else "bfloat16"),
        ("taught", _mixture(data)),
        ("documents", f"{data['documents']:,}"),
        ("tokens", f"{data['tokens']:,}"),
        ("corpus", f"`{data['corpus'][:16]}`"),
        ("steps", f"{how['steps']:,} of {how['batch']} sequences of {how['sequence']} tokens"),
        ("learning rate", f"{how['learning_rate']:g}"),
        ("seconds", f"{how['seconds']:,.0f}, multiplied in {how['precision']}"),
        ("machine", how["machine"]),
        ("seed", str(how["seed"])),
        ("commit", f"`{how['commit']}`"),
        ("versions", ", ".join(f"{package} {version}" for package, version in how["versions"].items())),
    ]
    parts = [
        _header(card, languages),
        f"# {name}",
        f"A model of {card['parameters'] / 1e6:.1f} million weights of the `{card['class']}` architecture, trained for "
        f"the course slmlab. It shows {SHOWS.get(name, 'one of its recipes')}.",
        "It knows the text that a program made for it, in plain short sentences, and nothing else. Use it to learn how "
        "such models work; never for what it says.",
        f"```python\n{load}\n```",
        "## How it was made",
        _table(("", ""), facts),
        f"`slmlab minis train {name}` makes it again.",
        "## Loss",
        "Nats a token, in training (mean since the row before) and at the end on documents that training never saw.",
        _table(("tokens", "training loss"), [(f"{tokens:,}", f"{loss:.3f}") for tokens, loss in _thinned(card)]),
        _table(("held out", "loss"), [(kind, f"{value:.3f}") for kind, value in card["held_out_loss"].items()]),
        "## Scores",
        _scores(rows),
        "## Samples",
        "Greedy, in float32, on held-out documents.",
        *(_sample(sample) for sample in card["samples"]),
    ]
    return "\n\n".join(parts) + "\n"


def _header(card: Mapping[str, Any], languages: Sequence[str]) -> str:
    lines = ["license: mit", "language:", *(f"- {code}" for code in languages), "library_name: transformers"]
    lines += ["pipeline_tag: text-generation", "tags:", "- slmlab", f"- {card['family']}"]
    return "\n".join(["---", *lines, "---"])


def _mixture(data: Mapping[str, Any]) -> str:
    total = sum(data["mixture"].values())
    shares = ", ".join(f"{kind} {share / total:.0%}" for kind, share in data["mixture"].items())
    more = ", noisy" if data["noisy"] else ""
    more += ", the short ones first" if data.get("short_first") else ""  # cards of other minis may be older than both
    if (weight := data.get("prompt_weight", 1.0)) != 1.0:
        more += f"; in what was minimised, a token of a question weighs {weight:g} and one of an answer 1"
    return f"{shares} of the documents{more}"


def _thinned(card: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The loss curve in a few rows, the last among them; each the mean of the points that it stands for."""
    points = card["loss_curve"]
    size = math.ceil(len(points) / ROWS_IN_README)
    parts = [points[max(0, end - size) : end] for end in range(len(points), 0, -size)]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in reversed(parts)]


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "None are stored for these weights. Next: `slmlab minis eval --record`"
    lines = []
    for row in rows:
        value = "not measured" if row["value"] is None else f"{row['value']:.3f}"
        interval = "" if row["value"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        lines.append((row["what"], value, interval, row["unit"], row["goal"], met, str(row["count"] or "")))
    notes = dict.fromkeys(row["note"] for row in rows if row["note"])
    table = _table(("what", "value", "95 % interval", "unit", "goal", "met", "count"), lines)
    return "\n\n".join(["Held out, as stored by `slmlab minis eval --record`.", table, *notes])


def _sample(sample: Mapping[str, Any]) -> str:
    return f"{sample['kind']}:\n\n````text\n{sample['prompt']}\n````\n\n````text\n{sample['text']}\n````"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
