"""The minis' families in plain NumPy and float64: what their forward is, one file each, to read and to compare with.

    from reference import qwen3
    qwen3.logits(config, weights, ids)        (T,) token ids -> (T, vocab_size) logits

config is config.json as a dict and weights are the tensors of model.safetensors by their names there, as float64 arrays
(integers stay what they are). A row of a matrix is what one output is made of: y = x @ W.T. There is no cache, no batch
and no speed: every token of the text is computed at once from what the papers say. Letters: T tokens, H heads, G heads
of keys and values, D width of a head, C hidden_size, F intermediate_size, V vocab_size.

Three functions are the same in all families and stand here; the rest a family spells out for itself.
"""

import numpy as np


def rms_norm(x: np.ndarray, weight: np.ndarray | float, eps: float) -> np.ndarray:
    """x (..., C) divided by its root mean square, times weight (C,). Source: arXiv 1910.07467."""
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * weight


def rope(x: np.ndarray, parameters: dict) -> np.ndarray:
    """Queries or keys x (T, H, D), turned by their positions 0 ... T - 1. Source: arXiv 2104.09864, section 3.2.2.

    Pair i of a head is turned by t * rope_theta^(-2i / R) radians at position t. Of a head the first R = D *
    partial_rotary_factor values are turned; the pairs are (x[i], x[R / 2 + i]), as in all these models, where the paper
    pairs neighbours.

    parameters: config's rope_parameters; ValueError for a rope_type other than "default"
    """
    if parameters["rope_type"] != "default":
        raise ValueError(f"rope_type is {parameters['rope_type']!r}, wanted 'default': no other is written here")
    T, _, D = x.shape
    R = int(D * parameters.get("partial_rotary_factor", 1.0))
    turned = x.copy()
    for t in range(T):
        for i in range(R // 2):
            angle = t * parameters["rope_theta"] ** (-2 * i / R)
            a, b = x[t, :, i], x[t, :, R // 2 + i]  # (H,)
            turned[t, :, i] = a * np.cos(angle) - b * np.sin(angle)
            turned[t, :, R // 2 + i] = a * np.sin(angle) + b * np.cos(angle)
    return turned


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, window: int | None = None) -> np.ndarray:
    """Each token's mean of the values, weighted by softmax(scale q . k): (T, H * D).

    q (T, H, D); k, v (T, G, D): H / G neighbouring heads of q read the same keys and values (arXiv 2305.13245). A token
    sees itself and those before it; with a window, the last `window` of these, itself included (arXiv 2004.05150).
    """
    T, H, D = q.shape
    G = k.shape[1]
    out = np.zeros((T, H, D))
    for t in range(T):
        first = 0 if window is None else max(0, t - window + 1)
        for h in range(H):
            g = h // (H // G)
            scores = scale * k[first : t + 1, g] @ q[t, h]  # (tokens seen,)
            probabilities = np.exp(scores - scores.max())
            probabilities /= probabilities.sum()
            out[t, h] = probabilities @ v[first : t + 1, g]
    return out.reshape(T, H * D)
