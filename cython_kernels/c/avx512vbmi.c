/* AVX-512 with VBMI: base-3 bytes, expanded in registers. The 2-bit and int8 kernels are those of avx512.c. */

#include <stddef.h>

#include "cpu.h"
#include "ternary.h"

#if defined(TERNARY_X86_64)

#include <immintrin.h>

#define TARGET TERNARY_TARGET("avx512f,avx512bw,avx512vnni,avx512vbmi")

ternary_kernel ternary_2bit_avx512, ternary_int8_avx512;

/* The four low trits of v = 0..80 as four 2-bit fields: v = t0 + 3 t1 + 9 t2 + 27 t3 -> t0 | t1 << 2 | t2 << 4 | t3 << 6.
   128 entries, as two registers; those past 80 are never used. */
#define T1(v) ((v) % 3 | (v) / 3 % 3 << 2 | (v) / 9 % 3 << 4 | (v) / 27 % 3 << 6)
#define T4(v) T1(v), T1(v + 1), T1(v + 2), T1(v + 3)
#define T16(v) T4(v), T4(v + 4), T4(v + 8), T4(v + 12)
#define T64(v) T16(v), T16(v + 16), T16(v + 32), T16(v + 48)
static const uint8_t fields_of[128] = {T64(0), T64(64)};

typedef struct {
    __m512i low, high, eighty_one, three;
} tables;

TARGET TERNARY_INLINE tables load_tables(void) {
    const tables all = {_mm512_loadu_si512(fields_of), _mm512_loadu_si512(fields_of + 64), _mm512_set1_epi8(81),
                        _mm512_set1_epi8(3)};
    return all;
}

/* 64 base-3 bytes -> their four low trits as 2-bit fields, and the fifth trit alone. byte = v + 81 t4: a byte below 81
   wraps when 81 is subtracted, and the unsigned minimum keeps it; twice, as t4 <= 2. And 81 = 1, 162 = 2 modulo 4. */
TARGET TERNARY_INLINE __m512i expand(__m512i bytes, const tables *t, __m512i *fifth) {
    __m512i v = _mm512_min_epu8(bytes, _mm512_sub_epi8(bytes, t->eighty_one));
    v = _mm512_min_epu8(v, _mm512_sub_epi8(v, t->eighty_one));
    *fifth = _mm512_and_si512(_mm512_sub_epi8(bytes, v), t->three);
    return _mm512_permutex2var_epi8(t->low, v, t->high);
}

/* As one_token of avx512.c; the fifth field needs no shift and joins the first. */
TARGET static void one_token(const uint8_t *panel, int64_t steps, const uint32_t *x, int32_t x_sum, int32_t *sums) {
    const tables all = load_tables();
    const __m512i mask[4] = {_mm512_set1_epi8(3), _mm512_set1_epi8(12), _mm512_set1_epi8(48),
                             _mm512_set1_epi8((char)192)};
    __m512i acc[4][2];
    TERNARY_UNROLL
    for (int f = 0; f < 4; f++) {
        acc[f][0] = acc[f][1] = _mm512_set1_epi32(f == 0 ? -x_sum : 0);
    }
    for (int64_t s = 0; s < steps; s++, panel += TERNARY_STEP_BYTES, x += TERNARY_BASE3_FIELDS) {
        TERNARY_UNROLL
        for (int h = 0; h < 2; h++) {
            __m512i fifth;
            const __m512i fields = expand(_mm512_loadu_si512(panel + h * TERNARY_BLOCK_BYTES), &all, &fifth);
            TERNARY_UNROLL
            for (int f = 0; f < 4; f++) {
                const __m512i word = _mm512_set1_epi32((int)x[f]);
                acc[f][h] = _mm512_dpbusd_epi32(acc[f][h], _mm512_and_si512(fields, mask[f]), word);
            }
            acc[0][h] = _mm512_dpbusd_epi32(acc[0][h], fifth, _mm512_set1_epi32((int)x[4]));
        }
    }
    TERNARY_UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512i low = _mm512_add_epi32(acc[0][h], _mm512_srai_epi32(acc[1][h], 2));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2][h], 4), _mm512_srai_epi32(acc[3][h], 6));
        _mm512_storeu_si512(sums + 16 * h, _mm512_add_epi32(low, high));
    }
}

/* As some_tokens of avx512.c. Ten tokens: the two tables and two fifth fields take registers as well. */
TARGET TERNARY_INLINE void some_tokens(const int tokens, const uint8_t *panel, int64_t steps, const uint32_t *x,
                                       int stride, const int32_t *x_sums, int32_t *sums) {
    const tables all = load_tables();
    __m512i acc[TERNARY_TILE][2];
    TERNARY_UNROLL
    for (int t = 0; t < tokens; t++) {
        acc[t][0] = acc[t][1] = _mm512_set1_epi32(-x_sums[t]);
    }
    for (int64_t s = 0; s < steps; s++, panel += TERNARY_STEP_BYTES) {
        __m512i fifth0, fifth1;
        const __m512i fields0 = expand(_mm512_loadu_si512(panel), &all, &fifth0);
        const __m512i fields1 = expand(_mm512_loadu_si512(panel + TERNARY_BLOCK_BYTES), &all, &fifth1);
        TERNARY_UNROLL
        for (int f = 0; f < 5; f++, x += stride) {
            const __m512i codes0 = f == 4 ? fifth0 : _mm512_and_si512(_mm512_srli_epi16(fields0, 2 * f), all.three);
            const __m512i codes1 = f == 4 ? fifth1 : _mm512_and_si512(_mm512_srli_epi16(fields1, 2 * f), all.three);
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
