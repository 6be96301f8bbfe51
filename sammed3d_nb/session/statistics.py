"""What can be said of the objects in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammed3d_nb.imaging.region import Index
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.objects import SegmentedObject
from sammed3d_nb.session.steps import Step


@dataclass(frozen=True)
class Measured:
    """One object in numbers.

    Attributes:
        name: The object.
        volume_ml: mL; as the screen says it and the export writes it.
        mean: Mean intensity, in the image's unit; None without a voxel, as are the next three.
        sd: Standard deviation of the intensity.
        first: Lowest voxel (i, j, k) of the box round it.
        last: Highest voxel of that box; it belongs to it.
        extent_mm: Edges of that box along i, j, k.
        prompts: How many it took.
        edits: How many.
        seconds: Of work, over the steps that changed it.
    """

    name: str
    volume_ml: float
    mean: float | None
    sd: float | None
    first: Index | None
    last: Index | None
    extent_mm: tuple[float, float, float] | None
    prompts: int
    edits: int
    seconds: float


def measured(objects: Sequence[SegmentedObject], volume: Volume, steps: Sequence[Step]) -> list[Measured]:
    """The numbers of every object; intensities in float64."""
    found = []
    for item in objects:
        prompts = len(item.prompts)
        seconds = sum(step.seconds for step in steps if item.key in step.changes)
        edits = len(item.history) - prompts
        ml = item.local.volume_ml(volume.spacing)
        if not item.local.count:
            found.append(Measured(item.name, ml, None, None, None, None, None, prompts, edits, seconds))
            continue
        region = item.local.region
        values = item.local.values > 0
        inside = np.concatenate(
            [volume.array[region.slices][k][plane].astype(np.float64) for k, plane in enumerate(values)]
        )
        i, j, k = np.multiply(region.size, volume.spacing)
        a, b, c = (stop - 1 for stop in region.stop)
        found.append(
            Measured(
                item.name, ml, float(inside.mean()), float(inside.std()), region.start, (a, b, c),
                (float(i), float(j), float(k)), prompts, edits, seconds,
            )
        )  # fmt: skip
    return found
