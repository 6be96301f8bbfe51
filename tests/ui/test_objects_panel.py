"""An object's line in the panel: what its buttons do to the session, and what they show of it."""

import numpy as np
import pytest
from ui_page import BALL

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def test_an_object_that_shares_may_overlap_others_and_the_button_follows_undo(app) -> None:
    app.click(BALL)
    first = app.session.mask
    app.act("new_object")
    app.wait()
    with pytest.raises(Exception, match="belongs to"):
        app.click(BALL)
    row = app.objects.rows[1]
    assert not row.shares.value
    row.shares.value = True
    app.wait()
    assert app.session.current.overlaps
    app.click(BALL)
    np.testing.assert_array_equal(app.session.mask, first)
    for _ in range(2):
        app.act("undo")
    app.wait()
    assert app.status.message == "Undone: allow overlap of object 2."
    assert not app.objects.rows[1].shares.value
    assert not app.session.current.overlaps


def test_every_button_of_a_row_says_what_it_does(app) -> None:
    row = app.objects.rows[0]
    for control in (row.swatch, row.visible, row.locked, row.shares, row.remove):
        assert control.tooltip
