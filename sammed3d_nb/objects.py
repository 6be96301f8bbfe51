"""What a session holds: named objects, the result of each click, and the states that undo returns to."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.cube import Cube
from sammed3d_nb.predictor import Click, Prediction
from sammed3d_nb.region import LocalMask
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
        seconds: Time spent on "encode", "decode" and "home".
        embedding_reused: Whether the cube's embedding was there before the click.
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
        locked: Whether later objects must leave its voxels alone, and clicks are refused.
        visible: Whether to draw it.
        clicks: In order.
        local: Its mask, stored only where it lies.
        result: The answer to its last click; None before the first one and after resuming from a record.
        spared: Names of the locked objects whose voxels the mask leaves alone.
    """

    name: str
    colour: str
    local: LocalMask
    locked: bool = False
    visible: bool = True
    clicks: tuple[Click, ...] = ()
    result: Result | None = None
    spared: tuple[str, ...] = ()
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

    def cooled(self) -> "State":
        """The state without its logits, which are large and can be computed again from the clicks."""
        return replace(self, objects=tuple(replace(item, prediction=None) for item in self.objects))
