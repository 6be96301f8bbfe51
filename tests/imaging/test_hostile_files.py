"""Files from strangers: more bytes than memory, endless headers, other people's files."""

import gzip
import os
import struct
import zlib

import numpy as np
import psutil
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import base, pixels, refusal, voxels, write_enhanced, write_series
from hostile import bomb, image, silent
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from sammed3d_nb.imaging.volume import Volume

__all__ = ["silent"]  # used by every test

# -- what the fuzzer found ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a.nrrd", "a.nhdr", "a.seg.nrrd"])
@pytest.mark.parametrize("field", ["endian: {}", "kinds: {}", "space directions: {}", "{}: 3", "type: {}"])
def test_endless_nrrd_fields(tmp_path, kind, field):
    """NrrdIO copies a field that it refuses into 1024 bytes, whatever its length: the program ended."""
    lines = dict.fromkeys(("type", "endian", "kinds", "space directions"))
    lines.update(type="type: short", endian="endian: little")
    lines[field.split(":")[0]] = field.format("little: " * 400)
    head = "NRRD0004\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n"
    head += "".join(f"{line}\n" for line in lines.values() if line) + ("data file: a.raw\n" if "nhdr" in kind else "\n")
    (tmp_path / "a.raw").write_bytes(bytes(16))
    (tmp_path / kind).write_bytes(head.encode() + bytes(0 if "nhdr" in kind else 16))
    assert "a header without end" in refusal(tmp_path / kind)


@pytest.mark.parametrize("line", ["Name = {}", "Comment = {}", "{} = 3", "Modality = {}", "Other = {}{}"])
def test_endless_metaimage_fields(tmp_path, line):
    """MetaIO copies its own texts into 255 bytes."""
    sitk.WriteImage(image((2, 2, 2)), str(tmp_path / "a.mha"))
    content = (tmp_path / "a.mha").read_bytes()
    long = line.format("x" * (300 if "Other" not in line else 20_000), "x" * 20_000)
    (tmp_path / "a.mha").write_bytes(content.replace(b"ElementType", long.encode() + b"\nElementType"))
    assert "a header without end" in refusal(tmp_path / "a.mha")


def test_an_endless_number_as_text(tmp_path):
    """As the fields: NrrdIO ended the program."""
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: ascii\n\n1 2 3 "
    (tmp_path / "a.nrrd").write_bytes(head + b"4x" * 5000 + b" 5 6 7 8\n")
    assert "is no number" in refusal(tmp_path / "a.nrrd")


def test_long_values_that_are_right(tmp_path):
    """3D Slicer writes long keys of its own."""
    made = image((2, 2, 2))
    made.SetMetaData("Segment0_Tags", "Segmentation.Status:inprogress|" * 200)
    for name in ("a.nrrd", "a.mha"):
        sitk.WriteImage(made, str(tmp_path / name))
        assert np.array_equal(Volume.read(tmp_path / name).array, sitk.GetArrayFromImage(made))


@pytest.mark.parametrize("where", ["behind the pixels", "the pixels", "behind packed pixels"])
def test_a_dicom_element_that_announces_hundreds_of_megabytes(tmp_path, where):
    """GDCM asked for them, whatever the size of the file."""
    path = write_enhanced(tmp_path / "e.dcm")
    if "packed" in where:
        data = pydicom.dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    content = path.read_bytes()
    if where == "the pixels":
        at = content.index(b"\xe0\x7f\x10\x00OW") + 8
        path.write_bytes(content[:at] + struct.pack("<I", 441_013_504) + content[at + 4 :])
    else:
        path.write_bytes(content + b"\xe0\x7f\x20\x00OB\0\0" + struct.pack("<I", 441_013_504) + bytes(40))
    assert "announces more bytes than there are" in refusal(path)
    path.write_bytes(content + b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<I", 40) + bytes(40))  # padding
    assert np.array_equal(Volume.read(path).array, voxels())


# -- more than there is memory -----------------------------------------------------------------------------------------


def test_nifti_gz_that_holds_gigabytes(tmp_path, monkeypatch):
    sitk.WriteImage(image(), str(tmp_path / "a.nii"))
    head = bytearray((tmp_path / "a.nii").read_bytes()[:352])
    struct.pack_into("<8h", head, 40, 3, 3000, 1000, 1000, 1, 1, 1, 1)
    content = bomb(bytes(head), 6000, 31)
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert len(content) < 10e6  # and it does hold 6 GB
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=4_000_000_000))
    assert "needs 6.0 GB of memory and 4.0 GB are free" in refusal(tmp_path / "a.nii.gz")
    struct.pack_into("<8h", head, 40, 3, 40, 30, 20, 1, 1, 1, 1)
    (tmp_path / "a.nii.gz").write_bytes(bomb(bytes(head), 6000, 31))
    assert "unpacks to more than the 48,000 bytes" in refusal(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "z.nrrd", "a.mha", "z.mha", "a.hdr"])
