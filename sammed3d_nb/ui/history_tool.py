"""Undo, redo, and starting an object afresh."""

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class HistoryTool(Tool):
    """The buttons and keys that go back and forth in the history."""

    def __init__(self, stage: Stage) -> None:
        act = stage.guarded(stage.act)
        self.undo = button("↶ Undo", "undo", "Undo (Ctrl+Z)", act)
        self.redo = button("↷ Redo", "redo", "Redo (Ctrl+Y)", act)
        self.bar = self.undo, self.redo, button("Clear", "reset", "Clear this object's clicks (Shift+R)", act)
        self.actions = {
            "undo": lambda: stage.change("Undoing", lambda s: s.undo()),
            "redo": lambda: stage.change("Redoing", lambda s: s.redo()),
            "reset": lambda: stage.change("Clearing", lambda s: s.reset()),
        }

    def refresh(self, session: Session | None) -> None:
        """Show whether there is something to undo and to do again."""
        self.undo.disabled = session is None or not session.can_undo
        self.redo.disabled = session is None or not session.can_redo
