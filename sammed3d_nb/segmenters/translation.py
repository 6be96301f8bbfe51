"""What a prompt becomes for a network that knows clicks and its own last answer, and nothing else.

Each translation was chosen by measuring simulated prompts on labelled cases, ``evaluate --prompt``; the figures are in
``docs/prompts.md``. Ties between voxels are broken by where they lie in the patient, never by the order of an array, so
that every orientation of an image gives the same mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import Index, LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube, closest_canonical
from sammed3d_nb.segmenters.grids import Field, axes_of, cells_in, depth_in, lasso_field
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble, StartMask

STROKE_POINTS = 5
"""Clicks along a scribble."""
ENCLOSED_POINTS = 3
"""Clicks in what a lasso encloses."""
CHOICES_AT = 0.5
"""Where in a box the click is tried beside its middle: at this share of the way to each face and corner."""
GOOD = 0.3
"""No further place in a box is tried once an answer's `fit`, times the network's own estimate of its IoU, is this."""
SURE = 0.15
"""Below this a box's click is a guess: it counts no more once the user has said better where the object is."""
BETTER = 0.01
"""By how much a later place in a box must do better than an earlier one."""
STEEP = 4.0
"""Most logit that an answer may have for each cell of distance from a border that the prompt sets."""

_ALIKE = 1 - 1e-9

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Hints:
    """A prompt in a network's own words.

    Attributes:
        anchor: The voxel (i, j, k) that stands for the prompt: it is in the cube that answers.
        points: (N, 3) clicks, voxels (i, j, k); may be none.
        labels: (N,) 1 for a positive, 0 for a negative click.
        extent: The box that the object fills; None where only a place is known.
        choices: (M, 3) further voxels, `anchor` first, of which one is a positive click: the one whose answer does best
            by its `fit` times the network's own estimate of its quality. None where there is nothing to choose.
    """

    anchor: Index
    points: NDArray[np.int64]
    labels: NDArray[np.int64]
    extent: Region | None = None
    choices: NDArray[np.int64] | None = None


def translate(prompt: Prompt, volume: Volume, chosen: Index | None = None, *, counts: bool = True) -> Hints:
    """The hints of any prompt; points stay what they are.

    Args:
        prompt: The prompt.
        volume: The volume.
        chosen: Which of a box's `choices` was taken when it was answered; there is nothing to choose any more.
        counts: Whether that one is a click still.
    """
    if isinstance(prompt, Point):
        return _hints(prompt, [prompt.ijk])
    if isinstance(prompt, Scribble):
        return _hints(prompt, _along(prompt.voxels, STROKE_POINTS))
    if isinstance(prompt, Lasso):
        inside = _ordered(prompt.inside, volume)
        depths = _depths(inside, volume)
        deep = inside[depths >= depths.max() / 2 * _ALIKE]  # off the line, where the object is surely
        points = _spread(deep, ENCLOSED_POINTS, volume, first=_deepest(inside, depths, volume))
        return _hints(prompt, points, prompt.region if prompt.positive else None)
    if isinstance(prompt, Box):
        places = _places(prompt.region, volume)
        if not prompt.positive:
            return _hints(prompt, places[:1])
        if chosen is not None:
            click = np.array([chosen], dtype=np.int64)[: int(counts)]
            return Hints(chosen, click, np.ones(len(click), np.int64), prompt.region)
        nothing = np.empty((0, 3), np.int64)
        return Hints(triple(places[0]), nothing, np.empty(0, np.int64), prompt.region, places)
    if isinstance(prompt, StartMask):
        return Hints(_somewhere(prompt.mask, volume), np.empty((0, 3), np.int64), np.empty(0, np.int64), prompt.region)
    raise TypeError(f"{type(prompt).__name__} is no prompt")


def fit(logits: Logits, cube: Cube, box: Box, volume: Volume) -> float:
    """How well an answer fits a box: the share of the box's edges that it spans, times the share of it in the box.

    Args:
        logits: (n, n, n) over the cube, not yet `bounded`.
        cube: The cube.
        box: The box; of one drawn on a slice only that slice counts.
        volume: The volume.

    Returns:
        0 … 1.
    """
    region, mask = box.region, logits > 0
    cells = cells_in(region, cube, volume, len(logits))
    flat = [dim for dim, axis in enumerate(axes_of(cube, volume)) if region.size[axis] == 1]
    seen = tuple(part if dim in flat else slice(None) for dim, part in enumerate(cells))
    inside, around = mask[cells], mask[seen]
    if 0 in inside.shape or not inside.any():
        return 0.0
    spans = 1.0
    for dim in range(3):
        if dim not in flat:
            used = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {dim})))
            spans *= (used[-1] - used[0] + 1) / inside.shape[dim]
    return float(spans * inside.sum() / around.sum())


