"""The simulated clicks and the scores, against answers worked out by hand."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from sammed3d_nb.errors import ClickError, UserError
from sammed3d_nb.imaging.region import dice
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.measure.baseline import RegionGrowing
from sammed3d_nb.measure.distances import surface_dice
from sammed3d_nb.measure.evaluate import User, group_of, run, simulate
from sammed3d_nb.measure.labelled import LabelledCase, cases_in
from sammed3d_nb.measure.simulation import FIRST_PROMPTS, anywhere_inside, deepest, first_prompt, next_click
from sammed3d_nb.measure.tables import Measurement, area_under_curve, later_clicks, summarise


def ball(shape, centre, radius, spacing=(1, 1, 1)):
    grid = np.indices(shape).astype(float)
    return sum(((grid[a] - centre[a]) * spacing[a]) ** 2 for a in range(3)) <= radius**2


@pytest.fixture
def case(tmp_path):
    """Two balls of different brightness in a noisy volume of 2 × 1 × 1 mm voxels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 40, 40), dtype=np.uint8)
    labels[ball(labels.shape, (10, 12, 12), 8, (2, 1, 1))] = 1
    labels[ball(labels.shape, (10, 28, 28), 7, (2, 1, 1))] = 2
    image = np.array([0.0, 100, 200])[labels] + rng.normal(0, 3, labels.shape)
    folder = tmp_path / "balls"
    folder.mkdir()
    for name, array in (("image", image.astype(np.float32)), ("label", labels)):
        written = sitk.GetImageFromArray(array)
        written.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(written, str(folder / f"{name}.nii.gz"))
    (folder / "info.json").write_text(json.dumps({"labels": {"1": {"name": "liver"}, "2": {"name": "rib_left_1"}}}))
    return folder


def test_dice_and_surface_dice_of_boxes():
    a, b = np.zeros((2, 10, 20, 20), dtype=bool)
    a[2:8, 5:15, 5:15] = True
    b[2:8, 5:15, 6:16] = True  # one voxel aside
    assert dice(a, b) == pytest.approx(0.9)
    assert surface_dice(a, b, (1, 1, 1), 1.0) == 1.0
    assert surface_dice(a, b, (1, 1, 1), 0.5) < 0.95
    assert surface_dice(a, b, (1, 1, 5), 2.0) < 0.95  # five mm aside now
    assert dice(a & False, b & False) == 1.0
    assert surface_dice(a, a & False, (1, 1, 1)) == 0.0


def test_the_deepest_voxel_is_deepest_in_mm():
    mask = np.zeros((9, 30, 30), dtype=bool)
    mask[:, 2:9, 2:9] = True  # a bar of 9 × 7 × 7 voxels
    rng = np.random.default_rng(0)
    assert deepest(mask, (5, 1, 1), rng) in {(5, 5, k) for k in range(9)}
    assert deepest(mask, (0.5, 1, 1), rng)[2] == 4  # thin slices: the volume's own end counts as border


def test_sloppy_clicks_stay_near_and_inside():
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[5:14, 5:14, 5:14] = True
    mask[12:, 12:, 12:] = False
    rng = np.random.default_rng(0)
    found = np.array([deepest(mask, (1, 1, 1), rng, sloppy=3) for _ in range(60)])
    assert all(mask[k, j, i] for i, j, k in found)
    assert np.abs(found - 9).max() == 3
    assert len(np.unique(found, axis=0)) > 40


def test_the_next_click_goes_to_the_largest_error_with_the_right_sign():
    truth, mask = np.zeros((2, 20, 20, 20), dtype=bool)
    truth[5:15, 5:15, 5:15] = True
    mask[5:15, 5:15, 5:11] = True  # misses x ≥ 11
    mask[0:3, 0:3, 0:3] = True  # and holds a small corner
    rng = np.random.default_rng(0)
    (i, j, k), positive = next_click(truth, mask, (1, 1, 1), rng)
    assert positive
    assert truth[k, j, i]
    assert not mask[k, j, i]
    assert i in (12, 13)
    mask[:, :, 16:] = True
    (i, j, k), positive = next_click(truth, mask, (1, 1, 1), rng)
    assert not positive
    assert not truth[k, j, i]
    assert next_click(truth, truth, (1, 1, 1), rng) is None


