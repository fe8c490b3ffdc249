"""The model: 2B4T's shape with random weights, as the packed repository holds it and as transformers runs it."""

import numpy as np

from slmlab import catalog

MODEL = "BitNet b1.58 2B4T"
SCALE = 2.0**-6  # of every ternary matrix: exact in bfloat16, float16 and as a reciprocal


def config():
    """2B4T's, without special tokens: nothing ends a generation early."""
    from transformers import BitNetConfig

    published = {k: v for k, v in catalog.get(MODEL).config.items() if k not in ("quantization", "model_type")}
    rope = {"rope_type": "default", "rope_theta": float(published.pop("rope_theta"))}
    return BitNetConfig(**published, rope_parameters=rope, bos_token_id=None, eos_token_id=None)


def stored():
    """The model as the packed repository holds it: ternary weights four to a byte, all else bfloat16."""
    import torch
    from torch import nn
    from transformers import BitNetForCausalLM
    from transformers.models.bitnet.modeling_bitnet import BitNetRotaryEmbedding

    class Stored(nn.Module):
        """What a BitLinear of transformers holds, without its compiler."""

        def __init__(self, linear):
            super().__init__()
            self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, None
            digits = torch.randint(
                0, 3, (4, self.out_features // 4, self.in_features), dtype=torch.uint8, generator=dice
            )
            self.register_buffer("weight", digits[0] | digits[1] << 2 | digits[2] << 4 | digits[3] << 6)
            self.register_buffer("weight_scale", torch.full((1,), 1 / SCALE))

    dice = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = BitNetForCausalLM(config()).eval()
    for name, linear in list(model.model.layers.named_modules()):
        if isinstance(linear, nn.Linear):
            model.model.layers.set_submodule(name, Stored(linear))
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            value = torch.ones(parameter.shape, dtype=torch.bfloat16)
            if parameter.ndim == 2:
                value.normal_(std=0.02, generator=dice)
            setattr(module, name, nn.Parameter(value, requires_grad=False))
    model.model.rotary_emb = BitNetRotaryEmbedding(model.config)
    model.lm_head.weight = model.model.embed_tokens.weight
    return model


def shipped(kind: str):
    """The same model in transformers: "bf16" (dense), "autobitlinear" (unpacked), "bitlinear" (unpacks at each use)."""
    import torch
    from torch import nn

    model = stored()
    for name, layer in list(model.model.layers.named_modules()):
        if not hasattr(layer, "weight_scale"):
            continue
        if kind == "bitlinear":
            from transformers.integrations.bitnet import BitLinear

            new = BitLinear(layer.in_features, layer.out_features, bias=False, dtype=torch.bfloat16)
            new.weight, new.weight_scale = layer.weight, layer.weight_scale.to(torch.bfloat16)
        else:
            if kind == "bf16":
                dense = nn.Linear
            else:
                from transformers.integrations.bitnet import AutoBitLinear as dense
            with torch.device("meta"):
                new = dense(layer.in_features, layer.out_features, bias=False, dtype=torch.bfloat16)
            if kind == "autobitlinear":
                new.weight_scale = torch.full((1,), SCALE, dtype=torch.bfloat16)
            values = torch.from_numpy(codes(layer)).to(torch.bfloat16)
            new.weight = nn.Parameter(values * SCALE if kind == "bf16" else values, requires_grad=False)
        model.model.layers.set_submodule(name, new.eval())
    return model


def codes(layer) -> np.ndarray:
    """The ternary codes, (N, K) int8, of a layer of stored()."""
    from cython_kernels import layouts

    return layouts.hf_unpack(layer.weight.numpy(), layer.out_features)
