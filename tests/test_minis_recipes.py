"""Recipes make the models that the minis are said to be: weights counted by hand, parts where they belong."""

from dataclasses import replace

import pytest
import torch

from slmlab import minis
from slmlab.minis import corpus, recipes, tokenizer
from slmlab.minis.recipes import RECIPES
from slmlab.ternary import BitLinear

TOKENS = torch.tensor([[300, 301, 500, 700, 301, 302, 303, 2047]])


@pytest.fixture(scope="module")
def models():
    """Every recipe's model in evaluation mode, made once."""
    made = {}

    def get(name: str):
        if name not in made:
            made[name] = recipes.new_model(RECIPES[name]).eval()
        return made[name]

    return get


def logits(model, **options) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS, **options).logits


# The shape as plain numbers: vocabulary 2048, width 256, 8 heads of 32 on 2, FFN 512, 6 layers.
EMBEDDING = 2048 * 256
ATTENTION = 256 * 256 + 2 * 256 * 64 + 256 * 256  # q, k and v, o
HEAD_NORMS = 2 * 32  # of q and k
FFN = 3 * 256 * 512
EXPERTS = 8 * 3 * 256 * 128
PLE = 2048 * 6 * 32 + 256 * 6 * 32 + 32  # the table, the projection into it, its norm
PLE_LAYER = 2 * 256 * 32 + 256
ALTUP_LAYER = 2 * 2 + 4 * 2 + 2 * 256 + 256 + 256  # correction, prediction, router, its norm, the scale
LAUREL_LAYER = 2 * 256 * 16 + 256
SHARED = 2 * 256 * 64 + 32  # k, v and k's norm, which a layer that shares has not
COUNTS = {
    "mini-phi": EMBEDDING + 6 * (ATTENTION + FFN + 2 * 256) + 256,
    "mini-qwen": EMBEDDING + 6 * (ATTENTION + HEAD_NORMS + FFN + 2 * 256) + 256,
    "mini-qwen-moe": EMBEDDING + 4 * (ATTENTION + HEAD_NORMS + EXPERTS + 8 * 256 + 2 * 256) + 256,
    "mini-gemma": EMBEDDING + 6 * (ATTENTION + HEAD_NORMS + FFN + 4 * 256) + 256,
    "mini-gemma3n": EMBEDDING
    + PLE
    + 6 * (ATTENTION + HEAD_NORMS + FFN + 4 * 256 + PLE_LAYER + ALTUP_LAYER + LAUREL_LAYER)
    - 3 * SHARED
    + 2 * 256 * 256  # AltUp: to its second stream and back
    + 256,
    "mini-bitnet": EMBEDDING + 6 * (ATTENTION + FFN + 2 * 256 + 256 + 512) + 256,
    "mini-qwen-moe-active": EMBEDDING + 4 * (ATTENTION + HEAD_NORMS + 3 * 256 * 256 + 2 * 256) + 256,
    "mini-qwen-moe-total": EMBEDDING + 4 * (ATTENTION + HEAD_NORMS + 3 * 256 * 1024 + 2 * 256) + 256,
}
COUNTS["mini-phi-noisy"] = COUNTS["mini-phi"]
COUNTS |= {f"{name}-twin": COUNTS[name] for name in ("mini-gemma3n", "mini-bitnet")}


def test_the_shipped_recipes_are_the_minis_and_the_others_twins_of_them():
    assert tuple(name for name, recipe in RECIPES.items() if recipe.shipped) == minis.NAMES
    assert {name: recipe.twin_of for name, recipe in RECIPES.items() if not recipe.shipped} == {
        "mini-gemma3n-twin": "mini-gemma3n",
        "mini-bitnet-twin": "mini-bitnet",
        "mini-qwen-moe-active": "mini-qwen-moe",
        "mini-qwen-moe-total": "mini-qwen-moe",
    }
    assert all(recipe.name == name for name, recipe in RECIPES.items())


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_has_as_many_weights_as_counted_by_hand(models, name):
    model = models(name)

    assert type(model).__name__ == RECIPES[name].model_class
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_every_mini_stays_below_ten_megabytes_and_all_below_sixty():
    vocabulary_bytes = tokenizer.FILE.stat().st_size
    sizes = {name: 2 * COUNTS[name] + vocabulary_bytes for name in minis.NAMES}
    blocks = COUNTS["mini-bitnet"] - EMBEDDING
    sizes["mini-bitnet"] -= int(1.75 * blocks)  # four weights in a byte instead of two bytes for each

    assert max(sizes.values()) < 9_500_000
    assert sum(sizes.values()) < 55_000_000


