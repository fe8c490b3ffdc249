/* The kernels in plain C: what every faster rung computes, without any instruction set. */

#include <string.h>

#include "ternary.h"

/* One byte into its weights. */
typedef void decode(int byte, int *weights);

TERNARY_INLINE void decode_2bit(int byte, int *weights) {
    for (int f = 0; f < TERNARY_2BIT_FIELDS; f++) {
        weights[f] = (byte >> (2 * f) & 3) - TERNARY_ZERO;
    }
}

TERNARY_INLINE void decode_base3(int byte, int *weights) {
    int v = byte < 192 ? byte % 64 : 64 + (byte - 192) / 3;
    for (int f = 0; f < 4; f++, v /= 3) {
        weights[f] = v % 3 - TERNARY_ZERO;
    }
    weights[4] = (byte < 192 ? byte / 64 : byte % 3) - TERNARY_ZERO;
}

TERNARY_INLINE void decode_int8(int byte, int *weights) { weights[0] = byte - TERNARY_INT8_ZERO; }

/* sums[t][row] = sum over all words of the row's four weights times the token's four values. */
TERNARY_INLINE void multiply(decode *decode_byte, const int fields, const uint8_t *panel, int64_t steps,
                             const uint32_t *x, int tokens, int32_t *sums) {
    memset(sums, 0, (size_t)tokens * TERNARY_PANEL_ROWS * sizeof *sums);
    for (int64_t s = 0; s < steps; s++, panel += TERNARY_STEP_BYTES, x += fields * tokens) {
        for (int row = 0; row < TERNARY_PANEL_ROWS; row++) {
            for (int b = 0; b < 4; b++) {
                int weights[TERNARY_BASE3_FIELDS];
                decode_byte(panel[4 * row + b], weights);
                for (int f = 0; f < fields; f++) {
                    for (int t = 0; t < tokens; t++) {
                        const int8_t *word = (const int8_t *)(x + f * tokens + t);
                        sums[t * TERNARY_PANEL_ROWS + row] += weights[f] * word[b]; /* at most 128 K; int8: 128^2 K */
                    }
                }
            }
        }
    }
}

static void ternary_2bit_scalar(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                int32_t *sums) {
    (void)x_sums; /* weights are signed here: nothing to take off */
    multiply(decode_2bit, TERNARY_2BIT_FIELDS, panel, steps, x, tokens, sums);
}

static void ternary_base3_scalar(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                 int32_t *sums) {
    (void)x_sums;
    multiply(decode_base3, TERNARY_BASE3_FIELDS, panel, steps, x, tokens, sums);
}

static void ternary_int8_scalar(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                int32_t *sums) {
    (void)x_sums;
    multiply(decode_int8, TERNARY_INT8_FIELDS, panel, steps, x, tokens, sums);
}

static int supported(void) { return 1; }

const ternary_backend ternary_scalar = {
    "scalar", 1, supported, {ternary_2bit_scalar, ternary_base3_scalar, ternary_int8_scalar}};
