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
A kernel of your own joins as OTHERS["mine"] = a function like those there: its contender is "2bit/mine".
"""

import gc
import importlib.util
import itertools
import math
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cython_kernels import FORMATS, BackendNotBuiltError, active, backends, empty, linear, matrix, packed_bytes
from cython_kernels import threads as default_threads

BEST_FP16 = ("fp16/gemv", "fp16/torch", "bf16/torch")
SAMPLE_S = 0.03
SETTLE_S = 0.003
OPENMP_SETTLE_S = 0.02
FOOTPRINT_BYTES = 30 * 17_367_040  # 30 layers of BitNet b1.58 2B4T at 2 bits
WIDTH = {"fp16": 2, "bf16": 2, "fp32": 4}  # bytes of a weight
BLOCK_BYTES = 1 << 24


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
    return Work(f"{layers} layers" if layers > 1 else "one layer", LAYER, M, layers)


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

    @property
    def contender(self) -> str:
        """Format and backend, also where the format alone was asked for."""
        return f"{self.format}/{self.backend}"


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
        """Seconds a layer. Where there are several, one more that is not timed goes before: it wakes the threads."""
        if layers > 1:
            self._next()()
        start = time.perf_counter()
        for _ in itertools.repeat(None, layers):
            self._next()()
        return (time.perf_counter() - start) / layers


class Bench:
    """Random weights to measure with, made at their first use and kept.

    footprint_bytes: of each format; fp16_footprint_bytes: of fp16 and bf16, where it shall be another
    """

    def __init__(self, footprint_bytes: int = FOOTPRINT_BYTES, fp16_footprint_bytes: int | None = None):
        self.footprint_bytes = footprint_bytes
        self.fp16_footprint_bytes = footprint_bytes if fp16_footprint_bytes is None else fp16_footprint_bytes
        self._arenas = {}

    def measure(
        self,
        work: Work,
        contenders: Sequence[str],
        *,
        threads: int | None = None,
        baselines: Sequence[str] = BEST_FP16,
        repetitions: int = 15,
        sample_s: float = SAMPLE_S,
        tick: Callable[[], object] = lambda: None,
    ) -> list[Row]:
        """Race reading, the baselines and the contenders; one row each. Baselines that cannot run here are left out.

        threads: `cython_kernels.threads()` when left out; torch is set to as many while it races
        sample_s: as long as this takes a contender goes on in one repetition, though not twice through its weights
        tick: called after each repetition
        A BackendError or ModuleNotFoundError says which contender cannot run.
        """
        threads = default_threads() if threads is None else threads
        baselines = [name for name in baselines if runs(name, work.M)]
        names = dict.fromkeys(("bytes/read", *baselines, *map(full_name, contenders)))
        for name in names:  # the largest arena first: one that a racer uses would stay beside a larger one
            self._weights(name, work)
        racers = {name: self._contender(name, work, threads) for name in names}
        return _rows(work, racers, _race(racers, threads, repetitions, tick, sample_s), baselines, threads)

    def sustained(self, name: str, work: Work, threads: int, seconds: float) -> float:
        """GB of a contender's weights per second, over `seconds` without a pause: a median would hide the waits."""
        racer, layers, start = self._contender(full_name(name), work, threads), 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds or layers == 0:
            racer.seconds(1)
            layers += 1
        return layers * racer.layer_bytes / passed / 1e9

    def read_limit(self, threads: int | None = None, repetitions: int = 7) -> float:
        """How fast this process reads memory now, in bytes per second: the median of `repetitions`."""
        reader = self._contender("bytes/read", single(1, 1), default_threads() if threads is None else threads)
        return reader.layer_bytes / float(np.median([reader.seconds(1) for _ in range(repetitions)]))

    def _contender(self, name: str, work: Work, threads: int) -> _Contender:
        format, backend = name.split("/")
        held, layer_bytes, weights = self._weights(name, work)
        if backend == "read":
            return _Contender(format, backend, format, layer_bytes, [_reading(weights, threads)])
        products, at = _products(work, backend), 0
        rng = np.random.default_rng(1)
        xs = [rng.standard_normal((work.M, K), np.float32) for _, K in products]
        copies = []
        for _ in range(len(weights) // layer_bytes):
            layer = []
            for (rows, K), x in zip(products, xs, strict=True):
                parts = []
                for N in rows:
                    parts.append((weights[at : at + _bytes(held, N, K)], N))
                    at += _bytes(held, N, K)
                layer.append(OTHERS.get(backend, _ours)(parts, K, x, held, backend, threads))
            copies.append(layer[0] if len(layer) == 1 else lambda layer=layer: [product() for product in layer])
        return _Contender(format, backend, held, layer_bytes, copies)

    def _weights(self, name: str, work: Work) -> tuple[str, int, np.ndarray]:
        """How a contender holds weights; bytes of a layer; as many layers as it goes through, (bytes,) uint8."""
        format, backend = name.split("/")
        if backend == "read":
            return format, self.footprint_bytes, self._arena("2bit", self.footprint_bytes)
        held = format
        if backend not in OTHERS:
            # A backend that expands weights holds them as 2-bit ones, and those can be had at once.
            probe = matrix(np.zeros(packed_bytes(1, 1, format), np.uint8), 1, 1, format=format, backend=backend)
            held = probe.held
        layer_bytes = sum(_bytes(held, N, K) for rows, K in _products(work, backend) for N in rows)
        footprint = self.fp16_footprint_bytes if held in ("fp16", "bf16") else self.footprint_bytes
        count = 1 if backend == "reference" else math.ceil(footprint / layer_bytes)  # NumPy keeps the codes: no room
        return held, layer_bytes, self._arena(held, count * layer_bytes)

    def _arena(self, format: str, nbytes: int) -> np.ndarray:
        """`nbytes` of valid weights, uint8: one random block again and again, since no time depends on the values.

        Two arenas do for all formats. The bits of ordinary fp16 numbers are ordinary numbers in bf16 and fp32, and
        bytes of four 2-bit codes, which are under 171, are bytes of five base-3 codes, as all under 243 are.
        """
        format = "fp16" if format in WIDTH else "2bit"
        if format not in self._arenas or len(self._arenas[format]) < nbytes:
            block = _random_block(format)
            self._arenas.pop(format, None)  # not two of them at once
            self._arenas[format] = arena = empty(nbytes)
            for start in range(0, nbytes, len(block)):
                arena[start : start + len(block)] = block[: nbytes - start]
        return self._arenas[format][:nbytes]


def full_name(contender: str) -> str:
    """ "base3" -> "base3/avx512vbmi", with the backend that is active; another contender as it is."""
    return contender if "/" in contender else f"{contender}/{active().name}"


def runs(name: str, M: int = 1) -> bool:
    """Can this contender run on this machine, with M tokens?"""
    format, backend = full_name(name).split("/")
    if backend == "torch":
        return importlib.util.find_spec("torch") is not None
    if backend == "litespark":
        return M == 1 and importlib.util.find_spec("litespark_inference") is not None
    usable = [row.name for row in backends() if row.built and row.supported]
    if backend == "gemv":
        one = np.ones((1, 1), np.float16)
        return M == 1 and "scalar" in usable and _extension().fp16_gemv(one, one[0].astype(np.float32), 1) is not None
    return format in FORMATS and backend in usable


def _extension():
    try:
        from cython_kernels import ternary
    except ImportError:
        raise BackendNotBuiltError(f"there is nothing to race: {backends()[-1].reason}") from None
    return ternary


def _products(work: Work, backend: str) -> list[tuple[tuple[int, ...], int]]:
    """One fused matrix is the strongest form of the others; our kernels take several matrices in one call."""
    return [((sum(rows),) if backend in OTHERS else rows, K) for rows, K in work.products]


def _bytes(format: str, N: int, K: int) -> int:
    """Bytes of N x K weights, in whole cache lines."""
    return packed_bytes(N, K, format) if format in FORMATS else -(-WIDTH[format] * N * K // 64) * 64


def _random_block(format: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if format == "fp16":
        return rng.standard_normal(BLOCK_BYTES // 2, np.float32).astype(np.float16).view(np.uint8)
    return rng.integers(0, 3, (BLOCK_BYTES, 4), np.uint8) @ np.array([1, 4, 16, 64], np.uint8)


# ---- a contender's product: its weights, as (uint8 bytes, N) -> a function without arguments


def _reading(memory, threads):
    """All of `memory`, read the fastest way; by NumPy and one thread where nothing is compiled, near the limit too."""
    try:
        read_bytes = _extension().read_bytes
    except BackendNotBuiltError:
        words = memory[: len(memory) // 8 * 8].view(np.int64)
        return words.max
    ways = [partial(read_bytes, memory, fetch, threads) for fetch in (False, True)]
    return min(ways, key=lambda way: min(timeit.repeat(way, number=1, repeat=3)))


def _ours(parts, K, x, format, backend, threads):
    matrices = [matrix(part, N, K, format=format, backend=backend) for part, N in parts]
    return lambda: linear(matrices, x, threads=threads)


def _gemv(parts, K, x, format, backend, threads):
    ((part, N),), fp16_gemv, x = parts, _extension().fp16_gemv, x[0]
    weights = part[: 2 * N * K].view(np.float16).reshape(N, K)
    return lambda: fp16_gemv(weights, x, threads)


def _torch(parts, K, x, format, backend, threads):
    import torch

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[format]
    ((part, N),), linear, x = parts, torch.nn.functional.linear, torch.from_numpy(x).to(dtype)
    weights = torch.from_numpy(part[: WIDTH[format] * N * K]).view(dtype).reshape(N, K)
    return lambda: linear(x, weights)


def _litespark(parts, K, x, format, backend, threads):
    """Four codes of a row in a byte. Its threads are OpenMP's, and so are torch's: setting those sets these."""
    from litespark_inference.torchless.kernel import matmul_packed_m1, quantize_activation

    ((part, N),), x = parts, x[0]
    weights, codes, y = part[: N * K // 4].reshape(N, K // 4), np.empty(K, np.int8), np.empty(N, np.float32)
    return lambda: matmul_packed_m1(codes, weights, 1.0, quantize_activation(x, codes), y)


OTHERS = {"gemv": _gemv, "torch": _torch, "litespark": _litespark}
OPENMP = ("torch", "litespark")


# ---- the race and its figures


def _race(
    racers: dict[str, _Contender], threads: int, repetitions: int, tick, sample_s: float = SAMPLE_S
) -> dict[str, list[float]]:
    """Seconds a layer of each, one sample a repetition."""
    names, samples, layers = list(racers), {name: [] for name in racers}, {}
    before = _set_torch_threads(threads)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for name, racer in racers.items():
            racer.seconds(1)
            layers[name] = max(1, min(len(racer.copies), math.ceil(sample_s / racer.seconds(1))))
        settle_s = OPENMP_SETTLE_S
        for repetition in range(repetitions):
            first = repetition % len(names)
            for name in names[first:] + names[:first]:
                # After a product OpenMP's threads go on spinning, 5 to 7 ms for torch's here, and ours for 0.1 ms: they
                # would take a core from whoever comes next. Once they had time to fall asleep, they do not.
                time.sleep(settle_s)
                samples[name].append(racers[name].seconds(layers[name]))
                settle_s = OPENMP_SETTLE_S if threads > 1 and racers[name].backend in OPENMP else SETTLE_S
            tick()
    finally:
        _set_torch_threads(before)
        if collecting:
            gc.enable()
    return samples


def _set_torch_threads(threads: int | None) -> int | None:
    """Returns how many there were; None, and nothing is done, where torch is not loaded."""
    if threads is None or "torch" not in sys.modules:
        return None
    torch = sys.modules["torch"]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    return before


def _rows(work, racers, samples, baselines, threads) -> list[Row]:
    seconds = {name: np.array(samples[name]) for name in racers}
    limit = racers["bytes/read"].layer_bytes / seconds["bytes/read"]
    if baselines:
        times = np.array([seconds[name] for name in baselines])
        best, winner = times.min(axis=0), baselines[np.bincount(times.argmin(axis=0)).argmax()]
    rows = []
    for name, racer in racers.items():
        reading = name == "bytes/read"
        layers, macs = (1, 0) if reading else (work.layers, work.macs)
        total_ms = 1e3 * layers * seconds[name]
        median_s = float(np.median(total_ms)) / 1e3
        rows.append(
            Row(
                what=work.name,
                format=racer.format,
                backend=racer.backend,
                held=racer.held,
                threads=threads,
                M=work.M,
                macs=macs,
                weights_bytes=layers * racer.layer_bytes,
                footprint_bytes=len(racer.copies) * racer.layer_bytes,
                samples_ms=tuple(total_ms.tolist()),
                ms=_quartiles(total_ms),
                gb_per_s=layers * racer.layer_bytes / median_s / 1e9,
                gmac_per_s=macs / median_s / 1e9,
                ratio=None if reading or not baselines else _quartiles(best / seconds[name]),
                baseline=None if reading or not baselines else winner,
                read_limit_gb_per_s=float(np.median(limit)) / 1e9,
                share=_quartiles(racer.layer_bytes / seconds[name] / limit),
            )
        )
    return rows


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """First quartile, median, third quartile; between two values by straight lines (NumPy's default)."""
    first, median, third = np.percentile(values, (25, 50, 75)).tolist()
    return first, median, third
