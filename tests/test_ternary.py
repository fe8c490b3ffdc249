"""w1.58a8 by hand, by transformers and by packed kernels: one function."""

import copy
import math
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import BitNetConfig, BitNetForCausalLM, DynamicCache, LlamaConfig, LlamaForCausalLM

import cython_kernels
from cython_kernels import layouts
from slmlab import quant
from slmlab.ternary import BitLinear, PackedEmbedding, PackedLinear, accelerate
from slmlab.ternary.bitnet import GrowingLayer

with warnings.catch_warnings():  # torch is warned about itself where it gets its compiler ready
    warnings.simplefilter("ignore", DeprecationWarning)
    from transformers.integrations import bitnet as theirs

ROOT = Path(__file__).resolve().parent.parent
GREEDY = {"do_sample": False, "max_new_tokens": 64, "pad_token_id": 0}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def eager():
    """transformers compiles parts of its BitNet layers, for which there may be no compiler."""
    with torch.compiler.set_stance("force_eager"):
        yield


def by_hand(x, codes, w_scale, bias=None):
    """w1.58a8 of x (M, K) in Python's whole numbers, one float32 step after another."""
    y = np.zeros((len(x), len(codes)), np.float32)
    for m, token in enumerate(x):
        scale = np.float32(127) / max(np.abs(token).max(), np.float32(1e-5))
        x_codes = [int(np.rint(np.float32(value * scale))) for value in token]
        for n, row in enumerate(codes):
            total = sum(int(w) * x_code for w, x_code in zip(row, x_codes, strict=True))
            y[m, n] = np.float32(total) * np.float32(np.float32(w_scale) / scale)
            if bias is not None:
                y[m, n] += bias[n]
    return y


# ------------------------------------------------------------------------------------------------------------------
# BitLinear


@pytest.mark.parametrize("bias", [False, True])
def test_bit_linear_is_w158a8_by_hand(bias):
    layer = BitLinear(37, 5, bias)
    x = torch.randn(3, 37)
    x[1] = 0
    codes = quant.quantize_ternary(layer.weight.detach().numpy()).codes
    w_scale = np.float32(layer.weight.detach().double().abs().mean().item())

    y = layer(x)

    wanted = by_hand(x.numpy(), codes, w_scale, layer.bias.detach().numpy() if bias else None)
    np.testing.assert_array_equal(y.detach().numpy(), wanted)


def test_bit_linear_is_the_same_in_training_in_eval_and_under_autocast():
    layer, x = BitLinear(300, 20), torch.randn(4, 300)

    training = layer.train()(x)
    with torch.no_grad():
        evaluated = layer.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        cast = layer(x)

    assert torch.equal(training, evaluated)
    assert torch.equal(training, cast)


def test_bit_linear_agrees_with_transformers_online(eager):
    layer = BitLinear(256, 64, bias=False)
    other = theirs.AutoBitLinear(256, 64, bias=False, online_quant=True)
    other.weight = layer.weight
    x = torch.randn(2, 7, 256)

    torch.testing.assert_close(layer(x), other(x), rtol=1e-5, atol=1e-5)


def test_the_gradient_passes_the_rounding_as_if_it_were_not_there():
    layer, x = BitLinear(24, 6), torch.randn(2, 5, 24, requires_grad=True)
    direction = torch.randn(2, 5, 6)
    (layer(x) * direction).sum().backward()

    quantized = quant.quantize_ternary(layer.weight.detach().numpy())
    rounded_weight = torch.tensor(quantized.codes * layer.weight.detach().abs().mean().numpy(), requires_grad=True)
    scale = 127 / x.detach().abs().amax(-1, keepdim=True)
    rounded_x = ((x.detach() * scale).round() / scale).requires_grad_()
    (functional.linear(rounded_x, rounded_weight) * direction).sum().backward()

    torch.testing.assert_close(x.grad, rounded_x.grad)
    torch.testing.assert_close(layer.weight.grad, rounded_weight.grad)
    torch.testing.assert_close(layer.bias.grad, direction.sum((0, 1)))


