"""Exercises of lab 43: ternary products on packed weights. Of 41: ternarizing; of 42: packing; of 44: energy."""

from collections.abc import Iterator

import numpy as np

from . import energy, packing, ternarizing
from .check import Exercise


def pack_rows(codes: np.ndarray) -> np.ndarray:
    """Pack ternary weights as BitNet's files on the hub do: four rows to a byte, (N, K) int8 -> (N / 4, K) uint8.

    codes: -1, 0, +1; 4 divides N. Bits 2f and 2f + 1 of byte (i, k) hold codes[f * N / 4 + i, k] + 1.
    """
    quarter = codes.shape[0] // 4
    packed = np.zeros((quarter, codes.shape[1]), np.uint8)
    for row in range(codes.shape[0]):
        field, i = divmod(row, quarter)
        packed[i] += ((codes[row] + 1) * 4**field).astype(np.uint8)
    return packed


def _pack_rows_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield (np.array([[1], [0], [-1], [0]], np.int8),)
    yield (np.array([[0], [1], [0], [-1], [1], [1], [-1], [0]], np.int8),)
    yield (np.ones((4, 2), np.int8),)
    for size in range(1, 16):
        yield (rng.integers(-1, 2, (4 * size, int(rng.integers(1, 8 * size))), dtype=np.int8),)


