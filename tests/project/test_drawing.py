"""The boxes, lassos and strokes that training simulates are those that people draw and sessions show."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from sammed3d_nb import Volume
from sammed3d_nb.network.drawn import BOX, CROSSED, LASSO, MAPS, STROKE, TAKEN
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.drawn import drawn_maps
from sammed3d_nb.segmenters.prompts import Box
from training import drawing
from training.clicks import cells_of, next_click

N = 64
MANY = 48


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(2)


@pytest.fixture
def truth() -> torch.Tensor:
    masks = torch.zeros(MANY, N, N, N, dtype=torch.bool)
    masks[:, 10:40, 16:48, 20:44] = True
    return masks


def shown(maps: torch.Tensor) -> list[int]:
    return [int(one.abs().flatten(1).sum(1).argmax()) for one in maps]


def test_first_prompts_are_of_every_kind_and_name_places_in_the_object(truth):
    point, label = next_click(truth, None, torch.ones_like(truth))
    maps, points, labels = drawing.first_prompts(cells_of(truth)[:, 0].float(), point, label)
    assert maps.shape == (MANY, MAPS, N // 2, N // 2, N // 2)
    assert set(shown(maps)) == {BOX, LASSO, STROKE}
    for mask, places, kinds, channel in zip(truth, points.long(), labels, shown(maps), strict=True):
        assert (kinds != 0).all()
        assert all(mask[tuple(place)] for place, kind in zip(places, kinds, strict=True) if kind == 1)
        assert (kinds == 1).sum() in ((0, 1) if channel == BOX else (3,))
    boxes = labels[[number for number, channel in enumerate(shown(maps)) if channel == BOX]]
    assert (boxes[:, 0] == 1).any()
    assert (boxes[:, 0] == -1).any(), "some are shown by a box alone"


def test_a_box_holds_nearly_all_of_its_object_and_little_more(truth):
    shares = cells_of(truth)[:, 0].float()
    inside = drawing.boxes(shares) > 0
    held = (inside & (shares > 0.5)).flatten(1).sum(1) / (shares > 0.5).flatten(1).sum(1)
    larger = inside.flatten(1).sum(1) / shares.flatten(1).sum(1)
    assert held.mean() > 0.95
    assert held.min() > 0.75
    assert 1.0 < larger.mean() < 1.6


def test_a_careful_box_is_the_one_that_the_session_shows(truth, monkeypatch):
    monkeypatch.setattr(drawing, "loose", lambda low, high: (low, high))
    theirs = drawing.boxes(cells_of(truth[:1])[:, 0].float())[0]
    volume = Volume.from_array(np.zeros((N, N, N), np.int16), (1.0, 1.0, 1.0), np.diag([-1.0, -1.0, 1.0]))
    cube = Cube.at(volume, (32, 32, 32), spacing=1.0, size=N)
    corners = cube.from_voxel(volume).inverse(np.array([[10.0, 16, 20], [39, 47, 43]])).round().astype(int)
    found = drawn_maps([Box(tuple(corners[0]), tuple(corners[1]))], ("box",), cube, volume, N // 2)
    np.testing.assert_array_equal(found[BOX] > 0, (theirs > 0).numpy())


def test_a_stroke_stays_in_its_object_and_passes_through_the_click(truth):
    plane = cells_of(truth)[:, 0, 12].float()
    place = torch.tensor([[15, 16]]).expand(MANY, -1)
    line, ends = drawing.stroke(plane, place)
    assert (line[:, 15, 16] == 1).all()
    assert not (line.bool() & (plane < 0.2)).any()
    assert line.flatten(1).sum(1).mean() > 5
    for one, two in zip(line, ends, strict=True):
        assert all(one[tuple(at)] == 1 for at in two)


def test_an_outline_follows_one_part_of_a_slice(truth):
    plane = cells_of(truth)[:, 0, 12].float()
    plane[:, 28:31, 2:6] = 1  # another part
    part = drawing.component(plane, torch.tensor([[15, 16]]).expand(MANY, -1))
    assert not part[:, 28:].any()
    ring = drawing.outlined(part)
    both = (ring * part).flatten(1).sum(1)
    assert (2 * both / (ring.flatten(1).sum(1) + part.flatten(1).sum(1)) > 0.8).all()


def test_later_prompts_add_where_something_is_missed_and_take_where_it_is_too_much(truth):
    shares = cells_of(truth)[:, 0].float()
    point, _ = next_click(truth, None, torch.ones_like(truth))
    label = torch.arange(MANY) % 2
    maps = drawing.later_prompts(shares, point, label)
    drawn = maps.flatten(2).any(2)
    assert not drawn[:, BOX].any()
    assert not drawn[label == 0][:, [STROKE, LASSO]].any()
    assert not drawn[label == 1][:, [TAKEN, CROSSED]].any()
    assert drawn.any(0)[[STROKE, LASSO, TAKEN, CROSSED]].all()
    assert (~drawn.any(1)).any(), "half of them are clicks still"


def test_what_is_in_stays_in_when_more_is_drawn():
    before, now = torch.tensor([0.0, -1, 1, -1, 0]), torch.tensor([1.0, 1, -1, 0, 0])
    assert drawing.merged(before, now).tolist() == [1, 1, 1, -1, 0]
