"""The doctor: a finding for each thing, and a remedy where something is missing."""

import os
import sys

import pytest

from slmlab import doctor


def finding(name):
    return next(one for one in doctor.examine() if one.name == name)


def test_a_finding_without_a_remedy_is_one_plain_line():
    assert str(doctor.Finding("disk", "80 GB free")) == "  disk      80 GB free"


def test_a_finding_with_a_remedy_is_marked_and_tells_it():
    assert str(doctor.Finding("disk", "1 MB free", "Free some")) == "! disk      1 MB free. Free some"


def test_the_python_that_runs_is_named():
    assert sys.executable in finding("Python").found


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
