"""Exams count right answers as right and wrong ones as wrong; intervals are the published ones."""

import copy
import hashlib
import json
import math
import shutil
import warnings
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from slmlab import evaluation, minis, models
from slmlab.evaluation import (
    EvaluationError,
    Row,
    as_json,
    candidates,
    exams,
    experts,
    generation,
    losses,
    measures,
    needles,
    recorded,
    rows,
    table,
    widths,
)
from slmlab.evaluation import intervals as iv
from slmlab.evaluation import ternary as ways
from slmlab.evaluation.candidates import Candidate
from slmlab.evaluation.measures import Hall
from slmlab.minis import recipes, storing, tokenizer
from slmlab.minis.corpus import Document
from slmlab.minis.corpus import exams as papers
from slmlab.minis.corpus.sums import scratch_work
from slmlab.ternary import BitLinear

VOCABULARY = 64
SHAPE = {
    **{"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True},
}
CLASSES = {
    "phi": (transformers.Phi3ForCausalLM, transformers.Phi3Config, {}),
    "qwen": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config, {"head_dim": 8}),
    "moe": (
        transformers.Qwen3MoeForCausalLM,
        transformers.Qwen3MoeConfig,
        {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    ),
    "gemma": (
        transformers.Gemma3ForCausalLM,
        transformers.Gemma3TextConfig,
        {"head_dim": 8, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gemma3n": (
        transformers.Gemma3nForCausalLM,
        transformers.Gemma3nTextConfig,
        {
            **{"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2, "head_dim": 8},
            **{"num_kv_shared_layers": 2, "sliding_window": 8, "vocab_size_per_layer_input": VOCABULARY},
            **{"hidden_size_per_layer_input": 8, "laurel_rank": 4, "altup_num_inputs": 2},
            **{"activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0], "intermediate_size": [64] * 4},
        },
    ),
    "bitnet": (transformers.BitNetForCausalLM, transformers.BitNetConfig, {}),
}


def tiny(kind: str, **changes):
    """An untrained model with weights large enough that its next ids differ."""
    torch.manual_seed(0)
    model_class, config_class, more = CLASSES[kind]
    model = model_class(config_class(**{**SHAPE, **more, **changes})).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "altup" not in name:
            parameter.mul_(6)
    return model


def random_ids(*lengths: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCABULARY, length).tolist() for length in lengths]


# ------------------------------------------------------------------------------------------------------------------
# Intervals


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_share_has_the_interval_of_newcombe_s_table(right, count, low, high):
    found = iv.share(right, count)

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert (found.value, found.count) == (right / count, count)


def test_the_bounds_of_a_share_are_the_two_p_whose_z_test_just_fails():
    found = iv.share(7, 30)

    for p in (found.low, found.high):
        assert abs(7 / 30 - p) / math.sqrt(p * (1 - p) / 30) == pytest.approx(1.959964, abs=1e-5)


def test_a_share_of_all_ends_at_one_and_still_has_a_width():
    assert iv.share(50, 50).high == 1
    assert iv.share(50, 50).low == pytest.approx(1 / (1 + 1.959964**2 / 50), abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_a_difference_has_the_interval_of_newcombe_s_table(a, b, low, high):
    found = iv.difference(iv.share(*a), iv.share(*b))

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_a_ratio_with_equal_denominators_has_the_normal_interval_of_a_mean():
    values = [1.0, 2.0, 4.0, 5.0]  # mean 3, standard deviation sqrt(10 / 3)
    found = iv.ratio(values, [1] * 4)

    half = 1.959964 * math.sqrt(10 / 3) / 2
    assert found.value == 3
    assert (found.low, found.high) == (pytest.approx(3 - half, abs=1e-5), pytest.approx(3 + half, abs=1e-5))


def test_a_ratio_is_of_sums_and_its_interval_near_that_of_resampled_documents():
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 60, 300)
    nats = tokens * rng.gamma(4, 0.2, 300)
    found = iv.ratio(nats, tokens)

    drawn = [rng.integers(0, 300, 300) for _ in range(2000)]
    low, high = np.quantile([nats[rows].sum() / tokens[rows].sum() for rows in drawn], [0.025, 0.975])
    assert found.value == pytest.approx(sum(nats) / sum(tokens))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_resampling_a_mean_gives_the_interval_of_a_mean():
    values = np.random.default_rng(1).normal(2, 1, 400)
    found = iv.bootstrap(lambda weights: weights @ values / weights.sum(1), [400])

    wanted = iv.ratio(values, [1] * 400)
    assert found.value == pytest.approx(wanted.value)
    assert (found.low, found.high) == (pytest.approx(wanted.low, abs=0.02), pytest.approx(wanted.high, abs=0.02))


@pytest.mark.parametrize(
    "call",
    [
        lambda: iv.share(3, 2),
        lambda: iv.share(0, 0),
        lambda: iv.ratio([1.0], [1]),
        lambda: iv.ratio([1.0, 2.0], [1]),
        lambda: iv.ratio([1.0, 2.0], [0, 0]),
        lambda: iv.bootstrap(float, [5, 1]),
    ],
)
def test_too_little_to_estimate_from_is_said(call):
    with pytest.raises(EvaluationError, match=r"came.*wanted"):
        call()


# ------------------------------------------------------------------------------------------------------------------
# Rows


def test_a_row_is_held_to_the_goal_of_its_claim_and_model_by_its_value():
    close = iv.Estimate(0.85, 0.8, 0.9, 100)
    below = iv.Estimate(0.8499, 0.8, 0.9, 100)

    assert rows.measured("facts-new-wording", "mini-phi", "facts", close, "share").met is True
    assert rows.measured("facts-new-wording", "mini-phi", "facts", below, "share").met is False
    assert rows.measured("facts-new-wording", "mini-phi", "facts", close, "share", provided=False).met is False
    other = rows.measured("facts-new-wording", "mini-bitnet", "facts", close, "share")
    assert (other.goal, other.met) == ("", None)


def test_a_goal_of_at_most_is_met_from_below():
    goal = rows.Goal("<=", 0.05)

    assert (str(goal), goal.holds(-1), goal.holds(0.05), goal.holds(0.0501)) == ("<= 0.05", True, True, False)


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(EvaluationError, match=r"mini-phi, loss: .*nan.*finite"):
        rows.measured("loss", "mini-phi", "loss", iv.Estimate(math.nan, 0, 1, 5), "nats/token")


def some_rows() -> list[Row]:
    return [
        rows.measured("facts-new-wording", "mini-phi", "facts", iv.share(9, 10), "share"),
        rows.measured("tool-calls", "mini-phi", "tools", iv.share(1, 10), "share"),
        rows.missing("ternary-training-costs", "mini-bitnet", "loss above its twin's", "nats/token", "no twin here"),
    ]


def test_the_table_shows_values_intervals_goals_and_notes():
    lines = table(some_rows()).splitlines()

    assert " ".join(lines[2].split()) == "mini-phi facts 0.900 0.596 to 0.982 share >= 0.85 yes 10"
    assert lines[3].split()[-2:] == ["no", "10"]
    assert "twin's [1]  " in lines[4]
    assert "<= 0.05" in lines[4]
    assert lines[5:] == ["[1] no twin here", "1 of 3 goals met, 1 not measured"]


def test_the_json_is_one_line_with_every_row():
    text = as_json(some_rows())

    assert "\n" not in text
    assert json.loads(text) == [asdict(row) for row in some_rows()]
    assert {"claim", "value", "low", "high", "goal", "met"} <= set(json.loads(text)[0])


def test_a_record_keeps_the_rows_of_other_models_and_replaces_its_own(tmp_path):
    path = tmp_path / "evaluation.json"
    digests = {"mini-phi": "aa", "mini-bitnet": "bb", "mini-gemma": "cc"}
    phi, tools, bitnet = some_rows()
    rows.store([phi, tools, bitnet], digests, path)
    rows.store([tools], {"mini-phi": "dd"}, path)

    kept = recorded(path)
    assert kept.rows == (bitnet, tools)
    assert kept.weights_sha256 == {"mini-bitnet": "bb", "mini-phi": "dd"}
    assert kept.rows_of("mini-phi") == [tools]


def test_where_nothing_was_stored_nothing_is_recorded(tmp_path):
    assert recorded(tmp_path / "none.json").rows == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{"claim": "x"}], "weights_sha256": {}}'])
def test_a_file_that_is_no_record_is_named(tmp_path, text):
    path = tmp_path / "evaluation.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(EvaluationError, match=r"evaluation.json is not a stored evaluation"):
        recorded(path)


# ------------------------------------------------------------------------------------------------------------------
# Generation


@pytest.mark.parametrize("kind", CLASSES)
def test_a_batch_padded_on_the_left_writes_what_each_prompt_writes_alone(kind):
    model = tiny(kind)
    prompts = random_ids(3, 21, 9, 14)
    stop = [generation.greedy(model, prompts, 4, [])[2][3]]  # one prompt at least ends before the others

    answers = generation.greedy(model, prompts, 12, stop)

    assert len({len(answer) for answer in answers}) > 1

    for prompt, answer in zip(prompts, answers, strict=True):
        config = transformers.GenerationConfig(do_sample=False, max_new_tokens=12, eos_token_id=stop, pad_token_id=0)
        alone = model.generate(torch.tensor([prompt]), generation_config=config)[0, len(prompt) :].tolist()
        assert answer == [id for id in alone if id not in stop]  # generate() stops behind the first


def test_generation_stops_before_the_stop_and_at_the_limit():
    model = tiny("phi")
    (prompt,) = random_ids(8)
    (whole,) = generation.greedy(model, [prompt], 10, [])
    place = next(i for i in range(1, 10) if whole[i] not in whole[:i])

    assert len(whole) == 10
    assert generation.greedy(model, [prompt], 10, [whole[place]]) == [whole[:place]]
    assert generation.greedy(model, [prompt], 10, [whole[0]]) == [[]]


def test_ids_are_drawn_by_their_probabilities():
    model = tiny("qwen")
    (prompt,) = random_ids(6)
    scores = model(input_ids=torch.tensor([prompt])).logits[0, -1].double() / 0.5
    wanted = torch.softmax(scores, -1)

    drawn = generation.sampled(model, [prompt] * 3000, 1, [], temperature=0.5, seed=3)

    counts = torch.bincount(torch.tensor([id for (id,) in drawn]), minlength=len(wanted)).double()
    expected = 3000 * wanted
    sure = expected > 5
    chi2 = ((counts - expected)[sure] ** 2 / expected[sure]).sum()
    assert chi2 < sure.sum() + 5 * (2 * sure.sum()) ** 0.5


def test_a_seed_draws_the_same_again_another_draws_others_and_a_cold_one_the_likeliest():
    model = tiny("qwen")
    prompts = random_ids(6, 3)

    draws = [generation.sampled(model, prompts, 8, [], temperature=1.0, seed=seed) for seed in (0, 0, 1)]

    assert draws[0] == draws[1] != draws[2]
    assert generation.sampled(model, prompts, 8, [], 1e-4, seed=0) == generation.greedy(model, prompts, 8, [])


def test_more_prompts_than_a_batch_come_back_in_their_order(monkeypatch):
    model = tiny("qwen")
    prompts = random_ids(9, 4, 7, 5, 6)
    together = generation.greedy(model, prompts, 5, [])
    monkeypatch.setattr(generation, "PROMPTS_AT_ONCE", 2)

    assert generation.greedy(model, prompts, 5, []) == together


# ------------------------------------------------------------------------------------------------------------------
# Losses


@pytest.mark.parametrize("kind", CLASSES)
def test_a_document_costs_what_transformers_loss_of_it_alone_is(kind):
    model = tiny(kind)
    documents = random_ids(5, 30, 12)

    found = losses.costs(model, documents)

    for ids, cost in zip(documents, found, strict=True):
        alone = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
        assert cost.tokens == len(ids) - 1
        assert cost.nats == pytest.approx(alone * cost.tokens, rel=1e-4)


def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_vocabulary():
    model = tiny("phi")
    model.model.embed_tokens.weight.zero_()  # and the head with it

    found = losses.costs(model, random_ids(5, 9))

    assert losses.per_token(found).value == pytest.approx(math.log(VOCABULARY))


def test_every_sequence_is_in_one_batch_and_no_batch_is_too_large():
    lengths = [7, 300, 5000, 12, 4000, 96, 96]
    found = list(losses.batches(lengths))

    assert sorted(index for batch in found for index in batch) == list(range(7))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 4096 for batch in found)


