"""What one client can make the server hold: images with all that a model keeps of them, masks, and what was said."""

import gc
import gzip
import io
import time
import urllib.parse

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import ServerAtCapacityError
from nnInteractive.inference.remote.serialization import pack_array
from nninteractive_weights import write
from running import free_port
from running import server as command
from serving import SHAPE, image, running
from support import BallNetwork

import sammed3d_nb as snb
from sammed3d_nb.models.nninteractive import BYTES_PER_VOXEL
from sammed3d_nb.segmenters.conversation import Conversation
from sammed3d_nb.segmenters.prompts import Scribble
from sammed3d_nb.server import sitting
from sammed3d_nb.server.house import ON_THE_WAY
from sammed3d_nb.server.log import OneLine, printable
from sammed3d_nb.server.placing import Placing
from sammed3d_nb.server.room import Room
from sammed3d_nb.session.replay import replay

VOXELS = int(np.prod(SHAPE))


@pytest.fixture(scope="module")
def interactive(tmp_path_factory):
    """nnInteractive in this process, which keeps an image and channels of it."""
    pytest.importorskip("nnInteractive.inference.inference_session", reason="the package nnInteractive is missing")
    return snb.load_model(write(tmp_path_factory.mktemp("weights") / "model"), device="cpu")


def refused(call, *arguments):
    """Status and sentence of a call that is refused."""
    with pytest.raises((httpx.HTTPStatusError, ServerAtCapacityError)) as caught:
        call(*arguments)
    if isinstance(caught.value, ServerAtCapacityError):
        return 503, str(caught.value)
    return caught.value.response.status_code, caught.value.response.json()["detail"]


# -- images ------------------------------------------------------------------------------------------------------------


def test_what_a_model_keeps_of_an_image_counts_once(tmp_path, interactive):
    networks = {"ball": BallNetwork()}
    with running(tmp_path / "kept", networks) as server:
        served = server.house.served[0]
        served.engine = interactive
        served.prompts = interactive.prompts
        array = image()
        one, _ = server.begun(array)
        assert server.house.room.used == array.nbytes + VOXELS * BYTES_PER_VOXEL
        two, _ = server.begun(array)
        for session in (one, two):
            session.add_point_interaction([10, 22, 30], True)
        assert server.house.room.used == array.nbytes + VOXELS * BYTES_PER_VOXEL, "both share it"
        gc.collect()
        assert _conversations() == 1
        one.close()
        two.close()
        gc.collect()
        assert server.house.room.used == 0
        assert _conversations() == 0, "the model let go of the last image too"


def test_an_image_whose_model_has_no_room_for_it_is_refused(tmp_path, interactive):
    array = image()
    enough = VOXELS * (array.itemsize * (ON_THE_WAY + 1) + BYTES_PER_VOXEL)
    with running(tmp_path / "kept", room=Room(enough)) as server:
        server.house.served[0].engine = interactive
        session, _ = server.begun(array)
        other = server.client()
        status, told = refused(other.set_image, array[None] + 1, {"spacing": [1, 1, 1]})
        assert status == 503
        assert "close another image" in told
        assert server.house.room.images == 1
        session.close()
        other.set_image(array[None] + 1, {"spacing": [1, 1, 1]})
    with running(tmp_path / "kept", room=Room(array.nbytes * (ON_THE_WAY + 1))) as server:
        server.house.served[0].engine = interactive
        status, told = refused(server.begun, array)
        assert status == 413
        assert told.startswith("What ball keeps of an image of 0.1 M voxels takes 1.0 MB")
        assert server.house.room.used == 0


def _conversations():
    return sum(type(one) is Conversation for one in gc.get_objects())


# -- masks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["add_initial_seg_interaction", "add_scribble_interaction", "add_lasso_interaction"])
def test_masks_wait_for_memory_as_images_do(server, call):
    array = image()
    session, _ = server.begun(array)
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 20:24, 30] = 1
    more = () if call == "add_initial_seg_interaction" else (True,)
    free = server.house.room.most - server.house.room.used
    with server.house.room.reserved(free - ON_THE_WAY * mask.size + 1, "Another image"):
        status, told = refused(getattr(session, call), mask, *more)
        assert status == 503
        assert told.startswith("A mask of 20 × 44 × 60 of uint8 takes 0.2 MB and ")
    used = server.house.room.used
    if call != "add_lasso_interaction":  # which refuses a line
        getattr(session, call)(mask, *more)
    assert server.house.room.used == used


def test_masks_of_the_older_protocol_wait_for_memory_too(tmp_path):
    def packed(array):
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()

    with running(tmp_path / "kept", placing=Placing.of(None, "1mm")) as server:
        sent = httpx.post(f"{server.url}/upload_image", files={"file": ("volume.npy", packed(image()))}, timeout=60)
        assert sent.json() == {"status": "ok"}
        room = server.house.room
        form = {"files": {"file": ("mask.npy.gz", gzip.compress(packed(np.ones(SHAPE, np.uint8))))},
                "data": {"positive_click": "True"}, "timeout": 60}  # fmt: skip
        for path in ("upload_segment", "add_scribble_interaction"):
            with room.reserved(room.most - room.used - ON_THE_WAY * VOXELS + 1, "Another image"):
                answer = httpx.post(f"{server.url}/{path}", **form).json()
                assert answer["status"] == "error"
                assert answer["message"].startswith("A mask of the image takes 0.2 MB and ")
        used = room.used
        assert httpx.post(f"{server.url}/upload_segment", **form).json() == {"status": "ok"}
        assert room.used == used


