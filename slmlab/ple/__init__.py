"""Per-layer embeddings: what a Gemma 3n or 4 keeps beside its layers, where that may lie, and what a token reads of it.

ledgers    COMPONENTS, PLACES; components, reads, placed: arithmetic on the catalog
files      Stored, pages, resident_pages, resident_bytes, drop, read_ahead_bytes, limits: a table in a file, its pages
table      store, open_stored, Held, Mapped, place: a table of one's own in the place of a model's, with torch

A table is a matrix with a row for each token: layers x width numbers, layer after layer. A model looks up the row of
each token that it reads, and nothing else of the table.
"""

from .files import PAGE_BYTES, Stored, drop, limits, pages, read_ahead_bytes, resident_bytes, resident_pages
from .ledgers import COMPONENTS, LEFT_OUT, PLACES, Choice, components, placed, reads

__all__ = [
    "COMPONENTS",
    "LEFT_OUT",
    "PAGE_BYTES",
    "PLACES",
    "Choice",
    "Held",
    "Mapped",
    "Stored",
    "components",
    "drop",
    "limits",
    "open_stored",
    "pages",
    "place",
    "placed",
    "read_ahead_bytes",
    "reads",
    "resident_bytes",
    "resident_pages",
    "store",
]


def __getattr__(name: str):
    """What needs torch is imported when it is asked for."""
    if name in ("Held", "Mapped", "open_stored", "place", "store"):
        from . import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
