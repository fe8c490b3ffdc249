"""Gemma 3, text (Gemma3ForCausalLM): local and global layers in turn, a norm before and after each part of a block.

Sources: arXiv 2503.19786 (Gemma 3), 2408.00118 (Gemma 2: norms before and after, local and global layers), 2403.08295
(Gemma: GeGLU, RMSNorm), 2002.05202 (GeGLU), 1606.08415 (GELU by tanh). The scale of the embedding, and that a norm's
weight is stored as its distance from 1, come from Google's published code.
"""

import numpy as np

from . import attention, rms_norm, rope


def logits(config: dict, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    T, eps, D = len(ids), config["rms_norm_eps"], config["head_dim"]
    embedding = weights["model.embed_tokens.weight"]  # (V, C)
    head = embedding if config["tie_word_embeddings"] else weights["lm_head.weight"]

    x = embedding[ids] * config["hidden_size"] ** 0.5  # (T, C)
    for layer, layer_type in enumerate(config["layer_types"]):

        def weight(name, layer=layer):
            return weights[f"model.layers.{layer}.{name}.weight"]

        normed = rms_norm(x, 1 + weight("input_layernorm"), eps)
        q = (normed @ weight("self_attn.q_proj").T).reshape(T, -1, D)  # (T, H, D)
        k = (normed @ weight("self_attn.k_proj").T).reshape(T, -1, D)  # (T, G, D)
        v = (normed @ weight("self_attn.v_proj").T).reshape(T, -1, D)
        q = rms_norm(q, 1 + weight("self_attn.q_norm"), eps)
        k = rms_norm(k, 1 + weight("self_attn.k_norm"), eps)
        turns = config["rope_parameters"][layer_type]  # local layers turn faster
        window = config["sliding_window"] if layer_type == "sliding_attention" else None
        mixed = attention(rope(q, turns), rope(k, turns), v, config["query_pre_attn_scalar"] ** -0.5, window)
        x = x + rms_norm(mixed @ weight("self_attn.o_proj").T, 1 + weight("post_attention_layernorm"), eps)

        normed = rms_norm(x, 1 + weight("pre_feedforward_layernorm"), eps)
        gate, up = normed @ weight("mlp.gate_proj").T, normed @ weight("mlp.up_proj").T  # (T, F)
        gelu = 0.5 * gate * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
        mlp = (gelu * up) @ weight("mlp.down_proj").T
        x = x + rms_norm(mlp, 1 + weight("post_feedforward_layernorm"), eps)
    out = rms_norm(x, 1 + weights["model.norm.weight"], eps) @ head.T
    cap = config["final_logit_softcapping"]  # None in Gemma 3 as it was published
    return out if cap is None else cap * np.tanh(out / cap)