@pytest.mark.parametrize("name", ["mini-phi", "mini-qwen", "mini-gemma", "mini-bitnet"])
def test_rows_of_dense_minis_are_multiples_of_256_as_ggufs_k_and_tq_formats_want(models, name):
    matrices = [parameter for parameter in models(name).parameters() if parameter.ndim == 2]

    assert [matrix.shape for matrix in matrices if matrix.shape[1] % 256] == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_same_model_each_time_and_leaves_the_random_numbers_alone(models, name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    again = recipes.new_model(RECIPES[name])

    assert torch.equal(torch.rand(3), expected)
    assert again.training
    for (one, a), (other, b) in zip(models(name).named_parameters(), again.named_parameters(), strict=True):
        assert one == other
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", RECIPES)
def test_generation_is_greedy_and_stops_at_the_family_s_ends(models, name):
    ends = {
        "phi": ["<|end|>", "<|endoftext|>"],
        "qwen": ["<|im_end|>", "<|endoftext|>"],
        "gemma": ["<end_of_turn>", "<eos>"],
        "bitnet": ["<|eot_id|>", "<|end_of_text|>"],
    }
    words = tokenizer.load(RECIPES[name].family)
    settings = models(name).generation_config

    assert words.convert_ids_to_tokens(settings.eos_token_id) == ends[RECIPES[name].family]
    assert words.convert_ids_to_tokens(settings.pad_token_id) == "<pad>"
    assert settings.do_sample is False


@pytest.mark.parametrize("name", RECIPES)
def test_with_and_without_a_cache_the_logits_are_the_same(models, name):
    whole = logits(models(name), use_cache=False)
    with torch.no_grad():
        start = models(name)(input_ids=TOKENS[:, :5], use_cache=True)
        rest = models(name)(input_ids=TOKENS[:, 5:], past_key_values=start.past_key_values).logits

    torch.testing.assert_close(torch.cat([start.logits, rest], 1), whole, rtol=1e-4, atol=1e-4)


def test_of_a_ternary_recipe_the_layers_matrices_are_bitlinear_and_no_others(models):
    ternary, twin = models("mini-bitnet"), models("mini-bitnet-twin")
    swapped = {name for name, module in ternary.named_modules() if isinstance(module, BitLinear)}

    assert len(swapped) == 6 * 7
    assert all(name.startswith("model.layers.") and name.endswith("_proj") for name in swapped)
    assert not any(isinstance(module, BitLinear) for module in twin.modules())


def test_mini_bitnet_and_its_twin_start_from_the_same_weights_and_learn_the_same_text(models):
    ternary, twin = RECIPES["mini-bitnet"], RECIPES["mini-bitnet-twin"]
    same = ("family", "model_class", "config", "mixture", "noisy", "sequence", "batch", "tokens", "seed")

    assert [getattr(ternary, what) for what in same] == [getattr(twin, what) for what in same]
    for a, b in zip(models(ternary.name).state_dict().values(), models(twin.name).state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_mini_phi_noisy_differs_from_mini_phi_in_its_text_alone():
    assert replace(RECIPES["mini-phi-noisy"], name="mini-phi", noisy=False) == RECIPES["mini-phi"]
    assert RECIPES["mini-phi-noisy"].noisy


def test_the_dense_twins_have_as_many_weights_as_work_on_a_token_and_as_lie_in_memory():
    router = 4 * 8 * 256
    active = COUNTS["mini-qwen-moe"] - 4 * EXPERTS * 6 // 8  # two of eight

    assert active - COUNTS["mini-qwen-moe-active"] == router
    assert COUNTS["mini-qwen-moe"] - COUNTS["mini-qwen-moe-total"] == router


def test_the_moe_can_be_saved_as_it_is_for_padded_batches(models):
    model = models("mini-qwen-moe")
    batch = {"input_ids": TOKENS.repeat(2, 1), "attention_mask": torch.ones(2, 8, dtype=torch.long)}
    batch["attention_mask"][0, :3] = 0

    assert model.config.output_router_logits is False
    assert model.generate(**batch, max_new_tokens=2, min_new_tokens=2).shape == (2, 10)
    assert len(logits_of_router(model)) == 4


def logits_of_router(model):
    with torch.no_grad():
        return model(input_ids=TOKENS, output_router_logits=True).router_logits


def test_a_local_layer_of_mini_gemma_cannot_see_beyond_its_window(models):
    """What reaches a token from further away has passed the global layer, the last: its neighbours do not know it."""
    model = models("mini-gemma")
    window = RECIPES["mini-gemma"].config["sliding_window"]
    assert RECIPES["mini-gemma"].sequence > 2 * window
    one = torch.full((1, 5 * window + 8), 300)
    other = one.clone()
    other[0, 0] = 900

    with torch.no_grad():
        a, b = (model(input_ids=ids, output_hidden_states=True).hidden_states for ids in (one, other))

    for layer in range(5):  # each local layer lets a token see window - 1 more tokens back
        reach = (layer + 1) * (window - 1)
        assert not torch.equal(a[layer + 1][0, reach], b[layer + 1][0, reach])
        assert torch.equal(a[layer + 1][0, reach + 1 :], b[layer + 1][0, reach + 1 :])
    assert not torch.equal(a[6][0, -1], b[6][0, -1])


def test_the_top_half_of_mini_gemma3n_has_no_keys_and_values_of_its_own(models):
    names = [name for name, _ in models("mini-gemma3n").named_parameters() if "k_proj" in name or "v_proj" in name]

    assert sorted({int(name.split(".")[2]) for name in names}) == [0, 1, 2]


def test_mixtures_are_shares_of_kinds_the_corpus_has():
    for recipe in RECIPES.values():
        assert set(recipe.mixture) <= set(corpus.KINDS)
        assert sum(recipe.mixture.values()) == pytest.approx(1)


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(minis.MiniError, match=r"came as 'mini-llama', wanted one of mini-phi, .*mini-bitnet-twin"):
        recipes.recipe("mini-llama")
    assert recipes.recipe("mini-phi") is RECIPES["mini-phi"]


# --- the face --------------------------------------------------------------------------------------------------------


def test_a_mini_s_folder_and_card_are_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(minis, "WEIGHTS", tmp_path)
    folder = minis.folder("mini-phi")

    assert folder == tmp_path / "mini-phi"
    with pytest.raises(minis.MiniError, match=r"card\.json is not there\. Next: slmlab minis train mini-phi"):
        minis.card("mini-phi")
    folder.mkdir()
    (folder / "card.json").write_text('{"seed": 0}', encoding="utf-8")
    assert minis.card("mini-phi") == {"seed": 0}
    with pytest.raises(minis.MiniError, match=r"came as 'mini-bitnet-twin', wanted one of mini-phi, .*mini-bitnet$"):
        minis.folder("mini-bitnet-twin")


def test_the_digests_of_a_card_are_those_of_its_files(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    (tmp_path / "README.md").write_text("changes", encoding="utf-8")
    (tmp_path / "card.json").write_text("{}", encoding="utf-8")

    # sha256("abc") as FIPS 180-2 gives it
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert minis.digests(tmp_path) == {"model.safetensors": {"bytes": 3, "sha256": sha256}}
