"""DICOM folders as they come from hospitals: with a DICOMDIR, with odd files, with masks beside the slices."""

import pytest
from test_volume_dicom import write_series

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.volume import Volume


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
