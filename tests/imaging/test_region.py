import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed3d_nb.imaging.region import LocalMask, Region

SPACING = (0.8, 1.1, 5.0)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.random(shape) < draw(st.sampled_from([0, 0.05, 0.5, 1]))


@given(masks())
def test_a_local_mask_is_the_whole_mask(mask: np.ndarray) -> None:
    local = LocalMask.of(mask)
    assert np.array_equal(local.full, mask)
    assert local.full.dtype == np.uint8
    assert local.count == mask.sum()
    for axis in range(3):
        for index in range(mask.shape[axis]):
            assert np.array_equal(local.slice(axis, index), mask.take(index, axis))


@given(masks(), st.lists(st.integers(0, 2**32 - 1), max_size=3), st.sampled_from([0, 0.05, 0.3]))
def test_one_mask_without_others(mask: np.ndarray, seeds: list[int], share: float) -> None:
    others = [np.random.default_rng(seed).random(mask.shape) < share for seed in seeds]
    local = LocalMask.of(mask)
    left = local.without(*map(LocalMask.of, others))
    taken = np.any([np.zeros_like(mask), *others], axis=0)
    assert np.array_equal(left.full, mask & ~taken)
    assert left.count == (mask & ~taken).sum()
    assert left is local or (mask & taken).any(), "nothing is stored anew where nothing is taken"


@given(masks(), st.integers(0, 2**32 - 1))
def test_membership_and_distance(mask: np.ndarray, seed: int) -> None:
    kji = np.random.default_rng(seed).integers(0, mask.shape)
    local, ijk = LocalMask.of(mask), tuple(kji[::-1])
    assert (ijk in local) == mask[tuple(kji)]
    offsets = (np.argwhere(mask) - kji)[:, ::-1] * SPACING
    expected = np.linalg.norm(offsets, axis=1).min() if mask.any() else np.inf
    assert local.distance_mm(ijk, SPACING) == pytest.approx(expected)


def test_an_empty_mask_takes_no_room() -> None:
    local = LocalMask.empty((500, 400, 300))
    assert local.values.size == 0
    assert local.full.shape == (300, 400, 500)
    assert local.without(local).count == 0


def test_regions() -> None:
    region = Region.between((1, 2, 3), (4, 6, 8))
    assert region.size == (3, 4, 5)
    assert region.shape == (5, 4, 3)
    assert region.stop == (4, 6, 8)
    assert region.slices == (slice(3, 8), slice(2, 6), slice(1, 4))
    assert Region.between((1, 2, 3), (4, 2, 8)).size == (0, 0, 0)
    assert region.intersection(Region((0, 3, 0), (3, 9, 4))) == Region((1, 3, 3), (2, 3, 1))
    assert region.intersection(Region((4, 0, 0), (9, 9, 9))).size == (0, 0, 0)
    assert Region.union([region, Region((900, 900, 900), (0, 0, 0))]) == region
    assert Region.union([region, Region((0, 0, 5), (2, 2, 9))]) == Region((0, 0, 3), (4, 6, 11))
