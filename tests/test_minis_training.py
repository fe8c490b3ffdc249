"""Training: every class learns, what was interrupted ends the same, and what is stored is what was trained."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from slmlab import minis, models
from slmlab.evaluation.widths import sliced
from slmlab.minis import cards, corpus, recipes, storing, tokenizer, training
from slmlab.minis.recipes import GLOBAL, LOCAL, RECIPES
from slmlab.ternary import BitLinear

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
SMALL_OF = {
    "Qwen3MoeForCausalLM": {"num_experts": 4, "moe_intermediate_size": 32},
    "Gemma3ForCausalLM": {"layer_types": [LOCAL, GLOBAL], "sliding_window": 16},
    "Gemma3nForCausalLM": {
        "num_hidden_layers": 4,
        "intermediate_size": [64] * 4,
        "layer_types": [LOCAL, GLOBAL] * 2,
        "sliding_window": 16,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "activation_sparsity_pattern": [0.0] * 4,
    },
}
ONE_OF_EACH_CLASS = ("mini-phi", "mini-qwen", "mini-qwen-moe", "mini-gemma", "mini-gemma3n", "mini-bitnet")
STEPS = 20


def small(name: str, steps: int = STEPS) -> recipes.Recipe:
    """A recipe of the same class, a hundredth of the size."""
    recipe = RECIPES[name]
    config = {**recipe.config, **SMALL, **SMALL_OF.get(recipe.model_class, {})}
    return replace(recipe, config=config, sequence=96, batch=4, tokens=steps * 4 * 96)


def new_training(recipe, folder) -> training.Training:
    return training.Training(recipe, folder / "partial")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of small trained minis, each made once, and the models as they were in training."""
    made = {}

    def get(name: str):
        if name not in made:
            output = tmp_path_factory.mktemp("trained") / name
            with torch.enable_grad():
                run = new_training(small(name), output.parent)
                run.run(progress=False)
            run.finish(output)
            made[name] = output, run
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "SAMPLE_TOKENS", 8)
        patch.setattr(training, "HELD_OUT_DOCUMENTS", 6)
        yield get


compiles = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


@pytest.fixture
def eager():
    """transformers would compile the unpacking of ternary weights."""
    with torch.compiler.set_stance("force_eager"):
        yield


# ----------------------------------------------------------------------------------------------------------------------
# It learns


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_twenty_steps_lower_the_loss(trained, name):
    losses = trained(name)[1].losses

    assert len(losses) == STEPS
    assert 7.4 < losses[0] < 8.2  # of 2048 ids, none preferred yet: log(2048) = 7.62
    assert sum(losses[-3:]) / 3 < losses[0] - 0.7


def test_a_noisy_recipe_learns_other_text_of_the_same_documents(tmp_path):
    clean = new_training(small("mini-phi"), tmp_path).text
    noisy = new_training(small("mini-phi-noisy"), tmp_path).text
    stream = corpus.documents(clean.recipe.mixture, clean.recipe.seed)
    clean.batch(), noisy.batch()

    assert noisy.next_document == clean.next_document
    same = [ids for ids in noisy.waiting if ids in clean.waiting]
    assert 0.2 < len(same) / len(noisy.waiting) < 0.8
    expected = tokenizer.encode(corpus.noisy(next(stream), random.Random("0/noise/0")), noisy.words)
    first = new_training(small("mini-phi-noisy"), tmp_path).text.sequence()[0]
    assert first == expected[: noisy.recipe.sequence]


