"""DICOM folders in the list: each series is a case, told apart by modality, description, size and spacing."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import voxels, write_enhanced, write_series
from support import BallNetwork, model_of

import sammed3d_nb as snb
from sammed3d_nb.commands.cli import main
from sammed3d_nb.commands.servers import launch_environment
from sammed3d_nb.imaging.dicom_series import series_of
from sammed3d_nb.ui.worklist import LISTED, PATHS, as_text, cases_from, cases_of
from sammed3d_nb.worklist.listing import found_in

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def told(*paths: Path) -> list[tuple[str, str]]:
    return [(case.name, case.details) for case in cases_of(paths)]


def two_patients(folder: Path) -> Path:
    """As a hospital exports them: patients in folders, a scout beside what is wanted, a file that is no image."""
    for number, patient in enumerate(("PAT1", "PAT2")):
        (folder / patient / "study").mkdir(parents=True)
        write_series(folder / patient / "study" / "a", voxels(number), uid=f"1.2.{number}.1", number=3)
        write_series(
            folder / patient / "study" / "b", voxels(5)[:4], uid=f"1.2.{number}.2", number=12, description="Lung",
            spacing=(0.5, 0.5, 1), change=lambda k, data: setattr(data, "Modality", "PT"),
        )  # fmt: skip
        write_series(folder / patient / "study" / "s", voxels()[:1], uid=f"1.2.{number}.9", number=1)
    (folder / "readme.txt").write_text("not DICOM")
    return folder


def test_each_series_of_each_patient_is_a_case(tmp_path: Path) -> None:
    folder = two_patients(tmp_path / "export")
    abdomen, lung = "CT, Abdomen, 10 × 8 × 6, 0.7 × 0.9 × 2.5 mm", "PT, Lung, 10 × 8 × 4, 0.5 × 0.5 × 1 mm"
    assert told(folder) == [
        ("PAT1/Abdomen", abdomen), ("PAT1/Lung", lung), ("PAT2/Abdomen", abdomen), ("PAT2/Lung", lung)
    ]  # fmt: skip
    opened = [case.open(model_of(BallNetwork()), None).volume for case in cases_of([folder])]
    assert [volume.series for volume in opened] == ["1.2.0.1", "1.2.0.2", "1.2.1.1", "1.2.1.2"]
    assert np.array_equal(opened[2].array, voxels(1))
    assert all(volume.warnings == () for volume in opened), "nothing had to be chosen"


def test_series_in_one_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, uid in ((10, "1.2.1"), (9, "1.2.2"), (2, "1.2.3")):
        write_series(tmp_path, voxels(number), uid=uid, number=number, description=f"Phase {number}")
    assert [name for name, _ in told(tmp_path)] == ["Phase 2", "Phase 9", "Phase 10"]
    volume = cases_of([tmp_path])[1].open(model_of(BallNetwork()), None).volume
    assert np.array_equal(volume.array, voxels(9))


def test_two_patients_with_one_uid_are_two_cases(tmp_path: Path) -> None:
    for patient in ("A", "B"):
        write_series(
            tmp_path / patient, voxels(ord(patient)), change=lambda k, d, p=patient: setattr(d, "PatientID", p)
        )
    cases = cases_of([tmp_path])
    assert [case.name for case in cases] == ["A/Abdomen", "B/Abdomen"]
    opened = [case.open(model_of(BallNetwork()), None).volume for case in cases]
    assert [np.array_equal(v.array, voxels(ord(p))) for v, p in zip(opened, "AB", strict=True)] == [True, True]


def test_multi_frame_files_are_cases_each_for_itself(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm")
    write_enhanced(tmp_path / "b.dcm", voxels(2)[:5])
    assert [details for _, details in told(tmp_path)] == [
        "CT, 10 × 8 × 6, 0.7 × 0.9 × 2.5 mm", "CT, 10 × 8 × 5, 0.7 × 0.9 × 2.5 mm"
    ]  # fmt: skip
    opened = [case.open(model_of(BallNetwork()), None).volume for case in cases_of([tmp_path])]
    assert [volume.size[2] for volume in opened] == [6, 5]


def test_images_and_series_in_one_folder(tmp_path: Path) -> None:
    volume = snb.Volume.from_array(voxels(), (0.7, 0.9, 2.5))
    (tmp_path / "p1").mkdir()
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        sitk.WriteImage(volume.image, str(tmp_path / "p1" / name))
    write_series(tmp_path / "p2")
    expected = "10 × 8 × 6, 0.7 × 0.9 × 2.5 mm"
    assert told(tmp_path / "p1") == [("a.mha", expected), ("a.nii.gz", expected), ("a.nrrd", expected)]
    assert [name for name, _ in told(tmp_path)] == ["a.mha", "a.nii.gz", "a.nrrd", "Abdomen"]


def test_a_damaged_or_odd_file_is_listed_and_told_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b nothing")
    (tmp_path / "b.nrrd").write_bytes(b"NRRD0004\nsizes: x\n")
    (tmp_path / "c.mha").write_bytes(b"ObjectType = Image\nDimSize = 1 2 three\n")
    assert [details for _, details in told(tmp_path)] == ["", "", ""]
    with pytest.raises(snb.UserError):
        cases_of([tmp_path])[0].open(model_of(BallNetwork()), None)


def test_the_list_reads_no_pixels(tmp_path: Path) -> None:
    """Cut behind the image's size, every slice is still listed: nothing further back was looked at."""
    folder = write_series(tmp_path / "s")
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"\x28\x00\x00\x01US")])  # BitsAllocated
    assert [details for _, details in told(tmp_path)] == ["CT, Abdomen, 10 × 8 × 6, 0.7 × 0.9 × 2.5 mm"]


