"""Label maps of other programs become masks on the volume's grid, with their names and colours."""

import json
from contextlib import suppress

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from seg_files import write_seg
from support import SHARED

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.label_maps import read_label_map
from sammed3d_nb.imaging.volume import Volume

NAMES, COLOURS = {1: "liver <left & right>", 3: "Milz – ä"}, {1: "#e6194b", 3: "#3cb44b"}


@pytest.fixture
def volume():
    c, s = np.cos(0.4), np.sin(0.4)
    values = np.random.default_rng(0).integers(0, 99, (20, 30, 40)).astype(np.int16)
    return Volume.from_array(values, (0.7, 0.9, 2.5), [[c, -s, 0], [s, c, 0], [0, 0, 1]], (-30, 12.5, 100), name="ct")


@pytest.fixture
def labels(volume):
    made = np.zeros(volume.array.shape, np.uint8)
    made[2:9, 5:9, 7:20], made[10, 1, 1], made[8:12, 20:28, 30:40] = 1, 3, 3
    return made


def refusal(path, volume):
    with pytest.raises(VolumeError) as caught:
        read_label_map(path, volume)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "seg.nrrd", "mha", "mhd"])
def test_our_own_files_come_back_whole(tmp_path, volume, labels, suffix):
    path = volume.write_mask(labels, tmp_path / f"m.{suffix}", names=NAMES, colours=COLOURS)
    found = read_label_map(path, volume)
    assert [(item.name, item.colour) for item in found] == [(NAMES[n], COLOURS[n]) for n in (1, 3)]
    assert [np.array_equal(item.mask.full, labels == n) for item, n in zip(found, (1, 3), strict=True)] == [True, True]
    assert found.remarks == ()


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_names_beside_the_file(tmp_path, volume, labels, suffix):
    path = volume.write_mask(labels, tmp_path / f"m.{suffix}")
    assert [item.name for item in read_label_map(path, volume)] == ["label 1", "label 3"]
    beside = tmp_path / "m.labels.json"
    beside.write_text(json.dumps({"1": {"name": "liver", "colour": "#123456"}, "3": {"name": "spleen", "colour": 7}}))
    assert [item[:2] for item in read_label_map(path, volume)] == [("liver", "#123456"), ("spleen", None)]
    for damaged in ("[" * 100_000, "{", "[]", '{"1": 2, "x": {"name": "a"}}', '{"1": {"name": ["a"]}}'):
        beside.write_text(damaged)
        assert [item.name for item in read_label_map(path, volume)] == ["label 1", "label 3"]


def test_numbers_stored_as_fractions_are_labels_too(tmp_path, volume, labels):
    image = sitk.GetImageFromArray(labels.astype(np.float32))
    image.CopyInformation(volume.image)
    sitk.WriteImage(image, str(tmp_path / "m.nii.gz"))
    found = read_label_map(tmp_path / "m.nii.gz", volume)
    assert [np.array_equal(item.mask.full, labels == n) for item, n in zip(found, (1, 3), strict=True)] == [True, True]


def test_layers_of_3d_slicer(tmp_path, volume):
    first, second = np.zeros((2, *volume.array.shape), np.uint8)
    first[2:9, 5:9, 7:20], second[4:12, 5:12, 10:30] = 1, 1  # they overlap
    first[15, 3, 3] = 2
    matrix = volume.direction * volume.spacing
    vectors = " ".join(f"({','.join(repr(float(n)) for n in column)})" for column in matrix.T)
    header = (
        "NRRD0004\ntype: unsigned char\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 40 30 20\n"
        f"space directions: none {vectors}\nkinds: list domain domain domain\nencoding: raw\n"
        "space origin: (-30,12.5,100)\n"
        "Segment0_Name:=liver\nSegment0_Color:=0.5 0 1\nSegment0_LabelValue:=1\nSegment0_Layer:=0\n"
        "Segment1_Name:=vessel\nSegment1_LabelValue:=1\nSegment1_Layer:=1\n"
        "Segment2_Name:=liver\nSegment2_LabelValue:=2\nSegment2_Layer:=0\n\n"
    )
    (tmp_path / "a.seg.nrrd").write_bytes(header.encode() + np.stack([first, second], -1).tobytes())
    found = read_label_map(tmp_path / "a.seg.nrrd", volume)
    assert [item[:2] for item in found] == [("liver", "#8000ff"), ("liver 2", None), ("vessel", None)]
    for item, expected in zip(found, (first == 1, first == 2, second == 1), strict=True):
        assert np.array_equal(item.mask.full, expected)


