"""Prompts: clicks and what is drawn, their marks on the views, and the way that the last one took."""

import time
from collections import deque
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble
from sammed3d_nb.session.edits import Edit
from sammed3d_nb.session.objects import Result, Said
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.chain_panel import ChainPanel, ClickPath
from sammed3d_nb.ui.describe import prompts_of, summary
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.stroke import BOX, CLICK, LINE, LOOP, Armed, Mark, Stroke
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.tool_row import ToolRow
from sammed3d_nb.ui.view import Pointer

_DOUBLE_CLICK = 0.4  # seconds in which the same click again is the second half of a double click

Voxel = tuple[int, int, int]


class Prompts(Tool):
    """Takes clicks, boxes, scribbles and lassos, and shows those of the current object.

    Args:
        stage: What the tools share.
        views: Where the mouse clicks and the marks are drawn.
        chain: Shows the last click's way to the network.
        page: Puts that way into the clipboard.
        row: Where the tools are chosen.

    Attributes:
        chosen: Which of the current object's prompts is highlighted, as `describe.prompts_of` names it; "" for none.
    """

    def __init__(self, stage: Stage, views: OrthoViews, chain: ChainPanel, page: Page, row: ToolRow) -> None:
        self._row = row
        self.chosen = ""
        self._stage, self._views, self._chain, self._page = stage, views, chain, page
        self._pending: list[tuple[Session, Voxel, bool]] = []  # asked for, not answered yet
        self._pointers: deque[tuple[Said | None, Pointer]] = deque(maxlen=200)  # by what was answered
        self._made: dict[tuple[Said, bool], list[Mark]] = {}  # marks on the views, by what was said and highlighted
        self._last_press: tuple[float, Voxel, bool] | None = None
        self.side = (chain.widget,)
        for armed, text, tip in (
            (Armed("point", CLICK), "Point", "Click on the object; the right button says what is not"),
            (Armed("box", BOX), "Box", "Draw a box round the object on a slice"),
            (Armed("scribble", LINE), "Scribble", "Draw a stroke inside the object"),
            (Armed("lasso", LOOP), "Lasso", "Draw a line round the object on a slice"),
        ):
            row.add(armed, text, tip, self._drawn, prompt=armed.name)
        views.on_prompt = self._pressed
        page.on_press = self._page_pressed

    def click(self, voxel: Voxel, positive: bool, pointer: Pointer | None = None) -> "Future[Result]":
        """Click on a voxel for the current object, in the background; `pointer` is the mouse, None for code."""
        asked = time.monotonic()
        session = self._stage.ready()
        pending = (session, voxel, positive)
        seen: list[str] = []
        with self._stage.lock:
            if session.volume.contains(voxel):
                self._views.cross = voxel  # the click is seen at once, its mask follows
                self._pending.append(pending)
                self._mark(session)
                self._views.follow()
                self._views.redraw()

        def job(session: Session) -> Result:
            seen.extend(self._row.show_current(session))
            try:
                result = session.click(voxel, positive, approach=tuple(pointer.chain) if pointer else ())
            finally:
                if pending in self._pending:
                    self._pending.remove(pending)
            if pointer is not None:
                self._pointers.append((session.current.answered, pointer))
            return result

        return self._stage.change(
            "Segmenting",
            job,
            notes=lambda result: (*seen, *result.notes),
            message=lambda _: summary(session, time.monotonic() - asked),
        )

    def say(self, prompt: Prompt, stroke: Stroke | None = None) -> "Future[Result]":
        """Say another prompt than a click for the current object, in the background; `stroke` is how it was drawn."""
        asked = time.monotonic()
        session = self._stage.ready()
        seen: list[str] = []
        with self._stage.lock:
            self._views.move_to(_middle(prompt))  # the other views show it too

        def job(session: Session) -> Result:
            seen.extend(self._row.show_current(session))
            return session.add(prompt, approach=tuple(stroke.chain) if stroke else ())

        return self._stage.change(
            "Segmenting",
            job,
            notes=lambda result: (*seen, *result.notes),
            message=lambda _: summary(session, time.monotonic() - asked),
        )

    def choose(self, key: str) -> None:
        """Highlight a prompt on the views, and go to it; the one that is highlighted, or "", none any more."""
        with self._stage.lock:
            self.chosen = "" if key == self.chosen else key
            said = prompts_of(self._stage.ready().current).get(self.chosen)
            if said is not None:
                self._views.move_to(_middle(said.action))
            self._stage.refresh()

    def show(self, session: Session) -> None:
        """Forget how the mouse lay over the volume before."""
        self._pointers.clear()

    def refresh(self, session: Session | None) -> None:
        """Show the current object's clicks and the way of the last one."""
        if session is None:
            return
        if self.chosen not in prompts_of(session.current):
            self.chosen = ""
        self._mark(session)
        result, answered = session.result, session.current.answered
        pointer = next((pointer for known, pointer in self._pointers if known is answered), None)
        path = None if result is None else ClickPath.of(result, pointer, session.model)
        self._chain.click(path)
        self._page.clipboard = "" if path is None else path.to_json()

    def release(self) -> None:
        """Forget all clicks."""
        self._pending.clear()
        self._pointers.clear()
        self._made.clear()

    def _page_pressed(self, blank: bool) -> None:
        """A view was clicked: before there is an image, say that the click is not taken."""
        if self._stage.session is None or blank:
            remark = "There is no image yet: that click was not taken. Click again once it is shown."
            if self._stage.worker.busy:
                self._stage.status.aside(remark)
            else:
                self._stage.status.warn(remark)

    def _mark(self, session: Session) -> None:
        waiting = [(voxel, positive) for of, voxel, positive in self._pending if of is session]
        self._views.clicks = [*((click.ijk, click.positive) for click in session.clicks), *waiting]
        wanted = [(said, key == self.chosen) for key, said in prompts_of(session.current).items()]
        self._made = {one: self._made.get(one) or _marks(one[0].action, chosen=one[1]) for one in wanted}
        self._views.marks = [mark for marks in self._made.values() for mark in marks]

    def _drawn(self, stroke: Stroke) -> "Future[Result]":
        return self.say(_prompt_of(stroke, self._stage.ready()), stroke)

    def _pressed(self, pointer: Pointer, left: bool) -> None:
        positive = bool(self._row.sign.value) if left else False
        now = time.monotonic()
        last, self._last_press = self._last_press, (now, pointer.voxel, positive)
        if last and last[1:] == (pointer.voxel, positive) and now - last[0] < _DOUBLE_CLICK:
            return
        self.click(pointer.voxel, positive, pointer)


