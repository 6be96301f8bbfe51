"""Names that would be markup or scripts stay text in every panel that writes HTML."""

import ipywidgets as widgets
import numpy as np
import pytest
from support import BallNetwork, model_of
from ui_page import BALL, ball_volume

import sammed3d_nb as snb
from sammed3d_nb.imaging.label_maps import NamedMask
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.ui.status import cursor_text

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

EVIL = "<img src=x onerror=alert(1)>"


def settle(app) -> None:
    for _ in range(4):
        app.wait()


def pages_of(app) -> list[str]:
    """Every text that the page takes as HTML."""
    found, waiting = [], [app.widget]
    while waiting:
        one = waiting.pop()
        if isinstance(one, widgets.HTML | widgets.HTMLMath):
            found.append(one.value)
        waiting.extend(getattr(one, "children", ()))
    return found


def test_no_panel_takes_a_name_for_markup(app) -> None:
    model = model_of(BallNetwork())
    object.__setattr__(model.spec, "name", f"engine {EVIL}")
    app.stage.show(snb.Session(ball_volume(), model, annotator=EVIL))
    app.change("", lambda s: s.rename("object 1", EVIL)).result()
    told = []
    for tab in app.tabs.tabs:  # before there is an answer: why there is nothing to show
        app.act(tab.action)
        settle(app)
        told += pages_of(app)
    app.click(BALL)
    shape = ball_volume().array.shape
    app.compare.beside = [NamedMask(f"beside {EVIL}", None, LocalMask.of(np.ones(shape, bool)))]
    for tab in app.tabs.tabs:
        app.act(tab.action)
        settle(app)
        if tab is app.compare:
            app.compare.first.value = ("object", app.session.current.key)
            app.compare.second.value = app.compare.second.options[-1][1]
            settle(app)
        told += pages_of(app)
    assert sum("&lt;img" in text for text in told) >= 3, "the name was shown nowhere"
    assert not [text for text in told if "<img" in text]


def test_a_unit_is_text_too() -> None:
    assert "<img" not in cursor_text((1, 2, 3), (0.0, 0.0, 0.0), np.int16(5), EVIL)
