"""BitNet b1.58's arithmetic, w1.58a8, as torch modules: to train with, and to run packed on the kernels.

    layer = BitLinear(256, 512)                      an nn.Linear that computes in ternary, with gradients
    packed = PackedLinear.from_linear(layer)         the same function bit for bit, 1.6 bits a weight, inference alone
    accelerate(model)                                a transformers BitNet model, in place, on packed weights

w1.58a8: y = sum over k of w[n, k] x[m, k] * (w_scale / x_scale[m]), where w is -1, 0 or +1 with one scale a matrix (the
mean of |weight|) and x an int8 code with one scale a token (127 / max |x|). The sums are whole numbers, so every
implementation can give the same ones.

Source: arXiv 2402.17764; transformers/integrations/bitnet.py. The codes of weights are those of quant.quantize_ternary;
scales stay float32 here.
"""

from .linear import BitLinear, PackedEmbedding, PackedLinear

__all__ = ["BitLinear", "PackedEmbedding", "PackedLinear", "accelerate"]


def accelerate(model, format: str = "base3"):
    """Put a transformers BitNetForCausalLM on packed weights, in place, and return it: float32, inference alone.

    The matrices of the blocks are packed as `format`, "base3" or "2bit"; where the active backend would hold "base3" as
    "2bit", they are packed as "2bit" at once. They may come packed (`bitlinear`), unpacked (`autobitlinear`, offline or
    online), as this module's BitLinear, or as plain master weights, which are made ternary as `autobitlinear` online
    does. Embedding and head become int8, one scale a row (largest |weight| / 127), and the head's input int8 too; tied
    ones share their bytes. This rounding of the head is the one step that the published model does not have.

    The old weights are let go block by block. generate(), the cache, left padding and the configuration stay as they
    were; attention is torch's scaled_dot_product_attention. To keep the model, save it before.

    TypeError: not a BitNet model. ValueError: in training mode, accelerated already, or with a part that has no packed
    form; the model is as it was, unless a matrix turns out not to be ternary half-way.
    """
    from . import bitnet

    return bitnet.accelerate(model, format)
