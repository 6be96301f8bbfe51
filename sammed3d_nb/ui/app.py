"""The app: three linked views and the tools round them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models.memory import give_back
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.objects import Result
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.brush import Brush
from sammed3d_nb.ui.case_list import CaseList, NoWorklist, first_of
from sammed3d_nb.ui.case_panel import CasePanel
from sammed3d_nb.ui.cases import Cases
from sammed3d_nb.ui.catching_up import catch_up
from sammed3d_nb.ui.chain_panel import ChainPanel
from sammed3d_nb.ui.closing import close_tree
from sammed3d_nb.ui.compare_panel import ComparePanel
from sammed3d_nb.ui.display_panel import DisplayPanel
from sammed3d_nb.ui.doubt_panel import DoubtPanel
from sammed3d_nb.ui.edit_panel import EditPanel
from sammed3d_nb.ui.files import Files
from sammed3d_nb.ui.frame import Frame
from sammed3d_nb.ui.growth import Growth
from sammed3d_nb.ui.help import Help
from sammed3d_nb.ui.history_tool import HistoryTool
from sammed3d_nb.ui.jump import Jump
from sammed3d_nb.ui.lifetime import let_go, live
from sammed3d_nb.ui.masks import Masks
from sammed3d_nb.ui.measures import Measures
from sammed3d_nb.ui.models import Models
from sammed3d_nb.ui.navigation import Navigation
from sammed3d_nb.ui.objects_panel import ObjectsPanel
from sammed3d_nb.ui.orthoviews import PAGE, OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.place import Place
from sammed3d_nb.ui.preview import Preview
from sammed3d_nb.ui.prompt_list import PromptList
from sammed3d_nb.ui.prompts import Prompts
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.survey import Survey
from sammed3d_nb.ui.table_panel import TablePanel
from sammed3d_nb.ui.tabs import Tabs
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.tool_row import ToolRow
from sammed3d_nb.ui.under_cursor import UnderCursor
from sammed3d_nb.ui.worklist import RENDERER, Case, cases_of_worklist
from sammed3d_nb.worklist.records import open_volume
from sammed3d_nb.worklist.worklist import Worklist


class App:
    """The notebook user interface; ``app.widget`` shows it.

    It ends by itself when neither a variable nor the output of the cell that made it holds it any more.

    Args:
        volume: The volume to segment; None to open one later with `open`.
        model: The model that answers, or what `load_model` takes, to load it when it is first needed.
        cases: Cases that the user may choose from.
        worklist: Many cases, with their states and the people who work on them; instead of `cases`. They save
            themselves in its folder.
        models: Folder with more models to choose from.
        output: Folder for saved sessions and exported masks; the working directory by default.
        autosave: Save the cases to `output` after every change, and resume them when they are opened.
        radiological: Show the patient's right on the left of the screen.
        anonymous: Leave whose image it is out of what is saved and exported of `volume`, as of `Session`; for `cases`,
            `cases_of` takes it.
        renderer: ``"page"``: the page draws the slices; ``"ipympl"``: matplotlib does, in the kernel. By default what
            the environment's ``SAMMED3D_RENDERER`` says, else ``"page"``.
    """

    # nothing in here may refer to the app itself: see `lifetime`

    def __init__(
        self,
        volume: Volume | None = None,
        model: Engine | str | None = None,
        *,
        cases: Sequence[Case] = (),
        worklist: Worklist | None = None,
        models: str | Path | None = None,
        output: str | Path | None = None,
        autosave: bool = False,
        radiological: bool = True,
        anonymous: bool = False,
        renderer: str | None = None,
    ) -> None:
        if worklist is not None:
            if volume is not None or cases:
                raise UserError("A worklist has its own cases; give it alone, or the volume, or cases.")
            cases, output = cases_of_worklist(worklist), output or worklist.folder
        self.output = Path.cwd() if output is None else Path(output)
        if volume is not None:
            given: Volume = volume
            opened = partial(open_volume, given, anonymous=anonymous)
            cases = [Case(given.name, opened, partial(opened, take_over=True)), *cases]
        stage = self.stage = Stage()
        self.status = stage.status
        self.page = Page(stage)
        self.views = OrthoViews(
            stage.lock,
            stage.status.fail,
            radiological=radiological,
            renderer=renderer or os.environ.get(RENDERER, PAGE),
        )
        self.chain = ChainPanel()
        self.growth = Growth(stage)
        self.models = Models(stage, model, models)
        self.cases = Cases(stage, self.models, cases, self.output if autosave or worklist is not None else None)
        self.objects = ObjectsPanel(stage)
        self.worklist = worklist
        of_worklist = self._of_worklist(worklist) if worklist else (NoWorklist(self.cases, len(cases)),)
        self.display = DisplayPanel(stage, self.views, beside=[self.growth.button])
        self.row = ToolRow(stage, self.views)
        self.prompts = Prompts(stage, self.views, self.chain, self.page, self.row)  # the first tools of the row
        self.prompt_list = PromptList(stage, self.views, self.prompts)
        self.brush = Brush(stage, self.row)
        self.measures = Measures(stage, self.views, self.row)
        self.history = HistoryTool(stage)
        self.under_cursor = UnderCursor(stage, self.views, self.chain)
        self.preview = Preview(stage, self.views)
        self.jump = Jump(stage, self.views, self.page)
        self.edits = EditPanel(stage, self.views, self.row)
        self.doubt = DoubtPanel(stage, self.views)
        self.table = TablePanel(stage, self.page)
        self.compare = ComparePanel(stage, self.views)
        self.tabs = Tabs(stage, (self.edits, self.doubt, self.table, self.compare))
        closing = [one.close for one in of_worklist if isinstance(one, CaseList)]
        self.help = Help(stage, *closing, self.jump.close, self.tabs.close)
        self.place = Place(stage, self.page, self.views, self.display, self.cases)
        tools = (  # in the order of their buttons and panels; a new tool is a line here, and its file
            Navigation(self.views),
            self.cases,
            self.models,
            *of_worklist,
            self.objects,
            *self.tabs.tabs,
            self.tabs,
            self.prompt_list,
            self.display,
            self.row,
            self.prompts,
            self.brush,
            self.measures,
            self.history,
            self.growth,
            self.under_cursor,
            self.preview,
            self.jump,
            Files(stage, self.page, self.output),
            self.help,
            self.place,
            Masks(self.views),
        )
        stage.take(*tools)
        frame = Frame(self.page, self.views, self.status, tools)
        self.widget, self._frame = frame.widget, frame
        self.page.on_new = stage.guarded(partial(catch_up, frame.widget))
        self.views.on_other_renderer = partial(_kernel_draws, stage, frame, self.page)
        self.page.observe(stage.guarded(partial(_resized, frame, self.place)), names="size")
        self.arrange(1280, 780)
        end = partial(_end, stage, frame, wait=False)
        self.page.on_left = end
        self._ending = live(self, end)
        if volume is not None:
            self.cases.open_now(0)
        stage.refresh()

    def _of_worklist(self, worklist: Worklist) -> tuple[Tool, ...]:
        """The tools for a worklist."""
        survey = Survey(worklist)
        self.list = CaseList(self.stage, self.cases, worklist, survey)
        self.case = CasePanel(self.stage, self.cases, worklist, survey, self.views)
        self.objects.add, self.objects.is_fixed = self.case.add_object, self.case.is_label
        survey.soon()
        return self.list, self.case

    def open_first(self) -> "Future[None]":
        """Open the case of the worklist to begin with: what comes back first, then what was begun, then a new one."""
        if self.worklist is None:
            return self.open(0)
        return self.open(first_of(self.worklist, self.worklist.entries()))

    @property
    def session(self) -> Session | None:
        """What is on the screen; None before a case is open, and after the end."""
        return self.stage.session

    def open(self, case: int) -> "Future[None]":
        """Open a case of the list in the background; the one on the screen stays until that has worked."""
        return self.cases.open(case)

    def choose_model(self, source: str) -> "Future[None]":
        """Change the model in the background; all clicks are kept and predicted again.

        Args:
            source: As `load_model` takes it.
        """
        return self.models.choose(source)

    def click(self, ijk: Sequence[int], positive: bool = True) -> Result:
        """Click on a voxel (i, j, k) by code and wait for the answer.

        Raises:
            ClickError: As `Session.click`.
        """
        i, j, k = ijk
        return self.prompts.click((i, j, k), positive).result()

    def change(self, what: str, job: Callable[[Session], Any]) -> "Future[Any]":
        """Change the session in the background, then show it; `what` names it in the status line."""
        return self.stage.change(what, job)

    def act(self, action: str) -> None:
        """Do one of the actions of `shortcuts`, as its key or button does."""
        self.stage.act(action)

    def wait(self, timeout: float | None = None) -> None:
        """Block until everything asked for so far is done; for notebooks and tests."""
        self.stage.worker.wait(timeout)

    def report(self, error: UserError) -> None:
        """Show an error once everything asked for so far is done."""

        def job() -> None:
            raise error

        self.stage.worker.submit("Reporting", job)

    def arrange(self, width: int, height: int) -> None:
        """Fit the app into a width and height in CSS pixels."""
        self._frame.arrange(width, height)

    def close(self) -> None:
        """End the app after the running job: its thread, widgets and figures, and everything that they hold."""
        if self._ending.detach():
            let_go(self)
            _end(self.stage, self._frame, wait=True)


def _resized(frame: Frame, place: Place, change: dict[str, Any]) -> None:
    frame.arrange(*change["new"])
    place.resized()


def _kernel_draws(stage: Stage, frame: Frame, page: Page, why: str) -> None:
    """The page cannot draw the slices; one that runs nothing of ours shows an error in place of `page`."""
    if not any(page.size):
        frame.leave_out(page)
    stage.remark(why)


def _end(stage: Stage, frame: Frame, *, wait: bool) -> None:
    def close_widgets() -> None:
        close_tree(frame.widget)
        give_back()

    stage.close(close_widgets, wait=wait)
