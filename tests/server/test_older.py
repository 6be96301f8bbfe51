"""The older protocol: raw requests as extensions up to 0.3.2 send them."""

import gzip
import io

import httpx
import numpy as np
import pytest
from serving import SHAPE, image, running

from sammed3d_nb import Box, Lasso, Point, Scribble, Session, Volume
from sammed3d_nb.server.placing import Placing

SPACING = (1.0, 1.5, 3.0)
"""mm along i, j, k: what the operator says."""


@pytest.fixture
def server(tmp_path):
    with running(tmp_path / "kept", placing=Placing.of(None, "1,1.5,3")) as one:
        yield one


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def upload(server, array):
    return server.post("/upload_image", files={"file": ("volume.npy", npy(array), "application/octet-stream")})


def upload_segment(server, mask):
    files = {"file": ("volume.npy.gz", gzip.compress(npy(mask)), "application/octet-stream")}
    return server.post("/upload_segment", files=files, headers={"Content-Encoding": "gzip"})


def painted(server, kind, mask, positive=True):
    files = {"file": ("volume.npy.gz", gzip.compress(npy(mask)), "application/octet-stream")}
    # the body is said to be gzipped, and only the file in it is
    return server.post(
        f"/add_{kind}_interaction", files=files, data={"positive_click": str(positive)},
        headers={"Content-Encoding": "gzip"},
    )  # fmt: skip


def click(server, place, positive=True, path="/add_point_interaction"):
    return server.post(path, json={"voxel_coord": place, "positive_click": positive})


def mask_of(response):
    """As the extension unpacks it: the client library has inflated the body, for it is said to be gzipped."""
    assert response.status_code == 200
    assert response.headers["content-encoding"] == "gzip"
    bits = np.unpackbits(np.frombuffer(response.content, np.uint8))
    assert len(response.content) == (np.prod(SHAPE) + 7) // 8
    return bits[: np.prod(SHAPE)].reshape(SHAPE)


def own(server, *prompts):
    session = Session(Volume.from_array(image(), SPACING), server.house.served[0].engine)
    for prompt in prompts:
        session.add(prompt)
    return session.mask


@pytest.mark.parametrize("path", ["/add_point_interaction", "/add_fastsam3d_interaction"])
def test_clicks(server, path):
    assert upload(server, image()).json() == {"status": "ok"}
    assert upload_segment(server, np.zeros(SHAPE, np.uint8)).json() == {"status": "ok"}
    assert np.array_equal(mask_of(click(server, [10, 22, 30], path=path)), own(server, Point((30, 22, 10))))
    expected = own(server, Point((30, 22, 10)), Point((36, 22, 10), False))
    assert np.array_equal(mask_of(click(server, [10, 22, 36], False, path=path)), expected)


def test_boxes_hold_both_corners(server):
    upload(server, image())
    body = {"outer_point_one": [13, 29, 39], "outer_point_two": [8, 18, 24], "positive_click": True}
    expected = own(server, Box((24, 18, 8), (39, 29, 13)))
    assert np.array_equal(mask_of(server.post("/add_bbox_interaction", json=body)), expected)


def test_strokes_and_lines_are_masks_of_the_whole_image(server):
    upload(server, image())
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 22, 26:35] = 1
    found = mask_of(painted(server, "scribble", mask))
    assert np.array_equal(found, own(server, Scribble([(i, 22, 10) for i in range(26, 35)])))
    upload_segment(server, np.zeros(SHAPE, np.uint8))
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 15:30, 20:40] = 1
    found = mask_of(painted(server, "lasso", mask))
    corners = [(20, 15, 10), (39, 15, 10), (39, 29, 10), (20, 29, 10)]
    assert np.array_equal(found, own(server, Lasso(corners)))


