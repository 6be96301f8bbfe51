"""What arrives holds memory that others could have: not longer than its client sends, and not for what it leaves."""

import io
import json
import socket
import time
from contextlib import closing, contextmanager

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array
from serving import SHAPE, image, running

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.server import app
from sammed3d_nb.server.house import ON_THE_WAY
from sammed3d_nb.server.placing import Placing
from sammed3d_nb.server.room import Room
from sammed3d_nb.session.session import Session

META = json.dumps({"image_properties": {"spacing": [3, 1.5, 1]}, "include_interaction": True})
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="volume.npy"\r\n\r\n\x93NUMPY'


@pytest.fixture
def server(tmp_path):
    """A server that takes images of the older protocol, which tells no spacing."""
    with running(tmp_path / "kept", placing=Placing.of(None, "1mm")) as one:
        yield one


@contextmanager
def half_sent(server, path, token=None, body=None):
    """A client that has sent a part of a body, and says nothing more."""
    body = pack_array(image()[None])[:2000] if body is None else body
    lease = f"X-Lease-Token: {token}\r\nX-Meta: {META}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n{lease}"
        f"Content-Length: {image().nbytes}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))) as connection:
        connection.settimeout(60)
        connection.sendall(head.encode() + body)
        yield connection


def reserved(server):
    return server.house.room._coming


def until(true):
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came so")


def answer_on(connection):
    """Status and sentence of what comes, to the end of the connection."""
    told = b""
    while part := connection.recv(65536):
        told += part
    head, body = told.split(b"\r\n\r\n", 1)
    fields = json.loads(body)
    return int(head.split()[1]), fields.get("detail") or fields["message"]


@pytest.mark.parametrize("call", ["set_image", "add_initial_seg_interaction", "upload_image", "upload_segment"])
def test_a_client_that_falls_asleep_holds_no_memory(server, monkeypatch, call):
    monkeypatch.setattr(app, "STALLED", 1.0)
    token, body = None, FORM
    if call == "set_image":
        token, body = server.client()._lease_token, None
    elif call == "add_initial_seg_interaction":
        token, body = server.begun()[0]._lease_token, pack_array(image()[0:1].repeat(SHAPE[0], 0) > 100)[:200]
    elif call == "upload_segment":
        assert httpx.post(f"{server.url}/upload_image", files={"file": npy(image())}).json() == {"status": "ok"}
    with half_sent(server, f"/{call}", token, body) as connection:
        until(lambda: reserved(server))
        status, told = answer_on(connection)
        assert status == (408 if token else 200)  # of another status the older extension shows nothing
        assert "has come for 1 s" in told
        assert not reserved(server)


@pytest.mark.parametrize("call", ["set_image", "upload_image"])
def test_what_arrives_ends_with_its_lease(server, call):
    client = server.client() if call == "set_image" else None
    with half_sent(server, f"/{call}", client and client._lease_token, None if client else FORM):
        until(lambda: reserved(server))
        if client:
            client.close()
        else:
            for lease in server.house.leases.all():
                lease.acted -= 10_000  # idle for that long
        until(lambda: not reserved(server))
    assert not len(server.house.leases)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return "volume.npy", file.getvalue()


# -- from one image to the next ----------------------------------------------------------------------------------------


def test_what_an_image_leaves_counts_for_the_next_one(tmp_path):
    """Memory for one image with what its model keeps: enough to go through a folder of them, by one client."""
    array = image()
    kept = 20 * array.size
    with running(tmp_path / "kept", room=Room((ON_THE_WAY + 1) * array.nbytes + kept)) as server:
        server.house.served[0].kept_of = lambda voxels: 20 * voxels
        session, _ = server.begun(array)
        for number in (1, 2):
            session.set_image(array[None] + number, {"spacing": [1, 1, 1]})
            assert server.house.room.used == array.nbytes + kept
            assert server.house.room.images == 1
        other = server.client()
        with pytest.raises(Exception, match="close another image"):  # which is somebody else's
            other.set_image(array[None] + 3, {"spacing": [1, 1, 1]})
        session.close()
        other.close()


@pytest.mark.parametrize("older", [False, True])
def test_an_image_makes_room_for_the_next_one_on_its_way(tmp_path, older):
    array = image()
    room = Room(ON_THE_WAY * array.nbytes + array.nbytes // 2)
    with running(tmp_path / "kept", room=room, placing=Placing.of(None, "1mm")) as server:

        def send(number):
            if older:
                sent = {"file": npy(array + number)}
                assert httpx.post(f"{server.url}/upload_image", files=sent, timeout=60).json() == {"status": "ok"}
            else:
                session.set_image(array[None] + number, {"spacing": [1, 1, 1]})

        session = None if older else server.begun(array)[0]
        for number in (1, 2):
            send(number)
            assert server.house.room.used == array.nbytes
        if session:
            two = server.client()
            with pytest.raises(Exception, match="close another image"):
                two.set_image(array[None] + 3, {"spacing": [1, 1, 1]})
            assert server.house.leases.all()[0].desk.image is not None, "nobody else's image is put away"
            two.close()
            session.close()


def test_an_image_that_others_work_on_frees_nothing():
    volume, other = (Volume.from_array(np.zeros((4, 4, n), np.uint8), (1, 1, 1)) for n in (4, 5))
    room = Room(1000)
    room.enter(volume, "m", 500)
    assert room.makes_room(volume, "m", 1000 - 1)
    assert not room.makes_room(volume, "m", 1001)
    room.enter(volume, "m", 500)
    assert not room.makes_room(volume, "m", 1000 - 1)
    with pytest.raises(Exception, match="close another image"):
        room.enter(other, "m", 500, before=volume)
    room.leave(volume, "m")
    room.enter(other, "m", 500, before=volume)


def test_an_image_whose_session_does_not_close_is_left_all_the_same(server, monkeypatch):
    session, _ = server.begun()
    session.add_point_interaction([10, 22, 30], True)

    def fails(self):
        raise RuntimeError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "close", fails)
        with pytest.raises(httpx.HTTPStatusError):
            session.set_image(image()[None] + 1, {"spacing": [1, 1, 1]})
    assert server.house.room.images == 0
    session.set_image(image()[None] + 1, {"spacing": [1, 1, 1]})
    assert server.house.room.images == 1
    session.close()
    assert server.house.room.used == 0
