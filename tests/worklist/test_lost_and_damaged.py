"""Worklists whose files were lost, moved, damaged or cut short, and people who may not write: no work is lost."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from readers import LABELS, OTHER, PATHS, VOXEL, done, of, states

import sammed3d_nb as snb
from sammed3d_nb.errors import UserError
from sammed3d_nb.session import record
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.listing import STATE
from sammed3d_nb.worklist.scan import Scanner
from sammed3d_nb.worklist.worklist import finished


def test_the_index_may_be_deleted_damaged_or_left_out(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    anna.note(1, "a note")

    def shown() -> list[tuple]:
        return [(one.state, one.who, one.seconds, one.notes) for one in of(data, "anna").entries()]

    before = shown()
    assert before[0][:2] == ("done", ("anna",))
    assert before[0][2] > 0
    index = anna.state / "index.sqlite"
    assert index.is_file()
    index.unlink()
    assert shown() == before
    index.write_bytes(b"SQLite format 3\0" + b"no" * 3000)
    assert shown() == before
    index.unlink()
    index.mkdir()  # it cannot be written at all
    assert shown() == before


def test_the_state_is_found_again_where_the_sidecars_are_lost(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    shutil.rmtree(anna.state)
    entry = of(data, "anna").entry(0)
    assert (entry.state, entry.who) == ("in progress", ("anna",)), "the record says whose it is"
    session = of(data, "anna").open(0, model)
    assert len(session.clicks) == 1
    session.close()


def test_records_of_the_days_before_are_listed_and_gone_on_with(data: Path, model) -> None:
    image = data / "case1" / "image.nii.gz"
    app = snb.App(snb.Volume.read(image), model, output=data.parent / "out", autosave=True)
    app.click(VOXEL)
    app.close()
    (old,) = (data.parent / "out").glob("*.sammed3d.json")
    anna = of(data, "anna")
    assert (anna.entry(0).state, anna.entry(0).who) == ("in progress", ("earlier work",))
    blinded = of(data, "berta", blind=True).open(0, model)
    assert not blinded.clicks, "it may be another's"
    blinded.close()
    session = anna.open(0, model)
    assert [click.ijk for click in session.clicks] == [VOXEL]
    assert session.autosave == old
    session.click(OTHER)
    session.close()
    assert record.load(old)["annotator"] == "anna"
    assert anna.entry(0).work_of("anna").record == old.name
    third = of(data, "carla").open(0, model)
    assert not third.clicks, "it has its owner now"
    third.close()


def test_where_nothing_can_be_written_a_case_opens_and_says_so(data: Path, model) -> None:
    (data.parent / "file").write_text("")
    anna = snb.Worklist(data, output=data.parent / "file" / "out", annotator="anna", labels=LABELS)
    session = anna.open(0, model)
    assert "cannot be" in session.autosave_error
    session.click(VOXEL)
    assert session.mask.any()
    session.new_object("spleen")
    session.click(OTHER)
    with pytest.raises(UserError, match="The work on case1 is not saved"):
        anna.mark(0, standing.DONE)
    with pytest.raises(UserError, match="cannot be written"):
        anna.note(0, "x")
    assert states(anna) == ["new"] * 3
    session.close()


def test_data_that_was_moved_keeps_its_state(data: Path, model) -> None:
    done(of(data, "anna"), 0, model)
    moved = data.rename(data.parent / "elsewhere")
    anna = snb.Worklist(moved, output=data.parent / "out", annotator="anna")
    assert anna.entry(0).state == "done"
    (moved / "deeper").mkdir()
    (moved / "case1").rename(moved / "deeper" / "renamed")
    anna = snb.Worklist(moved / "deeper", output=data.parent / "out", annotator="anna")
    session = anna.open(0, model)
    assert len(session.clicks) == 1, "the voxels are known again"
    assert anna.entry(0).state == "done"
    session.close()


def test_nothing_names_an_image_in_an_anonymous_worklist(data: Path, model) -> None:
    anna = of(data, "anna", anonymous=True)
    done(anna, "case1", model)
    for path in anna.folder.rglob("*"):
        assert "case1" not in path.name
        if path.suffix == ".json":
            assert "case1" not in path.read_text()


@pytest.mark.parametrize("sidecar", [b"", b"{", b"[]", b'{"state": "done"}', b'{"case": 3}', b"\xff\xfe"])
def test_damaged_sidecars_cost_nothing_else(data: Path, model, sidecar: bytes) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    (path,) = anna.state.glob("*.work.json")
    path.write_bytes(sidecar)
    anna = of(data, "anna")
    assert anna.entry(0).state == "in progress", "the record is there"
    session = anna.open(0, model)
    assert len(session.clicks) == 1
    session.click(OTHER)
    session.close()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == sidecar


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", ""])
def test_a_sidecar_names_no_file_elsewhere(data: Path, model, name: str) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    (path,) = anna.state.glob("*.work.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "record": name}))
    assert standing.load(anna.state, path.name) is None


REVIEWING = """
import sys, time
sys.path[:0] = {paths!r}
from support import BallNetwork, model_of
import sammed3d_nb as snb
worklist = snb.Worklist({data!r}, output={output!r}, annotator="carla", review=True)
session = worklist.open(0, model_of(BallNetwork()))
print("open", flush=True)
n = 0
while True:
    session.click((4 + n % 12, 6 + n % 7, 5))
    n += 1
    worklist.accept(0, f"accepted {{n}}")
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_of_a_review_loses_nothing(data: Path, model) -> None:
    anna = of(data, "anna")
    done(anna, 0, model)
    kept = (anna.folder / anna.entry(0).works[0].record).read_bytes()
    program = REVIEWING.format(paths=PATHS, data=str(data), output=str(anna.folder))
    for seconds in (0.0, 0.013, 0.08, 0.15):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "open\n"
        said = 0
        for _ in range(2):
            said = int(process.stdout.readline())
        time.sleep(seconds)
        process.kill()
        rest = process.communicate()[0].split()
        said = max([said, *map(int, rest)])
        carla = of(data, "carla", review=True)
        entry = carla.entry(0)
        assert entry.held is None, "the lease of a process that was killed is free"
        last = max(entry.reviews, key=lambda one: one.number)
        assert int(last.comment.split()[1]) >= said, "what was told is on the disk"
        final = carla.folder / last.record
        decided = Scanner().read(final).mark == last.mark  # else it was killed between a click and what it says of it
        assert entry.state == ("done" if decided else "needs review")
        assert finished(carla.folder) == ([final] if decided else [])
        fields = record.load(final)
        assert record.history_of(fields, carla.read(0), final).state.listed
        assert (carla.folder / entry.works[0].record).read_bytes() == kept
        session = carla.open(0, model)
        session.close()
        for path in carla.state.glob("*.review.json"):
            path.unlink()
        final.unlink()
    assert not (carla.folder / STATE / "index.sqlite-wal").exists()
