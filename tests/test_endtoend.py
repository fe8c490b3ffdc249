"""The end-to-end benchmark on a model small enough to be run in a test: all its parts fit together."""

import importlib.util
import json
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from transformers import BitNetConfig

from slmlab import catalog
from slmlab.bench import ReadLimit
from slmlab.endtoend import __main__ as endtoend
from slmlab.endtoend import contenders, gguf_file, greedy, llama_cpp, llama_process, model
from slmlab.endtoend.contenders import Turn
from slmlab.endtoend.report import report
from slmlab.ternary import accelerate

SIZES = {
    **{"vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True},
    **{"bos_token_id": None, "eos_token_id": None},
}
IN_TORCH = ["transformers bf16", "ours base3", "ours 2bit", "autobitlinear", "bitlinear"]
LIMIT = ReadLimit(1e10, 1, 2**30, 2**20)
IDS = {"equal": 64, "blocks_equal": 64, "noise_equal": 64, "lead": 0.0, "head_rms": 0.01, "head_equal": 64}
AT_TORCH_S_COMPILER = "ignore:`torch.jit.script_method`:DeprecationWarning"
needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="gguf is not installed")

PROCESS = """
import json, sys
print(json.dumps({"version": "a fake", "system": "CPU : AVX2 = 1 | AVX512 = 0 | REPACK = 1 | "}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({
        "token_ms": [40.0, 30.0, 50.0] * (asked["new_tokens"] // 3), "prompt_ms": 2000.0,
        "prompt_tokens": len(asked["prompt"]) - LOST, "cached_tokens": 0,
    }), flush=True)
"""


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(model, "config", lambda: BitNetConfig(**SIZES))
    with torch.compiler.set_stance("force_eager"):  # there may be no compiler
        yield


@pytest.fixture
def fake_process(monkeypatch, tmp_path):
    """In llama.cpp's place, a process that answers 40 ms a token and 64 prompt tokens a second."""

    def start(lost: int = 0) -> None:
        script = tmp_path / "process.py"
        script.write_text(PROCESS.replace("LOST", str(lost)), encoding="utf-8")
        monkeypatch.setattr(llama_cpp, "COMMAND", (sys.executable, str(script)))
        monkeypatch.setattr(llama_cpp, "PACKAGES", ())

    return start


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(llama_cpp.tempfile, "tempdir", str(folder))
    return folder


