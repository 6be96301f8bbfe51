"""Where everything stands: the bar above, the views, the column beside them, the status line below."""

from collections.abc import Sequence

import ipywidgets as widgets

from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.status import StatusLine
from sammed3d_nb.ui.tool import Tool

_BAR, _STATUS, _MARGIN = 74, 28, 6  # CSS pixels
_LEAST_HEIGHT = 480
_NARROW = 760  # below this width the panels stand under the views
_PREVIEW = 404  # width of the column while the masks are shown in 3D there, so that no view is covered


class Frame:
    """Puts the tools' buttons and panels round the views; `widget` shows all of it."""

    def __init__(self, page: Page, views: OrthoViews, status: StatusLine, tools: Sequence[Tool]) -> None:
        self._views = views
        self._size = (0, 0, _BAR)
        bar = widgets.HBox(
            [
                widgets.HTML('<span class="snb-brand">sammed3d</span>'),
                *(widget for tool in tools for widget in tool.bar),
                widgets.Box(layout=widgets.Layout(flex="1 1 auto")),
                *(widget for tool in tools for widget in tool.bar_end),
            ]
        )
        bar.add_class("snb-toolbar")
        self._side = widgets.VBox([widget for tool in tools for widget in tool.side])
        self._side.add_class("snb-side")
        self._main = widgets.HBox([views.widget, self._side])
        self._main.add_class("snb-main")
        over = [widget for tool in tools for widget in tool.over]
        self._beside = [widget for widget in over if "snb-preview" in widget._dom_classes]
        for widget in self._beside:
            widget.layout.observe(lambda _: self.arrange(*self._size), names="display")
        self.widget = widgets.VBox([page, bar, self._main, status.widget, *over])
        self.widget.add_class("sammed3d-app")

    def leave_out(self, page: Page) -> None:
        """Hide what stands for the page's own widget, which could not be made there."""
        hidden = widgets.Box([page], layout=widgets.Layout(display="none"))
        self.widget.children = tuple(hidden if child is page else child for child in self.widget.children)

    def arrange(self, width: int, height: int, bar: int = _BAR) -> None:
        """Fit everything into a width and height in CSS pixels; `bar` is the height that the bar has taken."""
        if width <= 0 or height <= 0:
            return
        self._size = (width, height, bar)
        height = max(height, _LEAST_HEIGHT)
        self.widget.layout.height = f"{height}px"
        inner = height - max(bar, _BAR) - _STATUS - 2 * _MARGIN
        if width < _NARROW:
            self._main.add_class("snb-narrow")
            self._side.layout.width = "100%"
            self._views.arrange(max(300, width - 3 * _MARGIN), max(300, round(0.62 * inner)))
            return
        self._main.remove_class("snb-narrow")
        least = _PREVIEW if any(widget.layout.display != "none" for widget in self._beside) else 336
        side = min(max(round(0.27 * width), least), 440)
        self._side.layout.width = f"{side}px"
        self._views.arrange(max(300, width - side - 3 * _MARGIN), inner)
