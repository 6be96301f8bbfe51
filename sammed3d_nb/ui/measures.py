"""Ruler and statistics: what a line is long, and what lies under a brush. They stay on the views until cleared."""

import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.readable import readable_ml, readable_number
from sammed3d_nb.session.edits import within_range
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.stroke import BRUSH, RULER, Armed, Mark, Stroke, length_mm
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.tool_row import ToolRow


class Measures(Tool):
    """Both tools, and what they have measured of the volume on the screen.

    Args:
        stage: What the tools share.
        views: Where the measures are shown.
        row: Where the tools are chosen.
    """

    def __init__(self, stage: Stage, views: OrthoViews, row: ToolRow) -> None:
        self._stage, self._views, self._row = stage, views, row
        self.clear = button(
            "Clear measures", "clear_measures", "Take all measures off the views", stage.guarded(stage.act)
        )
        row.add(Armed("ruler", RULER, says="yes"), "Ruler", "Measure a length in mm", self._ruler, beside=[self.clear])
        tip = "Mean, spread and range of the intensities under the brush"
        row.add(Armed("statistics", BRUSH, says="yes"), "Statistics", tip, self._statistics, beside=[self.clear])
        self.actions = {"clear_measures": lambda: self._put([])}
        self._put([])

    def show(self, session: Session) -> None:
        """Another volume has measures of its own."""
        self._put([])

    def _put(self, measures: list[Mark]) -> None:
        self._views.measures = measures
        self.clear.disabled = not measures
        self._views.redraw()

    def _ruler(self, stroke: Stroke) -> None:
        if len(stroke.canvas) < 2:
            raise UserError("A ruler needs two ends; press at one, and let go at the other.")
        places = stroke.places[[0, -1]]
        mm = length_mm(places, self._stage.ready().volume)
        self._put([*self._views.measures, Mark("ruler", places, text=f"{mm:.1f} mm")])
        self._stage.status.say(f"{mm:.1f} mm in the {stroke.plane.name} slice {round(places[0, stroke.axis]) + 1}.")

    def _statistics(self, stroke: Stroke) -> None:
        volume = self._stage.ready().volume
        where = within_range(stroke.under_brush(volume), volume, *self._row.bounds)
        if not where.count:
            raise UserError(
                "No voxel under the brush has an intensity in the range; widen the range or measure elsewhere."
            )
        values = volume.array[where.region.slices][where.values > 0].astype(np.float64)
        unit = " HU" if volume.modality == "CT" else ""
        mean, sd, low, high = (readable_number(n, 4) for n in (values.mean(), values.std(), values.min(), values.max()))
        ml = readable_ml(where.volume_ml(volume.spacing))
        voxels = f"{len(values)} voxel{'s' if len(values) > 1 else ''}"
        self._put(
            [*self._views.measures, Mark("statistics", stroke.places, text=f"{mean} ± {sd}{unit}", mm=stroke.armed.mm)]
        )
        self._stage.status.say(f"{voxels} ({ml}): mean {mean} ± {sd}{unit}, from {low} to {high}{unit}.")
