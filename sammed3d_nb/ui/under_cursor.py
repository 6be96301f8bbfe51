"""What is under the mouse: its value and place in the status line, its way to the network, its cube encoded ahead."""

from threading import Timer

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.chain_panel import ChainPanel, ClickPath
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.status import cursor_text
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.view import Pointer

_REST = 0.3  # seconds without a move after which the mouse rests


class UnderCursor(Tool):
    """Follows the mouse.

    Args:
        stage: What the tools share.
        views: Where the mouse moves.
        chain: Previews the way to the network.
    """

    def __init__(self, stage: Stage, views: OrthoViews, chain: ChainPanel) -> None:
        self._stage, self._chain = stage, chain
        self.resting = Timer(0, lambda: None)
        views.on_hover = self._moved

    def show(self, session: Session) -> None:
        """Forget what lay under the mouse before."""
        self.resting.cancel()
        self._leave()

    def release(self) -> None:
        """Encode nothing ahead any more."""
        self.resting.cancel()
        self.resting = Timer(0, lambda: None)  # the one before knows its session

    def rest(self, session: Session, voxel: tuple[int, int, int]) -> None:
        """Encode ahead the cube of a voxel if the mouse comes to rest on it."""
        stage = self._stage

        def rested() -> None:
            with stage.lock:  # the timer may have run out while another case was opened or the app closed
                if stage.session is session and not stage.worker.busy:
                    stage.worker.submit("Encoding ahead", lambda: session.prepare(voxel))

        self.resting.cancel()
        self.resting = Timer(_REST, rested)
        self.resting.start()

    def _moved(self, pointer: Pointer | None) -> None:
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
        if session.model.ahead:
            self.rest(session, pointer.voxel)

    def _leave(self) -> None:
        self._stage.status.under_cursor("")
        self._chain.hover(None)
