"""How the answers of several cubes are put together."""

import numpy as np
import pytest
from support import torso_like

from sammed3d_nb import Volume
from sammed3d_nb.imaging.region import Region
from sammed3d_nb.segmenters.cube import MARGIN, Cube
from sammed3d_nb.segmenters.pieces import Piece, assemble


def tilted() -> Volume:
    """100 × 96 × 60 voxels of 2 × 2.5 × 4 mm, turned by 30° round S."""
    turn = np.deg2rad(30)
    direction = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    return Volume.from_array(np.zeros((60, 96, 100), np.int16), (2.0, 2.5, 4.0), direction)


@pytest.mark.parametrize("volume", [torso_like(), tilted()], ids=["torso", "tilted"])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_cube_that_answers_a_click_is_never_overruled(volume: Volume, swapped: bool) -> None:
    low, high = np.multiply(volume.size, 0.4), np.multiply(volume.size, 0.6)
    cubes = [Cube.at(volume, ijk, spacing=1.2) for ijk in ((high, low) if swapped else (low, high))]
    earlier = Piece(cubes[0], np.full((64, 64, 64), -900, np.float32))
    later = Piece(cubes[1], np.full((64, 64, 64), 1, np.float32))
    everything = Region((0, 0, 0), volume.size)
    mask = assemble([earlier, later], volume, everything, np.ones(everything.shape, np.uint8))
    reached = np.zeros_like(mask)
    for cube in cubes:
        reached[cube.region(volume).slices] = 1
    assert (mask[reached == 0] == 1).all(), "where no cube reaches the mask stays"
    outside = np.argwhere((mask == 0) & (reached == 1))[:, ::-1]
    assert len(outside)  # nearer to open faces the older cube still counts
    depth = later.cube.from_voxel(volume)(outside) + 0.5
    clear = [
        (depth[:, dim] if side < 0 else later.cube.size - depth[:, dim]) >= MARGIN
        for dim, side in later.cube.open_faces(volume)
    ]
    inside = ((depth >= 0) & (depth < later.cube.size)).all(axis=1)
    assert not (inside & np.all(clear, axis=0)).any()
