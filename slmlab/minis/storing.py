"""Storing: a trained mini as a folder in the hub's layout, bfloat16, or two bits a weight where it is ternary."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.utils import logging

from cython_kernels import layouts

from ..ternary import BitLinear
from ..ternary.linear import ternarize

WEIGHTS = "model.safetensors"
READABLE = 0o644  # safetensors lets the owner alone read what it writes
LINEAR_CLASS = "autobitlinear"
PACKED = {  # transformers loads such a folder as it is
    "quant_method": "bitnet",
    "linear_class": LINEAR_CLASS,
    "quantization_mode": "offline",
    "modules_to_not_convert": ["lm_head"],
}


def rounded(model):
    """A copy of a float32 model with the values that save() keeps: bfloat16's, in float32.

    BitLinear's master weights stay: what is kept of them, their codes and scale, is what its forward uses.
    """
    model = copy.deepcopy(model)
    masters = {id(module.weight) for module in model.modules() if isinstance(module, BitLinear)}
    with torch.no_grad():
        for parameter in model.parameters():
            if id(parameter) not in masters:
                parameter.copy_(parameter.bfloat16())
    return model


def save(model, words, folder: Path) -> None:
    """Write configuration, weights and tokenizer of a float32 model into `folder`, which exists.

    The matrices of a model with BitLinear are packed as transformers' `autobitlinear` keeps them: uint8, four codes a
    byte, and a float32 scale; the rest is bfloat16.
    """
    words.save_pretrained(folder)
    packed = _packed(model)
    if not packed:
        with _no_bar():
            copy.deepcopy(model).bfloat16().save_pretrained(folder)
        (folder / WEIGHTS).chmod(READABLE)
        return
    tensors = {name: value.detach().bfloat16() for name, value in model.named_parameters() if name not in packed}
    for name, layer in packed.items():
        codes, scale = ternarize(layer.weight.detach())
        tensors[name] = torch.from_numpy(layouts.hf_pack(codes.to(torch.int8).numpy()))
        stored_scale = layouts.hf_pack_scale(scale.item(), LINEAR_CLASS)
        tensors[f"{name}_scale"] = torch.tensor([stored_scale], dtype=torch.float32)
    config = copy.deepcopy(model.config)
    config.architectures, config.dtype, config.quantization_config = [type(model).__name__], "bfloat16", PACKED
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    (folder / WEIGHTS).chmod(READABLE)


def _packed(model) -> dict[str, BitLinear]:
    """Name of a weight -> its BitLinear."""
    return {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, BitLinear)}


@contextmanager
def _no_bar() -> Iterator[None]:
    """Inside, transformers draws no bar for a single file."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
