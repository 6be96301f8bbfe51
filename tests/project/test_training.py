"""The training recipe runs here too, in small: scenes, cubes, clicks, steps that learn."""

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2]))

from sammed3d_nb.network import click_maps, drawn
from sammed3d_nb.network.compact import Compact, Size
from sammed3d_nb.network.layers import unit
from sammed3d_nb.segmenters import zoom
from training import cases, clicks, lesions, merge, scenes, train, trunk, weights


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(2)


@pytest.mark.parametrize("make", [trunk.body, scenes.medley])
def test_scenes_hold_many_objects_of_known_materials(make):
    scene = make(torch.device("cpu"), 48)
    present = torch.bincount(scene.objects.flatten().long(), minlength=256)[1:255]
    assert (present > 5).sum() >= 4
    assert int(scene.materials.max()) < len(scene.classes)


def test_a_cube_holds_its_objects_and_nothing_outside_the_volume():
    cut = None
    while cut is None:
        cut = cases.cut(cases.synthesise("medley", torch.device("cpu")), 3, torch.device("cpu"), n=48)
    assert cut.cube.shape == (1, 48, 48, 48)
    assert cut.cube.isfinite().all()
    assert cut.masks.shape == (3, 48, 48, 48)
    assert not (cut.masks & ~cut.valid).any()


def test_a_pasted_lesion_is_where_the_image_changed():
    image, valid = 100 * torch.randn(48, 48, 48), torch.zeros(48, 48, 48, dtype=torch.bool)
    valid[:, :, :32] = True
    found = None
    while found is None:
        found = lesions.paste(image, valid)
    changed = (found[0] - image).abs()
    assert 60 <= found[1].sum() < valid.sum()
    assert not (found[1] & ~valid).any()
    assert changed[found[1]].mean() > 10 * changed[valid & ~found[1]].mean()


def test_simulated_clicks_lie_in_the_largest_error():
    truth = torch.zeros(2, 64, 64, 64, dtype=torch.bool)
    truth[:, 8:40, 8:40, 8:40] = True
    mask = truth.clone()
    mask[0, :, :, 24:] = False  # misses a lot
    mask[1, 44:62, 44:62, 44:62] = True  # holds too much
    valid = torch.ones_like(truth)
    points, labels = clicks.next_click(truth, mask, valid)
    assert labels.tolist() == [1, 0]
    for row, point in enumerate(points.long()):
        assert truth[row][tuple(point)] != mask[row][tuple(point)]
    first, labels = clicks.next_click(truth, None, valid)
    assert labels.tolist() == [1, 1]
    assert (first - 23.5).abs().max() <= 6  # deep inside


def test_clicks_anywhere_lie_well_inside_and_differ():
    truth = torch.zeros(40, 64, 64, 64, dtype=torch.bool)
    truth[:, 10:50, 10:50, 10:50] = True
    points, labels = clicks.next_click(truth, None, torch.ones_like(truth), clicks.Habits(anywhere=1.0))
    assert labels.all()
    assert points.min() >= 12
    assert points.max() <= 47
    assert points.std(0).min() > 5


def test_a_good_mask_is_defended_by_a_click_just_outside():
    truth = torch.zeros(8, 64, 64, 64, dtype=torch.bool)
    truth[:, 20:44, 20:44, 20:44] = True
    mask = truth.clone()
    mask[4:, 20:40] = False  # these are not good yet
    points, labels = clicks.next_click(truth, mask, torch.ones_like(truth), clicks.Habits(beside=1.0))
    assert labels.tolist() == [0] * 4 + [1] * 4
    for point in points[:4].long():
        assert not truth[0][tuple(point)]
        assert (point >= 15).all()
        assert (point < 49).all()


def test_what_a_click_spoils_costs_more_than_what_it_leaves_wrong():
    truth = torch.zeros(1, 32, 32, 32, dtype=torch.bool)
    truth[:, 8:20, 8:20, 8:20] = True
    valid, quality = torch.ones_like(truth), torch.zeros(1, 1)
    point, label = torch.tensor([[[12.0, 12, 12]]]), torch.tensor([[1]])
    half = truth.clone()
    half[:, 8:12] = False
    full, half = (torch.where(mask, 5.0, -5.0)[:, None] for mask in (truth, half))
    left = float(clicks.loss_of(half, quality, truth, valid, point, label, half)[0])
    spoilt = float(clicks.loss_of(half, quality, truth, valid, point, label, full)[0])
    assert spoilt > left + 0.02


