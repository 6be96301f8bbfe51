"""Label maps are written whole or not at all, with their image's geometry and their labels' names."""

import struct
import threading
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from disks import fill, make_read_only, small_disk

from sammed3d_nb import atomic
from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import writers
from sammed3d_nb.imaging.volume import Volume

FORMATS = ["nii", "nii.gz", "nrrd", "mha", "mhd"]
NAMES = {1: "liver <left & right>", 3: "Milz – ä"}
COLOURS = {1: "#e6194b", 3: "#3cb44b"}


def volume(shape=(20, 30, 40), **options):
    values = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
    c, s = np.cos(0.4), np.sin(0.4)
    return Volume.from_array(values, (0.7, 0.9, 2.5), [[c, -s, 0], [s, c, 0], [0, 0, -1]], (-30, 12.5, 100), **options)


def noise(of, seed=1, high=256):
    """Labels that no compression makes smaller."""
    return np.random.default_rng(seed).integers(0, high, of.array.shape).astype(np.uint8)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def read_by_simpleitk(path):
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image


@pytest.mark.parametrize("suffix", FORMATS)
def test_other_programs_read_what_was_written(tmp_path, suffix, capfd):
    image = volume()
    labels = noise(image)
    path = image.write_mask(labels, tmp_path / f"my mask.{suffix}", names=NAMES, colours=COLOURS)
    values, read = read_by_simpleitk(path)
    assert np.array_equal(values, labels)
    for ijk in [(0, 0, 0), (39, 29, 19)]:
        np.testing.assert_allclose(
            read.TransformIndexToPhysicalPoint(ijk), image.image.TransformIndexToPhysicalPoint(ijk), atol=1e-3
        )
    assert names_in(tmp_path) == sorted(["my mask." + suffix] + ["my mask.zraw"] * (suffix == "mhd"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "mhd"])
