"""What is exported continues as transformers does, in other programs; what would not is refused with the reason."""

import dataclasses
import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import gguf
import pytest
import torch
import transformers

from slmlab import export as exporting
from slmlab.export import ExportError, export
from slmlab.minis import recipes, tokenizer

ROOT = Path(__file__).resolve().parent.parent
NEW_TOKENS = 16
# Two, longer than mini-gemma's window, of what was merged: whole characters.
PROMPTS = torch.randint(500, tokenizer.VOCABULARY, (2, 90), generator=torch.Generator().manual_seed(5)).tolist()
TEXT = "Hello <|user|> 12  345</think> it's\n\n a b <bos>, naïve\tGrüße 日本 "
CHAT = [
    {"role": "user", "content": "How many legs has a spider?"},
    {"role": "assistant", "content": "A spider has eight legs."},
    {"role": "user", "content": "And an ant? "},
]

# What the minis do not have, and the writer knows: part of a head turned, rows without a token, a head of its own.
ODD_PHI = {
    "vocab_size": 2100,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5},
}
MODELS = {
    "mini-phi": ("mini-phi", {}),
    "odd-phi": ("mini-phi", ODD_PHI),
    "mini-qwen": ("mini-qwen", {}),
    "mini-qwen-moe": ("mini-qwen-moe", {}),
    "mini-gemma": ("mini-gemma", {}),
}


