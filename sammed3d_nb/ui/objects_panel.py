"""The list of objects: colour, name, volume, visible, locked, shared; one of them is current and takes the clicks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets
from anywidget import AnyWidget

from sammed3d_nb.errors import UserError
from sammed3d_nb.readable import readable_ml
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class ObjectList(AnyWidget):
    """The rows, drawn by `objects.js`: as one widget, for eight in each row take 0.7 s for 20 objects.

    Attributes:
        rows: For each object its ``key``, ``name``, ``colour`` (#rrggbb), ``amount`` (a text), and whether it is
            ``visible``, ``locked``, ``shares`` and ``current``, and its name ``fixed``.
    """

    _esm = (Path(__file__).parent / "objects.js").read_text(encoding="utf-8")
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)


class ObjectsPanel(Tool):
    """The panel, and the keys for objects."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.add: Callable[[Session], Any] = lambda session: session.new_object()
        """Adds an object, where a label set says which."""
        self.is_fixed: Callable[[str], bool] = lambda name: False
        """Whether a name is not to be changed."""
        new = widgets.Button(description="+ New", tooltip="New object (N)", layout=widgets.Layout(width="auto"))
        new.on_click(lambda _: stage.guarded(stage.act)("new_object"))
        head = widgets.HBox([widgets.HTML("<h3>Objects</h3>"), new])
        head.add_class("snb-panel-head")
        self.list = ObjectList()
        self.list.on_msg(lambda _, content, buffers: stage.guarded(self._asked)(content))
        panel = widgets.VBox([head, self.list])
        panel.add_class("snb-panel")
        panel.add_class("snb-objects-panel")
        self.side = (panel,)
        self.actions = {
            "new_object": lambda: stage.change("Adding an object", self.add),
            "next_object": lambda: stage.change("Selecting", _select_next),
        }

    def refresh(self, session: Session | None) -> None:
        """Show the objects of the session."""
        if session is not None:
            self.list.rows = [
                {
                    "key": item.key,
                    "name": item.name,
                    "colour": item.colour,
                    "amount": readable_ml(item.local.volume_ml(session.volume.spacing)),
                    "visible": item.visible,
                    "locked": item.locked,
                    "shares": item.overlaps,
                    "current": item.key == session.current.key,
                    "fixed": self.is_fixed(item.name),
                }
                for item in session.objects
            ]

    def _asked(self, content: dict[str, Any]) -> None:
        """Do what a row asks for."""
        key, value, change = content.get("key"), content.get("value"), self._stage.change
        match content.get("do"):
            case "select":
                change("Selecting", lambda s: s.select(_name(s, key)))
            case "rename":
                change("Renaming", lambda s: s.rename(_name(s, key), str(value)))
            case "recolour":
                change("Changing", lambda s: s.recolour(_name(s, key), str(value)))
            case "show":
                change("Changing", lambda s: s.show(_name(s, key), bool(value)))
            case "lock":
                change("Changing", lambda s: s.lock(_name(s, key), bool(value)))
            case "share":
                change("Changing", lambda s: s.allow_overlap(_name(s, key), bool(value)))
            case "remove":
                change("Removing", lambda s: s.remove(_name(s, key)))


def _name(session: Session, key: Any) -> str:
    """The present name of an object; the page may ask for one that has just gone."""
    for item in session.objects:
        if item.key == key:
            return item.name
    raise UserError("That object is not there any more; choose another one from the list.")


def _select_next(session: Session) -> None:
    names = [item.name for item in session.objects]
    session.select(names[(names.index(session.current.name) + 1) % len(names)])
