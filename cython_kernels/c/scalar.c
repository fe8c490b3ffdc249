/* The kernels in plain C: what every faster rung computes, without any instruction set. */

#include <string.h>

#include "ternary.h"

/* sums[t][row] = sum over all words of the row's four codes (less `zero`) times the token's four values.
   A byte gives up its fields from the lowest: code = byte % base, then byte /= base. */
TERNARY_INLINE void panel_times_tile(int base, int fields, int zero, const uint8_t *panel, int64_t steps,
                                     const uint32_t *x, int tokens, int32_t *sums) {
    memset(sums, 0, (size_t)tokens * TERNARY_PANEL_ROWS * sizeof *sums);
    for (int64_t s = 0; s < steps; s++, panel += TERNARY_STEP_BYTES, x += fields * tokens) {
        for (int row = 0; row < TERNARY_PANEL_ROWS; row++) {
            for (int b = 0; b < 4; b++) {
                int byte = panel[4 * row + b];
                for (int f = 0; f < fields; f++, byte /= base) {
                    const int weight = byte % base - zero;
                    for (int t = 0; t < tokens; t++) {
                        const int8_t *word = (const int8_t *)(x + f * tokens + t);
                        sums[t * TERNARY_PANEL_ROWS + row] += weight * word[b]; /* at most 128 K, or 128^2 K for int8 */
                    }
                }
            }
        }
    }
}

static void ternary_2bit_scalar(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                int32_t *sums) {
    (void)x_sums;
    panel_times_tile(4, TERNARY_2BIT_FIELDS, TERNARY_ZERO, panel, steps, x, tokens, sums);
}

static void ternary_base3_scalar(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                 int32_t *sums) {
    (void)x_sums;
    panel_times_tile(3, TERNARY_BASE3_FIELDS, TERNARY_ZERO, panel, steps, x, tokens, sums);
}

static void ternary_int8_scalar(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                                int32_t *sums) {
    (void)x_sums;
    panel_times_tile(256, TERNARY_INT8_FIELDS, TERNARY_INT8_ZERO, panel, steps, x, tokens, sums);
}

static int supported(void) { return 1; }

const ternary_backend ternary_scalar = {
    "scalar", 1, supported, {ternary_2bit_scalar, ternary_base3_scalar, ternary_int8_scalar}};
