"""transformers' forward of each family is the one that stands in tests/reference, to float64's last digits."""

import importlib
import inspect
import json
import types

import numpy as np
import pytest
import reference
import torch
import transformers
from packaging.version import Version
from reference import bitnet
from safetensors.torch import load_file, save_file

from slmlab import minis, models
from slmlab.ternary import BitLinear

ANY_ID = Version(transformers.__version__) >= Version("5.21")  # before, an id beyond the second table is an IndexError
IDS = [3, 17, 0, 8, 8, 39, 21, 5, 30, 12, 2, 33]  # longer than every window below
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-3,  # large enough to be seen
    "pad_token_id": None,
}

PHI3 = SHAPE | {
    "num_hidden_layers": 3,
    "sliding_window": 5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
}
QWEN3 = SHAPE | {
    "num_hidden_layers": 4,
    "head_dim": 16,  # H * D is not hidden_size
    "use_sliding_window": True,
    "sliding_window": 5,
    "max_window_layers": 2,  # two global layers, then two local ones
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
}
QWEN3_MOE = QWEN3 | {
    "moe_intermediate_size": 24,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "mlp_only_layers": [1],
}
GEMMA3 = SHAPE | {
    "num_hidden_layers": 4,
    "head_dim": 16,
    "sliding_window": 5,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
    },
    "query_pre_attn_scalar": 20,
}
GEMMA3N = SHAPE | {
    "num_hidden_layers": 6,
    "head_dim": 16,
    "intermediate_size": [48, 48, 32, 48, 64, 48],
    "sliding_window": 5,
    "layer_types": ["sliding_attention", "full_attention"] * 3,
    "num_kv_shared_layers": 2,
    "rope_parameters": GEMMA3["rope_parameters"],
    "vocab_size_per_layer_input": 36 if ANY_ID else 40,  # 39 of IDS is beyond the first
    "hidden_size_per_layer_input": 8,
    "altup_num_inputs": 3,
    "laurel_rank": 4,
    "activation_sparsity_pattern": [0.8, 0.0, 0.0, 0.0, 0.6, 0.0],
}
BITNET = SHAPE | {"num_hidden_layers": 3, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}

CASES = {  # name: (module of tests/reference, transformers' class, config)
    "phi3-tied": ("phi3", "Phi3ForCausalLM", PHI3 | {"tie_word_embeddings": True}),
    "phi3-untied": ("phi3", "Phi3ForCausalLM", PHI3 | {"tie_word_embeddings": False}),
    "qwen3-tied": ("qwen3", "Qwen3ForCausalLM", QWEN3 | {"tie_word_embeddings": True}),
    "qwen3-untied": ("qwen3", "Qwen3ForCausalLM", QWEN3 | {"tie_word_embeddings": False}),
    "qwen3-moe": ("qwen3_moe", "Qwen3MoeForCausalLM", QWEN3_MOE | {"tie_word_embeddings": True}),
    "qwen3-moe-shares-as-they-are": (
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        QWEN3_MOE | {"norm_topk_prob": False, "decoder_sparse_step": 2, "use_sliding_window": False},
    ),
    "gemma3": ("gemma3", "Gemma3ForCausalLM", GEMMA3),
    "gemma3-untied-capped": (
        "gemma3",
        "Gemma3ForCausalLM",
        GEMMA3 | {"tie_word_embeddings": False, "final_logit_softcapping": 3.0},
    ),
    "gemma3n": ("gemma3n", "Gemma3nForCausalLM", GEMMA3N),
    "gemma3n-other-choices": (
        "gemma3n",
        "Gemma3nForCausalLM",
        GEMMA3N
        | {
            "tie_word_embeddings": False,
            "altup_active_idx": 1,
            "altup_correct_scale": False,
            "num_kv_shared_layers": 0,
        },
    ),
    "bitnet-tied": ("bitnet", "BitNetForCausalLM", BITNET | {"tie_word_embeddings": True}),
    "bitnet-untied": ("bitnet", "BitNetForCausalLM", BITNET | {"tie_word_embeddings": False}),
}


class Float64Torch:
    """torch, in which float32 means float64: transformers' own code, without the steps it takes in float32."""

    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture
