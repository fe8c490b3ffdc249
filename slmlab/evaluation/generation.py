"""Answers to many prompts at once: the likeliest, or drawn."""

from collections.abc import Callable, Collection, Sequence

import torch
from transformers import DynamicCache

Ids = list[int]

PROMPTS_AT_ONCE = 64


Choose = Callable[[torch.Tensor], torch.Tensor]  # logits (B, vocabulary) -> ids (B,)


def greedy(model, prompts: Sequence[Ids], limit: int, stop: Collection[int]) -> list[Ids]:
    """The likeliest ids after each prompt, at most `limit` of them, up to the first id of `stop` and without it.

    Prompts of like length go together, padded on the left; one that has come to its end leaves the batch. In a batch
    sums are added in another order than alone, so that what is nearly a tie may fall otherwise.
    """
    return _in_batches(model, prompts, limit, stop, lambda logits: logits.argmax(-1))


def sampled(
    model, prompts: Sequence[Ids], limit: int, stop: Collection[int], temperature: float, seed: int
) -> list[Ids]:
    """The same, each id drawn by its probability at a temperature above 0. A seed gives the same ids again."""
    generator = torch.Generator().manual_seed(seed)

    def draw(logits: torch.Tensor) -> torch.Tensor:
        probabilities = torch.softmax(logits.float() / temperature, -1)
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

    return _in_batches(model, prompts, limit, stop, draw)


@torch.no_grad()
def _in_batches(model, prompts: Sequence[Ids], limit: int, stop: Collection[int], choose: Choose) -> list[Ids]:
    answers: list[Ids] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), PROMPTS_AT_ONCE):
        some = order[start : start + PROMPTS_AT_ONCE]
        for index, answer in zip(some, _batch(model, [prompts[i] for i in some], limit, stop, choose), strict=True):
            answers[index] = answer
    return answers


def _batch(model, prompts: list[Ids], limit: int, stop: Collection[int], choose: Choose) -> list[Ids]:
    ids, mask = padded(prompts, left=True)
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    answers: list[Ids] = [[] for _ in prompts]
    going = list(range(len(prompts)))  # the prompt of each row of the batch
    for step in range(limit):
        position_ids = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]  # (B, vocabulary)
        chosen = choose(logits).tolist()
        on = [row for row, id in enumerate(chosen) if id not in stop]
        for row in on:
            answers[going[row]].append(chosen[row])
        if not on or step == limit - 1:
            break
        if len(on) < len(chosen):
            going, mask = [going[row] for row in on], mask[on]
            cache.batch_select_indices(torch.tensor(on))
        ids = torch.tensor([[chosen[row]] for row in on])
        mask = torch.cat([mask, mask.new_ones(len(on), 1)], 1)
    return answers


def padded(sequences: Sequence[Ids], left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (B, T) int64 each: 0 and 0 where a sequence is shorter than the longest."""
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        here = slice(longest - len(sequence), None) if left else slice(len(sequence))
        ids[row, here] = torch.tensor(sequence)
        mask[row, here] = 1
    return ids, mask
