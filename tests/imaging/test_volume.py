"""Volumes that can be used: every format and type, geometry kept, masks written home."""

import gc
import signal
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.volume import Volume

FORMATS = ["nii", "nii.gz", "nrrd", "mha", "mhd"]
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def make_image(shape=(5, 6, 7), dtype="int16", spacing=(0.8, 1.1, 5.0), origin=(-10.5, 20.25, 300.0), direction=None):
    values = np.random.default_rng(3).integers(0, 100, shape).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(np.ravel(direction).tolist())
    return image


@st.composite
def directions(draw):
    """Any orthonormal frame: a random rotation, any axis order, any flips (left-handed ones too)."""
    q = np.array([draw(st.floats(-1, 1)) for _ in range(4)])
    if np.linalg.norm(q) < 1e-3:
        q = np.array([1.0, 0, 0, 0])
    w, x, y, z = q / np.linalg.norm(q)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    if draw(st.booleans()):
        rotation = np.eye(3)
    order = draw(st.permutations([0, 1, 2]))
    flips = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    return rotation[:, order] * flips


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=40, deadline=None)
@given(
    direction=directions(),
    spacing=st.tuples(*[st.floats(0.05, 12)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_geometry_agrees_with_simpleitk_after_a_round_trip(tmp_path_factory, suffix, direction, spacing, origin):
    image = make_image(spacing=spacing, origin=origin, direction=direction)
    path = tmp_path_factory.mktemp("v") / f"image.{suffix}"
    sitk.WriteImage(image, str(path))
    volume = Volume.read(path)
    read = sitk.ReadImage(str(path))
    for ijk in [(0, 0, 0), (6, 5, 4), (2.25, 4.5, -1.75)]:
        lps = np.array(read.TransformContinuousIndexToPhysicalPoint([float(n) for n in ijk]))
        np.testing.assert_allclose(volume.voxel_to_lps(ijk), lps, atol=1e-9)
        np.testing.assert_allclose(volume.voxel_to_ras(ijk), lps * [-1, -1, 1], atol=1e-9)
        # the file's own precision: NIfTI keeps float32, MetaImage and NRRD decimal digits
        stated = np.array(image.TransformContinuousIndexToPhysicalPoint([float(n) for n in ijk]))
        np.testing.assert_allclose(volume.voxel_to_lps(ijk), stated, atol=2e-3)
    np.testing.assert_allclose(volume.voxel_to_ras.inverse(volume.voxel_to_ras((1, 2, 3))), (1, 2, 3), atol=1e-6)
    assert np.array_equal(volume.array, sitk.GetArrayViewFromImage(image))
    assert volume.warnings == ()


@pytest.mark.parametrize("suffix", ["nii", "nrrd", "mha"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_numeric_type_is_kept(tmp_path, suffix, dtype):
    path = tmp_path / f"image.{suffix}"
    sitk.WriteImage(make_image(dtype=dtype), str(path))
    volume = Volume.read(path)
    assert volume.array.dtype == dtype
    assert volume.array.dtype.isnative
    assert np.array_equal(volume.array, sitk.GetArrayViewFromImage(make_image(dtype=dtype)))


def test_the_array_is_a_read_only_view_that_outlives_the_volume(tmp_path):
    volume = Volume.read(write(tmp_path, make_image()))
    array = volume.array
    assert array.shape == (5, 6, 7)
    assert array[4, 5, 6] == volume.image.GetPixel(6, 5, 4)
    address = sitk.GetArrayViewFromImage(volume.image).__array_interface__["data"][0]
    assert array.__array_interface__["data"][0] == address
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 1
    expected = array.copy()
    del volume
    gc.collect()
    junk = [np.full(array.shape, 77, np.int16) for _ in range(50)]
    assert np.array_equal(array, expected)
    assert len(junk) == 50


def test_a_path_from_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = write(tmp_path, make_image())
    volume = Volume.read("~/image.nii.gz")
    assert (volume.path, volume.series) == (path, None)
    with pytest.raises(VolumeError, match=r"~draft\.nii does not exist"):
        Volume.read("~draft.nii")


def test_big_endian_files_read_as_the_same_numbers(tmp_path):
    image = make_image()
    data = sitk.GetArrayFromImage(image)
    header = (
        b"NRRD0004\ntype: int16\ndimension: 3\nspace: left-posterior-superior\nsizes: 7 6 5\n"
        b"space directions: (0.8,0,0) (0,1.1,0) (0,0,5)\nkinds: domain domain domain\nendian: big\n"
        b"encoding: raw\nspace origin: (-10.5,20.25,300)\n\n"
    )
    (tmp_path / "big.nrrd").write_bytes(header + data.astype(">i2").tobytes())
    header = (
        b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = True\n"
        b"Offset = -10.5 20.25 300\nElementSpacing = 0.8 1.1 5\nDimSize = 7 6 5\n"
        b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "big.mha").write_bytes(header + data.astype(">i2").tobytes())
    little = write(tmp_path, image, "little.nii").read_bytes()
    (tmp_path / "big.nii").write_bytes(big_endian_nifti(little))
    for name in ("big.nrrd", "big.mha", "big.nii"):
        volume = Volume.read(tmp_path / name)
        assert np.array_equal(volume.array, data), name
        assert volume.array.dtype.isnative
        np.testing.assert_allclose(volume.spacing, (0.8, 1.1, 5.0), atol=1e-6)
        np.testing.assert_allclose(volume.origin, (-10.5, 20.25, 300), atol=1e-4)


def test_nifti_slope_and_intercept_are_applied(tmp_path):
    path = write(tmp_path, make_image(), "scaled.nii")
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -10], "<f4").tobytes()
    path.write_bytes(content)
    volume = Volume.read(path)
    assert np.allclose(volume.array, sitk.GetArrayViewFromImage(make_image()) * 0.5 - 10)


def test_a_single_time_point_is_used_and_told(tmp_path):
    path = write(tmp_path, make_image(), "four.nii.gz")
    image = sitk.JoinSeries([sitk.ReadImage(str(path))])
    for name in ("four.nii.gz", "four.nrrd", "four.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        volume = Volume.read(tmp_path / name)
        assert volume.size == (7, 6, 5)
        assert [w for w in volume.warnings if "single time point" in w], name


def test_disagreeing_nifti_geometries_are_told(tmp_path):
    path = write(tmp_path, make_image(), "two.nii")
    content = bytearray(path.read_bytes())
    content[268:272] = np.array([33.0], "<f4").tobytes()  # qoffset_x
    path.write_bytes(content)
    volume = Volume.read(path)
    np.testing.assert_allclose(volume.origin, (-10.5, 20.25, 300), atol=1e-4)
    assert "two geometries" in volume.warnings[0]
    assert "22.5 mm" in volume.warnings[0]
    assert "its sform is used" in volume.warnings[0]


def test_a_file_without_orientation_is_used_and_told(tmp_path):
    path = write(tmp_path, make_image(), "lost.nii")
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)
    path.write_bytes(content)
    assert "no orientation" in Volume.read(path).warnings[0]


def test_the_kind_of_file_is_told_by_its_content_not_its_name(tmp_path):
    image = make_image()
    for suffix in ("nrrd", "mha"):
        path = write(tmp_path, image, f"image.{suffix}")
        for name in ("renamed", "renamed.nii.gz", "renamed.bin"):
            target = path.rename(tmp_path / name)
            assert Volume.read(target).size == (7, 6, 5), (suffix, name)
            path = target
    for name, suffix in (("image.nii.gz", r"\.nii\.gz\."), ("image.nii", r"\.nii\.")):
        target = write(tmp_path, image, name).rename(tmp_path / "renamed.bin")
        with pytest.raises(VolumeError, match=rf"renamed\.bin is a NIfTI image, .* rename it to end in {suffix}"):
            Volume.read(target)
    write(tmp_path, image, "image.nii").rename(tmp_path / "unzipped.nii.gz")
    assert Volume.read(tmp_path / "unzipped.nii.gz").size == (7, 6, 5)


@pytest.mark.parametrize("suffix", FORMATS)
def test_masks_go_home_with_the_geometry(tmp_path, suffix):
    c, s = np.cos(0.4), np.sin(0.4)
    volume = Volume.read(write(tmp_path, make_image(direction=[[c, -s, 0], [s, c, 0], [0, 0, -1]])))
    mask = volume.array > 50
    path = volume.write_mask(mask, tmp_path / f"mask.{suffix}")
    written = Volume.read(path)
    assert np.array_equal(written.array, mask)
    assert written.array.dtype == np.uint8
    np.testing.assert_allclose(written.voxel_to_ras.affine, volume.voxel_to_ras.affine, atol=1e-4)


def test_masks_that_cannot_be_written_are_refused(tmp_path):
    volume = Volume.read(write(tmp_path, make_image()))
    with pytest.raises(VolumeError, match=r"shape \(5, 6\).*\(5, 6, 7\)"):
        volume.write_mask(np.zeros((5, 6), np.uint8), tmp_path / "m.nii.gz")
    with pytest.raises(VolumeError, match=r"m\.png ends in no known mask format; use one of \.nii"):
        volume.write_mask(volume.array, tmp_path / "m.png")
    with pytest.raises(VolumeError, match=r"nowhere does not exist"):
        volume.write_mask(volume.array, tmp_path / "nowhere" / "m.nii")
    (tmp_path / "taken.nii").mkdir()
    with pytest.raises(VolumeError, match="cannot be written"):
        volume.write_mask(volume.array, tmp_path / "taken.nii")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.nii.gz", "taken.nii"]


def test_masks_are_stored_in_the_smallest_unsigned_type(tmp_path):
    volume = Volume.read(write(tmp_path, make_image()))
    for kind, largest, expected in (
        (np.int64, 200, np.uint8),
        (np.int64, 300, np.uint16),
        (np.int16, 1, np.uint8),
        (np.uint32, 70_000, np.uint32),
    ):
        labels = (volume.array > 50).astype(kind) * kind(largest)
        written = Volume.read(volume.write_mask(labels, tmp_path / "m.nii.gz"))
        assert written.array.dtype == expected
        assert np.array_equal(written.array, labels)


@pytest.mark.parametrize(
    ("mask", "part"),
    [
        (np.full((5, 6, 7), 0.5), r"float64 numbers from 0\.5; expected booleans or whole numbers"),
        (np.full((5, 6, 7), -1, np.int8), r"int8 numbers from -1; expected"),
    ],
)
def test_masks_of_other_numbers_are_refused(tmp_path, mask, part):
    volume = Volume.read(write(tmp_path, make_image()))
    with pytest.raises(VolumeError, match=part):
        volume.write_mask(mask, tmp_path / "m.nii.gz")
    assert not (tmp_path / "m.nii.gz").exists()


def test_a_mask_never_overwrites_its_image(tmp_path):
    path = write(tmp_path, make_image())
    content = path.read_bytes()
    volume = Volume.read(path)
    (tmp_path / "link.nii.gz").symlink_to(path)
    for same in (path, tmp_path / "." / "image.nii.gz", tmp_path / "link.nii.gz"):
        with pytest.raises(VolumeError, match=r"is the image itself and would be overwritten; choose another name\."):
            volume.write_mask(volume.array > 50, same)
    assert path.read_bytes() == content
    volume.write_mask(volume.array > 50, tmp_path / "mask.nii.gz")
    volume.write_mask(volume.array > 50, tmp_path / "mask.nii.gz")  # an older mask is replaced


def test_the_file_stem_is_safe_in_file_names(tmp_path):
    stems = {"ABD/PEL 5.0": "ABD_PEL 5.0", 'a\\b:c*"<d>|?': "a_b_c___d___", "../..": "_", "": "volume"}
    for name, stem in stems.items():
        volume = Volume.from_array(np.zeros((2, 3, 4), np.int16), (1, 1, 1), name=name)
        assert (volume.name, volume.file_stem) == (name, stem)
        (tmp_path / f"{volume.file_stem}.txt").touch()


def test_a_mask_that_fails_to_be_written_leaves_the_older_one_whole(tmp_path):
    import resource

    volume = Volume.from_array(np.random.default_rng(0).integers(0, 99, (50, 60, 70)).astype(np.int16), (1, 1, 1))
    path = volume.write_mask(np.ones(volume.array.shape, np.uint8), tmp_path / "mask.nrrd")
    older = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(1).integers(0, 2, volume.array.shape).astype(np.uint8)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(older) + 1000, limits[1]))  # like a disk that fills up
    try:
        with pytest.raises(VolumeError, match="cannot be written; check the disk's space"):
            volume.write_mask(noise, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == older
    assert list(tmp_path.iterdir()) == [path]


def test_from_array():
    values = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    volume = Volume.from_array(values, (1, 2, 3), np.diag([-1, 1, 1]), (7, 8, 9), name="mine", modality="MR")
    assert volume.size == (5, 4, 3)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, values)
    assert volume.voxel_to_lps((1, 1, 1)).tolist() == [6, 10, 12]
    assert volume.voxel_to_ras((1, 1, 1)).tolist() == [-6, -10, 12]
    assert volume.array_to_voxel((2, 3, 4)).tolist() == [4, 3, 2]
    assert (volume.name, volume.modality, volume.path) == ("mine", "MR", None)
    values[:] = 0
    assert volume.array.max() == 59
    assert Volume.from_array(values > 0, (1, 1, 1)).array.dtype == np.uint8
    assert Volume.from_array(values.astype(np.float16), (1, 1, 1)).array.dtype == np.float32


@pytest.mark.parametrize(
    ("array", "spacing", "direction", "sentence"),
    [
        (np.zeros((4, 4)), (1, 1), None, r"2 dimensions \(4, 4\); expected a 3-D array"),
        (np.zeros((2, 4, 4, 3)), (1, 1, 1), None, r"4 dimensions"),
        (np.zeros((1, 4, 4)), (1, 1, 1), None, r"is 2-D \(4 × 4 × 1\)"),
        (np.zeros((4, 4, 4), complex), (1, 1, 1), None, r"complex128"),
        (np.zeros((4, 4, 4)), (1, 0, 1), None, r"spacing 1 × 0 × 1 mm; expected three positive"),
        (np.zeros((4, 4, 4)), (1, -2, 1), None, r"spacing 1 × -2 × 1 mm"),
        (np.zeros((4, 4, 4)), (1, 1), None, r"spacing 1 × 1 mm"),
        (np.zeros((4, 4, 4)), (1, 1, 1), np.eye(3) * 2, r"not orthonormal \(off by 3"),
        (np.zeros((4, 4, 4)), (1, 1, 1), [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]], r"not orthonormal"),
        (np.zeros((4, 4, 4)), (1, 1, 1), np.eye(2), r"direction of 4 numbers"),
        (np.full((4, 4, 4), np.nan), (1, 1, 1), None, r"64 of 64 voxels .* \(64 NaN, 0 infinite\)"),
    ],
)
def test_from_array_refuses(array, spacing, direction, sentence):
    with pytest.raises(VolumeError, match=sentence):
        Volume.from_array(array, spacing, direction)


