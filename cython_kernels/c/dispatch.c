/* The table of backends. Which row runs is decided once, at import, by whoever reads it (ternary.pyx). */

#include <stddef.h>

#include "ternary.h"

/* Slowest first: the last row that is built and supported is the default. */
static const ternary_backend *const ladder[] = {
    &ternary_scalar, &ternary_neon, &ternary_avx2, &ternary_avx512, &ternary_avx512vbmi,
};

const ternary_backend *ternary_row(int index) {
    return 0 <= index && index < (int)(sizeof ladder / sizeof *ladder) ? ladder[index] : NULL;
}
