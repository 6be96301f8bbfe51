"""The command ``measure``: what it prints is what the session measures."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import BallNetwork, model_of

from sammed3d_nb import Session, Volume
from sammed3d_nb.commands.cli import main
from sammed3d_nb.errors import UserError
from sammed3d_nb.session.statistics import COLUMNS, csv_text


@pytest.fixture
def image(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(-100, 100, (20, 30, 40)).astype(np.int16)
    picture = sitk.GetImageFromArray(values)
    picture.SetSpacing((1.0, 2.0, 3.0))
    sitk.WriteImage(picture, str(tmp_path / "patient7.nii.gz"))
    return tmp_path / "patient7.nii.gz"


def worked(image: Path, **options: object) -> Session:
    session = Session(Volume.read(image), model_of(BallNetwork()), **options)  # type: ignore[arg-type]
    session.click((20, 15, 10))
    session.apply("shrink", mm=2)
    session.new_object("-b, with a comma")
    session.allow_overlap("-b, with a comma")
    session.paint([(1, 2, 3), (3, 2, 3)])
    session.new_object("empty")
    return session


def test_the_table_is_what_the_session_measures(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    session = worked(image, annotator="Ada")
    record = session.save(tmp_path / "a.sammed3d.json")
    assert main(["measure", str(record)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == list(COLUMNS)
    found = session.measure()
    assert [row["object"] for row in rows] == ["object 1", "'-b, with a comma", "empty"]
    for row, one in zip(rows, found, strict=True):
        assert (row["case"], row["annotator"]) == ("patient7", "Ada")
        assert float(row["volume_ml"]) == one.volume_ml
        assert (int(row["prompts"]), int(row["edits"])) == (one.prompts, one.edits)
        assert float(row["minutes"]) == pytest.approx(one.seconds / 60, abs=1e-3)
    assert float(rows[0]["mean"]) == found[0].mean
    two = rows[1]
    assert [two[f"first_{axis}"] for axis in "ijk"] == ["1", "2", "3"]
    assert [float(two[f"extent_{axis}_mm"]) for axis in "ijk"] == [3.0, 2.0, 3.0]
    values = session.volume.array[3, 2, [1, 3]]
    assert (float(two["mean"]), float(two["sd"])) == (values.mean(), values.std())
    assert {rows[2][name] for name in ("mean", "sd", "first_i", "last_k", "extent_j_mm")} == {""}


def test_files_are_written_whole_and_not_over_others(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    session = worked(image)
    (tmp_path / "records").mkdir()
    session.save(tmp_path / "records" / "a.sammed3d.json")
    session.save(tmp_path / "records" / "b.sammed3d.json")
    target = tmp_path / "table.csv"
    command = ["measure", str(tmp_path / "records"), "--csv", str(target)]
    assert main(command) == 0
    assert len(list(csv.DictReader(io.StringIO(target.read_text())))) == 6
    before = target.read_text()
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert target.read_text() == before
    assert main([*command, "--overwrite"]) == 0
    assert main(["measure", str(tmp_path / "records"), "--csv", str(tmp_path)]) == 2
    assert session.export_table(tmp_path / "own.csv") == tmp_path / "own.csv"
    assert (tmp_path / "own.csv").read_text() == csv_text(session.measure(), "patient7", None, anonymous=False)
    with pytest.raises(UserError, match="is there already"):
        session.export_table(tmp_path / "own.csv")


def test_an_anonymous_record_names_nobody(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    record = worked(image, annotator="Ada", anonymous=True).save(tmp_path / "a.sammed3d.json")
    assert main(["measure", str(record), "--image", str(image)]) == 0
    out = capsys.readouterr().out
    assert "Ada" not in out
    assert "patient7" not in out
