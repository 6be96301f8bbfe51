"""The app beside others: a notebook that uses its session, other sessions with the record, files of other people."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import BallNetwork, model_of
from ui_page import BALL, Browser, ball_volume

import sammed3d_nb as snb
from sammed3d_nb.session.lock import RecordLock

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def test_the_app_follows_what_a_notebook_does_with_its_session(app) -> None:
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    plain = axial.picture()
    app.session.click(BALL)
    app.wait()
    assert app.views.clicks == [(BALL, True)]
    assert (axial.picture() != plain).any()
    assert "after 1 click" in app.status.message
    app.session.undo()
    app.wait()
    assert app.views.clicks == []
    np.testing.assert_array_equal(axial.picture(), plain)
    app.session.new_object("spleen")
    app.wait()
    assert [row["name"] for row in app.objects.list.rows] == ["object 1", "spleen"]


def test_a_session_that_was_left_is_followed_no_longer(app) -> None:
    session = app.session
    app.close()
    said = app.status.message
    session.click(BALL)
    assert app.status.message == said


def test_what_an_answer_left_to_others_is_said(app) -> None:
    app.click(BALL)
    app.act("new_object")
    app.wait()
    result = app.click((BALL[0] + 18, BALL[1], BALL[2]))
    assert result.notes
    assert app.status.message.startswith("object 2: ")
    assert app.status.message.endswith(result.notes[-1])


def test_edits_are_counted_and_the_amount_is_that_of_the_list(app) -> None:
    app.click(BALL)
    app.change("Painting", lambda s: s.paint([(1, 1, 1), (2, 1, 1)])).result()
    assert "after 1 click and 1 edit" in app.status.message
    amount = app.objects.list.rows[0]["amount"]
    assert amount in app.status.message


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """The record of `ball_volume` in this folder is open in another process."""
    folder = tmp_path / "results"
    folder.mkdir()
    stem = f"array-{ball_volume().fingerprint[:8]}"
    program = (
        "import sys; from pathlib import Path; from sammed3d_nb.session.lock import RecordLock;"
        f"lock = RecordLock(Path({str(folder / (stem + '.sammed3d.json'))!r})); print('locked', flush=True);"
        "sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"locked"
    yield folder
    process.communicate()


def test_a_case_that_another_session_has_open_is_told_and_can_be_taken_over(elsewhere: Path) -> None:
    app = snb.App(ball_volume(), model_of(BallNetwork()), output=elsewhere, autosave=True)
    assert app.session is None
    assert "is open in another session" in app.status.message
    assert app.cases.taking.layout.display != "none"
    app.cases.taking.click()
    app.wait()
    assert app.session is not None, app.status.message
    assert app.cases.taking.layout.display == "none"
    app.click(BALL)
    assert app.session.autosave.exists()
    app.close()


def test_a_page_that_was_left_lets_others_open_the_record(tmp_path: Path) -> None:
    app = snb.App(ball_volume(), model_of(BallNetwork()), output=tmp_path, autosave=True)
    app.click(BALL)
    lock = RecordLock.beside(app.session.autosave)
    assert lock.exists()
    app.page._message(app.page, {"type": "left"}, [])
    assert not lock.exists()
    assert app.session is None
    app.close()


def test_going_to_another_case_lets_others_open_the_one_before(tmp_path: Path) -> None:
    from sammed3d_nb.ui.worklist import cases_of

    app = snb.App(ball_volume(), model_of(BallNetwork()), cases=cases_of([]), output=tmp_path, autosave=True)
    app.click(BALL)
    lock = RecordLock.beside(app.session.autosave)
    app.open(1).result()
    app.wait()
    assert not lock.exists()
    app.close()


@pytest.mark.parametrize(("action", "suffix"), [("export", ".masks{}.nii.gz"), ("save", "{}.sammed3d.json")])
def test_files_of_others_are_not_overwritten_and_ones_own_are(app, tmp_path: Path, action: str, suffix: str) -> None:
    stem = f"array-{app.session.volume.fingerprint[:8]}"
    theirs, ours = (tmp_path / f"{stem}{suffix.format(number)}" for number in ("", "-2"))
    theirs.write_bytes(b"somebody else's")
    app.click(BALL)
    for _ in range(2):
        app.act(action)
        app.wait()
        assert str(ours) in app.status.message
    assert theirs.read_bytes() == b"somebody else's"
    assert ours.exists()
    assert not (tmp_path / f"{stem}{suffix.format('-3')}").exists()
