"""Every claim has a source, a reading and a way to be decided; every check can go both ways."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from slmlab import catalog, claims, places, records
from slmlab.catalog import get, kv_cache_bytes, parameter_count, parameters, weight_bytes
from slmlab.claims import ClaimError, verdict

RAW = json.loads(places.dataset("claims.json").read_text(encoding="utf-8"))["claims"]
CHECKED = [(entry["id"], quantity, check) for entry in RAW for quantity, check in entry.get("checks", {}).items()]
UNCHECKED = [entry["id"] for entry in RAW if "checks" not in entry]


@pytest.fixture(autouse=True)
def own_records(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMLAB_RECORDS", str(tmp_path))


# ------------------------------------------------------------------------------------------------------------ the data


def test_the_ledger_holds_the_67_claims_of_the_chapter():
    wanted = [f"{part}{n}" for part, count in (("P", 18), ("Q", 15), ("G", 18), ("B", 16)) for n in range(1, count + 1)]
    assert [claim.id for claim in claims.claims()] == wanted
    assert [len(claims.claims(family)) for family in claims.FAMILIES] == [18, 15, 18, 16]


@pytest.mark.parametrize("claim", claims.claims(), ids=lambda claim: claim.id)
def test_a_claim_says_where_it_stands_and_how_we_read_it(claim):
    assert claim.reading in {"OK", "VENDOR", "MISLEADING", "WRONG", "UNSUPPORTED"}
    assert claim.claim and claim.reason.endswith(".") and not claim.claim.endswith(".")
    assert set(claim.evidence) <= {"run", "computed", "source", "second-hand", "unverified"}
    assert re.fullmatch(r"0[1-4]\.\w+Family\.md", claim.file) and re.search(r"\d", claim.lines)
    assert claim.lab is None or re.fullmatch(r"0[01]|1[1-6]|2[1-4]|3[1-5]|4[1-4]|5[1-5]", claim.lab)
    assert bool(claim.checks) != bool(claim.not_testable_because)
    assert claim.source.startswith("microsoft/edgeai-for-beginners @ 05d7c7ef, Module02/0")


def test_readings_from_memory_are_marked():
    unverified = {claim.id for claim in claims.claims() if "unverified" in claim.evidence}
    assert unverified == {"P1", "P3", "P7", "P11", "P13", "Q11", "Q14"}


@pytest.mark.parametrize(
    ("id", "quantity", "check"), CHECKED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_check_bounds_a_described_quantity(id, quantity, check):
    assert re.fullmatch(r"[a-z0-9_]+", quantity)
    assert check["what"] and check["printed"] and check["because"]
    low, high = check.get("low", -math.inf), check.get("high", math.inf)
    assert low <= high and (low, high) != (-math.inf, math.inf)


# ------------------------------------------------------------------------------------------------- deciding both ways


@pytest.mark.parametrize(
    ("id", "quantity", "check"), CHECKED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_check_can_hold_and_fail(id, quantity, check):
    low, high = check.get("low"), check.get("high")
    inside = [bound for bound in (low, high) if bound is not None]
    outside = []
    if low is not None:
        outside.append(low - 1 if isinstance(low, int) else low - 0.001)
    if high is not None:
        outside.append(high + 1 if isinstance(high, int) else high + 0.001)
    for value in inside:
        assert verdict(id, {quantity: value}).value == "holds here"
    for value in outside:
        assert verdict(id, {quantity: value}).value == "does not hold here"


@pytest.mark.parametrize("id", sorted({id for id, _, _ in CHECKED}))
def test_one_number_outside_decides_a_claim(id):
    checks = {quantity: check for other, quantity, check in CHECKED if other == id}
    inside = {quantity: check.get("low", check.get("high")) for quantity, check in checks.items()}
    assert verdict(id, inside).value == "holds here"
    for quantity, check in checks.items():
        outside = check["low"] - 1 if "low" in check else check["high"] + 1
        assert verdict(id, {**inside, quantity: outside}).value == "does not hold here"


@pytest.mark.parametrize("id", UNCHECKED)
def test_a_claim_without_checks_says_why_and_keeps_the_numbers(id):
    because = next(entry["not_testable_because"] for entry in RAW if entry["id"] == id)
    assert verdict(id, {}).value == f"not testable here, because {because}"
    assert verdict(id, {"anything": 3}).value == f"not testable here, because {because}"
    assert records.read("verdict")[id]["measured"] == {"anything": 3}


def context(name):
    return get(name).context_length


def encoders(name):
    return sum(row.count for row in parameters(get(name)).rows if row.place == "encoders")


def named(pattern):
    return sum(bool(re.search(pattern, f"{model.name} {model.hub_id}", re.IGNORECASE)) for model in catalog.models())


def of(pattern, value=parameter_count):
    return [value(model) for model in catalog.models() if re.match(pattern, model.name)]


BITNET = "BitNet b1.58 2B4T"
QWEN3_APRIL = r"Qwen3-(\d|1\.7|14|32|0\.6)B$|Qwen3-(30B-A3B|235B-A22B)$"
COMPUTED = {  # what the catalog alone decides; the expected verdict follows from our reading of the chapter
    "P1": ({"parameters": lambda: parameter_count(get("phi-1"))}, False),
    "P2": ({"parameters": lambda: parameter_count(get("phi-2"))}, True),
    "P3": (
        {
            "mini_parameters": lambda: parameter_count(get("Phi-3-mini-4k-instruct")),
            "small_parameters": lambda: parameter_count(get("Phi-3-small-8k-instruct")),
            "medium_parameters": lambda: parameter_count(get("Phi-3-medium-4k-instruct")),
            "mini_context_tokens": lambda: context("Phi-3-mini-4k-instruct"),
            "mini_long_context_tokens": lambda: context("Phi-3-mini-128k-instruct"),
        },
        True,
    ),
    "P5": ({"context_tokens": lambda: context("phi-4")}, False),
    "P7": (
        {
            "reasoning_longest_context_tokens": lambda: context("Phi-4-reasoning"),
            "plus_context_tokens": lambda: context("Phi-4-reasoning-plus"),
        },
        False,
    ),
    "P10": (
        {
            "parameters": lambda: parameter_count(get("Phi-4-mini-instruct")),
            "context_tokens": lambda: context("Phi-4-mini-instruct"),
        },
        True,
    ),
    "P11": ({"distinct_context_lengths": lambda: len({context("Phi-4-multimodal-instruct")})}, False),
    "P12": ({"context_tokens": lambda: context("Phi-3.5-mini-instruct")}, True),
    "P16": ({"training_tokens": lambda: get("phi-4").training_tokens}, False),
    "Q1": (
        {
            "qwen_7b_parameters": lambda: parameter_count(get("Qwen-7B")),
            "qwen_14b_parameters": lambda: parameter_count(get("Qwen-14B")),
            "qwen_72b_parameters": lambda: parameter_count(get("Qwen-72B")),
            "qwen2_moe_parameters": lambda: parameter_count(get("Qwen2-57B-A14B")),
            "qwen2_moe_active_parameters": lambda: catalog.active_parameters(get("Qwen2-57B-A14B")),
        },
        True,
    ),
    "Q2": ({"longest_context_tokens": lambda: max(of(r"Qwen2\.5-\d", lambda m: m.context_length))}, True),
    "Q5": (
        {
            **{
                f"qwen3_{size.lower().replace('.', '_')}_parameters": lambda size=size: parameter_count(
                    get(f"Qwen3-{size}")
                )
                for size in ("32B", "14B", "8B", "4B", "1.7B", "0.6B")
            },
            "qwen3_30b_parameters": lambda: parameter_count(get("Qwen3-30B-A3B")),
            "qwen3_30b_active_parameters": lambda: catalog.active_parameters(get("Qwen3-30B-A3B")),
            "qwen3_235b_parameters": lambda: parameter_count(get("Qwen3-235B-A22B")),
            "qwen3_235b_active_parameters": lambda: catalog.active_parameters(get("Qwen3-235B-A22B")),
        },
        True,
    ),
    "Q6": (
        {"active_ratio": lambda: parameter_count(get("QwQ-32B")) / catalog.active_parameters(get("Qwen3-30B-A3B"))},
        True,
    ),
    "Q8": (
        {"active_share": lambda: catalog.active_parameters(get("Qwen3-30B-A3B")) / parameter_count(get("Qwen2.5-32B"))},
        True,
    ),
    "Q10": (
        {
            "smallest_parameters": lambda: min(of(r"Qwen2\.5-Coder")),
            "largest_parameters": lambda: max(of(r"Qwen2\.5-Coder")),
            "shortest_context_tokens": lambda: min(of(r"Qwen2\.5-Coder", lambda m: m.context_length)),
        },
        False,
    ),
    "Q11": ({"longest_context_tokens": lambda: max(of(r"Qwen2\.5-Math", lambda m: m.context_length))}, False),
    "Q12": ({"distinct_context_lengths": lambda: len(set(of(QWEN3_APRIL, lambda m: m.context_length)))}, False),
    "G1": ({"large_parameters": lambda: parameter_count(get("Gemma 1 7B"))}, False),
    "G2": ({"checkpoints_found": lambda: named(r"gemma[- ]1\.5")}, False),
    "G3": ({"encoder_parameters": lambda: encoders("Gemma 2 27B")}, False),
    "G4": ({"checkpoints_found": lambda: named(r"gemma[- ](2\.5|vl)")}, False),
    "G5": ({"checkpoints_found": lambda: named(r"gemma-3-8b-it")}, False),
    "G6": (
        {
            "shortest_context_tokens": lambda: min(of(r"Gemma 3 \d+B", lambda m: m.context_length)),
            "fewest_encoder_parameters": lambda: encoders("Gemma 3 1B"),
        },
        False,
    ),
    "G7": ({"context_ratio": lambda: context("Gemma 3 4B") / context("Gemma 2 2B")}, True),
    "G9": ({"largest_weight_bytes": lambda: weight_bytes(get("Gemma 3 27B"), 16)}, True),
    "G10": (
        {
            "e2b_parameters": lambda: parameter_count(get("Gemma 3n E2B")),
            "e4b_parameters": lambda: parameter_count(get("Gemma 3n E4B")),
            "e2b_effective_parameters": lambda: catalog.effective_parameters(get("Gemma 3n E2B")),
            "e4b_effective_parameters": lambda: catalog.effective_parameters(get("Gemma 3n E4B")),
        },
        True,
    ),
    "G11": ({"e2b_bytes": lambda: weight_bytes(get("Gemma 3n E2B"), 16)}, False),
    "G14": ({"distinct_context_lengths": lambda: len({context("Gemma 3n E2B"), context("Gemma 3n E4B")})}, False),
    "B5": ({"file_bytes": lambda: weight_bytes(get(BITNET), 2)}, False),
    "B12": ({"smallest_parameters": lambda: min(of("bitnet_b1_58"))}, False),
}


def test_qwen_3_of_april_is_eight_models():
    assert len(of(QWEN3_APRIL)) == 8


@pytest.mark.parametrize("id", COMPUTED)
def test_the_catalog_decides_a_claim_as_we_read_it(id):
    measures, holds = COMPUTED[id]
    found = verdict(id, {quantity: measure() for quantity, measure in measures.items()})
    assert found.value == ("holds here" if holds else "does not hold here"), repr(found)
    if not holds:
        assert found.claim.reading != "OK" or id == "G1"  # Gemma 1 7B has 8.54 B: the name was not ours to doubt


def test_the_2_gb_of_gemma_3n_holds_under_its_conditions():
    decoder = catalog.effective_parameters(get("Gemma 3n E2B"))
    assert verdict("G11", {"e2b_accelerator_bytes": decoder}).value == "holds here"  # 8 bit, all else elsewhere
    assert verdict("G11", {"e2b_accelerator_bytes": 2 * decoder}).value == "does not hold here"  # 16 bit


def test_five_trits_a_byte_keep_bitnet_at_0_4_gb_without_its_embedding():
    ternary = 2_084_044_800
    packed = {"bits_per_weight": 8 / 5, "non_embedding_bytes": ternary / 5}
    assert verdict("B5", packed).value == "holds here"
    assert verdict("B5", {"bits_per_weight": 2, "non_embedding_bytes": ternary / 4}).value == "does not hold here"


# ----------------------------------------------------------------------------------------------- recording and showing


def test_a_verdict_is_recorded_and_the_last_one_counts():
    verdict("P5", {"context_tokens": 32_768})
    assert records.read("verdict")["P5"]["value"] == "holds here"
    verdict("P5", {"context_tokens": np.int64(16_384)}, beside={"seconds": np.float32(0.5)})
    entry = records.read("verdict")["P5"]
    assert entry["value"] == "does not hold here"
    assert entry["measured"] == {"context_tokens": 16_384} and entry["beside"] == {"seconds": 0.5}


def test_numbers_beside_decide_nothing_but_are_shown():
    kv = kv_cache_bytes(get("Phi-4-mini-instruct"), 131_072)
    found = verdict("P10", {"context_tokens": 131_072}, beside={"kv_cache_bytes": kv})
    assert found.value == "holds here"
    assert "16.0 GiB" in repr(found) and "16.0 GiB" in found._repr_html_()


def test_a_verdict_shows_claim_source_number_and_what_is_open():
    text = repr(verdict("P5", {"context_tokens": 16_384}))
    for part in ("P5", "32K tokens", "01.PhiFamily.md, line 469", "16,384", "Not measured: parameters"):
        assert part in text
    assert text.splitlines()[-1] == "does not hold here"
    page = verdict("Q15", {"end_of_thinking_token_id": 151_668})._repr_html_()
    assert "&lt;/think&gt;" in page and "</think>" not in page


def test_the_uncovered_part_of_a_claim_is_named():
    assert "No check covers: the rivalry." in repr(verdict("P9", {"context_tokens": 131_072}))


@pytest.mark.parametrize("measured", [{"context": 16_384}, {}, {"context_tokens": 16_384, "context": 1}])
def test_an_unknown_quantity_is_refused_with_the_known_ones_and_nothing_is_recorded(measured):
    with pytest.raises(ClaimError, match="context_tokens: context length of phi-4"):
        verdict("P5", measured)
    assert records.read("verdict") == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, "16384", None, [16_384]])
def test_only_finite_numbers_are_measured(value):
    with pytest.raises(ValueError, match="P5: context_tokens is"):
        verdict("P5", {"context_tokens": value})
    assert records.read("verdict") == {}


def test_an_unknown_claim_names_the_ids_there_are():
    with pytest.raises(ClaimError, match=r"'G19'; there are .*G1 to G18"):
        verdict("G19", {})
    with pytest.raises(ClaimError, match="wanted one of"):
        claims.claims("llama")


def test_the_ledger_has_a_row_for_every_claim_measured_or_not():
    verdict("G7", {"context_ratio": 16.0})
    verdict("G13", {})
    rows = {entry.id: entry for entry in claims.ledger()}
    assert list(rows) == [claim.id for claim in claims.claims()]
    assert (rows["G7"].number, rows["G7"].verdict) == ("context_ratio 16", "holds here")
    assert rows["G13"].verdict.startswith("not testable here, because")
    assert (rows["P1"].number, rows["P1"].verdict) == ("", "not measured yet")


def test_the_report_fits_120_columns_and_counts():
    verdict("P5", {"context_tokens": 16_384, "parameters": 14_659_507_200})
    verdict("P6", {})
    verdict("G7", {"context_ratio": 16})
    text = claims.report()
    assert text.isascii() and max(map(len, text.splitlines())) <= 120
    assert "67 claims: 1 holds here, 1 does not hold here, 1 not testable here, 64 not measured yet" in text
    for entry in claims.ledger():
        assert re.search(rf"^{entry.id} +{entry.reading}\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("quantity", "value", "expected"),
    [
        ("file_bytes", 1_177_681_920, "1.18 GB (1.10 GiB)"),
        ("parameters", 14_659_507_200, "14.7 B"),
        ("context_tokens", 16_384, "16,384"),
        ("ratio", 9.7712, "9.771"),
        ("joules_per_token", 0.0000539, "5.39e-05"),
    ],
)
def test_a_number_is_spelt_in_the_unit_of_its_name(quantity, value, expected):
    assert claims.spell(quantity, value) == expected


def test_facts_load_without_a_numerical_library():
    code = "import sys, slmlab.catalog, slmlab.claims; slmlab.catalog.models(); slmlab.claims.claims(); "
    code += "print([m for m in ('numpy', 'torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
