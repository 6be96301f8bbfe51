"""Anonymous records and exports: no path, name or identifier in any byte that is written; the work is all there."""

import getpass
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from support import BallNetwork, model_of

import sammed3d_nb as snb
from sammed3d_nb.commands.cli import main
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.ui.worklist import cases_of

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

SECRETS = ("SMITH", "Smith", "smith", "1.2.3.4", "Abdomen", "Test^Volume")


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """A DICOM folder of a patient in a folder of her name; her name and ID are in the headers too."""
    values = np.random.default_rng(0).integers(-1000, 1000, (12, 20, 24)).astype(np.int16)
    (tmp_path / "SMITH").mkdir()
    return write_series(
        tmp_path / "SMITH" / "smith_jane", values, spacing=(2, 2, 4),
        change=lambda k, data: setattr(data, "PatientID", "Smith-1950"),
    )  # fmt: skip


def expect_nothing_told(folder: Path, *more: str) -> None:
    """No file of the folder tells anything, neither by its name nor by a byte, packed or not."""
    from sammed3d_nb.imaging.streams import unpacked

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.name.encode() + path.read_bytes()
        if path.name.endswith(".gz"):
            content += b"".join(unpacked(path))
        for secret in (*SECRETS, getpass.getuser(), socket.gethostname(), str(folder), str(folder.parent), *more):
            assert secret.encode() not in content, f"{path.name} tells {secret}"


def worked_on(volume: Volume, folder: Path, **options: object) -> snb.Session:
    """A session with clicks, and masks of a file that is named after the patient and lies on another grid."""
    session = snb.Session(volume, model_of(BallNetwork()), **options)
    session.click((10, 9, 5))
    other = sitk.Image([12, 10, 12], sitk.sitkUInt8)
    other.SetSpacing((4, 4, 4))
    other.SetOrigin(volume.origin)
    other[6, 5, 6] = 1
    sitk.WriteImage(other, str(folder / "Smith liver.nii.gz"))
    (item,) = session.load_masks(folder / "Smith liver.nii.gz")
    assert item.result is not None
    assert any("Smith liver.nii.gz" in note for note in item.result.notes)
    assert "Smith liver.nii.gz" in session.undo_name
    return session


def test_a_plain_record_tells_and_an_anonymous_one_does_not(patient: Path, tmp_path: Path) -> None:
    session = worked_on(Volume.read(patient), tmp_path)
    (tmp_path / "out").mkdir()
    plain = session.save(tmp_path / "plain.json").read_text()
    assert all(secret in plain for secret in ("SMITH", "smith_jane", "1.2.3.4", "Abdomen", "Smith liver"))
    session.save(tmp_path / "out" / "a.json", anonymous=True)
    expect_nothing_told(tmp_path / "out")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_exports_tell_nothing(patient: Path, tmp_path: Path, suffix: str) -> None:
    session = worked_on(Volume.read(patient), tmp_path)
    (tmp_path / "out").mkdir()
    session.export(tmp_path / "out" / f"masks{suffix}", anonymous=True)
    expect_nothing_told(tmp_path / "out")


def test_an_anonymous_record_resumes_with_undo_and_replays(patient: Path, tmp_path: Path, capsys) -> None:
    volume = Volume.read(patient)
    (tmp_path / "out").mkdir()
    session = snb.Session(volume, snb.load_model())
    session.click((10, 9, 5))
    session.click((4, 4, 3))
    saved = session.save(tmp_path / "out" / "a.json", anonymous=True)
    expect_nothing_told(tmp_path / "out", str(Path(snb.__file__).parent))  # nor where the model lies
    again = snb.Session.resume(saved, volume=volume, model=session.model)
    assert np.array_equal(again.mask, session.mask)
    again.undo()
    assert len(again.clicks) == 1
    assert main(["replay", str(saved), "--image", str(patient)]) == 0
    assert "the same" in capsys.readouterr().out
    assert main(["replay", str(saved)]) == 2
    assert "say where it is with --image" in capsys.readouterr().err


def test_what_was_anonymous_stays_so_in_later_saves(patient: Path, tmp_path: Path) -> None:
    volume, model = Volume.read(patient), model_of(BallNetwork())
    (tmp_path / "out").mkdir()
    saved = worked_on(volume, tmp_path, anonymous=True).save(tmp_path / "out" / "a.json")
    again = snb.Session.resume(saved, volume=volume, model=model, autosave=saved)
    again.load_masks(tmp_path / "Smith liver.nii.gz")  # a line is added
    again.overlap = True
    again.click((3, 3, 3))  # all is written anew
    again.close()
    expect_nothing_told(tmp_path / "out")
    assert json.loads(saved.read_text())["options"]["anonymous"] is True
    assert len(snb.Session.resume(saved, volume=volume, model=model).objects) == 3


def test_a_name_that_tells_is_refused(tmp_path: Path, capsys) -> None:
    path = tmp_path / "smith_ct.nii.gz"
    values = np.random.default_rng(0).integers(-1000, 1000, (12, 20, 24)).astype(np.int16)
    sitk.WriteImage(Volume.from_array(values, (2, 2, 4)).image, str(path))
    session = snb.Session(Volume.read(path), model_of(BallNetwork()))
    session.click((10, 9, 5))
    for write in (session.save, session.export):
        with pytest.raises(snb.UserError, match="names the image"):
            write(tmp_path / "Smith_CT mask.nii.gz", anonymous=True)
    assert not session.anonymous
    words = ["segment", str(path), "--click", "10,9,5", "--anonymous", "-o"]
    assert main([*words, str(tmp_path / "smith_ct mask.nii.gz")]) == 2
    assert "names the image" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    out = tmp_path / "out"
    assert main([*words, str(out / "m.nii.gz"), "--save", str(out / "m.json")]) == 0
    expect_nothing_told(out)


def test_the_app_writes_nothing_that_tells(patient: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", model_of(BallNetwork())
    for clicks in (1, 2):
        cases = cases_of([patient], anonymous=True)
        app = snb.App(model=model, cases=cases, output=out, autosave=True)
        app.open(0).result()
        app.click((10, 9, 3 + clicks))
        assert len(app.session.clicks) == clicks, "the work on it is found again"
        app.act("export")
        app.act("save")
        app.wait()
        app.close()
        expect_nothing_told(out)
    assert len(list(out.glob("case-????????.sammed3d.json"))) == 1
    assert len(list(out.glob("case-????????.masks*.nii.gz"))) == 2
    app = snb.App(model=model, cases=cases_of([patient]), output=out, autosave=True)  # without it, too
    app.open(0).result()
    assert len(app.session.clicks) == 2
    app.close()
    app = snb.App(model=model, cases=cases_of([*out.glob("*.sammed3d.json")]), output=out)
    app.open(0)
    app.wait()
    assert "open that image" in app.status.message
    app.close()


def test_an_app_on_a_volume_goes_on_with_what_was_saved_with_names(patient: Path, tmp_path: Path) -> None:
    out, model, volume = tmp_path / "out", model_of(BallNetwork()), Volume.read(patient)
    plain = snb.App(volume, model, output=out, autosave=True)
    plain.click((10, 9, 5))
    plain.close()
    (named,) = out.iterdir()
    content = named.read_bytes()
    app = snb.App(volume, model, output=out, autosave=True, anonymous=True)
    assert len(app.session.clicks) == 1
    app.click((10, 9, 6))
    app.close()
    assert named.read_bytes() == content
    named.unlink()
    expect_nothing_told(out)
