#include "matmul.h"

#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "quantize.h"

static const int step_words[TERNARY_FORMATS] = {TERNARY_2BIT_FIELDS, TERNARY_BASE3_FIELDS, TERNARY_INT8_FIELDS};

/* One call. Exactly one of x and x_float is there. */
typedef struct {
    const ternary_matrix *matrices;
    int count;
    int64_t M, K;
    const int8_t *x;
    const float *x_float, *norm;
    float eps;

    int64_t tiles;    /* tile i holds the tokens from i * M / tiles on */
    int64_t words;    /* of a token: enough for whole steps of every matrix */
    uint32_t *tiled;  /* [tile][word][token of the tile] */
    uint32_t *rows;   /* [token][word], where a tile has more than one token */
    int32_t *x_sums;  /* (M,) */
    float *x_scale;   /* (M,) */
} product;

static int64_t steps_of(int64_t K, int format) {
    const int64_t columns = 4 * step_words[format];
    return (K + columns - 1) / columns;
}

static int64_t first_token(const product *p, int64_t tile) { return tile * p->M / p->tiles; }

/* One token's int8, from x or by quantizing; zeros behind the last column. */
static void fill_row(const product *p, int64_t token, uint32_t *row) {
    int8_t *codes = (int8_t *)row;
    memset(codes + p->K, 0, (size_t)(4 * p->words - p->K));
    if (p->x_float != NULL) {
        p->x_sums[token] =
            quantize_token(p->x_float + token * p->K, p->K, p->norm, p->eps, codes, p->x_scale + token);
        return;
    }
    memcpy(codes, p->x + token * p->K, (size_t)p->K);
    int32_t sum = 0;
    for (int64_t k = 0; k < p->K; k++) {
        sum += codes[k];
    }
    p->x_sums[token] = sum;
}

static void fill_tile(void *context, int64_t tile) {
    const product *p = context;
    const int64_t first = first_token(p, tile);
    const int64_t tokens = first_token(p, tile + 1) - first;
    uint32_t *tiled = p->tiled + first * p->words;
    if (tokens == 1) {
        fill_row(p, first, tiled);
        return;
    }
    for (int64_t t = 0; t < tokens; t++) {
        uint32_t *row = p->rows + (first + t) * p->words;
        fill_row(p, first + t, row);
        for (int64_t w = 0; w < p->words; w++) {
            tiled[w * tokens + t] = row[w];
        }
    }
}

static void store(const product *p, const ternary_matrix *matrix, int64_t row, int64_t token, const int32_t *sums) {
    const int64_t at = token * matrix->N + row;
    const int64_t rows = matrix->N - row < TERNARY_PANEL_ROWS ? matrix->N - row : TERNARY_PANEL_ROWS;
    if (p->x_float == NULL) {
        memcpy((int32_t *)matrix->y + at, sums, (size_t)rows * sizeof *sums);
        return;
    }
    float *y = (float *)matrix->y + at;
    if (matrix->scale_step == 0) {
        const float scale = *matrix->scale / p->x_scale[token];
        for (int64_t r = 0; r < rows; r++) {
            y[r] = (float)sums[r] * scale;
        }
    } else {
        for (int64_t r = 0; r < rows; r++) {
            y[r] = (float)sums[r] * (matrix->scale[row + r] / p->x_scale[token]);
        }
    }
}

/* Panel `index` of all matrices in a row, times all tokens: its weights stay in the cache while the tiles pass. */
static void multiply_panel(void *context, int64_t index) {
    const product *p = context;
    const ternary_matrix *matrix = p->matrices;
    for (int64_t panels; index >= (panels = (matrix->N + TERNARY_PANEL_ROWS - 1) / TERNARY_PANEL_ROWS); matrix++) {
        index -= panels;
    }
    const int64_t steps = steps_of(p->K, matrix->format);
    const uint8_t *panel = matrix->weights + index * steps * TERNARY_STEP_BYTES;
    for (int64_t tile = 0; tile < p->tiles; tile++) {
        int32_t sums[TERNARY_TILE * TERNARY_PANEL_ROWS];
        const int64_t first = first_token(p, tile);
        const int tokens = (int)(first_token(p, tile + 1) - first);
        matrix->kernel(panel, steps, p->tiled + first * p->words, p->x_sums + first, tokens, sums);
        for (int t = 0; t < tokens; t++) {
            store(p, matrix, index * TERNARY_PANEL_ROWS, first + t, sums + t * TERNARY_PANEL_ROWS);
        }
    }
}

static matmul_status multiply(product *p, int threads, int64_t *bad_token) {
    int64_t panels = 0;
    p->tiles = (p->M + TERNARY_TILE - 1) / TERNARY_TILE;
    p->words = (p->K + 3) / 4;
    for (int i = 0; i < p->count; i++) {
        const int64_t words = steps_of(p->K, p->matrices[i].format) * step_words[p->matrices[i].format];
        p->words = words > p->words ? words : p->words;
        panels += (p->matrices[i].N + TERNARY_PANEL_ROWS - 1) / TERNARY_PANEL_ROWS;
    }
    const int64_t words = p->M * p->words;
    const int several = p->tiles < p->M; /* tokens in some tile: they are interleaved from rows */
    uint32_t *memory = malloc((size_t)(words * (several ? 2 : 1) + 2 * p->M) * sizeof *memory);
    if (memory == NULL) return MATMUL_NO_MEMORY;
    p->x_sums = (int32_t *)memory;
    p->x_scale = (float *)(memory + p->M);
    p->tiled = memory + 2 * p->M;
    p->rows = several ? p->tiled + words : NULL;

    pool_run(fill_tile, p, p->tiles, threads);
    matmul_status status = MATMUL_DONE;
    for (int64_t t = 0; p->x_float != NULL && t < p->M && status == MATMUL_DONE; t++) {
        if (p->x_scale[t] == 0) {
            *bad_token = t;
            status = MATMUL_NOT_FINITE;
        }
    }
    if (status == MATMUL_DONE) {
        pool_run(multiply_panel, p, panels, threads);
    }
    free(memory);
    return status;
}

matmul_status ternary_matmul(const ternary_matrix *matrices, int count, const int8_t *x, int64_t M, int64_t K, int threads) {
    product p = {0};
    p.matrices = matrices;
    p.count = count;
    p.M = M;
    p.K = K;
    p.x = x;
    return multiply(&p, threads, NULL);
}

matmul_status ternary_linear(const ternary_matrix *matrices, int count, const float *x, int64_t M, int64_t K,
                             const float *norm, float eps, int threads, int64_t *bad_token) {
    product p = {0};
    p.matrices = matrices;
    p.count = count;
    p.M = M;
    p.K = K;
    p.x_float = x;
    p.norm = norm;
    p.eps = eps;
    return multiply(&p, threads, bad_token);
}
