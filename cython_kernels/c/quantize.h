/* One token's activations to int8, with its own absmax scale (w1.58a8), after an RMSNorm or without. */

#ifndef TERNARY_QUANTIZE_H
#define TERNARY_QUANTIZE_H

#include <stdint.h>

/* codes[k] = round(v[k] * scale), halves to even, where v is x, or norm * x / sqrt(mean(x^2) + eps) when norm is not NULL,
   and scale = 127 / max(1e-5, max |v|). Returns the sum of the codes. *scale is 0 where v holds inf or nan; the codes
   are then unspecified. Equal to reference.quantize bit for bit: every operation is a single float32 one, in its order. */
int32_t quantize_token(const float *x, int64_t K, const float *norm, float eps, int8_t *codes, float *scale);

#endif
