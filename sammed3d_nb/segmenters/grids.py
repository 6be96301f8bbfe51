"""Boxes and slices on a cube's grid of cells."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube, grid_to_cube
from sammed3d_nb.segmenters.prompts import Lasso

Field = NDArray[np.float64]


def axes_of(cube: Cube, volume: Volume) -> list[int]:
    """The volume's axis (0, 1, 2 for i, j, k) along each of the cube's dims."""
    linear = abs(cube.from_voxel(volume).inverse.affine[:3, :3])
    return [int(axis) for axis in linear.argmax(axis=0)]


def lines_of(cube: Cube, volume: Volume, cells: int) -> list[Field]:
    """For each of the volume's axes, the index of the cells' middles along it, shaped to spread over the cube's grid.

    Rounded, so that a cell on a border lies on it whichever way the volume's axes run.
    """
    affine = grid_to_cube(cells, cube.size).then(cube.from_voxel(volume).inverse).affine
    lines: list[Field] = [np.empty(0)] * 3
    for dim, axis in enumerate(axes_of(cube, volume)):
        line = affine[axis, 3] + affine[axis, dim] * np.arange(cells)
        lines[axis] = np.round(line, 6).reshape([-1 if other == dim else 1 for other in range(3)])
    return lines


def cells_in(region: Region, cube: Cube, volume: Volume, cells: int) -> tuple[slice, slice, slice]:
    """The cells of a cube's grid whose middles lie in a box of voxels; at least the nearest ones along each axis."""
    lines = lines_of(cube, volume, cells)
    parts = []
    for axis in axes_of(cube, volume):
        line = lines[axis].ravel()
        middle = (region.start[axis] + region.stop[axis] - 1) / 2
        half = max(region.size[axis] / 2, abs(line[1] - line[0]) / 2 if len(line) > 1 else 0)
        inside = np.flatnonzero(abs(line - middle) <= half + 1e-6)
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
    return parts[0], parts[1], parts[2]


def depth_in(region: Region, cube: Cube, volume: Volume, cells: int, *, open_flat: bool) -> Field:
    """Distance of each cell's middle from the nearest face of a box, in cells along that axis, positive inside it.

    Args:
        region: The box.
        cube: The cube.
        volume: The volume.
        cells: Cells along each edge of its grid.
        open_flat: Whether a box of one voxel along an axis has no faces there: nothing is known across a slice.
    """
    lines = lines_of(cube, volume, cells)
    depth: Field = np.full((1, 1, 1), np.inf)
    for axis in range(3):
        if open_flat and region.size[axis] == 1:
            continue
        edge = float(abs(np.diff(lines[axis].ravel()).mean()))
        low, high = region.start[axis] - 0.5, region.stop[axis] - 0.5
        depth = np.minimum(depth, np.minimum(lines[axis] - low, high - lines[axis]) / edge)
    # finite, or the logits inside would be
    return np.broadcast_to(np.minimum(depth, 1e3), (cells,) * 3)


def lasso_field(lasso: Lasso, cube: Cube, volume: Volume, cells: int) -> tuple[Field, Field]:
    """Where the cells lie from a lasso's line, and from its slice.

    Returns:
        Distance of each cell's middle from the line as seen along the slice's normal, positive inside it; and depth
        in the slice, which is at least a cell thick, positive inside it; both in cells, to spread over the grid.
    """
    lines = lines_of(cube, volume, cells)
    inside, axis = lasso.inside, lasso.axis
    across = [other for other in range(3) if other != axis]
    edges = [float(abs(np.diff(line.ravel()).mean())) for line in lines]
    low = np.array(lasso.region.start)[across] - 2
    plane = np.zeros(np.array(lasso.region.size)[across] + 4, dtype=bool)
    plane[tuple((inside[:, across] - low).T)] = True
    sampling = [1 / edges[other] for other in across]  # in cells
    half = 0.5 * min(sampling)
    signed = np.where(
        plane,
        ndimage.distance_transform_edt(plane, sampling=sampling) - half,
        half - ndimage.distance_transform_edt(~plane, sampling=sampling),
    )
    first, second = (lines[other] - start for other, start in zip(across, low, strict=True))
    rows, columns = np.broadcast_arrays(first, second)
    depth = ndimage.map_coordinates(signed, [rows, columns], order=1, mode="nearest")
    off = np.abs(lines[axis] - lasso.region.start[axis])
    thick = max(0.5, edges[axis] / 2) if lasso.positive else 0.5
    return np.round(depth, 3), np.round((thick - off) / edges[axis], 3)
