"""Strokes and marks on a view that matplotlib draws; `viewer/marks.js` draws the same in the page."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.session.palette import MARK_EDGE, NEGATIVE_MARK, POSITIVE_MARK
from sammed3d_nb.ui.planes import Plane
from sammed3d_nb.ui.stroke import BOX, BRUSH, LOOP, RULER, Armed, Mark

_MEASURE = "#7fd4ff"
_SEE_THROUGH = 0.45
Line = NDArray[np.float64]


class Marks:
    """The artists on one view's axes; positions are columns and rows, widths CSS pixels."""

    def __init__(self, axes: Any) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.patches import Ellipse
        from matplotlib.patheffects import withStroke

        self._axes = axes
        self._edge = [withStroke(linewidth=3, foreground=MARK_EDGE)]
        self._wide = LineCollection([], capstyle="round", joinstyle="round", alpha=_SEE_THROUGH)
        self._edges = LineCollection([], colors=MARK_EDGE, capstyle="round")
        self._lines = LineCollection([], capstyle="round")
        self._band = axes.plot([], [], alpha=_SEE_THROUGH, solid_capstyle="round", solid_joinstyle="round")[0]
        self._drawn = axes.plot([], [], lw=2, path_effects=[withStroke(linewidth=4.4, foreground=MARK_EDGE)])[0]
        self._circle = Ellipse((0, 0), 1, 1, fill=False, edgecolor="#fff", lw=1, visible=False, path_effects=self._edge)
        for collection in (self._wide, self._edges, self._lines):
            axes.add_collection(collection, autolim=False)
        axes.add_patch(self._circle)
        self._texts: list[Any] = []

    def show(self, marks: Sequence[Mark], plane: Plane, index: int, scale: float) -> None:
        """Draw those that slice `index` goes through; `scale` is CSS pixels per mm."""
        lines: list[Line] = []
        styles: list[tuple[str, float, Any]] = []
        wide: list[Line] = []
        widths: list[float] = []
        for text in self._texts:
            text.remove()
        self._texts = []
        for mark in marks:
            found = np.round(plane.to_array.inverse(mark.places[:, ::-1]), 6)
            pieces = _pieces(mark, found, index, scale, plane)
            if not pieces:
                continue
            if mark.kind == "statistics":
                wide += pieces
                widths.append(max(mark.mm * scale, 1))
            else:
                lines += pieces
                styles += [_style(mark)] * len(pieces)
            if mark.text:
                made = self._axes.text(
                    *found[-1, :2], f" {mark.text}", color=_MEASURE, fontsize=12, va="bottom", path_effects=self._edge
                )
                self._texts.append(made)
        self._wide.set_segments(wide)
        self._wide.set_color(_MEASURE)
        self._wide.set_linewidth(widths or [1])
        for collection, more in ((self._edges, 2.4), (self._lines, 0.0)):
            collection.set_segments(lines)
            collection.set_linewidth([width + more for _, width, _ in styles] or [1])
        self._lines.set_color([colour for colour, _, _ in styles])
        self._lines.set_linestyle([dashes for _, _, dashes in styles] or ["solid"])

    def draw(self, points: Line | None, armed: Armed, positive: bool, scale: float) -> None:
        """Draw what the hand is drawing along (N, 2) columns and rows; None for nothing."""
        self._band.set_data([], [])
        self._drawn.set_data([], [])
        if points is None:
            return
        colour = _MEASURE if armed.says == "yes" else POSITIVE_MARK if positive else NEGATIVE_MARK
        artist = self._band if armed.shape == BRUSH else self._drawn
        artist.set_color(colour)
        if armed.shape == BRUSH:
            artist.set_linewidth(max(armed.mm * scale, 1))
        elif armed.shape == BOX:
            points = _rectangle(points[[0, -1]])
        elif armed.shape == RULER:
            points = points[[0, -1]]
        elif armed.shape == LOOP:
            points = np.concatenate([points, points[:1]])
        if len(points) == 1:
            points = np.concatenate([points, points])
        artist.set_data(points[:, 0], points[:, 1])

    def circle(self, place: tuple[float, float] | None, armed: Armed, plane: Plane) -> None:
        """Show the brush round a column and row at its true size; None for nowhere."""
        self._circle.set_visible(place is not None)
        if place is not None:
            self._circle.set_center(place)
            self._circle.width, self._circle.height = (armed.mm / edge for edge in plane.spacing[::-1])


def _style(mark: Mark) -> tuple[str, float, Any]:
    """Colour, width and dashes of a line."""
    if mark.kind == "ruler":
        return _MEASURE, 1.6, "solid"
    solid = mark.kind == "point" or (mark.kind == "scribble" and mark.positive)
    dashes: Any = "solid" if solid else (0, (4, 2)) if mark.positive else (0, (1, 2))
    return POSITIVE_MARK if mark.positive else NEGATIVE_MARK, 3.4 if mark.chosen else 1.8, dashes


def _rectangle(ends: Line) -> Line:
    (left, top), (right, bottom) = ends[0, :2], ends[1, :2]
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])


def _pieces(mark: Mark, found: Line, index: int, scale: float, plane: Plane) -> list[Line]:
    """The lines (N, 2) of a mark, whose places are (N, 3) columns, rows and slices, in slice `index`."""
    here = np.rint(found[:, 2]) == index
    if mark.kind == "box":
        low, high = found.min(axis=0), found.max(axis=0)
        inside = low[2] <= index <= high[2]
        return [_rectangle(np.stack([low[:2] - 0.5, high[:2] + 0.5]))] if inside else []
    if mark.kind == "point":
        turn = np.linspace(0, 2 * np.pi, 33)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (10 / scale / np.array(plane.spacing[::-1]))
        return [found[0, :2] + ring] if here[0] else []
    if mark.kind in ("ruler", "statistics"):
        flat = found[:, :2]
        return [flat if len(flat) > 1 else np.concatenate([flat, flat])] if here.all() else []
    ring = np.concatenate([found, found[:1]]) if mark.kind == "lasso" or len(found) == 1 else found
    pieces: list[Line] = []
    going = False
    for first, last in pairwise(ring):
        before, after = first[2] - index, last[2] - index
        on = before == 0 and after == 0
        if on and going:
            pieces[-1] = np.concatenate([pieces[-1], last[None, :2]])
        elif on:
            pieces.append(np.stack([first[:2], last[:2]]))
        elif before * after <= 0:  # it only crosses the slice
            at = first[:2] + before / (before - after) * (last[:2] - first[:2])
            pieces.append(np.stack([at - 0.2, at + 0.2]))
        going = on
    return pieces
