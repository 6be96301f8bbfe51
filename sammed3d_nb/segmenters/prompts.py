"""Prompts: what a user says about an object. Positions are voxels (i, j, k) of the volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.errors import ClickError, PromptError
from sammed3d_nb.imaging.region import Index, LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume

MOST_VOXELS = 1_000_000
"""Of one scribble, and corners of one lasso."""


class Prompt:
    """Base of all prompts; `positive` says whether the object is there, or is not."""

    kind: ClassVar[str]
    """``"point"``, ``"box"``, …: the key of ``model.prompts``."""
    positive: bool

    @property
    def region(self) -> Region:
        """The box round everything that the prompt names."""
        raise NotImplementedError

    def check(self, volume: Volume) -> None:
        """Refuse what does not lie in the volume.

        Raises:
            PromptError: Some of it lies outside.
        """
        region = self.region
        if not (volume.contains(region.start) and volume.contains(np.subtract(region.stop, 1).tolist())):
            last = triple(np.subtract(volume.size, 1))
            raise PromptError(
                f"The {self.kind} from {region.start} to {triple(np.subtract(region.stop, 1))} reaches outside the "
                f"volume; keep it between (0, 0, 0) and {last}."
            )

    @property
    def gesture(self) -> str:
        """What a user calls it."""
        return {"point": "click", "mask": "start mask"}.get(self.kind, self.kind)

    def __str__(self) -> str:
        return self.kind if self.positive else f"negative {self.kind}"


@dataclass(frozen=True)
class Point(Prompt):
    """A click.

    Args:
        ijk: The clicked voxel (i, j, k), whole numbers.
        positive: True adds to the object, False removes from it.
    """

    kind: ClassVar[str] = "point"
    ijk: Index
    positive: bool = True

    def __post_init__(self) -> None:
        voxels = _whole(self.ijk)
        if voxels is None or voxels.shape != (3,):
            raise ClickError(f"A click needs three whole numbers (i, j, k), got {_shown(self.ijk)}.")
        object.__setattr__(self, "ijk", triple(voxels))

    @property
    def region(self) -> Region:
        """The clicked voxel."""
        return Region(self.ijk, (1, 1, 1))

    def check(self, volume: Volume) -> None:
        """Refuse a voxel outside the volume.

        Raises:
            ClickError: It lies outside.
        """
        if not volume.contains(self.ijk):
            last = triple(np.subtract(volume.size, 1))
            raise ClickError(f"Voxel {self.ijk} lies outside the volume; choose one between (0, 0, 0) and {last}.")


@dataclass(frozen=True)
class Box(Prompt):
    """A box round an object; flat along one axis when drawn on a slice.

    Args:
        first: A corner voxel (i, j, k).
        last: The opposite corner; both belong to the box. They are put in order: `first` is the lower one.
        positive: True: the object lies in it. False: it does not reach into it.
    """

    kind: ClassVar[str] = "box"
    first: Index
    last: Index
    positive: bool = True

    def __post_init__(self) -> None:
        corners = [_whole(corner) for corner in (self.first, self.last)]
        if any(corner is None or corner.shape != (3,) for corner in corners):
            raise PromptError(
                f"A box needs two corners of three whole numbers (i, j, k), got {_shown(self.first)} and "
                f"{_shown(self.last)}."
            )
        both = np.stack(corners)  # type: ignore[arg-type]
        object.__setattr__(self, "first", triple(both.min(axis=0)))
        object.__setattr__(self, "last", triple(both.max(axis=0)))

    @property
    def region(self) -> Region:
        """The box."""
        return Region.between(self.first, np.add(self.last, 1))


@dataclass(frozen=True, eq=False)
class _Drawn(Prompt):
    """A prompt of many voxels, compared by them."""

    voxels: NDArray[np.int32]
    positive: bool = True

    def __post_init__(self) -> None:
        voxels = _whole(self.voxels)
        least = self._least
        if voxels is None or voxels.ndim != 2 or voxels.shape[1] != 3 or not least <= len(voxels) <= MOST_VOXELS:
            raise PromptError(
                f"A {self.kind} needs voxels of shape (N, 3), whole numbers (i, j, k), {least} to {MOST_VOXELS} of "
                f"them, got {_shown(self.voxels)}."
            )
        voxels = voxels.astype(np.int32)
        voxels.flags.writeable = False
        object.__setattr__(self, "voxels", voxels)

    _least: ClassVar[int] = 1

    @property
    def region(self) -> Region:
        """The box round its voxels."""
        return Region.between(self.voxels.min(axis=0), self.voxels.max(axis=0) + 1)

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self) and self.positive == other.positive and np.array_equal(self.voxels, other.voxels)
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.positive, self.voxels.tobytes()))


@dataclass(frozen=True, eq=False)
class Scribble(_Drawn):
    """A stroke inside the object, or with ``positive=False`` outside it.

    Args:
        voxels: (N, 3) voxels (i, j, k) of the stroke, in the order in which it was drawn.
        positive: Whether they belong to the object.
    """

    kind: ClassVar[str] = "scribble"


@dataclass(frozen=True, eq=False)
class Lasso(_Drawn):
    """A closed line round the object on one slice, or with ``positive=False`` round what is not the object.

    Args:
        outline: (N, 3) corners (i, j, k) of the line, all on one slice, in order; the last one is joined to the first.
        positive: Whether what it encloses belongs to the object.
    """

    kind: ClassVar[str] = "lasso"
    _least: ClassVar[int] = 3

    def __init__(self, outline: ArrayLike, positive: bool = True) -> None:
        object.__setattr__(self, "voxels", outline)
        object.__setattr__(self, "positive", positive)
        self.__post_init__()
        if len(self._flat) != 1:
            raise PromptError(
                "A lasso needs an outline on one slice that encloses something, got one that is flat along "
                f"{len(self._flat)} axes; draw it round the object on a slice."
            )

    @property
    def _flat(self) -> list[int]:
        return [axis for axis in range(3) if self.region.size[axis] == 1]

    @property
    def axis(self) -> int:
        """The axis (0, 1, 2 for i, j, k) that is the same for all corners."""
        return self._flat[0]

    @property
    def inside(self) -> NDArray[np.int32]:
        """(N, 3) voxels (i, j, k) that the line encloses, the line among them."""
        from skimage.draw import polygon, polygon_perimeter

        rest = [axis for axis in range(3) if axis != self.axis]
        first = np.array(self.region.start)[rest]
        rows, columns = (self.voxels[:, rest] - first).T
        plane = np.zeros(np.array(self.region.size)[rest], dtype=bool)
        plane[polygon(rows, columns, plane.shape)] = True
        plane[polygon_perimeter(rows, columns, plane.shape)] = True
        found = np.argwhere(plane) + first
        voxels: NDArray[np.int32] = np.insert(found, self.axis, self.region.start[self.axis], axis=1).astype(np.int32)
        return voxels


@dataclass(frozen=True)
class StartMask(Prompt):
    """An existing segmentation to go on from.

    Args:
        array: (z, y, x) over the whole volume, non-zero inside; or a `LocalMask`.
        positive: True: the object's mask becomes this one. False: its voxels are taken out of the object's mask.
    """

    kind: ClassVar[str] = "mask"
    mask: LocalMask
    positive: bool = True

    def __init__(self, array: "LocalMask | ArrayLike", positive: bool = True) -> None:
        mask = array
        if not isinstance(mask, LocalMask):
            values = np.asarray(array)
            if values.ndim != 3 or values.dtype.kind not in "biuf":
                raise PromptError(
                    f"A start mask needs an array (z, y, x) of numbers, got {values.dtype} of shape {values.shape}."
                )
            mask = LocalMask.of(values)
        if not mask.count:
            raise PromptError("The start mask is empty; give one with at least one voxel, or click instead.")
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "positive", positive)

    @property
    def region(self) -> Region:
        """The box round the mask."""
        return self.mask.region

    def check(self, volume: Volume) -> None:
        """Refuse a mask on another grid.

        Raises:
            PromptError: Its shape is another one.
        """
        if self.mask.volume_size != volume.size:
            raise PromptError(
                f"The start mask has {self.mask.volume_size} voxels (i, j, k) and {volume.name} {volume.size}; bring "
                "it onto the volume's grid first."
            )


def _whole(values: Any) -> NDArray[np.int64] | None:
    """Whole numbers as an array; None if they are none."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if not np.isfinite(numbers).all() or (abs(numbers) > 2**31 - 1).any() or (numbers != np.rint(numbers)).any():
        return None
    return numbers.astype(np.int64)


def _shown(values: Any) -> str:
    """What was given, cut to a length that one reads."""
    try:
        told = str(np.ravel(np.asarray(values)).tolist())
    except (TypeError, ValueError):
        told = repr(values)
    return told if len(told) <= 60 else f"{told[:57]}…"


PROMPTS: Sequence[type[Prompt]] = (Point, Box, Scribble, Lasso, StartMask)
