"""Cards: their figures are those of the files and of the training, and README.md says what they say."""

import hashlib
import json
import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from slmlab import evaluation, minis, places
from slmlab.evaluation import rows
from slmlab.minis import cards, corpus, recipes, storing, tokenizer, training

STEPS = 15


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small trained mini-bitnet, and its training."""
    recipe = recipes.RECIPES["mini-bitnet"]
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    recipe = replace(recipe, config={**recipe.config, **shape, **heads}, sequence=96, batch=2, tokens=STEPS * 192)
    output = tmp_path_factory.mktemp("trained") / "mini-bitnet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "SAMPLE_TOKENS", 8)
        patch.setattr(training, "HELD_OUT_DOCUMENTS", 4)
        run = training.Training(recipe, output.parent / "partial")
        run.run(progress=False)
        run.finish(output)
    return output, run


@pytest.fixture
def card(trained):
    return minis.read_card(trained[0])


def readme(folder) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------------
# card.json


def test_bytes_and_digests_are_those_of_the_files(trained, card):
    folder, _ = trained
    others = [file for file in folder.iterdir() if file.name not in ("card.json", "README.md")]

    assert set(card["files"]) == {file.name for file in others} >= {"config.json", "model.safetensors"}
    for file in others:
        content = file.read_bytes()
        assert card["files"][file.name] == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert card["bytes"] == sum(file.stat().st_size for file in others)
    assert minis.fault(folder) is None


def test_parameters_are_those_of_the_file_four_to_a_byte_where_packed(trained, card):
    count = 0
    with safe_open(trained[0] / "model.safetensors", "np") as opened:
        for name in opened.keys():  # noqa: SIM118 (a safe_open is no dict)
            part = opened.get_slice(name)
            size = torch.Size(part.get_shape()).numel()
            count += 0 if name.endswith("_scale") else 4 * size if part.get_dtype() == "U8" else size

    assert card["parameters"] == count


def test_what_was_done_stands_in_the_card(trained, card):
    _, run = trained

    assert (card["name"], card["class"], card["family"]) == ("mini-bitnet", "BitNetForCausalLM", "bitnet")
    assert card["data"]["tokens"] == STEPS * 192
    assert card["data"]["mixture"] == run.recipe.mixture
    assert card["data"]["corpus"] == corpus.fingerprint()
    assert 0 < card["data"]["documents"] == run.text.next_document - len(run.text.waiting)
    how = card["training"]
    assert (how["steps"], how["batch"], how["sequence"], how["seed"]) == (STEPS, 2, 96, 0)
    assert (how["learning_rate"], how["ternary"], how["matformer"]) == (run.recipe.learning_rate, True, False)
    assert how["seconds"] > 0
    assert how["versions"]["torch"] == torch.__version__
    assert card["loss_curve"] == [[192 * (n + 1), round(loss, 4)] for n, loss in enumerate(run.losses)]


def test_a_long_loss_curve_has_about_a_hundred_points_that_are_means():
    points = cards.curve([float(step) for step in range(2000)], 10)

    assert len(points) == 100
    assert points[0] == [200, 9.5]  # steps 0 to 19
    assert points[-1] == [20_000, 1989.5]
    uneven = cards.curve([1.0] * 205, 10)
    assert uneven[-1] == [2050, 1.0]


@torch.no_grad()
def test_samples_are_what_the_model_says_greedily(trained, card):
    _, run = trained
    model = storing.rounded(run.model).eval()

    assert [sample["kind"] for sample in card["samples"]] == list(run.recipe.mixture)
    ends = tokenizer.stop_ids(run.words)
    for sample in card["samples"]:
        ids = run.words.encode(sample["prompt"], add_special_tokens=False)
        start = len(ids)
        while len(ids) < start + sample["max_new_tokens"] and (len(ids) == start or ids[-1] not in ends):
            ids.append(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax().item())
        assert sample["text"] == run.words.decode(ids[start:], skip_special_tokens=True)


def test_the_prompt_of_a_question_is_asked_in_the_family_s_template(card):
    prompts = {sample["kind"]: sample["prompt"] for sample in card["samples"]}

    assert prompts["question"].startswith("<|begin_of_text|>User:\n")
    assert prompts["question"].endswith("<|eot_id|>Assistant:\n")
    assert len(prompts["story"].split(" ")) == 6


def test_the_commit_is_that_of_the_clone_and_unknown_outside_one(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "HERE", tmp_path)
    assert cards.commit() == "unknown"

    def git(*command):
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *command], check=True, capture_output=True, encoding="utf-8"
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "other.py").write_text("", encoding="utf-8")
    git("add", "other.py")
    git("commit", "-qm", "another's")
    assert cards.commit() == "unknown"  # slmlab lies in a repository that does not hold it
    git("add", "__init__.py")
    git("commit", "-qm", "ours")
    head = git("rev-parse", "HEAD")
    assert cards.commit() == head
    (tmp_path / "other.py").write_text("changed = True\n", encoding="utf-8")
    assert cards.commit() == f"{head}, changed"


# ----------------------------------------------------------------------------------------------------------------------
# README.md


def test_readme_has_the_hub_s_header_and_the_card_s_figures(trained, card):
    from huggingface_hub import ModelCard

    text = readme(trained[0])
    header = ModelCard(text).data

    assert (header.license, header.pipeline_tag, header.language) == ("mit", "text-generation", ["en"])
    for figure in (
        f"{card['parameters']:,}",
        f"{card['bytes']:,}",
        f"{card['data']['tokens']:,}",
        str(card["training"]["learning_rate"]),
    ):
        assert f"{figure}" in text
    for kind, loss in card["held_out_loss"].items():
        assert f"| {kind} | {loss:.3f} |" in text
    assert f"| {STEPS * 192:,} | " in text  # the curve's last row
    assert card["samples"][0]["prompt"] in text
    assert "None are stored for these weights" in text


def test_of_a_long_curve_readme_shows_a_dozen_rows_the_last_among_them(card):
    points = [[10 * n, float(n)] for n in range(1, 101)]
    shown = cards._thinned({**card, "loss_curve": points})

    assert len(shown) == 12
    assert shown[-1] == (1000, 96.0)  # mean of 92 to 100


def score(**changes) -> rows.Row:
    return replace(
        rows.Row(
            "facts-new-wording", "mini-bitnet", "facts, new wording", 0.875, 0.8, 0.9, "share", ">= 0.85", True, 9
        ),
        **changes,
    )


def test_scores_are_shown_if_they_are_of_these_weights(trained, card, tmp_path):
    folder, _ = trained
    own = card["files"]["model.safetensors"]["sha256"]
    found = [score(), score(claim="x", what="not here", value=None, low=None, high=None, met=None, note="Why it is.")]
    other = score(model="mini-phi", value=0.111)
    stored = tmp_path / "evaluation.json"
    rows.store([*found, other], {"mini-bitnet": own, "mini-phi": "0"}, stored)

    cards.refresh(folder, stored)
    text = readme(folder)
    assert "| facts, new wording | 0.875 | 0.800 to 0.900 | share | >= 0.85 | yes | 9 |" in text
    assert "| not here | not measured |" in text
    assert "Why it is." in text
    assert "0.111" not in text

    rows.store(found, {"mini-bitnet": "of older weights"}, stored)
    cards.refresh(folder, stored)
    assert "None are stored for these weights" in readme(folder)
    assert json.loads(json.dumps(card)) == minis.read_card(folder)  # README.md alone was written
    assert cards.EVALUATION == evaluation.RECORD


def test_readme_is_not_among_the_digests_so_that_scores_may_come_later(trained):
    folder, _ = trained
    cards.refresh(folder)

    assert minis.fault(folder) is None


def test_every_recipe_says_what_it_shows():
    assert set(cards.SHOWS) == set(recipes.RECIPES)
