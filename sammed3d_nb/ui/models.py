"""The menu of models: the default, published ones, files of a folder, and what is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sammed3d_nb.models import checkpoints, hub

if TYPE_CHECKING:
    from sammed3d_nb.models.model import Model

DEFAULT = "compact"
GIVEN = "given"
"""Stands for a model that a program handed over; it need not come from a file."""


def choices(folder: str | Path | None, chosen: str, loaded: "Model | None") -> Sequence[tuple[str, str]]:
    """What the menu offers, as (label, source for `load_model`).

    Args:
        folder: Folder with more checkpoints.
        chosen: The source in use, listed too if it is none of the others.
        loaded: The model in use.
    """
    found = {DEFAULT: "Compact (default)"}
    for name, known in hub.KNOWN.items():
        found[name] = known.title + ("" if hub.cached(name) else f" (download {known.megabytes} MB)")
    for path in checkpoints.listing(folder) if folder else ():
        found[str(path)] = path.name
    if chosen not in found:
        found[chosen] = loaded.spec.name if chosen == GIVEN and loaded is not None else Path(chosen).name
    return [(label, source) for source, label in found.items()]


def described(model: "Model") -> str:
    """A loaded model in a few words: name, device, precision and memory."""
    return f"{model.spec.name}, {model.device} {model.precision}, {model.megabytes:.0f} MB"
