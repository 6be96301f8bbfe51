"""Opening the cases of a worklist and working on them: each annotator in a record of their own."""

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.session import Session
from sammed3d_nb.session.steps import Step
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.ahead import Ahead
from sammed3d_nb.worklist.catalogue import Catalogue
from sammed3d_nb.worklist.labels import listed
from sammed3d_nb.worklist.lease import Lease, guarded
from sammed3d_nb.worklist.listing import Found
from sammed3d_nb.worklist.records import check_own, open_record, open_volume, record_name
from sammed3d_nb.worklist.scan import mark_of
from sammed3d_nb.worklist.standing import DONE, IN_PROGRESS, NEEDS_REVIEW, NEW, REJECTED, Work


@dataclass
class Opened:
    """A case that is open here."""

    found: Found
    session: "weakref.ref[Session]"
    lease: Lease
    work: Work
    last: Step | None  # the last step when the state was told
    base: str | None = None  # whose reading a reviewer began with
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)  # turns and marks of the works that a reviewer saw
    begun: bool = False  # whether it is written down that a reviewer corrects
    fresh: bool = False  # nothing was done before it was opened
    letting_go: Any = None  # of the lease, at the end of the session's life


class Desk(Catalogue):
    """Everything of a `worklist.Worklist` but reviewing; see there."""

    def __init__(self, *paths: str | Path, **options: Any) -> None:
        super().__init__(*paths, **options)
        self.on_lost: Callable[[str, str], None] = lambda key, who: None
        """Called, from a thread, with a case's key and who has taken it over."""
        self._ahead = Ahead()
        self._open: dict[str, Opened] = {}
        self._lock = RLock()

    # -- opening -----------------------------------------------------------------------------------------------

    def open(self, case: int | str, model: Engine, *, take_over: bool = False, base: str | None = None) -> Session:
        """A session on a case, in the annotator's own record; closing it lets others have the case.

        Args:
            case: Its number, key or name.
            model: The model that answers.
            take_over: Take the case from whoever has it open, whose work stays in their own record.
            base: Whose work to begin with: to go on from it in a record of one's own, or to review it.

        Raises:
            RecordInUse: Somebody else has it open.
            UserError: It cannot be read, or there is nothing to review, or no such work to begin with.
        """
        found = self.cases[self.number(case)]
        before = self._open.get(found.key)
        there = None if before is None else before.session()
        again = before is not None and there is not None and before.lease.held  # another reading of the open case
        lease = before.lease if before is not None and again else self._leased(found, take_over)
        try:
            if found.path.endswith(".json"):
                session = self._open_record(found, model, take_over)
                opened = self._opened(found, session, lease)
            else:
                volume = there.volume if there is not None else self._ahead.take(found.key) or self.read(found.key)
                how = self._to_review if self.reviewing else self._to_work
                session, opened = how(found, volume, model, lease, take_over, base)
        except BaseException:
            if not again:
                lease.release()
            raise
        if before is not None and there is not None and again:  # its end is not the end of the lease any more
            there.on_close = lambda: None
            before.letting_go.detach()
        with self._lock:
            self._open[found.key] = opened
        self._bind(opened, session)
        if lease.error and not session.autosave_error:
            session.autosave_error = lease.error
        session.observe(partial(self._begun if self.reviewing else self._changed, found.key))
        return session

    def read_ahead(self, case: int | str) -> bool:
        """Have the volume of a case in memory before it is opened; whether there is room for it."""
        found = self.cases[self.number(case)]
        if found.key in self._open or found.path.endswith(".json"):
            return False
        return self._ahead.prepare(found.key, self.nbytes(found.key), partial(self.read, found.key))

    def work(self, case: int | str) -> Work:
        """The annotator's own work on a case."""
        return self._work(self.cases[self.number(case)])

    def lease_again(self, case: int | str, *, take_over: bool = True) -> None:
        """Take an open case back from whoever has taken it over.

        Raises:
            RecordInUse: Somebody has it, and it was not to be taken over.
        """
        opened, session = self._opened_here(case), self._session(case)
        opened.lease.release()
        opened.letting_go.detach()
        opened.lease = self._leased(opened.found, take_over)
        self._bind(opened, session)

    def close(self) -> None:
        """Let go of every case that is open here."""
        self._ahead.close()
        for opened in list(self._open.values()):
            session = opened.session()
            if session is not None:
                session.close()
            opened.lease.release()

    # -- what annotators say -----------------------------------------------------------------------------------

    def missing(self, case: int | str) -> list[str]:
        """The required objects that an open case does not have yet."""
        labels = self.labels_of(case)
        return [] if labels is None else labels.missing(self._session(case).objects)

    def mark(self, case: int | str, state: str) -> str:
        """Say how far one's work on an open case is; returns the state that it has then.

        Args:
            case: The case.
            state: `standing.DONE`, `NEEDS_REVIEW` or `IN_PROGRESS`. Work that a reviewer has rejected needs review
                when it is done again.

        Raises:
            UserError: Required objects are missing, or nothing was done, or it cannot be written.
        """
        if self.reviewing:
            raise UserError("A reviewer accepts or rejects; start without reviewing to work on a case.")
        if state not in (DONE, NEEDS_REVIEW, IN_PROGRESS):
            raise UserError(f"{state!r:.40} is no state to choose; expected done, needs review or in progress.")
        opened, session = self._opened_here(case), self._session(case)
        if opened.lease.taken_by == self.who:
            raise UserError(f"You have taken {opened.found.name} over in another page; go on there, or take it back.")
        if state != IN_PROGRESS:
            missing = self.missing(case)
            if missing:
                has = "has" if len(missing) == 1 else "have"
                raise UserError(f"{opened.found.name} is not done yet: {listed(missing)} {has} no mask.")
            if not any(item.local.count for item in session.objects):
                raise UserError(f"{opened.found.name} is not done yet: there is no mask at all.")
        if session.autosave is None or session.autosave_error:
            raise UserError(
                f"The work on {opened.found.name} is not saved: {session.autosave_error or 'it has no file.'}"
            )
        if not session.autosave.exists():
            session.save(session.autosave)
        kept = self._kept_in(session)
        told = None if kept is None else self._index.contents().records.get(kept)
        if told is not None and told.mark != mark_of(session.steps):
            raise UserError(
                f"The record of {opened.found.name} is not what is on the screen, as after work in another page: open "
                "the case again, or save what is on the screen (what lies there is kept as .bak)."
            )
        if state == DONE and any(one.decision == REJECTED and self.who in one.of for one in self.entry(case).reviews):
            state = NEEDS_REVIEW
        self._say(opened, state, session)
        return state

    def note(self, case: int | str, text: str) -> None:
        """Write down the annotator's notes on a case, open or not."""
        if len(text) > standing.LONGEST_TEXT:
            raise UserError(f"The notes have {len(text)} characters; {standing.LONGEST_TEXT} are the most.")
        self._write(self.cases[self.number(case)], notes=text)

    def ask_again(self, case: int | str, on: bool = True) -> None:
        """Ask for a second reading of a case by somebody else, or no longer."""
        found = self.cases[self.number(case)]
        wanted = self.wanted(found.key)
        self._write(found, readings=max(2, wanted) if on else wanted)

    # -- inside ------------------------------------------------------------------------------------------------

    def _leased(self, found: Found, take_over: bool) -> Lease:
        """The lease of a case; blinded readers each have their own, for they are not to know of each other."""
        of = f"{found.key}{self._own_lease}" if self.blind else found.key
        return Lease(self.state, of, self.who, take_over=take_over, on_lost=partial(self._lost, found.key))

    def _bind(self, opened: Opened, session: Session) -> None:
        """The end of a session is the end of its lease."""
        session.on_close = partial(self._closed, opened.found.key, opened.lease)
        opened.letting_go = weakref.finalize(session, opened.lease.release)

    def _open_record(self, found: Found, model: Engine, take_over: bool) -> Session:
        """A case that is a record: it is written where it lies, so it is opened by whose it is."""
        path = Path(found.path)
        if self.blind or self.reviewing:
            raise UserError(
                f"{found.name} is a saved session, which is gone on with in its own file; open it without --blind and "
                "--review, or give its image."
            )
        check_own(path, self.who)
        return open_record(path, model, take_over=take_over, anonymous=self.anonymous)

    def _work(self, found: Found) -> Work:
        """The annotator's own work on a case: as it is known of an open one, else by its file."""
        opened = self._open.get(found.key)
        return self._written(found) if opened is None else opened.work

    def _written(self, found: Found) -> Work:
        """The annotator's own work on a case, by its file."""
        wanted = self.wanted(found.key)
        blank = Work(found.key, self.who, readings=wanted, name="" if self.anonymous else found.name)
        kept = standing.load(self.state, blank.file)
        if isinstance(kept, Work):
            return replace(kept, readings=max(kept.readings, wanted))
        reviews = self._index.contents().reviews.get(found.key, ())  # of work whose file was lost
        return replace(blank, turn=max([0, *(one.of.get(self.who, 0) for one in reviews)]))

    def _to_work(
        self, found: Found, volume: Volume, model: Engine, lease: Lease, take_over: bool, base: str | None
    ) -> tuple[Session, Opened]:
        work = self._written(found)  # not as an older page knows it
        contents = self._index.contents()
        if work.record is None:  # the case was called otherwise, as below another folder
            work = self._moved(work, volume, contents.works) or work
        if base is not None:
            session = self._from(base, found, volume, model, take_over)
        else:
            others = {one.record for works in contents.works.values() for one in works if one.annotator != self.who}
            session = open_volume(
                volume, model, self.folder, take_over=take_over, anonymous=self.anonymous, annotator=self.who,
                own=work.record, taken=[name for name in others if name], unnamed=not self.blind,
            )  # fmt: skip
        opened = self._opened(found, session, lease, work)
        labels = self.labels_of(found.key)
        first = labels.labels[0] if labels else None
        begun = session.can_undo or session.can_redo or len(session.objects) > 1 or session.current.said is not None
        if first is not None and not begun and session.current.name == "object 1":
            session.begin_with(first.name, first.colour, first.code)
        if session.autosave is not None and session.autosave.exists():
            silent = bool(work.mark) and work.state in (DONE, NEEDS_REVIEW) and work.mark != mark_of(session.steps)
            told = standing.load(self.state, work.file)
            if isinstance(told, Work) and told.readings < work.readings:  # more are wanted than were then
                self._write(found)
            if silent or (work.state == NEW and session.can_undo):  # of the days before, or begun from another's
                self._say(opened, IN_PROGRESS, session)
        return session, opened

    def _to_review(
        self, found: Found, volume: Volume, model: Engine, lease: Lease, take_over: bool, base: str | None
    ) -> tuple[Session, Opened]:
        raise NotImplementedError

    def _moved(self, work: Work, volume: Volume, works: dict[str, list[Work]]) -> Work | None:
        """The annotator's own work on the same voxels in a case that this list does not have."""
        for key, found in works.items():
            for one in found:
                own = one.annotator == self.who and one.fingerprint == volume.fingerprint
                if own and key not in self._numbers and one.record and (self.folder / one.record).is_file():
                    was = " ".join(dict.fromkeys([*one.was.split(), one.case]))
                    moved = replace(one, case=work.case, name=work.name, was=was)
                    standing.write(self.state, moved)
                    with suppress(OSError):  # else it would be told twice
                        (self.state / one.file).unlink()
                    return moved
        return None

    def _from(self, base: str, found: Found, volume: Volume, model: Engine, take_over: bool) -> Session:
        """A session that begins with another's work, in a record of one's own."""
        path = self._record_of(base, found)
        own = self.folder / record_name(volume, self.who, anonymous=self.anonymous)
        more = {"anonymous": True} if self.anonymous else {}
        session = Session.resume(
            path, volume=volume, model=model, autosave=own, take_over=take_over, annotator=self.who, **more
        )
        session.save(own)
        return session

    def _record_of(self, who: str, found: Found) -> Path:
        if self.blind and who != self.who:
            raise UserError("A blinded reader does not open what others did.")
        work = self.entry(found.key).work_of(who)
        if work is None or work.record is None:
            raise UserError(f"{who or 'Nobody'} has no work on {found.name}; choose another reading.")
        return self.folder / work.record

    def _opened(self, found: Found, session: Session, lease: Lease, work: Work | None = None) -> Opened:
        known = replace(self._work(found) if work is None else work, fingerprint=session.volume.fingerprint)
        return Opened(found, weakref.ref(session), lease, known, last_step(session), fresh=not session.steps)

    def _opened_here(self, case: int | str) -> Opened:
        found = self.cases[self.number(case)]
        opened = self._open.get(found.key)
        if opened is None or opened.session() is None:
            raise UserError(f"{found.name} is not open; open it first.")
        return opened

    def _session(self, case: int | str) -> Session:
        session = self._opened_here(case).session()
        assert session is not None
        return session

    def _changed(self, key: str) -> None:
        """The session of a case was changed: it is in progress from then on, and so it is where it was done."""
        with self._lock:
            opened = self._open.get(key)
            session = None if opened is None else opened.session()
            if opened is None or session is None or session.autosave is None:
                return
            if opened.lease.taken_by == self.who:  # in another page, which says from now on how the case is
                return
            lease, done = opened.lease, opened.work.state != IN_PROGRESS
            elsewhere = lease.lost_to == self.who  # in another page, which has left it since
            gone = lease.interrupted or not (lease.error or lease.held)  # so perhaps, and its file tells
            same = opened.work.record == self._kept_in(session)
            empty = not session.steps and not any(item.local.count for item in session.objects)
            back = not done and empty and opened.fresh
            changed = last_step(session) is not opened.last and (done or not same)
            if not (changed or back or elsewhere or gone):
                return
            try:
                elsewhere |= self._say(opened, NEW if back else IN_PROGRESS, session)
                lease.interrupted = False
            except UserError as error:  # the change itself has worked, and is saved
                session.autosave_error = str(error)
            else:
                if elsewhere:
                    session.autosave_error = (
                        f"Another page of yours has worked on {opened.found.name} since it was opened here: what it "
                        "saved is kept beside this record (.bak). Close one of both, and open the case again."
                    )

    def _begun(self, key: str) -> None:
        """A reviewer's correction was changed."""
        raise NotImplementedError

    def _kept_in(self, session: Session) -> str | None:
        """The name of the session's record; None for one that lies elsewhere, as of a case that is a record."""
        path = session.autosave
        return path.name if path is not None and path.parent == self.folder else None

    def _say(self, opened: Opened, state: str, session: Session) -> bool:
        """Write how far the work is; whether another page of the same annotator has said something since."""
        known = opened.work
        with self._lock, guarded(self.state):
            there = self._written(opened.found)
            before = there if there.turn > known.turn else replace(known, notes=there.notes, readings=there.readings)
            reviews = self._index.contents().reviews.get(known.case, ())
            rejected = standing.standing(before, reviews) == REJECTED  # that is over when something is said of it
            work = replace(
                before,
                state=state,
                turn=before.turn + (rejected or state != before.state),
                record=self._kept_in(session),
                fingerprint=known.fingerprint,
                changed=standing.now(),
                mark=mark_of(session.steps),
            )
            standing.write(self.state, work)
            opened.last, opened.work = last_step(session), work
        return there.turn > known.turn

    def _write(self, found: Found, **told: Any) -> None:
        """Change one's own file by what is told: another page of the same annotator may have written it too."""
        with self._lock, guarded(self.state):
            standing.write(self.state, replace(self._written(found), **told))
            opened = self._open.get(found.key)
            if opened is not None:
                opened.work = replace(opened.work, **told)

    def _lost(self, key: str, who: str) -> None:
        opened = self._open.get(key)
        if opened is not None and not opened.lease.held:
            self.on_lost(key, who)

    def _closed(self, key: str, lease: Lease) -> None:
        lease.release()
        with self._lock:
            opened = self._open.get(key)
            if opened is not None and opened.lease is lease:
                del self._open[key]


def last_step(session: Session) -> Step | None:
    """The last step of a session; None before the first."""
    steps = session.steps
    return steps[-1] if steps else None
