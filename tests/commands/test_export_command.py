"""The command ``export``: saved sessions in other formats, and as a training set."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from support import BallNetwork, model_of
from test_cli import refusal, run

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.session import Session

SHAPE = (12, 20, 24)


def saved(folder, name, objects, *, image=None, overlap=False):
    """A saved session whose objects are blocks, given by their first and last x."""
    if image is None:
        image = folder / f"{name}.nii.gz"
        values = np.random.default_rng(len(name)).normal(40, 20, SHAPE).astype(np.int16)
        made = sitk.GetImageFromArray(values)
        made.SetSpacing((0.7, 0.9, 2.5))
        sitk.WriteImage(made, str(image))
    volume = Volume.read(image)
    session = Session(volume, model_of(BallNetwork()), overlap=overlap)
    for number, (called, (first, last)) in enumerate(objects.items()):
        if number:
            session.new_object(called)
        else:
            session.rename("object 1", called)
        _, _, x = np.indices(volume.array.shape)
        session.paint(np.argwhere((x >= first) & (x <= last))[:, ::-1])
    return session.save(folder / f"{name}.sammed3d.json"), session


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd", ".mha"])
def test_one_session_as_one_file(tmp_path, capsys, suffix):
    record, session = saved(tmp_path, "a", {"liver": (2, 5), "spleen": (8, 9)})
    target = tmp_path / f"out{suffix}"
    assert run(capsys, "export", record, "-o", target) == (0, f"{target}\n", "")
    again = Session(session.volume, model_of(BallNetwork()))
    assert [(item.name, item.local) for item in again.load_masks(target)] == [
        (item.name, item.local) for item in session.objects
    ]
    assert "is there already" in refusal(capsys, "export", record, "-o", target)
    assert run(capsys, "export", record, "-o", target, "--overwrite")[0] == 0


def test_a_folder_of_sessions_and_one_that_fails(tmp_path, capsys):
    for name in ("a", "b", "gone"):
        saved(tmp_path, name, {"liver": (2, 5)})
    (tmp_path / "gone.nii.gz").unlink()
    out = tmp_path / "out"
    status, printed, told = run(capsys, "export", tmp_path, "-o", out, "--as", ".stl")
    assert (status, printed) == (1, f"{out / 'a.stl'}\n{out / 'b.stl'}\n")
    assert "gone.nii.gz" in told
    assert told.count("\n") == 1
    status, printed, _ = run(capsys, "export", tmp_path / "a.sammed3d.json", "-o", out, "--each", "--as", ".nrrd")
    assert status == 0
    assert (out / "a.liver.nrrd").is_file()


def test_what_cannot_be_done_is_said(tmp_path, capsys):
    record, _ = saved(tmp_path, "a", {"liver": (2, 5)})
    saved(tmp_path, "b", {"liver": (2, 5)})
    assert "is one file and there are 2 records" in refusal(capsys, "export", tmp_path, "-o", tmp_path / "x.nrrd")
    assert ".tif is no known format" in refusal(capsys, "export", record, "-o", tmp_path / "o", "--as", ".tif")
    (tmp_path / "empty").mkdir()
    assert "holds no saved session" in refusal(capsys, "export", tmp_path / "empty", "-o", tmp_path / "p")
    assert "was not read from DICOM" in refusal(capsys, "export", record, "-o", tmp_path / "x.dcm")
    assert "leave out --each" in refusal(capsys, "export", record, "-o", tmp_path / "s", "--nnunet", "--each")


def test_an_anonymous_export_names_no_image(tmp_path, capsys):
    record, _ = saved(tmp_path, "Smith", {"liver": (2, 5)})
    out = tmp_path / "out"
    assert "names the image" in refusal(capsys, "export", record, "-o", tmp_path / "Smith-1.nii.gz", "--anonymous")
    assert "names the image" in refusal(capsys, "export", record, "-o", out, "--anonymous")
    assert "names the patient" in refusal(capsys, "export", record, "-o", tmp_path / "x.dcm", "--anonymous")
    assert "holds the images" in refusal(capsys, "export", record, "-o", out, "--nnunet", "--anonymous")
    assert not list(out.glob("*"))
    assert run(capsys, "export", record, "-o", tmp_path / "case-1.nii.gz", "--anonymous")[0] == 0
    assert b"Smith" not in (tmp_path / "case-1.labels.json").read_bytes()


def test_a_training_set_numbers_objects_alike(tmp_path, capsys):
    _, first = saved(tmp_path, "a", {"liver": (2, 5), "spleen": (8, 9)})
    _, second = saved(tmp_path, "b", {"spleen": (1, 3), "cyst": (10, 12)})
    status, printed, told = run(capsys, "export", tmp_path, "-o", tmp_path / "set", "--nnunet")
    assert (status, told) == (0, "")
    assert printed.splitlines()[-1] == f"{tmp_path / 'set'}: 2 cases (2 new) of liver, spleen, cyst."
    described = json.loads((tmp_path / "set/dataset.json").read_text())
    assert described == {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "liver": 1, "spleen": 2, "cyst": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    for session, case in ((first, "a"), (second, "b")):
        image = sitk.ReadImage(str(tmp_path / f"set/imagesTr/{case}_0000.nii.gz"))
        label = sitk.ReadImage(str(tmp_path / f"set/labelsTr/{case}.nii.gz"))
        assert np.array_equal(sitk.GetArrayFromImage(image), session.volume.array)
        for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, get)() == getattr(label, get)()
        values = sitk.GetArrayFromImage(label)
        for item in session.objects:
            assert np.array_equal(values == described["labels"][item.name], item.mask > 0)


def test_a_training_set_grows_and_keeps_its_numbers(tmp_path, capsys):
    folder = tmp_path / "set"
    one, _ = saved(tmp_path, "a", {"liver": (2, 5)})
    two, _ = saved(tmp_path, "b", {"cyst": (1, 3), "liver": (5, 6)})
    assert run(capsys, "export", one, "-o", folder, "--nnunet")[0] == 0
    assert run(capsys, "export", two, "-o", folder, "--nnunet")[0] == 0
    described = json.loads((folder / "dataset.json").read_text())
    assert (described["labels"], described["numTraining"]) == ({"background": 0, "liver": 1, "cyst": 2}, 2)
    status, _, told = run(capsys, "export", one, "-o", folder, "--nnunet")
    assert status == 1
    assert "is there already" in told
    (folder / "dataset.json").write_text("{}")
    assert "made by another program" in refusal(capsys, "export", one, "-o", folder, "--nnunet")


def test_cases_of_one_name_in_a_training_set_get_numbers(tmp_path, capsys):
    sessions = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        sessions.append(saved(tmp_path / str(number), "a", {"liver": (2, 4 + number)})[1])
    for how in ((), ("--overwrite",)):  # the same numbers once more
        status, printed, told = run(capsys, "export", tmp_path, "-o", tmp_path / "set", "--nnunet", *how)
        assert (status, told) == (0, "")
        assert printed.splitlines()[:2] == ["a", "a_2"]
        for session, case in zip(sessions, ("a", "a_2"), strict=True):
            label = sitk.ReadImage(str(tmp_path / f"set/labelsTr/{case}.nii.gz"))
            assert np.array_equal(sitk.GetArrayFromImage(label), session.objects[0].mask)
    status, printed, told = run(capsys, "export", tmp_path, "-o", tmp_path / "set", "--nnunet")
    assert (status, told.count("is there already")) == (1, 2)


def test_a_training_set_that_goes_on_keeps_the_licences_of_its_cases(tmp_path, capsys):
    one, _ = saved(tmp_path, "a", {"liver": (2, 5)})
    two, _ = saved(tmp_path, "b", {"liver": (2, 5)})
    folder = tmp_path / "set"
    assert run(capsys, "export", one, "-o", folder, "--nnunet")[0] == 0
    described = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**described, "licence": "CC BY-NC-SA 4.0"}))
    assert run(capsys, "export", two, "-o", folder, "--nnunet")[0] == 0
    assert json.loads((folder / "dataset.json").read_text())["licence"] == "CC BY-NC-SA 4.0"


def test_what_does_not_fit_into_a_training_set(tmp_path, capsys):
    saved(tmp_path, "a", {"liver": (2, 5), "cyst": (4, 8)}, overlap=True)
    saved(tmp_path, "b", {"liver": (2, 5)})
    saved(tmp_path, "ct", {"liver": (2, 5)}, image=write_series(tmp_path / "series", values=None))
    saved(tmp_path, "empty", {})
    status, printed, told = run(capsys, "export", tmp_path, "-o", tmp_path / "set", "--nnunet")
    assert status == 1
    assert "a.sammed3d.json has objects that share voxels" in told
    assert "ct.sammed3d.json is CT and this set holds image" in told
    assert "empty.sammed3d.json has no mask" in told
    assert printed.startswith("b\n")
