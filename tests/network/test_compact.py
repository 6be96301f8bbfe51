"""The compact network: shapes, clicks obeyed, batches, size read from the weights, cost, normalisation."""

from dataclasses import replace

import pytest
import torch

from sammed3d_nb.network.click_maps import hold_clicks, largest
from sammed3d_nb.network.compact import Compact, Size, size_of
from sammed3d_nb.network.drawn import MAPS, STROKE
from sammed3d_nb.network.normalise import normalise

SMALL = Size(widths=(8, 16, 24, 32), blocks=(1, 1, 1, 1), decoder_blocks=1, refine=(1, 2, 1), heads=4, cube=64)


@pytest.fixture(scope="module")
def network() -> Compact:
    torch.manual_seed(0)
    return Compact(SMALL).eval()


def decode(network: Compact, cube: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, previous=None):
    with torch.inference_mode():
        return network.decode(network.encode(cube), points, labels, previous)


def test_an_embedding_outlives_a_change_of_precision():
    """Where memory is short the model goes on in bfloat16, with what was encoded before."""
    network = Compact(SMALL).eval()
    with torch.no_grad():
        embedding = network.encode(torch.randn(1, 1, 64, 64, 64))
        network.to(torch.bfloat16)
        logits, _ = network.decode(embedding, torch.tensor([[10.0, 20, 30]]), torch.tensor([1]))
        assert logits.isfinite().all()
        back, _ = network.to(torch.float32).decode(embedding, torch.tensor([[10.0, 20, 30]]), torch.tensor([1]))
        assert back.isfinite().all()


def test_logits_come_at_the_cubes_own_resolution(network):
    logits, quality = decode(network, torch.randn(1, 1, 64, 64, 64), torch.tensor([[10.0, 20, 30]]), torch.tensor([1]))
    assert logits.shape == (1, 1, 64, 64, 64)
    assert quality.shape == (1, 1)
    assert 0 <= float(quality) <= 1


def test_an_untrained_network_already_answers_round_the_click_and_not_elsewhere(network):
    """Axes are not exchanged: the mask's centre of mass is at the click, in dims d0, d1, d2."""
    point = torch.tensor([[14.0, 30, 50]])
    logits, _ = decode(network, torch.zeros(1, 1, 64, 64, 64), point, torch.tensor([1]))
    inside = (logits[0, 0] > 0).nonzero().float()
    assert len(inside) > 100
    assert inside.mean(0).tolist() == pytest.approx(point[0].tolist(), abs=3)


@pytest.mark.parametrize("value", [-9.0, 9.0])
def test_clicks_are_obeyed_between_cells_too_and_the_later_click_rules(value):
    logits = torch.full((1, 1, 32, 32, 32), value)
    points = torch.tensor([[[5.4, 6.5, 7.3], [20.0, 20.0, 20.0], [31.0, 0.0, 31.0], [20.5, 20.5, 20.5]]])
    labels = torch.tensor([[1, 1, 0, 0]])
    held = hold_clicks(logits, points, labels)
    where = (points[:, :, None, None].flip(-1) + 0.5) / 32 * 2 - 1
    found = torch.nn.functional.grid_sample(held, where, align_corners=False, padding_mode="border")[0, 0, :, 0, 0]
    assert found[0] > 0
    assert found[2] < 0
    assert found[3] < 0
    assert (held == value).float().mean() > 0.99


