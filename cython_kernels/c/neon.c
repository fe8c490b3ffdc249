/* arm64 with the dot product instruction: a register is 16 bytes, its four lanes of 32 bits are four rows, and `sdot`
   adds to each lane the four products of its four codes with a word of x, both signed. A panel step is eight registers.
   One register holds four words of x, and the lane form of `sdot` picks one of them.

   There is no base-3 kernel: its weights are expanded to 2 bits at load. Bytes are looked up in at most 64 entries, so 16
   of them need a `tbl` (by the low six bits) and two `tbx` (those from 192 on: four fields, and the fifth) in tables of
   four registers each. By LLVM's model of a Neoverse N2 (llvm-mca 16) such a loop takes 15.5 cycles for 80 weights, and
   2 bits take 3.5 for 64: base 3 would win only where a core gets less than 1.3 bytes of memory a cycle. */

#include <stddef.h>

#include "cpu.h"
#include "ternary.h"

/* clang before 16 shows the intrinsics only to files that are compiled for the instruction as a whole. Apple's are. */
#if defined(TERNARY_ARM64) && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))

#include <arm_neon.h>

#if defined(__clang__) || defined(_MSC_VER)
#define TARGET TERNARY_TARGET("dotprod")
#define ROLLED
#else
#define TARGET TERNARY_TARGET("arch=armv8.2-a+dotprod")
#define ROLLED _Pragma("GCC unroll 1") /* GCC 12 unrolls by itself, and then keeps accumulators in memory */
#endif
#define REGISTERS 8 /* of 16 bytes in a step */

TARGET TERNARY_INLINE int8x16_t is_signed(uint8x16_t bytes) { return vreinterpretq_s8_u8(bytes); }

/* `count` words, 1 to 4, in the first lanes; nothing behind them is read. */
TARGET TERNARY_INLINE int8x16_t load_words(const uint32_t *x, const int count) {
    if (count >= 4) return vreinterpretq_s8_u32(vld1q_u32(x));
    uint32x4_t words = vdupq_n_u32(x[0]);
    if (count > 1) words = vld1q_lane_u32(x + 1, words, 1);
    if (count > 2) words = vld1q_lane_u32(x + 2, words, 2);
    return vreinterpretq_s8_u32(words);
}

/* One token: field f is masked where it stands, so its codes are 4^f times too large, and the totals are shifted at the
   end. The top field would not fit a signed byte there (2 * 64): it is shifted down and joins field 0.
   |acc[0]| <= 2 * 128 * K / 2 + 128 * K = 2^27, |acc[1]| <= 8 * 128 * K / 4 = 2^27, |acc[2]| <= 32 * 128 * K / 4 = 2^29. */
TARGET static void one_token(const uint8_t *panel, int64_t steps, const uint32_t *x, int32_t x_sum, int32_t *sums) {
    const uint8x16_t mask0 = vdupq_n_u8(3), mask1 = vdupq_n_u8(12), mask2 = vdupq_n_u8(48);
    int32x4_t acc[3][REGISTERS];
    TERNARY_UNROLL
    for (int r = 0; r < REGISTERS; r++) {
        acc[0][r] = vdupq_n_s32(-x_sum);
        acc[1][r] = acc[2][r] = vdupq_n_s32(0);
    }
    for (int64_t s = 0; s < steps; s++, panel += TERNARY_STEP_BYTES, x += TERNARY_2BIT_FIELDS) {
        const int8x16_t words = load_words(x, 4);
        TERNARY_UNROLL
        for (int r = 0; r < REGISTERS; r++) {
            const uint8x16_t bytes = vld1q_u8(panel + 16 * r);
            acc[0][r] = vdotq_laneq_s32(acc[0][r], is_signed(vandq_u8(bytes, mask0)), words, 0);
            acc[1][r] = vdotq_laneq_s32(acc[1][r], is_signed(vandq_u8(bytes, mask1)), words, 1);
            acc[2][r] = vdotq_laneq_s32(acc[2][r], is_signed(vandq_u8(bytes, mask2)), words, 2);
            acc[0][r] = vdotq_laneq_s32(acc[0][r], is_signed(vshrq_n_u8(bytes, 6)), words, 3);
        }
    }
    TERNARY_UNROLL
    for (int r = 0; r < REGISTERS; r++) {
        const int32x4_t high = vaddq_s32(vshrq_n_s32(acc[1][r], 2), vshrq_n_s32(acc[2][r], 4));
        vst1q_s32(sums + 4 * r, vaddq_s32(acc[0][r], high));
    }
}

/* A byte is w + 128: without its top bit turned over it would be w. |acc| <= 128 * 128 * K = 2^30. */
TARGET TERNARY_INLINE int8x16_t int8_weights(uint8x16_t bytes) { return is_signed(veorq_u8(bytes, vdupq_n_u8(128))); }

TARGET static void one_token_int8(const uint8_t *panel, int64_t steps, const uint32_t *x, int32_t *sums) {
    int32x4_t acc[REGISTERS];
    TERNARY_UNROLL
    for (int r = 0; r < REGISTERS; r++) {
        acc[r] = vdupq_n_s32(0);
    }
    for (int64_t s = 0; s < steps; s++, panel += TERNARY_STEP_BYTES, x++) {
        const int8x16_t word = vreinterpretq_s8_u32(vdupq_n_u32(*x));
        TERNARY_UNROLL
        for (int r = 0; r < REGISTERS; r++) {
            acc[r] = vdotq_s32(acc[r], int8_weights(vld1q_u8(panel + 16 * r)), word);
        }
    }
    TERNARY_UNROLL
    for (int r = 0; r < REGISTERS; r++) {
        vst1q_s32(sums + 4 * r, acc[r]);
    }
}