def test_a_small_file_that_announces_a_large_image(tmp_path, name):
    sitk.WriteImage(image(), str(tmp_path / name), useCompression=name[0] == "z")
    path = tmp_path / name
    content = bytearray(gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes())
    if "nii" in name or "hdr" in name:
        struct.pack_into("<8h", content, 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)
    else:
        content = content.replace(b"40 30 20", b"99999999 99999999 99999999")
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert "truncated: it holds" in refusal(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_zlib_bombs(tmp_path, name):
    packed = bomb(b"", 2000, 31 if name == "a.nrrd" else 15)
    if name == "a.nrrd":
        head = (
            b"NRRD0004\ntype: short\ndimension: 3\nsizes: 40 30 20\nspacings: 1 1 1\nencoding: gzip\nendian: little\n\n"
        )
    else:
        head = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\nDimSize = 40 30 20\n"
            f"CompressedDataSize = {len(packed)}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        ).encode()
    (tmp_path / name).write_bytes(head + packed)
    assert "unpacks to more than the 48,000 bytes" in refusal(tmp_path / name)


def test_dicom_that_announces_billions_of_frames(tmp_path):
    path = write_enhanced(tmp_path / "e.dcm")
    data = pydicom.dcmread(path)
    data.NumberOfFrames = 2_000_000_000
    data.save_as(path)
    assert "GB of memory" in refusal(path)
    data.Rows = data.Columns = 1
    data.BitsAllocated = data.BitsStored = 8
    data.save_as(path)
    assert "describes 6 of its 2,000,000,000 frames" in refusal(path)
    del data.PerFrameFunctionalGroupsSequence
    data.save_as(path)
    assert "frame 1 of e.dcm states no position" in refusal(path)


@pytest.mark.parametrize("frames", [1, 6])
def test_rle_of_65535_by_65535(tmp_path, frames):
    path = write_enhanced(tmp_path / "e.dcm")
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.Rows = data.Columns = 65535
    data.save_as(path)
    assert "truncated" in refusal(path) or "GB of memory" in refusal(path)
    folder = write_series(tmp_path / "s")
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        data.compress(RLELossless)
        data.Rows = data.Columns = 65535
        data.save_as(file)
    assert "truncated" in refusal(folder) or "GB of memory" in refusal(folder)


def test_deflated_dicom(tmp_path, monkeypatch):
    data = base("1.2.3.4", syntax=DeflatedExplicitVRLittleEndian)
    pixels(data, np.zeros((8, 10), np.int16))
    data.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    content = (tmp_path / "bomb.dcm").read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    inner = zlib.decompress(content[start:], -15)
    (tmp_path / "bomb.dcm").write_bytes(content[:start] + bomb(inner, 2000, -15))
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=1_000_000_000))
    assert refusal(tmp_path / "bomb.dcm")


def test_headers_without_end(tmp_path):
    for start in (b"NRRD0004\n", b"ObjectType = Image\nNDims = 3\n"):
        (tmp_path / "a").write_bytes(start + b"x" * 40_000_000)
        assert "a header without end" in refusal(tmp_path / "a")
        (tmp_path / "a").write_bytes(start + b"".join(b"# line %0200d\n" % n for n in range(90_000)))
        assert "a header without end" in refusal(tmp_path / "a")


# -- other people's files ----------------------------------------------------------------------------------------------


ELSEWHERE = ["/etc/passwd", "../outside.raw", "/dev/zero", "link.raw", "folder", "./../outside.raw", "sub/inside.raw",
             "..\\outside.raw", "fifo"]  # fmt: skip


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("form", ["mhd", "mhd list", "nhdr", "nhdr list"])
def test_headers_name_regular_files_in_their_own_folder_alone(tmp_path, where, form):
    folder = tmp_path / "case"
    (folder / "folder").mkdir(parents=True)
    (folder / "sub").mkdir()
    (tmp_path / "outside.raw").write_bytes(bytes(24))
    (folder / "sub" / "inside.raw").write_bytes(bytes(24))
    (folder / "link.raw").symlink_to(tmp_path / "outside.raw")
    os.mkfifo(folder / "fifo")
    listed = f"LIST\n{where}" if form.endswith("list") else where
    if form.startswith("mhd"):
        head = f"ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = {listed}\n"
    else:
        head = (
            f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nspacings: 1 1 1\nencoding: raw\ndata file: {listed}\n"
        )
    (folder / "a").write_text(head)
    assert "expected a regular file in its own folder" in refusal(folder / "a")


@pytest.mark.parametrize("where", ["%d.raw 1 999999999 1", "%1000000d.raw 1 2 1", "%s%n.raw 1 2 1", "a%n", "%d.raw"])
def test_patterns_of_files_that_nobody_writes(tmp_path, where):
    head = f"ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = {where}\n"
    (tmp_path / "a").write_text(head)
    assert "names its files in an unknown way" in refusal(tmp_path / "a")


def test_the_voxels_of_a_pair_are_no_link(tmp_path):
    sitk.WriteImage(image(), str(tmp_path / "a.hdr"))
    (tmp_path / "a.img").rename(tmp_path / "elsewhere")
    (tmp_path / "a.img").symlink_to(tmp_path / "elsewhere")
    assert "expected a regular file in its own folder" in refusal(tmp_path / "a.hdr")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "fifo"])
def test_devices_and_pipes_are_no_images(tmp_path, path):
    os.mkfifo(tmp_path / "fifo")
    assert "is a device or a pipe" in refusal(tmp_path / path)
