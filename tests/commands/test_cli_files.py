"""What the command line reads and writes: chosen geometries, full and read-only disks, and files that are there."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from disks import fill, make_read_only, small_disk
from small_models import save, weights
from test_cli import refusal, run

from sammed3d_nb.imaging.volume import Volume


@pytest.fixture
def image(tmp_path):
    """A small file whose two geometries lie 50 mm apart."""
    values = np.random.default_rng(0).normal(40, 20, (20, 40, 50)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "ct.nii"))
    content = bytearray((tmp_path / "ct.nii").read_bytes())
    struct.pack_into("<f", content, 268, 50)
    (tmp_path / "ct.nii").write_bytes(content)
    return tmp_path / "ct.nii"


@pytest.fixture
def segment(image, tmp_path, capsys):
    """Runs `segment` with one click."""
    model = save(tmp_path / "small.pth", {"model_state_dict": weights(seed=4)})

    def go(*arguments, by=run):
        return by(capsys, "segment", image, "--click", "25,20,10", "--model", model, *arguments)

    return go


def test_a_geometry_is_chosen(segment, tmp_path):
    for geometry, other in (("sform", "qform"), ("qform", "sform")):
        status, _, err = segment("-o", tmp_path / f"{geometry}.nrrd", "--geometry", geometry)
        assert status == 0
        assert f"its {geometry} is used, its {other} is not" in err
    first, second = (Volume.read(tmp_path / f"{name}.nrrd").origin for name in ("sform", "qform"))
    assert np.linalg.norm(np.subtract(first, second)) == pytest.approx(50)


def test_a_record_is_replayed_on_the_geometry_that_it_was_made_on(segment, tmp_path, capsys):
    record = tmp_path / "case.sammed3d.json"
    assert segment("-o", tmp_path / "m.nrrd", "--geometry", "qform", "--save", record)[0] == 0
    status, out, _ = run(capsys, "replay", record)
    assert (status, out) == (0, "object 1: the same\n")


def test_a_tilted_gantry_is_straightened(tmp_path, capsys):
    values = np.random.default_rng(0).normal(40, 20, (8, 40, 40)).astype(np.int16)
    folder = write_series(tmp_path / "s", values, spacing=(1.0, 1.0, 3.0), shift=(0, 1.0, 0))
    model = save(tmp_path / "small.pth", {"model_state_dict": weights(seed=4)})
    mask = tmp_path / "m.nii.gz"
    status, _, err = run(
        capsys, "segment", folder, "--click", "20,20,4", "--model", model, "-o", mask, "--straighten", "--trace"
    )
    assert status == 0
    assert "is straightened; masks are written on its own slices" in err
    assert Volume.read(mask).size == Volume.read(folder).size


def test_one_path_for_mask_and_session_is_refused(segment, tmp_path):
    sentence = segment("-o", tmp_path / "x.nrrd", "--save", tmp_path / "." / "x.nrrd", by=refusal)
    assert "is to hold both the mask and the session; give --save another name" in sentence
    assert not (tmp_path / "x.nrrd").exists()


def test_a_file_that_is_there_is_not_overwritten_without_a_word(segment, tmp_path):
    mask = tmp_path / "m.nii.gz"
    mask.write_bytes(b"a thesis")
    assert "is there already and was not to be overwritten" in segment("-o", mask, by=refusal)
    assert mask.read_bytes() == b"a thesis"
    assert segment("-o", mask, "--overwrite")[0] == 0
    assert segment("-o", mask)[0] == 0  # one of ours is replaced, as ever


def test_a_full_disk_is_exit_2(segment, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        sentence = segment("-o", disk / "m.nii.gz")[2].splitlines()[-1]
        assert "m.nii.gz cannot be written; check the disk's space" in sentence
        assert not (disk / "m.nii.gz").exists()
        (disk / "filler").unlink()
        make_read_only(disk)
        status, _, err = segment("-o", disk / "m.nii.gz")
        assert status == 2
        assert "Read-only file system" in err
        assert "Traceback" not in err