def test_the_protocol_clicks_reports_and_stops_when_all_is_right(case):
    labelled = LabelledCase.read(case)

    class Perfect:
        """Wrong at the first click, right at the second."""

        def reset(self):
            self.count = 0

        def add(self, prompt):
            self.count += 1
            mask = labelled.labels == 1
            if self.count == 1:
                mask = mask & (np.indices(mask.shape)[2] < 14)
            return SimpleNamespace(mask=mask.astype(np.uint8), distance_mm=0.0)

    first, second, *rest = simulate(Perfect(), labelled, 1, User(clicks=5))
    assert (first.i, first.j, first.k) == (12, 12, 10)
    assert first.dice < 1
    assert first.obeyed
    assert second.positive
    assert second.i >= 14
    assert second.dice == 1
    assert [one.click for one in rest] == [3, 4, 5]
    assert all(one.dice == 1 for one in rest)
    table = summarise([first, second, *rest], "group")
    assert table["all"]["dice5"] == 1
    assert table["organ"]["auc"] == pytest.approx((first.dice + 1) / 2 + 3)


def test_the_baseline_finds_bright_balls_and_the_command_reports_them(case, tmp_path):
    lines = list(run([case.parent], load=None, csv=tmp_path / "out.csv", user=User(clicks=3)))
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["structure"] for row in rows} == {"liver", "rib_left_1"}
    assert len(rows) == 6
    assert min(float(row["dice"]) for row in rows if row["click"] == "3") > 0.85
    assert any(line.startswith("bone") for line in lines)
    assert any(line.startswith("all") and " 2 " in line for line in lines)


def test_what_later_clicks_cost_is_told():
    blank = Measurement("ct", "", "organ", 1.0, 1, True, 0, 0, 0, 0.0, 0.0, True, 0.0, 0.0)
    curves = {
        "liver": (0.5, 0.6, 0.9, 0.8, 0.8),
        "spleen": (0.5, 0.6, 0.7, 0.8, 0.9),
        "aorta": (0.1, 0.1, 0.4, 0.4, 0.39),
    }
    found = [
        replace(blank, structure=name, click=click, dice=dice)
        for name, scores in curves.items()
        for click, dice in enumerate(scores, start=1)
    ]
    assert later_clicks(found) == (
        "From click 3 to 5 Dice changes by +0.030 on average; 1 of 3 structures lose more than 0.02: liver (ct)."
    )
    assert later_clicks(found[:3]) == ""


def test_the_same_seed_gives_the_same_clicks(case):
    labelled = LabelledCase.read(case)

    def clicks(seed, sloppy=0):
        grown = RegionGrowing(labelled.volume)
        made = simulate(grown, labelled, 1, User(clicks=3, seed=seed, sloppy=sloppy))
        return [(one.i, one.j, one.k, one.dice) for one in made]

    assert clicks(3) == clicks(3)
    assert clicks(3, sloppy=2) == clicks(3, sloppy=2) != clicks(3)


def test_a_negative_click_takes_its_part_from_the_baselines_region():
    array = np.full((12, 30, 30), 10.0, dtype=np.float32)
    array[4:8, 5:25, 5:25] = 100
    array += np.random.default_rng(0).normal(0, 2, array.shape).astype(np.float32)
    grown = RegionGrowing(Volume.from_array(array, (1, 1, 1), np.eye(3), (0, 0, 0)))
    with pytest.raises(ClickError, match="negative click"):
        grown.click((8, 8, 6), positive=False)
    before = grown.click((8, 8, 6)).mask
    after = grown.click((21, 21, 6), positive=False)
    assert before[6, 21, 21] == 1
    assert after.mask[6, 21, 21] == 0
    assert after.mask[6, 8, 8] == 1
    assert 0 < after.mask.sum() < before.sum()
    with pytest.raises(ClickError, match="outside the volume"):
        grown.click((99, 0, 0))


def test_folders_of_the_same_name_and_labels_of_the_same_name_stay_apart(case, tmp_path):
    (case / "info.json").write_text(json.dumps({"labels": {"1": {"name": "lesion"}, "2": {"name": "lesion"}}}))
    other = shutil.copytree(case, tmp_path / "other" / "balls")
    lines = list(run([case, other], load=None, user=User(clicks=1), csv=tmp_path / "out.csv"))
    table = {line.split()[0]: line.split()[1] for line in lines[lines.index("") :] if line}
    assert table.items() >= {f"{tmp_path.name}/balls": "2", "other/balls": "2", "lesion": "4", "all": "4"}.items()
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        named = [(row["case"], row["structure"]) for row in csv.DictReader(file)]
    assert len(set(named)) == 4
    assert named[0] == (f"{tmp_path.name}/balls", "lesion (1)")


