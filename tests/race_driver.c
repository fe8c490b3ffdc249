/* Products from several threads at once, each by several threads of the pool: for a sanitizer to watch.

   Prints the name of every backend that it has tried; ends with 1 where a sum is wrong. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matmul.h"

#define CALLERS 3
#define CALLS 60
#define ROWS 200
#define COLUMNS 100
#define M_MOST 30

static uint8_t weights[(ROWS + 31) / 32 * ((COLUMNS + 15) / 16) * TERNARY_STEP_BYTES]; /* 2 bits: all codes 2, the weight 1 */
static const ternary_backend *row;

static int wrong_sums(int64_t M) {
    static const float one = 1.0f;
    int8_t *x = malloc((size_t)(M * COLUMNS));
    int32_t *y = malloc((size_t)(M * ROWS) * sizeof *y);
    int wrong = x == NULL || y == NULL;
    for (int64_t i = 0; !wrong && i < M * COLUMNS; i++) {
        x[i] = (int8_t)(i / COLUMNS - 128 + i % COLUMNS); /* token m sums up to COLUMNS (m - 128) + 0 + 1 + ... + 99 */
    }
    ternary_matrix matrix = {0};
    matrix.weights = weights;
    matrix.N = ROWS;
    matrix.format = TERNARY_2BIT;
    matrix.kernel = row->kernels[TERNARY_2BIT];
    matrix.scale = &one;
    matrix.y = y;
    wrong = wrong || ternary_matmul(&matrix, 1, x, M, COLUMNS, 3) != MATMUL_DONE;
    for (int64_t i = 0; !wrong && i < M * ROWS; i++) {
        wrong = y[i] != COLUMNS * (i / ROWS - 128) + COLUMNS * (COLUMNS - 1) / 2;
    }
    free(x);
    free(y);
    return wrong;
}

static void *call(void *unused) {
    (void)unused;
    for (int i = 0; i < CALLS; i++) {
        if (wrong_sums(1 + i % M_MOST)) exit(1);
    }
    return NULL;
}

int main(void) {
    memset(weights, 0xaa, sizeof weights);
    for (int index = 0; (row = ternary_row(index)) != NULL; index++) {
        if (!row->built || !row->supported()) continue;
        pthread_t callers[CALLERS];
        for (int i = 0; i < CALLERS; i++) {
            if (pthread_create(&callers[i], NULL, call, NULL) != 0) return 1;
        }
        for (int i = 0; i < CALLERS; i++) {
            pthread_join(callers[i], NULL);
        }
        puts(row->name);
    }
    return 0;
}
