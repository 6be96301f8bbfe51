"""The widget whose page draws the slices: the modules of `viewer` as one."""

import re
from pathlib import Path

import traitlets
from anywidget import AnyWidget

_HERE = Path(__file__).parent / "viewer"
_MODULES = (
    "able", "geometry", "codec", "outlines", "store", "marks", "picture", "gestures", "talk", "tools", "row",
    "keynames", "keys", "views",
)  # fmt: skip


def _module() -> str:
    """The modules of `viewer` as one, for a widget can only have one: each in a scope, after those that it imports."""
    scopes = []
    for name in _MODULES:
        text = (_HERE / f"{name}.js").read_text(encoding="utf-8")
        text = re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE)
        given = re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", text, flags=re.MULTILINE)
        text = re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)
        scope = f"const {{ {', '.join(given)} }} = (() => {{\n{text}\nreturn {{ {', '.join(given)} }};\n}})();"
        scopes.append(scope if given else text)
    return "\n".join(scopes)


class SliceViews(AnyWidget):
    """The widget. What can be switched without the kernel is a trait, so that controls can be linked to it."""

    _esm = _module()
    _css = (_HERE / "views.css").read_text(encoding="utf-8")
    opacity = traitlets.Float(0.35).tag(sync=True)
    masks = traitlets.Bool(True).tag(sync=True)
    contours = traitlets.Bool(True).tag(sync=True)
    prompts = traitlets.Bool(True).tag(sync=True)
    crosshair = traitlets.Bool(True).tag(sync=True)
    cube = traitlets.Bool(False).tag(sync=True)
    smooth = traitlets.Bool(True).tag(sync=True)


FLAGS = ("opacity", "masks", "contours", "prompts", "crosshair", "cube", "smooth")