def test_a_case_is_named_by_as_much_of_its_path_as_is_needed_and_taken_once(tmp_path):
    for place in ("a/x/ct", "b/x/ct", "b/y"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "image.nii.gz").touch()
    found = cases_in([tmp_path / "a" / "x", tmp_path / "b" / "x" / "ct", tmp_path / "b", tmp_path / "b" / "y"])
    assert found == {
        "a/x/ct": tmp_path / "a/x/ct",
        "b/x/ct": tmp_path / "b/x/ct",
        "y": tmp_path / "b/y",
    }


def test_labels_without_a_name_are_called_by_their_number(case):
    read = LabelledCase.read(case)
    named = {2: "label 7", 1: "liver"}
    labelled = LabelledCase("x", read.volume, np.where(read.labels == 0, 7, read.labels), named)
    assert labelled.unique_names == {1: "liver", 2: "label 7 (2)", 7: "label 7 (7)"}
    tangled = LabelledCase("x", read.volume, read.labels, {1: "liver", 2: "liver", 5: "liver (2)"})
    assert len(set(tangled.unique_names.values())) == 3


def test_a_label_map_on_another_grid_or_below_zero_is_refused(case):
    label = sitk.ReadImage(str(case / "label.nii.gz"))
    label.SetSpacing((1.0, 1.0, 2.5))
    sitk.WriteImage(label, str(case / "label.nii.gz"))
    with pytest.raises(UserError, match=r"lie up to 9\.5 mm apart; both must lie on one grid\."):
        LabelledCase.read(case)
    label.SetSpacing((1.0, 1.0, 2.0))
    sitk.WriteImage(sitk.Cast(label, sitk.sitkInt16) - 1, str(case / "label.nii.gz"))
    with pytest.raises(UserError, match="holds the label -1; labels are whole numbers from 0"):
        LabelledCase.read(case)


def test_what_is_no_case_is_refused_in_one_sentence(case, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no labelled case"):
        list(run([tmp_path / "empty"], load=None))
    for text in ("[]", "{", '{"labels": {"1": "liver"}}', '{"labels": {"one": {"name": "liver"}}}'):
        (case / "info.json").write_text(text)
        with pytest.raises(UserError, match=r"info\.json does not name labels; expected .* mend or remove it\."):
            LabelledCase.read(case)


@pytest.mark.parametrize(
    ("name", "group"),
    [("vertebrae_L5", "bone"), ("aorta", "vessel"), ("gluteus_medius_left", "muscle"), ("liver", "organ"),
     ("urinary_bladder", "hollow"), ("tumour", "lesion")],
)  # fmt: skip
def test_groups(name, group):
    assert group_of(name) == group


def test_the_area_under_five_perfect_clicks_is_four():
    assert area_under_curve([1, 1, 1, 1, 1]) == 4.0


@pytest.mark.parametrize("kind", FIRST_PROMPTS)
def test_first_prompts_show_the_structure(case, kind):
    labelled = LabelledCase.read(case)
    truth = labelled.labels == 1
    prompt = first_prompt(kind, truth, labelled.volume.spacing[::-1], np.random.default_rng(0))
    prompt.check(labelled.volume)
    found = np.argwhere(truth)
    low, high = found.min(axis=0)[::-1], found.max(axis=0)[::-1]
    if kind in ("point", "scribble"):
        voxels = np.atleast_2d(prompt.ijk if kind == "point" else prompt.voxels)
        assert all(truth[tuple(voxel[::-1])] for voxel in voxels)
        assert kind == "point" or len(voxels) > 5
    elif kind == "box":
        assert (prompt.first, prompt.last) == (tuple(low), tuple(high))
    else:
        k = prompt.region.start[2]
        assert truth[k].sum() == truth.sum(axis=(1, 2)).max()
        inside = prompt.inside if kind == "lasso" else None
        if inside is not None:
            drawn = np.zeros_like(truth)
            drawn[tuple(inside[:, ::-1].T)] = True
            assert dice(drawn[k], truth[k]) > 0.9


def test_places_anywhere_inside_are_well_inside(case):
    labelled = LabelledCase.read(case)
    truth = labelled.labels == 1
    spacing = labelled.volume.spacing[::-1]
    places = anywhere_inside(truth, spacing, np.random.default_rng(0), 30)
    assert len(set(places)) > 10
    depth = distance_transform_edt(truth, sampling=spacing)
    assert all(depth[k, j, i] >= depth.max() / 2 - 1e-6 for i, j, k in places)


def test_the_command_clicks_anywhere_and_refuses_boxes_for_region_growing(case, tmp_path):
    lines = list(run([case], load=None, places=4))
    assert sum("liver" in line for line in lines) == 1
    assert lines[-1].startswith("all 2 structures")
    with pytest.raises(UserError, match="takes clicks alone, no box"):
        list(run([case], load=None, user=User(first="box")))
