"""How much memory images may take, and the images that clients share: one copy of each, however many work on it.

Some models keep more of an image than the image: that counts too, once for each model that works on it.
"""

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
        self._users: Counter[tuple[str, str]] = Counter()  # of an image by its fingerprint, with a model
        self._kept: dict[tuple[str, str], int] = {}  # bytes that such a model keeps beside the image
        self._coming = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes of the images, of what models keep of them, and of what is on its way."""
        with self._lock:
            return self._used

    @property
    def _used(self) -> int:
        held = sum(volume.array.nbytes for volume in self._images.values())
        return self._coming + held + sum(self._kept.values())

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
            self._check(need, what)
            self._coming += need
        try:
            yield
        finally:
            with self._lock:
                self._coming -= need

    def _check(self, need: int, what: str, freed: int = 0) -> None:
        free = self.most - self._used + freed
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

    def makes_room(self, volume: Volume, model: str, need: int) -> bool:
        """Whether bytes are free once an image is left, and not before."""
        with self._lock:
            free = self.most - self._used
            return free < need <= free + self._freed_by(volume, model)

    def _freed_by(self, volume: Volume | None, model: str) -> int:
        """Bytes that are free once somebody leaves an image: none while others work on it."""
        if volume is None or self._users[volume.fingerprint, model] != 1:
            return 0
        users = sum(image == volume.fingerprint for image, _ in self._users)
        return self._kept[volume.fingerprint, model] + (volume.array.nbytes if users == 1 else 0)

    def enter(self, volume: Volume, model: str = "", kept: int = 0, *, before: Volume | None = None) -> Volume:
        """The one copy of an image, which stays until everybody who entered has left.

        Args:
            volume: The image.
            model: What works on it.
            kept: Bytes that this model keeps of it beside the image.
            before: The image that is left for this one at once.

        Raises:
            Refused: There is no memory for those, at all (413) or now (503).
        """
        user = volume.fingerprint, model
        with self._lock:
            if user not in self._kept:
                if kept:
                    what = f"What {model} keeps of an image of {volume.array.size / 1e6:,.1f} M voxels"
                    self._check(kept, what, self._freed_by(before, model))
                self._kept[user] = kept
            self._users[user] += 1
            return self._images.setdefault(volume.fingerprint, volume)

    def leave(self, volume: Volume, model: str = "") -> bool:
        """Let go of an image; whether nobody works on it with this model any more."""
        user = volume.fingerprint, model
        with self._lock:
            self._users[user] -= 1
            if self._users[user] > 0:
                return False
            del self._users[user], self._kept[user]
            if not any(image == volume.fingerprint for image, _ in self._users):
                self._images.pop(volume.fingerprint, None)
            return True

    @property
    def images(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._images)


def _shown(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count > 1e8 else f"{max(count, 0) / 1e6:,.1f} MB"
