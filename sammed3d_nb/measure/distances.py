"""How far two masks are from each other: overlap, and the distance between their surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import LocalMask, Region, dice

Mask = NDArray[np.bool_]
TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class Compared:
    """Two masks next to each other.

    Attributes:
        dice: Their overlap.
        mean_mm: Mean distance from the border voxels of either to the other's border; None where one is empty.
        hd95_mm: The larger of both 95th percentiles of these distances (a Hausdorff distance without its worst 5 %).
        only_first_ml: mL of the first alone.
        only_second_ml: mL of the second alone.
        both_ml: mL of both.
    """

    dice: float
    mean_mm: float | None
    hd95_mm: float | None
    only_first_ml: float
    only_second_ml: float
    both_ml: float


def surface_dice(a: Mask, b: Mask, spacing: Sequence[float], tolerance: float = TOLERANCE_MM) -> float:
    """Share of the border voxels of both masks that lie within `tolerance` of the other mask's border.

    Args:
        a: (z, y, x).
        b: The same shape.
        spacing: Edges of a voxel in mm, in array order z, y, x.
        tolerance: mm.
    """
    if not a.any() or not b.any():
        return 1.0 if not a.any() and not b.any() else 0.0
    from_a, from_b = surface_distances(a, b, spacing)
    close = int((from_a <= tolerance).sum()) + int((from_b <= tolerance).sum())
    return close / (len(from_a) + len(from_b))


def surface_distances(a: Mask, b: Mask, spacing: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From every border voxel of each of two masks, neither empty, the distance in mm to the other's border.

    Border voxels belong to the mask and have a face without; the array's own faces count as such.
    """
    whole = LocalMask.of(a | b).region.slices
    a, b = np.pad(a[whole], 1), np.pad(b[whole], 1)
    border_a, border_b = (mask & ~ndimage.binary_erosion(mask) for mask in (a, b))
    to_b = ndimage.distance_transform_edt(~border_b, sampling=spacing)
    to_a = ndimage.distance_transform_edt(~border_a, sampling=spacing)
    return to_b[border_a], to_a[border_b]


def compare_masks(first: LocalMask, second: LocalMask, spacing: Sequence[float]) -> Compared:
    """Compare two masks of one volume.

    Args:
        first: One.
        second: The other.
        spacing: mm along i, j, k.
    """
    both = first & second
    ml = [mask.volume_ml(spacing) for mask in (first.without(both), second.without(both), both)]
    region = Region.union([first.region, second.region])
    a, b = (mask.crop(region).view(np.bool_) for mask in (first, second))
    if not first.count or not second.count:
        return Compared(dice(a, b), None, None, *ml)
    distances = surface_distances(a, b, tuple(spacing)[::-1])
    mean = float(np.concatenate(distances).mean())
    return Compared(dice(a, b), mean, max(float(np.percentile(one, 95)) for one in distances), *ml)
