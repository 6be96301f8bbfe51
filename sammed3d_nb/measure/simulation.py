"""Simulated users: where they click, draw a box, a stroke or a lasso for a structure whose mask is known.

The protocol is that of the CVPR 2025 challenge on foundation models for interactive 3D biomedical segmentation: the
first prompt shows the structure, each further one is a click deepest inside the largest error component, positive
where the mask misses something and negative where it holds too much.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import bounding_box
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble

Mask = NDArray[np.bool_]
FIRST_PROMPTS = ("point", "box", "slice box", "scribble", "lasso")
"""What a simulated user can begin with: a click, a box in 3-D, or a box, stroke or lasso on one slice."""
_SHORTEST_STROKE = 6  # voxels; the skeleton of something round is a dot, and nobody draws dots


def first_prompt(kind: str, truth: Mask, spacing: Sequence[float], rng: np.random.Generator, sloppy: int = 0) -> Prompt:
    """The prompt with which a person would show a structure.

    The slice is the one of the last array axes (y, x) on which the structure is largest; among equals, a random one.

    Args:
        kind: One of `FIRST_PROMPTS`.
        truth: (z, y, x), not empty.
        spacing: Edges of a voxel in mm, in array order z, y, x.
        rng: For what chance decides.
        sloppy: Voxels by which a click may miss its place, and a box or lasso is too wide.

    Returns:
        The prompt: a click deepest inside; the box round the structure; the longest way through the middle of its
        slice as a stroke; its outline in the slice as a lasso.
    """
    if kind == "point":
        return Point(deepest(truth, spacing, rng, sloppy))
    inside = bounding_box(truth)
    assert inside is not None
    size = truth.shape[::-1]
    if kind == "box":
        first = [max(0, part.start - sloppy) for part in inside[::-1]]
        last = [min(n, part.stop + sloppy) - 1 for part, n in zip(inside[::-1], size, strict=True)]
        return Box(tuple(first), tuple(last))
    areas = truth.sum(axis=(1, 2))
    k = int(rng.choice(np.flatnonzero(areas == areas.max())))
    plane = ndimage.binary_dilation(truth[k], iterations=sloppy) if sloppy and kind != "scribble" else truth[k]
    if kind == "slice box":
        rows, columns = np.nonzero(plane)
        return Box((int(columns.min()), int(rows.min()), k), (int(columns.max()), int(rows.max()), k))
    line = _stroke(plane) if kind == "scribble" else _outline(plane)
    voxels = np.column_stack([line[:, 1], line[:, 0], np.full(len(line), k)])
    return Scribble(voxels) if kind == "scribble" else Lasso(voxels)


def anywhere_inside(
    truth: Mask, spacing: Sequence[float], rng: np.random.Generator, count: int
) -> list[tuple[int, int, int]]:
    """Random voxels (i, j, k) well inside: 9 mm from the border, or half the structure's depth where that is less."""
    box = grown_box(truth, 0)
    depth = ndimage.distance_transform_edt(np.pad(truth[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    inside = np.argwhere(depth >= min(9.0, depth.max() / 2))
    chosen = inside[rng.choice(len(inside), count, replace=len(inside) < count)] + [part.start for part in box]
    return [(int(x), int(y), int(z)) for z, y, x in chosen]


def _stroke(plane: Mask) -> NDArray[np.int64]:
    """(N, 2) rows and columns of the longest way along the skeleton of the largest part of a slice."""
    from skimage.graph import MCP
    from skimage.morphology import skeletonize

    labels, count = ndimage.label(plane)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel(), minlength=count + 1)[1:]))
    skeleton = skeletonize(largest)
    ways = MCP(np.where(skeleton, 1.0, -1.0), fully_connected=True)
    start = tuple(np.argwhere(skeleton)[0])
    for _ in range(2):  # the farthest place from the farthest place is an end of the longest way
        costs, _ = ways.find_costs([start])
        costs[~skeleton] = -1
        end = np.unravel_index(int(np.argmax(costs)), costs.shape)
        way = np.array(ways.traceback(end))
        start = tuple(int(n) for n in end)
    return _chord(largest) if len(way) < _SHORTEST_STROKE else np.asarray(way)


