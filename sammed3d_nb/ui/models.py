"""The model: loading it when it is first needed, and the menu to choose another one."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from sammed3d_nb.models import checkpoints, hub
from sammed3d_nb.models import model as models
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import Menu
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool

DEFAULT = "compact"
GIVEN = "given"
"""Stands for a model that a program handed over; it need not come from a file."""


class Models(Tool):
    """Loads the model, and changes it.

    Args:
        stage: What the tools share.
        model: The model that answers, or what `load_model` takes; None for the default one.
        folder: Folder with more models for the menu.
    """

    def __init__(self, stage: Stage, model: Engine | str | None, folder: str | Path | None) -> None:
        self._stage, self._folder = stage, folder
        self._needed = False  # from then on there is something to choose, also when it could not be loaded
        self._source = model if isinstance(model, str) else DEFAULT if model is None else GIVEN
        self.on_loaded: Callable[[], bool] = lambda: False
        """Called after another model was loaded; True if it has said all that there is to say."""
        if model is not None and not isinstance(model, str):
            stage.model, self._needed = model, True
        self.menu = Menu("Model", stage.guarded(self.choose))
        self.bar = (self.menu.widget,)

    def load(self) -> Engine:
        """The model that answers, loaded if this is the first time that it is needed."""
        self._needed = True
        model = self._stage.model
        if model is None:
            model = self._stage.model = models.load_model(self._source)
        return model

    def choose(self, source: str) -> "Future[None]":
        """Change the model in the background; all clicks are kept and predicted again.

        Args:
            source: As `load_model` takes it.
        """

        def job() -> None:
            model = models.load_model(source)
            session = self._stage.session
            if session is not None:
                session.set_model(model)
            self._stage.model, self._source, self._needed = model, source, True
            if not self.on_loaded():
                self._stage.tell(session, f"{model.described} answers now.")

        return self._stage.run(f"Loading {Path(source).name}", job)

    def refresh(self, session: Session | None) -> None:
        """Show what there is to choose from."""
        if self._needed:
            self.menu.fill(choices(self._folder, self._source, self._stage.model), self._source)


def choices(folder: str | Path | None, chosen: str, loaded: Engine | None) -> Sequence[tuple[str, str]]:
    """What the menu offers, as (label, source for `load_model`).

    Args:
        folder: Folder with more checkpoints.
        chosen: The source in use, listed too if it is none of the others.
        loaded: The model in use.
    """
    found = {DEFAULT: "Compact (default)"}
    for name, known in hub.PUBLISHED.items():
        found[name] = known.title + ("" if hub.cached(name) else f" (download {known.megabytes} MB)")
    for path in checkpoints.listing(folder) if folder else ():
        found[str(path)] = path.name
    if chosen not in found:
        found[chosen] = loaded.spec.name if chosen == GIVEN and loaded is not None else Path(chosen).name
    return [(label, source) for source, label in found.items()]
