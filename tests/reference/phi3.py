"""Phi-3 (Phi3ForCausalLM; Phi-4-mini too): Llama's block, with matrices that belong together stored as one.

Sources: arXiv 2404.14219 (Phi-3), 2503.01743 (Phi-4-mini: partial rotary), 2002.05202 (SwiGLU).
"""

import numpy as np

from . import attention, rms_norm, rope


def logits(config: dict, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    T, eps = len(ids), config["rms_norm_eps"]
    H, G = config["num_attention_heads"], config["num_key_value_heads"]
    D = config["hidden_size"] // H
    embedding = weights["model.embed_tokens.weight"]  # (V, C)
    head = embedding if config["tie_word_embeddings"] else weights["lm_head.weight"]

    x = embedding[ids]  # (T, C)
    for layer in range(config["num_hidden_layers"]):

        def weight(name, layer=layer):
            return weights[f"model.layers.{layer}.{name}.weight"]

        normed = rms_norm(x, weight("input_layernorm"), eps)
        qkv = normed @ weight("self_attn.qkv_proj").T  # (T, (H + 2 G) D): the queries, then the keys, then the values
        q, k, v = np.split(qkv.reshape(T, H + 2 * G, D), [H, H + G], axis=1)
        q, k = rope(q, config["rope_parameters"]), rope(k, config["rope_parameters"])
        mixed = attention(q, k, v, D**-0.5, config["sliding_window"])
        x = x + mixed @ weight("self_attn.o_proj").T

        normed = rms_norm(x, weight("post_attention_layernorm"), eps)
        gate, up = np.split(normed @ weight("mlp.gate_up_proj").T, 2, axis=1)  # (T, F) each
        swish = gate / (1 + np.exp(-gate))
        x = x + (swish * up) @ weight("mlp.down_proj").T
    return rms_norm(x, weights["model.norm.weight"], eps) @ head.T
