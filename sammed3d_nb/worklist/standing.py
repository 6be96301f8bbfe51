"""How far a case is: what each annotator says of their work, what reviewers decided, and the state that follows.

Both are small files of their own, written by one person each, so that nobody writes over anybody:
``CASE.ANNOTATOR.work.json`` and ``CASE.REVIEWER.N.review.json``. A review names the turn of each annotator's work that
it is about: what is changed after it is another turn, whatever the clocks of two machines say. Both name the step that
the record stood at (`scan.mark_of`): a record that was changed without a word, as by a process that was killed between
the step and this file, is not what was called done or accepted.
"""

import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError
from sammed3d_nb.worklist.people import slug
from sammed3d_nb.worklist.shared import free, made

NEW, IN_PROGRESS, DONE, NEEDS_REVIEW, REJECTED = STATES = ("new", "in progress", "done", "needs review", "rejected")
ACCEPTED = "accepted"
BEGUN = "begun"
"""What a reviewer's file says, by the number 0, while a correction is worked on: it decides nothing."""
_WITHDRAWN = "withdrawn"  # in no file: what was accepted was changed afterwards
WORK, REVIEW = ".work.json", ".review.json"
LONGEST_TEXT = 10_000
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Work:
    """What one annotator says of one case.

    Attributes:
        case: The case's key.
        annotator: Who.
        state: `NEW` (only looked at, or only noted), `IN_PROGRESS`, `DONE` or `NEEDS_REVIEW`.
        turn: Counts the changes of `state`.
        record: Name of the record's file, in the worklist's folder; None before anything was said.
        notes: Theirs.
        readings: How many annotators are to read the case, as far as they know.
        fingerprint: Of the volume.
        name: What the case is called; empty in an anonymous worklist.
        changed: When `state` changed, ISO 8601 in UTC.
        mark: The step that the record stood at when the state was told; "" where that is not known.
        was: The keys that the case had before, with spaces between them.
    """

    case: str
    annotator: str
    state: str = NEW
    turn: int = 0
    record: str | None = None
    notes: str = ""
    readings: int = 1
    fingerprint: str = ""
    name: str = ""
    changed: str = ""
    mark: str = ""
    was: str = ""

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.case}.{slug(self.annotator)}{WORK}"


@dataclass(frozen=True)
class Review:
    """What a reviewer decided.

    Attributes:
        case: The case's key.
        reviewer: Who.
        decision: `ACCEPTED` or `REJECTED`.
        of: The annotators whose work it is about, with the turn of that work.
        number: Counts the reviews of a case; the highest one holds.
        record: Of an accepted case, the record that holds: an annotator's, or the reviewer's correction.
        corrected: Whether that is the reviewer's correction.
        comment: For the annotators.
        changed: When, ISO 8601 in UTC.
        marks: The steps at which the annotators' records stood, where they are known.
        mark: The step at which the record that holds stood; "" where it is not known.
    """

    case: str
    reviewer: str
    decision: str
    of: Mapping[str, int] = field(default_factory=dict)
    number: int = 1
    record: str | None = None
    corrected: bool = False
    comment: str = ""
    changed: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""

    @property
    def file(self) -> str:
        """The name of its file; each decision has its own, none is lost."""
        return f"{self.case}.{slug(self.reviewer)}.{self.number}{REVIEW}"

    def holds_for(self, work: Work) -> bool:
        """Whether it is about an annotator's work as it is now."""
        mark = self.marks.get(work.annotator)
        return self.of.get(work.annotator) == work.turn and (not mark or not work.mark or mark == work.mark)


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_new(folder: Path, review: Review) -> Review:
    """Write a review by the first number from its own that is free: none is written over.

    Raises:
        UserError: It cannot be written.
    """
    while True:
        try:
            write(folder, review, overwrite=False)
        except FileExistsError:
            review = replace(review, number=review.number + 1)
        else:
            return review


def write(folder: Path, told: Work | Review, *, overwrite: bool = True) -> None:
    """Write one of the files, whole or not at all.

    Raises:
        UserError: It cannot be written; what was there before stays.
        FileExistsError: It is there, and is not to be written over.
    """
    path = folder / told.file
    try:
        made(folder)
        if isinstance(told, Work) and path.exists() and parsed(path.name, content(path)) is None:
            path.replace(free(path.with_name(f"{path.name}.damaged")))  # another version's, perhaps: kept
        atomic.write_bytes(path, json.dumps(asdict(told), ensure_ascii=False, indent=1).encode(), overwrite=overwrite)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({atomic.reason(error)}), so the case's state stays as it was; make room or "
            "choose a folder that you may write to."
        ) from error


def load(folder: Path, name: str) -> Work | Review | None:
    """One of the files; None where there is none, or it is damaged.

    Raises:
        UserError: It is there and cannot be read now, so that nobody knows what it says.
    """
    try:
        return parsed(name, content(folder / name))
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
            return None
        raise UserError(
            f"{folder / name} cannot be read ({atomic.reason(error)}), so how the case stands is not known; try again "
            "when the folder is within reach."
        ) from error


