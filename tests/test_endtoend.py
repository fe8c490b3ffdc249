"""The end-to-end benchmark on a model small enough to be run in a test: all its parts fit together."""

import json

import pytest
import torch
from transformers import BitNetConfig

from slmlab import catalog, endtoend
from slmlab.bench import ReadLimit
from slmlab.ternary import accelerate

SIZES = {
    **{"vocab_size": 1000, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True},
    **{"bos_token_id": None, "eos_token_id": None},
}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(endtoend, "config", lambda: BitNetConfig(**SIZES))
    with torch.compiler.set_stance("force_eager"):  # there may be no compiler
        yield


def test_the_shape_is_the_published_one():
    config = endtoend.config()
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
    assert catalog.get(endtoend.MODEL).config["vocab_size"] == config.vocab_size


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # torch's own, at its compiler
def test_every_way_of_running_the_model_computes_the_same(tiny):
    ids = torch.arange(7)[None]
    with torch.no_grad():
        dense, *others = [endtoend.shipped(kind).float()(ids).logits for kind in ("bf16", "autobitlinear", "bitlinear")]
        ours = accelerate(endtoend.stored())(ids).logits

    for logits in (*others, ours):  # but for the rounding of activations, and of the head
        assert (logits - dense).std() < 0.1 * dense.std()


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_the_report_ends_in_json(tiny, monkeypatch, capsys):
    limit = ReadLimit(1e10, 1, 2**30, 2**20)
    monkeypatch.setattr(endtoend.bench, "read_limit", lambda: limit)
    monkeypatch.setattr(endtoend, "_child", endtoend.resident)  # another process would build the large model

    assert endtoend.main(["--repetitions", "2"]) == 0

    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = [row["name"] for row in line["rows"]]
    assert names == ["transformers bf16", "ours base3", "ours 2bit", "autobitlinear", "bitlinear"]
    assert line["read_limit_bytes_per_s"] == [1e10] * 3
    assert line["greedy"]["equal"] == endtoend.GREEDY_TOKENS
    assert all(row["decode_ms"][1] > 0 and row["prompt_tok_per_s"][1] > 0 for row in line["rows"])
    assert line["rows"][0]["decode_ratio"] == [1, 1, 1]
    assert line["rows"][1]["memory"]["rss_bytes"] > 0


def test_what_does_not_fit_into_the_memory_is_left_out(tiny, monkeypatch, capsys):
    free = type("Memory", (), {"available": 4_100_000_000})
    monkeypatch.setattr(endtoend.psutil, "virtual_memory", lambda: free)

    names = [contender.name for contender in endtoend._contenders()]

    assert "transformers bf16" not in names and "ours base3" in names
    assert "transformers bf16: left out" in capsys.readouterr().out
