/* What the kernels are raced against: the strongest fp16 matrix-vector product, and memory itself. */

#ifndef TERNARY_BASELINE_H
#define TERNARY_BASELINE_H

#include <stdint.h>

/* y (N,) = weights (N, K) fp16 times x (K,) float32, or 0 where this machine cannot convert fp16 quickly. */
int fp16_gemv(const uint16_t *weights, int64_t N, int64_t K, const float *x, float *y, int threads);

/* Read every byte, fast: the exclusive or of its 64-bit words. `bytes` is rounded down to multiples of 256 KiB, `memory`
   is a multiple of 8. With `fetch`, later lines are asked for in advance: which way is faster depends on what the
   processor fetches by itself. */
uint64_t read_bytes(const void *memory, int64_t bytes, int fetch, int threads);

#endif
