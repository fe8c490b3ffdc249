"""Which backend runs and says so; what a process gives it: environment, CPU set, threads, fork.

Run: pytest tests/test_kernels_backends.py. With SLMLAB_EXPECT_COMPILED=1 a missing extension is a failure, not a skip.
"""

import os
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from kernel_build import ROOT, extension

import cython_kernels
from cython_kernels import Backend, choose, matmul, pack

GOOD = {"packed": pack(np.zeros((3, 5), np.int8)), "N": 3, "K": 5, "x": np.zeros((2, 5), np.int8)}

ROWS = (
    Backend("slow", built=True, supported=True, reason=""),
    Backend("quick", built=True, supported=True, reason=""),
    Backend("foreign", built=True, supported=False, reason="this CPU lacks its instructions"),
    Backend("absent", built=False, supported=True, reason="left out of this build"),
)


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_last_usable_row_is_chosen(name):
    assert choose(ROWS, name).name == "quick"


def test_a_usable_name_is_chosen():
    assert choose(ROWS, "slow").name == "slow"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("fast", cython_kernels.UnknownBackendError, "there is no backend 'fast'"),
        ("absent", cython_kernels.BackendNotBuiltError, r"'absent' is not built here \(left out of this build\)"),
        ("foreign", cython_kernels.BackendNotSupportedError, r"'foreign' is built, but cannot run here \(this CPU"),
    ],
)
def test_three_ways_to_be_unusable_are_three_errors(name, error, message):
    with pytest.raises(
        cython_kernels.BackendError, match=f"{message}.*: choose one of slow, quick, or unset"
    ) as caught:
        choose(ROWS, name)

    assert type(caught.value) is error


@pytest.mark.parametrize("name", ["magic", 3])
def test_matmul_knows_no_other_backend(name):
    with pytest.raises(cython_kernels.UnknownBackendError, match=f"there is no backend {name!r}"):
        matmul(**GOOD, backend=name)


def test_the_extension_lists_the_rows_that_python_expects():
    names = [row.name for row in cython_kernels.backends()]

    assert names == ["reference", *cython_kernels.COMPILED]


def test_a_row_that_cannot_run_says_why():
    assert all(bool(row.reason) != bool(row.built and row.supported) for row in cython_kernels.backends())


def test_setup_and_readme_name_every_rung():
    sources = {source.replace(os.sep, "/") for source in extension().sources}
    readme = (ROOT / "cython_kernels" / "README.md").read_text(encoding="utf-8")

    assert sources >= {f"cython_kernels/c/{file.name}" for file in (ROOT / "cython_kernels" / "c").glob("*.c")}
    assert sources >= {f"cython_kernels/c/{name}.c" for name in cython_kernels.COMPILED}
    for row in cython_kernels.backends():
        assert re.search(rf"^\| *`{row.name}` *\|", readme, re.MULTILINE), f"README.md's table lacks {row.name}"


def test_setup_names_every_header():
    headers = {f"cython_kernels/c/{file.name}" for file in (ROOT / "cython_kernels" / "c").glob("*.h")}

    assert {depends.replace(os.sep, "/") for depends in extension().depends} >= headers


# ---- in a process of its own


def python(code, **environment):
    """Output of `code` in a new interpreter, with no SLMLAB_KERNEL or OMP_NUM_THREADS but those given."""
    env = {name: value for name, value in os.environ.items() if name not in ("SLMLAB_KERNEL", "OMP_NUM_THREADS")}
    env |= {"PYTHONPATH": str(ROOT)} | environment
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, encoding="utf-8", timeout=120)
    return run.stdout + run.stderr


ACTIVE = "import cython_kernels as k; print(k.active().name)"
WITHOUT_EXTENSION = "import sys; sys.modules['cython_kernels.ternary'] = None; "


def test_the_environment_forces_a_backend(backend):
    assert python(ACTIVE, SLMLAB_KERNEL=backend).split() == [backend]


def test_a_wrong_name_in_the_environment_is_an_error_and_no_fallback():
    product = "import cython_kernels as k, numpy as np; z = np.zeros((1, 1), np.int8); k.matmul(k.pack(z), 1, 1, z)"

    output = python(product, SLMLAB_KERNEL="fast")

    assert "UnknownBackendError: there is no backend 'fast': choose one of reference" in output


def test_without_the_extension_the_reference_takes_over_and_says_why():
    code = "; ".join([ACTIVE, "print(k.backends()[-1].built, k.backends()[-1].supported, k.backends()[-1].reason)"])

    active, last = python(WITHOUT_EXTENSION + code).splitlines()

    assert active == "reference"
    assert last.startswith("False None import of cython_kernels.ternary halted")
    assert last.endswith("install again to build it")


def test_without_the_extension_layers_run_on_the_reference():
    code = "import cython_kernels as k, numpy as np; W = k.matrix(k.pack(np.ones((1, 4), np.int8)), 1, 4, scale=0.5); "
    code += "print(W.backend, k.linear([W], np.ones((1, 4), np.float32), threads=2)[0].tolist())"

    assert python(WITHOUT_EXTENSION + code).split() == ["reference", "[[2.0]]"]


