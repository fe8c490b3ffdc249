"""A kernel that came to need more instructions is seen here, without a timer. See kernel_instructions.py."""

import os
import platform
import shutil
import sys

import kernel_instructions
import pytest
from kernel_instructions import TABLE, TOKENS, count, read, way

RENEW = "if that is meant: python tests/kernel_instructions.py, and look at the difference"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("instructions are counted on Linux and x86-64 alone")
    if missing := [tool for tool in ("gcc", "valgrind") if shutil.which(tool) is None]:
        reason = f"{' and '.join(missing)} not found: apt install {' '.join(missing)}"
        if os.environ.get("SLMLAB_EXPECT_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    compilers = {row.compiler for row in read()}
    if compilers != {kernel_instructions.compiler()}:
        pytest.skip(f"the table is for {', '.join(compilers)}, and here is {kernel_instructions.compiler()}")
    return kernel_instructions.build(tmp_path_factory.mktemp("driver"))


def test_the_table_has_a_row_for_every_kernel(driver):
    kernels = list(kernel_instructions.kernels(driver))

    assert [(row.backend, row.format, row.tokens) for row in read()] == [
        (*kernel, tokens) for kernel in kernels for tokens in TOKENS
    ], RENEW
    assert all(row.counted_by == way(row.backend) for row in read())


@pytest.mark.parametrize("row", read(), ids=lambda row: f"{row.backend}-{row.format}-{row.tokens}")
def test_a_kernel_takes_the_instructions_of_the_table(driver, row):
    found = count(driver, row.backend, row.format, row.tokens, row.counted_by)
    if found is None:
        pytest.skip(f"{row.backend} does not run here")

    assert found == pytest.approx(row.instructions_per_1000, rel=0.03), f"{TABLE.name}: {RENEW}"


def test_callgrind_and_single_steps_count_the_same(driver):
    counts = [count(driver, "avx2", "2bit", 1, counted_by) for counted_by in ("callgrind", "single steps")]
    if None in counts:
        pytest.skip("avx2 does not run here")

    assert counts[0] == pytest.approx(counts[1], rel=0.005)