def bounded(logits: Logits, cube: Cube, prompt: Prompt, volume: Volume, *, first: bool = True) -> Logits:
    """An answer without what the prompt rules out, and with what a lasso encloses.

    Ruled out are what lies outside a box or inside a negative box or lasso, and on a lasso's slice what lies outside
    its line. No voxel outside a positive box is left in the mask, whatever the sizes of voxels and cells; what thin
    negative prompts rule out of coarse cells is `carved` from the mask.

    Args:
        logits: (n, n, n) over the cube; not changed.
        cube: The cube; its axes are the volume's, permuted and flipped.
        prompt: The prompt that is answered.
        volume: The volume.
        first: Whether it is the object's first prompt: a later lasso adds to what is there, and cuts nothing off.

    Returns:
        (n, n, n).
    """
    if isinstance(prompt, Box):
        depth = depth_in(prompt.region, cube, volume, len(logits), open_flat=prompt.positive)
        most = STEEP * (depth if prompt.positive else -depth)
        return np.minimum(logits, most).astype(np.float32)
    if isinstance(prompt, Lasso):
        depth, across = lasso_field(prompt, cube, volume, len(logits))
        if not prompt.positive:
            return np.minimum(logits, -STEEP * np.minimum(depth, across)).astype(np.float32)
        if first:
            logits = np.where(across >= 0, np.minimum(logits, STEEP * depth), logits)
        least = STEEP * np.minimum(depth, across)
        return np.where(least > 0, np.maximum(logits, least), logits).astype(np.float32)
    return logits


def carved(mask: LocalMask, prompts: Sequence[Prompt]) -> LocalMask:
    """A mask without the voxels that negative boxes and lassos rule out, unless a later positive prompt names some.

    Args:
        mask: The mask.
        prompts: The object's prompts, in order.
    """
    for number, prompt in enumerate(prompts):
        if prompt.positive or not isinstance(prompt, Box | Lasso):
            continue
        later = [one.region for one in prompts[number + 1 :] if one.positive]
        if any(0 not in prompt.region.intersection(region).size for region in later):
            continue
        shared = prompt.region.intersection(mask.region)
        if 0 in shared.size:
            continue
        values = mask.crop(shared)
        if isinstance(prompt, Box):
            values[:] = 0
        else:
            inside = prompt.inside
            held = ((inside >= shared.start) & (inside < shared.stop)).all(axis=1)
            values[tuple((inside[held] - shared.start).T[::-1])] = 0
        mask = mask.pasted(shared, values)
    return mask


# -- voxels that stand for a prompt ------------------------------------------------------------------------------------


def _hints(prompt: Prompt, points: ArrayLike, extent: Region | None = None) -> Hints:
    voxels = np.asarray(points, dtype=np.int64)
    return Hints(triple(voxels[0]), voxels, np.full(len(voxels), int(prompt.positive)), extent)


def _towards_ras(volume: Volume) -> tuple[list[int], NDArray[np.int64]]:
    """Which of the volume's axes runs closest to R, A and S, and with which sign."""
    axes, signs = closest_canonical(volume.voxel_to_ras.affine[:3, :3])
    return list(axes), signs.astype(np.int64)


def _ordered(voxels: NDArray[np.int32], volume: Volume) -> NDArray[np.int32]:
    """Voxels (N, 3) in the order of their places in the patient, from the left, the back and below on."""
    axes, signs = _towards_ras(volume)
    places = voxels[:, axes] * signs
    ordered: NDArray[np.int32] = voxels[np.lexsort(places.T[::-1])]
    return ordered


def _mm(voxels: NDArray[np.int32], origin: ArrayLike, volume: Volume) -> Field:
    """(N, 3) mm from a voxel, along R, A, S: the same numbers to the last bit, however the axes run."""
    axes, signs = _towards_ras(volume)
    offsets: Field = (voxels - np.asarray(origin))[:, axes] * signs * np.array(volume.spacing)[axes]
    return offsets


