/* The packed 2-bit format (drawn in ../README.md), the signature of a kernel, and the row a backend fills.

   Nothing here depends on the CPU or the compiler: bytes packed on one machine are read on every other. */

#ifndef TERNARY_H
#define TERNARY_H

#include <stdint.h>

#define TERNARY_FORMAT 1 /* goes up when the drawing changes; reference.py holds the same number */

/* 2.00 effective bits per weight. A step is the 16 columns that one panel of 32 rows packs into two blocks. */
#define TERNARY_PANEL_ROWS 32
#define TERNARY_STEP_COLUMNS 16
#define TERNARY_BLOCK_ROWS 16
#define TERNARY_BLOCK_BYTES 64 /* 16 rows x 4 bytes, each byte four codes: one cache line */
#define TERNARY_STEP_BYTES 128 /* two blocks */

/* A kernel may add the top field of a byte unshifted (code << 6, at most 128) and divide the total by 64 at the end.
   A quarter of the columns stands in that field, so 128 * 128 * K / 4 must fit into an int32_t: at this K the most
   negative total is exactly -2^31. */
#define TERNARY_K_MAX 524288

/* _Static_assert would need /std:c11 of MSVC: an array of size -1 does not compile anywhere. */
typedef char ternary_check_block[TERNARY_BLOCK_ROWS * TERNARY_STEP_COLUMNS * 2 == TERNARY_BLOCK_BYTES * 8 ? 1 : -1];
typedef char ternary_check_step[TERNARY_PANEL_ROWS * TERNARY_STEP_COLUMNS * 2 == TERNARY_STEP_BYTES * 8 ? 1 : -1];
typedef char ternary_check_top_field[128LL * 128 * TERNARY_K_MAX / 4 <= 2147483648LL ? 1 : -1];

/* y (M, N) = x (M, K) times the transpose of the packed weights (N, K). C-contiguous, any address, N, K, M >= 1,
   K <= TERNARY_K_MAX, any value in x. `packed` is ceil(N/32) * ceil(K/16) steps long; exactly K columns of x and
   N columns of y exist. */
typedef void ternary_matmul(const uint8_t *packed, int64_t N, int64_t K, const int8_t *x, int64_t M, int32_t *y);

/* One rung of the ladder. Every file defines its row on every platform: where its instructions cannot be compiled,
   `built` is 0 and `matmul` is NULL. */
typedef struct {
    const char *name;       /* file name, function suffix and SLMLAB_KERNEL value in one */
    int built;              /* was the kernel compiled? */
    int (*supported)(void); /* can this machine run it? never NULL */
    ternary_matmul *matmul;
} ternary_backend;

extern const ternary_backend ternary_scalar;

/* Row `index` of the ladder, slowest first; NULL past the last. */
const ternary_backend *ternary_row(int index);

#endif
