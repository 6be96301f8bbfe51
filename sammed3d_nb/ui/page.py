"""The kernel's end of `page.js`: keys, size, clipboard, downloads and the heartbeat of the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets
from anywidget import AnyWidget

from sammed3d_nb.ui.shortcuts import ACTIONS
from sammed3d_nb.ui.stage import Stage

_HERE = Path(__file__).parent


class Page(AnyWidget):
    """An invisible widget that speaks for the page that shows the app.

    Attributes:
        hotkeys: Keys that the page shall send, as in `shortcuts`.
        size: Width and height that the app may use, in CSS pixels; (0, 0) before a page has reported.
        clipboard: What the copy button puts into the clipboard.
    """

    # as text: given a path, anywidget watches the file and keeps every Page alive for ever
    _esm = (_HERE / "page.js").read_text(encoding="utf-8")
    _css = (_HERE / "app.css").read_text(encoding="utf-8")
    hotkeys = traitlets.List(traitlets.Unicode()).tag(sync=True)
    size = traitlets.List(traitlets.Int(), default_value=[0, 0]).tag(sync=True)
    clipboard = traitlets.Unicode("").tag(sync=True)

    def __init__(self, stage: Stage) -> None:
        super().__init__(hotkeys=list(ACTIONS))
        self._act = stage.guarded(stage.act)
        self._copied = stage.guarded(lambda: stage.status.say("Copied the trace to the clipboard."))
        self.on_left: Callable[[], None] = lambda: None
        """Called when the page was left, and nobody can come back to this kernel."""
        self.on_msg(self._message)

    def _message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        match content:
            case {"type": "ping"}:
                self.send({"type": "pong"})
            case {"type": "key", "key": str(key)} if key in ACTIONS:
                self._act(ACTIONS[key])
            case {"type": "copied"}:
                self._copied()
            case {"type": "left"}:
                self.on_left()

    def download(self, name: str, data: bytes) -> None:
        """Have the browser save a file."""
        self.send({"type": "download", "name": name}, buffers=[data])