def test_bit_linear_learns_a_ternary_teacher():
    teacher, student = BitLinear(16, 4, bias=False), BitLinear(16, 4, bias=False)
    x = torch.randn(256, 16)
    wanted = teacher(x).detach()
    optimizer = torch.optim.Adam(student.parameters(), 0.01)
    losses = []
    for _ in range(200):
        loss = functional.mse_loss(student(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0] / 10


def test_bit_linear_refuses_columns_whose_sums_float32_cannot_hold():
    with pytest.raises(ValueError, match="at most 132104"):
        BitLinear(132105, 1, device="meta")


# ------------------------------------------------------------------------------------------------------------------
# PackedLinear


@pytest.mark.parametrize("format", ["2bit", "base3"])
@pytest.mark.parametrize("N, K, lead", [(1, 1, ()), (5, 37, (3,)), (33, 100, (2, 3)), (96, 256, (17,)), (64, 40, (0,))])
def test_packed_equals_bit_linear_bit_for_bit(N, K, lead, format):
    layer = BitLinear(K, N).eval()
    x = torch.randn(*lead, K)

    packed = PackedLinear.from_linear(layer, format)
    y = packed(x)

    assert y.shape == (*lead, N)
    assert torch.equal(y, layer(x))


MEASURE = """
import sys
import torch
from slmlab import bench
from slmlab.ternary import PackedLinear

def use(N, K):
    layer = PackedLinear(K, N, bias=False, format=sys.argv[1]).eval()
    with torch.inference_mode():
        layer(torch.randn(1, K))
    return layer

use(64, 64)  # what a first product takes
before = bench.memory().rss_bytes
layer = use(8192, 16384)
print(bench.memory().peak_bytes - before)
"""


@pytest.mark.parametrize(("format", "bits"), [("2bit", 2), ("base3", 1.6), ("int8", 8)])
def test_a_packed_layer_takes_its_bits_of_memory_when_it_computes(format, bits):
    """A copy in floats, made to compute, would be 16 or 32 bits a weight."""
    command = [sys.executable, "-c", MEASURE, format]
    taken = int(subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout)

    assert taken < 1.1 * 8192 * 16384 * bits / 8 + 4e6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_packed_computes_in_float32_and_answers_in_the_dtype_that_came(dtype):
    packed = PackedLinear.from_linear(BitLinear(64, 8))
    x = torch.randn(3, 64).to(dtype)

    assert torch.equal(packed(x), packed(x.float()).to(dtype))


def test_packed_reads_tokens_that_lie_apart():
    packed = PackedLinear.from_linear(BitLinear(64, 8))
    x = torch.randn(64, 5).T

    assert torch.equal(packed(x), packed(x.clone(memory_format=torch.contiguous_format)))


def test_packed_refuses_tokens_of_another_width():
    with pytest.raises(ValueError, match="K = 64"):
        PackedLinear.from_linear(BitLinear(64, 8))(torch.zeros(2, 32))  # two of them would make one of 64


@pytest.mark.parametrize("format", ["2bit", "base3", "int8"])
def test_packed_survives_safetensors(tmp_path, format):
    codes = torch.randint(-1, 2, (40, 50))
    layer = PackedLinear.from_codes(codes, 0.3, torch.randn(40), format)
    other = PackedLinear(50, 40, format=format).eval()
    x = torch.randn(2, 50)
    other(x)  # the kernels have seen the zeros

    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))

    np.testing.assert_array_equal(other.codes(), codes)
    assert torch.equal(other(x), layer(x))


def test_a_new_packed_layer_is_zero():
    assert not PackedLinear(50, 40, bias=False).eval()(torch.randn(2, 50)).any()


def test_a_state_of_another_layout_is_not_taken():
    state = PackedLinear(4, 32, bias=False, format="2bit").state_dict()
    with pytest.raises(RuntimeError, match=r"layout .* came, this layer has"):
        PackedLinear(4, 32, bias=False, format="base3").load_state_dict(state)  # of the same number of bytes