def float64(monkeypatch):
    """Call it with a module of transformers: what it computes is float64 from end to end."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield lambda module: monkeypatch.setattr(module, "torch", Float64Torch())
    torch.set_default_dtype(default)


EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}  # attention and experts in plain torch


def new_model(case, **implementations):
    """The case's model with random weights, norms and scales too, in torch's default dtype."""
    family, class_name, config = CASES[case]
    model_class = getattr(transformers, class_name)
    config = model_class.config_class(**config, **implementations)
    model = model_class(config).eval()
    if family == "bitnet":
        for name, layer in list(model.named_modules()):
            if name.endswith("_proj"):
                model.set_submodule(name, BitLinear(layer.in_features, layer.out_features, bias=False))
    random = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=random)
        with torch.no_grad():
            if parameter.ndim == 1:
                parameter.copy_(1 + 0.3 * noise if "norm" in name else noise)
            else:
                parameter.copy_(noise * (0.3 if "embed" in name else 1.5 * parameter.shape[-1] ** -0.5))
    return model


def saved(model, folder):
    """config.json and the tensors of model.safetensors, as the reference takes them."""
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config, arrays(folder)


def arrays(folder):
    tensors = load_file(folder / "model.safetensors")
    return {name: (t.double() if t.is_floating_point() else t).numpy() for name, t in tensors.items()}


def by_transformers(model, ids=IDS):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().numpy()


def difference(ours, theirs):
    """The largest difference, relative to the largest logit."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def float32_may_change(family):
    """What float32 may do to the difference. BitNet rounds activations to 8 bits, and float32 tips some of them to the
    next code, 1/127 of the token's largest value: there it is the comparison in float64 that says something."""
    return 0.1 if family == "bitnet" else 1e-4


def reference_of(family):
    return importlib.import_module(f"reference.{family}")


@pytest.fixture
def compared(float64, tmp_path):
    """compared(case) -> config, weights, transformers' logits, all in float64."""

    def compare(case):
        model_class = getattr(transformers, CASES[case][1])
        float64(importlib.import_module(model_class.__module__))
        model = new_model(case, **EAGER)
        return *saved(model, tmp_path), by_transformers(model)

    return compare


@pytest.mark.parametrize("case", CASES)
def test_in_float64_transformers_computes_the_reference(case, compared):
    config, weights, theirs = compared(case)

    ours = reference_of(CASES[case][0]).logits(config, weights, IDS)

    assert ours.shape == (len(IDS), 40)
    assert difference(ours, theirs) < 1e-12


@pytest.mark.parametrize("case", CASES)
def test_as_it_is_transformers_computes_the_reference_to_float32(case, tmp_path):
    model = new_model(case)
    config, weights = saved(model, tmp_path)

    ours = reference_of(CASES[case][0]).logits(config, weights, IDS)

    assert difference(ours, by_transformers(model)) < float32_may_change(CASES[case][0])


def test_a_rope_that_is_not_written_here_is_refused():
    with pytest.raises(ValueError, match="rope_type is 'longrope', wanted 'default'"):
        reference.rope(np.zeros((1, 1, 4)), {"rope_type": "longrope", "rope_theta": 100.0})


# ------------------------------------------------------------------------------------------------------------------
# transformers' own ternary layers, which read codes that come packed

# transformers compiles parts of BitNet, and torch's compiler warns of torch's own old code when it is imported.
compiles = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


@pytest.fixture
def eager():
    """No minute of compiling, no C++ compiler."""
    with torch.compiler.set_stance("force_eager"):
        yield


