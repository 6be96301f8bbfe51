"""Worklist folders in trouble: moved, unreadable, damaged, large or odd; what is there stays."""

import os
import time
from pathlib import Path

import pytest
from readers import OTHER, THIRD, VOXEL, done, of

import sammed3d_nb as snb
from sammed3d_nb.commands.cli import main
from sammed3d_nb.errors import UserError
from sammed3d_nb.session import record
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.index import Index
from sammed3d_nb.worklist.lease import Lease
from sammed3d_nb.worklist.scan import Scanner, mark_of
from sammed3d_nb.worklist.standing import Work
from sammed3d_nb.worklist.worklist import finished


def test_a_record_is_read_on_from_where_it_ended(data: Path, model, monkeypatch) -> None:
    anna = of(data, "anna")
    session = anna.open(0, model)
    scanner = Scanner()
    for voxel in (VOXEL, OTHER, THIRD):
        session.click(voxel)
        assert scanner.read(session.autosave).mark == mark_of(session.steps)
    before = scanner.read(session.autosave).seconds
    session.undo()
    with monkeypatch.context() as lazy:
        lazy.setattr("sammed3d_nb.worklist.scan._begin", lambda *_: pytest.fail("it was read from its beginning"))
        assert scanner.read(session.autosave).mark == mark_of(session.steps)
    session.redo()
    session.undo()
    session.save(session.autosave)  # whole, and shorter
    assert scanner.read(session.autosave).mark == mark_of(session.steps)
    assert scanner.read(session.autosave).seconds == pytest.approx(before)
    session.close()


def test_another_reading_that_cannot_be_opened_leaves_the_open_case_leased(data: Path, model, monkeypatch) -> None:
    done(of(data, "anna"), 0, model)
    carla = of(data, "carla", review=True)
    session = carla.open(0, model)
    lost: list[str] = []
    carla.on_lost = lambda key, who: lost.append(who)
    with pytest.raises(UserError, match="nobody"):
        carla.open(0, model, base="nobody")
    assert carla.entry(0).held.holder.user == "carla"
    monkeypatch.setattr(carla, "read", lambda key: pytest.fail("the volume is in memory"))
    token = carla.entry(0).held.holder.token
    again = carla.open(0, model, base="anna")
    session.close()
    assert carla.entry(0).held.holder.token == token, "the same lease all the time"
    assert lost == []
    again.close()
    assert carla.entry(0).held is None


def test_a_lease_whose_file_is_gone_is_taken_again(tmp_path: Path) -> None:
    lease = Lease(tmp_path, "case", "anna", beat=0.02)
    lease.path.unlink()
    deadline = time.monotonic() + 10
    while not lease.held and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.held
    lease.release()
    time.sleep(0.1)
    assert not lease.path.exists(), "but not after its end"


def test_a_renamed_folder_exports_what_is_done_under_its_new_name_only(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, 0, model)
    session = carla.open(0, model)
    carla.reject(0, "the dome")
    session.close()
    old = anna.state / f"{anna.cases[0].key}.anna.work.json"
    kept = old.read_bytes()
    (data / "case1").rename(data / "renamed")
    anna = of(data, "anna")
    number = anna.number("renamed")
    session = anna.open(number, model)
    assert anna.entry(number).rejection("anna").comment == "the dome", "what reviewers said comes with it"
    session.click(OTHER)
    session.close()
    assert finished(anna.folder) == []
    assert not old.exists()
    old.write_bytes(kept)  # as of the days before, or where it could not be deleted
    assert finished(anna.folder) == []


def test_a_file_that_cannot_be_read_now_is_not_as_if_nothing_had_been_said(data: Path, model, monkeypatch) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    (path,) = anna.state.glob("*.work.json")
    before = path.read_bytes()

    def stale(path: Path) -> bytes:
        raise OSError(116, "Stale file handle", str(path))

    with monkeypatch.context() as away:
        away.setattr(standing, "content", stale)
        with pytest.raises(UserError, match="cannot be read"):
            of(data, "anna").note(0, "x")
    assert path.read_bytes() == before


def test_numbers_of_inodes_that_sqlite_does_not_have_leave_the_list_whole(data: Path, model, monkeypatch) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    scandir = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry) -> None:
            self._entry, self.name, self.path = entry, entry.name, entry.path

        def is_file(self, **options) -> bool:
            return self._entry.is_file(**options)

        def stat(self, **options) -> os.stat_result:
            told = list(self._entry.stat(**options))
            told[1] += 2**63
            return os.stat_result(told, {"st_mtime_ns": 1})

    monkeypatch.setattr("sammed3d_nb.worklist.index.os.scandir", lambda path: map(Entry, scandir(path)))
    for _ in range(2):
        assert len(Index(anna.folder).contents().works) == 1


def test_a_record_in_the_list_is_gone_on_with_by_its_annotator_only(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    kept = anna.folder / anna.entry(0).works[0].record
    before = kept.read_bytes()
    for options, why in (({}, "anna's saved session"), ({"blind": True}, "--blind"), ({"review": True}, "--review")):
        listed = snb.Worklist(kept, output=data.parent / "elsewhere", annotator="berta", **options)
        with pytest.raises(UserError, match=why):
            listed.open(0, model)
    assert kept.read_bytes() == before
    own = snb.Worklist(kept, output=data.parent / "elsewhere", annotator="anna")
    own.open(0, model).close()


def test_agree_leaves_out_what_a_second_page_put_aside(data: Path, model, capsys) -> None:
    for who, voxel in (("anna", VOXEL), ("berta", OTHER)):
        done(of(data, who), 0, model, voxel)
    out = data.parent / "out"
    kept = out / of(data, "anna").entry(0).work_of("anna").record
    aside = kept.with_name(kept.name.replace(record.SUFFIX, f".mine{record.SUFFIX}"))
    aside.write_bytes(kept.read_bytes())
    assert main(["agree", str(out)]) == 0
    told = capsys.readouterr()
    assert aside.name in told.err
    assert "anna" in told.out


def test_damaged_files_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / Work("case", "anna").file
    for content in (b"one", b"two"):
        path.write_bytes(content)
        standing.write(tmp_path, Work("case", "anna"))
    assert sorted(one.read_bytes() for one in tmp_path.glob("*.damaged*")) == [b"one", b"two"]


def test_a_label_set_of_a_row_is_read_before_anything_starts(data: Path) -> None:
    (data.parent / "broken.yaml").write_text("labels: [{name: a, colour: nothing}]")
    table = data.parent / "cases.csv"
    table.write_text("image,label_set\ndata/case1/image.nii.gz,broken.yaml\n")
    with pytest.raises(UserError, match=r"Row 2: broken\.yaml, label 1"):
        snb.worklist.listing.found_in([table])


def test_a_folder_of_many_series_is_looked_into_once(data: Path, monkeypatch) -> None:
    from sammed3d_nb.worklist import listing

    looked: list[Path] = []
    look = listing._in_places
    monkeypatch.setattr(listing, "_in_places", lambda paths: looked.extend(paths) or look(paths))
    table = data.parent / "cases.csv"
    image = "data/case1/image.nii.gz"
    table.write_text(f"image,series\n{image},\n{image},\n")
    with pytest.raises(UserError, match="names the image of row 2 again"):
        listing.found_in([table])
    assert looked.count(data.parent / image) == 1
