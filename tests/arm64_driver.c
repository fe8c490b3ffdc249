/* Runs the kernels on cases that test_kernels_arm64.py writes: a program, since no Python runs on the emulated machine.

   driver rows                 one line a backend: name, built, supported, kernels that are there (2bit, base3, int8)
   driver run BACKEND          cases from the standard input, results to the standard output

   A case is a line of int64 numbers (a kind and what it needs) and blobs, each a length in bytes and the bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "baseline.h"
#include "matmul.h"
#include "quantize.h"

enum { MATMUL, LINEAR, QUANTIZE, FP16, READ };
#define MOST_MATRICES 4

static void stop(const char *why) {
    fprintf(stderr, "arm64_driver: %s\n", why);
    exit(2);
}

static int64_t number(void) {
    int64_t n;
    if (fread(&n, sizeof n, 1, stdin) != 1) stop("the input ends inside a case");
    return n;
}

/* NULL where the blob is empty. */
static void *blob(int64_t *bytes) {
    *bytes = number();
    if (*bytes == 0) return NULL;
    void *memory = malloc((size_t)*bytes);
    if (memory == NULL || fread(memory, 1, (size_t)*bytes, stdin) != (size_t)*bytes) stop("no memory, or a short blob");
    return memory;
}

static void put(const void *memory, int64_t bytes) {
    if (bytes > 0 && fwrite(memory, 1, (size_t)bytes, stdout) != (size_t)bytes) stop("the output cannot be written");
}

static void *room(int64_t bytes) {
    void *memory = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (memory == NULL) stop("no memory");
    return memory;
}

static const ternary_backend *row_named(const char *name) {
    for (int i = 0; ternary_row(i) != NULL; i++) {
        if (strcmp(ternary_row(i)->name, name) == 0) return ternary_row(i);
    }
    stop("there is no such backend");
    return NULL;
}

static void run_product(const ternary_backend *row, int64_t kind) {
    const int64_t threads = number(), M = number(), K = number(), count = number();
    int64_t bytes, bad_token = -1;
    void *x = blob(&bytes);
    float *norm = blob(&bytes), *eps = blob(&bytes);
    ternary_matrix matrices[MOST_MATRICES] = {{0}};
    if (count > MOST_MATRICES) stop("too many matrices");
    for (int64_t i = 0; i < count; i++) {
        ternary_matrix *one = &matrices[i];
        one->format = (int)number();
        one->kernel = row->kernels[one->format];
        if (one->kernel == NULL) stop("the backend has no kernel for a case");
        one->N = number();
        one->weights = blob(&bytes);
        one->scale = blob(&bytes);
        one->scale_step = bytes > (int64_t)sizeof(float);
        one->y = room(4 * M * one->N);
    }
    const int64_t status = kind == MATMUL
        ? ternary_matmul(matrices, (int)count, x, M, K, (int)threads)
        : ternary_linear(matrices, (int)count, x, M, K, norm, *eps, (int)threads, &bad_token);
    put(&status, sizeof status);
    put(&bad_token, sizeof bad_token);
    for (int64_t i = 0; i < count; i++) {
        put(matrices[i].y, 4 * M * matrices[i].N);
        free(matrices[i].y);
        free((void *)matrices[i].weights);
        free((void *)matrices[i].scale);
    }
    free(x);
    free(norm);
    free(eps);
}

static void run_quantize(void) {
    int64_t bytes;
    float *x = blob(&bytes), *norm, *eps, scale;
    const int64_t K = bytes / (int64_t)sizeof *x;
    norm = blob(&bytes);
    eps = blob(&bytes);
    int8_t *codes = room(K);
    const int32_t sum = quantize_token(x, K, norm, *eps, codes, &scale);
    put(codes, K);
    put(&scale, sizeof scale);
    put(&sum, sizeof sum);
    free(x);
    free(norm);
    free(eps);
    free(codes);
}

static void run_fp16(void) {
    const int64_t threads = number(), N = number();
    int64_t bytes;
    uint16_t *weights = blob(&bytes);
    float *x = blob(&bytes), *y = room(N * (int64_t)sizeof *y);
    const int64_t done = fp16_gemv(weights, N, bytes / (int64_t)sizeof *x, x, y, (int)threads);
    put(&done, sizeof done);
    put(y, N * (int64_t)sizeof *y);
    free(weights);
    free(x);
    free(y);
}

static void run_read(void) {
    const int64_t threads = number();
    int64_t bytes;
    void *memory = blob(&bytes);
    const uint64_t found = read_bytes(memory, bytes, 1, (int)threads);
    put(&found, sizeof found);
    free(memory);
}

static void run(const ternary_backend *row) {
    for (int64_t kind; fread(&kind, sizeof kind, 1, stdin) == 1;) {
        switch (kind) {
        case MATMUL:
        case LINEAR: run_product(row, kind); break;
        case QUANTIZE: run_quantize(); break;
        case FP16: run_fp16(); break;
        case READ: run_read(); break;
        default: stop("there is no such kind of case");
        }
    }
    if (fflush(stdout) != 0) stop("the output cannot be written");
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "rows") == 0) {
        for (int i = 0; ternary_row(i) != NULL; i++) {
            const ternary_backend *row = ternary_row(i);
            printf("%s %d %d", row->name, row->built, row->supported());
            for (int f = 0; f < TERNARY_FORMATS; f++) {
                printf(" %d", row->kernels[f] != NULL);
            }
            printf("\n");
        }
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "run") != 0) stop("wanted: rows, or run BACKEND");
    run(row_named(argv[2]));
    return 0;
}
