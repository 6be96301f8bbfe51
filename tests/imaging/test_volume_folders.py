"""DICOM folders as they come from hospitals: with a DICOMDIR, with odd files, with masks beside the slices."""

import numpy as np
import pydicom
import pytest
from dicom_files import base, pixels, refusal, voxels, write_series
from pydicom.fileset import FileSet
from pydicom.uid import SecondaryCaptureImageStorage

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.volume import Volume


def write_thumbnail(path, uid):
    """A small picture of another kind beside a series."""
    data = base(uid, storage=SecondaryCaptureImageStorage)
    pixels(data, voxels()[0][:4, :4])
    data.save_as(path, enforce_file_format=True)
    return path


def cut_after(path, keyword):
    """Keep a file's header up to the end of one element."""
    content = path.read_bytes()
    value = str(pydicom.dcmread(path)[keyword].value).encode()
    path.write_bytes(content[: content.rindex(value) + len(value) + len(value) % 2])


def test_a_cd_from_a_hospital(tmp_path):
    files = FileSet()
    for path in sorted(write_series(tmp_path / "s").iterdir()):
        data = pydicom.dcmread(path)
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20260101", "120000", "1", ""
        files.add(data)
    files.write(tmp_path / "cd")
    volume = Volume.read(tmp_path / "cd")
    assert np.array_equal(volume.array, voxels())
    assert volume.warnings == ()
    assert "holds no image (Media Storage Directory Storage)" in refusal(tmp_path / "cd" / "DICOMDIR")


def test_a_damaged_file_of_another_series_is_left_alone(tmp_path):
    folder = write_series(tmp_path / "s")
    cut_after(write_thumbnail(folder / "thumbnail.dcm", uid="9.8.7"), "SeriesInstanceUID")
    volume = Volume.read(folder)
    assert np.array_equal(volume.array, voxels())
    assert volume.warnings == ()
    write_thumbnail(folder / "thumbnail.dcm", uid="9.8.7")  # a whole one that is but 2-D
    assert Volume.read(folder).size == (10, 8, 6)


def test_a_damaged_file_of_an_unknown_series_is_left_out_and_told(tmp_path):
    folder = write_series(tmp_path / "s")
    cut_after(write_thumbnail(folder / "thumbnail.dcm", uid="9.8.7"), "SOPInstanceUID")
    (folder / "noise.dcm").write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(900))
    volume = Volume.read(folder)
    assert np.array_equal(volume.array, voxels())
    assert volume.warnings == ("s holds damaged DICOM files, which are left out: 2 (noise.dcm, thumbnail.dcm).",)


def test_a_damaged_slice_of_the_series_is_refused(tmp_path):
    folder = write_series(tmp_path / "s")
    path = sorted(folder.iterdir())[-1]
    whole = path.read_bytes()
    cut_after(path, "SeriesInstanceUID")
    assert f"{path.name} is truncated (its DICOM header ends early)" in refusal(folder)
    path.write_bytes(whole.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00IS"))  # the number of rows is none
    assert f"{path.name} is truncated" in refusal(folder)
    for each in folder.iterdir():
        cut_after(each, "SOPClassUID") if each != path else each.unlink()
    assert "is truncated" in refusal(folder)


def test_a_missing_slice_of_a_very_fine_series_is_named(tmp_path):
    spacing = (0.1, 0.1, 0.1)
    whole = write_series(tmp_path / "whole", spacing=spacing)
    assert Volume.read(whole).spacing == pytest.approx(spacing)
    sentence = refusal(write_series(tmp_path / "gap", spacing=spacing, heights=[0, 0.1, 0.2, 0.4, 0.5, 0.6]))
    assert "1 slice is missing between slices 3 and 4" in sentence


def test_a_mask_may_lie_beside_the_slices_but_never_replace_one(tmp_path):
    folder = write_series(tmp_path / "s")
    path = next(folder.iterdir()).rename(folder / "slice.nii")
    content = path.read_bytes()
    volume = Volume.read(folder)
    with pytest.raises(VolumeError, match=r"slice\.nii is the image itself"):
        volume.write_mask(volume.array > 0, path)
    assert path.read_bytes() == content
    for _ in range(2):  # the mask of an earlier run is no slice
        volume.write_mask(volume.array > 0, folder / "mask.nii")