def test_a_state_with_bytes_that_are_no_codes_is_not_taken():
    state = PackedLinear(4, 32, bias=False, format="2bit").state_dict()
    state["packed"] = torch.full_like(state["packed"], 0xFF)
    with pytest.raises(RuntimeError, match="do not come from pack"):
        PackedLinear(4, 32, bias=False, format="2bit").load_state_dict(state)


def test_a_copy_of_a_packed_layer_is_on_its_own():
    layer = PackedLinear.from_linear(BitLinear(16, 4))
    x = torch.randn(2, 16)
    before = layer(x)

    other = copy.deepcopy(layer)
    layer.weight_scale.mul_(2)

    assert torch.equal(other(x), before)


def test_packed_layers_cannot_be_trained():
    layer = PackedLinear.from_linear(BitLinear(16, 4))
    x = torch.randn(2, 16)
    with pytest.raises(RuntimeError, match="cannot be trained"):
        layer(x.clone().requires_grad_())
    with pytest.raises(RuntimeError, match=r"model\.eval\(\)"):
        layer.train()(x)


def test_packed_layers_stay_on_the_cpu_and_in_float32():
    layer = PackedLinear.from_linear(BitLinear(16, 4))
    with pytest.raises(ValueError, match="moved to meta"):
        layer.to("meta")

    assert layer.half().weight_scale.dtype == torch.float32


def hub_linear(codes, scale, kind, bias=False):
    """transformers' own layer for weights codes * scale."""
    N, K = codes.shape
    if kind == "bitlinear":
        layer = theirs.BitLinear(K, N, bias, dtype=torch.float32)
        layer.weight.copy_(torch.from_numpy(layouts.hf_pack(codes.to(torch.int8).numpy())))
        layer.weight_scale.fill_(1 / scale)
    else:
        layer = theirs.AutoBitLinear(K, N, bias, online_quant=kind == "online")
        layer.weight.data = codes.float() if kind == "offline" else codes * scale
        if kind == "offline":
            layer.weight_scale.fill_(scale)
    return layer.requires_grad_(False)


@pytest.mark.parametrize("kind", ["bitlinear", "offline", "online"])
def test_transformers_layers_keep_their_function_when_packed(kind, eager):
    layer = hub_linear(torch.randint(-1, 2, (32, 48)), 0.37, kind)
    x = torch.randn(3, 48)

    torch.testing.assert_close(PackedLinear.from_linear(layer)(x), layer(x), rtol=1e-5, atol=1e-5)


def test_weights_that_ought_to_be_ternary_and_are_not_are_refused():
    layer = hub_linear(torch.full((4, 4), 0.5), 1.0, "offline")
    with pytest.raises(ValueError, match="not ternary"):
        PackedLinear.from_linear(layer)


# ------------------------------------------------------------------------------------------------------------------
# Rows of int8: head and embedding


def test_an_int8_head_is_within_half_a_step_of_its_rows_and_keeps_15_bits_of_x():
    weight = torch.randn(100, 64)
    weight[7] = 0
    head = PackedLinear.from_rows(weight)
    x = torch.randn(5, 64)
    x[:, 3] = 1000  # in eight bits the step would be 8, and nothing left of the others

    rows = head.codes() * head.weight_scale.numpy()[:, None]
    y = head(x)

    step = weight.abs().amax(1, keepdim=True).numpy() / 127
    assert (np.abs(rows - weight.numpy()) <= step * 0.5001).all()
    exact = x.double().numpy() @ rows.T.astype(np.float64)
    step = 1000 / 127 / 2 / 127  # of the second term
    assert (np.abs(y.numpy() - exact) < step / 2 * np.abs(rows).sum(1) + 1e-4).all()


def test_rows_of_many_panels_are_those_of_one_piece():
    weight = torch.randn(5000, 8)
    head = PackedLinear.from_rows(weight)

    np.testing.assert_array_equal(head.codes(), quant.quantize(weight.numpy(), 8, "symmetric", "row").codes)


