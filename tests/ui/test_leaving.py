"""What is still to come when another case opens or the app closes."""

import threading

import pytest
from support import BallNetwork, model_of, torso_like

import sammed3d_nb as snb
from sammed3d_nb.ui.worklist import Case

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

VOXEL = (110, 100, 30)


def test_a_model_that_arrives_while_the_app_closes_opens_nothing(monkeypatch) -> None:
    app = snb.App(torso_like(), model_of(BallNetwork()))
    app.cases._wanted = 0
    loading, closing = threading.Event(), threading.Event()

    def load(source: str) -> snb.Model:
        loading.set()
        assert closing.wait(20)
        return model_of(BallNetwork())

    monkeypatch.setattr("sammed3d_nb.models.model.load_model", load)
    opened = []
    monkeypatch.setattr(app.cases, "open_now", opened.append)
    end = app.stage.worker.close
    monkeypatch.setattr(app.stage.worker, "close", lambda then, **how: (closing.set(), end(then, **how)))
    app.choose_model("other.pth")
    assert loading.wait(20)
    app.close()
    assert opened == []


@pytest.mark.parametrize("late", [False, True], ids=["waiting", "has just run out"])
@pytest.mark.parametrize("leave", ["close", "open"])
def test_nothing_is_encoded_ahead_for_a_case_that_was_left(monkeypatch, leave: str, late: bool) -> None:
    other = Case("other", lambda model, _: snb.Session(torso_like(seed=4), model))
    app = snb.App(torso_like(), model_of(BallNetwork()), cases=[other])
    asked = []
    monkeypatch.setattr(app.session, "prepare", asked.append)
    app.under_cursor.rest(app.session, VOXEL)
    timer = app.under_cursor.resting
    if leave == "close":
        app.close()
    else:
        app.open(1).result()
    app.wait()
    assert timer.finished.is_set(), "cancelled"
    if late:  # cancelling came too late: it is on its way already
        timer.function()
    app.wait()
    assert asked == []
    if leave == "open":
        app.close()
