# cython: boundscheck=False, wraparound=False
"""The compiled backends: check the arrays, find the row of c/dispatch.c, release the GIL, call C."""

import time

import numpy as np

from libc.limits cimport INT_MAX
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc

from cython_kernels import attention, reference


cdef extern from "ternary.h":
    enum:
        TERNARY_FORMAT
        TERNARY_PANEL_ROWS
        TERNARY_STEP_BYTES
        TERNARY_2BIT_FIELDS
        TERNARY_BASE3_FIELDS
        TERNARY_INT8_FIELDS
        TERNARY_2BIT_K_MAX
        TERNARY_BASE3_K_MAX
        TERNARY_INT8_K_MAX
        TERNARY_FORMATS

    ctypedef struct ternary_backend:
        const char *name
        int built
        int (*supported)() noexcept
        void *kernels[TERNARY_FORMATS]

    const ternary_backend *ternary_row(int index) noexcept nogil


cdef extern from "matmul.h":
    ctypedef struct ternary_matrix:
        const uint8_t *weights
        int64_t N
        int format
        void *kernel
        const float *scale
        int64_t scale_step
        void *y

    ctypedef enum matmul_status:
        MATMUL_DONE, MATMUL_NO_MEMORY, MATMUL_NOT_FINITE

    matmul_status ternary_matmul(
        ternary_matrix *, int, const int8_t *, int64_t, int64_t, int) noexcept nogil
    matmul_status ternary_linear(
        ternary_matrix *, int, const float *, int64_t, int64_t, const float *, float, int, int64_t *) noexcept nogil


cdef extern from "pool.h":
    void pool_survive_fork() noexcept


cdef extern from "quantize.h":
    int32_t quantize_token(const float *, int64_t, const float *, float, int8_t *, float *) noexcept nogil


cdef extern from "baseline.h":
    int c_fp16_gemv "fp16_gemv"(const uint16_t *, int64_t, int64_t, const float *, float *, int) noexcept nogil
    uint64_t c_read_bytes "read_bytes"(const void *, int64_t, int, int) noexcept nogil


pool_survive_fork()

FORMAT = TERNARY_FORMAT
CONSTANTS = {  # for the test that compares the header with reference.py
    "PANEL_ROWS": TERNARY_PANEL_ROWS,
    "STEP_BYTES": TERNARY_STEP_BYTES,
    "fields": {"2bit": TERNARY_2BIT_FIELDS, "base3": TERNARY_BASE3_FIELDS, "int8": TERNARY_INT8_FIELDS},
    "K_max": {"2bit": TERNARY_2BIT_K_MAX, "base3": TERNARY_BASE3_K_MAX, "int8": TERNARY_INT8_K_MAX},
}
cdef dict _format_index = {"2bit": 0, "base3": 1, "int8": 2}  # the enum of ternary.h


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
cdef int _threads = 1


def set_default_threads(int threads):
    global _threads
    _threads = threads


cdef int _team(threads) except -1:
    if threads is None:
        return _threads
    reference.check_threads(threads)
    return min(threads, INT_MAX)


# A buffer of bytes passes for int8, whoever owns it: only an array of the very type goes without check_x. The checks
# in Python say what is wrong; what they cost is not spent on arrays that fit.
cdef object _ndarray = np.ndarray, _INT8 = reference.INT8, _FLOAT32 = reference.FLOAT32
cdef int64_t _MOST = reference.MOST


cdef const int8_t[:, ::1] _int8_rows(x, int64_t K) except *:
    cdef const int8_t[:, ::1] view
    if type(x) is not _ndarray or x.dtype is not _INT8:
        reference.check_x(x, K, _INT8)
    try:
        view = x
    except (BufferError, ValueError):
        reference.check_x(x, K, _INT8)
        raise
    if view.shape[1] != K or view.shape[0] > _MOST:
        reference.check_x(x, K, _INT8)
    return view


cdef const float[:, ::1] _float_rows(x) except *:
    cdef const float[:, ::1] view
    if type(x) is not _ndarray or x.dtype is not _FLOAT32:
        reference.check_x(x, None, _FLOAT32)
    try:
        view = x
    except (BufferError, ValueError):
        reference.check_x(x, None, _FLOAT32)
        raise
    if <size_t>&view[0, 0] % sizeof(float) or view.shape[0] > _MOST:
        reference.check_x(x, None, _FLOAT32)
    return view


cdef const float[::1] _norm_weights(norm, int64_t K, float eps) except *:
    cdef const float[::1] view
    if type(norm) is not _ndarray or norm.dtype is not _FLOAT32:
        reference.check_norm(norm, K, eps)
    try:
        view = norm
    except (BufferError, ValueError):
        reference.check_norm(norm, K, eps)
        raise
    if view.shape[0] != K or <size_t>&view[0] % sizeof(float) or not 0 <= eps < INFINITY:
        reference.check_norm(norm, K, eps)
    return view