def test_a_large_number_of_slices_is_described_by_the_usual_gap(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", heights=[0, 2, 4, 8, 10, 12])
    (one,) = series_of(sorted(folder.iterdir()))
    assert one.spacing == pytest.approx((0.7, 0.9, 2))
    broken = pydicom.dcmread(one.files[0])
    broken.PixelSpacing = None
    broken.save_as(one.files[0])
    (one,) = series_of([one.files[0]])
    assert "10 × 8 × 1" in str(one)


def test_the_menu_shows_what_tells_them_apart(tmp_path: Path) -> None:
    app = snb.App(model=model_of(BallNetwork()), cases=cases_of([two_patients(tmp_path)]))
    labels = [label for label, _ in app.cases.menu.widget.options]
    assert labels[1] == "PAT1/Lung · PT, Lung, 10 × 8 × 4, 0.5 × 0.5 × 1 mm"
    app.close()


def test_the_command_line_lists_the_series_and_how_to_choose(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    write_series(tmp_path / "d" / "x", uid="1.2.1")
    write_series(tmp_path / "d" / "y", voxels(2)[:4], uid="1.2.2", number=12, description="Lung")
    assert main(["segment", "d", "--click", "5,4,3", "-o", "m.nii.gz"]) == 0
    said = capsys.readouterr().err
    assert "Choose another one by its --series (* is the one in use):" in said
    assert "* --series 2   CT, Abdomen, 10 × 8 × 6, 0.7 × 0.9 × 2.5 mm, 6 files" in said
    assert "  --series 12  CT, Lung, 10 × 8 × 4, 0.7 × 0.9 × 2.5 mm, 4 files" in said
    assert main(["segment", "d", "--series", "12", "--click", "5,4,3", "-o", "m.nii.gz"]) == 0
    assert "--series" not in capsys.readouterr().err
    assert snb.Volume.read("m.nii.gz").size == (10, 8, 4)


def test_pages_take_the_list_that_the_launcher_made(tmp_path: Path, monkeypatch) -> None:
    """Otherwise every page would look at every slice again."""
    folder = two_patients(tmp_path / "export")
    environ = {**launch_environment([folder]), LISTED: str(tmp_path / "cases")}
    (tmp_path / "cases").write_text(as_text(found_in([folder])))
    monkeypatch.setattr("sammed3d_nb.worklist.listing.series_of", lambda _: pytest.fail("looked again"))
    assert [case.name for case in cases_from(environ)][::3] == ["PAT1/Abdomen", "PAT2/Lung"]
    assert str(folder) in environ[PATHS]


def test_the_launcher_lists_once_in_its_private_folder(tmp_path: Path, monkeypatch) -> None:
    started: dict[str, str] = {}

    def become(_: str, __: list[str], environment: dict[str, str]) -> None:
        started.update(environment)
        raise SystemExit

    monkeypatch.setattr("os.execve", become)
    folder = write_series(tmp_path / "s")
    with pytest.raises(SystemExit):
        main(["app", str(folder), "--port", "18997", "--no-browser", "--output", str(tmp_path)])
    listed = Path(started[LISTED])
    assert [case.name for case in cases_from(started)] == ["Abdomen"]
    assert listed.stat().st_mode & 0o077 == 0
    assert listed.parent.stat().st_mode & 0o077 == 0
    shutil.rmtree(listed.parent)
