"""What a hand draws on a view: with which tool, along which line, and which voxels that means."""

from dataclasses import dataclass
from functools import cached_property
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

_FAR = 1e9  # voxels: what lies further off is no place on any view
_MOST_STEPS = 1_000_000  # thirds of a voxel along one stroke, 48 MB


@dataclass(frozen=True)
class Armed:
    """What pointing at a view does now.

    Attributes:
        name: The tool that gets what is drawn.
        shape: What it draws, one of `SHAPES`.
        mm: Diameter of the brush in mm.
        ball: Whether the brush is a ball, else round on the slice drawn on.
        says: What the left button says: "sign" what the sign says, "yes" or "no" always that.
        turns: Whether the right button says the opposite; else it always says no. A tool that says what the sign says
            and does not turn is a prompt: where it was drawn is gone to.
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
        followed: Whether the views have gone there by themselves; the user may have scrolled on since.
    """

    armed: Armed
    plane: Plane
    canvas: NDArray[np.float64]
    chain: TransformChain
    positive: bool = True
    followed: bool = False

    @classmethod
    def on(
        cls,
        armed: Armed,
        plane: Plane,
        to_plane: Transform,
        canvas: ArrayLike,
        positive: bool,
        *,
        followed: bool = False,
    ) -> "Stroke":
        """From where it was drawn, and the view's ``canvas → plane``.

        Raises:
            UserError: It lies nowhere.
        """
        points = np.asarray(canvas, dtype=np.float64).reshape(-1, 3)
        stroke = cls(armed, plane, points, TransformChain([to_plane, plane.to_array]), positive, followed)
        with np.errstate(over="ignore", invalid="ignore"):  # such a place is none
            placed = len(points) and (np.abs(stroke.places) < _FAR).all()
        if not placed or not (np.round(points[:, 2]) == np.clip(np.round(points[:, 2]), 0, plane.slices - 1)).all():
            raise UserError("That stroke arrived without a place; draw it again.")
        return stroke

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
            UserError: There are none, or far too many.
        """
        near = _rounded(self._dense(*_cut(self.places, volume)))
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
        near = _rounded(np.clip(self.places, -1, volume.size))
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
            UserError: There are none in the volume, or far too many.
        """
        reach = self.armed.mm / 2 / np.array(volume.spacing)
        first, last = _cut(self.places, volume, reach)
        mask = self._near(first, last, reach, volume) if len(first) else None
        if mask is None or not mask.count:
            raise UserError(f"The {self.armed.name} lies outside the image; draw it on the image.")
        return mask

    def _near(
        self, first: NDArray[np.float64], last: NDArray[np.float64], reach: NDArray[np.float64], volume: Volume
    ) -> LocalMask | None:
        """What lies under a brush that reaches `reach` voxels far and goes along straight lines; None for nothing."""
        size, edges, radius = np.array(volume.size), np.array(volume.spacing), self.armed.mm / 2
        index = round(float(first[0, self.axis]))
        low = np.clip(np.floor(np.minimum(first, last).min(axis=0) - reach), 0, size).astype(int)
        high = np.clip(np.ceil(np.maximum(first, last).max(axis=0) + reach) + 1, 0, size).astype(int)
        if not self.armed.ball:
            low[self.axis], high[self.axis] = max(index, 0), min(index + 1, size[self.axis])
        if (low >= high).any():
            return None
        crossed = _rounded(self._dense(first, last))
        rest = [axis for axis in range(3) if axis != self.axis]
        begins, ends = ((one - low)[:, rest] * edges[rest] for one in (first, last))
        flat = _squared_distances(begins, ends, edges[rest], (high - low)[rest], radius)
        across = (np.arange(low[self.axis], high[self.axis]) - index) * edges[self.axis]
        near = np.expand_dims(flat, self.axis) + np.expand_dims(across**2, rest) <= radius**2 * (1 + 1e-9)
        i, j, k = (crossed[((crossed >= low) & (crossed < high)).all(axis=1)] - low).T
        near[i, j, k] = True
        return LocalMask(near.transpose(2, 1, 0), Region.between(low, high), volume.size)

    def _dense(self, first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
        """The ends of straight lines, (N, 3) each, and positions between them at most a third of a voxel apart."""
        counts = np.maximum(np.ceil(3 * np.abs(last - first).max(axis=1)), 1).astype(int)
        total = int(counts.sum())
        if total > _MOST_STEPS:
            raise UserError(
                f"That {self.armed.name} is {total // 3} voxels long, and one may be {_MOST_STEPS // 3} voxels long;"
                " nothing was changed, draw it in several pieces."
            )
        line = np.repeat(np.arange(len(counts)), counts)
        share = (np.arange(total) - (np.cumsum(counts) - counts)[line]) / counts[line]
        return np.concatenate([first[line] + (last - first)[line] * share[:, None], last[-1:]])


def _rounded(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Voxels that hold positions, as `planes.Plane.to_voxel` rounds."""
    return np.floor(places + 0.5).astype(np.int64)


def _cut(
    places: NDArray[np.float64], volume: Volume, reach: NDArray[np.float64] | float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The pieces of a line that lie in the volume, or within `reach` voxels and one more round it.

    Returns:
        Beginnings and ends, (M, 3) each, in the line's order (the algorithm of Liang and Barsky, 1984).
    """
    first, last = (places[:-1], places[1:]) if len(places) > 1 else (places, places)
    low, high = np.full(3, -1.0) - reach, np.array(volume.size, dtype=np.float64) + reach
    way = last - first
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        enter, leave = (low - first) / way, (high - first) / way
    enter, leave = np.fmin(enter, leave), np.fmax(enter, leave)
    still = way == 0  # along this axis: it is within for all of its length, or never
    within = still & (first >= low) & (first <= high)
    enter = np.where(still, np.where(within, 0, np.inf), enter).max(axis=1).clip(min=0)[:, None]
    leave = np.where(still, np.where(within, 1, -np.inf), leave).min(axis=1).clip(max=1)[:, None]
    kept = (enter <= leave)[:, 0]
    enter, leave, first, last, way = (one[kept] for one in (enter, leave, first, last, way))
    return np.where(enter > 0, first + enter * way, first), np.where(leave < 1, first + leave * way, last)


def _squared_distances(
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
    edges: NDArray[np.float64],
    shape: NDArray[np.int64],
    radius: float,
) -> NDArray[np.float64]:
    """Squared distance in mm of each of (shape) pixels to straight lines, (N, 2) beginnings and ends, also in mm.

    Infinite beyond a radius.
    """
    found = np.full(tuple(shape), np.inf)
    for first, last in zip(begins, ends, strict=True):
        both = np.stack([first, last]) / edges
        start = np.clip(np.floor(both.min(axis=0) - radius / edges), 0, shape).astype(int)
        stop = np.clip(np.ceil(both.max(axis=0) + radius / edges) + 1, 0, shape).astype(int)
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