def test_contains_counts_whole_voxels(tmp_path):
    volume = Volume.read(write(tmp_path, make_image()))
    assert volume.contains((0, 0, 0))
    assert volume.contains((6, 5, 4))
    assert volume.contains((6.49, -0.5, 4))
    assert not volume.contains((7, 5, 4))
    assert not volume.contains((0, -1, 0))
    assert not volume.contains((0, 0, 4.5))


def test_the_fingerprint_knows_voxels_and_geometry(tmp_path):
    image = make_image()
    first = Volume.read(write(tmp_path, image, "a.nrrd")).fingerprint
    assert Volume.read(write(tmp_path, image, "b.nrrd")).fingerprint == first
    image.SetPixel(1, 1, 1, 101)
    second = Volume.read(write(tmp_path, image, "c.nrrd")).fingerprint
    image.SetOrigin((0, 0, 0))
    assert len({first, second, Volume.read(write(tmp_path, image, "d.nrrd")).fingerprint}) == 3


def test_a_ct_is_recognised_by_its_air(tmp_path):
    values = np.full((4, 4, 4), 40, np.int16)
    assert Volume.from_array(values, (1, 1, 1)).modality == ""
    values[0] = -1000
    assert Volume.from_array(values, (1, 1, 1)).modality == "CT"


