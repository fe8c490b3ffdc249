"""with_weights: other matrices inside the block, the old ones after it, to the bit. compute_in_float32."""

import numpy as np
import pytest
import torch

from slmlab import models


class Tied(torch.nn.Module):
    """Embedding and head are one matrix; a norm has a vector."""

    def __init__(self, dtype):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3, dtype=dtype)
        self.up_proj = torch.nn.Linear(3, 4, bias=True, dtype=dtype)
        self.norm = torch.nn.LayerNorm(3, dtype=dtype)
        self.head = torch.nn.Linear(3, 5, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight


@pytest.fixture(params=["float32", "bfloat16", "float16"])
def model(request) -> Tied:
    torch.manual_seed(0)
    return Tied(getattr(torch, request.param))


def bits(model) -> dict[str, bytes]:
    return {name: values.detach().contiguous().view(torch.uint8).numpy().tobytes() for name, values in stored(model)}


def stored(model):
    return [(name, values.reshape(-1)) for name, values in model.named_parameters()]


def test_change_sees_each_matrix_once_as_float32_and_no_vector(model):
    seen = []
    with models.with_weights(model, lambda name, values: seen.append((name, values.shape, values.dtype))):
        pass
    assert seen == [("embed.weight", (5, 3), np.float32), ("up_proj.weight", (4, 3), np.float32)]


def test_what_change_returns_stands_in_the_model_inside_the_block(model):
    before = bits(model)
    with models.with_weights(model, lambda name, values: np.full((4, 3), 0.5) if "up_proj" in name else None):
        assert torch.equal(model.up_proj.weight, torch.full((4, 3), 0.5, dtype=model.up_proj.weight.dtype))
        assert {name for name, values in bits(model).items() if values != before[name]} == {"up_proj.weight"}


def test_a_tied_head_changes_with_its_embedding(model):
    with models.with_weights(model, lambda name, values: 2 * values if "embed" in name else None):
        assert torch.equal(model.head.weight, model.embed.weight)


def test_all_is_as_before_to_the_bit_after_the_block(model):
    with torch.no_grad():
        model.up_proj.weight[0, 0] = 1e-7  # below what float16 holds exactly, and no bfloat16 in float32
        model.up_proj.weight[0, 1] = -0.0
    before = bits(model)
    with models.with_weights(model, lambda name, values: np.zeros_like(values)):
        assert bits(model) != before
    assert bits(model) == before


def test_all_is_as_before_when_the_block_raises(model):
    before = bits(model)
    with pytest.raises(KeyboardInterrupt), models.with_weights(model, lambda name, values: -values):
        raise KeyboardInterrupt
    assert bits(model) == before


def test_all_is_as_before_when_change_raises_halfway(model):
    before = bits(model)

    def change(name, values):
        if "up_proj" in name:
            raise ValueError("no")
        return -values

    with pytest.raises(ValueError, match="no"), models.with_weights(model, change):
        raise AssertionError("the block must not run")
    assert bits(model) == before


def test_values_that_would_be_broadcast_are_refused(model):
    before = bits(model)
    with (
        pytest.raises(models.ModelError, match=r"embed.weight: change returned shape \(1, 3\), wanted \(5, 3\)"),
        models.with_weights(model, lambda name, values: values[:1]),
    ):
        raise AssertionError("the block must not run")
    assert bits(model) == before


def test_change_cannot_write_to_the_model_by_accident(model):
    def change(name, values):
        values[:] = 0

    with pytest.raises(ValueError, match="read-only"), models.with_weights(model, change):
        pass


def test_values_may_be_returned_as_they_came(model):
    before = bits(model)
    with models.with_weights(model, lambda name, values: values):
        assert bits(model) == before


@pytest.mark.parametrize("name", ["mini-qwen", "mini-phi"])
def test_a_bfloat16_model_that_computes_in_float32_says_what_its_float32_copy_says(name):
    model, tokenizer = models.load(name, "bfloat16")
    ids = tokenizer("The river is wide, and the bridge is old.", return_tensors="pt").input_ids
    held = {parameter: (values.dtype, values.data_ptr()) for parameter, values in model.named_parameters()}
    models.compute_in_float32(model)
    with torch.inference_mode():
        logits = model(ids).logits
    copy = models.load(name, "float32").model
    assert logits.dtype == torch.float32
    for parameter, values in copy.named_parameters():  # of the very values that bfloat16 holds
        values.data = dict(model.named_parameters())[parameter].detach().float()
    with torch.inference_mode():
        torch.testing.assert_close(logits, copy(ids).logits, rtol=1e-5, atol=1e-4)
    assert {parameter: (values.dtype, values.data_ptr()) for parameter, values in model.named_parameters()} == held
