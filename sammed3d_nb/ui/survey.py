"""Looks at the whole worklist now and then, in a thread of its own: other people work on it too."""

import logging
from collections.abc import Callable
from threading import Condition, Lock, Thread

from sammed3d_nb.errors import UserError
from sammed3d_nb.worklist.entries import Entry
from sammed3d_nb.worklist.worklist import Worklist

log = logging.getLogger("sammed3d_nb.ui")
EVERY = 15.0  # seconds


class Survey:
    """The cases as they were when it looked last.

    Args:
        worklist: What it looks at.

    Attributes:
        entries: All cases.
        followers: Called, from its thread, when something is different.
    """

    def __init__(self, worklist: Worklist) -> None:
        self._worklist = worklist
        self.entries: list[Entry] = []
        self.followers: list[Callable[[], None]] = []
        self._jobs: list[Callable[[], object]] = []
        self._change, self._wanted, self._ended = Condition(), False, False
        self._looking = Lock()
        self._thread: Thread | None = None

    @property
    def done(self) -> int:
        """How many cases are done."""
        return sum(entry.state == "done" for entry in self.entries)

    def look(self) -> None:
        """Look at the whole worklist now and wait for it."""
        with self._looking:  # its own thread and the worker's both look: the older look is not the last one shown
            entries = self._worklist.entries()
            different = entries != self.entries
            self.entries = entries
        if different:
            for follower in self.followers:
                follower()

    def soon(self, job: Callable[[], object] = lambda: None) -> None:
        """Have it look as soon as possible, after `job` is done in its thread; the one who asks does not wait."""
        with self._change:
            if self._ended:
                return
            self._jobs.append(job)
            self._wanted = True
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="sammed3d worklist", daemon=True)
                self._thread.start()
            self._change.notify()

    def close(self) -> None:
        """Look no more."""
        with self._change:
            self._ended, self.followers, self._jobs = True, [], []
            self._change.notify()

    def _watch(self) -> None:
        while True:
            with self._change:
                if not self._wanted and not self._ended:
                    self._change.wait(EVERY)
                if self._ended:
                    return
                jobs, self._jobs, self._wanted = self._jobs, [], False
            try:
                for job in jobs:
                    job()
                self.look()
            except (UserError, OSError) as error:  # the folder is out of reach: it is looked at again
                log.warning("the worklist could not be looked at: %s", error)
            except Exception:
                log.exception("the worklist could not be looked at")
