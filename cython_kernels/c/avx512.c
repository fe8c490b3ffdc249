/* AVX-512 with VNNI: one 64-byte block is one register, its 16 lanes are 16 rows, and `vpdpbusd` adds to each lane the
   four products of its four codes (unsigned) with a word of x (signed). */

#include <stddef.h>

#include "cpu.h"
#include "ternary.h"

#if defined(TERNARY_X86_64)

#include <immintrin.h>

#include "prefetch.h"

#define TARGET TERNARY_TARGET("avx512f,avx512bw,avx512vnni")

/* One token: nothing is shifted in the loop. Field f is masked where it stands, so its codes are 4^f times too large;
   each field has accumulators of its own, at most 2 * 64 * 128 * K / 4 <= 2^31 in size, which are shifted at the end. */
TARGET static void one_token(const uint8_t *panel, int64_t steps, const uint32_t *x, int32_t x_sum, int32_t *sums) {
    const __m512i mask[4] = {_mm512_set1_epi8(3), _mm512_set1_epi8(12), _mm512_set1_epi8(48),
                             _mm512_set1_epi8((char)192)};
    __m512i acc[4][2];
    TERNARY_UNROLL
    for (int f = 0; f < 4; f++) {
        acc[f][0] = acc[f][1] = _mm512_set1_epi32(f == 0 ? -x_sum : 0);
    }
    for (int64_t s = 0; s < steps; s++, x += TERNARY_2BIT_FIELDS) {
        const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
        const __m512i block0 = _mm512_loadu_si512(step);
        const __m512i block1 = _mm512_loadu_si512(step + TERNARY_BLOCK_BYTES);
        prefetch(panel, s, steps);
        TERNARY_UNROLL
        for (int f = 0; f < 4; f++) {
            const __m512i word = _mm512_set1_epi32((int)x[f]);
            acc[f][0] = _mm512_dpbusd_epi32(acc[f][0], _mm512_and_si512(block0, mask[f]), word);
            acc[f][1] = _mm512_dpbusd_epi32(acc[f][1], _mm512_and_si512(block1, mask[f]), word);
        }
    }
    TERNARY_UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512i low = _mm512_add_epi32(acc[0][h], _mm512_srai_epi32(acc[1][h], 2));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2][h], 4), _mm512_srai_epi32(acc[3][h], 6));
        _mm512_storeu_si512(sums + 16 * h, _mm512_add_epi32(low, high));
    }
}

/* `tokens` is a constant where this is inlined, so that the accumulators are registers. Codes are shifted down once
   and serve all tokens: |acc| <= 2 * 128 * K <= 2^27. */
TARGET TERNARY_INLINE void some_tokens(const int tokens, const uint8_t *panel, int64_t steps, const uint32_t *x,
                                       const int32_t *x_sums, int32_t *sums) {
    const __m512i three = _mm512_set1_epi8(3);
    __m512i acc[TERNARY_TILE][2];
    TERNARY_UNROLL
    for (int t = 0; t < tokens; t++) {
        acc[t][0] = acc[t][1] = _mm512_set1_epi32(-x_sums[t]);
    }
    for (int64_t s = 0; s < steps; s++) {
        const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
        const __m512i block0 = _mm512_loadu_si512(step);
        const __m512i block1 = _mm512_loadu_si512(step + TERNARY_BLOCK_BYTES);
        prefetch(panel, s, steps);
        TERNARY_UNROLL
        for (int f = 0; f < 4; f++, x += tokens) {
            const __m512i codes0 = _mm512_and_si512(_mm512_srli_epi16(block0, 2 * f), three);
            const __m512i codes1 = _mm512_and_si512(_mm512_srli_epi16(block1, 2 * f), three);
            TERNARY_UNROLL
            for (int t = 0; t < tokens; t++) {
                const __m512i word = _mm512_set1_epi32((int)x[t]);
                acc[t][0] = _mm512_dpbusd_epi32(acc[t][0], codes0, word);
                acc[t][1] = _mm512_dpbusd_epi32(acc[t][1], codes1, word);
            }
        }
    }
    TERNARY_UNROLL
    for (int t = 0; t < tokens; t++) {
        _mm512_storeu_si512(sums + t * TERNARY_PANEL_ROWS, acc[t][0]);
        _mm512_storeu_si512(sums + t * TERNARY_PANEL_ROWS + 16, acc[t][1]);
    }
}

TARGET void ternary_2bit_avx512(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                int32_t *sums) {
    switch (tokens) {
    case 1: one_token(panel, steps, x, x_sums[0], sums); break;
    case 2: some_tokens(2, panel, steps, x, x_sums, sums); break;
    case 3: some_tokens(3, panel, steps, x, x_sums, sums); break;
    case 4: some_tokens(4, panel, steps, x, x_sums, sums); break;
    case 5: some_tokens(5, panel, steps, x, x_sums, sums); break;
    case 6: some_tokens(6, panel, steps, x, x_sums, sums); break;
    case 7: some_tokens(7, panel, steps, x, x_sums, sums); break;
    case 8: some_tokens(8, panel, steps, x, x_sums, sums); break;
    case 9: some_tokens(9, panel, steps, x, x_sums, sums); break;
    case 10: some_tokens(10, panel, steps, x, x_sums, sums); break;
    case 11: some_tokens(11, panel, steps, x, x_sums, sums); break;
    default: some_tokens(12, panel, steps, x, x_sums, sums);
    }
}

/* A byte is w + 128, at most 255: |acc| <= 255 * 128 * K < 2^31. */
TARGET TERNARY_INLINE void some_tokens_int8(const int tokens, const uint8_t *panel, int64_t steps, const uint32_t *x,
                                            int stride, const int32_t *x_sums, int32_t *sums) {
    __m512i acc[4][2]; /* at most 4 tokens */
    TERNARY_UNROLL
    for (int t = 0; t < tokens; t++) {
        acc[t][0] = acc[t][1] = _mm512_set1_epi32(-TERNARY_INT8_ZERO * x_sums[t]);
    }
    for (int64_t s = 0; s < steps; s++, x += stride) {
        const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
        const __m512i block0 = _mm512_loadu_si512(step);
        const __m512i block1 = _mm512_loadu_si512(step + TERNARY_BLOCK_BYTES);
        prefetch(panel, s, steps);
        TERNARY_UNROLL
        for (int t = 0; t < tokens; t++) {
            const __m512i word = _mm512_set1_epi32((int)x[t]);
            acc[t][0] = _mm512_dpbusd_epi32(acc[t][0], block0, word);
            acc[t][1] = _mm512_dpbusd_epi32(acc[t][1], block1, word);
        }
    }
    TERNARY_UNROLL
    for (int t = 0; t < tokens; t++) {
        _mm512_storeu_si512(sums + t * TERNARY_PANEL_ROWS, acc[t][0]);
        _mm512_storeu_si512(sums + t * TERNARY_PANEL_ROWS + 16, acc[t][1]);
    }
}

TARGET void ternary_int8_avx512(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                int32_t *sums) {
    int t = 0;
    for (; t + 4 <= tokens; t += 4) {
        some_tokens_int8(4, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
    for (; t < tokens; t++) {
        some_tokens_int8(1, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
}

const ternary_backend ternary_avx512 = {
    "avx512", 1, cpu_has_avx512vnni, {ternary_2bit_avx512, NULL, ternary_int8_avx512}};

#else

const ternary_backend ternary_avx512 = {"avx512", 0, cpu_has_avx512vnni, {NULL, NULL, NULL}};

#endif
