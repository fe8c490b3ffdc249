/* Runs one kernel on one panel, or the frame's work on the activations, for a count of instructions.

   driver                                        prints the kernels that there are, "backend format" each
   driver run BACKEND FORMAT TOKENS              calls counted() once: callgrind counts in there
   driver step BACKEND FORMAT TOKENS             prints how many instructions counted() takes, stepping one by one: for
                                                 instructions that valgrind does not know
   BACKEND may be "frame": it quantizes the tokens and lays them out, FORMAT is not used. Ends with 2 where this machine
   cannot run the kernel. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "matmul.h"

#define K 2560

static const char *const formats[TERNARY_FORMATS] = {"2bit", "base3", "int8"};
static const int words_of_step[TERNARY_FORMATS] = {TERNARY_2BIT_FIELDS, TERNARY_BASE3_FIELDS, TERNARY_INT8_FIELDS};

static ternary_kernel *kernel; /* NULL: the frame */
static int format, tokens;
static uint8_t panel[K / 4 * TERNARY_STEP_BYTES]; /* room for the longest, int8 */
static uint32_t x[K / 4 * TERNARY_TILE];
static float x_float[K * TERNARY_TILE], norm[K];
static int32_t x_sums[TERNARY_TILE], sums[TERNARY_TILE * TERNARY_PANEL_ROWS];

__attribute__((noinline)) void counted(void) {
    if (kernel != NULL) {
        kernel(panel, K / (4 * words_of_step[format]), x, x_sums, tokens, sums);
    } else {
        int64_t bad_token;
        ternary_matrix no_rows = {0};
        ternary_linear(&no_rows, 1, x_float, tokens, K, norm, 1e-5f, 1, &bad_token);
    }
}

static int step(void) {
    volatile int *inside = mmap(NULL, sizeof *inside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (inside == MAP_FAILED) return 1;
    const pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(1);
        raise(SIGSTOP);
        *inside = 1;
        counted();
        *inside = 0;
        _exit(0);
    }
    long instructions = 0;
    int status;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        instructions += *inside;
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0) return 1;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 1;
    printf("%ld\n", instructions);
    return 0;
}

/* Is it this row's own kernel? A row may take those of an earlier one. */
static int is_new(const ternary_backend *row, int f) {
    for (int index = 0; ternary_row(index) != row; index++) {
        if (ternary_row(index)->kernels[f] == row->kernels[f]) return 0;
    }
    return row->kernels[f] != NULL;
}

static int list(void) {
    const ternary_backend *row;
    for (int index = 0; (row = ternary_row(index)) != NULL; index++) {
        for (int f = 0; f < TERNARY_FORMATS; f++) {
            if (is_new(row, f)) printf("%s %s\n", row->name, formats[f]);
        }
    }
    return 0;
}

int main(int count, char **arguments) {
    const ternary_backend *row = NULL;
    if (count != 5) return list();
    while (format < TERNARY_FORMATS - 1 && strcmp(formats[format], arguments[3]) != 0) {
        format++;
    }
    for (int index = 0; (row = ternary_row(index)) != NULL && strcmp(row->name, arguments[2]) != 0;) {
        index++;
    }
    if (row != NULL) {
        if (!row->supported()) return 2;
        kernel = row->kernels[format];
    }
    tokens = atoi(arguments[4]);
    for (size_t i = 0; i < sizeof panel; i++) {
        panel[i] = (uint8_t)(i * 151 % 243); /* codes of every format: 2-bit ones may be 3, which takes no longer */
    }
    for (int i = 0; i < K * TERNARY_TILE; i++) {
        x_float[i] = (float)(i % 101) - 50;
    }
    for (int k = 0; k < K; k++) {
        norm[k] = 1;
    }
    if (strcmp(arguments[1], "step") == 0) return step();
    counted();
    return 0;
}
