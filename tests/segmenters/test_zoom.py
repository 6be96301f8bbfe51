"""Which part of a mask decides about the next cube."""

import numpy as np

from sammed3d_nb.segmenters.zoom import _component


def test_the_clicked_component_counts_and_the_largest_where_none_is_clicked() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[2:4, 3:5, 4:6] = True
    mask[8:15, 9:16, 10:18] = True
    small, large = (slice(2, 4), slice(3, 5), slice(4, 6)), (slice(8, 15), slice(9, 16), slice(10, 18))
    assert _component(mask, np.array([3, 3, 5])) == small
    assert _component(mask, np.array([10, 10, 10])) == large
    assert _component(mask, np.array([0, 0, 0])) == large
    assert _component(mask, np.array([25, -3, 5])) == large  # beyond the array
    assert _component(mask.transpose(2, 1, 0), np.array([5, 3, 3])) == small[::-1]
    assert _component(np.zeros((4, 4, 4), bool), np.array([1, 1, 1])) is None