def test_polished_masks_are_nearly_right():
    truth = torch.zeros(6, 32, 32, 32, dtype=torch.bool)
    truth[:, 8:24, 8:24, 8:24] = True
    logits = torch.zeros(6, 1, 32, 32, 32)
    assert torch.equal(clicks.polish(logits, truth, 0.0), logits)
    polished = clicks.polish(logits, truth, 1.0)[:, 0] > 0
    both = (polished & truth).flatten(1).sum(1)
    assert (2 * both / (polished.flatten(1).sum(1) + truth.flatten(1).sum(1)) > 0.7).all()


def test_supervoxels_are_regions_whose_borders_one_can_see():
    values = np.zeros((24, 24, 24), np.float32)
    values[:12], values[12:, :12], values[12:, 12:] = 0.2, 0.5, 0.8
    values += 0.02 * np.random.default_rng(1).standard_normal(values.shape, np.float32)
    many, three = merge.supervoxels(sitk.GetImageFromArray(values), (9, 3))
    assert (many.max(), three.max()) == (9, 3)
    for region in (three[:12], three[12:, :12], three[12:, 12:]):
        assert np.bincount(region.ravel()).max() > 0.97 * region.size
    assert all(len(np.unique(three[many == piece])) == 1 for piece in range(1, 10)), "coarse ones hold whole fine ones"


def test_even_regions_are_whole_lungs_and_the_air():
    scene = trunk.body(torch.device("cpu"), 64)
    wholes = cases.wholes(scene)
    classes = torch.tensor(scene.classes)[scene.materials.long()]
    for label in wholes.unique()[1:].tolist():
        inside = classes[wholes == label]
        assert torch.bincount(inside).max() > 0.5 * len(inside)


def test_the_loss_prefers_the_right_mask_and_ignores_what_lies_outside():
    truth = torch.zeros(1, 32, 32, 32, dtype=torch.bool)
    truth[:, 8:20, 8:20, 8:20] = True
    valid = torch.ones_like(truth)
    valid[:, 24:] = False
    right = torch.where(truth, 5.0, -5.0)[:, None]
    leak = right.clone()
    leak[:, :, 26:] = 5.0  # outside the volume
    wrong = -right
    point, label, quality = torch.tensor([[[12.0, 12, 12]]]), torch.tensor([[1]]), torch.zeros(1, 1)
    values = [float(clicks.loss_of(x, quality, truth, valid, point, label)[0]) for x in (right, leak, wrong)]
    assert values[0] == pytest.approx(values[1])
    assert values[2] > values[0] + 0.5


def test_a_step_without_a_usable_gradient_is_counted_and_changes_nothing():
    args = argparse.Namespace(tiny=True, resume=None, lr=2e-3, compile=False, ema=0.5)
    trainer = train.Trainer(args, torch.device("cpu"), 1)
    flat = torch.ones(sum(w.numel() for w in trainer.master))
    trainer.update(flat.clone(), 1e-3)
    assert trainer.skipped == 0
    before = [w.clone() for w in trainer.master]
    trainer.update(torch.full_like(flat, torch.nan), 1e-3)
    trainer.update(torch.zeros_like(flat), 1e-3)
    assert trainer.skipped == 2
    assert all(map(torch.equal, before, trainer.master)), "no weight decay either"


def test_small_volumes_are_cut_as_the_session_sees_them():
    assert cases.CROP == zoom.CROP


def test_training_steps_lower_the_loss_and_the_file_resumes(tmp_path):
    args = argparse.Namespace(tiny=True, resume=None, lr=2e-3, compile=False, ema=0.5)
    trainer = train.Trainer(args, torch.device("cpu"), 1)
    axis = torch.arange(64)
    square = (axis[:, None, None] - 30) ** 2 + (axis[None, :, None] - 34) ** 2 + (axis[None, None] - 28) ** 2
    truth = square[None] < 18**2
    image = truth[:, None].float() - 0.5 + 0.05 * torch.randn(1, 1, 64, 64, 64)
    batch = {"cubes": image, "masks": truth, "valid": torch.ones_like(truth)}
    losses = [float(trainer.step(batch, 2e-3)["loss1"]) for _ in range(18)]
    assert np.median(losses[-7:]) < 0.9 * losses[0]  # now and then the first click is a sloppy one
    assert trainer.skipped == 0
    path = tmp_path / "compact.safetensors"
    weights.save(path, trainer.state(), steps="12")
    again = train.Trainer(argparse.Namespace(**vars(args) | {"resume": path}), torch.device("cpu"), 1)
    for one, other in zip(trainer.average, again.master, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)


