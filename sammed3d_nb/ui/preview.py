"""The masks as surfaces, in a panel that a button opens: leaks and holes that slices hide are seen at once."""

from typing import Any, Protocol

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page_renderer import PageRenderer
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.surface import surface
from sammed3d_nb.ui.tool import Tool


class Picture(Protocol):
    """Shows surfaces.

    Attributes:
        widget: Shows it.
        most: Triangles of all surfaces together: as many as can be turned fluently.
        detail: Cells along an object's longest edge.
    """

    widget: Any
    most: int
    detail: int

    def draw(self, surfaces: Any, /) -> None:
        """Show (n, 3, 3) triangles in RAS mm, each surface with its colour, and no others."""

    def anew(self) -> None:
        """Another volume comes: forget where the user looked from."""

    def cut(self, volume: Volume, voxel: Any, /) -> None:
        """Show where the slices through a voxel (i, j, k) lie."""

    def release(self) -> None:
        """Let go of everything shown."""


class Preview(Tool):
    """The panel, its button and its key. Dragging turns the masks."""

    def __init__(self, stage: Stage, views: OrthoViews) -> None:
        self._stage, self._views = stage, views
        act = stage.guarded(stage.act)
        self._drawn: list[tuple[LocalMask, str]] | None = None
        self._surfaces: dict[tuple[LocalMask, int], NDArray[np.float64]] = {}  # by mask and most triangles
        self.picture: Picture | None = None
        views.followers.append(self._cut)
        self._large = large = widgets.Button(
            description="⤢", tooltip="Large, or small again", layout=widgets.Layout(width="26px")
        )
        large.add_class("snb-enlarge")
        close = widgets.Button(description="✕", tooltip="Close (D)", layout=widgets.Layout(width="26px"))
        close.on_click(lambda _: act("toggle_preview"))
        head = widgets.HBox([widgets.HTML('<span class="snb-grip"></span><h3>3D</h3>'), self._large, close])
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

    def show(self, session: Session) -> None:
        """Another volume: look at it anew."""
        with self._stage.lock:
            self._drawn = None
            if self.picture is not None:
                self.picture.anew()

    def settle(self, session: Session | None) -> None:
        """Show the session's visible masks, if the panel is open and does not show them already."""
        if session is None or not self.open:
            return
        wanted = [(item.local, item.colour) for item in session.objects if item.visible and item.local.count]
        if wanted == self._drawn:
            return
        picture = self._shown()
        most = picture.most >> max(len(wanted) - 1, 0).bit_length()  # seldom another one, for all are made anew then
        known, self._surfaces = self._surfaces, {}
        for mask, _ in wanted:
            found = known.get((mask, most))
            self._surfaces[mask, most] = surface(mask, session.volume, most, picture.detail) if found is None else found
        with self._stage.lock:  # not before: the views go on meanwhile
            picture.draw([(self._surfaces[mask, most], colour) for mask, colour in wanted])
            picture.cut(session.volume, self._views.cross)
        self._drawn = wanted

    def release(self) -> None:
        """Let go of the picture."""
        self._views.followers.clear()
        self._drawn, self._surfaces = None, {}
        if self.picture is not None:
            self.picture.release()

    def _toggle(self, session: Session) -> None:
        """Open or close the panel; `settle` fills it."""
        if not self.open and not any(item.local.count for item in session.objects):
            raise UserError("There is no mask to show in 3D yet; click on an organ first.")
        self._drawn, self._surfaces = None, {}  # a closed panel holds no masks
        if self.open and self.picture is not None:
            self.picture.draw([])
        self.widget.layout.display = "none" if self.open else "flex"

    def _cut(self) -> None:
        """The crosshair has moved."""
        session = self._stage.session
        if self.picture is not None and self.open and session is not None:
            self.picture.cut(session.volume, self._views.cross)

    def _shown(self) -> Picture:
        """What draws: the page where it draws the slices too, else matplotlib."""
        if self.picture is None:
            if isinstance(self._views.renderer, PageRenderer) and self._views.renderer.webgl:
                from sammed3d_nb.ui.preview_webgl import WebGLPicture

                self.picture = WebGLPicture()
            else:
                from sammed3d_nb.ui.preview_matplotlib import MatplotlibPicture

                self.picture = MatplotlibPicture(self._stage.lock, self._stage.status.fail)
                self._large.layout.display = "none"  # its figure keeps its size
            self.widget.children = (*self.widget.children, self.picture.widget)
        return self.picture
