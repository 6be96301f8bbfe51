"""A model on the official server of nnInteractive, by the published client; tiny weights in the real format."""

import gc
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nninteractive_story import AWAY, PROMPTS, image, tell
from nninteractive_weights import LICENCE, WEIGHTS, write
from official_server import KEY, OfficialServer, needs_package

import sammed3d_nb as snb
from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import RecordError, ServerError
from sammed3d_nb.models.remote import RemoteModel
from sammed3d_nb.session.replay import replay

needs_package()


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfficialServer]:
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with OfficialServer(folder, log, "--api-key", KEY, "--max-sessions", "3") as found:
        yield found


@pytest.fixture
def model(server: OfficialServer) -> Iterator[RemoteModel]:
    found = snb.load_model(server.url, api_key=KEY)
    assert isinstance(found, RemoteModel)
    yield found
    del found
    gc.collect()  # gives its lease back: the server has three


def test_it_says_what_it_is(model: RemoteModel, server: OfficialServer) -> None:
    assert model.prompts == dict.fromkeys(("point", "box", "scribble", "lasso", "mask"), "native")
    assert model.about == {"server": server.url, "version": "2.6.0", "licence": LICENCE}
    assert model.described == f"nnInteractive server at {server.url}, {LICENCE}"
    assert KEY not in repr(model)


def test_the_same_story_gives_the_same_masks_here_and_there(model: RemoteModel, folder: Path) -> None:
    there, here = (tell(Session(image(), one)) for one in (model, snb.load_model(folder)))
    assert len(there) == len(here) > 15
    for number, (one, other) in enumerate(zip(there, here, strict=True)):
        assert np.array_equal(one, other), f"after {number + 1} steps"


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "float32", "float64"])
def test_images_of_every_type_arrive(model: RemoteModel, folder: Path, kind: str) -> None:
    volume = image(1, kind) if kind != "uint8" else Volume.from_array((image(1).array / 4).astype("uint8"), (1, 2, 3))
    masks = []
    for engine in (model, snb.load_model(folder)):
        session = Session(volume, engine)
        session.click((20, 16, 11))
        session.add(PROMPTS["lasso"])
        masks.append(session.mask)
    assert masks[0].sum() > 50
    assert np.array_equal(*masks)


def test_records_replay_and_tell_what_answered_but_no_key(
    model: RemoteModel, server: OfficialServer, tmp_path: Path
) -> None:
    session = Session(image(), model)
    tell(session)
    path = session.save(tmp_path / "case.sammed3d.json")
    assert all(item.same and not item.note for item in replay(path, volume=image(), model=model))
    text = path.read_text()
    assert KEY not in text
    told = json.loads(text)["model"]
    assert told["source"] == server.url
    assert told["about"] == {"server": server.url, "version": "2.6.0", "licence": LICENCE}
    session.export(tmp_path / "masks.nii.gz")
    assert json.loads((tmp_path / "masks.labels.json").read_text())["1"]["licence"] == LICENCE


def test_a_record_of_a_server_is_no_record_of_another_model(model: RemoteModel, folder: Path, tmp_path: Path) -> None:
    session = Session(image(), model)
    session.click((20, 16, 11))
    path = session.save(tmp_path / "case.sammed3d.json")
    with pytest.raises(RecordError, match="nnInteractive server"):
        list(replay(path, volume=image(), model=snb.load_model(folder)))


def test_only_what_changed_travels(model: RemoteModel, server: OfficialServer) -> None:
    """One image for a whole session, whatever is done in it; nothing is said twice where the server goes back."""
    volume = image(7)
    before = server.asked("set_image"), server.asked("add_point_interaction"), server.asked("undo")
    session = Session(volume, model)
    session.click((20, 16, 11))
    session.click((22, 16, 11))
    session.undo()
    session.redo()
    session.undo()
    session.click((18, 16, 11))
    session.apply("fill holes")  # changes nothing here
    session.click((17, 16, 11), positive=False)
    asked = server.asked("set_image"), server.asked("add_point_interaction"), server.asked("undo")
    assert np.subtract(asked, before).tolist() == [1, 4, 1]
    session.new_object()
    session.click((30, 8, 5))
    assert server.asked("set_image") == asked[0]
    assert server.asked("reset_interactions") >= 1


def test_two_sessions_do_not_disturb_each_other(server: OfficialServer, folder: Path) -> None:
    """Two users with leases of their own, and two sessions of one user that share a lease."""
    one, two = (snb.load_model(server.url, api_key=KEY) for _ in range(2))
    sessions = [Session(image(), one), Session(image(), two), Session(image(), one)]
    alone = [Session(image(), snb.load_model(folder)) for _ in sessions]
    for prompt in (PROMPTS["point"], PROMPTS["slice box"], AWAY["point"], PROMPTS["scribble"]):
        for number, (session, other) in enumerate(zip(sessions, alone, strict=True)):
            for each in (session, other):
                each.add(prompt if number != 1 or not prompt.positive else PROMPTS["lasso"])
    for session, other in zip(sessions, alone, strict=True):
        assert np.array_equal(session.mask, other.mask)


