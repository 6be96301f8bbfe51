"""What the app says of models, objects and sessions."""

from sammed3d_nb.models.model import Model
from sammed3d_nb.session.objects import Result, SegmentedObject
from sammed3d_nb.session.session import Session


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


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers from 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def readable_ml(volume: float) -> str:
    """Millilitres with three figures."""
    if not volume:
        return "–"
    return f"{volume:.0f} mL" if volume >= 100 else f"{volume:.3g} mL"


def described(model: Model) -> str:
    """A loaded model in a few words: name, device, precision and memory."""
    return f"{model.spec.name}, {model.device} {model.precision}, {model.megabytes:.0f} MB"
