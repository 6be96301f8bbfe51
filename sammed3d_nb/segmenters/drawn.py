"""What is drawn about an object, as maps of a cube, for networks that know boxes, lassos and strokes of their own.

The maps are those of `sammed3d_nb.network.drawn`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.imaging.region import Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.network.drawn import BOX, CROSSED, LASSO, MAPS, STROKE, TAKEN
from sammed3d_nb.segmenters.cube import Cube, grid_to_cube
from sammed3d_nb.segmenters.grids import Field, lasso_field, lines_of
from sammed3d_nb.segmenters.prompts import Box, Lasso, Prompt, Scribble

FILLINGS = 4_000_000
"""Places at most that stand for the voxels of a stroke, where voxels are larger than cells."""


def drawn_maps(
    prompts: Sequence[Prompt], kinds: Sequence[str], cube: Cube, volume: Volume, cells: int
) -> NDArray[np.float32] | None:
    """The maps of all that is drawn about an object.

    Args:
        prompts: The object's prompts, in order.
        kinds: Those of them that become maps.
        cube: The cube.
        volume: The volume.
        cells: Cells of a map along each edge.

    Returns:
        float32 (`MAPS`, cells, cells, cells); None where nothing drawn reaches the cube.
    """
    maps: NDArray[np.float32] | None = None
    for number, prompt in enumerate(prompts):
        if prompt.kind not in kinds:
            continue
        later = [one for one in prompts[number + 1 :] if one.positive]
        bounds = not any(_beyond(prompt.region, one.region) for one in later)
        if isinstance(prompt, Box):
            channel, drawn = (BOX if prompt.positive else TAKEN), _box(prompt, cube, volume, cells, bounds)
        elif isinstance(prompt, Lasso):
            bounds = bounds and number == 0
            channel, drawn = (LASSO if prompt.positive else TAKEN), _lasso(prompt, cube, volume, cells, bounds)
        elif isinstance(prompt, Scribble):
            channel, drawn = (STROKE if prompt.positive else CROSSED), _stroke(prompt, cube, volume, cells)
        else:
            continue
        if drawn.any():
            maps = np.zeros((MAPS, cells, cells, cells), np.float32) if maps is None else maps
            maps[channel] = _merged(maps[channel], drawn)
    return maps


def _merged(before: Field | NDArray[np.float32], now: Field) -> Field:
    """What was drawn before and now: what is in counts more than what is out."""
    both: Field = np.where(before == 0, now, np.where(now == 0, before, np.maximum(before, now)))
    return both


def _beyond(region: Region, later: Region) -> bool:
    """Whether a later prompt leads out of a box: then what lies outside is not ruled out any more.

    Of a flat one only what crosses its slice counts.
    """
    flat = _flat(region)
    if flat is not None and not later.start[flat] <= region.start[flat] < later.stop[flat]:
        return False
    return any(
        later.start[axis] < region.start[axis] or later.stop[axis] > region.stop[axis]
        for axis in range(3)
        if axis != flat
    )


def _flat(region: Region) -> int | None:
    """The axis across the slice on which a box is drawn; None for one with a depth."""
    thin = [axis for axis in range(3) if region.size[axis] == 1]
    return thin[0] if len(thin) == 1 else None


def _slab(line: Field, at: int) -> NDArray[np.bool_]:
    """The cells of a slice: those whose middle lies in it, at least the nearest."""
    edge = float(abs(np.diff(line.ravel()).mean()))
    near: NDArray[np.bool_] = np.round(abs(line - at), 5) <= round(max(0.5, edge / 2), 5)
    return near


def _box(box: Box, cube: Cube, volume: Volume, cells: int, bounds: bool) -> Field:
    region, lines = box.region, lines_of(cube, volume, cells)
    flat = _flat(region) if box.positive else None
    share: Field = np.ones((1, 1, 1))
    slab: NDArray[np.bool_] = np.ones((1, 1, 1), dtype=bool)
    for axis in range(3):
        line = lines[axis]
        if axis == flat:
            slab = _slab(line, region.start[axis])
            continue
        edge = float(abs(np.diff(line.ravel()).mean()))
        low, high = region.start[axis] - 0.5, region.stop[axis] - 0.5
        overlap = np.minimum(high, line + edge / 2) - np.maximum(low, line - edge / 2)
        share = share * np.clip(overlap / edge, 0, 1)
    if not box.positive:
        return np.broadcast_to(np.round(share, 4), (cells,) * 3)
    signed = np.round(2 * share - 1, 4)
    return np.broadcast_to(np.where(slab, signed if bounds else np.maximum(signed, 0), 0), (cells,) * 3)


def _lasso(lasso: Lasso, cube: Cube, volume: Volume, cells: int, bounds: bool) -> Field:
    depth, _ = lasso_field(lasso, cube, volume, cells)
    slab = _slab(lines_of(cube, volume, cells)[lasso.axis], lasso.region.start[lasso.axis])
    outside = -1.0 if lasso.positive and bounds else 0.0
    return np.broadcast_to(np.where(slab, np.where(depth >= 0, 1.0, outside), 0), (cells,) * 3)


def _stroke(stroke: Scribble, cube: Cube, volume: Volume, cells: int) -> Field:
    """The cells that a stroke's voxels fill, or that hold them."""
    to_cell = cube.from_voxel(volume).then(grid_to_cube(cells, cube.size).inverse)
    # how many cells a voxel is long along each of the volume's axes
    length = np.abs(to_cell.affine[:3, :3]).max(axis=0)
    room = max(1.0, (FILLINGS / len(stroke.voxels)) ** (1 / 3))
    counts = np.clip(np.ceil(np.round(length, 6)), 1, min(room, cells)).astype(int)
    parts = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    offsets = np.stack(np.meshgrid(*parts, indexing="ij"), axis=-1).reshape(-1, 3)
    places = (stroke.voxels[:, None].astype(np.float64) + offsets).reshape(-1, 3)
    # rounded: a place right between two cells belongs to one of them, whichever way the volume's axes run
    found = np.floor(np.round(to_cell(places) + 0.5, 6)).astype(np.int64)
    found = found[((found >= 0) & (found < cells)).all(axis=1)]
    drawn: Field = np.zeros((cells,) * 3)
    drawn[tuple(found.T)] = 1.0
    return drawn
