/* Weights that come later, on x86-64.

   Between a core and memory, few cache lines are under way at a time; a kernel that waits for them in order leaves some
   of those places empty. So while one panel is multiplied the next one is fetched into the second-level cache, from
   STREAMS places in turn, since one run of lines alone does not reach what memory can give; and near lines are fetched
   into the first-level cache. Past the end of the weights nothing happens: a prefetch cannot fail. */

#ifndef TERNARY_PREFETCH_H
#define TERNARY_PREFETCH_H

#include <immintrin.h>

#include "ternary.h"

#define STREAMS 4
#define NEAR_BYTES 2560

/* Call it at step s of a panel. The last steps % STREAMS steps of the next panel are not worth a division more. */
TERNARY_INLINE void prefetch(const uint8_t *panel, int64_t s, int64_t steps) {
    const int64_t next = steps + s % STREAMS * (steps / STREAMS) + s / STREAMS;
    for (int line = 0; line < TERNARY_STEP_BYTES; line += TERNARY_BLOCK_BYTES) {
        _mm_prefetch((const char *)panel + next * TERNARY_STEP_BYTES + line, _MM_HINT_T1);
        _mm_prefetch((const char *)panel + s * TERNARY_STEP_BYTES + line + NEAR_BYTES, _MM_HINT_T0);
    }
}

#endif
