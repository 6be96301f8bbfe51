"""What the app says of clicks, objects and sessions."""

from typing import TYPE_CHECKING

from sammed3d_nb.session.objects import Result, SegmentedObject
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.chain_panel import ClickPath
from sammed3d_nb.ui.models import described
from sammed3d_nb.ui.objects_panel import readable_ml
from sammed3d_nb.ui.view import Pointer

if TYPE_CHECKING:
    from sammed3d_nb.models.model import Model


def greeting(session: Session) -> str:
    """What there is to say when a session comes onto the screen."""
    volume = session.volume
    size = " × ".join(str(n) for n in volume.size)
    found = sum(bool(item.local.count) for item in session.objects)
    if found:
        return f"{volume.name}: {size} voxels, resumed with {found} object{'s' if found > 1 else ''}."
    return f"{volume.name}: {size} voxels. Click on an organ."


def summary(item: SegmentedObject, result: Result | None) -> str:
    """The state of an object in one line."""
    if not item.clicks:
        return f"{item.name}: no clicks yet."
    count = f"{len(item.clicks)} click{'s' if len(item.clicks) > 1 else ''}"
    if result is None:
        return f"{item.name}: {count}."
    text = f"{item.name}: {readable_ml(result.volume_ml)} after {count}, predicted quality {result.quality:.2f}"
    if not result.seconds:  # resumed: nothing was computed
        return text + "."
    reused = " (embedding reused)" if result.embedding_reused else ""
    return f"{text}, {sum(result.seconds.values()):.2f} s{reused}."


def click_path(result: Result, pointer: Pointer | None, model: "Model") -> ClickPath:
    """A result as the chain panel shows it; `pointer` is the mouse at the click, None for one made by code."""
    cells, cube = model.spec.grid_size, result.cube
    more = f", {len(result.cubes)} cubes" if len(result.cubes) > 1 else ""
    return ClickPath(
        result.trace,
        positive=result.prompts[-1].positive,
        pointer=pointer,
        distance_mm=result.distance_mm,
        cube="" if cube is None else f"{cube.size}³ × {cube.spacing:.3g} mm → {cells}³ cells{more}",
        network=described(model),
    )


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers from 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
