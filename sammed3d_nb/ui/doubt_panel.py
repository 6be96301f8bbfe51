"""Where the network is unsure: a heat map over the slices, and going to the places worth a look."""

import html
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.segmenters.doubt import Doubt
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.describe import rgb
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.scene import EXTRA
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tabs import Tab, same
from sammed3d_nb.ui.view import Shown

BANDS = ((0.1, "#420a68"), (0.25, "#932667"), (0.4, "#c73e4c"), (0.55, "#ed6925"), (0.7, "#fb9b06"), (0.85, "#f7d13d"))
"""Doubt from which a voxel has a colour: a heat map in steps, so that it travels and is drawn as masks are. Colours of
matplotlib's inferno."""


class DoubtPanel(Tab):
    """The heat map while it is open, its legend, and “look next”.

    Args:
        stage: What the tools share.
        views: Where the heat map is drawn and the crosshair jumps.
    """

    title, tooltip, action = "Doubt", "Where the network is unsure, as a heat map (F)", "toggle_doubt"

    def __init__(self, stage: Stage, views: OrthoViews) -> None:
        self._stage, self._views = stage, views
        self._of: tuple[Any, ...] = ()  # what the map on the views is of
        next_place = widgets.Button(description="Look next", tooltip="To the most unsure place, then the next (Y)")
        next_place.layout.width = "auto"
        next_place.add_class("snb-look-next")
        next_place.on_click(lambda _: stage.guarded(stage.act)("look_next"))
        steps = "".join(f'<i style="background:{colour}"></i>' for _, colour in BANDS)
        self.told = widgets.HTML()
        legend = widgets.HTML(f'<span class="snb-heat">sure {steps} unsure</span>')
        row = widgets.HBox([legend, next_place])
        row.add_class("snb-foot")
        self.panel = widgets.VBox([row, self.told])
        self.actions = {"look_next": self._look}

    def opened(self) -> None:
        """Show the heat map, or no longer."""
        self._of = ()
        session = self._stage.session
        if not self.open:
            self.told.value = ""
            if self._views.extras.pop("doubt", None) is not None:
                self._stage.refresh()
        elif session is not None:
            if not self._views.display.masks:
                self._stage.act("toggle_masks")
                self._stage.remark("The masks were hidden and are shown again, for the heat map is drawn with them.")
            self._ask(session)

    def show(self, session: Session) -> None:
        """Another volume: nothing is known of it."""
        self._of = ()

    def refresh(self, session: Session | None) -> None:
        """Another answer, object or edit: the map is asked for anew."""
        if self.open and session is not None and not same(_state(session), self._of):
            self._ask(session)

    def _ask(self, session: Session) -> None:
        state = self._of = _state(session)

        def job() -> None:
            try:
                doubt, why = session.local_doubt(), ""
            except UserError as error:
                doubt, why = None, str(error)
            bands = [] if doubt is None else _bands(doubt)
            with self._stage.lock:
                if not self.open or state is not self._of or self._stage.session is not session:
                    return
                self.told.value = f'<p class="snb-hint">{html.escape(why)}</p>' if why else ""
                if bands or self._views.extras.get("doubt"):
                    self._views.extras["doubt"] = bands
                    self._stage.refresh()

        self._stage.worker.submit("Asking how sure the network is", job)

    def _look(self) -> None:
        def job(session: Session) -> str:
            place = session.look_next()
            if place is None:
                return "No other place is unsure; the next time the first one comes again."
            with self._stage.lock:
                if self._stage.session is session:
                    self._views.move_to(place.at)
            return f"Look here: the network is unsure round voxel {', '.join(map(str, place.at))}. Y goes on."

        self._stage.background("Looking where the network is unsure", job)


def _bands(doubt: Doubt) -> list[Shown]:
    masks = [(number, colour, doubt.above(level)) for number, (level, colour) in enumerate(BANDS)]
    return [
        Shown(mask, rgb(colour), name=f"{EXTRA}doubt {number}", outline=False)
        for number, colour, mask in masks
        if mask.count
    ]


def _state(session: Session) -> tuple[Any, ...]:
    item = session.current
    return item.key, item.local, item.said, session.model, *(one.local for one in session.objects)