def test_an_answer_costs_what_its_own_tokens_cost():
    model = tiny("qwen")
    (ids,) = random_ids(20)
    logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    by_hand = -sum(logits[place - 1, ids[place]].item() for place in range(15, 20))

    (found,) = losses.costs(model, [ids], [15])

    assert (found.nats, found.tokens) == (pytest.approx(by_hand, rel=1e-5), 5)


def test_losses_are_of_all_tokens_of_all_bytes_and_paired_by_document():
    better = [losses.Cost(10, 10), losses.Cost(30, 10)]
    worse = [losses.Cost(12, 10), losses.Cost(32, 10)]

    assert losses.per_token(better).value == 2
    assert losses.per_byte(better, [40, 20]).value == pytest.approx(40 / 60)
    increase = losses.increase(worse, better)
    assert increase.value == increase.low == increase.high == pytest.approx(0.2)  # each document costs 2 more


# ------------------------------------------------------------------------------------------------------------------
# Experts


def test_the_experts_of_a_batch_are_those_that_the_router_logits_name():
    model = tiny("moe")
    documents = random_ids(4, 17, 9)

    found = experts.choices(model, documents)

    assert found.shape == (3, 2, 4)
    for ids, counts in zip(documents, found, strict=True):
        logits = model(input_ids=torch.tensor([ids]), output_router_logits=True).router_logits
        for layer, of_layer in enumerate(logits):
            wanted = [0] * 4
            for token in of_layer.tolist():
                for expert in sorted(range(4), key=lambda e, token=token: -token[e])[:2]:
                    wanted[expert] += 1
            assert counts[layer].tolist() == wanted


