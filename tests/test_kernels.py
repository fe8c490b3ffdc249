"""The packed format and every backend against loops written out here.

Run: pytest tests/test_kernels.py. With SLMLAB_EXPECT_COMPILED=1 a missing extension is a failure, not a skip.
"""

import importlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cython_kernels
from cython_kernels import Backend, choose, matmul, pack, packed_bytes, reference, unpack

ROOT = Path(cython_kernels.__file__).resolve().parent.parent
EDGES = (0, 1, 31, 32, 33)


@pytest.fixture(params=[row.name for row in cython_kernels.backends()])
def backend(request):
    row = next(row for row in cython_kernels.backends() if row.name == request.param)
    if not (row.built and row.supported):
        pytest.skip(f"{row.name}: {row.reason}")
    return row.name


@pytest.fixture
def compiled():
    if not any(row.built for row in cython_kernels.backends() if row.name != "reference"):
        pytest.skip(cython_kernels.backends()[-1].reason)
    return importlib.import_module("cython_kernels.ternary")


def ternary(rng, N, K):
    return rng.integers(-1, 2, (N, K), dtype=np.int8)


def int8(rng, M, K):
    return rng.integers(-128, 128, (M, K), dtype=np.int8)


def triple_loop(codes, x):
    y = np.zeros((len(x), len(codes)), np.int64)
    for m, token in enumerate(x.tolist()):
        for n, row in enumerate(codes.tolist()):
            for weight, value in zip(row, token, strict=True):
                y[m, n] += weight * value
    return y


def place(n, k, K):
    """Byte and bit of weight (n, k), read off the drawing: panel, step, block, row, byte; then the field."""
    panel, row_in_panel = divmod(n, 32)
    block, row = divmod(row_in_panel, 16)
    step, column = divmod(k, 16)
    field, byte = divmod(column, 4)
    steps = len(range(0, K, 16))
    return panel * steps * 128 + step * 128 + block * 64 + row * 4 + byte, 2 * field


# ---- the format


def test_the_example_of_the_readme_packs_to_its_bytes():
    packed = pack(np.array([[1, -1, 0, 1, -1]], np.int8))

    assert packed.tobytes() == bytes.fromhex("52545556") + b"\x55" * 124


@pytest.mark.parametrize(("N", "K"), [(1, 1), (3, 5), (16, 16), (17, 15), (32, 16), (33, 17), (70, 50)])
def test_every_code_stands_where_the_drawing_says(N, K):
    codes = ternary(np.random.default_rng(N * 100 + K), N, K)
    expected = bytearray(b"\x55" * (len(range(0, N, 32)) * len(range(0, K, 16)) * 128))
    for n, k in itertools.product(range(N), range(K)):
        byte, bit = place(n, k, K)
        expected[byte] += int(codes[n, k]) << bit  # from code 1 to codes 0, 1, 2

    assert pack(codes).tobytes() == bytes(expected)


@pytest.mark.parametrize(("N", "K"), list(itertools.product((*EDGES, 70), (*EDGES, 15, 16, 17, 50))))
def test_unpack_gives_back_what_was_packed(N, K):
    codes = ternary(np.random.default_rng(1), N, K)

    packed = pack(codes)
    again = unpack(packed, N, K)

    assert packed.dtype == np.uint8 and packed.shape == (packed_bytes(N, K),)
    assert again.dtype == np.int8 and again.shape == (N, K)
    assert np.array_equal(again, codes)


def test_whole_panels_take_two_bits_a_weight():
    assert packed_bytes(2560, 6912) * 8 == 2 * 2560 * 6912


def test_pack_takes_any_strides():
    codes = ternary(np.random.default_rng(2), 40, 40)

    assert np.array_equal(unpack(pack(codes.T[::-1, ::2]), 40, 20), codes.T[::-1, ::2])


def test_header_and_reference_agree(compiled):
    names = ["FORMAT", "PANEL_ROWS", "STEP_COLUMNS", "BLOCK_ROWS", "BLOCK_BYTES", "STEP_BYTES", "K_MAX"]

    assert {name: getattr(compiled, name) for name in names} == {name: getattr(reference, name) for name in names}


# ---- the products


@pytest.mark.parametrize(("N", "K"), list(itertools.product(EDGES, EDGES)))
@pytest.mark.parametrize("M", [0, 1, 3])
def test_matmul_equals_three_loops(backend, M, N, K):
    rng = np.random.default_rng(3)
    codes, x = ternary(rng, N, K), int8(rng, M, K)

    y = matmul(pack(codes), N, K, x, backend=backend)

    assert y.dtype == np.int32 and y.shape == (M, N)
    assert np.array_equal(y, triple_loop(codes, x))