def test_an_embedding_reads_its_rows_from_the_packed_bytes():
    table = PackedLinear.from_rows(torch.randn(70, 10))
    rows = table.codes() * table.weight_scale.numpy()[:, None]

    x = PackedEmbedding(table)(torch.arange(70).view(2, 35))

    np.testing.assert_array_equal(x.view(70, 10).numpy(), rows)


@pytest.mark.parametrize("wrong", [-1, 70, 95, 96])  # the last panel ends at 95
def test_an_embedding_has_no_row_beyond_its_last(wrong):
    embedding = PackedEmbedding(PackedLinear.from_rows(torch.randn(70, 10)))
    with pytest.raises(IndexError, match="wanted 0 to 69"):
        embedding(torch.tensor([0, wrong]))


# ------------------------------------------------------------------------------------------------------------------
# A model


def small(**changes):
    sizes = {
        **{"vocab_size": 300, "hidden_size": 256, "intermediate_size": 344, "num_hidden_layers": 3},
        **{"num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 512},
        **{"bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": True},
    }
    model = BitNetForCausalLM(BitNetConfig(**{**sizes, **changes})).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def swapped(model, make):
    """The model with make(linear) in the place of each linear layer of its blocks."""
    for name, linear in list(model.model.layers.named_modules()):
        if isinstance(linear, nn.Linear):
            model.model.layers.set_submodule(name, make(linear))
    return model.eval()


def bit_linear(linear):
    layer = BitLinear(linear.in_features, linear.out_features, linear.bias is not None)
    layer.weight, layer.bias = linear.weight, linear.bias
    return layer


def unpacked(model, accelerated):
    """The w1.58a8 model in float32: BitLinear, transformers' norms and attention; embedding and head of the int8 rows,
    the head's input in float32."""
    model = swapped(copy.deepcopy(model), bit_linear)
    for matrix, table in (
        (model.model.embed_tokens.weight, accelerated.model.embed_tokens.table),
        (model.lm_head.weight, accelerated.lm_head),
    ):
        matrix.data = torch.from_numpy(table.codes()) * table.weight_scale[:, None]
    return model


def as_hub_layer(kind):
    def make(linear):
        scale = linear.weight.detach().abs().mean()
        codes = (linear.weight.detach() / scale).round().clamp(-1, 1)
        return hub_linear(codes if kind != "online" else linear.weight.detach() / scale, scale.item(), kind)

    return make


def assert_greedy(ids, prompt_tokens, model):
    """Each id after the prompt is the model's own choice, or as good as that: rounding to int8 makes one unit in the
    last place of a norm into 1/127 of an activation, so two ways to add cannot agree on what is nearly a tie."""
    with torch.no_grad():
        logits = model(ids).logits[:, prompt_tokens - 1 : -1]
    chosen = logits.gather(2, ids[:, prompt_tokens:, None])[..., 0]
    assert (logits.amax(2) - chosen).max() < 0.15 * logits.std()
    return (logits.argmax(2) == ids[:, prompt_tokens:]).float().mean()


@pytest.mark.parametrize(
    "format, source, changes",
    [
        ("base3", None, {}),
        ("2bit", None, {"tie_word_embeddings": False}),
        ("base3", bit_linear, {"tie_word_embeddings": False}),
        ("2bit", as_hub_layer("bitlinear"), {}),
        ("base3", as_hub_layer("offline"), {}),
        ("base3", as_hub_layer("online"), {}),
        ("base3", None, {"attention_bias": True, "num_key_value_heads": 8}),
    ],
    ids=["master", "2bit untied", "BitLinear untied", "bitlinear", "offline", "online", "bias"],
)
def test_64_greedy_ids_are_those_of_the_unpacked_model(format, source, changes):
    model = small(**changes)
    if changes.get("attention_bias"):
        for layer in model.model.layers:
            nn.init.normal_(layer.self_attn.q_proj.bias)
    packed = copy.deepcopy(model)
    packed = accelerate(swapped(packed, source) if source else packed, format)
    reference = unpacked(model, packed)
    prompt = torch.randint(0, 300, (1, 9))

    ids = packed.generate(prompt, **GREEDY)

    assert ids.shape == (1, 73)
    assert assert_greedy(ids, 9, reference) > 0.9


def test_the_logits_of_a_prompt_are_those_of_the_unpacked_model():
    model = small()
    packed = accelerate(copy.deepcopy(model))
    reference = unpacked(model, packed)
    prompt = torch.randint(0, 300, (2, 20))

    with torch.no_grad():
        logits = packed(prompt).logits
        wanted = reference(prompt).logits

    assert (logits - wanted).abs().max() < 0.15 * wanted.std()
    assert (logits - wanted).abs().median() < 0.005 * wanted.std()


def test_left_padding_changes_nothing():
    model = accelerate(small())
    long, short = torch.randint(1, 300, (1, 12)), torch.randint(1, 300, (1, 7))
    batch = torch.cat([long, functional.pad(short, (5, 0))])
    mask = torch.ones_like(batch)
    mask[1, :5] = 0

    together = model.generate(batch, attention_mask=mask, **{**GREEDY, "max_new_tokens": 6})

    alone = [model.generate(ids, **{**GREEDY, "max_new_tokens": 6}) for ids in (long, short)]
    assert torch.equal(together[0], alone[0][0])
    assert torch.equal(together[1, 5:], alone[1][0])


@pytest.mark.parametrize("how", [{"num_beams": 3}, {"do_sample": True}, {"do_sample": True, "num_return_sequences": 2}])
@pytest.mark.parametrize("cache", [{"use_cache": False}, {"cache_implementation": "static"}])
def test_beams_and_samples_do_not_depend_on_the_cache(how, cache):
    model = accelerate(small())
    prompt = torch.randint(0, 300, (2, 5))
    settings = {**GREEDY, "max_new_tokens": 8, **how}

    torch.manual_seed(1)
    grown = model.generate(prompt, **settings)
    torch.manual_seed(1)
    other = model.generate(prompt, **settings, **cache)

    assert torch.equal(grown, other)


def test_a_conversation_goes_on_from_its_cache():
    model = accelerate(small())
    ids = torch.randint(0, 300, (1, 11))
    cache = DynamicCache()
    with torch.no_grad():
        whole = model(ids).logits
        parts = [model(part, past_key_values=cache).logits for part in ids.split([4, 1, 6], dim=1)]

    assert cache.get_seq_length() == 11
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=0.02 * whole.std().item())


