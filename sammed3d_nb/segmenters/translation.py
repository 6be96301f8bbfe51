"""What a prompt becomes for a network that knows clicks and its own last answer, and nothing else.

Each translation was chosen by measuring simulated prompts on labelled cases, ``evaluate --prompt``; the figures are in
``docs/prompts.md``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import Index, LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube, grid_to_cube
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble, StartMask

STROKE_POINTS = 5
"""Clicks along a scribble."""
ENCLOSED_POINTS = 3
"""Clicks in what a lasso encloses."""
LOOSE = 0.1
"""Share of a box's edges by which the object may reach beyond it: people draw loosely."""


@dataclass(frozen=True)
class Hints:
    """A prompt in a network's own words.

    Attributes:
        anchor: The voxel (i, j, k) that stands for the prompt: it is in the cube that answers.
        points: (N, 3) clicks, voxels (i, j, k); may be none.
        labels: (N,) 1 for a positive, 0 for a negative click.
        extent: The box that the object fills; None where only a place is known.
    """

    anchor: Index
    points: NDArray[np.int64]
    labels: NDArray[np.int64]
    extent: Region | None = None


def translate(prompt: Prompt, volume: Volume) -> Hints:
    """The hints of any prompt; points stay what they are."""
    if isinstance(prompt, Point):
        return _hints(prompt, [prompt.ijk])
    if isinstance(prompt, Scribble):
        return _hints(prompt, _spread(prompt.voxels, STROKE_POINTS, volume))
    if isinstance(prompt, Lasso):
        inside = prompt.inside
        points = _spread(inside, ENCLOSED_POINTS, volume, first=_deepest(inside, volume))
        return _hints(prompt, points, prompt.region if prompt.positive else None)
    if isinstance(prompt, Box):
        middle = triple(np.floor_divide(np.add(prompt.first, prompt.last), 2))
        return _hints(prompt, [middle], prompt.region if prompt.positive else None)
    if isinstance(prompt, StartMask):
        return Hints(_somewhere(prompt.mask, volume), np.empty((0, 3), np.int64), np.empty(0, np.int64), prompt.region)
    raise TypeError(f"{type(prompt).__name__} is no prompt")


def bounded(logits: NDArray[np.float32], cube: Cube, prompt: Prompt, volume: Volume) -> NDArray[np.float32]:
    """An answer without what the prompt rules out: outside a box, inside a negative box or lasso, off a lasso's line.

    Args:
        logits: (n, n, n) over the cube; not changed.
        cube: The cube; its axes are the volume's, permuted and flipped.
        prompt: The prompt that is answered.
        volume: The volume.
    """
    if isinstance(prompt, Box):
        room = prompt.region
        if prompt.positive:
            spare = np.ceil(LOOSE * np.array(room.size)).astype(int)
            flat = np.array(room.size) == 1  # drawn on a slice: nothing is known across it
            low = np.where(flat, 0, np.subtract(room.start, spare))
            high = np.where(flat, volume.size, np.add(room.stop, spare))
            room = Region.between(low, high)
        inside = np.zeros(logits.shape, dtype=bool)
        inside[_cells(room, cube, volume, len(logits))] = True
        ruled_out = ~inside if prompt.positive else inside
        return np.where(ruled_out, np.minimum(logits, -1), logits).astype(np.float32)
    return logits


def _cells(region: Region, cube: Cube, volume: Volume, cells: int) -> tuple[slice, slice, slice]:
    """The cells of a cube's grid whose middles lie in a box of voxels."""
    to_grid = cube.from_voxel(volume).then(grid_to_cube(cells, cube.size).inverse)
    corners = to_grid([np.subtract(region.start, 0.5), np.subtract(region.stop, 0.5)])
    low, high = np.ceil(corners.min(axis=0)), np.floor(corners.max(axis=0)) + 1
    a, b, c = (slice(int(max(0, first)), int(max(0, last))) for first, last in zip(low, high, strict=True))
    return a, b, c


def _hints(prompt: Prompt, points: ArrayLike, extent: Region | None = None) -> Hints:
    voxels = np.asarray(points, dtype=np.int64)
    return Hints(triple(voxels[0]), voxels, np.full(len(voxels), int(prompt.positive)), extent)


def _spread(
    voxels: NDArray[np.int32], count: int, volume: Volume, first: NDArray[np.int32] | None = None
) -> NDArray[np.int32]:
    """At most `count` of the voxels from `first` on, each as far in mm from the earlier ones as can be."""
    places = voxels * np.array(volume.spacing)
    chosen = [len(voxels) // 2 if first is None else int((voxels == first).all(axis=1).argmax())]
    distance = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < min(count, len(voxels)) and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return voxels[chosen]


def _deepest(voxels: NDArray[np.int32], volume: Volume) -> NDArray[np.int32]:
    """The voxel (3,) furthest in mm from the border of a set of voxels."""
    start = voxels.min(axis=0) - 1
    mask = np.zeros(voxels.max(axis=0) - start + 2, dtype=bool)
    mask[tuple((voxels - start).T)] = True
    flat = [axis for axis in range(3) if mask.shape[axis] == 3]
    inner = tuple(slice(1, 2) if axis in flat else slice(None) for axis in range(3))  # a slice has no border across
    depth = ndimage.distance_transform_edt(mask[inner], sampling=volume.spacing)
    place = np.array(np.unravel_index(int(np.argmax(depth)), depth.shape))
    place[flat] += 1
    found: NDArray[np.int32] = (place + start).astype(voxels.dtype)
    return found


def _somewhere(mask: LocalMask, volume: Volume) -> Index:
    """A voxel inside a mask, deepest in its middle slice; the whole of a large mask would take seconds."""
    middle = mask.region.start[2] + mask.region.size[2] // 2
    filled = [k for k in range(mask.region.start[2], mask.region.stop[2]) if mask.slice(0, k).any()]
    k = min(filled, key=lambda at: abs(at - middle))
    rows, columns = np.nonzero(mask.slice(0, k))
    return triple(_deepest(np.stack([columns, rows, np.full(len(rows), k)], axis=1).astype(np.int32), volume))
