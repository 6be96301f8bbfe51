"""Which cube an object needs: as fine as it is small, as coarse as it is large.

Only for networks that were trained on several spacings (``model.spec.spacing_range_mm``); SAM-Med3D knows one.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import Region, bounding_box
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube, grid_to_cube

FILL = 3.0
"""Edge of the wanted cube over the object's longest side."""
WIDEN = 1.6
"""Factor on the spacing when the mask touches a face of the cube."""
HYSTERESIS = (0.65, 1.4)
"""No zoom while the wanted spacing is this close to the present one."""
RESERVE = 0.6
"""After a single positive click no finer than this times the first cube: the mask may be a part of a large object.

Below `HYSTERESIS`, or one click would never lead to a finer cube.
"""
CROP = 43
"""Cube voxels along the longest side of a small volume in its first cube."""
AGREEMENT = 0.45
"""A finer or coarser answer counts only if its Dice with the one before reaches this: it refines, or it is wrong."""
MOST = 2
"""Zooms for one click."""


def first_spacing(volume: Volume, spacing: float, finest: float) -> float:
    """Spacing in mm of an object's first cube: `spacing`, or finer where the whole volume is a small crop."""
    longest = max(np.multiply(volume.size, volume.spacing))
    return float(min(spacing, max(longest / CROP, finest)))


def showing(extent: Region, volume: Volume, spacing_range: tuple[float, float], size: int) -> Cube | None:
    """The cube that shows a box of voxels whole, as large in it as objects are in wanted cubes.

    Args:
        extent: The box.
        volume: The volume.
        spacing_range: Finest and coarsest cube spacing in mm that the network was trained on.
        size: Voxels along each edge of the cube.

    Returns:
        None for networks that know one spacing alone.
    """
    if spacing_range[0] >= spacing_range[1]:
        return None
    longest = max(np.multiply(extent.size, volume.spacing))
    spacing = float(np.clip(longest * FILL / size, _finest(volume, spacing_range), spacing_range[1]))
    return Cube.at(volume, np.add(extent.start, extent.stop) / 2 - 0.5, spacing=spacing, size=size)


def wanted(
    cube: Cube,
    logits: NDArray[np.float32],
    volume: Volume,
    clicks: NDArray[np.float64],
    spacing_range: tuple[float, float],
    first: float,
) -> Cube | None:
    """The cube that would show the object better, or None when this one does.

    Args:
        cube: The present cube.
        logits: (n, n, n) over the cube.
        volume: The volume.
        clicks: (N, 3) positive clicks (i, j, k), all inside the cube; the first one says which component is meant.
        spacing_range: Finest and coarsest cube spacing in mm that the network was trained on.
        first: Spacing in mm of the object's first cube.
    """
    to_cube = cube.from_voxel(volume)
    cells = grid_to_cube(len(logits), cube.size)
    box = _component(logits > 0, np.rint(cells.inverse(to_cube(clicks[0]))).astype(int))
    if box is None:
        return None
    corners = cells(np.array([[part.start - 0.5 for part in box], [part.stop - 0.5 for part in box]]))
    extent = np.vstack([corners, to_cube(clicks)])
    low, high = extent.min(axis=0), extent.max(axis=0)
    finest = _finest(volume, spacing_range)
    spacing = float(np.clip((high - low).max() * cube.spacing * FILL / cube.size, finest, spacing_range[1]))
    if cube.touched(volume, logits):
        spacing = min(spacing_range[1], WIDEN * cube.spacing)
    if len(clicks) == 1:
        spacing = max(spacing, RESERVE * first)
    if HYSTERESIS[0] <= spacing / cube.spacing <= HYSTERESIS[1]:
        return None
    return Cube.at(volume, to_cube.inverse((low + high) / 2), spacing=spacing, size=cube.size)


def _finest(volume: Volume, spacing_range: tuple[float, float]) -> float:
    """No finer than half a voxel: there is nothing more to see."""
    return max(spacing_range[0], 0.5 * min(volume.spacing))


def _component(mask: NDArray[np.bool_], cell: NDArray[np.int_]) -> tuple[slice, ...] | None:
    """The box of the component of `mask` that holds `cell`; of the largest one if none does; None if it is empty."""
    box = bounding_box(mask)  # labelling inside it alone is several times faster
    if box is None:
        return None
    first = np.array([part.start for part in box])
    labels, _ = ndimage.label(mask[box])
    at = tuple(np.clip(cell, 0, np.array(mask.shape) - 1))
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    label = int(labels[tuple(at - first)]) if mask[at] else largest
    found = ndimage.find_objects(labels)[label - 1]
    return tuple(slice(part.start + start, part.stop + start) for part, start in zip(found, first, strict=True))
