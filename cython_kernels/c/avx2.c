/* AVX2: half a block is one register, its 8 lanes of 32 bits are 8 rows. `maddubs` multiplies codes (unsigned) with a
   word of x (signed) and adds neighbours to int16; how many of those may be added before they are widened to int32 is
   what each kernel below must respect. A panel step is four registers. */

#include <stddef.h>

#include "cpu.h"
#include "ternary.h"

#if defined(TERNARY_X86_64)

#include <immintrin.h>

#include "prefetch.h"

#define TARGET TERNARY_TARGET("avx2")
#define REGISTERS 4 /* of 32 bytes in a step */

TARGET TERNARY_INLINE __m256i load(const uint8_t *bytes) { return _mm256_loadu_si256((const __m256i *)bytes); }

TARGET TERNARY_INLINE void store(int32_t *sums, __m256i v) { _mm256_storeu_si256((__m256i *)sums, v); }

TARGET TERNARY_INLINE __m256i broadcast(uint32_t word) { return _mm256_set1_epi32((int)word); }

/* The two int16 of each lane as one int32. */
TARGET TERNARY_INLINE __m256i widen(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

/* One token. Fields 1 and 3 are masked one field up, so their codes are 4 times too large and are added apart:
   |low| <= 2 * 2 * 128 a product of which a step adds two, |high| <= 2 * 8 * 128 of which a step adds two.
   Eight steps: 16 * 512 = 2^13 and 16 * 2048 = 2^15, reached only at -2^15: both fit an int16. */
#define STEPS_2BIT 8

TARGET static void one_token(const uint8_t *panel, int64_t steps, const uint32_t *x, int32_t x_sum, int32_t *sums) {
    const __m256i three = _mm256_set1_epi8(3), twelve = _mm256_set1_epi8(12);
    __m256i total[REGISTERS], total4[REGISTERS];
    TERNARY_UNROLL
    for (int r = 0; r < REGISTERS; r++) {
        total[r] = _mm256_set1_epi32(-x_sum);
        total4[r] = _mm256_setzero_si256();
    }
    for (int64_t s = 0; s < steps;) {
        const int64_t end = steps - s < STEPS_2BIT ? steps : s + STEPS_2BIT;
        __m256i low[REGISTERS], high[REGISTERS];
        TERNARY_UNROLL
        for (int r = 0; r < REGISTERS; r++) {
            low[r] = high[r] = _mm256_setzero_si256();
        }
        for (; s < end; s++, x += TERNARY_2BIT_FIELDS) {
            const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
            prefetch(panel, s, steps);
            const __m256i x0 = broadcast(x[0]), x1 = broadcast(x[1]), x2 = broadcast(x[2]), x3 = broadcast(x[3]);
            TERNARY_UNROLL
            for (int r = 0; r < REGISTERS; r++) {
                const __m256i fields01 = load(step + 32 * r);
                const __m256i fields23 = _mm256_srli_epi16(fields01, 4);
                low[r] = _mm256_add_epi16(low[r], _mm256_maddubs_epi16(_mm256_and_si256(fields01, three), x0));
                high[r] = _mm256_add_epi16(high[r], _mm256_maddubs_epi16(_mm256_and_si256(fields01, twelve), x1));
                low[r] = _mm256_add_epi16(low[r], _mm256_maddubs_epi16(_mm256_and_si256(fields23, three), x2));
                high[r] = _mm256_add_epi16(high[r], _mm256_maddubs_epi16(_mm256_and_si256(fields23, twelve), x3));
            }
        }
        TERNARY_UNROLL
        for (int r = 0; r < REGISTERS; r++) {
            total[r] = _mm256_add_epi32(total[r], widen(low[r]));
            total4[r] = _mm256_add_epi32(total4[r], widen(high[r])); /* |total4| <= 8 * 128 * K / 2 <= 2^28 */
        }
    }
    TERNARY_UNROLL
    for (int r = 0; r < REGISTERS; r++) {
        store(sums + 8 * r, _mm256_add_epi32(total[r], _mm256_srai_epi32(total4[r], 2)));
    }
}

/* `tokens` (at most 4) of a tile of `stride`, one register of rows at a time: codes are shifted down once for all.
   |sum16| <= 2 * 2 * 128 a product, four products a step: 16 steps reach 64 * 512 = 2^15, and only at -2^15. */
#define STEPS_MANY 16

TARGET TERNARY_INLINE void some_tokens(const int tokens, const uint8_t *panel, int64_t steps, const uint32_t *x,
                                       int stride, const int32_t *x_sums, int32_t *sums) {
    const __m256i three = _mm256_set1_epi8(3);
    for (int r = 0; r < REGISTERS; r++, sums += 8) {
        __m256i total[4];
        const uint32_t *words = x;
        TERNARY_UNROLL
        for (int t = 0; t < tokens; t++) {
            total[t] = _mm256_set1_epi32(-x_sums[t]);
        }
        for (int64_t s = 0; s < steps;) {
            const int64_t end = steps - s < STEPS_MANY ? steps : s + STEPS_MANY;
            __m256i sum16[4];
            TERNARY_UNROLL
            for (int t = 0; t < tokens; t++) {
                sum16[t] = _mm256_setzero_si256();
            }
            for (; s < end; s++) {
                const __m256i fields = load(panel + s * TERNARY_STEP_BYTES + 32 * r);
                if (r == 0) prefetch(panel, s, steps);
                TERNARY_UNROLL
                for (int f = 0; f < 4; f++, words += stride) {
                    const __m256i codes = _mm256_and_si256(_mm256_srli_epi16(fields, 2 * f), three);
                    TERNARY_UNROLL
                    for (int t = 0; t < tokens; t++) {
                        sum16[t] = _mm256_add_epi16(sum16[t], _mm256_maddubs_epi16(codes, broadcast(words[t])));
                    }
                }
            }
            TERNARY_UNROLL
            for (int t = 0; t < tokens; t++) {
                total[t] = _mm256_add_epi32(total[t], widen(sum16[t]));
            }
        }
        TERNARY_UNROLL
        for (int t = 0; t < tokens; t++) {
            store(sums + t * TERNARY_PANEL_ROWS, total[t]);
        }
    }
}

TARGET static void ternary_2bit_avx2(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums,
                                     int tokens, int32_t *sums) {
    int t = 0;
    if (tokens == 1) {
        one_token(panel, steps, x, x_sums[0], sums);
        return;
    }
    for (; t + 4 <= tokens; t += 4) {
        some_tokens(4, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
    for (; t < tokens; t++) {
        some_tokens(1, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
}

/* int8 weights as two codes of four bits, byte = low + 16 high: |sum16| <= 2 * 15 * 128 a product, and eight steps
   reach 8 * 3840 = 30720. The int32 total of the high halves is 16 times smaller than its share of the sum. */
#define STEPS_INT8 8

TARGET static void ternary_int8_avx2(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums,
                                     int tokens, int32_t *sums) {
    const __m256i fifteen = _mm256_set1_epi8(15);
    for (int t = 0; t < tokens; t++, x++, sums += TERNARY_PANEL_ROWS) {
        const uint32_t *word = x;
        __m256i total[REGISTERS];
        TERNARY_UNROLL
        for (int r = 0; r < REGISTERS; r++) {
            total[r] = _mm256_set1_epi32(-TERNARY_INT8_ZERO * x_sums[t]);
        }
        for (int64_t s = 0; s < steps;) {
            const int64_t end = steps - s < STEPS_INT8 ? steps : s + STEPS_INT8;
            __m256i low[REGISTERS], high[REGISTERS];
            TERNARY_UNROLL
            for (int r = 0; r < REGISTERS; r++) {
                low[r] = high[r] = _mm256_setzero_si256();
            }
            for (; s < end; s++, word += tokens) {
                const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
                const __m256i w = broadcast(*word);
                prefetch(panel, s, steps);
                TERNARY_UNROLL
                for (int r = 0; r < REGISTERS; r++) {
                    const __m256i both = load(step + 32 * r);
                    const __m256i up = _mm256_and_si256(_mm256_srli_epi16(both, 4), fifteen);
                    low[r] = _mm256_add_epi16(low[r], _mm256_maddubs_epi16(_mm256_and_si256(both, fifteen), w));
                    high[r] = _mm256_add_epi16(high[r], _mm256_maddubs_epi16(up, w));
                }
            }
            TERNARY_UNROLL
            for (int r = 0; r < REGISTERS; r++) {
                total[r] = _mm256_add_epi32(total[r], widen(low[r]));
                total[r] = _mm256_add_epi32(total[r], _mm256_slli_epi32(widen(high[r]), 4));
            }
        }
        TERNARY_UNROLL
        for (int r = 0; r < REGISTERS; r++) {
            store(sums + 8 * r, total[r]);
        }
    }
}

const ternary_backend ternary_avx2 = {"avx2", 1, cpu_has_avx2, {ternary_2bit_avx2, NULL, ternary_int8_avx2}};

#else

const ternary_backend ternary_avx2 = {"avx2", 0, cpu_has_avx2, {NULL, NULL, NULL}};

#endif
