"""The buttons of the history say what they would take back or do again, and the status line says what they did."""

import pytest
from ui_page import BALL, ask

from sammed3d_nb.imaging.naming import MASKS

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def act(app, *actions: str) -> None:
    for action in actions:
        app.act(action)
    app.wait()


def test_undo_and_redo_name_their_step(app) -> None:
    undo, redo = app.history.undo, app.history.redo
    assert (undo.tooltip, undo.disabled) == ("Undo (Ctrl+Z)", True)
    assert (redo.tooltip, redo.disabled) == ("Redo (Ctrl+Y)", True)
    ask(app, "rename", 0, "spleen")
    for shift in range(3):
        app.click((BALL[0] + shift, *BALL[1:]))
    assert (undo.tooltip, undo.disabled) == ("Undo click 3 of spleen (Ctrl+Z)", False)
    act(app, "undo")
    assert app.status.message == "Undone: click 3 of spleen."
    assert undo.tooltip == "Undo click 2 of spleen (Ctrl+Z)"
    assert (redo.tooltip, redo.disabled) == ("Redo click 3 of spleen (Ctrl+Y)", False)
    act(app, "redo")
    assert app.status.message == "Done again: click 3 of spleen."
    assert redo.disabled
    act(app, "undo", "undo", "undo", "undo")
    assert app.status.message == "Undone: rename object 1 to spleen."
    assert (undo.tooltip, undo.disabled) == ("Undo (Ctrl+Z)", True)
    act(app, "undo")
    assert app.status.message == "There is nothing to undo."


def test_a_step_of_an_object_that_is_not_the_current_one_is_named_too(app) -> None:
    app.click(BALL)
    act(app, "new_object")
    app.session.select("object 1")
    app.wait()
    act(app, "undo")
    assert app.status.message == "Undone: new object object 2."
    act(app, "undo")
    assert app.status.message == "Undone: click 1 of object 1."


def test_what_was_undone_is_not_exported(app, tmp_path) -> None:
    app.click(BALL)
    act(app, "undo", "export")
    assert "no mask to export" in app.status.message
    act(app, "redo", "export")
    assert app.status.message.startswith("Exported to")
    assert list(tmp_path.glob(f"*{MASKS}.nii.gz"))
