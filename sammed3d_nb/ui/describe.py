"""What the app says of models, objects and sessions."""

import itertools
import weakref

from sammed3d_nb.readable import readable_ml
from sammed3d_nb.segmenters.prompts import Prompt
from sammed3d_nb.session.objects import Said, SegmentedObject
from sammed3d_nb.session.session import Session


def greeting(session: Session) -> str:
    """What there is to say when a session comes onto the screen."""
    volume = session.volume
    size = " × ".join(str(n) for n in volume.size)
    found = sum(bool(item.local.count) for item in session.objects)
    if found:
        return f"{volume.name}: {size} voxels, resumed with {_counted(found, 'object')}."
    return f"{volume.name}: {size} voxels. Click on an organ."


def summary(session: Session, seconds: float | None = None) -> str:
    """The state of the current object in one line; `seconds` is how long the user waited for it, if that is known."""
    item, result = session.current, session.result
    if item.said is None:
        return f"{item.name}: no clicks yet."
    prompts, clicks, edits = len(item.prompts), len(item.clicks), len(item.history) - len(item.prompts)
    done = [_counted(prompts, "click" if clicks == prompts else "prompt")] if prompts else []
    done += [_counted(edits, "edit")] if edits else []
    text = f"{item.name}: {readable_ml(item.local.volume_ml(session.volume.spacing))} after {' and '.join(done)}"
    if result is None:
        return text + "."
    if result.quality is not None:
        text += f", predicted quality {result.quality:.2f}"
    if seconds is None:
        return text + "."
    return f"{text}, {seconds:.2f} s."


def prompts_of(item: SegmentedObject) -> dict[str, Said]:
    """An object's prompts in order, by names that are theirs alone: no later prompt gets that of a removed one."""
    return {
        f"{item.key} {said.action.kind} {_serial(said.action)}": said
        for said in item.history
        if isinstance(said.action, Prompt)
    }


_serials: dict[int, int] = {}  # by the identity of prompts that are alive
_next_serial = itertools.count(1)


def _serial(prompt: Prompt) -> int:
    """A number that this very prompt keeps in this process, through undo and another model too."""
    if id(prompt) not in _serials:
        _serials[id(prompt)] = next(_next_serial)
        weakref.finalize(prompt, _serials.pop, id(prompt), None).atexit = False
    return _serials[id(prompt)]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers from 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
