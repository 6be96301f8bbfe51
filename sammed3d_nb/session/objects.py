"""What a session holds: named objects, the result of each click, and the states that undo returns to."""

from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.predictor import Click, Prediction
from sammed3d_nb.spaces import Trace

COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#fabed4")
"""Colours of objects in the order they are made; well apart from each other and from grey."""


@dataclass(frozen=True)
class Result:
    """The answer to a click.

    Attributes:
        local: The mask, stored only where it lies.
        trace: The click's path through every space.
        distance_mm: From the clicked voxel to the mask: 0 inside it, infinite if the mask is empty.
        quality: The network's own estimate of the mask's IoU.
        volume_ml: Volume of the mask.
        clicks: All clicks of the object so far.
        cube: The cube that answered the click.
        cubes: Every cube that was asked for the mask.
        seconds: Time spent on "encode", "decode", "home" (bringing the mask home) and "other".
        embedding_reused: Whether no cube had to be encoded.
        model: Name and fingerprint (or None) of the model that answered.
        grow: Whether neighbouring cubes could be asked.
        adapt: Whether finer and coarser cubes could be asked.
        spared: What was left out of the mask because it belongs to locked objects.
    """

    local: LocalMask
    trace: Trace
    distance_mm: float
    quality: float
    volume_ml: float
    clicks: tuple[Click, ...]
    cube: Cube
    cubes: tuple[Cube, ...]
    seconds: dict[str, float]
    embedding_reused: bool
    model: tuple[str, str | None]
    grow: bool
    adapt: bool
    spared: LocalMask

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x) on the volume's own grid, 1 inside the object; a new array at each call."""
        return self.local.full


@dataclass(frozen=True)
class SegmentedObject:
    """One named object and what has been clicked for it.

    Attributes:
        name: Unique in its session.
        colour: ``#rrggbb``.
        local: Its mask, stored only where it lies.
        locked: Whether later objects must leave its voxels alone, and changes of it are refused.
        visible: Whether to draw it.
        clicks: In order.
        result: The answer to its last click; None before the first one.
        prediction: What to go on from at the next click; None if it has to be computed again.
    """

    name: str
    colour: str
    local: LocalMask
    locked: bool = False
    visible: bool = True
    clicks: tuple[Click, ...] = ()
    result: Result | None = None
    prediction: Prediction | None = field(default=None, repr=False)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x) on the volume's own grid, 1 inside; a new array at each call."""
        return self.local.full

    @property
    def quality(self) -> float | None:
        """The network's own estimate of the mask's IoU; None without a prediction."""
        return None if self.result is None else self.result.quality


@dataclass(frozen=True)
class State:
    """Everything that undo brings back."""

    objects: tuple[SegmentedObject, ...]
    current: int

    def index(self, name: str) -> int:
        """Number of the object of this name.

        Raises:
            UserError: There is none.
        """
        names = [item.name for item in self.objects]
        if name not in names:
            raise UserError(f"There is no object “{name}”; there are {', '.join(f'“{known}”' for known in names)}.")
        return names.index(name)

    def free_name(self, name: str | None) -> str:
        """The name, if no object has it; without one, the first free “object n”.

        Raises:
            UserError: It is empty or taken.
        """
        taken = {item.name for item in self.objects}
        if name is None:
            return next(f"object {n}" for n in count(len(taken) + 1) if f"object {n}" not in taken)
        if not name.strip():
            raise UserError("An object needs a name; type one.")
        if name in taken:
            raise UserError(f"There is an object “{name}” already; select it or choose another name.")
        return name

    @property
    def free_colour(self) -> str:
        """The first of the colours that is used least."""
        used = [item.colour for item in self.objects]
        return min(COLOURS, key=used.count)

    def having(self, index: int, item: SegmentedObject) -> "State":
        """The state with another object in place of one."""
        return replace(self, objects=(*self.objects[:index], item, *self.objects[index + 1 :]))

    def cooled(self) -> "State":
        """The state without its logits, which are large and can be computed again from the clicks."""
        return replace(self, objects=tuple(replace(item, prediction=None) for item in self.objects))
