/* The kernel in plain C: the loops that every faster rung keeps (panel, token, step), without any instruction set. */

#include <string.h>

#include "ternary.h"

/* sums[row] += the 16 columns of one step: field f of byte b holds the code of column 4f + b. */
static void add_step(const uint8_t *step, const int8_t *x, int32_t *sums) {
    for (int row = 0; row < TERNARY_PANEL_ROWS; row++) {
        const uint8_t *bytes = step + 4 * row; /* the second block follows the first: rows 16..31 need no case */
        int32_t sum = 0;
        for (int b = 0; b < 4; b++) {
            for (int f = 0; f < 4; f++) {
                sum += ((bytes[b] >> (2 * f) & 3) - 1) * x[4 * f + b];
            }
        }
        sums[row] += sum; /* |sums| <= 128 K <= 2^26 */
    }
}

static void ternary_matmul_scalar(const uint8_t *packed, int64_t N, int64_t K, const int8_t *x, int64_t M, int32_t *y) {
    const int64_t whole_steps = K / TERNARY_STEP_COLUMNS;
    const int64_t rest = K % TERNARY_STEP_COLUMNS;
    const int64_t panel_bytes = (whole_steps + (rest > 0)) * TERNARY_STEP_BYTES;

    for (int64_t first = 0; first < N; first += TERNARY_PANEL_ROWS, packed += panel_bytes) {
        const int64_t rows = N - first < TERNARY_PANEL_ROWS ? N - first : TERNARY_PANEL_ROWS;
        for (int64_t m = 0; m < M; m++) {
            const int8_t *token = x + m * K;
            const uint8_t *step = packed;
            int32_t sums[TERNARY_PANEL_ROWS] = {0};
            for (int64_t s = 0; s < whole_steps; s++, step += TERNARY_STEP_BYTES, token += TERNARY_STEP_COLUMNS) {
                add_step(step, token, sums);
            }
            if (rest > 0) {
                int8_t tail[TERNARY_STEP_COLUMNS] = {0}; /* x ends at K: never read behind it */
                memcpy(tail, token, (size_t)rest);
                add_step(step, tail, sums);
            }
            memcpy(y + m * N + first, sums, (size_t)rows * sizeof *sums);
        }
    }
}

static int supported(void) { return 1; }

const ternary_backend ternary_scalar = {"scalar", 1, supported, ternary_matmul_scalar};
