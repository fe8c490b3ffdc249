"""A transformers BitNet model on packed weights: four kernel calls a block, and little between them.

h = h + o(norm(attention(rope(q, k), v)))         q, k, v = one call with the input norm; o = one with its norm
h = h + down(norm(relu(gate)^2 * up))             gate, up = one call with their norm; down = one with its norm
"""

import ctypes
import sys
from functools import wraps

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from tqdm import tqdm
from transformers import BitNetForCausalLM
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.bitnet.modeling_bitnet import BitNetDecoderLayer, BitNetModel
from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY

import cython_kernels as kernels

from .linear import PackedEmbedding, PackedLinear, _Packed, codes_and_scale, kernel_threads, torch_on_one_thread

FIRST_ROOM = 256  # tokens a cache has room for before it grows


class GrowingLayer(DynamicLayer):
    """Keys and values of one block, with room to grow: transformers' own layer copies all of them for each token.

    cache: (B, room, 2 KV, D) float32, what belongs to a token together, `length` tokens so far; None before the first
    """

    def __init__(self):
        self.cache, self.length, self.is_initialized = None, 0, False

    def reserve(self, B: int, T: int, heads: int, D: int) -> np.ndarray:
        """The cache, with room for T more tokens of 2 KV = heads."""
        end = self.length + T
        if self.cache is None or end > self.cache.shape[1]:
            old = self.cache
            self.cache = np.empty((B, max(FIRST_ROOM, 2 * end), heads, D), np.float32)  # untouched, it takes no memory
            self.is_initialized = True
            if old is not None:
                self.cache[:, : self.length] = old[:, : self.length]
        return self.cache

    def update(self, key_states, value_states, *args, **kwargs):
        kv = torch.cat([key_states, value_states], 1).transpose(1, 2).numpy()
        self.reserve(*kv.shape)[:, self.length : self.length + kv.shape[1]] = kv
        self.length += kv.shape[1]
        return self.keys, self.values

    keys = property(lambda self: self._both()[0])
    values = property(lambda self: self._both()[1])

    def _both(self) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """Views, (B, KV, length, D) each."""
        if self.cache is None:
            return None, None
        return torch.from_numpy(self.cache[:, : self.length]).transpose(1, 2).chunk(2, 1)

    def get_seq_length(self) -> int:
        return self.length

    def reset(self) -> None:
        self.__init__()

    def crop(self, tokens_to_remove: int) -> None:
        """tokens_to_remove: below zero, as for transformers' own layers."""
        self.length -= min(abs(tokens_to_remove), self.length)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if self.cache is not None:
            self.cache = self.cache[:, : self.length][indices.numpy()]

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.cache is not None:
            self.cache = np.repeat(self.cache[:, : self.length], repeats, axis=0)


