"""The references of labs 00 and 01 whose rule is not plain to see, against something dumber."""

import numpy as np
import pytest

from slmlab.exercises import start


@pytest.mark.parametrize(("n", "k"), [(6, 1), (8, 1), (9, 2), (15, 4), (20, 6), (25, 8), (30, 10), (50, 18)])
def test_the_interval_of_the_median_has_the_ranks_of_the_sign_test_tables(n, k):
    # critical values of the two-sided sign test at 0.05 are k - 1: 0 for 6 and 8, 1 for 9, ..., 17 for 50
    assert start.median_interval([float(rank) for rank in range(n, 0, -1)]) == (k, n - k + 1)


@pytest.mark.parametrize("n", [6, 20, 31])
def test_the_interval_of_the_median_holds_it_in_95_of_100_draws_or_more(n):
    draws = np.random.default_rng(0).exponential(size=(4000, n))
    intervals = [start.median_interval(draw) for draw in draws.tolist()]

    held = sum(low <= np.log(2) <= high for low, high in intervals) / 4000

    assert held > 0.94  # 0.969, 0.959 and 0.971 are expected; the standard error is 0.003


def test_bytes_of_spans_are_the_addresses_in_a_set():
    rng = np.random.default_rng(0)
    for (spans,) in start._tensor_bytes_cases(rng):
        addresses = {address for pointer, nbytes in spans for address in range(pointer, pointer + nbytes)}
        assert start.tensor_bytes(spans) == len(addresses)


def test_a_paired_ratio_sees_through_a_machine_that_changes_between_the_rounds():
    machine = start._Machine([1.0, 1.0, 7.0, 7.0, 2.0, 2.0])
    a, b = start._Call(machine, 3.0), start._Call(machine, 6.0)

    assert start.paired_ratio(a, b, start._Clock(machine), rounds=3) == 2.0
    with pytest.raises(RuntimeError, match="that was call 7, and 6 were asked for"):
        a()


def test_reading_and_writing_are_told_apart():
    # a prompt of 100 tokens in 2 s, then three tokens, half a second each
    assert start.prefill_decode([2.0, 2.5, 3.0, 3.5], 100) == (2000.0, 500.0, 50.0, 2.0)
