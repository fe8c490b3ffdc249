"""What happens to the latent weights of BitLinear layers while they are trained: a diary, a line a step."""

import copy

import numpy as np
import torch
from torch import nn

from .linear import BitLinear, ternarize

EDGES = np.linspace(-3, 3, 121)  # of the histogram, in scales of each matrix: 20 bins a step


class LatentDiary:
    """Note the codes of all BitLinear layers of a model after each step: `note(loss)`.

    losses       of each step
    flipped      share of the codes that each step changed
    changed      share of the codes that are now others than at the first look
    first, now   histograms of the latent weights, each in units of its matrix's scale: share of all weights in each bin
                 of EDGES, (120,). At +-0.5 the code changes; what lies beyond 3 scales is in no bin
    """

    def __init__(self, model: nn.Module):
        self.edges = EDGES
        self._layers = [layer for layer in model.modules() if isinstance(layer, BitLinear)]
        if not self._layers:
            raise ValueError("the model has no BitLinear layer, wanted one whose weights are ternary in training")
        self.losses: list[float] = []
        self.flipped: list[float] = []
        self._first_codes = self._codes = self._look()
        self.first = self.histogram()

    def note(self, loss: float) -> None:
        """Take a look after a step that had this loss."""
        before, self._codes = self._codes, self._look()
        self.losses.append(float(loss))
        self.flipped.append(_share(self._codes, before))

    @property
    def changed(self) -> float:
        return _share(self._codes, self._first_codes)

    @property
    def now(self) -> np.ndarray:
        return self.histogram()

    def histogram(self) -> np.ndarray:
        return np.histogram(self.in_scales(), EDGES)[0] / len(self._codes)

    @torch.no_grad()
    def in_scales(self) -> np.ndarray:
        """All latent weights, each divided by the scale of its matrix: (weights,) float32."""
        return np.concatenate([(layer.weight / ternarize(layer.weight)[1]).ravel().numpy() for layer in self._layers])

    @torch.no_grad()
    def _look(self) -> torch.Tensor:
        return torch.cat([ternarize(layer.weight)[0].ravel().to(torch.int8) for layer in self._layers])


def unrounded(model: nn.Module) -> nn.Module:
    """A copy of the model that computes with its latent weights as they are, and with tokens as they come."""
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BitLinear):
            plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
            plain.weight, plain.bias = layer.weight, layer.bias
            model.set_submodule(name, plain)
    return model


def _share(codes: torch.Tensor, others: torch.Tensor) -> float:
    return (codes != others).double().mean().item()
