"""One background thread for everything that takes time: reading, encoding, predicting, saving."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from sammed3d_nb.models.memory import keep_freed

log = logging.getLogger("sammed3d_nb.ui")


class Worker:
    """Runs jobs one after the other and reports what it is doing.

    Args:
        on_change: Called, from any thread, when `doing` has changed.
        on_error: Called from the worker's thread with a job's exception.
    """

    def __init__(self, on_change: Callable[[], None], on_error: Callable[[BaseException], None]) -> None:
        keep_freed()  # before the thread begins
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sammed3d")
        self._on_change, self._on_error = on_change, on_error
        self._lock = Lock()
        self._waiting: list[tuple[str | None, Future[Any]]] = []  # the running one first

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._waiting)

    @property
    def awaited(self) -> bool:
        """Whether something waits for the job that runs."""
        return len(self._waiting) > 1

    @property
    def doing(self) -> str | None:
        """What is being done; None for nothing that the user has to know."""
        with self._lock:
            return self._waiting[0][0] if self._waiting else None

    def submit(self, what: str | None, job: Callable[[], Any]) -> "Future[Any]":
        """Queue a job; `what` tells the user what it does, e.g. ``"Segmenting"``, None where nobody asked for it."""
        with self._lock:
            first = not self._waiting
            submitted = self._pool.submit(self._run, job)
            self._waiting.append((what, submitted))
        if first:
            self._on_change()
        return submitted

    def wait(self, timeout: float | None = None) -> None:
        """Block until every job queued so far is done.

        Raises:
            TimeoutError: It took longer than `timeout` seconds.
        """
        with self._lock:
            last = self._waiting[-1][1] if self._waiting else None
        if last is not None:
            last.exception(timeout)

    def close(self, then: Callable[[], None], *, wait: bool) -> None:
        """Drop the waiting jobs, and end the thread when the running one is done; `wait` for that.

        Args:
            then: Called once at the end, from the worker's thread if a job was running and `wait` is False.
            wait: Whether to return only then.
        """
        self._pool.shutdown(wait=wait, cancel_futures=True)
        with self._lock:
            running = [job for _, job in self._waiting if not job.cancelled()]
        if running:
            running[0].add_done_callback(lambda _: then())
        else:
            then()

    def _run(self, job: Callable[[], Any]) -> Any:
        try:
            return job()
        except BaseException as error:
            log.debug("job failed", exc_info=error)
            self._on_error(error)
            raise
        finally:
            with self._lock:
                self._waiting.pop(0)
            self._on_change()
