"""Measuring on a machine that is never quiet: races, the read limit, memory, and the machine's own line.

A time by itself says little: the clock of a shared machine drifts by a factor of two within the hour. So contenders run
in turn, each repetition begins with another one, and a ratio is taken inside each repetition before its median is.
What a kernel could reach at best is the read limit, and that is measured in the same minute.

    print(machine())
    contest = race({"fp32": lambda: w @ x, "int8": lambda: matmul(packed, x)}, with_read_limit=True)
    contest.ratio("int8", baseline="fp32")
"""

import gc
import itertools
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
from numpy._core._multiarray_umath import __cpu_features__
from tqdm import tqdm

from slmlab.ledger import format_bytes, html_table, table

Clock = Callable[[], float]  # seconds

SHORTEST_SAMPLE_S = 1e-3  # reading the clock takes some 50 ns, and a tick is 100 ns on Windows: 0.01 % of this
LARGEST_BUFFER_BYTES = 512 * 2**20
READ_PASSES = 10
SIMD = (  # NumPy's names for what low-bit kernels use
    *("AVX2", "FMA3", "F16C", "AVX512F", "AVX512BW", "AVX512VNNI", "AVX512VBMI"),
    *("NEON", "ASIMDHP", "ASIMDDP", "SVE", "VSX", "RVV"),
)


class BenchError(ValueError):
    """A race that cannot be run, or a contender that was not in it."""


# ------------------------------------------------------------------------------------------------------------------
# Races


@dataclass(frozen=True)
class Timing:
    """One contender: milliseconds a call, one sample a repetition, each the mean of `calls` calls in a row."""

    name: str
    samples_ms: tuple[float, ...]
    calls: int

    q1_ms = property(lambda self: _quartiles(self.samples_ms)[0])
    median_ms = property(lambda self: _quartiles(self.samples_ms)[1])
    q3_ms = property(lambda self: _quartiles(self.samples_ms)[2])


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as `baseline` the contender `name` is: above 1 is faster."""

    name: str
    baseline: str
    median: float
    q1: float
    q3: float

    def __str__(self) -> str:
        median, q1, q3 = map(_three_digits, (self.median, self.q1, self.q3))
        return f"{self.name}: {median} times as fast as {self.baseline} ({q1} to {q3})"


@dataclass(frozen=True)
class Race:
    """Timings taken in turn; `read_limit` if it was asked for, in bytes per second."""

    rows: tuple[Timing, ...]
    read_limit: "ReadLimit | None" = None

    def __getitem__(self, name: str) -> Timing:
        for row in self.rows:
            if row.name == name:
                return row
        raise BenchError(f"no contender {name!r} in this race; there are {', '.join(repr(r.name) for r in self.rows)}")

    def ratio(self, name: str, baseline: str) -> Ratio:
        """Baseline's time over name's time in each repetition, then the median and quartiles of these ratios."""
        pairs = zip(self[baseline].samples_ms, self[name].samples_ms, strict=True)
        q1, median, q3 = _quartiles([theirs / ours for theirs, ours in pairs])
        return Ratio(name, baseline, median, q1, q3)

    def __str__(self) -> str:
        return "\n".join([table(*self._cells()), *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(*self._cells()) + "".join(f"<p>{note}</p>" for note in self._notes())

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        first = self.rows[0].name
        rows = []
        for row in self.rows:
            ratio = self.ratio(row.name, first)
            numbers = (row.median_ms, row.q1_ms, row.q3_ms, ratio.median, ratio.q1, ratio.q3)
            rows.append([row.name, *map(_three_digits, numbers)])
        return ["", "median ms", "q1 ms", "q3 ms", f"times as fast as {first}", "q1", "q3"], rows

    def _notes(self) -> list[str]:
        repetitions = f"{len(self.rows[0].samples_ms)} repetitions in rotating order"
        return [repetitions] if self.read_limit is None else [repetitions, f"read limit: {self.read_limit}"]


def race(
    contenders: dict[str, Callable[[], object]],
    repetitions: int = 15,
    warmup: int = 3,
    *,
    with_read_limit: bool = False,
    clock: Clock = time.perf_counter,
) -> Race:
    """Time the contenders in turn, `repetitions` times, each time beginning with the next one.

    warmup: rounds that do not count. They also find how many calls in a row make a sample of 1 ms; so a short call
        finds its data in the cache that its predecessor left, and carries Python's 30 ns or so of calling it.
    with_read_limit: measure the read limit right before and right after, and keep the larger
    clock: seconds; tests put their own here

    Garbage collection is off while a sample runs. A bar shows when the whole will take more than 2 s.
    """
    if not contenders:
        raise BenchError("there is nobody in the race: give a dict of names and functions without arguments")
    if repetitions < 1 or warmup < 1:
        raise BenchError(f"repetitions is {repetitions} and warmup {warmup}, wanted 1 or more of each")
    limits = [read_limit(clock=clock)] if with_read_limit else []

    calls = dict.fromkeys(contenders, 1)
    for _ in range(warmup):
        round_s = 0.0
        for name, function in contenders.items():
            call_s = _sample(function, calls[name], clock)
            calls[name] = math.ceil(SHORTEST_SAMPLE_S / max(call_s, 1e-9)) if call_s < SHORTEST_SAMPLE_S else 1
            round_s += calls[name] * call_s

    names = list(contenders)
    samples_ms: dict[str, list[float]] = {name: [] for name in names}
    for repetition in tqdm(range(repetitions), "race", leave=False, disable=repetitions * round_s < 2):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            samples_ms[name].append(1e3 * _sample(contenders[name], calls[name], clock))

    if with_read_limit:
        limits.append(read_limit(clock=clock))
    rows = tuple(Timing(name, tuple(samples_ms[name]), calls[name]) for name in names)
    return Race(rows, max(limits, default=None))


def _sample(function: Callable[[], object], calls: int, clock: Clock) -> float:
    """Seconds a call, over `calls` calls in a row."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        for _ in itertools.repeat(None, calls):
            function()
        return (clock() - start) / calls
    finally:
        if collecting:
            gc.enable()


