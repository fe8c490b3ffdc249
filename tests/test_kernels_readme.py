"""What cython_kernels/README.md says in numbers, against the code and the tables that stand beside it."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import cython_kernels
from cython_kernels import FORMATS, layouts, pack, packed_bytes

FOLDER = Path(cython_kernels.__file__).resolve().parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def cells(line):
    return [cell.strip(" `") for cell in line.strip("|").split("|")]


def test_the_example_by_hand_is_what_pack_gives():
    drawn = re.findall(r"^(\d) +\d(?: and 4)? .*?(0x..) .*?(0x..) .*?(0x..)$", README, re.MULTILINE)
    row = np.array([[1, -1, 0, 1, -1]], np.int8)

    assert [int(byte) for byte, *_ in drawn] == [0, 1, 2, 3]
    for format, column in (("2bit", 1), ("base3", 2), ("int8", 3)):
        assert [int(line[column], 16) for line in drawn] == pack(row, format)[:4].tolist()


def test_padding_has_the_bytes_that_are_named():
    padding = re.search(r"an unused byte is `(0x..)` \(2bit\), `(0x..)` \(base3\) or `(0x..)` \(int8\)", README)

    for format, byte in zip(("2bit", "base3", "int8"), padding.groups(), strict=True):
        assert pack(np.zeros((1, 1), np.int8), format)[-1] == int(byte, 16)


@pytest.mark.parametrize("format", FORMATS)
def test_the_table_of_formats(format):
    line = re.search(rf"^\| `{format}` \|.*$", README, re.MULTILINE).group()
    _, _, columns, bits, largest = cells(line)

    assert FORMATS[format].step_columns == int(columns)
    assert FORMATS[format].K_max == 2 ** int(largest.removeprefix("2^"))
    assert packed_bytes(32, 80, format) * 8 == 32 * 80 * float(bits)


def test_the_ladder_has_the_counted_instructions():
    lines = re.findall(r"^\| `\w+` \| \w+ \| [\d.]+ \| [\d.]+ \|.*$", README, re.MULTILINE)
    with (FOLDER / "instructions.csv").open(encoding="utf-8", newline="") as file:
        counted = {(r["backend"], r["format"], r["tokens"]): r["instructions_per_1000"] for r in csv.DictReader(file)}

    assert len(lines) == 4
    for rung, format, one, twelve, _ in map(cells, lines):
        assert (one, twelve) == (counted[rung, format, "1"], counted[rung, format, "12"])


def test_the_conversions_exist():
    named = re.findall(r"`((?:hf|tq1_0|tq2_0|i2_s)_\w+|tq1_0_…|tq2_0_…|i2_s_…)`", README)

    assert len(named) == 7
    for name in named:
        for function in (name,) if "…" not in name else (name.replace("…", "pack"), name.replace("…", "unpack")):
            assert callable(getattr(layouts, function))


def test_files_that_are_named_exist():
    named = set(re.findall(r"\bc/[a-z0-9_]+\.[ch]\b", README))

    assert len(named) > 8
    for name in named:
        assert (FOLDER / name).is_file()
