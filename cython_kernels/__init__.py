"""Exact products of int8 activations with packed ternary weights: three formats, several backends, one result.

    packed = pack(codes, "base3")                        (N, K) int8 of -1, 0, +1  ->  uint8, 1.6 bits a weight
    codes = unpack(packed, N, K, "base3")                and back
    W = matrix(packed, N, K, format="base3", scale=0.7)  checked once, ready to be used; weights = codes * scale
    y = W.matmul(x)                                      x (M, K) int8  ->  (M, N) int32, the same on every backend
    q, k, v = linear([Wq, Wk, Wv], x)                    x (M, K) float32, quantized once  ->  (M, N) float32 each

The formats are "2bit" (the default), "base3" and, for the output head and the embedding, "int8"; README.md draws them.
`backends()` says which rungs of the ladder there are and why one cannot be used, `active()` which one runs: the
fastest that is built and supported here, or the one that the environment variable SLMLAB_KERNEL names.
"""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import attention, reference
from .reference import FORMATS, empty, pack, packed_bytes, unpack

__all__ = [
    "FORMATS",
    "Backend",
    "BackendError",
    "BackendNotBuiltError",
    "BackendNotSupportedError",
    "UnknownBackendError",
    "active",
    "attend",
    "backends",
    "empty",
    "linear",
    "matmul",
    "matrix",
    "pack",
    "packed_bytes",
    "quantize",
    "threads",
    "unpack",
]

COMPILED = ("scalar", "neon", "avx2", "avx512", "avx512vbmi")  # c/dispatch.c's rows, when no extension is there to ask


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


def matrix(
    packed: np.ndarray,
    N: int,
    K: int,
    *,
    format: str = "2bit",
    scale: float | np.ndarray = 1.0,
    backend: str | None = None,
):
    """Packed weights (N, K), checked and ready: a `Matrix` of ternary.pyi, with `matmul` and all that `linear` needs.

    scale: weights = codes * scale; one number, or (N,) float32, one a row. `backend` names the one to use; without it,
    `active()`. `packed` is kept without a copy and must come from `pack`: its codes are not looked at (`unpack` does).
    A backend without a kernel for "base3" holds the weights as "2bit"; `.held` says so.
    TypeError, ValueError: the arrays do not fit; BackendError: the backend cannot run.
    """
    name = (active() if backend is None else choose(backends(), backend)).name
    if name == "reference":
        return reference.Matrix(packed, N, K, format=format, scale=scale)
    return _TERNARY.Matrix(packed, N, K, format=format, scale=scale, backend=name)


def matmul(
    packed: np.ndarray, N: int, K: int, x: np.ndarray, *, format: str = "2bit", backend: str | None = None
) -> np.ndarray:
    """`matrix(packed, N, K, ...).matmul(x)`: (M, N) int32, y[m, n] = sum over k of w[n, k] x[m, k]."""
    return matrix(packed, N, K, format=format, backend=backend).matmul(x)


def threads() -> int:
    """How many threads a product uses unless it is told: OMP_NUM_THREADS, but no more than the CPUs we may run on."""
    return _THREADS


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
        reason = "" if built and supported else "this CPU lacks its instructions" if built else "for other processors"
        rows.append(Backend(name, built, supported, reason))
    return tuple(rows)


def _threads() -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(wanted), cpus) if wanted.isdecimal() and int(wanted) > 0 else cpus


_THREADS = _threads()
_TERNARY, _MISSING = _load()
if _TERNARY is not None:
    _TERNARY.set_default_threads(_THREADS)
attend = attention.attend if _TERNARY is None else _TERNARY.attend
linear = reference.linear if _TERNARY is None else _TERNARY.linear
quantize = reference.quantize if _TERNARY is None else _TERNARY.quantize
_BACKENDS = _backends(_TERNARY, _MISSING)