def test_without_the_extension_a_forced_backend_is_not_built():
    output = python(WITHOUT_EXTENSION + ACTIVE, SLMLAB_KERNEL="scalar")

    assert "BackendNotBuiltError: backend 'scalar' is not built here (import of cython_kernels.ternary halted" in output


def test_an_extension_of_another_format_is_not_used():
    stale = "import sys, types; stale = types.ModuleType('stale'); stale.FORMAT = 0; "
    stale += "sys.modules['cython_kernels.ternary'] = stale; "

    output = python(stale + ACTIVE + "; print(k.backends()[-1].reason)")

    assert output.splitlines() == ["reference", "the extension packs by format 0, wanted 2; install again"]


CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
THREADS = "import cython_kernels as k; print(k.threads())"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("1", 1), ("2", min(2, CPUS)), (" 1 ", 1), ("1,4", 1), ("9999", CPUS)]
    + [(junk, CPUS) for junk in ("", "0", "-1", "many", "1.5")],
)
def test_omp_num_threads_is_respected_up_to_the_cpus(value, wanted):
    assert python(THREADS, OMP_NUM_THREADS=value).split() == [str(wanted)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU sets")
def test_the_cpu_set_is_respected():
    one = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0)) if CPUS else 0}}}); "

    assert python(THREADS).split() == [str(CPUS)]
    assert python(one + THREADS).split() == ["1"]
    assert python(one + THREADS, OMP_NUM_THREADS="2").split() == ["1"]


PRODUCT = """
import os, sys, threading, warnings
import numpy as np
import cython_kernels as k

warnings.simplefilter("ignore")  # from 3.12 on Python warns of a fork beside threads, which is what is tested
rng = np.random.default_rng(0)
codes, x = rng.integers(-1, 2, (500, 300), np.int8), rng.integers(-128, 128, (3, 300), np.int8)
W, wanted = k.matrix(k.pack(codes), 500, 300), x.astype(np.int64) @ codes.T.astype(np.int64)

def exact(threads, times=50):
    return all(np.array_equal(W.matmul(x, threads=threads), wanted) for _ in range(times))
"""


def test_ten_thousand_threads_are_no_more_than_the_pool_has():
    output = python(PRODUCT + "print(exact(10_000, 3), exact(2**70, 3))")

    assert output.split() == ["True", "True"]


FORK = """
def child_is_exact(depth):
    process = os.fork()
    if process == 0:
        os._exit(0 if exact(2) and exact(3) and (depth == 0 or child_is_exact(depth - 1)) else 1)
    return os.waitpid(process, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_works_after_the_pool_of_its_parent_has_run():
    code = PRODUCT + FORK + "print(exact(2), [child_is_exact(2) for _ in range(5)], exact(2))"

    assert python(code).split(maxsplit=1) == ["True", "[True, True, True, True, True] True\n"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_in_the_middle_of_a_product_works():
    code = PRODUCT + FORK
    code += """
stop = threading.Event()
def always():
    while not stop.is_set():
        exact(2, 1)
worker = threading.Thread(target=always)
worker.start()
print([child_is_exact(0) for _ in range(10)])
stop.set()
worker.join()
"""

    assert python(code) == f"{[True] * 10}\n"


def test_matmul_lets_other_threads_run(backend):
    packed, x = pack(np.ones((3200, 3200), np.int8)), np.ones((8, 3200), np.int8)
    about_to_start, finished = threading.Event(), threading.Event()

    def work():
        about_to_start.set()
        matmul(packed, 3200, 3200, x, backend=backend)
        finished.set()

    def main_runs_during_the_product():
        about_to_start.clear()
        finished.clear()
        thread = threading.Thread(target=work)
        thread.start()
        about_to_start.wait()
        ran = not finished.is_set()
        thread.join()
        return ran

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # seconds: from here on a thread only stops where it lets go of the GIL by itself
    try:
        assert any(main_runs_during_the_product() for _ in range(20)), "matmul kept the GIL"
    finally:
        sys.setswitchinterval(interval)


# ---- the install


@pytest.mark.skipif(sys.platform == "win32", reason="MSVC is found by the registry, not by CC")
def test_a_missing_compiler_does_not_stop_the_install(tmp_path):
    extension()  # skips where there is no setup.py
    shutil.copy(ROOT / "setup.py", tmp_path)
    built = shutil.ignore_patterns("ternary.c", "*.so", "__pycache__")
    shutil.copytree(ROOT / "cython_kernels", tmp_path / "cython_kernels", ignore=built)

    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    env = os.environ | {"CC": "no-such-compiler"}
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", timeout=120)

    assert run.returncode == 0, run.stderr
    assert 'building extension "cython_kernels.ternary" failed' in run.stdout + run.stderr
    assert list(tmp_path.rglob("*.so")) == []


@pytest.mark.skipif(os.environ.get("SLMLAB_EXPECT_COMPILED") != "1", reason="SLMLAB_EXPECT_COMPILED is not 1")
def test_the_extension_is_built():
    """Whether a row can be compiled is the processor's family to say; scalar can everywhere."""
    assert [row.name for row in cython_kernels.backends() if row.built][:2] == ["reference", "scalar"]