def test_distances_between_domains_are_by_hand():
    # one layer, three experts; documents of two tokens
    counts = {
        "animals": np.array([[[2, 0, 0]], [[2, 0, 0]]]),
        "sums": np.array([[[0, 2, 0]], [[0, 2, 0]]]),
        "stories": np.array([[[1, 1, 0]], [[1, 1, 0]]]),
    }
    found = experts.distance(counts)

    assert found.value == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found.low == found.high == pytest.approx(found.value)  # all documents of a domain are alike
    assert experts.farthest(counts, 0).value == 1
    assert experts.dead(counts) == 1
    assert experts.favourite(counts["sums"], 0) == (1, iv.Estimate(1, 1, 1, 2))


def test_the_layer_with_the_largest_distance_counts():
    even, one = [1, 1], [2, 0]
    counts = {"a": np.array([[even, one]] * 3), "b": np.array([[even, even]] * 3)}

    assert experts.distance(counts).value == 0.5
    assert experts.distance(counts, layer=0).value == 0


# ------------------------------------------------------------------------------------------------------------------
# Widths


@pytest.mark.parametrize("kind", ["phi", "qwen", "gemma", "gemma3n", "bitnet"])
def test_a_slice_is_the_model_whose_other_rows_add_nothing(kind):
    model = tiny(kind, **({"activation_sparsity_pattern": [0.0] * 4} if kind == "gemma3n" else {}))
    if kind == "bitnet":  # a norm over the width stands between
        for layer in model.model.layers:
            layer.mlp.ffn_sub_norm = torch.nn.Identity()
    (ids,) = torch.tensor(random_ids(12)).split(1)

    half = widths.sliced(model, 0.5)(ids).logits

    for name, parameter in model.named_parameters():
        if name.endswith("down_proj.weight"):
            parameter[:, parameter.shape[1] // 2 :] = 0
    torch.testing.assert_close(half, model(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_slice_leaves_the_model_as_it_was_and_the_whole_is_the_model():
    model = tiny("phi")
    (ids,) = torch.tensor(random_ids(12)).split(1)
    before = model(ids).logits

    assert not torch.allclose(widths.sliced(model, 0.5)(ids).logits, before)
    assert torch.equal(widths.sliced(model, 1)(ids).logits, before)
    assert torch.equal(model(ids).logits, before)
    assert widths.sliced(model, 0.5).model.layers[0].mlp.gate_up_proj.weight.shape == (64, 32)


def test_what_has_no_width_to_slice_is_refused():
    with pytest.raises(EvaluationError, match="no feed-forward layers"):
        widths.sliced(tiny("moe"), 0.5)
    with pytest.raises(EvaluationError, match="more than 0 and at most 1"):
        widths.sliced(tiny("phi"), 1.5)


# ------------------------------------------------------------------------------------------------------------------
# Ternary


@pytest.fixture
def eager():
    """transformers compiles parts of its BitNet layers, for which there may be no compiler."""
    with torch.compiler.set_stance("force_eager"):
        yield


def trained_bitnet():
    """A BitNet model with the layers of training, as recipes swap them in."""
    return ways.rounded(tiny("bitnet", hidden_size=64, intermediate_size=128))


def offline(model):
    """The model as its packed folder is loaded: transformers' layers with codes and a scale, no master weights."""
    with warnings.catch_warnings():  # torch is warned about itself where it gets its compiler ready
        warnings.simplefilter("ignore", DeprecationWarning)
        from transformers.integrations.bitnet import AutoBitLinear
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BitLinear):
            scale = layer.weight.abs().double().mean().float().clamp(min=1e-5)
            other = AutoBitLinear(layer.in_features, layer.out_features, False)
            other.weight.data = (layer.weight / scale).round().clamp(-1, 1)
            other.weight_scale.fill_(scale)
            model.set_submodule(name, other)
    return model.eval().requires_grad_(False)


def test_a_packed_model_gets_back_the_forward_it_was_trained_with_bit_for_bit(eager):
    trained = trained_bitnet()
    (ids,) = torch.tensor(random_ids(20)).split(1)

    again = ways.as_trained(offline(trained))

    assert torch.equal(again(ids).logits, trained(ids).logits)
    assert sum(isinstance(module, BitLinear) for module in again.modules()) == 14
    torch.testing.assert_close(offline(trained)(ids).logits, trained(ids).logits, rtol=1e-3, atol=1e-3)


def test_a_layer_of_zeros_stays_one_in_every_form():
    trained = trained_bitnet()
    trained.model.layers[0].mlp.up_proj.weight.data.zero_()

    again = ways.as_trained(offline(trained))

    assert not again.model.layers[0].mlp.up_proj(torch.ones(1, 64)).any()


def test_rounding_makes_every_layer_ternary_but_the_head_and_leaves_the_model_as_it_was():
    model = tiny("bitnet")
    (ids,) = torch.tensor(random_ids(20)).split(1)
    before = model(ids).logits

    rounded = ways.rounded(model)

    assert torch.equal(model(ids).logits, before)
    assert not torch.allclose(rounded(ids).logits, before)
    assert type(rounded.lm_head) is torch.nn.Linear
    layer = rounded.model.layers[0].mlp.up_proj
    x = torch.randn(1, 32)
    scale = layer.weight.abs().mean()
    x_scale = 127 / x.abs().max()
    by_hand = (x * x_scale).round() @ (layer.weight / scale).round().clamp(-1, 1).T * (scale / x_scale)
    torch.testing.assert_close(layer(x), by_hand)


def test_a_packed_model_on_the_kernels_writes_what_the_trained_one_writes(eager):
    trained = trained_bitnet()
    prompts = random_ids(5, 9, 7, 12)

    ours = generation.greedy(ways.packed(offline(trained)), prompts, 8, [])
    theirs = generation.greedy(trained, prompts, 8, [])

    assert ways.same_ids(ours, theirs) >= 3  # the head is int8: what is nearly a tie may fall otherwise
    assert ways.same_ids([[1, 2], [3]], [[1, 2], [4]]) == 1
    assert ways.same_ids([[1, 2]], [[1]]) == 0


# ------------------------------------------------------------------------------------------------------------------
# Judges


def asked(answer: str) -> Document:
    return Document("question", "animals", messages=({"role": "user", "content": "?"},), answer=answer)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("A spider has 8 legs.", True),
        ("<think>\n3+5=8\n</think>\n\nA spider has 8 legs.", True),
        ("  A spider has 8 legs.\n", True),
        ("A spider has 8 legs", False),
        ("a spider has 8 legs.", False),
        ("A spider has 8 legs. A spider has 6 legs.", False),
        ("A spider has 6 legs.", False),
        ("<think>\nA spider has 8 legs.", False),
        ("<think>\nA spider has 8 legs.\n</think>\n\n", False),
        ("", False),
    ],
)
def test_an_answer_is_right_sign_by_sign_after_its_thought(answer, right):
    assert exams.says(asked("A spider has 8 legs."), answer) is right


