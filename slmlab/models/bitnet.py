"""Packed BitNet folders (`autobitlinear`, offline), in plain torch: transformers would compile a few of their lines.

Compiling takes half a minute and a C++ compiler, at the first forward of a model that answers in milliseconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional
from transformers.integrations.bitnet import AutoBitLinear
from transformers.utils import logging

from ..ternary.linear import quantize_tokens


class EagerBitLinear(AutoBitLinear):
    """AutoBitLinear on unpacked codes: the same function, and in float32 BitLinear's bit for bit.

    weight        (N, K) -1, 0, +1        weight_scale  (1,)

    A gradient passes the rounding of the tokens as if it were not there; the weights take none.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        y = _Product.apply(input, self.weight, self.weight_scale)
        return y if self.bias is None else y + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, codes, scale):
        ctx.save_for_backward(codes, scale)
        x_codes, x_scale = quantize_tokens(x.float())
        sums = functional.linear(x_codes.to(codes.dtype), codes)  # whole numbers: exact in float32
        return (sums.float() * (scale.float() / x_scale)).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        codes, scale = ctx.saved_tensors
        return gradient @ (codes * scale), None, None


@contextmanager
def unpacking() -> Iterator[None]:
    """Inside, transformers unpacks without compiling, and does not warn of its own slow forward."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        logging.set_verbosity(before)


def make_eager(model, dtype: torch.dtype) -> None:
    """Change the model's packed layers into EagerBitLinear, and parameters that the loader left as stored into `dtype`.

    Buffers stay as the loader made them: the scales in `dtype`, the rotary embedding's frequencies in float32.
    """
    for module in model.modules():
        # A layer with an RMSNorm of its own stays transformers', and so does one that is made ternary in each forward.
        if type(module) is AutoBitLinear and not module.online_quant and module.rms_norm is None:
            module.__class__ = EagerBitLinear
            module.requires_grad_(False)  # it was, before the loader put the values in
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