def test_hidden_states_come_where_the_configuration_asks_for_them():
    model = accelerate(small())
    model.config.output_hidden_states = True

    with torch.no_grad():
        assert len(model(torch.tensor([[1, 2]]), past_key_values=DynamicCache()).hidden_states) == 4


def test_the_cache_may_come_by_position():
    model, cache = accelerate(small()), DynamicCache()

    with torch.no_grad():
        model(torch.tensor([[1, 2]]), None, None, cache)

    assert cache.get_seq_length() == 2


def test_hidden_states_are_those_of_the_unpacked_model():
    model = small()
    packed = accelerate(copy.deepcopy(model))
    reference = unpacked(model, packed)
    prompt = torch.randint(0, 300, (1, 6))

    with torch.no_grad():
        states = packed(prompt, output_hidden_states=True).hidden_states
        wanted = reference(prompt, output_hidden_states=True).hidden_states

    assert len(states) == len(wanted) == 4
    for ours, other in zip(states, wanted, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=0.05 * other.std().item())


def test_all_packed_weights_lie_in_one_arena():
    model = accelerate(small(tie_word_embeddings=False))
    buffers = [module.packed for module in model.modules() if isinstance(module, PackedLinear)]

    assert len(buffers) == 4 * 3 + 2
    assert len({buffer.untyped_storage().data_ptr() for buffer in buffers}) == 1
    assert {buffer.data_ptr() % 64 for buffer in buffers} == {0}
    assert sum(buffer.numel() for buffer in buffers) == buffers[0].untyped_storage().nbytes()


