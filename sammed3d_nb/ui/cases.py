"""The cases: the menu of them, opening one, and keeping the work on those that were left."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from sammed3d_nb.errors import RecordInUse
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import Menu, button
from sammed3d_nb.ui.models import Models
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.worklist import Case

_MOST_LISTED = 60  # in the menu; the worklist has them all
_NOT_SAVED = "This case is not saved by itself: press Ctrl+S."


class Cases(Tool):
    """Opens the cases of a list.

    Work that is in no file is kept in memory while another case is on the screen.

    Args:
        stage: What the tools share.
        models: Gives the model that answers.
        cases: The list.
        autosaves: Folder in which cases save themselves; None for no such saves.
    """

    def __init__(self, stage: Stage, models: Models, cases: Sequence[Case], autosaves: Path | None) -> None:
        self._stage, self._models, self._autosaves = stage, models, autosaves
        self._cases = list(cases)
        self._told = _told(self._cases)
        self.shown: int | None = None
        self._wanted: int | None = None  # asked for last
        self._session_shown: Session | None = None
        self._kept: dict[int, Session] = {}
        self._in_use: int | None = None  # another session has its record open
        self.menu = Menu("Case", stage.guarded(self.open))
        self.taking = button(
            "Take over", "take_over", "Open it all the same: what the other session does from then on is kept "
            "in a record of its own", stage.guarded(stage.act),
        )  # fmt: skip
        self.bar = self.menu.widget, self.taking
        self.actions = {"take_over": self._take_over}
        models.on_loaded = self._open_waiting

    def open(self, case: int, *, take_over: bool = False) -> "Future[None]":
        """Open a case of the list in the background; the one on the screen stays until that has worked.

        Args:
            case: Its number.
            take_over: Take its record from another session that has it open.
        """
        name = self._cases[case].name
        self._wanted = case
        with self._stage.lock:
            self._stage.opening += 1
            self._stage.status.clear()

        def job() -> None:
            try:
                session = self._session(case, take_over)
            finally:
                with self._stage.lock:
                    self._stage.opening -= 1
            self._show(session, case)

        return self._stage.run(f"Opening {name}", job)

    def replace(self, case: int, opened: Callable[[Engine], Session]) -> "Future[None]":
        """Begin the case on the screen again, in the background; the session that is there stays until it has worked.

        Args:
            case: Its number.
            opened: Opens it, from a model.
        """

        def job() -> None:
            before = self._session_shown
            session = opened(self._models.load())
            self._show(session, case)
            if before is not None:
                before.close()

        return self._stage.run(f"Opening {self._cases[case].name}", job)

    def open_now(self, case: int) -> None:
        """Open a case and wait for it; one that another session has open is told and not shown."""
        try:
            session = self._session(case)
        except RecordInUse as error:
            self._stage.status.fail(error)
        else:
            self._show(session, case)

    def refresh(self, session: Session | None) -> None:
        """Show the list, and which case is on the screen."""
        self.menu.fill(
            [
                (text, number)
                for number, text in enumerate(self._told)
                if len(self._told) <= _MOST_LISTED or number == self.shown
            ],
            self.shown,
        )
        self.taking.layout.display = "none" if self._in_use is None else ""

    def release(self) -> None:
        """Forget the cases, which may hold volumes; others may open their records."""
        for session in (*self._kept.values(), *([self._session_shown] if self._session_shown else [])):
            session.close()
        self._cases, self._kept, self._session_shown, self._wanted = [], {}, None, None

    def _session(self, case: int, take_over: bool = False) -> Session:
        """The session of a case: the one that is on the screen or kept, else a new one."""
        model = self._models.load()
        known = self._session_shown if case == self.shown else self._kept.get(case)
        if known is not None:
            if known.model is not model:
                known.set_model(model)
            return known
        self._in_use, found = None, self._cases[case]
        try:
            return (found.take_over if take_over and found.take_over else found.open)(model, self._autosaves)
        except RecordInUse:
            self._in_use = case if found.take_over else None
            raise

    def _show(self, session: Session, case: int) -> None:
        stage = self._stage
        with stage.lock:
            if stage.closed:
                session.close()
                return
            self._kept.pop(case, None)
            if self.shown not in (None, case) and self._session_shown is not None:
                self._kept[self.shown] = self._session_shown
            self.shown, self._session_shown = case, session
            stage.show(session, _NOT_SAVED if self._autosaves and session.autosave is None else "")
            if self._kept:  # last clicks on the case before may still wait: what is to be kept is known after them
                stage.worker.submit("Opening", self._keep_unsaved)

    def _keep_unsaved(self) -> None:
        for case, session in list(self._kept.items()):
            if not _is_unsaved(session):
                del self._kept[case]
                session.close()

    def _open_waiting(self) -> bool:
        """Open the case that waits for a model."""
        if self._stage.closed or self._stage.session is not None or self._wanted is None:
            return False
        self.open_now(self._wanted)
        return True

    def _take_over(self) -> None:
        if self._in_use is not None:
            self.open(self._in_use, take_over=True)


def _told(cases: Sequence[Case]) -> list[str]:
    """What the menu says of each case."""
    count = Counter(case.name for case in cases)
    names = [c.name if count[c.name] == 1 else f"{c.name} ({n})" for n, c in enumerate(cases, start=1)]
    return [" · ".join(filter(None, (name, c.details))) for name, c in zip(names, cases, strict=True)]


def _is_unsaved(session: Session) -> bool:
    """Whether there is work in a session that would be lost without it."""
    saves_itself = session.autosave is not None and session.autosave_error is None
    return not saves_itself and (session.can_undo or any(item.said for item in session.objects))
