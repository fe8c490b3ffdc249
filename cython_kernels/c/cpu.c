#include "cpu.h"

#include "ternary.h"

#if defined(TERNARY_X86_64) && defined(_MSC_VER) && !defined(__clang__)

#include <immintrin.h>
#include <intrin.h>

/* Registers of CPUID leaf 7, and of leaf 1 for the rest: Intel's manual, volume 2, CPUID. */
static int has(unsigned ebx7, unsigned ecx7, unsigned ecx1, unsigned long long saved) {
    int r[4];
    __cpuid(r, 0);
    if (r[0] < 7) return 0;
    __cpuid(r, 1);
    if (((unsigned)r[2] & (ecx1 | 1u << 27)) != (ecx1 | 1u << 27)) return 0; /* bit 27: XGETBV may be asked */
    if ((_xgetbv(0) & saved) != saved) return 0;
    __cpuidex(r, 7, 0);
    return ((unsigned)r[1] & ebx7) == ebx7 && ((unsigned)r[2] & ecx7) == ecx7;
}

int cpu_has_avx2(void) { return has(1u << 5, 0, 1u << 12 | 1u << 29, 0x6); }
int cpu_has_avx512vnni(void) { return has(1u << 16 | 1u << 30, 1u << 11, 0, 0xe6); }
int cpu_has_avx512vbmi(void) { return has(1u << 16 | 1u << 30, 1u << 11 | 1u << 1, 0, 0xe6); }

#elif defined(TERNARY_X86_64)

#include <cpuid.h>

/* clang 16 does not take this name for __builtin_cpu_supports. */
static int has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

int cpu_has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }

int cpu_has_avx512vnni(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vnni");
}

int cpu_has_avx512vbmi(void) { return cpu_has_avx512vnni() && __builtin_cpu_supports("avx512vbmi"); }

#else

int cpu_has_avx2(void) { return 0; }
int cpu_has_avx512vnni(void) { return 0; }
int cpu_has_avx512vbmi(void) { return 0; }

#endif

#if defined(TERNARY_ARM64) && defined(_WIN32)

#include <windows.h>
int cpu_has_dotprod(void) { return IsProcessorFeaturePresent(43); } /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */

#elif defined(TERNARY_ARM64) && defined(__APPLE__)

int cpu_has_dotprod(void) { return 1; } /* every Apple chip with arm64 macOS has it */

#elif defined(TERNARY_ARM64) && defined(__linux__)

#include <sys/auxv.h>
int cpu_has_dotprod(void) { return (getauxval(AT_HWCAP) & (1UL << 20)) != 0; } /* HWCAP_ASIMDDP */

#else

int cpu_has_dotprod(void) { return 0; }

#endif
