"""What a hand draws on a view: with which tool, along which line, and which voxels that means."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.spaces import Transform, TransformChain
from sammed3d_nb.ui.planes import Plane

CLICK, BOX, LINE, LOOP, BRUSH, RULER = "click", "box", "line", "loop", "brush", "ruler"
SHAPES = (CLICK, BOX, LINE, LOOP, BRUSH, RULER)
"""What a tool draws: nothing, for it is pointed with; a box by two corners; an open line; a closed one; a line as wide
as a brush; a straight one between two ends."""

LEAST_MM, MOST_MM = 0.5, 100.0
"""Diameters of a brush."""
FINER = 1.2
"""From one size of the brush to the next."""


@dataclass(frozen=True)
class Armed:
    """What pointing at a view does now.

    Attributes:
        name: The tool that gets what is drawn.
        shape: What it draws, one of `SHAPES`.
        mm: Diameter of the brush in mm.
        ball: Whether the brush is a ball, else round on the slice drawn on.
        says: What the left button says: "sign" what the sign says, "yes" or "no" always that.
        turns: Whether the right button says the opposite; else it always says no.
    """

    name: str = "point"
    shape: str = CLICK
    mm: float = 10.0
    ball: bool = False
    says: str = "sign"
    turns: bool = False

    def positive(self, *, left: bool, end: bool, sign: bool) -> bool:
        """Whether a stroke adds; the page knows it by itself (`viewer/tools.js`).

        Args:
            left: Drawn with the left button, without Ctrl.
            end: Drawn with a pen's eraser.
            sign: What the sign says.
        """
        says = sign if self.says == "sign" else self.says == "yes"
        if end:
            return False
        return says if left else self.turns and not says


@dataclass(frozen=True, eq=False)
class Stroke:
    """What was drawn, from one press to its release.

    Attributes:
        armed: With which tool.
        plane: The plane of the view.
        canvas: (N, 3) device pixels right and down, and the slice that was shown; N is 1 for a press on the spot.
        chain: ``canvas → plane → array`` as the view was at the press.
        positive: Whether it adds.
    """

    armed: Armed
    plane: Plane
    canvas: NDArray[np.float64]
    chain: TransformChain
    positive: bool = True

    @classmethod
    def on(cls, armed: Armed, plane: Plane, to_plane: Transform, canvas: ArrayLike, positive: bool) -> "Stroke":
        """From where it was drawn, and the view's ``canvas → plane``."""
        points = np.asarray(canvas, dtype=np.float64).reshape(-1, 3)
        if not len(points) or not np.isfinite(points).all():
            raise UserError("That stroke arrived without a place; draw it again.")
        return cls(armed, plane, points, TransformChain([to_plane, plane.to_array]), positive)

    @property
    def outline(self) -> NDArray[np.float64]:
        """(N, 3) column, row and slice number."""
        found: NDArray[np.float64] = self.chain[0](self.canvas)
        return found

    @property
    def places(self) -> NDArray[np.float64]:
        """(N, 3) voxel positions (i, j, k), whose fractions say where in a voxel."""
        found: NDArray[np.float64] = self.chain(self.canvas)[:, ::-1]
        return found

    @property
    def axis(self) -> int:
        """The voxel axis (0, 1, 2 for i, j, k) across the slice."""
        return self.plane.axes[2]

    def voxels(self, volume: Volume) -> NDArray[np.int64]:
        """(M, 3) voxels (i, j, k) along the line without gaps, those inside the volume.

        Raises:
            UserError: There are none.
        """
        near = _rounded(_dense(self.places))
        inside = near[((near >= 0) & (near < volume.size)).all(axis=1)]
        if not len(inside):
            raise UserError(f"The {self.armed.name} lies outside the image; draw it on the image.")
        fresh = np.concatenate([[True], (np.diff(inside, axis=0) != 0).any(axis=1)])
        return np.asarray(inside[fresh])

    def corners(self, volume: Volume) -> NDArray[np.int64]:
        """(M, 3) voxels (i, j, k) of the line's corners; those outside the volume are moved to its border.

        Raises:
            UserError: All of them lie outside, on the same side.
        """
        near = _rounded(self.places)
        if (near.max(axis=0) < 0).any() or (near.min(axis=0) >= volume.size).any():
            raise UserError(f"The {self.armed.name} lies outside the image; draw it on the image.")
        near = np.clip(near, 0, np.subtract(volume.size, 1))
        fresh = np.concatenate([[True], (np.diff(near, axis=0) != 0).any(axis=1)])
        return np.asarray(near[fresh])

    def under_brush(self, volume: Volume) -> LocalMask:
        """The voxels whose centres lie within half the brush's diameter of the line, and those that the line crosses.

        Distances are those in space: voxel axes are at right angles, so that of a ball is the one on the slice drawn
        on and the one between the slices.

        Raises:
            UserError: There are none in the volume.
        """
        places, size = self.places, np.array(volume.size)
        index = round(float(places[0, self.axis]))
        radius, edges = self.armed.mm / 2, np.array(volume.spacing)
        reach = radius / edges
        reach[self.axis] *= self.armed.ball
        low = np.clip(np.floor(places.min(axis=0) - reach), 0, size).astype(int)
        high = np.clip(np.ceil(places.max(axis=0) + reach) + 1, 0, size).astype(int)
        if not self.armed.ball:
            low[self.axis], high[self.axis] = max(index, 0), min(index + 1, size[self.axis])
        if (low < high).all():
            rest = [axis for axis in range(3) if axis != self.axis]
            flat = _squared_distances((places - low)[:, rest] * edges[rest], edges[rest], (high - low)[rest], radius)
            across = (np.arange(low[self.axis], high[self.axis]) - index) * edges[self.axis]
            near = np.expand_dims(flat, self.axis) + np.expand_dims(across**2, rest) <= radius**2 * (1 + 1e-9)
            crossed = _rounded(_dense(places))
            i, j, k = (crossed[((crossed >= low) & (crossed < high)).all(axis=1)] - low).T
            near[i, j, k] = True
            mask = LocalMask(near.transpose(2, 1, 0), Region.between(low, high), volume.size)
            if mask.count:
                return mask
        raise UserError(f"The {self.armed.name} lies outside the image; draw it on the image.")