def test_the_rate_rises_stays_and_falls_to_nearly_nothing():
    rates = [training.rate(step, 1000) for step in range(1000)]

    assert rates[:40] == [(step + 1) / 40 for step in range(40)]
    assert set(rates[40:601]) == {1.0}
    assert rates[800] == 0.5
    assert rates[999] == 1 / 400
    assert [training.rate(step, 10) for step in range(10)] == [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_matrices_decay_and_norms_do_not(tmp_path):
    decaying, others = new_training(small("mini-gemma3n"), tmp_path).optimizer.param_groups

    assert {value.ndim for value in decaying["params"]} == {2}
    assert {value.ndim for value in others["params"]} <= {0, 1}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


@torch.no_grad()
def test_the_loss_is_the_mean_of_log_p_and_that_of_experts_is_reported_without_their_balance(tmp_path):
    run = new_training(small("mini-qwen-moe"), tmp_path)
    packed = run.text.batch()

    minimised, nats = training.losses(run.model, packed)

    assert packed.positions[:, 0].eq(0).all()
    logits = run.model(packed.ids, position_ids=packed.positions, use_cache=False).logits
    log_p = logits.log_softmax(-1)
    taken = [
        log_p[b, t - 1, packed.ids[b, t]].item()
        for b in range(len(packed.ids))
        for t in range(1, packed.ids.shape[1])
        if packed.positions[b, t] > 0
    ]
    assert nats == pytest.approx(-sum(taken) / len(taken), abs=1e-5)
    assert minimised.item() - nats == pytest.approx(0.02 * 2, rel=0.3)  # two of the experts for each token, evenly


@torch.no_grad()
@pytest.mark.parametrize("name", ["mini-gemma", "mini-qwen-moe"])
def test_what_others_say_weighs_as_the_recipe_wants_and_the_nats_are_unweighed(tmp_path, name):
    run = new_training(replace(small(name), mixture={"question": 1.0}, prompt_weight=0.25), tmp_path)
    packed = run.text.batch()

    minimised, nats = training.losses(run.model, packed)

    assert set(packed.weights.flatten().tolist()) == {0.25, 1.0}
    log_p = run.model(packed.ids, position_ids=packed.positions, use_cache=False).logits.log_softmax(-1)
    taken = [
        (packed.weights[b, t].item(), -log_p[b, t - 1, id].item())
        for b, ids in enumerate(packed.ids.tolist())
        for t, id in enumerate(ids)
        if packed.positions[b, t] > 0
    ]
    assert nats == pytest.approx(sum(cost for _, cost in taken) / len(taken), abs=1e-5)
    weighed = sum(weight * cost for weight, cost in taken) / sum(weight for weight, _ in taken)
    assert abs(weighed - nats) > 1e-4
    balance = minimised.item() - weighed
    assert balance == pytest.approx(0.02 * 2 if name == "mini-qwen-moe" else 0, rel=0.3, abs=1e-5)


def test_weights_follow_who_says_a_token_and_ids_are_those_of_the_text(tmp_path):
    weighed = new_training(replace(small("mini-gemma"), prompt_weight=0.25), tmp_path).text
    plain = new_training(replace(small("mini-gemma"), prompt_weight=1.0), tmp_path).text
    for _ in range(4):
        packed, same = weighed.batch(), plain.batch()
        assert packed.ids.equal(same.ids) and packed.positions.equal(same.positions) and same.weights is None
    document = corpus.exams.held_out("needle", 1, 0)[0]
    ids = tokenizer.encode(document, weighed.words)
    said = tokenizer.said(document, weighed.words)
    assert [id if mine else ~id for id, mine in zip(ids, said, strict=True)] == weighed._marked(document)
    assert plain._marked(document) == ids


def test_long_documents_come_later_where_a_recipe_wants_it(tmp_path):
    recipe = replace(small("mini-gemma"), sequence=512, mixture={"needle": 0.8, "question": 0.2})
    limits = [training.longest(recipe, step, 1000) for step in range(1000)]
    assert set(limits[:271]) == {160} and set(limits[450:]) == {tokenizer.MAX_TOKENS}
    assert limits[270:450] == sorted(limits[270:450]) and limits[360] == (160 + 512) // 2
    assert training.longest(replace(recipe, short_first=False), 0, 1000) == tokenizer.MAX_TOKENS

    with pytest.raises(minis.MiniError, match=r"hardly one has at most 9 tokens\. Next: a recipe"):
        new_training(recipe, tmp_path).text.batch(longest=9)
    text = new_training(recipe, tmp_path).text
    lengths = [len(document) for _ in range(20) for document in text.sequence(160)]
    assert max(lengths) <= 160 < max(len(document) for _ in range(20) for document in text.sequence())
    stream = corpus.documents(recipe.mixture, recipe.seed)
    made = [len(tokenizer.encode(next(stream), text.words)) for _ in range(text.next_document)]
    assert text.passed_over > 20 and text.passed_over <= sum(length > 160 for length in made)


# ----------------------------------------------------------------------------------------------------------------------
# Packing


def test_sequences_have_no_gaps_and_every_document_comes_once_and_whole(tmp_path):
    recipe = replace(small("mini-phi"), sequence=256)
    text = new_training(recipe, tmp_path).text
    rows = [text.sequence() for _ in range(30)]

    assert {sum(map(len, row)) for row in rows} == {256}
    stream = corpus.documents(recipe.mixture, recipe.seed)
    wanted = sorted(tokenizer.encode(next(stream), text.words) for _ in range(text.next_document))
    ends = text.words.convert_tokens_to_ids("<|endoftext|>")
    whole = [ids for row in rows for ids in row if ids[-1] == ends]
    assert sorted(whole + text.waiting) == wanted
    cut = [ids for row in rows for ids in row if ids[-1] != ends]
    assert all(len(row) == 1 or row[-1] in cut or row[-1][-1] == ends for row in rows)
    assert sum(map(len, cut)) < 0.05 * 30 * 256  # what is learnt twice


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_documents_of_a_sequence_do_not_see_each_other(tmp_path, name):
    run = new_training(replace(small(name), mixture={"question": 1.0}), tmp_path)
    packed = run.text.batch()
    starts = [*packed.positions[0].eq(0).nonzero().flatten().tolist(), packed.ids.shape[1]]
    assert len(starts) > 2

    run.model.eval()
    with torch.no_grad():
        together = run.model(packed.ids, position_ids=packed.positions, use_cache=False).logits[0]
        for start, end in pairwise(starts):
            alone = run.model(packed.ids[:1, start:end], use_cache=False).logits[0]
            # Where rounding to int8 tips over, a ternary layer's output jumps by a step.
            tolerance = 2e-2 if name == "mini-bitnet" else 1e-4
            torch.testing.assert_close(together[start:end], alone, rtol=tolerance, atol=tolerance)


# ----------------------------------------------------------------------------------------------------------------------
# MatFormer


def test_a_narrow_sequence_passes_the_model_that_is_cut_to_its_width(tmp_path):
    run = new_training(small("mini-gemma3n"), tmp_path)
    packed = run.text.batch()
    run.model.eval()
    widths = torch.tensor([64, 48, 32, 16])
    with torch.no_grad():
        run.nested.mask = (torch.arange(64) < widths[:, None, None]).float()
        masked = run.model(packed.ids, position_ids=packed.positions, use_cache=False).logits
        run.nested.mask = None
        for row, width in enumerate(widths.tolist()):
            alone = sliced(run.model, width / 64)(
                packed.ids[row : row + 1], position_ids=packed.positions[row : row + 1], use_cache=False
            )
            torch.testing.assert_close(masked[row], alone.logits[0], rtol=1e-4, atol=1e-4)


def test_half_the_sequences_are_full_and_a_quarter_half_as_wide(tmp_path):
    nested = new_training(small("mini-gemma3n"), tmp_path).nested
    nested.draw(4000, random.Random(0))

    drawn = nested.mask.sum(-1).flatten().tolist()
    shares = {width: drawn.count(width) / 4000 for width in (64, 48, 32, 16)}
    assert shares == pytest.approx({64: 0.5, 48: 0.125, 32: 0.25, 16: 0.125}, abs=0.03)


def test_recipes_without_matformer_are_always_full(tmp_path):
    assert new_training(small("mini-phi"), tmp_path).nested is None


# ----------------------------------------------------------------------------------------------------------------------
# Interrupted, repeated


class Interrupted(training.Training):
    """Ctrl-C in the middle of step 8, three steps after a checkpoint."""

    def take_step(self):
        if self.step == 5:
            self.save()
        super().take_step()
        if self.step == 8:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["mini-qwen-moe", "mini-gemma3n", "mini-bitnet", "mini-phi-noisy"])
