"""Every format holds the same voxels, names and colours, on the image's own grid."""

import json
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
import trimesh
from dicom_files import SHAPE, rotation, write_enhanced, write_series
from disks import fill, small_disk
from support import BallNetwork, model_of

from sammed3d_nb.errors import UserError, VolumeError
from sammed3d_nb.imaging.surfaces import SUFFIXES as SURFACES
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.session import Session

NAMES = ("left kidney", "Milz – ä", "tumour")


def masks(shape=SHAPE):
    """Two apart, and one over both."""
    z, y, x = np.indices(shape)
    first, second = x < shape[2] // 3, x > shape[2] // 2
    return [first & (z > 1), second & (y > 2), (z == 3) & (y < 5)]


def session_on(volume, made=None):
    session = Session(volume, model_of(BallNetwork()), overlap=True)
    session.rename(session.current.name, NAMES[0])
    for name, mask in zip(NAMES, masks(volume.array.shape) if made is None else made, strict=False):
        if name != NAMES[0]:
            session.new_object(name)
        session.paint(np.argwhere(mask)[:, ::-1])
    return session


def whole(**change):
    """With all that a segmentation refers to."""

    def complete(k, data):
        data.FrameOfReferenceUID = "1.2.3.5"
        for keyword, value in change.items():
            setattr(data, keyword, value)

    return complete


def written(session):
    return [item.local for item in session.objects if item.local.count]


def read_back(volume, path):
    again = Session(volume, model_of(BallNetwork()), overlap=True)
    return again.load_masks(path)


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz"])
def test_what_shares_voxels_comes_back_whole(tmp_path, suffix):
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), (0.7, 0.9, 2.5), rotation(0.2, 0.3, -0.1), (-30, 12.5, 100))
    session = session_on(volume)
    path = session.export(tmp_path / f"all{suffix}")
    found = read_back(volume, path)
    if suffix == ".nii.gz":  # the third lies in a file of its own
        assert sorted(p.name for p in tmp_path.iterdir()) == ["all.labels.json", "all.layer2.nii.gz", "all.nii.gz"]
        found = (*found, *(read_back(volume, tmp_path / "all.layer2.nii.gz")))
    assert [(item.name, item.colour, item.local) for item in found] == [
        (item.name, item.colour, item.local) for item in session.objects if item.local.count
    ]


def test_3d_slicers_segmentation_reads_as_layers(tmp_path):
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), (0.7, 0.9, 2.5), rotation(0.2, 0.3, -0.1), (-30, 12.5, 100))
    session = session_on(volume)
    image = sitk.ReadImage(str(session.export(tmp_path / "all.seg.nrrd")))
    assert image.GetNumberOfComponentsPerPixel() == 2
    np.testing.assert_allclose(image.GetSpacing(), volume.spacing)
    np.testing.assert_allclose(image.GetDirection(), volume.direction.ravel())
    np.testing.assert_allclose(image.GetOrigin(), volume.origin)
    values = sitk.GetArrayFromImage(image)
    for number, item in enumerate(session.objects):
        layer = int(image.GetMetaData(f"Segment{number}_Layer"))
        value = int(image.GetMetaData(f"Segment{number}_LabelValue"))
        assert np.array_equal(values[..., layer] == value, item.mask > 0)
    assert [int(image.GetMetaData(f"Segment{n}_Layer")) for n in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("made", ["axial", "oblique", "enhanced", "tilted"])
def test_a_dicom_seg_of_a_dicom_image(tmp_path, made):
    folder = tmp_path / "ct"
    if made == "enhanced":
        folder.mkdir()
        complete_file(write_enhanced(folder / "all.dcm", order=[3, 0, 5, 1, 4, 2]))
    else:
        direction = rotation(0.2, 0.3, -0.1) if made == "oblique" else np.eye(3)
        shift = (0, 0.4, 0) if made == "tilted" else (0, 0, 0)
        write_series(folder, direction=direction, shift=shift, change=whole())
    volume = Volume.read(folder)
    session = session_on(volume)
    path = session.export(tmp_path / "all.dcm")
    found = read_back(volume, path)
    assert [(item.name, item.local) for item in found] == [
        (item.name, item.local) for item in session.objects if item.local.count
    ]
    for item, wanted in zip(found, (item for item in session.objects if item.local.count), strict=True):
        assert np.abs(np.array(channels(item.colour)) - channels(wanted.colour)).max() <= 2  # CIELab of 16 bits


def complete_file(path):
    import pydicom

    data = pydicom.dcmread(path)
    data.FrameOfReferenceUID = "1.2.3.5"
    data.save_as(path)


def channels(colour):
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def test_another_reader_of_dicom_segs(tmp_path):
    folder = write_series(tmp_path / "ct", change=whole(PatientID="P-17"))
    volume = Volume.read(folder)
    session = session_on(volume)
    seg = highdicom.seg.segread(session.export(tmp_path / "all.dcm"))
    assert (seg.PatientID, seg.Modality, seg.number_of_segments) == ("P-17", "SEG", 3)
    kidney, spleen, tumour = (seg.get_segment_description(n) for n in (1, 2, 3))
    assert kidney.segmented_property_type.meaning == "Kidney"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Left"
    assert (spleen.segment_label, spleen.segmented_property_type.meaning) == ("Milz – ä", "Tissue")
    assert tumour.segmented_property_category.meaning == "Morphologically Abnormal Structure"
    uids = sorted(sourced(folder), key=lambda data: data.ImagePositionPatient[2])
    for number, item in enumerate(written(session), start=1):
        pixels = seg.get_pixels_by_source_instance(
            [data.SOPInstanceUID for data in uids], segment_numbers=[number], assert_missing_frames_are_empty=True
        )
        assert np.array_equal(pixels[..., 0] > 0, item.full > 0)


def test_the_same_object_of_the_same_series_is_tracked(tmp_path):
    volume = Volume.read(write_series(tmp_path / "ct", change=whole()))
    session = session_on(volume)
    first, second = (highdicom.seg.segread(session.export(tmp_path / name)) for name in ("a.dcm", "b.dcm"))
    uids = [seg.get_segment_description(1).tracking_uid for seg in (first, second)]
    assert uids[0] == uids[1] != first.get_segment_description(2).tracking_uid
    assert first.SOPInstanceUID != second.SOPInstanceUID


def sourced(folder):
    import pydicom

    return [pydicom.dcmread(path) for path in folder.iterdir()]


def test_a_dicom_seg_needs_a_dicom_image(tmp_path):
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), (1, 1, 1), name="brain")
    with pytest.raises(VolumeError, match="brain was not read from DICOM"):
        session_on(volume).export(tmp_path / "all.dcm")
    folder = write_series(tmp_path / "ct")
    with pytest.raises(VolumeError, match="states no frame of reference"):
        session_on(Volume.read(folder)).export(tmp_path / "all.dcm")
    folder = write_series(tmp_path / "more", change=whole())
    session = session_on(Volume.read(folder))
    next(folder.iterdir()).unlink()
    with pytest.raises(VolumeError, match=r"lacks slices|holds 5 slices"):
        session.export(tmp_path / "all.dcm")
    assert list(tmp_path.glob("*.dcm")) == []


