"""Brush and eraser: voxels that a hand sets."""

from concurrent.futures import Future

import ipywidgets as widgets

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.stroke import BRUSH, Armed, Stroke
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.tool_row import ToolRow


class Brush(Tool):
    """Both tools; each stroke is one step.

    Args:
        stage: What the tools share.
        row: Where they are chosen; it knows the range of intensities.
    """

    def __init__(self, stage: Stage, row: ToolRow) -> None:
        self._stage, self._row = stage, row
        self.unsure = widgets.ToggleButton(
            description="Unsure", tooltip="Only where the network is unsure", layout=widgets.Layout(width="auto")
        )
        self.unsure.add_class("snb-brush-unsure")
        tip = "Paint by hand; the right button erases"
        row.add(Armed("brush", BRUSH, turns=True), "Brush", tip, self._painted, beside=[self.unsure])
        tip = "Erase by hand; the right button paints"
        row.add(Armed("eraser", BRUSH, says="no", turns=True), "Eraser", tip, self._painted, beside=[self.unsure])

    def _painted(self, stroke: Stroke) -> "Future[LocalMask]":
        lower, upper = self._row.bounds
        self._stage.ready()
        only_unsure = self.unsure.value
        seen: list[str] = []

        def job(session: Session) -> LocalMask:
            seen.extend(self._row.show_current(session))
            where = stroke.under_brush(session.volume)
            within = session.unsure() if only_unsure else None
            spared = session.paint(where, stroke.positive, lower=lower, upper=upper, within=within)
            seen.extend(session.left(spared))
            return spared

        return self._stage.change("Painting" if stroke.positive else "Erasing", job, notes=lambda _: seen)
