"""What a page missed while it loaded: it is handed all widgets as they were, and is told changes only later."""

from typing import Any

_WHAT_STAYS = ("_model_", "_view_", "_esm", "_css", "_data_url")  # beginnings of names: kind, code and pictures


def catch_up(widget: Any) -> None:
    """Send the state of a widget, its children, and their layouts and styles once more; not what stays."""
    for shown in (widget, getattr(widget, "layout", None), getattr(widget, "style", None)):
        if shown is not None:
            shown.send_state([key for key in shown.keys if not key.startswith(_WHAT_STAYS)])
    for child in getattr(widget, "children", ()):
        catch_up(child)
