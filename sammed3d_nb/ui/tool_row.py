"""The tool row: what pointing at the views does, with which sign, brush and range; which tools the model takes.

A tool is a line of `ToolRow.add`: a name, a shape to draw, and who gets what was drawn. The page draws it, whatever it
is for.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page_fields import number
from sammed3d_nb.ui.page_renderer import PageRenderer
from sammed3d_nb.ui.shortcuts import SHORTCUTS, readable
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.stroke import BRUSH, CLICK, FINER, LEAST_MM, MOST_MM, Armed, Stroke
from sammed3d_nb.ui.tool import Tool

Taken = Callable[[Stroke], "Future[Any] | None"]

_TRANSLATED = "≈ The loaded model does not know it: it is told clicks and a mask that mean the same."
_KERNEL_DRAWS = "The kernel draws here: Esc drops no line, a pen's eraser is a pen."


@dataclass
class _Entry:
    armed: Armed
    tip: str
    taken: Taken
    prompt: str
    beside: Sequence[Any]
    button: widgets.Button
    refused: str = ""


class ToolRow(Tool):
    """The row, the keys of its tools, and the sign.

    Args:
        stage: What the tools share.
        views: Where they draw.

    Attributes:
        sign: Whether what is said or painted belongs to the object.
    """

    def __init__(self, stage: Stage, views: OrthoViews) -> None:
        self._stage, self._views = stage, views
        self._entries: dict[str, _Entry] = {}
        self._typed = False  # a bound of the range, by hand, for this image
        self.sign = widgets.ToggleButtons(
            options=[("+ Positive", True), ("− Negative", False)],
            tooltips=["Left click adds (T)", "Left click removes (T)"],
            style=widgets.ToggleButtonsStyle(button_width="auto"),
        )
        self.sign.add_class("snb-sign")
        self.size = widgets.BoundedFloatText(
            views.armed.mm, min=LEAST_MM, max=MOST_MM, step=0.5, description="⌀ mm",
            tooltip="Diameter of the brush in mm ([ and ], Shift+wheel)",
            style={"description_width": "38px"}, layout=widgets.Layout(width="104px"),
        )  # fmt: skip
        self.size.add_class("snb-brush-size")
        self.ball = _toggle("Ball", "Paint a ball over several slices, not only this slice")
        self.range = _toggle("Range", "Only voxels whose intensity lies between two bounds")
        self.lower, self.upper = (_number(text) for text in ("from", "to"))
        self._brush = (self.size, self.ball, self.range, self.lower, self.upper)
        self._tools, self._options = widgets.HBox(), widgets.HBox(self._brush)
        self._tools.add_class("snb-tools-choice")
        self._options.add_class("snb-tools-options")
        row = widgets.HBox([self.sign, self._tools, self._options])
        row.add_class("snb-tools")
        self.bar = (row,)
        self.actions: dict[str, Callable[[], object]] = {
            "toggle_sign": self._toggle_sign,
            "brush_smaller": lambda: self._resize(1 / FINER),
            "brush_larger": lambda: self._resize(FINER),
        }
        views.left = True
        views.on_stroke = self._drawn
        views.on_switch = self._switched
        self.sign.observe(lambda change: self._told_sign(change["new"]), names="value")
        self.size.observe(stage.guarded(lambda _: self._shape_brush()), names="value")
        self.ball.observe(stage.guarded(lambda _: self._shape_brush()), names="value")
        self.range.observe(stage.guarded(lambda _: self._show()), names="value")
        for bound in (self.lower, self.upper):
            bound.observe(lambda _: self._type(), names="value")

    def add(
        self, armed: Armed, text: str, tip: str, taken: Taken, *, prompt: str = "", beside: Sequence[Any] = ()
    ) -> None:
        """Offer a tool, behind those that there are; its key is that of the action ``tool_NAME`` of `shortcuts`.

        Args:
            armed: Its name, and what it draws.
            text: Its button's.
            tip: What it does, in a few words.
            taken: Called with each stroke; answers with what is being done about it, None where that is done.
            prompt: The kind of prompt that it says, as in ``model.prompts``; "" for none.
            beside: Widgets that are shown beside the row while it is armed.
        """
        action = f"tool_{armed.name}"
        made = button(text, action, tip, self._stage.guarded(self._stage.act))
        made.add_class("snb-tool")
        self._entries[armed.name] = _Entry(armed, tip, taken, prompt, beside, made)
        self._tools.children = (*self._tools.children, made)
        more = [widget for widget in beside if widget not in self._options.children]
        self._options.children = (*self._options.children, *more)
        self.actions[action] = partial(self.choose, armed.name)
        self._show()

    def choose(self, name: str) -> None:
        """Arm a tool.

        Raises:
            UserError: There is none of that name, or the model does not take what it says.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise UserError(f"There is no tool “{name}”; there are {', '.join(self._entries)}.")
        if entry.refused:
            raise UserError(entry.refused)
        self._views.arm(replace(entry.armed, mm=self.size.value, ball=self.ball.value))
        self._show()

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The intensities that may be painted; None for no bound. Where none was typed, those of the window now.

        Raises:
            UserError: The lower one is above the upper one.
        """
        if not self.range.value:
            return None, None
        self._fill_range()
        lower, upper = self.lower.value, self.upper.value
        if not lower <= upper:
            raise UserError(f"The range from {lower:g} to {upper:g} holds no intensity; type the lower one first.")
        return lower, upper

    def show_current(self, session: Session) -> list[str]:
        """Show what is hidden of the current object, else what is done to it is not seen; returns what to say."""
        display, said = self._views.display, []
        if not session.current.visible:
            session.show(session.current.name)
            said.append(f"“{session.current.name}” was hidden and is shown again.")
        if not display.masks:
            self._stage.act("toggle_masks")
            said.append("The masks were hidden and are shown again.")
        elif display.opacity == 0 and not display.contours:
            self._stage.act("toggle_contours")
            said.append("The masks were transparent; their outlines are shown again.")
        return said

    def show(self, session: Session) -> None:
        """Another image has other intensities: what was typed for the one before is not for it."""
        self._typed = False

    def refresh(self, session: Session | None) -> None:
        """Show which tools the model takes; one that it does not take is put down."""
        model = self._stage.model if session is None else session.model
        kinds: Mapping[str, str] = {} if model is None else model.prompts
        for entry in self._entries.values():
            how = kinds.get(entry.prompt, "native")
            entry.refused = ""
            if how == "refused":
                entry.refused = f"{model.spec.name} takes no {entry.prompt}; choose another tool or model."  # type: ignore[union-attr]
            notes = [entry.refused or (_TRANSLATED if how == "translated" else "")]
            if entry.armed.shape != CLICK and not isinstance(self._views.renderer, PageRenderer):
                notes.append(_KERNEL_DRAWS)
            entry.button.disabled = bool(entry.refused)
            entry.button.tooltip = " ".join([f"{entry.tip}{_key(entry.armed.name)}.", *filter(None, notes)])
            _switch_class(entry.button, "snb-translated", how == "translated")
        if (armed := self._entries.get(self._views.armed.name)) is not None and armed.refused:
            self.choose(next(name for name, entry in self._entries.items() if not entry.refused))  # the ruler at last
        self._show()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _drawn(self, stroke: Stroke) -> "Future[Any] | None":
        entry = self._entries.get(stroke.armed.name)
        if entry is None:
            raise UserError("There is no such tool any more; choose another one.")
        if entry.refused:
            raise UserError(entry.refused)
        return entry.taken(stroke)

    def _switched(self, switched: Mapping[str, Any]) -> None:
        """The page has armed a tool, sized or shaped the brush or changed the sign by itself."""
        if "tool" in switched:
            self.choose(str(switched["tool"]))
        if "mm" in switched:
            self.size.value = min(max(number(switched["mm"]), LEAST_MM), MOST_MM)
        if "ball" in switched:
            self.ball.value = bool(switched["ball"])
        if "left" in switched:
            self.sign.value = bool(switched["left"])

    def _show(self) -> None:
        armed = self._views.armed
        if self.range.value:
            self._fill_range()
        self._views.tools = [(entry.armed, entry.refused) for entry in self._entries.values()]
        for name, entry in self._entries.items():
            _switch_class(entry.button, "mod-active", name == armed.name)
        beside = self._entries[armed.name].beside if armed.name in self._entries else ()
        brush = self._brush if self.range.value else self._brush[:3]
        shown = (*(brush if armed.shape == BRUSH else ()), *beside)
        for option in self._options.children:
            wanted = None if option in shown else "none"
            if option.layout.display != wanted:
                option.layout.display = wanted

    def _shape_brush(self) -> None:
        if not isfinite(self.size.value):
            self.size.value = self._views.armed.mm
        self._views.arm(replace(self._views.armed, mm=self.size.value, ball=self.ball.value))

    def _resize(self, factor: float) -> None:
        self.size.value = min(max(round(self.size.value * factor, 1), LEAST_MM), MOST_MM)

    def _fill_range(self) -> None:
        """Where nothing was typed: what the window shows neither black nor white."""
        if not self._typed:
            window = self._views.display.window
            self.lower.value, self.upper.value = (
                float(f"{window.level + half * window.width:.4g}") for half in (-0.5, 0.5)
            )
            self._typed = False

    def _type(self) -> None:
        self._typed = True

    def _told_sign(self, positive: bool) -> None:
        self._views.left = positive
        self._views.redraw()

    def _toggle_sign(self) -> None:
        self.sign.value = not self.sign.value


def _key(name: str) -> str:
    keys = next((shortcut.keys for shortcut in SHORTCUTS if shortcut.action == f"tool_{name}"), ())
    return f" ({readable(keys[0])})" if keys else ""


def _switch_class(widget: Any, name: str, on: bool) -> None:
    if on != (name in widget._dom_classes):
        (widget.add_class if on else widget.remove_class)(name)


def _toggle(text: str, tooltip: str) -> widgets.ToggleButton:
    made = widgets.ToggleButton(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
    made.add_class(f"snb-brush-{text.lower()}")
    return made


def _number(text: str) -> widgets.FloatText:
    return widgets.FloatText(
        0, description=text, tooltip=f"The brush paints intensities {text} this one", continuous_update=False,
        style={"description_width": "30px"}, layout=widgets.Layout(width="104px"),
    )  # fmt: skip
