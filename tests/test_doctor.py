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
