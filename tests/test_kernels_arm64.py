"""The arm64 kernels, built by a cross compiler and run by an emulator: exact there too.

Needs aarch64-linux-gnu-gcc and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user). With
SLMLAB_EXPECT_TOOLS=1 a missing one is a failure, not a skip. fork() is not tested here: an emulator of 2022 (qemu 7.2)
stops at an assertion of its own when a child starts threads.
"""

import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
from kernel_build import ROOT, extension
from kernel_loops import activations, triple_loop, weights

from cython_kernels import pack, reference

FORMATS = ("2bit", "base3", "int8")  # the enum of ternary.h
MATMUL, LINEAR, QUANTIZE, FP16, READ = range(5)  # the kinds of arm64_driver.c
NO_DOTPROD = ("-cpu", "cortex-a53")
NO_BLOB = struct.pack("<q", 0)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A function: arguments of the driver, its standard input and options of qemu -> its standard output."""
    missing = [tool for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
        if os.environ.get("SLMLAB_EXPECT_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    kernels = extension()
    program = tmp_path_factory.mktemp("arm64") / "driver"
    sources = [str(ROOT / source) for source in kernels.sources if source.endswith(".c")]
    command = [
        "aarch64-linux-gnu-gcc",
        *kernels.extra_compile_args,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-static",
        "-pthread",
    ]
    includes = [f"-I{ROOT / folder}" for folder in kernels.include_dirs]
    built = subprocess.run(
        [*command, *includes, str(ROOT / "tests" / "arm64_driver.c"), *sources, "-lm", "-o", str(program)],
        capture_output=True,
        encoding="utf-8",
    )
    assert built.returncode == 0, built.stderr

    def run(*arguments, given=b"", qemu=("-cpu", "max")):
        done = subprocess.run(["qemu-aarch64", *qemu, str(program), *arguments], input=given, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture(params=["scalar", "neon"])
def row(request, driver):
    """Name and formats of a backend that runs on the emulated machine."""
    built, supported, formats = rows(driver)[request.param]
    assert built and supported
    return request.param, formats


def rows(driver, **options):
    """Name -> (built, supported, formats) of each row of the ladder."""
    found = {}
    for line in driver("rows", **options).decode().splitlines():
        name, built, supported, *kernels = line.split()
        found[name] = built == "1", supported == "1", [f for f, k in zip(FORMATS, kernels, strict=True) if k == "1"]
    return found


def blob(array):
    return NO_BLOB if array is None else struct.pack("<q", array.nbytes) + array.tobytes()


def product(kind, threads, x, matrices, norm=None, eps=0.0):
    """A case of the driver. matrices: (format, codes (N, K), scale) each."""
    M, K = x.shape
    parts = [struct.pack("<5q", kind, threads, M, K, len(matrices)), blob(x), blob(norm), blob(np.float32([eps]))]
    for format, codes, scale in matrices:
        packed = pack(codes, format)
        parts += [struct.pack("<2q", FORMATS.index(format), len(codes)), blob(packed), blob(scale)]
    return b"".join(parts)


class Results:
    """What the driver wrote, read from front to back."""

    def __init__(self, given):
        self.given, self.at = given, 0

    def take(self, dtype, *shape):
        array = np.frombuffer(self.given, dtype, int(np.prod(shape)), self.at).reshape(shape)
        self.at += array.nbytes
        return array

    def ended(self):
        return self.at == len(self.given)


def products_of_every_shape(formats):
    """(threads, x, format, codes): all sizes of a tile, several tiles, N and K on both sides of panels and steps."""
    rng = np.random.default_rng(1)
    for format in formats:
        for M in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25):
            for N, K in ((1, 1), (3, 0), (0, 5), (31, 3), (33, 21), (70, 50)):
                yield 1 + M % 2, activations(rng, M, K), format, weights(rng, N, K, format)
        for M, N, K in ((1, 320, 331), (3, 97, 1000), (13, 130, 257)):  # panels enough for three threads
            yield 3, activations(rng, M, K), format, weights(rng, N, K, format)


def extreme_products(formats):
    """The same: every x and every weight at an end of its range, up to the largest K."""
    for format in formats:
        layout = reference.FORMATS[format]
        for K in (1, 2560, layout.K_max):
            for weight in {layout.lowest, -1, 0, 1, layout.highest}:
                for value in (-128, -127, 127):
                    for M in (1, 2) if layout.K_max == K else (1, 12):
                        yield 1, np.full((M, K), value, np.int8), format, np.full((1, K), weight, np.int8)


@pytest.mark.parametrize("cases_of", [products_of_every_shape, extreme_products])
def test_products_are_exact(driver, row, cases_of):
    name, formats = row
    cases = list(cases_of(formats))
    given = b"".join(product(MATMUL, threads, x, [(format, codes, None)]) for threads, x, format, codes in cases)

    results = Results(driver("run", name, given=given))

    for threads, x, format, codes in cases:
        assert results.take(np.int64, 2).tolist() == [0, -1]
        y = results.take(np.int32, len(x), len(codes))
        what = f"{format}, {threads} threads, M, K = {x.shape}, N = {len(codes)}"
        assert np.array_equal(y, x.astype(np.int64) @ codes.T.astype(np.int64)), what
        if x.size * len(codes) < 1000:
            assert np.array_equal(y, triple_loop(codes, x)), what
    assert results.ended()


def test_linear_layers_equal_the_reference(driver, row):
    name, formats = row
    rng = np.random.default_rng(2)
    cases = []
    for M, K in ((1, 1), (1, 333), (2, 64), (3, 70), (12, 47), (13, 100), (25, 333)):
        x = rng.standard_normal((M, K), dtype=np.float32) * np.float32(10.0) ** rng.integers(-3, 4, (M, 1)).astype("f4")
        for norm, eps in ((None, 0.0), (rng.standard_normal(K, dtype=np.float32), 1e-5)):
            matrices = []
            for number, format in enumerate((*formats, "2bit")):
                N = (5, 33, 64, 100)[number]
                scale = rng.random(N if number % 2 else 1, dtype=np.float32)
                matrices.append((format, weights(rng, N, K, format), scale))
            cases.append((1 + M % 3, x, matrices, norm, eps))

    results = Results(driver("run", name, given=b"".join(product(LINEAR, *case) for case in cases)))

    for _, x, matrices, norm, eps in cases:
        assert results.take(np.int64, 2).tolist() == [0, -1]
        held = [
            reference.Matrix(
                pack(codes, format), *codes.shape, format=format, scale=scale if scale.size > 1 else scale[0]
            )
            for format, codes, scale in matrices
        ]
        for expected in reference.linear(held, x, norm, eps):
            assert results.take(np.float32, *expected.shape).tobytes() == expected.tobytes()
    assert results.ended()


def test_a_token_that_is_not_finite_is_named(driver, row):
    name, formats = row
    x = np.ones((5, 40), np.float32)
    x[3, 7] = np.inf
    codes = np.ones((2, 40), np.int8)
    given = product(LINEAR, 1, x, [(formats[0], codes, np.ones(1, np.float32))])

    assert Results(driver("run", name, given=given)).take(np.int64, 2).tolist() == [2, 3]  # MATMUL_NOT_FINITE, token


def halves():
    """A token whose x * scale is rounded to n + 1/2, while the exact product is not: one rounding would see it."""
    scale = np.float32(127) / np.float32(3)
    near = (np.arange(-126, 126, dtype=np.float32) + np.float32(0.5)) / scale
    around = np.concatenate([near.view(np.int32) + step for step in range(-3, 4)]).astype(np.int32).view(np.float32)
    rounded, exact = around * scale, around.astype(np.float64) * np.float64(scale)
    found = around[(rounded % 1 == 0.5) & (rounded != exact)]
    assert found.size > 20
    return np.concatenate([found, np.float32([3])])


def test_activations_are_quantized_as_the_reference_does(driver):
    rng = np.random.default_rng(3)
    cases = [(halves(), None, 0.0), (np.zeros(20, np.float32), None, 0.0)]
    for K in (1, 15, 16, 17, 2560, 6912):
        x = rng.standard_normal(K, dtype=np.float32) * np.float32(3)
        cases += [(x, None, 0.0), (x, rng.standard_normal(K, dtype=np.float32), 1e-5)]
    given = b"".join(
        struct.pack("<q", QUANTIZE) + blob(x) + blob(norm) + blob(np.float32([eps])) for x, norm, eps in cases
    )

    results = Results(driver("run", "scalar", given=given))

    for x, norm, eps in cases:
        codes, scale = reference.quantize(x[None], norm, eps)
        assert np.array_equal(results.take(np.int8, x.size), codes[0]), x.size
        assert results.take(np.float32, 1).tobytes() == scale.tobytes(), x.size
        assert results.take(np.int32, 1)[0] == codes.sum(dtype=np.int64)
    assert results.ended()


def test_the_fp16_product_converts_every_number_exactly(driver):
    every = np.arange(65536, dtype=np.uint16)
    given = struct.pack("<3q", FP16, 2, 65536) + blob(every) + blob(np.ones(1, np.float32))

    results = Results(driver("run", "scalar", given=given))

    assert results.take(np.int64, 1)[0] == 1
    y = results.take(np.float32, 65536)
    assert np.array_equal(y, every.view(np.float16).astype(np.float32), equal_nan=True)
    assert results.ended()


def test_the_fp16_product_is_right_within_rounding(driver):
    rng = np.random.default_rng(4)
    cases = []
    for threads, N, K in ((1, 1, 16), (1, 3, 15), (2, 70, 333), (2, 9, 2560)):
        cases.append(
            (threads, rng.standard_normal((N, K)).astype(np.float16), rng.standard_normal(K, dtype=np.float32))
        )
    given = b"".join(struct.pack("<3q", FP16, threads, len(w)) + blob(w) + blob(x) for threads, w, x in cases)

    results = Results(driver("run", "scalar", given=given))

    for _, w, x in cases:
        assert results.take(np.int64, 1)[0] == 1
        y = results.take(np.float32, len(w))
        exact = w.astype(np.float64) @ x.astype(np.float64)
        bound = x.size * np.finfo(np.float32).eps * (np.abs(w).astype(np.float64) @ np.abs(x).astype(np.float64))
        assert (np.abs(y - exact) <= bound).all()
    assert results.ended()


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_read_whole(driver, threads):
    words = np.random.default_rng(5).integers(0, 2**64, 3 * 2**15 + 5, dtype=np.uint64)  # 256 KiB are 2^15 words

    found = Results(driver("run", "scalar", given=struct.pack("<2q", READ, threads) + blob(words))).take(np.uint64, 1)[
        0
    ]

    assert found == np.bitwise_xor.reduce(words[: 3 * 2**15])


def test_a_machine_without_the_dot_product_runs_scalar(driver):
    found = rows(driver, qemu=NO_DOTPROD)
    codes, x = np.array([[1, -1, 0]], np.int8), np.array([[5, 7, 9]], np.int8)

    results = Results(driver("run", "scalar", given=product(MATMUL, 1, x, [("2bit", codes, None)]), qemu=NO_DOTPROD))

    assert found["neon"][:2] == (True, False)  # built, not supported
    assert found["scalar"][:2] == (True, True)
    assert results.take(np.int64, 2).tolist() == [0, -1]
    assert results.take(np.int32, 1)[0] == 5 - 7


def test_the_rows_of_other_machines_are_there_and_not_built(driver):
    found = rows(driver)

    assert [name for name, (built, _, _) in found.items() if built] == ["scalar", "neon"]
    assert {name: supported for name, (_, supported, _) in found.items() if name.startswith("avx")} == {
        "avx2": False, "avx512": False, "avx512vbmi": False,
    }  # fmt: skip
