"""Which experts a mixture chooses for which text."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch

from .generation import Ids, padded
from .intervals import Estimate, bootstrap, ratio
from .losses import batches

DEAD = 0.1  # of an even share: an expert with less than that is called dead


@torch.no_grad()
def choices(model, sequences: Sequence[Ids]) -> np.ndarray:
    """How often each layer's router chose each expert, per document: (documents, layers, experts) int64."""
    routers = [module for name, module in model.named_modules() if name.endswith("mlp.gate")]
    config = model.config
    counts = np.zeros((len(sequences), len(routers), config.num_experts), np.int64)
    chosen: list[torch.Tensor] = []  # of each layer, (B T, experts a token)
    handles = [router.register_forward_hook(lambda _, __, out: chosen.append(out[2])) for router in routers]
    try:
        for some in batches([len(ids) for ids in sequences]):
            ids, mask = padded([sequences[index] for index in some])
            chosen.clear()
            model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
            for layer, indices in enumerate(chosen):
                indices = indices.view(*ids.shape, -1)
                for row, index in enumerate(some):
                    own = indices[row][mask[row] == 1].flatten()
                    counts[index, layer] = torch.bincount(own, minlength=config.num_experts).numpy()
    finally:
        for handle in handles:
            handle.remove()
    return counts


def shares(counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Each expert's share of its layer's choices: (draws, layers, experts) from counts (documents, layers, experts).

    weights: (draws, documents), how often each document counts; once, in one draw, if left out
    """
    total = np.tensordot(np.ones((1, len(counts))) if weights is None else weights, counts, 1)
    return total / total.sum(-1, keepdims=True)


def distances(by_domain: Sequence[np.ndarray]) -> np.ndarray:
    """Total-variation distance, half the sum of |p - q|, of all pairs of domains: (pairs, draws, layers).

    by_domain: shares, (draws, layers, experts) each
    """
    return np.array([np.abs(p - q).sum(-1) / 2 for p, q in combinations(by_domain, 2)])


def distance(counts: Mapping[str, np.ndarray], layer: int | None = None) -> Estimate:
    """The distance of domains, the mean over all pairs of them, in one layer or in that where it is largest.

    Documents are resampled. Chance alone makes a distance larger than 0, the more so the fewer tokens there are.
    """
    if layer is None:
        return _resampled(counts, lambda pairs: pairs.mean(0).max(-1))
    return _resampled(counts, lambda pairs: pairs.mean(0)[:, layer])


def farthest(counts: Mapping[str, np.ndarray], layer: int) -> Estimate:
    """The distance of those two domains that are farthest apart in a layer."""
    return _resampled(counts, lambda pairs: pairs.max(0)[:, layer])


def _resampled(counts: Mapping[str, np.ndarray], of_pairs: Callable[[np.ndarray], np.ndarray]) -> Estimate:
    """of_pairs: distances() -> (draws,)"""
    sizes = [len(own) for own in counts.values()]
    domain = np.repeat(np.arange(len(sizes)), sizes)

    def statistic(weights: np.ndarray) -> np.ndarray:
        return of_pairs(distances([shares(own, weights[:, domain == d]) for d, own in enumerate(counts.values())]))

    return bootstrap(statistic, sizes)


def dead(counts: Mapping[str, np.ndarray]) -> int:
    """Experts, over all layers, that have less than DEAD of an even share in every domain."""
    most = np.max([shares(own)[0] for own in counts.values()], axis=0)  # (layers, experts)
    return int((most < DEAD / most.shape[1]).sum())


def favourite(counts: np.ndarray, layer: int) -> tuple[int, Estimate]:
    """The expert that these documents choose most in a layer, and its share of their choices there."""
    of_layer = counts[:, layer]  # (documents, experts)
    expert = int(of_layer.sum(0).argmax())
    return expert, ratio(of_layer[:, expert], of_layer.sum(1))
