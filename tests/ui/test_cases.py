"""Going from case to case: nothing is lost, and what was said of one case does not stand under the next."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from support import BallNetwork, model_of
from ui_page import Tab

import sammed3d_nb as snb
from sammed3d_nb.ui.worklist import Case, cases_of

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

VOXEL = (10, 9, 5)


def volume_called(name: str, seed: int = 0) -> snb.Volume:
    values = np.random.default_rng(seed).integers(-100, 200, (12, 20, 24)).astype(np.int16)
    return snb.Volume.from_array(values, (2, 2, 4), name=name)


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def held() -> threading.Event:
    """Case B opens when this is set."""
    return threading.Event()


@pytest.fixture
def app(tmp_path, model, held):
    volume = volume_called("B", 1)

    def open_b(model: snb.Model, folder: Path | None) -> snb.Session:
        assert held.wait(20)
        return snb.Session(volume, model)

    app = snb.App(volume_called("A"), model, cases=[Case("B", open_b)], output=tmp_path)
    yield app
    held.set()
    app.close()


@pytest.mark.parametrize("saved", [False, True], ids=["not saved", "saved by hand"])
def test_work_on_a_case_is_there_again_after_another_one(app, held, saved: bool) -> None:
    held.set()
    mask = app.click(VOXEL).mask
    if saved:
        app.act("save")
        app.wait()
    app.open(1).result()
    assert app.session.volume.name == "B"
    app.click((4, 4, 4))
    app.open(0).result()
    np.testing.assert_array_equal(app.session.mask, mask)
    assert "resumed with 1 object" in app.status.message
    app.act("undo")
    app.wait()
    assert not app.session.mask.any(), "it can still be undone"
    app.open(1).result()
    assert [click.ijk for click in app.session.clicks] == [(4, 4, 4)]


def test_opening_the_case_on_the_screen_again_loses_nothing(app) -> None:
    app.click(VOXEL)
    app.open(0).result()
    assert [click.ijk for click in app.session.clicks] == [VOXEL]


def test_a_click_that_was_on_its_way_when_the_case_was_left_is_kept(app, held) -> None:
    opened = app.open(1)
    clicked = app.prompts.click(VOXEL, True)
    held.set()
    opened.result()
    clicked.result()
    app.wait()
    assert app.views.clicks == [], "it is no click of B"
    assert app.status.message.startswith("B: ")
    app.open(0).result()
    assert [click.ijk for click in app.session.clicks] == [VOXEL]


def test_a_case_whose_automatic_save_fails_is_kept(tmp_path: Path, model) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    cases = [Case("B", lambda model, _: snb.Session(volume_called("B", 1), model))]
    app = snb.App(volume_called("A"), model, cases=cases, output=folder, autosave=True)
    shutil.rmtree(folder)
    app.click(VOXEL)
    app.open(1).result()
    app.open(0).result()
    assert len(app.session.clicks) == 1
    assert str(folder) in app.status.message
    app.close()


def test_cases_without_work_are_not_kept(app, held, tmp_path: Path) -> None:
    held.set()
    first = app.session
    app.open(1).result()
    app.wait()
    assert app.cases._kept == {}
    app.open(0).result()
    assert app.session is not first


def test_a_kept_case_is_answered_by_the_model_chosen_meanwhile(app, held, monkeypatch) -> None:
    held.set()
    app.click(VOXEL)
    app.open(1).result()
    other = model_of(BallNetwork())
    monkeypatch.setattr("sammed3d_nb.models.model.load_model", lambda source: other)
    app.choose_model("other.pth").result()
    app.open(0).result()
    assert app.session.model is other
    assert len(app.session.clicks) == 1


def test_what_was_said_of_a_case_does_not_stand_under_the_next(app, held) -> None:
    with pytest.raises(snb.UserError):
        app.click((99, 0, 0))
    assert "outside" in app.status.message
    opened = app.open(1)
    assert app.status.message == ""
    held.set()
    opened.result()
    assert app.status.message.startswith("B: ")


def test_neither_do_messages_and_errors_of_what_was_still_to_do(app, held) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(session: snb.Session) -> None:
        started.set()
        assert go_on.wait(20)
        session.new_object("late")

    running = app.change("Adding", slow)
    assert started.wait(20)
    opened = app.open(1)
    refused = app.prompts.click((99, 0, 0), True)
    go_on.set()
    running.result()
    assert app.status.message == "", "B is on its way"
    held.set()
    opened.result()
    assert refused.exception() is not None
    app.wait()
    assert app.status.message.startswith("A: Voxel (99, 0, 0) lies outside"), "an error says whose it is"


def test_warnings_of_a_case_go_with_it(tmp_path: Path, model) -> None:
    odd = volume_called("A")
    odd = snb.Volume(odd.image, name="A", warnings=("A was taken with a tilted gantry.",))
    app = snb.App(odd, model, cases=[Case("B", lambda model, _: snb.Session(volume_called("B", 1), model))])
    assert app.status.message == "A was taken with a tilted gantry."
    app.open(1).result()
    assert "tilted" not in app.status.message
    app.close()


def test_the_value_under_the_mouse_goes_with_its_case(app, held) -> None:
    held.set()
    tab = Tab(app)
    tab.hover("axial", app.views.cross)
    assert "voxel" in app.status._cursor.value
    app.open(1).result()
    assert app.status._cursor.value == ""
    tab.hover("axial", app.views.cross)
    assert app.status._cursor.value == "", "of the volume before"
    tab.generation = tab.last("generation")
    tab.hover("axial", app.views.cross)
    assert "voxel" in app.status._cursor.value, "the same place, but of another case"


def test_a_given_volume_saves_itself_and_is_resumed(tmp_path: Path, model) -> None:
    folder = tmp_path / "new" / "results"
    app = snb.App(volume_called("A"), model, output=folder, autosave=True)
    mask = app.click(VOXEL).mask
    app.close()
    (record,) = folder.glob("A-????????.sammed3d.json")
    again = snb.App(volume_called("A"), model, output=folder, autosave=True)
    np.testing.assert_array_equal(again.session.mask, mask)
    assert "resumed with 1 object" in again.status.message
    again.act("save")
    again.wait()
    assert str(record) in again.status.message
    again.close()


def test_what_cannot_be_saved_by_itself_says_so(tmp_path: Path, model) -> None:
    (tmp_path / "file").touch()
    app = snb.App(volume_called("A"), model, output=tmp_path / "file" / "results", autosave=True)
    assert "Nothing is saved by itself" in app.status.message
    assert app.click(VOXEL).mask.any()
    assert "results" in app.status.message
    app.close()
    sample = snb.App(model=model, cases=cases_of([]), output=tmp_path, autosave=True)
    sample.open(0).result()
    assert sample.status.message.endswith("Click on an organ. This case is not saved by itself: press Ctrl+S.")
    sample.close()


def test_cases_of_equal_names_are_told_apart_in_the_menu(model) -> None:
    app = snb.App(volume_called("A"), model, cases=[Case("A", lambda model, _: snb.Session(volume_called("A"), model))])
    assert [label for label, _ in app.cases.menu.widget.options] == ["A (1)", "A (2)"]
    app.close()


def test_a_click_while_the_first_image_is_on_its_way_is_answered(model, held) -> None:
    def opened(model: snb.Model, folder: Path | None) -> snb.Session:
        assert held.wait(20)
        return snb.Session(volume_called("B", 1), model)

    app = snb.App(model=model, cases=[Case("B", opened)])
    done = app.open(0)
    app.page._message(app.page, {"type": "press", "page": 7}, [])
    assert "Opening B…" in app.status._text.value
    assert "that click was not taken" in app.status._text.value
    held.set()
    done.result()
    app.wait()
    assert app.status.message.startswith("B: ")
    assert "not taken" not in app.status._text.value
    app.page._message(app.page, {"type": "press", "page": 7, "blank": False}, [])
    assert "not taken" not in app.status._text.value
    app.page._message(app.page, {"type": "press", "page": 7, "blank": True}, [])  # the page has not drawn it yet
    assert "that click was not taken" in app.status._text.value
    app.close()


def test_a_click_for_a_hidden_object_shows_it_and_the_masks(app) -> None:
    app.session.show("object 1", False)
    app.wait()
    app.act("toggle_masks")
    app.click(VOXEL)
    app.wait()
    assert app.session.current.visible
    assert app.views.display.masks
    assert "“object 1” was hidden and is shown again. The masks were hidden and are shown again." in app.status.message
    app.display.set("opacity", 0.0)
    app.act("toggle_contours")
    app.click((VOXEL[0] + 1, *VOXEL[1:]))
    app.wait()
    assert app.views.display.contours