def make(folder: Path, mini: str, config: dict) -> Path:
    """An untrained mini in the hub's layout, bfloat16, with weights so large that one next token stands out."""
    recipe = recipes.recipe(mini)
    model = recipes.new_model(dataclasses.replace(recipe, config={**recipe.config, **config})).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight += 0.3 * torch.randn_like(weight)
            elif mini != "mini-gemma" or "embed" not in name:
                weight *= 6
        if mini == "mini-gemma":  # its embedding, times 16, would drown what the layers add
            model.model.norm.weight += 15
            for layer in model.model.layers:
                layer.post_attention_layernorm.weight += 5
                layer.post_feedforward_layernorm.weight += 5
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.load(recipe.family).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(name): the folder of a model of MODELS, made once."""
    base, folders = tmp_path_factory.mktemp("models"), {}

    def get(name: str) -> Path:
        if name not in folders:
            folders[name] = make(base / name, *MODELS[name])
        return folders[name]

    return get


@pytest.fixture(scope="module")
def ggufs(made, tmp_path_factory):
    """ggufs(name): its GGUF file, written once."""
    base = tmp_path_factory.mktemp("ggufs")

    def get(name: str) -> Path:
        path = base / f"{name}.gguf"
        return path if path.exists() else export(made(name), "gguf", path)

    return get


def float32(folder: Path):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def greedy(model, prompt: list[int], suppress: bool = True) -> tuple[list[int], torch.Tensor]:
    """transformers' ids, of control tokens none if `suppress`, and the logits of each, (tokens, vocabulary)."""
    out = model.generate(
        torch.tensor([prompt]),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        suppress_tokens=control_ids() if suppress else None,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return out.sequences[0, len(prompt) :].tolist(), torch.cat(out.logits)


def control_ids() -> list[int]:
    return tokenizer.load("qwen").convert_tokens_to_ids(list(tokenizer.CONTROL))


# --- GGUF, read by llama.cpp ------------------------------------------------------------------------------------------


class LlamaCpp:
    """llama.cpp out of the wheel xllamacpp: one thread, keys and values in float32."""

    def __init__(self, path: Path):
        xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 256
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.fit_params = params.warmup = False
        params.verbosity = 0
        self.server = xllamacpp.Server(params)

    def ask(self, what: str, **question) -> dict:
        # The wheel's own functions do not tell ids; its server on this machine does.
        request = urllib.request.Request(
            f"{self.server.listening_address}/{what}",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_continues_with_the_same_greedy_ids_and_probabilities(name, made, ggufs):
    llama, model = LlamaCpp(ggufs(name)), float32(made(name))

    for prompt in PROMPTS:
        wanted, logits = greedy(model, prompt)
        came = llama.ask(
            "completion",
            prompt=prompt,
            n_predict=NEW_TOKENS,
            temperature=0,
            logit_bias=[[row, False] for row in control_ids()],  # it would stop at those of the other families too
            return_tokens=True,
            n_probs=4,
        )

        assert came["tokens"] == wanted
        assert len(set(wanted)) > 3
        told = iter(came["completion_probabilities"])  # nothing is told of a token that ends within a character
        entry = next(told)
        for row, logprobs in zip(wanted, torch.log_softmax(logits.double(), dim=1), strict=True):
            if entry and entry["id"] == row:
                for other in entry["top_logprobs"]:
                    assert other["logprob"] == pytest.approx(logprobs[other["id"]].item(), abs=0.01)
                entry = next(told, None)
        assert entry is None


@pytest.mark.parametrize("name", ["mini-phi", "mini-qwen", "mini-gemma"])
def test_llama_cpp_reads_texts_and_chats_as_transformers_does(name, made, ggufs):
    llama, words = LlamaCpp(ggufs(name)), transformers.AutoTokenizer.from_pretrained(made(name))

    text = llama.ask("tokenize", content=TEXT, add_special=True, parse_special=True)["tokens"]
    chat = llama.ask("apply-template", messages=CHAT)["prompt"]

    assert text == words.encode(TEXT)
    assert chat == words.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("end", ["turn_end", "text_end"])
@pytest.mark.parametrize("name", ["mini-phi", "mini-qwen", "mini-gemma"])
def test_llama_cpp_stops_at_the_end_of_a_turn_and_of_a_text(name, end, ggufs):
    llama, family = LlamaCpp(ggufs(name)), tokenizer.FAMILIES[recipes.recipe(name).family]
    row = tokenizer.load("qwen").convert_tokens_to_ids(getattr(family, end))

    came = llama.ask("completion", prompt=PROMPTS[0], n_predict=5, temperature=0, logit_bias=[[row, 1000.0]])

    assert came["stop_type"] == "eos"


# --- GGUF, read by transformers and by the package gguf ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["mini-phi", "mini-qwen", "mini-qwen-moe", "mini-gemma"])
def test_transformers_reads_the_same_weights_out_of_the_gguf_file(name, made, ggufs):
    path, wanted = ggufs(name), float32(made(name)).state_dict()

    came = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        config=transformers.AutoConfig.from_pretrained(made(name)),  # it reads not all sizes out of the file
        dtype=torch.float32,
        quantization_config=transformers.GgufConfig(dequantize=True),
    ).state_dict()

    assert came.keys() == wanted.keys()
    for key, weight in wanted.items():
        torch.testing.assert_close(came[key], weight, rtol=0, atol=1e-6)  # Gemma's norms went to 1 + weight and back


def test_a_gguf_file_holds_float32_alone_and_its_tokenizer(ggufs):
    reader = gguf.GGUFReader(ggufs("odd-phi"))
    field = {key: value.contents() for key, value in reader.fields.items()}
    words = tokenizer.load("phi")
    types = dict(zip(field["tokenizer.ggml.tokens"], field["tokenizer.ggml.token_type"], strict=True))

    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32"}
    assert field["general.architecture"] == "phi3"
    assert field["tokenizer.ggml.tokens"][:2048] == words.convert_ids_to_tokens(range(2048))
    assert [types[token] for token in ("<|user|>", "<think>", "a", "<unused 2099>")] == [3, 4, 1, 5]
    assert field["tokenizer.ggml.eos_token_id"] == words.eos_token_id
    assert field["tokenizer.ggml.eot_token_id"] == words.convert_tokens_to_ids(tokenizer.FAMILIES["phi"].text_end)
    assert field["tokenizer.chat_template"] == words.chat_template


# --- ONNX, run by onnxruntime-genai -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mini-phi", "mini-qwen"])
def onnx(request, made, tmp_path_factory):
    """(model's folder, ONNX folder) of a class that the builder knows."""
    for module in exporting.ONNX_PACKAGES:
        pytest.importorskip(module, reason=f"{module} is not installed: pip install onnxruntime-genai onnx onnx-ir")
    folder = made(request.param)
    return folder, export(folder, "onnx", tmp_path_factory.mktemp("onnx") / request.param)


def test_onnxruntime_genai_continues_with_the_same_greedy_ids_and_logits(onnx):
    import onnxruntime_genai

    folder, onnx_folder = onnx
    model, runtime = float32(folder), onnxruntime_genai.Model(str(onnx_folder))

    for prompt in PROMPTS:
        wanted, logits = greedy(model, prompt, suppress=False)
        params = onnxruntime_genai.GeneratorParams(runtime)
        params.set_search_options(do_sample=False, max_length=len(prompt) + len(wanted))
        generator = onnxruntime_genai.Generator(runtime, params)
        generator.append_tokens(prompt)
        came = []
        for row in logits:
            torch.testing.assert_close(torch.from_numpy(generator.get_logits()).flatten(), row, rtol=0, atol=0.01)
            generator.generate_next_token()
            came.append(int(generator.get_next_tokens()[0]))

        assert came == wanted
        assert generator.is_done()


def test_onnxruntime_genai_reads_texts_and_chats_as_transformers_does(onnx):
    import onnxruntime_genai

    folder, onnx_folder = onnx
    words = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = onnxruntime_genai.Tokenizer(onnxruntime_genai.Model(str(onnx_folder)))

    assert theirs.encode(TEXT).tolist() == words.encode(TEXT)
    assert theirs.apply_chat_template(json.dumps(CHAT), add_generation_prompt=True) == words.apply_chat_template(
        CHAT, tokenize=False, add_generation_prompt=True
    )


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """builder(code): a package in the place of onnxruntime-genai, whose builder runs `code` with `args`, a dict."""

    def install(code: str) -> None:
        site = tmp_path / "site"
        (site / "onnxruntime_genai/models").mkdir(parents=True)
        for file in ("onnxruntime_genai/__init__", "onnxruntime_genai/models/__init__", "onnx", "onnx_ir"):
            (site / f"{file}.py").touch()
        head = "import os, sys\nfrom pathlib import Path\nargs = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        (site / "onnxruntime_genai/models/builder.py").write_text(head + code, encoding="utf-8")
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        for module in exporting.ONNX_PACKAGES:
            monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def test_a_builder_that_fails_is_quoted_and_leaves_the_earlier_export(builder, made, tmp_path):
    builder("Path(args['-o']).mkdir(); print('Reading layer 0'); sys.exit('KeyError: rope_type')")
    earlier = tmp_path / "out"
    earlier.mkdir()
    (earlier / "genai_config.json").write_text("earlier", encoding="utf-8")

    with pytest.raises(ExportError, match=r"failed on mini-qwen, with the last words 'KeyError: rope_type'\. Next: "):
        export(made("mini-qwen"), "onnx", earlier)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "site"]
    assert (earlier / "genai_config.json").read_text(encoding="utf-8") == "earlier"


