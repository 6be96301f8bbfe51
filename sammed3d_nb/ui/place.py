"""Where the user was in a volume: slices, zoom, window and switches. The browser keeps it, so that it outlives us."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from math import isfinite
from typing import Any

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.cases import Cases
from sammed3d_nb.ui.compose import Region, Window
from sammed3d_nb.ui.display_panel import DisplayPanel
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.view import SliceView

_SETTLING = 3.0  # seconds in which a new page may still change its size, as when its bar wraps


class Place(Tool):
    """Tells the page where the user is and which case is on the screen, and goes back there when the page comes again.

    Args:
        stage: What the tools share.
        page: Keeps it.
        views: Where the user is.
        display: How it is shown.
        cases: Which case it is.
    """

    def __init__(self, stage: Stage, page: Page, views: OrthoViews, display: DisplayPanel, cases: Cases) -> None:
        self._stage, self._page, self._views, self._display, self._cases = stage, page, views, display, cases
        self._known = False  # whether the page has told what it keeps; before, that would be written over
        self._looks: dict[str, Any] = {}
        self._until = 0.0
        page.where = self._where
        page.on_place = stage.guarded(self._go_back)

    def show(self, session: Session) -> None:
        """Ask the page where the user was in another volume."""
        self._known, self._looks = False, {}
        volume = session.volume
        told = f"{volume.name} {volume.size} {volume.spacing} {volume.origin}"  # its name is nobody's business there
        self._page.case = -1 if self._cases.shown is None else self._cases.shown
        self._page.place = ""  # the same volume again asks again
        self._page.place = sha256(told.encode()).hexdigest()[:16]

    def refresh(self, session: Session | None) -> None:
        """Tell the page what would be safe without us."""
        if session is None:
            self._page.saved = ""
        elif session.autosave_error:
            self._page.saved = f"The last work is not saved. {session.autosave_error}"
        elif session.autosave is not None:
            self._page.saved = f"Everything up to the last answer is saved in {session.autosave.name}."
        else:
            self._page.saved = "This case does not save itself: what was not saved by hand is lost."

    def release(self) -> None:
        """Let go of the views."""
        self._page.where = lambda: None
        self._page.on_place = lambda key, place: None

    def resized(self) -> None:
        """The page has another size: one that comes again is still finding its own."""
        with self._stage.lock:
            if time.monotonic() < self._until:
                self._look_again()
                self._views.redraw()

    def _where(self) -> dict[str, Any] | None:
        with self._stage.lock:
            if not self._known or self._stage.session is None:
                return None
            display = asdict(self._views.display)
            window = display.pop("window")
            return {
                "cross": list(self._views.cross),
                "large": self._views.large,
                "window": [window["level"], window["width"]],
                "looks": {name: _look(view) for name, view in self._views.views.items()},
                "display": display,
            }

    def _go_back(self, key: str, place: Mapping[str, Any]) -> None:
        with self._stage.lock:
            if key != self._page.place or self._known:
                return
            self._known = True
            try:
                self._go(place)
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
                return  # nothing is kept, or it was kept by another version

    def _go(self, place: Mapping[str, Any]) -> None:
        cross = [int(n) for n in place["cross"]]
        level, width = (float(n) for n in place["window"])
        if not (isfinite(level) and isfinite(width) and width > 0 and len(cross) == 3):
            raise ValueError("no place")
        if place["large"] in PLANES and place["large"] != self._views.large:
            self._views.enlarge(place["large"])
        self._views.move_to(cross)
        self._looks, self._until = dict(place["looks"]), time.monotonic() + _SETTLING
        self._look_again()
        for field, value in place["display"].items():
            known = getattr(self._views.display, field)
            if type(known)(value) != known:
                self._display.set(field, type(known)(value))
        self._display.set_window(Window(level, width))  # draws everything

    def _look_again(self) -> None:
        """Show the parts of the slices that were shown; again when the page is still finding its size."""
        for name, look in self._looks.items():
            view = self._views.views[name]
            whole = _whole(view)
            if look is not None and whole is not None:
                column, row, zoom = (float(n) for n in look)
                if all(map(isfinite, (column, row, zoom))) and zoom > 0:
                    view.look(Region((column, row), zoom * whole.scale))


def _whole(view: SliceView) -> Region | None:
    """What a view shows of a whole slice; None without one."""
    plane = view.plane
    return None if plane is None else Region.whole(plane.shape, plane.spacing, view.size)


def _look(view: SliceView) -> list[float] | None:
    """The part of a slice that a view shows: centre, and how much larger than a whole one; None for a whole one."""
    whole = _whole(view)
    if whole is None or view.region == whole:
        return None
    return [float(n) for n in (*view.region.centre, view.region.scale / whole.scale)]