@pytest.mark.parametrize("suffix", SURFACES)
@pytest.mark.parametrize("flip", [1, -1])
def test_surfaces_are_closed_and_lie_in_the_patient(tmp_path, suffix, flip):
    z, y, x = np.indices((30, 40, 50))
    ball = (2 * (z - 15)) ** 2 + (y - 20) ** 2 + (x - 25) ** 2 < 12**2
    block = (z < 4) & (y < 9) & (x < 9)  # touches the border
    direction = rotation(0.2, 0.3, -0.1) * [1, 1, flip]
    volume = Volume.from_array(np.zeros(ball.shape, np.int16), (1, 1, 2), direction, (-30, 12.5, 100))
    session = session_on(volume, [ball, block])
    found = trimesh.load_scene(session.export(tmp_path / f"all{suffix}"), split_objects=True)
    parts = {"all": found.to_mesh()} if suffix == ".stl" else {name: found.geometry[name] for name in NAMES[:2]}
    factor = 1e-9 if suffix == ".glb" else 1
    assert sum(part.volume for part in parts.values()) / factor == pytest.approx(
        (ball.sum() + block.sum()) * 2, rel=0.03
    )
    for part in parts.values():
        assert part.is_watertight
    where = np.asarray(volume.voxel_to_lps([25, 20, 15]))
    if suffix != ".stl":
        centre = parts["left kidney"].center_mass
        if suffix == ".glb":  # metres; x is left, y is up, z is ahead
            centre = np.array([centre[0], -centre[2], centre[1]]) * 1000
            shade = parts["left kidney"].visual.material.baseColorFactor[:3]
            assert list(shade) == channels(session.objects[0].colour)
        np.testing.assert_allclose(centre, where, atol=0.05)


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd", ".stl"])
def test_a_file_for_each_object(tmp_path, suffix):
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), (1, 1, 1))
    session = session_on(volume)
    session.export(tmp_path / f"case{suffix}", each=True)
    names = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".json")}
    assert names == {f"case.{name}{suffix}" for name in ("left_kidney", "Milz_–_ä", "tumour")}
    if suffix != ".stl":
        for path, item in zip(("left_kidney", "Milz_–_ä", "tumour"), written(session), strict=True):
            assert [one.local for one in read_back(volume, tmp_path / f"case.{path}{suffix}")] == [item]


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".dcm", ".stl", ".obj", ".glb", ".nii.gz"])
def test_nothing_is_overwritten_without_a_word(tmp_path, suffix):
    volume = Volume.read(write_series(tmp_path / "ct", change=whole()))
    session = session_on(volume)
    path = session.export(tmp_path / f"all{suffix}")
    before = path.read_bytes()
    with pytest.raises(VolumeError, match="is there already"):
        session.export(path)
    assert path.read_bytes() == before
    session.export(path, overwrite=True)
    with pytest.raises(UserError, match=r"ends in no known .*\.seg\.nrrd"):
        session.export(tmp_path / "all.tif")


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".dcm", ".stl", ".obj", ".glb"])
def test_a_full_disk_loses_nothing(tmp_path, suffix):
    volume = Volume.read(write_series(tmp_path / "ct", change=whole()))
    noise = np.random.default_rng(0).random(SHAPE) < 0.5
    session = session_on(volume, [noise])
    with small_disk(tmp_path / "disk") as disk:
        path = session.export(disk / f"all{suffix}")
        before = path.read_bytes()
        fill(disk, 0)
        with pytest.raises(UserError, match="cannot be written"):
            session.export(path, overwrite=True)
        (disk / "filler").unlink()
        assert path.read_bytes() == before


