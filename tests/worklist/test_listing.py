"""Which files of a folder are cases, and what they are called."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import voxels, write_series
from support import BallNetwork, model_of

import sammed3d_nb as snb
from sammed3d_nb.ui.worklist import cases_of

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

SIZE = (12, 20, 24)


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(-100, 200, SIZE).astype(np.int16)
    sitk.WriteImage(snb.Volume.from_array(values, (2, 2, 4)).image, str(path))
    return path


def names(*paths: Path) -> list[str]:
    return [case.name for case in cases_of(paths)]


def test_a_folder_for_each_patient_is_a_worklist_named_by_the_folders(tmp_path: Path) -> None:
    for case in ("case1", "case2", "case10"):
        write(tmp_path / case / "image.nii.gz")
        write(tmp_path / case / "label.nii.gz")
    assert names(tmp_path) == ["case1", "case10", "case2"]


def test_deeper_folders_and_other_names_too(tmp_path: Path) -> None:
    write(tmp_path / "site" / "case1" / "ct" / "volume.nii.gz")
    write(tmp_path / "site" / "case2" / "abdomen.nii.gz")
    write(tmp_path / ".cache" / "thumbnail.nii.gz")
    assert names(tmp_path) == ["case1", "abdomen.nii.gz"]


def test_equal_names_are_kept_apart(tmp_path: Path) -> None:
    for path in ("a/case1/image.nii.gz", "b/case1/image.nii.gz", "a/case2/t1.nii.gz", "a/case2/t2.nii.gz"):
        write(tmp_path / path)
    assert names(tmp_path) == ["a/case1/image.nii.gz", "case2/t1.nii.gz", "case2/t2.nii.gz", "b/case1/image.nii.gz"]


def test_a_folder_of_label_maps_alone_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "label.nii.gz")
    assert len(cases_of([tmp_path])) == 1


def test_what_was_exported_into_the_data_is_no_case(tmp_path: Path) -> None:
    image = write(tmp_path / "image.nii.gz")
    before = names(tmp_path)
    app = snb.App(model=model_of(BallNetwork()), cases=cases_of([tmp_path]), output=tmp_path, autosave=True)
    app.open(0).result()
    app.click((10, 9, 5))
    app.act("export")
    app.wait()
    app.session.export(tmp_path / "by hand.nii.gz")
    app.close()
    assert len(list(tmp_path.glob("*.nii.gz"))) == 3
    assert names(tmp_path) == before
    assert names(image) == before


def test_records_and_exports_are_named_by_the_patients_folder(tmp_path: Path) -> None:
    output = tmp_path / "results"
    for seed, case in enumerate(("case1", "case2")):
        write(tmp_path / "data" / case / "image.nii.gz", seed)
    app = snb.App(model=model_of(BallNetwork()), cases=cases_of([tmp_path / "data"]), output=output, autosave=True)
    for number in (0, 1):
        app.open(number).result()
        app.click((10, 9, 5))
        app.act("export")
        app.wait()
    app.close()
    for case in ("case1", "case2"):
        assert len(list(output.glob(f"{case}-????????.sammed3d.json"))) == 1
        assert len(list(output.glob(f"{case}-????????.masks.nii.gz"))) == 1


def test_a_record_of_the_days_when_it_was_called_image_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "case1" / "image.nii.gz")
    model, volume = model_of(BallNetwork()), snb.Volume.read(path)
    session = snb.Session(volume, model)
    session.click((10, 9, 5))
    session.save(tmp_path / f"image-{volume.fingerprint[:8]}.sammed3d.json")
    app = snb.App(model=model, cases=cases_of([path]), output=tmp_path, autosave=True)
    app.open(0).result()
    assert len(app.session.clicks) == 1
    app.close()


def test_a_folder_that_cannot_be_read_is_told_when_it_is_opened(tmp_path: Path, monkeypatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert names(tmp_path / "locked", tmp_path) == ["locked", tmp_path.name]


def test_series_of_patients_are_cases_of_a_worklist_each_with_its_state(tmp_path: Path) -> None:
    for number, patient in enumerate(("PAT1", "PAT2")):
        (tmp_path / "in" / patient).mkdir(parents=True)
        for series in (1, 2):
            place = tmp_path / "in" / patient / f"s{series}"
            write_series(place, voxels(10 * number + series), uid=f"1.2.{number}.{series}", number=series)
    given = [tmp_path / "in", tmp_path / "in" / "PAT1"]  # one patient twice
    worklist = snb.Worklist(*given, output=tmp_path / "out", annotator="anna")
    assert [(one.name, one.found.modality, one.found.size) for one in worklist.entries()][:4] == [
        (f"{patient}/Abdomen", "CT", (10, 8, 6)) for patient in ("PAT1", "PAT1", "PAT2", "PAT2")
    ]
    assert len({one.key for one in worklist.cases}) == len(worklist.cases) == 4
    session = worklist.open(3, model_of(BallNetwork()))
    assert session.volume.series == "1.2.1.2"
    session.click((5, 4, 3))
    worklist.mark(3, "done")
    session.close()
    assert [one.state for one in worklist.entries()] == ["new", "new", "new", "done"]
    alone = snb.Worklist(tmp_path / "in" / "PAT2", output=tmp_path / "out", annotator="anna")
    assert sorted(one.state for one in alone.entries()) == ["done", "new"], "it is known again among other cases"
    with pytest.raises(snb.UserError, match="does not exist"):
        snb.Worklist(tmp_path / "none", annotator="anna")
