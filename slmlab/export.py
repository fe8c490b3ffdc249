"""Export: a model's folder as a GGUF file for llama.cpp, or as an ONNX folder for onnxruntime-genai.

>>> export("mini-qwen", to="gguf")                                      # doctest: +SKIP
PosixPath('mini-qwen.gguf')

gguf    Phi3, Qwen3, Qwen3Moe and Gemma3 (its text), written here with the package `gguf`: float32 values (F32), special
        tokens, stop tokens, chat template. BF16 would hold the minis' weights as well, but from BF16 weights llama.cpp
        rounds what it multiplies with them to bfloat16 too.
onnx    Phi3 and Qwen3, float32, by the builder that comes with onnxruntime-genai.

Both continue a text with the greedy ids of transformers in float32, unless two ids are equally likely to about four
digits. llama.cpp does so when it keeps keys and values as F32 (cache_type_k, cache_type_v) and does without flash
attention; as it comes, it rounds both to F16. Besides, on a busy machine it is fastest with one thread.

Other classes, and configurations of which these programs would compute something else, are refused with the reason.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

from . import models, places
from .ledger import format_bytes
from .minis import tokenizer as minis_tokenizer
from .models import folders, memory

FORMATS = ("gguf", "onnx")
GGUF_MAGIC = b"GGUF"
ONNX_CONFIG = "genai_config.json"


def _every_nth(config) -> list[str]:
    """Kinds of layers, where every n-th sees everything; n as the first such layer has it."""
    n = _period(config)
    return [
        "sliding_attention" if number % n else "full_attention" for number in range(1, config.num_hidden_layers + 1)
    ]


# transformers' class -> llama.cpp's name, and what llama.cpp takes for granted: attributes of the configuration with
# their values, or with a function of the configuration that gives the value.
DENSE = {"attention_bias": False, "hidden_act": "silu", "sliding_window": None}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "Phi3ForCausalLM": ("phi3", DENSE),
    "Qwen3ForCausalLM": ("qwen3", DENSE),
    "Qwen3MoeForCausalLM": (
        "qwen3moe",
        DENSE | {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True},
    ),
    "Gemma3ForCausalLM": (
        "gemma3",
        {
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "hidden_activation": "gelu_pytorch_tanh",
            "layer_types": _every_nth,
            "query_pre_attn_scalar": lambda config: config.head_dim,
            "use_bidirectional_attention": False,
        },
    ),
}
NO_GGUF = {
    "BitNetForCausalLM": "llama.cpp computes SiLU where BitNet 2B4T and mini-bitnet have the square of a ReLU, and "
    "does not round what enters a layer to 8 bits. Next: slmlab.ternary.accelerate(model) runs it on packed weights",
    "Gemma3nForCausalLM": "llama.cpp has it in the real models' form alone (four AltUp inputs, activations cut to "
    "5 % in ten layers, no keys and values shared before layer 20). Next: mini-gemma can be written",
}
CUTS = {minis_tokenizer.CUT: "qwen2"}  # expression by which a tokenizer cuts text -> llama.cpp's name of it

# What onnxruntime-genai's builder makes of these continues with the same ids. The others were tried with 0.18.
ONNX_CLASSES = ("Phi3ForCausalLM", "Qwen3ForCausalLM")
NO_ONNX = {
    "Gemma3ForCausalLM": "the builder of onnxruntime-genai reads one rope_type, and Gemma 3 has one for each kind of "
    "layer. Next: --to gguf",
    "Qwen3MoeForCausalLM": "the builder of onnxruntime-genai does not know it. Next: --to gguf, or its dense sister",
    "Gemma3nForCausalLM": "the builder of onnxruntime-genai does not know it. Next: use it with transformers",
    "BitNetForCausalLM": "the builder of onnxruntime-genai does not know it. Next: slmlab.ternary.accelerate(model) "
    "runs it on packed weights",
}
ONNX_PACKAGES = {"onnxruntime_genai": "onnxruntime-genai", "onnx": "onnx", "onnx_ir": "onnx-ir"}


class ExportError(Exception):
    """The model cannot be written in this format, or not there."""


def export(name: str, to: str, output: Path | None = None) -> Path:
    """Write the model called `name` in the format `to`, "gguf" or "onnx"; return where.

    name: a mini, or what else models.load() takes. output: a file for "gguf", a folder for "onnx"; left out, NAME.gguf
    or NAME-onnx in the current folder. What an earlier export wrote there is replaced once the new one is complete;
    anything else there is left alone.

    ExportError: the class or its configuration does not fit the format, a package is missing, something else is at
    `output`. models.ModelError: the model cannot be loaded.
    """
    name = str(name)
    if to not in FORMATS:
        raise ExportError(f"the format came as {to!r}, wanted one of {', '.join(FORMATS)}")
    folder = models.prepare(name)
    folders.check(folder)
    short = folder.resolve().name if Path(name).expanduser().is_dir() else name.split("/")[-1]
    output = Path(output or (f"{short}.gguf" if to == "gguf" else f"{short}-onnx"))
    _refuse_others(output, to)
    class_name = next(iter(folders.read_config(folder).get("architectures") or ["of no class"]))
    if to == "gguf":
        _refuse_class(short, class_name, to, tuple(ARCHITECTURES), NO_GGUF)
        _write_gguf(short, models.load(name, "float32"), output)
    else:
        _refuse_class(short, class_name, to, ONNX_CLASSES, NO_ONNX)
        _build_onnx(short, folder, output)
    return output


def _refuse_others(output: Path, to: str) -> None:
    """ExportError when there is something at `output` that no export wrote."""
    if not output.exists():
        return
    if to == "gguf":
        written_by_export = output.is_file() and _starts_with(output, GGUF_MAGIC)
    else:
        written_by_export = (output / ONNX_CONFIG).is_file() or (output.is_dir() and not any(output.iterdir()))
    if not written_by_export:
        raise ExportError(
            f"{output} is there, and is no {to.upper()} export. Next: name another output, or move it away"
        )


def _starts_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic


def _refuse_class(short: str, class_name: str, to: str, written: tuple[str, ...], reasons: dict[str, str]) -> None:
    if class_name not in written:
        reason = reasons.get(class_name, "no other was tried")
        raise ExportError(f"{short} is {class_name}; {to.upper()} is written of {', '.join(written)}: {reason}")


# ----------------------------------------------------------------------------------------------------------------------
# GGUF


def _write_gguf(short: str, loaded: models.Loaded, output: Path) -> None:
    import gguf

    config = loaded.model.config
    architecture = _fitting(short, type(loaded.model).__name__, config)
    tensors = _tensors(loaded.model, architecture)
    with places.replacing(output) as new:
        writer = gguf.GGUFWriter(new, architecture)
        try:
            writer.add_name(short)
            if loaded.licence != "not stated":
                writer.add_license(loaded.licence)
            writer.add_file_type(gguf.LlamaFileType.ALL_F32)
            _add_shape(writer, config)
            _add_vocabulary(writer, short, loaded)
            for name, values in tensors.items():
                writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            with _bar(f"{short} to GGUF", sum(values.nbytes for values in tensors.values())) as bar:
                for values in tensors.values():
                    writer.write_tensor_data(values)
                    bar.update(values.nbytes)
        finally:
            writer.close()


def _fitting(short: str, class_name: str, config) -> str:
    """llama.cpp's name of the architecture. ExportError: it would compute otherwise than `config` says."""
    architecture, assumed = ARCHITECTURES[class_name]
    wanted = {key: value(config) if callable(value) else value for key, value in assumed.items()}
    facts = [(key, getattr(config, key, value), value) for key, value in wanted.items()]
    facts += [("rope_type", rope["rope_type"], "default") for rope in _ropes(config)]
    for key, came, value in facts:
        if came != value:
            raise ExportError(
                f"{short} has {key} = {came!r}, and llama.cpp's {architecture} would compute as if it were {value!r}. "
                "Next: use it with transformers"
            )
    return architecture