def test_the_images_own_slices_are_never_written_over(tmp_path):
    folder = write_series(tmp_path / "ct", change=whole())
    session = session_on(Volume.read(folder))
    slice_file = next(folder.iterdir())
    before = slice_file.read_bytes()
    with pytest.raises(VolumeError, match="is the image itself"):
        session.export(slice_file, overwrite=True)
    assert slice_file.read_bytes() == before


def test_the_names_file_lists_what_a_layered_file_holds(tmp_path):
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), (1, 1, 1))
    session_on(volume).export(tmp_path / "all.seg.nrrd")
    listed = json.loads(Path(tmp_path / "all.seg.labels.json").read_text())
    assert [one["name"] for one in listed.values() if one["volume_ml"]] == list(NAMES)


def test_a_code_of_snomed_ct_comes_before_the_name(tmp_path):
    """From the label set, through the record, into the DICOM SEG."""
    volume = Volume.read(write_series(tmp_path / "ct", change=whole()))
    record = tmp_path / "case.sammed3d.json"
    session = Session(volume, model_of(BallNetwork()), overlap=True)
    session.begin_with("hígado", "#e69f00", "10200004")  # DICOM knows it as liver
    told = [
        ("left kidney", "64033007"),
        ("Niere", "64033007"),
        ("Kidney L 2", "18639004"),
        ("área 51", "9991001"),
        ("spleen", ""),
        ("gone", "10200004"),
    ]
    for name, code in told:
        session.new_object(name, code=code)
    for item in session.objects:
        session.select(item.name)
        session.paint([(3, 3, 3)])
    session.rename("gone", "pancreas")
    session.save(record)
    again = Session.resume(record, volume=volume, model=model_of(BallNetwork()))
    assert [item.code for item in again.objects] == [
        "10200004", "64033007", "64033007", "18639004", "9991001", "", "",
    ]  # fmt: skip
    seg = highdicom.seg.segread(again.export(tmp_path / "all.dcm"))
    kinds = [seg.get_segment_description(n) for n in range(1, seg.number_of_segments + 1)]
    assert [(kind.segmented_property_type.value, kind.segmented_property_type.meaning) for kind in kinds] == [
        ("10200004", "Liver"),
        ("64033007", "Kidney"),
        ("64033007", "Kidney"),
        ("18639004", "Kidney L 2"),
        ("9991001", "área 51"),
        ("78961009", "Spleen"),
        ("15776009", "Pancreas"),
    ]
    assert kinds[0].segmented_property_category.meaning == "Anatomical Structure"
    sides = [
        kind.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence") for kind in kinds
    ]
    assert sides[1][0].CodeMeaning == "Left", "the name says the same and more"
    assert not any(sides[2:]), "a code that says the side, or something else, stands alone"
    again.undo()  # the name that was given up
    assert again.objects[-1].code == "10200004"


def test_what_is_no_code_is_refused(tmp_path):
    session = Session(Volume.from_array(np.zeros(SHAPE, np.int16), (1, 1, 1)), model_of(BallNetwork()))
    for code in ("K-12", "1" * 19, "١٢٣", 12):
        with pytest.raises(UserError, match="is no code of SNOMED CT"):
            session.new_object("liver", code=code)
    assert len(session.objects) == 1
    session.new_object("liver", code="10200004")
    text = Path(session.save(tmp_path / "case.sammed3d.json")).read_text()
    damaged = tmp_path / "other.sammed3d.json"
    damaged.write_text(text.replace('"10200004"', '"<b>"'))
    with pytest.raises(UserError, match="is no code of SNOMED CT"):
        Session.resume(damaged, volume=session.volume, model=model_of(BallNetwork()))
