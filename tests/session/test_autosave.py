"""The record on a disk that fills, beside people who share it, and through crashes."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import BallNetwork, model_of

from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import RecordError, RecordInUse
from sammed3d_nb.session import record
from sammed3d_nb.session.lock import RecordLock, read

TESTS = Path(__file__).parents[1]


def volume() -> Volume:
    array = np.random.default_rng(1).integers(-100, 200, (18, 22, 26)).astype(np.int16)
    return Volume.from_array(array, (4.0, 4.5, 6.0), name="small")


def begin(path: Path, **options: bool) -> Session:
    return Session(volume(), model_of(BallNetwork()), autosave=path, **options)  # type: ignore[arg-type]


def resumed(path: Path) -> Session:
    return Session.resume(path, volume=volume(), model=model_of(BallNetwork()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "case.sammed3d.json"


def test_a_step_adds_a_line_and_touches_nothing_else(path: Path) -> None:
    session = begin(path)
    session.click((10, 10, 8))
    inode, before = path.stat().st_ino, path.read_bytes()
    session.paint([(1, 1, 1)])
    session.undo()
    session.redo()
    session.select("object 1")
    after = path.read_bytes()
    assert path.stat().st_ino == inode
    assert after.startswith(before[: -len(record.END)])
    assert [len(line) > 0 for line in after[len(before) - len(record.END) :].split(b"\n")].count(True) == 6
    json.loads(after)
    assert np.array_equal(resumed(path).mask, session.mask)


def test_a_step_costs_the_same_bytes_with_many_objects(tmp_path: Path) -> None:
    sizes = []
    for count in (1, 12):
        path = tmp_path / f"{count}.sammed3d.json"
        session = begin(path)
        for number in range(count):
            session.new_object(f"extra {number}")
            session.paint([(number, 0, 0)])
        session.new_object("last")
        before = path.stat().st_size
        session.paint([(20, 20, 10)])
        sizes.append(path.stat().st_size - before)
    assert abs(sizes[0] - sizes[1]) < 20


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_crash_in_the_middle_of_a_line_costs_that_line_alone(path: Path, share: float) -> None:
    session = begin(path)
    session.click((10, 10, 8))
    whole = path.read_bytes()
    expected = session.mask
    session.click((14, 10, 8))
    longer = path.read_bytes()
    start = len(whole) - len(record.END)
    path.write_bytes(longer[: start + int(share * (len(longer) - start))])
    session.close()
    again = resumed(path)
    assert np.array_equal(again.mask, expected)
    assert len(again.steps) == 1


def test_work_goes_on_after_a_crash(path: Path) -> None:
    session = begin(path)
    session.click((10, 10, 8))
    session.click((14, 10, 8))
    session.close()
    broken = path.read_bytes()[:-60]
    path.write_bytes(broken)
    again = Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path)
    again.click((12, 10, 8))
    assert again.autosave_error is None
    json.loads(path.read_bytes())
    assert len(resumed(path).clicks) == 2
    assert path.with_name(f"{path.name}.bak").read_bytes() == broken


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
sys.path.insert(0, str(Path({tests!r}) / "session"))
from test_autosave import begin
session = begin(Path({path!r}))
write, writes = os.write, 0
def dying(handle, data):
    global writes
    writes += 1
    if writes == {at}:
        write(handle, data[: len(data) // 2])
        os.kill(os.getpid(), 9)
    return write(handle, data)
os.write = dying
for n in range(5):
    session.paint([(n, n, n)])
    print(n, flush=True)
"""


@pytest.mark.parametrize("at", [1, 2, 4])
def test_kill_9_in_the_middle_of_a_write(path: Path, at: int) -> None:
    code = textwrap.dedent(CRASH).format(tests=str(TESTS), path=str(path), at=at)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == -9, ended.stderr
    done = len(ended.stdout.split())
    assert resumed(path).mask.sum() == done
    session = begin(path.with_name("other.sammed3d.json"))  # nothing is left that keeps others out
    session.close()
    again = Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path)
    again.paint([(9, 9, 9)])
    assert resumed(path).mask.sum() == done + 1


