"""Gemma 3n, text (Gemma3nForCausalLM): Gemma 3's block with five additions, each in a function of its own.

- per-layer embeddings: each layer reads a small vector of each token out of a second table (per_layer_inputs,
  gated_input)
- AltUp: several streams of activations, of which one goes through the block and the others are predicted from it
  (predict, correct). Source: arXiv 2301.13310
- LAuReL: a second, low-rank way around the attention (laurel). Source: arXiv 2411.07501
- activation sparsity: of an MLP's gates the few largest remain, by mean and deviation instead of sorting
  (statistical_top_k). Source: arXiv 2506.06644
- shared keys and values: the last layers have none of their own and read those of an earlier layer of their kind

No paper describes the whole; the order of the steps is that of transformers' modelling code. Block, norms and ropes:
arXiv 2503.19786 and 2408.00118, but a norm's weight is stored as it is here, where Gemma 3 stores its distance from 1.
"""

from statistics import NormalDist

import numpy as np

from . import attention, rms_norm, rope


def logits(config: dict, weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    T, eps, D = len(ids), config["rms_norm_eps"], config["head_dim"]
    active = config["altup_active_idx"]
    first_shared = config["num_hidden_layers"] - config["num_kv_shared_layers"]
    embedding = weights["model.embed_tokens.weight"]  # (V, C)
    head = embedding if config["tie_word_embeddings"] else weights["lm_head.weight"]

    x = embedding[ids] * config["hidden_size"] ** 0.5  # (T, C)
    inputs = per_layer_inputs(config, weights, ids, x)  # (T, layers, P)
    streams = np.stack([x] + [as_large_as(x, x @ w.T) for w in projections(config, weights, "altup_projections")])
    kept = {}  # layer type: the keys and values that its last layer of its own made
    for layer, layer_type in enumerate(config["layer_types"]):

        def weight(name, layer=layer):
            return weights[f"model.layers.{layer}.{name}"]

        predicted = predict(streams, weight, config)  # (S, T, C)
        x = predicted[active]  # (T, C)

        normed = rms_norm(x, weight("input_layernorm.weight"), eps)
        turns = config["rope_parameters"][layer_type]
        q = (normed @ weight("self_attn.q_proj.weight").T).reshape(T, -1, D)  # (T, H, D)
        q = rope(rms_norm(q, weight("self_attn.q_norm.weight"), eps), turns)
        if layer < first_shared:
            k = (normed @ weight("self_attn.k_proj.weight").T).reshape(T, -1, D)  # (T, G, D)
            v = (normed @ weight("self_attn.v_proj.weight").T).reshape(T, -1, D)
            k = rope(rms_norm(k, weight("self_attn.k_norm.weight"), eps), turns)
            v = rms_norm(v, 1.0, eps)
            kept[layer_type] = k, v
        else:
            k, v = kept[layer_type]
        window = config["sliding_window"] if layer_type == "sliding_attention" else None
        mixed = attention(q, k, v, 1.0, window) @ weight("self_attn.o_proj.weight").T  # the norms have scaled q and k
        attended = x + rms_norm(mixed, weight("post_attention_layernorm.weight"), eps)
        x = (attended + laurel(normed, weight, eps)) / 2**0.5

        normed = rms_norm(x, weight("pre_feedforward_layernorm.weight"), eps)
        gate, up = normed @ weight("mlp.gate_proj.weight").T, normed @ weight("mlp.up_proj.weight").T  # (T, F)
        sparsity = config["activation_sparsity_pattern"][layer]
        if sparsity > 0:
            gate = statistical_top_k(gate, sparsity)
        mlp = (gelu(gate) * up) @ weight("mlp.down_proj.weight").T
        x = x + rms_norm(mlp, weight("post_feedforward_layernorm.weight"), eps)

        streams = correct(predicted, x, weight, config)
        streams[1:] += gated_input(streams[active], inputs[:, layer], weight, config)

    back = projections(config, weights, "altup_unembed_projections")
    folded = [as_large_as(streams[0], stream @ w.T) for stream, w in zip(streams[1:], back, strict=True)]
    x = np.mean([streams[0], *folded], axis=0)
    out = rms_norm(x, weights["model.norm.weight"], eps) @ head.T
    cap = config["final_logit_softcapping"]
    return out if cap is None else cap * np.tanh(out / cap)


def per_layer_inputs(config: dict, weights: dict, ids: list[int], x: np.ndarray) -> np.ndarray:
    """What the layers read besides the streams, (T, layers, P): each token's row of the second table, P values a layer,
    and as many made from its embedding x (T, C). An id beyond the second table reads row 0."""
    L, P = config["num_hidden_layers"], config["hidden_size_per_layer_input"]
    rows = [token if token < config["vocab_size_per_layer_input"] else 0 for token in ids]
    looked_up = weights["model.embed_tokens_per_layer.weight"][rows].reshape(-1, L, P) * P**0.5
    made = x @ weights["model.per_layer_model_projection.weight"].T / config["hidden_size"] ** 0.5
    normed = rms_norm(made.reshape(-1, L, P), weights["model.per_layer_projection_norm.weight"], config["rms_norm_eps"])
    return (looked_up + normed) / 2**0.5


def gated_input(x: np.ndarray, inputs: np.ndarray, weight, config: dict) -> np.ndarray:
    """What a layer adds to all streams but the first, (T, C): its inputs (T, P), let through by gates made from x."""
    if config["altup_correct_scale"]:
        x = x * weight("altup.correct_output_scale")
    gate = gelu(x @ weight("per_layer_input_gate.weight").T)  # (T, P)
    added = (gate * inputs) @ weight("per_layer_projection.weight").T
    return rms_norm(added, weight("post_per_layer_input_norm.weight"), config["rms_norm_eps"])


def projections(config: dict, weights: dict, name: str) -> list[np.ndarray]:
    """The matrices (C, C) that make streams 1 ... S - 1 from the embedding, or take them back at the end."""
    return [weights[f"model.{name}.{i}.weight"] for i in range(config["altup_num_inputs"] - 1)]


def as_large_as(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y (T, C), scaled so that each token's root mean square is x's."""
    size = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    return y * size / np.sqrt(np.maximum(np.mean(y**2, axis=-1, keepdims=True), 1e-5))


def modalities(x: np.ndarray, weight, config: dict) -> np.ndarray:
    """x (T, C) -> (T, S) between -1 and 1, from which AltUp's coefficients are made."""
    normed = rms_norm(x, weight("altup.router_norm.weight"), config["rms_norm_eps"]) / config["hidden_size"]
    return np.tanh(normed @ weight("altup.modality_router.weight").T)


def predict(streams: np.ndarray, weight, config: dict) -> np.ndarray:
    """AltUp before the block: stream i becomes itself plus sum over j of coefs[i, j] stream j; (S, T, C)."""
    S, T, _ = streams.shape
    routed = modalities(streams[config["altup_active_idx"]], weight, config)
    coefs = (routed @ weight("altup.prediction_coefs.weight").T).reshape(T, S, S)
    predicted = streams.copy()
    for t in range(T):
        for i in range(S):
            for j in range(S):
                predicted[i, t] += coefs[t, i, j] * streams[j, t]
    return predicted


def correct(predicted: np.ndarray, x: np.ndarray, weight, config: dict) -> np.ndarray:
    """AltUp after the block: what the block x (T, C) says beyond the prediction goes to all streams, (S, T, C)."""
    coefs = 1 + modalities(x, weight, config) @ weight("altup.correction_coefs.weight").T  # (T, S)
    innovation = x - predicted[config["altup_active_idx"]]
    return np.stack([stream + coefs[:, i, None] * innovation for i, stream in enumerate(predicted)])


def laurel(x: np.ndarray, weight, eps: float) -> np.ndarray:
    """x (T, C) and a low-rank function of it, normed."""
    low = x @ weight("laurel.linear_left.weight").T  # (T, laurel_rank)
    return x + rms_norm(low @ weight("laurel.linear_right.weight").T, weight("laurel.post_laurel_norm.weight"), eps)


def statistical_top_k(gate: np.ndarray, sparsity: float) -> np.ndarray:
    """gate (T, F) less a cutoff below which it becomes 0: were a token's gates normal, a share of `sparsity` would."""
    mean, deviation = gate.mean(axis=-1, keepdims=True), gate.std(axis=-1, keepdims=True)
    return np.maximum(0, gate - (mean + deviation * NormalDist().inv_cdf(sparsity)))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
