"""Which voxels a view shows, and where: slices, flips, letters and the affine from the screen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed3d_nb.ui.planes import PLANES, Plane, direction_letters

ORIENTATIONS = [
    np.diag([a, b, c])[:, list(order)]
    for a in (1, -1)
    for b in (1, -1)
    for c in (1, -1)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
]


class Grid:
    """A volume's geometry without its voxels."""

    def __init__(self, direction: np.ndarray, size=(5, 7, 9), spacing=(0.8, 1.0, 5.0)) -> None:
        self.direction, self.size, self.spacing = np.asarray(direction, dtype=float), size, spacing


def lps(grid: Grid, voxel) -> np.ndarray:
    return grid.direction @ (np.asarray(voxel) * grid.spacing)


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("direction", ORIENTATIONS, ids=str)
def test_every_orientation_is_shown_as_radiologists_expect(name: str, direction: np.ndarray) -> None:
    grid = Grid(direction)
    plane = Plane.of(name, grid)
    array = np.arange(np.prod(grid.size)).reshape(grid.size[::-1])
    shown = plane.slice_of(array, 2)
    assert shown.shape == plane.shape
    for column, row in ((0, 0), (plane.shape[1] - 1, 0), (1, plane.shape[0] - 1)):
        i, j, k = plane.to_voxel(column, row, 2)
        assert shown[row, column] == array[k, j, i]
        assert plane.from_voxel((i, j, k)) == (column, row, 2)
    here = lps(grid, plane.to_voxel(1, 1, 2))
    right = lps(grid, plane.to_voxel(2, 1, 2)) - here
    down = lps(grid, plane.to_voxel(1, 2, 2)) - here
    up = lps(grid, plane.to_voxel(1, 1, 2 + plane.up)) - here
    ways = {"axial": ("L", "P", "S"), "coronal": ("L", "I", "A"), "sagittal": ("P", "I", "L")}[name]
    assert (direction_letters(right), direction_letters(down), direction_letters(up)) == ways
    opposite = dict(zip("LPSRAI", "RAILPS", strict=True))
    assert plane.letters == (opposite[ways[0]], ways[0], opposite[ways[1]], ways[1])
    assert plane.spacing == pytest.approx((np.linalg.norm(down), np.linalg.norm(right)))


def test_neurological_views_put_the_left_on_the_left() -> None:
    grid = Grid(np.eye(3))
    assert Plane.of("axial", grid, radiological=False).letters == ("L", "R", "A", "P")
    assert Plane.of("coronal", grid, radiological=False).letters == ("L", "R", "S", "I")
    assert Plane.of("sagittal", grid, radiological=False).letters == ("A", "P", "S", "I")


@given(st.integers(0, 2**32 - 1), st.sampled_from(PLANES))
def test_oblique_volumes_keep_their_voxels(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    direction, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    grid = Grid(direction)
    plane = Plane.of(name, grid)
    assert sorted(plane.axes) == [0, 1, 2]
    voxel = rng.integers(0, grid.size)
    column, row, index = plane.from_voxel(voxel)
    offset = rng.uniform(-0.49, 0.49, size=2)
    assert plane.to_voxel(column + offset[0], row + offset[1], int(index)) == tuple(voxel)


def test_oblique_views_say_so_in_their_letters() -> None:
    angle = np.radians(20)
    turned = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    assert Plane.of("axial", Grid(turned)).letters == ("RA", "LP", "AL", "PR")
    assert Plane.of("sagittal", Grid(turned)).letters == ("AL", "PR", "S", "I")
