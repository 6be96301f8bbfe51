"""What was said of a case holds for what was there when it was said: pages, kills, moves and reviewers' changes."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import BallNetwork, model_of

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

VOXEL, OTHER, THIRD = (10, 9, 5), (22, 1, 11), (4, 4, 2)


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, case in enumerate(("case1", "case2")):
        path = tmp_path / "data" / case / "image.nii.gz"
        path.parent.mkdir(parents=True)
        values = np.random.default_rng(seed).integers(-100, 200, (12, 20, 24)).astype(np.int16)
        sitk.WriteImage(snb.Volume.from_array(values, (2, 2, 4)).image, str(path))
    return tmp_path / "data"


def of(data: Path, who: str, **options) -> snb.Worklist:
    return snb.Worklist(data, output=data.parent / "out", annotator=who, **options)


def done(worklist: snb.Worklist, model, voxel=VOXEL, state: str = standing.DONE) -> None:
    session = worklist.open(0, model)
    session.click(voxel)
    worklist.mark(0, state)
    session.close()


def state(data: Path) -> str:
    return of(data, "nobody").entry(0).state


# -- the record and what was said of it ----------------------------------------------------------------------------


def test_a_step_whose_state_was_never_written_is_not_done(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, model)
    kept = anna.folder / anna.entry(0).works[0].record
    session = snb.Session.resume(kept, volume=anna.read(0), model=model, autosave=kept)
    session.click(OTHER)  # as a process that is killed before it writes the state leaves it
    session.close()
    assert state(data) == "in progress"
    assert finished(anna.folder) == []
    session = of(data, "anna").open(0, model)
    session.close()
    assert standing.load(anna.state, next(anna.state.glob("*.work.json")).name).state == "in progress"


def test_writing_the_same_steps_anew_and_selecting_leave_it_done(data: Path, model) -> None:
    anna = of(data, "anna")
    session = anna.open(0, model)
    session.click(VOXEL)
    session.new_object("two")
    session.click(OTHER)
    session.undo()
    session.redo()
    anna.mark(0, standing.DONE)
    session.save(session.autosave)
    session.select("object 1")
    session.close()
    assert state(data) == "done"
    assert len(finished(anna.folder)) == 1


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


# -- two pages of one annotator ---------------------------------------------------------------------------------------


def test_an_older_page_of_ones_own_neither_undoes_nor_forgets_what_the_newer_said(data: Path, model) -> None:
    one, two = of(data, "anna"), of(data, "anna")
    first = one.open(0, model)
    first.click(VOXEL)
    second = two.open(0, model, take_over=True)
    second.click(OTHER)
    two.note(0, "two")
    two.mark(0, standing.DONE)
    turn = two.work(0).turn
    second.close()
    assert state(data) == "done"
    with pytest.raises(UserError, match="not what is on the screen"):
        one.mark(0, standing.DONE)
    first.click(THIRD)
    assert "Another page of yours has worked on case1" in first.autosave_error
    one.ask_again(0)
    (told,) = of(data, "anna").entry(0).works
    assert (told.notes, told.readings, told.state) == ("two", 2, "in progress")
    assert told.turn > turn
    assert finished(one.folder) == []
    assert list(one.folder.glob("*.bak")), "what the newer page saved is kept"
    first.close()


def test_a_note_does_not_write_back_an_older_state(data: Path, model) -> None:
    one, two = of(data, "anna"), of(data, "anna")
    first = one.open(0, model)
    first.click(VOXEL)
    second = two.open(0, model, take_over=True)
    two.mark(0, standing.DONE)
    second.close()
    one.note(0, "from the older page")
    (told,) = of(data, "anna").entry(0).works
    assert (told.state, told.notes) == ("done", "from the older page")
    first.close()


def test_another_reading_that_cannot_be_opened_leaves_the_open_case_leased(data: Path, model, monkeypatch) -> None:
    done(of(data, "anna"), model)
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


# -- moved data, files out of reach ----------------------------------------------------------------------------------


def test_a_renamed_folder_exports_what_is_done_under_its_new_name_only(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, model)
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
    done(anna, model)
    (path,) = anna.state.glob("*.work.json")
    before = path.read_bytes()

    def stale(path: Path) -> bytes:
        raise OSError(116, "Stale file handle", str(path))

    with monkeypatch.context() as away:
        away.setattr(standing, "content", stale)
        with pytest.raises(UserError, match="cannot be read"):
            of(data, "anna").note(0, "x")
    assert path.read_bytes() == before


def test_turns_go_on_from_those_that_reviews_name(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, model)
    session = carla.open(0, model)
    carla.accept(0)
    session.close()
    (path,) = anna.state.glob("*.work.json")
    turn = json.loads(path.read_text())["turn"]
    path.unlink()
    assert of(data, "anna").work(0).turn == turn


def test_numbers_of_inodes_that_sqlite_does_not_have_leave_the_list_whole(data: Path, model, monkeypatch) -> None:
    anna = of(data, "anna")
    done(anna, model)
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


# -- reviewers --------------------------------------------------------------------------------------------------------


def test_what_a_reviewer_changes_after_accepting_is_not_exported_undecided(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, model)
    session = carla.open(0, model)
    session.click(OTHER)
    carla.accept(0)
    (kept,) = finished(anna.folder)
    assert kept.name.endswith(".review.sammed3d.json")
    session.click(THIRD)
    assert state(data) == "needs review"
    assert finished(anna.folder) == []
    carla.accept(0)
    assert finished(anna.folder) == [kept]
    session.close()


def test_a_begun_correction_is_found_again_after_earlier_reviews(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, model)
    session = carla.open(0, model)
    carla.reject(0, "again")
    session.close()
    done(anna, model, OTHER, standing.NEEDS_REVIEW)
    session = carla.open(0, model)
    session.click(THIRD)
    session.close()
    session = carla.open(0, model)
    assert [click.ijk for click in session.clicks] == [VOXEL, OTHER, THIRD]
    session.close()
    again = anna.open(0, model)
    again.undo()
    anna.mark(0, standing.DONE)
    again.close()
    session = carla.open(0, model)
    assert [click.ijk for click in session.clicks] == [VOXEL], "the correction was of what is no longer there"
    session.close()


def test_done_on_rejected_work_needs_review_and_is_no_longer_rejected(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, model, state=standing.NEEDS_REVIEW)
    session = carla.open(0, model)
    carla.reject(0, "the dome")
    session.close()
    session = anna.open(0, model)
    assert anna.mark(0, standing.DONE) == "needs review"
    assert anna.entry(0).state == "needs review"
    session.close()


def test_what_was_accepted_of_work_in_progress_is_over_when_that_is_changed(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, model, state=standing.IN_PROGRESS)
    session = carla.open(0, model)
    session.click(OTHER)
    carla.accept(0)
    session.close()
    assert state(data) == "done"
    session = anna.open(0, model)
    session.click(THIRD)
    session.close()
    assert state(data) == "in progress"


def test_a_correction_that_went_on_aside_is_a_correction_and_nobodys_reading(data: Path, model) -> None:
    anna, carla, also = of(data, "anna"), of(data, "carla", review=True), of(data, "carla", review=True)
    done(anna, model)
    session = carla.open(0, model)
    session.click(OTHER)
    other = also.open(0, model, take_over=True)
    os.utime(session.autosave)
    assert carla.corrected(0)
    (carla.folder / "x.carla.review.mine.sammed3d.json").write_bytes(session.autosave.read_bytes())
    assert [work.annotator for work in of(data, "berta").entry(0).works] == ["anna"]
    for one in (session, other):
        one.close()


def test_two_reviewers_at_the_same_time_write_over_nobody(tmp_path: Path) -> None:
    review = standing.Review("case", "carla", standing.ACCEPTED, {"anna": 1}, 1, changed="2026-01-01T00:00:01+00:00")
    standing.write_new(tmp_path, review)
    assert standing.write_new(tmp_path, review).number == 2
    work = Work("case", "anna", standing.DONE, 1)
    later = standing.Review("case", "dora", standing.REJECTED, {"anna": 1}, 1, changed="2026-01-01T00:00:02+00:00")
    for order in ((review, later), (later, review)):
        assert standing.standing(work, order) == standing.REJECTED


# -- small things ----------------------------------------------------------------------------------------------------


def test_a_click_and_its_undo_leave_a_case_as_it_was(data: Path, model) -> None:
    done(of(data, "anna"), model)
    berta = of(data, "berta")
    session = berta.open(0, model)
    session.click(OTHER)
    assert state(data) == "in progress"
    session.undo()
    assert state(data) == "done"
    session.redo()
    assert state(data) == "in progress"
    session.close()


def test_a_second_reading_is_asked_for_where_two_are_wanted_anyway(data: Path, model) -> None:
    anna = of(data, "anna", readings=3)
    anna.ask_again(0)
    assert anna.work(0).readings == 3


def test_more_readings_than_before_reach_the_export(data: Path, model) -> None:
    done(of(data, "anna"), model)
    anna = of(data, "anna", readings=2)
    anna.open(0, model).close()
    assert finished(anna.folder) == []


def test_a_record_in_the_list_is_gone_on_with_by_its_annotator_only(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, model)
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
        done(of(data, who), model, voxel)
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
