/* Weights that come later.

   Between a core and memory, few cache lines are under way at a time; a kernel that waits for them in order leaves some
   of those places empty. So while one panel is multiplied the next one is fetched into the second-level cache, from
   STREAMS places in turn, since one run of lines alone does not reach what memory can give; and near lines are fetched
   into the first-level cache. */

#ifndef TERNARY_PREFETCH_H
#define TERNARY_PREFETCH_H

#include "ternary.h"

#define STREAMS 4
#define NEAR_BYTES 2560

/* Call it at step s of a panel. The last steps % STREAMS steps of the next panel are not worth a division more. */
TERNARY_INLINE void prefetch(const uint8_t *panel, int64_t s, int64_t steps) {
    const int64_t next = steps + s % STREAMS * (steps / STREAMS) + s / STREAMS;
    for (int line = 0; line < TERNARY_STEP_BYTES; line += TERNARY_BLOCK_BYTES) {
        TERNARY_FETCH_L2(panel + next * TERNARY_STEP_BYTES + line);
        TERNARY_FETCH_L1(panel + s * TERNARY_STEP_BYTES + line + NEAR_BYTES);
    }
}

#endif
