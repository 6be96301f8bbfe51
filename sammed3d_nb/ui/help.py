"""The ? panel: all keys and mouse gestures."""

from collections.abc import Callable

import ipywidgets as widgets

from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.shortcuts import help_html
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class Help(Tool):
    """The panel, its button and its keys.

    Args:
        stage: What the tools share.
        close_others: Close the other small panels, for Esc.
    """

    def __init__(self, stage: Stage, *close_others: Callable[[], None]) -> None:
        self.panel = widgets.HTML(help_html(), layout=widgets.Layout(display="none"))
        self.panel.add_class("snb-help-panel")
        self.over = (self.panel,)
        self.bar_end = (button("?", "toggle_help", "Keyboard and mouse (?)", stage.guarded(stage.act)),)

        def close() -> None:
            if self.panel.layout.display != "none":
                self._show(False)  # what lies under it stays for the next Esc
                return
            for close_other in close_others:
                close_other()

        self.actions = {"toggle_help": lambda: self._show(self.panel.layout.display == "none"), "close_panels": close}

    def _show(self, on: bool) -> None:
        self.panel.layout.display = "block" if on else "none"
