"""The list of objects: colour, name, volume, visible, locked; one of them is current and takes the clicks."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.session.objects import SegmentedObject
from sammed3d_nb.ui.closing import close_tree


class ObjectsPanel:
    """The panel; `widget` shows it. It shows what `update` is given and reports what the user asks for.

    Args:
        on_select: Called with a name when it shall become the current object.
        on_new: Called when a new object is wanted.
        on_rename: Called with the old and the new name.
        on_remove: Called with the name of an object to remove.
        on_flag: Called with name, ``"visible"`` or ``"locked"``, and the new value.
    """

    def __init__(
        self,
        on_select: Callable[[str], None],
        on_new: Callable[[], None],
        on_rename: Callable[[str, str], None],
        on_remove: Callable[[str], None],
        on_flag: Callable[[str, str, bool], None],
    ) -> None:
        self._on_select, self._on_rename = on_select, on_rename
        self._on_remove, self._on_flag = on_remove, on_flag
        new = widgets.Button(description="+ New", tooltip="New object (N)", layout=widgets.Layout(width="auto"))
        new.on_click(lambda _: on_new())
        head = widgets.HBox([widgets.HTML("<h3>Objects</h3>"), new])
        head.add_class("snb-panel-head")
        self._rows = widgets.VBox()
        self._rows.add_class("snb-objects")
        self.widget = widgets.VBox([head, self._rows])
        self.widget.add_class("snb-panel")
        self._shown: list[_Row] = []

    def update(self, objects: Sequence[SegmentedObject], current: SegmentedObject, spacing: Sequence[float]) -> None:
        """Show the objects of a session; `spacing` is the volume's, in mm."""
        if [row.name for row in self._shown] != [o.name for o in objects]:
            for row in self._shown:
                close_tree(row.widget)
            self._shown = [_Row(o.name, self) for o in objects]
            self._rows.children = [row.widget for row in self._shown]
        for row, item in zip(self._shown, objects, strict=True):
            row.update(item, item.local.count * prod(spacing) / 1000, current=item.name == current.name)


class _Row:
    """One object's line."""

    def __init__(self, name: str, panel: ObjectsPanel) -> None:
        self.name = name
        small = {"layout": widgets.Layout(width="26px")}
        self._quiet = False
        self.swatch = widgets.Button(tooltip="Make it the current object", **small)
        self.title = widgets.Text(name, continuous_update=False, layout=widgets.Layout(flex="1 1 60px", min_width="0"))
        self.amount = widgets.HTML(layout=widgets.Layout(flex="0 0 auto"))
        self.visible = widgets.ToggleButton(True, tooltip="Visible", **small)
        self.locked = widgets.ToggleButton(False, tooltip="Lock: later objects never overwrite it", **small)
        self.remove = widgets.Button(description="✕", tooltip="Remove the object", **small)
        for widget, name in ((self.swatch, "swatch"), (self.visible, "eye"), (self.locked, "lock")):
            widget.add_class(f"snb-{name}")
        self.swatch.on_click(lambda _: panel._on_select(self.name))
        self.remove.on_click(lambda _: panel._on_remove(self.name))
        self.title.observe(lambda change: self._tell(panel._on_rename, self.name, change["new"]), names="value")
        self.visible.observe(lambda c: self._tell(panel._on_flag, self.name, "visible", c["new"]), names="value")
        self.locked.observe(lambda c: self._tell(panel._on_flag, self.name, "locked", c["new"]), names="value")
        self.widget = widgets.HBox([self.swatch, self.title, self.amount, self.visible, self.locked, self.remove])
        self.widget.add_class("snb-object")

    def update(self, item: SegmentedObject, millilitres: float, *, current: bool) -> None:
        """Show the object's present state."""
        self._quiet = True
        self.swatch.style.button_color = item.colour
        self.swatch.description = "●" if current else ""
        self.title.value = item.name  # a name that was refused goes back
        self.visible.value, self.locked.value = item.visible, item.locked
        self.amount.value = f'<span class="snb-ml">{readable_ml(millilitres)}</span>'
        (self.widget.add_class if current else self.widget.remove_class)("snb-current")
        self._quiet = False

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        if not self._quiet:
            callback(*arguments)


def readable_ml(volume: float) -> str:
    """Millilitres with three figures."""
    if not volume:
        return "–"
    return f"{volume:.0f} mL" if volume >= 100 else f"{volume:.3g} mL"