# -- what was said -----------------------------------------------------------------------------------------------------


def test_a_sitting_that_holds_too_much_goes_on_in_another_record(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    monkeypatch.setattr(sitting, "MOST_HISTORY", 20 * VOXELS)
    folder = tmp_path / "kept"
    with running(folder) as server:
        session, mask = server.begun()
        session.add_point_interaction([10, 22, 15], True)
        finished = mask.copy()
        session.reset_interactions()
        session.reset_interactions()
        free = np.ones(SHAPE, np.uint8)
        free[5:15, 17:27, 39:49] = 0
        desk = server.house.leases.all()[0].desk
        told = []
        for _ in range(60):
            noise = (random.random(SHAPE) < 0.6).astype(np.uint8) & (finished == 0) & free
            answer = server.post("/add_initial_seg_interaction", session, content=pack_array(noise))
            assert answer.status_code == 200, answer.text
            told.append(answer.headers["x-meta"])
            session.reset_interactions()
        assert sitting._held(desk.session.steps) <= 22 * VOXELS
        told = [one for one in told if "another record goes on" in one]
        assert 1 < len(told) < 10, "told when it happens, and not otherwise"
        assert np.array_equal(desk.session.objects[0].mask, finished), "objects stay"
        assert len(desk.session.objects) == 2
        session.add_point_interaction([10, 22, 44], True)
        assert session.undo() is True
        session.close()
    records = sorted(folder.rglob("*.sammed3d.json"))
    assert len(records) == 1 + len(told)
    volume = snb.Volume.read(next(folder.rglob("*.mha")))
    for record in records[:2]:
        with running(folder) as server:
            (item, *_) = replay(record, volume=volume, model=server.house.served[0])
            assert item.same


def test_a_sitting_whose_objects_alone_are_too_much_is_full(server, monkeypatch):
    random = np.random.default_rng(0)
    monkeypatch.setattr(sitting, "MOST_HISTORY", 20 * VOXELS)
    session, _ = server.begun()
    statuses = []
    for _ in range(30):
        noise = (random.random(SHAPE) < 0.2).astype(np.uint8)  # like none before: another object
        answer = server.post("/add_initial_seg_interaction", session, content=pack_array(noise))
        statuses.append(answer.status_code)
    assert statuses[0] == 200
    assert statuses[-1] == 413
    assert statuses == sorted(statuses)
    assert "save the mask, and connect once more" in answer.json()["detail"]


def test_prompts_that_wait_are_bounded(server, monkeypatch):
    monkeypatch.setattr(sitting, "MOST_HISTORY", 100_000)
    session, _ = server.begun()
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 10:40] = 1  # 1,800 voxels of 12 bytes
    for _ in range(4):
        session.add_scribble_interaction(mask, True, run_prediction=False)
    status, told = refused(lambda: session.add_scribble_interaction(mask, True, run_prediction=False))
    assert status == 413
    assert "prompts wait to be answered" in told
    assert server.post("/predict", session).status_code == 200
    session.add_scribble_interaction(mask, True, run_prediction=False)


def test_what_was_said_is_weighed():
    assert sitting._weight(Scribble(np.zeros((1000, 3), np.int32) + np.arange(1000)[:, None] % 7)) == 12_000
    assert sitting._weight(snb.Point((1, 2, 3))) == 0
    assert sitting._weight(snb.StartMask(np.ones((3, 4, 5), np.uint8))) == 60


# -- the log -----------------------------------------------------------------------------------------------------------


def test_nobody_writes_a_line_of_the_log_but_the_server(tmp_path):
    port = free_port()
    forged = "/a\n2026-01-01 00:00:00,000 ann/123456…: click\x1b[2J\u202e\r/b"
    with command("serve", "--port", port, "--records", tmp_path / "kept") as (process, lines):
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert process.poll() is None, lines
            try:
                httpx.get(f"{url}/healthz", timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        answer = httpx.post(url + urllib.parse.quote(forged), timeout=30)
        assert answer.status_code == 404
        httpx.post(f"{url}/claim", timeout=30).raise_for_status()
    text = "".join(lines)
    assert "\n2026-01-01" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("\\n2026-01-01 00:00:00,000 ann/123456…: click\\x1b[2J\\u202e\\r") >= 1


def test_a_traceback_forges_nothing_either():
    import logging
    import sys

    try:
        raise ValueError("a\n2026-01-01 all is well")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed on %s", ("a\nb",), sys.exc_info())
    first, *rest = OneLine("%(message)s").format(record).split("\n")
    assert first == "failed on a\\nb"
    assert rest
    assert all(line.startswith("  | ") for line in rest)
    assert printable("liver 7 é 肝") == "liver 7 é 肝"
