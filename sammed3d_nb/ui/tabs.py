"""Panels that share a place beside the views: one of them is open at a time, or none."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.ui.quiet import Quiet
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether what a panel shows was made of these very objects; masks are compared by identity, names by value."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a is b or (isinstance(a, str | int) and a == b) for a, b in pairs)


class Tab(Tool):
    """A tool whose panel is one of `Tabs`.

    Attributes:
        title: On its button.
        tooltip: Of its button.
        action: The action of `shortcuts` that opens and closes it.
        panel: What it shows.
        open: Whether it is open.
    """

    title = ""
    tooltip = ""
    action = ""
    panel: Any
    open = False

    def opened(self) -> None:
        """It has been opened, or closed: see `open`. The app's lock is held."""


class Tabs(Tool):
    """The row of buttons, and under it the panel that is open.

    Args:
        stage: What the tools share.
        tabs: The panels, in the order of their buttons.
    """

    def __init__(self, stage: Stage, tabs: Sequence[Tab]) -> None:
        self._stage, self.tabs, self._quiet = stage, tabs, Quiet()
        self.buttons = [self._button(tab) for tab in tabs]
        row = widgets.HBox(self.buttons)
        row.add_class("snb-tab-row")
        for tab in tabs:
            tab.panel.layout.display = "none"
        panel = widgets.VBox([row, *(tab.panel for tab in tabs)])
        panel.add_class("snb-panel")
        panel.add_class("snb-tabs")
        self.side = (panel,)
        self.actions = {tab.action: self._toggling(tab) for tab in tabs}

    def close(self) -> None:
        """Close whichever is open."""
        self.choose(None)

    def choose(self, chosen: Tab | None) -> None:
        """Open one, and close the one that was."""
        with self._stage.lock:
            with self._quiet:
                for tab, button in zip(self.tabs, self.buttons, strict=True):
                    button.value = tab is chosen
            for tab in sorted(self.tabs, key=lambda tab: tab is chosen):  # what closes comes first
                if tab.open != (tab is chosen):
                    tab.open = tab is chosen
                    tab.panel.layout.display = "flex" if tab.open else "none"
                    tab.opened()

    def _toggling(self, tab: Tab) -> Callable[[], None]:
        return lambda: self.choose(None if tab.open else tab)

    def _button(self, tab: Tab) -> widgets.ToggleButton:
        button = widgets.ToggleButton(description=tab.title, tooltip=tab.tooltip, layout=widgets.Layout(width="auto"))
        button.add_class(f"snb-{tab.action}")

        def pressed(change: dict[str, Any]) -> None:
            if not self._quiet:
                self.choose(tab if change["new"] else None)

        button.observe(self._stage.guarded(pressed), names="value")
        return button
