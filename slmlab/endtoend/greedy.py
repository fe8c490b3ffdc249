"""Exactness: what the accelerated model writes against the same model unpacked, and against transformers' blocks."""

from .contenders import DECODE_PROMPT, generate, linears
from .model import SCALE, codes, stored

GREEDY_TOKENS = 64


def greedy(model) -> dict:
    """What the accelerated model writes against the unpacked ones. Afterwards it is unpacked itself.

    equal: ids that it writes again when it is unpacked. blocks_equal: ids that transformers' blocks choose when they
    read the same ids. noise_equal: choices that those keep when each value of their input changes by its last bit.
    lead: the largest lead of such another choice, in standard deviations of the logits. head_rms: what int8 rows do to
    the logits of the bfloat16 head, relative to their size. head_equal: positions where both heads choose the same.
    """
    import torch

    ids, _ = generate(model, DECODE_PROMPT, GREEDY_TOKENS)
    rows = torch.from_numpy(model.lm_head.codes()) * model.lm_head.weight_scale[:, None]
    source = stored()
    with torch.no_grad():
        x = rows[ids]
        x = _blocks(source, torch.cat([x, torch.nextafter(x, torch.tensor(torch.inf))]))
        x, changed = source.model.norm.float()(x)[:, DECODE_PROMPT - 1 : -1]
        logits, chosen = x @ rows.T, ids[0, DECODE_PROMPT:]
        own = logits.argmax(1)
        noise_equal = int(((changed @ rows.T).argmax(1) == own).sum())
        published = x @ source.lm_head.weight.float().T
    lead = logits.amax(1) - logits.gather(1, chosen[:, None])[:, 0]
    del source, rows
    _unpack(model)
    again, _ = generate(model, DECODE_PROMPT, GREEDY_TOKENS)
    return {
        "equal": int((again == ids)[0, DECODE_PROMPT:].sum()),
        "blocks_equal": int((own == chosen).sum()),
        "noise_equal": noise_equal,
        "lead": float(lead.max() / logits.std()),
        "head_rms": float((logits - published).std() / published.std()),
        "head_equal": int((published.argmax(1) == own).sum()),
    }


def _blocks(source, x):
    """x (B, T, hidden) float32 through transformers' own blocks, one of them in memory at a time."""
    import torch
    from torch import nn
    from torch.nn import functional
    from transformers.models.bitnet.modeling_bitnet import BitNetDecoderLayer

    from slmlab.ternary.linear import quantize_tokens

    class Unpacked(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.codes = torch.from_numpy(codes(layer)).float()

        def forward(self, x):
            tokens, scale = quantize_tokens(x)
            return functional.linear(tokens, self.codes) * (SCALE / scale)

    source.config._attn_implementation = "sdpa"
    rotary = source.model.rotary_emb(x, torch.arange(x.shape[1])[None])
    for index, layer in enumerate(source.model.layers):
        with torch.device("meta"):
            block = BitNetDecoderLayer(source.config, index).eval()
        for name, module in list(layer.named_modules()):
            if hasattr(module, "weight_scale"):
                block.set_submodule(name, Unpacked(module))
            elif "norm" in name:
                block.get_submodule(name).weight = nn.Parameter(module.weight.float())
        x = block(x, position_embeddings=rotary)
    return x


def _unpack(model) -> None:
    """Put float32 matrices and NumPy in the place of the blocks' kernel calls: four bytes a weight."""
    import torch
    from torch.nn import functional

    from cython_kernels import reference

    def runner(linear, norm, eps):
        weight = torch.from_numpy(linear.codes()).float()  # sums up to 127 * 6912 are exact

        def unpacked(tokens, threads):
            x, scale = reference.quantize(tokens, norm.numpy(), eps)
            torch.set_num_threads(threads)
            sums = functional.linear(torch.from_numpy(x).float(), weight).numpy()
            torch.set_num_threads(1)
            return sums * (linear.weight_scale.numpy() / scale[:, None])

        return unpacked

    for layer in model.model.layers:
        norms = layer.input_layernorm, layer.attn_sub_norm, layer.post_attention_layernorm, layer.ffn_sub_norm
        layer._runners = [runner(*part, layer.eps) for part in zip(linears(layer), norms, strict=True)]
