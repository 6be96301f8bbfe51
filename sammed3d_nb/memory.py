"""The C library's free memory: kept for the next click, or given back to the system. Only glibc's can be told."""

import contextlib
import ctypes
import os
from typing import NamedTuple

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, as glibc's malloc.h numbers them."""
SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables with which a user decides."""


class Thresholds(NamedTuple):
    """Bytes: of free memory at the heap's end from which on it is given back, of a block that is taken separately."""

    trim: int
    mmap: int


GLIBC = Thresholds(64 * 2**20, 32 * 2**20)
"""Where glibc's own thresholds rise to by themselves in a process that frees large blocks."""
KEPT = Thresholds(256 * 2**20, 64 * 2**20)
"""One click of the compact network takes and frees blocks of 8 to 50 MB; fresh pages cost a sixth of its time."""


def keep_freed(thresholds: Thresholds = KEPT) -> bool:
    """Reuse freed memory for what comes next, up to the thresholds; False where that cannot be told to the C library.

    It is told for the whole process, and not at all where the user's environment says something about it.
    """
    if any(name in os.environ for name in SET_BY_USER):
        return False
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        return bool(
            library.mallopt(TRIM_THRESHOLD, thresholds.trim) and library.mallopt(MMAP_THRESHOLD, thresholds.mmap)
        )
    return False


def give_back() -> None:
    """Return what is free to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
