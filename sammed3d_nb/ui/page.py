"""The kernel's end of `page.js`: keys, size, clipboard, downloads, where the user was, and the page's heartbeat."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import traitlets
from anywidget import AnyWidget

from sammed3d_nb.ui.shortcuts import ACTIONS
from sammed3d_nb.ui.stage import Stage

_HERE = Path(__file__).parent
_SCRIPTS = ("viewer/keynames.js", "health.js", "access.js", "floating.js", "page.js")  # one module
_MOST_PAGES = 20  # of one app whose clicks are counted
_NEW_EVERY = 1.0  # seconds: all pages hear what one of them missed


class Page(AnyWidget):
    """An invisible widget that speaks for the page that shows the app.

    Attributes:
        hotkeys: Keys that the page shall send, as in `shortcuts`.
        size: Width and height that the app may use, and the height of the bar above the views, in CSS pixels; zeros
            before a page has reported.
        clipboard: What the copy button puts into the clipboard.
        ident: This widget's id, by which the page recognises a kernel that knows it.
        saved: What of the work is safe, in a sentence, for a page whose kernel is gone.
        case: Number of the case on the screen, for the page's address; -1 for none.
        place: Under which name the page keeps where the user was; ``""`` for nowhere.
    """

    # as text: given a path, anywidget watches the file and keeps every Page alive for ever
    _esm = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    _css = (_HERE / "app.css").read_text(encoding="utf-8")
    hotkeys = traitlets.List(traitlets.Unicode()).tag(sync=True)
    size = traitlets.List(traitlets.Int(), default_value=[0, 0, 0]).tag(sync=True)
    clipboard = traitlets.Unicode("").tag(sync=True)
    ident = traitlets.Unicode("").tag(sync=True)
    saved = traitlets.Unicode("").tag(sync=True)
    case = traitlets.Int(-1).tag(sync=True)
    place = traitlets.Unicode("").tag(sync=True)

    def __init__(self, stage: Stage) -> None:
        super().__init__(hotkeys=list(ACTIONS))
        self.ident = self.model_id
        self._act = stage.guarded(stage.act)
        self._copied = stage.guarded(lambda: stage.status.say("Copied the trace to the clipboard."))
        self._heard: dict[int, int] = {}  # how many clicks and keys have come, by page; who spoke last is last
        self._newly = False  # a page has spoken for the first time, and that was not told yet
        self._told_new = -_NEW_EVERY
        self.on_new: Callable[[], None] = lambda: None
        """Called when a page speaks for the first time, and hears all that is sent from now on; at most once a second,
        then at the next heartbeat of any page."""
        self.on_left: Callable[[], None] = lambda: None
        """Called when the page was left, and nobody can come back to this kernel."""
        self.on_press: Callable[[bool], None] = lambda blank: None
        """Called when a view was clicked, whatever it shows; with whether the page had nothing to show there yet."""
        self.where: Callable[[], dict[str, Any] | None] = lambda: None
        """Tells where the user is, None if there is nothing to keep."""
        self.on_place: Callable[[str, dict[str, Any]], None] = lambda key, place: None
        """Called with where the user was when the volume of that key was last shown in this browser."""
        self._told: dict[str, Any] | None = None
        self.on_msg(self._message)

    def _message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        match content:
            case {"type": "ping", "page": int(page), "sent": int(sent)}:
                self._newly = self._newly or page not in self._heard
                self._hear(page, 0)
                self._tell_new()
                heard = self._heard[page]
                self.send({"type": "pong", "page": page, "sent": sent, "heard": heard, **self._where()})
            case {"type": "key", "key": str(key)} if key in ACTIONS:
                self._count(content)
                self._act(ACTIONS[key])
            case {"type": "press"}:
                self._count(content)
                self.on_press(content.get("blank") is True)
            case {"type": "place", "key": str(key), "place": dict() | None as place}:
                self.on_place(key, place or {})
            case {"type": "copied"}:
                self._copied()
            case {"type": "left"}:
                self.on_left()

    def download(self, name: str, data: bytes) -> None:
        """Have the browser save a file."""
        self.send({"type": "download", "name": name}, buffers=[data])

    def focus(self, selector: str) -> None:
        """Give a control the focus, by its CSS selector within the app."""
        self.send({"type": "focus", "selector": selector})

    def _count(self, content: dict[str, Any]) -> None:
        page = content.get("page")
        if isinstance(page, int):
            self._hear(page, 1)

    def _hear(self, page: int, more: int) -> None:
        self._heard[page] = self._heard.pop(page, 0) + more
        while len(self._heard) > _MOST_PAGES:
            del self._heard[next(iter(self._heard))]

    def _tell_new(self) -> None:
        now = monotonic()
        if self._newly and now - self._told_new >= _NEW_EVERY:
            self._newly, self._told_new = False, now
            self.on_new()

    def _where(self) -> dict[str, Any]:
        """Where the user is, if that has changed since it was last told."""
        place = self.where() if self.place else None
        if place is None or place == self._told:
            return {}
        self._told = place
        return {"place": [self.place, place]}
