"""What a measurement was taken on, from the standard library and NumPy alone."""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from cython_kernels import backends

SIMD = "avx2 fma f16c avx512f avx512bw avx512_vnni avx512vbmi avx512_bf16 amx_int8 amx_bf16 asimdhp asimddp i8mm sve"


def machine() -> dict:
    """cpu, cpus (that we may use), caches of a core, simd, kernels, ram_gib, os and versions; what the system does not
    tell is left out."""
    cpu, darwin = _cpuinfo(), platform.system() == "Darwin"
    flags = (cpu.get("flags") or cpu.get("Features", "")).split()
    found = {
        "cpu": cpu.get("model name") or (_sysctl("machdep.cpu.brand_string") if darwin else platform.processor()),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": _darwin_caches() if darwin else _caches(),
        "simd": [name for name in SIMD.split() if name in flags],
        "kernels": [row.name for row in backends() if row.built and row.supported],
        "ram_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
        if hasattr(os, "sysconf")
        else None,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in ("numpy", "torch", "litespark-inference"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return {name: value for name, value in found.items() if value}


def line(found: dict) -> str:
    """`machine()` in one line."""
    words = [found.get("cpu", "unknown CPU"), f"{found['cpus']} CPUs", *found.get("caches", [])]
    words.append(" ".join(found.get("simd", found["kernels"])))
    words += [f"RAM {found['ram_gib']} GiB"] if "ram_gib" in found else []
    packages = ("python", "numpy", "torch", "litespark-inference")
    return " · ".join([*words, found["os"], *(f"{name} {found[name]}" for name in packages if name in found)])


def available_bytes() -> int | None:
    """Memory to be had without swapping; None where no file of the system tells."""
    with contextlib.suppress(OSError):
        for text in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if text.startswith("MemAvailable:"):
                return int(text.split()[1]) * 1024
    return None


def _cpuinfo() -> dict[str, str]:
    """Linux on one processor; empty on other systems."""
    with contextlib.suppress(OSError):
        pairs = (text.partition(":") for text in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
        return {key.strip(): value.strip() for key, _, value in pairs}
    return {}


def _caches() -> list[str]:
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text(encoding="utf-8").strip() for name in ("level", "type", "size"))
        found += [f"L{level} {int(size[:-1]):,} KiB"] if kind != "Instruction" and size.endswith("K") else []
    return found


def _darwin_caches() -> list[str]:
    sizes = [("L1", _sysctl("hw.l1dcachesize")), ("L2", _sysctl("hw.l2cachesize")), ("L3", _sysctl("hw.l3cachesize"))]
    return [f"{level} {int(size) // 1024:,} KiB" for level, size in sizes if size]


def _sysctl(name: str) -> str:
    """macOS's answer, "" if it has none."""
    return subprocess.run(["sysctl", "-n", name], capture_output=True, encoding="utf-8", check=False).stdout.strip()
