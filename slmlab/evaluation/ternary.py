"""Three ways to a ternary model: trained so, rounded to it afterwards, and packed for the kernels."""

import copy

import torch
from torch import nn

from slmlab.ternary import BitLinear, accelerate
from slmlab.ternary.linear import codes_and_scale, ternarize

from .errors import EvaluationError
from .generation import Ids


def as_trained(model):
    """A copy of a packed or ternary BitNet model with the linear layers it was trained with.

    A packed file keeps codes and scales, not master weights. BitLinear makes both from its weight, so each layer gets
    weights that lead to the same codes and the same scale: the forward is that of training, bit for bit.
    """
    return _swapped(model, _master)


def rounded(model):
    """A copy of a full-precision model, rounded to ternary after its training: its weights become BitLinear's."""
    return _swapped(model, _rounded)


def packed(model):
    """A copy of the model on the kernels."""
    return accelerate(copy.deepcopy(model))


def same_ids(ours: list[Ids], theirs: list[Ids]) -> int:
    """How many answers are the same from the first id to the last."""
    return sum(a == b for a, b in zip(ours, theirs, strict=True))


def _swapped(model, make):
    model = copy.deepcopy(model)
    for name, linear in list(model.named_modules()):
        if isinstance(linear, nn.Linear) and name.rpartition(".")[2] != "lm_head":
            model.set_submodule(name, make(linear))
    return model.eval().requires_grad_(False)


def _rounded(linear: nn.Linear) -> BitLinear:
    layer = BitLinear(linear.in_features, linear.out_features, linear.bias is not None)
    layer.weight, layer.bias = linear.weight, linear.bias
    return layer


def _master(linear: nn.Linear) -> BitLinear:
    if isinstance(linear, BitLinear):
        return linear
    codes, scale = codes_and_scale(linear)
    scale = torch.as_tensor(scale, dtype=torch.float32)
    layer = BitLinear(linear.in_features, linear.out_features, linear.bias is not None)
    layer.bias = linear.bias
    codes = codes.float()
    layer.weight.data = weight = codes.clone()
    ones = int(weight.abs().sum())
    if ones:
        weight *= scale.double() * weight.numel() / ones  # mean|weight| is the scale, and weight / scale at least 1
        largest = weight.abs().argmax()
        missing = scale.double() * weight.numel() - weight.abs().sum(dtype=torch.float64)
        weight.view(-1)[largest] += weight.view(-1)[largest].sign() * missing  # what rounding to float32 took
    made, made_scale = ternarize(weight)
    if not (torch.equal(made, codes) and (made_scale == scale or not ones)):
        raise EvaluationError(
            f"a layer of {linear.out_features} x {linear.in_features} with the scale {scale:g} cannot be given the "
            "weights that it was trained with"
        )
    return layer
