"""The array that engines without orientation get, and the way back from it."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import volumes
from test_translation import SIZE, SPACING, Orientation

from sammed3d_nb import Volume
from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.segmenters.upright import Upright

ORIENTATIONS = [Orientation(axes, back) for axes in permutations(range(3)) for back in product((False, True), repeat=3)]


@pytest.fixture(scope="module")
def axial() -> Volume:
    """As DICOM stores it: i to the left, j to the back, k upwards."""
    array = np.random.default_rng(1).integers(-100, 100, SIZE[::-1]).astype(np.int16)
    return Volume.from_array(array, SPACING, np.eye(3), (10, -20, 30))


def test_an_axial_image_stays_as_it_is(axial: Volume) -> None:
    upright = Upright(axial)
    assert np.array_equal(upright.array, axial.array)
    assert upright.array.dtype == np.int16
    assert np.array_equal(upright.voxels((3, 5, 7)), (7, 5, 3))
    assert upright.properties == {
        "spacing": [SPACING[2], SPACING[1], SPACING[0]],
        "origin": [10, -20, 30],
        "direction": np.eye(3).ravel().tolist(),
    }


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=repr)
def test_every_orientation_gives_the_same_array(axial: Volume, orientation: Orientation) -> None:
    turned = orientation.volume(axial)
    upright, straight = Upright(turned), Upright(axial)
    assert np.array_equal(upright.array, straight.array)
    assert upright.properties["spacing"] == pytest.approx(straight.properties["spacing"])
    assert upright.properties["origin"] == pytest.approx(straight.properties["origin"])
    assert upright.properties["direction"] == pytest.approx(straight.properties["direction"])
    voxel = (3, 5, 7)
    assert np.array_equal(upright.voxels(orientation.voxels(voxel)), straight.voxels(voxel))


@given(volumes(12), st.data())
def test_there_and_back(volume: Volume, data: st.DataObject) -> None:
    """The array's index of a voxel lies where the voxel lies; boxes and masks come back as they were."""
    upright = Upright(volume)
    low = [data.draw(st.integers(0, n - 1)) for n in volume.size]
    high = [data.draw(st.integers(first + 1, n)) for first, n in zip(low, volume.size, strict=True)]
    region = Region.between(low, high)
    k, j, i = upright.voxels(low)
    assert upright.array[k, j, i] == volume.array[low[2], low[1], low[0]]
    assert np.allclose(upright.to_upright(low), (k, j, i))
    told = upright.properties
    affine = np.reshape(told["direction"], (3, 3)) * told["spacing"][::-1]
    assert np.allclose(affine @ (i, j, k) + told["origin"], volume.voxel_to_lps(low), atol=1e-6)
    span = upright.span(region)
    assert upright.region(span) == region
    part = upright.array[tuple(slice(*ends) for ends in span)]
    assert np.array_equal(upright.home(part), volume.array[region.slices])
    values = np.random.default_rng(0).integers(0, 2, region.shape).astype(np.uint8)
    mask = LocalMask(values, region, volume.size)
    if mask.count:
        box, cropped = upright.crop(mask)
        assert np.array_equal(upright.home(cropped), mask.values)
        assert upright.region(box) == mask.region


@pytest.mark.parametrize(
    ("stored", "sent"),
    [("uint8", "uint8"), ("uint16", "uint16"), ("int32", "int32"), ("int64", "float32"), ("float64", "float32")],
)
def test_values_travel_in_a_type_that_others_know(stored: str, sent: str) -> None:
    array = np.arange(60).reshape(3, 4, 5).astype(stored)
    upright = Upright(Volume.from_array(array, (1, 1, 1)))
    assert upright.array.dtype == np.dtype(sent)
    assert np.array_equal(upright.array, array)
