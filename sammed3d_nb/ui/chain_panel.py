"""The transform chain panel: the last click (or what is under the cursor) in every space, and the steps between."""

import html
import json
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np

from sammed3d_nb.readable import readable_number
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.objects import Result
from sammed3d_nb.spaces import Trace, TransformChain
from sammed3d_nb.ui.view import Pointer

_AXES = {
    "canvas": "x, y · slice",
    "plane": "column, row · slice",
    "array": "z, y, x",
    "voxel": "i, j, k",
    "lps": "x, y, z",
    "ras": "x, y, z",
    "cube": "d0, d1, d2",
    "grid": "d0, d1, d2",
    "upright": "S, P, L",
}
_DECIMALS = {"canvas": 1, "plane": 2, "array": 0, "voxel": 0, "lps": 2, "ras": 2, "cube": 2, "grid": 2, "upright": 0}


@dataclass(frozen=True)
class ClickPath:
    """A click's way from the screen to the network.

    Attributes:
        trace: Every space, for the centre of the voxel that was clicked; without ``canvas`` and ``plane`` for a click
            made by code.
        gesture: What was done, e.g. "click" or "lasso".
        positive: The click's sign; None for a mere look under the cursor.
        pointer: The mouse at the click itself, before it was rounded to a voxel; None for a click by code.
        distance_mm: From the click to the mask, 0 inside; None while there is no mask.
        cube: What the network sees, e.g. ``"128³ × 1.5 mm"``.
        network: Which network it is, and where it runs.
    """

    trace: Trace
    positive: bool | None = None
    pointer: Pointer | None = None
    distance_mm: float | None = None
    cube: str = ""
    network: str = ""
    gesture: str = "click"

    @classmethod
    def of(cls, result: Result, pointer: Pointer | None, model: Engine) -> "ClickPath":
        """The way of the click that a result answers; `pointer` is the mouse at that click, None for one by code."""
        cube = result.cube
        more = f", {len(result.cubes)} cubes" if len(result.cubes) > 1 else ""
        return cls(
            result.trace,
            positive=result.prompts[-1].positive,
            pointer=pointer,
            distance_mm=result.distance_mm,
            cube="" if cube is None else f"{cube.size}³ × {cube.spacing:.3g} mm → {model.spec.grid_size}³ cells{more}",
            network=model.described,
            gesture=result.prompts[-1].gesture,
        )

    @property
    def view(self) -> str:
        """The plane that was clicked, ``""`` for a click by code."""
        return "" if self.pointer is None else self.pointer.plane

    @property
    def raw(self) -> Trace | None:
        """The click itself in ``canvas`` and ``plane``, not rounded to a voxel."""
        if self.pointer is None:
            return None
        to_plane = self.pointer.chain[0]
        return TransformChain([to_plane], bounds=self.pointer.chain.bounds).trace(self.pointer.canvas)

    def to_json(self) -> str:
        """Everything as JSON, for a bug report."""
        raw = self.raw
        return json.dumps(
            {
                "view": self.view,
                "positive": self.positive,
                "clicked": None if raw is None else raw.to_dict(),
                "distance_mm": self.distance_mm,
                "cube": self.cube,
                "network": self.network,
                **self.trace.to_dict(),
            },
            indent=1,
        )


class ChainPanel:
    """The panel; `widget` shows it."""

    def __init__(self) -> None:
        self._html = widgets.HTML()
        self._matrices = widgets.ToggleButton(
            description="Matrices", tooltip="Show the 4×4 affine of every step", layout=widgets.Layout(width="auto")
        )
        self._matrices.observe(lambda change: self._render(), names="value")
        self._copy = widgets.HTML(
            '<button class="snb-copy jupyter-button" title="Copy the trace of the last click">Copy JSON</button>'
        )
        head = widgets.HBox([widgets.HTML("<h3>Transform chain</h3>"), self._matrices, self._copy])
        head.add_class("snb-panel-head")
        self.widget = widgets.VBox([head, self._html])
        self.widget.add_class("snb-panel")
        self.widget.add_class("snb-chain")
        self.clicked: ClickPath | None = None
        self._hovered: ClickPath | None = None
        self._render()

    def click(self, path: ClickPath | None) -> None:
        """Show the last click; None when there is none."""
        if path != self.clicked:  # else what is under the cursor stays in view
            self.clicked, self._hovered = path, None
            self._render()

    def hover(self, path: ClickPath | None) -> None:
        """Preview what is under the cursor; None to go back to the last click."""
        if path is not self._hovered:
            self._hovered = path
            self._render()

    def _render(self) -> None:
        path = self._hovered or self.clicked
        if path is None:
            text = '<p class="snb-hint">Click on an organ: its way from the screen to the network appears here.</p>'
        else:
            text = chain_html(path, self.clicked or path, matrices=self._matrices.value)
        if text != self._html.value:
            self._html.value = text


