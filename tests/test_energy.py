"""Energy by counting against loops and published values; meters on folders that look like /sys."""

import math
import re

import pytest

from slmlab import catalog, energy
from slmlab.catalog import bitnet_report
from slmlab.energy import EnergyError, NoMeterError, meter, metered

BITNET = catalog.get("BitNet b1.58 2B4T")
COLUMNS = bitnet_report.columns()


# --------------------------------------------------------------------------------------------------- the report's table


def test_the_report_has_six_models_and_sixteen_rows_for_four_of_them():
    assert [column.name for column in COLUMNS][-1] == "BitNet b1.58 2B"
    assert [len(column.scores) for column in COLUMNS] == [16, 16, 16, 0, 0, 16]
    assert set(bitnet_report.shown()) < set(COLUMNS[0].scores)


def test_bitnets_scores_are_those_of_the_catalog():
    assert COLUMNS[-1].scores.items() <= BITNET.benchmarks.items()
    assert (COLUMNS[-1].average, COLUMNS[-1].energy_joules) == (
        BITNET.benchmarks["Average"],
        BITNET.benchmarks["energy_estimate_joules"],
    )


def test_a_score_of_the_article_agrees_with_the_reports_second_table():
    # Table 2 of arXiv 2504.12285, from another source: MMLU, GSM8K, IFEval of Qwen2.5-1.5B
    qwen = next(column.scores for column in COLUMNS if column.name == "Qwen2.5 1.5B")

    assert (qwen["MMLU"], qwen["GSM8K"], qwen["IFEval"]) == (60.25, 56.79, 50.12)


def test_a_column_says_where_it_was_read():
    for column in COLUMNS:
        assert column.sources[0].startswith("arXiv 2504.12285")
        assert bool(column.scores) == any(source.startswith("second-hand") for source in column.sources)


# --------------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_the_six_published_values_follow_to_the_last_digit(column):
    weights = "ternary" if column.model is BITNET else "fp16"

    bill = energy.pass_bill(column.model, weights, tokens=512)

    assert f"{bill.joules:.3f}" == f"{column.energy_joules:.3f}"
    assert bill.check(column.energy_joules, within=0.0005) is bill


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_the_weights_of_the_layers_are_those_of_a_loop(column):
    c, count = column.model.config, 0
    for _ in range(c["num_hidden_layers"]):
        count += 2 * c["hidden_size"] * c["head_dim"] * c["num_attention_heads"]
        count += 2 * c["hidden_size"] * c["head_dim"] * c["num_key_value_heads"]
        count += 3 * c["hidden_size"] * c["intermediate_size"]

    assert energy.layer_weights(column.model) == count


def test_experts_are_read_by_those_who_ask():
    model = catalog.get("Qwen3-30B-A3B")
    rows = {row.what: row.count for row in catalog.parameters(model).rows}

    assert energy.layer_weights(model) == rows["attention"] + rows["experts"] * 8 / 128
    assert energy.layer_weights(model, 10**6) == pytest.approx(rows["attention"] + rows["experts"])


def test_what_a_kv_shared_layer_stores_is_not_read():
    model = catalog.get("Gemma 3n E2B")
    rows = {row.what: row.count for row in catalog.parameters(model).rows if row.place == "decoder"}
    used = [name for name in rows if not re.search("never read|norms|coefficients", name)]

    assert energy.layer_weights(model) == sum(rows[name] for name in used)


@pytest.mark.parametrize(("tokens", "past"), [(1, 0), (1, 511), (7, 3), (600, 0), (5, 600), (40, 490)])
@pytest.mark.parametrize("name", ["Gemma 3 1B", "BitNet b1.58 2B4T", "Gemma 4 31B"])
def test_attention_is_counted_token_by_token(name, tokens, past):
    c, wanted = catalog.get(name).config, 0
    for layer in range(1, c["num_hidden_layers"] + 1):
        pattern = c.get("sliding_window_pattern")
        whole = not pattern or layer % pattern == 0
        width = c["num_attention_heads"] * (c.get("global_head_dim", c["head_dim"]) if whole else c["head_dim"])
        for token in range(past + 1, past + tokens + 1):
            seen = token if whole else min(token, c["sliding_window"])
            wanted += 2 * width * seen

    assert energy.attention_macs(catalog.get(name), tokens, past) == wanted