@pytest.mark.parametrize("cropped", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
def test_another_orientation_of_the_same_grid_gives_the_same_mask(tmp_path, volume, labels, order, flips, cropped):
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(volume.image)
    if cropped:
        image = image[5:, :29, 1:13]
    sitk.WriteImage(sitk.Flip(sitk.PermuteAxes(image, order), flips), str(tmp_path / "m.nrrd"))
    found = read_label_map(tmp_path / "m.nrrd", volume)
    for item, n in zip(found, (1, 3), strict=True):
        expected = labels == n
        if cropped:
            expected[13:], expected[:1], expected[:, 29:], expected[..., :5] = 0, 0, 0, 0
        assert np.array_equal(item.mask.full, expected)
    told = any("lies on another grid than ct; it was brought to that" in remark for remark in found.remarks)
    assert told == (cropped or order != (0, 1, 2) or any(flips))


def test_what_is_no_label_map_of_this_volume(tmp_path, volume, labels):
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(volume.image)
    image.SetOrigin((900, 900, 900))
    sitk.WriteImage(image, str(tmp_path / "far.nrrd"))
    assert "labels nothing inside ct; expected a label map of the same patient space" in refusal(
        tmp_path / "far.nrrd", volume
    )
    assert "labels no voxel" in refusal(volume.write_mask(labels * 0, tmp_path / "empty.nrrd"), volume)
    for values, part in ((labels * 0.5, "the value 0.5"), (labels.astype(np.int16) * -1, "the value -")):
        odd = sitk.GetImageFromArray(values)
        odd.CopyInformation(volume.image)
        sitk.WriteImage(odd, str(tmp_path / "odd.nrrd"))
        assert part in refusal(tmp_path / "odd.nrrd", volume)
    many = np.arange(volume.array.size, dtype=np.uint16).reshape(volume.array.shape)
    assert "as an image does" in refusal(volume.write_mask(many, tmp_path / "many.nrrd"), volume)
    assert "does not exist" in refusal(tmp_path / "nowhere.nii", volume)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_dicom_seg(tmp_path, volume, labels, kind):
    masks = [labels == 1, labels > 0]  # they overlap
    path = write_seg(tmp_path / "a.dcm", masks, volume, kind=kind)
    for where in (path, tmp_path):
        found = read_label_map(where, volume)
        assert [item.name for item in found] == ["liver", "tumour"]
        assert all(item.colour == found[0].colour and item.colour[0] == "#" for item in found)
        for item, mask in zip(found, masks, strict=True):
            assert np.array_equal(item.mask.full, mask)


def test_a_dicom_seg_of_single_slices_far_apart(tmp_path, volume, labels):
    labels[:] = 0
    labels[3, 4:8, 4:8], labels[12, 4:8, 4:8] = 1, 1
    found = read_label_map(write_seg(tmp_path / "a.dcm", [labels == 1], volume), volume)
    assert np.array_equal(found[0].mask.full, labels == 1)


@pytest.mark.parametrize("straighten", [False, True])
@pytest.mark.parametrize("of", ["many slices", "one slice"])
def test_a_dicom_seg_on_the_slices_of_a_tilted_gantry(tmp_path, straighten, of):
    """Its frames lean as the slices do; they belong to the slices, wherever those are shown."""
    values = np.random.default_rng(0).integers(0, 99, (6, 16, 20)).astype(np.int16)
    folder = write_series(tmp_path / "s", values, spacing=(0.7, 0.9, 2.5), shift=(0, 0.8, 0))
    taken = Volume.read(folder)
    assert any("tilted gantry" in warning for warning in taken.warnings)
    mask = np.zeros(values.shape, np.uint8)
    mask[slice(3, 4) if of == "one slice" else slice(2, 6), 4:9, 5:15] = 1
    path = write_seg(tmp_path / "seg.dcm", [mask], taken)
    data = pydicom.dcmread(path)
    for group in data.PerFrameFunctionalGroupsSequence:  # where the slices lie in the patient
        x, y, z = (float(n) for n in group.PlanePositionSequence[0].ImagePositionPatient)
        group.PlanePositionSequence[0].ImagePositionPatient = [x, y + 0.8 * round((z - taken.origin[2]) / 2.5), z]
    data.save_as(path)
    volume = Volume.read(folder, straighten=straighten)
    found = read_label_map(path, volume)
    assert found.remarks == ()
    back = volume.write_mask(found[0].mask.full, tmp_path / "back.nrrd")  # on the slices as they were taken
    assert np.array_equal(Volume.read(back).array, mask)


def test_a_dicom_seg_beside_a_tilted_stack_that_does_not_lean(tmp_path):
    """Frames one above the other stay where they say; frames that lean otherwise are refused."""
    values = np.random.default_rng(0).integers(0, 99, (6, 16, 20)).astype(np.int16)
    volume = Volume.read(write_series(tmp_path / "s", values, spacing=(0.7, 0.9, 2.5), shift=(0, 0.8, 0)))
    mask = np.zeros(values.shape, np.uint8)
    mask[2:6, 4:9, 5:15] = 1
    path = write_seg(tmp_path / "seg.dcm", [mask], volume)
    (found,) = read_label_map(path, volume)
    assert np.array_equal(found.mask.full, mask)
    data = pydicom.dcmread(path)
    for n, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        x, y, z = (float(n) for n in group.PlanePositionSequence[0].ImagePositionPatient)
        group.PlanePositionSequence[0].ImagePositionPatient = [x, y - 2 * n, z]
    data.save_as(path)
    assert "do not lie in line" in refusal(path, volume)


def test_a_dicom_seg_with_fewer_pixels_than_announced(tmp_path, volume, labels):
    path = write_seg(tmp_path / "a.dcm", [labels == 1], volume)
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[:-60]
    data.save_as(path)
    assert "truncated" in refusal(path, volume)
    data.NumberOfFrames = 2_000_000_000
    data.save_as(path)
    assert "does not say where its 2000000000 frames lie" in refusal(path, volume)


def test_damaged_dicom_segs_give_sentences(tmp_path, volume, labels):
    content = write_seg(tmp_path / "a.dcm", [labels == 1], volume).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(132, len(content), 4):
            damaged[place] = random.integers(0, 256)
        (tmp_path / "a.dcm").write_bytes(damaged)
        with suppress(VolumeError):
            read_label_map(tmp_path / "a.dcm", volume)


def test_a_real_dicom_seg():
    path = SHARED / "cases" / "seg_object_1bit" / "label.dcm"
    if not path.exists():
        pytest.skip("no public files beside the project (../shared/cases)")
    volume = Volume.from_array(np.zeros((3, 38, 24), np.int16), (0.7, 0.7, 2.5), origin=(46.4649, 5.01881, -177.75))
    (found,) = read_label_map(path, volume)
    assert (found.name, found.mask.volume_size) == ("Liver", (24, 38, 3))
    stored = pydicom.dcmread(path).pixel_array
    assert np.array_equal(found.mask.full, stored)
    assert stored.any()
