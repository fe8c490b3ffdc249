"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

import cython_kernels
from slmlab import models


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory) -> Path:
    """Caches and records of the tests stay out of the user's own folders."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMLAB_HOME", str(folder))
        yield folder


@pytest.fixture(params=[row.name for row in cython_kernels.backends()])
def backend(request) -> str:
    """Each backend of the kernels; the test is skipped for one that this machine cannot run."""
    row = next(row for row in cython_kernels.backends() if row.name == request.param)
    if not (row.built and row.supported):
        pytest.skip(f"{row.name}: {row.reason}")
    return row.name


def pytest_ignore_collect(collection_path):
    """nbval runs the golden notebooks, and no other that may lie among the tests."""
    return True if collection_path.suffix == ".ipynb" and collection_path.parent.name != "golden" else None


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """A home with the converted SmolLM2, one for all xdist workers: `monkeypatch.setenv("SLMLAB_HOME", smollm2)`.

    SLMLAB_TEST_HOME names a folder that is kept, so that the conversion (half a minute) happens once for good.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = Path(os.environ.get("SLMLAB_TEST_HOME") or shared / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMLAB_HOME", str(home))
        models.prepare("smollm2-135m", progress=False)
    return home


def pytest_terminal_summary(terminalreporter):
    """What every lab took: its time is printed here and asserted nowhere."""
    calls = [r for reports in terminalreporter.stats.values() for r in reports if getattr(r, "when", "") == "call"]
    rows = sorted(value for report in calls for name, value in report.user_properties if name == "lab")
    if rows:
        terminalreporter.section("labs: seconds, peak memory")
    for name, kind, seconds, peak_bytes in rows:
        terminalreporter.write_line(f"{name:32}  {kind:16}  {seconds:6.1f} s  {peak_bytes / 1e6:6.0f} MB")
