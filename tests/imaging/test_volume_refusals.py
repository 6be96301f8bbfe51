"""Files that must not be used as volumes: each is refused with one clear sentence."""

import gzip
import struct
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_enhanced
from hypothesis import given, settings
from hypothesis import strategies as st

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.volume import Volume


def image(shape=(6, 7, 8), dtype="int16"):
    made = sitk.GetImageFromArray(np.random.default_rng(1).integers(1, 100, shape).astype(dtype))
    made.SetSpacing([1.5, 2.0, 3.0][: made.GetDimension()] + [1.0] * (made.GetDimension() - 3))
    return made


def write(folder, name, made=None, **options):
    sitk.WriteImage(image() if made is None else made, str(folder / name), **options)
    return folder / name


def refusal(path, capfd=None, **options):
    """The sentence with which a file is refused; nothing else may be printed."""
    with pytest.raises(VolumeError) as caught:
        Volume.read(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    if capfd is not None:
        out, err = capfd.readouterr()
        assert (out, err) == ("", "")
    return sentence


def patch(path, offset, form, *values):
    """Overwrite bytes of an uncompressed file."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + form, content, offset, *values)
    path.write_bytes(content)
    return path


def keep(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_a_path_that_does_not_exist(tmp_path):
    assert refusal(tmp_path / "no.nii.gz") == f"{tmp_path / 'no.nii.gz'} does not exist; check the path."


def test_an_empty_folder(tmp_path):
    assert "is empty; expected a DICOM series" in refusal(tmp_path)


def test_a_folder_without_dicom_names_what_is_there(tmp_path):
    write(tmp_path, "ct.nii.gz")
    assert "holds 1 other file (ct.nii.gz); expected a DICOM series" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.dcm", "a"])
def test_no_image_at_all(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_bytes(b"")
    assert "is empty (0 bytes)" in refusal(path, capfd)
    path.write_text("Dear colleague, please find attached the scan. " * 30)
    assert "is not an image that can be read; expected NIfTI, NRRD, MetaImage or DICOM" in refusal(path, capfd)
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes())
    assert "is not an image" in refusal(path, capfd)


def test_a_zipped_text_is_no_image(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"hello " * 100))
    assert "is not an image" in refusal(tmp_path / "a.nii.gz")


def test_other_kinds_of_files_are_named(tmp_path):
    path = write(tmp_path, "a.png", image((20, 30), "uint8"))
    assert refusal(path) == "a.png is a PNG picture; expected a 3-D image as NIfTI, NRRD, MetaImage or DICOM."
    assert "a TIFF picture" in refusal(write(tmp_path, "a.tif", image((3, 20, 30), "uint8")))
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5)))
    assert "use Volume.from_array" in refusal(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.dcm", "x")
    assert "unpack it first" in refusal(tmp_path / "a.zip")


def test_a_nifti_2_header_of_nothing(tmp_path):
    head = bytearray(540)
    struct.pack_into("<i", head, 0, 540)
    head[4:12] = b"n+2\0\r\n\x1a\n"
    (tmp_path / "two.nii").write_bytes(head)
    assert "damaged header (its dimensions read (0, 0" in refusal(tmp_path / "two.nii")
    head[:4] = bytes(4)
    (tmp_path / "two.nii").write_bytes(head)
    assert "is not an image" in refusal(tmp_path / "two.nii")


@pytest.mark.parametrize("share", [0.999, 0.7, 0.1])
@pytest.mark.parametrize(
    ("name", "compressed"),
    [("a.nii", False), ("a.nii.gz", True), ("a.nrrd", False), ("a.nrrd", True), ("a.mha", False), ("a.mha", True)],
)
def test_truncated(tmp_path, name, compressed, share, capfd):
    made = image((30, 40, 50))
    path = keep(write(tmp_path, name, made, useCompression=compressed), share)
    assert "truncated" in refusal(path, capfd)


def test_a_truncated_nifti_counts_the_bytes(tmp_path):
    path = keep(write(tmp_path, "a.nii"), 0.5)
    assert "a.nii is truncated: it holds 512 of the 1,024 bytes" in refusal(path)


def test_truncated_inside_the_header(tmp_path, capfd):
    for name in ("a.nii", "a.nrrd", "a.mha"):
        path = write(tmp_path, name)
        path.write_bytes(path.read_bytes()[:60])
        assert "truncated" in refusal(path, capfd) or "not an image" in refusal(path, capfd), name


def test_damage_inside_compressed_voxels_is_found(tmp_path, capfd):
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        path = write(tmp_path, name, image((30, 40, 50)), useCompression=True)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        content[len(content) // 2 + 1] ^= 0x5A
        path.write_bytes(content)
        assert "damaged" in refusal(path, capfd), name


def test_a_header_without_its_voxel_file(tmp_path, capfd):
    path = write(tmp_path, "a.mhd")
    (tmp_path / "a.raw").unlink()
    assert "keeps its voxels in a.raw, which is not beside it" in refusal(path, capfd)
    path = write(tmp_path, "a.nhdr")
    next(tmp_path.glob("a.raw*")).unlink()
    assert "keeps its voxels in a.raw" in refusal(path, capfd)
    path = write(tmp_path, "a.hdr")
    (tmp_path / "a.img").unlink()
    assert "keeps its voxels in a.img" in refusal(path, capfd)


def test_a_separate_voxel_file_that_is_truncated(tmp_path, capfd):
    for name in ("a.mhd", "a.nhdr", "a.hdr"):
        path = write(tmp_path, name)
        keep(next(tmp_path.glob("a.img" if name == "a.hdr" else "a.raw*")), 0.5)
        assert "truncated" in refusal(path, capfd), name
        for left in tmp_path.iterdir():
            left.unlink()


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_two_dimensional(tmp_path, name):
    assert "is 2-D (8 × 7" in refusal(write(tmp_path, name, image((7, 8))))
    assert "is 2-D (8 × 7 × 1); expected a 3-D volume" in refusal(write(tmp_path, name, image((1, 7, 8))))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_four_dimensional(tmp_path, name):
    assert "is 4-D (8 × 7 × 6 × 2); expected" in refusal(write(tmp_path, name, sitk.JoinSeries([image(), image()])))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_vectors_and_colours(tmp_path, name):
    sentence = refusal(write(tmp_path, name, sitk.Compose([image(dtype="float32")] * 3)))
    assert "vector" in sentence
    assert "save one channel" in sentence
    rgb = sitk.GetImageFromArray(np.zeros((6, 7, 8, 3), np.uint8), isVector=True)
    assert "expected one" in refusal(write(tmp_path, name, rgb))


def test_nifti_colours_and_complex_numbers(tmp_path):
    path = write(tmp_path, "a.nii")
    assert "holds RGB" in refusal(patch(path, 70, "hh", 128, 24))
    assert "holds complex" in refusal(patch(path, 70, "hh", 32, 64))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_not_finite_voxels_are_counted(tmp_path, name):
    made = image(dtype="float32")
    for index in range(3):
        made.SetPixel(index, 0, 0, float("nan"))
    made.SetPixel(1, 1, 1, float("inf"))
    made.SetPixel(2, 1, 1, float("-inf"))
    assert "has 5 of 336 voxels that are no finite numbers (3 NaN, 2 infinite)" in refusal(write(tmp_path, name, made))


@pytest.mark.parametrize("value", [0.0, -2.0, float("nan")])
def test_spacing_that_is_not_positive(tmp_path, value):
    path = patch(write(tmp_path, "a.nii"), 84, "f", value)
    assert f"spacing 1.5 × {value:g} × 3 mm; expected three positive" in refusal(path)
    path = write(tmp_path, "a.mha")
    path.write_bytes(path.read_bytes().replace(b"1.5 2 3", f"1.5 {value:g} 3".encode()))
    assert f"spacing 1.5 × {value:g} × 3 mm" in refusal(path)


def test_nrrd_spacing_that_is_not_positive(tmp_path, capfd):
    path = write(tmp_path, "a.nrrd", useCompression=False)
    content = path.read_bytes()
    zero = content.replace(b"(0,2,0)", b"(0,0,0)")
    assert zero != content
    path.write_bytes(zero)
    assert "spacing 1.5 × 0 × 3 mm" in refusal(path, capfd)
    for value in ("0", "-2"):
        lines = content.split(b"\n")
        lines = [line for line in lines[:12] if not line.startswith((b"space", b"kinds"))] + lines[12:]
        lines.insert(4, f"spacings: 1.5 {value} 3".encode())
        path.write_bytes(b"\n".join(lines))
        assert f"spacing 1.5 × {value} × 3 mm" in refusal(path, capfd)


def test_nrrd_units_that_are_no_length(tmp_path, capfd):
    path = write(tmp_path, "a.nrrd", useCompression=False)
    content = path.read_bytes()
    for units, part in (('"s" "s" "s"', "in s;"), ('"mm" "mm" "um"', "in mm and um;"), ('"pixel" "mm" "mm"', "pixel")):
        path.write_bytes(content.replace(b"kinds:", f"space units: {units}\nkinds:".encode()))
        assert f"a.nrrd states its spacing in {part}" in refusal(path, capfd) or part in refusal(path, capfd)
        assert "expected one unit of length, such as mm" in refusal(path, capfd)


def test_axes_that_are_not_perpendicular(tmp_path, capfd):
    path = patch(write(tmp_path, "a.nii"), 284, "f", 0.4)  # srow_x[1]
    patch(path, 252, "h", 0)  # no qform
    assert "perpendicular" in refusal(path, capfd)
    path = patch(write(tmp_path, "a.nii"), 284, "f", 0.4)  # with a qform that ITK would silently prefer
    assert "perpendicular" in refusal(path, capfd)
    path = write(tmp_path, "a.mha")
    path.write_bytes(path.read_bytes().replace(b"1 0 0 0 1 0 0 0 1", b"1 0 0 0.2 1 0 0 0 1"))
    assert "not orthonormal" in refusal(path, capfd)
    path = write(tmp_path, "a.nrrd", useCompression=False)
    path.write_bytes(path.read_bytes().replace(b"(0,2,0)", b"(0.4,2,0)"))
    assert "not orthonormal" in refusal(path, capfd)


def test_a_singular_direction(tmp_path, capfd):
    path = write(tmp_path, "a.mha")
    path.write_bytes(path.read_bytes().replace(b"1 0 0 0 1 0 0 0 1", b"1 0 0 1 0 0 0 0 1"))
    assert "not orthonormal" in refusal(path, capfd)
    path = write(tmp_path, "a.nii")
    patch(path, 252, "h", 0)
    patch(path, 280, "12f", *[0.0] * 12)
    assert "spacing 0 × 0 × 0 mm" in refusal(path, capfd)


def test_an_unknown_detail_of_a_nifti_header(tmp_path, capfd):
    path = patch(write(tmp_path, "a.nii"), 40, "h", 9)
    assert "damaged header" in refusal(path, capfd)
    path = patch(write(tmp_path, "a.nii"), 42, "h", -3)
    assert "damaged header" in refusal(path, capfd)
    path = patch(write(tmp_path, "a.nii"), 70, "hh", 999, 16)
    assert "data type 999" in refusal(path, capfd)


def test_a_file_that_may_not_be_read(tmp_path):
    import os

    path = write(tmp_path, "a.nii")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "check its permissions" in refusal(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.nrrd", "z.nrrd", "a.mha", "z.mha", "a.dcm"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_damaged_gives_a_volume_or_a_sentence(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("f")
    path = write_enhanced(folder / name) if name == "a.dcm" else write(folder, name, useCompression=name[0] == "z")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(content), 900) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    volume, sentence = None, ""
    try:
        volume = Volume.read(path)
    except VolumeError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert volume is None or min(volume.size) >= 2