def test_tied_rows_are_held_once():
    model = accelerate(small())

    assert model.model.embed_tokens.table is model.lm_head


def test_the_old_weights_are_let_go():
    model = small()
    old = [weakref.ref(model.model.layers[1].mlp.up_proj.weight), weakref.ref(model.lm_head.weight)]

    accelerate(model)

    assert [ref() for ref in old] == [None, None]


def test_everything_is_float32_afterwards():
    model = accelerate(small().to(torch.bfloat16))

    assert model.dtype == torch.float32
    assert {tensor.dtype for tensor in model.state_dict().values()} <= {torch.float32, torch.uint8, torch.int64}


def test_torch_keeps_its_threads():
    model = accelerate(small())
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        model.generate(torch.zeros(1, 2, dtype=torch.long), max_new_tokens=2, pad_token_id=0)
        with pytest.raises(IndexError):
            model(torch.tensor([[300]]))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_accelerated_is_refused():
    llama = LlamaForCausalLM(
        LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )
    with pytest.raises(TypeError, match="LlamaForCausalLM"):
        accelerate(llama)
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        accelerate(small().train())
    with pytest.raises(ValueError, match="'base3' or '2bit'"):
        accelerate(small(), "int8")
    with pytest.raises(ValueError, match="hidden_act is 'silu'"):
        accelerate(small(hidden_act="silu"))
    with pytest.raises(ValueError, match="rope_type is 'dynamic'"):
        accelerate(small(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}))
    with pytest.raises(ValueError, match="'flex_attention', wanted 'sdpa' or 'eager'"):
        accelerate(small(attn_implementation="flex_attention"))
    with pytest.raises(ValueError, match="accelerated already"):
        accelerate(accelerate(small()))
    with pytest.raises(ValueError, match="RMSNorm of its own"):
        accelerate(
            swapped(small(), lambda old: theirs.AutoBitLinear(old.in_features, old.out_features, use_rms_norm=True))
        )


def test_an_accelerated_model_cannot_be_trained():
    model = accelerate(small())
    with pytest.raises(RuntimeError, match="cannot be trained"):
        model.train()(torch.tensor([[1]]))


def test_attentions_are_refused():
    model = accelerate(small())
    with pytest.raises(ValueError, match="output_attentions"):
        model(torch.tensor([[1, 2]]), output_attentions=True)


def test_a_growing_layer_does_what_a_dynamic_one_does():
    ours, wanted = DynamicCache(), DynamicCache()
    ours.layers = [GrowingLayer()]
    ours.layer_class_to_replicate = None
    for tokens in (3, 1, 300, 1, 1):
        k, v = torch.randn(2, 2, 4, tokens, 8)
        for mine, other in zip(ours.update(k, v, 0), wanted.update(k, v, 0), strict=True):
            assert torch.equal(mine, other)
        for cache in (ours, wanted):
            if tokens == 3:
                cache.reorder_cache(torch.tensor([1, 0]))
            if tokens == 300:
                cache.crop(-7)
    assert ours.get_seq_length() == wanted.get_seq_length() == 299


def test_the_kernels_numbers_are_those_of_the_reference(monkeypatch):
    """A whole model on NumPy alone gives what it gives on the kernels, to the last bit."""
    model, prompt = small(num_hidden_layers=1), torch.randint(0, 300, (1, 4))
    fast = accelerate(copy.deepcopy(model), "2bit")
    with torch.no_grad():
        wanted = fast(prompt).logits
    monkeypatch.setattr(cython_kernels, "active", lambda: cython_kernels.backends()[0])
    monkeypatch.setattr(cython_kernels, "linear", cython_kernels.reference.linear)
    monkeypatch.setattr(cython_kernels, "quantize", cython_kernels.reference.quantize)
    with torch.no_grad():
        assert torch.equal(accelerate(model, "2bit")(prompt).logits, wanted)
    assert math.isfinite(wanted.sum())
