/* The packed formats (drawn in ../README.md), the signature of a kernel, and the row a backend fills.

   Nothing here depends on the CPU or the compiler: bytes packed on one machine are read on every other. */

#ifndef TERNARY_H
#define TERNARY_H

#include <stdint.h>

#define TERNARY_FORMAT 2 /* goes up when a drawing changes; reference.py holds the same number */

/* A panel is 32 rows. A step of it is 128 bytes: 32 rows x 4 bytes, in two blocks of 16 rows, one cache line each.
   A word is four neighbouring columns: one byte of a row in each, and one 32-bit word of x. */
#define TERNARY_PANEL_ROWS 32
#define TERNARY_BLOCK_BYTES 64
#define TERNARY_STEP_BYTES 128

enum { TERNARY_2BIT, TERNARY_BASE3, TERNARY_INT8, TERNARY_FORMATS };

/* Fields of a byte, which is also the words of a step. Field f of byte b of a row is the code of column 4 f + b.
   2 bit:  byte = c0 + 4 c1 + 16 c2 + 64 c3
   base 3: byte = 64 c4 + v for v < 64, else 192 + 3 (v - 64) + c4, where v = c0 + 3 c1 + 9 c2 + 27 c3 is 0 to 80
   int8:   byte = c0 */
#define TERNARY_2BIT_FIELDS 4  /* 16 columns a step, 2.0 bits a weight */
#define TERNARY_BASE3_FIELDS 5 /* 20 columns a step, 1.6 bits a weight */
#define TERNARY_INT8_FIELDS 1  /* 4 columns a step, 8 bits a weight */

/* The code of a weight w is w + zero. Kernels may add up codes and subtract zero times the sum of x. */
#define TERNARY_ZERO 1
#define TERNARY_INT8_ZERO 128

/* Largest K. A kernel may add the top field unshifted (code << 6, at most 128) and divide the total by 64 at the end.
   Of 2 bits a quarter of the columns stands in that field: 128 * 128 * K / 4 must fit into an int32_t, and at this K the
   most negative total is exactly -2^31. Base 3 adds its last two fields so, two fifths of the columns. An int8 code is
   at most 255: 255 * 128 * K < 2^31. */
#define TERNARY_2BIT_K_MAX 524288
#define TERNARY_BASE3_K_MAX 262144
#define TERNARY_INT8_K_MAX 65536

/* _Static_assert would need /std:c11 of MSVC: an array of size -1 does not compile anywhere. */
typedef char ternary_check_step[TERNARY_PANEL_ROWS * 4 == TERNARY_STEP_BYTES ? 1 : -1];
typedef char ternary_check_block[2 * TERNARY_BLOCK_BYTES == TERNARY_STEP_BYTES ? 1 : -1];
typedef char ternary_check_base3[3 * 64 + 3 * (3 * 3 * 3 * 3 - 64) <= 256 ? 1 : -1];
typedef char ternary_check_base3_top[128LL * 128 * TERNARY_BASE3_K_MAX / 5 * 2 < 2147483648LL ? 1 : -1];
typedef char ternary_check_top_field[128LL * 128 * TERNARY_2BIT_K_MAX / 4 <= 2147483648LL ? 1 : -1];
typedef char ternary_check_int8[255LL * 128 * TERNARY_INT8_K_MAX < 2147483648LL ? 1 : -1];

/* Most tokens that a kernel is given at once: 12 x 2 accumulators of 16 rows leave 8 of 32 vector registers free. */
#define TERNARY_TILE 12

/* One panel times one tile of tokens: sums[t][row] = sum over the columns of weight * x.

   panel   `steps` steps of TERNARY_STEP_BYTES, at any address
   x       words of four int8, [word][token]: the words of one step are 4, 5 or 1 times `tokens`; any int8 value,
           zeros where the last step has more columns than x
   x_sums  the sum of each token's x, to take off what codes have too much
   tokens  1 to TERNARY_TILE
   sums    [tokens][TERNARY_PANEL_ROWS], written whole */
typedef void ternary_kernel(const uint8_t *panel, int64_t steps, const uint32_t *x, const int32_t *x_sums, int tokens,
                            int32_t *sums);

/* One rung of the ladder. Every file defines its row on every platform: where its instructions cannot be compiled,
   `built` is 0 and the kernels are NULL. */
typedef struct {
    const char *name;       /* file name, function suffix and SLMLAB_KERNEL value in one */
    int built;              /* were the kernels compiled? */
    int (*supported)(void); /* can this machine run them? never NULL */
    ternary_kernel *kernels[TERNARY_FORMATS]; /* base 3 may be NULL: its weights are then expanded to 2 bits at load */
} ternary_backend;

extern const ternary_backend ternary_scalar, ternary_neon, ternary_avx2, ternary_avx512, ternary_avx512vbmi;

/* Row `index` of the ladder, slowest first; NULL past the last. */
const ternary_backend *ternary_row(int index);

/* The kernels are compiled for the oldest CPU; a file with TERNARY_TARGET("avx2") before each function switches its
   instructions on. MSVC takes intrinsics as they are. */
#if defined(_MSC_VER) && !defined(__clang__)
#define TERNARY_TARGET(instructions)
#define TERNARY_INLINE static __forceinline
#define TERNARY_UNROLL
#else
#define TERNARY_TARGET(instructions) __attribute__((target(instructions)))
#define TERNARY_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define TERNARY_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TERNARY_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

/* Ask for a cache line of weights. It cannot fail, whatever the address. */
#if defined(_MSC_VER) && !defined(__clang__) && defined(_M_X64)
#include <immintrin.h>
#define TERNARY_FETCH_L1(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define TERNARY_FETCH_L2(address) _mm_prefetch((const char *)(address), _MM_HINT_T1)
#elif defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define TERNARY_FETCH_L1(address) __prefetch(address)
#define TERNARY_FETCH_L2(address) __prefetch(address)
#else
#define TERNARY_FETCH_L1(address) __builtin_prefetch((address), 0, 3)
#define TERNARY_FETCH_L2(address) __builtin_prefetch((address), 0, 2)
#endif

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define TERNARY_X86_64
#elif defined(__aarch64__) || defined(_M_ARM64)
#define TERNARY_ARM64
#endif

#endif
