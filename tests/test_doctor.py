"""The doctor: a finding for each thing, and a remedy where something is missing."""

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import pytest

from slmlab import doctor

ROOT = Path(__file__).resolve().parent.parent


def finding(name):
    return next(one for one in doctor.examine() if one.name == name)


def test_a_finding_without_a_remedy_is_one_plain_line():
    assert str(doctor.Finding("disk", "80 GB free")) == "  disk      80 GB free"


def test_a_finding_with_a_remedy_is_marked_and_tells_it():
    assert str(doctor.Finding("disk", "1 MB free", "Free some")) == "! disk      1 MB free. Free some"


def test_the_python_that_runs_is_named():
    assert sys.executable in finding("Python").found


@pytest.mark.parametrize(
    ("system", "machine", "macos", "bits", "words"),
    [
        ("Darwin", "x86_64", "15.1", 64, "no release for Intel Macs"),
        ("Darwin", "arm64", "13.6", 64, "macOS 14 or newer, this is 13.6"),
        ("Windows", "ARM64", "", 64, "the one for Windows x86-64"),
        ("Windows", "x86", "", 32, "a Python of 64 bits, this one has 32"),
    ],
)
def test_a_python_without_a_pytorch_is_told_before_pip_looks_for_one(system, machine, macos, bits, words):
    assert words in doctor.torch_remedy(system, machine, macos, bits)


@pytest.mark.parametrize(
    ("system", "machine", "macos"),
    [("Linux", "x86_64", ""), ("Linux", "aarch64", ""), ("Darwin", "arm64", "14.0"), ("Windows", "AMD64", "")],
)
def test_where_there_is_a_pytorch_nothing_is_said(system, machine, macos):
    assert doctor.torch_remedy(system, machine, macos) == ""


def test_a_folder_too_deep_for_windows_is_told_and_how_short_it_has_to_be():
    said = doctor.too_deep("C:\\" + 80 * "x", long_paths=False)
    fits = int(re.search(r"at most (\d+) characters", said)[1])

    assert fits < 80 and doctor.too_deep("C:\\" + 80 * "x", long_paths=True) == ""
    name = "C:\\" + (fits - 3) * "x" + "\\.venv\\Lib\\site-packages\\" + doctor.LONGEST_NAME * "y"
    assert len(name) == 259
    assert doctor.too_deep("C:\\" + (fits - 3) * "x", long_paths=False) == ""
    assert doctor.too_deep("C:\\" + (fits - 2) * "x", long_paths=False)


def test_no_package_has_a_longer_name_than_the_doctor_thinks():
    pins = (ROOT / "binder" / "constraints.txt").read_text(encoding="utf-8")
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"(?m)^([\w.-]+)==", pins)}
    here = [one for one in importlib.metadata.distributions() if one.name.lower().replace("_", "-") in pinned]
    names = [str(file) for one in here for file in one.files or ()]

    assert max(map(len, names)) <= doctor.LONGEST_NAME


@pytest.mark.skipif(os.name == "nt", reason="CC is not asked for on Windows")
def test_a_compiler_that_does_not_compile_is_none(monkeypatch):
    monkeypatch.setenv("CC", f"{sys.executable} -c raise(SystemExit(1))")

    found = finding("compiler")
    assert found.found == "none that compiles" and "C compiler" in found.remedy


def test_a_kernel_that_cannot_run_is_a_finding_and_no_failure(monkeypatch):
    import cython_kernels

    cython_kernels.active.cache_clear()
    monkeypatch.setenv("SLMLAB_KERNEL", "no-such")
    try:
        found = finding("kernel")
    finally:
        cython_kernels.active.cache_clear()
    assert "no-such" in found.remedy


def kernel_finding(monkeypatch, *rows):
    """The finding on a machine with these backends, the last usable one active."""
    import cython_kernels

    rows = [cython_kernels.Backend(*row) for row in rows]
    monkeypatch.setattr(cython_kernels, "backends", lambda: tuple(rows))
    monkeypatch.setattr(cython_kernels, "active", lambda: [row for row in rows if not row.reason][-1])
    return finding("kernel")


REFERENCE = ("reference", True, True, "")


def test_the_kernel_that_runs_stands_before_those_that_cannot_and_why(monkeypatch):
    monkeypatch.delenv("SLMLAB_KERNEL", raising=False)
    rows = [
        REFERENCE,
        ("scalar", True, True, ""),
        ("a", False, False, "for other processors"),
        ("b", True, False, "slow"),
        ("c", True, False, "slow"),
    ]

    found = kernel_finding(monkeypatch, *rows)

    assert found.found == "scalar runs; not a (for other processors); not b, c (slow)"
    assert found.remedy == ""


def test_without_compiled_kernels_the_remedy_compiles_them(monkeypatch):
    monkeypatch.delenv("SLMLAB_KERNEL", raising=False)
    found = kernel_finding(monkeypatch, REFERENCE, *((name, False, None, "no extension") for name in ("a", "b")))

    assert found.found == "reference runs; not a, b (no extension)"
    assert "pip install --no-deps --editable" in found.remedy


def test_a_kernel_that_the_environment_forces_is_no_defect(monkeypatch):
    monkeypatch.setenv("SLMLAB_KERNEL", "reference")
    found = kernel_finding(monkeypatch, REFERENCE, ("a", True, False, "slow"))

    assert found.found == "reference runs, as SLMLAB_KERNEL asks; not a (slow)" and found.remedy == ""


def test_what_needs_a_missing_package_says_so(monkeypatch):
    def look():
        raise ModuleNotFoundError(name="psutil")

    monkeypatch.setitem(doctor.LOOKS, "memory", look)

    found = finding("memory")
    assert "psutil is not installed" in found.found and "slmlab lab" in found.remedy


@pytest.mark.parametrize(
    ("variable", "word"), [("BINDER_SERVICE_HOST", "2 GB at most"), ("COLAB_RELEASE_TAG", "Colab")]
)
def test_the_limits_of_a_host_are_told(monkeypatch, variable, word):
    monkeypatch.setenv(variable, "x")

    found = finding("host")
    assert word in found.found and "notebooks" in found.remedy


@pytest.mark.parametrize(("system", "command"), [("win32", "winget"), ("darwin", "xcode-select"), ("linux", "apt")])
def test_each_system_has_its_way_to_a_compiler(system, command):
    assert command in doctor.compiler_remedy(system)
