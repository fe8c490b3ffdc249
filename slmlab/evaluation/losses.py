"""Held-out loss: what each document's tokens cost a model, in nats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from .generation import Ids, padded
from .intervals import Estimate, ratio

TOKENS_AT_ONCE = 4096  # of a batch, padding included: its logits are 32 MB


@dataclass(frozen=True)
class Cost:
    """Of one document: the sum over its predicted tokens of -log p, and how many these are."""

    nats: float
    tokens: int


@torch.no_grad()
def costs(model, sequences: Sequence[Ids], starts: Sequence[int] | None = None) -> list[Cost]:
    """What each sequence costs: its ids from `starts` on, each given all those before it; all but the first if left
    out."""
    starts = [1] * len(sequences) if starts is None else starts
    found: list[Cost] = [Cost(0, 0)] * len(sequences)
    for some in batches([len(ids) for ids in sequences]):
        ids, mask = padded([sequences[index] for index in some])
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # (B, T, vocabulary)
        nats = cross_entropy(logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none")  # (B, T - 1)
        for row, index in enumerate(some):
            start, end = starts[index], len(sequences[index])
            found[index] = Cost(nats[row, start - 1 : end - 1].double().sum().item(), end - start)
    return found


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of sequences that go together: of like length, TOKENS_AT_ONCE with their padding or a single one."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and (len(batch) + 1) * lengths[index] > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def per_token(found: Sequence[Cost]) -> Estimate:
    """Nats a token."""
    return ratio([cost.nats for cost in found], [cost.tokens for cost in found])


def per_byte(found: Sequence[Cost], sizes_bytes: Sequence[int]) -> Estimate:
    """Nats a byte of UTF-8: it does not depend on how a tokenizer cuts a language."""
    return ratio([cost.nats for cost in found], sizes_bytes)


def increase(worse: Sequence[Cost], better: Sequence[Cost]) -> Estimate:
    """How many nats a token more `worse` costs than `better` on the same documents, one by one."""
    extra = [a.nats - b.nats for a, b in zip(worse, better, strict=True)]
    return ratio(extra, [cost.tokens for cost in better])
