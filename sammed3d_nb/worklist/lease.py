"""Who works on a case: a file for each, with name and age. It is taken over explicitly, never silently.

Built like the lock of a record (`session.lock`), of which each annotator has one of their own: the lease keeps two
people from doing one case by accident.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread

from filelock import FileLock, Timeout

from sammed3d_nb import atomic
from sammed3d_nb.errors import RecordInUse
from sammed3d_nb.session.lock import Holder, read, readable_age
from sammed3d_nb.worklist.shared import made, mode_in

SUFFIX = ".lease"
BEAT = 5.0
"""Seconds between two signs of life."""


@dataclass(frozen=True)
class Held:
    """A lease that somebody has.

    Attributes:
        holder: Whose process has it.
        since: When it was taken, seconds since 1970.
        seen: Its last sign of life.
    """

    holder: Holder
    since: float
    seen: float

    @property
    def told(self) -> str:
        """Who and for how long, for people."""
        told = f"{self.holder.user} for {readable_age(time.time() - self.since)}"
        silent = time.time() - self.seen
        return told if silent < 12 * BEAT else f"{told}, silent for {readable_age(silent)}"


class Lease:
    """A case that is worked on, from its making until `release`.

    A lease of a process that has ended on this machine is free. Of a machine that is gone, or out of reach, nobody
    knows: its age is told, and it can be taken over.

    Args:
        folder: The worklist's state.
        case: The case's key, or what else tells one lease from another.
        who: The annotator.
        take_over: Take it from whoever has it.
        on_lost: Called, from a thread, with who has taken it over.
        beat: Seconds between two signs of life.

    Raises:
        RecordInUse: Somebody has it.
    """

    def __init__(
        self,
        folder: Path,
        case: str,
        who: str,
        *,
        take_over: bool = False,
        on_lost: Callable[[str], None] = lambda who: None,
        beat: float = BEAT,
    ) -> None:
        self.path = folder / f"{case}{SUFFIX}"
        self.holder = replace(Holder.here(), user=who)
        self.on_lost = on_lost
        self.error = ""
        """Why it could not be written."""
        self.lost_to: str | None = None
        """Who was seen to have taken it over."""
        self.interrupted = False
        """Whether its file was gone for a while, as where somebody has taken it over and has left."""
        self._ended = Event()
        try:
            with guarded(folder):
                self._take(take_over)
        except OSError as error:  # the case is opened all the same, as its record says that it cannot be saved
            self.error = f"{self.path} cannot be written ({atomic.reason(error)}), so others do not see who works."
            return
        Thread(target=self._live, args=(beat,), name="sammed3d lease", daemon=True).start()

    @property
    def held(self) -> bool:
        """Whether it is still this one's: somebody may have taken it over."""
        other = read(self.path)
        return other is not None and other.token == self.holder.token

    @property
    def taken_by(self) -> str | None:
        """Who has taken it over; None as long as nobody has."""
        other = read(self.path)
        return None if other is None or other.token == self.holder.token else other.user

    def release(self) -> None:
        """Let others have the case."""
        self._ended.set()
        with suppress(OSError), guarded(self.path.parent):
            if self.held:
                self.path.unlink()

    def _take(self, take_over: bool) -> None:
        other = held(self.path)
        if other is not None and not take_over and not other.holder.gone and not self._own(other.holder):
            raise RecordInUse(
                f"{other.told} has this case open on {other.holder.host}; choose another one, or take it over: what "
                "was done there stays in its own record."
            )
        text = json.dumps({**asdict(self.holder), "since": time.time()}).encode()
        atomic.write_bytes(self.path, text, overwrite=other is not None or not self._is_new())

    def _is_new(self) -> bool:
        return not os.path.lexists(self.path)

    def _own(self, other: Holder) -> bool:
        """Whether the same annotator has it in this process: a cell was run again, the older session has been left."""
        return other.is_here and other.user == self.holder.user

    def _live(self, beat: float) -> None:
        while not self._ended.wait(beat):
            other = read(self.path)
            if other is None:
                self._again()
            elif other.token != self.holder.token:
                self._ended.set()
                self.lost_to = other.user
                self.on_lost(other.user)
            else:
                with suppress(OSError):
                    os.utime(self.path, follow_symlinks=False)

    def _again(self) -> None:
        """Have it again where its file is gone: somebody had it and has left, or has tidied it away."""
        if not self.path.parent.is_dir():
            return
        with suppress(OSError, RecordInUse), guarded(self.path.parent):
            if self._is_new() and not self._ended.is_set():
                self._take(take_over=False)
                self.interrupted = True


def held(path: Path) -> Held | None:
    """Who has a lease; None if nobody does."""
    holder = read(path)
    if holder is None:
        return None
    try:
        seen = path.lstat().st_mtime
        since = float(json.loads(path.read_bytes()).get("since", seen))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return Held(holder, since, seen)


def leases(folder: Path) -> dict[str, Held]:
    """Every lease of a worklist that somebody has, by what it is of; those of ended processes are left out."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
    except OSError:
        return {}
    found = {name.removesuffix(SUFFIX): held(folder / name) for name in names}
    return {case: one for case, one in found.items() if one is not None and not one.holder.gone}


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """One process at a time reads and writes leases and one's own states; a process that is killed lets go."""
    file = folder / "guard"
    try:
        made(folder)
        if file.is_symlink():
            file.unlink()  # nothing that was planted is followed
        guard = FileLock(file, timeout=10, mode=mode_in(folder))
        guard.acquire()
    except (OSError, NotImplementedError, Timeout):  # a file system without locks: writing is atomic all the same
        yield
        return
    try:
        yield
    finally:
        guard.release()