def test_many_cubes_and_objects_at_once_give_what_each_gives_alone(network):
    cubes = torch.randn(2, 1, 64, 64, 64)
    points = torch.rand(4, 3, 3) * 63
    labels = torch.tensor([[1, 0, -1], [1, 1, 0], [1, -1, -1], [1, 0, 0]])
    with torch.inference_mode():
        together, _ = network.answer(network.encoder(cubes), points, labels, None)
        for row in range(4):
            given = labels[row] >= 0
            alone, _ = network.answer(
                network.encoder(cubes[row // 2, None]), points[row, None, given], labels[row, None, given], None
            )
            torch.testing.assert_close(together[row], alone[0], atol=2e-3, rtol=1e-3)


def test_what_clicks_are_compared_with_is_kept_for_the_cube_in_use_alone(network):
    points, labels = torch.tensor([[32.0, 32, 32], [40.0, 30, 20]]), torch.tensor([1, 0])
    with torch.no_grad():
        first, other = (network.encode(torch.randn(1, 1, 64, 64, 64)) for _ in range(2))
        fresh, _ = network.decode(first, points, labels)
        again, _ = network.decode(first, points, labels)
        elsewhere, _ = network.decode(other, points, labels)
        back, _ = network.decode(first, points, labels)
    assert torch.equal(fresh, again)
    assert torch.equal(fresh, back)
    assert not torch.equal(fresh, elsewhere)
    del first
    assert network._keys is None  # no cube outlives its embedding


def test_every_weight_learns_although_memory_is_written_twice():
    network = Compact(SMALL).train()
    points, labels = torch.rand(4, 2, 3) * 63, torch.tensor([[1, 0], [1, 1], [1, -1], [1, 0]])
    features = network.encoder(torch.randn(2, 1, 64, 64, 64))
    logits, quality = network.answer(features, points, labels, torch.randn(4, 1, 64, 64, 64))
    (logits.square().mean() + quality.sum()).backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(grad is not None and grad.any() and grad.isfinite().all() for grad in gradients)


def test_the_previous_mask_and_a_negative_click_change_the_answer(network):
    cube, first = torch.randn(1, 1, 64, 64, 64), torch.tensor([[32.0, 32, 32]])
    logits, _ = decode(network, cube, first, torch.tensor([1]))
    points = torch.tensor([[32.0, 32, 32], [40.0, 32, 32]])
    after, _ = decode(network, cube, points, torch.tensor([1, 0]), logits)
    assert after[0, 0, 40, 32, 32] < 0 < after[0, 0, 32, 32, 32]
    without, _ = decode(network, cube, points, torch.tensor([1, 0]))
    assert not torch.equal(after, without)


def test_the_size_is_read_off_the_weights(network):
    size = size_of(network.state_dict())
    assert (size.widths, size.blocks, size.cube) == (SMALL.widths, SMALL.blocks, SMALL.cube)
    assert (size.decoder_blocks, size.merges, size.groups) == (SMALL.decoder_blocks, SMALL.merges, SMALL.groups)
    assert (size.refine, size.connected) == (SMALL.refine, SMALL.connected)


def test_a_drawn_box_alone_is_an_answer_and_nothing_drawn_changes_nothing(network):
    cube, drawn = torch.randn(1, 1, 64, 64, 64), torch.zeros(1, MAPS, 32, 32, 32)
    point, label, none = torch.tensor([[30.0, 30, 30]]), torch.tensor([1]), torch.tensor([-1])
    with torch.inference_mode():
        embedding = network.encode(cube)
        plain, _ = network.decode(embedding, point, label)
        empty, _ = network.decode(embedding, point, label, None, drawn)
        torch.testing.assert_close(plain, empty, atol=1e-5, rtol=1e-4)
        drawn[:, STROKE, 10:14, 12, 14] = 1
        stroke, _ = network.decode(embedding, point, none, None, drawn)
        nothing, _ = network.decode(embedding, point, none)
    more = (stroke - nothing)[0, 0]
    assert more[20:28, 24:26, 28:30].mean() > 1 > more[:10].abs().mean(), "along it, in dims d0, d1, d2"


def test_files_of_networks_that_know_nothing_drawn_answer_as_ever(network):
    earlier = Compact(replace(SMALL, drawn=0, heads=8)).eval()
    opened = Compact.from_state(earlier.state_dict()).eval()
    assert (opened.size.drawn, opened.size.connected) == (0, SMALL.connected)
    assert opened.spec.native == ("point",)
    assert set(network.spec.native) == {"point", "box", "scribble", "lasso", "mask"}
    cube, point, label = torch.randn(1, 1, 64, 64, 64), torch.tensor([[30.0, 30, 30]]), torch.tensor([1])
    assert torch.equal(decode(earlier, cube, point, label)[0], decode(opened, cube, point, label)[0])


def test_files_without_the_later_blocks_load(network):
    state = {name: weight for name, weight in network.state_dict().items() if ".refine." not in name}
    assert Compact.from_state(state).size.refine == (0, 0, 0)


def test_one_object_and_many_find_the_same_likeness():
    values, chosen = torch.randn(3, 2, 4, 10), torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    together = largest(values, chosen, -1.0)
    assert torch.equal(together, torch.cat([largest(values[i : i + 1], chosen[i : i + 1], -1.0) for i in range(3)]))
    assert (together[1] == -1).all()


def test_normalisation_is_monotone_and_blind_to_units_and_padding():
    torch.manual_seed(1)
    values = torch.cat([torch.randn(20000) * 20 + 40, torch.randn(20000) * 15 - 100, torch.full((5000,), -1000.0)])
    out = normalise("equalised", values)
    order = values.argsort()
    assert (out[order].diff() >= -1e-5).all()
    assert out.abs().max() <= 1.5
    torch.testing.assert_close(normalise("equalised", values * 3 + 5000), out, atol=2e-3, rtol=0)
    padded = normalise("equalised", torch.cat([values, torch.zeros(200000)]))
    assert (padded[: len(values)] - out).abs().max() < 0.05
    assert normalise("equalised", torch.full((10,), 7.0)).eq(0).all()


def test_the_shipped_size_stays_small():
    network = Compact().eval()
    assert network.spec.parameters * 2 < 40e6  # float16 in the file
    with torch.inference_mode():
        features = network.encode(torch.randn(1, 1, 128, 128, 128))
    assert sum(part.numel() * part.element_size() for part in features) < 40e6
