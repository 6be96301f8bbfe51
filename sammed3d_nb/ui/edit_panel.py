"""Operations on the current object's mask: each is shown before it is applied, and follows its sliders."""

import math
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.readable import readable_ml
from sammed3d_nb.session.edits import WITH_ANOTHER
from sammed3d_nb.session.operations import near_range
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.describe import rgb, summary
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.quiet import Quiet
from sammed3d_nb.ui.scene import EXTRA
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.stroke import RULER, Armed, Stroke
from sammed3d_nb.ui.tabs import Tab, same
from sammed3d_nb.ui.tool_row import ToolRow
from sammed3d_nb.ui.view import Shown

COLOURS = ("#ff4dff", "#00ff9d")
"""Of a preview: the one that is farther from the object's own."""
COPY, CUT = "copy", "cut"


@dataclass(frozen=True)
class _Choice:
    """A button: what it does, which of the panel's controls it has, and where its slider of millimetres begins."""

    text: str
    tooltip: str
    controls: tuple[str, ...] = ()
    mm: float = 0.0


_CHOICES = {
    "threshold": _Choice("Threshold", "Keep a range of intensities, in and round the mask", ("range", "beyond_mm")),
    "fill": _Choice("Fill", "Add what hangs together with the voxel at the crosshair", ("range", "mm"), 30.0),
    "grow": _Choice("Grow", "Add a margin", ("mm",), 2.0),
    "shrink": _Choice("Shrink", "Take a margin away", ("mm",), 2.0),
    "smooth": _Choice("Smooth", "Round off corners and steps", ("sigma_mm",), 1.5),
    CUT: _Choice("Cut", "Draw a line across the mask: the side without positive clicks goes, else the smaller one"),
    "fill holes": _Choice("Holes", "Fill holes", ("axis",)),
    "largest component": _Choice("Largest", "Keep the largest part alone"),
    "keep clicked": _Choice("Clicked", "Keep the parts with a positive click"),
    "interpolate slices": _Choice("Between", "Fill empty slices between drawn ones", ("axis",)),
    "merge": _Choice("Merge", "Another object becomes part of this one", ("other",)),
    "subtract": _Choice("Subtract", "Take another object's voxels away", ("other",)),
    "intersect": _Choice("Intersect", "Keep what another object has too", ("other",)),
    COPY: _Choice("Copy", "A new object with this mask, which may share voxels with others"),
}  # fmt: skip


