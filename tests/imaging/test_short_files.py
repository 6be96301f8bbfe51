"""Files that hold fewer voxels than they announce: refused, whatever a decoder makes of them."""

import gzip
import locale

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import refusal, voxels, write_enhanced
from hostile import compressed_mha, image, silent
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless

from sammed3d_nb.imaging.volume import Volume

__all__ = ["silent"]  # used by every test

# -- fewer voxels than announced ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LOCAL", "a.zraw"])
def test_compressed_metaimage_is_read_as_it_was_written(tmp_path, name):
    volume = Volume.read(compressed_mha(tmp_path / "a.mhd", name=name))
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(image()))


@pytest.mark.parametrize("name", ["LOCAL", "a.zraw"])
@pytest.mark.parametrize("off", [-1, 1, -20_000, 20_000, 2**40])
def test_compressed_metaimage_that_states_another_length(tmp_path, name, off):
    """Of a LOCAL one, ITK took 63,998 of 64,000 voxels out of its memory."""
    assert "compressed bytes and there are" in refusal(compressed_mha(tmp_path / "a.mhd", name=name, size=str(off)))


def test_compressed_metaimage_that_states_no_length(tmp_path):
    path = compressed_mha(tmp_path / "a.mha", size=None)
    assert "does not say how long its compressed voxels are" in refusal(path)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing", b"CompressedDataSize = 0\nElementSpacing"))
    assert "does not say how long its compressed voxels are" in refusal(path)
    apart = Volume.read(compressed_mha(tmp_path / "b.mhd", size=None, name="b.zraw"))  # then the file says it
    assert np.array_equal(apart.array, sitk.GetArrayFromImage(image()))


@pytest.mark.parametrize("voxels_there", [0, 23_000, 23_999, 24_001, 48_000])
def test_compressed_metaimage_of_other_length(tmp_path, voxels_there):
    sentence = refusal(compressed_mha(tmp_path / "a.mha", values=bytes(2 * voxels_there)))
    assert ("truncated" if voxels_there < 24_000 else "unpacks to more than the 48,000 bytes") in sentence


def test_a_field_that_is_stated_twice(tmp_path):
    path = compressed_mha(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"ElementType", b"DimSize = 40 30 21\nElementType"))
    assert "states DimSize twice" in refusal(path)
    sitk.WriteImage(image(), str(tmp_path / "a.nrrd"))
    content = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"kinds:", b"sizes: 2 2 2\nkinds:"))
    assert "states sizes twice" in refusal(tmp_path / "a.nrrd")


@pytest.mark.parametrize("kind", ["METAIMAGE", "NRRD"])
@pytest.mark.parametrize("count", [24, 23, 1, 0])
def test_voxels_as_text(tmp_path, kind, count):
    text = " ".join(str(n) for n in range(count)).encode()
    if kind == "NRRD":
        head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nspacings: 1 1 1\nencoding: ascii\n\n"
    else:
        head = b"ObjectType = Image\nNDims = 3\nBinaryData = False\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
        head += b"ElementDataFile = LOCAL\n"
    (tmp_path / "a").write_bytes(head + text + b"\n")
    if count == 24:
        assert np.array_equal(Volume.read(tmp_path / "a").array.ravel(), np.arange(24))
    else:
        assert "truncated" in refusal(tmp_path / "a")


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("share", [1.0, 0.999, 0.5])
def test_nrrd_with_voxels_apart(tmp_path, encoding, share):
    values = sitk.GetArrayFromImage(image()).tobytes()
    kept = values[: int(len(values) * share)]
    (tmp_path / "a.data").write_bytes(kept if encoding == "raw" else gzip.compress(kept))
    head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 40 30 20\nspacings: 1 1 1\nencoding: {encoding}\n"
    (tmp_path / "a.nhdr").write_text(head + "endian: little\ndata file: a.data\n")
    if share == 1:
        assert np.array_equal(Volume.read(tmp_path / "a.nhdr").array, sitk.GetArrayFromImage(image()))
    else:
        assert "a.data is truncated" in refusal(tmp_path / "a.nhdr")


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("form", ["nrrd list", "nrrd pattern", "metaimage list", "metaimage pattern"])
def test_one_file_for_each_slice(tmp_path, form, short):
    values = sitk.GetArrayFromImage(image())
    names = [f"s{k:02d}.raw" for k in range(1, 21)]
    for name, plane in zip(names, values, strict=True):
        (tmp_path / name).write_bytes(plane.tobytes())
    if short:
        (tmp_path / names[7]).write_bytes(values[7].tobytes()[:-2])
    if form.startswith("nrrd"):
        where = "LIST 2\n" + "\n".join(names) if form.endswith("list") else "s%02d.raw 1 20 1 2"
        head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 40 30 20\nspacings: 1 1 1\nencoding: raw\n"
        head += f"endian: little\ndata file: {where}\n"
    else:
        where = "LIST\n" + "\n".join(names) if form.endswith("list") else "s%02d.raw 1 20 1"
        head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 40 30 20\nElementType = MET_SHORT\n"
        head += f"ElementDataFile = {where}\n"
    (tmp_path / "a.hdr").write_text(head)
    if short:
        assert "s08.raw is truncated" in refusal(tmp_path / "a.hdr")
    else:
        assert np.array_equal(Volume.read(tmp_path / "a.hdr").array, values)


