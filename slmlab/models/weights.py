"""A model that holds other weights for a while, or computes in more digits than it stores."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import ModelError


@contextmanager
def with_weights(model: Any, change: Callable[[str, np.ndarray], np.ndarray | None]) -> Iterator[None]:
    """Inside the block the matrices that `change` returns stand in the model; after it, bit for bit those of before.

    change: called with the name of each matrix ("model.layers.0.mlp.up_proj.weight"; a tied one comes once) and with
        its values, float32 (N, K), read-only; returns what is to stand there, in the same shape, or None to leave it

    What is replaced is kept meanwhile: as bfloat16 where that holds it exactly, which is half of a float32 model that
    was stored as bfloat16; in a model of 16 bits it stays where it is, which costs nothing where it is mapped from a
    file. ModelError, with the model as it was, for values of another shape.
    """
    import torch

    matrices = [(name, matrix) for name, matrix in model.named_parameters() if matrix.ndim == 2]
    # One block, and touched only as far as it is used: a tensor for each would leave holes between what change makes.
    half = next((matrix.dtype for _, matrix in matrices if matrix.dtype != torch.float32), torch.bfloat16)
    room = torch.empty(sum(matrix.numel() for _, matrix in matrices), dtype=half)
    kept = []
    try:
        with torch.no_grad():
            for name, matrix in matrices:
                values = matrix.float().numpy()
                values.setflags(write=False)
                new = change(name, values)
                if new is None:
                    continue
                if np.shape(new) != values.shape:
                    raise ModelError(f"{name}: change returned shape {np.shape(new)}, wanted {values.shape}")
                new = torch.from_numpy(np.require(new, np.float32, "CW"))
                short, room = room[: matrix.numel()].view(matrix.shape), room[matrix.numel() :]
                if matrix.dtype == torch.float32:  # what was there goes into the room, else what comes
                    short.copy_(matrix)
                    kept.append((matrix, short if torch.equal(short.float(), matrix) else matrix.clone()))
                    matrix.copy_(new)
                else:
                    kept.append((matrix, matrix.data))
                    matrix.data = short.copy_(new) if short.dtype == matrix.dtype else new.to(matrix.dtype)
        yield
    finally:
        with torch.no_grad():
            for matrix, before in kept:
                if matrix.dtype == torch.float32:
                    matrix.copy_(before)
                else:
                    matrix.data = before


def compute_in_float32(model: Any) -> None:
    """Let a model that holds bfloat16 (or float16) compute in float32: a matrix is widened when its turn comes.

    It gives what a float32 copy of it gives, from half of the memory, and each forward widens every matrix anew. For
    models of torch's Linear and Embedding, whose other layers follow the dtype of what comes in, as Llama's and Qwen's.
    """
    import torch
    from torch.nn.functional import linear

    class Widening(torch.nn.Linear):
        def forward(self, x):
            bias = None if self.bias is None else self.bias.float()
            return linear(x, self.weight.float(), bias)

    for layer in model.modules():
        if isinstance(layer, torch.nn.Embedding):
            layer.register_forward_hook(lambda layer, ids, rows: rows.float())
        elif type(layer) is torch.nn.Linear:
            layer.__class__ = Widening  # a function that knows the layer would keep both until the next collection
