"""Who takes part: transformers' ways of running the model and ours, and what each measures in its turn."""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psutil

from slmlab import bench, catalog
from slmlab.ledger import format_bytes

from .model import MODEL, shipped, stored

SPARE_BYTES = 2 * 10**9  # of memory, for everything that is not a contender
PACKED_BYTES = 2 * 10**9  # of memory, that a contender with packed weights takes while it is made
DECODE_PROMPT, DECODE_TOKENS, PROMPT_TOKENS = 8, 16, 128


@dataclass(frozen=True)
class Turn:
    """What a contender measured in one repetition; kernels_ms is None where no kernels are called by themselves."""

    decode_ms: float
    prompt_tok_per_s: float
    kernels_ms: float | None = None


@dataclass
class InTorch:
    """A model in this process. slow: it unpacks at every forward, so that two tokens and one turn are long enough."""

    name: str
    model: object
    slow: bool = False

    def turn(self) -> Turn:
        _, seconds = generate(self.model, DECODE_PROMPT, 1 + (2 if self.slow else DECODE_TOKENS))
        decode_ms = 1e3 * float(np.median(np.diff(seconds)[1:]))  # the first interval is the prompt's
        _, seconds = generate(self.model, PROMPT_TOKENS, 1)
        prompt_tok_per_s = PROMPT_TOKENS / float(seconds[1] - seconds[0])
        return Turn(decode_ms, prompt_tok_per_s, _kernels_ms(self.model) if is_ours(self.name) else None)


def is_ours(name: str) -> bool:
    return name.startswith("ours ")


def in_torch() -> Iterator[InTorch]:
    """All contenders of this process that fit into the memory."""
    from slmlab.ternary import accelerate

    dense_bytes = catalog.weight_bytes(catalog.get(MODEL), 16)
    for name, slow, size, make in (
        ("transformers bf16", False, dense_bytes, lambda: shipped("bf16")),
        ("ours base3", False, PACKED_BYTES, lambda: accelerate(stored())),
        ("ours 2bit", False, PACKED_BYTES, lambda: accelerate(stored(), "2bit")),
        ("autobitlinear", False, dense_bytes, lambda: shipped("autobitlinear")),
        ("bitlinear", True, PACKED_BYTES, lambda: shipped("bitlinear")),
    ):
        if not fits(name, size):
            continue
        print(f"building {name}", flush=True)
        yield InTorch(name, make(), slow)
        gc.collect()


def fits(name: str, size: int) -> bool:
    """Whether so many bytes of memory are free; a line is printed when not."""
    free = psutil.virtual_memory().available - SPARE_BYTES
    if size > free:
        print(f"{name}: left out, it takes {format_bytes(size)} and {format_bytes(max(free, 0))} are free")
    return size <= free


# ------------------------------------------------------------------------------------------------------------------
# Measures


class _Stamps:
    """A streamer that notes when each token comes."""

    def __init__(self):
        self.seconds = []

    def put(self, _):
        self.seconds.append(time.perf_counter())

    def end(self):
        pass


def prompt_ids(tokens: int):
    """Ids of a prompt, (1, tokens): the same for all contenders."""
    import torch

    return torch.randint(0, 1000, (1, tokens), generator=torch.Generator().manual_seed(1))


def generate(model, prompt_tokens: int, new_tokens: int) -> tuple[object, np.ndarray]:
    """Ids, (1, all), and the seconds at which the prompt was taken and each new token came."""
    stamps = _Stamps()
    ids = prompt_ids(prompt_tokens)
    ids = model.generate(ids, do_sample=False, max_new_tokens=new_tokens, pad_token_id=0, streamer=stamps)
    return ids, np.array(stamps.seconds)


def _kernels_ms(model) -> float:
    """A token's kernel calls alone: four a block and the head. The median of five rounds."""
    import torch

    dice, threads = np.random.default_rng(0), torch.get_num_threads()
    calls = [
        (run, dice.standard_normal((1, linear.in_features), np.float32))
        for layer in model.model.layers
        for run, linear in zip(layer.runners(), linears(layer), strict=True)
    ]
    calls.append((model.lm_head.runner(), dice.standard_normal((2, model.lm_head.in_features), np.float32)))
    samples = []
    for _ in range(6):  # the head's x is two terms, so two rows
        start = time.perf_counter()
        for run, x in calls:
            run(x, threads)
        samples.append(time.perf_counter() - start)
    return 1e3 * float(np.median(samples[1:]))


def linears(layer) -> list:
    return [layer.qkv_proj, layer.o_proj, layer.gate_up_proj, layer.down_proj]


# ------------------------------------------------------------------------------------------------------------------
# Memory


def resident(format: str) -> dict:
    """Memory of this process after it has built, accelerated and run the model."""
    from slmlab.ternary import accelerate

    model = accelerate(stored(), format)
    gc.collect()
    generate(model, DECODE_PROMPT, DECODE_TOKENS)
    return vars(bench.memory())


def resident_alone(name: str) -> dict:
    """The same of "ours base3" or "ours 2bit", in a process that does nothing else."""
    command = [sys.executable, "-m", "slmlab.endtoend", "--resident", name.split()[1]]
    return json.loads(
        subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()[-1]
    )
