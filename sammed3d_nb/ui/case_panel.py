"""The case on the screen: what there is to draw, how far it is, what reviewers say; marking it, noting, deciding."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets
from anywidget import AnyWidget

from sammed3d_nb.errors import UserError
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.cases import Cases
from sammed3d_nb.ui.describe import rgb
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.scene import EXTRA
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.survey import Survey
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.view import Shown
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.difference import BOTH, HEAT, Difference
from sammed3d_nb.worklist.entries import Entry
from sammed3d_nb.worklist.labels import Label
from sammed3d_nb.worklist.standing import DONE, NEEDS_REVIEW, NEW
from sammed3d_nb.worklist.worklist import Worklist

_DIFFERENCE = "readings"


class CaseState(AnyWidget):
    """The panel, drawn by `case_panel.js`.

    Attributes:
        shown: What it says of the case; empty without one.
    """

    _esm = (Path(__file__).parent / "case_panel.js").read_text(encoding="utf-8")
    shown = traitlets.Dict().tag(sync=True)


class CasePanel(Tool):
    """The panel, and the keys that mark a case.

    Args:
        stage: What the tools share.
        cases: Opens them.
        worklist: The cases.
        survey: How they are.
        views: Show where two readings differ.
    """

    def __init__(
        self,
        stage: Stage,
        cases: Cases,
        worklist: Worklist,
        survey: Survey,
        views: OrthoViews,
    ) -> None:
        self._stage, self._cases, self._worklist, self._survey = stage, cases, worklist, survey
        self._views = views
        self._difference: Difference | None = None
        self._lost = ""
        self.widget = CaseState()
        self.widget.on_msg(lambda _, content, buffers: stage.guarded(self._asked)(content))
        panel = widgets.VBox([self.widget])
        panel.add_class("snb-panel")
        self.side = (panel,)
        self.actions = {"case_done": partial(self.mark, DONE)}
        survey.followers.append(self._follow)
        worklist.on_lost = self._taken

    # -- what it shows -----------------------------------------------------------------------------------------

    def show(self, session: Session) -> None:
        """Another case is on the screen."""
        self._difference, self._lost = None, ""
        self._survey.soon()

    def refresh(self, session: Session | None) -> None:
        """Show how the case stands."""
        progress = [self._survey.done, len(self._worklist.cases)]
        number = self._cases.shown
        if session is None or number is None:
            self.widget.shown = {"progress": progress}
            return
        entry = self._entry(number)
        self.widget.shown = {
            "number": number,
            "name": self._worklist.cases[number].name,
            "progress": progress,
            "reviewing": self._worklist.reviewing,
            "blind": self._worklist.blind,
            **self._labelled(session, number),
            **self._banner(entry),
            **(self._review(entry) if self._worklist.reviewing else self._own(entry)),
        }

    def add_object(self, session: Session) -> Any:
        """Add the next object of the label set; any other one where there is none, or all are there."""
        labels = None if self._cases.shown is None else self._worklist.labels_of(self._cases.shown)
        following = None if labels is None else labels.next_of(session.objects)
        if labels is not None and following is None:
            raise UserError("Every object of the label set is there; choose one of them.")
        return session.new_object() if following is None else _chosen(session, following)

    def is_label(self, name: str) -> bool:
        """Whether an object is one of the label set, whose name is not changed."""
        labels = None if self._cases.shown is None else self._worklist.labels_of(self._cases.shown)
        return labels is not None and labels.get(name) is not None

    def _entry(self, number: int) -> Entry | None:
        entries = self._survey.entries
        return entries[number] if number < len(entries) else None

    def _labelled(self, session: Session, number: int) -> dict[str, Any]:
        labels = self._worklist.labels_of(number)
        if labels is None:
            return {}
        drawn = {item.name for item in session.objects if item.local.count}
        current = labels.get(session.current.name)
        told = [
            {
                "name": label.name,
                "colour": label.colour,
                "required": label.required,
                "done": label.name in drawn,
                "current": label.name == session.current.name,
                "title": " · ".join(
                    filter(None, [label.name, label.code and f"SNOMED CT {label.code}", label.guideline])
                ),
            }
            for label in labels.labels
        ]
        guideline = current.guideline if current is not None and current.guideline else labels.guideline
        return {"labels": told, "guideline": guideline}

    def _banner(self, entry: Entry | None) -> dict[str, Any]:
        if self._lost:
            return {"banner": self._loss, "lost": True}
        if entry is None:
            return {}
        who = None if self._worklist.reviewing else self._worklist.who
        rejected, accepted = entry.rejection(who), entry.accepted
        if rejected is not None:
            return {"banner": f"Rejected by {rejected.reviewer}: {rejected.comment}", "banner_kind": "rejected"}
        if accepted is not None:
            comment = f": {accepted.comment}" if accepted.comment else "."
            how = "Corrected and accepted" if accepted.corrected else "Accepted"
            return {"banner": f"{how} by {accepted.reviewer}{comment}", "banner_kind": "accepted"}
        asked = "A second reading of this case is wanted." if entry.asked and not self._worklist.reviewing else ""
        return {"banner": " ".join(filter(None, [entry.found.notes, asked]))}

    @property
    def _loss(self) -> str:
        if self._lost == self._worklist.who:
            return "You have taken over this case in another page. What you do here is kept in a record beside it."
        return f"{self._lost} has taken over this case. What you do from now on stays in your own record."

    def _own(self, entry: Entry | None) -> dict[str, Any]:
        """What an annotator sees of their own work, which is known at once."""
        assert self._cases.shown is not None
        work = self._worklist.work(self._cases.shown)
        own = standing.standing(work, entry.reviews) if entry is not None else work.state
        others = () if entry is None else tuple(one for one in entry.begun if one.annotator != work.annotator)
        fresh = entry is not None and work.state == NEW
        return {
            "state": own if entry is None or work.state != NEW else entry.state,
            "own": own,
            "notes": work.notes,
            "second": work.readings > 1,
            "fixed": self._worklist.wanted(self._cases.shown) > 1,
            "others": [one.annotator for one in others] if fresh and not self._worklist.blind else [],
        }

    def _review(self, entry: Entry | None) -> dict[str, Any]:
        """What a reviewer sees."""
        assert self._cases.shown is not None
        if entry is None:
            return {"readings": []}
        try:
            base, corrected = self._worklist.base(self._cases.shown), self._worklist.corrected(self._cases.shown)
        except UserError:  # a notebook has closed it
            return {"state": entry.state, "readings": []}
        return {
            "state": entry.state,
            "readings": [
                {
                    "who": work.annotator,
                    "state": standing.standing(work, entry.reviews),
                    "current": work.annotator == base,
                }
                for work in entry.begun
            ],
            "corrected": corrected,
            "difference": None if self._difference is None else _legend(self._difference),
        }

    # -- what it does ------------------------------------------------------------------------------------------

    def mark(self, state: str) -> None:
        """Say how far the case is."""
        number = self._number()

        def job(session: Session) -> str:
            told = self._worklist.mark(number, state)
            self._survey.look()
            return told

        def say(told: str) -> str:
            name, done, all_of = self._worklist.cases[number].name, self._survey.done, len(self._worklist.cases)
            return f"{name}: {told}. {done} of {all_of} cases are done. Shift+N opens the next one."

        self._stage.change("Marking", job, message=say)

    def _asked(self, content: dict[str, Any]) -> None:
        """Do what the page asks for."""
        value = content.get("value")
        match content.get("do"), value:
            case ("next" | "previous") as which, _:
                self._stage.act(f"{which}_case")
            case "list", _:
                self._stage.act("toggle_cases")
            case "done", _:
                self.mark(DONE)
            case "needs_review", _:
                self.mark(NEEDS_REVIEW)
            case "second", _:
                number = self._number()
                again = self._worklist.work(number).readings > 1
                self._told(lambda: self._worklist.ask_again(number, not again))
            case "note", {"number": int(number), "text": str(text)}:
                self._worklist.note(number, text)  # at once: the worker forgets what waits when the page is closed
                with self._stage.lock:
                    self.refresh(self._stage.session)
                self._survey.soon()
            case "label", str(name):
                self._label(name)
            case "go_on" | "reading", str(who):
                number = self._number()
                self._cases.replace(number, lambda model: self._worklist.open(number, model, base=who))
            case "take_back", _:
                number = self._number()
                if self._lost == self._worklist.who:  # what the other page did is on the screen then
                    self._cases.replace(number, partial(self._worklist.open, number, take_over=True))
                else:
                    self._worklist.lease_again(number)
                    self._lost = ""
                    self._told(lambda: None)
            case "difference", _:
                self._compare()
            case ("accept" | "reject") as which, str(comment):
                self._decide(which, comment)

    def _number(self) -> int:
        if self._cases.shown is None:
            raise UserError("No case is open yet; choose one from the list (Shift+L).")
        return self._cases.shown

    def _told(self, job: Any) -> None:
        """Say something that leaves the session as it is."""

        def run() -> None:
            job()
            self._survey.look()

        self._stage.run("Saving", run)

    def _label(self, name: str) -> None:
        labels = self._worklist.labels_of(self._number())
        label = None if labels is None else labels.get(name)
        if label is not None:
            self._stage.change("Selecting", lambda session: _chosen(session, label))

    def _compare(self) -> None:
        """Show where two readings differ, or no longer."""
        number = self._number()

        def job() -> None:
            session = self._stage.ready()
            found = None if self._difference is not None else self._worklist.difference(number, session.volume)
            with self._stage.lock:
                self._difference = found
                layers = () if found is None else found.layers
                self._views.extras[_DIFFERENCE] = [
                    Shown(layer.mask, rgb(layer.colour), name=f"{EXTRA}{layer.name}") for layer in layers
                ]

        self._stage.run("Comparing", job)

    def _decide(self, which: str, comment: str) -> None:
        number = self._number()

        def job(session: Session) -> str:
            if which == "accept":
                review = self._worklist.accept(number, comment)
            else:
                review = self._worklist.reject(number, comment)
            self._survey.look()
            return review.decision

        def say(decision: str) -> str:
            return f"{self._worklist.cases[number].name}: {decision}. Shift+N opens the next case."

        self._stage.change("Saving", job, message=say)

    def _taken(self, key: str, who: str) -> None:
        """Somebody has taken the case over."""
        with self._stage.lock:
            if self._stage.closed or self._cases.shown is None or self._worklist.number(key) != self._cases.shown:
                return
            self._lost = who
            self._stage.remark(self._loss)
            self.refresh(self._stage.session)
        self._survey.soon()

    def _follow(self) -> None:
        with self._stage.lock:
            if not self._stage.closed:
                self._regain()
                self.refresh(self._stage.session)

    def _regain(self) -> None:
        """Have the case again, where whoever had taken it over has left it."""
        number = self._cases.shown
        entry = None if number is None else self._entry(number)
        if not self._lost or number is None or entry is None or entry.held is not None:
            return
        if self._lost == self._worklist.who:  # the record is another one now: the other page has gone on with it
            self._lost = ""
            self._cases.replace(number, partial(self._worklist.open, number))
        else:
            self._survey.soon(partial(self._lease_again, number))  # it may wait for another process

    def _lease_again(self, number: int) -> None:
        with suppress(UserError):  # somebody was quicker
            self._worklist.lease_again(number, take_over=False)
            with self._stage.lock:
                if self._cases.shown == number:
                    self._lost = ""
                    self.refresh(self._stage.session)


def _chosen(session: Session, label: Label) -> Any:
    """The object of a label becomes the current one; it is made where it is not there yet."""
    if any(item.name == label.name for item in session.objects):
        return session.select(label.name)
    return session.new_object(label.name, colour=label.colour, code=label.code)


def _legend(found: Difference) -> list[tuple[str, str]]:
    scores = [(f"{name}: Dice {score:.3f}", "") for name, score in found.scores]
    return [
        *scores,
        ("both", BOTH),
        *((f"up to {most:g} mm" if most < 1e6 else "further", colour) for most, colour in HEAT),
    ]
