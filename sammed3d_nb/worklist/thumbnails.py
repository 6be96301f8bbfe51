"""Small pictures of cases: made in the background, kept in the worklist's folder."""

import io
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread

import numpy as np

from sammed3d_nb import atomic
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.worklist.shared import made

log = logging.getLogger("sammed3d_nb.worklist")
SIDE = 96  # pixels
FOLDER = "thumbnails"
_WAITING = 60  # of those asked for last; the others are asked for again when they are seen
_LARGEST = 100_000  # bytes
_CT = (-160.0, 240.0)  # HU, soft tissue


class Thumbnails:
    """The small pictures of a worklist.

    Args:
        folder: Where they are kept.
        read: Reads a case's volume, by its key.
        on_made: Called, from a thread, with a case's key, its picture (empty where there can be none) and modality.
        fits: Whether there is memory for a case's volume now, by its key; without, it has its picture once it was open.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[str], Volume],
        on_made: Callable[[str, bytes, str], None],
        fits: Callable[[str], bool] = lambda key: True,
    ) -> None:
        self._folder, self._read, self._on_made, self._fits = folder / FOLDER, read, on_made, fits
        self._wanted: list[str] = []
        self._bare: set[str] = set()  # those of which there can be none
        self._change = Condition()
        self._ended = False
        self._thread: Thread | None = None

    def kept(self, key: str) -> bytes | None:
        """A picture that was made before; None without one."""
        if key in self._bare:
            return b""
        with suppress(OSError):
            path = self._folder / f"{key}.jpg"
            if not path.is_symlink() and path.stat().st_size < _LARGEST:
                return path.read_bytes()
        return None

    def want(self, key: str) -> None:
        """Ask for a picture: those asked for last come first."""
        with self._change:
            if self._ended:
                return
            if key in self._wanted:
                self._wanted.remove(key)
            self._wanted = [*self._wanted, key][-_WAITING:]
            if self._thread is None:
                self._thread = Thread(target=self._make, name="sammed3d thumbnails", daemon=True)
                self._thread.start()
            self._change.notify()

    def add(self, key: str, volume: Volume) -> None:
        """Keep the picture of a volume that is in memory anyway."""
        if self.kept(key) is None:
            self._keep(key, picture(volume))

    def close(self) -> None:
        """Make no more."""
        with self._change:
            self._ended, self._wanted = True, []
            self._change.notify()

    def _make(self) -> None:
        while True:
            with self._change:
                while not self._wanted and not self._ended:
                    self._change.wait()
                if self._ended:
                    return
                key = self._wanted.pop()
            try:
                data = self._made(key)
                if data is not None and not self._ended:
                    self._on_made(key, data, modality_of(data))
            except Exception:  # the next one may have its picture all the same
                log.exception("the picture of a case could not be shown")

    def _made(self, key: str) -> bytes | None:
        """A picture; empty where there can be none, None where there is no room to make it now."""
        data = self.kept(key)
        if data is not None and (not data or is_picture(data)):
            return data
        if not self._fits(key):
            return None
        try:
            data = picture(self._read(key))
            self._keep(key, data)
        except Exception:  # it is told when the case is opened
            data = b""
            self._bare.add(key)
        return data

    def _keep(self, key: str, data: bytes) -> None:
        with suppress(OSError):  # it can be made again
            made(self._folder)
            atomic.write_bytes(self._folder / f"{key}.jpg", data)


def picture(volume: Volume) -> bytes:
    """The middle axial slice as a JPEG of at most `SIDE` × `SIDE` pixels, the patient's right on its left.

    Its comment is the modality.
    """
    from PIL import Image

    cosines = np.abs(volume.direction)  # rows: LPS; columns: i, j, k
    up = int(cosines[2].argmax())
    across, down = (axis for axis in range(3) if axis != up)
    if cosines[0, across] < cosines[0, down]:
        across, down = down, across
    index: list[int | slice] = [slice(None)] * 3
    index[2 - up] = volume.size[up] // 2
    values = np.asarray(volume.array[tuple(index)], np.float32)
    if 2 - across < 2 - down:  # columns run across
        values = values.T
    if volume.direction[0, across] < 0:
        values = values[:, ::-1]
    if volume.direction[1, down] < 0:
        values = values[::-1]
    low, high = _CT if volume.modality == "CT" else np.percentile(values, (0.5, 99.5))
    grey = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1) * 255
    width, height = (volume.size[axis] * volume.spacing[axis] for axis in (across, down))
    scale = SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    out = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BOX).save(
        out, "JPEG", quality=80, comment=volume.modality.encode()
    )
    return out.getvalue()


def is_picture(data: bytes) -> bool:
    """Whether a file is a picture as they are made here; another one may have been put there."""
    from PIL import Image

    try:
        return max(Image.open(io.BytesIO(data)).size) <= SIDE
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def modality_of(data: bytes) -> str:
    """What a picture's file says of the modality, which takes a look at the voxels; "" where nobody knows."""
    from PIL import Image

    try:
        told = Image.open(io.BytesIO(data)).info.get("comment", b"")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return told.decode("ascii", "ignore")[:16] if isinstance(told, bytes) else ""
