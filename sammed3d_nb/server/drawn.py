"""Strokes and closed lines out of the painted voxels that clients send; the same in space whichever way axes run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import Index
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import closest_canonical
from sammed3d_nb.segmenters.prompts import MOST_VOXELS, Box, Lasso, Point, Prompt, Scribble

Intervals = list[list[int]]
"""Half-open, (k, j, i)."""


def intervals(found: Any, shape: tuple[int, ...]) -> Intervals:
    """Three half-open intervals (k, j, i), cut to the image.

    Raises:
        PromptError: They are none, or lie outside the image.
    """
    try:
        low, high = np.asarray(found, dtype=np.float64).T
        if low.shape != (3,) or not np.isfinite([low, high]).all():
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"The box is {found!r:.80}; expected [[k0, k1], [j0, j1], [i0, i1]].") from None
    first = np.maximum(np.rint(np.minimum(low, high)), 0).clip(max=2**31)
    last = np.minimum(np.rint(np.maximum(low, high)), shape).clip(min=-(2**31))
    if not (first < last).all():
        raise PromptError(
            f"The box {found!r:.80} lies outside the image of {' × '.join(map(str, shape))} voxels (k, j, i), or holds "
            "none of them."
        )
    return [[int(a), int(b)] for a, b in zip(first, last, strict=True)]


def box(found: Any, positive: bool, volume: Volume) -> Box:
    """A box, cut to the image.

    Raises:
        PromptError: It lies outside the image.
    """
    k, j, i = intervals(found, volume.array.shape)
    return Box((i[0], j[0], k[0]), (i[1] - 1, j[1] - 1, k[1] - 1), positive)


def painted(mask: NDArray[Any], where: Any, volume: Volume) -> NDArray[np.int64]:
    """(N, 3) the voxels (i, j, k) that are painted, ordered by their places in the patient.

    Args:
        mask: (k, j, i), non-zero where painted.
        where: The box that it covers, half-open intervals (k, j, i); None for the whole image.
        volume: The volume.

    Raises:
        PromptError: It does not fit the box or the image, or nothing is painted.
    """
    shape = volume.array.shape
    start = np.zeros(3, dtype=np.int64)
    if where is not None:
        cut = intervals(where, shape)
        start = np.array([low for low, _ in cut])
        shape = tuple(high - low for low, high in cut)
    if mask.shape != shape:
        raise PromptError(
            f"What was painted has {mask.shape} voxels (k, j, i); its box has {shape}, and they must match."
        )
    found = (np.argwhere(mask > 0) + start)[:, ::-1]
    if not 1 <= len(found) <= MOST_VOXELS:
        raise PromptError(f"{len(found)} voxels are painted; expected 1 to {MOST_VOXELS}.")
    axes, signs = closest_canonical(volume.voxel_to_ras.affine[:3, :3])
    ordered: NDArray[np.int64] = found[np.lexsort((found[:, list(axes)] * signs).T[::-1])]
    return ordered


def scribble(voxels: NDArray[np.int64], positive: bool) -> Scribble:
    """A stroke of `painted` voxels in the order in which one would draw it: from one end to the other."""
    far = _steps_from(voxels, 0)
    away = _steps_from(voxels, int(np.argmax(far)))
    return Scribble(voxels[np.argsort(away, kind="stable")].astype(np.int32), positive)


def _steps_from(voxels: NDArray[np.int64], first: int) -> NDArray[np.float64]:
    """(N,) steps through painted voxels from one of them; strokes that do not touch it come after, by distance."""
    low = voxels.min(axis=0) - 1
    size = voxels.max(axis=0) - low + 2
    reach: NDArray[np.float64] = np.sqrt(np.square(voxels - voxels[first]).sum(axis=1))
    if np.prod(size, dtype=np.float64) > 64e6:  # a far-flung stroke: as the crow flies
        return reach
    place = np.full(tuple(size), -1, dtype=np.int64)
    place[tuple((voxels - low).T)] = np.arange(len(voxels))
    near = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    steps: NDArray[np.float64] = np.full(len(voxels), np.inf)
    front, count = np.array([first]), 0
    steps[first] = 0
    while len(front):
        count += 1
        found = place[tuple((voxels[front][:, None] - low + near).reshape(-1, 3).T)]
        front = np.unique(found[(found >= 0) & np.isinf(steps[found])])
        steps[front] = count
    ordered: NDArray[np.float64] = np.where(np.isinf(steps), count + 1 + reach, steps)
    return ordered


def lasso(voxels: NDArray[np.int64], positive: bool) -> tuple[Lasso, str]:
    """The closed line round `painted` voxels of one slice, and what to say of it.

    Raises:
        PromptError: They lie on more than one slice, or are a line.
    """
    flat = [axis for axis in range(3) if (voxels[:, axis] == voxels[0, axis]).all()]
    if len(flat) != 1:
        where = "on several slices" if not flat else "in a line"
        raise PromptError(f"The lasso's voxels lie {where}; draw it round the object on one slice.")
    axis = flat[0]
    rest = [other for other in range(3) if other != axis]
    low = voxels[:, rest].min(axis=0)
    plane = np.zeros(voxels[:, rest].max(axis=0) - low + 1, dtype=bool)
    plane[tuple((voxels[:, rest] - low).T)] = True
    labels, count = ndimage.label(plane, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    note = ""
    if count > 1:
        note = f"The lasso has {count} parts: the largest one was taken ({sizes.max()} of {sizes.sum()} voxels)."
        first = labels[tuple((voxels[:, rest] - low).T)][
            np.isin(labels[tuple((voxels[:, rest] - low).T)], 1 + np.flatnonzero(sizes == sizes.max()))
        ][0]
        plane = labels == first
    corners = _outline(plane) + low
    return Lasso(np.insert(corners, axis, voxels[0, axis], axis=1).astype(np.int32), positive), note


def _outline(plane: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, 2) the border pixels of a shape without gaps, in order."""
    from skimage.measure import find_contours

    lines = find_contours(np.pad(plane, 1).astype(np.float32), 0.5, fully_connected="high")
    line = max(lines, key=len) - 1
    low, high = np.floor(line).astype(int), np.ceil(line).astype(int)  # one of them is in the shape
    held = (low >= 0).all(axis=1) & (low < plane.shape).all(axis=1)
    held[held] &= plane[tuple(low[held].T)]
    pixels = np.where(held[:, None], low, high)
    turns = np.flatnonzero((pixels != np.roll(pixels, 1, axis=0)).any(axis=1))
    border: NDArray[np.int64] = pixels[turns] if len(turns) else pixels[:1]
    return border


def point(found: Any, volume: Volume) -> Index:
    """A voxel (i, j, k) of three numbers (k, j, i); it may lie outside.

    Raises:
        PromptError: They are none.
    """
    try:
        k, j, i = (round(float(value)) for value in found)
        if max(abs(i), abs(j), abs(k)) > 2**31:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise PromptError(f"The point is {found!r:.60}; expected three numbers [k, j, i].") from None
    return i, j, k


def first_voxel(prompt: Prompt) -> Index:
    """A voxel that a prompt surely names."""
    if isinstance(prompt, Point):
        return prompt.ijk
    if isinstance(prompt, Scribble):
        i, j, k = (int(value) for value in prompt.voxels[len(prompt.voxels) // 2])
        return i, j, k
    i, j, k = ((low + high - 1) // 2 for low, high in zip(prompt.region.start, prompt.region.stop, strict=True))
    return i, j, k
