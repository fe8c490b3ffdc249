"""Fewer bits a weight: int8, int4, int3 and int2 on a uniform grid, NF4, and BitNet's ternary.

A scheme cuts a tensor into groups, gives each group one scale, and keeps for each weight a small code:

    symmetric    x ~ scale * code                  scale = max|x| / Q, code in -Q ... Q, Q = 2**(bits - 1) - 1
    asymmetric   x ~ scale * (code - zero_point)   scale = (max - min) / L, code in 0 ... L, L = 2**bits - 1
    nf4          x ~ scale * NF4[code]             scale = max|x|, code in 0 ... 15
    ternary      x ~ scale * code                  scale = mean|x|, code in -1, 0, +1

Conventions, each with its price:

- Symmetric codes leave the lowest of the 2**bits patterns unused: then -x has the codes of x negated. One pattern in
  256 is nothing, one in 4 is a lot: int2 symmetric has three levels. (GGUF's Q4_0 uses all 16 by a scale that carries
  the sign of the largest value.)
- The asymmetric range always contains 0, so that 0 stays exactly 0 and the zero point fits in `bits`.
- Scales are stored as float16, rounded to nearest. Codes are computed from the scale before that rounding, as GGUF and
  bitsandbytes do: symmetric int8 in groups of 32 equals GGUF's Q8_0 bit for bit, NF4 codes equal those of bitsandbytes
  (which keeps its scales in 32 bits, or in 8 with a second quantization).
- So on the uniform grids |x - dequantized| <= scale / 2 + |code - zero_point| * |scale - stored scale|. The second
  term is at most 2**-11 of the value, except where a scale is below float16's normal range (6.1e-5).
- On the uniform grids ties go away from zero, as C's roundf (GGUF). Ternary rounds ties to even, as torch.round in
  BitNet's code.
"""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

Group = Literal["tensor", "row"] | int

# Dettmers et al., QLoRA, arXiv 2305.14314, in the digits of bitsandbytes, its authors' library: normal quantiles at
# equal steps of probability, 8 up to zero and 9 from zero on, which share the zero, divided by the largest.
NF4 = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ],
    np.float32,
)
NF4.setflags(write=False)

TERNARY_FLOOR = 1e-5  # least mean|x|, as in the BitNet authors' published code: an all-zero tensor has a scale too
SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal
BEFORE_HALF = np.nextafter(np.float32(0.5), np.float32(0))


