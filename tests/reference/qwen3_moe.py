"""Qwen3-MoE (Qwen3MoeForCausalLM): Qwen3, but each token goes through a few of many small MLPs, the experts.

Sources: arXiv 2505.09388 (Qwen3: no shared expert), 1701.06538 and 2101.03961 (routing), 2002.05202 (SwiGLU).
"""

import numpy as np

from . import attention, rms_norm, rope


def logits(config: dict, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    T, eps, D = len(ids), config["rms_norm_eps"], config["head_dim"]
    embedding = weights["model.embed_tokens.weight"]  # (V, C)
    head = embedding if config["tie_word_embeddings"] else weights["lm_head.weight"]

    x = embedding[ids]  # (T, C)
    for layer in range(config["num_hidden_layers"]):

        def weight(name, layer=layer):
            return weights[f"model.layers.{layer}.{name}.weight"]

        normed = rms_norm(x, weight("input_layernorm"), eps)
        q = (normed @ weight("self_attn.q_proj").T).reshape(T, -1, D)  # (T, H, D)
        k = (normed @ weight("self_attn.k_proj").T).reshape(T, -1, D)  # (T, G, D)
        v = (normed @ weight("self_attn.v_proj").T).reshape(T, -1, D)
        q = rms_norm(q, weight("self_attn.q_norm"), eps)  # one weight (D,) for all heads
        k = rms_norm(k, weight("self_attn.k_norm"), eps)
        q, k = rope(q, config["rope_parameters"]), rope(k, config["rope_parameters"])
        x = x + attention(q, k, v, D**-0.5, config["sliding_window"]) @ weight("self_attn.o_proj").T

        normed = rms_norm(x, weight("post_attention_layernorm"), eps)
        if layer in config["mlp_only_layers"] or (layer + 1) % config["decoder_sparse_step"] != 0:
            x = x + swiglu(normed, weight, "mlp")  # a dense layer among the sparse ones
        else:
            x = x + mixture(normed, weight, config)
    return rms_norm(x, weights["model.norm.weight"], eps) @ head.T


def mixture(x: np.ndarray, weight, config: dict) -> np.ndarray:
    """(T, C) -> (T, C): for each token the experts that its router likes best, weighted by how much it likes them."""
    out = np.zeros_like(x)
    for t, token in enumerate(x):
        scores = weight("mlp.gate") @ token  # (experts,)
        probabilities = np.exp(scores - scores.max())
        probabilities /= probabilities.sum()  # over all experts, before the choice
        chosen = np.argsort(-probabilities)[: config["num_experts_per_tok"]]
        shares = probabilities[chosen]
        if config["norm_topk_prob"]:
            shares = shares / shares.sum()
        for expert, share in zip(chosen, shares, strict=True):
            out[t] += share * swiglu(token, weight, f"mlp.experts.{expert}")
    return out


def swiglu(x: np.ndarray, weight, name: str) -> np.ndarray:
    """(..., C) -> (..., C): a gated MLP."""
    gate, up = x @ weight(f"{name}.gate_proj").T, x @ weight(f"{name}.up_proj").T
    swish = gate / (1 + np.exp(-gate))
    return (swish * up) @ weight(f"{name}.down_proj").T