def _quartiles(values) -> tuple[float, float, float]:
    """q1, median, q3; between two values by straight lines (NumPy's default)."""
    q1, median, q3 = np.percentile(values, (25, 50, 75)).tolist()
    return q1, median, q3


def _three_digits(value: float) -> str:
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0}f}"


# ------------------------------------------------------------------------------------------------------------------
# The read limit


class ReadLimit(float):
    """Bytes per second, as a number that knows how it was measured: .threads, .buffer_bytes, .cache_bytes (or None)."""

    def __new__(cls, bytes_per_s: float, threads: int, buffer_bytes: int, cache_bytes: int | None):
        limit = super().__new__(cls, bytes_per_s)
        limit.threads, limit.buffer_bytes, limit.cache_bytes = threads, buffer_bytes, cache_bytes
        return limit

    def __repr__(self) -> str:
        cache = "a cache of unknown size" if self.cache_bytes is None else f"{format_bytes(self.cache_bytes)} of cache"
        doubt = ""
        if self.cache_bytes is not None and self.buffer_bytes < 4 * self.cache_bytes:
            doubt = "; under four times the cache: some of it may be the speed of the cache"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self / 1e9:.1f} GB/s ({threads}, {format_bytes(self.buffer_bytes)} read behind {cache}{doubt})"


def read_limit(threads: int | None = None, *, clock: Clock = time.perf_counter) -> ReadLimit:
    """How fast this process can read memory now: the best of ten passes over a large buffer, in bytes per second.

    Each thread takes the maximum of its own part, which NumPy does with SIMD and without the interpreter's lock. Real
    reads of a real buffer: the memory can do at least this, perhaps more with huge pages and several streams. It is
    a bound from below as long as the buffer is far larger than the last-level cache, and the result says when not.

    threads: as many as the machine line says when left out
    The buffer is four times the last-level cache, at most 512 MiB, an eighth of the memory and a quarter of the free.
    """
    threads = machine().threads if threads is None else threads
    if threads < 1:
        raise BenchError(f"threads is {threads}, wanted 1 or more")
    cache = _last_level_cache_bytes()
    buffer = np.empty(_buffer_bytes(cache, _memory_bytes(), psutil.virtual_memory().available) // 8, np.int64)
    parts = np.array_split(buffer, threads)
    best_s = math.inf
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.fill(1), parts))  # untouched pages would all be one page of zeros
        for _ in range(READ_PASSES):
            start = clock()
            list(pool.map(np.max, parts))
            best_s = min(best_s, clock() - start)
    return ReadLimit(buffer.nbytes / best_s, threads, buffer.nbytes, cache)


