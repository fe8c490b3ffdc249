"""Per-layer embeddings: counts against printed ones, pages against loops, logits against the model's own table."""

import copy
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from slmlab import catalog, ple
from slmlab.minis import recipes, storing, tokenizer
from slmlab.ple import LEFT_OUT, Choice, Stored, table

E2B, E4B = catalog.get("Gemma 3n E2B"), catalog.get("Gemma 3n E4B")
ROOT = Path(ple.__file__).parents[2]
TELLS = pytest.mark.skipif(ple.limits() != [], reason="; ".join(ple.limits()))


@pytest.fixture(scope="module")
def mini():
    """An untrained mini-gemma3n with the values that bfloat16 keeps.

    A new Gemma 3n does not hear its table: what is multiplied by a row comes from a product with
    correct_output_scale, which begins as zeros.
    """
    model = recipes.new_model(recipes.recipe("mini-gemma3n"))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.altup.correct_output_scale.fill_(1.0)
    return storing.rounded(model).eval()


@pytest.fixture(scope="module")
def weight(mini):
    return mini.model.embed_tokens_per_layer.weight.detach().bfloat16().clone()


@pytest.fixture
def stored(weight, tmp_path) -> Stored:
    return ple.store(weight, tmp_path / "table.safetensors", copies=16)


# ------------------------------------------------------------------------------------------------------------------
# ledgers


def test_components_are_the_printed_counts_and_add_up_to_the_checkpoint():
    assert list(ple.components(E2B)) == list(ple.COMPONENTS)
    # 1.91 B and 3.98 B are Google's own effective counts; the tables by hand; the checkpoint's total is published
    for model, total, effective, layers in ((E2B, 5_439_595_456, 1.91e9, 30), (E4B, 7_850_135_376, 3.98e9, 35)):
        parts = ple.components(model)
        assert sum(parts.values()) == total
        assert parts["decoder"] == pytest.approx(effective, rel=0.003)
        assert parts["per-layer table"] == 262_144 * layers * 256
        assert parts["token embedding"] == 262_400 * 2048
    assert ple.components(E2B)["encoders"] == ple.components(E4B)["encoders"]


def test_a_token_reads_a_row_of_the_table_and_all_of_the_head():
    reads = ple.reads(E2B)
    assert reads["per-layer table"] == 30 * 256
    assert reads["token embedding"] == 262_400 * 2048
    # ten layers store keys' and values' projections, 2048 x 2 heads of 256 each, that nothing reads
    assert ple.components(E2B)["decoder"] - reads["decoder"] == 10 * 2 * 2048 * 512
    assert reads["encoders"] == 0


def test_placed_rows_are_the_catalogs_with_places_of_their_own():
    choices = {
        "decoder": Choice("accelerator", 4),
        "token embedding": Choice("accelerator", 16),
        "per-layer table": Choice("disk", 8),
        "encoders": Choice(LEFT_OUT),
    }
    ledger = ple.placed(E2B, choices, tokens=1000, kv_bits=8)

    parts = ple.components(E2B)
    cache = catalog.kv_cache_bytes(E2B, 1000, 8)
    layers = catalog.parameters(E2B, 4).select("decoder").bytes
    assert ledger.select("accelerator").bytes == layers + 2 * parts["token embedding"] + cache
    assert ledger.select("disk").bytes == parts["per-layer table"]
    assert ledger.count == 5_439_595_456 - parts["encoders"] + cache
    assert all(row.place in ("accelerator", "disk") for row in ledger.rows)


def test_everything_at_16_bits_in_one_place_is_the_whole_checkpoint():
    ledger = ple.placed(E4B, dict.fromkeys(ple.COMPONENTS, Choice("RAM")))
    assert ledger.bytes == 2 * 7_850_135_376


def test_a_cache_goes_where_the_decoder_goes():
    choices = dict.fromkeys(ple.COMPONENTS, Choice("RAM")) | {"decoder": Choice("disk")}
    assert [row.place for row in ple.placed(E2B, choices, 10).rows if row.what == "KV cache"] == ["disk"]
    choices["decoder"] = Choice(LEFT_OUT)
    assert not [row for row in ple.placed(E2B, choices, 10).rows if row.what == "KV cache"]


