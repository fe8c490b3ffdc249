cdef extern from "attend.h":
    int c_attend "attend"(float *, const float *, const float *, float *, float *, int64_t, int64_t, int64_t, int64_t,
                          int64_t, int64_t, int) noexcept nogil


def attend(qkv, cosines, sines, cache, int64_t past, threads=None):
    cdef float[:, :, ::1] qkv_view
    cdef const float[:, ::1] cosines_view, sines_view
    cdef float[:, :, :, ::1] cache_view
    try:
        qkv_view, cosines_view, sines_view, cache_view = qkv, cosines, sines, cache
    except (BufferError, TypeError, ValueError):
        attention.check(qkv, cosines, sines, cache, past)
        raise
    cdef int64_t B = qkv_view.shape[0], D = qkv_view.shape[2], KV = cache_view.shape[2] // 2
    cdef int64_t H = qkv_view.shape[1] - 2 * KV, room = cache_view.shape[1]
    cdef int team = _team(threads), done
    if (
        KV < 1 or H < 1 or cache_view.shape[2] % 2 or H % KV or D < 2 or D % 2 or past < 0 or past >= room
        or cosines_view.shape[0] != B or cosines_view.shape[1] != D
        or sines_view.shape[0] != B or sines_view.shape[1] != D
        or cache_view.shape[0] != B or cache_view.shape[3] != D
        or <size_t>&qkv_view[0, 0, 0] % sizeof(float) or <size_t>&cache_view[0, 0, 0, 0] % sizeof(float)
        or <size_t>&cosines_view[0, 0] % sizeof(float) or <size_t>&sines_view[0, 0] % sizeof(float)
    ):
        attention.check(qkv, cosines, sines, cache, past)
    y = np.empty((B, H, D), np.float32)
    if B == 0:
        return y
    cdef float[:, :, ::1] y_view = y
    with nogil:
        done = c_attend(&qkv_view[0, 0, 0], &cosines_view[0, 0], &sines_view[0, 0], &cache_view[0, 0, 0, 0],
                        &y_view[0, 0, 0], B, H, KV, D, room, past, team)
    if not done:
        raise MemoryError(f"no memory for {B} x {H} x {past + 1} weights")
    return y
