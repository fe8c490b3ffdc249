/* The frame around the kernels: tokens into tiles, panels to threads, sums into rows. */

#ifndef TERNARY_MATMUL_H
#define TERNARY_MATMUL_H

#include <stdint.h>

#include "ternary.h"

/* One matrix of a call. All matrices of a call have the same K and share x. */
typedef struct {
    const uint8_t *weights; /* packed, in `format` */
    int64_t N;
    int format;
    ternary_kernel *kernel;
    const float *scale; /* of the weights: scale[row * scale_step]; scale_step 0: one for all, 1: one a row */
    int64_t scale_step;
    void *y; /* (M, N): int32 sums, or float32 where x is */
    int64_t steps, panels; /* filled in by the call */
} ternary_matrix;

typedef enum { MATMUL_DONE, MATMUL_NO_MEMORY, MATMUL_NOT_FINITE } matmul_status;

/* y = x (M, K) times each matrix: exact int32 sums. */
matmul_status ternary_matmul(ternary_matrix *matrices, int count, const int8_t *x, int64_t M, int64_t K, int threads);

/* The same on float32 activations, each token quantized once (quantize.h): y = sum * (row's scale / token's scale).
   MATMUL_NOT_FINITE: a token holds inf or nan, *bad_token says which; y is then unspecified. */
matmul_status ternary_linear(ternary_matrix *matrices, int count, const float *x, int64_t M, int64_t K,
                             const float *norm, float eps, int threads, int64_t *bad_token);

#endif
