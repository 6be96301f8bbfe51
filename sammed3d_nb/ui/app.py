"""The app: a session, three linked views, panels, and one thread that does the slow work."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any, cast

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.objects import Result
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui import actions
from sammed3d_nb.ui.chain_panel import ChainPanel, ClickPath
from sammed3d_nb.ui.closing import close_tree
from sammed3d_nb.ui.compose import CT_WINDOWS, Window
from sammed3d_nb.ui.describe import click_path, greeting, rgb, summary
from sammed3d_nb.ui.models import DEFAULT, GIVEN, choices, described
from sammed3d_nb.ui.objects_panel import ObjectsPanel
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.preview import Preview
from sammed3d_nb.ui.shortcuts import help_html
from sammed3d_nb.ui.status import StatusLine, cursor_text
from sammed3d_nb.ui.toolbar import FIT, DisplayPanel, Toolbar
from sammed3d_nb.ui.view import Pointer, Shown
from sammed3d_nb.ui.worker import Worker
from sammed3d_nb.ui.worklist import Case

if TYPE_CHECKING:
    from sammed3d_nb.models.model import Model

_TOOLBAR, _STATUS, _MARGIN = 42, 28, 6  # CSS pixels
_REST = 0.3  # seconds without a move after which the mouse rests
_DOUBLE_CLICK = 0.4  # seconds in which the same click again is the second half of a double click


class App:
    """The notebook user interface; ``app.widget`` shows it.

    Args:
        volume: The volume to segment; None to open one later with `open`.
        model: The model that answers, or what `load_model` takes, to load it when it is first needed.
        cases: Cases that the user may choose from.
        models: Folder with more models to choose from.
        output: Folder for saved sessions and exported masks; the working directory by default.
        autosave: Save cases that are files to `output` after every change, and resume them when they are opened.
        radiological: Show the patient's right on the left of the screen.
    """

    def __init__(
        self,
        volume: Volume | None = None,
        model: "Model | str | None" = None,
        *,
        cases: Sequence[Case] = (),
        models: str | Path | None = None,
        output: str | Path | None = None,
        autosave: bool = False,
        radiological: bool = True,
    ) -> None:
        self.session: Session | None = None
        self.output = Path.cwd() if output is None else Path(output)
        self._autosaves = self.output if autosave else None
        self._cases = list(cases)
        self._case: int | None = None  # on the screen
        self._wanted: int | None = None  # asked for last
        self._model = None if isinstance(model, str) else model
        self._source = model if isinstance(model, str) else DEFAULT if model is None else GIVEN
        self._models = models
        self._notes = 0  # of the model's notes, how many have been shown
        self._lock = RLock()
        self._pointers: deque[tuple[Result, Pointer]] = deque(maxlen=200)
        self._pending: list[tuple[tuple[int, int, int], bool]] = []
        self._last_press: tuple[float, tuple[int, int, int], bool] | None = None
        self._resting = Timer(0, lambda: None)
        self.status = StatusLine()
        self._worker = Worker(self._locked(self.status.doing), self._locked(self.status.fail))
        self.views = OrthoViews(
            self._lock, self.status.fail, self._prompt, self._hover, self.set_window, radiological=radiological
        )
        self.chain = ChainPanel()
        guard = self._guarded
        self.objects = ObjectsPanel(
            on_select=guard(lambda name: self.change("Selecting", lambda s: s.select(name))),
            on_new=guard(lambda: self.act("new_object")),
            on_rename=guard(lambda old, new: self.change("Renaming", lambda s: s.rename(old, new))),
            on_remove=guard(lambda name: self.change("Removing", lambda s: s.remove(name))),
            on_flag=guard(self._flag),
        )
        self.toolbar = Toolbar(guard(self.act), guard(self.open), guard(self._choose_window), guard(self.choose_model))
        self.display = DisplayPanel(guard(self.set_display), guard(lambda on: self.act("toggle_growing")))
        self.page = Page(guard(self.act), guard(lambda: self.status.say("Copied the trace to the clipboard.")))
        self.page.observe(guard(lambda change: self.arrange(*change["new"])), names="size")
        self._help = widgets.HTML(help_html(), layout=widgets.Layout(display="none"))
        self._help.add_class("snb-help-panel")
        self.preview = Preview(self._lock, self.status.fail, guard(lambda: self.act("toggle_preview")))
        self._side = widgets.VBox([self.objects.widget, self.display.widget, self.chain.widget])
        self._side.add_class("snb-side")
        main = widgets.HBox([self.views.widget, self._side])
        main.add_class("snb-main")
        parts = self.page, self.toolbar.widget, main, self.status.widget, self.preview.widget, self._help
        self.widget = widgets.VBox(parts)
        self.widget.add_class("sammed3d-app")
        self._actions = actions.table(self)
        self.arrange(1280, 780)
        self.display.update(self.views.display)
        if volume is not None:
            self._cases.insert(0, Case(volume.name, lambda model, _: Session(volume, model)))
            self._show(Session(volume, self._load()), 0)
        self._refresh()

    # -- what programs call ------------------------------------------------------------------------------------

    def open(self, case: int) -> "Future[Any]":
        """Open a case of the list in the background; the one on the screen stays until that has worked."""
        self._wanted = case
        return self._worker.submit(f"Opening {self._cases[case].name}", self._then_refresh(lambda: self._open(case)))

    def choose_model(self, source: str) -> "Future[Any]":
        """Change the model in the background; all clicks are kept and predicted again.

        Args:
            source: As `load_model` takes it.
        """
        from sammed3d_nb.models.model import load_model

        def job() -> None:
            model = load_model(source)
            session = self.session
            if session is not None:
                session.set_model(model)
            self._model, self._source, self._notes = model, source, 0
            if session is None and self._wanted is not None:
                self._open(self._wanted)
            else:
                self._say(f"{described(model)} answers now.")

        return self._worker.submit(f"Loading {Path(source).name}", self._then_refresh(job))

    def click(self, ijk: Sequence[int], positive: bool = True) -> Result:
        """Click on a voxel (i, j, k) by code and wait for the answer.

        Raises:
            ClickError: As `Session.click`.
        """
        i, j, k = ijk
        return cast(Result, self._click((i, j, k), positive, None).result())

    def wait(self, timeout: float | None = None) -> None:
        """Block until everything asked for so far is done; for notebooks and tests."""
        self._worker.wait(timeout)

    def report(self, error: UserError) -> None:
        """Show an error once everything asked for so far is done."""

        def job() -> None:
            raise error

        self._worker.submit("Reporting", job)

    def arrange(self, width: int, height: int) -> None:
        """Fit the app into a width and height in CSS pixels."""
        if width <= 0 or height <= 0:
            return
        side = min(max(round(0.27 * width), 336), 440)
        self._side.layout.width = f"{side}px"
        self.widget.layout.height = f"{max(height, 480)}px"
        inner = max(height, 480) - _TOOLBAR - _STATUS - 2 * _MARGIN
        self.views.arrange(max(400, width - side - 3 * _MARGIN), inner)

    def close(self) -> None:
        """Stop the background thread and close every widget and figure."""
        with self._lock:
            self._resting.cancel()
            self.session = self._wanted = None  # a job that still runs opens nothing more
        self._worker.close()
        self.views.release()
        self.preview.release()
        close_tree(self.widget)
        self.session = None

    # -- clicks ------------------------------------------------------------------------------------------------

    def _prompt(self, pointer: Pointer, left: bool) -> None:
        positive = bool(self.toolbar.sign.value) if left else False
        now = time.monotonic()
        last, self._last_press = self._last_press, (now, pointer.voxel, positive)
        if last and last[1:] == (pointer.voxel, positive) and now - last[0] < _DOUBLE_CLICK:
            return
        self._click(pointer.voxel, positive, pointer)

    def _click(self, voxel: tuple[int, int, int], positive: bool, pointer: Pointer | None) -> "Future[Any]":
        session = self._ready()
        pending = (voxel, positive)
        with self._lock:
            if session.volume.contains(voxel):
                self.views.cross = voxel  # the click is seen at once, its mask follows
                self._pending.append(pending)
                self.views.clicks = self._clicks(session)
                self.views.follow()
                self.views.redraw()

        def job() -> Result:
            try:
                result = session.click(voxel, positive, approach=tuple(pointer.chain) if pointer else ())
            finally:
                if pending in self._pending:
                    self._pending.remove(pending)
            if pointer is not None:
                self._pointers.append((result, pointer))
            self._say(summary(session.current, result))
            return result

        return self._worker.submit("Segmenting", self._then_refresh(job))

    def _hover(self, pointer: Pointer | None) -> None:
        session = self.session
        if session is None or pointer is None or not session.volume.contains(pointer.voxel):
            self.status.under_cursor("")
            self.chain.hover(None)
            return
        volume = session.volume
        i, j, k = pointer.voxel
        unit = "HU" if volume.modality == "CT" else ""
        ras = volume.voxel_to_ras(pointer.voxel)
        self.status.under_cursor(cursor_text(pointer.voxel, ras, volume.array[k, j, i], unit))
        trace = session.preview(pointer.voxel, approach=tuple(pointer.chain))
        self.chain.hover(ClickPath(trace, pointer=pointer))
        if session.model.device.type != "cpu":  # a CPU is better left free for the click itself
            self._rest(session, pointer.voxel)

    def _rest(self, session: Session, voxel: tuple[int, int, int]) -> None:
        """Encode ahead the cube of a voxel on which the mouse comes to rest."""

        def rested() -> None:
            with self._lock:  # the timer may have run out while another case was opened or the app closed
                if self.session is session and not self._worker.busy:
                    self._worker.submit("Encoding ahead", lambda: session.prepare(voxel))

        self._resting.cancel()
        self._resting = Timer(_REST, rested)
        self._resting.start()

    # -- keeping the screen up to date ---------------------------------------------------------------------------

    def _open(self, case: int) -> None:
        self._show(self._cases[case].open(self._load(), self._autosaves), case)

    def _show(self, session: Session, case: int) -> None:
        """Put another session on the screen."""
        with self._lock:
            self._resting.cancel()
            self.session, self._case = session, case
            self._pointers.clear()
            self.views.show(session.volume)
            self._say(greeting(session), session.volume.warnings)

    def _refresh(self) -> None:
        """Show the session's present state everywhere."""
        session = self.session
        self.toolbar.set_cases([case.name for case in self._cases], self._case)
        if self._model is not None or self._wanted is not None:  # also when it could not be loaded: choose another
            self.toolbar.set_models(choices(self._models, self._source, self._model), self._source)
        self.toolbar.show_history(bool(session and session.can_undo), bool(session and session.can_redo))
        self._show_window()
        if session is None:
            return
        shown = sorted((o for o in session.objects if o.visible), key=lambda o: o.locked)  # locked ones win
        self.views.objects = [
            Shown(o.local, rgb(o.colour), current=o.name == session.current.name) for o in shown if o.local.count
        ]
        self.views.clicks = self._clicks(session)
        result = session.result
        cubes = result.cubes if result else ()
        self.views.set_cubes([(cube.chain(session.volume).between("cube", "array"), cube.size) for cube in cubes])
        pointer = next((pointer for known, pointer in self._pointers if known is result), None)
        self._set_path(None if result is None else click_path(result, pointer, session.model))
        self.display.show_growing(session.grow)
        self.objects.update(session.objects, session.current, session.volume.spacing)
        self.views.redraw()

    def _set_path(self, path: ClickPath | None) -> None:
        self.chain.click(path)
        self.page.clipboard = "" if path is None else path.to_json()

    def _clicks(self, session: Session) -> list[tuple[tuple[int, int, int], bool]]:
        return [*((click.ijk, click.positive) for click in session.clicks), *self._pending]

    def _show_window(self) -> None:
        window = self.views.display.window
        named = {**CT_WINDOWS, **({} if self.session is None else {FIT: Window.fitting(self.session.volume.array)})}
        self.toolbar.set_window(next((name for name, known in named.items() if known == window), None))

    # -- what users ask for ------------------------------------------------------------------------------------

    def act(self, action: str) -> None:
        """Do one of the actions of `shortcuts`, as its key or button does."""
        self._actions[action]()

    def change(self, what: str, job: Callable[[Session], Any]) -> "Future[Any]":
        """Change the session in the background, then show it; `what` names it in the status line."""
        session = self._ready()

        def run() -> None:
            job(session)
            self._say(summary(session.current, session.result))

        return self._worker.submit(what, self._then_refresh(run))

    def background(self, what: str, job: Callable[[Session], str]) -> "Future[Any]":
        """Run a job that leaves the session as it is; the sentence that it returns is shown."""
        session = self._ready()
        return self._worker.submit(what, lambda: self._say(job(session)))

    def set_window(self, window: Window) -> None:
        """Change the grey-scale window of all views."""
        self.views.set_window(window)
        self._show_window()

    def set_display(self, field: str, value: Any) -> None:
        """Change a field of `view.Display` and draw anew."""
        with self._lock:
            setattr(self.views.display, field, value)
            self.display.update(self.views.display)
            self.views.redraw()

    def toggle_help(self, on: bool | None = None) -> None:
        """Show or hide the ? panel."""
        hidden = self._help.layout.display == "none"
        self._help.layout.display = "block" if (hidden if on is None else on) else "none"

    def _flag(self, name: str, flag: str, on: bool) -> None:
        self.change("Changing", lambda s: s.show(name, on) if flag == "visible" else s.lock(name, on))

    def _choose_window(self, name: str) -> None:
        if name in CT_WINDOWS:
            self.set_window(CT_WINDOWS[name])
        elif name == FIT:
            actions.fit_window(self)

    # -- inside ------------------------------------------------------------------------------------------------

    def _ready(self) -> Session:
        if self.session is None:
            raise UserError("No volume is open yet; wait until it is, or choose another case.")
        return self.session

    def _load(self) -> "Model":
        if self._model is None:
            from sammed3d_nb.models.model import load_model

            self._model = load_model(self._source)
        return self._model

    def _say(self, message: str, warnings: Sequence[str] = ()) -> None:
        """Show a message, unless there are warnings, a failed automatic save, or news from the model."""
        with self._lock:
            notes = [] if self._model is None else self._model.notes[self._notes :]
            self._notes += len(notes)
            unsaved = self.session.autosave_error if self.session is not None else None
            if unsaved or notes or warnings:
                self.status.warn(" ".join(filter(None, [unsaved, *warnings, *notes])))
            else:
                self.status.say(message)

    def _then_refresh(self, job: Callable[[], Any]) -> Callable[[], Any]:
        """A job after which, however it ends, the screen shows the session's state."""

        def run() -> Any:
            try:
                return job()
            finally:
                with self._lock:
                    self._refresh()
                self._guarded(self.preview.update)(self.session)

        return run

    def _guarded(self, handler: Callable[..., Any]) -> Callable[..., None]:
        """A handler whose exceptions reach the status line; elsewhere they would vanish from page and log."""

        def run(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except Exception as error:
                self.status.fail(error)

        return run

    def _locked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with self._lock:
                return function(*arguments)

        return run
