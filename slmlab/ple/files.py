"""A table in a file, and the pages of it that the system holds in memory.

What a file's pages do is the system's business: it reads them when they are asked for, keeps them as long as it likes
(the page cache), and throws them away when memory is wanted. Linux and macOS tell which pages are there (mincore);
Linux also drops them when told to (posix_fadvise). `limits()` says what this system does not do.
"""

import ctypes
import mmap
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PAGE_BYTES = mmap.PAGESIZE


@dataclass(frozen=True)
class Stored:
    """A matrix in a file, row after row, from the byte `start` on.

    dtype: as safetensors spells it: "BF16", "F16" or "F32"
    copies: every row of the model stands `copies` times over; token t has row t * copies
    """

    path: Path
    start: int
    rows: int
    width: int
    dtype: str
    copies: int = 1

    @property
    def row_bytes(self) -> int:
        return self.width * (4 if self.dtype == "F32" else 2)

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes

    def pages(self, rows: np.ndarray) -> np.ndarray:
        """The pages of the file that these rows lie on: sorted, each once."""
        return pages(rows, self.row_bytes, self.start, PAGE_BYTES)


def pages(rows: np.ndarray, row_bytes: int, start: int, page_bytes: int) -> np.ndarray:
    """Numbers of the pages that hold a byte of the given rows of a table that begins at the byte `start`.

    rows: integers. Returns a sorted int64 array, each page once.
    """
    first = (start + np.asarray(rows, np.int64) * row_bytes) // page_bytes
    last = (start + (np.asarray(rows, np.int64) + 1) * row_bytes - 1) // page_bytes
    most = int((last - first).max(initial=0))
    spread = first[:, None] + np.arange(most + 1)
    return np.unique(spread[spread <= last[:, None]])


# ------------------------------------------------------------------------------------------------------------------
# What the system holds


def limits() -> list[str]:
    """What this system does not tell or do, a sentence each; empty on Linux."""
    missing = []
    if sys.platform == "win32":
        missing.append("Windows does not tell which pages of a file are in memory: there is no mincore.")
    if not hasattr(os, "posix_fadvise"):
        missing.append("A file's pages cannot be dropped here (no posix_fadvise): what was read once stays warm.")
    if not hasattr(mmap, "MADV_RANDOM"):
        missing.append("Reading ahead cannot be switched off for a mapped file here: there is no madvise.")
    return missing


def resident_pages(path: Path) -> np.ndarray | None:
    """Which pages of the file are in memory now, whoever brought them: (pages,) bool. None on Windows.

    Linux tells it only to the owner of a file, or to one who may write it; to others every page seems to be there.
    """
    if sys.platform == "win32":
        return None
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        there = np.zeros(-(-size // PAGE_BYTES), np.uint8)
        view = np.frombuffer(mapped, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = (ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(size), ctypes.c_void_p(there.ctypes.data))
        failed = libc.mincore(*arguments)
        del view  # a mapping with a view on it cannot be closed
        if failed:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    return there & 1 == 1


def resident_bytes(path: Path) -> int | None:
    """Bytes of the file that are in memory now, in whole pages. None on Windows."""
    there = resident_pages(path)
    return None if there is None else int(there.sum()) * PAGE_BYTES


def drop(path: Path) -> bool:
    """Ask the system to throw the file's pages out of memory; False where it takes no such advice.

    Pages not yet written to the disk are written first. Pages that a process has in use, as those of a mapping that
    were touched, stay (Mapped.drop lets go of its own), and a file system in memory keeps all of them: look at
    resident_bytes afterwards.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
    return True


def read_ahead_bytes(path: Path) -> int | None:
    """How much Linux may read at once around a page that is missed; None where the disk does not tell."""
    device = path.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}") if sys.platform == "linux" else None
    for queue in ("queue", "../queue") if block else ():  # the second for a partition
        try:
            return 1024 * int((block / queue / "read_ahead_kb").read_text(encoding="ascii"))
        except OSError:
            continue
    return None
