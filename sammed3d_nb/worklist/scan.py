"""What records say without their images: whose they are, minutes, and which step they stand at; masks are not read.

A record grows by a line with every step, so one that was looked at before is read from where it ended then.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sammed3d_nb.session import record
from sammed3d_nb.session.steps import Step

_STEP = re.compile(rb'^\{"step": .*"time": "([^"]{0,40})", "seconds": ([0-9.e-]+), "changes"')
_BEGIN = 100_000  # bytes of a line, in which it says all but its masks
_BEFORE = 64  # bytes by which it is known whether the file was only added to


@dataclass(frozen=True)
class Told:
    """What a record says without its image.

    Attributes:
        file: Its name.
        annotator: Whose it is; "" where it does not say.
        fingerprint: Of its volume.
        path: Of its volume; "" where it does not say.
        series: Of its volume.
        seconds: Of work.
        mark: The step that it stands at, see `mark_of`; "" where that is not known.
    """

    file: str
    annotator: str
    fingerprint: str
    path: str
    series: str | None
    seconds: float
    mark: str = ""


def mark_of(steps: Iterable[Step]) -> str:
    """What tells one state of a session from another: how many steps led there, and the time of the last one.

    Undo and redo lead back to the same mark; to select an object, or to write the same steps anew, does not change it.
    """
    return _mark([step.time for step in steps])


def _mark(times: list[str]) -> str:
    return f"{len(times)} {times[-1]}" if times else "0"


@dataclass
class _Seen:
    """How far a record has been read."""

    head: Told
    end: int  # bytes before the closing bracket
    before: bytes  # the last of them
    seconds: float
    past: list[str] = field(default_factory=list)  # the times of the steps
    future: list[str] = field(default_factory=list)


class Scanner:
    """Reads records, and remembers how far."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def read(self, path: Path) -> Told | None:
        """What a record says; None where it is damaged.

        Raises:
            OSError: It cannot be read.
        """
        try:
            if path.stat().st_size > record.LARGEST:
                return None
            with path.open("rb") as file:
                seen = self._again(path.name, file) or _begin(path, file)
                self._seen[path.name] = seen
                _read_on(seen, file)
        except record.DAMAGE:
            self._seen.pop(path.name, None)
            return None
        mark = seen.head.mark or _mark(seen.past)
        told = seen.head
        return Told(told.file, told.annotator, told.fingerprint, told.path, told.series, seen.seconds, mark)

    def forget(self, name: str) -> None:
        """A record is gone."""
        self._seen.pop(name, None)

    def _again(self, name: str, file: BinaryIO) -> _Seen | None:
        """How far the file was read, where nothing was done but to add to it since."""
        seen = self._seen.get(name)
        if seen is None or seen.end <= 0:
            return None
        file.seek(seen.end - len(seen.before))
        if file.read(len(seen.before)) != seen.before or file.read(2) != b",\n":
            file.seek(0)
            return None
        return seen


def _begin(path: Path, file: BinaryIO) -> _Seen:
    head = file.readline(record.LARGEST_HEAD)
    fields = json.loads(head.rstrip().removesuffix(b', "steps": [') + b"}") if b'"steps": [' in head else None
    mark = ""
    if fields is None:  # version 1 is one line or many, and small
        fields, mark = record.load(path), "0"
        file.seek(0, 2)
    made_on = fields["volume"]
    told = Told(
        path.name,
        str(fields.get("annotator") or ""),
        str(made_on.get("fingerprint") or ""),
        str(made_on.get("path") or ""),
        made_on.get("series"),
        0.0,
        mark,
    )
    return _Seen(told, 0, b"", 0.0)


def _read_on(seen: _Seen, file: BinaryIO) -> None:
    """Read the whole lines from where the file stands; what a crash has left behind the bracket says nothing."""
    seen.end = 0
    while line := file.readline(_BEGIN):
        if line.startswith(b"]}"):
            seen.end = file.tell() - len(line) - 1
            seen.before = _tail(file, seen.end)
            return
        part = line
        while not part.endswith(b"\n"):
            part = file.readline(2**20)
            if not part:  # it breaks off
                return
        if found := _STEP.match(line):
            seen.past.append(found[1].decode("ascii", "replace"))
            seen.future.clear()
            seen.seconds += float(found[2])
        elif line.startswith(b'{"undo"') and seen.past:
            seen.future.append(seen.past.pop())
        elif line.startswith(b'{"redo"') and seen.future:
            seen.past.append(seen.future.pop())


def _tail(file: BinaryIO, end: int) -> bytes:
    start = max(0, end - _BEFORE)
    file.seek(start)
    return file.read(end - start)
