"""The masks in 3D as matplotlib draws them in the kernel: for pages that cannot."""

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

import numpy as np
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import NDArray

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.ui.canvas import ViewCanvas
from sammed3d_nb.ui.view import BACKGROUND

_SIDE = 372  # CSS pixels
_LIGHT = np.array([-0.4, 0.7, 0.6])  # from the patient's left, front and above, in RAS
_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


class MatplotlibPicture:
    """The masks, to be turned with the mouse; `widget` shows them."""

    most, detail = 8000, 40

    def __init__(self, lock: RLock, on_error: Callable[[Exception], None]) -> None:
        self.widget = self.canvas = ViewCanvas((_SIDE, _SIDE), lock, on_error)
        self.canvas.figure.set_facecolor(BACKGROUND)
        self._axes: Any = self.canvas.figure.add_axes(_Turned(self.canvas.figure, (0, 0, 1, 1), facecolor=BACKGROUND))
        self._axes.set_axis_off()
        self._axes.set_proj_type("ortho")
        self._axes.set_box_aspect((1, 1, 1), zoom=1.45)
        self._axes.view_init(elev=12, azim=70)  # from the front, the patient's right on the left

    def draw(self, surfaces: Sequence[tuple[NDArray[np.float64], str]]) -> None:
        """Show these surfaces, each with its colour, and no others."""
        from matplotlib.colors import to_rgb

        axes = self._axes
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

    def anew(self) -> None:
        """Nothing to forget: the picture is fitted to what it shows."""

    def cut(self, volume: Volume, voxel: Sequence[int]) -> None:
        """Slices are not shown here: drawing them takes too long."""

    def release(self) -> None:
        """Close the figure."""
        self.canvas.release()


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
