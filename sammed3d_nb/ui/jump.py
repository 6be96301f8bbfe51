"""Going to a slice by its number, and the number of the slice that each view shows."""

from functools import partial
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.quiet import Quiet
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class Jump(Tool):
    """A small panel with three numbers, its button and its key.

    Args:
        stage: What the tools share.
        views: Where to go.
        page: Gives the number of the active view the focus.
    """

    def __init__(self, stage: Stage, views: OrthoViews, page: Page) -> None:
        self._views, self._page, self._quiet = views, page, Quiet()
        act = stage.guarded(stage.act)
        self.numbers = {name: _number(name) for name in PLANES}
        for name, number in self.numbers.items():
            number.observe(stage.guarded(partial(self._typed, name)), names="value")
        close = widgets.Button(description="✕", tooltip="Close (Esc)", layout=widgets.Layout(width="26px"))
        close.on_click(lambda _: act("close_panels"))
        fields = [widgets.HBox([widgets.Label(name.capitalize()), n]) for name, n in self.numbers.items()]
        self.panel = widgets.HBox([*fields, close], layout=widgets.Layout(display="none"))
        self.panel.add_class("snb-jump-panel")
        self.over = (self.panel,)
        self.bar_end = (button("Slice…", "jump", "Go to a slice by its number (J)", act),)
        self.actions = {"jump": self._open}
        views.followers.append(lambda: self.refresh(None))

    def refresh(self, session: Session | None) -> None:
        """Show the numbers of the slices in view."""
        if self.panel.layout.display != "none":
            self._fill()

    def close(self) -> None:
        """Close the panel."""
        self.panel.layout.display = "none"

    def _open(self) -> None:
        self._fill()
        self.panel.layout.display = "flex"
        self._page.focus(f".snb-jump-panel .snb-{self._views.active} input")

    def _fill(self) -> None:
        with self._quiet:
            for name, number in self.numbers.items():
                view = self._views.views[name]
                if view.plane is not None:
                    number.max = view.plane.slices
                    number.value = view.index + 1

    def _typed(self, name: str, change: dict[str, Any]) -> None:
        plane = self._views.views[name].plane
        if self._quiet or plane is None:
            return
        cross = list(self._views.cross)
        cross[plane.axes[2]] = change["new"] - 1
        self._views.move_to(cross)


def _number(name: str) -> widgets.BoundedIntText:
    number = widgets.BoundedIntText(1, min=1, max=1, tooltip=f"Number of the {name} slice")
    number.layout.width = "72px"
    number.add_class(f"snb-{name}")
    return number