def last_json(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


# ------------------------------------------------------------------------------------------------------------------
# The model


def test_the_shape_is_the_published_one():
    config = model.config()
    blocks = config.num_hidden_layers * sum(
        N * K
        for N, K in [
            *[(2560, 2560)] * 2,  # q, o
            *[(640, 2560)] * 2,  # k, v
            *[(6912, 2560)] * 3,  # gate, up, down
        ]
    )

    assert (config.hidden_size, config.intermediate_size, config.num_key_value_heads) == (2560, 6912, 5)
    assert config.hidden_size // config.num_attention_heads * config.num_key_value_heads == 640
    assert blocks == 2_084_044_800  # the published count of ternary weights
    assert config.rope_parameters["rope_theta"] == 500_000
    assert catalog.get(model.MODEL).config["vocab_size"] == config.vocab_size


@pytest.mark.filterwarnings(AT_TORCH_S_COMPILER)
def test_every_way_of_running_the_model_computes_the_same(tiny):
    ids = torch.arange(7)[None]
    with torch.no_grad():
        dense, *others = [model.shipped(kind).float()(ids).logits for kind in ("bf16", "autobitlinear", "bitlinear")]
        ours = accelerate(model.stored())(ids).logits

    for logits in (*others, ours):  # but for the rounding of activations, and of the head
        assert (logits - dense).std() < 0.1 * dense.std()


# ------------------------------------------------------------------------------------------------------------------
# The race and the report


@dataclass
class Fake:
    name: str
    order: list
    slow: bool = False
    times_ms: list = field(default_factory=lambda: [1.0] * 9)

    def turn(self) -> Turn:
        self.order.append(self.name)
        return Turn(self.times_ms.pop(0), 10.0)


def test_each_repetition_begins_with_the_next_contender_and_a_slow_one_has_one_turn(monkeypatch):
    order, limits = [], []
    monkeypatch.setattr(endtoend.bench, "read_limit", lambda: LIMIT)

    turns = endtoend.race([Fake("a", order), Fake("b", order, slow=True), Fake("c", order)], 3, limits)

    assert order == ["a", "b", "c", "c", "a", "c", "a"]
    assert {name: len(its) for name, its in turns.items()} == {"a": 3, "b": 1, "c": 3}
    assert limits == [LIMIT] * 3


def test_a_ratio_to_llama_cpp_is_to_its_faster_process_repetition_by_repetition(capsys):
    turns = {
        "transformers bf16": [Turn(400.0, 40.0), Turn(200.0, 40.0), Turn(100.0, 40.0)],
        "ours base3": [Turn(20.0, 120.0, 16.0), Turn(25.0, 80.0, 20.0), Turn(50.0, 40.0, 40.0)],
        "bitlinear": [Turn(10_000.0, 10.0)],
        "llama.cpp TQ2_0, 2 threads": [Turn(40.0, 40.0), Turn(500.0, 40.0), Turn(50.0, 40.0)],
        "llama.cpp TQ2_0, 1 thread": [Turn(60.0, 20.0), Turn(50.0, 20.0), Turn(80.0, 20.0)],
    }
    memory = {"llama.cpp TQ2_0, 1 thread": {"rss_bytes": 900_000_000, "anonymous_bytes": None}}

    report(turns, [LIMIT], IDS, memory, {"version": "1.2", "features": ["AVX2"], "idle_shares": [0.001, None]})

    out = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(out.splitlines()[-1])["rows"]}
    assert rows["ours base3"]["peer_ratios"] == [40 / 20, 50 / 25, 50 / 50]
    assert rows["ours base3"]["peer_ratio"] == [1.5, 2.0, 2.0]
    assert rows["ours base3"]["decode_ratio"] == [5.0, 8.0, 14.0]  # of 2, 8 and 20
    assert rows["ours base3"]["above_kernels"] == [0.25] * 3
    assert rows["bitlinear"]["peer_ratios"] == [40 / 10_000]
    assert rows["llama.cpp TQ2_0, 2 threads"]["peer_ratios"] == [1.0, 0.1, 1.0]
    assert rows["llama.cpp TQ2_0, 1 thread"]["prompt_ratio"] == [0.5] * 3
    assert "ours base3 decodes 2.00 (1.50 to 2.00) times as fast as llama.cpp TQ2_0, wanted 1.4: 2.00 2.00 1.00" in out
    assert "llama.cpp TQ2_0: xllamacpp 1.2 (AVX2); 0.10%, unknown of a core between its turns" in out
    assert next(line for line in out.splitlines() if "1 thread" in line).endswith("900 MB (858 MiB)")


def test_without_llama_cpp_the_table_has_no_column_of_it(capsys):
    report({"transformers bf16": [Turn(400.0, 40.0)], "ours base3": [Turn(20.0, 120.0, 16.0)]}, [LIMIT], IDS, {}, None)

    out = capsys.readouterr().out
    assert "llama.cpp" not in out
    assert [row["peer_ratio"] for row in json.loads(out.splitlines()[-1])["rows"]] == [None, None]


@pytest.mark.filterwarnings(AT_TORCH_S_COMPILER)
@needs_gguf
def test_the_run_ends_in_json(tiny, fake_process, temporary, monkeypatch, capsys):
    monkeypatch.setattr(endtoend.bench, "read_limit", lambda: LIMIT)
    monkeypatch.setattr(contenders, "resident_alone", lambda name: contenders.resident(name.split()[1]))
    fake_process()
    monkeypatch.setattr(llama_cpp.bench, "machine", lambda: type("Machine", (), {"threads": 2}))

    assert endtoend.main(["--repetitions", "2"]) == 0

    line = last_json(capsys)
    names = [row["name"] for row in line["rows"]]
    assert names == [*IN_TORCH, "llama.cpp TQ2_0, 2 threads", "llama.cpp TQ2_0, 1 thread"]
    assert line["read_limit_bytes_per_s"] == [1e10] * 3
    assert line["greedy"]["equal"] == greedy.GREEDY_TOKENS
    assert all(row["decode_ms"][1] > 0 and row["prompt_tok_per_s"][1] > 0 for row in line["rows"])
    assert line["rows"][0]["decode_ratio"] == [1, 1, 1]
    assert line["rows"][1]["memory"]["rss_bytes"] > 0
    assert [len(row["peer_ratios"]) for row in line["rows"]] == [2, 2, 2, 2, 1, 2, 2]
    assert line["peer"]["version"] == "a fake" and len(line["peer"]["idle_shares"]) == 2
    assert line["peer"]["features"] == ["AVX2", "REPACK"]
    assert line["rows"][-1]["memory"]["rss_bytes"] > 0
    assert list(temporary.iterdir()) == []


