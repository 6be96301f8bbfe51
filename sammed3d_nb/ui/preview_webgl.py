"""The masks in 3D as the page draws them, by K3D: turning and zooming need no answer from the kernel."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.ui.closing import close_tree
from sammed3d_nb.ui.describe import rgb
from sammed3d_nb.ui.planes import PLANES, Plane

_BACKGROUND, _LETTERS, _SLICES = 0x0B0D10, 0xC2CAD4, 0xFFD24A
_SIDE = 372  # CSS pixels, before anybody drags the panel's corner
_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


class WebGLPicture:
    """The masks and the slices through the crosshair; `widget` shows them."""

    most, detail = 120_000, 110

    def __init__(self) -> None:
        import k3d

        self._k3d = k3d
        self.widget: Any = k3d.plot(
            background_color=_BACKGROUND,
            grid_visible=False,
            menu_visibility=False,
            axes_helper=0,
            camera_auto_fit=False,
            height=_SIDE,
        )
        self.widget.add_class("snb-k3d")
        self._meshes: list[Any] = []
        self._letters: dict[str, Any] = {}
        self._slices: dict[str, Any] = {}
        self._told: list[tuple[Any, str]] = []  # what the meshes show
        self._seen = False  # whether the camera has been put; from then on it is the user's

    def draw(self, surfaces: Sequence[tuple[NDArray[np.float64], str]]) -> None:
        """Show these surfaces, each with its colour, and no others; what is there already is kept."""
        for mesh in self._meshes[len(surfaces) :]:
            self._drop(mesh)
        del self._meshes[len(surfaces) :]
        told_before, self._told = self._told, [(triangles, colour) for triangles, colour in surfaces]
        for number, (triangles, colour) in enumerate(surfaces):
            before = told_before[number] if number < len(told_before) else (None, "")
            if before[0] is triangles and before[1] == colour:
                continue  # not sent again
            corners, faces = np.unique(triangles.reshape(-1, 3).astype(np.float32), axis=0, return_inverse=True)
            red, green, blue = rgb(colour)
            told = {
                "vertices": corners,
                "indices": faces.reshape(-1, 3).astype(np.uint32),
                "color": (red << 16) + (green << 8) + blue,
            }
            if number < len(self._meshes):
                with self._meshes[number].hold_sync():
                    for name, value in told.items():
                        setattr(self._meshes[number], name, value)
            else:
                self._meshes.append(self._k3d.mesh(**told, flat_shading=False, side="double"))
                self.widget += self._meshes[number]
        if surfaces:
            self._look(np.concatenate([triangles.reshape(-1, 3) for triangles, _ in surfaces]))

    def cut(self, volume: Volume, voxel: Sequence[int]) -> None:
        """Outline the slices through a voxel (i, j, k)."""
        for name in PLANES:
            plane = Plane.of(name, volume)
            rows, columns = plane.shape
            index = plane.from_voxel(voxel)[2]
            corners = [(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)]
            places = plane.to_array([(*corner, index) for corner in [*corners, corners[0]]])
            line = volume.voxel_to_ras(volume.array_to_voxel(places)).astype(np.float32)
            if name in self._slices:
                if not np.array_equal(self._slices[name].vertices, line):
                    self._slices[name].vertices = line
            else:
                self._slices[name] = self._k3d.line(line, color=_SLICES, width=1.0, shader="simple", opacity=0.8)
                self.widget += self._slices[name]

    def anew(self) -> None:
        """Another volume comes: forget where the user looked from."""
        for item in (*self._meshes, *self._letters.values(), *self._slices.values()):
            self._drop(item)
        self._meshes, self._letters, self._slices, self._told, self._seen = [], {}, {}, [], False

    def release(self) -> None:
        """Let go of what is shown."""
        self.anew()
        self.widget.layout.close()
        widgets.Widget.close(self.widget)  # K3D's own close leaves the widget open

    def _drop(self, item: Any) -> None:
        self.widget -= item
        close_tree(item)

    def _look(self, corners: NDArray[np.float64]) -> None:
        """Put letters round the masks, and once the camera: from the front, the patient's right on the left."""
        low, high = corners.min(axis=0), corners.max(axis=0)
        middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        for letter, way in _DIRECTIONS.items():
            place = (middle + 1.06 * radius * np.array(way)).astype(np.float32)
            if letter in self._letters:
                self._letters[letter].position = place
                continue
            self._letters[letter] = self._k3d.text(
                letter, place, color=_LETTERS, reference_point="cc", size=0.9, label_box=False
            )
            self.widget += self._letters[letter]
        if not self._seen:
            self._seen = True
            away = middle + 2.6 * radius * np.array([0.3, 0.92, 0.22])
            self.widget.camera = [*away.tolist(), *middle.tolist(), 0, 0, 1]