CALL = '{"name":"convert","arguments":{"amount":7,"to":"miles"}}'


@pytest.mark.parametrize(
    ("answer", "json_function_all"),
    [
        (f"<tool_call>\n{CALL}\n</tool_call>", (True, True, True)),
        (f"<|tool_call|>[{CALL}]<|/tool_call|>", (True, True, True)),
        (
            '<tool_call>\n{"arguments": {"to": "miles", "amount": 7}, "name": "convert"}\n</tool_call>',
            (True, True, True),
        ),
        (f"<tool_call>\n{CALL.replace('7', '8')}\n</tool_call>", (True, True, False)),
        (f"<tool_call>\n{CALL.replace('7', chr(34) + '7' + chr(34))}\n</tool_call>", (True, True, False)),
        (f"<tool_call>\n{CALL.replace('7', '7.0')}\n</tool_call>", (True, True, False)),
        (
            f"<tool_call>\n{CALL.replace('7,', '7,' + chr(34) + 'from' + chr(34) + ':1,')}\n</tool_call>",
            (True, True, False),
        ),
        (f"<tool_call>\n{CALL.replace('convert', 'play')}\n</tool_call>", (True, False, False)),
        (f"<tool_call>\n{CALL[:-1]}\n</tool_call>", (False, False, False)),
        (f"<tool_call>\n{CALL}", (False, False, False)),
        (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>", (False, False, False)),
        (f"<|tool_call|>[{CALL},{CALL}]<|/tool_call|>", (False, False, False)),
        ("<tool_call>\n[]\n</tool_call>", (False, False, False)),
        ('<tool_call>\n{"name":"convert"}\n</tool_call>', (False, False, False)),
        (CALL, (False, False, False)),
        ("7 miles.", (False, False, False)),
    ],
)
def test_a_call_is_valid_names_its_function_and_has_its_arguments_or_not(answer, json_function_all):
    document = asked(CALL)
    judges = exams.calls_valid_json, exams.calls_right_function, exams.calls_rightly

    assert tuple(judge(document, answer) for judge in judges) == json_function_all


def test_an_exam_counts_what_is_right_and_a_part_of_it_what_is_right_there():
    documents = [asked("yes"), asked("no"), asked("yes"), asked("no")]
    sheet = exams.sit(lambda documents: ["yes"] * len(documents), documents, exams.says)

    assert (sheet.score.value, sheet.score.count) == (0.5, 4)
    assert sheet.where([True, False, True, False]).score.value == 1
    assert exams.join([sheet, sheet.where([False, True, False, False])]).score.value == 2 / 5


# ------------------------------------------------------------------------------------------------------------------
# Whole exams, sat by models that follow a script


class Scripted:
    """A model that writes what its script says after each prompt, token by token; what it saw is its cache."""

    def __init__(self, script: dict[tuple[int, ...], list[int]], vocabulary: int):
        self.script, self.vocabulary = script, vocabulary
        self.config = transformers.Qwen3Config(num_hidden_layers=1)

    def __call__(self, input_ids, attention_mask, position_ids, past_key_values, use_cache, logits_to_keep):
        seen = past_key_values.update(input_ids[:, None, :, None].float(), input_ids[:, None, :, None].float(), 0)[0]
        logits = torch.zeros(len(input_ids), 1, self.vocabulary)
        for row, (ids, mask) in enumerate(zip(seen[:, 0, :, 0].long(), attention_mask, strict=True)):
            history = tuple(ids[mask == 1].tolist())
            assert position_ids[row, -1] == len(history) - 1
            logits[row, 0, self.next_id(history)] = 1
        return SimpleNamespace(logits=logits)

    def next_id(self, history: tuple[int, ...]) -> int:
        for length in range(len(history), 0, -1):
            if (answer := self.script.get(history[:length])) is not None:
                written = history[length:]
                assert written == tuple(answer[: len(written)]), "an answer went another way than its script"
                return answer[len(written)]
        raise AssertionError("a prompt that the script does not know")


def answered(document: Document, right: bool) -> Document:
    """The document with its answer, or with another one, said by the assistant."""
    if document.kind == "tool":
        call = json.loads(document.answer)
        if not right:
            call["arguments"] = {**call["arguments"], "surplus": 1}
        said = {"content": "", "tool_calls": [{"type": "function", "function": call}]}
    elif document.thinking:
        total = int(document.answer) + (not right)
        said = {"content": str(total), "reasoning_content": f"{total - 1}+1\n{total}"}
    else:
        said = {"content": document.answer if right else f"{document.answer} No."}
    return replace(document, messages=(*document.messages, {"role": "assistant", **said}))


def scripted(family: str, documents, right) -> Candidate:
    """A candidate that answers document number i rightly if right(i), and that knows no other prompts."""
    words = tokenizer.load(family)
    script = {}
    for index, document in enumerate(documents):
        prompt = tokenizer.encode_prompt(document, words)
        whole = tokenizer.encode(answered(document, right(index)), words)
        assert whole[: len(prompt)] == prompt
        script[tuple(prompt)] = whole[len(prompt) :]
    recipe = next(recipe for recipe in recipes.RECIPES.values() if recipe.family == family)
    return Candidate(recipe.name, recipe, Scripted(script, len(words)), words, "0")


ALWAYS, NEVER, EVERY_OTHER = (lambda index: True), (lambda index: False), (lambda index: index % 2 == 0)
RULES = [(ALWAYS, 1.0), (NEVER, 0.0), (EVERY_OTHER, 0.5)]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Exams of 12 questions, losses of 8 documents."""
    monkeypatch.setattr(measures, "QUESTIONS", 12)
    monkeypatch.setattr(measures, "DOCUMENTS", 8)


def values(found: list[Row]) -> dict[str, float]:
    return {row.claim: row.value for row in found}


# --- one mini


@pytest.mark.parametrize(("right", "share"), RULES)
@pytest.mark.parametrize("family", tokenizer.FAMILIES)
def test_facts_are_counted(family, right, share):
    for wording in ("seen", "new"):
        one = scripted(family, papers.facts(wording, 12, measures.SEED), right)
        found = Hall().facts(one, wording)
        assert (found.value, found.count) == (share, 12)


@pytest.mark.parametrize(("right", "share"), RULES)
def test_sums_are_counted_with_thinking_and_without(right, share):
    thinking, direct = (papers.sums(3, thinking, 12, measures.SEED) for thinking in (True, False))
    assert [document.messages for document in thinking] == [document.messages for document in direct]
    one = scripted("qwen", [*thinking, *direct], lambda index: right(index) if index < 12 else index == 12)

    found = values(measures.sums(Hall(), one, 3))

    assert found["sums-3-terms-thinking"] == share
    assert found["sums-3-terms-direct"] == pytest.approx(1 / 12)
    assert found["sums-3-terms-gain-by-thinking"] == pytest.approx(share - 1 / 12)


@pytest.mark.parametrize(("right", "share"), RULES)
@pytest.mark.parametrize("family", ["phi", "qwen"])
def test_tool_calls_are_counted(family, right, share):
    one = scripted(family, papers.tool_calls(12, measures.SEED), right)

    found = values(measures.tool_calls(Hall(), one))

    assert found == {"tool-calls-json": 1, "tool-calls-function": 1, "tool-calls": share}


def test_a_thought_beyond_its_budget_is_cut_closed_and_answered(monkeypatch):
    monkeypatch.setattr(measures, "BUDGETS", (0, 4, 64))
    documents = [d for terms in measures.BUDGET_TERMS for d in papers.sums(terms, True, 12, measures.SEED)]
    one = scripted("qwen", documents, ALWAYS)
    for document in documents:
        prompt = tokenizer.prompt(document, one.words)
        for begun in ("", f"{int(document.answer) - 1}+1"[:3]):  # a line break and three signs are four tokens
            cut = one.words.encode(f"{prompt}<think>\n{begun}\n</think>\n\n")
            one.model.script[tuple(cut)] = one.words.encode("0<|im_end|>")  # and no other prompt is known

    found = measures.budgets(Hall(), one)

    assert [row.value for row in found] == [0, 0, 1, 1]
    assert found[-1].met is True


def test_a_mini_that_does_not_grow_with_its_budget_misses_the_goal():
    documents = [d for terms in measures.BUDGET_TERMS for d in papers.sums(terms, True, 12, measures.SEED)]
    one = scripted("qwen", [replace(document, thinking=False) for document in documents], ALWAYS)
    one.model.script |= {
        tuple(tokenizer.encode_prompt(d, one.words)): one.words.encode("0<|im_end|>") for d in documents
    }

    found = measures.budgets(Hall(), one)  # it never begins a thought

    assert [row.value for row in found] == [0] * (len(measures.BUDGETS) + 1)
    assert found[-1].met is False


@pytest.mark.parametrize(("reach_tokens", "within", "beyond"), [(1000, 1, 1), (64, 1, 0), (0, 0, 0)])
def test_needles_are_counted_within_the_window_and_beyond(reach_tokens, within, beyond):
    documents = [d for words in measures.HAYSTACKS for d in papers.needles(words, 4, measures.SEED)]
    words = tokenizer.load("gemma")
    right = [needles.reach(document, words).nearest < reach_tokens for document in documents]
    one = scripted("gemma", documents, lambda index: right[index])
    one.model.config.sliding_window = 64

    found = values(measures.recall(Hall(), one))

    assert (found["needles-within-window"], found["needles-beyond-window"]) == (within, beyond)
    assert found["needles-128-to-255-tokens"] == beyond
    assert found["needles-16-to-31-tokens"] == within


def test_a_reach_is_counted_in_tokens_from_the_last_one_of_the_prompt():
    words = tokenizer.load("gemma")
    key = "The code of Lena is 48."
    message = {"role": "user", "content": f"{key} The old boat lay by the river.\nWhat is the code of Lena?"}
    document = Document("needle", "needles", messages=(message,), answer=key)
    ids = tokenizer.encode_prompt(document, words)
    before, after = words.encode("<bos><start_of_turn>user\n"), len(words.encode(key))

    found = needles.reach(document, words)

    assert ids[: len(before)] == before
    assert found.nearest == len(ids) - 1 - (len(before) + after - 1)
    assert found.farthest == len(ids) + after - 1 - len(before)


def test_a_needle_that_is_not_told_is_refused():
    document = Document("needle", "needles", messages=({"role": "user", "content": "Hay."},), answer="A needle.")
    with pytest.raises(EvaluationError, match=r"'A needle\.' is not in its document"):
        needles.reach(document, tokenizer.load("gemma"))


# --- many minis, small and untrained


def shrunk(recipe: recipes.Recipe) -> recipes.Recipe:
    """The recipe of a mini of width 32."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "head_dim": 8, "num_attention_heads": 4}
    if recipe.model_class == "Gemma3nForCausalLM":
        sizes |= {"hidden_size_per_layer_input": 4, "laurel_rank": 4, "intermediate_size": [32] * 6}
    if "num_experts" in recipe.config:
        sizes |= {"moe_intermediate_size": 16}
    if recipe.twin_of == "mini-qwen-moe":
        sizes |= {"intermediate_size": recipe.config["intermediate_size"] // 8}
    return replace(recipe, config={**recipe.config, **sizes})


SHRUNK = {name: shrunk(recipe) for name, recipe in recipes.RECIPES.items()}


@pytest.fixture(scope="module")
def minis_folder(tmp_path_factory):
    """All minis and twins, untrained and shrunk, as training stores them."""
    folder = tmp_path_factory.mktemp("minis")
    for name, recipe in SHRUNK.items():
        (folder / name).mkdir()
        storing.save(recipes.new_model(recipe), tokenizer.load(recipe.family), folder / name)
    return folder


@pytest.fixture(scope="module")
def whole_evaluation(minis_folder):
    """Of all shipped minis, by default."""
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        return evaluation.evaluate(progress=False, folder=lambda name: minis_folder / name)


@pytest.fixture
def quick(monkeypatch):
    hurry(monkeypatch)


def hurry(patch):
    patch.setattr(recipes, "RECIPES", SHRUNK)
    patch.setattr(measures, "QUESTIONS", 3)
    patch.setattr(measures, "DOCUMENTS", 20)
    patch.setattr(measures, "TERMS", (2, 3, 4))
    patch.setattr(measures, "HAYSTACKS", (10, 30, 100))
    patch.setattr(candidates, "ANSWER_TOKENS", 3)
    patch.setattr(candidates, "THOUGHT_TOKENS", 3)


def test_an_evaluation_holds_every_mini_to_every_goal(whole_evaluation):
    found = whole_evaluation

    keys = [(row.claim, row.model) for row in found]
    assert len(keys) == len(set(keys))
    assert {(row.claim, row.model) for row in found if row.goal} == set(rows.GOALS)
    assert all(row.low <= row.value <= row.high and not row.note for row in found)
    assert all((row.met is None) == (row.goal == "") for row in found)
    assert json.loads(as_json(found))
    assert table(found).splitlines()[-1] == f"{sum(row.met is True for row in found)} of {len(rows.GOALS)} goals met"


def test_untrained_minis_pay_the_logarithm_of_their_vocabulary_and_answer_nothing(whole_evaluation):
    losses_of_all = {row.model: row.value for row in whole_evaluation if row.claim == "held-out-loss"}

    assert set(losses_of_all) == set(minis.NAMES)
    assert all(value == pytest.approx(math.log(2048), abs=0.5) for value in losses_of_all.values())
    assert not any(row.value for row in whole_evaluation if row.unit == measures.SHARE)


def test_each_mini_sits_the_exams_of_what_it_was_taught(whole_evaluation):
    claims = {name: {row.claim for row in whole_evaluation if row.model == name} for name in minis.NAMES}

    assert {"held-out-loss-needles", "needles-within-window", "needles-beyond-window"} <= claims["mini-gemma"]
    assert {"held-out-loss-animals", "held-out-loss-languages-it"} <= claims["mini-qwen-moe"]
    assert {"facts-new-wording", "tool-calls"} <= claims["mini-phi"]
    assert {"half-width-costs", "half-width-costs-twin"} <= claims["mini-gemma3n"]
    assert {"sums-4-terms-direct", "sums-budget-16", "tool-calls"} <= claims["mini-qwen"]
    of_moe = {claim for claim in claims["mini-qwen-moe"] if claim.startswith("sums")}
    assert of_moe == {f"sums-{terms}-terms-thinking" for terms in (2, 3, 4)}  # it never learnt to answer at once
    assert "tool-calls" not in claims["mini-bitnet"]


def test_an_evaluation_is_the_same_each_time_whatever_came_before(quick, minis_folder, whole_evaluation):
    again = evaluation.evaluate(["mini-gemma3n"], False, lambda name: minis_folder / name)

    assert again == [row for row in whole_evaluation if row.model == "mini-gemma3n"]


def test_a_missing_twin_leaves_a_row_that_says_so(quick, minis_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(rows, "RECORD", tmp_path / "evaluation.json")

    def folder(name):
        return minis_folder / name if not name.endswith("twin") else tmp_path / name

    found = [row for row in evaluation.evaluate(["mini-bitnet"], False, folder) if row.goal]

    assert [row.claim for row in found if row.value is None] == ["ternary-training-costs", "ternary-rounding-costs"]
    assert found[-1].note.startswith("mini-bitnet-twin is not here. Next: slmlab minis train mini-bitnet-twin")
    assert (found[-1].met, found[-1].low, found[-1].count) == (None, None, 0)


def test_the_stored_row_stands_in_for_a_missing_twin_while_the_weights_are_the_same(
    quick, minis_folder, monkeypatch, tmp_path
):
    monkeypatch.setattr(rows, "RECORD", tmp_path / "evaluation.json")
    with_twin = evaluation.evaluate(["mini-bitnet"], False, lambda name: minis_folder / name)
    evaluation.record(with_twin, lambda name: minis_folder / name)

    def without(name):
        return minis_folder / name if name == "mini-bitnet" else tmp_path / name

    found = evaluation.evaluate(["mini-bitnet"], False, without)
    assert found[-1] == replace(with_twin[-1], note=found[-1].note)
    assert found[-1].note == "as stored, not measured now: mini-bitnet-twin is not here"

    stored = json.loads(rows.RECORD.read_text(encoding="utf-8"))
    stored["weights_sha256"]["mini-bitnet"] = "another"
    rows.RECORD.write_text(json.dumps(stored), encoding="utf-8")
    assert evaluation.evaluate(["mini-bitnet"], False, without)[-1].value is None


def test_a_mixture_is_measured_beside_itself_before_training(quick, minis_folder):
    hall = Hall(lambda name: minis_folder / name)
    one = hall.candidate("mini-qwen-moe")
    untrained = one.on(recipes.new_model(one.recipe).eval())

    found = values(measures.expert_shares(hall, one))

    assert found["experts-distance-untrained"] == values(measures.expert_shares(hall, untrained))["experts-distance"]
    assert found["experts-distance"] == max(found[f"experts-distance-layer-{layer}"] for layer in range(4))
    assert found["experts-distance-farthest"] > found["experts-distance"]


def test_a_mini_that_is_named_and_not_there_is_an_error(tmp_path):
    with pytest.raises(models.ModelError, match="there is no folder"):
        evaluation.evaluate(["mini-phi"], False, lambda name: tmp_path / name)
    with pytest.raises(minis.MiniError, match="'mini-psi', wanted one of"):
        evaluation.evaluate(["mini-psi"], False)


def test_twins_read_the_ids_that_their_minis_read(quick, minis_folder):
    hall = Hall(lambda name: minis_folder / name)

    assert measures.loss_above(hall, hall.candidate("mini-bitnet"), hall.candidate("mini-bitnet")).value == 0
    with pytest.raises(EvaluationError, match="mini-bitnet and mini-phi read other ids"):
        measures.loss_above(hall, hall.candidate("mini-bitnet"), hall.candidate("mini-phi"))


def test_intervals_that_overlap_are_not_apart():
    questions = papers.facts("new", 12, measures.SEED)
    a, b, c = (
        replace(scripted("phi", questions, right), name=name)
        for name, right in (("a", ALWAYS), ("b", lambda index: index % 3 == 0), ("c", NEVER))
    )

    assert measures.intervals_apart(Hall(), a, c)
    assert not measures.intervals_apart(Hall(), b, c)  # 4 of 12 and 0 of 12: 0.138 to 0.609, 0 to 0.243
    assert measures.clean_minus_noisy(Hall(), a, b).value == pytest.approx(2 / 3)


def test_a_shipped_mini_is_checked_by_its_digests(minis_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(minis, "WEIGHTS", tmp_path)
    where = tmp_path / "mini-phi"
    shutil.copytree(minis_folder / "mini-phi", where)
    (where / "card.json").write_text(json.dumps({"files": minis.digests(where)}), encoding="utf-8")
    digest = hashlib.sha256((where / "model.safetensors").read_bytes()).hexdigest()

    assert Hall().candidate("mini-phi").weights_sha256 == digest
    assert Hall(minis.folder).candidate("mini-phi").weights_sha256 == digest

    (where / "model.safetensors").write_bytes((where / "model.safetensors").read_bytes()[:-1] + b"\0")
    for hall in (Hall(), Hall(minis.folder)):
        with pytest.raises(models.DamagedModelError, match="sha256"):
            hall.candidate("mini-phi")


def test_every_right_answer_is_shorter_than_what_may_be_written():
    papers_without_thought = [
        ("phi", papers.facts("new", 300, measures.SEED)),
        ("phi", papers.tool_calls(100, measures.SEED)),
        ("qwen", papers.tool_calls(100, measures.SEED)),
        ("gemma", papers.needles(10, 20, measures.SEED)),
        ("gemma", [document for code in measures.CODES for document in papers.languages(code, 60, measures.SEED)]),
    ]
    for family, documents in papers_without_thought:
        words = tokenizer.load(family)
        for document in documents:
            answer = len(tokenizer.encode(answered(document, True), words)) - len(
                tokenizer.encode_prompt(document, words)
            )
            assert answer <= candidates.ANSWER_TOKENS

    words = tokenizer.load("qwen")
    longest = scratch_work([99, 99, -99, 99, -99, 99])
    assert len(words.encode(f"<think>\n{longest}{tokenizer.THINK_END}198<|im_end|>")) <= candidates.THOUGHT_TOKENS
