"""Rows add up, units are spelt one way, and a wrong total cannot pass."""

import math
import re

import pytest

from slmlab.ledger import Ledger, LedgerError, Row, format_bytes, format_count, html_table, table


@pytest.mark.parametrize(
    ("count", "bits", "expected"),
    [(0, 16, 0), (1, 2, 1), (4, 2, 1), (5, 2, 2), (3, 16, 6), (7, 4.5, 4), (10**18, 16, 2 * 10**18)],
)
def test_bytes_are_count_times_bits_rounded_up(count, bits, expected):
    assert Row("x", count, bits).bytes == expected


def test_five_trits_fill_one_byte_at_every_length():
    # 1.6 bits has no exact binary float; five to a byte must stay five to a byte.
    for count in range(1, 400):
        assert Row("trits", count, 1.6).bytes == -(-count // 5)


def test_totals_are_sums_of_rows_not_of_bits():
    ledger = Ledger("three", [Row("a", 3, 2), Row("b", 3, 2), Row("c", 1, 1)])  # 13 bits, but no tensor shares a byte
    assert ledger.count == 7
    assert ledger.bytes == 3


def test_a_ledger_keeps_its_rows_when_the_list_changes():
    rows = [Row("a", 1, 8)]
    ledger = Ledger("one", rows)
    rows.append(Row("b", 1, 8))
    assert ledger.count == 1


def test_select_takes_the_rows_at_a_place():
    ledger = Ledger("split", [Row("a", 10, 8, "RAM"), Row("b", 20, 8, "disk"), Row("c", 30, 8, "RAM")])
    assert [row.what for row in ledger.select(place="RAM").rows] == ["a", "c"]
    assert ledger.select(place="RAM").count + ledger.select(place="disk").count == ledger.count


def test_select_names_the_places_when_none_fits():
    with pytest.raises(LedgerError, match=r"'gpu'; there are 'RAM', 'disk'"):
        Ledger("split", [Row("a", 1, 8, "RAM"), Row("b", 1, 8, "disk")]).select(place="gpu")


def test_check_returns_the_ledger_when_totals_agree():
    ledger = Ledger("ok", [Row("a", 3, 16)])
    assert ledger.check(count=3, bytes=6) is ledger
    assert ledger.check() is ledger


@pytest.mark.parametrize("wrong", [{"count": 4}, {"bytes": 7}, {"count": 3, "bytes": 5}, {"count": 0}])
def test_check_raises_on_every_wrong_total_and_names_both_numbers(wrong):
    with pytest.raises(LedgerError) as caught:
        Ledger("Gemma 3n E2B", [Row("a", 3, 16)]).check(**wrong)
    name, wanted = list(wrong.items())[-1]
    got = {"count": 3, "bytes": 6}[name]
    assert re.search(rf"Gemma 3n E2B.*{name} {got}, wanted {wanted}", str(caught.value))


@pytest.mark.parametrize(("count", "bits"), [(-1, 16), (1, -2), (1, math.inf), (1, math.nan)])
def test_a_row_that_cannot_be_is_refused(count, bits):
    with pytest.raises(LedgerError, match="wanted"):
        Row("bad", count, bits)


def test_a_count_that_is_not_whole_is_refused():
    with pytest.raises(TypeError):
        Row("bad", 2.5, 16)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB (1000 bytes)"),
        (1024, "1.02 kB (1.00 KiB)"),
        (131_072, "131 kB (128 KiB)"),
        (16 * 2**30, "17.2 GB (16.0 GiB)"),
        (1_177_681_920, "1.18 GB (1.10 GiB)"),
        (999_500_000, "1.00 GB (953 MiB)"),  # never '1000 MB'
        (470_187_269_120, "470 GB (438 GiB)"),
    ],
)
def test_bytes_are_spelt_in_powers_of_1000_then_1024(size, expected):
    assert format_bytes(size) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (268_098_176, "268 M"),
        (999_885_952, "1.00 B"),
        (2_412_820_480, "2.41 B"),
        (30_532_122_624, "30.5 B"),
        (235_093_634_560, "235 B"),
        (36 * 10**12, "36.0 T"),
    ],
)
def test_counts_are_spelt_with_three_digits(count, expected):
    assert format_count(count) == expected


def test_printed_values_are_within_half_a_unit_of_the_last_digit():
    factor = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    for size in range(1024, 3 * 10**9, 7_654_321):
        for digits, unit in re.findall(r"([\d.]+) (\w+)", format_bytes(size)):
            decimals = len(digits.partition(".")[2])
            assert abs(float(digits) - size / factor[unit]) <= 0.5 * 10**-decimals + 1e-9


def test_text_shows_every_row_and_the_total():
    ledger = Ledger("split", [Row("table", 2_000_000, 16, "disk"), Row("rest", 5, 8, "RAM")])
    lines = str(ledger).splitlines()
    assert lines[0] == "split"
    assert [line.split()[0] for line in lines[3:]] == ["table", "rest", "total"]
    assert "2,000,000" in lines[3] and "2.00 M" in lines[3] and "4.00 MB" in lines[3] and lines[3].endswith("disk")
    assert "2,000,005" in lines[5] and "4,000,005" in lines[5]


def test_the_place_column_shows_only_when_used():
    assert "place" not in str(Ledger("none", [Row("a", 1, 8)]))
    assert "place" in str(Ledger("some", [Row("a", 1, 8), Row("b", 1, 8, "RAM")]))


def test_html_escapes_what_it_shows():
    page = Ledger("<b>", [Row("a & b", 1, 8)])._repr_html_()
    assert "&lt;b&gt;" in page and "a &amp; b" in page and "<b><b>" not in page


def test_tables_align_left_and_right():
    assert table(["name", "n"], [["a", "1"], ["long name", "100"]]).splitlines() == [
        "name         n",
        "---------  ---",
        "a            1",
        "long name  100",
    ]
    assert html_table(["n"], [["1"]], left=()).count('text-align:right">') == 2