def test_a_zoomed_mask_is_coarser_for_every_object_and_never_forgotten():
    logits = torch.randn(40, 1, 16, 16, 16)
    logits[:, :, 1] = logits[:, :, 0] + 1  # no two neighbours are equal
    zoomed = train.disturb(logits, zoomed=True)
    assert bool((zoomed != logits).flatten(1).any(1).all())
    assert bool((zoomed != 0).flatten(1).any(1).all())
    assert bool((train.disturb(logits) == logits).flatten(1).all(1).any())


def test_an_earlier_network_that_knew_nothing_drawn_answers_clicks_as_before():
    args = argparse.Namespace(tiny=True, resume=None, lr=2e-3, compile=False, ema=0.5)
    later = train.Trainer(args, torch.device("cpu"), 1).network
    earlier = Compact(replace(later.size, drawn=0)).eval()
    weights.grown(later, earlier.state_dict())
    cube, point, label = torch.randn(1, 1, 64, 64, 64), torch.tensor([[30.0, 30, 30]]), torch.tensor([1])
    with torch.no_grad():
        for one, other in zip(*[n.eval().decode(n.encode(cube), point, label) for n in (earlier, later)], strict=True):
            assert torch.equal(one, other)
    assert later.decoder.prior.weight[:, -drawn.MAPS :].any(), "strokes and boxes begin with a guess"


def test_objects_of_a_cube_are_shown_and_corrected_by_all_kinds_of_prompts():
    args = argparse.Namespace(tiny=True, resume=None, lr=2e-3, compile=False, ema=0.5)
    trainer = train.Trainer(args, torch.device("cpu"), 1)
    masks = torch.zeros(4, 64, 64, 64, dtype=torch.bool)
    masks[:, 10:40, 16:48, 20:44] = True
    batch = {"cubes": torch.randn(2, 1, 64, 64, 64), "masks": masks, "valid": torch.ones_like(masks)}
    flat, figures = trainer.gradients(batch, (1, 1, 2), (0, 2))
    assert {"dice1", "drawn1", "dice2"} <= set(figures)
    parts = dict(zip(trainer.names, flat.split([w.numel() for w in trainer.master]), strict=True))
    weight = parts["decoder.prompt.weight"].view(trainer.network.decoder.prompt.weight.shape)
    assert weight[:, -drawn.MAPS :].any(), "the maps of what is drawn learn"


def test_blocks_are_read_from_the_command_line():
    assert Size(refine=train.blocks("3,7,1")).refine == (3, 7, 1)
    with pytest.raises(ValueError, match="expected 3"):
        train.blocks("3,7")


def test_an_earlier_network_resumes_with_blocks_that_change_nothing_yet(tmp_path):
    args = argparse.Namespace(tiny=True, resume=None, lr=2e-3, compile=False, ema=0.5)
    state = train.Trainer(args, torch.device("cpu"), 1).state()
    earlier = {name: weight for name, weight in state.items() if ".refine." not in name}
    weights.save(tmp_path / "earlier.safetensors", earlier)
    args.resume = tmp_path / "earlier.safetensors"
    network = train.Trainer(args, torch.device("cpu"), 1).network
    cube = torch.randn(1, 1, 64, 64, 64)
    plain = Compact.from_state(load_file(args.resume))
    with torch.no_grad():
        for one, other in zip(network.encoder(cube), plain.encoder(cube), strict=True):
            torch.testing.assert_close(one, other)
    weights.save(args.resume, {name: weight for name, weight in earlier.items() if "decoder" not in name})
    with pytest.raises(ValueError, match="holds another network"):
        train.Trainer(args, torch.device("cpu"), 1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here, which torch.compile needs")
@pytest.mark.filterwarnings("ignore")
def test_compiled_click_maps_have_the_gradients_of_plain_ones():
    image = torch.rand(1, 8, 8, 8, 8).bfloat16()
    features = click_maps.Features(image, image, image, image, image)
    keys = [unit(torch.randn(1, n, n, n, 16), 4).bfloat16().requires_grad_() for n in (8, 2)]
    points, labels = torch.rand(2, 3, 3) * 15, torch.tensor([[1, 1, -1], [1, 0, -1]])  # the first has no negative click

    def gradients(describe):
        prompt, likeness, _ = describe(features, tuple(keys), points, labels, image.repeat(2, 1, 1, 1, 1))
        return torch.autograd.grad(prompt.float().square().sum() + likeness.float().square().sum(), keys)

    plain = gradients(click_maps.describe_clicks)
    for one, other in zip(plain, gradients(torch.compile(click_maps.describe_clicks, dynamic=False)), strict=True):
        assert one.any()
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)
