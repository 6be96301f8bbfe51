"""What was said of a case holds for what was there when it was said: pages, kills, moves and reviewers' changes."""

import json
import os
from pathlib import Path

import pytest
from readers import OTHER, THIRD, VOXEL, done, of, state

import sammed3d_nb as snb
from sammed3d_nb.errors import UserError
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.standing import Work
from sammed3d_nb.worklist.worklist import finished


def test_a_step_whose_state_was_never_written_is_not_done(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
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


def test_turns_go_on_from_those_that_reviews_name(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, 0, model)
    session = carla.open(0, model)
    carla.accept(0)
    session.close()
    (path,) = anna.state.glob("*.work.json")
    turn = json.loads(path.read_text())["turn"]
    path.unlink()
    assert of(data, "anna").work(0).turn == turn


def test_what_a_reviewer_changes_after_accepting_is_not_exported_undecided(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, 0, model)
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
    done(anna, 0, model)
    session = carla.open(0, model)
    carla.reject(0, "again")
    session.close()
    done(anna, 0, model, OTHER, standing.NEEDS_REVIEW)
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
    done(anna, 0, model, state=standing.NEEDS_REVIEW)
    session = carla.open(0, model)
    carla.reject(0, "the dome")
    session.close()
    session = anna.open(0, model)
    assert anna.mark(0, standing.DONE) == "needs review"
    assert anna.entry(0).state == "needs review"
    session.close()


def test_what_was_accepted_of_work_in_progress_is_over_when_that_is_changed(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, 0, model, state=standing.IN_PROGRESS)
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
    done(anna, 0, model)
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


def test_a_click_and_its_undo_leave_a_case_as_it_was(data: Path, model) -> None:
    done(of(data, "anna"), 0, model)
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
    done(of(data, "anna"), 0, model)
    anna = of(data, "anna", readings=2)
    anna.open(0, model).close()
    assert finished(anna.folder) == []
