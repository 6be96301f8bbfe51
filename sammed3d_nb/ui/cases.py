"""The cases: the menu of them, opening one, and keeping the work on those that were left."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import Menu
from sammed3d_nb.ui.models import Models
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.worklist import Case

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
        self.shown: int | None = None
        self._wanted: int | None = None  # asked for last
        self._kept: dict[int, Session] = {}
        self.menu = Menu("Case", stage.guarded(self.open))
        self.bar = (self.menu.widget,)
        models.on_loaded = self._open_waiting

    def open(self, case: int) -> "Future[None]":
        """Open a case of the list in the background; the one on the screen stays until that has worked."""
        name = self._cases[case].name
        self._wanted = case
        with self._stage.lock:
            self._stage.opening += 1
            self._stage.status.clear()

        def job() -> None:
            try:
                session = self._session(case)
            finally:
                with self._stage.lock:
                    self._stage.opening -= 1
            self._show(session, case)

        return self._stage.run(f"Opening {name}", job)

    def open_now(self, case: int) -> None:
        """Open a case and wait for it."""
        self._show(self._session(case), case)

    def refresh(self, session: Session | None) -> None:
        """Show the list, and which case is on the screen."""
        count = Counter(case.name for case in self._cases)
        names = [c.name if count[c.name] == 1 else f"{c.name} ({n})" for n, c in enumerate(self._cases, start=1)]
        self.menu.fill([(name, number) for number, name in enumerate(names)], self.shown)

    def release(self) -> None:
        """Forget the cases, which may hold volumes."""
        self._cases, self._kept, self._wanted = [], {}, None

    def _session(self, case: int) -> Session:
        """The session of a case: the one that is on the screen or kept with work in it, else a new one."""
        model, stage = self._models.load(), self._stage
        known = stage.session if case == self.shown else self._kept.get(case)
        if known is None or not _is_unsaved(known):
            return self._cases[case].open(model, self._autosaves)
        if known.model is not model:
            known.set_model(model)
        return known

    def _show(self, session: Session, case: int) -> None:
        stage = self._stage
        with stage.lock:
            if stage.closed:
                return
            if self.shown is not None and stage.session is not None:
                self._kept[self.shown] = stage.session
            self.shown = case
            stage.show(session, _NOT_SAVED if self._autosaves and session.autosave is None else "")
            if self._kept:  # last clicks on the case before may still wait: what is to be kept is known after them
                stage.worker.submit("Opening", self._keep_unsaved)

    def _keep_unsaved(self) -> None:
        self._kept = {n: session for n, session in self._kept.items() if n != self.shown and _is_unsaved(session)}

    def _open_waiting(self) -> bool:
        """Open the case that waits for a model."""
        if self._stage.closed or self._stage.session is not None or self._wanted is None:
            return False
        self.open_now(self._wanted)
        return True


def _is_unsaved(session: Session) -> bool:
    """Whether there is work in a session that would be lost without it."""
    saves_itself = session.autosave is not None and session.autosave_error is None
    return not saves_itself and (session.can_undo or any(item.clicks for item in session.objects))
