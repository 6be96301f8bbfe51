"""Requests that no client sends, to both protocols at once: no 500, nobody's session lost, memory bounded.

A short run; ``SAMMED3D_FUZZ=20000`` asks for so many sequences of requests.
"""

import gzip
import io
import json
import os
import struct

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nnInteractive.inference.remote.serialization import pack_array
from serving import SHAPE, image, running

from sammed3d_nb.server.placing import Placing
from sammed3d_nb.server.room import Room

COUNT = int(os.environ.get("SAMMED3D_FUZZ", "60"))
MOST = 20_000_000
"""Bytes of images."""
SMALL = (4, 5, 6)

numbers = st.one_of(st.integers(-3, 12), st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3))
values = st.recursive(
    numbers, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
places = st.one_of(st.lists(st.integers(-1, 6), min_size=3, max_size=3), values)
boxes = st.one_of(st.lists(st.lists(st.integers(-1, 7), min_size=2, max_size=2), min_size=3, max_size=3), values)
flags = st.one_of(st.booleans(), st.booleans(), values)
FIELDS = {
    "coordinates": places, "voxel_coord": places, "outer_point_one": places, "outer_point_two": places,
    "bbox_coords": boxes, "interaction_bbox": boxes, "include_interaction": flags, "positive_click": flags,
    "run_prediction": flags, "do_autozoom": flags, "force_full_refine": flags, "shape": places, "dtype": values,
    "image_properties": st.one_of(
        st.fixed_dictionaries({"spacing": st.one_of(st.just([1, 2, 3]), places)},
                              optional={"direction": values, "origin": places, "orientation": values,
                                        "sitk_stuff": values, "name": values}), values),
}  # fmt: skip
fields = st.one_of(st.fixed_dictionaries({}, optional=FIELDS), values)
whole = st.fixed_dictionaries(FIELDS)
PATHS = ("set_image", "set_target_buffer", "reset_interactions", "set_do_autozoom", "undo", "predict", "heartbeat",
         "lease_status", "release", "claim", "capabilities", "healthz", "add_point_interaction", "add_bbox_interaction",
         "add_scribble_interaction", "add_lasso_interaction", "add_initial_seg_interaction", "upload_image",
         "upload_segment", "add_fastsam3d_interaction", "m/ball/undo", "m/x/undo", "..//", "é")  # fmt: skip


@st.composite
def arrays(draw):
    shape = draw(st.one_of(st.just((1, *SMALL)), st.just(SMALL), st.just((1, 3, 3)), st.just((1, 1, 1)),
                           st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)))  # fmt: skip
    dtype = draw(
        st.sampled_from(["uint8", "int16", "uint16", "float32", "float64", "bool", "int64", "complex64", "U2"])
    )
    array = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2, shape).astype(dtype)
    if draw(st.booleans()) and array.dtype.kind == "f":
        array.flat[0] = np.nan
    return array


@st.composite
def bodies(draw):
    """The bytes of a body, whole or damaged."""
    kind = draw(st.sampled_from(["json", "nnia", "npy", "gzip", "head", "bytes"]))
    if kind == "json":
        return json.dumps(draw(fields | whole)).encode()
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "head":
        shape = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
        return struct.pack(f"<4sBBBB5s{len(shape)}q", b"NNIA", 1, 1, len(shape), 5, b"int16", *shape) + bytes(8)
    array = draw(arrays())
    stream = io.BytesIO()
    np.save(stream, array)
    if kind == "nnia":
        body = bytearray(pack_array(array) if array.dtype.kind in "biuf" else b"NNIA")
    else:
        body = bytearray(stream.getvalue() if kind == "npy" else gzip.compress(stream.getvalue()))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 5)) == 0 else body)


requests = st.tuples(
    st.sampled_from(["POST", "POST", "POST", "POST", "GET", "PUT"]), st.sampled_from(PATHS),
    st.sampled_from(["own", "own", "own", "none", "wrong"]), bodies(), st.booleans(), whole | fields,
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "kept"
    with running(folder, placing=Placing.of(None, "1mm"), room=Room(MOST), places=16, images=MOST) as one:
        yield one


@pytest.fixture(scope="module")
def witness(server):
    """A client that works on in good order, whatever the others send."""
    session, mask = server.begun()
    session.add_point_interaction([10, 22, 30], True)
    yield session, mask, mask.copy()
    session.close()


@pytest.mark.timeout(600 if COUNT < 100 else 0)
@settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck), derandomize=COUNT < 100)
@given(sequence=st.lists(requests, min_size=1, max_size=8), good=st.booleans())
def test_any_requests_are_answered_and_nobody_is_disturbed(server, witness, sequence, good):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        claimed = client.post("/claim")
        assert claimed.status_code == 200
        token = claimed.json().get("lease_token", "0")
        given = [token]
        tokens = {"own": token, "wrong": "f" * 32}
        if good:
            head = {"X-Lease-Token": token, "X-Meta": json.dumps({"image_properties": {"spacing": [1, 1, 1]}})}
            client.post("/set_image", content=pack_array(image((1, *SMALL))), headers=head)
        for method, path, who, body, form, meta in sequence:
            headers = {"X-Meta": json.dumps(meta)} if meta is not None else {}
            if who in tokens:
                headers["X-Lease-Token"] = tokens[who]
            kind = {"files": {"file": ("f", body)}, "data": {"positive_click": "True"}} if form else {"content": body}
            response = client.request(method, "/" + path, headers=headers, **(kind if method != "GET" else {}))
            assert response.status_code < 500 or response.status_code == 503, (method, path, response.text)
            if response.status_code == 200 and path == "claim" and method == "POST":
                given.append(response.json()["lease_token"])
            if response.status_code >= 400:
                assert isinstance(response.json()["detail"], str)
        for token in given:
            client.post("/release", headers={"X-Lease-Token": token})
    session, mask, before = witness
    session.add_point_interaction([10, 22, 36], True)
    assert session.undo() is True
    assert np.array_equal(mask, before)
    assert mask.shape == SHAPE
    assert server.house.room.used <= MOST


def test_memory_stays_bounded(server, witness):
    """After everything above, and many images one after the other."""
    process = psutil.Process()
    for seed in range(4):
        session, _ = server.begun(image((60, 80, 90), seed))
        session.add_point_interaction([30, 40, 40], True)
        session.close()
    before = process.memory_info().rss
    for seed in range(4, 20):
        session, _ = server.begun(image((60, 80, 90), seed))
        session.add_point_interaction([30, 40, 40], True)
        session.close()
    grown = process.memory_info().rss - before
    assert grown < 100e6, f"{grown / 1e6:.0f} MB more after 16 images"
    assert server.house.room.images <= 2