@pytest.mark.parametrize("M", EDGES)
def test_matmul_equals_three_loops_for_many_tokens(backend, M):
    rng = np.random.default_rng(4)
    codes, x = ternary(rng, 35, 45), int8(rng, M, 45)

    assert np.array_equal(matmul(pack(codes), 35, 45, x, backend=backend), triple_loop(codes, x))


@pytest.mark.parametrize(("N", "K"), [(5, 2560), (97, 131), (2, 6912)])
def test_matmul_equals_three_loops_on_long_rows(backend, N, K):
    rng = np.random.default_rng(5)
    codes, x = ternary(rng, N, K), int8(rng, 2, K)

    assert np.array_equal(matmul(pack(codes), N, K, x, backend=backend), triple_loop(codes, x))


@pytest.mark.parametrize("weight", [-1, 0, 1])
@pytest.mark.parametrize("value", [-128, -127, 127])
@pytest.mark.parametrize("K", [1, 15, 2560, 6912, 2**19])
def test_extreme_sums_are_exact(backend, weight, value, K):
    # K = 2560 at 127 is 325120: a kernel that adds too many products in 16 bits loses it. 2^19 is the largest K.
    packed = pack(np.full((1, K), weight, np.int8))

    y = matmul(packed, 1, K, np.full((1, K), value, np.int8), backend=backend)

    assert y.tolist() == [[weight * value * K]]


def test_signs_against_signs_give_the_largest_sum(backend):
    x = np.where(np.random.default_rng(6).random((1, 2560)) < 0.5, -127, 127).astype(np.int8)
    codes = np.concatenate([np.sign(x), -np.sign(x)])

    assert matmul(pack(codes), 2, 2560, x, backend=backend).tolist() == [[127 * 2560, -127 * 2560]]


def test_matmul_takes_read_only_and_unaligned_arrays(backend):
    rng = np.random.default_rng(7)
    codes, x = ternary(rng, 33, 17), int8(rng, 2, 17)
    packed = np.frombuffer(b"\0" + pack(codes).tobytes(), np.uint8)[1:]
    x_read_only = np.frombuffer(b"\0" + x.tobytes(), np.int8)[1:].reshape(2, 17)

    assert np.array_equal(matmul(packed, 33, 17, x_read_only, backend=backend), triple_loop(codes, x))


def test_matmul_without_a_name_runs_the_active_backend():
    codes, x = np.eye(3, dtype=np.int8), np.array([[5, -6, 7]], np.int8)

    assert matmul(pack(codes), 3, 3, x).tolist() == [[5, -6, 7]]


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


# ---- what is refused

GOOD = {"packed": pack(np.zeros((3, 5), np.int8)), "N": 3, "K": 5, "x": np.zeros((2, 5), np.int8)}


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("packed", [0] * 128, TypeError, "packed is a list, wanted a NumPy array of uint8: pass what pack"),
        ("packed", np.zeros(128, np.int8), TypeError, "packed is int8, wanted uint8"),
        ("packed", np.zeros((2, 64), np.uint8), ValueError, r"packed has shape \(2, 64\), wanted \(bytes\)"),
        ("packed", np.zeros(127, np.uint8), ValueError, "packed has 127 bytes, wanted 128 for N = 3, K = 5"),
        ("packed", np.zeros(0, np.uint8), ValueError, "packed has 0 bytes, wanted 128"),
        ("packed", np.zeros(256, np.uint8)[::2], ValueError, "packed is not contiguous"),
        ("N", 33, ValueError, "packed has 128 bytes, wanted 256 for N = 33"),
        ("N", -1, ValueError, "N is -1, wanted 0 or more"),
        ("N", 3.0, TypeError, "N is the float 3.0, wanted an int"),
        ("K", 6, ValueError, "x has 5 columns, wanted K = 6"),
        ("K", 2**19 + 1, ValueError, "K is 524289, wanted at most 524288: split"),
        ("K", None, TypeError, "K is the NoneType None, wanted an int"),
        ("x", [[0] * 5], TypeError, "x is a list, wanted a NumPy array of int8: quantize the activations"),
        ("x", np.zeros((2, 5), np.float32), TypeError, "x is float32, wanted int8: quantize the activations"),
        ("x", np.zeros((2, 5), np.uint8), TypeError, "x is uint8, wanted int8"),
        ("x", np.zeros(5, np.int8), ValueError, r"x has shape \(5,\), wanted \(M, K\)"),
        ("x", np.zeros((2, 4), np.int8), ValueError, "x has 4 columns, wanted K = 5"),
        ("x", np.zeros((5, 2), np.int8).T, ValueError, "not C-contiguous: pass np.ascontiguousarray"),
        ("x", np.zeros((2, 10), np.int8)[:, ::2], ValueError, "not C-contiguous"),
    ],
)
def test_matmul_refuses(backend, argument, value, error, message):
    with pytest.raises(error, match=message):
        matmul(**GOOD | {argument: value}, backend=backend)


