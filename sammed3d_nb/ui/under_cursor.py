"""What is under the mouse: its value and place in the status line, its way to the network, its cube encoded ahead."""

from threading import Timer
from typing import Any

import psutil

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.chain_panel import ChainPanel, ClickPath
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.status import cursor_text
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.view import Pointer

_REST = 0.3  # seconds without a move after which the mouse rests
_IDLE = 0.6  # share of a CPU that nobody uses while the mouse comes to rest, for the cube to be encoded on it


class UnderCursor(Tool):
    """Follows the mouse.

    Args:
        stage: What the tools share.
        views: Where the mouse moves.
        chain: Previews the way to the network.
    """

    def __init__(self, stage: Stage, views: OrthoViews, chain: ChainPanel) -> None:
        self._stage, self._views, self._chain = stage, views, chain
        self._at: Pointer | None = None  # where the mouse is, if it is over a view
        self.resting = Timer(0, lambda: None)
        views.on_hover = self._moved

    def show(self, session: Session) -> None:
        """Forget what lay under the mouse before, and encode ahead the middle: the network is warm then."""
        self._at = None
        self._leave()
        self.rest(session, self._views.cross)

    def acted(self) -> None:
        """The mouse has not moved, but another voxel may be under it now."""
        if self._at is not None:
            moved = self._views.renderer.under(self._at)
            if moved is not None:
                self._look_at(moved if moved.inside else None)

    def release(self) -> None:
        """Encode nothing ahead any more."""
        self.resting.cancel()
        self.resting = Timer(0, lambda: None)  # the one before knows its session

    def rest(self, session: Session, voxel: tuple[int, int, int]) -> None:
        """Encode ahead the cube of a voxel if the mouse comes to rest on it, on a CPU only if that is idle."""
        stage, before = self._stage, psutil.cpu_times()

        def rested() -> None:
            with stage.lock:  # the timer may have run out while another case was opened or the app closed
                if stage.session is not session:
                    return
                if stage.worker.busy:
                    self.rest(session, voxel)
                elif session.model.ahead or idle_share(before, psutil.cpu_times()) >= _IDLE:
                    stage.worker.submit(None, lambda: session.prepare(voxel, lambda: stage.worker.awaited))

        self.resting.cancel()
        self.resting = Timer(_REST, rested)
        self.resting.daemon = True
        self.resting.start()

    def _moved(self, pointer: Pointer | None) -> None:
        self._at = pointer
        self._look_at(pointer)

    def _look_at(self, pointer: Pointer | None) -> None:
        session = self._stage.session
        if session is None or pointer is None or not session.volume.contains(pointer.voxel):
            self._leave()
            return
        volume = session.volume
        i, j, k = pointer.voxel
        unit = "HU" if volume.modality == "CT" else ""
        ras = volume.voxel_to_ras(pointer.voxel)
        self._stage.status.under_cursor(cursor_text(pointer.voxel, ras, volume.array[k, j, i], unit))
        trace = session.preview(pointer.voxel, approach=tuple(pointer.chain))
        self._chain.hover(ClickPath(trace, pointer=pointer))
        self.rest(session, pointer.voxel)

    def _leave(self) -> None:
        self._stage.status.under_cursor("")
        self._chain.hover(None)


def idle_share(before: Any, after: Any) -> float:
    """The share of all CPUs' time between two answers of `psutil.cpu_times` that nobody used; 1 between equal ones."""
    spent = [now - then for then, now in zip(before, after, strict=True)]
    idle = after.idle - before.idle + getattr(after, "iowait", 0.0) - getattr(before, "iowait", 0.0)
    return float(idle / sum(spent)) if sum(spent) > 0 else 1.0
