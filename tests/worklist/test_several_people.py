"""Annotators on the same cases: records of their own, states, second readings, reviews; nobody's work is lost."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from readers import LABELS, OTHER, PATHS, VOXEL, done, of, states

from sammed3d_nb.errors import RecordInUse, UserError
from sammed3d_nb.session import record
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.worklist import finished

PAGE = """
import sys
sys.path[:0] = {paths!r}
from support import BallNetwork, model_of
import sammed3d_nb as snb
worklist = snb.Worklist({data!r}, output={output!r}, annotator="anna")
session = worklist.open(0, model_of(BallNetwork()))
session.click((10, 9, 5))
print("clicked", flush=True)
sys.stdin.readline()
session.click((22, 1, 11))
try:
    worklist.mark(0, "done")
except snb.UserError as error:
    print(error, flush=True)
sys.stdin.read()
"""


def test_a_case_goes_from_new_to_done_and_back_when_it_is_changed(data: Path, model) -> None:
    anna = of(data, "anna")
    assert states(anna) == ["new"] * 3
    session = anna.open("case2", model)
    assert states(anna) == ["new"] * 3, "it was only looked at"
    with pytest.raises(UserError, match="no mask at all"):
        anna.mark("case2", standing.DONE)
    session.click(VOXEL)
    assert states(anna) == ["new", "in progress", "new"]
    assert anna.mark("case2", standing.DONE) == "done"
    assert anna.progress() == (1, 3)
    session.undo()
    assert anna.entry("case2").state == "in progress", "it is no longer what was called done"
    session.redo()
    anna.mark("case2", standing.DONE)
    session.close()
    again = anna.open("case2", model)
    assert again.annotator == "anna"
    assert len(again.clicks) == 1
    assert states(anna) == ["new", "done", "new"], "opening changes nothing"
    again.close()


def test_a_case_is_done_only_with_its_required_objects(data: Path, model) -> None:
    anna = of(data, "anna", labels=LABELS)
    session = anna.open(0, model)
    assert [item.name for item in session.objects] == ["liver"], "the first label is there, nobody typed it"
    assert session.current.colour == "#e69f00"
    assert not session.can_undo
    session.click(VOXEL)
    session.new_object("spleen", colour="#009e73")
    with pytest.raises(UserError, match="“spleen” has no mask"):
        anna.mark(0, standing.DONE)
    assert anna.entry(0).state == "in progress"
    session.click(OTHER)
    assert anna.missing(0) == []
    anna.mark(0, standing.DONE)
    session.close()
    again = anna.open(0, model)
    assert [item.name for item in again.objects] == ["liver", "spleen"]
    again.close()


def test_each_annotator_has_a_record_of_their_own(data: Path, model) -> None:
    anna, berta = of(data, "anna"), of(data, "Berta B.")
    done(anna, 0, model)
    session = berta.open(0, model)
    assert not session.clicks, "her own work begins afresh"
    session.click(OTHER)
    session.close()
    entry = anna.entry(0)
    assert {work.annotator: work.state for work in entry.works} == {"anna": "done", "Berta B.": "in progress"}
    records = [data.parent / "out" / work.record for work in entry.works]
    assert len(set(records)) == 2
    assert {record.load(path)["annotator"] for path in records} == {"anna", "Berta B."}


def test_a_case_is_leased_and_taken_over_explicitly(data: Path, model, tmp_path: Path) -> None:
    anna, berta = of(data, "anna"), of(data, "berta")
    first = anna.open(0, model)
    first.click(VOXEL)
    with pytest.raises(RecordInUse, match=r"anna for less than a minute has this case open"):
        berta.open(0, model)
    assert berta.entry(0).held.holder.user == "anna"
    lost: list[str] = []
    anna._open[anna.cases[0].key].lease.release()  # a quicker heart
    from sammed3d_nb.worklist.lease import Lease

    slow = Lease(anna.state, anna.cases[0].key, "anna", on_lost=lost.append, beat=0.05)
    second = berta.open(0, model, take_over=True)
    second.click(OTHER)
    deadline = time.monotonic() + 10
    while not lost and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lost == ["berta"]
    assert not slow.held
    first.click(OTHER)  # what she does from then on is hers, and lost to nobody
    assert first.autosave_error is None
    for session in (first, second):
        session.close()
    assert len({work.record for work in anna.entry(0).works}) == 2
    assert anna.entry(0).held is None


def test_two_pages_of_one_annotator_do_not_mix_up_her_record(data: Path, model) -> None:
    program = PAGE.format(paths=PATHS, data=str(data), output=str(data.parent / "out"))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "clicked\n"
        anna = of(data, "anna")
        with pytest.raises(RecordInUse, match="anna for"):
            anna.open(0, model)
        session = anna.open(0, model, take_over=True)
        assert [click.ijk for click in session.clicks] == [VOXEL]
        other.stdin.write("\n")
        other.stdin.flush()
        assert "You have taken case1 over in another page" in other.stdout.readline()
        anna.mark(0, standing.DONE)
        session.close()
        other.stdin.close()
    work = anna.entry(0).work_of("anna")
    assert ".mine" not in work.record
    assert work.state == "done"
    assert list(anna.folder.glob("*.mine.sammed3d.json")), "what the other page did is kept too"


def test_one_goes_on_from_anothers_work_in_a_record_of_ones_own(data: Path, model) -> None:
    anna, berta = of(data, "anna"), of(data, "berta")
    done(anna, 0, model, state=standing.IN_PROGRESS)
    before = (data.parent / "out" / anna.entry(0).work_of("anna").record).read_bytes()
    session = berta.open(0, model, base="anna")
    assert [click.ijk for click in session.clicks] == [VOXEL]
    session.click(OTHER)
    session.close()
    work = berta.entry(0).work_of("berta")
    assert record.load(data.parent / "out" / work.record)["annotator"] == "berta"
    assert (data.parent / "out" / anna.entry(0).work_of("anna").record).read_bytes() == before


def test_a_blinded_reader_sees_and_opens_nothing_of_others(data: Path, model) -> None:
    anna, berta = of(data, "anna", readings=2), of(data, "berta", readings=2, blind=True)
    anna.note(0, "anna's thoughts")
    session = anna.open(0, model)
    session.click(VOXEL)
    entry = berta.entry(0)
    assert (entry.state, entry.works, entry.held, entry.notes, entry.seconds) == ("new", (), None, "", 0)
    mine = berta.open(0, model)  # at the same time: they are not to know of each other
    assert not mine.clicks
    with pytest.raises(UserError, match="blinded"):
        berta.readings_of(0, mine.volume)
    mine.click(OTHER)
    mine.close()
    with pytest.raises(UserError, match="blinded"):
        berta.open(0, model, base="anna")
    anna.mark(0, standing.DONE)
    session.close()
    assert berta.entry(0).state == "in progress"
    assert anna.entry(0).state == "in progress", "one of two readings is there"
    with pytest.raises(UserError, match="blinded"):
        of(data, "carla", blind=True, review=True)


def test_a_second_reading_is_asked_for_and_two_readings_need_a_review(data: Path, model) -> None:
    anna, berta = of(data, "anna"), of(data, "berta", blind=True)
    done(anna, 0, model)
    assert anna.entry(0).state == "done"
    anna.ask_again(0)
    assert anna.entry(0).state == "in progress"
    assert berta.entry(0).asked
    assert not anna.entry(0).asked
    done(berta, 0, model, OTHER)
    assert not berta.entry(0).asked
    assert berta.entry(0).state == "done", "hers is"
    assert anna.entry(0).state == "needs review"


def test_a_reviewer_sees_both_and_accepts_one(data: Path, model) -> None:
    for who, voxel in (("anna", VOXEL), ("berta", OTHER)):
        done(of(data, who, readings=2), 0, model, voxel)
    carla = of(data, "carla", readings=2, review=True)
    session = carla.open(0, model)
    assert [click.ijk for click in session.clicks] == [VOXEL]
    both = carla.readings_of(0, session.volume)
    assert list(both) == ["anna", "berta"]
    told = carla.difference(0, session.volume)
    (name, score), names = told.scores[0], [layer.name for layer in told.layers]
    masks = [both[who][0].mask.astype(bool) for who in ("anna", "berta")]
    assert score == pytest.approx(2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()))
    assert names[0] == f"{name}: both"
    union = sum(layer.mask.count for layer in told.layers)
    assert union == (masks[0] | masks[1]).sum()
    session.close()
    session = carla.open(0, model, base="berta")
    assert [click.ijk for click in session.clicks] == [OTHER]
    review = carla.accept(0, "good")
    session.close()
    assert review.record == carla.entry(0).work_of("berta").record
    assert not review.corrected
    assert carla.entry(0).state == "done"
    assert finished(data.parent / "out") == [data.parent / "out" / review.record]
    assert of(data, "berta", blind=True).entry(0).state == "done"


def test_a_reviewer_corrects(data: Path, model) -> None:
    done(of(data, "anna"), 0, model, state=standing.NEEDS_REVIEW)
    carla = of(data, "carla", review=True)
    kept = carla.folder / carla.entry(0).works[0].record
    before = kept.read_bytes()
    session = carla.open(0, model)
    session.click(OTHER)
    mask = session.mask
    session.close()
    session = carla.open(0, model)
    assert len(session.clicks) == 2, "a correction that was begun goes on"
    review = carla.accept(0)
    session.close()
    assert review.corrected
    assert kept.read_bytes() == before, "the annotator's own work stays as it is"
    (final,) = finished(carla.folder)
    volume = carla.read(0)
    np.testing.assert_array_equal(record.history_of(record.load(final), volume, final).state.listed[0].mask, mask)
    assert [work.annotator for work in carla.entry(0).works] == ["anna"], "a correction is no annotator's work"


def test_a_rejected_case_returns_with_the_comment_and_comes_back_for_review(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    carla = of(data, "carla", review=True)
    session = carla.open(0, model)
    with pytest.raises(UserError, match="comment"):
        carla.reject(0, " ")
    carla.reject(0, "the dome is missing")
    session.close()
    assert anna.entry(0).state == "rejected"
    assert anna.entry(0).rejection("anna").comment == "the dome is missing"
    assert of(data, "anna", blind=True).entry(0).rejection("anna").comment == "the dome is missing"
    assert finished(anna.folder) == []
    session = anna.open(0, model)
    assert anna.entry(0).state == "rejected", "looking at it changes nothing"
    session.click(OTHER)
    assert anna.entry(0).state == "in progress"
    assert anna.mark(0, standing.DONE) == "needs review"
    session.close()
    session = carla.open(0, model)
    carla.accept(0)
    session.close()
    assert anna.entry(0).state == "done"


def test_what_changed_since_it_was_opened_is_not_accepted_unseen(data: Path, model) -> None:
    anna, carla = of(data, "anna"), of(data, "carla", review=True)
    done(anna, 0, model)
    session = carla.open(0, model)
    again = anna.open(0, model, take_over=True)
    again.click(OTHER)
    with pytest.raises(UserError, match=r"anna has worked on case1 since|still working"):
        carla.accept(0)
    anna.mark(0, standing.DONE)
    with pytest.raises(UserError, match="anna has worked on case1 since"):
        carla.accept(0)
    for one in (session, again):
        one.close()


def test_annotators_do_not_review_and_reviewers_do_not_finish(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    session = anna.open(0, model)
    with pytest.raises(UserError, match="reviewer"):
        anna.reject(0, "no")
    session.close()
    carla = of(data, "carla", review=True)
    with pytest.raises(UserError, match="nothing to review"):
        carla.open(1, model)
    assert carla.entry(1).held is None, "a case that could not be opened is not leased"
    session = carla.open(0, model)
    with pytest.raises(UserError, match="reviewer accepts or rejects"):
        carla.mark(0, standing.DONE)
    session.close()
