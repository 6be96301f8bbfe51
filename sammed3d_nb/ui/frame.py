"""Where everything stands: the bar above, the views, the column beside them, the status line below."""

from collections.abc import Sequence

import ipywidgets as widgets

from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.status import StatusLine
from sammed3d_nb.ui.tool import Tool

_BAR, _STATUS, _MARGIN = 42, 28, 6  # CSS pixels


class Frame:
    """Puts the tools' buttons and panels round the views; `widget` shows all of it."""

    def __init__(self, page: Page, views: OrthoViews, status: StatusLine, tools: Sequence[Tool]) -> None:
        self._views = views
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
        main = widgets.HBox([views.widget, self._side])
        main.add_class("snb-main")
        over = (widget for tool in tools for widget in tool.over)
        self.widget = widgets.VBox([page, bar, main, status.widget, *over])
        self.widget.add_class("sammed3d-app")

    def arrange(self, width: int, height: int) -> None:
        """Fit everything into a width and height in CSS pixels."""
        if width <= 0 or height <= 0:
            return
        side = min(max(round(0.27 * width), 336), 440)
        self._side.layout.width = f"{side}px"
        self.widget.layout.height = f"{max(height, 480)}px"
        inner = max(height, 480) - _BAR - _STATUS - 2 * _MARGIN
        self._views.arrange(max(400, width - side - 3 * _MARGIN), inner)
