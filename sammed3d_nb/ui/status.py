"""The status line: what the app is doing, what went wrong in one sentence, and what is under the cursor."""

import html
import logging
from typing import Any

import ipywidgets as widgets
import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.readable import readable_number

log = logging.getLogger("sammed3d_nb.ui")


class StatusLine:
    """One line at the bottom of the app; `widget` shows it.

    A bar moves while something runs for more than 0.3 s. An error stays until the next thing succeeds.
    """

    def __init__(self) -> None:
        self._text = widgets.HTML(layout=widgets.Layout(flex="1 1 auto", min_width="0"))
        self._cursor = widgets.HTML(layout=widgets.Layout(flex="0 0 auto"))
        self.widget = widgets.HBox([self._text, self._cursor])
        self.widget.add_class("snb-status")
        self.message = ""
        self._doing: str | None = None
        self._aside = ""
        self._kind = "info"
        self.say("Ready")

    def say(self, message: str) -> None:
        """Show a plain message."""
        self._show(message, "info")

    def clear(self) -> None:
        """Show nothing: what was said is over."""
        self._show("", "info")
        self.under_cursor("")

    def warn(self, message: str) -> None:
        """Show something that the user should know, e.g. a gantry tilt."""
        self._show(message, "warning")

    def fail(self, error: BaseException) -> None:
        """Show an error as its one sentence; an unexpected one goes to the server's log in full."""
        if isinstance(error, UserError):
            self._show(str(error), "error")
        else:
            log.error("unexpected error", exc_info=error)
            self._show(f"Something unexpected went wrong ({type(error).__name__}: {error}). Nothing is lost.", "error")

    def doing(self, what: str | None) -> None:
        """Show what is being done; None when it is finished."""
        if what is None:
            self._aside = ""
        self._doing = what
        self._render()

    def aside(self, remark: str) -> None:
        """Show a remark beside what is being done, until that is finished."""
        self._aside = remark
        self._render()

    def under_cursor(self, text: str) -> None:
        """Show the position and value under the cursor."""
        if self._cursor.value != text:
            self._cursor.value = text

    def _show(self, message: str, kind: str) -> None:
        self.message, self._kind = message, kind
        self._render()

    def _render(self) -> None:
        if self._doing:
            aside = f'<span class="snb-warning">{html.escape(self._aside)}</span>' if self._aside else ""
            text = f'<span class="snb-doing">{html.escape(self._doing)}…</span><span class="snb-bar"></span>{aside}'
        else:
            words = html.escape(self.message)  # the tooltip tells what is cut
            text = f'<span class="snb-{self._kind}" role="status" title="{words}">{words}</span>'
        if self._text.value != text:
            self._text.value = text


def cursor_text(voxel: tuple[int, int, int], ras: Any, value: Any, unit: str) -> str:
    """The line for the value and position under the cursor: voxel i, j, k, RAS mm and intensity."""
    number = f"{value:d}".replace("-", "−") if isinstance(value, (int, np.integer)) else readable_number(value, 4)
    i, j, k = voxel
    x, y, z = (f"{coordinate:.1f}".replace("-", "−") for coordinate in ras)
    return (
        f'<span class="snb-dim">voxel</span> {i}, {j}, {k}'
        f' <span class="snb-dim">RAS</span> {x}, {y}, {z} mm'
        f" <b>{number}{' ' + html.escape(unit) if unit else ''}</b>"
    )
