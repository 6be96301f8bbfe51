"""Slices and masks for the page come out again as they were, whatever the image holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ui_page import mask_of, unpacked

from sammed3d_nb.ui.packing import pack_masks, pack_slice

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")


@pytest.mark.parametrize("kind", TYPES)
@given(data=st.data())
def test_every_value_of_every_type_comes_back(kind: str, data) -> None:
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        numbers = st.floats(allow_nan=False, allow_infinity=False, width=8 * dtype.itemsize)
    else:
        limits = np.iinfo(dtype)
        numbers = st.integers(max(limits.min, -(2**53)), min(limits.max, 2**53))
    values = np.array(data.draw(st.lists(numbers, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])), dtype)
    values = values.reshape(shape)
    head, packed = pack_slice(values)
    back = unpacked(head, packed)
    assert back.shape == shape
    np.testing.assert_array_equal(back.astype(np.float64), values.astype(np.float64))


def test_whole_numbers_travel_small_whatever_their_type() -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(128), np.arange(128)) + rng.integers(-3, 4, (128, 128))
    sizes = {kind: len(pack_slice(smooth.astype(kind))[1]) for kind in ("int16", "int64", "float32", "float64")}
    assert len(set(sizes.values())) == 1
    assert sizes["int16"] < smooth.size * 5 / 8  # its noise alone has 2.8 bits a voxel
    assert pack_slice((smooth - 1000).astype(np.float64))[0]["type"] == "int16"


def test_a_part_of_a_slice_that_is_a_mere_view_is_packed_too() -> None:
    values = np.arange(60, dtype=np.int16).reshape(6, 10).T[::-1, ::2]
    head, packed = pack_slice(values)
    np.testing.assert_array_equal(unpacked(head, packed), values)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20), st.floats(0, 1))
def test_masks_come_back(seed: int, rows: int, columns: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    (box,), packed = pack_masks([mask])
    np.testing.assert_array_equal(mask_of(box, packed, mask.shape), mask)


def test_no_mask_is_no_bytes() -> None:
    assert pack_masks([]) == ([], b"")
    assert pack_masks([np.zeros((3, 3), bool)]) == ([None], b"")
