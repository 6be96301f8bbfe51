"""The masks as surfaces, in a panel that a button opens: leaks and holes that slices hide are seen at once."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.canvas import ViewCanvas
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.view import BACKGROUND

MOST_TRIANGLES = 8000
"""Of all objects together: as many as can be turned fluently."""
_SIDE = 372  # CSS pixels
_DETAIL = 40  # cells along an object's longest edge, where that many triangles allow it
_LIGHT = np.array([-0.4, 0.7, 0.6])  # from the patient's left, front and above, in RAS
_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def surface(mask: LocalMask, volume: Volume, most: int = MOST_TRIANGLES) -> NDArray[np.float64]:
    """A mask's surface.

    Args:
        mask: At least one voxel.
        volume: Its volume.
        most: Triangles at most, but for the 100 that any shape may have.

    Returns:
        (n, 3, 3) float64 triangles, corners x, y, z in RAS mm, anticlockwise seen from outside.
    """
    from skimage.measure import block_reduce, marching_cubes

    spacing, values = np.array(volume.spacing[::-1]), mask.values
    step = max(float(np.multiply(values.shape, spacing).max()) / _DETAIL, float(spacing.min()))
    while True:
        block = np.maximum(0.5 * step / spacing, 1).astype(int)  # voxels averaged first: large masks have millions
        shares = block_reduce(np.pad(values, [(2 * n, 2 * n) for n in block]), tuple(block), np.mean)
        edges = spacing * block
        blurred = ndimage.gaussian_filter(shares.astype(np.float32), 0.5 * step / edges, mode="constant")
        cells = np.ceil((np.array(shares.shape) - 1) * edges / step).astype(int) + 1
        even = ndimage.affine_transform(blurred, step / edges, output_shape=tuple(cells), order=1, mode="constant")
        corners, faces, *_ = marching_cubes(np.pad(even, 1), min(0.5, float(even.max()) / 2))  # thin ones stay
        if len(faces) <= max(most, 100):
            break
        step *= 1.15
    inside = (corners - 1) * step / spacing + (block - 1) / 2 - 2 * block
    array = inside + np.array(mask.region.start)[::-1]
    triangles: NDArray[np.float64] = volume.voxel_to_ras(array[:, ::-1])[faces]
    enclosed = np.einsum("ni,ni->n", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum()
    return triangles if enclosed > 0 else triangles[:, ::-1]  # which way round depends on the volume's axes


class Preview(Tool):
    """The panel, its button and its key. Dragging turns the masks."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        act = stage.guarded(stage.act)
        self._drawn: list[tuple[LocalMask, str]] | None = None
        self._surfaces: dict[tuple[LocalMask, int], NDArray[np.float64]] = {}  # by mask and most triangles
        self.canvas: ViewCanvas | None = None
        close = widgets.Button(description="✕", tooltip="Close (D)", layout=widgets.Layout(width="26px"))
        close.on_click(lambda _: act("toggle_preview"))
        head = widgets.HBox([widgets.HTML("<h3>3D – drag to turn</h3>"), close])
        head.add_class("snb-panel-head")
        self.widget = widgets.VBox([head], layout=widgets.Layout(display="none"))
        self.widget.add_class("snb-preview")
        self.over = (self.widget,)
        self.bar_end = (button("3D", "toggle_preview", "Masks in 3D (D)", act),)
        self.actions = {"toggle_preview": lambda: stage.change("Drawing in 3D", self._toggle)}

    @property
    def open(self) -> bool:
        """Whether the panel is shown."""
        return bool(self.widget.layout.display != "none")

    def settle(self, session: Session | None) -> None:
        """Show the session's visible masks, if the panel is open and does not show them already."""
        if session is None or not self.open:
            return
        wanted = [(item.local, item.colour) for item in session.objects if item.visible and item.local.count]
        if wanted == self._drawn:
            return
        most = MOST_TRIANGLES >> max(len(wanted) - 1, 0).bit_length()  # seldom another one, for all are made anew then
        known, self._surfaces = self._surfaces, {}
        for mask, _ in wanted:
            found = known.get((mask, most))
            self._surfaces[mask, most] = surface(mask, session.volume, most) if found is None else found
        with self._stage.lock:  # not before: the views go on meanwhile
            self._draw([(self._surfaces[mask, most], colour) for mask, colour in wanted])
        self._drawn = wanted

    def release(self) -> None:
        """Close the figure."""
        self._drawn, self._surfaces = None, {}
        if self.canvas is not None:
            self.canvas.release()

    def _toggle(self, session: Session) -> None:
        """Open or close the panel; `settle` fills it."""
        if not self.open and not any(item.local.count for item in session.objects):
            raise UserError("There is no mask to show in 3D yet; click on an organ first.")
        self._drawn, self._surfaces = None, {}  # a closed panel holds no masks
        self.widget.layout.display = "none" if self.open else "flex"

    def _draw(self, surfaces: Sequence[tuple[NDArray[np.float64], str]]) -> None:
        from matplotlib.colors import to_rgb

        axes = self._axes()
        for artist in (*axes.collections, *axes.texts):
            artist.remove()
        if surfaces:
            triangles = np.concatenate([found for found, _ in surfaces])
            colours = np.concatenate([np.tile(to_rgb(colour), (len(found), 1)) for found, colour in surfaces])
            shaded = colours * _brightness(triangles)[:, None]
            axes.add_collection3d(Poly3DCollection(triangles, facecolors=shaded, edgecolors=shaded, linewidths=0.3))
            middle = (triangles.min(axis=(0, 1)) + triangles.max(axis=(0, 1))) / 2
            radius = float(np.linalg.norm(triangles - middle, axis=-1).max())  # it fits however it is turned
            axes.set(**{f"{name}lim": (at - radius, at + radius) for name, at in zip("xyz", middle, strict=True)})
            for letter, way in _DIRECTIONS.items():
                at = middle + 1.06 * radius * np.array(way)
                axes.text(*at, letter, gid=letter, color="#8d98a7", ha="center", va="center")
        axes.figure.canvas.draw_idle()

    def _axes(self) -> Any:
        if self.canvas is None:
            self.canvas = ViewCanvas((_SIDE, _SIDE), self._stage.lock, self._stage.status.fail)
            self.canvas.figure.set_facecolor(BACKGROUND)
            axes = self.canvas.figure.add_axes(_Turned(self.canvas.figure, (0, 0, 1, 1), facecolor=BACKGROUND))
            axes.set_axis_off()
            axes.set_proj_type("ortho")
            axes.set_box_aspect((1, 1, 1), zoom=1.45)
            axes.view_init(elev=12, azim=70)  # from the front, the patient's right on the left
            self.widget.children = (*self.widget.children, self.canvas)
        return self.canvas.figure.axes[0]


class _Turned(Axes3D):  # type: ignore[misc]  # matplotlib's 3D axes have no types
    """Axes whose letters are left out while they lie behind the masks: matplotlib would draw them in front."""

    def draw(self, renderer: Any) -> None:
        elevation, azimuth = np.radians([self.elev, self.azim])
        across = np.cos(elevation)
        viewer = np.array([across * np.cos(azimuth), across * np.sin(azimuth), np.sin(elevation)])
        for text in self.texts:
            text.set_visible(bool(viewer @ np.array(_DIRECTIONS[text.get_gid()]) > -0.5))
        super().draw(renderer)


def _brightness(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return np.asarray(np.clip(0.62 + 0.42 * (normals @ _LIGHT), 0.25, 1.0))