def _prompt_of(stroke: Stroke, session: Session) -> Prompt:
    """What a stroke says.

    Raises:
        UserError: It says nothing.
    """
    volume, tool = session.volume, stroke.armed
    if tool.shape == CLICK:
        i, j, k = stroke.voxels(volume)[0].tolist()
        return Point((i, j, k), stroke.positive)
    if tool.shape == LINE:
        return Scribble(stroke.voxels(volume), stroke.positive)  # type: ignore[arg-type]
    found = stroke.corners(volume)
    if len(found) < 2 or (tool.shape == LOOP and len(found) < 3):
        way = "press at one corner and let go at the opposite one" if tool.shape == BOX else "draw it round the object"
        raise UserError(f"That {tool.name} encloses nothing; {way}.")
    if tool.shape == BOX:
        first, last = found[0].tolist(), found[-1].tolist()
        return Box(first, last, stroke.positive)
    return Lasso(found, stroke.positive)


def _middle(action: Prompt | Edit) -> Voxel:
    """A voxel (i, j, k) of a prompt to look at: the middle of it, of a scribble half-way along."""
    if isinstance(action, Scribble):
        i, j, k = action.voxels[len(action.voxels) // 2].tolist()
    elif isinstance(action, Prompt):
        i, j, k = ((low + high - 1) // 2 for low, high in zip(action.region.start, action.region.stop, strict=True))
    else:
        raise TypeError("an edit lies nowhere")
    return i, j, k


def _marks(prompt: Prompt | Edit, *, chosen: bool) -> list[Mark]:
    """How a prompt is drawn; a click's own mark is drawn apart, and a start mask is seen as what became of it."""
    if isinstance(prompt, Point):
        return [Mark("point", np.array([prompt.ijk], dtype=float), prompt.positive, chosen)] if chosen else []
    if isinstance(prompt, Box):
        return [Mark("box", np.array([prompt.first, prompt.last], dtype=float), prompt.positive, chosen)]
    if isinstance(prompt, Scribble | Lasso):
        return [Mark(prompt.kind, _fewer(prompt.voxels.astype(float)), prompt.positive, chosen)]
    return []


def _fewer(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line on one slice with as few corners as show it to half a voxel; others as they are."""
    from skimage.measure import approximate_polygon

    flat = [axis for axis in range(3) if np.ptp(line[:, axis]) == 0]
    if len(line) < 4 or len(flat) != 1:
        return line
    rest = [axis for axis in range(3) if axis != flat[0]]
    kept = approximate_polygon(line[:, rest], 0.5)
    fewer: NDArray[np.float64] = np.insert(kept, flat[0], line[0, flat[0]], axis=1)
    return fewer
