"""How long an app lives: as long as a variable holds it, or the output of the cell that made it.

ipywidgets registers every widget globally, so an app that nobody can reach any more would stay for ever, with its
volume. Therefore the `App` that a program holds is a mere handle, to which nothing inside refers: when it goes, the
rest ends. A cell that shows ``App(volume).widget`` keeps no handle; it is held here until the cell is run again. The
widget alone, which IPython keeps in ``Out`` and ``_``, holds nothing.
"""

import sys
import weakref
from collections.abc import Callable
from typing import Any

_held: dict[str, list[object]] = {}  # by cell


def live(app: object, end: Callable[[], None]) -> "weakref.finalize[[], Any]":
    """Call `end` when nobody holds the app any more; `end` must not refer to the app."""
    ending = weakref.finalize(app, end)
    ending.atexit = False  # the process gives back everything
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "get_parent"):  # a kernel's
        if _run_again not in shell.events.callbacks["pre_run_cell"]:
            shell.events.register("pre_run_cell", _run_again)
        _held.setdefault(_cell(shell.get_parent()), []).append(app)
    return ending


def let_go(app: object) -> None:
    """Hold an app no longer: it has been ended."""
    for apps in _held.values():
        if app in apps:
            apps.remove(app)


def _cell(request: Any) -> str:
    """The cell that a request runs: its id where the page tells one, else its text."""
    return str(request.get("metadata", {}).get("cellId") or request.get("content", {}).get("code", ""))


def _run_again(cell: Any) -> None:
    """A cell is about to run: its output goes, and so may the apps in it."""
    _held.pop(cell.cell_id or cell.raw_cell, None)
