"""Qwen3, dense (Qwen3ForCausalLM): Llama's block, and each head's queries and keys normed before they are turned.

Sources: arXiv 2505.09388 (Qwen3: QK-Norm, no biases), 2302.05442 (QK-Norm), 2002.05202 (SwiGLU).
"""

import numpy as np

from . import attention, rms_norm, rope


def logits(config: dict, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    T, eps, D = len(ids), config["rms_norm_eps"], config["head_dim"]
    embedding = weights["model.embed_tokens.weight"]  # (V, C)
    head = embedding if config["tie_word_embeddings"] else weights["lm_head.weight"]

    x = embedding[ids]  # (T, C)
    for layer, layer_type in enumerate(config["layer_types"]):

        def weight(name, layer=layer):
            return weights[f"model.layers.{layer}.{name}.weight"]

        normed = rms_norm(x, weight("input_layernorm"), eps)
        q = (normed @ weight("self_attn.q_proj").T).reshape(T, -1, D)  # (T, H, D)
        k = (normed @ weight("self_attn.k_proj").T).reshape(T, -1, D)  # (T, G, D)
        v = (normed @ weight("self_attn.v_proj").T).reshape(T, -1, D)
        q = rms_norm(q, weight("self_attn.q_norm"), eps)  # one weight (D,) for all heads
        k = rms_norm(k, weight("self_attn.k_norm"), eps)
        q, k = rope(q, config["rope_parameters"]), rope(k, config["rope_parameters"])
        window = config["sliding_window"] if layer_type == "sliding_attention" else None
        x = x + attention(q, k, v, D**-0.5, window) @ weight("self_attn.o_proj").T

        normed = rms_norm(x, weight("post_attention_layernorm"), eps)
        gate, up = normed @ weight("mlp.gate_proj").T, normed @ weight("mlp.up_proj").T  # (T, F)
        swish = gate / (1 + np.exp(-gate))
        x = x + (swish * up) @ weight("mlp.down_proj").T
    return rms_norm(x, weights["model.norm.weight"], eps) @ head.T
