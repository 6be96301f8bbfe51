"""A worklist: many cases and the people who work on them, in one folder; what reviewers do with them."""

from collections.abc import Sequence
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session import record
from sammed3d_nb.session.objects import SegmentedObject
from sammed3d_nb.session.session import Session
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.desk import Desk, Opened, last_step
from sammed3d_nb.worklist.difference import Difference, difference
from sammed3d_nb.worklist.entries import Entry
from sammed3d_nb.worklist.index import REVIEWED, Index
from sammed3d_nb.worklist.labels import listed
from sammed3d_nb.worklist.lease import Lease
from sammed3d_nb.worklist.listing import Found
from sammed3d_nb.worklist.records import record_name
from sammed3d_nb.worklist.scan import mark_of
from sammed3d_nb.worklist.standing import ACCEPTED, BEGUN, IN_PROGRESS, REJECTED, Review, Work


class Worklist(Desk):
    """Cases, and how far they are. Everything is in files of one folder, which several people may share.

    Args:
        paths: Images, folders and lists (.csv), as of `listing.found_in`.
        output: The folder of records and state; the working directory by default.
        annotator: Who works; by default as `people.annotator` finds out.
        labels: The label set, or its file, for all cases whose row names no other.
        readings: How many annotators are to read a case, where its row does not say.
        blind: Show and open nobody else's work.
        review: Open the cases to look at what others did, and to accept, correct or reject it.
        anonymous: As of `Session`; the files of state then hold no names of images either.
        cases: What was found in `paths`, where that is known.

    Raises:
        UserError: Nothing is there, or a list or label set cannot be used.
    """

    # -- what reviewers say ------------------------------------------------------------------------------------

    def readings_of(self, case: int | str, volume: Volume) -> dict[str, tuple[SegmentedObject, ...]]:
        """The objects of each annotator who has worked on a case.

        Raises:
            UserError: A blinded reader asks, or a record cannot be read.
        """
        if self.blind:
            raise UserError("A blinded reader does not see what others did.")
        entry, found = self.entry(case), {}
        for work in entry.begun:
            if work.record is not None:
                path = self.folder / work.record
                found[work.annotator] = tuple(record.history_of(record.load(path), volume, path).state.listed)
        return found

    def difference(self, case: int | str, volume: Volume) -> Difference:
        """The first two readings of a case next to each other.

        Raises:
            UserError: There are no two.
        """
        both = list(self.readings_of(case, volume).values())[:2]
        if len(both) < 2:
            raise UserError("There is one reading of this case, and two are compared; ask for a second one.")
        return difference(both[0], both[1], volume.spacing)

    def base(self, case: int | str) -> str | None:
        """Whose reading a reviewer has on the screen; None for nobody's."""
        return self._opened_here(case).base

    def corrected(self, case: int | str) -> bool:
        """Whether a reviewer has changed the reading that is open."""
        opened, session = self._opened_here(case), self._session(case)
        return last_step(session) is not opened.last or opened.base is None

    def is_stale(self, case: int | str) -> bool:
        """Whether an annotator has worked on the case since a reviewer has opened it."""
        return self._opened_here(case).seen != _seen(self.entry(case))

    def accept(self, case: int | str, comment: str = "") -> Review:
        """Accept a case as the reviewer has it open: one reading, or its correction. It is done then.

        Raises:
            UserError: This is no reviewer's worklist, or required objects are missing, or it cannot be written.
        """
        missing = self.missing(case)
        if missing:
            raise UserError(f"It cannot be accepted yet: {listed(missing)} without a mask. Correct it, or reject it.")
        opened, session, entry = self._opened_here(case), self._session(case), self.entry(case)
        corrected = self.corrected(case)
        work = entry.work_of(opened.base) if opened.base is not None else None
        if corrected:
            if session.autosave is None or session.autosave_error or not session.autosave.exists():
                raise UserError(f"The correction is not saved: {session.autosave_error or 'it has no file.'}")
            kept: str | None = session.autosave.name
        elif work is None or standing.standing(work, entry.reviews) == IN_PROGRESS:
            raise UserError(f"{opened.base or 'Nobody'} is still working on {entry.name}; correct it, or wait.")
        else:
            kept = work.record
        return self._decide(entry, ACCEPTED, comment, entry.begun, kept, corrected)

    def reject(self, case: int | str, comment: str, of: Sequence[str] | None = None) -> Review:
        """Send a case back to its annotators, with a comment.

        Args:
            case: The case, open.
            comment: What they are to do.
            of: Whose reading; by default everybody's.

        Raises:
            UserError: This is no reviewer's worklist, there is no comment, or it cannot be written.
        """
        if not comment.strip():
            raise UserError("A rejected case goes back to its annotator; write in the comment what is to be mended.")
        entry = self.entry(case)
        works = [work for work in entry.begun if of is None or work.annotator in of]
        if not works:
            raise UserError("There is no reading of this case to reject.")
        review = self._decide(entry, REJECTED, comment, works, None, False)
        self._opened_here(case).lease.release()  # it goes back to them
        return review

    # -- inside ------------------------------------------------------------------------------------------------

    def _to_review(
        self, found: Found, volume: Volume, model: Engine, lease: Lease, take_over: bool, base: str | None
    ) -> tuple[Session, Opened]:
        entry = self.entry(found.key)
        own = self.folder / record_name(volume, self.who, anonymous=self.anonymous, ends=REVIEWED)
        more = {"anonymous": True} if self.anonymous else {}
        readers = [work.annotator for work in entry.begun if work.record is not None]
        begun = standing.load(self.state, Review(found.key, self.who, BEGUN, number=0).file)
        seen = _seen(entry)
        if base is None and own.is_file() and _goes_on(begun, own.name, entry):
            session = Session.resume(own, volume=volume, model=model, autosave=own, take_over=take_over, **more)
            opened = self._opened(found, session, lease)
            opened.seen = seen
            return session, opened
        if not readers:
            raise UserError(f"Nobody has worked on {found.name} yet, so there is nothing to review.")
        base = readers[0] if base is None else base
        session = Session.resume(
            self._record_of(base, found), volume=volume, model=model, autosave=own, take_over=take_over,
            annotator=self.who, **more,
        )  # fmt: skip
        opened = self._opened(found, session, lease)
        opened.base, opened.seen = base, seen
        return session, opened

    def _begun(self, key: str) -> None:
        opened = self._open.get(key)
        session = None if opened is None else opened.session()
        if opened is None or session is None or opened.base is None or opened.begun or session.autosave is None:
            return
        if last_step(session) is opened.last:
            return
        of = {who: turn for who, (turn, _) in opened.seen.items()}
        marks = {who: mark for who, (_, mark) in opened.seen.items()}
        try:
            standing.write(
                self.state,
                Review(key, self.who, BEGUN, of, 0, session.autosave.name, changed=standing.now(), marks=marks),
            )
            opened.begun = True
        except UserError as error:  # the change itself has worked, and is saved
            session.autosave_error = str(error)

    def _decide(
        self, entry: Entry, decision: str, comment: str, works: Sequence[Work], kept: str | None, corrected: bool
    ) -> Review:
        if not self.reviewing:
            raise UserError("Only a reviewer accepts or rejects; start with reviewing (--review).")
        if len(comment) > standing.LONGEST_TEXT:
            raise UserError(f"The comment has {len(comment)} characters; {standing.LONGEST_TEXT} are the most.")
        seen = self._opened_here(entry.key).seen
        since = next((one.annotator for one in works if seen.get(one.annotator) != (one.turn, one.mark)), None)
        if since is not None:
            raise UserError(f"{since} has worked on {entry.name} since it was opened here; open it again to see that.")
        mark = ""
        if corrected:
            mark = mark_of(self._session(entry.key).steps)
        elif kept is not None:
            mark = next((work.mark for work in works if work.record == kept), "")
        review = Review(
            entry.key, self.who, decision, {work.annotator: work.turn for work in works},
            1 + max((one.number for one in entry.reviews), default=0), kept, corrected, comment.strip(),
            standing.now(), {work.annotator: work.mark for work in works}, mark,
        )  # fmt: skip
        return standing.write_new(self.state, review)


