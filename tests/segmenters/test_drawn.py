"""What boxes, strokes and lassos become for networks that know them: maps of each cube."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import BallNetwork, model_of, rotation

from sammed3d_nb import Session, Volume
from sammed3d_nb.network.drawn import BOX, CROSSED, LASSO, MAPS, STROKE, TAKEN
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.drawn import drawn_maps
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Scribble

KINDS = ("point", "box", "scribble", "lasso")
EVERY = Box((8, 6, 5), (31, 27, 16))
FLAT = Box((8, 6, 9), (31, 27, 9))
STROKE_IJK = [(i, 15, 9) for i in range(10, 30)]
OUTLINE = [(8, 10, 9), (21, 8, 9), (26, 17, 9), (19, 24, 9), (11, 21, 9)]


def volume(spacing: tuple[float, float, float] = (1.5, 2.0, 3.1)) -> Volume:
    values = np.random.default_rng(1).integers(0, 100, (22, 34, 41)).astype(np.int16)
    return Volume.from_array(values, spacing, rotation(5, 12), (-30.0, 20.0, 100.0))


def maps(*prompts, spacing=1.0, where=None):
    where = where or volume()
    cube = Cube.at(where, (20, 16, 10), spacing=spacing, size=128)
    return cube, drawn_maps(prompts, KINDS, cube, where, 64)


def voxels_of(cube: Cube, where: Volume) -> np.ndarray:
    """The voxel (i, j, k), fractional, of each cell's middle: (64, 64, 64, 3)."""
    cells = np.stack(np.meshgrid(*[np.arange(64)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return cube.from_voxel(where).inverse(2 * cells + 0.5).reshape(64, 64, 64, 3)


@pytest.mark.parametrize("spacing", [0.6, 1.0, 3.0])
def test_a_box_is_in_and_what_lies_round_it_out(spacing: float) -> None:
    cube, found = maps(EVERY, spacing=spacing)
    at = voxels_of(cube, volume())
    inside = ((at > np.add(EVERY.first, 0.6)) & (at < np.subtract(EVERY.last, 0.6))).all(-1)
    outside = ((at < np.subtract(EVERY.first, 2.5)) | (at > np.add(EVERY.last, 2.5))).any(-1)
    assert inside.any()
    assert outside.any()
    assert (found[BOX][inside] > 0).all()
    assert (found[BOX][outside] == -1).all()
    assert not found[[LASSO, STROKE, TAKEN, CROSSED]].any()


def test_a_box_on_a_slice_says_nothing_beside_it() -> None:
    cube, found = maps(FLAT)
    off = abs(voxels_of(cube, volume())[..., 2] - 9)
    assert (found[BOX][off > 0.6] == 0).all()
    assert (found[BOX][off < 0.4] != 0).mean() > 0.95


def test_a_stroke_passes_through_its_voxels_whatever_their_size() -> None:
    for spacing in (0.5, 3.0):
        cube, found = maps(Scribble(STROKE_IJK), spacing=spacing)
        drawn = voxels_of(cube, volume())[found[STROKE] > 0]
        distance = abs(drawn[:, None] - np.array(STROKE_IJK)[None]).max(-1)
        reach = 0.5 + 1.01 * spacing / 1.5  # a voxel, or the cell that holds it
        assert (distance.min(1) <= reach).all()
        cells = np.floor(cube.from_voxel(volume())(np.array(STROKE_IJK, float)) / 2 + 0.25).astype(int)
        assert (found[STROKE][tuple(cells.T)] == 1).all()


def test_a_lasso_rules_out_the_rest_of_its_slice_only_where_it_comes_first() -> None:
    _, first = maps(Lasso(OUTLINE))
    _, later = maps(Point((15, 15, 9)), Lasso(OUTLINE))
    assert set(np.unique(first[LASSO])) == {-1, 0, 1}
    assert np.array_equal(later[LASSO], np.maximum(first[LASSO], 0))


def test_negative_prompts_have_maps_of_their_own() -> None:
    _, found = maps(Box((20, 10, 8), (25, 20, 12), False), Scribble(STROKE_IJK, False))
    assert found[TAKEN].max() == 1
    assert found[CROSSED].max() == 1
    assert not found[[BOX, LASSO, STROKE]].any()


def test_a_later_click_beyond_a_box_takes_back_what_it_ruled_out() -> None:
    _, before = maps(EVERY, Point((20, 16, 10)))
    _, after = maps(EVERY, Point((38, 16, 10)))
    assert before[BOX].min() == -1
    assert after[BOX].min() == 0
    assert (after[BOX] > 0).any()


def test_other_kinds_and_cubes_far_away_have_no_maps() -> None:
    cube, nothing = maps(Point((20, 16, 10)))
    assert nothing is None
    assert drawn_maps([EVERY], ("point",), cube, volume(), 64) is None
    far = Cube(affine=np.block([[np.eye(3), np.full((3, 1), 900.0)], [np.zeros((1, 3)), np.ones((1, 1))]]))
    assert drawn_maps([Scribble(STROKE_IJK)], KINDS, far, volume(), 64) is None


def test_what_is_drawn_reaches_a_network_that_knows_it_and_no_other() -> None:
    class Listening(BallNetwork):
        """Remembers what it was shown."""

        def decode(self, embedding, points, labels, previous=None, drawn=None):  # type: ignore[no-untyped-def]
            self.shown = points[labels >= 0], drawn
            return super().decode(embedding, points[labels >= 0], labels[labels >= 0], previous)

    class Native(Listening):
        """Was trained on boxes."""

        spec = replace(Listening.spec, native=("point", "box"))

    network = Native()
    session = Session(volume(), model_of(network))
    assert session.model.prompts == {
        "point": "native", "box": "native", "scribble": "translated", "lasso": "translated", "mask": "translated",
    }  # fmt: skip
    session.add(EVERY)
    points, drawn = network.shown
    assert len(points) == 1, "a place in it is tried with it"
    assert drawn.shape == (1, MAPS, 64, 64, 64)
    assert torch.equal(drawn[0, BOX] > 0, drawn[0].amax(0) > 0)
    session.click((20, 16, 10))
    points, again = network.shown
    assert len(points) == 1, "what was tried is no click any more"
    assert again is not None, "it is told of the box still"
    session.reset()
    session.add(Scribble(STROKE_IJK))
    assert network.shown[1] is None
    other = Listening()
    plain = Session(volume(), model_of(other))
    plain.add(EVERY)
    assert other.shown[1] is None
    assert len(other.shown[0]) == 1
