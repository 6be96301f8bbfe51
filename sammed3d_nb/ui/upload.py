"""Files that come from the user's own machine through the page."""

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import traitlets
from anywidget import AnyWidget

from sammed3d_nb.atomic import reason
from sammed3d_nb.errors import UserError
from sammed3d_nb.ui.stage import Stage

LARGEST = 2**30
"""Bytes of a file that the page may send."""


class Upload(AnyWidget):
    """Buttons that each send a file.

    Args:
        stage: What the tools share.
        buttons: For each a word for `take`, its text and its tooltip.
        take: Called with the word and a file of the user's name and bytes, in a folder that is gone afterwards unless
            `take` keeps it: it returns a future, and the folder goes when that is done.
    """

    _esm = (Path(__file__).parent / "upload.js").read_text(encoding="utf-8")
    buttons: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(self, stage: Stage, buttons: Sequence[tuple[str, str, str]], take: Callable[[str, Path], Any]) -> None:
        super().__init__(buttons=[list(button) for button in buttons])
        self._stage, self._take = stage, take
        self._coming: tuple[str, str, Path, int] | None = None  # which file, for what, where it goes, its size
        self.on_msg(lambda _, content, buffers: stage.guarded(self._message)(content, buffers))

    def drop(self) -> None:
        """Give up a file that is on its way."""
        coming, self._coming = self._coming, None
        if coming is not None:
            shutil.rmtree(coming[2].parent, ignore_errors=True)

    def _message(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        match content:
            case {"do": "file", "ask": str(ask), "how": str(how), "name": str(name), "size": int(size)}:
                self.drop()
                if how not in [word for word, *_ in self.buttons]:
                    return
                if not 0 < size <= LARGEST:
                    raise UserError(f"{name[:80]} has {size} bytes; a file with masks has some, {LARGEST} at most.")
                place = Path(tempfile.mkdtemp(prefix="sammed3d-")) / _safe(name)
                place.touch()
                self._coming = ask, how, place, size
                self.send({"ask": ask, "want": 0})
            case {"do": "piece", "ask": str(ask), "at": int(at)}:
                self._piece(ask, at, b"".join(bytes(buffer) for buffer in buffers))
            case {"do": "unreadable", "ask": str(ask), "why": str(why)} if self._coming and self._coming[0] == ask:
                name = self._coming[2].name
                self.drop()
                raise UserError(f"The browser could not read {name} ({why[:200]}); choose it again.")

    def _piece(self, ask: str, at: int, data: bytes) -> None:
        coming = self._coming
        if coming is None or coming[0] != ask:
            return  # given up meanwhile
        _, how, place, size = coming
        there = place.stat().st_size
        if at != there or not data or there + len(data) > size:
            self.drop()
            raise UserError(f"{place.name} changed while it was read; choose it again.")
        try:
            with place.open("ab") as file:
                file.write(data)
        except OSError as error:
            self.drop()
            raise UserError(f"{place.name} finds no room on the server ({reason(error)}); make some first.") from error
        if there + len(data) < size:
            self._stage.status.say(f"Reading {place.name}: {100 * (there + len(data)) // size} %")
            self.send({"ask": ask, "want": there + len(data)})
            return
        self._coming = None
        try:
            self._take(how, place).add_done_callback(lambda _: shutil.rmtree(place.parent, ignore_errors=True))
        except BaseException:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise


def _safe(name: str) -> str:
    """A file name of letters, digits and a few signs, with its end: that says the format."""
    bare = re.sub(r"[^\w.+() -]", "_", name.replace("\\", "/").rsplit("/", 1)[-1])[-100:].lstrip(". ")
    return bare or "masks"