def test_what_does_not_fit_into_the_memory_is_left_out(tiny, monkeypatch, capsys):
    free = type("Memory", (), {"available": 4_100_000_000})
    monkeypatch.setattr(contenders.psutil, "virtual_memory", lambda: free)

    names = [contender.name for contender in contenders.in_torch()]

    assert "transformers bf16" not in names and "ours base3" in names
    assert "transformers bf16: left out" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------------
# The GGUF


@needs_gguf
def test_the_gguf_holds_the_codes_of_the_model(tiny, tmp_path):
    from gguf import GGUFReader, quants

    its = model.stored()
    gguf_file.write(tmp_path / "model.gguf", its)

    tensors = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    assert len(tensors) == 2 + 2 * (7 + 4)
    for name, layer in (
        ("blk.0.attn_k", its.model.layers[0].self_attn.k_proj),
        ("blk.1.attn_output", its.model.layers[1].self_attn.o_proj),
        ("blk.1.ffn_down", its.model.layers[1].mlp.down_proj),
    ):
        tensor = tensors[f"{name}.weight"]
        fields = layer.weight.numpy()  # four rows a byte, the first lowest
        rows = np.concatenate([fields & 3, fields >> 2 & 3, fields >> 4 & 3, fields >> 6]).astype(np.int8) - 1
        assert tensor.tensor_type.name == "TQ2_0"
        assert np.array_equal(quants.dequantize(tensor.data, tensor.tensor_type), rows * np.float32(2**-6))
    embedding = tensors["token_embd.weight"]
    values = quants.dequantize(embedding.data, embedding.tensor_type)
    assert (embedding.tensor_type.name, values.shape) == ("Q6_K", (1000, 256))
    assert 0.019 < values.std() < 0.021
    assert "output.weight" not in tensors
    assert all(np.array_equal(t.data, np.ones(t.shape)) for t in tensors.values() if "norm" in t.name)


@needs_gguf
def test_the_gguf_is_no_larger_than_announced(tiny, tmp_path):
    gguf_file.write(tmp_path / "model.gguf", model.stored())

    size = (tmp_path / "model.gguf").stat().st_size
    assert size <= gguf_file.file_bytes(model.config()) < size + 1_100_000


def test_the_gguf_of_the_published_shape_takes_0_8_gb():
    ternary, head = 2_084_044_800 // 256 * 66, 128_256 * 2560 // 256 * 210

    assert ternary + head < gguf_file.file_bytes(model.config()) < 1.02 * (ternary + head)


@needs_gguf
def test_a_gguf_that_cannot_be_written_leaves_what_was_there(monkeypatch, tmp_path):
    monkeypatch.setattr(model, "config", lambda: BitNetConfig(**SIZES | {"hidden_size": 64}))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"an earlier one")

    with pytest.raises(ValueError, match="token_embd has 64 columns, wanted a multiple of 256"):
        gguf_file.write(file, model.stored())

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an earlier one"]


# ------------------------------------------------------------------------------------------------------------------
# llama.cpp


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_llama_cpp_runs_the_gguf(tiny, temporary, monkeypatch):
    monkeypatch.setattr(llama_cpp.bench, "machine", lambda: type("Machine", (), {"threads": 2}))
    with llama_cpp.llama_cpp() as peers:
        turns = [peer.turn() for peer in (*peers, *peers)]
        memory = peers[0].memory()

        assert [peer.name for peer in peers] == ["llama.cpp TQ2_0, 2 threads", "llama.cpp TQ2_0, 1 thread"]
        assert all(turn.decode_ms > 0 and turn.prompt_tok_per_s > 0 and turn.kernels_ms is None for turn in turns)
        assert all(peer.version[0].isdigit() and peer.features and peer.idle_share() >= 0 for peer in peers)
        assert memory["rss_bytes"] > 10_000_000
        assert len(list(temporary.rglob("*.gguf"))) == 1

    assert list(temporary.iterdir()) == []


