#include "attend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "pool.h"
#include "ternary.h"

#define LANES 16
#define BITS_OF_87 0x42ae0000
#define ROUNDER 12582912.0f /* 1.5 * 2^23: adding it leaves no bits behind the point */
#define ROUNDER_BITS 0x4b400000

/* One call. */
typedef struct {
    float *qkv, *cache, *y, *weights; /* weights: (B, H, past + 1) */
    const float *cosines, *sines;
    int64_t H, KV, D, room, past;
} attention;

/* Plain loops, which the compiler turns into vectors as wide as the caller allows. */

/* x[d] = x[d] cos[d] + x[half a head away] sin[d] */
TERNARY_INLINE void turn(float *x, const float *cosines, const float *sines, int64_t D) {
    const int64_t half = D / 2;
    for (int64_t d = 0; d < half; d++) {
        const float first = x[d], second = x[d + half];
        x[d] = first * cosines[d] + second * sines[d];
        x[d + half] = second * cosines[d + half] + first * sines[d + half];
    }
}

TERNARY_INLINE void add_times(float *y, float factor, const float *x, int64_t D) {
    for (int64_t d = 0; d < D; d++) {
        y[d] += factor * x[d];
    }
}

TERNARY_INLINE float dot(const float *a, const float *b, int64_t D) {
    float lanes[LANES] = {0}, sum = 0;
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES) {
        for (int i = 0; i < LANES; i++) {
            lanes[i] += a[d + i] * b[d + i];
        }
    }
    for (; d < D; d++) {
        sum += a[d] * b[d];
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return sum + lanes[0];
}

TERNARY_INLINE int32_t bits_of(float v) {
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

TERNARY_INLINE float float_of(int32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* e^x for x <= 0, to 3e-7 of itself: 2^n times a polynomial in the rest, which is at most ln 2 / 2. C's expf is not made
   into vectors. The constants are ln 2 in two parts, the first of so few bits that n times it is exact. */
TERNARY_INLINE float exp_of(float x) {
    const int32_t magnitude = bits_of(x) & 0x7fffffff; /* floats without sign are in the order of their bits */
    const float clamped = -float_of(magnitude < BITS_OF_87 ? magnitude : BITS_OF_87); /* below, 2^n would be no float */
    const float rounded = clamped * 1.44269504f + ROUNDER;
    const float n = rounded - ROUNDER;
    const float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    const float p = 1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r / 720)))));
    return p * float_of((bits_of(rounded) - ROUNDER_BITS + 127) << 23) + (x - x); /* nan stays nan */
}

TERNARY_INLINE void softmax(float *weights, int64_t count) {
    float largest = weights[0], sum = 0;
    for (int64_t i = 1; i < count; i++) {
        largest = weights[i] > largest ? weights[i] : largest;
    }
    for (int64_t i = 0; i < count; i++) {
        weights[i] = exp_of(weights[i] - largest);
    }
    for (int64_t i = 0; i < count; i++) {
        sum += weights[i];
    }
    for (int64_t i = 0; i < count; i++) {
        weights[i] /= sum;
    }
}

/* One key head of one sequence, with the queries that share it. */
TERNARY_INLINE void attend_head(const attention *a, int64_t index) {
    const int64_t D = a->D, step = 2 * a->KV * D, queries = a->H / a->KV, count = a->past + 1;
    const int64_t b = index / a->KV, head = index % a->KV;
    const float *cosines = a->cosines + b * D, *sines = a->sines + b * D;
    float *query = a->qkv + (b * (a->H + 2 * a->KV) + head * queries) * D; /* the first of them */
    float *key = a->qkv + (b * (a->H + 2 * a->KV) + a->H + head) * D;
    float *keys = a->cache + b * a->room * step + head * D, *values = keys + a->KV * D;
    float *weights = a->weights + index * queries * count; /* [query][token] */
    float *y = a->y + (b * a->H + head * queries) * D;

    turn(key, cosines, sines, D);
    memcpy(keys + a->past * step, key, (size_t)D * sizeof *key);
    memcpy(values + a->past * step, key + a->KV * D, (size_t)D * sizeof *key);
    for (int64_t q = 0; q < queries; q++) {
        turn(query + q * D, cosines, sines, D);
    }
    const float scale = 1.0f / sqrtf((float)D);
    for (int64_t token = 0; token < count; token++) {
        for (int64_t q = 0; q < queries; q++) {
            weights[q * count + token] = dot(query + q * D, keys + token * step, D) * scale;
        }
    }
    for (int64_t q = 0; q < queries; q++) {
        softmax(weights + q * count, count);
    }
    memset(y, 0, (size_t)(queries * D) * sizeof *y);
    for (int64_t token = 0; token < count; token++) {
        for (int64_t q = 0; q < queries; q++) {
            add_times(y + q * D, weights[q * count + token], values + token * step, D);
        }
    }
}

static void attend_narrow(void *context, int64_t index) { attend_head(context, index); }

#if defined(TERNARY_X86_64)

TERNARY_TARGET("avx2")
static void attend_avx2(void *context, int64_t index) { attend_head(context, index); }

static pool_task *widest(void) { return cpu_has_avx2() ? attend_avx2 : attend_narrow; }

#else

static pool_task *widest(void) { return attend_narrow; }

#endif

int attend(float *qkv, const float *cosines, const float *sines, float *cache, float *y, int64_t B, int64_t H,
           int64_t KV, int64_t D, int64_t room, int64_t past, int threads) {
    static pool_task *chosen; /* asking the CPU takes longer than a head; two threads may both ask: the answer is one */
    if (chosen == NULL) chosen = widest();
    float *weights = malloc((size_t)(B * H * (past + 1)) * sizeof *weights);
    if (weights == NULL) return 0;
    attention a = {qkv, cache, y, weights, cosines, sines, H, KV, D, room, past};
    pool_run(NULL, NULL, chosen, &a, B * KV, threads);
    free(weights);
    return 1;
}
