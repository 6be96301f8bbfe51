"""How much memory images may take, and the images that clients share: one copy of each, however many work on it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.server.refusals import Refused


class Room:
    """The images in memory, and what is on its way. Safe from any thread.

    Args:
        most: Bytes for all of them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._images: dict[str, Volume] = {}
        self._users: Counter[str] = Counter()
        self._coming = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes of the images, and of those on their way."""
        with self._lock:
            return self._used

    @property
    def _used(self) -> int:
        return self._coming + sum(volume.array.nbytes for volume in self._images.values())

    @contextmanager
    def reserved(self, need: int, what: str) -> Iterator[None]:
        """Memory for something on its way.

        Args:
            need: Bytes.
            what: What it is, for the sentence.

        Raises:
            Refused: There is none, at all (413) or now (503).
        """
        with self._lock:
            free = self.most - self._used
            if need > self.most:
                raise Refused(
                    413,
                    f"{what} takes {_shown(need)} and the server has {_shown(self.most)} for images; crop or shrink "
                    "it, or start the server with more --memory.",
                )
            if need > free:
                raise Refused(
                    503,
                    f"{what} takes {_shown(need)} and {_shown(free)} of {_shown(self.most)} are free; close another "
                    "image, or wait until somebody does.",
                    {"Retry-After": "30"},
                )
            self._coming += need
        try:
            yield
        finally:
            with self._lock:
                self._coming -= need

    def enter(self, volume: Volume) -> Volume:
        """The one copy of an image, which stays until everybody who entered has left."""
        with self._lock:
            held = self._images.setdefault(volume.fingerprint, volume)
            self._users[volume.fingerprint] += 1
            return held

    def leave(self, volume: Volume) -> bool:
        """Let go of an image; whether nobody has it any more."""
        with self._lock:
            self._users[volume.fingerprint] -= 1
            if self._users[volume.fingerprint] > 0:
                return False
            del self._users[volume.fingerprint]
            self._images.pop(volume.fingerprint, None)
            return True

    @property
    def images(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._images)


def _shown(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count > 1e8 else f"{max(count, 0) / 1e6:,.1f} MB"
