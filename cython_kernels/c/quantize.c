#include "quantize.h"

#include <math.h>
#include <string.h>

#include "cpu.h"
#include "ternary.h"

/* A product and a sum must stay two roundings: no fused multiply-add, on any machine. (setup.py tells GCC.) */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#define LANES 16
#define INFINITY_BITS 0x7f800000
#define ROUNDER 12582912.0f /* 1.5 * 2^23: adding it leaves no bits behind the point, rounded to even */

TERNARY_INLINE int32_t bits_of(float v) {
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* 1 / sqrt(mean of squares + eps). 16 lanes, each front to back, added by halves: the order that vectors like. */
TERNARY_INLINE float inverse_rms(const float *x, int64_t K, float eps) {
    float lanes[LANES] = {0};
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        for (int i = 0; i < LANES; i++) {
            lanes[i] += x[k + i] * x[k + i];
        }
    }
    for (int i = 0; k + i < K; i++) {
        lanes[i] += x[k + i] * x[k + i];
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return 1.0f / sqrtf(lanes[0] / (float)(K > 0 ? K : 1) + eps);
}

/* Plain loops, which the compiler turns into vectors as wide as the caller allows. */
TERNARY_INLINE int32_t quantize(const float *x, int64_t K, const float *norm, float eps, int8_t *codes, float *scale) {
    const float inverse = norm == NULL ? 1.0f : inverse_rms(x, K, eps);
    int32_t largest_bits = 0; /* floats without sign are in the order of their bits, and nan comes after infinity */
    if (norm == NULL) {
        for (int64_t k = 0; k < K; k++) {
            const int32_t bits = bits_of(x[k]) & 0x7fffffff;
            largest_bits = bits > largest_bits ? bits : largest_bits;
        }
    } else {
        for (int64_t k = 0; k < K; k++) {
            const int32_t bits = bits_of(x[k] * inverse * norm[k]) & 0x7fffffff;
            largest_bits = bits > largest_bits ? bits : largest_bits;
        }
    }
    if (largest_bits >= INFINITY_BITS) {
        *scale = 0;
        return 0;
    }
    float largest;
    memcpy(&largest, &largest_bits, sizeof largest);
    const float s = 127.0f / (largest > 1e-5f ? largest : 1e-5f);
    int32_t sum = 0;
    if (norm == NULL) {
        for (int64_t k = 0; k < K; k++) {
            const int32_t code = bits_of(x[k] * s + ROUNDER) - 0x4b400000; /* the bits of ROUNDER */
            codes[k] = (int8_t)code;
            sum += code;
        }
    } else {
        for (int64_t k = 0; k < K; k++) {
            const int32_t code = bits_of(x[k] * inverse * norm[k] * s + ROUNDER) - 0x4b400000;
            codes[k] = (int8_t)code;
            sum += code;
        }
    }
    *scale = s;
    return sum;
}

typedef int32_t quantizer(const float *x, int64_t K, const float *norm, float eps, int8_t *codes, float *scale);

static int32_t quantize_narrow(const float *x, int64_t K, const float *norm, float eps, int8_t *codes, float *scale) {
    return quantize(x, K, norm, eps, codes, scale);
}

#if defined(TERNARY_X86_64)

TERNARY_TARGET("avx2")
static int32_t quantize_avx2(const float *x, int64_t K, const float *norm, float eps, int8_t *codes, float *scale) {
    return quantize(x, K, norm, eps, codes, scale);
}

static quantizer *widest(void) { return cpu_has_avx2() ? quantize_avx2 : quantize_narrow; }

#else

static quantizer *widest(void) { return quantize_narrow; }

#endif

int32_t quantize_token(const float *x, int64_t K, const float *norm, float eps, int8_t *codes, float *scale) {
    static quantizer *chosen; /* two threads may both choose: they choose the same */
    if (chosen == NULL) chosen = widest();
    return chosen(x, K, norm, eps, codes, scale);
}
