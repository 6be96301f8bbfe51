"""The list of the current object's prompts: each can be looked at and taken back by itself."""

from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets
from anywidget import AnyWidget

from sammed3d_nb.errors import UserError
from sammed3d_nb.segmenters.prompts import Point, Prompt
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.describe import prompts_of
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.prompts import Prompts
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class PromptRows(AnyWidget):
    """The rows, drawn by `prompt_list.js`.

    Attributes:
        rows: For each prompt its ``key``, ``text``, ``where`` it lies, and whether it is ``positive`` and ``chosen``.
    """

    _esm = (Path(__file__).parent / "prompt_list.js").read_text(encoding="utf-8")
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)


class PromptList(Tool):
    """The panel; it is hidden while nothing was said.

    Args:
        stage: What the tools share.
        views: Says in which slice of which view a prompt lies.
        prompts: Highlights them.
    """

    def __init__(self, stage: Stage, views: OrthoViews, prompts: Prompts) -> None:
        self._stage, self._views, self._prompts = stage, views, prompts
        self.list = PromptRows()
        self.list.on_msg(lambda _, content, buffers: stage.guarded(self._asked)(content))
        self._panel = widgets.VBox([widgets.HTML("<h3>Prompts</h3>"), self.list], layout=widgets.Layout(display="none"))
        self._panel.add_class("snb-panel")
        self._panel.add_class("snb-prompts-panel")
        self.side = (self._panel,)

    def refresh(self, session: Session | None) -> None:
        """Show the prompts of the current object."""
        found = {} if session is None else prompts_of(session.current)
        self.list.rows = [
            {
                "key": key,
                "text": f"{said.action.gesture.capitalize()} {said.number}",
                "where": self._where(said.action),
                "positive": said.action.positive,
                "chosen": key == self._prompts.chosen,
            }
            for key, said in found.items()
            if isinstance(said.action, Prompt)
        ]
        self._panel.layout.display = "flex" if found else "none"

    def _where(self, prompt: Prompt) -> str:
        """The voxel of a click; the slice that a prompt lies on; else how many of them it reaches through."""
        if isinstance(prompt, Point):
            return f"voxel {', '.join(str(n) for n in prompt.ijk)}"
        region = prompt.region
        shown = [(name, view.plane.axes[2]) for name, view in self._views.views.items() if view.plane is not None]
        for name, axis in shown:
            if region.size[axis] == 1:
                return f"{name} slice {region.start[axis] + 1}"
        return ", ".join(f"{name} slices {region.start[axis] + 1}–{region.stop[axis]}" for name, axis in shown[:1])

    def _asked(self, content: dict[str, Any]) -> None:
        """Do what a row asks for."""
        key = str(content.get("key"))
        match content.get("do"):
            case "choose":
                self._prompts.choose(key)
            case "remove":
                self._stage.change("Removing", lambda session: session.remove_prompt(_number(session, key)))


def _number(session: Session, key: str) -> int:
    """The place of a prompt among the current object's; the page may ask for one that has just gone."""
    keys = list(prompts_of(session.current))
    if key not in keys:
        raise UserError("That prompt is not there any more; choose another one from the list.")
    return keys.index(key)
