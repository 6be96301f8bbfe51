"""The list of objects: colour, name, volume, visible, locked, shared; one of them is current and takes the clicks."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.session.objects import SegmentedObject
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.closing import close_tree
from sammed3d_nb.ui.describe import readable_ml
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class ObjectsPanel(Tool):
    """The panel, and the keys for objects."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        new = widgets.Button(description="+ New", tooltip="New object (N)", layout=widgets.Layout(width="auto"))
        new.on_click(lambda _: stage.guarded(stage.act)("new_object"))
        head = widgets.HBox([widgets.HTML("<h3>Objects</h3>"), new])
        head.add_class("snb-panel-head")
        self._list = widgets.VBox()
        self._list.add_class("snb-objects")
        panel = widgets.VBox([head, self._list])
        panel.add_class("snb-panel")
        self.side = (panel,)
        self.rows: list[_Row] = []
        self.actions = {
            "new_object": lambda: stage.change("Adding an object", lambda s: s.new_object()),
            "next_object": lambda: stage.change("Selecting", _select_next),
        }

    def refresh(self, session: Session | None) -> None:
        """Show the objects of the session."""
        if session is None:
            return
        if [row.name for row in self.rows] != [o.name for o in session.objects]:
            for row in self.rows:
                close_tree(row.widget)
            self.rows = [_Row(o.name, self._stage) for o in session.objects]
            self._list.children = [row.widget for row in self.rows]
        for row, item in zip(self.rows, session.objects, strict=True):
            millilitres = item.local.volume_ml(session.volume.spacing)
            row.update(item, millilitres, current=item.name == session.current.name)


class _Row:
    """One object's line."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.name = name
        self._change = stage.guarded(stage.change)
        small = {"layout": widgets.Layout(width="26px")}
        self._quiet = False
        self.swatch = widgets.Button(tooltip="Make it the current object", **small)
        self.title = widgets.Text(name, continuous_update=False, layout=widgets.Layout(flex="1 1 60px", min_width="0"))
        self.amount = widgets.HTML(layout=widgets.Layout(flex="0 0 auto"))
        self.visible = widgets.ToggleButton(True, tooltip="Visible", **small)
        self.locked = widgets.ToggleButton(False, tooltip="Lock: later objects never overwrite it", **small)
        self.shares = widgets.ToggleButton(
            False, tooltip="Share: from the next prompt on it may overlap objects that are not locked", **small
        )
        self.remove = widgets.Button(description="✕", tooltip="Remove the object", **small)
        classes = {"swatch": self.swatch, "eye": self.visible, "lock": self.locked, "share": self.shares}
        for suffix, widget in classes.items():
            widget.add_class(f"snb-{suffix}")
        self.swatch.on_click(lambda _: self._change("Selecting", lambda s: s.select(self.name)))
        self.remove.on_click(lambda _: self._change("Removing", lambda s: s.remove(self.name)))
        self._on(self.title, "Renaming", lambda s, new: s.rename(self.name, new))
        self._on(self.visible, "Changing", lambda s, on: s.show(self.name, on))
        self._on(self.locked, "Changing", lambda s, on: s.lock(self.name, on))
        self._on(self.shares, "Changing", lambda s, on: s.allow_overlap(self.name, on))
        self.widget = widgets.HBox(
            [self.swatch, self.title, self.amount, self.visible, self.locked, self.shares, self.remove]
        )
        self.widget.add_class("snb-object")

    def update(self, item: SegmentedObject, millilitres: float, *, current: bool) -> None:
        """Show the object's present state."""
        self._quiet = True
        self.swatch.style.button_color = item.colour
        self.swatch.description = "●" if current else ""
        self.title.value = item.name  # a name that was refused goes back
        self.visible.value, self.locked.value, self.shares.value = item.visible, item.locked, item.overlaps
        self.amount.value = f'<span class="snb-ml">{readable_ml(millilitres)}</span>'
        (self.widget.add_class if current else self.widget.remove_class)("snb-current")
        self._quiet = False

    def _on(self, control: widgets.Widget, what: str, job: Callable[[Session, Any], None]) -> None:
        """Do a job with each value that the user gives a control."""

        def changed(change: dict[str, Any]) -> None:
            if not self._quiet:
                self._change(what, lambda session: job(session, change["new"]))

        control.observe(changed, names="value")


def _select_next(session: Session) -> None:
    names = [item.name for item in session.objects]
    session.select(names[(names.index(session.current.name) + 1) % len(names)])