def test_an_interrupted_training_ends_with_the_weights_of_one_that_ran_through(tmp_path, capsys, name):
    recipe = small(name, steps=12)
    with pytest.raises(KeyboardInterrupt):
        Interrupted(recipe, tmp_path / "partial").run(progress=False)
    assert "stopped at step 8 of 12; the same command goes on" in capsys.readouterr().out

    resumed = training.Training(recipe, tmp_path / "partial")
    assert resumed.resume()
    assert resumed.step == 5
    resumed.run(progress=False)
    through = training.Training(recipe, tmp_path / "other")
    assert not through.resume()
    through.run(progress=False)

    assert resumed.losses == pytest.approx(through.losses, abs=1e-6)
    for one, other in zip(resumed.model.parameters(), through.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert resumed.text.next_document == through.text.next_document
    assert resumed.text.waiting == through.text.waiting


def test_a_loop_that_looks_on_takes_the_steps_of_a_run_and_goes_on_after_an_interrupt(trained, tmp_path):
    looked_at = new_training(small("mini-phi"), tmp_path / "none")

    for step in looked_at.steps_left():
        if step == 7:
            break
    taken = list(looked_at.steps_left())

    assert taken == list(range(8, STEPS + 1))
    assert looked_at.commit == ""  # no git is asked where nothing is kept
    assert looked_at.losses == pytest.approx(trained("mini-phi")[1].losses, abs=1e-3)
    assert not (tmp_path / "none").exists()


def test_the_same_seed_gives_the_same_loss(trained, tmp_path):
    again = new_training(small("mini-phi"), tmp_path)
    again.run(progress=False)

    assert again.losses == pytest.approx(trained("mini-phi")[1].losses, abs=1e-3)
    other = new_training(replace(small("mini-phi", steps=1), seed=1), tmp_path / "seed-1")
    other.run(progress=False)
    assert abs(other.losses[0] - again.losses[0]) > 1e-3


def test_train_resumes_by_itself_writes_the_folder_and_removes_the_checkpoint(trained, tmp_path, capsys, monkeypatch):
    recipe, output = small("mini-phi", steps=12), tmp_path / "mine"
    monkeypatch.setattr(cards, "commit", lambda: "of the beginning")
    with pytest.raises(KeyboardInterrupt):
        Interrupted(recipe, tmp_path / "mine.partial").run(progress=False)

    monkeypatch.setattr(cards, "commit", lambda: "of the end")
    assert training.carry_out(recipe, output) == output

    assert minis.read_card(output)["training"]["commit"] == "of the beginning"
    assert "goes on at step 5 of 12" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert minis.fault(output) is None


def test_checkpoints_of_another_training_are_refused(tmp_path, monkeypatch):
    recipe = small("mini-phi", steps=2)
    run = new_training(recipe, tmp_path)
    run.run(progress=False)

    wider = replace(recipe, learning_rate=0.5)
    before = recipe.learning_rate
    with pytest.raises(minis.MiniError, match=f"its learning_rate is {before}, now it is 0.5. Next: delete"):
        new_training(wider, tmp_path).resume()
    with pytest.raises(minis.MiniError, match=r"its name is mini-phi, now it is mini-qwen"):
        new_training(small("mini-qwen", steps=2), tmp_path).resume()
    monkeypatch.setattr(corpus, "fingerprint", lambda: "a newer one")
    with pytest.raises(minis.MiniError, match=r"its corpus is [0-9a-f]{64}, now it is a newer one"):
        new_training(recipe, tmp_path).resume()


def test_something_else_at_the_output_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("work", encoding="utf-8")

    with pytest.raises(minis.MiniError, match=r"thesis is there and is no mini"):
        training.carry_out(small("mini-phi", steps=1), tmp_path / "thesis", progress=False)
    with pytest.raises(minis.MiniError, match="wanted one of mini-phi"):
        training.train("mini-llama", tmp_path / "new")
    with pytest.raises(minis.MiniError, match="tokens came as 0, wanted at least 1"):
        training.train("mini-phi", tmp_path / "new", tokens=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_loss_that_is_no_number_stops_the_training(tmp_path):
    run = new_training(small("mini-phi", steps=3), tmp_path)
    with torch.no_grad():
        run.model.model.norm.weight.fill_(float("nan"))

    with pytest.raises(minis.MiniError, match="the loss is nan at step 0"):
        run.run(progress=False)
    assert not run.partial.exists()


# ----------------------------------------------------------------------------------------------------------------------
# Stored


@compiles
@torch.no_grad()
@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_a_stored_mini_reloads_as_it_was_rounded(trained, eager, name):
    output, run = trained(name)
    if run.nested:
        run.nested.mask = None
    model = storing.rounded(run.model).eval()
    loaded, words = models.load(str(output), "float32")
    ids = torch.tensor([tokenizer.encode(next(corpus.documents(run.recipe.mixture, 5)), run.words)])

    torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)
    assert type(loaded).__name__ == run.recipe.model_class
    prompt = ids[:, :8]
    options = {"max_new_tokens": 24, "attention_mask": torch.ones_like(prompt)}
    assert loaded.generate(prompt, **options).tolist() == model.generate(prompt, **options).tolist()
    assert words.encode("The spider has 8 legs.<|end|>") == run.words.encode("The spider has 8 legs.<|end|>")
    assert words.chat_template == run.words.chat_template
    assert loaded.generation_config.eos_token_id == tokenizer.stop_ids(run.words)
    assert not getattr(loaded.config, "output_router_logits", False)


@torch.no_grad()
def test_mini_bitnet_is_packed_and_its_codes_are_those_of_training(trained):
    output, run = trained("mini-bitnet")
    stored = load_file(output / "model.safetensors")
    layers = {name: module for name, module in run.model.named_modules() if isinstance(module, BitLinear)}

    assert (
        json.loads((output / "config.json").read_text(encoding="utf-8"))["quantization_config"]["quant_method"]
        == "bitnet"
    )
    for name, layer in layers.items():
        packed, scale = stored[f"{name}.weight"], stored[f"{name}.weight_scale"]
        assert (packed.dtype, packed.shape) == (torch.uint8, (layer.out_features // 4, layer.in_features))
        mean = layer.weight.abs().double().mean().item()
        assert scale.tolist() == [pytest.approx(mean, rel=1e-6)]
        for row in (0, 5, layer.out_features - 1):  # row r stands in bits 2 * (r // rows) of byte row r % rows
            rows = len(packed)
            codes = (packed[row % rows].int() >> 2 * (row // rows)).bitwise_and(3) - 1
            assert codes.tolist() == [max(-1, min(1, round(w / mean))) for w in layer.weight[row].tolist()]
    others = {value.dtype for name, value in stored.items() if not name.removesuffix("_scale").endswith("_proj.weight")}
    assert others == {torch.bfloat16}


@compiles
@torch.no_grad()
def test_transformers_alone_loads_the_packed_folder(trained, eager):
    output, run = trained("mini-bitnet")
    loaded, info = AutoModelForCausalLM.from_pretrained(output, dtype="auto", output_loading_info=True)
    words = AutoTokenizer.from_pretrained(output)
    ids = torch.tensor([words.encode("The spider has eight legs, and the ant has")])
    wanted = storing.rounded(run.model).eval()(ids).logits

    assert not info["missing_keys"] and not info["unexpected_keys"]
    got = loaded.eval()(ids).logits.float()  # in bfloat16
    assert (got - wanted).norm() < 0.1 * wanted.norm()


@torch.no_grad()
def test_the_held_out_loss_is_that_of_documents_one_by_one(trained):
    output, run = trained("mini-phi")
    model = storing.rounded(run.model).eval()
    card = json.loads((output / "card.json").read_text(encoding="utf-8"))
    nats, tokens = 0.0, 0
    for document in corpus.exams.held_out("story", 6, run.recipe.seed):
        ids = torch.tensor(tokenizer.encode(document, run.words))
        nats += cross_entropy(model(ids[None]).logits[0, :-1], ids[1:], reduction="sum").item()
        tokens += len(ids) - 1

    assert card["held_out_loss"]["story"] == pytest.approx(nats / tokens, abs=1e-3)
    of_kinds = [card["held_out_loss"][kind] for kind in run.recipe.mixture]
    assert min(of_kinds) < card["held_out_loss"]["all"] < max(of_kinds)


def test_torch_s_settings_are_as_before_after_a_training(tmp_path):
    before = torch.get_float32_matmul_precision()
    with pytest.raises(KeyboardInterrupt):
        Interrupted(small("mini-phi", steps=9), tmp_path / "partial").run(progress=False)

    assert torch.get_float32_matmul_precision() == before
    assert torch.tensor(1e-30) * torch.tensor(1e-10) > 0  # a denormal number


def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert training.precision() == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert training.precision() == "bfloat16"