def parsed(name: str, content: bytes) -> Work | Review | None:
    """What one of the files says; None where it is damaged or another one's."""
    try:
        fields = json.loads(content)
        made: Work | Review = _work(fields) if name.endswith(WORK) else _review(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return made if made.file == name else None


def content(path: Path) -> bytes:
    """The bytes of one of the files; a link is not followed.

    Raises:
        OSError: It cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "rb") as file:
        return file.read(_LARGEST)


def _work(fields: Any) -> Work:
    checked: dict[str, Any] = {
        name: _text(fields, name)
        for name in ("case", "annotator", "notes", "fingerprint", "name", "changed", "mark", "was")
    }
    checked |= {name: _whole(fields, name) for name in ("turn", "readings")}
    if fields["state"] not in STATES:
        raise ValueError(fields["state"])
    return Work(**checked, state=fields["state"], record=_file(fields))


def _review(fields: Any) -> Review:
    text = {name: _text(fields, name) for name in ("case", "reviewer", "comment", "changed", "mark")}
    if fields["decision"] not in (ACCEPTED, REJECTED, BEGUN):
        raise ValueError(fields["decision"])
    marks = {str(who): str(mark) for who, mark in fields.get("marks", {}).items()}
    of = {str(who): int(turn) for who, turn in fields["of"].items()}
    return Review(
        **text, decision=fields["decision"], of=of, number=_whole(fields, "number"), record=_file(fields),
        corrected=fields.get("corrected") is True, marks=marks,
    )  # fmt: skip


def _text(fields: Any, name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(name)
    return value


def _whole(fields: Any, name: str) -> int:
    value = fields.get(name, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(name)
    return value


def _file(fields: Any) -> str | None:
    """The record's name: of a file in the worklist's folder, and nowhere else."""
    value = fields.get("record")
    if value is not None and (not isinstance(value, str) or value in ("", ".", "..") or Path(value).name != value):
        raise ValueError("record")
    return value


# -- the state that follows ------------------------------------------------------------------------------------------


def as_recorded(work: Work, marks: Mapping[str, str]) -> Work:
    """One annotator's work by its record as it is now: in progress, where that was changed after it was called done.

    Args:
        work: As its file says.
        marks: The steps at which the records stand, by the names of their files.
    """
    mark = marks.get(work.record or "", "")
    if not mark or mark == work.mark:
        return work
    if work.mark and work.state in (DONE, NEEDS_REVIEW):
        return replace(work, state=IN_PROGRESS, turn=work.turn + 1, mark=mark)
    return replace(work, mark=mark)


def still(review: Review, marks: Mapping[str, str]) -> Review:
    """A review by the record that it accepts as that is now: where it was changed, nothing is accepted any more."""
    mark = marks.get(review.record or "", "")
    changed = review.decision == ACCEPTED and review.mark and mark and mark != review.mark
    return replace(review, decision=_WITHDRAWN) if changed else review


def order(review: Review) -> tuple[int, str, str]:
    """By which the later of two reviews is known: two reviewers may have decided at the same time."""
    return review.number, review.changed, review.reviewer


def standing(work: Work, reviews: Sequence[Review]) -> str:
    """The state of one annotator's work."""
    about = [one for one in reviews if one.holds_for(work)]
    if not about:
        return work.state
    last = max(about, key=order)
    if last.decision == _WITHDRAWN:
        return NEEDS_REVIEW if work.state == DONE else work.state
    return DONE if last.decision == ACCEPTED else REJECTED


def state_of(works: Iterable[Work], reviews: Sequence[Review], readings: int = 1) -> str:
    """The state of a case.

    New, until somebody works on it; rejected, as long as a rejected reading was not taken up again; in progress, as
    long as somebody works on it or readings are missing; needs review, where an annotator asks for one, or where there
    are several readings; done, otherwise. What was accepted is done until an annotator changes it.
    """
    begun = [work for work in works if work.state != NEW]
    last = accepted(begun, reviews)
    if last is not None:
        return DONE
    states = [standing(work, reviews) for work in begun]
    for state in (REJECTED, IN_PROGRESS):
        if state in states:
            return state
    if not states:
        return NEW
    if len(states) < readings:
        return IN_PROGRESS
    return NEEDS_REVIEW if readings > 1 or NEEDS_REVIEW in states else DONE


def accepted(works: Iterable[Work], reviews: Sequence[Review]) -> Review | None:
    """The review that accepts a case as it is now; None without one."""
    if not reviews:
        return None
    last = max(reviews, key=order)
    by_name = {work.annotator: work for work in works}
    current = all(who in by_name and last.holds_for(by_name[who]) for who in last.of)
    return last if last.decision == ACCEPTED and current else None


def final_record(works: Sequence[Work], reviews: Sequence[Review], readings: int = 1) -> str | None:
    """The record that holds for a case that is done: the accepted one, else the one that was done last; None else."""
    last = accepted(works, reviews)
    if last is not None:
        return last.record
    if state_of(works, reviews, readings) != DONE:
        return None
    done = [work for work in works if work.state != NEW and work.record]
    return max(done, key=lambda work: work.changed).record if done else None