def _ropes(config) -> list[dict[str, Any]]:
    """Rotary settings: of the layers that see everything, and, where there are others, of those with a window."""
    ropes = config.rope_parameters
    return [ropes] if "rope_type" in ropes else [ropes["full_attention"], ropes["sliding_attention"]]


def _period(config) -> int:
    """n, where every n-th layer sees everything and the others a window."""
    return [*config.layer_types, "full_attention"].index("full_attention") + 1


def _add_shape(writer, config) -> None:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope, *local_rope = _ropes(config)
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    writer.add_rope_freq_base(rope["rope_theta"])
    if local_rope:
        writer.add_rope_freq_base_swa(local_rope[0]["rope_theta"])
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern(_period(config))
    if hasattr(config, "num_experts"):
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def _add_vocabulary(writer, short: str, loaded: models.Loaded) -> None:
    """The byte-level BPE with its special tokens and template. ExportError: the tokenizer is of another kind.

    llama.cpp normalises no text. A tokenizer that does (the minis' does not, Qwen's composes characters) is written all
    the same: ids then agree on text that needs no normalising.
    """
    from gguf import TokenType

    tokenizer, rows = loaded.tokenizer, loaded.model.config.vocab_size
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model, cutters = content["model"], content["pre_tokenizer"]
    cutters = cutters.get("pretokenizers", [cutters]) if cutters else []
    cut = next((cutter["pattern"].get("Regex") for cutter in cutters if cutter["type"] == "Split"), None)
    if model["type"] != "BPE" or cut not in CUTS:
        raise ExportError(
            f"{short} has a tokenizer that cuts text by {cut!r} ({model['type']}), wanted a BPE that cuts as Qwen2's. "
            "Next: convert_hf_to_gguf.py of llama.cpp may know it"
        )
    ids = tokenizer.get_vocab()
    if max(ids.values()) >= rows:
        raise ExportError(
            f"{short} has {rows} rows in its embedding, and a token {max(ids.values())}: they are no pair"
        )
    tokens = [f"<unused {row}>" for row in range(rows)]
    types = [TokenType.UNUSED] * rows
    for token, row in ids.items():
        tokens[row], types[row] = token, TokenType.NORMAL
    for added in content["added_tokens"]:
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(CUTS[cut])
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_add_bos_token(False)  # the templates write it
    stops = loaded.model.generation_config.eos_token_id
    others = [row for row in (stops if isinstance(stops, list) else [stops]) if row != tokenizer.eos_token_id]
    for add, row in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_eot_token_id, next(iter(others), None)),  # llama.cpp stops at either
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if row is not None:
            add(row)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(model, architecture: str) -> dict[str, Any]:
    """llama.cpp's names and values, NumPy float32 arrays in torch's order of dimensions."""
    import gguf

    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, model.config.num_hidden_layers)
    found = {}
    for name, tensor in _separate(model.state_dict()):
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        written = names.get_name(name, try_suffixes=(".weight",))
        if written is None:
            raise ExportError(f"llama.cpp's {architecture} has no place for the tensor {name}. Next: use transformers")
        if architecture == "gemma3" and name.endswith("norm.weight"):
            tensor = tensor + 1  # transformers keeps a norm's distance from 1, llama.cpp the norm
        found[written if written.endswith(".weight") else f"{written}.weight"] = tensor.numpy()
    return found


