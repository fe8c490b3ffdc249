/* AVX-512 with VBMI: base-3 bytes, expanded in registers. The 2-bit and int8 kernels are those of avx512.c. */

#include <stddef.h>

#include "cpu.h"
#include "ternary.h"

#if defined(TERNARY_X86_64)

#include <immintrin.h>

#include "prefetch.h"

#define TARGET TERNARY_TARGET("avx512f,avx512bw,avx512vnni,avx512vbmi")

ternary_kernel ternary_2bit_avx512, ternary_int8_avx512;

/* Four trits as four 2-bit fields: v = t0 + 3 t1 + 9 t2 + 27 t3 -> t0 | t1 << 2 | t2 << 4 | t3 << 6. */
#define FIELDS(v) ((v) % 3 | (v) / 3 % 3 << 2 | (v) / 9 % 3 << 4 | (v) / 27 % 3 << 6)
#define FOUR(entry, i) entry(i), entry(i + 1), entry(i + 2), entry(i + 3)
#define SIXTEEN(entry, i) FOUR(entry, i), FOUR(entry, i + 4), FOUR(entry, i + 8), FOUR(entry, i + 12)
#define TABLE(entry) {SIXTEEN(entry, 0), SIXTEEN(entry, 16), SIXTEEN(entry, 32), SIXTEEN(entry, 48)}

/* By the low six bits of a byte, which is all that `vpermb` looks at. */
#define LATE_V(i) FIELDS(64 + (i) / 3) /* those past 50 are never used */
#define LATE_FIFTH(i) ((i) % 3 << 6)
static const uint8_t early_fields[64] = TABLE(FIELDS);
static const uint8_t late_fields[64] = TABLE(LATE_V);
static const uint8_t late_fifth[64] = TABLE(LATE_FIFTH);

typedef struct {
    __m512i early_fields, late_fields, late_fifth;
} tables;

TARGET TERNARY_INLINE tables load_tables(void) {
    const tables all = {_mm512_loadu_si512(early_fields), _mm512_loadu_si512(late_fields),
                        _mm512_loadu_si512(late_fifth)};
    return all;
}

/* 64 base-3 bytes -> their first four trits as 2-bit fields, and the fifth trit times 64. The bytes from 192 are late. */
TARGET TERNARY_INLINE __m512i expand(__m512i bytes, const tables *t, __m512i *fifth) {
    const __m512i top = _mm512_set1_epi8((char)192);
    const __mmask64 late = _mm512_cmpge_epu8_mask(bytes, top);
    const __m512i fields = _mm512_permutexvar_epi8(bytes, t->early_fields);
    *fifth = _mm512_mask_permutexvar_epi8(_mm512_and_si512(bytes, top), late, bytes, t->late_fifth);
    return _mm512_mask_permutexvar_epi8(fields, late, bytes, t->late_fields);
}

/* As one_token of avx512.c. The fifth field is 64 times too large, as the fourth is, and joins it: the two hold two fifths
   of the columns, so they reach 128 * 128 * 2 / 5 * K < 2^31. */
TARGET static void one_token(const uint8_t *panel, int64_t steps, const uint32_t *x, int32_t x_sum, int32_t *sums) {
    const tables all = load_tables();
    const __m512i mask[4] = {_mm512_set1_epi8(3), _mm512_set1_epi8(12), _mm512_set1_epi8(48),
                             _mm512_set1_epi8((char)192)};
    __m512i acc[4][2];
    TERNARY_UNROLL
    for (int f = 0; f < 4; f++) {
        acc[f][0] = acc[f][1] = _mm512_set1_epi32(f == 0 ? -x_sum : 0);
    }
    for (int64_t s = 0; s < steps; s++, x += TERNARY_BASE3_FIELDS) {
        const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
        prefetch(panel, s, steps);
        TERNARY_UNROLL
        for (int h = 0; h < 2; h++) {
            __m512i fifth;
            const __m512i fields = expand(_mm512_loadu_si512(step + h * TERNARY_BLOCK_BYTES), &all, &fifth);
            TERNARY_UNROLL
            for (int f = 0; f < 4; f++) {
                const __m512i word = _mm512_set1_epi32((int)x[f]);
                acc[f][h] = _mm512_dpbusd_epi32(acc[f][h], _mm512_and_si512(fields, mask[f]), word);
            }
            acc[3][h] = _mm512_dpbusd_epi32(acc[3][h], fifth, _mm512_set1_epi32((int)x[4]));
        }
    }
    TERNARY_UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512i low = _mm512_add_epi32(acc[0][h], _mm512_srai_epi32(acc[1][h], 2));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2][h], 4), _mm512_srai_epi32(acc[3][h], 6));
        _mm512_storeu_si512(sums + 16 * h, _mm512_add_epi32(low, high));
    }
}

/* As some_tokens of avx512.c, for `tokens` of a tile of `stride`: the tables take registers as well. */
TARGET TERNARY_INLINE void some_tokens(const int tokens, const uint8_t *panel, int64_t steps, const uint32_t *x,
                                       int stride, const int32_t *x_sums, int32_t *sums) {
    const tables all = load_tables();
    const __m512i three = _mm512_set1_epi8(3);
    __m512i acc[TERNARY_TILE][2];
    TERNARY_UNROLL
    for (int t = 0; t < tokens; t++) {
        acc[t][0] = acc[t][1] = _mm512_set1_epi32(-x_sums[t]);
    }
    for (int64_t s = 0; s < steps; s++) {
        const uint8_t *step = panel + s * TERNARY_STEP_BYTES;
        __m512i fifth0, fifth1;
        const __m512i fields0 = expand(_mm512_loadu_si512(step), &all, &fifth0);
        const __m512i fields1 = expand(_mm512_loadu_si512(step + TERNARY_BLOCK_BYTES), &all, &fifth1);
        prefetch(panel, s, steps);
        TERNARY_UNROLL
        for (int f = 0; f < 5; f++, x += stride) {
            const int shift = f == 4 ? 6 : 2 * f;
            const __m512i codes0 = _mm512_and_si512(_mm512_srli_epi16(f == 4 ? fifth0 : fields0, shift), three);
            const __m512i codes1 = _mm512_and_si512(_mm512_srli_epi16(f == 4 ? fifth1 : fields1, shift), three);
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

TARGET static void ternary_base3_avx512vbmi(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums,
                                            int tokens, int32_t *sums) {
    int t = 0;
    if (tokens == 1) {
        one_token(panel, steps, x, x_sums[0], sums);
        return;
    }
    for (; t + 6 <= tokens; t += 6) {
        some_tokens(6, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
    for (; t + 2 <= tokens; t += 2) {
        some_tokens(2, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
    for (; t < tokens; t++) {
        some_tokens(1, panel, steps, x + t, tokens, x_sums + t, sums + t * TERNARY_PANEL_ROWS);
    }
}

const ternary_backend ternary_avx512vbmi = {
    "avx512vbmi", 1, cpu_has_avx512vbmi, {ternary_2bit_avx512, ternary_base3_avx512vbmi, ternary_int8_avx512}};

#else

const ternary_backend ternary_avx512vbmi = {"avx512vbmi", 0, cpu_has_avx512vbmi, {NULL, NULL, NULL}};

#endif
