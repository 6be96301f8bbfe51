import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import BallNetwork, FullNetwork, model_of, torso_like

from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import RecordError
from sammed3d_nb.session.replay import replay


@pytest.fixture
def session() -> Session:
    session = Session(torso_like(), model_of(BallNetwork()))
    session.click((110, 100, 30))
    session.lock("object 1")
    session.new_object("cyst")
    session.click((134, 100, 30))
    session.click((139, 100, 30), positive=False)
    return session


def lines(path: Path) -> list[str]:
    """What a record says, but for its first line, which tells the time."""
    return path.read_text().split("\n")[1:]


def test_resuming_brings_everything_back(session: Session, tmp_path: Path) -> None:
    path = session.save(tmp_path / "case.sammed3d.json")
    again = Session.resume(path, volume=session.volume, model=model_of(BallNetwork()))
    for before, after in zip(session.objects, again.objects, strict=True):
        assert np.array_equal(before.mask, after.mask)
        assert (before.name, before.colour, before.locked, before.clicks) == (
            after.name,
            after.colour,
            after.locked,
            after.clicks,
        )
        assert before.result is not None
        assert after.result is not None
        assert (before.result.trace, before.result.cubes) == (after.result.trace, after.result.cubes)
    assert again.current.name == "cyst"
    assert lines(again.save(tmp_path / "again.json")) == lines(path)
    assert np.array_equal(again.click((135, 104, 31)).mask, session.click((135, 104, 31)).mask)


def test_replaying_says_whether_the_masks_came_out_the_same(session: Session, tmp_path: Path) -> None:
    path = session.save(tmp_path / "case.sammed3d.json")
    same = list(replay(path, volume=session.volume, model=model_of(BallNetwork())))
    assert [(item.name, item.same, item.dice) for item in same] == [("object 1", True, 1), ("cyst", True, 1)]
    other = list(replay(path, volume=session.volume, model=model_of(FullNetwork())))
    assert not any(item.same for item in other)
    assert all(item.dice < 0.5 for item in other)


def test_replaying_does_what_was_done_then(session: Session, tmp_path: Path) -> None:
    """Locks, names, options and models that changed later change nothing about how a mask was made."""
    session.rename("object 1", "other")
    session.lock("other", False)
    session.select("other")
    session.click((100, 100, 30))
    session.grow = False
    session.new_object("far")
    session.click((20, 20, 10))
    path = session.save(tmp_path / "case.json")
    replayed = list(replay(path, volume=session.volume, model=model_of(BallNetwork())))
    assert [(item.name, item.same) for item in replayed] == [("other", True), ("cyst", True), ("far", True)]


def test_a_mask_of_another_model_is_told(session: Session, tmp_path: Path) -> None:
    other = BallNetwork()
    other.spec = replace(other.spec, name="other", sha256="0" * 64)
    path = session.save(tmp_path / "case.json")
    with pytest.raises(RecordError, match=r"case\.json was made with ball, this is other; give the same one .*\.$"):
        next(replay(path, volume=session.volume, model=model_of(other)))
    replayed = replay(path, volume=session.volume, model=model_of(other), other_model=True)
    assert [item.note for item in replayed] == ["made with another model file (ball)"] * 2


def test_resuming_keeps_the_options_unless_told_otherwise(tmp_path: Path) -> None:
    session = Session(torso_like(), model_of(BallNetwork()), grow=False, adapt=False)
    path = session.save(tmp_path / "case.json")
    same = Session.resume(path, volume=session.volume, model=session.model)
    assert (same.grow, same.adapt) == (False, False)
    other = Session.resume(path, volume=session.volume, model=session.model, grow=True)
    assert (other.grow, other.adapt) == (True, False)


def test_the_record_tells_what_it_was_made_on(session: Session, tmp_path: Path) -> None:
    fields = json.loads(session.save(tmp_path / "case.json").read_text())
    assert fields["volume"]["size"] == list(session.volume.size)
    assert fields["model"]["name"] == "ball"
    trace = fields["steps"][1]["changes"][0]["object"]["said"]["more"]["told"]["trace"]
    assert [step["space"] for step in trace["steps"]] == ["array", "voxel", "lps", "ras", "cube", "grid"]
    assert trace["steps"][1]["point"] == [110, 100, 30]


def test_another_volume_is_refused(session: Session, tmp_path: Path) -> None:
    path = session.save(tmp_path / "case.json")
    with pytest.raises(RecordError, match=r"made on array of size .* has other voxels or geometry"):
        Session.resume(path, volume=torso_like(seed=4), model=session.model)


