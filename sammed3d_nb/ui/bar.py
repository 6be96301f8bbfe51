"""Buttons and menus of the bar above the views."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.ui.quiet import Quiet


def button(text: str, action: str, tooltip: str, act: Callable[[str], None]) -> widgets.Button:
    """A button that asks for one of the actions of `shortcuts`."""
    made = widgets.Button(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: act(action))
    made.add_class(f"snb-{action}")
    return made


class Menu:
    """A menu; `widget` shows it.

    Args:
        label: What it chooses.
        on_choice: Called with the value that the user chooses, not when it is filled.
    """

    def __init__(self, label: str, on_choice: Callable[[Any], None]) -> None:
        self._quiet = Quiet()
        self._on_choice = on_choice
        self.widget = widgets.Dropdown(layout=widgets.Layout(width="auto", max_width="210px"))
        self.widget.tooltip = label
        self.widget.add_class(f"snb-{label.lower()}")
        self.widget.observe(self._chosen, names="value")

    @property
    def value(self) -> Any:
        """What is chosen."""
        return self.widget.value

    def fill(self, options: Sequence[tuple[str, Any]], chosen: Any) -> None:
        """Offer (label, value) pairs, one of which, or None, is chosen."""
        with self._quiet:
            if tuple(self.widget.options) != tuple(options):
                self.widget.options = options
            self.widget.value = chosen

    def _chosen(self, change: dict[str, Any]) -> None:
        if not self._quiet and change["new"] is not None:
            self._on_choice(change["new"])