def _places(region: Region, volume: Volume) -> NDArray[np.int64]:
    """(M, 3) voxels where the object in a box may be: its middle first, then towards its faces and corners."""
    axes, signs = _towards_ras(volume)
    middle = np.add(region.start, region.stop) / 2 - 0.5
    places = [middle]
    for axis, sign in zip(axes, signs, strict=True):
        if region.size[axis] > 1:
            step = np.zeros(3)
            step[axis] = CHOICES_AT * region.size[axis] / 2 * sign
            places += [middle - step, middle + step]
    reach = np.where(np.array(region.size) > 1, CHOICES_AT * np.array(region.size) / 2, 0)
    for corner in product((-1, 1), repeat=3):
        towards = np.empty(3)
        towards[axes] = corner * signs
        places.append(middle + reach * towards)
    turn = np.empty(3)
    turn[axes] = signs
    voxels = (np.floor(np.array(places) * turn + 0.5) * turn).astype(np.int64)  # halves go towards R, A, S
    voxels = np.clip(voxels, region.start, np.subtract(region.stop, 1))
    _, first = np.unique(voxels, axis=0, return_index=True)
    return voxels[np.sort(first)]


def _along(voxels: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """At most `count` voxels of a stroke, its middle first; evenly along it, off its ends: those lie near borders."""
    places = np.unique(((np.arange(count) + 0.5) / count * len(voxels)).astype(int))
    middle = len(places) // 2
    chosen: NDArray[np.int32] = voxels[[places[middle], *places[:middle], *places[middle + 1 :]]]
    return chosen


def _spread(voxels: NDArray[np.int32], count: int, volume: Volume, first: NDArray[np.int32]) -> NDArray[np.int32]:
    """At most `count` of `_ordered` voxels from `first` on, each as far in mm from the earlier ones as can be."""
    chosen = [np.asarray(first)]
    distance = np.full(len(voxels), np.inf)
    while True:
        distance = np.minimum(distance, np.square(_mm(voxels, chosen[-1], volume)).sum(axis=1))
        if len(chosen) >= count or not distance.max() > 0:
            return np.stack(chosen)
        chosen.append(voxels[int(distance.argmax())])


def _depths(voxels: NDArray[np.int32], volume: Volume) -> Field:
    """(N,) mm of each of a set of voxels from the nearest voxel that is not among them; a slice has no border across.

    Sums of squares in another order of axes differ in the last bit: compare with `_ALIKE`.
    """
    start = voxels.min(axis=0) - 1
    mask = np.zeros(voxels.max(axis=0) - start + 2, dtype=bool)
    mask[tuple((voxels - start).T)] = True
    flat = [axis for axis in range(3) if mask.shape[axis] == 3]
    if len(flat) == 3:
        return np.ones(len(voxels))
    inner = tuple(slice(1, 2) if axis in flat else slice(None) for axis in range(3))
    depth = np.zeros(mask.shape)
    depth[inner] = ndimage.distance_transform_edt(mask[inner], sampling=volume.spacing)
    depths: Field = depth[tuple((voxels - start).T)]
    return depths


def _deepest(voxels: NDArray[np.int32], depths: Field, volume: Volume) -> NDArray[np.int32]:
    """Of `_ordered` voxels the one (3,) of greatest depth; among equals the one nearest to the middle of all."""
    best = voxels[depths >= depths.max() * _ALIKE]
    total = voxels.sum(axis=0, dtype=np.int64)
    off = np.square(_mm(best.astype(np.int64) * len(voxels), total, volume)).sum(axis=1)
    found: NDArray[np.int32] = best[int(off.argmin())]
    return found


def _somewhere(mask: LocalMask, volume: Volume) -> Index:
    """A voxel inside a mask, deepest in its middle slice; the whole of a large mask would take seconds.

    Slices are across the axis that runs closest to S, whatever its place in the array.
    """
    axes, signs = _towards_ras(volume)
    axis, sign = axes[2], int(signs[2])
    first, last = mask.region.start[axis], mask.region.stop[axis] - 1
    twice = first + last
    for index in sorted(range(first, last + 1), key=lambda at: (abs(2 * at - twice), sign * at)):
        plane = mask.slice(2 - axis, index)
        if plane.any():
            found = np.argwhere(plane)[:, ::-1]  # the two axes left, in the order i, j, k
            voxels = np.insert(found, axis, index, axis=1).astype(np.int32)
            voxels = _ordered(voxels, volume)
            return triple(_deepest(voxels, _depths(voxels, volume), volume))
    raise ValueError("an empty mask has no voxel inside")