def _rounded(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Voxels that hold positions, as `planes.Plane.to_voxel` rounds."""
    return np.floor(places + 0.5).astype(np.int64)


def _dense(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The positions of a line, and others between them at most a third of a voxel apart."""
    if len(places) < 2:
        return places
    steps = np.maximum(np.ceil(3 * np.abs(np.diff(places, axis=0)).max(axis=1)), 1).astype(int)
    parts = [
        first + (last - first) * (np.arange(count) / count)[:, None]
        for first, last, count in zip(places, places[1:], steps, strict=False)
    ]
    return np.concatenate([*parts, places[-1:]])


def _squared_distances(
    line: NDArray[np.float64], edges: NDArray[np.float64], shape: NDArray[np.int64], radius: float
) -> NDArray[np.float64]:
    """Squared distance in mm of each of (shape) pixels to a line (N, 2), also in mm; infinite beyond a radius."""
    found = np.full(tuple(shape), np.inf)
    for first, last in pairwise(line) if len(line) > 1 else [(line[0], line[0])]:
        ends = np.stack([first, last]) / edges
        start = np.clip(np.floor(ends.min(axis=0) - radius / edges), 0, shape).astype(int)
        stop = np.clip(np.ceil(ends.max(axis=0) + radius / edges) + 1, 0, shape).astype(int)
        x = (np.arange(start[0], stop[0]) * edges[0] - first[0])[:, None]
        y = (np.arange(start[1], stop[1]) * edges[1] - first[1])[None, :]
        way = last - first
        share = np.clip((x * way[0] + y * way[1]) / max(float(way @ way), 1e-300), 0, 1)
        part = found[start[0] : stop[0], start[1] : stop[1]]
        np.minimum(part, (x - share * way[0]) ** 2 + (y - share * way[1]) ** 2, out=part)
    return found


def length_mm(places: NDArray[np.float64], volume: Volume) -> float:
    """Length in space of the straight line between the first and the last of (N, 3) voxel positions (i, j, k)."""
    ends = volume.voxel_to_lps(np.stack([places[0], places[-1]]))
    return float(np.linalg.norm(ends[1] - ends[0]))


@dataclass(frozen=True, eq=False)
class Mark:
    """A line to draw on the views: what was said, or measured, there.

    Attributes:
        kind: "box", "scribble", "lasso", "ruler", "statistics", or "point" for the ring round a chosen click.
        places: (N, 3) voxel positions (i, j, k): two corners of a box, the line of all others.
        positive: Its sign; None where it has none.
        chosen: Whether it is the one that the user has chosen.
        text: To write beside it.
        mm: Width in mm; 0 for a line.
    """

    kind: str
    places: NDArray[np.float64]
    positive: bool | None = None
    chosen: bool = False
    text: str = ""
    mm: float = 0.0

    @cached_property
    def fields(self) -> dict[str, Any]:
        """As JSON, for the page; made once, for it may be long."""
        return {**{name: getattr(self, name) for name in _TOLD}, "places": np.round(self.places, 3).tolist()}


_TOLD = ("kind", "positive", "chosen", "text", "mm")