def chain_html(path: ClickPath, clicked: ClickPath, *, matrices: bool = False) -> str:
    """A path as an HTML table; every cell of coordinates carries ``data-space`` and ``data-point``.

    Args:
        path: What to show, e.g. the voxel under the cursor.
        clicked: The last click, whose mask and network are told below.
        matrices: Whether to show each step's 4×4 numbers instead of words.
    """
    signs = {None: "Under the cursor", True: f"Positive {path.gesture}", False: f"Negative {path.gesture}"}
    kind = signs[path.positive]
    sign = {None: "hover", True: "positive", False: "negative"}[path.positive]
    where = f" in {path.view}" if path.view else "" if "canvas" in path.trace else " by code"
    raw = path.raw
    rows = []
    for step in path.trace:
        shown = raw[step.space] if raw is not None and step.space in raw else step
        if step.matrix is not None:
            rows.append(_step_row(np.asarray(step.matrix), step.space, matrices=matrices))
        mark = {True: "in", False: "OUT", None: ""}[shown.inside]
        point = " ".join(f"{value:.6g}" for value in shown.point)
        unit = html.escape(shown.unit)
        rows.append(
            f'<tr class="snb-space"><th title="{_AXES.get(step.space, "")}">{html.escape(step.space)}</th>'
            f'<td data-space="{html.escape(step.space)}" data-point="{point}">{_numbers(step.space, shown.point)}</td>'
            f'<td class="snb-unit">{unit}</td><td class="snb-{mark.lower()}">{mark}</td></tr>'
        )
    facts = [("round trip error", f"{path.trace.round_trip_error:.1e} voxel")]
    if clicked.distance_mm is not None:
        facts.insert(0, ("click → mask", _distance(clicked.distance_mm)))
    if clicked.cube:
        facts.append(("network sees", clicked.cube))
    if clicked.network:
        facts.append(("network", clicked.network))
    foot = "".join(f"<tr><th>{name}</th><td data-fact='{name}'>{html.escape(text)}</td></tr>" for name, text in facts)
    return (
        f'<div class="snb-path snb-{sign}"><p class="snb-kind">{kind}{where}</p>'
        f"<table>{''.join(rows)}</table><table class='snb-facts'>{foot}</table></div>"
    )


def describe(matrix: np.ndarray[Any, Any]) -> str:
    """An affine in few words: which axes it exchanges and turns round, its scale and its offset."""
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    if np.count_nonzero(np.abs(linear) > 1e-9) != 3:
        scale = np.linalg.norm(linear, axis=0)
        words = ["turn"] if np.linalg.det(linear) > 0 else ["turn and mirror"]
    else:
        order = np.abs(linear).argmax(axis=1)
        values = linear[range(3), order]
        scale = np.abs(values)
        words = [] if list(order) == [0, 1, 2] else [f"axes {', '.join(str(axis) for axis in order)}"]
        flips = [str(axis) for axis in range(3) if values[axis] < 0]
        words += [f"flip {', '.join(flips)}"] if flips else []
    if not np.allclose(scale, 1, atol=1e-6):
        words.append("× " + (_short(scale[0]) if np.allclose(scale, scale[0]) else " ".join(map(_short, scale))))
    if not np.allclose(offset, 0, atol=1e-6):
        words.append("+ " + " ".join(map(_short, offset)))
    return " · ".join(words) or "the same"


def _step_row(matrix: np.ndarray[Any, Any], target: str, *, matrices: bool) -> str:
    note = "nearest voxel" if target == "array" else ""
    if matrices:
        cells = "".join("<tr>" + "".join(f"<td>{_short(value)}</td>" for value in row) + "</tr>" for row in matrix)
        body = f"{note}<table class='snb-matrix'>{cells}</table>"
    else:
        body = f"{note} · {describe(matrix)}" if note else describe(matrix)
    return f'<tr class="snb-step"><td>↓</td><td colspan="3">{body}</td></tr>'


def _numbers(space: str, point: tuple[float, ...]) -> str:
    decimals = _DECIMALS.get(space, 2)
    texts = [f"{value:.{decimals}f}" for value in point]
    if space in ("canvas", "plane"):
        texts[2] = f"{point[2]:.0f}"
    return "".join(f"<span>{text.replace('-', '−')}</span>" for text in texts)


def _short(value: float) -> str:
    return readable_number(value, 4) if abs(value) >= 1e-9 else "0"


def _distance(mm: float) -> str:
    if mm == 0:
        return "inside the mask"
    return f"{mm:.1f} mm away" if np.isfinite(mm) else "no mask"
