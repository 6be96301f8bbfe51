"""What an image is called by where it lies, and which files are no images to segment."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series

import sammed3d_nb as snb
from sammed3d_nb.imaging.naming import is_export, is_label_map, stem, telling_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("case17/image.nii.gz", "case17"),
        ("case17/IMG.nrrd", "case17"),
        ("case17/ct.nii", "case17"),
        ("case17/t1.mha", "case17"),
        ("case17/data/scan.nii.gz", "case17"),
        ("case17/imaging.nii.gz", "case17"),
        ("case17/liver.nii.gz", "liver"),
        ("case17/image_0001.nii.gz", "image_0001"),
        ("scans/ct5.nii.gz", "ct5"),
        ("case17/../case18/volume.nii.gz", "case18"),
    ],
)
def test_a_name_that_every_patient_has_gives_way_to_the_folders(path: str, name: str) -> None:
    assert telling_name(stem(Path(path)), Path(path)) == name


def test_a_link_keeps_the_name_of_the_folder_it_lies_in(tmp_path: Path) -> None:
    stored = tmp_path / "store" / "7f3a.nii.gz"
    link = tmp_path / "case17" / "image.nii.gz"
    for path in (stored, link):
        path.parent.mkdir()
    stored.touch()
    link.symlink_to(stored)
    assert telling_name("image", link) == "case17"


def test_a_file_in_no_folder_that_tells_more_keeps_its_name() -> None:
    assert telling_name("image", Path("/data/image.nii.gz")) == "image"


def test_the_volume_and_its_files_are_called_by_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "case17" / "image.nii.gz"
    path.parent.mkdir()
    blank = snb.Volume.from_array(np.zeros((4, 5, 6), np.int16), (1, 1, 1))
    blank.write_mask(np.zeros((4, 5, 6), bool), path)
    volume = snb.Volume.read(path)
    assert volume.name == volume.file_stem == "case17"


def test_a_dicom_folder_in_a_patients_folder_too(tmp_path: Path) -> None:
    def describe(k: int, data) -> None:
        data.SeriesDescription = "CT"

    (tmp_path / "case17").mkdir()
    folder = write_series(tmp_path / "case17" / "DICOM", change=describe)
    assert snb.Volume.read(folder).name == "case17"


def test_exports_say_so() -> None:
    for name in ("a.masks.nii.gz", "b.seg.nrrd", "C.MASKS.nii"):
        assert is_export(Path(name))
    assert not is_export(Path("masks.nii.gz"))


def test_label_maps_say_so() -> None:
    assert is_label_map(Path("case17/Label.nii.gz"))
    assert not is_label_map(Path("case17/image.nii.gz"))
