"""Closing widgets with everything that belongs to them."""

from typing import Any


def close_tree(widget: Any) -> None:
    """Close a widget, its children, and the layouts and styles that ipywidgets would leave open."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    for owned in (getattr(widget, "layout", None), getattr(widget, "style", None), widget):
        if owned is not None:
            owned.close()
    if hasattr(widget, "children"):
        widget.children = ()  # a notebook keeps what a cell has shown: let that hold nothing more
