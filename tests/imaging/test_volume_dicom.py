"""DICOM: series and multi-frame files that pydicom writes here, good ones and those to refuse."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import base, pixels, refusal, rotation, voxels, write_enhanced, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    RTStructureSetStorage,
)

from sammed3d_nb.imaging.volume import Volume


def test_a_series(tmp_path):
    volume = Volume.read(write_series(tmp_path / "ct", rescale=lambda k: (1, -1024)))
    assert np.array_equal(volume.array, voxels().astype(int) - 1024)
    assert volume.modality == "CT"
    assert volume.name == "Abdomen"
    assert volume.warnings == ()
    np.testing.assert_allclose(volume.spacing, (0.7, 0.9, 2.5))
    np.testing.assert_allclose(volume.voxel_to_lps((1, 2, 3)), (-30 + 0.7, 12.5 + 1.8, 107.5))


@settings(max_examples=25, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_geometry_agrees_with_simpleitk(tmp_path_factory, angles, spacing, origin):
    folder = write_series(
        tmp_path_factory.mktemp("d") / "s", direction=rotation(*angles), spacing=spacing, origin=origin
    )
    volume = Volume.read(folder)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    for ijk in [(0, 0, 0), (9, 7, 5), (3, 1, 4)]:
        lps = np.array(image.TransformIndexToPhysicalPoint(ijk))
        np.testing.assert_allclose(volume.voxel_to_ras(ijk), lps * [-1, -1, 1], atol=1e-3)
        assert volume.image.GetPixel(*ijk) == image.GetPixel(*ijk)
    assert volume.warnings == ()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_transfer_syntaxes(tmp_path, syntax):
    assert np.array_equal(Volume.read(write_series(tmp_path / "s", syntax=syntax)).array, voxels())


def test_compressed_slices(tmp_path):
    folder = write_series(tmp_path / "s")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    assert np.array_equal(Volume.read(folder).array, voxels())
    path = sorted(folder.iterdir())[1]
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged or truncated" in refusal(folder)


def test_every_slice_keeps_its_own_rescaling(tmp_path):
    slope = [1, 0.5, 0.25, 2, 1, 3]
    volume = Volume.read(write_series(tmp_path / "pet", rescale=lambda k: (slope[k], k)))
    expected = voxels() * np.reshape(slope, (-1, 1, 1)) + np.arange(6).reshape(-1, 1, 1)
    assert np.array_equal(volume.array, expected)


def test_the_largest_series_or_the_named_one(tmp_path):
    write_series(tmp_path / "a", uid="1.2.1", description="Scout", number=1, values=voxels()[:3])
    write_series(tmp_path / "a", uid="1.2.2", description="Portal", number=7, values=voxels(1))
    (tmp_path / "a" / "readme.txt").write_text("not DICOM")
    volume = Volume.read(tmp_path)  # found below the folder, too
    assert np.array_equal(volume.array, voxels(1))
    assert "holds 2 series; the largest is used: 1.2.2 (number 7, Portal, 6 files)" in volume.warnings[0]
    for name in ("1.2.1", "1", "Scout"):
        named = Volume.read(tmp_path / "a", series=name)
        assert named.size == (10, 8, 3)
        assert named.warnings == ()
        assert named.series == "1.2.1"
    assert volume.series == "1.2.2"
    sentence = refusal(tmp_path / "a", series="9.9")
    assert "a has no series '9.9'" in sentence
    assert "1.2.1 (number 1, Scout, 3 files)" in sentence
    assert "1.2.2 (number 7, Portal, 6 files)" in sentence


def test_an_ambiguous_series(tmp_path):
    for uid in ("1.2.1", "1.2.2"):
        write_series(tmp_path / "a", uid=uid)
    assert "has 2 times a series 'Abdomen'" in refusal(tmp_path / "a", series="Abdomen")


def test_a_missing_slice_is_named(tmp_path):
    sentence = refusal(write_series(tmp_path / "s", heights=[0, 2.5, 5, 10, 12.5, 15]))
    assert "Abdomen lacks slices: 1 slice is missing between slices 3 and 4" in sentence
    assert "at 105.00 mm" in sentence
    assert "at 110.00 mm), where the gap is 5.00 mm instead of 2.50 mm" in sentence
    sentence = refusal(write_series(tmp_path / "t", heights=[0, 10, 12.5, 15, 17.5, 25]))
    assert "3 slices are missing between slices 1 and 2" in sentence
    assert "and 1 more such gaps" in sentence


def test_unevenly_spaced_slices_are_named(tmp_path):
    sentence = refusal(write_series(tmp_path / "s", heights=[0, 2.5, 5, 8.1, 10.6, 13.1]))
    assert "unevenly spaced slices: the gap between slices 3 and 4" in sentence
    assert "is 3.10 mm instead of 2.50 mm" in sentence


def test_positions_rounded_by_the_scanner_are_used_and_told(tmp_path):
    volume = Volume.read(write_series(tmp_path / "s", heights=[0, 0.6, 1.3, 1.9, 2.5, 3.1]))
    assert volume.spacing[2] == pytest.approx(0.62)
    assert "slice gaps from 0.6 to 0.7 mm" in volume.warnings[0]


def test_slices_at_one_position(tmp_path):
    assert "share a position" in refusal(write_series(tmp_path / "s", heights=[0, 0, 2.5, 2.5, 5, 5]))


def test_a_tilted_gantry_is_told(tmp_path):
    volume = Volume.read(write_series(tmp_path / "s", shift=(0, 0.5, 0)))
    (warning,) = volume.warnings
    assert "tilted gantry (11.3°)" in warning  # atan(0.5 / 2.5)
    assert "up to 2.5 mm" in warning
    assert np.array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.spacing, (0.7, 0.9, 2.5), atol=1e-6)
    np.testing.assert_allclose(volume.direction, np.eye(3), atol=1e-9)


def test_slices_out_of_line(tmp_path):
    def move(k, data):
        if k == 3:
            data.ImagePositionPatient[0] += 40

    assert "do not lie in line" in refusal(write_series(tmp_path / "s", change=move))


def test_mixed_orientations_and_sizes(tmp_path):
    def turn(k, data):
        if k == 0:
            data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    def crop(k, data):
        if k == 5:
            pixels(data, voxels()[0][:4])

    for name, change in (("turn", turn), ("crop", crop)):
        assert "mixes slices of different orientation or size" in refusal(write_series(tmp_path / name, change=change))


@pytest.mark.parametrize(
    ("tag", "lacking"),
    [("ImagePositionPatient", "position"), ("ImageOrientationPatient", "orientation"), ("PixelSpacing", "spacing")],
)
def test_slices_without_geometry(tmp_path, tag, lacking):
    sentence = refusal(write_series(tmp_path / "s", change=lambda k, data: delattr(data, tag)))
    assert lacking in sentence
    assert "CT Image Storage" in sentence


def test_bad_spacing_and_axes(tmp_path):
    def flat(k, data):
        data.PixelSpacing = [0, 0.7]

    def skew(k, data):
        data.ImageOrientationPatient = [1, 0, 0, 0.2, 0.98, 0]

    assert "spacing 0.7 × 0 mm" in refusal(write_series(tmp_path / "flat", change=flat))
    assert "not orthonormal" in refusal(write_series(tmp_path / "skew", change=skew))


def test_colour(tmp_path):
    def colour(k, data):
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        data.PixelData = bytes(3 * 8 * 10)

    assert "colour image (3 values per pixel)" in refusal(write_series(tmp_path / "s", change=colour))


def test_a_single_slice_points_at_its_folder(tmp_path):
    path = sorted(write_series(tmp_path / "s").iterdir())[0]
    sentence = refusal(path)
    assert "single 2-D DICOM slice" in sentence
    assert f"open its folder {path.parent} instead" in sentence
    write_series(tmp_path / "one", values=voxels()[:1])
    assert "single 2-D DICOM slice" in refusal(tmp_path / "one")


def test_dicom_without_an_image(tmp_path):
    data = base("1.2.3", storage=RTStructureSetStorage)
    data.Modality = "RTSTRUCT"
    data.save_as(tmp_path / "rs.dcm", enforce_file_format=True)
    assert "holds no image (RT Structure Set Storage)" in refusal(tmp_path / "rs.dcm")
    assert "holds 1 other file (rs.dcm)" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated(tmp_path, share, capfd):
    folder = write_series(tmp_path / "s")
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    sentence = refusal(folder)
    assert "truncated" in sentence or f"damaged DICOM files, which are left out: 1 ({path.name})" in sentence
    path = write_enhanced(tmp_path / "e.dcm")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "truncated" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_an_enhanced_file(tmp_path):
    volume = Volume.read(write_enhanced(tmp_path / "e.dcm", rescale=(2, -1000)))
    assert np.array_equal(volume.array, voxels() * 2 - 1000)
    np.testing.assert_allclose(volume.spacing, (0.7, 0.9, 2.5))
    np.testing.assert_allclose(volume.origin, (-30, 12.5, 100))
    assert volume.modality == "CT"
    assert volume.name == "e"
    assert volume.series == "1.2.3.9"
    assert Volume.read(write_enhanced(tmp_path / "e.dcm").parent).size == (10, 8, 6)


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [0, 2, 4, 1, 3, 5]])
def test_frames_are_put_into_spatial_order(tmp_path, order):
    volume = Volume.read(write_enhanced(tmp_path / "e.dcm", order=order))
    assert np.array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.origin, (-30, 12.5, 100))


def test_enhanced_gaps(tmp_path):
    sentence = refusal(write_enhanced(tmp_path / "e.dcm", heights=[0, 2.5, 5, 10, 12.5, 15]))
    assert "1 slice is missing between slices 3 and 4 (frame 3 at 105.00 mm, frame 4 at 110.00 mm)" in sentence


def test_frames_that_are_rescaled_differently(tmp_path):
    path = write_enhanced(tmp_path / "e.dcm")
    data = pydicom.dcmread(path)
    for index, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        transform = Dataset()
        transform.RescaleSlope, transform.RescaleIntercept = 1 + index, 0
        frame.PixelValueTransformationSequence = Sequence([transform])
    data.save_as(path)
    assert "rescales each frame differently" in refusal(path)


def test_frames_without_positions(tmp_path):
    path = write_enhanced(tmp_path / "e.dcm")
    data = pydicom.dcmread(path)
    del data.PerFrameFunctionalGroupsSequence
    data.save_as(path)
    assert "frame 1 of e.dcm states no position" in refusal(path)


def test_a_file_without_preamble(tmp_path):
    folder = write_series(tmp_path / "s", syntax=ImplicitVRLittleEndian)
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.file_meta = FileMetaDataset()
        data.preamble = None
        pydicom.dcmwrite(path, data, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(Volume.read(folder).array, voxels())
