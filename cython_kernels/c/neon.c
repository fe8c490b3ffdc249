/* arm64 with the dot product instruction. */

#include <stddef.h>

#include "cpu.h"
#include "ternary.h"

const ternary_backend ternary_neon = {"neon", 0, cpu_has_dotprod, {NULL, NULL, NULL}};
