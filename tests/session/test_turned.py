"""Where an operation has to choose between equals, it chooses the same in all 48 orientations of an image."""

from itertools import permutations, product

import numpy as np
import pytest
from support import BallNetwork, model_of, rotation

from sammed3d_nb import Session, Volume

SHAPE = (14, 12, 10)  # z, y, x
SPACING = (1.0, 1.0, 1.0)  # so that axes tie
TURNS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def turned(array: np.ndarray, axes: tuple[int, ...], flips: tuple[int, ...]) -> np.ndarray:
    """An array (z, y, x) as an image with other axes holds it."""
    flipped = tuple(slice(None, None, flips[2 - n]) for n in range(3))
    return np.transpose(array, [2 - axes[2 - n] for n in range(3)])[flipped]


def turned_volume(axes: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    tilt = rotation(2, 30)
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), SPACING, tilt, (5, -3, 40))
    ends = np.where(np.array(flips) < 0, np.array(volume.size)[list(axes)] - 1, 0)
    origin = volume.voxel_to_lps([ends[list(axes).index(n)] for n in range(3)])
    return Volume.from_array(
        turned(np.zeros(SHAPE, np.int16), axes, flips), SPACING, tilt[:, list(axes)] * flips, origin
    )


def masks_of(volume: Volume, axes: tuple[int, ...], flips: tuple[int, ...], drawn: np.ndarray, *asked) -> np.ndarray:
    session = Session(volume, model_of(BallNetwork()))
    session.paint(turned(drawn, axes, flips))
    name, options = asked
    if options.get("axis"):
        options = {"axis": "ijk"[list(axes).index("ijk".index(options["axis"]))]}
    session.apply(name, **options)
    return session.mask > 0


def slices_apart() -> np.ndarray:
    """Shapes on two slices with two between them, whose borders tie a third of the way along."""
    drawn = np.zeros(SHAPE, bool)
    drawn[3, 2:10, 1:9] = True
    drawn[6, 4:8, 3:7] = True
    drawn[9, 1:9, 2:5] = True
    return drawn


def crosses_apart() -> np.ndarray:
    """Two empty slices in every direction: which axis is meant is a tie."""
    drawn = np.zeros(SHAPE, bool)
    for k, j, i in product((2, 5), (2, 5), (2, 5)):
        drawn[k, j, i] = True
    return drawn


def twins() -> np.ndarray:
    """Two parts of one size."""
    drawn = np.zeros(SHAPE, bool)
    drawn[2:4, 2:5, 6:8] = True
    drawn[8:10, 6:9, 1:3] = True
    return drawn


@pytest.mark.parametrize(("axes", "flips"), TURNS)
@pytest.mark.parametrize(
    ("draw", "name", "options"),
    [
        (slices_apart, "interpolate slices", {"axis": "k"}),
        (crosses_apart, "interpolate slices", {}),
        (twins, "largest component", {}),
    ],
    ids=["between", "which axis", "largest"],
)
def test_ties_fall_alike_in_all_48_orientations(axes, flips, draw, name: str, options: dict) -> None:
    plain = (0, 1, 2), (1, 1, 1)
    first = masks_of(turned_volume(*plain), *plain, draw(), name, options)
    second = masks_of(turned_volume(axes, flips), axes, flips, draw(), name, options)
    assert np.array_equal(turned(first, axes, flips), second)
    assert first.any()
    assert not np.array_equal(first, draw())
