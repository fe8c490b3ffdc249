"""Where the parameters of a model with per-layer embeddings are, where each part is put, and what a token reads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .. import catalog
from ..ledger import Ledger, Row

COMPONENTS = ("decoder", "token embedding", "per-layer table", "encoders")
PLACES = ("accelerator", "RAM", "disk")
LEFT_OUT = "left out"
IN_CATALOG = {  # the catalog's place of each component
    "decoder": "decoder",
    "token embedding": "embedding",
    "per-layer table": "per-layer table",
    "encoders": "encoders",
}


@dataclass(frozen=True)
class Choice:
    """Where a component is put, one of PLACES or LEFT_OUT, and the bits of its matrices.

    Norms and other small parts of the decoder stay at 16 bits, or at `bits` where that is more; so do the encoders.
    """

    place: str = "accelerator"
    bits: float = 16

    def __post_init__(self):
        if self.place not in (*PLACES, LEFT_OUT):
            raise ValueError(f"place is {self.place!r}, wanted one of {', '.join((*PLACES, LEFT_OUT))}")


def components(model: catalog.Model) -> dict[str, int]:
    """Parameters by component, in the order of COMPONENTS; they add up to all of the model.

    CatalogError for a model without per-layer embeddings.
    """
    rows = _rows(model)
    return {name: sum(r.count for r in rows if r.place == IN_CATALOG[name]) for name in COMPONENTS}


def reads(model: catalog.Model) -> dict[str, int]:
    """Parameters that the decoder reads to generate one token of text, by component.

    All of its own that are ever read (Gemma 3n stores keys' and values' projections of layers that share them, which
    nothing reads); the whole token embedding, because it is the output head as well, and one row of it that the head
    has in any case; one row of the per-layer table; nothing of the encoders.
    """
    sizes, config = components(model), model.config
    unread = sum(row.count for row in _rows(model) if "never read" in row.what)
    return {
        "decoder": sizes["decoder"] - unread,
        "token embedding": sizes["token embedding"],
        "per-layer table": config["num_hidden_layers"] * config["hidden_size_per_layer_input"],
        "encoders": 0,
    }


def placed(
    model: catalog.Model, choices: Mapping[str, Choice], tokens: int = 0, kv_bits: float = 16, title: str = ""
) -> Ledger:
    """The rows of a model, each at the place of its component; and the KV cache of `tokens`, with the decoder.

    choices: one for every component; those left out have no rows. A component without a choice is a ValueError.
    """
    if missing := [name for name in COMPONENTS if name not in choices]:
        raise ValueError(f"no choice for {', '.join(missing)}: wanted one for each of {', '.join(COMPONENTS)}")
    rows = []
    for name in COMPONENTS:
        choice = choices[name]
        if choice.place != LEFT_OUT:
            found = _rows(model, choice.bits, choice.bits)
            rows += [replace(row, place=choice.place) for row in found if row.place == IN_CATALOG[name]]
    if tokens and choices["decoder"].place != LEFT_OUT:
        values = catalog.kv_cache_bytes(model, tokens, value_bits=8)  # a byte a value
        rows.append(Row("KV cache", values, kv_bits, choices["decoder"].place))
    return Ledger(title or model.name, rows)


def _rows(model: catalog.Model, bits: float = 16, embedding_bits: float = 16) -> list[Row]:
    if not model.config.get("hidden_size_per_layer_input"):
        names = ", ".join(m.name for m in catalog.models() if m.config.get("hidden_size_per_layer_input"))
        raise catalog.CatalogError(f"{model.name} has no per-layer embeddings; these have: {names}")
    return list(catalog.parameters(model, bits, embedding_bits).rows)
