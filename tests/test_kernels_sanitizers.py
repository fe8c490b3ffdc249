"""The C kernels compiled by gcc with its sanitizers: no byte outside an array, no undefined behaviour, no race.

Needs Linux, gcc and its runtime libraries. With SLMLAB_EXPECT_COMPILED=1 a missing one is a failure, not a skip.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from kernel_build import ROOT, extension

TESTS = Path(__file__).resolve().parent
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
RACES = ("-fsanitize=thread",)


def runtime(name):
    """The path of gcc's `name`.so; without it the test is skipped, or fails where a compiler is expected."""
    missing = ""
    if sys.platform != "linux":
        pytest.skip("the sanitizers are used on Linux alone")
    if shutil.which("gcc") is None:
        missing = "there is no gcc"
    else:
        path = Path(_run("gcc", f"-print-file-name={name}.so").stdout.strip())
        missing = "" if path.is_absolute() and path.exists() else f"gcc has no {name}.so"
    if missing and os.environ.get("SLMLAB_EXPECT_COMPILED") == "1":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    return path.resolve()


def _run(*command, check=True, **named):
    done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", errors="replace", **named)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def kernel_sources():
    return [ROOT / source for source in extension().sources if source.endswith(".c")]


def compile_c(folder, sanitizers, sources):
    """An object file in `folder` of every source, by the flags of setup.py but -O1."""
    kernels = extension()
    includes = [f"-I{ROOT / directory}" for directory in kernels.include_dirs]
    flags = [*kernels.extra_compile_args, "-O1", "-g", "-fPIC", *sanitizers, *includes]
    _run("gcc", *flags, "-c", *sources, cwd=folder)
    return [folder / f"{source.stem}.o" for source in sources]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with a copy of cython_kernels whose C is checked at every access; the glue of Cython is not."""
    runtime("libasan")
    folder = tmp_path_factory.mktemp("sanitized")
    ignored = shutil.ignore_patterns("ternary.c", "*.so", "__pycache__", "bench")
    shutil.copytree(ROOT / "cython_kernels", folder / "cython_kernels", ignore=ignored)
    objects = compile_c(folder, MEMORY, kernel_sources())
    glue = folder / "cython_kernels" / "ternary.c"
    _run(sys.executable, "-m", "cython", "-3", glue.with_suffix(".pyx"), "-o", glue, cwd=folder)
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{folder / 'cython_kernels' / 'c'}"]
    _run("gcc", "-O0", "-w", "-fPIC", *includes, "-c", glue, cwd=folder)
    link(folder, [folder / "ternary.o", *objects])
    return folder, objects


def link(folder, objects):
    module = folder / "cython_kernels" / f"ternary{sysconfig.get_config_var('EXT_SUFFIX')}"
    _run("gcc", "-shared", *MEMORY, *objects, "-lm", "-pthread", "-o", module)


def run_properties(folder, *arguments):
    """test_kernels_properties.py in a new interpreter, on the kernels in `folder`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SLMLAB"))} | {
        "LD_PRELOAD": f"{runtime('libasan')} {runtime('libubsan')}",
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1",  # Python keeps what it has
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",  # its own arenas have no red zones
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    quiet = ["-q", "-x", "--capture=no", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    options = [*quiet, "--noconftest", "-c", "pytest.ini"]
    command = [sys.executable, "-m", "pytest", *options, TESTS / "test_kernels_properties.py", *arguments]
    return _run(*command, env=env, cwd=folder, check=False, timeout=240)


def test_no_kernel_leaves_its_arrays_or_the_rules_of_C(package):
    done = run_properties(package[0])

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "skipped" not in done.stdout


def test_a_planted_step_too_many_is_found(package, tmp_path):
    folder, objects = package
    source = (ROOT / "cython_kernels" / "c" / "scalar.c").read_text(encoding="utf-8")
    loop = "s < steps; s++"
    assert source.count(loop) == 1, "plant the fault where scalar.c counts the steps of a panel"
    planted = tmp_path / "scalar.c"
    planted.write_text(source.replace(loop, "s <= steps; s++"), encoding="utf-8")
    shutil.copytree(folder / "cython_kernels", tmp_path / "cython_kernels")
    others = [one for one in objects if one.name != "scalar.o"]
    link(tmp_path, [folder / "ternary.o", *others, *compile_c(tmp_path, MEMORY, [planted])])

    done = run_properties(tmp_path, "-k", "scalar and exact")

    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr and "scalar.c:" in done.stderr, done.stdout + done.stderr


def test_the_pool_has_no_race(tmp_path):
    runtime("libtsan")
    objects = compile_c(tmp_path, RACES, [*kernel_sources(), TESTS / "race_driver.c"])
    _run("gcc", *RACES, *objects, "-lm", "-pthread", "-o", tmp_path / "race")

    done = _run(tmp_path / "race", env=os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}, check=False, timeout=240)

    assert done.returncode == 0, done.stderr
    assert "scalar" in done.stdout.split()