def _separate(tensors: dict):
    """Names and tensors; gate and up of experts, which transformers keeps as one, are two."""
    for name, tensor in tensors.items():
        if name.endswith("experts.gate_up_proj"):  # (experts, gate and up, hidden)
            for part, half in zip(("gate", "up"), tensor.chunk(2, dim=1), strict=True):
                yield name.replace("gate_up", part), half.contiguous()
        else:
            yield name, tensor


# ----------------------------------------------------------------------------------------------------------------------
# ONNX


def _build_onnx(short: str, folder: Path, output: Path) -> None:
    missing = [package for module, package in ONNX_PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ExportError(
            f"ONNX is written by the builder of onnxruntime-genai, which misses {', '.join(missing)} here. Next: "
            f"python -m pip install {' '.join(ONNX_PACKAGES.values())}"
        )
    needed_bytes, free_bytes = 2 * models.estimate_peak_bytes(folder, "float32"), memory.available_bytes()
    if needed_bytes > free_bytes:  # the weights twice: torch's and ONNX's
        raise ExportError(
            f"{short}: building ONNX takes about {format_bytes(needed_bytes)} of memory, and "
            f"{format_bytes(free_bytes)} are free here. Next: close other programs and kernels, or take a smaller model"
        )
    layers = folders.read_config(folder)["num_hidden_layers"]
    with places.replacing(output) as new, tempfile.TemporaryDirectory() as cache:
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        options = ["-i", folder.resolve(), "-o", new.resolve(), "-p", "fp32", "-e", "cpu", "-c", cache]
        process = subprocess.Popen(
            [*builder, *map(str, options)],
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        last = deque(maxlen=1)
        with process, _bar(f"{short} to ONNX", layers, delay_s=0) as bar:  # it starts by importing torch
            for line in process.stdout:
                bar.update(line.startswith("Reading layer"))
                last.extend(filter(None, [line.strip()]))
        if process.returncode or not (new / ONNX_CONFIG).is_file():
            raise ExportError(
                f"the builder of onnxruntime-genai failed on {short}, with the last words {' '.join(last)!r}. "
                "Next: --to gguf"
            )


def _bar(what: str, total: int, delay_s: float = 2):
    """A bar on stdout that appears after `delay_s` seconds, and is gone at the end."""
    from tqdm import tqdm

    shape = "{desc} {percentage:3.0f} % {bar:20} {elapsed}"
    return tqdm(desc=what, total=total, file=sys.stdout, delay=delay_s, leave=False, bar_format=shape)
