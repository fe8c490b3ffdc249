"""Ternary weights in other people's files, converted without loss to and from our codes.

Our side is codes, (N, K) int8 of -1, 0, +1, and one scale, a float: weight = codes * scale. Every layout below stores
-1, 0, +1 as 0, 1, 2, and differs in where that digit lives. `pack` of this package makes the layout our kernels read.

Hugging Face BitNet: `hf_pack`, `hf_unpack`. uint8 (R, K) with R = ceil(N / 4); one byte holds four rows of column k,
R rows apart. The scale is a tensor of its own, `weight_scale`: `hf_pack_scale`, `hf_unpack_scale`.

    packed[r, k]          bits    7 6     5 4     3 2     1 0
                               +-------+-------+-------+-------+
                          row  | 3R+r  | 2R+r  |  R+r  |   r   |
                               +-------+-------+-------+-------+

GGUF TQ2_0: `tq2_0_pack`, `tq2_0_unpack`. 256 columns of a row are a block of 66 bytes, 2.0625 bits a weight.

    block      bytes  0..31                   32..63                   64, 65
                     +-----------------------+------------------------+-----------+
                     |  columns 0..127       |  columns 128..255      |  d, fp16  |   weight = code * d
                     +-----------------------+------------------------+-----------+
    byte b < 32           bits    7 6     5 4     3 2     1 0
                               +-------+-------+-------+-------+
                       column  | 96+b  | 64+b  | 32+b  |   b   |          byte 32+b: the same, 128 columns on
                               +-------+-------+-------+-------+

GGUF TQ1_0: `tq1_0_pack`, `tq1_0_unpack`. 256 columns are a block of 54 bytes, 1.6875 bits a weight.

    block      bytes  0..31              32..47               48..51               52, 53
                     +------------------+--------------------+--------------------+-----------+
                     | columns 0..159   | columns 160..239   | columns 240..255   |  d, fp16  |
                     | 5 a byte         | 5 a byte           | 4 a byte           |           |
                     +------------------+--------------------+--------------------+-----------+
    a byte holds a base-3 number, first column in front, 32 (16, 4) columns apart; byte b < 32:

                       column     b     32+b    64+b    96+b   128+b
                               +-------+-------+-------+-------+-------+
                       digit   |  81   |  27   |   9   |   3   |   1   |   v = 0..242; with four columns the 1 is 0
                               +-------+-------+-------+-------+-------+

    and is stored as the fraction v / 243 of 256, rounded up: byte = ceil(256 v / 243). So 3 * byte has the first digit
    above its low 8 bits, and those 8 bits, times 3 again, the next one.

bitnet.cpp I2_S: `i2_s_pack`, `i2_s_unpack`. The N * K codes, row after row, in blocks of 128 codes = 32 bytes, then one
scale for the whole matrix, then 28 bytes without meaning: N * K / 4 + 32 bytes in all.

    byte b < 32           bits    7 6     5 4     3 2     1 0
    of a block                 +-------+-------+-------+-------+
                       column  |   b   | 32+b  | 64+b  | 96+b  |          the first column is on top, unlike TQ2_0
                               +-------+-------+-------+-------+

    end of tensor    | ... last block | scale, fp32 | 28 bytes |

    bitnet.cpp built for ARM since commit 112f853 (2025-11-19) writes blocks of 64 codes = 16 bytes, 16 columns apart,
    under the same name, and nothing in the file tells: pass block=64. Its converters in Python, its x86 builds and all
    builds before write 128. (Built without ACT_PARALLEL, which is on by default, x86 has a third order, not read here.)

Sources: pack_weights, BitLinear, AutoBitLinear in transformers 5.23, integrations/bitnet.py; TQ1_0, TQ2_0 in gguf 0.19,
quants.py; microsoft/BitNet at 16da220 (2026-07-21), quantize_i2_s in src/ggml-bitnet-mad.cpp and quantize_to_i2_s in
utils/convert-hf-to-gguf-bitnet.py.
"""

import math

import numpy as np

from .reference import INT8, UINT8, check_array

