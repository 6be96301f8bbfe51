"""Formats that other software chokes on open here, and what is doubtful about them is said."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import base, pixels, refusal, voxels, write_enhanced, write_series
from pydicom.uid import (
    RTDoseStorage,
    SecondaryCaptureImageStorage,
)
from seg_files import write_seg
from support import SHARED

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.label_maps import read_label_map
from sammed3d_nb.imaging.volume import Volume

RAW_DATA, PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.11.1"


def case(name, file=""):
    path = SHARED / "cases" / name / file
    if not path.exists():
        pytest.skip("no public files beside the project (../shared/cases)")
    return path


def orientation(volume):
    letters = [("R", "L")[::-1], ("A", "P")[::-1], ("S", "I")[::-1]]
    axes = volume.voxel_to_ras.affine[:3, :3]
    return "".join(letters[(n := int(np.argmax(np.abs(axis))))][int(axis[n] > 0)] for axis in axes.T)


def said(volume, part):
    return [warning for warning in volume.warnings if part in warning]


def image(shape=(5, 6, 7)):
    made = sitk.GetImageFromArray(np.random.default_rng(3).integers(0, 100, shape).astype(np.int16))
    made.SetSpacing((0.8, 1.1, 5.0))
    made.SetOrigin((-10.5, 20.25, 300.0))
    return made


def write(folder, name, made=None):
    sitk.WriteImage(made or image(), str(folder / name))
    return folder / name


def test_nifti_2(tmp_path):
    volume = Volume.read(case("nii2_single", "avg152T1_LR_nifti2.nii.gz"))
    assert (volume.size, orientation(volume)) == ((91, 109, 91), "LAS")
    np.testing.assert_allclose(volume.spacing, 2)
    np.testing.assert_allclose(volume.voxel_to_ras((0, 0, 0)), (90, -126, -72))
    path = volume.write_mask(volume.array > 100, tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(Volume.read(path).voxel_to_ras.affine, volume.voxel_to_ras.affine)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.5, -10.0)])
@pytest.mark.parametrize("paired", [False, True])
def test_nifti_2_of_either_byte_order_scaled_or_paired(tmp_path, order, slope, paired):
    values = np.random.default_rng(0).integers(-50, 900, (4, 5, 6)).astype(np.int16)
    head = bytearray(544)
    start = 0 if paired else 544
    struct.pack_into(order + "i8s2h8q", head, 0, 540, b"ni2\0\r\n\x1a\n" if paired else b"n+2\0\r\n\x1a\n", 4, 16, 3, 6,
                     5, 4, 1, 1, 1, 1)  # fmt: skip
    struct.pack_into(order + "8dq2d", head, 104, 1, 0.8, 1.1, 5, 0, 0, 0, 0, start, *slope)
    struct.pack_into(order + "2i", head, 344, 0, 1)
    struct.pack_into(order + "12d", head, 400, 0.8, 0, 0, 3, 0, 1.1, 0, 4, 0, 0, 5, 6)
    struct.pack_into(order + "i", head, 500, 2)
    content = values.astype(order + "i2").tobytes()
    if paired:
        (tmp_path / "a.hdr").write_bytes(head[:540])
        (tmp_path / "a.img").write_bytes(content)
    else:
        (tmp_path / "a.nii").write_bytes(bytes(head) + content)
    volume = Volume.read(tmp_path / ("a.img" if paired else "a.nii"))
    expected = values if slope[0] == 0 else values * np.float32(slope[0]) + np.float32(slope[1])
    assert np.array_equal(volume.array, expected)
    assert volume.array.dtype == expected.dtype
    np.testing.assert_allclose(volume.voxel_to_ras.affine, [[0.8, 0, 0, 3], [0, 1.1, 0, 4], [0, 0, 5, 6], [0, 0, 0, 1]])
    assert volume.warnings == ()


def test_analyze(tmp_path):
    volume = Volume.read(case("analyze75_negative_pixdim", "avg152T1.hdr.gz"))
    assert (volume.size, orientation(volume)) == ((91, 109, 91), "LAS")
    np.testing.assert_allclose(volume.spacing, 2)
    np.testing.assert_allclose(volume.voxel_to_ras((0, 0, 0)), (90, -126, -72))  # as nibabel
    assert said(volume, "Analyze 7.5, which does not say which side is left")
    assert said(volume, "left and right may be swapped")
    path = volume.write_mask(volume.array > 100, tmp_path / "m.nii.gz")
    np.testing.assert_allclose(Volume.read(path).voxel_to_ras.affine, volume.voxel_to_ras.affine)


def test_a_header_beside_gzipped_voxels(tmp_path):
    for file in ("minimal2.hdr", "minimal2.img.gz"):
        volume = Volume.read(case("nii_pair_mixed_gz", file))
        assert volume.size == (64, 64, 10)
        np.testing.assert_allclose(volume.spacing, 3)
        assert said(volume, "states no orientation")
    path = write(tmp_path, "a.hdr")
    alike = Volume.read(path)
    (tmp_path / "a.img.gz").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
    (tmp_path / "a.img").unlink()
    volume = Volume.read(path)
    assert np.array_equal(volume.array, alike.array)
    np.testing.assert_allclose(volume.voxel_to_ras.affine, alike.voxel_to_ras.affine, atol=1e-5)


def test_two_geometries_far_apart(tmp_path):
    path = case("nii_qform_sform_conflict", "dti_FA.nii.gz")
    volume = Volume.read(path)
    assert (volume.size, orientation(volume)) == ((90, 90, 50), "LAS")
    np.testing.assert_allclose(volume.spacing, 2.3, rtol=1e-5)
    np.testing.assert_allclose(volume.voxel_to_ras((0, 0, 0)), (100.91523743, -110.66786194, -47.55080795), atol=1e-4)
    assert said(volume, "states two geometries that lie up to 59")
    assert said(volume, "its sform is used, its qform is not")
    other = Volume.read(path, geometry="qform")
    np.testing.assert_allclose(other.voxel_to_ras((0, 0, 0)), (98.41523743, -79.36785889, -97.75080872), atol=1e-4)
    assert said(other, "its qform is used, its sform is not")
    assert np.array_equal(other.array, volume.array)
    mask = other.write_mask(other.array > 0.5, tmp_path / "m.nii")
    for geometry, expected in (("sform", volume), ("qform", other)):
        read = Volume.read(mask, geometry=geometry)
        np.testing.assert_allclose(read.voxel_to_ras.affine, expected.voxel_to_ras.affine, atol=1e-5)


def test_a_geometry_that_can_be_chosen(tmp_path):
    path = write(tmp_path, "a.nii")
    content = bytearray(path.read_bytes())
    assert Volume.read(path, geometry="qform").warnings == ()
    struct.pack_into("<h", content, 254, 0)
    path.write_bytes(content)
    assert "states no sform, only its qform; leave the choice out" in refusal(path, geometry="sform")
    assert "'best' is not known; say one of sform, qform" in refusal(path, geometry="best")
    struct.pack_into("<h", content, 254, 1)
    struct.pack_into("<f", content, 284, 0.4)  # the sform is sheared, the qform is not
    path.write_bytes(content)
    assert "perpendicular" in refusal(path)
    assert Volume.read(path, geometry="qform").spacing == pytest.approx((0.8, 1.1, 5))


@pytest.mark.parametrize(("code", "unit", "mm"), [(1, "metres", 1000), (3, "micrometres", 0.001)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_in_other_units(tmp_path, name, code, unit, mm):
    path = write(tmp_path, "a.nii")
    content = bytearray(path.read_bytes())
    content[123] = code
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    volume = Volume.read(tmp_path / name)
    np.testing.assert_allclose(volume.spacing, np.array((0.8, 1.1, 5)) * mm, rtol=1e-6)
    np.testing.assert_allclose(volume.origin, np.array((-10.5, 20.25, 300)) * mm, rtol=1e-6)
    assert said(volume, f"states its geometry in {unit}; it was converted to mm")


@pytest.mark.parametrize(
    ("unit", "mm"), [("um", 1e-3), ("µm", 1e-3), ("microns", 1e-3), ("m", 1e3), ("meters", 1e3), ("cm", 10), ("mm", 1)]
)
def test_nrrd_in_other_units(tmp_path, unit, mm):
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(image(), str(path))
    field = f'space units: "{unit}" "{unit}" "{unit}"\nkinds:'.encode()
    path.write_bytes(path.read_bytes().replace(b"kinds:", field))
    volume = Volume.read(path)
    np.testing.assert_allclose(volume.spacing, np.array((0.8, 1.1, 5)) * mm, rtol=1e-9)
    np.testing.assert_allclose(volume.origin, np.array((-10.5, 20.25, 300)) * mm, rtol=1e-9)
    assert bool(said(volume, f"states its geometry in {unit}; it was converted to mm")) == (mm != 1)


def test_nrrd_of_fiji_in_microns():
    volume = Volume.read(case("nrrd_microns_fiji", "fiji-stack-microns-16bit.nrrd"))
    assert volume.size == (50, 40, 30)
    np.testing.assert_allclose(volume.spacing, (0.0004, 0.0004, 0.002))  # mm
    assert said(volume, "states its geometry in microns; it was converted to mm")
    assert said(volume, "states no orientation")


def test_a_dicom_seg_is_offered_as_masks(tmp_path):
    sentence = refusal(case("seg_object_1bit", "label.dcm"))
    assert "label.dcm is a DICOM segmentation, which holds masks and no image" in sentence
    assert "give this file to session.load_masks" in sentence
    assert sentence == refusal(case("seg_object_1bit"))
    folder = write_series(tmp_path / "s")
    volume = Volume.read(folder)
    path = write_seg(folder / "seg.dcm", [volume.array > 0], volume)
    assert "open the image that it refers to" in refusal(path)
    again = Volume.read(folder)
    assert np.array_equal(again.array, volume.array)
    assert said(again, "left out (Segmentation Storage: seg.dcm)")
    assert np.array_equal(read_label_map(path, again)[0].mask.full, volume.array > 0)


def test_a_dose_is_no_image(tmp_path):
    folder = write_series(tmp_path / "s", change=lambda k, data: setattr(data, "FrameOfReferenceUID", "1.2.9"))
    path = write_enhanced(tmp_path / "s" / "dose.dcm")
    data = base("1.2.3.5", storage=RTDoseStorage)
    data.Modality, data.FrameOfReferenceUID, data.NumberOfFrames = "RTDOSE", "1.2.9", 6
    pixels(data, voxels())
    data.save_as(path, enforce_file_format=True)
    sentence = refusal(path)
    assert "dose.dcm is an RT dose" in sentence
    assert f"open the image that it refers to (series 1.2.3.4 in {folder})" in sentence
    assert np.array_equal(Volume.read(folder).array, voxels())


def test_a_multi_frame_image_beside_raw_data(tmp_path):
    volume = Volume.read(case("enh_philips_raw_beside"))
    assert (volume.size, orientation(volume)) == ((256, 256, 24), "LPS")
    np.testing.assert_allclose(volume.spacing, (1.0, 1.0, 5.5), rtol=1e-3)
    assert said(volume, "objects without an image to segment, which are left out (Raw Data Storage: 0001_")


@pytest.mark.parametrize("storage", [SecondaryCaptureImageStorage, RAW_DATA, PRESENTATION_STATE])
@pytest.mark.parametrize("same_series", [True, False])
def test_objects_without_an_image_are_left_out_and_named(tmp_path, storage, same_series):
    write_enhanced(tmp_path / "e.dcm")
    data = base("1.2.3.9" if same_series else "1.2.3.10", storage=storage)
    pixels(data, np.zeros((900, 900), np.int16))  # larger than the image
    data.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    volume = Volume.read(tmp_path)
    assert np.array_equal(volume.array, voxels())
    assert said(volume, "also holds objects without an image to segment, which are left out")
    assert said(volume, "other.dcm")


def test_a_tilted_gantry_can_be_straightened(tmp_path):
    """A rod along the patient's axis is cut slice by slice; straightened, it stands upright."""
    spacing, shift = (1.0, 1.0, 3.0), 1.0  # mm along y from slice to slice
    stack = np.full((12, 40, 40), -1000, np.int16)
    for k in range(12):
        stack[k, 25 - k : 30 - k, 10:14] = 500  # the gantry moves up, so the rod moves down
    write_series(tmp_path / "s", stack, spacing=spacing, shift=(0, shift, 0))
    leaning = Volume.read(tmp_path / "s")
    assert said(leaning, "tilted gantry (18.4°)")
    assert leaning.size == (40, 40, 12)
    upright = Volume.read(tmp_path / "s", straighten=True)
    assert upright.size == (40, 51, 12)
    assert said(upright, "is straightened; masks are written on its own slices")
    rod = upright.array > 0
    assert all(np.array_equal(plane, rod[0]) for plane in rod)
    np.testing.assert_allclose(upright.voxel_to_lps((10, 25, 0)), leaning.voxel_to_lps((10, 25, 0)))
    for suffix in ("nii.gz", "nrrd", "mha"):
        mask = Volume.read(upright.write_mask(rod, tmp_path / f"m.{suffix}"))
        assert np.array_equal(mask.array > 0, stack > 0)
        np.testing.assert_allclose(mask.voxel_to_lps.affine, leaning.voxel_to_lps.affine, atol=1e-4)
        (back,) = read_label_map(tmp_path / f"m.{suffix}", upright)
        assert np.array_equal(back.mask.full, rod)
    half = write_series(tmp_path / "h", stack, spacing=spacing, shift=(0.25, -0.5, 0))
    upright = Volume.read(half, straighten=True)
    assert (upright.size, upright.array.dtype) == ((43, 46, 12), np.int16)
    assert Volume.read(half).size == (40, 40, 12)


def test_straightening_changes_nothing_where_nothing_leans(tmp_path):
    folder = write_series(tmp_path / "s")
    assert Volume.read(folder, straighten=True).fingerprint == Volume.read(folder).fingerprint


@pytest.mark.parametrize("spacing", [(20_000, 1, 1), (1, 1e-4, 1)])
def test_spacings_of_no_scanner_are_told(spacing):
    volume = Volume.from_array(np.arange(60).reshape(3, 4, 5), spacing, name="odd")
    assert said(volume, "which no scanner for patients makes")
    assert Volume.from_array(np.arange(60).reshape(3, 4, 5), (0.05, 1, 12)).warnings == ()


def test_a_constant_image_is_told():
    assert said(Volume.from_array(np.full((3, 4, 5), 7), (1, 1, 1)), "holds the value 7 in every voxel")
    with pytest.raises(VolumeError):
        Volume.from_array(np.full((3, 4, 5), np.nan), (1, 1, 1))
