"""From shapes to counts: one small function an architecture, and the layers that keep keys and values.

`c` carries the names of the model's config.json as attributes. The layouts are those of the modules in transformers
5.23 (modeling_*.py). Qwen 1 and Phi-3-small have no class there; the bias layout of Phi-3-small is an assumption.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NamedTuple


class Part(NamedTuple):
    what: str
    count: int
    place: str  # embedding, decoder, head, per-layer table or encoders
    quantized: bool = False  # a matrix that takes the width asked for


def parts(config: dict, total: int | None) -> list[Part]:
    """All components of a model. `total` is what the residual of encoders without published shapes is taken from."""
    c = SimpleNamespace(**config)
    found = ARCHITECTURES[c.model_type](c)
    if hasattr(c, "vision_config"):
        found += VISION[c.vision_config["model_type"]](SimpleNamespace(**c.vision_config), c.hidden_size)
    for sense in ("vision", "audio"):
        if hasattr(c, f"{sense}_parameters"):
            found.append(Part(f"{sense} encoder (published, rounded)", getattr(c, f"{sense}_parameters"), "encoders"))
    unshaped = [sense for sense in ("vision", "audio") if hasattr(c, sense)]
    if unshaped:
        rest = total - sum(part.count for part in found)
        found.append(Part(f"{', '.join(unshaped)} (residual: total less the rows above)", rest, "encoders"))
    return found


def cached_values(config: dict, tokens: int) -> Iterator[int]:
    """Key and value numbers that each layer holds for a sequence; layers that hold none are left out."""
    c = SimpleNamespace(**config)
    window = getattr(c, "sliding_window", None)
    pattern = getattr(c, "sliding_window_pattern", None)  # every pattern-th layer is global; None: all slide
    interval = getattr(c, "full_attention_interval", 1)  # every interval-th layer has attention
    for layer in range(1, c.num_hidden_layers - getattr(c, "num_kv_shared_layers", 0) + 1):
        if layer % interval:
            continue
        if window is None or (pattern and layer % pattern == 0):
            heads, width = _global_heads(c)
            yield (1 if getattr(c, "attention_k_eq_v", False) else 2) * heads * width * tokens
        else:
            yield 2 * c.num_key_value_heads * c.head_dim * min(tokens, window)


def _global_heads(c: SimpleNamespace) -> tuple[int, int]:
    """KV heads and head width of a layer that sees all tokens (Gemma 4 has others there)."""
    heads = getattr(c, "num_global_key_value_heads", c.num_key_value_heads)
    return heads, getattr(c, "global_head_dim", c.head_dim)


def _model(c, matrices: dict[str, int], kept: dict[str, int], head_bias: int = 0) -> list[Part]:
    """The parts of a decoder: its embedding, `matrices` that take `bits`, what is `kept`, and the head if untied."""
    embedding = c.vocab_size * c.hidden_size
    found = [Part("token embedding", embedding, "embedding")]
    found += [Part(what, count, "decoder", quantized=True) for what, count in matrices.items()]
    found += [Part(what, count, "decoder") for what, count in kept.items()]
    if not c.tie_word_embeddings:
        found.append(Part("output head", embedding + head_bias, "head"))
    return found


def _attention(c) -> int:
    """Query, key, value and output matrices of one layer."""
    return 2 * c.hidden_size * c.head_dim * (c.num_attention_heads + c.num_key_value_heads)


def _qkv_width(c) -> int:
    return (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim


def _dense(c, vectors: int, mlp: int | None = None, final_norm: int | None = None, head_bias: int = 0) -> list[Part]:
    """A stack of equal layers. Per layer: `vectors` of norms and biases, `mlp` weights (None: gate, up and down)."""
    layers, d = c.num_hidden_layers, c.hidden_size
    matrices = {"attention": layers * _attention(c), "mlp": layers * (mlp or 3 * d * c.intermediate_size)}
    return _model(c, matrices, {"norms, biases": layers * vectors + (final_norm or d)}, head_bias)


def _sparse(c, vectors: int, width: int, final_norm: int | None = None, head_bias: int = 0) -> list[Part]:
    """A stack of equal layers with experts of `width` in place of the MLP, and a shared expert where c has one."""
    layers, d, shared = c.num_hidden_layers, c.hidden_size, getattr(c, "shared_expert_intermediate_size", 0)
    matrices = {"attention": layers * _attention(c), **_experts(c, layers, width)}
    kept = {"router": layers * (c.num_experts + bool(shared)) * d}  # the shared expert's gate is one more column
    return _model(c, matrices, {**kept, "norms, biases": layers * vectors + (final_norm or d)}, head_bias)


def _experts(c, layers: int, width: int) -> dict[str, int]:
    matrices = {"experts": layers * c.num_experts * 3 * c.hidden_size * width}
    if shared := getattr(c, "shared_expert_intermediate_size", 0):
        matrices["shared expert"] = layers * 3 * c.hidden_size * shared
    return matrices


def _phi(c):  # two MLP matrices, biases everywhere, one LayerNorm a layer, an untied head with bias
    d, ff = c.hidden_size, c.intermediate_size
    return _dense(c, _qkv_width(c) + d + ff + d + 2 * d, mlp=2 * d * ff, final_norm=2 * d, head_bias=c.vocab_size)


def _phi3small(c):  # gegelu doubles the up projection; biases everywhere, LayerNorms with bias
    d, ff = c.hidden_size, c.intermediate_size
    return _dense(c, _qkv_width(c) + d + 2 * ff + d + 4 * d, final_norm=2 * d)


def _phimoe(c):  # the checkpoint has the biases that transformers leaves off by default
    d = c.hidden_size
    return _sparse(c, _qkv_width(c) + d + 4 * d, c.intermediate_size, final_norm=2 * d, head_bias=c.vocab_size)


def _llama(c):  # also Phi-3 and 4, Gemma 1
    return _dense(c, 2 * c.hidden_size)


def _qwen(c):  # Qwen 1: intermediate_size is twice the width of each matrix
    return _dense(c, 2 * c.hidden_size + _qkv_width(c), mlp=3 * c.hidden_size * c.intermediate_size // 2)


def _qwen2(c):
    return _dense(c, 2 * c.hidden_size + _qkv_width(c))


def _qwen2_moe(c):
    return _sparse(c, 2 * c.hidden_size + _qkv_width(c), c.moe_intermediate_size)


def _qwen3(c):  # no bias; query and key norms instead
    return _dense(c, 2 * c.hidden_size + 2 * c.head_dim)


def _qwen3_moe(c):
    return _sparse(c, 2 * c.hidden_size + 2 * c.head_dim, c.moe_intermediate_size)


def _qwen3_next(c):
    """Every full_attention_interval-th layer has gated attention, the others Gated DeltaNet; MLP or experts in each."""
    layers, d = c.num_hidden_layers, c.hidden_size
    full = layers // c.full_attention_interval
    linear = layers - full
    keys = c.linear_num_key_heads * c.linear_key_head_dim
    values = c.linear_num_value_heads * c.linear_value_head_dim
    query_gate = d * c.num_attention_heads * c.head_dim  # the query projection is twice as wide: query and gate
    matrices = {
        "attention": full * (_attention(c) + query_gate),
        # in: queries, keys, values, gate, and two numbers per value head; out: values
        "linear attention": linear * d * (2 * keys + 3 * values + 2 * c.linear_num_value_heads),
    }
    norms = layers * 2 * d + full * 2 * c.head_dim + linear * c.linear_value_head_dim + d
    decays = linear * 2 * c.linear_num_value_heads
    kept = {"norms": norms, "convolutions, decays": linear * (2 * keys + values) * c.linear_conv_kernel_dim + decays}
    if hasattr(c, "num_experts"):
        matrices |= _experts(c, layers, c.moe_intermediate_size)
        kept["router"] = layers * (c.num_experts + 1) * d
    else:
        matrices["mlp"] = layers * 3 * d * c.intermediate_size
    return _model(c, matrices, kept)


def _gemma2(c):
    return _dense(c, 4 * c.hidden_size)


def _gemma3(c):
    return _dense(c, 4 * c.hidden_size + 2 * c.head_dim)


def _bitnet(c):  # subln: a norm before the output projection and one before the down projection
    return _dense(c, 2 * c.hidden_size + c.num_attention_heads * c.head_dim + c.intermediate_size)


def _gemma3n(c):
    layers, d, ple, streams = c.num_hidden_layers, c.hidden_size, c.hidden_size_per_layer_input, c.altup_num_inputs
    shared = c.num_kv_shared_layers
    kv = 2 * d * c.num_key_value_heads * c.head_dim
    matrices = {
        "attention": layers * _attention(c) - shared * kv,
        "attention: K, V of KV-shared layers (stored, never read)": shared * kv,
        "mlp": layers * 3 * d * c.intermediate_size,
        "LAuReL": layers * 2 * d * c.laurel_rank,
        "per-layer projections": layers * 3 * d * ple,  # one common input projection; a gate and a projection a layer
        "AltUp projections": 2 * (streams - 1) * d * d,
    }
    # AltUp a layer: correction and prediction coefficients, modality router, its norm, output scale
    altup = streams**2 + streams**3 + d * streams + 2 * d
    norms = layers * (4 * d + 2 * c.head_dim + 2 * d) + ple + d  # the last 2 d: after LAuReL and per-layer input
    table = Part("per-layer embedding table", c.vocab_size_per_layer_input * layers * ple, "per-layer table")
    return [table, *_model(c, matrices, {"AltUp coefficients, routers": layers * altup, "norms": norms})]


def _gemma4(c):
    layers, d, ple = c.num_hidden_layers, c.hidden_size, getattr(c, "hidden_size_per_layer_input", 0)
    first_shared = layers - getattr(c, "num_kv_shared_layers", 0)
    attention = mlp = norms = 0
    for layer in range(layers):
        is_global = (layer + 1) % c.sliding_window_pattern == 0
        shared = layer >= first_shared
        heads, width = _global_heads(c) if is_global else (c.num_key_value_heads, c.head_dim)
        tensors = 0 if shared else 1 if is_global and getattr(c, "attention_k_eq_v", False) else 2
        attention += 2 * d * c.num_attention_heads * width + tensors * d * heads * width
        mlp += 3 * d * c.intermediate_size * (2 if shared and getattr(c, "use_double_wide_mlp", False) else 1)
        norms += 4 * d + width + (0 if shared else width)
    matrices, kept = {"attention": attention, "mlp": mlp}, {}
    if hasattr(c, "num_experts"):  # beside the MLP, with three norms of their own and two scales in the router
        matrices |= _experts(c, layers, c.moe_intermediate_size)
        kept["router"] = layers * (d * c.num_experts + d + c.num_experts)
        norms += layers * 3 * d
    table = []
    if ple:
        table = [Part("per-layer embedding table", c.vocab_size_per_layer_input * layers * ple, "per-layer table")]
        matrices["per-layer projections"] = layers * 3 * d * ple
        norms += layers * d + ple
    return [*table, *_model(c, matrices, {**kept, "norms": norms + d})]


ARCHITECTURES: dict[str, Callable[[SimpleNamespace], list[Part]]] = {
    "phi": _phi,
    "phi3": _llama,
    "phi3small": _phi3small,
    "phimoe": _phimoe,
    "llama": _llama,
    "qwen": _qwen,
    "qwen2": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "qwen3_next": _qwen3_next,
    "qwen3_5_text": _qwen3_next,
    "qwen3_5_moe_text": _qwen3_next,
    "gemma": _llama,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gemma3n_text": _gemma3n,
    "gemma4_text": _gemma4,
    "bitnet": _bitnet,
}


def _transformer_encoder(v, layers: int) -> int:
    """Blocks with four attention matrices, two MLP matrices, biases and two LayerNorms."""
    d, ff = v.hidden_size, v.intermediate_size
    return layers * (4 * (d * d + d) + 2 * d * ff + ff + d + 4 * d)


def _siglip(v, text_width: int) -> list[Part]:
    d, patch = v.hidden_size, 3 * v.patch_size**2
    positions = (v.image_size // v.patch_size) ** 2
    encoder = patch * d + d + positions * d + _transformer_encoder(v, v.num_hidden_layers) + 2 * d
    return [Part("vision encoder", encoder, "encoders"), Part("vision projector", d * text_width + d, "encoders")]


def _qwen_vision(v, text_width: int) -> list[Part]:
    d, patch = v.hidden_size, 3 * v.temporal_patch_size * v.patch_size**2
    encoder = patch * d + d + v.num_position_embeddings * d + _transformer_encoder(v, v.depth)
    merged = v.spatial_merge_size**2 * d
    merger = 2 * d + merged * merged + merged + merged * text_width + text_width
    return [Part("vision encoder", encoder, "encoders"), Part("vision projector", merger, "encoders")]


VISION = {"siglip_vision_model": _siglip, "qwen3_5_vision": _qwen_vision}
