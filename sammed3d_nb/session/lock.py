"""Who has a record open: a file beside it, with host, user and age. Taking it over is explicit."""

import getpass
import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from sammed3d_nb import atomic
from sammed3d_nb.errors import RecordInUse

_LARGEST = 4096


@dataclass(frozen=True)
class Holder:
    """A session that has a record open.

    Attributes:
        host: Its machine.
        user: Whose it is.
        pid: Its process there.
        started: When that process began, seconds since 1970: numbers of processes are used again.
        token: Unlike any other's.
        space: Which numbering of processes `pid` is of: containers may share the host's name and number their own.
            None where the system has but one, and in locks written before this was told.
    """

    host: str
    user: str
    pid: int
    started: float
    token: str
    space: int | None = None

    @classmethod
    def here(cls) -> "Holder":
        """This process, with a new token."""
        started = psutil.Process().create_time()
        return cls(socket.gethostname(), _user(), os.getpid(), started, secrets.token_hex(8), _space())

    @property
    def is_near(self) -> bool:
        """Whether its process, where it lives, is seen from here under its number."""
        return self.host == socket.gethostname() and self.space in (None, _space())

    @property
    def gone(self) -> bool:
        """Whether its process is known to have ended."""
        if not self.is_near:
            return False
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) > 1)
        except psutil.Error:
            return True

    @property
    def is_here(self) -> bool:
        """Whether it is this very process."""
        return self.is_near and self.pid == os.getpid() and not self.gone


class RecordLock:
    """The lock of one record, held from its making until `release`.

    Args:
        record: The record.
        take_over: Take it from whoever has it.

    Raises:
        RecordInUse: Another session has it open.
        OSError: The lock cannot be written.
    """

    def __init__(self, record: Path, *, take_over: bool = False) -> None:
        self.path = self.beside(record)
        self.holder = Holder.here()
        text = json.dumps(asdict(self.holder)).encode()
        try:
            atomic.write_bytes(self.path, text, overwrite=False)
        except FileExistsError:
            other = read(self.path)
            # one's own process: the cell was run again, the older session has been left
            if not take_over and other is not None and not (other.gone or other.is_here):
                age = readable_age(time.time() - self.path.lstat().st_mtime)
                raise RecordInUse(
                    f"{record.name} is open in another session ({other.user} on {other.host}, last change {age} ago); "
                    "close it there, or take it over: what is said there from then on is kept under another name."
                ) from None
            atomic.write_bytes(self.path, text)

    @staticmethod
    def beside(record: Path) -> Path:
        """The lock's file."""
        return record.with_name(f"{record.name}.lock")

    @property
    def held(self) -> bool:
        """Whether it is still this one's: another session may have taken it over."""
        other = read(self.path)
        return other is not None and other.token == self.holder.token

    def touch(self) -> None:
        """Say that its session is at work."""
        with suppress(OSError):
            os.utime(self.path, follow_symlinks=False)

    def release(self) -> None:
        """Let others open the record."""
        with suppress(OSError):
            if self.held:
                self.path.unlink()


def read(path: Path) -> Holder | None:
    """Who holds a lock; None if nobody does, or nobody knows."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            fields = json.loads(file.read(_LARGEST))
        host, space = str(fields["host"])[:100], fields.get("space")
        holder = Holder(
            host, str(fields["user"])[:100], int(fields["pid"]), float(fields["started"]),
            str(fields["token"]), None if space is None else int(space),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return holder


def readable_age(seconds: float) -> str:
    """A time span as people say it."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _space() -> int | None:
    """This process's numbering of processes: the PID namespace, which Linux has."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
