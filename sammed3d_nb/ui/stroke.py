"""What a hand draws on a view: with which tool, along which line, and which voxels that means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import Index, LocalMask, Region
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
        return self.chain[0](self.canvas)

    @property
    def places(self) -> NDArray[np.float64]:
        """(N, 3) voxel positions (i, j, k), whose fractions say where in a voxel."""
        return self.chain(self.canvas)[:, ::-1]

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

        Distances are those in space, along the volume's own axes.

        Raises:
            UserError: There are none in the volume.
        """
        places, size = self.places, np.array(volume.size)
        radius = self.armed.mm / 2
        to_mm = volume.voxel_to_lps.affine[:3, :3]
        # half the edges (i, j, k) of the box round a ball: its shadows on the voxel axes
        reach = radius * np.linalg.norm(np.linalg.inv(to_mm), axis=1)
        if not self.armed.ball:
            reach[self.axis] = 0
        low = np.clip(np.floor(places.min(axis=0) - reach), 0, size).astype(int)
        high = np.clip(np.ceil(places.max(axis=0) + reach) + 1, 0, size).astype(int)
        if not self.armed.ball:
            index = round(float(places[0, self.axis]))
            low[self.axis], high[self.axis] = max(index, 0), min(index + 1, size[self.axis])
        crossed = _rounded(_dense(places))
        crossed = crossed[((crossed >= low) & (crossed < high)).all(axis=1)] if (low < high).all() else crossed[:0]
        if (low < high).all():
            values = np.zeros((high - low)[::-1], dtype=bool)
            for first, last in _pieces(places):
                _paint(values, low, first, last, reach, radius, to_mm)
            i, j, k = (crossed - low).T
            values[k, j, i] = True
            mask = LocalMask(values, Region.between(low, high), volume.size)
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


def _pieces(places: NDArray[np.float64]) -> Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    return [(places[0], places[0])] if len(places) == 1 else list(zip(places, places[1:], strict=False))


def _paint(
    values: NDArray[np.bool_],
    low: NDArray[np.int64],
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    reach: NDArray[np.float64],
    radius: float,
    to_mm: NDArray[np.float64],
) -> None:
    """Set the voxels (z, y, x), the first of them at `low`, within a radius of a straight piece."""
    ends = np.stack([first, last]) - low
    start = np.clip(np.floor(ends.min(axis=0) - reach), 0, values.shape[::-1]).astype(int)
    stop = np.clip(np.ceil(ends.max(axis=0) + reach) + 1, 0, values.shape[::-1]).astype(int)
    if (start >= stop).any():
        return
    i, j, k = (np.arange(a, b, dtype=np.float64) for a, b in zip(start, stop, strict=True))
    offsets = [axis[:, None] * column for axis, column in zip((i, j, k), to_mm.T, strict=True)]
    origin = to_mm @ ends[0]
    across = offsets[2][:, None, None] + offsets[1][None, :, None] + offsets[0][None, None, :] - origin
    way = to_mm @ (ends[1] - ends[0])
    length = float(way @ way)
    if length > 0:
        share = np.clip(across @ way / length, 0, 1)
        across = across - share[..., None] * way
    near = (across**2).sum(axis=-1) <= radius**2 * (1 + 1e-9)
    part = tuple(slice(a, b) for a, b in zip(start[::-1], stop[::-1], strict=True))
    values[part] |= near


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


def first_place(mark: Mark) -> Index:
    """A voxel of a mark to look at: the middle of a box, the first of a line's."""
    at = mark.places.mean(axis=0) if mark.kind == "box" else mark.places[0]
    i, j, k = (int(n) for n in np.floor(at + 0.5))
    return i, j, k
