"""What one client's work goes into: a session and its record, a new one or an earlier one found again.

What is said stays in memory for undo. So that no client fills it, a sitting that holds too much goes on in another
record, from the masks as they are; the earlier one stays on the disk, whole.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Prompt, StartMask
from sammed3d_nb.server.keeping import Keeping
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.served import Served
from sammed3d_nb.session.session import Session
from sammed3d_nb.session.steps import Step

MOST_HISTORY = 256 * 2**20
"""Bytes of what was said in one sitting, and of the masks that steps changed, from which on another record begins."""
_log = logging.getLogger("sammed3d_nb.server")


class Sitting:
    """A client's session on one image, once there is something to keep.

    Args:
        who: Whose it is: the name of the key.
        served: The model.
        keeping: Where records are kept.

    Attributes:
        session: The session; None before anything was said, or resumed.
    """

    def __init__(self, who: str, served: Served, keeping: Keeping) -> None:
        self.who, self.served, self.keeping = who, served, keeping
        self.session: Session | None = None
        self._grow = True
        self._path: Path | None = None
        self._held = 0
        self._counted: Step | None = None

    @property
    def grow(self) -> bool:
        """Whether a mask may grow beyond the cube that was asked."""
        return self._grow

    @grow.setter
    def grow(self, on: bool) -> None:
        self._grow = on
        if self.session is not None:
            self.session.grow = on

    def begun(self, volume: Volume) -> Session:
        """The session, a new one if there is none."""
        if self.session is None:
            self._go_on(*self._new(volume))
        assert self.session is not None
        return self.session

    def earlier(self, volume: Volume) -> list[Path]:
        """The records of earlier sittings on an image, the newest first."""
        return self.keeping.earlier(self.who, volume.fingerprint, self.served.name)

    def resumed(self, path: Path, volume: Volume) -> Session | None:
        """Go on with a record; with a copy of it where another lease has it open. None if it cannot be read."""
        place = path
        if not self.keeping.taken(path):
            place = self.keeping.new(self.who, volume.fingerprint, self.served.name)
        try:
            session = Session.resume(path, volume=volume, model=self.served, autosave=place)
        except UserError as error:
            self.keeping.close(place)
            _log.warning("%s is left alone: %s", path.name, error)
            return None
        self._go_on(session, place)
        return session

    def close(self) -> None:
        """Let go of the session; its record stays."""
        session, path = self.session, self._path
        self.session = self._path = None
        try:
            if session is not None:
                session.close()
        finally:
            self.keeping.close(path)

    # -- how much it holds -----------------------------------------------------------------------------------------

    def room_to_wait(self, waiting: Sequence[Prompt]) -> None:
        """See that prompts may wait to be answered.

        Raises:
            Refused: They are too many.
        """
        if sum(map(_weight, waiting)) > MOST_HISTORY:
            raise Refused(413, f"More than {_told(MOST_HISTORY)} of prompts wait to be answered; let them be answered.")

    def room_to_say(self) -> str:
        """See that more may be said; what there is to tell of it, if anything.

        Raises:
            Refused: This sitting is full: the masks of its objects alone are, or its model cannot go on from masks.
        """
        if self._held <= MOST_HISTORY or self.session is None:
            return ""
        self._held = _held(self.session.steps)  # what was undone and forgotten counts no more
        if self._held <= MOST_HISTORY:
            return ""
        alone = sum(math.prod(item.local.region.size) for item in self.session.objects)
        if alone > MOST_HISTORY // 2 or self.served.prompts.get("mask", "refused") == "refused":
            raise Refused(
                413, f"What was said about this image fills {_told(self._held)}; save the mask, and connect once more."
            )
        before, place = self.session, self._path
        session, path = self._new(before.volume)
        try:
            _go_on_from(before, session)
        except BaseException:
            session.close()
            self.keeping.close(path)
            raise
        told = _told(self._held)
        self._go_on(session, path)
        before.close()
        self.keeping.close(place)
        return (
            f"What was said about this image filled {told}: another record goes on from the masks as they are, and "
            "undo goes back no further."
        )

    def _new(self, volume: Volume) -> tuple[Session, Path]:
        path = self.keeping.new(self.who, volume.fingerprint, self.served.name)
        return Session(volume, self.served, grow=self._grow, autosave=path), path

    def _go_on(self, session: Session, path: Path) -> None:
        self.session, self._path = session, path
        self._held, self._counted = _held(session.steps), None
        session.observe(self._count)

    def _count(self) -> None:
        assert self.session is not None
        last = self.session.steps[-1] if self.session.can_undo else None
        if last is not None and last is not self._counted:
            self._held += _held([last])
        self._counted = last


def _go_on_from(before: Session, session: Session) -> None:
    """Give an empty session the objects of another one, each with its mask to go on from."""
    selected = before.current
    items = [item for item in before.objects if item.local.count or item is selected]
    session.overlap = True  # masks that share voxels stay as they are
    for number, item in enumerate(items):
        if number:
            session.new_object(item.name, colour=item.colour)
        else:
            session.rename(session.current.name, item.name)
            session.recolour(item.name, item.colour)
        if item.local.count:
            session.add(StartMask(item.local))
    session.overlap = before.overlap
    session.select(selected.name)


def _held(steps: Sequence[Step]) -> int:
    total = 0
    for step in steps:
        total += step.nbytes
        for change in step.changes.values():
            said = change.after.said if change.after else None
            if said is not None and (change.before is None or change.before.said is not said):
                total += _weight(said.action) + len(said.spared.data)
    return total


def _weight(action: object) -> int:
    """Bytes of what was said, where they are many."""
    if isinstance(action, StartMask):
        return math.prod(action.region.size)
    return int(getattr(getattr(action, "voxels", None), "nbytes", 0))


def _told(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