def test_without_a_mask_each_token_meets_each():
    assert energy.attention_macs(BITNET, 512, causal=False) == 2 * 30 * 20 * 128 * 512 * 512


@pytest.mark.parametrize(
    ("weights", "node_nm", "picojoules"),
    [
        ("fp16", 7, 0.5),
        ("fp16", 45, 1.5),
        ("int8", 7, 0.1),
        ("int4", 7, 0.5),
        ("ternary", 7, 0.007),
        ("ternary", 45, 0.03),
    ],
)
def test_a_multiply_accumulate_costs_its_operations(weights, node_nm, picojoules):
    assert energy.mac_picojoules(weights, node_nm) == pytest.approx(picojoules)


def test_what_has_no_source_is_marked():
    marked = {key for key, operation in energy.OPERATIONS.items() if operation.unverified}

    assert marked == {(7, "fp16", "add")}
    assert {name for name, memory in energy.DRAM.items() if not memory.unverified} == {"45 nm era"}
    assert all(memory.low <= memory.high for memory in energy.DRAM.values())


# ---------------------------------------------------------------------------------------------------------------- bills


def test_a_token_of_the_2b_by_hand():
    bill = energy.token_bill(BITNET, "ternary", picojoules_per_bit=5, context=512)

    by_hand = {
        "layers": 2_084_044_800 * 0.007,
        "head": 128_256 * 2560 * 0.5,
        "attention": 2 * 30 * 20 * 128 * 512 * 0.5,
        "reading the layers": 2_084_044_800 * 2 * 5,
        "reading the head": 128_256 * 2560 * 16 * 5,
        "KV cache": 512 * 30 * 2 * 5 * 128 * 16 * 5,
    }
    assert {charge.what: charge.joules for charge in bill.charges} == pytest.approx(
        {what: picojoules / 1e12 for what, picojoules in by_hand.items()}
    )
    assert bill.joules == pytest.approx(sum(by_hand.values()) / 1e12)
    assert bill.at("arithmetic") + bill.at("memory") == pytest.approx(bill.joules)


def test_a_batch_shares_the_weights_and_nothing_else():
    one, four = (energy.token_bill(BITNET, "ternary", batch=batch) for batch in (1, 4))

    for what in ("reading the layers", "reading the head"):
        assert four.of(what) == pytest.approx(one.of(what) / 4)
    for what in ("layers", "head", "attention", "KV cache"):
        assert four.of(what) == pytest.approx(one.of(what))


def test_a_prompt_reads_the_weights_once():
    prompt = energy.token_bill(BITNET, "ternary", phase="prompt", context=512)
    decode = energy.token_bill(BITNET, "ternary", phase="decode", context=512)

    for what in ("reading the layers", "reading the head", "KV cache", "head"):
        assert prompt.of(what) == pytest.approx(decode.of(what) / 512)
    assert 512 * prompt.of("attention") == pytest.approx(energy.attention_macs(BITNET, 512) * 0.5e-12)


def test_the_bytes_of_a_step_are_the_bits_of_its_bill():
    for batch in (1, 8):
        bill = energy.token_bill(BITNET, "int4", batch=batch, context=100)
        bits = batch * math.fsum(charge.count for charge in bill.charges if charge.place == "memory")

        assert 8 * energy.read_bytes(BITNET, "int4", 100, batch) == pytest.approx(bits)


def test_a_bill_is_a_table_in_text_and_in_html():
    bill = energy.pass_bill(BITNET, "ternary")

    assert "27.6" in str(bill) and "72.9%" in str(bill)
    assert "<table>" in bill._repr_html_() and "72.9%" in bill._repr_html_()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: energy.mac_picojoules("int3"), "no weights 'int3': wanted one of fp16, int8, int4, ternary"),
        (lambda: energy.mac_picojoules("fp16", 5), "no table for 5 nm: wanted one of 45, 7"),
        (lambda: energy.token_bill(BITNET, "fp16", phase="training"), "phase is 'training'"),
        (lambda: energy.token_bill(BITNET, "fp16", batch=0), "batch is 0"),
        (lambda: energy.pass_bill(BITNET, "fp16").at("memory"), "no charge at 'memory'; there are 'arithmetic'"),
        (lambda: energy.pass_bill(BITNET, "ternary").check(1.0, 0.1), "0.0276019 J, wanted 1 within 0.1"),
    ],
)
def test_what_cannot_be_counted_is_said(call, words):
    with pytest.raises(EnergyError, match=re.escape(words)):
        call()