cdef class Matrix:
    cdef ternary_matrix c  # all but y
    cdef const uint8_t[::1] weights_view  # holds the buffers that c points into
    cdef const float[::1] scale_view
    cdef readonly int64_t N, K
    cdef readonly str format, held, backend
    cdef readonly object scale

    def __cinit__(self, packed, N, K, *, format="2bit", scale=1.0, backend):  # once: c never outlives its buffers
        reference.check_packed(packed, N, K, format)
        self.scale = reference.check_scale(scale, N)
        if backend not in _index:
            raise ValueError(f"backend {backend!r} cannot run here, wanted one of {', '.join(_index)}: see ROWS")
        cdef const ternary_backend *row = ternary_row(_index[backend])
        self.N, self.K, self.format, self.held, self.backend = N, K, format, format, backend
        if row.kernels[<int>_format_index[format]] == NULL:
            self.held = "2bit"
            packed = reference.pack(reference.unpack(packed, N, K, format), self.held)
        self.c.format = _format_index[self.held]
        self.c.kernel = row.kernels[self.c.format]
        self.c.N = N
        self.weights_view = packed
        self.c.weights = &self.weights_view[0]
        self.scale_view = np.atleast_1d(self.scale)
        self.c.scale = &self.scale_view[0]
        self.c.scale_step = self.scale.ndim

    @property
    def nbytes(self):
        return self.weights_view.shape[0]

    def matmul(self, x, threads=None):
        cdef const int8_t[:, ::1] view = _int8_rows(x, self.K)
        cdef int team = _team(threads)
        cdef int64_t M = view.shape[0]
        y = np.empty((M, self.N), np.int32)
        if M == 0 or self.N == 0:
            return y
        cdef int32_t[:, ::1] y_view = y
        cdef ternary_matrix c = self.c
        c.y = &y_view[0, 0]
        cdef matmul_status status
        with nogil:
            status = ternary_matmul(&c, 1, &view[0, 0], M, self.K, team)
        if status != MATMUL_DONE:
            raise MemoryError(f"no memory for {M} x {self.K} activations")
        return y


def quantize(x, norm=None, float eps=0.0):
    cdef const float[:, ::1] view = _float_rows(x)
    cdef int64_t M = view.shape[0], K = view.shape[1], m, bad_token = -1
    cdef const float[::1] norm_view
    cdef const float *norm_first = NULL
    if norm is not None:
        norm_view = _norm_weights(norm, K, eps)
        norm_first = &norm_view[0]
    codes, scale = np.empty((M, K), np.int8), np.empty(M, np.float32)
    cdef int8_t[:, ::1] codes_view = codes
    cdef float[::1] scale_view = scale
    with nogil:
        for m in range(M):
            quantize_token(&view[m, 0], K, norm_first, eps, &codes_view[m, 0], &scale_view[m])
            if scale_view[m] == 0 and bad_token < 0:
                bad_token = m
    if bad_token >= 0:
        _refuse(bad_token)
    return codes, scale


cdef _refuse(int64_t token):
    reference.check_finite(np.where(np.arange(token + 1) == token, NAN, 0))


def linear(matrices, x, norm=None, float eps=0.0, threads=None):
    cdef const float[:, ::1] view
    cdef int64_t M, K, bad_token = 0
    cdef int count, team = _team(threads)
    cdef const float[::1] norm_view
    cdef const float *norm_first = NULL
    cdef Matrix matrix
    cdef float[:, ::1] y_view
    cdef matmul_status status = MATMUL_DONE
    cdef int i
    matrices = tuple(matrices)  # ours: they stay alive while C reads them, whatever other threads do to a list
    for other in matrices:
        if not isinstance(other, Matrix):
            return reference.linear(matrices, x, norm, eps, threads)
    view = _float_rows(x)
    M, K, count = view.shape[0], view.shape[1], len(matrices)
    for matrix in matrices:
        if matrix.K != K:
            reference.check_x(x, matrix.K, _FLOAT32)
    if norm is not None:
        norm_view = _norm_weights(norm, K, eps)
        norm_first = &norm_view[0]
    cdef ternary_matrix *c = <ternary_matrix *>malloc(max(count, 1) * sizeof(ternary_matrix))
    if c == NULL:
        raise MemoryError(f"no memory for {count} matrices")
    try:
        ys = []
        for i in range(count):
            matrix = matrices[i]
            y = np.empty((M, matrix.N), np.float32)
            ys.append(y)
            c[i] = matrix.c
            y_view = y
            c[i].y = &y_view[0, 0]
        if M > 0:
            with nogil:
                status = ternary_linear(c, count, &view[0, 0], M, K, norm_first, eps, team, &bad_token)
    finally:
        free(c)
    if status == MATMUL_NO_MEMORY:
        raise MemoryError(f"no memory for {M} x {K} activations")
    if status == MATMUL_NOT_FINITE:
        _refuse(bad_token)
    return tuple(ys)


include "attend.pxi"


# What the benchmark races against: fp16, memory itself, and a product called from C.


def fp16_gemv(weights, const float[::1] x, int threads):
    cdef const uint16_t[:, ::1] view = weights.view(np.uint16)
    if view.shape[1] != x.shape[0] or view.shape[0] == 0 or view.shape[1] == 0:
        raise ValueError(f"x has {x.shape[0]} values, wanted the columns of weights {weights.shape}, none of them 0")
    y = np.empty(view.shape[0], np.float32)
    cdef float[::1] y_view = y
    cdef int done
    with nogil:
        done = c_fp16_gemv(&view[0, 0], view.shape[0], view.shape[1], &x[0], &y_view[0], threads)
    return y if done else None


def read_bytes(const uint8_t[::1] memory, bint fetch, int threads):
    if <size_t>&memory[0] % 8:
        raise ValueError("memory begins at an odd address, wanted a multiple of 8: use cython_kernels.empty")
    cdef uint64_t found
    with nogil:
        found = c_read_bytes(&memory[0], memory.shape[0], fetch, threads)
    return found


def seconds_in_c(Matrix matrix, const int8_t[:, ::1] x, int threads, int calls):
    if x.shape[1] != matrix.K:
        raise ValueError(f"x has {x.shape[1]} columns, wanted {matrix.K}")
    cdef int32_t[:, ::1] y = np.empty((x.shape[0], matrix.N), np.int32)
    cdef ternary_matrix c = matrix.c
    cdef int i
    c.y = &y[0, 0]
    start = time.perf_counter()
    for i in range(calls):
        ternary_matmul(&c, 1, &x[0, 0], x.shape[0], matrix.K, threads)
    return time.perf_counter() - start