def test_the_geometry_is_kept_to_the_last_bit(tmp_path, suffix):
    image = volume()
    read = read_by_simpleitk(image.write_mask(noise(image), tmp_path / f"m.{suffix}"))[1]
    assert read.GetOrigin() == image.image.GetOrigin()
    np.testing.assert_allclose(read.GetSpacing(), image.spacing, rtol=1e-15)
    np.testing.assert_allclose(read.GetDirection(), image.image.GetDirection(), atol=1e-15)


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("left", [0, 4096, 16384])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_loses_nothing(tmp_path, suffix, left, older, capfd):
    image = volume()
    with small_disk(tmp_path / "disk") as disk:
        path = disk / f"mask.{suffix}"
        if older:
            image.write_mask(noise(image, 2, 3), path)
        before = {name: (disk / name).read_bytes() for name in names_in(disk)}
        fill(disk, left)
        with pytest.raises(VolumeError, match=r"mask\.\S+ cannot be written; check the disk's space .*No space left"):
            image.write_mask(noise(image), path)
        (disk / "filler").unlink()
        assert {name: (disk / name).read_bytes() for name in names_in(disk)} == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_disk_that_can_only_be_read(tmp_path, suffix):
    image = volume()
    with small_disk(tmp_path / "disk") as disk:
        path = disk / f"mask.{suffix}"
        image.write_mask(noise(image, 2, 3), path)
        before = path.read_bytes()
        make_read_only(disk)
        with pytest.raises(VolumeError, match=r"cannot be written.*Read-only file system") as caught:
            image.write_mask(noise(image), path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_reads_back_differently_is_no_success(tmp_path, suffix, monkeypatch):
    image = volume()
    path = image.write_mask(noise(image, 2, 3), tmp_path / f"mask.{suffix}")
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    real = writers._compare

    def spoil(draft, found, written):  # as a network disk does that loses a block
        body = max(draft.parent.iterdir(), key=lambda file: file.stat().st_size)
        content = bytearray(body.read_bytes())
        content[-2000] ^= 1
        body.write_bytes(content)
        return real(draft, found, written)

    monkeypatch.setattr(writers, "_compare", spoil)
    with pytest.raises(VolumeError, match="reads back differently"):
        image.write_mask(noise(image), path)
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before


def test_both_files_of_a_pair_or_none(tmp_path, monkeypatch):
    image = volume()
    path = image.write_mask(noise(image, 2, 3), tmp_path / "mask.mhd")
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    real = atomic._move

    def fail(draft, target, overwrite):
        if target == path:
            raise OSError(5, "Input/output error")
        real(draft, target, overwrite)

    monkeypatch.setattr(atomic, "_move", fail)
    with pytest.raises(VolumeError, match="Input/output error"):
        image.write_mask(noise(image), path)
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before
    with pytest.raises(VolumeError, match="Input/output error"):
        image.write_mask(noise(image), tmp_path / "mask.mhd", overwrite=True)
    (tmp_path / "mask.mhd").unlink()
    (tmp_path / "mask.zraw").unlink()
    with pytest.raises(VolumeError, match="Input/output error"):
        image.write_mask(noise(image), path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_links_planted_in_the_folder_are_not_followed(tmp_path, suffix):
    image = volume()
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in (f".mask.{suffix}.part", f".mask.{suffix}.part.{suffix}", f"mask.{suffix}", "mask.zraw"):
        (folder / name).symlink_to(tmp_path / "precious")
    path = image.write_mask(noise(image), folder / f"mask.{suffix}", overwrite=True)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not path.is_symlink()
    assert np.array_equal(Volume.read(path).array, noise(image))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_no_mask_of_ours_stays(tmp_path, suffix):
    image, path = volume(), tmp_path / f"m.{suffix}"
    sitk.WriteImage(image.image, str(path))
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    for overwrite in (None, False):
        with pytest.raises(VolumeError, match="is there already and was not to be overwritten"):
            image.write_mask(noise(image), path, overwrite=overwrite)
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before
    image.write_mask(noise(image), path, overwrite=True)
    image.write_mask(noise(image, 3), path)  # and one of ours is replaced
    assert np.array_equal(Volume.read(path).array, noise(image, 3))
    with pytest.raises(VolumeError, match="is there already"):
        image.write_mask(noise(image), path, overwrite=False)


def test_voxels_of_another_header_stay(tmp_path):
    image = volume()
    (tmp_path / "m.zraw").write_bytes(b"another's")
    with pytest.raises(VolumeError, match=r"m\.zraw is there already"):
        image.write_mask(noise(image), tmp_path / "m.mhd")
    assert (tmp_path / "m.zraw").read_bytes() == b"another's"


def test_a_file_that_comes_meanwhile_stays(tmp_path):
    path = tmp_path / "a"

    def write():
        with atomic.drafts(path, overwrite=False) as folder:
            (folder / "a").write_text("mine")
            path.write_text("theirs")

    with pytest.raises(FileExistsError):
        write()
    assert path.read_text() == "theirs"
    assert names_in(tmp_path) == ["a"]


def test_a_closed_file_stays_closed(tmp_path):
    image = volume()
    path = image.write_mask(noise(image), tmp_path / "m.nii")
    path.chmod(0o600)
    image.write_mask(noise(image), path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_bytes_are_written_whole_or_not_at_all(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        path = atomic.write_bytes(disk / "record.json", b"older")
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            atomic.write_bytes(path, bytes(20_000))
        assert path.read_bytes() == b"older"
        assert names_in(disk) == ["filler", "record.json"]
        (disk / "filler").unlink()
        make_read_only(disk)
        with pytest.raises(OSError, match="Read-only"):
            atomic.write_bytes(path, b"newer")


def test_several_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "a"
    contents = [bytes([n]) * 50_000 for n in range(8)]
    threads = [threading.Thread(target=atomic.write_bytes, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("units", [1, 2, 3])
@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (2, 4), (3, 3), (0, 0)])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_nifti_mask_carries_both_geometries_whole(tmp_path, suffix, codes, units):
    image = volume()
    sitk.WriteImage(image.image, str(tmp_path / "image.nii"))
    content = bytearray((tmp_path / "image.nii").read_bytes())
    struct.pack_into("<2h", content, 252, *codes)
    content[123] = units
    if all(codes):
        struct.pack_into("<f", content, 268, struct.unpack_from("<f", content, 268)[0] + 50)  # 50 mm apart
    (tmp_path / "image.nii").write_bytes(content)
    read = Volume.read(tmp_path / "image.nii")
    path = read.write_mask(noise(image), tmp_path / f"mask.{suffix}")
    head = next(writers.unpacked(path))[:352]
    assert head[252:328] == content[252:328]  # codes, quaternion, offset, rows
    assert head[76:92] == content[76:92]  # handedness and spacing
    assert head[123] == units
    again = Volume.read(path)
    np.testing.assert_array_equal(again.voxel_to_ras.affine, read.voxel_to_ras.affine)


def test_writing_needs_no_second_copy(tmp_path):
    image = volume((200, 256, 256))
    labels = np.zeros(image.array.shape, np.uint16)
    labels[50:150, 60:200, 60:200] = 2
    for suffix in FORMATS:
        tracemalloc.start()
        image.write_mask(labels, tmp_path / f"m.{suffix}", names={2: "a"})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 8e6, (suffix, most)  # the labels themselves have 26 MB


def test_names_lie_where_other_programs_look(tmp_path):
    image, labels = volume(), np.zeros((20, 30, 40), np.uint8)
    labels[2:4, 5:9, 7:20], labels[10, 1, 1] = 1, 3
    for suffix in ("seg.nrrd", "mha"):
        read = read_by_simpleitk(image.write_mask(labels, tmp_path / f"m.{suffix}", names=NAMES, colours=COLOURS))[1]
        assert read.GetMetaData("Segment0_Name") == NAMES[1], suffix
        assert NAMES[3].startswith(read.GetMetaData("Segment1_Name"))  # MetaIO stops at a letter that is not ASCII
        assert NAMES[3].encode() in (tmp_path / f"m.{suffix}").read_bytes()
        assert read.GetMetaData("Segment1_LabelValue") == "3"
        assert read.GetMetaData("Segment0_Extent") == "7 19 5 8 2 3"
        np.testing.assert_allclose(
            [float(n) for n in read.GetMetaData("Segment0_Color").split()], [0xE6 / 255, 0x19 / 255, 0x4B / 255], 1e-4
        )
    path = image.write_mask(labels, tmp_path / "m.nii", names=NAMES, colours=COLOURS)
    content = path.read_bytes()
    assert b'<Label Key="3"' in content
    assert "Milz – ä</Label>".encode() in content
    assert b"liver &lt;left &amp; right&gt;</Label>" in content
    assert struct.unpack_from("<2i", content, 352)[1] == 30
