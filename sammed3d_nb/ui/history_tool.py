"""Undo, redo, and starting an object afresh."""

from collections.abc import Callable

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import button
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class HistoryTool(Tool):
    """The buttons and keys that go back and forth in the history, and say by which step."""

    def __init__(self, stage: Stage) -> None:
        act = stage.guarded(stage.act)
        self.undo = button("↶ Undo", "undo", _tooltip("Undo", None, "Ctrl+Z"), act)
        self.redo = button("↷ Redo", "redo", _tooltip("Redo", None, "Ctrl+Y"), act)
        self.bar = (
            self.undo,
            self.redo,
            button("Clear", "reset", "Clear all prompts and edits of this object (Shift+R)", act),
        )
        self.actions = {
            "undo": lambda: stage.change("Undoing", _undo, message=_message("Undone", "undo")),
            "redo": lambda: stage.change("Redoing", _redo, message=_message("Done again", "do again")),
            "reset": lambda: stage.change("Clearing", lambda s: s.reset()),
        }

    def refresh(self, session: Session | None) -> None:
        """Show what there is to undo and to do again."""
        undo, redo = (None, None) if session is None else (session.undo_name, session.redo_name)
        self.undo.disabled, self.redo.disabled = undo is None, redo is None
        self.undo.tooltip = _tooltip("Undo", undo, "Ctrl+Z")
        self.redo.tooltip = _tooltip("Redo", redo, "Ctrl+Y")


def _undo(session: Session) -> str | None:
    """Undo; returns the step's name, None if there was none."""
    name = session.undo_name
    session.undo()
    return name


def _redo(session: Session) -> str | None:
    """Do again what was undone; returns the step's name, None if there was none."""
    name = session.redo_name
    session.redo()
    return name


def _message(done: str, asked: str) -> Callable[[str | None], str]:
    return lambda name: f"There is nothing to {asked}." if name is None else f"{done}: {name}."


def _tooltip(what: str, name: str | None, key: str) -> str:
    return f"{what} {name} ({key})" if name else f"{what} ({key})"