def test_a_turn_of_llama_cpp_is_the_median_of_its_own_times(fake_process, tmp_path):
    fake_process()

    with llama_cpp.LlamaCpp(tmp_path / "model.gguf", 1) as peer:
        assert peer.turn() == Turn(40.0, 64.0)  # 128 tokens in 2 s
        assert peer.idle_share() is None
        peer.turn()
        assert peer.idle_share() >= 0


def test_a_prompt_that_llama_cpp_did_not_compute_whole_is_refused(fake_process, tmp_path):
    fake_process(lost=1)

    with (
        llama_cpp.LlamaCpp(tmp_path / "model.gguf", 1) as peer,
        pytest.raises(llama_cpp.PeerError, match="7 tokens of a prompt of 8"),
    ):
        peer.turn()


@pytest.mark.parametrize(
    "end", ["raise SystemExit('out of memory')", "for line in sys.stdin: sys.exit('out of memory')"]
)
def test_a_process_that_ends_in_its_turn_says_why(end, fake_process, tmp_path):
    fake_process()
    start = "import json, sys; print(json.dumps({'version': '', 'system': ''}), flush=True)\n"
    (tmp_path / "process.py").write_text(start + end, encoding="utf-8")

    wanted = "ended with 1, and said last: out of memory"
    with llama_cpp.LlamaCpp(tmp_path / "model.gguf", 1) as peer, pytest.raises(llama_cpp.PeerError, match=wanted):
        peer.turn()


def test_a_process_that_does_not_start_says_why(tiny, fake_process, temporary, monkeypatch, tmp_path, capsys):
    fake_process()
    (tmp_path / "process.py").write_text("raise SystemExit('this processor lacks AVX2')", encoding="utf-8")

    with llama_cpp.llama_cpp() as peers:
        assert peers == []

    wanted = "llama.cpp TQ2_0: left out, llama.cpp's process ended with 1, and said last: this processor lacks AVX2"
    assert capsys.readouterr().out.splitlines()[-1] == wanted
    assert list(temporary.iterdir()) == []


def test_what_is_not_installed_is_left_out_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(llama_cpp, "PACKAGES", ("there-is-no-such-package",))

    with llama_cpp.llama_cpp() as peers:
        assert peers == []

    wanted = "there-is-no-such-package not installed (pip install there-is-no-such-package)"
    assert capsys.readouterr().out == f"llama.cpp TQ2_0: left out, {wanted}\n"


def test_a_full_disk_is_noticed_before_anything_is_written(tiny, temporary, monkeypatch, capsys):
    monkeypatch.setattr(llama_cpp, "PACKAGES", ())
    monkeypatch.setattr(llama_cpp.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1_000_000}))

    with llama_cpp.llama_cpp() as peers:
        assert peers == []

    out = capsys.readouterr().out
    assert f"and {temporary} has 1.00 MB" in out and out.endswith("free: set TMPDIR to another folder\n")
    assert list(temporary.iterdir()) == []


class FakeServer:
    """Streams times as llama.cpp's server does: cumulated, and the last once more when it ends."""

    def __init__(self, ms: list[float]):
        self.ms, self.request = ms, None

    def handle_completions(self, request, callback):
        self.request = request
        for n, ms in enumerate([*self.ms, self.ms[-1]], 1):
            callback({"timings": self.timings(min(n, len(self.ms)), ms)})

    def timings(self, n: int, ms: float) -> dict:
        return {"predicted_n": n, "predicted_ms": ms, "prompt_ms": 90.0, "prompt_n": 3, "cache_n": 0}


def test_the_times_of_single_tokens_come_from_the_server():
    server = FakeServer([0.5, 40.5, 80.5, 130.5])

    answer = llama_process._answer(server, prompt=[5, 6, 7], new_tokens=4)

    assert answer == {"token_ms": [40.0, 40.0, 50.0], "prompt_ms": 90.0, "prompt_tokens": 3, "cached_tokens": 0}
    assert server.request["prompt"] == [5, 6, 7] and server.request["ignore_eos"] is True
    assert (server.request["temperature"], server.request["cache_prompt"]) == (0, False)


def test_a_text_that_ended_early_is_refused():
    with pytest.raises(RuntimeError, match=r"\[1, 2\] came, wanted 1 to 3"):
        llama_process._answer(FakeServer([0.5, 40.5]), prompt=[5], new_tokens=3)
