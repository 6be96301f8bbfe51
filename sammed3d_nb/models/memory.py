"""The C library's free memory: kept for the next click, or given back to the system. Only glibc's can be told."""

import contextlib
import ctypes
import os
from typing import NamedTuple

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Parameters of ``mallopt``, as glibc's malloc.h numbers them."""


class Thresholds(NamedTuple):
    """Bytes: of free memory at the heap's end from which on it is given back, of a block that is taken separately."""

    trim: int
    mmap: int


KEPT = Thresholds(256 * 2**20, 64 * 2**20)
"""One click of the compact network takes and frees blocks of 8 to 50 MB; fresh pages cost an eighth of its time."""
LARGEST_MMAP = 32 * 2**20
"""Older versions of glibc refuse more."""


def keep_freed(thresholds: Thresholds = KEPT) -> bool:
    """Reuse freed memory for what comes next; False, and nothing is changed, where the C library cannot be told.

    It is told for the whole process, and not at all where the user's environment says something about it. Threads that
    begin later share the main thread's memory: memory of their own is given back whatever the thresholds say.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    with contextlib.suppress(OSError, AttributeError):
        tell = ctypes.CDLL("libc.so.6").mallopt
        # first what may be refused: any of them ends glibc's own adjustment
        if any(tell(MMAP_THRESHOLD, size) for size in (thresholds.mmap, min(thresholds.mmap, LARGEST_MMAP))):
            return bool(tell(TRIM_THRESHOLD, thresholds.trim) and tell(ARENA_MAX, 1))
    return False


def give_back() -> None:
    """Return what is free to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
