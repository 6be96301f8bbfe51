"""The worklist over the views: its rows, its pictures, and going from case to case."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets
from anywidget import AnyWidget

from sammed3d_nb.errors import UserError
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.cases import Cases
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.survey import Survey
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.worklist.ahead import room
from sammed3d_nb.worklist.entries import Entry
from sammed3d_nb.worklist.standing import DONE, NEEDS_REVIEW, NEW, REJECTED
from sammed3d_nb.worklist.thumbnails import Thumbnails
from sammed3d_nb.worklist.worklist import Worklist

_RANKS = (REJECTED, NEEDS_REVIEW, "in progress", NEW, DONE)


class CaseRows(AnyWidget):
    """The table, drawn by `case_list.js`.

    Attributes:
        shown: Number of the case on the screen; -1 for none.
    """

    _esm = (Path(__file__).parent / "case_list.js").read_text(encoding="utf-8")
    _css = (Path(__file__).parent / "case_list.css").read_text(encoding="utf-8")
    shown = traitlets.Int(-1).tag(sync=True)


class CaseList(Tool):
    """The worklist and its keys.

    Args:
        stage: What the tools share.
        cases: Opens them.
        worklist: The cases.
        survey: How they are.
    """

    def __init__(self, stage: Stage, cases: Cases, worklist: Worklist, survey: Survey) -> None:
        self._stage, self._cases, self._worklist, self._survey = stage, cases, worklist, survey
        self.order = list(range(len(worklist.cases)))  # as the page shows them
        self._sent: dict[int, dict[str, Any]] = {}
        self._ready = False
        self._at: int | None = None  # the case asked for last: that on the screen, or one that did not open
        self._left = self.order  # the order in which that stood last
        self.pictures = Thumbnails(
            worklist.state, self._read, self._picture, lambda key: worklist.nbytes(key) <= room()
        )
        self.rows = CaseRows()
        self.rows.on_msg(lambda _, content, buffers: stage.guarded(self._asked)(content))
        self.panel = widgets.Box([self.rows], layout=widgets.Layout(display="none"))
        self.panel.add_class("snb-cases-over")
        self.over = (self.panel,)
        self.actions = {
            "toggle_cases": lambda: self.show_list(self.panel.layout.display == "none"),
            "next_case": partial(self.step, 1),
            "previous_case": partial(self.step, -1),
        }
        survey.followers.append(self._follow)

    def show_list(self, on: bool) -> None:
        """Open or close the list."""
        self.panel.layout.display = "flex" if on else "none"
        if on:
            self._survey.soon()
            self.rows.send({"type": "opened"})

    def close(self) -> None:
        """Close the list."""
        self.show_list(False)

    def step(self, by: int) -> None:
        """Open the next case of the list as it is shown, or the one before."""
        self._ask(self.beside(by))

    def _ask(self, number: int) -> None:
        """Open a case; one of which an annotator has changed what its reviewer has open is opened again."""
        self._at = number
        if number in self.order:
            self._left = self.order
        if number == self._cases.shown and self._worklist.reviewing and self._is_stale(number):
            self._cases.replace(number, partial(self._worklist.open, number))
        else:
            self._cases.open(number)

    def _is_stale(self, number: int) -> bool:
        with suppress(UserError):  # a notebook has closed it
            return self._worklist.is_stale(number)
        return False

    def beside(self, by: int) -> int:
        """The number of the case that stands a row below the one asked for last, or above (-1).

        Those that others have open are passed by. One that is no longer in the list as it is shown, as a case that is
        done where those to do are, is left from where it stood.

        Raises:
            UserError: There is none.
        """
        if not self.order:
            raise UserError("The list shows no case: clear its search (Shift+L).")
        at = self._cases.shown if self._at is None else self._at
        there = set(self.order)
        order = self.order if at in there else self._left
        rows = order if by > 0 else order[::-1]
        following = rows[rows.index(at) + 1 :] if at in rows else rows
        left = [number for number in following if number in there]
        found = next((number for number in left if not self._is_held(number)), None)
        if found is None:
            which = "last" if by > 0 else "first"
            others = " that nobody else has open" if left else ""
            raise UserError(f"This is the {which} case of the list as it is shown{others}; press Shift+L to see it.")
        return found

    def _is_held(self, number: int) -> bool:
        """Whether somebody else has a case open, as far as it is known."""
        entries = self._survey.entries
        held = entries[number].held if number < len(entries) else None
        return held is not None and held.holder.user != self._worklist.who

    def show(self, session: Session) -> None:
        """Another case is on the screen: the next one is read ahead, and its picture is kept."""
        number = self._cases.shown
        self.rows.shown = -1 if number is None else number
        self._at = number
        if number in self.order:
            self._left = self.order
        if number is not None:
            key, volume = self._worklist.cases[number].key, session.volume
            self._survey.soon(lambda: self.pictures.add(key, volume))
        try:
            following = self.beside(1)
        except UserError:
            return
        self._worklist.read_ahead(following)

    def release(self) -> None:
        """Let go of the worklist."""
        self.pictures.close()
        self._survey.close()
        self._worklist.close()

    def _asked(self, content: dict[str, Any]) -> None:
        """Do what the page asks for."""
        count = len(self._worklist.cases)
        match content:
            case {"do": "ready"}:
                self._ready, self._sent = True, {}
                self._send()
            case {"do": "open", "number": int(number)} if 0 <= number < count:
                self.close()
                self._ask(number)
            case {"do": "order", "numbers": list(numbers)}:
                self.order = [n for n in numbers if isinstance(n, int) and 0 <= n < count]
                if self._at in self.order:
                    self._left = self.order
            case {"do": "pictures", "numbers": list(numbers)}:
                for number in numbers[:100][::-1]:
                    if isinstance(number, int) and 0 <= number < count:
                        self.pictures.want(self._worklist.cases[number].key)
            case {"do": "close"}:
                self.close()

    def _follow(self) -> None:
        with self._stage.lock:
            if self._ready and not self._stage.closed:
                self._send()

    def _send(self) -> None:
        """Tell the page the rows that are not as it knows them."""
        entries = self._survey.entries
        rows = {entry.number: row_of(entry, self._worklist.who) for entry in entries}
        changed = [row for number, row in rows.items() if self._sent.get(number) != row]
        every = not self._sent
        self._sent = rows
        if changed or every:
            self.rows.send({"type": "rows", "rows": changed, "all": every, "done": self._survey.done})

    def _read(self, key: str) -> Any:
        return self._worklist.read(key)

    def _fits(self, key: str) -> bool:
        return self._worklist.nbytes(key) <= room()

    def _picture(self, key: str, data: bytes, modality: str) -> None:
        with self._stage.lock:
            if not self._stage.closed:
                told = {"type": "picture", "number": self._worklist.number(key), "modality": modality}
                self.rows.send(told, buffers=[data])


class NoWorklist(Tool):
    """What the keys of a worklist do where there is none.

    Args:
        cases: Opens the cases that there are.
        count: How many.
    """

    def __init__(self, cases: Cases, count: int) -> None:
        self._cases, self._count = cases, count
        self._at: int | None = None  # asked for last
        self.actions = {
            "toggle_cases": self._refuse,
            "case_done": self._refuse,
            "next_case": partial(self._step, 1),
            "previous_case": partial(self._step, -1),
        }

    def _refuse(self) -> None:
        raise UserError("There is no worklist here; start the app with several images, a folder or a .csv.")

    def _step(self, by: int) -> None:
        at = self._cases.shown if self._at is None else self._at
        number = (-1 if at is None else at) + by
        if not 0 <= number < self._count:
            raise UserError(f"There is no {'further' if by > 0 else 'earlier'} case; this app has {self._count}.")
        self._at = number
        self._cases.open(number)

    def show(self, session: Session) -> None:
        """Another case is on the screen."""
        self._at = self._cases.shown


def row_of(entry: Entry, who: str) -> dict[str, Any]:
    """A case as the page shows it to an annotator."""
    mine = who in entry.who or not entry.who
    return {
        "number": entry.number,
        "name": entry.name,
        "details": entry.found.details,
        "modality": entry.found.modality,
        "size": " × ".join(map(str, entry.found.size)),
        "voxels": prod(entry.found.size),
        "state": entry.state,
        "rank": _RANKS.index(entry.state),
        "who": ", ".join(entry.who),
        "held": _held(entry, who),
        "seconds": round(entry.seconds, 1),
        "notes": " · ".join(filter(None, ["second reading wanted" if entry.asked else "", entry.notes])),
        "todo": entry.asked or (entry.state not in (DONE, NEEDS_REVIEW) and mine),
        "mine": mine,
    }


def _held(entry: Entry, who: str) -> str:
    if entry.held is None:
        return ""
    return "open by you" if entry.held.holder.user == who else f"open: {entry.held.told}"


def first_of(worklist: Worklist, entries: list[Entry]) -> int:
    """The case to begin with: the first that is to be done, or reviewed, and that nobody has open."""
    free = [entry for entry in entries if entry.held is None]
    if worklist.reviewing:
        return next((e.number for e in free if e.state == NEEDS_REVIEW), next((e.number for e in free if e.begun), 0))
    mine = [e for e in free if not e.assigned or worklist.who in e.assigned]
    wanted: list[Callable[[Entry], bool]] = [
        lambda e: e.state == REJECTED and e.rejection(worklist.who) is not None,
        lambda e: e.state not in (DONE, NEEDS_REVIEW, REJECTED) and e.work_of(worklist.who) in e.begun,
        lambda e: e.asked or e.state == NEW,
    ]
    return next((e.number for test in wanted for e in mine if test(e)), 0)
