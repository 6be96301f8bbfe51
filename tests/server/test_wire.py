"""Sizes before bytes, and what is broken."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnInteractive.inference.remote.serialization import pack_array, unpack_array

from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.room import Room
from sammed3d_nb.server.wire import announced, bits, difference, gunzipped, meta_of, npy, unpacked

ARRAY = np.random.default_rng(0).integers(0, 50, (1, 7, 9, 11)).astype(np.int16)


def head(name: bytes, shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<4sBBBB{len(name)}s{len(shape)}q", b"NNIA", 1, 1, len(shape), len(name), name, *shape)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64", "bool"])
def test_what_the_client_packs_is_announced_and_unpacked(dtype):
    array = ARRAY.astype(dtype)
    body = bytearray(pack_array(array))
    found = announced(body)
    assert found is not None
    assert found.shape == array.shape
    assert found.nbytes == array.nbytes
    assert announced(body[: found.offset - 1]) is None
    assert np.array_equal(unpacked(body), array)


@pytest.mark.parametrize(
    ("name", "shape"),
    [(b"object", (2,)), (b"complex64", (2,)), (b"str", (2,)), (b"M8[s]", (2,)), (b"V99", (2,)), (b"i4,i4", (2,)),
     (b"\xff\xfe", (2,)), (b"", (2,)), (b"int16", (0, 3)), (b"int16", (-1, -1)), (b"int16", (2**62, 4)),
     (b"int16", (1, 1, 1, 1, 1)), (b"f" * 255, (1,)), (b"(1000000,)f8", (1,))],
)  # fmt: skip
def test_arrays_of_other_kinds_are_refused(name, shape):
    with pytest.raises(Refused) as caught:
        announced(head(name, shape) + bytes(8))
    assert caught.value.status == 400


def test_nothing_is_allocated_for_what_breaks_off():
    body = head(b"float64", (1, 2**10, 2**10, 2**10)) + struct.pack("<I", 1) + struct.pack("<QQ", 2**33, 40) + bytes(40)
    tracemalloc.start()
    with pytest.raises(Refused):
        unpacked(body)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@given(st.data())
def test_damaged_arrays_are_refused_or_read(data):
    body = bytearray(pack_array(ARRAY))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body
    try:
        found = announced(body)
        if found is not None and found.nbytes < 10**6:
            unpacked(body)
    except Refused:
        pass


@given(st.data())
def test_differences_bring_a_copy_up_to_date(data):
    size = (11, 9, 7)
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    masks = [LocalMask.of(random.random(size[::-1]) > data.draw(st.sampled_from([0.5, 0.99, 1.1]))) for _ in "ab"]
    copy = masks[0].full
    box, body = difference(*masks)
    if box is None:
        assert masks[0] == masks[1]
        assert not body
    else:
        copy[tuple(slice(*ends) for ends in box)] = unpack_array(body)
    assert np.array_equal(copy, masks[1].full)


def test_where_nobody_knows_everything_is_sent():
    mask = LocalMask.of(np.ones((2, 3, 4), np.uint8))
    assert difference(mask, mask)[0] is None
    assert difference(mask, mask, [Region((1, 0, 0), (2, 2, 1))])[0] == [[0, 1], [0, 2], [1, 3]]


@pytest.mark.parametrize("header", ["", "[]", "7", "{", "[" * 5000, '{"a": "' + "x" * 40_000 + '"}'])
def test_headers_that_are_no_object_are_refused(header):
    with pytest.raises(Refused, match="X-Meta"):
        meta_of(header)


def file_of(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_numpy_files_are_read_as_numpy_does():
    for array in (ARRAY, np.asfortranarray(ARRAY), ARRAY.astype(">i2"), ARRAY.astype(bool)):
        assert np.array_equal(npy(file_of(array), 10**6), array)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"\x93NUMPY", 400), (file_of(ARRAY)[:-1], 400), (file_of(ARRAY) + b"x", 400),
     (file_of(np.array(["a"])), 400), (file_of(np.zeros(2, [("a", "i4")])), 400),
     (file_of(np.zeros(3, np.complex64)), 400), (file_of(np.zeros(10**4)), 413),
     (file_of(ARRAY).replace(b"(1, 7, 9, 11)", b"(9**9**9,)   "), 400),
     (file_of(ARRAY).replace(b"(1, 7, 9, 11)", b"(" * 13), 400)],
)  # fmt: skip
def test_files_that_are_none_are_refused(body, status):
    with pytest.raises(Refused) as caught:
        npy(body, 10**4)
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(body):
    for read in (lambda: npy(b"\x93NUMPY\x01\x00" + body, 10**4), lambda: gunzipped(body, 100), lambda: unpacked(body)):
        with pytest.raises(Refused):
            read()


def test_bits_are_those_of_the_whole_mask():
    values = np.random.default_rng(1).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    found = np.unpackbits(np.frombuffer(gunzipped(bits(LocalMask.of(values)), 10**4), np.uint8))
    assert np.array_equal(found[: values.size].reshape(values.shape), values)


def test_memory_is_refused_at_all_or_now():
    room = Room(1000)
    with pytest.raises(Refused) as caught, room.reserved(1001, "An image"):
        pass
    assert caught.value.status == 413
    with room.reserved(600, "An image"):
        with pytest.raises(Refused) as caught, room.reserved(600, "An image"):
            pass
        assert caught.value.status == 503
    assert room.used == 0
