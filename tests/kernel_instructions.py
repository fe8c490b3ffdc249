"""Instructions that each kernel takes for 1000 weights: counted anew, and the table they are compared with.

    python tests/kernel_instructions.py        counts on this machine and writes cython_kernels/instructions.csv

What is counted is one panel of 32 rows and 2560 columns, for 1 token and for 12. "frame" is what comes before: an
RMSNorm, quantizing and laying out, for 1000 activations. callgrind counts where valgrind knows the instructions; the
AVX-512 kernels are stepped through one instruction at a time (ptrace), which gives the same number (a test compares).
Linux on x86-64 alone. The counts belong to a compiler: the table names it.
"""

import csv
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kernel_build import ROOT, extension

TABLE = Path(__file__).resolve().parent.parent / "cython_kernels" / "instructions.csv"
ROWS, K = 32, 2560  # as in instructions_driver.c
TOKENS = (1, 12)


@dataclass(frozen=True)
class Row:
    backend: str
    format: str
    tokens: int
    instructions_per_1000: float
    """Of a kernel: for 1000 weights, all tokens together. Of the frame: for 1000 activations."""
    counted_by: str
    compiler: str


def read() -> list[Row]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Row(**line | {"tokens": int(line["tokens"]), "instructions_per_1000": float(line["instructions_per_1000"])})
            for line in csv.DictReader(file)
        ]


def write(rows: list[Row]) -> None:
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(map(asdict, rows))


def compiler() -> str:
    """gcc and its major version: what the counts depend on."""
    return f"gcc {_run('gcc', '-dumpversion').stdout.strip().split('.')[0]}"


def build(folder: Path) -> Path:
    """The driver in `folder`, from the sources and by the flags of setup.py."""
    kernels = extension()
    driver = folder / "driver"
    sources = [ROOT / source for source in kernels.sources if source.endswith(".c")]
    includes = [f"-I{ROOT / directory}" for directory in kernels.include_dirs]
    flags = [*kernels.extra_compile_args, "-fPIC", *includes]
    _run("gcc", *flags, ROOT / "tests" / "instructions_driver.c", *sources, "-lm", "-pthread", "-o", driver)
    return driver


def kernels(driver: Path) -> Iterator[tuple[str, str]]:
    """(backend, format) of everything that is counted."""
    yield "frame", "float32"
    for line in _run(driver).stdout.splitlines():
        backend, format = line.split()
        yield backend, format


def way(backend: str) -> str:
    return "single steps" if backend.startswith("avx512") else "callgrind"


def count(driver: Path, backend: str, format: str, tokens: int, counted_by: str) -> float | None:
    """Instructions for 1000 weights (or activations); None where this machine cannot run the kernel."""
    case = (backend, format, str(tokens))
    if counted_by == "callgrind":
        options = ("--tool=callgrind", "--toggle-collect=counted", "--callgrind-out-file=/dev/null")
        done = _run("valgrind", *options, driver, "run", *case, allowed=(0, 2))
        found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    else:
        done = _run(driver, "step", *case, allowed=(0, 2))
        found = re.search(r"(\d+)", done.stdout)
    if done.returncode == 2:
        return None
    if found is None:
        raise RuntimeError(f"no count of {case} in what {counted_by} said:\n{done.stdout}{done.stderr}")
    return int(found[1]) * 1000 / (K * tokens if backend == "frame" else K * ROWS)


def _run(*command, allowed=(0,)) -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", errors="replace", timeout=120)
    if done.returncode not in allowed:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def main() -> None:
    if shutil.which("gcc") is None or shutil.which("valgrind") is None:
        raise SystemExit("gcc or valgrind is missing: apt install gcc valgrind")
    before = (
        {(row.backend, row.format, row.tokens): row.instructions_per_1000 for row in read()} if TABLE.exists() else {}
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        driver = build(Path(folder))
        for backend, format in kernels(driver):
            for tokens in TOKENS:
                found = count(driver, backend, format, tokens, way(backend))
                if found is None:
                    raise SystemExit(f"this machine cannot run {backend}: renew the table on one that can run all")
                row = Row(backend, format, tokens, round(found, 1), way(backend), compiler())
                rows.append(row)
                old = before.get((backend, format, tokens))
                print(f"{backend:11} {format:8} {tokens:3} {old or '-':>10} -> {row.instructions_per_1000:10}")
    write(rows)


if __name__ == "__main__":
    main()
