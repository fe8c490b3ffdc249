"""Racing the kernels: what a product costs here and now, beside the strongest fp16 kernel and the speed of memory.

    bench = Bench()
    rows = bench.measure(single(2560, 6912), ["2bit", "base3", "2bit/avx2"], threads=2)
    [(row.format, row.backend, row.ratio, row.share) for row in rows]

The memory of a shared machine is twice as fast in one minute as in the next. So contenders run in turn, each repetition
begins with another one, and every figure is taken inside a repetition before its median is: how many times as fast
as the best baseline (`ratio`), and how much of what reading alone reached (`share`). Weights are many distinct copies,
more than a cache holds, and each is used again only after all others. Activations are float32 and quantized inside the
timing. `python -m cython_kernels.bench` measures everything that README.md tabulates.

A contender is "format/backend". Ours: a format and a name of `backends()`, or the format alone for `active()`.
Beside ours: "fp16/gemv" (c/baseline.c), "fp16/torch", "bf16/torch", "fp32/torch" and, where the package
litespark-inference is installed, "2bit/litespark". "bytes/read" is reading alone; it is always measured.
"""

import gc
import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cython_kernels import FORMATS, active, backends, empty, linear, matrix, packed_bytes, threads

BEST_FP16 = ("fp16/gemv", "fp16/torch", "bf16/torch")
SAMPLE_S = 0.03
SETTLE_S = 0.003
FOOTPRINT_BYTES = 30 * 17_367_040  # the 30 layers of BitNet b1.58 2B4T at 2 bits: beyond every cache that we know of
WIDTH = {"fp16": 2, "bf16": 2, "fp32": 4}  # bytes of a weight


@dataclass(frozen=True)
class Work:
    """Products on M tokens, one after the other: `products` are (rows of each matrix that shares the x, columns K).

    `layers` is by how much a time is multiplied: the products are one layer of that many.
    """

    name: str
    products: tuple[tuple[tuple[int, ...], int], ...]
    M: int = 1
    layers: int = 1

    @property
    def macs(self) -> int:
        return self.M * self.layers * sum(sum(rows) * K for rows, K in self.products)


def single(N: int, K: int, M: int = 1) -> Work:
    """One matrix of N rows and K columns times M tokens."""
    return Work(f"{N} x {K}", (((N,), K),), M)


LAYER = (((2560, 640, 640), 2560), ((2560,), 2560), ((6912, 6912), 2560), ((2560,), 6912))
"""BitNet b1.58 2B4T: q+k+v, o, gate+up, down. The publisher's config.json, microsoft/bitnet-b1.58-2B-4T."""


def bitnet_2b4t(M: int = 1, layers: int = 30) -> Work:
    """All matrices of `layers` layers of BitNet b1.58 2B4T, without embedding and head."""
    return Work(f"BitNet 2B4T, {layers} layers", LAYER, M, layers)


@dataclass(frozen=True)
class Row:
    """One contender in one race. Of what has quartiles, three numbers: first quartile, median, third quartile."""

    what: str
    format: str
    backend: str
    held: str
    """The format in memory: a backend without base-3 kernels holds 2 bits."""
    threads: int
    M: int
    macs: int
    weights_bytes: int
    """Bytes that the work reads, in all its layers."""
    footprint_bytes: int
    """Of the distinct weights that are gone through in turn."""
    samples_ms: tuple[float, ...]
    """Milliseconds of the whole work, one sample a repetition."""
    ms: tuple[float, float, float]
    gb_per_s: float
    """weights_bytes over the median time."""
    gmac_per_s: float
    ratio: tuple[float, float, float] | None
    """Times as fast as the fastest of the baselines, repetition by repetition; None where none could run."""
    baseline: str | None
    """The baseline that was the fastest most often."""
    read_limit_gb_per_s: float
    share: tuple[float, float, float]
    """Of the read limit of the same repetition."""


@dataclass
class _Contender:
    format: str
    backend: str
    held: str
    layer_bytes: int
    copies: list[Callable[[], object]]  # the products of one layer, each on weights of its own

    def __post_init__(self):
        self._next = itertools.cycle(self.copies).__next__

    def seconds(self, layers: int) -> float:
        """Seconds a layer. The one before is not timed: it wakes the threads."""
        self._next()()
        start = time.perf_counter()
        for _ in itertools.repeat(None, layers):
            self._next()()
        return (time.perf_counter() - start) / layers