LINEAR_CLASSES = ("autobitlinear", "bitlinear")
TQ_COLUMNS = 256
TQ2_0_BYTES, TQ1_0_BYTES = 66, 54  # of a block; d is the last two
TQ1_0_PARTS = ((0, 32, 5), (32, 16, 5), (48, 4, 4))  # first byte, bytes, columns a byte
I2_S_BLOCKS = (128, 64)
I2_S_TAIL_BYTES = 32

LOW_FIRST, HIGH_FIRST = (1, 4, 16, 64), (64, 16, 4, 1)  # what the code of a field is multiplied with in its byte
DIGITS = (81, 27, 9, 3, 1)
BYTE_OF = np.array([-(-256 * v // 243) for v in range(243)], np.uint8)
DIGIT_OF = np.array([[(byte * 3**f % 256) * 3 // 256 for byte in range(256)] for f in range(5)], np.uint8)
IS_BASE3 = {5: np.isin(np.arange(256), BYTE_OF), 4: np.isin(np.arange(256), BYTE_OF[::3])}  # by columns a byte


def hf_pack(codes: np.ndarray) -> np.ndarray:
    """Codes (N, K) to the uint8 (ceil(N / 4), K) that transformers' `pack_weights` makes of them.

    Where 4 does not divide N, the fields of the rows past N are 0, as there: read as codes they would be -1. (Its
    own layers cannot load such a matrix: they have N // 4 rows of bytes.)
    TypeError, ValueError: not (N, K) int8 of -1, 0, +1.
    """
    digits = _digits(codes)
    N, K = codes.shape
    rows = -(-N // 4)
    padded = np.zeros((4 * rows, K), np.uint8)
    padded[:N] = digits
    return _join(padded.reshape(4, rows * K), LOW_FIRST).reshape(rows, K)


def hf_unpack(packed: np.ndarray, N: int) -> np.ndarray:
    """The (N, K) int8 codes of a uint8 (ceil(N / 4), K). Rows past N, which fill the last bytes, are left out.

    TypeError, ValueError: another type or shape, or a byte with a code 3.
    """
    check_array("packed", packed, UINT8, ("ceil(N / 4)", "K"), "pass the layer's packed weight")
    _check_count("N", N)
    rows, K = packed.shape
    if rows != -(-N // 4):
        raise ValueError(f"packed has {rows} rows, wanted {-(-N // 4)} = ceil(N / 4) for N = {N}: check N")
    _check_two_bits(packed)
    return _codes(_split(packed.reshape(rows * K), LOW_FIRST).reshape(4 * rows, K)[:N])


def hf_pack_scale(scale: float, linear_class: str) -> float:
    """The `weight_scale` that a layer of this class needs, so that its weights are codes * scale.

    "autobitlinear" multiplies by weight_scale: it is the scale. "bitlinear" divides by it: it is 1 / scale, rounded to
    a float64, exact for powers of two alone. `hf_unpack_scale` of that float64, rounded to the type of the scale, gives
    a float32, float16 or bfloat16 back to the last bit. A reciprocal that is stored in the scale's own type is rounded
    again and does not: 17 % of all float32 and 22 of the 128 bfloat16 significands come back changed in their last bit.
    ValueError: an unknown class (transformers takes any other name for "bitlinear"), or a scale not above 0 and finite.
    """
    return _swapped("scale", scale, linear_class)


def hf_unpack_scale(weight_scale: float, linear_class: str) -> float:
    """Our scale, weight = codes * scale, of a layer of this class with this `weight_scale`. See `hf_pack_scale`."""
    return _swapped("weight_scale", weight_scale, linear_class)


def tq2_0_pack(codes: np.ndarray, scale: float) -> np.ndarray:
    """Codes (N, K) and their scale to GGUF TQ2_0: uint8 (N, K / 256 * 66), as `gguf.quants.quantize` gives them.

    A block whose codes are all 0 has d = 0. TypeError, ValueError: codes that are not (N, K) int8 of -1, 0, +1 with K a
    multiple of 256, or a scale that is not above 0 or no float16: rounding it would be a loss, so it is left to you.
    """
    blocks = _blocks(codes, TQ_COLUMNS, "TQ2_0")
    d = _block_scales(blocks, scale)
    N, count, _ = blocks.shape
    halves = _join(blocks.reshape(N, count, 2, 4, 32), LOW_FIRST).reshape(N, count, 64)
    return np.concatenate([halves, d], axis=2).reshape(N, count * TQ2_0_BYTES)


def tq2_0_unpack(packed: np.ndarray) -> tuple[np.ndarray, float]:
    """Codes (N, K) int8 and their scale of GGUF TQ2_0 bytes, uint8 (N, K / 256 * 66).

    A block with d = 0 is zeros, whatever its codes; a matrix of zeros alone gets the scale 1.0. TypeError, ValueError:
    another type or shape, a byte with a code 3, a d below 0 or not finite, or blocks with different d: those weights
    are not codes * one scale.
    """
    blocks = _tq_blocks(packed, TQ2_0_BYTES, "TQ2_0")
    N, count, _ = blocks.shape
    halves = blocks[:, :, :64]
    wrong = np.zeros(blocks.shape, bool)
    wrong[:, :, :64] = _has_code_3(halves)
    _refuse_bytes(packed, wrong, "which holds a code 3; wanted codes 0, 1, 2")
    codes = _codes(_split(halves.reshape(N, count, 2, 32), LOW_FIRST).reshape(N, count, TQ_COLUMNS))
    return _with_one_scale(codes, blocks)


def tq1_0_pack(codes: np.ndarray, scale: float) -> np.ndarray:
    """Codes (N, K) and their scale to GGUF TQ1_0: uint8 (N, K / 256 * 54), as `gguf.quants.quantize` gives them.

    Zero blocks and errors as in `tq2_0_pack`.
    """
    blocks = _blocks(codes, TQ_COLUMNS, "TQ1_0")
    packed = [_block_scales(blocks, scale)]
    N, count, _ = blocks.shape
    for _, lanes, fields in reversed(TQ1_0_PARTS):
        blocks, part = np.split(blocks, [-lanes * fields], axis=2)
        packed.insert(0, BYTE_OF[_join(part.reshape(N, count, fields, lanes), DIGITS[:fields])])
    return np.concatenate(packed, axis=2).reshape(N, count * TQ1_0_BYTES)


def tq1_0_unpack(packed: np.ndarray) -> tuple[np.ndarray, float]:
    """Codes (N, K) int8 and their scale of GGUF TQ1_0 bytes, uint8 (N, K / 256 * 54).

    Scale and errors as in `tq2_0_unpack`; for a code 3 stands a byte that no digits 0, 1, 2 give.
    """
    blocks = _tq_blocks(packed, TQ1_0_BYTES, "TQ1_0")
    N, count, _ = blocks.shape
    wrong = np.zeros(blocks.shape, bool)
    for first, lanes, fields in TQ1_0_PARTS:
        wrong[:, :, first : first + lanes] = ~IS_BASE3[fields][blocks[:, :, first : first + lanes]]
    _refuse_bytes(packed, wrong, "which no base-3 digits give; wanted ceil(256 v / 243) of a v up to 242")
    digits = []
    for first, lanes, fields in TQ1_0_PARTS:
        part = np.stack([DIGIT_OF[f][blocks[:, :, first : first + lanes]] for f in range(fields)], axis=2)
        digits.append(part.reshape(N, count, fields * lanes))
    return _with_one_scale(_codes(np.concatenate(digits, axis=2)), blocks)


def i2_s_pack(codes: np.ndarray, scale: float, block: int = 128) -> np.ndarray:
    """Codes (N, K) and their scale to bitnet.cpp's I2_S: uint8 (N * K / 4 + 32,); the last 28 bytes are 0.

    block: 128, or 64 for a bitnet.cpp that was built for ARM (see the module's drawing). TypeError, ValueError: codes
    that are not (N, K) int8 of -1, 0, +1 with K a multiple of the block, or a scale not above 0 or no float32.
    """
    _check_i2_s_block(block)
    blocks = _blocks(codes, block, "I2_S")
    tail = np.zeros(I2_S_TAIL_BYTES, np.uint8)
    tail[:4].view("<f4")[0] = _stored("scale", scale, np.float32)
    N, count, _ = blocks.shape
    fields = _join(blocks.reshape(N, count, 4, block // 4), HIGH_FIRST)
    return np.concatenate([fields.reshape(codes.size // 4), tail])


def i2_s_unpack(packed: np.ndarray, N: int, K: int, block: int = 128) -> tuple[np.ndarray, float]:
    """Codes (N, K) int8 and their scale of I2_S bytes, uint8 (N * K / 4 + 32,). A wrong `block` cannot be noticed.

    TypeError, ValueError: another type or length, K not a multiple of the block, a byte with a code 3, or a scale that
    is not above 0 and finite.
    """
    _check_i2_s_block(block)
    check_array("packed", packed, UINT8, ("bytes",), "pass the bytes of the tensor")
    _check_count("N", N)
    _check_count("K", K)
    _check_columns(K, block, "I2_S")
    wanted = N * K // 4 + I2_S_TAIL_BYTES
    if packed.size != wanted:
        raise ValueError(f"packed has {packed.size} bytes, wanted {wanted} = N * K / 4 + 32 for N = {N}, K = {K}")
    fields, tail = np.split(packed, [N * K // 4])
    scale = float(np.frombuffer(tail[:4].tobytes(), "<f4")[0])
    _check_scale("the scale behind the codes", scale)
    _check_two_bits(fields)
    return _codes(_split(fields.reshape(N, K // block, block // 4), HIGH_FIRST).reshape(N, K)), scale


def _swapped(name: str, scale: float, linear_class: str) -> float:
    """The same for "autobitlinear", the reciprocal for "bitlinear": its own inverse, up to rounding."""
    if linear_class not in LINEAR_CLASSES:
        raise ValueError(
            f"there is no linear_class {linear_class!r}, wanted one of {', '.join(LINEAR_CLASSES)}: "
            "look into the quantization_config of the model"
        )
    _check_scale(name, scale)
    return float(scale) if linear_class == "autobitlinear" else 1 / float(scale)


def _join(fields: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Digits (..., fields, lanes) to bytes (..., lanes): the sum over f of fields[f] * factors[f], at most 242."""
    packed = fields[..., 0, :] * np.uint8(factors[0])
    for f in range(1, len(factors)):
        packed += fields[..., f, :] * np.uint8(factors[f])
    return packed


def _split(packed: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Bytes (..., lanes) of two-bit digits to digits (..., fields, lanes)."""
    return np.stack([packed // np.uint8(factor) & np.uint8(3) for factor in factors], axis=-2)


def _digits(codes: np.ndarray) -> np.ndarray:
    """Codes -1, 0, +1 as uint8 digits 0, 1, 2. TypeError, ValueError: they are no codes."""
    check_array("codes", codes, INT8, ("N", "K"), "quantize the weights first")
    wrong = (codes < -1) | (codes > 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"codes[{row}, {column}] is {codes[row, column]}, wanted -1, 0 or +1: quantize the weights to ternary first"
        )
    return codes.view(np.uint8) + np.uint8(1)  # modulo 256: -1 + 1 is 0


def _codes(digits: np.ndarray) -> np.ndarray:
    return (digits - np.uint8(1)).view(np.int8)


def _blocks(codes: np.ndarray, columns: int, layout: str) -> np.ndarray:
    """Codes (N, K) as digits (N, K / columns, columns)."""
    digits = _digits(codes)
    N, K = codes.shape
    _check_columns(K, columns, layout)
    return digits.reshape(N, K // columns, columns)


def _block_scales(blocks: np.ndarray, scale: float) -> np.ndarray:
    """d of each block of digits as two bytes (N, blocks, 2): the scale, or 0 where all codes are 0."""
    stored = _stored("scale", scale, np.float16)
    d = np.where((blocks != 1).any(axis=2), stored, np.float16(0)).astype("<f2")
    return d[:, :, None].view(np.uint8)


def _tq_blocks(packed: np.ndarray, block_bytes: int, layout: str) -> np.ndarray:
    """Bytes (N, blocks * block_bytes) as (N, blocks, block_bytes)."""
    check_array("packed", packed, UINT8, ("N", f"K / 256 * {block_bytes}"), "pass the bytes of the tensor, row by row")
    N, row_bytes = packed.shape
    if row_bytes % block_bytes:
        raise ValueError(
            f"packed has {row_bytes} bytes a row, wanted a multiple of {block_bytes}, a block of {layout}: "
            "it is cut off, or another layout"
        )
    return packed.reshape(N, row_bytes // block_bytes, block_bytes)


def _with_one_scale(codes: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, float]:
    """Codes (N, blocks, 256) as (N, K), and the one d that all blocks with a code other than 0 share."""
    d = np.ascontiguousarray(blocks[:, :, -2:]).view("<f2")[:, :, 0]
    wrong = ~(np.isfinite(d) & (d >= 0))
    if wrong.any():
        row, block = np.argwhere(wrong)[0]
        raise ValueError(
            f"block {block} of row {row} has the scale {d[row, block]}, wanted 0 or more, finite: the file is damaged"
        )
    codes[d == 0] = 0
    scales = np.unique(d[(codes != 0).any(axis=2)])
    if scales.size > 1:
        raise ValueError(
            f"the blocks have {scales.size} different scales, {scales[0]} to {scales[-1]}, wanted one: these weights "
            "are not codes * scale; dequantize them to floats and quantize the whole matrix with one scale"
        )
    N, count, columns = codes.shape
    return codes.reshape(N, count * columns), float(scales[0]) if scales.size else 1.0


def _stored(name: str, scale: float, dtype: type[np.floating]) -> np.floating:
    """The scale in the type of the file. ValueError: not above 0 and finite, or not a number of that type."""
    _check_scale(name, scale)
    with np.errstate(over="ignore"):
        stored = dtype(scale)
    if float(stored) != float(scale):
        if 0 < stored < math.inf:
            remedy = "pass that one to accept the rounding of all weights"
        else:
            remedy = "store these weights in a layout with a wider scale"
        raise ValueError(
            f"{name} is {float(scale)!r}, which is no {dtype.__name__}; the nearest is {float(stored)!r}: {remedy}"
        )
    return stored


def _has_code_3(packed: np.ndarray) -> np.ndarray:
    return (packed & (packed >> 1) & np.uint8(0x55)) != 0  # both bits of a field set


def _check_two_bits(packed: np.ndarray) -> None:
    _refuse_bytes(packed, _has_code_3(packed), "which holds a code 3; wanted codes 0, 1, 2")


def _refuse_bytes(packed: np.ndarray, wrong: np.ndarray, why: str) -> None:
    if wrong.any():
        place = tuple(np.argwhere(wrong.reshape(packed.shape))[0])
        where = ", ".join(map(str, place))
        raise ValueError(f"packed[{where}] is {packed[place]:#04x}, {why}: the file is damaged or has another layout")


def _check_columns(K: int, columns: int, layout: str) -> None:
    if K % columns:
        raise ValueError(f"K is {K}, wanted a multiple of {columns}, the block of {layout}: hf_pack takes any K")


def _check_i2_s_block(block: int) -> None:
    if block not in I2_S_BLOCKS:
        raise ValueError(f"block is {block!r}, wanted 128, or 64 for files of a bitnet.cpp that was built for ARM")


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is the {type(value).__name__} {value!r}, wanted an int: pass the shape of the codes")
    if value < 0:
        raise ValueError(f"{name} is {value}, wanted 0 or more: pass the shape of the codes")


def _check_scale(name: str, scale: float) -> None:
    if not isinstance(scale, (int, float, np.number)):
        raise TypeError(
            f"{name} is a {type(scale).__name__}, wanted a number: pass the value of a tensor of one element"
        )
    if not 0 < scale < math.inf:
        raise ValueError(f"{name} is {scale}, wanted a finite number above 0: weight = codes * scale")
