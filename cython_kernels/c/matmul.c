#include "matmul.h"

#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "quantize.h"

#define WARM_BYTES 16384 /* what a worker fetches while the caller quantizes */

static const int step_words[TERNARY_FORMATS] = {TERNARY_2BIT_FIELDS, TERNARY_BASE3_FIELDS, TERNARY_INT8_FIELDS};

/* One call. Exactly one of x and x_float is there. */
typedef struct {
    ternary_matrix *matrices;
    int count;
    int64_t M, K;
    const int8_t *x;
    const float *x_float, *norm;
    float eps;

    int64_t tiles;    /* each holds M / tiles tokens, and the first M % tiles of them one more */
    int64_t words;    /* of a token: enough for whole steps of every matrix */
    uint32_t *tiled;  /* [tile][word][token of the tile] */
    uint32_t *rows;   /* [token][word], where there is more than one token */
    int32_t *x_sums;  /* (M,) */
    float *x_scale;   /* (M,); 0 where a token is not finite */
} product;

static int64_t tokens_of(const product *p, int64_t tile) { return p->M / p->tiles + (tile < p->M % p->tiles); }

static int64_t first_token(const product *p, int64_t tile) {
    const int64_t longer = p->M % p->tiles;
    return tile * (p->M / p->tiles) + (tile < longer ? tile : longer);
}

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
    const int64_t tokens = tokens_of(p, tile);
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

/* Panel `index` of all matrices in a row. */
static const uint8_t *find_panel(const product *p, int64_t *index, const ternary_matrix **matrix) {
    for (*matrix = p->matrices; *index >= (*matrix)->panels; (*matrix)++) {
        *index -= (*matrix)->panels;
    }
    return (*matrix)->weights + *index * (*matrix)->steps * TERNARY_STEP_BYTES;
}

/* Into the second-level cache with it, as far as it is worth while. */
static void fetch_panel(void *context, int64_t index) {
    const ternary_matrix *matrix;
    const uint8_t *panel = find_panel(context, &index, &matrix);
    const int64_t bytes = matrix->steps * TERNARY_STEP_BYTES;
    for (int64_t i = 0; i < bytes && i < WARM_BYTES; i += TERNARY_BLOCK_BYTES) {
        TERNARY_FETCH_L2(panel + i);
    }
}

/* One panel times all tokens: its weights stay in the cache while the tiles pass. */
static void multiply_panel(void *context, int64_t index) {
    const product *p = context;
    const ternary_matrix *matrix;
    const uint8_t *panel = find_panel(p, &index, &matrix);
    const int64_t least = p->M / p->tiles, longer = p->M % p->tiles;
    for (int64_t tile = 0, first = 0; tile < p->tiles; tile++) {
        int32_t sums[TERNARY_TILE * TERNARY_PANEL_ROWS];
        const int tokens = (int)(least + (tile < longer));
        matrix->kernel(panel, matrix->steps, p->tiled + first * p->words, p->x_sums + first, tokens, sums);
        for (int t = 0; t < tokens; t++, first++) {
            store(p, matrix, index * TERNARY_PANEL_ROWS, first, sums + t * TERNARY_PANEL_ROWS);
        }
    }
}

static matmul_status multiply(product *p, int threads, int64_t *bad_token) {
    int64_t panels = 0;
    p->tiles = (p->M + TERNARY_TILE - 1) / TERNARY_TILE;
    p->words = (p->K + 3) / 4;
    for (int i = 0; i < p->count; i++) {
        ternary_matrix *matrix = &p->matrices[i];
        const int64_t words_of_step = step_words[matrix->format];
        matrix->steps = (p->K + 4 * words_of_step - 1) / (4 * words_of_step);
        matrix->panels = (matrix->N + TERNARY_PANEL_ROWS - 1) / TERNARY_PANEL_ROWS;
        p->words = matrix->steps * words_of_step > p->words ? matrix->steps * words_of_step : p->words;
        panels += matrix->panels;
    }
    const int64_t words = p->M * p->words;
    uint32_t *memory = malloc((size_t)(words * (p->M > 1 ? 2 : 1) + 2 * p->M) * sizeof *memory);
    if (memory == NULL) return MATMUL_NO_MEMORY;
    p->x_sums = (int32_t *)memory;
    p->x_scale = (float *)(memory + p->M);
    p->tiled = memory + 2 * p->M;
    p->rows = p->tiled + words; /* not there for one token, and not used */

    if (p->tiles == 1) {
        pool_run(fill_tile, fetch_panel, multiply_panel, p, panels, threads);
    } else {
        pool_run(NULL, NULL, fill_tile, p, p->tiles, threads);
    }
    matmul_status status = MATMUL_DONE;
    for (int64_t t = 0; p->x_float != NULL && t < p->M && status == MATMUL_DONE; t++) {
        if (p->x_scale[t] == 0) {
            *bad_token = t;
            status = MATMUL_NOT_FINITE;
        }
    }
    if (p->tiles > 1 && status == MATMUL_DONE) {
        pool_run(NULL, NULL, multiply_panel, p, panels, threads);
    }
    free(memory);
    return status;
}

matmul_status ternary_matmul(ternary_matrix *matrices, int count, const int8_t *x, int64_t M, int64_t K, int threads) {
    product p = {.matrices = matrices, .count = count, .M = M, .K = K, .x = x};
    return multiply(&p, threads, NULL);
}

matmul_status ternary_linear(ternary_matrix *matrices, int count, const float *x, int64_t M, int64_t K,
                             const float *norm, float eps, int threads, int64_t *bad_token) {
    product p = {.matrices = matrices, .count = count, .M = M, .K = K, .x_float = x, .norm = norm, .eps = eps};
    return multiply(&p, threads, bad_token);
}