def _buffer_bytes(cache: int | None, memory: int, available: int) -> int:
    wanted = LARGEST_BUFFER_BYTES if cache is None else max(4 * cache, 2**26)
    return min(wanted, LARGEST_BUFFER_BYTES, memory // 8, available // 4)


def _last_level_cache_bytes() -> int | None:
    """All caches of the last level together; None where the system does not tell (Windows, some virtual machines)."""
    if platform.system() == "Darwin":
        sizes = (_sysctl(name) for name in ("hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"))
        return next((int(size) for size in sizes if size.isdigit() and int(size) > 0), None)
    caches = {}  # (level, the cores that share it) -> bytes
    for index in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        level, cores, size = (_text(index / name).strip() for name in ("level", "shared_cpu_list", "size"))
        if size.endswith("K"):
            caches[int(level), cores] = int(size[:-1]) * 1024
    last = max((level for level, _ in caches), default=None)
    return sum(size for (level, _), size in caches.items() if level == last) if caches else None


# ------------------------------------------------------------------------------------------------------------------
# The machine


@dataclass(frozen=True)
class Machine:
    """What a number was measured on. str() is the machine line.

    cores: physical ones (logical where the system does not tell); logical_cores: those this process may use
    threads: what torch uses for one operation, see `machine`
    simd: the instruction sets among bench.SIMD that this processor has and NumPy was built to know
    ram_bytes: of the machine, or of the container where that is less
    """

    cpu: str
    cores: int
    logical_cores: int
    threads: int
    simd: tuple[str, ...]
    ram_bytes: int
    os: str
    python: str
    versions: dict[str, str]

    def __str__(self) -> str:
        return " · ".join(
            [
                self.cpu,
                f"{self.cores} cores ({self.logical_cores} logical), {self.threads} threads",
                " ".join(self.simd) or "no SIMD known",
                f"RAM {format_bytes(self.ram_bytes)}",
                self.os,
                f"Python {self.python}",
                *(f"{name} {version}" for name, version in self.versions.items()),
            ]
        )


def machine() -> Machine:
    """This machine, from the standard library, psutil and NumPy; torch and transformers are not imported for it.

    threads: torch's own answer if it is imported already; else OMP_NUM_THREADS; else one a physical core, which is
    what torch takes by itself on x86.
    """
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = psutil.cpu_count(logical=False) or logical
    versions = {}
    for name in ("numpy", "torch", "transformers"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Machine(
        cpu=_cpu_name(),
        cores=cores,
        logical_cores=logical,
        threads=_torch_threads(min(cores, logical)),
        simd=tuple(name for name in SIMD if __cpu_features__.get(name)),
        ram_bytes=_memory_bytes(),
        os=f"{_system_name()} {platform.machine()}",
        python=platform.python_version(),
        versions=versions,
    )


def _torch_threads(cores: int) -> int:
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2" asks for 2 in nested regions
    return int(wanted) if wanted.isdigit() and int(wanted) else cores


def _system_name() -> str:
    """Linux by its kernel; "macOS-15.1", "Windows-11"."""
    return f"Linux {platform.release()}" if platform.system() == "Linux" else platform.platform(terse=True)


def _cpu_name() -> str:
    system, name = platform.system(), ""
    if system == "Linux":
        lines = (line.partition(":") for line in _text(Path("/proc/cpuinfo")).splitlines())
        fields = {key.strip(): value.strip() for key, _, value in lines}
        name = fields.get("model name") or fields.get("Model", "")  # x86; boards such as the Raspberry Pi
    elif system == "Darwin":
        name = _sysctl("machdep.cpu.brand_string")
    elif system == "Windows":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            name = winreg.QueryValueEx(key, "ProcessorNameString")[0].strip()
    return name or platform.processor() or platform.machine()


def _memory_bytes() -> int:
    """The machine's memory, or what the container may use (cgroup 2, cgroup 1) where that is less."""
    sizes = [psutil.virtual_memory().total]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _text(Path(file)).strip()
        if limit.isdigit():
            sizes.append(int(limit))
    return min(sizes)


# ------------------------------------------------------------------------------------------------------------------
# The memory of this process


@dataclass(frozen=True)
class Memory:
    """Bytes of this process. Resident memory includes mapped files, which the system can drop and read again;
    anonymous memory is what the process made itself. None where the system does not tell (macOS, Windows)."""

    rss_bytes: int
    peak_bytes: int
    anonymous_bytes: int | None

    def __str__(self) -> str:
        anonymous = "unknown" if self.anonymous_bytes is None else format_bytes(self.anonymous_bytes)
        resident, peak = format_bytes(self.rss_bytes), format_bytes(self.peak_bytes)
        return f"resident {resident}, of it anonymous {anonymous}, peak {peak}"


def memory() -> Memory:
    """Resident, peak resident and anonymous bytes of this process, now."""
    process = psutil.Process().memory_info()
    # smaps_rollup walks the page tables; RssAnon is a counter that lags by some pages a core.
    anonymous = _proc_bytes("smaps_rollup").get("Anonymous", _proc_bytes("status").get("RssAnon"))
    return Memory(process.rss, _peak_bytes(process), anonymous)


def _peak_bytes(process) -> int:
    if platform.system() == "Windows":
        return process.peak_wset
    # Linux hands getrusage's peak down from a parent to the program it starts; VmHWM is this program's own.
    own = _proc_bytes("status").get("VmHWM")
    if own is not None:
        return own
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _proc_bytes(file: str) -> dict[str, int]:
    """The lines "Name:  123 kB" of a file in /proc/self; empty where there is no such file."""
    words = (line.split() for line in _text(Path("/proc/self") / file).splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in words if len(line) == 3 and line[2] == "kB"}


def _text(file: Path) -> str:
    """A file of /proc or /sys; "" where the system has none or shows it to nobody."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    """macOS's answer, "" if it has none."""
    return subprocess.run(["sysctl", "-n", name], capture_output=True, encoding="utf-8", check=False).stdout.strip()
