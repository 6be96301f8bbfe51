"""Every keyboard shortcut and mouse gesture, in one table: the page listens to it and the help panel shows it.

A key is written as the browser names it (``KeyboardEvent.key``) in lower case, after ``ctrl+`` (also for Cmd),
``alt+`` and ``shift+`` in this order; ``shift+`` is written for letters and named keys only.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shortcut:
    """Keys that all start one action."""

    keys: tuple[str, ...]
    action: str
    text: str
    group: str


NAVIGATE, TOOLS, SEGMENT, DISPLAY, OTHER = "Navigate", "Tools", "Segment", "Display", "Session"

SHORTCUTS = (
    Shortcut(("arrowup", "arrowright"), "slice_up", "Next slice", NAVIGATE),
    Shortcut(("arrowdown", "arrowleft"), "slice_down", "Previous slice", NAVIGATE),
    Shortcut(("pageup",), "slice_up_10", "Ten slices on", NAVIGATE),
    Shortcut(("pagedown",), "slice_down_10", "Ten slices back", NAVIGATE),
    Shortcut(("+", "="), "zoom_in", "Zoom in", NAVIGATE),
    Shortcut(("-",), "zoom_out", "Zoom out", NAVIGATE),
    Shortcut(("0",), "fit", "Fit all views", NAVIGATE),
    Shortcut(("j",), "jump", "Go to a slice by its number", NAVIGATE),
    Shortcut(("m",), "next_layout", "Next view large", NAVIGATE),
    Shortcut(("p",), "tool_point", "Point", TOOLS),
    Shortcut(("r",), "tool_box", "Box", TOOLS),
    Shortcut(("s",), "tool_scribble", "Scribble", TOOLS),
    Shortcut(("l",), "tool_lasso", "Lasso", TOOLS),
    Shortcut(("b",), "tool_brush", "Brush", TOOLS),
    Shortcut(("e",), "tool_eraser", "Eraser", TOOLS),
    Shortcut(("/",), "tool_cut", "Cut along a line", TOOLS),
    Shortcut(("w",), "tool_ruler", "Ruler", TOOLS),
    Shortcut(("q",), "tool_statistics", "Statistics under a brush", TOOLS),
    Shortcut(("[",), "brush_smaller", "Smaller brush", TOOLS),
    Shortcut(("]",), "brush_larger", "Larger brush", TOOLS),
    Shortcut(("shift+w",), "clear_measures", "Clear rulers and statistics", TOOLS),
    Shortcut(("t",), "toggle_sign", "Left button: positive or negative", SEGMENT),
    Shortcut(("ctrl+z", "u"), "undo", "Undo", SEGMENT),
    Shortcut(("ctrl+y", "ctrl+shift+z"), "redo", "Redo", SEGMENT),
    Shortcut(("shift+r",), "reset", "Clear all prompts and edits of this object", SEGMENT),
    Shortcut(("n",), "new_object", "New object", SEGMENT),
    Shortcut(("o",), "next_object", "Next object", SEGMENT),
    Shortcut(("a",), "toggle_edits", "Edit the mask as a whole", SEGMENT),
    Shortcut(("f",), "toggle_doubt", "Where the network is unsure, as a heat map", SEGMENT),
    Shortcut(("y",), "look_next", "Go to the next unsure place", SEGMENT),
    Shortcut(("k",), "toggle_table", "Table of all objects", SEGMENT),
    Shortcut(("shift+k",), "toggle_compare", "Open another segmentation, compare two masks", SEGMENT),
    Shortcut(("g",), "toggle_growing", "Let masks grow beyond the cube", SEGMENT),
    Shortcut(("1",), "window_1", "Soft tissue window", DISPLAY),
    Shortcut(("2",), "window_2", "Lung window", DISPLAY),
    Shortcut(("3",), "window_3", "Bone window", DISPLAY),
    Shortcut(("4",), "window_4", "Brain window", DISPLAY),
    Shortcut(("5",), "window_5", "Liver window", DISPLAY),
    Shortcut(("6",), "window_fit", "Window that fits the image", DISPLAY),
    Shortcut(("v",), "toggle_masks", "Masks on or off", DISPLAY),
    Shortcut((",",), "opacity_down", "Masks more transparent", DISPLAY),
    Shortcut((".",), "opacity_up", "Masks more opaque", DISPLAY),
    Shortcut(("h",), "toggle_prompts", "Marks of prompts on or off", DISPLAY),
    Shortcut(("x",), "toggle_crosshair", "Crosshair on or off", DISPLAY),
    Shortcut(("c",), "toggle_cube", "Network's cube on or off", DISPLAY),
    Shortcut(("d",), "toggle_preview", "Masks in 3D", DISPLAY),
    Shortcut(("i",), "toggle_smooth", "Smooth or blocky voxels", DISPLAY),
    Shortcut(("shift+l",), "toggle_cases", "The worklist", OTHER),
    Shortcut(("shift+n",), "next_case", "Next case of the list as shown", OTHER),
    Shortcut(("shift+p",), "previous_case", "Previous case", OTHER),
    Shortcut(("shift+d",), "case_done", "This case is done", OTHER),
    Shortcut(("ctrl+s",), "save", "Save the session", OTHER),
    Shortcut(("ctrl+e",), "export", "Export the masks", OTHER),
    Shortcut(("?",), "toggle_help", "This panel", OTHER),
    Shortcut(("escape",), "close_panels", "Close this panel", OTHER),
)

GESTURES = (
    ("Left click", "Positive click: this belongs to the object"),
    ("Right or Ctrl+click", "Negative click: this does not"),
    ("Drag", "Draw with the tool that is chosen"),
    ("Right or Ctrl+drag", "Draw what does not belong; with the brush erase, with the eraser paint"),
    ("Wheel", "Scroll slices"),
    ("Shift+wheel", "Size of the brush"),
    ("Ctrl+wheel, pinch", "Zoom at the cursor"),
    ("Middle or Alt+drag", "Move the image"),
    ("Shift+drag", "Window: right widens, up raises the level, with any tool"),
    ("Shift+click", "Move the crosshair without a click"),
    ("Tab", "To the next button, menu or field"),
)

ACTIONS = {key: shortcut.action for shortcut in SHORTCUTS for key in shortcut.keys}

_NAMES = {
    "arrowup": "↑",
    "arrowright": "→",
    "arrowdown": "↓",
    "arrowleft": "←",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
    "-": "−",
}


def readable(key: str) -> str:
    """A key as a person writes it: ``"ctrl+shift+z"`` → ``"Ctrl+Shift+Z"``."""
    if key in ("+", "-"):
        return _NAMES.get(key, key)
    return "+".join(_NAMES.get(part, part.capitalize()) for part in key.split("+"))


def help_html() -> str:
    """The table as HTML, for the ? panel."""
    columns = [_group("Mouse", [(f"<kbd>{gesture}</kbd>", text) for gesture, text in GESTURES])]
    for group in (NAVIGATE, TOOLS, SEGMENT, DISPLAY, OTHER):
        rows = [
            (" ".join(f"<kbd>{readable(key)}</kbd>" for key in shortcut.keys), shortcut.text)
            for shortcut in SHORTCUTS
            if shortcut.group == group
        ]
        columns.append(_group(group, rows))
    return f'<div class="snb-help">{"".join(columns)}</div>'


def _group(title: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(f"<tr><td>{keys}</td><td>{text}</td></tr>" for keys, text in rows)
    return f"<section><h4>{title}</h4><table>{body}</table></section>"
