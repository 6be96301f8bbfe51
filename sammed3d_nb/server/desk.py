"""What one client works at: an image, its session, and what the client's own copy of the mask holds.

A client says nothing of objects. It resets when it turns to another one, and sends a mask when it goes on with one that
it has; what that means for ours is decided here:

- *reset, then a prompt*: a new object, which leaves the others their voxels; but a prompt inside the last object means
  that the client has cleared that one. 3D Slicer's extension resets once when a segment is cleared and twice before the
  first prompt of the next one: once it has done the latter, its resets are counted and nothing has to be guessed.
- *a mask that an object has, or had*: that object again, with its prompts and its undo history, also after an expired
  lease, a restart or a crash.
- *another mask*: the object that it shares most with, if it shares most of both; else a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sammed3d_nb.errors import PromptError, UserError
from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.readable import readable_ml
from sammed3d_nb.segmenters.prompts import Point, Prompt, StartMask
from sammed3d_nb.server import drawn
from sammed3d_nb.server.keeping import Keeping
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.served import Served
from sammed3d_nb.server.sitting import Sitting
from sammed3d_nb.session import codec
from sammed3d_nb.session.objects import Result, Said, SegmentedObject
from sammed3d_nb.session.session import Session

ALIKE = 0.5
"""Dice from which on a mask that a client sends is another form of an object."""
_log = logging.getLogger("sammed3d_nb.server")


@dataclass(frozen=True)
class Change:
    """What became of a call.

    Attributes:
        ran: Whether anything was answered or undone.
        shown: What the client's copy of the mask held.
        mask: What it is to hold.
        unsure: Boxes in which nobody knows what it held.
        notes: Sentences that the user should read.
    """

    ran: bool
    shown: LocalMask
    mask: LocalMask
    unsure: tuple[Region, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Client:
    """What is known of the client's side."""

    shown: LocalMask
    unsure: list[Region] = field(default_factory=list)
    fresh: bool = True  # the next prompt begins something
    resets: int = 0  # since the last prompt
    prompted: bool = False  # since the image came
    synced: bool = False  # it resets as soon as it has sent the image, as 3D Slicer's extension does
    counts: bool = False  # and twice before another object
    refused: int | None = None  # the object in which a click was refused
    floor: Said | None = None  # the mask that the client went on from: undo stops there
    queued: list[Prompt] = field(default_factory=list)


