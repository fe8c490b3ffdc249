"""The facts of every model, and the arithmetic that needs nothing but a configuration.

datasets/models.json holds what was published: shapes, counts, licences, scores, each entry with its sources and the
names of the fields that no stored source confirms. Everything that follows from the shapes is computed here:

    >>> model = get("Phi-4-mini-instruct")
    >>> parameter_count(model)
    3836021760
    >>> kv_cache_bytes(model, tokens=1)
    131072
"""

import difflib
import json
from dataclasses import dataclass, field
from functools import cache

from .. import places
from ..ledger import Ledger, Row, format_count
from ..ledger import table as text_table
from . import architectures

FAMILIES = ("phi", "qwen", "gemma", "bitnet")
TABLES = ("embedding", "head", "per-layer table")  # the places that `embedding_bits` speaks of
TABLE_CONTEXT = 32_768  # tokens, for the KV column of table()


class CatalogError(LookupError):
    """No such model or family, or nothing published from which the wanted number follows."""


@dataclass(frozen=True, eq=False)
class Model:
    """One entry of datasets/models.json. What nobody published is None."""

    name: str
    family: str  # one of FAMILIES
    series: str  # "Qwen 2.5"
    config: dict  # names as in the model's config.json, nested configurations flattened; {} when not published
    verified: bool  # the shapes come from a stored source and their count agrees with a stored or published one
    hub_id: str | None = None
    release: str | None = None
    license: str | None = None
    stored_parameters: int | None = None  # exact count of a published checkpoint
    published_parameters: int | None = None  # the maker's rounded figure
    published_active_parameters: int | None = None
    published_effective_parameters: int | None = None
    context_length: int | None = None  # tokens, without an extension that has to be switched on
    extended_context_length: int | None = None  # tokens, with YaRN
    training_tokens: int | None = None
    training_note: str | None = None
    benchmarks: dict = field(default_factory=dict)  # score by benchmark, and "source"
    sources: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)  # from memory or assumed: "license", "config.rope_theta"
    notes: str = ""

    @property
    def computable(self) -> bool:
        """Whether the shapes are published and their architecture has a formula here."""
        return self.config.get("model_type") in architectures.ARCHITECTURES

    def __repr__(self) -> str:
        return f"<Model {self.name} ({self.series})>"


@cache
def _all() -> tuple[Model, ...]:
    entries = json.loads(places.dataset("models.json").read_text(encoding="utf-8"))
    return tuple(Model(**entry) for entry in entries)


def models(family: str | None = None) -> list[Model]:
    """Every model, or those of one family ("phi", "qwen", "gemma", "bitnet")."""
    if family is not None and family not in FAMILIES:
        raise CatalogError(f"family {family!r}: wanted one of {', '.join(FAMILIES)}")
    return [model for model in _all() if family in (None, model.family)]


def get(name: str) -> Model:
    """The model with this name or hub id, in any case. CatalogError names the nearest ones when there is none."""
    known = {key.casefold(): model for model in _all() for key in (model.hub_id, model.name) if key}
    if name.casefold() in known:
        return known[name.casefold()]
    near = difflib.get_close_matches(name.casefold(), known, n=6, cutoff=0.4)
    names = dict.fromkeys(known[key].name for key in near)
    hint = f"near it: {', '.join(names)}" if names else "catalog.models() lists them"
    raise CatalogError(f"no model is called {name!r}; {hint}")


def parameters(model: Model, bits: float = 16, embedding_bits: float | None = None) -> Ledger:
    """Rows per component, with the place of each: embedding, decoder, head, per-layer table, encoders.

    `bits` is the width of the matrices inside the decoder: attention, MLP, experts, projections. Norms, biases,
    routers, convolutions and the encoders stay at 16 bit, or at `bits` where that is more. So do the token
    embedding, the per-layer table and an untied head, unless `embedding_bits` says otherwise. Tied tensors count once.
    Scales and zero points are not counted: put them into `bits` (4.5 is 4 bit with a 16-bit scale per 32 weights).

    The rows are checked against the stored count where there is one. Raises CatalogError when no configuration is
    published or its architecture has no formula here.
    """
    kept = max(bits, 16)
    tables = kept if embedding_bits is None else embedding_bits
    rows = []
    for part in _parts(model):
        width = bits if part.quantized else tables if part.place in TABLES else kept
        rows.append(Row(part.what, part.count, width, part.place))
    return Ledger(model.name, rows).check(count=model.stored_parameters)


def parameter_count(model: Model) -> int:
    """All parameters, computed; where `model.computable` is False the stored, else the published (rounded) figure."""
    if model.computable:
        return parameters(model).count
    count = model.stored_parameters or model.published_parameters
    if count is None:
        raise CatalogError(f"{model.name}: no checkpoint and no parameter count published. {model.notes}")
    return count


