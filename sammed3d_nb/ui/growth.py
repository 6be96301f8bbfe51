"""Whether masks may grow beyond the network's cube."""

from typing import Any

import ipywidgets as widgets

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.quiet import Quiet
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool


class Growth(Tool):
    """The switch; it stands among those of the display panel."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._quiet = Quiet()
        self.button = widgets.ToggleButton(
            description="Grow",
            tooltip="Ask neighbouring cubes when an object is larger than one (G)",
            layout=widgets.Layout(width="auto"),
        )
        self.button.observe(self._pressed, names="value")
        self.actions = {"toggle_growing": self.toggle}

    def toggle(self) -> None:
        """Let masks grow, or not, from the next click on."""
        session = self._stage.session
        if session is not None:
            session.grow = not session.grow
            self.refresh(session)

    def refresh(self, session: Session | None) -> None:
        """Show whether masks may grow."""
        if session is not None:
            with self._quiet:
                self.button.value = session.grow

    def _pressed(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self._stage.guarded(self.toggle)()
