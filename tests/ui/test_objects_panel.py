"""An object's line in the panel: what its buttons do to the session, and what they show of it."""

import numpy as np
import pytest
from ui_page import BALL, ask

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def test_an_object_that_shares_may_overlap_others_and_the_button_follows_undo(app) -> None:
    app.click(BALL)
    first = app.session.mask
    app.act("new_object")
    app.wait()
    with pytest.raises(Exception, match="belongs to"):
        app.click(BALL)
    assert not app.objects.list.rows[1]["shares"]
    ask(app, "share", 1, True)
    assert app.session.current.overlaps
    app.click(BALL)
    np.testing.assert_array_equal(app.session.mask, first)
    for _ in range(2):
        app.act("undo")
    app.wait()
    assert app.status.message == "Undone: allow overlap of object 2."
    assert not app.objects.list.rows[1]["shares"]
    assert not app.session.current.overlaps


def test_what_the_page_asks_of_an_object_that_has_gone_is_said(app) -> None:
    app.act("new_object")
    app.wait()
    gone = app.objects.list.rows[1]["key"]
    ask(app, "remove", 1)
    app.objects.list._handle_custom_msg({"do": "select", "key": gone, "value": None}, [])
    app.wait()
    assert app.status.message == "That object is not there any more; choose another one from the list."


def test_a_colour_is_chosen_undone_and_refused_when_it_is_none(app) -> None:
    before = app.objects.list.rows[0]["colour"]
    ask(app, "recolour", 0, "#123456")
    assert app.session.current.colour == app.objects.list.rows[0]["colour"] == "#123456"
    ask(app, "recolour", 0, "red")
    assert "is no colour" in app.status.message
    app.act("undo")
    app.wait()
    assert app.objects.list.rows[0]["colour"] == before
