"""Three linked views: axial, coronal and sagittal, and who draws them."""

from collections.abc import Callable
from threading import RLock, Timer
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.ui.closing import close_tree
from sammed3d_nb.ui.page_renderer import PageRenderer
from sammed3d_nb.ui.scene import Renderer, Scene

PAGE, IPYMPL = "page", "ipympl"
RENDERERS = (PAGE, IPYMPL)
_SILENT = 6.0  # seconds: a page that shows widgets and has not said by then that it draws cannot


class OrthoViews(Scene):
    """The three views; `widget` shows them.

    Args:
        lock: Guards drawing, and everything that the views show.
        on_error: Called with exceptions from handlers.
        radiological: Show the patient's right on the left of the screen.
        renderer: ``"page"``: the page draws; ``"ipympl"``: matplotlib draws in the kernel. A page that cannot draw
            gets the latter by itself.

    Attributes:
        on_other_renderer: Called with a sentence when the page could not draw and the kernel does.
    """

    def __init__(
        self,
        lock: RLock,
        on_error: Callable[[BaseException], None],
        *,
        radiological: bool = True,
        renderer: str = PAGE,
    ) -> None:
        super().__init__(lock, on_error, radiological=radiological)
        if renderer not in RENDERERS:
            raise UserError(f"There is no renderer {renderer!r}; choose one of {', '.join(RENDERERS)}.")
        self.on_other_renderer: Callable[[str], object] = lambda why: None
        self.widget = widgets.VBox()
        self.widget.add_class("snb-views-room")
        self._links: list[tuple[str, Any]] = []
        self._silent = Timer(0, lambda: None)
        self._probe: list[Any] = []
        self._renderer: Renderer = self._page() if renderer == PAGE else self._ipympl()
        self._put()
        self.arrange(*self.size)

    @property
    def renderer(self) -> Renderer:
        """What draws the views."""
        return self._renderer

    def link(self, field: str, control: Any) -> None:
        """Couple a control's `value` with a field of `view.Display`, in the page where that draws."""
        self._links.append((field, control))
        self._renderer.link(field, control)

    def release(self) -> None:
        """Let go of everything that the page shows."""
        self._renderer.release()
        self._silent.cancel()
        for part in self._probe:
            close_tree(part)
        self._probe = []

    def _page(self) -> PageRenderer:
        renderer = PageRenderer(self)
        renderer.on_unable = self._fall_back
        # core widgets that speak up by themselves: a page that runs them but none of ours forbids our JavaScript
        source, target = (widgets.Checkbox(value, layout=widgets.Layout(display="none")) for value in (True, False))
        link = widgets.jsdlink((source, "value"), (target, "value"))
        self._probe = [source, target, link]

        def spoke(change: dict[str, Any]) -> None:
            self._silent.cancel()
            self._silent = Timer(_SILENT, self._asked, [renderer])
            self._silent.daemon = True
            self._silent.start()

        target.observe(spoke, names="value")
        return renderer

    def _ipympl(self) -> Renderer:
        from sammed3d_nb.ui.ipympl_renderer import IpymplRenderer  # matplotlib takes a second

        return IpymplRenderer(self)

    def _asked(self, renderer: PageRenderer) -> None:
        try:
            if not renderer.able:
                self._fall_back("it allows no JavaScript of ours")
        except Exception as error:
            self.on_error(error)

    def _fall_back(self, why: str) -> None:
        """Let the kernel draw from now on."""
        with self.lock:
            before = self._renderer
            if not isinstance(before, PageRenderer):
                return
            self.release()
            self._renderer = self._ipympl()
            self._put()
            close_tree(before.widget)
            for field, control in self._links:
                self._renderer.link(field, control)
            self.renderer.opened()
            self.renderer.arranged()
            self.on_other_renderer(f"This page cannot draw the slices ({why}): the kernel draws them, more slowly.")

    def _put(self) -> None:
        self.widget.children = (self._renderer.widget, *self._probe[:2])
