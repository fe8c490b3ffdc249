"""The compiled backends. Use them through `cython_kernels.matmul`, which chooses one."""

import numpy as np

FORMAT: int
PANEL_ROWS: int
STEP_COLUMNS: int
BLOCK_ROWS: int
BLOCK_BYTES: int
STEP_BYTES: int
K_MAX: int

ROWS: tuple[tuple[str, bool, bool], ...]
"""(name, built, supported) of every row of c/dispatch.c, slowest first."""

def matmul(packed: np.ndarray, N: int, K: int, x: np.ndarray, backend: str) -> np.ndarray:
    """As `cython_kernels.reference.matmul`, run by `backend` without the GIL.

    Raises as `check_matmul` does, and ValueError for a backend that is unknown, not built or not supported.
    """
