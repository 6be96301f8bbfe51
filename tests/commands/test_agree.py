"""How far annotators agree: figures that are known beforehand, from records as the app saves them."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from disks import fill, make_read_only, small_disk
from support import BallNetwork, model_of
from test_cli import refusal, run

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.measure import agreement
from sammed3d_nb.session.session import Session

SHAPE = (12, 20, 24)
SPACING = (1.0, 2.0, 5.0)


def image(folder, name):
    made = sitk.GetImageFromArray(np.random.default_rng(ord(name)).normal(40, 20, SHAPE).astype(np.int16))
    made.SetSpacing(SPACING)
    sitk.WriteImage(made, str(folder / f"{name}.nii.gz"))
    return folder / f"{name}.nii.gz"


def block(first, last):
    mask = np.zeros(SHAPE, bool)
    mask[3:9, 5:15, first:last] = True
    return mask


def drawn(folder, path, who, masks, *, record=None):
    """A record of `who` with these masks, each painted in two strokes."""
    session = Session(Volume.read(path), model_of(BallNetwork()), annotator=who)
    for number, (name, mask) in enumerate(masks.items()):
        if number:
            session.new_object(name)
        else:
            session.rename("object 1", name)
        voxels = np.argwhere(mask)[:, ::-1]
        for part in (voxels[: len(voxels) // 2], voxels[len(voxels) // 2 :]):
            session.paint(part)
    return session.save(folder / (record or f"{path.name.split('.')[0]}-{who}.sammed3d.json"))


@pytest.fixture
def two(tmp_path):
    """Two annotators on two cases: the second draws the liver one voxel further, and forgets a cyst."""
    for name in ("a", "b"):
        path = image(tmp_path, name)
        drawn(tmp_path, path, "Ada", {"liver": block(4, 14), "cyst": block(16, 18)})
        drawn(tmp_path, path, "Ben", {"liver": block(4, 15 if name == "a" else 16)})
    return tmp_path


def test_figures(two, capsys):
    status, out, err = run(capsys, "agree", two, "--csv", two / "all.csv")
    assert (status, err) == (0, "")
    with (two / "all.csv").open(encoding="utf-8") as file:
        rows = {(row["case"], row["name"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4
    liver = rows["a", "liver"]
    voxel = np.prod(SPACING) / 1000
    assert (liver["first"], liver["second"]) == ("Ada", "Ben")
    assert float(liver["dice"]) == pytest.approx(2 * 10 / 21)
    assert float(liver["first_ml"]) == pytest.approx(600 * voxel, abs=1e-3)
    assert float(liver["second_ml"]) == pytest.approx(660 * voxel, abs=1e-3)
    assert float(liver["surface_dice"]) == 1.0  # one voxel of 1 mm, within 2 mm
    assert (liver["first_edits"], liver["second_edits"], liver["first_prompts"]) == ("2", "2", "0")
    cyst = rows["b", "cyst"]
    assert (float(cyst["dice"]), float(cyst["second_ml"]), cyst["second_edits"]) == (0, 0, "")
    first, second = 60 * voxel, 120 * voxel
    mean, spread = (first + second) / 2, 1.96 * np.std([first, second], ddof=1)
    assert (
        f"volumes differ by {mean:+.2f} mL on average, 95 % of them by {mean - spread:+.2f} to {mean + spread:+.2f} mL."
        in out
    )
    effort = [line.split()[:4] for line in out.splitlines() if line.startswith(("Ada  ", "Ben  "))]
    assert effort == [["Ada", "4", "0", "8"], ["Ben", "2", "0", "4"]]


def test_the_figure_shows_each_pair_of_masks(two, capsys):
    assert run(capsys, "agree", two, "--plot", two / "volumes.png")[0] == 0
    assert (two / "volumes.png").stat().st_size > 5000
    works, found = [], []
    for name in ("a", "b"):
        volume = Volume.read(two / f"{name}.nii.gz")
        here = []
        for path in sorted(two.glob(f"{name}-*.json")):
            here += agreement.work_in(path, agreement.record.load(path), volume)
        works += here
        found += agreement.compare(here, volume.spacing)
    (axes,) = agreement.plot(found).axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(line.get_label(), len(line.get_xdata())) for line in points] == [("liver", 2)]
    assert len(axes.lines) == 4  # and bias and limits


def test_three_annotators_are_compared_two_by_two(two, capsys):
    drawn(two, two / "a.nii.gz", "Cy", {"liver": block(4, 14)})
    _, out, _ = run(capsys, "agree", *sorted(two.glob("a-*.json")))
    assert [pair in out for pair in ("Ada, Ben", "Ada, Cy", "Ben, Cy")] == [True] * 3
    assert "Ada, Cy: mean Dice 0.500 (lowest 0.000) of 2 objects." in out


def test_who_it_was_is_the_file_where_the_record_does_not_say(tmp_path, capsys):
    path = image(tmp_path, "a")
    for name in ("one", "two"):
        drawn(tmp_path, path, None, {"liver": block(4, 14)}, record=f"{name}.sammed3d.json")
    _, out, _ = run(capsys, "agree", tmp_path)
    assert "one, two: mean Dice 1.000" in out


def test_what_cannot_be_compared(two, capsys, tmp_path):
    alone = sorted(two.glob("*-Ada.sammed3d.json"))
    assert "No two of these records are of the same image" in refusal_line(capsys, "agree", *alone)
    again = drawn(two, two / "a.nii.gz", "Ada", {"liver": block(4, 14)}, record="again.sammed3d.json")
    assert "is Ada's second record of a" in refusal(capsys, "agree", *sorted(two.glob("a-*.json")), again)
    (two / "a.nii.gz").unlink()
    assert "is gone; say where it is with --image" in refusal(capsys, "agree", *sorted(two.glob("a-*.json")))


def refusal_line(capsys, *arguments):
    """The last line of what is said; those before it name records that were left out."""
    status, _, err = run(capsys, *arguments)
    assert status == 2
    return err.splitlines()[-1]


def test_a_resumed_session_is_still_its_annotators(two):
    path = two / "a-Ada.sammed3d.json"
    volume = Volume.read(two / "a.nii.gz")
    session = Session.resume(path, volume=volume, model=model_of(BallNetwork()))
    assert session.annotator == "Ada"
    session.save(path)
    assert Session.resume(path, volume=volume, model=model_of(BallNetwork()), annotator="Ben").annotator == "Ben"


def test_anonymous_records_of_one_name_are_told_apart_by_their_folders(tmp_path, capsys):
    """As the app calls them where two annotators work anonymously: case-FINGERPRINT, in a folder each."""
    for name in ("a", "b"):
        path = image(tmp_path, name)
        for who, last in (("one", 14), ("two", 15)):
            (tmp_path / who).mkdir(exist_ok=True)
            drawn(tmp_path / who, path, None, {"liver": block(4, last)}, record=f"case-{name}.sammed3d.json")
    status, out, err = run(capsys, "agree", tmp_path / "one", tmp_path / "two")
    assert (status, err) == (0, "")
    assert "one, two: mean Dice 0.952 (lowest 0.952) of 2 objects; volumes differ by +0.60 mL" in out
    # a third one of the same image in a folder of the two
    drawn(tmp_path / "two", tmp_path / "a.nii.gz", None, {"liver": block(4, 14)}, record="again.sammed3d.json")
    _, out, _ = run(capsys, "agree", tmp_path / "one", tmp_path / "two")
    assert "two/again, two/case-a: mean Dice 0.952" in out


@pytest.mark.parametrize("how", ["--csv", "--plot"])
def test_what_cannot_be_written_is_one_sentence_and_leaves_what_was_there(two, capsys, tmp_path, how):
    with small_disk(tmp_path / "disk") as disk:
        file = disk / f"all{'.csv' if how == '--csv' else '.png'}"
        file.write_bytes(b"of last week")
        fill(disk)
        assert f"{file} cannot be written; check the disk's space" in refusal_line(capsys, "agree", two, how, file)
        assert file.read_bytes() == b"of last week"
        assert sorted(path.name for path in disk.iterdir()) == [file.name, "filler"]
        make_read_only(disk)
        assert "Read-only file system" in refusal_line(capsys, "agree", two, how, file)