def pack_by_hand(folder, linear_class):
    """Make the master weights in a folder ternary and pack them: four codes a byte, one scale a matrix."""
    stored = load_file(folder / "model.safetensors")
    for name in [name for name in stored if name.endswith("_proj.weight")]:
        weight = stored[name].numpy()
        scale = np.abs(weight).mean()
        N, K = weight.shape
        packed = np.zeros((N // 4, K), np.uint8)
        for n in range(N):
            for k in range(K):
                code = max(-1, min(1, round(weight[n, k] / scale)))
                packed[n % (N // 4), k] += (code + 1) * 4 ** (n // (N // 4))
        stored[name] = torch.from_numpy(packed)
        stored[f"{name}_scale"] = torch.tensor([1 / scale if linear_class == "bitlinear" else scale])
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})


def read_in_float64(folder):
    """The model of a folder, read by transformers; the fixture float64 must be in force."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **EAGER)
    return model.to(torch.float64).eval()  # what stands beside packed weights comes in the dtype it is stored in


@compiles
@pytest.mark.parametrize(
    ("linear_class", "quantization_mode"),
    [("autobitlinear", "online"), ("autobitlinear", "offline"), ("bitlinear", "offline")],
)
def test_transformers_ternary_layers_compute_the_reference(linear_class, quantization_mode, float64, eager, tmp_path):
    float64(transformers.models.bitnet.modeling_bitnet)
    config, _ = saved(new_model("bitnet-tied", **EAGER), tmp_path)
    config["quantization_config"] = {
        "quant_method": "bitnet",
        "linear_class": linear_class,
        "quantization_mode": quantization_mode,
        "modules_to_not_convert": ["lm_head"],
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if quantization_mode == "offline":
        pack_by_hand(tmp_path, linear_class)
    model = read_in_float64(tmp_path)

    ours = bitnet.logits(config, arrays(tmp_path), IDS)

    assert difference(ours, by_transformers(model)) < 1e-12


# ------------------------------------------------------------------------------------------------------------------
# The minis that are shipped

TEXT = """One morning Lena went to the market by the river. "How many legs does a spider have?" asked Jack. A spider has
eight legs, and an ant has six. 12 + 7 = 19. The capital of France is Paris. Wood floats on water because it is lighter
than water, and iron sinks. So they walked home, and at the end of the day both friends were happy."""
shipped = pytest.mark.parametrize("name", minis.NAMES)


def family_of(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config["model_type"].removesuffix("_text"), config


def by_reference(folder, ids):
    family, config = family_of(folder)
    return reference_of(family).logits(config, arrays(folder), ids)


def ids_of(tokenizer):
    ids = tokenizer(TEXT)["input_ids"]
    assert len(ids) > 64, "the text must be longer than a window"
    return ids


def without_halves(ids, weights):
    """The ids of which no value enters the first layer as exactly half the largest: its code is 63 or 64, by chance.

    Rows of the table and norms are bfloat16, so that this happens; what enters the other layers has all of float64's
    digits.
    """
    entering = weights["model.embed_tokens.weight"] * weights["model.layers.0.input_layernorm.weight"]
    share = np.abs(entering) / np.abs(entering).max(axis=1, keepdims=True)
    halves = np.flatnonzero((share == 0.5).any(axis=1))
    return [id for id in ids if id not in halves]


@compiles
@shipped
def test_a_shipped_mini_is_the_reference_to_float32(name, eager):
    folder = minis.folder(name)
    model, tokenizer = models.load(folder, "float32")
    ids = ids_of(tokenizer)

    ours, theirs = by_reference(folder, ids), by_transformers(model, ids)

    assert difference(ours, theirs) < float32_may_change(family_of(folder)[0])


@compiles
@shipped
def test_a_shipped_mini_is_the_reference_in_float64(name, eager, float64):
    folder = minis.folder(name)
    ids = ids_of(transformers.AutoTokenizer.from_pretrained(folder))
    family, _ = family_of(folder)
    if family == "bitnet":
        ids = without_halves(ids, arrays(folder))
    float64(importlib.import_module(f"transformers.models.{family}.modeling_{family}"))

    ours, theirs = by_reference(folder, ids), by_transformers(read_in_float64(folder), ids)

    assert difference(ours, theirs) < 1e-10


# ------------------------------------------------------------------------------------------------------------------
# Mistakes in the reference that the comparison must catch


def with_mistake(name, before, after):
    """The reference of a family with one piece of its text, or of the text that all share, replaced."""
    package, family = (inspect.getsource(m) for m in (reference, reference_of(name)))
    assert (package + family).count(before) == 1, f"{before!r} stands {(package + family).count(before)} times"
    module = types.ModuleType(f"reference.{name}_with_mistake")
    module.__package__ = "reference"
    exec(family.replace(before, after), module.__dict__)
    if before in package:
        exec(package.replace(before, after), module.__dict__)
    return module


MISTAKES = {  # case: {mistake: (text, what stands there instead)}
    "phi3-untied": {
        "eps forgotten": ("+ eps) * weight", ") * weight"),
        "neighbours paired by rope": ("a, b = x[t, :, i], x[t, :, R // 2 + i]", "a, b = x[t, :, i], x[t, :, i + 1]"),
        "turned the other way": ("b * np.sin(angle)\n", "-b * np.sin(angle)\n"),
        "whole heads turned": ('parameters.get("partial_rotary_factor", 1.0)', "1.0"),
        "window one too wide": ("t - window + 1", "t - window"),
        "window one too narrow": ("t - window + 1", "t - window + 2"),
        "window forgotten": (', config["sliding_window"]', ""),
        "heads share keys in turn": ("h // (H // G)", "h % G"),
        "scores not scaled": ("D**-0.5", "1.0"),
        "keys and values swapped": ("q, k, v = np", "q, v, k = np"),
        "up and gate swapped": ("gate, up = np", "up, gate = np"),
        "norm after attention forgotten": (
            'normed = rms_norm(x, weight("post_attention_layernorm"), eps)',
            "normed = x",
        ),
    },
    "qwen3-untied": {
        "norm of queries forgotten": ('q = rms_norm(q, weight("self_attn.q_norm"), eps)', "q = q"),
        "norm of keys forgotten": ('k = rms_norm(k, weight("self_attn.k_norm"), eps)', "k = k"),
        "norms of queries and keys swapped": (
            'rms_norm(q, weight("self_attn.q_norm")',
            'rms_norm(q, weight("self_attn.k_norm")',
        ),
        "keys turned before their norm": (
            'k = rms_norm(k, weight("self_attn.k_norm"), eps)\n        q, k = rope(q, config["rope_parameters"]), '
            'rope(k, config["rope_parameters"])',
            'q, k = rope(q, config["rope_parameters"]), '
            'rms_norm(rope(k, config["rope_parameters"]), weight("self_attn.k_norm"), eps)',
        ),
        "every layer local": ('if layer_type == "sliding_attention" else None', ""),
        "no layer local": ('config["sliding_window"] if layer_type == "sliding_attention" else None', "None"),
        "tied though it is not": ('if config["tie_word_embeddings"] else weights["lm_head.weight"]', ""),
        "last norm forgotten": ('rms_norm(x, weights["model.norm.weight"], eps) @', "x @"),
    },
    "qwen3-moe": {
        "shares not normed": ('if config["norm_topk_prob"]', "if False"),
        "one expert": ('[: config["num_experts_per_tok"]]', "[:1]"),
        "the experts it likes least": ("argsort(-probabilities)", "argsort(probabilities)"),
        "experts in equal shares": ("share * swiglu", "0.5 * swiglu"),
        "softmax forgotten": (
            "probabilities = np.exp(scores - scores.max())\n        prob",
            "probabilities = scores\n        prob",
        ),
        "router reads what is not normed": ("mixture(normed, weight", "mixture(x, weight"),
    },
    "gemma3": {
        "weight, not 1 + weight, of a block's norm": ('1 + weight("input_layernorm")', 'weight("input_layernorm")'),
        "weight, not 1 + weight, of the last norm": ('1 + weights["model', 'weights["model'),
        "embedding not scaled": (' * config["hidden_size"] ** 0.5', ""),
        "scaled by the head's width": ('config["query_pre_attn_scalar"] ** -0.5', "D**-0.5"),
        "window one too wide": ("t - window + 1", "t - window"),
        "every layer local": ('if layer_type == "sliding_attention" else None', ""),
        "one rope for all": ('["rope_parameters"][layer_type]', '["rope_parameters"]["full_attention"]'),
        "norm after attention forgotten": (
            'rms_norm(mixed @ weight("self_attn.o_proj").T, 1 + weight("post_attention_layernorm"), eps)',
            'mixed @ weight("self_attn.o_proj").T',
        ),
        "norm after the MLP forgotten": ('rms_norm(mlp, 1 + weight("post_feedforward_layernorm"), eps)', "mlp"),
        "GELU exact": (
            "0.5 * gate * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3)))",
            "gate * np.vectorize(__import__('statistics').NormalDist().cdf)(gate)",
        ),
    },
    "gemma3-untied-capped": {
        "logits not capped": ("out if cap is None else cap * np.tanh(out / cap)", "out"),
    },
    "gemma3n": {
        "coefficients of the prediction transposed": ("coefs[t, i, j]", "coefs[t, j, i]"),
        "prediction instead of addition": ("predicted = streams.copy()", "predicted = np.zeros_like(streams)"),
        "correction without its 1": ("coefs = 1 + modal", "coefs = modal"),
        "corrected by what went in": ("modalities(x, weight", "modalities(predicted[0], weight"),
        "block reads what was not predicted": ("x = predicted[active]", "x = streams[active]"),
        "inputs added to the first stream too": ("streams[1:] += gated", "streams += gated"),
        "inputs of another layer": ("inputs[:, layer]", "inputs[:, layer - 1]"),
        "second table not scaled": (" * P**0.5", ""),
        "ids beyond the second table read its last row": (
            'if token < config["vocab_size_per_layer_input"] else 0',
            'if token < config["vocab_size_per_layer_input"] else -1',
        ),
        "output not scaled": ('if config["altup_correct_scale"]', "if False"),
        "streams not as large as the embedding": ("y * size /", "y /"),
        "streams not folded": ("np.mean([streams[0], *folded], axis=0)", "streams[0]"),
        "LAuReL of what is not normed": ("laurel(normed, weight", "laurel(x, weight"),
        "LAuReL without its own way round": ("return x + rms_norm(low", "return rms_norm(low"),
        "sum, not divided by the root of 2": ("laurel(normed, weight, eps)) / 2**0.5", "laurel(normed, weight, eps))"),
        "deviation with n - 1": ("gate.std(axis=-1, keepdims=True)", "gate.std(axis=-1, keepdims=True, ddof=1)"),
        "cutoff without the mean": ("gate - (mean + deviation", "gate - (deviation"),
        "gates above the cutoff kept whole": (
            "np.maximum(0, gate - (mean + deviation * NormalDist().inv_cdf(sparsity)))",
            "gate * (gate > mean + deviation * NormalDist().inv_cdf(sparsity))",
        ),
        "every layer sparse": ("[layer]\n        if sparsity > 0", "[0]\n        if sparsity > 0"),
        "values not normed": ("v = rms_norm(v, 1.0, eps)", "v = v"),
        "scores scaled twice": ("attention(q, k, v, 1.0", "attention(q, k, v, D**-0.5"),
        "shared keys of the first layer of the kind": (
            "kept[layer_type] = k, v",
            "kept.setdefault(layer_type, (k, v))",
        ),
        "shared keys of the last layer of any kind": ("k, v = kept[layer_type]", "pass"),
        "1 + weight, as Gemma 3": ('x, weight("input_layernorm.weight")', 'x, 1 + weight("input_layernorm.weight")'),
        "logits not capped": ("out if cap is None else cap * np.tanh(out / cap)", "out"),
    },
    "gemma3n-other-choices": {
        "first stream active": ('active = config["altup_active_idx"]', "active = 0"),
        "predicted from the first stream": ('modalities(streams[config["altup_active_idx"]]', "modalities(streams[0]"),
        "corrected by the first stream": ('predicted[config["altup_active_idx"]]', "predicted[0]"),
    },
    "bitnet-untied": {
        "scale of the largest weight": ("np.abs(weight).mean()", "np.abs(weight).max()"),
        "weights not cut at 1": ("np.clip(np.rint(weight / scale), -1, 1)", "np.rint(weight / scale)"),
        "halves of int8": ("127 / max(", "63.5 / max("),
        "one scale for all tokens": ("np.abs(token).max()", "np.abs(x).max()"),
        "tokens not rounded": ("np.rint(token * x_scale).astype(np.int64)", "token * x_scale"),
        "tokens rounded down": ("np.rint(token", "np.floor(token"),
        "master weights as they are": (
            "np.clip(np.rint(weight / scale), -1, 1).astype(np.int64), scale",
            "weight, 1",
        ),
        "norm after attention forgotten": ('norm(mixed, "self_attn.attn_sub_norm")', "mixed"),
        "norm inside the MLP forgotten": ('norm(squared * up, "mlp.ffn_sub_norm")', "squared * up"),
        "norm of the gate alone": ('norm(squared * up, "mlp.ffn_sub_norm")', 'norm(squared, "mlp.ffn_sub_norm") * up'),
        "ReLU not squared": ("np.maximum(0, gate) ** 2", "np.maximum(0, gate)"),
        "head ternary": ("@ head.T", "@ codes_and_scale(config, {'head.weight': head}, 'head')[0].T"),
    },
}
if not ANY_ID:
    del MISTAKES["gemma3n"]["ids beyond the second table read its last row"]  # there is none in IDS


@pytest.mark.parametrize("case", MISTAKES)
def test_the_comparison_catches_a_mistake(case, compared):
    config, weights, theirs = compared(case)

    missed = []
    for mistake, (before, after) in MISTAKES[case].items():
        wrong = with_mistake(CASES[case][0], before, after)
        with np.errstate(over="ignore"):  # without a norm, say, the activations grow
            ours = wrong.logits(config, weights, IDS)
        if not difference(ours, theirs) > 1e-6:
            missed.append(mistake)
    assert missed == []
