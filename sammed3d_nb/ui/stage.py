"""What all tools of an app share: the session on the screen, the lock, the worker, the status line."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

from sammed3d_nb.errors import UserError
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.describe import greeting, summary
from sammed3d_nb.ui.status import StatusLine
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.worker import Worker

T = TypeVar("T")


class Stage:
    """Shared by all tools of one app.

    Attributes:
        session: What is on the screen; None before a case is open, and after the end.
        model: The model that answers; None before it is loaded.
        opening: How many cases are on their way to the screen; what is said of the one before is over then.
        lock: Guards the screen and the attributes above.
        closed: Whether the app has ended.
        actions: What each action of `shortcuts` does, from all tools.
    """

    def __init__(self) -> None:
        self.session: Session | None = None
        self.model: Engine | None = None
        self.opening = 0
        self.closed = False
        self.lock = RLock()
        self.status = StatusLine()
        self.worker = Worker(self._locked(self._tell_doing), self._locked(self.status.fail))
        self.actions: dict[str, Callable[[], object]] = {}
        self.tools: tuple[Tool, ...] = ()
        self._heard: tuple[Engine | None, int] = (None, 0)  # of whose notes how many have been shown
        self._remarks: list[str] = []  # to be said with what comes next
        self._working = False  # a job runs; what it changes is shown when it is done
        self._following = False  # a change from elsewhere is about to be shown
        self._unwatch: Callable[[], None] = lambda: None

    def _tell_doing(self) -> None:
        self.status.doing(self.worker.doing)  # asked for now: whoever comes last tells how it is

    def take(self, *tools: Tool) -> None:
        """Bring in the tools, in the order in which they are shown and refreshed."""
        self.tools = tools
        self.actions = {name: action for tool in tools for name, action in tool.actions.items()}

    # -- the session on the screen -------------------------------------------------------------------------------

    def ready(self) -> Session:
        """The session on the screen.

        Raises:
            UserError: There is none yet.
        """
        if self.session is None:
            raise UserError("No volume is open yet; wait until it is, or choose another case.")
        return self.session

    def show(self, session: Session, note: str = "") -> None:
        """Put another session on the screen, with a greeting and what else there is to say of it."""
        with self.lock:
            if self.closed:
                return
            self._unwatch()
            self.session = session
            self._unwatch = session.observe(self._changed)
            for tool in self.tools:
                tool.show(session)
            self.tell(session, f"{greeting(session)} {note}".strip(), *session.volume.warnings)

    def refresh(self) -> None:
        """Show the present state everywhere."""
        with self.lock:
            if not self.closed:
                for tool in self.tools:
                    tool.refresh(self.session)

    def tell(self, session: Session | None, message: str, *warnings: str, notes: Sequence[str] = ()) -> None:
        """Show what there is to say of a session; only a failed save is still told when another is on its way.

        Warnings, a failed automatic save and news from the model stand in the place of the message; notes behind it.
        """
        with self.lock:
            unsaved = None if session is None else session.autosave_error
            if self.opening or session is not self.session:
                if session is not None and unsaved:
                    self.status.warn(f"{session.volume.name}: {unsaved}")
                return
            remarks, self._remarks = self._remarks, []
            serious = [text for text in (unsaved, *warnings, *self._news(), *remarks) if text]
            if serious:
                self.status.warn(" ".join(serious))
            elif notes:
                self.status.warn(" ".join([message, *notes]))
            else:
                self.status.say(message)

    def remark(self, text: str) -> None:
        """Show what the user should know; what is being done, e.g. opening a case, does not cover it at its end."""
        with self.lock:
            self.status.warn(text)
            if self.worker.busy:
                self._remarks.append(text)

    # -- jobs ------------------------------------------------------------------------------------------------------

    def run(self, what: str, job: Callable[[], T], then: Callable[[T], None] = lambda _: None) -> "Future[T]":
        """Do something in the background and show the state after it, however it ends.

        Args:
            what: Names it.
            job: Does it.
            then: Called with the job's answer once the state after it is shown.
        """

        def run() -> T:
            self._working = True
            try:
                result = job()
            finally:
                self._working = False
                self.refresh()
            then(result)
            for tool in self.tools:
                self.guarded(tool.settle)(self.session)
            return result

        return self.worker.submit(what, run)

    def change(
        self,
        what: str,
        job: Callable[[Session], T],
        notes: Callable[[T], Sequence[str]] = lambda _: (),
        message: Callable[[T], str] | None = None,
    ) -> "Future[T]":
        """Change the session on the screen in the background, and say what became of it.

        Args:
            what: What it does.
            job: Does it.
            notes: What else there is to say of the job's answer.
            message: What to say of the job's answer once it is on the screen; by default, how the current object
                stands then.
        """
        session = self.ready()

        def run() -> T:
            with self._about(session):
                return job(session)

        def say(result: T) -> None:
            self.tell(session, message(result) if message else summary(session), notes=notes(result))

        return self.run(what, run, say)

    def background(self, what: str, job: Callable[[Session], str]) -> "Future[None]":
        """Run a job that leaves the session as it is; the sentence that it returns is shown."""
        session = self.ready()

        def run() -> None:
            with self._about(session):
                message = job(session)
            self.tell(session, message)

        return self.worker.submit(what, run)

    def act(self, action: str) -> None:
        """Do one of the actions of `shortcuts`, as its key or button does."""
        self.actions[action]()
        with self.lock:
            for tool in self.tools:
                tool.acted()

    def guarded(self, handler: Callable[..., Any]) -> Callable[..., None]:
        """A handler whose exceptions reach the status line; elsewhere they would vanish from page and log."""

        def run(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except Exception as error:
                self.status.fail(error)

        return run

    def close(self, then: Callable[[], None], *, wait: bool) -> None:
        """Let all tools release what they hold once the running job is done, then call `then`; `wait` for that."""
        with self.lock:
            if self.closed:
                return
            self.closed = True  # a job that still runs shows nothing more
            self._unwatch()
            self.session, self._unwatch = None, lambda: None

        def release() -> None:
            with self.lock:
                for tool in self.tools:
                    tool.release()
                self.tools, self.actions, self.model, self._heard = (), {}, None, (None, 0)
            then()

        self.worker.close(release, wait=wait)

    def _changed(self) -> None:
        """The session was changed: if that was not by a job of this app, but in a notebook, show it."""
        if self._working:
            return

        def follow() -> None:
            self._following = False
            session = self.session
            if session is not None:
                self.tell(session, summary(session))

        with self.lock:
            if not (self.closed or self._following):
                self._following = True
                self.run("Following", follow)

    @contextmanager
    def _about(self, session: Session) -> Iterator[None]:
        """Errors name the case of a session that is no longer on the screen, or about to leave it."""
        try:
            yield
        except UserError as error:
            if session is self.session and not self.opening:
                raise
            raise type(error)(f"{session.volume.name}: {error}") from error

    def _news(self) -> list[str]:
        known, heard = self._heard
        notes = [] if self.model is None else self.model.notes
        self._heard = self.model, len(notes)
        return notes[heard if known is self.model else 0 :]

    def _locked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with self.lock:
                return function(*arguments)

        return run