def test_a_killed_server_is_said_and_the_work_goes_on_when_it_is_back(
    model: RemoteModel, server: OfficialServer, folder: Path, tmp_path: Path
) -> None:
    session = Session(image(), model, autosave=tmp_path / "case.sammed3d.json")
    here = Session(image(), snb.load_model(folder))
    for one in (session, here):
        one.add(PROMPTS["point"])
        one.add(PROMPTS["lasso"])
        one.paint([(30, 28, 15)])
        one.add(AWAY["point"])
    server.kill()
    mask, steps = session.mask, session.steps
    started = time.monotonic()
    with pytest.raises(ServerError, match="does not answer") as said:
        session.click((24, 16, 11))
    assert time.monotonic() - started < 20
    assert str(said.value).count("\n") == 0
    assert "Nothing is lost" in str(said.value)
    assert np.array_equal(session.mask, mask)
    assert session.steps == steps
    session.paint([(29, 28, 15)])  # what needs no server goes on
    session.undo()
    server.start()
    uploads = server.asked("set_image")
    for one in (session, here):
        one.click((24, 16, 11))
    assert np.array_equal(session.mask, here.mask)
    assert server.asked("set_image") == uploads + 1
    again = Session.resume(session.autosave, volume=image(), model=model, take_over=True)
    assert np.array_equal(again.mask, here.mask)


def test_a_server_that_dies_while_it_answers_and_comes_back_with_another_model(
    server: OfficialServer, folder: Path, tmp_path: Path
) -> None:
    """The connection breaks in the middle of a request; what comes back is not taken for what was there."""
    weights = (*WEIGHTS[:4], 1.5, *WEIGHTS[5:])
    other = server.with_folder(write(tmp_path / "other", licence="Other terms 1.0", weights=weights))
    session = Session(image(), snb.load_model(server.url, api_key=KEY))
    here = Session(image(), snb.load_model(folder))
    for one in (session, here):
        one.add(PROMPTS["point"])
        one.add(PROMPTS["slice box"])
    mask = session.mask
    server.stop_answering()
    threading.Timer(1, server.kill).start()
    with pytest.raises(ServerError, match="Nothing is lost"):
        session.click((24, 16, 11))
    with other:
        with pytest.raises(ServerError, match=r"another model now .*Other terms 1.0 instead of .*CC BY-NC-SA 4.0"):
            session.click((24, 16, 11))
        assert np.array_equal(session.mask, mask)
        changed = Session(image(), snb.load_model(folder))
        changed.add(PROMPTS["point"])
        changed.set_model(snb.load_model(server.url, api_key=KEY))  # which says everything to it again
        assert changed.result.licence == "Other terms 1.0"
        assert changed.mask.sum() < here.mask.sum()
    server.start()
    for one in (session, here):
        one.click((24, 16, 11))
    assert np.array_equal(session.mask, here.mask)


# -- a server with one place, which takes nothing back and waits for nobody ------------------------------------------


@pytest.fixture(scope="module")
def narrow(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfficialServer]:
    log = tmp_path_factory.mktemp("narrow") / "log.txt"
    with OfficialServer(folder, log, "--max-sessions", "1", "--no-undo", "--idle-timeout-seconds", "10") as found:
        yield found


def test_a_full_server_says_so(narrow: OfficialServer) -> None:
    first = snb.load_model(narrow.url)
    with pytest.raises(ServerError, match=r"is full \(server is at capacity \(1 sessions\)\)"):
        snb.load_model(narrow.url)
    del first
    gc.collect()  # gives it back
    assert snb.load_model(narrow.url).prompts["point"] == "native"


def test_a_server_that_cannot_go_back_is_told_again_and_an_expired_lease_is_nobodys_trouble(
    narrow: OfficialServer, folder: Path
) -> None:
    gc.collect()
    session, here = (Session(image(), snb.load_model(source)) for source in (narrow.url, folder))
    for one in (session, here):
        one.add(PROMPTS["point"])
        one.add(PROMPTS["slice box"])
        one.undo()
        one.add(PROMPTS["scribble"])
    assert np.array_equal(session.mask, here.mask)
    assert narrow.asked("undo") == 0
    expired, uploads = narrow.reaped, narrow.asked("set_image")
    deadline = time.monotonic() + 90
    while narrow.reaped == expired and time.monotonic() < deadline:  # it looks every 15 s
        time.sleep(0.5)
    assert narrow.reaped > expired
    for one in (session, here):
        one.add(AWAY["point"])
    assert np.array_equal(session.mask, here.mask)
    assert narrow.asked("set_image") == uploads + 1


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_key_is_said_and_not_repeated(
    server: OfficialServer, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NN_INTERACTIVE_API_KEY", raising=False)
    with pytest.raises(ServerError, match="refuses the key") as said:
        snb.load_model(server.url, api_key=key)
    assert "wrong" not in str(said.value).replace("wrong key", "")


def test_what_the_server_refuses_is_said(model: RemoteModel) -> None:
    """An image that is all zero but for what a user may call nothing: the server's own sentence comes through."""
    array = np.zeros((9, 9, 9), np.float32)
    array[4, 4, 4] = 1e-30
    session = Session(Volume.from_array(array, (1, 1, 1)), model)
    session.click((4, 4, 4))  # answers something, or refuses, but does not crash
    assert len(session.steps) == 1