/* The lowest codes of a register, of which there are `fields`; the next ones move down. */
TARGET TERNARY_INLINE int8x16_t take_codes(const int fields, uint8x16_t *bytes) {
    if (fields == TERNARY_INT8_FIELDS) return int8_weights(*bytes);
    const int8x16_t codes = is_signed(vandq_u8(*bytes, vdupq_n_u8(3)));
    *bytes = vshrq_n_u8(*bytes, 2);
    return codes;
}

/* Eight rows times `count` tokens, 1 to 4: the lane of `words` is the token. */
TARGET TERNARY_INLINE void dot(const int count, int32x4_t acc[][2], int8x16_t codes0, int8x16_t codes1, int8x16_t words) {
    acc[0][0] = vdotq_laneq_s32(acc[0][0], codes0, words, 0);
    acc[0][1] = vdotq_laneq_s32(acc[0][1], codes1, words, 0);
    if (count < 2) return;
    acc[1][0] = vdotq_laneq_s32(acc[1][0], codes0, words, 1);
    acc[1][1] = vdotq_laneq_s32(acc[1][1], codes1, words, 1);
    if (count < 3) return;
    acc[2][0] = vdotq_laneq_s32(acc[2][0], codes0, words, 2);
    acc[2][1] = vdotq_laneq_s32(acc[2][1], codes1, words, 2);
    if (count < 4) return;
    acc[3][0] = vdotq_laneq_s32(acc[3][0], codes0, words, 3);
    acc[3][1] = vdotq_laneq_s32(acc[3][1], codes1, words, 3);
}

/* `fields` and `tokens` are constants where this is inlined, so that the accumulators are registers: 12 x 2 of eight
   rows leave 8 of 32 free, and the panel, now in the cache, is passed over four times. Codes serve all tokens.
   2 bit: |acc| <= 2 * 128 * K + 128 * K < 2^28. int8: |acc| <= 128 * 128 * K = 2^30. */
TARGET TERNARY_INLINE void some_tokens(const int fields, const int tokens, const uint8_t *panel, int64_t steps,
                                       const uint32_t *x, const int32_t *x_sums, int32_t *sums) {
    for (int r = 0; r < REGISTERS; r += 2, panel += 32, sums += 8) {
        const uint8_t *bytes = panel;
        const uint32_t *words = x;
        int32x4_t acc[TERNARY_TILE][2];
        TERNARY_UNROLL
        for (int t = 0; t < tokens; t++) {
            acc[t][0] = acc[t][1] = vdupq_n_s32(fields == TERNARY_INT8_FIELDS ? 0 : -x_sums[t]);
        }
        for (int64_t s = 0; s < steps; s++, bytes += TERNARY_STEP_BYTES) {
            uint8x16_t bytes0 = vld1q_u8(bytes), bytes1 = vld1q_u8(bytes + 16);
            ROLLED
            for (int f = 0; f < fields; f++, words += tokens) {
                const int8x16_t codes0 = take_codes(fields, &bytes0), codes1 = take_codes(fields, &bytes1);
                TERNARY_UNROLL
                for (int t = 0; t < tokens; t += 4) {
                    dot(tokens - t, acc + t, codes0, codes1, load_words(words + t, tokens - t));
                }
            }
        }
        TERNARY_UNROLL
        for (int t = 0; t < tokens; t++) {
            vst1q_s32(sums + t * TERNARY_PANEL_ROWS, acc[t][0]);
            vst1q_s32(sums + t * TERNARY_PANEL_ROWS + 4, acc[t][1]);
        }
    }
}

TARGET TERNARY_INLINE void multiply(const int fields, const uint8_t *panel, int64_t steps, const uint32_t *x,
                                    const int32_t *x_sums, int tokens, int32_t *sums) {
    switch (tokens) {
    case 2: some_tokens(fields, 2, panel, steps, x, x_sums, sums); break;
    case 3: some_tokens(fields, 3, panel, steps, x, x_sums, sums); break;
    case 4: some_tokens(fields, 4, panel, steps, x, x_sums, sums); break;
    case 5: some_tokens(fields, 5, panel, steps, x, x_sums, sums); break;
    case 6: some_tokens(fields, 6, panel, steps, x, x_sums, sums); break;
    case 7: some_tokens(fields, 7, panel, steps, x, x_sums, sums); break;
    case 8: some_tokens(fields, 8, panel, steps, x, x_sums, sums); break;
    case 9: some_tokens(fields, 9, panel, steps, x, x_sums, sums); break;
    case 10: some_tokens(fields, 10, panel, steps, x, x_sums, sums); break;
    case 11: some_tokens(fields, 11, panel, steps, x, x_sums, sums); break;
    default: some_tokens(fields, 12, panel, steps, x, x_sums, sums);
    }
}

TARGET static void ternary_2bit_neon(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums,
                                     int tokens, int32_t *sums) {
    if (tokens == 1) {
        one_token(panel, steps, x, x_sums[0], sums);
        return;
    }
    multiply(TERNARY_2BIT_FIELDS, panel, steps, x, x_sums, tokens, sums);
}

TARGET static void ternary_int8_neon(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums,
                                     int tokens, int32_t *sums) {
    if (tokens == 1) {
        one_token_int8(panel, steps, x, sums);
        return;
    }
    multiply(TERNARY_INT8_FIELDS, panel, steps, x, x_sums, tokens, sums);
}

const ternary_backend ternary_neon = {"neon", 1, cpu_has_dotprod, {ternary_2bit_neon, NULL, ternary_int8_neon}};

#else

const ternary_backend ternary_neon = {"neon", 0, cpu_has_dotprod, {NULL, NULL, NULL}};

#endif
