"""What a worklist shows of its cases: all that the files say, but for what a blinded reader must not see."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sammed3d_nb.worklist.index import Contents, is_reviewers
from sammed3d_nb.worklist.lease import Held
from sammed3d_nb.worklist.listing import Found
from sammed3d_nb.worklist.scan import Told
from sammed3d_nb.worklist.standing import (
    DONE,
    IN_PROGRESS,
    NEEDS_REVIEW,
    NEW,
    REJECTED,
    Review,
    Work,
    accepted,
    order,
    standing,
    state_of,
)


@dataclass(frozen=True)
class Entry:
    """A case as one annotator may see it.

    Attributes:
        number: Its place in the list, from 0.
        found: The image.
        state: One of `standing.STATES`.
        works: Of those who have worked on it; of a blinded reader, theirs alone.
        reviews: What was decided.
        held: Who has it open; None if nobody does, or that must not be seen.
        seconds: Of work, by the records.
        readings: How many annotators are to read it.
        asked: Whether it has been read, and somebody asks for another reading, which the annotator can give.
    """

    number: int
    found: Found
    state: str
    works: tuple[Work, ...] = ()
    reviews: tuple[Review, ...] = ()
    held: Held | None = None
    seconds: float = 0.0
    readings: int = 1
    asked: bool = False

    @property
    def key(self) -> str:
        """The case's key."""
        return self.found.key

    @property
    def name(self) -> str:
        """What it is called."""
        return self.found.name

    @property
    def begun(self) -> tuple[Work, ...]:
        """The works in which something was done."""
        return tuple(work for work in self.works if work.state != NEW)

    @property
    def who(self) -> tuple[str, ...]:
        """Who has worked on it, or is to."""
        return tuple(dict.fromkeys([*(work.annotator or "earlier work" for work in self.begun), *self.assigned]))

    @property
    def assigned(self) -> tuple[str, ...]:
        """Whom the list gives it to."""
        return self.found.annotators

    @property
    def notes(self) -> str:
        """The list's, and those of all whose work may be seen."""
        return " · ".join(filter(None, [self.found.notes, *(work.notes for work in self.works)]))

    @property
    def accepted(self) -> Review | None:
        """The review that accepts it as it is; None without one."""
        return accepted(self.begun, self.reviews)

    def work_of(self, who: str) -> Work | None:
        """One annotator's work; None without one."""
        return next((work for work in self.works if work.annotator == who), None)

    def rejection(self, who: str | None = None) -> Review | None:
        """The review that rejects an annotator's work, or anybody's, as it is; None without one."""
        for work in self.begun:
            if who in (None, work.annotator) and standing(work, self.reviews) == REJECTED:
                return max((one for one in self.reviews if one.holds_for(work)), key=order)
        return None


def entries_of(
    cases: Sequence[Found],
    contents: Contents,
    held: Mapping[str, Held],
    *,
    who: str,
    blind: bool,
    readings: int,
) -> list[Entry]:
    """All cases as an annotator may see them.

    Args:
        cases: The list.
        contents: What the files say.
        held: Who has which case open, by key.
        who: The annotator.
        blind: Whether nothing of others' work may be seen.
        readings: How many annotators are to read a case, where the list does not say.
    """
    loose = _loose(cases, contents)
    entries: list[Entry] = []
    for number, found in enumerate(cases):
        works = [*contents.works.get(found.key, ()), *loose.get(found.key, ())]
        reviews = tuple(contents.reviews.get(found.key, ()))
        wanted = max([found.readings or readings, *(work.readings for work in works)])
        begun = [work for work in works if work.state != NEW]
        read = any(work.state in (DONE, NEEDS_REVIEW) for work in begun)
        asked = read and len(begun) < wanted and all(work.annotator != who for work in begun)
        open_by = held.get(found.key)
        if blind:
            works = [work for work in works if work.annotator == who]
            reviews = tuple(_own_part(one, who) for one in reviews if who in one.of)
            open_by = None if open_by is not None and open_by.holder.user != who else open_by
        state = state_of(works, reviews, 1 if blind else wanted)
        told = [contents.records[work.record] for work in works if work.record in contents.records]
        entries.append(
            Entry(number, found, state, tuple(works), reviews, open_by, sum(one.seconds for one in told), wanted, asked)
        )
    return entries


def _own_part(review: Review, who: str) -> Review:
    """What a blinded reader may see of a review."""
    marks = {who: review.marks[who]} if who in review.marks else {}
    return replace(review, of={who: review.of[who]}, marks=marks, record=None)


def _loose(cases: Sequence[Found], contents: Contents) -> dict[str, list[Work]]:
    """Records that no annotator's file names, as work in progress: of the days before, or whose file was lost."""
    named = {work.record for works in contents.works.values() for work in works}
    named |= {review.record for reviews in contents.reviews.values() for review in reviews}
    by_place = {(found.path, found.series if found.series else None): found.key for found in cases}
    by_print = {work.fingerprint: key for key, works in contents.works.items() for work in works if work.fingerprint}
    found: dict[str, list[Work]] = defaultdict(list)
    for told in contents.records.values():
        if told.file in named or is_reviewers(told.file):
            continue
        key = _case_of(told, by_place) or by_print.get(told.fingerprint)
        if key is not None and not any(
            work.annotator == told.annotator and work.state != NEW for work in contents.works.get(key, ())
        ):
            found[key].append(Work(key, told.annotator, IN_PROGRESS, 0, told.file, fingerprint=told.fingerprint))
    return found


def _case_of(told: Told, by_place: Mapping[tuple[str, str | None], str]) -> str | None:
    return by_place.get((told.path, told.series)) or by_place.get((told.path, None))