def _seen(entry: Entry) -> dict[str, tuple[int, str]]:
    return {work.annotator: (work.turn, work.mark) for work in entry.begun}


def _goes_on(begun: Work | Review | None, own: str, entry: Entry) -> bool:
    """Whether a correction that lies there was begun from the annotators' work as it is now."""
    if isinstance(begun, Review):
        marks = {who: mark for who, (_, mark) in _seen(entry).items()}
        return begun.record == own and dict(begun.marks) == marks
    last = max(entry.reviews, key=standing.order, default=None)  # of the days before
    return last is None or (last is entry.accepted and last.record == own)


def aside(folder: Path) -> set[Path]:
    """The records that nothing in the state of a worklist names, of people whose other record of that image is named.

    Of one who had a case open in two pages, the record of the one that was taken over.
    """
    contents = Index(folder).contents()
    named = {work.record for works in contents.works.values() for work in works}
    named |= {review.record for reviews in contents.reviews.values() for review in reviews}
    told = contents.records.values()
    whose = {(one.annotator, one.fingerprint) for one in told if one.file in named}
    return {folder / one.file for one in told if one.file not in named and (one.annotator, one.fingerprint) in whose}


def finished(folder: Path) -> list[Path] | None:
    """The records that hold for the cases of a folder that are done; None where it holds no state of a worklist."""
    index = Index(folder)
    if not index.state.is_dir():
        return None
    contents = index.contents()
    latest: dict[str, Work] = {}  # of a case that has another name now, what was said by that
    for work in (work for works in contents.works.values() for work in works if work.record):
        assert work.record is not None
        other = latest.setdefault(work.record, work)
        if work.turn > other.turn or (work.turn == other.turn and work.was):
            latest[work.record] = work
    kept = []
    for key, all_works in contents.works.items():
        works = [work for work in all_works if not work.record or latest[work.record] is work]
        if works:
            readings = max(work.readings for work in works)
            kept.append(standing.final_record(works, contents.reviews.get(key, ()), readings))
    return sorted({folder / name for name in kept if name is not None})
