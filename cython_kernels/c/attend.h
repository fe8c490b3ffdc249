/* The attention of one new token a sequence, on the same threads as the products around it. In float32. */

#ifndef TERNARY_ATTEND_H
#define TERNARY_ATTEND_H

#include <stdint.h>

/* All arrays are dense, the last axis first to vary.

   qkv      (B, H + 2 KV, D)     the new token's H queries, KV keys and KV values; queries and keys are turned in place
   cosines  (B, D), sines (B, D) of its position, the first half of the sines negated
   cache    (B, room, 2 KV, D)   keys and values of `past` tokens; the new ones are put behind them, past < room
   y        (B, H, D)            what each query mixes from the values; H / KV neighbouring queries share a key
   D is even. Returns 0 where there is no memory for H * (past + 1) weights a sequence. */
int attend(float *qkv, const float *cosines, const float *sines, float *cache, float *y, int64_t B, int64_t H,
           int64_t KV, int64_t D, int64_t room, int64_t past, int threads);

#endif
