"""Reading ahead: the next case's volume is in memory before it is asked for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import psutil

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume

MOST_BYTES = 2**30
"""Bytes of the volume that is read ahead at most; a quarter of the free memory, where that is less."""


def room(most: int = MOST_BYTES) -> int:
    """Bytes of a volume that nobody has asked to open for which there is memory now."""
    return min(most, int(psutil.virtual_memory().available) // 4)


class Ahead:
    """Reads one volume ahead, in a thread of its own; a damaged one is told when it is opened.

    Args:
        most: Bytes that it may take, as far as headers tell.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sammed3d ahead")
        self._lock = Lock()
        self._next: tuple[str, Future[Volume]] | None = None

    def prepare(self, key: str, nbytes: int, read: Callable[[], Volume]) -> bool:
        """Read a volume in the background, and forget the one before; returns whether that is done.

        Args:
            key: Of its case.
            nbytes: About how many bytes it takes; 0 where that is not known.
            read: Reads it.
        """
        with self._lock:
            if self._next is not None:
                if self._next[0] == key:
                    return True
                self._next[1].cancel()
                self._next = None
            if not 0 < nbytes <= room(self.most):
                return False
            self._next = key, self._pool.submit(_known, read)
            return True

    def take(self, key: str) -> Volume | None:
        """The volume that was read ahead, or is being read: None for another one, and where it cannot be read."""
        with self._lock:
            if self._next is None or self._next[0] != key:
                return None
            (_, waiting), self._next = self._next, None
        try:
            return waiting.result()
        except UserError:
            return None

    def close(self) -> None:
        """Forget what was read."""
        with self._lock:
            self._next = None
        self._pool.shutdown(wait=False, cancel_futures=True)


def _known(read: Callable[[], Volume]) -> Volume:
    """A volume with what opening it needs: its checksum takes as long as a look at every voxel."""
    volume = read()
    _ = volume.fingerprint
    return volume
