"""One ortho view drawn by matplotlib in the kernel: a slice with masks, clicks and crosshair."""

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.palette import MARK_EDGE, NEGATIVE_MARK, POSITIVE_MARK
from sammed3d_nb.spaces import Transform, box
from sammed3d_nb.ui.canvas import ViewCanvas
from sammed3d_nb.ui.compose import compose, outlines
from sammed3d_nb.ui.ipympl_marks import Marks
from sammed3d_nb.ui.stroke import Mark
from sammed3d_nb.ui.view import BACKGROUND, Display, Pointer, Shown, SliceView

_CROSSHAIR, _LETTER, _CUBE = "#ffd24a", "#aab4c2", "#5aa9ff"
_GAP = 9  # CSS pixels left free round the crosshair's centre


class Picture:
    """A figure that shows one view.

    Args:
        view: The view.
        display: The settings shared by all views.
        lock: Guards all drawing.
        on_error: Called with exceptions from handlers.
    """

    def __init__(
        self, view: SliceView, display: Display, lock: RLock, on_error: Callable[[BaseException], None]
    ) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.patheffects import withStroke

        self.view, self.display = view, display
        self.canvas = ViewCanvas((400, 400), lock, on_error)
        figure = self.canvas.figure
        figure.set_facecolor(BACKGROUND)
        self.axes = figure.add_axes((0, 0, 1, 1), facecolor=BACKGROUND)
        self.axes.set_axis_off()
        self.axes.set_autoscale_on(False)
        self._array: NDArray[Any] | None = None
        self._image = self.axes.imshow(np.zeros((1, 1, 3), np.uint8), aspect="auto", visible=False)
        stroke = [withStroke(linewidth=2.4, foreground=BACKGROUND, alpha=0.8)]
        self._outlines = LineCollection([], linewidths=1.4)
        self._cross = LineCollection([], colors=_CROSSHAIR, linewidths=0.8, alpha=0.75)
        self._cubes = LineCollection([], colors=_CUBE, linewidths=1.0, linestyles=(0, (5, 4)), alpha=0.9)
        for lines in (self._outlines, self._cubes, self._cross):
            self.axes.add_collection(lines, autolim=False)
        self.marks = Marks(self.axes)
        edge = [withStroke(linewidth=4.4, foreground=MARK_EDGE)]
        self._marks = {
            sign: self.axes.plot([], [], marker, color=colour, markersize=9, mew=2.0, path_effects=edge, ls="none")[0]
            for sign, marker, colour in ((True, "+", POSITIVE_MARK), (False, "_", NEGATIVE_MARK))
        }
        text: dict[str, Any] = {"color": _LETTER, "path_effects": stroke, "transform": figure.transFigure}
        self._letters = [
            self.axes.text(x, y, "", ha=ha, va=va, fontsize=12, **text)
            for x, y, ha, va in (
                (0.012, 0.5, "left", "center"),
                (0.988, 0.5, "right", "center"),
                (0.5, 0.985, "center", "top"),
                (0.5, 0.015, "center", "bottom"),
            )
        ]
        self._title = self.axes.text(0.015, 0.985, "", ha="left", va="top", fontsize=11, **text)
        self._scale = self.axes.text(0.985, 0.03, "", ha="right", va="bottom", fontsize=10, **text)
        self._bar = self.axes.plot([], [], color=_LETTER, lw=2, transform=figure.transFigure, path_effects=stroke)[0]

    def open(self, volume: Volume | None) -> None:
        """Show another volume, or none."""
        plane, self._array = self.view.plane, None if volume is None else volume.array
        self._image.set_visible(plane is not None)
        if plane is None:
            for artist in (*self._letters, self._title, self._scale):
                artist.set_text("")
            self._bar.set_data([], [])
            return
        rows, columns = plane.shape
        self._image.set_extent((-0.5, columns - 0.5, rows - 0.5, -0.5))
        for artist, letter in zip(self._letters, plane.letters, strict=True):
            artist.set_text(letter)

    def _look(self) -> None:
        """Take over the view's region."""
        assert self.view.plane is not None
        left, right, bottom, top = self.view.region.limits(self.view.plane.spacing, self.canvas.shown_size)
        self.axes.set_xlim(left, right)
        self.axes.set_ylim(bottom, top)
        self._draw_scale()

    def draw(
        self,
        objects: Sequence[Shown],
        clicks: Sequence[tuple[Sequence[int], bool]],
        cross: Sequence[float] | None,
        cubes: Sequence[tuple[Transform, int]],
        marks: Sequence[Mark] = (),
    ) -> None:
        """Compose the slice anew and ask the page to fetch it.

        Args:
            objects: Objects to show, a later one over an earlier one.
            clicks: (voxel, positive) of the current object.
            cross: Voxel (i, j, k) of the crosshair.
            cubes: As `Scene.cubes`.
            marks: Lines of other prompts, and measures.
        """
        plane = self.view.plane
        if plane is not None and self._array is not None:
            self._look()
            display = self.display
            grey = display.window.to_grey(plane.slice_of(self._array, self.view.index))
            seen = [(self._slice_of(shown.mask), shown) for shown in objects] if display.masks else []
            picture = compose(grey, [(mask, shown.colour) for mask, shown in seen if shown.fill], display.opacity)
            self._image.set_data(picture)
            self._image.set_interpolation("bilinear" if display.smooth else "nearest")
            self._draw_outlines(seen if display.contours else [])
            self._draw_clicks(clicks if display.prompts else [])
            self._draw_cross(cross if display.crosshair else None)
            self._draw_cubes(cubes if display.cube else [])
            self.marks.show(marks, plane, self.view.index, self.view.region.scale)
            self._title.set_text(f"{self.view.name.capitalize()}  {self.view.index + 1} / {plane.slices}")
        self.canvas.draw_idle()

    def pointer(self, event: Any) -> Pointer | None:
        """A mouse event as a `Pointer`; None before there is a volume."""
        if event.inaxes is None or event.xdata is None:
            return None
        button = getattr(event, "button", None)  # "up" and "down" for the wheel
        modifiers = frozenset(getattr(event, "modifiers", ()))
        return self.pointer_at(*self.canvas.position(event), button if isinstance(button, int) else 0, modifiers)

    def pointer_at(
        self, x: float, y: float, button: int = 0, modifiers: frozenset[str] = frozenset()
    ) -> Pointer | None:
        """The mouse at device pixels `x` right and `y` down, over what is shown now."""
        if self.view.plane is not None:
            self._look()
        canvas = (x, y, float(self.view.index))  # the slice shown now goes on record
        return self.view.pointer_at(self.canvas.to_plane(self.axes), canvas, button, modifiers)

    def _slice_of(self, mask: LocalMask) -> NDArray[np.bool_]:
        assert self.view.plane is not None
        return self.view.plane.oriented(mask.slice(self.view.plane.array_axis, self.view.index)).view(np.bool_)

    def _draw_outlines(self, seen: Sequence[tuple[NDArray[np.bool_], Shown]]) -> None:
        lines: list[NDArray[np.float64]] = []
        colours: list[tuple[float, float, float]] = []
        widths: list[float] = []
        for mask, shown in seen:
            if not shown.outline:
                continue
            for line in outlines(mask):
                lines.append(line)
                red, green, blue = (channel / 255 for channel in shown.colour)
                colours.append((red, green, blue))
                widths.append(1.6 if shown.current else 1.0)
        self._outlines.set_segments(lines)
        self._outlines.set_color(colours)
        self._outlines.set_linewidth(widths or [1.0])

    def _draw_clicks(self, clicks: Sequence[tuple[Sequence[int], bool]]) -> None:
        for sign, marks in self._marks.items():
            here = [self._position(voxel) for voxel, positive in clicks if positive is sign]
            points = [(column, row) for column, row, index in here if round(index) == self.view.index]
            marks.set_data([p[0] for p in points], [p[1] for p in points])

    def _draw_cross(self, cross: Sequence[float] | None) -> None:
        if cross is None or self.view.plane is None:
            self._cross.set_segments([])
            return
        column, row, _ = self._position(cross)
        gap_columns, gap_rows = (_GAP / self.view.region.scale / side for side in self.view.plane.spacing[::-1])
        left, right = self.axes.get_xlim()
        bottom, top = self.axes.get_ylim()
        self._cross.set_segments(
            [
                [(left, row), (column - gap_columns, row)],
                [(column + gap_columns, row), (right, row)],
                [(column, top), (column, row - gap_rows)],
                [(column, row + gap_rows), (column, bottom)],
            ]
        )

    def _draw_cubes(self, cubes: Sequence[tuple[Transform, int]]) -> None:
        assert self.view.plane is not None
        lines = []
        for to_array, size in cubes:
            corners = to_array(box((size,) * 3))  # its faces are parallel to the volume's, so two corners say all
            (c0, r0, s0), (c1, r1, s1) = np.sort(self.view.plane.to_array.inverse(corners), axis=0)
            if s0 <= self.view.index <= s1:
                lines.append([(c0, r0), (c1, r0), (c1, r1), (c0, r1), (c0, r0)])
        self._cubes.set_segments(lines)

    def _draw_scale(self) -> None:
        width, height = self.canvas.shown_size
        length = max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm * self.view.region.scale < 0.25 * width), default=1)
        right, y = 1 - 12 / width, 12 / height
        self._bar.set_data([right - length * self.view.region.scale / width, right], [y, y])
        self._scale.set_position((right, y + 5 / height))
        self._scale.set_text(f"{length} mm" if length < 10 else f"{length // 10} cm")

    def _position(self, voxel: Sequence[float]) -> tuple[float, float, float]:
        assert self.view.plane is not None
        return self.view.plane.from_voxel(voxel)