@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        ([[1, 0]], TypeError, "codes is a list, wanted a NumPy array of int8: quantize the weights"),
        (np.zeros((1, 2), np.float32), TypeError, "codes is float32, wanted int8"),
        (np.zeros(2, np.int8), ValueError, r"codes has shape \(2,\), wanted \(N, K\)"),
        (np.array([[0, 1], [0, 2]], np.int8), ValueError, r"codes\[1, 1\] is 2, wanted -1, 0 or \+1"),
        (np.array([[0, -128]], np.int8), ValueError, r"codes\[0, 1\] is -128, wanted"),
        (np.zeros((0, 2**19 + 1), np.int8), ValueError, "K is 524289, wanted at most 524288"),
    ],
)
def test_pack_refuses(codes, error, message):
    with pytest.raises(error, match=message):
        pack(codes)


def test_unpack_refuses_a_code_3_and_the_wrong_length():
    packed = pack(np.zeros((3, 5), np.int8))
    packed[9] |= 0b1100

    with pytest.raises(ValueError, match=r"packed\[9\] is 0x5d, which holds a code 3"):
        unpack(packed, 3, 5)
    with pytest.raises(ValueError, match="packed has 127 bytes, wanted 128"):
        unpack(packed[1:], 3, 5)


def test_the_compiled_module_refuses_a_backend_that_it_lacks(compiled):
    with pytest.raises(ValueError, match="backend 'reference' cannot run here, wanted one of scalar"):
        compiled.matmul(**GOOD, backend="reference")


# ---- which backend runs

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


def test_matmul_knows_no_other_backend():
    with pytest.raises(cython_kernels.UnknownBackendError, match="there is no backend 'magic'"):
        matmul(**GOOD, backend="magic")


def test_the_extension_lists_the_rows_that_python_expects(compiled):
    assert tuple(name for name, built, supported in compiled.ROWS) == cython_kernels.COMPILED


def test_setup_and_readme_name_every_rung():
    if not (ROOT / "setup.py").is_file():
        pytest.skip("cython_kernels is installed away from its setup.py")
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    readme = (ROOT / "cython_kernels" / "README.md").read_text(encoding="utf-8")

    for name in cython_kernels.COMPILED:
        assert f"cython_kernels/c/{name}.c" in setup
        assert f"| `{name}` | c/{name}.c |" in readme


def python(code, kernel=None):
    """Output of `code` in a new interpreter, with SLMLAB_KERNEL set to `kernel`."""
    env = {name: value for name, value in os.environ.items() if name != "SLMLAB_KERNEL"}
    env |= {"PYTHONPATH": str(ROOT)} | ({} if kernel is None else {"SLMLAB_KERNEL": kernel})
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, encoding="utf-8", timeout=60)
    return run.stdout + run.stderr


ACTIVE = "import cython_kernels as k; print(k.active().name)"
WITHOUT_EXTENSION = "import sys; sys.modules['cython_kernels.ternary'] = None; "


def test_the_environment_forces_a_backend(backend):
    assert python(ACTIVE, backend).split() == [backend]


def test_a_wrong_name_in_the_environment_is_an_error_and_no_fallback():
    product = "import cython_kernels as k, numpy as np; z = np.zeros((1, 1), np.int8); k.matmul(k.pack(z), 1, 1, z)"

    assert "UnknownBackendError: there is no backend 'fast': choose one of reference" in python(product, "fast")


def test_without_the_extension_the_reference_takes_over_and_says_why():
    code = "; ".join([ACTIVE, "print(k.backends()[-1].built, k.backends()[-1].supported, k.backends()[-1].reason)"])

    active, scalar = python(WITHOUT_EXTENSION + code).splitlines()

    assert active == "reference"
    assert scalar.startswith("False None import of cython_kernels.ternary halted")
    assert scalar.endswith("install again to build it")


def test_without_the_extension_a_forced_backend_is_not_built():
    output = python(WITHOUT_EXTENSION + ACTIVE, "scalar")

    assert "BackendNotBuiltError: backend 'scalar' is not built here (import of cython_kernels.ternary halted" in output


def test_an_extension_of_another_format_is_not_used():
    stale = "import sys, types; stale = types.ModuleType('stale'); stale.FORMAT = 0; "
    stale += "sys.modules['cython_kernels.ternary'] = stale; "

    output = python(stale + ACTIVE + "; print(k.backends()[-1].reason)")

    assert output.splitlines() == ["reference", "the extension packs by format 0, wanted 1; install again"]


@pytest.mark.skipif(sys.platform == "win32", reason="MSVC is found by the registry, not by CC")
def test_a_missing_compiler_does_not_stop_the_install(tmp_path):
    if not (ROOT / "setup.py").is_file():
        pytest.skip("cython_kernels is installed away from its setup.py")
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
    assert [row for row in cython_kernels.backends() if not row.built] == []
