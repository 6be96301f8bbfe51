"""The bar above the views: case, model, window, the sign of a click, undo and redo, saving."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.ui.compose import CT_WINDOWS

FIT = "Fit to image"
MANUAL = "Manual"


class Toolbar:
    """The bar; `widget` shows it.

    Args:
        on_action: Called with the name of an action of `shortcuts`.
        on_case: Called with the number of the chosen case.
        on_window: Called with the name of a window.
        on_model: Called with the source of a model.
    """

    def __init__(
        self,
        on_action: Callable[[str], None],
        on_case: Callable[[int], None],
        on_window: Callable[[str], None],
        on_model: Callable[[str], None],
    ) -> None:
        self._quiet = False
        self.case = self._menu("Case", on_case)
        self.model = self._menu("Model", on_model)
        self.window = self._menu("Window", on_window)
        self.window.options = [*CT_WINDOWS, FIT]
        self.sign = widgets.ToggleButtons(
            options=[("+ Positive", True), ("− Negative", False)],
            tooltips=["Left click adds (T)", "Left click removes (T)"],
            style=widgets.ToggleButtonsStyle(button_width="92px"),
        )
        self.sign.add_class("snb-sign")
        self.undo = self._button("↶ Undo", "undo", "Undo (Ctrl+Z)", on_action)
        self.redo = self._button("↷ Redo", "redo", "Redo (Ctrl+Y)", on_action)
        self.reset = self._button("Clear", "reset", "Clear this object's clicks (Shift+R)", on_action)
        self.preview = self._button("3D", "toggle_preview", "Masks in 3D (D)", on_action)
        self.save = self._button("Save", "save", "Save the session (Ctrl+S)", on_action)
        self.export = self._button("Export", "export", "Write the masks as NIfTI and download them (Ctrl+E)", on_action)
        self.help = self._button("?", "toggle_help", "Keyboard and mouse (?)", on_action)
        spring = widgets.Box(layout=widgets.Layout(flex="1 1 auto"))
        self.widget = widgets.HBox(
            [
                widgets.HTML('<span class="snb-brand">sammed3d</span>'),
                self.case,
                self.model,
                self.window,
                self.sign,
                self.undo,
                self.redo,
                self.reset,
                spring,
                self.preview,
                self.save,
                self.export,
                self.help,
            ]
        )
        self.widget.add_class("snb-toolbar")

    def set_cases(self, names: Sequence[str], chosen: int | None) -> None:
        """Fill the menu of cases."""
        self._fill(self.case, [(name, number) for number, name in enumerate(names)], chosen)

    def set_models(self, options: Sequence[tuple[str, str]], chosen: str) -> None:
        """Fill the menu of models with (label, source) pairs."""
        self._fill(self.model, options, chosen)

    def show_history(self, can_undo: bool, can_redo: bool) -> None:
        """Show whether there is something to undo and to do again."""
        self.undo.disabled, self.redo.disabled = not can_undo, not can_redo

    def toggle_sign(self) -> None:
        """Make a left click negative, or positive again."""
        self.sign.value = not self.sign.value

    def set_window(self, name: str | None) -> None:
        """Show which window is in use; None for one dragged by hand."""
        options = [*CT_WINDOWS, FIT] + ([MANUAL] if name is None else [])
        self._fill(self.window, [(option, option) for option in options], MANUAL if name is None else name)

    def _fill(self, menu: widgets.Dropdown, options: Sequence[tuple[str, Any]], chosen: Any) -> None:
        self._quiet = True
        try:
            if tuple(menu.options) != tuple(options):
                menu.options = options
            menu.value = chosen
        finally:
            self._quiet = False

    def _menu(self, label: str, on_choice: Callable[[Any], None]) -> widgets.Dropdown:
        menu = widgets.Dropdown(layout=widgets.Layout(width="auto", max_width="210px"))
        menu.tooltip = label
        menu.add_class(f"snb-{label.lower()}")

        def chosen(change: dict[str, Any]) -> None:
            if not self._quiet and change["new"] is not None:
                on_choice(change["new"])

        menu.observe(chosen, names="value")
        return menu

    @staticmethod
    def _button(text: str, action: str, tooltip: str, on_action: Callable[[str], None]) -> widgets.Button:
        button = widgets.Button(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
        button.on_click(lambda _: on_action(action))
        button.add_class(f"snb-{action}")
        return button


class DisplayPanel:
    """How masks and clicks are drawn; `widget` shows it.

    Args:
        on_change: Called with a field of `view.Display` and its new value.
        on_growing: Called when masks shall grow beyond their cube, or no longer.
    """

    def __init__(self, on_change: Callable[[str, Any], None], on_growing: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._quiet = False
        self.opacity = widgets.FloatSlider(
            0.35, min=0, max=1, step=0.05, description="Fill", readout=False,
            style=widgets.SliderStyle(description_width="26px"), layout=widgets.Layout(width="auto", flex="1 1 110px"),
        )  # fmt: skip
        self.opacity.tooltip = "Opacity of the masks ([ and ])"
        self.opacity.observe(lambda change: self._tell("opacity", change["new"]), names="value")
        names = {
            "masks": ("Masks", "Show masks (V)"),
            "contours": ("Outline", "Show outlines"),
            "prompts": ("Clicks", "Show clicks (H)"),
            "crosshair": ("Cross", "Show the crosshair (X)"),
            "cube": ("Cube", "Show the network's cube (B)"),
            "smooth": ("Smooth", "Interpolate between voxels (I)"),
        }
        self.flags = {field: self._flag(field, *texts) for field, texts in names.items()}
        self.growing = widgets.ToggleButton(
            description="Grow",
            tooltip="Ask neighbouring cubes when an object is larger than one (G)",
            layout=widgets.Layout(width="auto"),
        )
        self.growing.observe(lambda change: None if self._quiet else on_growing(change["new"]), names="value")
        self.widget = widgets.HBox([self.opacity, *self.flags.values(), self.growing])
        self.widget.add_class("snb-panel")
        self.widget.add_class("snb-display")

    def update(self, display: Any) -> None:
        """Show the present settings."""
        self._quiet = True
        self.opacity.value = display.opacity
        for field, flag in self.flags.items():
            flag.value = getattr(display, field)
        self._quiet = False

    def show_growing(self, on: bool) -> None:
        """Show whether masks may grow beyond their cube."""
        self._quiet = True
        self.growing.value = on
        self._quiet = False

    def _flag(self, field: str, text: str, tooltip: str) -> widgets.ToggleButton:
        flag = widgets.ToggleButton(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
        flag.observe(lambda change: self._tell(field, change["new"]), names="value")
        return flag

    def _tell(self, field: str, value: Any) -> None:
        if not self._quiet:
            self._on_change(field, value)
