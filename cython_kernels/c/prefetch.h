/* Weights that come later, on x86-64: ternary.h says why at two distances. */

#ifndef TERNARY_PREFETCH_H
#define TERNARY_PREFETCH_H

#include <immintrin.h>

#include "ternary.h"

TERNARY_INLINE void prefetch(const uint8_t *step) {
    for (int line = 0; line < TERNARY_STEP_BYTES; line += TERNARY_BLOCK_BYTES) {
        _mm_prefetch((const char *)step + line + TERNARY_FAR, _MM_HINT_T1);
        _mm_prefetch((const char *)step + line + TERNARY_NEAR, _MM_HINT_T0);
    }
}

#endif