def test_a_full_disk_keeps_what_was_saved_and_the_rest_is_saved_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(path)
    session.paint([(1, 1, 1)])
    saved = path.read_bytes()
    real, full = os.write, []

    def write(handle: int, data: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        if len(data) > 20:  # a line, behind the bracket
            full.append(True)
            return real(handle, data[:10])
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    session.paint([(2, 2, 2)])
    assert "No space left on device" in str(session.autosave_error)
    full.clear()
    assert resumed(path).mask.sum() == 1
    assert path.read_bytes()[: len(saved) - len(record.END)] == saved[: -len(record.END)]
    assert session.mask.sum() == 2
    monkeypatch.undo()
    session.paint([(3, 3, 3)])
    assert session.autosave_error is None
    assert resumed(path).mask.sum() == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        path = disk / "case.sammed3d.json"
        session = begin(path)
        rng = np.random.default_rng(0)
        for number in range(60):
            session.paint(rng.random((18, 22, 26)) > 0.9, add=number % 2 == 0)
            if session.autosave_error:
                break
        assert "cannot be written" in str(session.autosave_error)
        (disk / "filler").write_bytes(b"")
        kept = resumed(path)
        assert 0 < len(kept.steps) < len(session.steps)
        session.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (path.name, f"{path.name}.bak", f"{path.name}.lock"):
        (tmp_path / name).symlink_to(victim)
    session = begin(path, take_over=True)
    session.paint([(1, 1, 1)])
    session.paint([(2, 2, 2)])
    assert victim.read_text() == "precious"
    assert session.autosave_error is None
    assert resumed(path).mask.sum() == 2


# -- several people --------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys, time
sys.path.insert(0, {tests!r})
sys.path.insert(0, {tests!r} + "/session")
from pathlib import Path
from test_autosave import begin
session = begin(Path({path!r}))
session.paint([(1, 1, 1)])
print("open", flush=True)
for line in sys.stdin:
    session.paint([(int(line), 5, 5)])
    print(session.autosave.name, session.autosave_error, flush=True)
"""


@pytest.fixture
def elsewhere(path: Path):  # type: ignore[no-untyped-def]
    """Another process with the record open."""
    code = textwrap.dedent(ELSEWHERE).format(tests=str(TESTS), path=str(path))
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    yield other
    other.kill()
    other.wait()


def test_a_record_is_open_once_and_taken_over_on_purpose(path: Path, elsewhere: subprocess.Popen[str]) -> None:
    with pytest.raises(RecordInUse, match=r"is open in another session \(.+ on .+, last change less than a minute ago"):
        Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path)
    mine = Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path, take_over=True)
    mine.paint([(9, 9, 9)])
    assert elsewhere.stdin is not None
    assert elsewhere.stdout is not None
    print(7, file=elsewhere.stdin, flush=True)
    told = elsewhere.stdout.readline()
    assert told.startswith("case.mine.sammed3d.json ")
    assert "has taken over case.sammed3d.json: this session goes on as case.mine.sammed3d.json" in told
    print(8, file=elsewhere.stdin, flush=True)
    elsewhere.stdout.readline()
    mine.paint([(10, 9, 9)])
    assert resumed(path).mask.sum() == 3
    assert resumed(path.with_name("case.mine.sammed3d.json")).mask.sum() == 3
    assert np.array_equal(resumed(path).mask, mine.mask)


def test_what_another_session_has_left_behind_is_no_hindrance(path: Path, elsewhere: subprocess.Popen[str]) -> None:
    elsewhere.kill()
    elsewhere.wait()
    assert RecordLock.beside(path).exists()
    again = Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path)
    again.paint([(9, 9, 9)])
    assert resumed(path).mask.sum() == 2


def test_running_a_cell_again_goes_on_and_the_older_session_steps_aside(path: Path) -> None:
    older = begin(path)
    older.paint([(1, 1, 1)])
    newer = Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path)
    newer.paint([(2, 2, 2)])
    older.paint([(3, 3, 3)])
    assert older.autosave is not None
    assert older.autosave.name == "case.mine.sammed3d.json"
    assert resumed(path).mask.sum() == 2
    assert resumed(older.autosave).mask.sum() == 2


def test_closing_lets_others_in(path: Path) -> None:
    session = begin(path)
    assert read(RecordLock.beside(path)) is not None
    session.close()
    assert not RecordLock.beside(path).exists()
    session = begin(path)
    del session
    assert not RecordLock.beside(path).exists()


def test_saving_by_hand_keeps_what_others_have_saved_there(path: Path, elsewhere: subprocess.Popen[str]) -> None:
    session = Session(volume(), model_of(BallNetwork()))
    session.paint([(3, 3, 3)])
    with pytest.raises(RecordInUse, match="save under another name"):
        session.save(path)
    elsewhere.kill()
    elsewhere.wait()
    session.save(path)
    session.save(path)
    assert resumed(path.with_name(f"{path.name}.bak")).mask[1, 1, 1] == 1
    assert not path.with_name(f"{path.name}.bak2").exists()
    assert resumed(path).mask[3, 3, 3] == 1


def test_what_is_said_after_closing_is_not_saved_and_that_is_said(path: Path) -> None:
    session = begin(path)
    session.paint([(1, 1, 1)])
    session.close()
    session.paint([(2, 2, 2)])
    assert "was closed" in str(session.autosave_error)
    assert resumed(path).mask.sum() == 1


def test_the_image_is_never_overwritten(tmp_path: Path) -> None:
    image = volume().write_mask(np.ones((18, 22, 26), np.uint8), tmp_path / "image.nii.gz")
    session = Session(Volume.read(image), model_of(BallNetwork()))
    before = image.read_bytes()
    with pytest.raises(RecordError, match="is the image itself and would be overwritten"):
        session.save(image)
    assert image.read_bytes() == before


def test_an_image_is_no_place_for_an_autosave(tmp_path: Path) -> None:
    image = volume().write_mask(np.ones((18, 22, 26), np.uint8), tmp_path / "image.nii.gz")
    with pytest.raises(RecordError, match="is the image itself"):
        Session(Volume.read(image), model_of(BallNetwork()), autosave=image)
    assert [path.name for path in tmp_path.iterdir()] == ["image.nii.gz"]


def test_options_and_model_of_the_record_are_those_of_its_last_step(path: Path) -> None:
    class Other(BallNetwork):
        spec = replace(BallNetwork.spec, name="other", architecture="other")

    session = begin(path)
    session.click((10, 10, 8))
    session.set_model(model_of(Other()))
    session.grow, session.overlap = False, True
    session.click((12, 10, 8))
    again = resumed(path)
    assert (again.grow, again.overlap) == (False, True)
    assert record.load(path)["model"]["name"] == "other"


def test_two_who_resumed_one_record_by_hand_lose_nothing(path: Path) -> None:
    session = Session(volume(), model_of(BallNetwork()))
    session.paint([(1, 1, 1)])
    session.save(path)
    first, second = resumed(path), resumed(path)
    second.paint([(2, 2, 2)])
    second.save(path)
    first.paint([(3, 3, 3)])
    first.save(path)
    assert resumed(path).mask[3, 3, 3] == 1
    assert resumed(path.with_name(f"{path.name}.bak")).mask[2, 2, 2] == 1


def test_saving_after_a_take_over_goes_elsewhere(path: Path) -> None:
    older = begin(path)
    older.paint([(1, 1, 1)])
    newer = Session.resume(path, volume=volume(), model=model_of(BallNetwork()), autosave=path)
    newer.paint([(2, 2, 2)])
    assert older.save(path).name == "case.mine.sammed3d.json"
    assert resumed(path).mask.sum() == 2


def test_a_lock_that_was_tidied_away_is_taken_again(path: Path) -> None:
    session = begin(path)
    session.paint([(1, 1, 1)])
    RecordLock.beside(path).unlink()
    session.paint([(2, 2, 2)])
    assert session.autosave_error is None
    assert RecordLock.beside(path).exists()
    assert resumed(path).mask.sum() == 2


@pytest.mark.parametrize("count", range(1, 9))
def test_a_bracket_that_was_half_written_over_costs_no_line_before_it(path: Path, count: int) -> None:
    session = begin(path)
    session.click((10, 10, 8))
    whole = path.read_bytes()
    session.click((14, 10, 8))
    longer = path.read_bytes()
    session.close()
    start = len(whole) - len(record.END)
    path.write_bytes(longer[: start + count] + whole[start + count :])  # torn within the bracket, nothing behind it
    assert len(resumed(path).steps) == 1
    torn = whole[:start] + longer[start : start + min(count, 3)] + whole[start + min(count, 3) :] + longer[len(whole) :]
    path.write_bytes(torn)
    assert len(resumed(path).steps) >= 1
