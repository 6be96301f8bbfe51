"""Who has a record open: known where the process can be seen, and not guessed where it cannot."""

import json
import os
import shutil
import subprocess
import sys

import psutil
import pytest

from sammed3d_nb.errors import RecordInUse
from sammed3d_nb.session import lock
from sammed3d_nb.session.lock import Holder, RecordLock, read
from sammed3d_nb.worklist.lease import Lease, leases

APART = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
HOLDS = """
import sys
from pathlib import Path
from sammed3d_nb.session.lock import RecordLock
from sammed3d_nb.worklist.lease import Lease
folder = Path(sys.argv[1])
held = RecordLock(folder / "case.sammed3d.json"), Lease(folder, "case", "anna")
print("held", flush=True)
sys.stdin.read()
"""


def can_be_apart():
    return bool(shutil.which("unshare")) and subprocess.run([*APART, "true"], check=False).returncode == 0


def test_a_container_of_the_same_name_is_not_taken_for_dead(tmp_path):
    if not can_be_apart():
        pytest.skip("processes cannot be put into a PID namespace of their own here")
    command = [*APART, sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        record = tmp_path / "case.sammed3d.json"
        assert read(RecordLock.beside(record)).host == Holder.here().host
        with pytest.raises(RecordInUse):
            RecordLock(record)
        with pytest.raises(RecordInUse, match="anna"):
            Lease(tmp_path, "case", "berta")
        assert list(leases(tmp_path)) == ["case"]
        RecordLock(record, take_over=True).release()
        process.stdin.close()
    assert not RecordLock.beside(record).exists()


def test_processes_of_another_numbering_are_unknown_and_not_this_one(tmp_path, monkeypatch):
    mine = Holder.here()
    assert mine.is_here
    monkeypatch.setattr(lock, "_space", lambda: -1)
    assert not mine.is_here, "the same number of another process"
    assert not mine.gone


@pytest.mark.parametrize("space", [{}, {"space": None}])
def test_locks_of_before_are_still_read(tmp_path, space):
    record = tmp_path / "case.sammed3d.json"
    mine = vars(Holder.here())
    fields = {name: mine[name] for name in ("host", "user", "started", "token")} | space
    parent = psutil.Process(os.getppid())
    RecordLock.beside(record).write_text(json.dumps({**fields, "pid": parent.pid, "started": parent.create_time()}))
    with pytest.raises(RecordInUse):
        RecordLock(record)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    RecordLock.beside(record).write_text(json.dumps({**fields, "pid": ended.pid}))
    assert read(RecordLock.beside(record)).gone
    RecordLock(record).release()


@pytest.mark.parametrize("space", ["x", [], {}, 1e400])
def test_a_lock_with_a_damaged_numbering_is_nobodys(tmp_path, space):
    path = tmp_path / "case.sammed3d.json.lock"
    path.write_text(json.dumps({**vars(Holder.here()), "space": space}))
    assert read(path) is None
