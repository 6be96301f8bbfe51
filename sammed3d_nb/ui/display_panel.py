"""How the image, masks and clicks are drawn: the grey-scale window, and the panel of switches."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import Menu
from sammed3d_nb.ui.compose import CT_WINDOWS, Window
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.quiet import Quiet
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool

FIT = "Fit to image"
MANUAL = "Manual"

_FLAGS = {  # field of `view.Display`: text, tooltip
    "masks": ("Masks", "Show masks (V)"),
    "contours": ("Outline", "Show outlines"),
    "prompts": ("Marks", "Show the marks of clicks and of all that was drawn (H)"),
    "crosshair": ("Cross", "Show the crosshair (X)"),
    "cube": ("Cube", "Show the network's cube (C)"),
    "smooth": ("Smooth", "Interpolate between voxels (I)"),
}


class DisplayPanel(Tool):
    """Shows and changes the views' `Display`.

    Args:
        stage: What the tools share.
        views: Whose display it is.
        beside: More switches for the panel's row.
    """

    def __init__(self, stage: Stage, views: OrthoViews, beside: Sequence[widgets.Widget] = ()) -> None:
        self._stage, self._views, self._display = stage, views, views.display
        self._quiet = Quiet()
        self._fit: Window | None = None  # what fits the image
        self.window = Menu("Window", stage.guarded(self._choose_window))
        self.width = self._number("W", "Width of the window: from black to white")
        self.level = self._number("L", "Level of the window: its middle grey")
        self.opacity = widgets.FloatSlider(
            0.35, min=0, max=1, step=0.05, description="Fill", readout=False,
            style=widgets.SliderStyle(description_width="26px"), layout=widgets.Layout(width="auto", flex="1 1 110px"),
        )  # fmt: skip
        self.opacity.tooltip = "Opacity of the masks (, and .)"
        self.opacity.observe(lambda change: self._tell("opacity", change["new"]), names="value")
        self.flags = {field: self._flag(field, *texts) for field, texts in _FLAGS.items()}
        panel = widgets.HBox([self.opacity, *self.flags.values(), *beside])
        panel.add_class("snb-panel")
        panel.add_class("snb-display")
        self.bar, self.side = (self.window.widget, self.width, self.level), (panel,)
        self.actions = {
            **{f"window_{n}": self._to(window) for n, window in enumerate(CT_WINDOWS.values(), start=1)},
            "window_fit": lambda: self._choose_window(FIT),
            **{f"toggle_{field}": self._toggle(field) for field in _FLAGS},
            "opacity_down": lambda: self._fade(-0.1),
            "opacity_up": lambda: self._fade(0.1),
        }
        views.on_window = self.set_window
        for field, control in {"opacity": self.opacity, **self.flags}.items():
            views.link(field, control)
        self._update()

    def set_window(self, window: Window) -> None:
        """Change the grey-scale window of all views."""
        self._views.set_window(window)
        self._show_window()

    def set(self, field: str, value: Any) -> None:
        """Change a field of `view.Display` and draw anew."""
        with self._stage.lock:
            setattr(self._display, field, value)
            self._update()
            self._views.redraw()

    def show(self, session: Session) -> None:
        """Find the window that fits another image."""
        self._fit = Window.fitting(session.volume.array)

    def refresh(self, session: Session | None) -> None:
        """Show which window is in use."""
        self._show_window()

    def _show_window(self) -> None:
        window = self._display.window
        used = next((name for name, known in {**CT_WINDOWS, FIT: self._fit}.items() if known == window), MANUAL)
        names = [*CT_WINDOWS, FIT] + ([MANUAL] if used == MANUAL else [])
        self.window.fill([(name, name) for name in names], used)
        with self._quiet:
            self.width.value, self.level.value = _readable(window.width), _readable(window.level)

    def _typed(self, _: object) -> None:
        """A number was typed; the other one stays as it is, not as it reads."""
        now = self._display.window
        if self._quiet:
            return
        width = now.width if self.width.value == _readable(now.width) else self.width.value
        level = now.level if self.level.value == _readable(now.level) else self.level.value
        if not (isfinite(width) and isfinite(level) and width > 0):
            self._show_window()
            raise UserError(f"A window {width:g} wide cannot be shown; type a width above 0.")
        self.set_window(Window(level, width))

    def _number(self, text: str, tooltip: str) -> widgets.FloatText:
        number = widgets.FloatText(
            description=text, tooltip=tooltip, step=10, continuous_update=False,
            style={"description_width": "14px"}, layout=widgets.Layout(width="72px"),
        )  # fmt: skip
        number.add_class(f"snb-window-{text.lower()}")
        number.observe(self._stage.guarded(self._typed), names="value")
        return number

    def _choose_window(self, name: str) -> None:
        window = self._fit if name == FIT else CT_WINDOWS.get(name)
        if window is not None:
            self.set_window(window)

    def _update(self) -> None:
        with self._quiet:
            self.opacity.value = self._display.opacity
            for field, flag in self.flags.items():
                flag.value = getattr(self._display, field)

    def _to(self, window: Window) -> Callable[[], None]:
        return lambda: self.set_window(window)

    def _toggle(self, field: str) -> Callable[[], None]:
        return lambda: self.set(field, not getattr(self._display, field))

    def _fade(self, step: float) -> None:
        self.set("opacity", round(min(max(self._display.opacity + step, 0.0), 1.0), 2))

    def _flag(self, field: str, text: str, tooltip: str) -> widgets.ToggleButton:
        flag = widgets.ToggleButton(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
        flag.observe(lambda change: self._tell(field, change["new"]), names="value")
        return flag

    def _tell(self, field: str, value: Any) -> None:
        if not self._quiet:
            self._stage.guarded(self.set)(field, value)


def _readable(number: float) -> float:
    """With four figures."""
    return float(f"{number:.4g}")
