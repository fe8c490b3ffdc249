"""BitNet b1.58 (BitNetForCausalLM): Llama's block, but its matrices hold -1, 0, +1, and what they read is int8.

Sources: arXiv 2402.17764 (weights), 2504.12285 (2B4T: squared ReLU, sub-norms, no biases), 2109.08668 (squared ReLU).

A matrix comes in one of three forms: master weights, of which the codes are made here as in training; or codes packed
in bytes, with a scale by which the config's linear_class multiplies ("autobitlinear") or divides ("bitlinear").
"""

import numpy as np

from . import attention, rms_norm, rope

FLOOR = 1e-5  # least mean |weight| and least max |x|


def logits(config: dict, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    T, eps = len(ids), config["rms_norm_eps"]
    D = config["hidden_size"] // config["num_attention_heads"]
    embedding = weights["model.embed_tokens.weight"]  # (V, C), not ternary; nor is the head
    head = embedding if config["tie_word_embeddings"] else weights["lm_head.weight"]

    x = embedding[ids]  # (T, C)
    for layer in range(config["num_hidden_layers"]):

        def norm(x, name, layer=layer):
            return rms_norm(x, weights[f"model.layers.{layer}.{name}.weight"], eps)

        def linear(x, name, layer=layer):
            return w158a8(x, *codes_and_scale(config, weights, f"model.layers.{layer}.{name}"))

        normed = norm(x, "input_layernorm")
        q = linear(normed, "self_attn.q_proj").reshape(T, -1, D)  # (T, H, D)
        k = linear(normed, "self_attn.k_proj").reshape(T, -1, D)  # (T, G, D)
        v = linear(normed, "self_attn.v_proj").reshape(T, -1, D)
        q, k = rope(q, config["rope_parameters"]), rope(k, config["rope_parameters"])
        mixed = attention(q, k, v, D**-0.5)
        x = x + linear(norm(mixed, "self_attn.attn_sub_norm"), "self_attn.o_proj")

        normed = norm(x, "post_attention_layernorm")
        gate, up = linear(normed, "mlp.gate_proj"), linear(normed, "mlp.up_proj")  # (T, F)
        squared = np.maximum(0, gate) ** 2
        x = x + linear(norm(squared * up, "mlp.ffn_sub_norm"), "mlp.down_proj")
    return rms_norm(x, weights["model.norm.weight"], eps) @ head.T


def w158a8(x: np.ndarray, codes: np.ndarray, scale: float) -> np.ndarray:
    """x (T, K) and a matrix of codes -1, 0, +1 (N, K) -> (T, N): each token becomes int8 by a scale of its own."""
    y = np.zeros((len(x), len(codes)))
    for t, token in enumerate(x):
        x_scale = 127 / max(np.abs(token).max(), FLOOR)
        x_codes = np.rint(token * x_scale).astype(np.int64)  # -127 ... 127; halves go to the even neighbour
        y[t] = (codes @ x_codes) * scale / x_scale  # the sum is of whole numbers
    return y


def codes_and_scale(config: dict, weights: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, float]:
    """A matrix's codes -1, 0, +1, (N, K) int64, and the scale that makes weights of them: weights = codes * scale."""
    weight = weights[f"{name}.weight"]
    if weight.dtype == np.uint8:
        scale = weights[f"{name}.weight_scale"].item()
        divides = config["quantization_config"]["linear_class"] == "bitlinear"
        return unpacked(weight), 1 / scale if divides else scale
    scale = max(np.abs(weight).mean(), FLOOR)
    return np.clip(np.rint(weight / scale), -1, 1).astype(np.int64), scale


def unpacked(packed: np.ndarray) -> np.ndarray:
    """Bytes (N / 4, K) -> codes (N, K): byte row r holds, from its lowest bits, rows r, r + N/4, r + 2N/4, r + 3N/4."""
    return np.concatenate([(packed >> 2 * i & 3).astype(np.int64) - 1 for i in range(4)])
