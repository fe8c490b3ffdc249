"""Races on a clock that the test moves, and what the system says beside what we read from it."""

import dataclasses
import gc
import importlib.metadata
import math
import mmap
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import psutil
import pytest

from slmlab import bench
from slmlab.bench import BenchError, Race, Timing, race

linux = pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc and /sys")
posix = pytest.mark.skipif(os.name != "posix", reason="puts a shell script on PATH")


class FakeClock:
    """Seconds that pass only when a contender says so."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def __call__(self):
        return self.now

    def contender(self, name, *durations_s):
        """A function that takes the given durations in turn, the last for ever."""
        left = list(durations_s)

        def run():
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


@pytest.fixture
def clock():
    return FakeClock()


# ------------------------------------------------------------------------------------------------------------------
# Races


def test_each_repetition_begins_with_the_next_contender(clock):
    race({name: clock.contender(name, 0.01) for name in "abc"}, repetitions=4, warmup=1, clock=clock)
    assert "".join(clock.log) == "abc" + "abc" + "bca" + "cab" + "abc"


def test_the_samples_are_the_durations_in_milliseconds(clock):
    result = race({"a": clock.contender("a", 9, 0.001, 0.004, 0.002)}, repetitions=3, warmup=1, clock=clock)
    assert result["a"].samples_ms == pytest.approx((1, 4, 2))
    assert (result["a"].q1_ms, result["a"].median_ms, result["a"].q3_ms) == pytest.approx((1.5, 2, 3))


def test_warm_up_rounds_are_run_and_do_not_count(clock):
    result = race({"a": clock.contender("a", 5, 5, 5, 5, 0.01)}, repetitions=6, warmup=4, clock=clock)
    assert result["a"].samples_ms == pytest.approx([10] * 6)
    assert len(clock.log) == 4 + 6


def test_a_short_call_is_repeated_until_a_sample_lasts_a_millisecond(clock):
    contenders = {"short": clock.contender("short", 2**-18), "long": clock.contender("long", 2**-5)}
    result = race(contenders, repetitions=3, warmup=2, clock=clock)
    assert (result["short"].calls, result["long"].calls) == (263, 1)  # 2**18 / 1000 is 262.1
    assert result["short"].samples_ms == (1e3 * 2**-18,) * 3  # a call, not a sample
    assert clock.log.count("short") == 1 + 263 + 3 * 263


def test_a_slow_first_call_does_not_decide_how_often_a_short_one_is_repeated(clock):
    result = race({"a": clock.contender("a", 0.5, 2**-18)}, repetitions=1, warmup=2, clock=clock)
    assert result["a"].calls == 263


def test_a_call_that_takes_no_time_at_all_ends(clock):
    result = race({"a": lambda: None}, repetitions=1, warmup=1, clock=clock)
    assert result["a"].samples_ms == (0,)


def test_a_ratio_is_taken_in_each_repetition_before_the_median():
    """The machine slows down threefold on the way; b is always twice as fast as a."""
    a, b = (10.0, 12.0, 30.0, 20.0), (5.0, 6.0, 15.0, 10.0)
    result = Race((Timing("a", a, 1), Timing("b", b, 1)))
    got = result.ratio("b", baseline="a")
    assert (got.median, got.q1, got.q3) == (2, 2, 2)
    assert (got.name, got.baseline) == ("b", "a")
    assert str(got) == "b: 2.00 times as fast as a (2.00 to 2.00)"
    assert result.ratio("a", baseline="b").median == 0.5


def test_paired_ratios_are_not_the_ratio_of_the_medians():
    a, b = (1.0, 2.0, 9.0), (3.0, 1.0, 3.0)
    got = Race((Timing("a", a, 1), Timing("b", b, 1))).ratio("b", "a")
    pairs = [theirs / ours for theirs, ours in zip(a, b, strict=True)]  # 1/3, 2, 3
    assert got.median == statistics.median(pairs) == 2
    assert statistics.median(a) / statistics.median(b) == pytest.approx(2 / 3)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 15])
def test_quartiles_are_those_of_the_inclusive_definition(count):
    samples = np.random.default_rng(count).exponential(size=count).tolist()
    row = Timing("a", tuple(samples), 1)
    expected = statistics.quantiles(samples, n=4, method="inclusive") if count > 1 else samples * 3
    assert (row.q1_ms, row.median_ms, row.q3_ms) == pytest.approx(expected)


def test_the_table_names_the_baseline_and_gives_three_digits():
    rows = (Timing("fp32 & co", (1234.5, 1234.5), 1), Timing("<int8>", (0.0123456, 0.0123456), 81))
    result = Race(rows)
    header, _, first, second, note = str(result).splitlines()
    assert "times as fast as fp32 & co" in header
    assert first.split()[-6:] == ["1,234", "1,234", "1,234", "1.00", "1.00", "1.00"]
    assert second.split()[:4] == ["<int8>", "0.0123", "0.0123", "0.0123"]
    assert note == "2 repetitions in rotating order"
    page = result._repr_html_()
    assert "&lt;int8&gt;" in page and "<int8>" not in page and "fp32 &amp; co" in page


def test_a_long_race_shows_a_bar_and_a_short_one_none(clock, capsys):
    race({"a": clock.contender("a", 0.1)}, repetitions=15, warmup=1, clock=clock)
    assert capsys.readouterr().err == ""
    race({"a": clock.contender("a", 0.2)}, repetitions=15, warmup=1, clock=clock)
    assert "race" in capsys.readouterr().err


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_not_collected_during_a_sample_and_the_setting_comes_back(clock, collecting):
    seen = []

    def contender():
        seen.append(gc.isenabled())
        clock.now += 0.01
        if len(seen) > 2:
            raise RuntimeError("stop")

    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(RuntimeError, match="stop"):
            race({"a": contender}, clock=clock)
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()
    assert seen == [False] * 3


def test_a_race_on_the_real_clock_measures_a_sleep_at_no_less_than_its_length():
    import time

    result = race({"sleep": lambda: time.sleep(0.002), "nothing": lambda: None}, repetitions=3, warmup=2)
    assert min(result["sleep"].samples_ms) >= 1.9  # Windows' clock may be a tick early
    assert result["nothing"].calls > 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: race({}), "nobody in the race"),
        (lambda: race({"a": int}, repetitions=0), "repetitions is 0 and warmup 3, wanted 1 or more"),
        (lambda: race({"a": int}, warmup=0), "repetitions is 15 and warmup 0, wanted 1 or more"),
        (lambda: Race((Timing("a", (1.0,), 1),)).ratio("a", "fp16"), "no contender 'fp16' in this race; there are 'a'"),
        (lambda: bench.read_limit(0), "threads is 0, wanted 1 or more"),
    ],
)
def test_an_error_says_what_came_and_what_was_wanted(call, message):
    with pytest.raises(BenchError, match=message):
        call()


# ------------------------------------------------------------------------------------------------------------------
# The read limit


class TickingClock:
    """Each pass of read_limit reads it twice; the passes take the given seconds in turn, the last for ever."""

    def __init__(self, *passes_s):
        self.now, self.left, self.readings = 0.0, list(passes_s), 0

    def __call__(self):
        self.readings += 1
        if self.readings % 2 == 0:
            self.now += self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return self.now


@pytest.fixture
def small_buffer(monkeypatch):
    monkeypatch.setattr(bench, "LARGEST_BUFFER_BYTES", 2**20)


def test_the_read_limit_is_the_buffer_over_the_fastest_pass(small_buffer):
    limit = bench.read_limit(2, clock=TickingClock(0.5, 0.25, 1.0))
    assert limit == 2**20 / 0.25
    assert (limit.threads, limit.buffer_bytes) == (2, 2**20)


def test_the_read_limit_says_when_the_cache_may_have_helped():
    def line(cache):
        return str(bench.ReadLimit(36e9, 2, 512 * 2**20, cache))

    assert line(32 * 2**20).startswith("36.0 GB/s (2 threads, 537 MB (512 MiB)") and "may be" not in line(32 * 2**20)
    assert "some of it may be the speed of the cache" in line(260 * 2**20)
    assert "cache of unknown size" in line(None)


@pytest.mark.parametrize(
    ("cache_mib", "memory_mib", "available_mib", "buffer_mib"),
    [
        (32, 16000, 8000, 128),  # a laptop: four times its cache
        (4, 16000, 8000, 64),  # a small cache: 64 MiB all the same
        (260, 24000, 20000, 512),  # a server's slice: capped
        (260, 2048, 50000, 256),  # Binder: 2 GB for the container, whatever its host has free
        (32, 16000, 200, 50),  # little is free
        (None, 16000, 8000, 512),  # no size known
    ],
)
def test_the_buffer_is_large_beside_the_cache_and_small_beside_the_memory(
    cache_mib, memory_mib, available_mib, buffer_mib
):
    cache = None if cache_mib is None else cache_mib * 2**20
    assert bench._buffer_bytes(cache, memory_mib * 2**20, available_mib * 2**20) == buffer_mib * 2**20


def test_a_race_carries_the_larger_of_the_read_limits_before_and_after(small_buffer):
    clock = TickingClock(*[0.5] * 10, *[0.1] * 4, *[0.25] * 10)
    result = race({"a": lambda: None}, repetitions=1, warmup=3, with_read_limit=True, clock=clock)
    assert result.read_limit == 2**20 / 0.25
    assert f"read limit: {result.read_limit}" in str(result)
    assert "read limit" in result._repr_html_()
    assert race({"a": lambda: None}, repetitions=1, warmup=1, clock=TickingClock(0.1)).read_limit is None


@linux
def test_the_last_level_cache_is_what_lscpu_says():
    try:
        listing = subprocess.run(
            ["lscpu", "--caches=NAME,ALL-SIZE,LEVEL", "--bytes"], capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs lscpu of util-linux 2.34 or later")
    rows = [line.split() for line in listing.stdout.splitlines()[1:]]
    if not rows:
        assert bench._last_level_cache_bytes() is None
        return
    last = max(int(level) for _, _, level in rows)
    assert bench._last_level_cache_bytes() == sum(int(size) for _, size, level in rows if int(level) == last)


# ------------------------------------------------------------------------------------------------------------------
# The machine


def test_the_machine_line_holds_every_field():
    here = bench.machine()
    line = str(here)
    assert "\n" not in line
    for part in (here.cpu, here.os, f"Python {here.python}", f"numpy {np.__version__}", f"{here.threads} threads"):
        assert part in line
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert min(here.threads, here.cores, here.logical_cores) >= 1 and here.logical_cores <= os.cpu_count()
    assert 0 < here.ram_bytes <= psutil.virtual_memory().total
    with pytest.raises(dataclasses.FrozenInstanceError):
        here.cpu = "faster"


def test_versions_are_those_of_the_installed_packages_and_nothing_heavy_is_imported():
    script = (
        "import sys; from slmlab import bench; here = bench.machine();"
        "print(here.versions, sorted({'torch', 'transformers', 'plotly', 'ipywidgets'} & set(sys.modules)))"
    )
    root = Path(bench.__file__).parents[1]
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, encoding="utf-8", check=True
    )
    installed = {}
    for name in ("numpy", "torch", "transformers"):
        if importlib.util.find_spec(name):
            installed[name] = importlib.metadata.version(name)
    assert printed.stdout.strip() == f"{installed} []"


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    def version(name):
        if name == "numpy":
            return "2.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(bench.metadata, "version", version)
    assert bench.machine().versions == {"numpy": "2.0"}


@pytest.mark.parametrize(
    ("setting", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("", 6), ("0", 6), ("-1", 6), ("many", 6)]
)
def test_threads_follow_omp_num_threads_until_torch_is_there(monkeypatch, setting, threads):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    assert bench._torch_threads(6) == threads
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 7))
    assert bench._torch_threads(6) == 7


@pytest.mark.parametrize(("physical", "allowed", "threads"), [(8, 2, 2), (4, 8, 4), (None, 8, 8)])
def test_by_default_there_is_a_thread_for_each_physical_core_that_may_be_used(monkeypatch, physical, allowed, threads):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: physical)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    assert bench.machine().threads == threads


def test_threads_are_what_torch_would_take():
    pytest.importorskip("torch")
    script = (
        "from slmlab import bench; before = bench.machine().threads;"
        "import torch; print(before, torch.get_num_threads(), bench.machine().threads)"
    )
    root = Path(bench.__file__).parents[1]
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=one, capture_output=True, encoding="utf-8", check=True
    )
    assert printed.stdout.split() == ["1"] * 3


@linux
def test_simd_is_what_the_kernel_says():
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    here = bench.machine().simd
    names = {"AVX2": "avx2", "AVX512F": "avx512f", "AVX512VNNI": "avx512_vnni", "F16C": "f16c", "ASIMDDP": "asimddp"}
    assert {name for name in names if name in here} == {name for name, flag in names.items() if flag in flags}


def answers(monkeypatch, files):
    monkeypatch.setattr(bench, "_text", lambda file: files.get(file.as_posix(), ""))


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 207\nmodel name\t: Xeon: Gold 1\n\nprocessor\t: 1\n", "Xeon: Gold 1"),
        ("processor\t: 0\nCPU part\t: 0xd0b\n\nModel\t\t: Raspberry Pi 5 Model B\n", "Raspberry Pi 5 Model B"),
        ("", "a processor"),
    ],
)
def test_the_name_of_the_processor_on_linux(monkeypatch, cpuinfo, name):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "processor", lambda: "a processor")
    answers(monkeypatch, {"/proc/cpuinfo": cpuinfo})
    assert bench._cpu_name() == name


@posix
def test_the_name_of_the_processor_and_its_cache_on_macos(monkeypatch, tmp_path):
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(
        '#!/bin/sh\ncase "$*" in\n"-n machdep.cpu.brand_string") echo Apple M4;;\n'
        '"-n hw.perflevel0.l2cachesize") echo 16777216;;\n*) exit 1;;\nesac\n',
        encoding="utf-8",
    )
    sysctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert bench._cpu_name() == "Apple M4"
    assert bench._last_level_cache_bytes() == 16 * 2**20


def test_the_name_of_the_processor_on_windows(monkeypatch):
    class Key:
        def __enter__(self):
            return "key"

        def __exit__(self, *_):
            pass

    winreg = ModuleType("winreg")
    winreg.HKEY_LOCAL_MACHINE = "HKLM"
    winreg.OpenKey = lambda root, path: Key() if (root, path[-1]) == ("HKLM", "0") else None
    winreg.QueryValueEx = lambda key, name: {("key", "ProcessorNameString"): ("AMD Ryzen 7   ", 1)}[key, name]
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert bench._cpu_name() == "AMD Ryzen 7"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 2**34),
        ({"/sys/fs/cgroup/memory.max": "max\n"}, 2**34),
        ({"/sys/fs/cgroup/memory.max": "2147483648\n"}, 2**31),
        ({"/sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, 2**30),
        ({"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2**34),
    ],
)
def test_the_memory_is_that_of_the_container_where_it_has_less(monkeypatch, files, expected):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2**34))
    answers(monkeypatch, files)
    assert bench._memory_bytes() == expected


# ------------------------------------------------------------------------------------------------------------------
# The memory of this process

MIB = 2**20


def test_an_array_shows_in_resident_memory_and_its_end_leaves_the_peak():
    before = bench.memory()
    # Pages of its own: malloc may take 64 MiB from what earlier tests have freed, and keep them.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
    with mmap.mmap(-1, 64 * MIB, **private) as pages:
        for _ in range(64):
            pages.write(bytes(MIB))
        during = bench.memory()
    after = bench.memory()
    assert during.rss_bytes - before.rss_bytes > 60 * MIB
    assert min(during.peak_bytes, after.peak_bytes) > before.rss_bytes + 60 * MIB
    if before.anonymous_bytes is not None:  # Linux, which also takes the pages back at once
        assert during.rss_bytes - after.rss_bytes > 60 * MIB
        assert during.anonymous_bytes - before.anonymous_bytes > 60 * MIB


@linux
def test_a_mapped_file_is_resident_and_not_anonymous(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(bytes(32 * MIB))
    before = bench.memory()
    mapped = np.memmap(file, np.uint8, "r")
    assert mapped.max() == 0  # reads every page
    after = bench.memory()
    assert after.rss_bytes - before.rss_bytes > 30 * MIB
    assert after.anonymous_bytes - before.anonymous_bytes < 2 * MIB


@linux
def test_the_peak_of_a_child_is_not_that_of_its_parent():
    array = np.ones(192 * MIB, np.uint8)  # the parent is large while the child starts
    script = "from slmlab import bench; print(bench.memory().peak_bytes)"
    root = Path(bench.__file__).parents[1]
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, encoding="utf-8", check=True
    )
    assert 0 < int(printed.stdout) < 150 * MIB < array.nbytes


@pytest.mark.parametrize(("system", "unit"), [("Linux", 1024), ("Darwin", 1)])
def test_getrusage_counts_kib_on_linux_and_bytes_on_macos(monkeypatch, system, unit):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=123_456))
    answers(monkeypatch, {})  # no /proc
    assert bench.memory().peak_bytes == 123_456 * unit
    assert bench.memory().anonymous_bytes is None
    assert "anonymous unknown" in str(bench.memory())


def test_windows_keeps_the_peak_itself(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert bench._peak_bytes(SimpleNamespace(peak_wset=5)) == 5


def test_anonymous_memory_comes_from_the_page_tables_else_from_the_counter(monkeypatch):
    files = {"/proc/self/status": "Name:\tpython\nVmHWM:\t  9 kB\nRssAnon:\t  7 kB\n"}
    answers(monkeypatch, files)
    assert bench.memory().anonymous_bytes == 7 * 1024
    files["/proc/self/smaps_rollup"] = "5620-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 20 kB\nAnonymous:   8 kB\n"
    assert bench.memory().anonymous_bytes == 8 * 1024


def test_a_file_that_cannot_be_read_has_no_text(tmp_path):
    assert bench._text(tmp_path / "missing") == ""
    assert bench._text(tmp_path) == ""


def test_three_digits():
    numbers = [0.0000123456, 0.0123456, 0.5, 1.0, 12.345, 123.45, 1234.5, 0.0]
    shown = ["0.0000123", "0.0123", "0.500", "1.00", "12.3", "123", "1,234", "0"]
    assert [bench._three_digits(number) for number in numbers] == shown
    for number in numbers[:-1]:
        assert math.isclose(float(bench._three_digits(number).replace(",", "")), number, rel_tol=0.005)
