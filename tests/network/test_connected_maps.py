"""What region growing from the clicks reaches, and networks that were never shown it."""

import pytest
import torch

from sammed3d_nb.network import connected
from sammed3d_nb.network.compact import Compact, Size, size_of

SMALL = Size(widths=(8, 16, 24, 32), blocks=(1, 1, 1, 1), decoder_blocks=1, refine=(1, 1, 1), cube=64)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(4)


def test_all_of_an_even_region_is_reached_and_nothing_beyond_its_border():
    image = torch.full((1, 32, 32, 32, 8), 0.1)
    image[:, 4:28, 4:28, 4:28] = 0.6
    image[:, 15:17] = 0.1  # a wall: two rooms of one brightness
    points, labels = torch.tensor([[[18.0, 20, 40], [63, 1, 1]]]), torch.tensor([[1, -1]])
    maps = connected.connected_maps(image, points, labels).view(4, 32, 32, 32)
    room, other = maps[:2, 4:15, 4:28, 4:28], maps[:2, 17:28, 4:28, 4:28]
    assert (room > 0.95).all()
    assert (other < 0.05).all()
    assert (maps[2:] == 0).all(), "there is no negative click"


def test_growing_ends_where_no_way_is_cheaper(monkeypatch):
    monkeypatch.setattr(connected, "ROUNDS", 60)
    cost, reached = torch.rand(1, 2, 10, 10, 10), torch.full((1, 2, 10, 10, 10), 4.0)
    reached[0, 0, 2, 3, 4] = 0
    expected = reached.clone()
    for _ in range(200):
        for axis in (2, 3, 4):
            for step in (1, -1):
                near = expected.roll(step, axis)
                near.select(axis, 0 if step == 1 else -1).fill_(9.0)
                expected = torch.minimum(expected, torch.maximum(near, cost))
    connected.grow(cost, reached)
    torch.testing.assert_close(reached, expected)
    assert (reached[0, 1] == 4).all(), "nothing grows from nothing"


def test_each_object_of_each_cube_grows_from_its_own_clicks():
    image, points = torch.rand(2, 16, 16, 16, 8), torch.rand(4, 3, 3) * 31
    labels = torch.tensor([[1, 0, 1], [1, -1, -1], [0, 0, 1], [1, 1, 1]])
    together = connected.connected_maps(image, points, labels)
    for row in range(4):
        alone = connected.connected_maps(image[row // 2 :][:1], points[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_files_of_networks_that_were_not_shown_it_answer_as_ever():
    earlier = Compact(Size(**vars(SMALL) | {"connected": 0})).eval()
    assert size_of(earlier.state_dict()).connected == 0
    assert size_of(Compact(SMALL).state_dict()).connected == 4
    opened = Compact.from_state(earlier.state_dict()).eval()
    cube, point, label = torch.randn(1, 1, 64, 64, 64), torch.tensor([[30.0, 30, 30]]), torch.tensor([1])
    with torch.inference_mode():
        for one, other in zip(
            earlier.decode(earlier.encode(cube), point, label),
            opened.decode(opened.encode(cube), point, label),
            strict=True,
        ):
            assert torch.equal(one, other)