class QuantError(ValueError):
    """A tensor or an option that cannot be quantized; the message says what was wanted."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """Codes with what it takes to read them.

    codes: int8 (symmetric, ternary) or uint8 (asymmetric, nf4), one code an element, shape of the tensor
    scale: float16, as many axes as the tensor: (1, ..., 1) for "tensor", (..., 1) for "row", (..., ceil(K / group))
    zero_point: uint8, shape of scale (asymmetric), else None
    bits: what a code takes when packed; ternary codes take 2
    """

    codes: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray | None
    bits: int
    scheme: Literal["symmetric", "asymmetric", "nf4", "ternary"]
    group: Group

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    def dequantize(self) -> np.ndarray:
        """The values that the codes stand for: float32, shape of the tensor."""
        values = NF4[self.codes] if self.scheme == "nf4" else self.codes.astype(np.float32)
        blocks = _blocks(values, self.group)
        if self.zero_point is not None:
            blocks -= self.zero_point.reshape(-1, 1).astype(np.float32)
        blocks *= self.scale.reshape(-1, 1).astype(np.float32)
        return _unblock(blocks, self.shape, self.group)

    @property
    def stored_bytes(self) -> int:
        """Codes packed at `bits`, scales at 16, zero points packed at `bits`: three runs, each rounded up to a byte."""
        zero_points = 0 if self.zero_point is None else self.zero_point.size
        return -(-self.codes.size * self.bits // 8) + 2 * self.scale.size + -(-zero_points * self.bits // 8)

    @property
    def stored_bits_per_weight(self) -> float:
        """nan for a tensor of no elements."""
        return 8 * self.stored_bytes / self.codes.size if self.codes.size else math.nan


def quantize(
    x: np.ndarray, bits: int = 8, scheme: Literal["symmetric", "asymmetric"] = "symmetric", group: Group = "tensor"
) -> Quantized:
    """Round x to a uniform grid of `bits` (2, 3, 4 or 8).

    x: real numbers of any shape but (), taken as float32 (for a torch bfloat16 tensor: `.float().numpy()`)
    group: what shares a scale: the "tensor", a "row" (the last axis), or so many neighbours along the last axis;
        the last group of a row may be shorter

    QuantError for NaN or infinity, for scales beyond float16 (65504), and for options not listed here.
    """
    if bits not in (2, 3, 4, 8):
        raise QuantError(f"bits is {bits!r}, wanted 2, 3, 4 or 8")
    if scheme not in ("symmetric", "asymmetric"):
        raise QuantError(
            f"scheme is {scheme!r}, wanted 'symmetric' or 'asymmetric' (or call quantize_nf4, quantize_ternary)"
        )
    x = _checked(x, group)
    blocks = _blocks(x, group)  # (groups, width)
    low, high = _range(blocks)
    if scheme == "symmetric":
        scale = np.maximum(-low, high) / (2 ** (bits - 1) - 1)
        stored = _stored(scale, x, group)
        codes = _round(blocks * _inverse(scale)).astype(np.int8)
        zero_point = None
    else:
        levels = 2**bits - 1
        with np.errstate(over="ignore"):
            scale = (high - low) / levels
        stored = _stored(scale, x, group)
        zero_point = _round(-low * _inverse(scale))
        codes = _round(blocks * _inverse(scale))
        codes += zero_point
        codes = np.clip(codes, 0, levels, out=codes).astype(np.uint8)  # rounding both can push one step out
        zero_point = zero_point.astype(np.uint8).reshape(stored.shape)
    return Quantized(_unblock(codes, x.shape, group), stored, zero_point, bits, scheme, group)


def quantize_nf4(x: np.ndarray, group: Group = 64) -> Quantized:
    """Round x / max|x| of its group to the nearest value of NF4 (QLoRA, arXiv 2305.14314). Arguments as in quantize.

    The 16 values are closest where normally distributed weights are densest. The scale is 16 bits here: 4.25 bits a
    weight at group 64, where QLoRA has 4.5 with 32-bit scales and 4.127 with its double quantization.
    """
    x = _checked(x, group)
    blocks = _blocks(x, group)
    low, high = _range(blocks)
    scale = np.maximum(-low, high)
    stored = _stored(scale, x, group)
    scaled = blocks * _inverse(scale)
    codes = np.zeros(scaled.shape, np.uint8)
    for midpoint in (NF4[:-1] + NF4[1:]) / 2:  # 15 sweeps are several times faster than np.searchsorted
        codes += scaled > midpoint
    return Quantized(_unblock(codes, x.shape, group), stored, None, 4, "nf4", group)


def quantize_ternary(x: np.ndarray, group: Literal["tensor", "row"] = "tensor") -> Quantized:
    """Round x / mean|x| to -1, 0 or +1: the absmean of BitNet b1.58 (arXiv 2402.17764). Arguments as in quantize.

    Larger weights are clipped, so scale / 2 does not bound the error. BitNet's own models have one scale a tensor.
    """
    if group not in ("tensor", "row"):
        raise QuantError(f"group is {group!r}, wanted 'tensor' or 'row': BitNet has no scales for parts of a row")
    x = _checked(x, group)
    blocks = _blocks(x, group)
    total = np.abs(blocks).sum(axis=1, keepdims=True, dtype=np.float64)
    scale = np.maximum(total / max(blocks.shape[1], 1), TERNARY_FLOOR).astype(np.float32)
    stored = _stored(scale, x, group)
    codes = blocks * _inverse(scale)
    np.rint(codes, out=codes)
    codes = np.clip(codes, -1, 1, out=codes).astype(np.int8)
    return Quantized(_unblock(codes, x.shape, group), stored, None, 2, "ternary", group)


# ------------------------------------------------------------------------------------------------------------------
# How far off


@dataclass(frozen=True)
class Error:
    """max_abs and rms in the unit of the weights; sqnr_db = 10 log10(sum x**2 / sum (x - y)**2), inf without error."""

    max_abs: float
    rms: float
    sqnr_db: float


def error(x: np.ndarray, y: np.ndarray) -> Error:
    """How far y is from x: two arrays of one shape. Sums in float64, in slices, so that no whole copy is made."""
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape:
        raise QuantError(f"x has shape {x.shape} and y {y.shape}: wanted one shape")
    x, y = x.reshape(-1), y.reshape(-1)
    largest = signal = noise = 0.0
    for start in range(0, x.size, 2**15):
        part = x[start : start + 2**15].astype(np.float64)
        difference = part - y[start : start + 2**15]
        largest = np.maximum(largest, np.abs(difference).max())  # unlike max(), keeps a NaN
        # part @ part would wake the threads of BLAS for each slice: slow while other work has the cores
        signal += np.square(part).sum()
        noise += np.square(difference).sum()
    sqnr_db = math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise)
    return Error(float(largest), math.sqrt(noise / max(x.size, 1)), sqnr_db)


# ------------------------------------------------------------------------------------------------------------------
# Groups: everything above works on (groups, width), one scale a line


def _checked(x: np.ndarray, group: Group) -> np.ndarray:
    """x as float32; QuantError if it has no axis, no real numbers, or no such group."""
    x = np.asarray(x)
    if x.dtype.kind not in "fiu":
        raise QuantError(f"x has dtype {x.dtype}, wanted real numbers")
    if x.ndim == 0:
        raise QuantError("x is a single number, wanted an array with at least one axis")
    if group not in ("tensor", "row") and (type(group) is bool or not isinstance(group, Integral) or group < 1):
        raise QuantError(f"group is {group!r}, wanted 'tensor', 'row' or a whole number from 1 on")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite here and is named by _stored
        return x.astype(np.float32, copy=False)


def _blocks(x: np.ndarray, group: Group) -> np.ndarray:
    """(groups, width) view of x. Only where the last group is short: a copy, filled up with zeros, which move neither
    max|x| nor a range that contains 0."""
    if group == "tensor":
        return x.reshape(1, x.size)
    *lead, width = x.shape
    rows = math.prod(lead)
    if group == "row":
        return x.reshape(rows, width)
    missing = -width % group
    if missing:
        x = np.pad(x.reshape(rows, width), ((0, 0), (0, missing)))
    return x.reshape(rows * ((width + missing) // group), group)


def _unblock(blocks: np.ndarray, shape: tuple[int, ...], group: Group) -> np.ndarray:
    """The inverse of _blocks."""
    if group in ("tensor", "row") or shape[-1] % group == 0:
        return blocks.reshape(shape)
    *lead, width = shape
    return blocks.reshape(*lead, width + -width % group)[..., :width].copy()


def _range(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each group, (groups, 1) each, with 0 among the values."""
    return blocks.min(axis=1, keepdims=True, initial=0), blocks.max(axis=1, keepdims=True, initial=0)