class Desk:
    """One client's work on one image at a time; one call at a time.

    Args:
        who: Whose it is: the name of the key.
        served: The model.
        keeping: Where records are kept.
        older: Whether the client speaks the older protocol, in which one reset may mean either.
    """

    def __init__(
        self,
        who: str,
        served: Served,
        keeping: Keeping,
        *,
        older: bool = False,
    ) -> None:
        self.who, self.served, self.keeping, self.older = who, served, keeping, older
        self.one_object = False  # the client keeps objects and history by itself: one is enough, and nothing comes back
        self._name = who
        self.image: Volume | None = None
        self._sitting = Sitting(who, served, keeping)
        self._client = _Client(LocalMask.empty((1, 1, 1)))

    def tell_as(self, name: str) -> None:
        """What logs call it."""
        self._name = name

    @property
    def session(self) -> Session | None:
        """What was said about the image; None before anything was."""
        return self._sitting.session

    # -- the image -----------------------------------------------------------------------------------------------

    def set_image(self, volume: Volume) -> None:
        """Work on an image from now on; the same one as before keeps its session."""
        if self.image is None or self.image.fingerprint != volume.fingerprint:
            self.close()
            self.image = volume
        self._client = _Client(LocalMask.empty(volume.size))

    @property
    def volume(self) -> Volume:
        """The image.

        Raises:
            Refused: None has come.
        """
        if self.image is None:
            raise Refused(409, "No image has been sent yet; send it first (set_image).")
        return self.image

    def set_target(self, shape: Sequence[int]) -> None:
        """The client has another copy of the mask, empty or not.

        Raises:
            PromptError: It is of another shape than the image.
        """
        expected = self.volume.array.shape
        if tuple(shape) != expected:
            raise PromptError(
                f"The target buffer has the shape {tuple(shape)!s:.60}; the image has {expected} (k, j, i)."
            )
        client = self._client
        client.shown = LocalMask.empty(self.volume.size)
        client.unsure = [] if client.fresh or self.session is None else [self.session.current.local.region]

    def close(self) -> None:
        """Let go of everything; the record stays."""
        try:
            self._sitting.close()
        finally:
            self.image = None

    def set_zoom(self, on: bool) -> None:
        """Whether a mask may grow beyond the cube that was asked."""
        self._sitting.grow = on

    # -- prompts -------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """The client begins anew: another object, or the same one from its beginning."""
        volume = self.volume
        client = self._client
        client.queued.clear()
        client.shown, client.unsure, client.fresh, client.floor = LocalMask.empty(volume.size), [], True, None
        if client.prompted:
            client.resets += 1
        else:
            client.synced = not self.older

    def prompt(self, prompt: Prompt, run: bool = True, notes: Sequence[str] = ()) -> Change:
        """Say something; it is answered now or with the next that is.

        Raises:
            PromptError: It cannot be answered; nothing has changed then.
        """
        prompt.check(self.volume)
        self._refuse_unknown(prompt)
        client = self._client
        if not run:
            self._sitting.room_to_wait([*client.queued, prompt])
            client.queued.append(prompt)
            return self._unchanged(ran=False)
        return self._say([*client.queued, prompt], notes)

    def predict(self) -> Change:
        """Answer what waits to be answered."""
        waiting = list(self._client.queued)
        return self._say(waiting) if waiting else self._unchanged(ran=False)

    def seed(self, mask: LocalMask, run: bool = False) -> Change:
        """The client has a mask and goes on from it; an empty one is a reset."""
        client = self._client
        if not mask.count:
            self.reset()
            return self._unchanged(ran=run)
        self._refuse_unknown(StartMask(mask))
        synced = client.resets > 0 or client.synced
        notes = tuple(self._make_room())
        client.queued.clear()
        if self.one_object:
            self._session().reset()
            self._added(StartMask(mask))
        elif not self._again(mask):
            item = self._alike(mask)
            session = self._session()
            if item is not None:
                session.select(item.name)
            elif session.current.said is not None or session.current.local.count:
                session.new_object()
            shared = session.overlap
            # what the client has is the client's, also where objects share voxels
            session.overlap = shared or any((mask & other.local).count for other in session.objects)
            try:
                self._added(StartMask(mask))
            finally:
                session.overlap = shared
            client.floor = session.current.said if synced else None
        client.shown, client.unsure, client.fresh, client.resets, client.prompted = mask, [], False, 0, True
        client.refused = None
        return replace(self._unchanged(ran=run), notes=notes)

    def undo(self) -> Change:
        """Take back what was said last about the object at hand, as far back as there is something."""
        client = self._client
        if client.queued:
            client.queued.pop()
            return self._unchanged(ran=True)
        self.volume  # noqa: B018  refuses without one
        if self.session is None and not client.prompted and not client.synced:
            self._resume_newest()
        elif client.fresh:
            return self._unchanged(ran=False)
        session = self.session
        if session is None or (client.floor is not None and session.current.said is client.floor):
            return self._unchanged(ran=False)
        name = session.take_back()
        if name is None:
            return self._unchanged(ran=False)
        client.fresh, client.prompted = False, True
        self._tell(f"took back {name}")
        return self._shown(())

    # -- inside --------------------------------------------------------------------------------------------------

    def _tell(self, line: str) -> None:
        _log.info("%s: %s", self._name, line)

    def _refuse_unknown(self, prompt: Prompt) -> None:
        if self.served.prompts.get(prompt.kind, "refused") == "refused":
            known = ", ".join(kind for kind, how in self.served.prompts.items() if how != "refused")
            raise PromptError(f"{self.served.spec.name} takes no {prompt.kind}; it takes {known}.")

    def _session(self) -> Session:
        return self._sitting.begun(self.volume)

    def _make_room(self) -> list[str]:
        """See that more may be said; what there is to tell of it."""
        told = self._sitting.room_to_say()
        if not told:
            return []
        self._tell(told)
        client, session = self._client, self._session()
        client.refused = None  # its keys were those of the session before
        client.floor = None if client.fresh else session.current.said
        return [told]

    def _say(self, prompts: Sequence[Prompt], notes: Sequence[str] = ()) -> Change:
        client = self._client
        told, done = [*self._make_room(), *notes], 0
        session = self._session()
        if client.fresh:
            self._begin(prompts[0], session)
        self._refuse_finished(prompts[0], session)
        try:
            for prompt in prompts:
                told += self._added(prompt).notes
                done += 1
        except UserError as error:  # what cannot be answered waits no longer; what was not reached does
            client.queued[:] = client.queued[done + 1 :]
            if not done:
                raise
            told.append(str(error))
        else:
            client.queued.clear()
        client.fresh, client.resets, client.prompted, client.refused = False, 0, True, None
        return self._shown((*told, *([session.autosave_error] if session.autosave_error else [])))

    def _begin(self, prompt: Prompt, session: Session) -> None:
        """See that the object at hand is one that nothing has been said of, or the one that the client has cleared."""
        client, last = self._client, session.current
        client.counts = client.counts or (client.synced and client.resets > 1)
        if last.said is None and not last.local.count:
            return
        inside = prompt.positive and drawn.first_voxel(prompt) in last.local
        if self.one_object or (client.resets == 1 and (client.counts or inside)):
            session.reset()
        else:
            session.new_object()

    def _refuse_finished(self, prompt: Prompt, session: Session) -> None:
        """Refuse a click in another object once; whoever clicks there again has it no more."""
        if not (isinstance(prompt, Point) and prompt.positive):
            return
        current = session.current
        for other in session.objects:
            if other.key == current.key or prompt.ijk not in other.local:
                continue
            if self._client.refused != other.key:
                self._client.refused = other.key
                raise PromptError(
                    f"Voxel {prompt.ijk} belongs to “{other.name}”, which you have segmented before; click elsewhere, "
                    "or, if you have cleared or deleted that one, click there once more."
                )
            session.remove(other.name)
            self._tell(f"{other.name} gives way: it was clicked into twice")

    def _added(self, prompt: Prompt) -> Result:
        session = self._session()
        result = session.add(prompt)
        path = " → ".join(
            f"{step.space} ({', '.join(f'{value:.4g}' for value in step.point)})" for step in result.trace
        )
        took = sum(result.seconds.values())
        self._tell(f"{session.undo_name}: {path}; {readable_ml(result.volume_ml)}, {took:.2f} s")
        if session.autosave_error:
            _log.warning("%s", session.autosave_error)
        return result

    def _shown(self, notes: tuple[str, ...]) -> Change:
        """What changes in the client's copy when it shows the object at hand."""
        assert self.session is not None
        client, mask = self._client, self.session.current.local
        change = Change(True, client.shown, mask, tuple(client.unsure), notes)
        client.shown, client.unsure = mask, []
        return change

    def _unchanged(self, *, ran: bool) -> Change:
        return Change(ran, self._client.shown, self._client.shown)

    # -- what was there before -------------------------------------------------------------------------------------

    def _again(self, mask: LocalMask) -> bool:
        """Go on with the object that has this mask, or had it: here, or in an earlier record."""
        if self.session is not None:
            return self.session.return_to(mask)
        digest = codec.digest(mask)
        for path in self._sitting.earlier(self.volume):
            try:
                known = digest in path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            session = self._sitting.resumed(path, self.volume) if known else None
            if session is None:
                continue
            if session.return_to(mask):
                self._tell(f"goes on with {session.current.name} of {path.name}, {len(session.steps)} steps")
                return True
            self._sitting.close()
        return False

    def _alike(self, mask: LocalMask) -> SegmentedObject | None:
        """The object that a mask is another form of."""
        fresh = self.session is None
        if fresh:
            newest = next(iter(self._sitting.earlier(self.volume)), None)
            if newest is None or self._sitting.resumed(newest, self.volume) is None:
                return None
        assert self.session is not None
        items = [item for item in self.session.objects if item.local.count]
        alike = [(2 * (item.local & mask).count / (item.local.count + mask.count), item) for item in items]
        best = max(alike, key=lambda one: one[0], default=None)
        if best is not None and best[0] >= ALIKE:
            return best[1]
        if fresh:
            self._sitting.close()
        return None

    def _resume_newest(self) -> None:
        for path in self._sitting.earlier(self.volume):
            session = self._sitting.resumed(path, self.volume)
            if session is None:
                continue
            if session.current.said is not None or session.current.local.count:
                self._client.unsure = [session.current.local.region]
                self._tell(f"goes on with {session.current.name} of {path.name}")
                return
            self._sitting.close()