def _chord(plane: Mask) -> NDArray[np.int64]:
    """(N, 2) the middle half of the longer chord along rows or columns through the deepest place of a slice."""
    depth = ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1]
    row, column = (int(n) for n in np.unravel_index(int(np.argmax(depth)), depth.shape))
    chords = []
    for along, (line, at) in enumerate(((plane[:, column], row), (plane[row], column))):
        parts, _ = ndimage.label(line)
        found = np.flatnonzero(parts == parts[at])
        places = found[len(found) // 4 : max(len(found) - len(found) // 4, len(found) // 4 + 1)]
        fixed = np.full(len(places), row if along else column)
        chords.append(np.column_stack([fixed, places] if along else [places, fixed]))
    longest: NDArray[np.int64] = max(chords, key=len)
    return longest


def _outline(plane: Mask) -> NDArray[np.int64]:
    """(N, 2) rows and columns of the corners of the longest outline in a slice."""
    from skimage.measure import approximate_polygon, find_contours

    outlines = find_contours(np.pad(plane, 1).astype(float), 0.5)
    longest = max(outlines, key=len) - 1
    corners: NDArray[np.int64] = np.rint(approximate_polygon(longest, 0.5)).astype(np.int64)
    corners = np.clip(corners, 0, np.array(plane.shape) - 1)
    if len(corners) < 4 or (np.ptp(corners, axis=0) == 0).any():  # a line of voxels: the box round it and a bit more
        low = np.maximum(corners.min(axis=0) - 1, 0)
        high = np.minimum(corners.max(axis=0) + 1, np.array(plane.shape) - 1)
        return np.array([low, [low[0], high[1]], high, [high[0], low[1]]])
    return np.asarray(corners)


def deepest(mask: Mask, spacing: Sequence[float], rng: np.random.Generator, sloppy: int = 0) -> tuple[int, int, int]:
    """The voxel (i, j, k) furthest from the mask's border in mm; among equals, a random one.

    The volume's own faces count as border. Args as in `surface_dice`; with ``sloppy`` any voxel of the mask that is at
    most so many voxels away along each axis, as people click.
    """
    box = grown_box(mask, 0)
    depth = ndimage.distance_transform_edt(np.pad(mask[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    best = np.argwhere(depth >= depth.max() - 1e-6)
    z, y, x = best[rng.integers(len(best))]
    if sloppy:
        near = np.zeros_like(mask[box])
        near[tuple(slice(max(0, at - sloppy), at + sloppy + 1) for at in (z, y, x))] = True
        reached = np.argwhere(near & mask[box])
        z, y, x = reached[rng.integers(len(reached))]
    return int(x) + box[2].start, int(y) + box[1].start, int(z) + box[0].start


def next_click(
    truth: Mask, mask: Mask, spacing: Sequence[float], rng: np.random.Generator, sloppy: int = 0
) -> tuple[tuple[int, int, int], bool] | None:
    """The challenge's next click: deepest in the largest error component, positive if the mask misses it.

    Returns:
        Voxel (i, j, k) and whether the click is positive; ``None`` when the mask is right.
    """
    largest: tuple[int, Mask, bool] | None = None
    for errors, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        if not errors.any():
            continue
        components, _ = ndimage.label(errors)
        counts = np.bincount(components.ravel())
        counts[0] = 0
        biggest = int(counts.argmax())
        if largest is None or counts[biggest] > largest[0]:
            largest = int(counts[biggest]), components == biggest, positive
    return None if largest is None else (deepest(largest[1], spacing, rng, sloppy), largest[2])


def grown_box(mask: Mask, margin: int) -> tuple[slice, slice, slice]:
    """The bounding box of a mask that is not empty, grown and cut to the array."""
    box = bounding_box(mask)
    assert box is not None
    z, y, x = (
        slice(max(part.start - margin, 0), min(part.stop + margin, n)) for part, n in zip(box, mask.shape, strict=True)
    )
    return z, y, x
