"""Distances between surfaces, against values worked out by hand."""

import numpy as np
import pytest

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.measure.distances import compare_masks

SHAPE = (12, 20, 30)


def block(low: tuple[int, int, int], high: tuple[int, int, int]) -> LocalMask:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return LocalMask.of(mask)


def test_a_plate_moved_along_each_axis() -> None:
    """A plate of one voxel's thickness, moved by three voxels across: every distance is that of the plates."""
    spacing = (0.5, 2.0, 3.0)
    for axis, mm in enumerate((3.0, 2.0, 0.5)):
        low, high = [2, 2, 2], [9, 17, 25]
        low[axis], high[axis] = 3, 4
        first = block(tuple(low), tuple(high))
        low[axis], high[axis] = 6, 7
        found = compare_masks(first, block(tuple(low), tuple(high)), spacing)
        assert (found.mean_mm, found.hd95_mm, found.dice) == (3 * mm, 3 * mm, 0)
        assert found.only_first_ml == found.only_second_ml == first.volume_ml(spacing)


def test_a_mask_and_itself_and_nothing() -> None:
    mask, nothing = block((2, 2, 2), (5, 9, 9)), LocalMask.empty(SHAPE[::-1])
    same = compare_masks(mask, mask, (1, 1, 1))
    assert (same.dice, same.mean_mm, same.hd95_mm, same.only_first_ml) == (1, 0, 0, 0)
    assert same.both_ml == pytest.approx(mask.count / 1000)
    empty = compare_masks(mask, nothing, (1, 1, 1))
    assert (empty.dice, empty.mean_mm, empty.hd95_mm) == (0, None, None)
    assert compare_masks(nothing, nothing, (1, 1, 1)).dice == 1


def test_the_worst_twentieth_does_not_count() -> None:
    """One voxel far away moves the mean a little, HD95 not at all."""
    plate = block((3, 1, 1), (4, 19, 29))
    dotted = plate | block((11, 10, 15), (12, 11, 16))
    found = compare_masks(plate, dotted, (1, 1, 1))
    assert found.hd95_mm == 0
    assert found.mean_mm == pytest.approx(8 / (plate.count + dotted.count))