# --------------------------------------------------------------------------------------------------------------- meters


def zone(folder, name, energy_uj, range_uj=999):
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n", encoding="utf-8")
    (folder / "energy_uj").write_text(f"{energy_uj}\n", encoding="utf-8")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n", encoding="utf-8")
    return folder / "energy_uj"


@pytest.fixture
def powercap(tmp_path):
    """A processor with two packages, their cores, memory beside one, and the whole platform."""
    top = tmp_path / "powercap"
    return tmp_path, {
        "package-0": zone(top / "intel-rapl:0", "package-0", 900),
        "core": zone(top / "intel-rapl:0:0", "core", 100),
        "dram": zone(top / "intel-rapl:0:1", "dram", 10),
        "package-1": zone(top / "intel-rapl:1", "package-1", 500),
        "psys": zone(top / "intel-rapl:2", "psys", 0),
    }


def test_packages_and_memory_are_counted_once_and_may_go_around(powercap):
    root, files = powercap
    ticks = iter([10.0, 12.0])

    def work():
        for name, count in {"package-0": 100, "package-1": 700, "core": 300, "dram": 60, "psys": 800}.items():
            files[name].write_text(str(count), encoding="utf-8")
        return "done"

    usage, result = metered(meter(root, "Linux"), work, clock=lambda: next(ticks))

    assert result == "done"
    assert usage.parts == pytest.approx({"package-0": 200e-6, "package-1": 200e-6, "dram of intel-rapl:0": 50e-6})
    assert (usage.joules, usage.seconds, usage.watts) == pytest.approx((450e-6, 2.0, 225e-6))
    assert "0.00045 J in 2.00 s" in str(usage)


def test_a_counter_for_root_alone_is_told(powercap, monkeypatch):
    root, files = powercap

    def refuse(self, *arguments, **named):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *arguments, **named)

    path = type(files["core"])
    read = path.read_text
    monkeypatch.setattr(path, "read_text", refuse)

    with pytest.raises(NoMeterError, match=r"only root may read it.*sudo chmod a\+r"):
        meter(root, "Linux")


def battery(root, **files):
    folder = root / "power_supply" / "BAT0"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return folder


def test_a_battery_in_use_is_a_meter_of_everything_that_is_on(tmp_path):
    folder = battery(tmp_path, type="Battery", status="Discharging", power_now=8_000_000)
    ticks = iter([0.0, 30.0])

    usage, _ = metered(
        meter(tmp_path, "Linux"),
        lambda: (folder / "power_now").write_text("12000000", encoding="utf-8"),
        clock=lambda: next(ticks),
    )

    assert usage.parts == {"BAT0": 30 * 10.0} and usage.watts == 10


def test_a_battery_may_tell_current_and_voltage(tmp_path):
    battery(tmp_path, type="Battery", status="Discharging", current_now=2_000_000, voltage_now=11_500_000)

    end = meter(tmp_path, "Linux").begin()

    assert end(2.0) == {"BAT0": pytest.approx(46.0)}


def test_a_battery_that_falls_silent_is_told(tmp_path):
    folder = battery(tmp_path, type="Battery", status="Discharging", power_now=8_000_000)
    found = meter(tmp_path, "Linux")
    (folder / "power_now").write_text("", encoding="utf-8")

    with pytest.raises(NoMeterError, match="stopped telling its power"):
        metered(found, lambda: None)


def test_given_watts_are_no_measurement():
    stand_in = energy.given(15)
    ticks = iter([1.0, 3.0])

    usage, _ = metered(stand_in, lambda: None, clock=lambda: next(ticks))

    assert (usage.joules, usage.watts, stand_in.measures) == (30.0, 15.0, False)


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("Linux", "no counters in .*a virtual machine or a container hides them.*no battery that is being discharged"),
        ("Darwin", "sudo powermetrics"),
        ("Windows", "Windows shows no energy counter"),
    ],
)
def test_a_machine_without_a_meter_says_why(tmp_path, system, words):
    battery(tmp_path, type="Battery", status="Charging", power_now=8_000_000)

    with pytest.raises(NoMeterError, match=words):
        meter(tmp_path, system)
