"""A model whose feed-forward layers keep only their first rows: what MatFormer trains for, and other models do not."""

import copy

from torch import nn

from .errors import EvaluationError

GATED = ("gate_proj", "up_proj")
FUSED = "gate_up_proj"  # Phi-3's: the rows of gate, then those of up


def sliced(model, share: float):
    """A copy of the model with the first `share` of each feed-forward layer's width; nothing else is touched.

    Rows of gate and up, columns of down. EvaluationError: a model without such layers, or a share out of (0, 1].
    """
    if not 0 < share <= 1:
        raise EvaluationError(f"the share of the width came as {share}, wanted more than 0 and at most 1")
    model = copy.deepcopy(model)
    blocks = [module for name, module in model.named_modules() if name.endswith(".mlp")]
    if not blocks or not all(isinstance(getattr(block, "down_proj", None), nn.Linear) for block in blocks):
        raise EvaluationError(f"{type(model).__name__} has no feed-forward layers that can be sliced")
    for block in blocks:
        full = block.down_proj.in_features
        width = round(share * full)
        _keep(block.down_proj, columns=slice(width))
        if hasattr(block, FUSED):
            _keep(getattr(block, FUSED), rows=[*range(width), *range(full, full + width)])
        else:
            for name in GATED:
                _keep(getattr(block, name), rows=list(range(width)))
    return model


def _keep(linear: nn.Linear, rows: list[int] | None = None, columns: slice = slice(None)) -> None:
    weight = linear.weight.detach()[:, columns]
    if rows is not None:
        weight = weight[rows]
        if linear.bias is not None:
            linear.bias = nn.Parameter(linear.bias.detach()[rows], requires_grad=False)
    linear.weight = nn.Parameter(weight.clone(), requires_grad=False)
    linear.out_features, linear.in_features = weight.shape