def active_parameters(model: Model) -> int:
    """Parameters in use for one generated token: all but the experts that the router leaves out, and the encoders.

    Embedding and head count in full. Where `model.computable` is False: the published active figure, else all.
    """
    if not model.computable:
        return model.published_active_parameters or parameter_count(model)
    rows = [part for part in _parts(model) if part.place != "encoders"]
    count = sum(part.count for part in rows)
    if "num_experts" in model.config:
        experts = sum(part.count for part in rows if part.what == "experts")
        idle = model.config["num_experts"] - model.config["num_experts_per_tok"]
        count -= experts * idle // model.config["num_experts"]
    return count


def effective_parameters(model: Model) -> int:
    """Parameters as the makers of per-layer embeddings count them for the accelerator; else `parameter_count`.

    Gemma 3n counts the decoder alone: per-layer table, token embedding and encoders are out. Gemma 4 (E2B, E4B)
    keeps the token embedding in. Neither number is a memory need: what is left out lies somewhere too.
    """
    if not model.config.get("hidden_size_per_layer_input"):
        return parameter_count(model)
    counted = {"decoder"} if model.config["model_type"] == "gemma3n_text" else {"decoder", "embedding"}
    return sum(part.count for part in _parts(model) if part.place in counted)


def weight_bytes(model: Model, bits: float, embedding_bits: float | None = None) -> int:
    """Bytes of `parameters(model, bits, embedding_bits)`: decoder matrices at `bits`, the rest as told there."""
    return parameters(model, bits, embedding_bits).bytes


def kv_cache_bytes(model: Model, tokens: int, value_bits: float = 16) -> int:
    """Bytes of keys and values that one sequence of `tokens` holds, at `value_bits` per value.

    2 · KV heads · head width · Σ over layers of min(tokens, window). A layer with a sliding window keeps the window;
    KV-shared layers (Gemma 3n, 4) and linear-attention layers (Qwen3-Next, 3.5; their state has a fixed size) keep
    nothing; Gemma 4's global layers with attention_k_eq_v keep one tensor instead of two. Runtimes that ignore
    windows hold more. Raises CatalogError as `parameters` does, ValueError for negative `tokens`.
    """
    if tokens < 0:
        raise ValueError(f"tokens is {tokens}, wanted 0 or more")
    return Row("values", sum(architectures.cached_values(_shapes(model), tokens)), value_bits).bytes


def _parts(model: Model) -> list[architectures.Part]:
    return architectures.parts(_shapes(model), model.stored_parameters or model.published_parameters)


def _shapes(model: Model) -> dict:
    """The configuration, or CatalogError with the reason why nothing follows from it."""
    if "model_type" not in model.config:
        raise CatalogError(f"{model.name}: no configuration published. {model.notes}".rstrip())
    if not model.computable:
        raise CatalogError(f"{model.name}: no formula for model_type {model.config['model_type']!r}. {model.notes}")
    return model.config


def table(family: str | None = None) -> str:
    """The models as text, at most 120 columns wide: sizes, GB at 16 and 4 bit, KV cache, context, licence."""
    header = ("model", "params", "active", "effect.", "bf16 GB", "4bit GB", "KV GB", "context", "licence", "ok")
    rows = [_table_row(model) for model in models(family)]
    return "\n".join(
        [
            text_table(header, rows, left=(0, 8, 9)),
            "",
            "params  all parameters; ~ where the published figure stands for a count. active: less idle experts and",
            "        encoders. effect.: as Gemma 3n and 4 count what the accelerator holds. Empty: the same as params.",
            "GB      10^9 bytes, decoder matrices at 16 or 4 bit, embeddings, norms and encoders at 16 bit.",
            f"KV GB   one sequence of {TABLE_CONTEXT:,} tokens, or of the whole context where that is less, at 16 bit.",
            "ok      yes: shapes from a stored source, and their count agrees with a stored or published one.",
        ]
    )


def _table_row(model: Model) -> list[str]:
    name = model.name
    context = f"{model.context_length:,}" if model.context_length else ""
    last = [context, model.license or "", "yes" if model.verified else ""]
    if not model.computable:
        known = model.stored_parameters or model.published_parameters
        return [name, f"~{format_count(known)}" if known else "", "", "", "", "", "", *last]
    count, effective = parameter_count(model), effective_parameters(model)
    kv = kv_cache_bytes(model, min(TABLE_CONTEXT, model.context_length))
    return [
        name,
        format_count(count),
        format_count(active_parameters(model)) if "num_experts" in model.config else "",
        format_count(effective) if effective != count else "",
        f"{weight_bytes(model, 16) / 1e9:.2f}",
        f"{weight_bytes(model, 4) / 1e9:.2f}",
        f"{kv / 1e9:.2f}",
        *last,
    ]
