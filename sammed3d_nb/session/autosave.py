"""Saving after every change: a line is added to the record, which costs what the change is, not the session."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sammed3d_nb import atomic
from sammed3d_nb.errors import RecordError, RecordInUse, UserError
from sammed3d_nb.session import record
from sammed3d_nb.session.lock import RecordLock, read

_END = record.END.encode()


class Autosave:
    """The record of a session, open for its next step.

    Args:
        path: The record. One that is there already, of another session, is kept beside it as ``….bak``, ``….bak2``, ….
        take_over: Take it from a session that has it open.

    Raises:
        RecordInUse: Another session has it open.
    """

    def __init__(self, path: Path, *, take_over: bool = False) -> None:
        self.path = path
        self.error: str | None = None
        self._size: int | None = None  # of the file when it ended with this session's last line
        self._ours = False  # the file that lies there is this session's
        self._lock: RecordLock | None = None
        self._closed = False
        self._acquire(take_over)

    def goes_on_from(self, path: Path, size: int | None) -> None:
        """The session was resumed from `path`, whole and of that many bytes: if it is the record, lines are added."""
        if size is not None and path.absolute() == self.path.absolute() and not path.is_symlink():
            self._size, self._ours = size, True

    def append(self, line: dict[str, Any], text: Callable[[], str], head: Any = None) -> None:
        """Save a change; `error` says when that fails, and the next change saves it too.

        Args:
            line: The change.
            text: The whole record, for the first change and after a failure.
            head: What its first line tells of model and options: when that changes the record is written anew.
        """
        if self._closed:
            self.error = f"This session was closed: what is said from now on is not saved to {self.path.name}."
            return
        try:
            self._hold()
            if head != self._head or self._size is None or not self._add(line):
                self._write_whole(text)
            self._head = head
            if self._lock is not None:
                self._lock.touch()
            self.error = self._told
        except (OSError, UserError) as error:  # the change itself has worked
            self._size = None
            self.error = str(error) if isinstance(error, UserError) else _sentence(self.path, error)

    _told: str | None = None  # what has to stay in sight: another session has the record now
    _head: Any = None

    def rewrite(self, text: Callable[[], str]) -> Path:
        """Write the whole record; returns where: elsewhere if another session has taken the record over.

        Raises:
            RecordError: It cannot be written.
        """
        if not self._closed:
            self._hold()
        self._write_whole(text)
        return self.path

    def _hold(self) -> None:
        """Have the lock, or go on under another name if another session has it."""
        if self._lock is None or read(self._lock.path) is None:  # or somebody has tidied it away
            self._acquire(take_over=False)
        elif not self._lock.held:
            self._move_aside()

    def _write_whole(self, text: Callable[[], str]) -> None:
        found = signature(self.path)
        if self._ours and self._size is not None and (found is None or found[0] != self._size):
            self._ours = False  # somebody else has written it
        if self._closed or not self._ours:
            keep_other(self.path)
        written = text()
        record.write(self.path, written)
        self._size, self._ours = len(written.encode()), True
        self.error = self._told

    def close(self) -> None:
        """Let others open the record."""
        self._closed = True
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _acquire(self, take_over: bool) -> None:
        try:
            self._lock = RecordLock(self.path, take_over=take_over)
        except RecordInUse:
            raise
        except OSError as error:
            self.error = _sentence(self.path, error)

    def _add(self, line: dict[str, Any]) -> bool:
        """Put a line in place of the closing bracket; False if the file is not as this session left it."""
        tail = b",\n" + json.dumps(line).encode() + _END
        try:
            handle = os.open(self.path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return False
        try:
            assert self._size is not None
            start = self._size - len(_END)
            if os.fstat(handle).st_size != self._size or _read(handle, start, len(_END)) != _END:
                self._ours = False  # somebody else has written it: kept as .bak
                return False
            try:
                # what lies behind the bracket first, then the bracket itself in one piece: a crash between the two
                # leaves whole lines and something behind them
                _write(handle, self._size, tail[len(_END) :])
                os.fsync(handle)
                _write(handle, start, tail[: len(_END)])
                os.fsync(handle)
            except OSError:
                with suppress(OSError):  # the bracket fits where it was
                    _write(handle, start, _END)
                    os.ftruncate(handle, self._size)
                raise
            self._size = start + len(tail)
        finally:
            os.close(handle)
        return True

    def _move_aside(self) -> None:
        """Another session has taken the record over: go on under another name."""
        taker = read(RecordLock.beside(self.path))
        stem, was = self.path.name.removesuffix(record.SUFFIX), self.path.name
        number = 1
        while True:
            aside = self.path.with_name(f"{stem}.mine{number if number > 1 else ''}{record.SUFFIX}")
            if not os.path.lexists(aside):
                break
            number += 1
        self.path, self._size, self._ours = aside, None, True
        self._lock = RecordLock(aside)
        who = f"{taker.user} on {taker.host}" if taker else "another session"
        self._told = f"{who} has taken over {was}: this session goes on as {aside.name}."


def keep_other(path: Path) -> None:
    """Before `path` is written: keep another session's record under a name of its own.

    Raises:
        RecordInUse: That session has it open.
        RecordError: It cannot be kept.
    """
    holder = read(RecordLock.beside(path))
    if holder is not None and not (holder.gone or holder.is_here):
        raise RecordInUse(
            f"{path.name} is open in another session ({holder.user} on {holder.host}); save under another name."
        )
    if not path.is_file():
        return
    number = 1
    while True:
        kept = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        try:
            handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
            break
        except FileExistsError:
            number += 1
        except OSError as error:
            raise RecordError(_sentence(kept, error)) from error
    try:
        with os.fdopen(handle, "wb") as copy, path.open("rb") as file:
            shutil.copyfileobj(file, copy)
        atomic.sync(kept)
    except OSError as error:
        with suppress(OSError):
            kept.unlink()
        raise RecordError(_sentence(kept, error)) from error


def signature(path: Path) -> tuple[int, int] | None:
    """What tells whether a file has been written since: bytes and time; None if it is not there."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(handle: int, start: int, count: int) -> bytes:
    os.lseek(handle, start, os.SEEK_SET)
    return os.read(handle, count)


def _write(handle: int, start: int, data: bytes) -> None:
    os.lseek(handle, start, os.SEEK_SET)
    while data:
        data = data[os.write(handle, data) :]


def _sentence(path: Path, error: OSError) -> str:
    return f"{path} cannot be written ({atomic.reason(error)}); make room or choose a folder that you may write to."
