"""What outlives a lease and the server: records by key and image, and the images that they were made on.

``<folder>/images/<fingerprint>.mha`` and ``<folder>/<who>/<fingerprint>/<model>/<time>.sammed3d.json``, in a folder
that only its owner enters.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.record import SUFFIX

NOBODY = "anyone"
"""Whose records they are where there are no keys."""
MOST_RECORDS = 20
"""Earlier records of an image that are looked through."""
_log = logging.getLogger("sammed3d_nb.server")


class Keeping:
    """The server's folder. Safe from any thread.

    Args:
        folder: It is there, and nobody else enters it.
        images: Bytes of images to keep; the ones longest unused go first. 0 keeps none.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self.images = images
        self._open: set[Path] = set()
        self._wanted: set[str] = set()
        self._lock = threading.Lock()

    # -- records -----------------------------------------------------------------------------------------------

    def _place(self, who: str, fingerprint: str, model: str) -> Path:
        return self.folder / who / fingerprint[:32] / model

    def new(self, who: str, fingerprint: str, model: str) -> Path:
        """Where another record goes, open from now on."""
        place = self._place(who, fingerprint, model)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = place / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}{SUFFIX}"
        with self._lock:
            self._open.add(path)
        return path

    def earlier(self, who: str, fingerprint: str, model: str) -> list[Path]:
        """The records of a key, an image and a model, the newest first."""
        found = []
        with suppress(OSError):
            for path in self._place(who, fingerprint, model).glob(f"*{SUFFIX}"):
                with suppress(OSError):
                    found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)[:MOST_RECORDS]]

    def taken(self, path: Path) -> bool:
        """Take a record to go on with; False if another lease has it open."""
        with self._lock:
            if path in self._open:
                return False
            self._open.add(path)
            return True

    def close(self, path: Path | None) -> None:
        """Let go of a record."""
        with self._lock:
            if path is not None:
                self._open.discard(path)

    # -- images ------------------------------------------------------------------------------------------------

    def image(self, fingerprint: str) -> Path | None:
        """Where an image is kept, or will be; None if none are."""
        return self.folder / "images" / f"{fingerprint}.mha" if self.images else None

    def keep(self, volume: Volume) -> None:
        """Keep an image for `replay`, whole or not at all; what does not work is said in the log."""
        path = self.image(volume.fingerprint)
        if path is None or volume.array.nbytes > self.images:
            return
        with self._lock:
            if path.name in self._wanted:
                return
            self._wanted.add(path.name)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if path.is_file():
                path.touch()
            else:
                import SimpleITK as sitk

                self._make_room(volume.array.nbytes)
                with atomic.drafts(path) as draft:
                    sitk.WriteImage(volume.image, str(draft / path.name))
        except (OSError, RuntimeError) as error:
            _log.warning("the image could not be kept for replay: %s", str(error).splitlines()[0])
        finally:
            with self._lock:
                self._wanted.discard(path.name)

    def _make_room(self, need: int) -> None:
        held = sorted(((path.stat().st_mtime_ns, path.stat().st_size, path) for path in
                       (self.folder / "images").glob("*.mha")), key=lambda one: one[0])  # fmt: skip
        total = sum(size for _, size, _ in held)
        for _, size, path in held:
            if total + need <= self.images:
                break
            path.unlink(missing_ok=True)
            total -= size
            _log.info("image %s… is no longer kept: others needed its place", path.stem[:8])


def open_folder(folder: Path) -> Path:
    """The server's folder, made where it is missing.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made ({atomic.reason(error)}); choose another.") from None
    return folder