def test_the_builder_works_offline_in_float32_and_its_folder_replaces_an_earlier_one(builder, made, tmp_path):
    builder(
        "new = Path(args['-o']); new.mkdir()\n"
        "said = [args['-p'], args['-e'], args['-i'], os.environ['HF_HUB_OFFLINE']]\n"
        "(new / 'genai_config.json').write_text(' '.join(said))\n"
    )
    out = tmp_path / "out"
    for _ in range(2):
        assert export(made("mini-qwen"), "onnx", out) == out

    said = (out / "genai_config.json").read_text(encoding="utf-8")
    assert said == f"fp32 cpu {made('mini-qwen').resolve()} 1"


def test_without_the_builder_the_error_says_what_to_install(made, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "ONNX_PACKAGES", {"json": "json", "no_such_module": "no-such-package"})

    with pytest.raises(ExportError, match=r"misses no-such-package here\. Next: python -m pip install json no-such-p"):
        export(made("mini-qwen"), "onnx", tmp_path / "out")


def test_a_model_that_does_not_fit_into_memory_twice_is_not_built(builder, made, tmp_path, monkeypatch):
    builder("sys.exit('started')")
    monkeypatch.setattr(exporting.memory, "available_bytes", lambda: 20_000_000)

    with pytest.raises(ExportError, match=r"takes about \d+.* of memory, and .* are free here\. Next: "):
        export(made("mini-qwen"), "onnx", tmp_path / "out")


