/* What this machine can run. The operating system has its say too: it must save the wide registers. */

#ifndef TERNARY_CPU_H
#define TERNARY_CPU_H

int cpu_has_avx2(void);       /* and FMA and F16C, which every such CPU has */
int cpu_has_avx512vnni(void); /* AVX-512 F, BW and VNNI */
int cpu_has_avx512vbmi(void); /* the same and VBMI */
int cpu_has_dotprod(void);    /* arm64: SDOT */

#endif