def test_segments_are_gone_on_from_and_new_ones_leave_the_others_alone(server):
    upload(server, image())
    upload_segment(server, np.zeros(SHAPE, np.uint8))
    first = mask_of(click(server, [10, 22, 15]))
    upload_segment(server, np.zeros(SHAPE, np.uint8))
    second = mask_of(click(server, [10, 22, 44]))
    assert second.any()
    assert not (second & first).any()
    upload_segment(server, first)
    again = mask_of(click(server, [10, 22, 18]))
    assert (again & first).sum() == first.sum()
    assert not (again & second).any()
    upload_segment(server, np.zeros(SHAPE, np.uint8))
    assert np.array_equal(mask_of(click(server, [10, 22, 18])), own(server, Point((18, 22, 10))) & ~second)


def test_without_an_image_the_extension_is_told_to_send_it(server):
    for response in (click(server, [1, 2, 3]), upload_segment(server, np.zeros(SHAPE, np.uint8))):
        assert response.status_code == 200
        assert response.json()["status"] == "error"
        assert "No image uploaded" in response.json()["message"]


def test_an_expired_session_is_sent_again_and_goes_on(tmp_path):
    with running(tmp_path / "kept", placing=Placing.of(None, "1,1.5,3"), idle=600) as server:
        upload(server, image())
        first = mask_of(click(server, [10, 22, 15]))
        both = mask_of(click(server, [10, 22, 26]))
        server.house.leases.idle = 0
        while len(server.house.leases):
            pass
        server.house.leases.idle = 600
        assert "No image uploaded" in click(server, [10, 22, 30]).json()["message"]
        upload(server, image())
        upload_segment(server, both)
        session = server.house.leases.all()[0].desk.session
        assert len(session.prompts) == 2  # it is the same object, with what was said of it
        session.undo()
        assert np.array_equal(session.mask, first)


def test_a_user_is_told_what_is_wrong_where_the_extension_shows_it(server):
    upload(server, image())
    for response, why in (
        (click(server, [99, 0, 0]), "outside the volume"),
        (click(server, [0, 0]), "three numbers"),
        (server.post("/add_point_interaction", json={"voxel_coord": [1, 1, 1]}), "positive_click"),
        (upload(server, np.zeros(SHAPE)), "nothing to see"),
        (upload(server, image()[0]), "2 dimensions"),
        (upload_segment(server, np.zeros((2, 3, 4), np.uint8)), "expected the image's shape"),
        (painted(server, "lasso", np.zeros(SHAPE, np.uint8)), "0 voxels are painted"),
        (server.post("/upload_image", content=b"nothing"), "send"),
    ):
        assert response.status_code == 200, response.text
        assert response.json()["status"] == "error"
        assert why in response.json()["message"], response.json()


def test_voxel_sizes_have_to_be_told_or_accepted_by_name(tmp_path):
    with running(tmp_path / "kept") as server:
        response = upload(server, image())
        assert "--spacing" in response.json()["message"]
    with running(tmp_path / "kept", placing=Placing.of(None, "1mm")) as server:
        assert upload(server, image()).json() == {"status": "ok"}
        volume = server.house.leases.all()[0].desk.image
        assert volume.spacing == (1, 1, 1)
        assert any("accepted by name" in sentence for sentence in volume.warnings)
        assert "accepted by name" in httpx.get(server.url + "/healthz").json()["spacing"]


def test_both_generations_on_one_port(server):
    upload(server, image())
    old = mask_of(click(server, [10, 22, 15]))
    session, mask = server.begun()
    with session:
        session.add_point_interaction([10, 22, 44], True)
        assert mask[10, 22, 44]
        assert not mask[10, 22, 2]
    assert np.array_equal(mask_of(click(server, [10, 22, 15])) & old, old)


def test_bombs_are_not_inflated(server):
    upload(server, image())
    bomb = gzip.compress(bytes(20_000_000), 9)
    response = server.post("/upload_segment", files={"file": ("m.npy.gz", bomb, "application/octet-stream")})
    assert "holds more than" in response.json()["message"]
    head = npy(np.zeros((2, 2, 2), np.uint8)).replace(b"(2, 2, 2)", b"(999999, 999999, 9)")
    response = server.post("/upload_image", files={"file": ("v.npy", head, "application/octet-stream")})
    assert response.json()["status"] == "error"
