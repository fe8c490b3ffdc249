"""The compiled backends: check the arrays, find the row of c/dispatch.c, release the GIL, call C."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

import numpy as np

from cython_kernels.reference import check_matmul


cdef extern from "ternary.h":
    enum:
        TERNARY_FORMAT
        TERNARY_PANEL_ROWS
        TERNARY_STEP_COLUMNS
        TERNARY_BLOCK_ROWS
        TERNARY_BLOCK_BYTES
        TERNARY_STEP_BYTES
        TERNARY_K_MAX

    ctypedef struct ternary_backend:
        const char *name
        int built
        int (*supported)() noexcept
        void (*matmul)(const uint8_t *, int64_t, int64_t, const int8_t *, int64_t, int32_t *) noexcept nogil

    const ternary_backend *ternary_row(int index) noexcept nogil


FORMAT = TERNARY_FORMAT
PANEL_ROWS = TERNARY_PANEL_ROWS
STEP_COLUMNS = TERNARY_STEP_COLUMNS
BLOCK_ROWS = TERNARY_BLOCK_ROWS
BLOCK_BYTES = TERNARY_BLOCK_BYTES
STEP_BYTES = TERNARY_STEP_BYTES
K_MAX = TERNARY_K_MAX


cdef tuple _ask():
    cdef int index = 0
    cdef const ternary_backend *row = ternary_row(index)
    found = []
    while row != NULL:
        found.append((row.name.decode(), bool(row.built), bool(row.supported())))
        index += 1
        row = ternary_row(index)
    return tuple(found)


ROWS = _ask()  # once: asking the CPU costs more than a small product
cdef dict _index = {name: index for index, (name, built, supported) in enumerate(ROWS) if built and supported}


def matmul(packed, N, K, x, str backend):
    check_matmul(packed, N, K, x)
    if backend not in _index:
        raise ValueError(f"backend {backend!r} cannot run here, wanted one of {', '.join(_index)}: see ROWS")
    cdef const ternary_backend *row = ternary_row(_index[backend])
    cdef int64_t rows = N, columns = K, tokens = x.shape[0]
    if rows == 0 or columns == 0 or tokens == 0:
        return np.zeros((tokens, rows), np.int32)  # an empty array has no first element to point at
    y = np.empty((tokens, rows), np.int32)
    cdef const uint8_t[::1] packed_view = packed
    cdef const int8_t[:, ::1] x_view = x
    cdef int32_t[:, ::1] y_view = y
    cdef const uint8_t *first_byte = &packed_view[0]
    cdef const int8_t *first_x = &x_view[0, 0]
    cdef int32_t *first_y = &y_view[0, 0]
    with nogil:
        row.matmul(first_byte, rows, columns, first_x, tokens, first_y)
    return y