def packed_product(packed: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Packed ternary weights times one token, exact: (N / 4, K) uint8, (K,) int8 -> (N,) int32.

    Bits 2f and 2f + 1 of byte (i, k) hold the code, 0, 1 or 2, of weight (f * N / 4 + i, k); the weight is code - 1.
    y[n] = sum over k of weight[n, k] * x[k].
    """
    rows = []
    for field in range(4):
        weights = (packed >> 2 * field & 3).astype(np.int32) - 1
        rows += [weights[i] @ x.astype(np.int32) for i in range(len(packed))]
    return np.array(rows, np.int32)


def _packed_product_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([[0b10_01_00_10]], np.uint8), np.array([1], np.int8)
    yield np.array([[0b10_10_10_10]], np.uint8), np.array([100], np.int8)
    yield np.array([[0b00_01_10_10], [0b01_00_10_01]], np.uint8), np.array([-128], np.int8)
    yield np.array([[0b10_10_10_10, 0b10_00_01_10]], np.uint8), np.array([127, 3], np.int8)
    for size in range(1, 14):
        shape = int(rng.integers(1, 4 * size)), int(rng.integers(1, 24 * size))
        weights = rng.integers(-1, 2, (4 * shape[0], shape[1]), dtype=np.int8)
        yield pack_rows(weights), rng.integers(-128, 128, shape[1], dtype=np.int8)
    for weight in (-1, 1):  # the largest sums: 700 * 128 is more than 16 bits hold
        for value in (-128, 127):
            yield pack_rows(np.full((8, 700), weight, np.int8)), np.full(700, value, np.int8)


def int16_lane(codes: np.ndarray, x: np.ndarray, flush_after: int) -> int:
    """The sum of codes * x as one 16-bit lane of a vector register adds it up.

    codes: (K,) uint8 of 0, 1, 2; x: (K,) int8; K is even. Neighbours go in pairs: codes[2j] * x[2j] plus
    codes[2j + 1] * x[2j + 1] is one pair sum. The lane is a signed 16-bit number that wraps around: one more than
    32767 is -32768. It begins at 0 and adds pair sum after pair sum. After every `flush_after` of them, and at the end,
    it is added to a total that does not overflow, and set to 0. Returns the total.
    """
    total = lane = 0
    for j in range(len(codes) // 2):
        lane += int(codes[2 * j]) * int(x[2 * j]) + int(codes[2 * j + 1]) * int(x[2 * j + 1])
        if lane > 32767:
            lane -= 65536
        if lane < -32768:
            lane += 65536
        if (j + 1) % flush_after == 0:
            total += lane
            lane = 0
    return total + lane


def _int16_lane_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield np.array([2, 1], np.uint8), np.array([100, -3], np.int8), 1
    yield np.array([2, 1, 0, 2], np.uint8), np.array([100, -3, 7, 5], np.int8), 1
    yield np.full(6, 2, np.uint8), np.full(6, 127, np.int8), 2  # the last pair stands alone
    for sign, value in ((1, 127), (-1, -128)):
        for flush_after in (64, 65, 80):
            yield np.full(160, 2, np.uint8), np.full(160, value, np.int8), flush_after
        yield np.full(2000, 2, np.uint8), np.full(2000, sign * 120, np.int8), 1000  # around more than once
    for size in range(1, 13):
        pairs = int(rng.integers(size, 30 * size))
        low, high = sorted(rng.integers(-128, 128, 2).tolist())
        codes = rng.choice(np.array([0, 1, 2, 2, 2], np.uint8), 2 * pairs)
        yield codes, rng.integers(low, high + 1, 2 * pairs, dtype=np.int8), int(rng.integers(1, 200))


def safe_additions(largest_code: int, lane_bits: int) -> int:
    """How many pair sums a signed lane of `lane_bits` can add, whatever the numbers, before it must be flushed.

    A pair sum is code * x + code * x with codes from 0 to `largest_code` and any int8 x, -128 to 127. 0 when a single
    pair sum may not fit.
    """
    count = 0
    while True:
        highest = (count + 1) * 2 * largest_code * 127
        lowest = (count + 1) * 2 * largest_code * -128
        if highest > 2 ** (lane_bits - 1) - 1 or lowest < -(2 ** (lane_bits - 1)):
            return count
        count += 1


def _safe_additions_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield from ((1, 9), (1, 10), (1, 16), (2, 16), (3, 16), (128, 16), (255, 16), (2, 24))
    for _ in range(12):
        yield int(rng.integers(1, 256)), int(rng.integers(9, 21))


def roofline(bits: float, tokens: int, read_bytes_per_s: float, peak_macs_per_s: float) -> float:
    """The most multiply-accumulates a second that a product of weights with `tokens` tokens can reach.

    Every weight takes `bits` bits, is read from memory once for all tokens, at `read_bytes_per_s`, and takes one
    multiply-accumulate for each token, `peak_macs_per_s` of which can be done. Reading and computing overlap: the
    longer of the two decides.
    """
    reading_s = bits / 8 / read_bytes_per_s  # of one weight
    computing_s = tokens / peak_macs_per_s
    return tokens / max(reading_s, computing_s)


def _roofline_cases(rng: np.random.Generator) -> Iterator[tuple]:
    yield 8.0, 1, 1.0, 100.0
    yield 2.0, 1, 1.0, 100.0
    yield 2.0, 10, 1.0, 100.0
    yield 2.0, 25, 1.0, 100.0  # both take as long
    yield 2.0, 64, 1.0, 100.0
    yield 16.0, 64, 1.0, 100.0
    for _ in range(14):
        bits = float(rng.choice([1.6, 2.0, 4.0, 8.0, 16.0, 32.0]))
        tokens = int(rng.choice([1, 2, 4, 8, 32, 64, 256]))
        yield bits, tokens, float(rng.uniform(5e9, 1e11)), float(rng.uniform(1e10, 1e12))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="pack-rows",
        reference=pack_rows,
        cases=_pack_rows_cases,
        hint="Field f holds part f of codes.reshape(4, N / 4, K): add 1, and shift left by 2 f bits.",
        lines=3,
    ),
    Exercise(
        id="packed-product",
        reference=packed_product,
        cases=_packed_product_cases,
        hint="Sum the codes 0, 1, 2 times x in int32, each field for itself, and take the sum of x off at the end.",
        lines=5,
    ),
    Exercise(
        id="ternary-kernel",
        reference=packed_product,
        cases=_packed_product_cases,
        hint="Sums, among them that of x, are C integers of 32 bits (cython.int); a masked field f is 4**f times too "
        "large, so shift its finished sum right by 2 f.",
        lines=15,
    ),
    Exercise(
        id="int16-lane",
        reference=int16_lane,
        cases=_int16_lane_cases,
        hint="(value + 32768) % 65536 - 32768 wraps around; pairs that are left at the end are flushed too.",
        lines=7,
    ),
    Exercise(
        id="safe-additions",
        reference=safe_additions,
        cases=_safe_additions_cases,
        hint="A signed lane reaches one further down than up, and so does an int8.",
        lines=3,
    ),
    Exercise(
        id="roofline",
        reference=roofline,
        cases=_roofline_cases,
        hint="One weight is read once, bits / 8 bytes, and used `tokens` times; work out both times, keep the longer.",
        lines=3,
        rtol=1e-9,
    ),
    *packing.EXERCISES,
    *ternarizing.EXERCISES,
    *energy.EXERCISES,
)
