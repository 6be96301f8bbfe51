"""A session of nnInteractive that can be brought to any state: an object's mask is a function of what was said.

Such a session knows one object and takes back one step at most. Ours know many objects, go back without limit, and
come back after a crash. So what was said is kept here, and the session is brought to where it should be: by undoing
where that suffices, else by saying everything once more. Only what is new travels.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import PromptError, UserError
from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.sayings import Begun, Changed, Interactive, Saying
from sammed3d_nb.segmenters.upright import Upright

_log = logging.getLogger(__name__)


class LeaseLostError(UserError):
    """The other side knows this session no more; a new one can be had."""


class Conversation:
    """One session of nnInteractive about one volume, begun when it is first needed, and anew when it was lost.

    Args:
        volume: The volume.
        begin: Gives a new session.
    """

    def __init__(self, volume: Volume, begin: Callable[[], Interactive]) -> None:
        self.volume = volume
        self.upright = Upright(volume)
        self._begin = begin
        self._lock = threading.Lock()
        self._session: Interactive | None = None
        self._buffer: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._said: list[Saying] | None = None  # what the session has been told since its last start; None: not known

    def prepare(self) -> None:
        """Begin the session and give it the image, if that is still to be done."""
        with self._lock:
            self._ready()

    def answer(self, sayings: Sequence[Saying], before: LocalMask) -> tuple[LocalMask, bool]:
        """The mask after all of `sayings`.

        Args:
            sayings: At least one; a `Begun` stands first or nowhere.
            before: The answer to all but the last. It stays outside what the last one changes, also where saying them
                again came out otherwise: the official server draws lots about large objects.

        Returns:
            The mask, and whether no image had to be given and nothing said again for it.

        Raises:
            UserError: The session cannot be had, or refuses what is said. The next call goes on all the same.
        """
        with self._lock:
            try:
                return self._answer(sayings, before)
            except LeaseLostError as lost:
                _log.info("session lost (%s): beginning a new one", lost)
                if self._session is not None:  # it may wait for a server that is gone
                    threading.Thread(target=self._session.close, daemon=True).start()
                self._session = None
                try:
                    return self._answer(sayings, before)
                except LeaseLostError:
                    self._session = None
                    raise

    def _answer(self, sayings: Sequence[Saying], before: LocalMask) -> tuple[LocalMask, bool]:
        fresh = self._session is None
        session = self._ready()
        shared = self._back(session, sayings)
        again = len(sayings) - 1 - shared
        if again:
            _log.info("saying %d earlier prompts once more", again)
        changed: Changed = None
        for number in range(shared, len(sayings)):
            self._said = None  # as long as nobody knows whether it was heard
            changed = sayings[number].say(session, self.upright)
            self._said = list(sayings[: number + 1])
        return self._pasted(before, changed), not fresh and not again

    def _ready(self) -> Interactive:
        """A session that has the image."""
        if self._session is None:
            array = self.upright.array
            first = array.flat[0]
            if all(bool((plane == first).all()) for plane in array):
                raise PromptError(
                    f"{self.volume.name} holds the value {first:g} in every voxel, which nnInteractive cannot use; "
                    "open an image with something in it."
                )
            session = self._begin()
            try:
                # the objects are ours: a server that knows objects itself is to keep one and no history
                session.set_image(array[None], {**self.upright.properties, "one_object": True})
                self._buffer = np.zeros(self.upright.shape, dtype=np.uint8)
                session.set_target_buffer(self._buffer)
                session.reset_interactions()  # our own server remembers what was said about an image it has seen
            except BaseException:
                session.close()  # else its place stays taken
                raise
            weakref.finalize(self, session.close)
            self._session, self._said = session, []
        return self._session

    def _back(self, session: Interactive, sayings: Sequence[Saying]) -> int:
        """Bring the session to where it was told the first of `sayings`, not the last; returns how many."""
        said = self._said
        if said is not None:
            pairs = zip(said, sayings, strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            shared = min(shared, len(sayings) - 1)
            while shared and len(said) > shared and session.supports_undo:
                self._said = None
                if not session.undo():
                    break
                self._said = said = said[:-1]
            if len(said) == shared:
                self._said = said
                return shared
        self._said = None
        if not (sayings and isinstance(sayings[0], Begun)):  # which forgets the rest by itself
            session.reset_interactions()
        self._said = []
        return 0

    def _pasted(self, mask: LocalMask, changed: Changed) -> LocalMask:
        """A mask with what the session has in the changed box, which alone is read."""
        if changed is None or any(last <= first for first, last in changed):
            return mask
        values = self.upright.home(self._buffer[tuple(slice(*ends) for ends in changed)])
        return mask.pasted(self.upright.region(changed), values)


class Conversations:
    """An engine's conversations: one about each volume, as long as a segmenter has it, and the last one longer.

    Args:
        begin: Gives a new session.
    """

    def __init__(self, begin: Callable[[], Interactive]) -> None:
        self._begin = begin
        self._last: Conversation | None = None
        self._held: weakref.WeakValueDictionary[int, Conversation] = weakref.WeakValueDictionary()

    def about(self, volume: Volume) -> Conversation:
        """The conversation about a volume; nothing has been sent or computed yet where it is new."""
        found = self._held.get(id(volume))  # a conversation holds its volume, so that no other one has its id
        if found is None:
            self._last = None  # before the next one takes its memory
            found = self._held[id(volume)] = Conversation(volume, self._begin)
        self._last = found
        return found

    def forget(self, volume: Volume) -> None:
        """Let go of the conversation about a volume, unless a segmenter has it."""
        if self._last is not None and self._last.volume is volume:
            self._last = None


def begun(mask: LocalMask) -> Begun:
    """To go on from a mask."""
    return Begun(PackedMask.of(mask))
