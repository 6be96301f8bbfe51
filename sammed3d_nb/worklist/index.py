"""What the files of a worklist say, read once: an index in SQLite that may be deleted at any time.

It holds nothing that is not in the files. A file that has another size, time or inode than it had is read again. Where
SQLite cannot work (a full disk, a network file system without locks, a damaged file), the index lives in memory.
"""

import json
import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from sammed3d_nb.session import record
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.listing import STATE
from sammed3d_nb.worklist.scan import Scanner, Told
from sammed3d_nb.worklist.shared import mode_in
from sammed3d_nb.worklist.standing import BEGUN, Review, Work

FILE = "index.sqlite"
REVIEWED = f".review{record.SUFFIX}"
"""Ends the record of a reviewer's corrections, which is no annotator's work."""
_REVIEWED = re.compile(rf"\.review(\.mine\d*)?{re.escape(record.SUFFIX)}$")
_INODE = 2**63 - 1  # SQLite has no larger numbers; some file systems do
_Signature = tuple[int, int, int]


def is_reviewers(name: str) -> bool:
    """Whether a record is a reviewer's correction, or what was put aside of one, by its file's name."""
    return _REVIEWED.search(name) is not None


@dataclass
class Contents:
    """Everything that the files say.

    Attributes:
        works: By case.
        reviews: By case.
        records: By the name of their file.
    """

    works: dict[str, list[Work]] = field(default_factory=lambda: defaultdict(list))
    reviews: dict[str, list[Review]] = field(default_factory=lambda: defaultdict(list))
    records: dict[str, Told] = field(default_factory=dict)


class Index:
    """The index of one worklist.

    Args:
        folder: Where the records are; the state is in its folder `STATE`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / STATE
        self._known: dict[str, tuple[_Signature, dict[str, Any] | None]] | None = None
        self._lock = RLock()
        self._scanner = Scanner()

    def contents(self) -> Contents:
        """What the files say now."""
        with self._lock:
            found = Contents()
            known = self._remembered()
            changed: dict[str, tuple[_Signature, dict[str, Any] | None]] = {}
            there: set[str] = set()
            for name, path, signature, read in self._files():
                there.add(name)
                before = known.get(name)
                if before is None or before[0] != signature or not _taken(found, name, before[1]):
                    try:
                        fields = read(path)
                    except OSError:  # closed to this user: others may read it, and their index is this one
                        continue
                    known[name] = changed[name] = (signature, fields)
                    _taken(found, name, fields)
            gone = known.keys() - there
            for name in gone:
                del known[name]
                self._scanner.forget(name)
            if changed or gone:
                self._keep(changed, gone)
            return _settled(found)

    def _record(self, path: Path) -> dict[str, Any] | None:
        told = self._scanner.read(path)
        return None if told is None else asdict(told)

    def _files(self) -> Iterator[tuple[str, Path, _Signature, Callable[[Path], dict[str, Any] | None]]]:
        for folder, ends, read in (
            (self.state, (standing.WORK, standing.REVIEW), _sidecar),
            (self.folder, (record.SUFFIX,), self._record),
        ):
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:  # not there yet
                continue
            for entry in entries:
                if entry.name.endswith(ends):
                    with suppress(OSError):  # it has just gone
                        if entry.is_file(follow_symlinks=False):
                            told = entry.stat(follow_symlinks=False)
                            yield (
                                entry.name,
                                Path(entry.path),
                                (told.st_size, told.st_mtime_ns, told.st_ino & _INODE),
                                read,
                            )

    def _remembered(self) -> dict[str, tuple[_Signature, dict[str, Any] | None]]:
        if self._known is None:
            self._known = {}
            for row in self._sql(lambda base: base.execute("SELECT * FROM files").fetchall()) or ():
                with suppress(ValueError, TypeError, RecursionError):
                    name, size, time, inode, fields = row
                    self._known[str(name)] = (size, time, inode), json.loads(fields)
        return self._known

    def _keep(self, changed: dict[str, tuple[_Signature, dict[str, Any] | None]], gone: set[str]) -> None:
        rows = [(name, *signature, json.dumps(fields)) for name, (signature, fields) in changed.items()]

        def write(base: sqlite3.Connection) -> None:
            base.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
            base.executemany("DELETE FROM files WHERE name = ?", [(name,) for name in gone])

        self._sql(write)

    def _sql(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do something in one short transaction; None where that does not work."""
        path = self.state / FILE
        if not self.state.is_dir():
            return None  # nothing is written for a worklist in which nobody works
        for attempt in range(2):
            try:
                if path.is_symlink():
                    path.unlink()  # nothing that was planted is followed
                new = not path.exists()
                with closing(sqlite3.connect(path, timeout=5)) as base, base:
                    base.execute("PRAGMA journal_mode = DELETE")  # a write-ahead log does not work on NFS
                    base.execute(
                        "CREATE TABLE IF NOT EXISTS files"
                        " (name TEXT PRIMARY KEY, size INTEGER, time INTEGER, inode INTEGER, fields TEXT)"
                    )
                    if new:
                        path.chmod(mode_in(self.state))
                    return job(base)
            except (sqlite3.OperationalError, OSError, OverflowError):  # busy, full, no locks: the files say it all
                return None
            except sqlite3.Error:  # damaged, or something else: begin it again
                with suppress(OSError):
                    path.unlink()
                if attempt:
                    return None
        return None


def _taken(found: Contents, name: str, fields: dict[str, Any] | None) -> bool:
    """Add what a file says; False where the index does not hold what a file can say."""
    if fields is None:
        return True  # it is damaged: it has been looked at
    try:
        if name.endswith(record.SUFFIX):
            found.records[name] = _told(fields)
            return True
        told = standing.parsed(name, json.dumps(fields).encode())
    except (TypeError, ValueError, KeyError):
        return False
    if isinstance(told, Work):
        found.works[told.case].append(told)
    elif isinstance(told, Review) and told.decision != BEGUN:
        found.reviews[told.case].append(told)
    return told is not None


def _settled(found: Contents) -> Contents:
    """The same by what the records say now, whatever was said of them, and whatever their case was called before."""
    for key, works in found.works.items():
        for before in {old for work in works for old in work.was.split() if old != key}:
            found.reviews[key] += [one for one in found.reviews.get(before, ()) if one not in found.reviews[key]]
    marks = {name: told.mark for name, told in found.records.items()}
    for key, works in found.works.items():
        found.works[key] = [standing.as_recorded(work, marks) for work in works]
    for key, reviews in found.reviews.items():
        found.reviews[key] = [standing.still(review, marks) for review in reviews]
    return found


def _told(fields: dict[str, Any]) -> Told:
    text = {name: str(fields[name]) for name in ("file", "annotator", "fingerprint", "path", "mark")}
    return Told(**text, series=fields["series"], seconds=float(fields["seconds"]))


def _sidecar(path: Path) -> dict[str, Any] | None:
    told = standing.parsed(path.name, standing.content(path))
    return None if told is None else asdict(told)
