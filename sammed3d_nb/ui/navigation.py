"""Moving through the slices by keys: scrolling, zooming, and which view is large."""

from collections.abc import Callable

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.tool import Tool


class Navigation(Tool):
    """The keys that move the views."""

    def __init__(self, views: OrthoViews) -> None:
        self._views = views

        def scroll(steps: int) -> Callable[[], None]:
            return lambda: views.scroll(steps)

        def zoom(factor: float) -> Callable[[], None]:
            return lambda: views.zoom(factor)

        self.actions = {
            "slice_up": scroll(1),
            "slice_down": scroll(-1),
            "slice_up_10": scroll(10),
            "slice_down_10": scroll(-10),
            "zoom_in": zoom(1.25),
            "zoom_out": zoom(0.8),
            "fit": views.fit,
            "next_layout": lambda: views.enlarge(PLANES[(PLANES.index(views.large) + 1) % len(PLANES)]),
        }

    def show(self, session: Session) -> None:
        """Show another volume from its middle."""
        self._views.show(session.volume)

    def release(self) -> None:
        """Let go of the volume and the figures."""
        self._views.show(None)
        self._views.release()