class Rotary(nn.Module):
    """transformers' cosines and sines as arrays (B, T, D), the first half of the sines negated.

    They are made for many positions at once and looked up.
    """

    def __init__(self, rotary: nn.Module):
        super().__init__()
        self.rotary, self.tables = rotary, None

    def forward(self, x, position_ids):
        positions = np.broadcast_to(position_ids.numpy(), x.shape[:2])
        last = positions.max(initial=0)
        if self.tables is None or last >= len(self.tables[0]):
            many = torch.arange(max(FIRST_ROOM, 2 * last))[None]
            cosines, sines = (table[0].numpy() for table in self.rotary(torch.empty(0), many))
            sines[:, : sines.shape[1] // 2] *= -1
            self.tables = cosines, sines
        return [table[positions] for table in self.tables]


def turn(x: np.ndarray, cosines: np.ndarray, sines: np.ndarray) -> None:
    """Turn x (B, T, H, D) in place by its positions: each value together with the one half a head away."""
    B, T, H, D = x.shape
    halves = x.reshape(B, T, H, 2, D // 2)[:, :, :, ::-1].reshape(x.shape)
    halves *= sines[:, :, None]
    x *= cosines[:, :, None]
    x += halves


def attend(q: np.ndarray, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> np.ndarray:
    """Attention of q (B, T, H, D) over k and v (B, KV, L, D): (B, T, H, D). Without a mask it is causal."""
    T = q.shape[1]
    if mask is None:  # there is no past, or one token; a static cache holds room for the future
        k, v = (k, v) if T == 1 else (k[:, :, :T], v[:, :, :T])
    q = torch.from_numpy(q).transpose(1, 2)
    y = scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None and T > 1, enable_gqa=True)
    return y.transpose(1, 2).numpy()


class PackedLayer(_Packed, BitNetDecoderLayer):
    """A BitNetDecoderLayer on packed weights. It is one for transformers too, which finds its hidden states by that.

    What happens to a token between the kernels is little, and NumPy's calls are shorter than torch's.
    """

    def __init__(self, layer: BitNetDecoderLayer, format: str, arena: "Arena"):
        nn.Module.__init__(self)
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv_proj = _packed([attention.q_proj, attention.k_proj, attention.v_proj], format, arena)
        self.o_proj = _packed([attention.o_proj], format, arena)
        self.gate_up_proj = _packed([mlp.gate_proj, mlp.up_proj], format, arena)
        self.down_proj = _packed([mlp.down_proj], format, arena)
        for parent, name in (
            (layer, "input_layernorm"),
            (attention, "attn_sub_norm"),
            (layer, "post_attention_layernorm"),
            (mlp, "ffn_sub_norm"),
        ):
            self.register_buffer(name, getattr(parent, name).weight.detach().float().clone())
        config = attention.config
        self.eps, self.layer_idx = config.rms_norm_eps, attention.layer_idx
        self.heads = (config.num_attention_heads, config.num_key_value_heads, attention.head_dim)
        self._runners = None

    def runners(self):
        """The four kernel calls."""
        if self._runners is None:
            self._runners = (
                self.qkv_proj.runner(self.input_layernorm, self.eps),
                self.o_proj.runner(self.attn_sub_norm, self.eps),
                self.gate_up_proj.runner(self.post_attention_layernorm, self.eps),
                self.down_proj.runner(self.ffn_sub_norm, self.eps),
            )
        return self._runners

    def forward(
        self, hidden_states, attention_mask=None, past_key_values=None, position_embeddings=None, **kwargs
    ) -> torch.Tensor:
        if kwargs.get("output_attentions"):
            raise ValueError("output_attentions came, but packed blocks do not keep them: ask the model before it")
        run_qkv, run_o, run_gate_up, run_down = self.runners()
        threads = kernel_threads()
        B, T, K = hidden_states.shape
        H, KV, D = self.heads
        x = hidden_states.numpy().reshape(B * T, K)

        qkv = run_qkv(x, threads).reshape(B, T, H + 2 * KV, D)
        cosines, sines = position_embeddings
        cache = None if past_key_values is None else past_key_values.layers[self.layer_idx]
        if T == 1 and attention_mask is None and isinstance(cache, GrowingLayer):
            room = cache.reserve(B, T, 2 * KV, D)
            mixed = kernels.attend(qkv[:, 0], cosines[:, 0], sines[:, 0], room, cache.length, threads)
            cache.length += 1
        else:
            turn(qkv[:, :, : H + KV], cosines, sines)
            k, v = torch.from_numpy(qkv[:, :, H:]).transpose(1, 2).chunk(2, 1)
            if cache is not None:
                k, v = past_key_values.update(k, v, self.layer_idx)
            mixed = attend(qkv[:, :, :H], k, v, attention_mask)

        y = run_o(mixed.reshape(B * T, H * D), threads)
        y += x
        x = y
        gate_up = run_gate_up(x, threads)
        gate, up = gate_up[:, : gate_up.shape[1] // 2], gate_up[:, gate_up.shape[1] // 2 :]
        np.maximum(gate, 0, out=gate)
        gated = gate * gate
        gated *= up
        y = run_down(gated, threads)
        y += x
        return torch.from_numpy(y).view(B, T, K)

    def __getstate__(self):
        return {**super().__getstate__(), "_runners": None}


def _packed(linears: list[nn.Module], format: str, arena: "Arena") -> PackedLinear:
    """Linear layers with the same input as one: their rows one below the other."""
    parts = [codes_and_scale(linear) for linear in linears]
    codes = torch.cat([codes for codes, _ in parts])
    scale = torch.cat([torch.full((len(codes),), float(scale)) for codes, scale in parts])
    bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
    return PackedLinear.from_codes(codes, scale, bias, format, arena.take(*codes.shape, format))


class PackedNorm(_Packed):
    """The last RMSNorm, in NumPy too."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().float().clone(), False)  # transformers asks it for the dtype
        self.eps = norm.variance_epsilon

    def forward(self, x):
        x = x.numpy()
        mean = np.einsum("...k,...k->...", x, x)[..., None] / np.float32(x.shape[-1])
        x = x * (1 / np.sqrt(mean + np.float32(self.eps)))
        x *= self.weight.detach().numpy()
        return torch.from_numpy(x)


class PackedBody(BitNetModel):
    """A BitNetModel that goes the short way from token to token, where nothing but the last hidden state is asked."""

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None, **kwargs
    ):
        cache = past_key_values
        grows = isinstance(cache, DynamicCache) and any(isinstance(layer, GrowingLayer) for layer in cache.layers[:1])
        asked = ("output_hidden_states", "output_attentions")
        if (
            not grows
            or inputs_embeds is not None
            or (input_ids.shape[1] > 1 and cache.get_seq_length() > 0)
            or (attention_mask is not None and not (attention_mask.ndim == 2 and attention_mask.all()))
            or any(kwargs.get(name, getattr(self.config, name, False)) for name in asked)
            or kwargs.get("return_dict") is False
        ):
            return super().forward(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, **kwargs)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1])[None] + cache.get_seq_length()
        x = self.embed_tokens(input_ids)
        rotary = self.rotary_emb(x, position_ids)
        for layer in self.layers:
            x = layer(x, past_key_values=cache, position_embeddings=rotary)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=cache)


class PackedBitNet(BitNetForCausalLM):
    """What accelerate() makes of a BitNetForCausalLM."""

    @wraps(BitNetForCausalLM.forward)
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, *args, **kwargs):
        cache = past_key_values
        if type(cache) is DynamicCache and cache.get_seq_length() == 0 and not cache.offloading:
            cache.layers = [GrowingLayer() for _ in self.model.layers]
        with torch_on_one_thread():
            return super().forward(input_ids, attention_mask, position_ids, cache, *args, **kwargs)

    def generate(self, *args, **kwargs):
        with torch_on_one_thread():
            return super().generate(*args, **kwargs)


class Arena:
    """All packed weights of a model, one after another in one piece of memory: in huge pages, where there are such."""

    def __init__(self, size: int):
        self.free = torch.from_numpy(kernels.empty(size))

    def take(self, N: int, K: int, format: str) -> torch.Tensor:
        size = kernels.packed_bytes(N, K, format)  # a multiple of 128, so the next one starts at a multiple of 64 too
        taken, self.free = self.free[:size], self.free[size:]
        return taken


def accelerate(model: BitNetForCausalLM, format: str) -> BitNetForCausalLM:
    """See `slmlab.ternary.accelerate`."""
    _check(model, format)
    format = _held(format)
    body, head, embedding = model.model, model.lm_head, model.model.embed_tokens
    tied = head.weight is embedding.weight
    matrices = [(N, K, format) for N, K in _shapes(model.config) * len(body.layers)]
    matrices += [(*head.weight.shape, "int8")] * (1 if tied else 2)
    arena = Arena(sum(kernels.packed_bytes(*matrix) for matrix in matrices))
    for i in tqdm(range(len(body.layers)), "packing", leave=False, delay=2):
        body.layers[i] = PackedLayer(body.layers[i], format, arena).eval()
    model.lm_head = PackedLinear.from_rows(head.weight, arena.take(*head.weight.shape, "int8"))
    table = model.lm_head
    if not tied:
        table = PackedLinear.from_rows(embedding.weight, arena.take(*embedding.weight.shape, "int8"))
    body.embed_tokens = PackedEmbedding(table).eval()
    body.rotary_emb = Rotary(body.rotary_emb).eval()
    body.norm = PackedNorm(body.norm).eval()
    model.__class__, body.__class__ = PackedBitNet, PackedBody
    # What a constructor does for its class. The key is a name: transformers 5.20 is given it, 5.23 asks for the model.
    _CAN_RECORD_REGISTRY.update({str(PackedBody): PackedBody._can_record_outputs})
    del head, embedding
    _give_back()
    return model.requires_grad_(False)


def _give_back() -> None:
    """Hand freed memory to the system, where the C library keeps pieces of some megabytes for later (glibc)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _shapes(config) -> list[tuple[int, int]]:
    """N and K of a block's four matrices."""
    hidden, inner = config.hidden_size, config.intermediate_size
    D = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    q, kv = config.num_attention_heads * D, config.num_key_value_heads * D
    return [(q + 2 * kv, hidden), (hidden, q), (2 * inner, hidden), (hidden, inner)]


def _check(model, format: str) -> None:
    if not isinstance(model, BitNetForCausalLM):
        raise TypeError(f"the model is a {type(model).__name__}, wanted a transformers BitNetForCausalLM")
    if isinstance(model.lm_head, PackedLinear):
        raise ValueError("the model is accelerated already: use it as it is")
    if model.training:
        raise ValueError("the model is in training mode, and packed weights cannot be trained: call model.eval() first")
    if format not in ("base3", "2bit"):
        raise ValueError(f"format is {format!r}, wanted 'base3' or '2bit'")
    if model.config.hidden_act != "relu2":
        raise ValueError(f"hidden_act is {model.config.hidden_act!r}, wanted 'relu2', BitNet's: run the model as it is")
    rope_type = model.model.rotary_emb.rope_type
    if rope_type in ("dynamic", "longrope"):
        raise ValueError(
            f"the positions' rope_type is {rope_type!r}, which depends on the length of the text; wanted one that does "
            "not, such as 'default': run the model as it is"
        )
    if model.config._attn_implementation not in ("sdpa", "eager"):
        raise ValueError(
            f"the attention is {model.config._attn_implementation!r}, wanted 'sdpa' or 'eager': "
            "call model.set_attn_implementation('sdpa') first"
        )


def _held(format: str) -> str:
    """The format that the active backend computes on: packing in another one would keep the weights twice."""
    one = kernels.pack(np.zeros((1, 1), np.int8), format)
    return kernels.matrix(one, 1, 1, format=format).held
