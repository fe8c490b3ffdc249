"""Exact products of int8 activations with ternary weights packed at 2 bits: one format, several backends.

    packed = pack(codes)             (N, K) int8 of -1, 0, +1  ->  uint8, 2 bits a weight
    codes = unpack(packed, N, K)     and back
    y = matmul(packed, N, K, x)      x (M, K) int8  ->  (M, N) int32, the same on every backend

`backends()` says which rungs of the ladder there are and why one cannot be used, `active()` which one runs: the
fastest that is built and supported here, or the one that the environment variable SLMLAB_KERNEL names.
README.md draws the format.
"""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import reference
from .reference import pack, packed_bytes, unpack

__all__ = [
    "Backend",
    "BackendError",
    "BackendNotBuiltError",
    "BackendNotSupportedError",
    "UnknownBackendError",
    "active",
    "backends",
    "matmul",
    "pack",
    "packed_bytes",
    "unpack",
]

COMPILED = ("scalar",)  # the rows of c/dispatch.c, for the day when no extension is there to ask


@dataclass(frozen=True)
class Backend:
    """One rung of the ladder: is it built, can this machine run it, and if it is of no use, why."""

    name: str
    built: bool
    supported: bool | None
    """None where the extension that would ask the CPU is not built."""
    reason: str
    """Why it cannot be used here; empty when it can."""


class BackendError(RuntimeError):
    """The backend asked for cannot be used."""


class UnknownBackendError(BackendError):
    """No backend has this name."""


class BackendNotBuiltError(BackendError):
    """The backend exists, but was not compiled into this installation."""


class BackendNotSupportedError(BackendError):
    """The backend is built, but this machine lacks its instructions."""


def backends() -> tuple[Backend, ...]:
    """All backends, slowest first."""
    return _BACKENDS


@cache
def active() -> Backend:
    """The backend that `matmul` uses. SLMLAB_KERNEL is read once; a BackendError says why its backend cannot run."""
    return choose(backends(), os.environ.get("SLMLAB_KERNEL"))


def matmul(packed: np.ndarray, N: int, K: int, x: np.ndarray, *, backend: str | None = None) -> np.ndarray:
    """Multiply activations x (M, K) int8 with packed weights (N, K): (M, N) int32, y[m, n] = sum of w[n, k] x[m, k].

    `backend` names the one to use in this call; without it, `active()`. Arrays are C-contiguous, K is at most 2^19,
    every value of x is allowed. TypeError, ValueError: the arrays do not fit; BackendError: the backend cannot run.
    `packed` must come from `pack`: its codes are not looked at again (`unpack` does).
    """
    name = (active() if backend is None else choose(backends(), backend)).name
    if name == "reference":
        return reference.matmul(packed, N, K, x)
    return _TERNARY.matmul(packed, N, K, x, name)


def choose(rows: Sequence[Backend], name: str | None) -> Backend:
    """The row called `name`, or the last usable one when there is no name. BackendError: it cannot run."""
    usable = [row for row in rows if row.built and row.supported]
    if not name:
        return usable[-1]
    instead = f"choose one of {', '.join(row.name for row in usable)}, or unset SLMLAB_KERNEL"
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        raise UnknownBackendError(f"there is no backend {name!r}: {instead}")
    if not row.built:
        raise BackendNotBuiltError(f"backend {name!r} is not built here ({row.reason}): {instead}")
    if not row.supported:
        raise BackendNotSupportedError(f"backend {name!r} is built, but cannot run here ({row.reason}): {instead}")
    return row


def _load():
    """The compiled module and "", or None and why it is not there."""
    try:
        module = importlib.import_module(".ternary", __name__)
    except ImportError as error:
        return None, f"{error}; with a C compiler at hand, install again to build it"
    if module.FORMAT != reference.FORMAT:
        return None, f"the extension packs by format {module.FORMAT}, wanted {reference.FORMAT}; install again"
    return module, ""


def _backends(module, missing: str) -> tuple[Backend, ...]:
    rows = [Backend("reference", built=True, supported=True, reason="")]
    if module is None:
        return (*rows, *(Backend(name, built=False, supported=None, reason=missing) for name in COMPILED))
    for name, built, supported in module.ROWS:
        reason = "" if built and supported else "this CPU lacks its instructions" if built else "left out of this build"
        rows.append(Backend(name, built, supported, reason))
    return tuple(rows)


_TERNARY, _MISSING = _load()
_BACKENDS = _backends(_TERNARY, _MISSING)