def test_what_cannot_be_placed_is_refused():
    with pytest.raises(catalog.CatalogError, match="Qwen3-8B has no per-layer embeddings; these have: Gemma 3n E2B"):
        ple.components(catalog.get("Qwen3-8B"))
    with pytest.raises(ValueError, match="no choice for encoders"):
        ple.placed(E2B, dict.fromkeys(ple.COMPONENTS[:3], Choice()))
    with pytest.raises(ValueError, match="place is 'GPU', wanted one of accelerator, RAM, disk, left out"):
        Choice("GPU")


# ------------------------------------------------------------------------------------------------------------------
# pages


@pytest.mark.parametrize("row_bytes", [1, 384, 4096, 5000, 15_360])
@pytest.mark.parametrize("start", [0, 152, 4095])
def test_pages_are_those_that_hold_a_byte_of_a_row(row_bytes, start):
    rows = np.random.default_rng(row_bytes).integers(0, 50, 12)

    wanted = sorted({(start + row * row_bytes + byte) // 4096 for row in rows.tolist() for byte in range(row_bytes)})
    found = ple.pages(rows, row_bytes, start, 4096)
    assert found.tolist() == wanted and found.dtype == np.int64


def test_no_rows_lie_on_no_pages():
    assert ple.pages(np.empty(0, np.int64), 384, 0, 4096).tolist() == []


def skip_in_memory(file: Path) -> None:
    """Skip the test where the folder for temporary files is itself in memory."""
    mounted = {Path(disk.mountpoint): disk.fstype for disk in psutil.disk_partitions(all=True)}
    if mounted[next(folder for folder in file.resolve().parents if folder in mounted)] in ("tmpfs", "ramfs"):
        pytest.skip(f"{file.parent} is in memory: nothing there can be dropped")


@TELLS
def test_resident_pages_are_those_that_were_read(tmp_path):
    file = tmp_path / "zeros"
    file.write_bytes(bytes(100 * mmap.PAGESIZE + 1))
    assert ple.resident_pages(file).tolist() == [True] * 101  # just written
    assert ple.resident_bytes(file) == 101 * mmap.PAGESIZE
    skip_in_memory(file)
    assert ple.drop(file) and ple.resident_bytes(file) == 0

    with file.open("rb", buffering=0) as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(opened.fileno(), 1, 7 * mmap.PAGESIZE)

    assert np.flatnonzero(ple.resident_pages(file)).tolist() == [7]


def test_read_ahead_is_a_number_of_pages_or_unknown(tmp_path):
    ahead = ple.read_ahead_bytes(tmp_path)
    assert ahead is None or (ahead >= 0 and ahead % 1024 == 0)


# ------------------------------------------------------------------------------------------------------------------
# tables in files


def test_a_stored_table_is_a_safetensors_file_with_every_row_so_many_times(stored, weight):
    with safe_open(stored.path, "pt") as file:
        there = file.get_tensor(table.TENSOR)
    assert torch.equal(there, torch.stack([row for row in weight for _ in range(16)]))
    assert (stored.rows, stored.width, stored.dtype, stored.copies) == (2048 * 16, 192, "BF16", 16)
    assert stored.row_bytes == 384 and stored.bytes == 2048 * 16 * 384
    assert stored.path.stat().st_size == stored.start + stored.bytes


def test_a_table_is_found_in_a_file_that_somebody_else_wrote(tmp_path):
    rows = torch.arange(12, dtype=torch.float32).reshape(4, 3)
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(5), f"model.language_model.{table.TENSOR}": rows}, file)

    stored = ple.open_stored(file)

    assert (stored.rows, stored.width, stored.dtype, stored.copies) == (4, 3, "F32", 1)
    for source in (ple.Held(stored), ple.Mapped(stored)):
        assert source.read(torch.tensor([2, 0])).tolist() == [[6, 7, 8], [0, 1, 2]]
    with pytest.raises(LookupError, match="0 tensors called b, wanted one; it has"):
        ple.open_stored(file, "b")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_what_is_read_is_what_was_stored_bit_for_bit(tmp_path, dtype):
    weight = torch.randn(40, 24, generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = ple.store(weight, tmp_path / "t.safetensors", copies=3)
    rows = torch.tensor([0, 3, 117, 3])
    for source in (ple.Held(stored), ple.Mapped(stored), ple.Mapped(stored, read_ahead=True)):
        assert torch.equal(source.read(rows), weight[rows // 3])


def test_what_cannot_be_stored_or_read_is_refused(tmp_path, stored):
    with pytest.raises(ValueError, match="wanted a matrix in BF16, F16, F32"):
        ple.store(torch.zeros(3, 4, dtype=torch.int8), tmp_path / "t")
    with pytest.raises(ValueError, match="copies is 0"):
        ple.store(torch.zeros(3, 4), tmp_path / "t", copies=0)
    with stored.path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(EOFError, match="ends after 5000 bytes"):
        ple.Held(stored)


# ------------------------------------------------------------------------------------------------------------------
# in a model

PROMPT = "What is the capital of Japan?"


def prompt_ids() -> torch.Tensor:
    words = tokenizer.load("gemma")
    return torch.tensor([words.encode(PROMPT), words.encode(PROMPT)[::-1]])  # (2, T)


@pytest.mark.parametrize("make", ["held", "mapped", "read ahead"])
def test_logits_and_generation_are_the_same_bits_wherever_the_table_lies(mini, stored, make):
    model, ids = copy.deepcopy(mini), prompt_ids()
    with torch.inference_mode():
        logits = model(ids).logits
        spoken = model.generate(ids[:1], attention_mask=torch.ones_like(ids[:1]), max_new_tokens=8)
    source = ple.Held(stored) if make == "held" else ple.Mapped(stored, read_ahead=make == "read ahead")

    placed = ple.place(model, source)

    with torch.inference_mode():
        assert torch.equal(model(ids).logits, logits)
        assert placed.last_rows.tolist() == sorted({16 * id for id in ids.flatten().tolist()})
        again = model.generate(ids[:1], attention_mask=torch.ones_like(ids[:1]), max_new_tokens=8)
    assert torch.equal(again, spoken)
    assert placed.last_rows.size == 1  # the last token alone


def test_another_table_takes_the_place_of_a_placed_one(mini, stored, weight, tmp_path):
    model, ids = copy.deepcopy(mini), prompt_ids()
    ple.place(model, ple.Held(stored))
    zeros = ple.store(torch.zeros_like(weight), tmp_path / "zeros.safetensors")
    with torch.inference_mode():
        logits = model(ids).logits
        ple.place(model, ple.Mapped(zeros))
        assert not torch.equal(model(ids).logits, logits)
        ple.place(model, ple.Mapped(stored))
        assert torch.equal(model(ids).logits, logits)


def test_a_table_of_another_shape_and_a_model_without_one_are_refused(mini, weight, tmp_path):
    half = ple.store(weight[:1024], tmp_path / "half.safetensors", copies=2)
    with pytest.raises(ValueError, match="2048 rows of 192 numbers, each 2 times over; the model wants 2048 of 192"):
        ple.place(mini, ple.Held(half))
    with pytest.raises(LookupError, match="Linear has 0 modules embed_tokens_per_layer"):
        ple.place(torch.nn.Linear(2, 2), ple.Held(half))


PLACES = """
import sys
from pathlib import Path
import torch
from slmlab import bench, ple

stored = ple.open_stored(Path(sys.argv[1]))
ple.Mapped(stored).read(torch.arange(8))  # what a first read brings along is not the table's
before = bench.memory().anonymous_bytes
mapped = ple.Mapped(stored)
for row in range(0, stored.rows, 8):
    mapped.read(torch.arange(row, row + 8))
with_mapped = bench.memory().anonymous_bytes
held = ple.Held(stored)
print(bench.memory().anonymous_bytes - with_mapped, with_mapped - before)
"""


@TELLS
def test_a_held_table_is_anonymous_memory_and_a_mapped_one_is_not(weight, tmp_path):
    stored = ple.store(weight, tmp_path / "t.safetensors", copies=64)  # 50 MB
    # A program of its own: here malloc may take the table from what earlier tests have freed.
    printed = subprocess.run(
        [sys.executable, "-c", PLACES, stored.path], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    held, mapped = map(int, printed.stdout.split())
    assert held == pytest.approx(stored.bytes, rel=0.05)
    assert mapped < 0.2 * stored.bytes


@TELLS
def test_without_reading_ahead_only_the_rows_own_pages_come_in(stored):
    skip_in_memory(stored.path)
    source = ple.Mapped(stored)
    assert source.drop() and ple.resident_bytes(stored.path) == 0
    rows = torch.tensor([5, 700, 9000, 9001, 30_000])

    source.read(rows)

    assert np.flatnonzero(ple.resident_pages(stored.path)).tolist() == stored.pages(rows.numpy()).tolist()
    source.close()
