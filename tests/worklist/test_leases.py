"""Leases: one at a time, freed by death, taken over explicitly, whoever contends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sammed3d_nb
from sammed3d_nb.errors import RecordInUse, UserError
from sammed3d_nb.worklist import people, standing
from sammed3d_nb.worklist.index import Index
from sammed3d_nb.worklist.lease import Lease, held, leases
from sammed3d_nb.worklist.listing import STATE
from sammed3d_nb.worklist.standing import Work

RACE = """
import sys, time
from pathlib import Path
from sammed3d_nb.errors import RecordInUse
from sammed3d_nb.worklist.lease import Lease
folder, who, begin = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
time.sleep(max(0, begin - time.time()))
won = []
for n in range(int(sys.argv[4])):
    try:
        won.append(Lease(folder, f"case{n}", who))
        print(n, flush=True)
    except RecordInUse:
        pass
print("end", flush=True)
sys.stdin.read()  # holds them
"""


def start(folder: Path, who: str, begin: float, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RACE, str(folder), who, str(begin), str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(Path(sammed3d_nb.__file__).parents[1]), "PATH": ""},
    )  # fmt: skip


def won(process: subprocess.Popen) -> list[int]:
    found = []
    while (line := process.stdout.readline().strip()) != "end":
        assert line, "it ended early"
        found.append(int(line))
    return found


def end(*processes: subprocess.Popen) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def test_two_processes_never_have_one_lease(tmp_path: Path) -> None:
    count = 40
    begin = time.time() + 3
    pair = [start(tmp_path, who, begin, count) for who in ("anna", "berta")]
    try:
        first, second = map(won, pair)
        assert sorted([*first, *second]) == list(range(count))
        now = leases(tmp_path)
        assert [now[f"case{n}"].holder.user for n in first] == ["anna"] * len(first)
        with pytest.raises(RecordInUse, match=r"(anna|berta) for"):
            Lease(tmp_path, "case0", "carla")
    finally:
        end(*pair)
    # both were killed: what they held is free, and again goes to one of two only
    assert leases(tmp_path) == {}
    begin = time.time() + 3
    pair = [start(tmp_path, who, begin, count) for who in ("carla", "dora")]
    try:
        first, second = map(won, pair)
        assert sorted([*first, *second]) == list(range(count))
    finally:
        end(*pair)


def test_a_lease_is_taken_over_explicitly_and_released(tmp_path: Path) -> None:
    lost: list[str] = []
    first = Lease(tmp_path, "case", "anna", on_lost=lost.append, beat=0.02)
    with pytest.raises(RecordInUse, match=r"anna for less than a minute has this case open on .*take it over"):
        Lease(tmp_path, "case", "berta")
    second = Lease(tmp_path, "case", "berta", take_over=True)
    deadline = time.monotonic() + 10
    while not lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lost == ["berta"]
    first.release()
    assert second.held, "what is no longer hers she cannot release"
    second.release()
    assert held(second.path) is None
    third = Lease(tmp_path, "case", "carla")
    third.release()


def test_the_same_annotator_in_one_process_has_left_the_older_session(tmp_path: Path) -> None:
    first = Lease(tmp_path, "case", "anna")
    second = Lease(tmp_path, "case", "anna")  # the cell was run again
    assert second.held
    assert not first.held
    second.release()


def test_a_lease_tells_its_age_and_silence(tmp_path: Path) -> None:
    lease = Lease(tmp_path, "case", "anna")
    fields = json.loads(lease.path.read_bytes())
    lease.path.write_text(json.dumps({**fields, "since": time.time() - 7500}))
    assert held(lease.path).told == "anna for 2 hours"
    os.utime(lease.path, (time.time() - 660,) * 2)
    assert held(lease.path).told == "anna for 2 hours, silent for 11 minutes"
    lease.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": 3}', b"\xff"])
def test_a_damaged_lease_is_nobodys(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "case.lease").write_bytes(content)
    assert leases(tmp_path) == {}
    lease = Lease(tmp_path, "case", "anna")
    assert lease.held
    lease.release()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lease = Lease(tmp_path / "file" / "state", "case", "anna")
    assert "cannot be written" in lease.error
    assert not lease.held
    lease.release()


def test_who_works_comes_from_the_hub_the_command_line_or_the_login(monkeypatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "login")
    assert people.annotator(None, {}) == "login"
    assert people.annotator("Anna", {}) == "Anna"
    assert people.annotator(None, {people.HUB: "anna@hub"}) == "anna@hub"
    assert people.annotator("anna@hub", {people.HUB: "anna@hub"}) == "anna@hub"
    with pytest.raises(UserError, match="logged in to JupyterHub as anna"):
        people.annotator("berta", {people.HUB: "anna"})
    for name in ("", "  ", "a\nb", "x" * 61, "\x00"):
        with pytest.raises(UserError, match="no name of an annotator"):
            people.checked(name)


def test_names_of_people_are_kept_apart_in_files() -> None:
    names = ["anna", "Anna", "ANNA", "anna@a", "anna.a", "Ánna", "安娜", "../anna", "a" * 60]
    slugs = [people.slug(name) for name in names]
    assert len({slug.lower() for slug in slugs}) == len(names)
    for slug in slugs:
        assert not set(slug) & set("./\\@: ")


def test_nothing_that_was_planted_is_followed_and_the_group_may_write(tmp_path: Path) -> None:
    folder, victim = tmp_path / "out", tmp_path / "victim"
    folder.mkdir()
    folder.chmod(0o2770)
    state = folder / STATE
    old = os.umask(0o077)
    try:
        Lease(state, "case", "anna").release()
        standing.write(state, Work("case", "anna"))
        Index(folder).contents()
    finally:
        os.umask(old)
    assert state.stat().st_mode & 0o7777 == 0o2770
    for name in ("guard", "index.sqlite"):
        assert (state / name).stat().st_mode & 0o777 == 0o660, name
        victim.write_bytes(b"")
        (state / name).unlink()
        (state / name).symlink_to(victim)
        Lease(state, "case", "anna").release()
        Index(folder).contents()
        assert victim.read_bytes() == b""