class Bench:
    """Random weights to measure with, made at the first use of a format and kept: `footprint_bytes` of each."""

    def __init__(self, footprint_bytes: int = FOOTPRINT_BYTES):
        self.footprint_bytes = footprint_bytes
        self._arenas = {}

    def measure(
        self,
        work: Work,
        contenders: Sequence[str],
        *,
        threads: int = threads(),
        baselines: Sequence[str] = BEST_FP16,
        repetitions: int = 15,
        copies: dict[str, int] | None = None,
        tick: Callable[[], object] = lambda: None,
    ) -> list[Row]:
        """Race contenders, baselines and reading. Baselines that cannot run here are left out, contenders are not.

        copies: distinct layers of a format, where they shall be others than `footprint_bytes` holds
        tick: called after each repetition
        A BackendError or ModuleNotFoundError says which contender cannot run.
        """
        names = dict.fromkeys(("bytes/read", *(name for name in baselines if runs(name, work.M)), *contenders))
        racers = {name: self._contender(name, work, threads, copies or {}) for name in names}
        samples = _race(racers, threads, repetitions, tick)
        return _rows(work, racers, samples, [name for name in baselines if name in racers], threads)

    def read_limit(self, threads: int = threads(), repetitions: int = 7) -> float:
        """How fast this process reads memory now, in bytes per second: the median of `repetitions`."""
        racer = self._contender("bytes/read", single(1, 1), threads, {})
        return racer.layer_bytes / float(np.median([racer.seconds(1) for _ in range(repetitions)]))

    def _contender(self, name: str, work: Work, threads: int, copies: dict[str, int]) -> _Contender:
        format, _, backend = name.partition("/")
        if backend == "read":
            memory = self._arena("2bit", self.footprint_bytes)
            return _Contender(format, backend, format, len(memory), [lambda: _ternary().read_bytes(memory, threads)])
        if backend in ("gemv", "torch"):
            bytes_of, held = lambda N, K: -(-WIDTH[format] * N * K // 64) * 64, format
            build, fuse = _gemv if backend == "gemv" else _torch, True
        elif backend == "litespark":
            bytes_of, held, build, fuse = lambda N, K: -(-N * K // 256) * 64, format, _litespark, True
        else:
            # Not expanded here, which takes minutes: weights that a backend expands are, once held, 2-bit weights.
            probe = matrix(empty(packed_bytes(1, 1, format)) * 0, 1, 1, format=format, backend=backend or None)
            held, backend, build, fuse = probe.held, probe.backend, _ours, False
            bytes_of = lambda N, K: packed_bytes(N, K, held)  # noqa: E731
        # One fused matrix is the strongest form of a baseline; our kernels take several in one call.
        products = [((sum(rows),), K) if fuse else (rows, K) for rows, K in work.products]
        layer_bytes = sum(bytes_of(N, K) for rows, K in products for N in rows)
        count = copies.get(format, math.ceil(self.footprint_bytes / layer_bytes))
        arena, at = self._arena("fp16" if held == "bf16" else held, count * layer_bytes), 0
        rng = np.random.default_rng(1)
        xs = [rng.standard_normal((work.M, K), dtype=np.float32) for _, K in products]
        calls = []
        for _ in range(count):
            layer = []
            for (rows, K), x in zip(products, xs, strict=True):
                parts = []
                for N in rows:
                    parts.append((arena[at : at + bytes_of(N, K)], N))
                    at += bytes_of(N, K)
                layer.append(build(parts, K, x, format=held, backend=backend, threads=threads))
            calls.append(layer[0] if len(layer) == 1 else lambda layer=layer: [call() for call in layer])
        return _Contender(format, backend, held, layer_bytes, calls)

    def _arena(self, format: str, nbytes: int) -> np.ndarray:
        """`nbytes` of valid weights, uint8. One random block again and again: no kernel's time depends on values."""
        if len(self._arenas.get(format, ())) < nbytes:
            rng, size = np.random.default_rng(0), 1 << 24
            if format in ("fp16", "fp32"):
                dtype = np.float16 if format == "fp16" else np.float32
                block = rng.standard_normal(size // WIDTH[format], np.float32).astype(dtype).view(np.uint8)
            elif format == "2bit":
                block = np.array(list(itertools.product(range(3), repeat=4)), np.uint8) @ np.array([1, 4, 16, 64], np.uint8)
                block = block[rng.integers(0, 81, size)]
            else:
                block = rng.integers(0, 243 if format == "base3" else 256, size, np.uint8)
            self._arenas[format] = arena = empty(nbytes)
            for start in range(0, nbytes, size):
                arena[start : start + size] = block[: nbytes - start]
        return self._arenas[format]


def runs(name: str, M: int = 1) -> bool:
    """Can this contender run on this machine, with M tokens?"""
    format, _, backend = name.partition("/")
    if backend == "torch":
        return importlib.util.find_spec("torch") is not None
    if backend == "litespark":
        return M == 1 and importlib.util.find_spec("litespark_inference") is not None
    if backend == "gemv":
        return M == 1 and _ternary().fp16_gemv(np.zeros((1, 1), np.float16), np.zeros(1, np.float32), 1) is not None
    usable = [row.name for row in backends() if row.built and row.supported]
    return format in FORMATS and (not backend or backend in usable)


# ---- a contender's call: weights (uint8 bytes, N) of one product -> a function without arguments


def _ours(parts, K, x, *, format, backend, threads):
    matrices = [matrix(part, N, K, format=format, backend=backend) for part, N in parts]
    return lambda: linear(matrices, x, threads=threads)


def _gemv(parts, K, x, *, format, backend, threads):
    ((part, N),), gemv = parts, _ternary().fp16_gemv
    weights, x = part[: 2 * N * K].view(np.float16).reshape(N, K), x[0]
    return lambda: gemv(weights, x, threads)


def _torch(parts, K, x, *, format, backend, threads):
    import torch

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[format]
    ((part, N),), linear = parts, torch.nn.functional.linear
    weights = torch.from_numpy(part[: WIDTH[format] * N * K]).view(dtype).reshape(N, K)
    x = torch.from_numpy(x).to(dtype)
    return lambda: linear(x, weights)


def _litespark(parts, K, x, *, format, backend, threads):
    from litespark_inference.torchless import kernel

    ((part, N),), x = parts, x[0]
    weights, codes, y = part[: N * K // 4].reshape(N, K // 4), np.empty(K, np.int8), np.empty(N, np.float32)
    return lambda: kernel.matmul_packed_m1(codes, weights, 1.0, kernel.quantize_activation(x, codes), y)


def _ternary():
    if active().name == "reference":
        raise RuntimeError(f"there is nothing to race: {backends()[-1].reason}")
    from cython_kernels import ternary

    return ternary


# ---- the race and its figures


def _race(racers: dict[str, _Contender], threads: int, repetitions: int, tick) -> dict[str, list[float]]:
    """Seconds a layer of each, one sample a repetition."""
    names, samples = list(racers), {name: [] for name in racers}
    torch_threads = _set_torch_threads(threads) if any(racer.backend == "torch" for racer in racers.values()) else None
    collecting = gc.isenabled()
    gc.disable()
    try:
        layers = {}
        for name, racer in racers.items():
            layers[name] = max(1, min(len(racer.copies), math.ceil(SAMPLE_S / racer.seconds(1))))
        for repetition in range(repetitions):
            first = repetition % len(names)
            for name in names[first:] + names[:first]:
                # OpenMP's threads go on spinning after torch's products, and ours for 0.1 ms: they would take a core
                # from whoever comes next. By now they sleep.
                time.sleep(SETTLE_S)
                samples[name].append(racers[name].seconds(layers[name]))
            tick()
    finally:
        if collecting:
            gc.enable()
        if torch_threads is not None:
            _set_torch_threads(torch_threads)
    return samples


def _set_torch_threads(threads: int) -> int:
    """Returns how many there were."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    return before


def _rows(work, racers, samples, baselines, threads) -> list[Row]:
    seconds = {name: np.array(samples[name]) for name in racers}
    limit = racers["bytes/read"].layer_bytes / seconds["bytes/read"]
    best = np.min([seconds[name] for name in baselines], axis=0) if baselines else None
    wins = [baselines[i] for i in np.argmin([seconds[name] for name in baselines], axis=0)] if baselines else []
    rows = []
    for name, racer in racers.items():
        layers = 1 if name == "bytes/read" else work.layers
        total_s = seconds[name] * layers
        nbytes = racer.layer_bytes * layers
        rows.append(
            Row(
                what=work.name,
                format=racer.format,
                backend=racer.backend,
                held=racer.held,
                threads=threads,
                M=work.M,
                macs=0 if name == "bytes/read" else work.macs,
                weights_bytes=nbytes,
                footprint_bytes=racer.layer_bytes * len(racer.copies),
                samples_ms=tuple((1e3 * total_s).tolist()),
                ms=_quartiles(1e3 * total_s),
                gb_per_s=nbytes / float(np.median(total_s)) / 1e9,
                gmac_per_s=(0 if name == "bytes/read" else work.macs) / float(np.median(total_s)) / 1e9,
                ratio=_quartiles(best / seconds[name]) if baselines and name != "bytes/read" else None,
                baseline=max(wins, key=wins.count) if baselines and name != "bytes/read" else None,
                read_limit_gb_per_s=float(np.median(limit)) / 1e9,
                share=_quartiles(racer.layer_bytes / seconds[name] / limit),
            )
        )
    return rows


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """First quartile, median, third quartile; between two values by straight lines (NumPy's default)."""
    first, median, third = np.percentile(values, (25, 50, 75)).tolist()
    return first, median, third