@pytest.mark.parametrize("cut", [2, 200, 900])
def test_dicom_pixels_that_are_short_by_less_than_the_header(tmp_path, cut):
    """The file is long enough for its pixels; its header takes their place."""
    path = write_enhanced(tmp_path / "e.dcm")
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[:-cut]
    data.save_as(path)
    assert "truncated: it holds" in refusal(path)
    write_enhanced(path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert "truncated: it holds" in refusal(path)


@pytest.mark.parametrize("fault", ["fewer frames", "frame cut", "last frame cut", "cut by 2", "no end"])
def test_rle_frames_that_are_not_whole(tmp_path, fault):
    path = write_enhanced(tmp_path / "e.dcm")
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(path)
    assert np.array_equal(Volume.read(path).array, voxels())
    frames = list(generate_frames(data.PixelData, number_of_frames=6))
    if fault == "fewer frames":
        frames = frames[:4]
    elif fault == "frame cut":
        frames[3] = frames[3][:100]
    elif fault == "last frame cut":
        frames[5] = frames[5][:80]
    elif fault == "cut by 2":
        frames[3] = frames[3][:-2]
    data.PixelData = encapsulate(frames)
    data.save_as(path)
    if fault == "no end":
        path.write_bytes(path.read_bytes()[:-20])
    assert "truncated" in refusal(path)


def jpeg_series(folder, compressor):
    """A series compressed by SimpleITK; returns the files."""
    folder.mkdir()
    writer, made = sitk.ImageFileWriter(), []
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    for k in range(3):
        plane = sitk.GetImageFromArray(np.random.default_rng(k).integers(0, 900, (1, 64, 64)).astype(np.int16))
        plane.SetMetaData("0020|000e", "1.2.3")
        plane.SetMetaData("0020|0032", f"0\\0\\{2 * k}")
        plane.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
        plane.SetMetaData("0008|0060", "CT")
        writer.KeepOriginalImageUIDOn()
        made.append(folder / f"{k}.dcm")
        writer.SetFileName(str(made[-1]))
        writer.Execute(plane)
    for k, path in enumerate(made):
        data = pydicom.dcmread(path)
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2 * k], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SeriesInstanceUID = [1, 1], "1.2.3"
        data.save_as(path)
    return made


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("fault", ["cut", "cut, with an end", "other size"])
def test_jpeg_slices_that_are_not_whole(tmp_path, compressor, fault):
    """libjpeg says "Corrupt JPEG data" on standard error and makes up the rest."""
    paths = jpeg_series(tmp_path / "s", compressor)
    expected = [np.random.default_rng(k).integers(0, 900, (64, 64)) for k in range(3)]
    assert np.array_equal(Volume.read(tmp_path / "s").array, expected)
    data = pydicom.dcmread(paths[1])
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    if fault == "other size":
        data.Rows = 128
    else:
        data.PixelData = encapsulate([frame[: len(frame) // 2] + (b"\xff\xd9" if fault != "cut" else b"")])
    data.save_as(paths[1])
    if fault == "other size":
        for path in (paths[0], paths[2]):
            other = pydicom.dcmread(path)
            other.Rows = 128
            other.save_as(path)
    spoken = locale.setlocale(locale.LC_ALL)
    sentence = refusal(tmp_path / "s")
    assert "truncated" in sentence
    assert locale.setlocale(locale.LC_ALL) == spoken, "GDCM leaves another locale behind"
