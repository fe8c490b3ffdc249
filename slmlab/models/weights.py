"""A model that holds other weights for a while."""

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
    was stored as bfloat16. ModelError, with the model as it was, for values of another shape.
    """
    import torch

    matrices = [(name, matrix) for name, matrix in model.named_parameters() if matrix.ndim == 2]
    # One block, and touched only as far as it is used: a tensor for each would leave holes between what change makes.
    room = torch.empty(sum(matrix.numel() for _, matrix in matrices), dtype=torch.bfloat16)
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
                short, room = room[: matrix.numel()].view(matrix.shape).copy_(matrix), room[matrix.numel() :]
                kept.append((matrix, short if torch.equal(short.to(matrix.dtype), matrix) else matrix.clone()))
                matrix.copy_(torch.from_numpy(np.require(new, np.float32, "CW")))
        yield
    finally:
        with torch.no_grad():
            for matrix, before in kept:
                matrix.copy_(before)
