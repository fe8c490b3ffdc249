"""What other extensions of this package need: the frame's C functions and the class that holds a matrix."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t


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
        const ternary_matrix *, int, const int8_t *, int64_t, int64_t, int) noexcept nogil
    matmul_status ternary_linear(
        const ternary_matrix *, int, const float *, int64_t, int64_t, const float *, float, int, int64_t *) noexcept nogil


cdef class Matrix:
    cdef ternary_matrix c  # all but y
    cdef const uint8_t[::1] weights_view  # holds the buffers that c points into
    cdef const float[::1] scale_view
    cdef readonly int64_t N, K
    cdef readonly str format, held, backend
    cdef readonly object scale