def test_real_volumes_keep_simpleitks_geometry():
    paths = sorted(SHARED.glob("*/image.nii.gz")) + sorted(SHARED.glob("sarcoma/*/image.nii.gz"))[:4]
    if not paths:
        pytest.skip("no real volumes beside the project (../shared/data)")
    for path in paths:
        volume, image = Volume.read(path), sitk.ReadImage(str(path))
        assert volume.warnings == (), path
        assert (volume.spacing, volume.origin) == (image.GetSpacing(), image.GetOrigin())
        assert np.array_equal(volume.array, sitk.GetArrayViewFromImage(image))


def write(folder, image, name="image.nii.gz"):
    sitk.WriteImage(image, str(folder / name))
    return folder / name


def big_endian_nifti(little):
    """Swap every field of a NIfTI-1 file of 16-bit voxels."""
    fields = np.dtype(
        "i4,S10,S18,i4,i2,S1,S1,8i2,3f4,i2,i2,i2,i2,8f4,f4,f4,f4,i2,S1,S1,f4,f4,f4,f4,i4,i4,S80,S24,i2,i2,6f4,12f4,S16,S4"
    )
    header = np.frombuffer(little[:348], fields)
    voxels = np.frombuffer(little[352:], "<i2")
    return header.astype(fields.newbyteorder(">")).tobytes() + bytes(4) + voxels.astype(">i2").tobytes()