@pytest.mark.parametrize("text", ["", "[1, 2", '{"format": "other"}', "[]"])
def test_what_is_no_record_is_refused(session: Session, tmp_path: Path, text: str) -> None:
    path = tmp_path / "case.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"case\.json is not a saved session"):
        Session.resume(path, volume=session.volume, model=session.model)


def test_damaged_missing_and_newer_records_are_refused(session: Session, tmp_path: Path) -> None:
    path = session.save(tmp_path / "case.json")
    fields = json.loads(path.read_text())
    fields["steps"][-2]["changes"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(fields))
    with pytest.raises(RecordError, match=r"damaged .*checksum"):
        Session.resume(path, volume=session.volume, model=session.model)
    path.write_text(json.dumps({**fields, "volume": [], "options": None}))
    with pytest.raises(RecordError, match=r"damaged \(no volume, options\)"):
        Session.resume(path, volume=session.volume, model=session.model)
    for part in ({"model": {"files": ["x"]}}, {"model": {"sha256": 1}}, {"volume": {"path": 1}}):
        path.write_text(json.dumps({**fields, **part}))
        with pytest.raises(RecordError, match=r"damaged \(its volume, model or annotator is no text\)"):
            Session.resume(path, volume=session.volume, model=session.model)
    path.write_text(json.dumps({**fields, "version": 99}))
    with pytest.raises(RecordError, match="version 99, this program reads 1 and 2"):
        Session.resume(path, volume=session.volume, model=session.model)
    with pytest.raises(RecordError, match="no record"):
        Session.resume(tmp_path / "none.json", volume=session.volume, model=session.model)


def resumed(path: Path) -> Session:
    return Session.resume(path, volume=torso_like(), model=model_of(BallNetwork()))


def test_autosave_after_every_change(tmp_path: Path) -> None:
    path = tmp_path / "auto.json"
    session = Session(torso_like(), model_of(BallNetwork()), autosave=path)
    session.click((110, 100, 30))
    assert len(resumed(path).clicks) == 1
    session.undo()
    assert resumed(path).clicks == ()
    assert resumed(path).redo_name == "click 1 of object 1"


def test_a_failing_autosave_keeps_the_click(tmp_path: Path) -> None:
    session = Session(torso_like(), model_of(BallNetwork()), autosave=tmp_path / "nowhere" / "auto.json")
    assert session.click((110, 100, 30)).mask.any()
    assert len(session.clicks) == 1
    assert "cannot be written" in str(session.autosave_error)
    (tmp_path / "nowhere").mkdir()
    session.save(tmp_path / "nowhere" / "auto.json")
    assert session.autosave_error is None
    session.undo()
    assert sorted(path.name for path in (tmp_path / "nowhere").iterdir()) == ["auto.json", "auto.json.lock"]
    session.close()
    assert [path.name for path in (tmp_path / "nowhere").iterdir()] == ["auto.json"]


def test_autosave_keeps_what_another_session_saved_there(session: Session, tmp_path: Path) -> None:
    path = session.save(tmp_path / "auto.json")
    Session(torso_like(), model_of(BallNetwork()), autosave=path).click((20, 20, 10))
    assert len(resumed(tmp_path / "auto.json.bak").objects) == 2
    assert len(resumed(path).objects) == 1


def test_others_may_read_what_the_umask_allows(session: Session, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert session.save(tmp_path / "case.json").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_is_not_there_is_one_sentence(session: Session, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be written"):
        session.save(tmp_path / "nowhere" / "case.json")


@pytest.mark.parametrize("name", ["masks.nii.gz", "masks.nrrd", "masks.mha"])
def test_export_keeps_geometry_and_names(session: Session, tmp_path: Path, name: str) -> None:
    path = session.export(tmp_path / name)
    written = Volume.read(path)
    assert np.array_equal(written.array, session.labels)
    assert np.allclose(written.voxel_to_ras.affine, session.volume.voxel_to_ras.affine, atol=1e-4)
    assert sitk.ReadImage(str(path)).GetPixelIDTypeAsString() == "8-bit unsigned integer"
    names = json.loads((tmp_path / "masks.labels.json").read_text())
    assert {number: entry["name"] for number, entry in names.items()} == {"1": "object 1", "2": "cyst"}
    for number in (1, 2):
        expected = (written.array == number).sum() * 1.2 * 1.2 * 4 / 1000
        assert names[str(number)]["volume_ml"] == pytest.approx(expected, abs=0.01)