class EditPanel(Tab):
    """The panel.

    Args:
        stage: What the tools share.
        views: Where the mask after the operation is shown before it is applied.
        row: Where the tool that draws the line to cut along is chosen.
    """

    title, tooltip, action = "Edit", "Operations on the mask, shown before they are applied (A)", "toggle_edits"

    def __init__(self, stage: Stage, views: OrthoViews, row: ToolRow) -> None:
        self._stage, self._views, self._row = stage, views, row
        self._line: Stroke | None = None  # to cut along
        self._asked = 0  # previews asked for; an older one is not shown
        self._waiting = False
        self._of: tuple[Any, ...] = ()  # what the preview was made of
        self._mm = {name: choice.mm for name, choice in _CHOICES.items()}
        self._touched = False  # the range was set by hand
        self._quiet = Quiet()
        self.choice = widgets.ToggleButtons(
            options=[(choice.text, name) for name, choice in _CHOICES.items()],
            value=None,
            tooltips=[choice.tooltip for choice in _CHOICES.values()],
            style=widgets.ToggleButtonsStyle(button_width="auto"),
        )
        self.choice.add_class("snb-operations")
        self.mm = widgets.FloatSlider(2.0, min=0.0, max=50.0, step=0.5, readout_format=".1f", **_named("mm"))
        self.range = widgets.FloatRangeSlider(value=(0.0, 1.0), min=0.0, max=1.0, **_named("Range"))
        self.axis = widgets.Dropdown(options=[("3-D", None)], **_named("In"))
        self.other = widgets.Dropdown(options=[], **_named("With"))
        for control, tooltip in (
            (self.mm, "Millimetres"),
            (self.range, "Lowest and highest intensity"),
            (self.axis, "In 3-D, or slice by slice"),
            (self.other, "The other object"),
        ):
            control.tooltip = tooltip
            control.observe(stage.guarded(self._moved), names="value")
        self.told = widgets.HTML()
        self.told.add_class("snb-told")
        self.apply = self._button("Apply", "Take the step", "apply", self.take)
        self.cancel = self._button("Cancel", "Leave the mask as it is", "cancel", self.leave)
        foot = widgets.HBox([self.told, self.apply, self.cancel])
        foot.add_class("snb-foot")
        self.panel = widgets.VBox([self.choice, self.mm, self.range, self.axis, self.other, foot])
        self.choice.observe(stage.guarded(lambda change: self._chosen()), names="value")
        row.add(Armed(CUT, RULER, says="yes"), "Cut", _CHOICES[CUT].tooltip, self._drawn)
        views.followers.append(stage.guarded(self._crossed))
        self._arrange()

    # -- what the user does ------------------------------------------------------------------------------------------

    def choose(self, operation: str | None) -> None:
        """Choose an operation by its name in `Session.apply`, or "copy"; None for none."""
        self.choice.value = operation

    def take(self) -> None:
        """Apply the operation as it is shown."""
        name = self.choice.value
        if name is None:
            raise UserError("Choose an operation first; what it would do is shown then.")
        options = self._options()
        session = self._stage.ready()

        seen: list[str] = []

        def job(session: Session) -> None:
            seen.extend(self._row.show_current(session))
            if name == COPY:
                session.copy()
            else:
                seen.extend(session.left(session.apply(name, **options)))

        self.choose(None)
        self._stage.change("Editing", job, notes=lambda _: seen, message=lambda _: summary(session))

    def _drawn(self, stroke: Stroke) -> None:
        """A line to cut along."""
        if len(stroke.canvas) < 2:
            raise UserError("A cut needs a line; press at one end, and let go at the other.")
        self._line = stroke
        if not self.open:
            self._stage.act(self.action)
        if self.choice.value == CUT:
            self._preview()
        else:
            self.choose(CUT)

    def leave(self) -> None:
        """Show nothing any more; a preview on its way is not shown."""
        self.choose(None)

    # -- of the stage ------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """A closed panel shows no preview."""
        if not self.open:
            self.leave()

    def show(self, session: Session) -> None:
        """Another volume: nothing is chosen, and the sliders are of its intensities and planes."""
        self.leave()
        self._touched = False
        array = session.volume.array[:: max(1, session.volume.size[2] // 40)]
        low, high = float(array.min()), float(array.max())
        whole = np.issubdtype(array.dtype, np.integer)
        with self._quiet:
            self.range.min = min(self.range.min, low)  # no end may pass the other on its way
            self.range.max = max(high, low + 1)
            self.range.min = low
            self.range.value = (self.range.min, self.range.max)
            self.range.step = 1.0 if whole else (high - low) / 500 or 0.01
            decimals = 0 if whole else max(0, 2 - math.floor(math.log10(self.range.max - low)))
            self.range.readout_format = f".{min(decimals, 6)}f"
            planes = [(f"{name} slices", view.plane) for name in PLANES if (view := self._views.views[name])]
            self.axis.options = [("3-D", None), *((text, "ijk"[plane.axes[2]]) for text, plane in planes if plane)]

    def refresh(self, session: Session | None) -> None:
        """Follow what has changed: other objects to choose from, another mask to show the operation on."""
        if session is None:
            return
        names = [item.name for item in session.objects if item.key != session.current.key and item.local.count]
        if tuple(names) != tuple(self.other.options):
            with self._quiet:
                before = self.other.value
                self.other.options = names
                self.other.value = before if before in names else next(iter(names), None)
        if self.choice.value is not None and not same(self._state(session), self._of):
            self._preview()

    def release(self) -> None:
        """Show nothing any more."""
        self._asked += 1

    # -- inside ------------------------------------------------------------------------------------------------------

    def _button(self, text: str, tooltip: str, name: str, press: Any) -> widgets.Button:
        button = widgets.Button(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))
        button.add_class(f"snb-edit-{name}")
        button.on_click(lambda _: self._stage.guarded(press)())
        return button

    def _chosen(self) -> None:
        name = self.choice.value
        self._arrange()
        self._clear()
        if name != CUT:
            self._line = None
            if self._views.armed.name == CUT:
                self._arm_again(self._views.armed_before)
        elif self._line is None:
            self._row.choose(CUT)
        if name is None:
            return
        with self._quiet:
            self.mm.min = 0.0 if name == "threshold" else 0.5
            self.mm.value = self._mm[name]
        self._touched = False
        self._suggest()
        self._preview()

    def _arm_again(self, name: str) -> None:
        """Back to the tool of before the cut, or to one that every model takes."""
        try:
            self._row.choose(name)
        except UserError:
            self._row.choose("point")

    def _arrange(self) -> None:
        """Show the controls of what is chosen."""
        name = self.choice.value
        controls = _CHOICES[name].controls if name else ()
        needed = {"mm" if control.endswith("mm") else control for control in controls}
        for control in ("mm", "range", "axis", "other"):
            getattr(self, control).layout.display = "flex" if control in needed else "none"
        self.mm.description = "± mm" if name == "smooth" else "mm"
        self.apply.disabled = self.cancel.disabled = name is None

    def _moved(self, change: dict[str, Any]) -> None:
        if self._quiet or self.choice.value is None:
            return
        self._mm[self.choice.value] = self.mm.value
        self._touched |= change["owner"] is self.range
        self._preview()

    def _crossed(self) -> None:
        """The crosshair has moved: filling begins there."""
        if self.choice.value == "fill":
            self._suggest()
            self._preview()

    def _suggest(self) -> None:
        """A range to begin with: of the mask, or of what lies round the crosshair."""
        session = self._stage.session
        if session is None or self._touched or "range" not in _CHOICES[self.choice.value].controls:
            return
        local, volume = session.current.local, session.volume
        if self.choice.value == "fill":
            found = near_range(volume, self._views.cross)
        elif local.count:
            thin = slice(None, None, max(1, local.region.shape[0] // 40))
            values = volume.array[local.region.slices][thin][local.values[thin] > 0]
            low, high = np.percentile(values, (2, 98)) if values.size else (self.range.min, self.range.max)
            found = float(low), float(high)
        else:
            return
        with self._quiet:
            self.range.value = tuple(np.clip(found, self.range.min, self.range.max).tolist())

    def _options(self) -> dict[str, Any]:
        """What is asked of the operation, as `Session.apply` takes it."""
        name = self.choice.value
        options: dict[str, Any] = {}
        for control in _CHOICES[name].controls:
            if control == "range":
                ends = (self.range.min, self.range.max)  # a handle at its end is no bound
                bounds = (None if at == end else at for at, end in zip(self.range.value, ends, strict=True))
                options["lower"], options["upper"] = bounds
                if name == "fill" and options["lower"] is options["upper"] is None:  # else filling finds a range itself
                    options["lower"] = float(self._stage.ready().volume.array.min())
            elif control.endswith("mm"):
                options[control] = self.mm.value
            else:
                options[control] = getattr(self, control).value
        if name == CUT:
            if self._line is None:
                raise UserError("There is no line to cut along; draw one across the mask on a view.")
            first, last = self._line.places[[0, -1]].round(3).tolist()
            options |= {"first": first, "last": last, "axis": "ijk"[self._line.axis]}
        if name == "fill":
            options["at"] = tuple(int(n) for n in self._views.cross)
        if name in WITH_ANOTHER and not options["other"]:
            raise UserError(f"There is no other object with a mask to {name} with; make one first.")
        return options

    def _state(self, session: Session) -> tuple[Any, ...]:
        return session.current.key, session.current.local, self.other.value

    def _preview(self) -> None:
        """Show what the operation would make of the mask, worked out in the background; only the newest counts."""
        session = self._stage.session
        if session is None:
            return
        if self.choice.value == CUT and self._line is None:
            self.told.value = "Draw a line across the mask on a view."
            self.apply.disabled = True
            return
        self._asked += 1
        self._of = self._state(session)
        if not self._waiting:
            self._waiting = True
            self._stage.worker.submit("Working out the preview", lambda: self._work(session))

    def _work(self, session: Session) -> None:
        stage = self._stage
        with stage.lock:
            self._waiting = False
            asked, name = self._asked, self.choice.value
            if name is None or stage.session is not session:
                return None
            try:
                options = self._options()
            except UserError as error:
                return self._tell_why(error)
        try:
            mask = session.current.local if name == COPY else session.mask_after(name, **options)
        except UserError as error:
            with stage.lock:
                return self._tell_why(error) if asked == self._asked else None
        with stage.lock:
            if asked != self._asked or stage.session is not session:
                return None  # cancelled, or something newer was asked for
            before = session.current
            self._views.extras["edit"] = [Shown(mask, _colour(before.colour), name=f"{EXTRA}edit")]
            ml = [local.volume_ml(session.volume.spacing) for local in (before.local, mask)]
            self.told.value = f"{readable_ml(ml[0])} → <b>{readable_ml(ml[1])}</b>"
            self.apply.disabled = False
            stage.refresh()
        return None

    def _tell_why(self, error: UserError) -> None:
        """Nothing can be shown, and this is why."""
        self._clear()
        self.apply.disabled = True
        self._stage.status.fail(error)

    def _clear(self) -> None:
        self._asked += 1
        self.told.value = ""
        if self._views.extras.pop("edit", None) is not None:
            self._stage.refresh()


def _colour(of: str) -> tuple[int, int, int]:
    """The preview's colour that is farther from an object's."""
    own = np.array(rgb(of))
    return max((rgb(colour) for colour in COLOURS), key=lambda one: float(np.abs(own - one).sum()))


def _named(text: str) -> dict[str, Any]:
    """How a control looks; each has a layout of its own, for it comes and goes."""
    return {
        "description": text,
        "style": {"description_width": "46px"},
        "layout": widgets.Layout(width="auto", display="none"),
    }