# --- what is refused --------------------------------------------------------------------------------------------------


def changed(folder: Path, new: Path, **config) -> Path:
    """A copy of a model's folder whose config.json says otherwise."""
    shutil.copytree(folder, new)
    content = json.loads((new / "config.json").read_text(encoding="utf-8")) | config
    (new / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return new


@pytest.mark.parametrize(
    ("name", "to", "why"),
    [
        ("BitNetForCausalLM", "gguf", "SiLU"),
        ("Gemma3nForCausalLM", "gguf", "AltUp"),
        ("LlamaForCausalLM", "gguf", "no other was tried"),
        ("BitNetForCausalLM", "onnx", "does not know it"),
        ("Qwen3MoeForCausalLM", "onnx", "does not know it"),
        ("Gemma3nForCausalLM", "onnx", "does not know it"),
        ("Gemma3ForCausalLM", "onnx", "rope_type"),
    ],
)
def test_a_class_that_would_not_come_out_right_is_refused_with_the_reason(name, to, why, made, tmp_path):
    folder = changed(made("mini-qwen"), tmp_path / "other", architectures=[name])

    with pytest.raises(ExportError, match=rf"^other is {name}; {to.upper()} is written of Phi3ForCausalLM.*: .*{why}"):
        export(folder, to, tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("mini-phi", {"sliding_window": 64}),
        ("mini-qwen", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
        ("mini-qwen", {"hidden_act": "gelu"}),
        ("mini-qwen", {"attention_bias": True}),
        ("mini-qwen-moe", {"norm_topk_prob": False}),
        ("mini-qwen-moe", {"mlp_only_layers": [1]}),
        ("mini-gemma", {"query_pre_attn_scalar": 64}),
        ("mini-gemma", {"final_logit_softcapping": 30.0}),
        ("mini-gemma", {"layer_types": ["sliding_attention", "full_attention", *["sliding_attention"] * 4]}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_configuration_that_llama_cpp_would_not_follow_is_refused(name, config, made):
    key = next(iter(config))
    mini = recipes.recipe(name)
    config_class = getattr(transformers, mini.model_class).config_class

    exporting._fitting(name, mini.model_class, config_class(**mini.config))  # as it is, it is followed
    with pytest.raises(ExportError, match=rf"^{name} has {key.replace('parameters', 'type')} = .* Next: "):
        exporting._fitting(name, mini.model_class, config_class(**{**mini.config, **config}))


def test_a_tokenizer_that_cuts_otherwise_is_refused(made, tmp_path):
    folder = changed(made("mini-qwen"), tmp_path / "other")
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\d+|\D+"
    file.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ExportError, match=r"cuts text by '.*' \(BPE\), wanted a BPE that cuts as Qwen2's\. Next: "):
        export(folder, "gguf", tmp_path / "out.gguf")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(ExportError, match="came as 'tflite', wanted one of gguf, onnx"):
        export("mini-qwen", "tflite")


# --- where it goes ----------------------------------------------------------------------------------------------------


def test_the_file_is_named_after_the_model_in_the_current_folder(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    path = export(made("mini-qwen"), "gguf")

    assert path == Path("mini-qwen.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["mini-qwen.gguf"]


def test_an_earlier_gguf_file_is_replaced(made, ggufs, tmp_path):
    path = tmp_path / "out.gguf"
    path.write_bytes(b"GGUF, an earlier one")

    export(made("mini-qwen"), "gguf", path)

    assert path.read_bytes() == ggufs("mini-qwen").read_bytes()


@pytest.mark.parametrize("to", ["gguf", "onnx"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_no_export_wrote_is_left_alone(kind, to, made, tmp_path):
    there = tmp_path / "notes.txt"
    there.write_text("notes", encoding="utf-8")
    output = there if kind == "file" else tmp_path

    with pytest.raises(ExportError, match=f"is there, and is no {to.upper()} export"):
        export(made("mini-qwen"), to, output)

    assert there.read_text(encoding="utf-8") == "notes"


def test_the_face_loads_neither_torch_nor_transformers():
    code = "import sys, slmlab.export; print([name for name in ('torch', 'transformers') if name in sys.modules])"

    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout

    assert found.strip() == "[]"
