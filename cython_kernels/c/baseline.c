#include "baseline.h"

#include <stddef.h>
#include <string.h>

#include "cpu.h"
#include "pool.h"
#include "ternary.h"

typedef struct {
    const uint16_t *weights;
    int64_t N, K;
    const float *x;
    float *y;
} gemv;

/* Rows go to threads in pieces that are long enough for the prefetchers. */
#define ROWS 8
#define FAR_BYTES 16384
#define NEAR_BYTES 2560

static float half_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    float v;
    memcpy(&v, &rest, sizeof v);
    v *= 5.192296858534828e33f; /* 2^112: the exponent's bias is 127 and not 15; right for subnormals too */
    if ((h & 0x7c00) == 0x7c00) {
        const uint32_t bits = rest | 0x7f800000;
        memcpy(&v, &bits, sizeof v);
    }
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits |= sign;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#if defined(TERNARY_X86_64)

#include <immintrin.h>

/* 64 weights that come later, at two distances: this reaches the read limit, and no prefetch half of it. */
TERNARY_INLINE void prefetch_row(const uint16_t *weights) {
    for (int line = 0; line < 128; line += 64) {
        TERNARY_FETCH_L2((const uint8_t *)weights + FAR_BYTES + line);
        TERNARY_FETCH_L1((const uint8_t *)weights + NEAR_BYTES + line);
    }
}

/* Four accumulators hide the latency of the additions. */
TERNARY_TARGET("avx512f")
static void rows_avx512(void *context, int64_t index) {
    const gemv *g = context;
    for (int64_t n = index * ROWS; n < (index + 1) * ROWS && n < g->N; n++) {
        const uint16_t *w = g->weights + n * g->K;
        __m512 acc[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        int64_t k = 0;
        for (; k + 64 <= g->K; k += 64) {
            prefetch_row(w + k);
            TERNARY_UNROLL
            for (int i = 0; i < 4; i++) {
                const __m512 wide = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(w + k + 16 * i)));
                acc[i] = _mm512_fmadd_ps(wide, _mm512_loadu_ps(g->x + k + 16 * i), acc[i]);
            }
        }
        float sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(acc[0], acc[1]), _mm512_add_ps(acc[2], acc[3])));
        for (; k < g->K; k++) {
            sum += half_to_float(w[k]) * g->x[k];
        }
        g->y[n] = sum;
    }
}

TERNARY_TARGET("avx2,fma,f16c")
static void rows_avx2(void *context, int64_t index) {
    const gemv *g = context;
    for (int64_t n = index * ROWS; n < (index + 1) * ROWS && n < g->N; n++) {
        const uint16_t *w = g->weights + n * g->K;
        __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        int64_t k = 0;
        for (; k + 32 <= g->K; k += 32) {
            if (k % 64 == 0) prefetch_row(w + k);
            TERNARY_UNROLL
            for (int i = 0; i < 4; i++) {
                const __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(w + k + 8 * i)));
                acc[i] = _mm256_fmadd_ps(wide, _mm256_loadu_ps(g->x + k + 8 * i), acc[i]);
            }
        }
        float lanes[8], sum = 0;
        _mm256_storeu_ps(lanes, _mm256_add_ps(_mm256_add_ps(acc[0], acc[1]), _mm256_add_ps(acc[2], acc[3])));
        for (int i = 0; i < 8; i++) {
            sum += lanes[i];
        }
        for (; k < g->K; k++) {
            sum += half_to_float(w[k]) * g->x[k];
        }
        g->y[n] = sum;
    }
}

static pool_task *rows_task(void) {
    return cpu_has_avx512vnni() ? rows_avx512 : cpu_has_avx2() ? rows_avx2 : NULL;
}

#elif defined(TERNARY_ARM64)

#include <arm_neon.h>

static void rows_neon(void *context, int64_t index) {
    const gemv *g = context;
    for (int64_t n = index * ROWS; n < (index + 1) * ROWS && n < g->N; n++) {
        const uint16_t *w = g->weights + n * g->K;
        float32x4_t acc[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
        int64_t k = 0;
        for (; k + 16 <= g->K; k += 16) {
            TERNARY_UNROLL
            for (int i = 0; i < 4; i++) {
                const float32x4_t wide = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(w + k + 4 * i)));
                acc[i] = vfmaq_f32(acc[i], wide, vld1q_f32(g->x + k + 4 * i));
            }
        }
        float sum = vaddvq_f32(vaddq_f32(vaddq_f32(acc[0], acc[1]), vaddq_f32(acc[2], acc[3])));
        for (; k < g->K; k++) {
            sum += half_to_float(w[k]) * g->x[k];
        }
        g->y[n] = sum;
    }
}

static pool_task *rows_task(void) { return rows_neon; }

#else

static pool_task *rows_task(void) { return NULL; }

#endif

int fp16_gemv(const uint16_t *weights, int64_t N, int64_t K, const float *x, float *y, int threads) {
    gemv g = {weights, N, K, x, y};
    pool_task *task = rows_task();
    if (task == NULL) return 0;
    pool_run(NULL, NULL, task, &g, (N + ROWS - 1) / ROWS, threads);
    return 1;
}

/* Memory is read in pieces, and a piece as four streams, which keeps more loads under way than one does. */
#define PIECES 1024
#define STREAMS 4
#define LINE 8 /* words of a cache line */

typedef struct {
    const uint64_t *words;
    int64_t stream; /* words of one of the streams of a piece: whole cache lines */
    int fetch;
    uint64_t found[PIECES];
} reading;

static void read_piece(void *context, int64_t index) {
    reading *r = context;
    const uint64_t *words = r->words + index * STREAMS * r->stream;
    uint64_t found[STREAMS][LINE] = {{0}};
    for (int64_t i = 0; i < r->stream; i += LINE) {
        for (int s = 0; s < STREAMS; s++) {
            if (r->fetch) TERNARY_FETCH_L2((const uint8_t *)(words + s * r->stream + i) + FAR_BYTES);
            for (int j = 0; j < LINE; j++) {
                found[s][j] ^= words[s * r->stream + i + j];
            }
        }
    }
    for (int s = 0; s < STREAMS; s++) {
        for (int j = 0; j < LINE; j++) {
            r->found[index] ^= found[s][j];
        }
    }
}

uint64_t read_bytes(const void *memory, int64_t bytes, int fetch, int threads) {
    reading r = {memory, bytes / 8 / (PIECES * STREAMS * LINE) * LINE, fetch, {0}};
    uint64_t all = 0;
    pool_run(NULL, NULL, read_piece, &r, PIECES, threads);
    for (int i = 0; i < PIECES; i++) {
        all ^= r.found[i];
    }
    return all;
}