def _inverse(scale: np.ndarray) -> np.ndarray:
    """1 / scale; 0 for groups of zeros and for scales whose inverse overflows (float16 stores those as 0 anyway)."""
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale >= SMALLEST_NORMAL)


def _round(values: np.ndarray) -> np.ndarray:
    """Round to the nearest whole number in place, ties away from zero. (Adding 0.5 would round 0.49999997 up.)"""
    values += np.copysign(BEFORE_HALF, values)
    return np.trunc(values, out=values)


def _stored(scale: np.ndarray, x: np.ndarray, group: Group) -> np.ndarray:
    """The scales as they are stored: float16, as many axes as x. QuantError for what float16 cannot hold."""
    shape = (1,) * x.ndim if group == "tensor" else (*x.shape[:-1], 1 if group == "row" else -(-x.shape[-1] // group))
    with np.errstate(over="ignore"):
        stored = scale.astype(np.float16).reshape(shape)
    if not np.isfinite(stored).all():
        unusable = np.argwhere(~np.isfinite(x))
        if len(unusable):
            where = tuple(map(int, unusable[0]))
            raise QuantError(f"x{list(where)} is {x[where]} in float32 ({len(unusable)} such): mend the tensor first")
        raise QuantError(f"a scale is {scale.max():g}, float16 holds 65504: divide x by a constant first")
    return stored
