"""A classical rival that needs no weights: region growing from the same clicks.

The region grows from the positive clicks through connected voxels whose intensity is like theirs
(SimpleITK's confidence-connected filter after edge-preserving smoothing); negative clicks claim their part of it by a
watershed of the gradient from all clicks as markers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sammed3d_nb.errors import ClickError, PromptError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Point, Prompt

MULTIPLIER = 2.5
"""Standard deviations of the intensity round the clicks that still belong."""
ITERATIONS = 2
SMOOTHING = 5


@dataclass(frozen=True)
class Grown:
    """The answer to a click: ``mask`` uint8 (z, y, x) and the distance from the click to it in mm."""

    mask: NDArray[np.uint8]
    distance_mm: float


class RegionGrowing:
    """Answers clicks on one volume by region growing; `reset` and `add` as `Session` has them.

    Args:
        volume: The volume.
    """

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        image = sitk.Cast(volume.image, sitk.sitkFloat32)
        step = 0.9 * min(volume.spacing) / 2**4  # stable below 1/16 of the finest spacing
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK compares the step with 1/16, whatever the spacing
        try:
            self._smooth = sitk.CurvatureAnisotropicDiffusion(image, step, 3.0, 1, SMOOTHING)
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        self._gradient = sitk.GradientMagnitude(self._smooth)
        self._clicks: list[tuple[tuple[int, int, int], bool]] = []

    def reset(self) -> None:
        """Forget the clicks so far."""
        self._clicks = []

    def click(self, ijk: Sequence[int], positive: bool = True) -> Grown:
        """Answer a click: ``add(Point(ijk, positive))``."""
        return self.add(Point(tuple(ijk), positive))  # type: ignore[arg-type]

    def add(self, prompt: Prompt) -> Grown:
        """Answer a click.

        Raises:
            PromptError: It is no click, lies outside the volume, or a negative one comes first.
        """
        if not isinstance(prompt, Point):
            raise PromptError(f"Region growing takes clicks alone, no {prompt.kind}; give a point.")
        prompt.check(self.volume)
        voxel, positive = prompt.ijk, prompt.positive
        if not positive and not self._clicks:
            raise ClickError(
                "A negative click removes from a mask and there is none yet; click inside the object first."
            )
        self._clicks.append((voxel, positive))
        inside = [at for at, sign in self._clicks if sign]
        region = sitk.ConfidenceConnected(self._smooth, inside, ITERATIONS, MULTIPLIER, 1, 1)
        outside = [at for at, sign in self._clicks if not sign]
        if outside:
            markers = sitk.Image(self.volume.size, sitk.sitkUInt8)
            markers.CopyInformation(self._smooth)
            for at, sign in self._clicks:
                markers[at] = 1 if sign else 2
            basins = sitk.MorphologicalWatershedFromMarkers(self._gradient, markers, markWatershedLine=False)
            region = sitk.And(region, sitk.Cast(basins == 1, sitk.sitkUInt8))
        for at in inside:
            region[at] = 1
        mask: NDArray[np.uint8] = sitk.GetArrayFromImage(region)
        distance = LocalMask.of(mask).distance_mm(voxel, self.volume.spacing)
        return Grown(mask, distance)
