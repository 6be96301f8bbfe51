"""Edits: what a hand does to a mask. Each is a function of the mask, the volume and its options, and is replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import Index, LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Scribble
from sammed3d_nb.session.operations import OPERATIONS, in_range, run


@dataclass(frozen=True)
class Paint:
    """Voxels that a hand sets.

    Attributes:
        where: The voxels.
        add: True: they belong to the object; False: they do not.
    """

    where: PackedMask
    add: bool

    def __str__(self) -> str:
        return "paint" if self.add else "erase"


@dataclass(frozen=True)
class Operation:
    """An operation on the whole mask, one of `OPERATIONS`.

    Attributes:
        name: Its name.
        options: Numbers in mm or in the image's own intensities, by name.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> "Operation":
        """An operation with its options in plain types, as the record has them.

        Raises:
            PromptError: As `check_operation`.
        """
        operation = cls(
            name,
            {key: _plain(value) for key, value in options.items()},
        )
        check_operation(operation)
        return operation

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Combine:
    """Another object's mask joined to this one, taken from it, or cut with it.

    Attributes:
        how: One of `WITH_ANOTHER`, or "copy" for a new object.
        other: The other object's name then.
        mask: Its mask then: what was said of it later does not change this object.
    """

    how: str
    other: str
    mask: PackedMask

    def __str__(self) -> str:
        return self.how


WITH_ANOTHER = ("merge", "subtract", "intersect")
"""The operations of `Session.apply` that take another object."""

Edit = Paint | Operation | Combine


def operate(operation: Operation, mask: LocalMask, volume: Volume, clicks: Sequence[Index]) -> LocalMask:
    """The mask after an operation.

    Args:
        operation: What to do; checked by `check_operation` before.
        mask: The mask.
        volume: The volume that it lies on.
        clicks: Positive clicks (i, j, k) of the object, for "keep clicked" and "cut".

    Raises:
        PromptError: There is nothing to work on.
    """
    return run(operation.name, operation.options, mask, volume, clicks)


def combine(edit: Combine, mask: LocalMask, volume: Volume) -> LocalMask:
    """The mask after it was combined with another object's.

    Raises:
        PromptError: The other one has no voxel, or they share none.
    """
    other = edit.mask.unpack(volume.size)
    if not other.count:
        raise PromptError(f"“{edit.other}” has no mask yet; choose another object.")
    if edit.how in ("merge", "copy"):
        return mask | other
    shared = mask & other
    if not shared.count:
        raise PromptError(f"The object and “{edit.other}” share no voxel; there is nothing to {edit.how}.")
    return shared if edit.how == "intersect" else mask.without(other)


def check_operation(operation: Operation) -> None:
    """Refuse operations and options that are not known or not of their kind.

    Raises:
        PromptError: Says which.
    """
    entry = OPERATIONS.get(operation.name) if isinstance(operation.name, str) else None
    if entry is None:
        raise PromptError(
            f"There is no operation “{operation.name}”; there are {', '.join([*OPERATIONS, *WITH_ANOTHER])}."
        )
    for name, value in operation.options.items():
        if name not in entry.defaults:
            known = ", ".join(entry.defaults) or "none"
            raise PromptError(f"“{operation.name}” has no option {name}; it has {known}.")
        entry.check(operation.name, name, value)


def voxels_of(given: "ArrayLike | LocalMask", volume: Volume) -> LocalMask:
    """Voxels (N, 3) as (i, j, k), or a mask (z, y, x), as a mask over the volume.

    Raises:
        PromptError: They are neither, or lie outside the volume.
    """
    if isinstance(given, LocalMask):
        mask = given
    elif _dimensions(given) == 3:
        mask = LocalMask.of(np.asarray(given))
    else:
        try:
            drawn = Scribble(given)  # type: ignore[arg-type]
            drawn.check(volume)
        except PromptError as error:
            raise PromptError(
                "Painting needs voxels of shape (N, 3), whole numbers (i, j, k) inside the volume, or a mask (z, y, x) "
                f"over it, got {str(given)!r:.60}."
            ) from error
        values = np.zeros(drawn.region.shape, dtype=np.uint8)
        i, j, k = (drawn.voxels - drawn.region.start).T
        values[k, j, i] = 1
        mask = LocalMask(values, drawn.region, volume.size)
    if mask.volume_size != volume.size:
        raise PromptError(
            f"The mask has {mask.volume_size} voxels (i, j, k) and {volume.name} {volume.size}; they must match."
        )
    return mask


def _plain(value: object) -> object:
    """NumPy's numbers and arrays, and lists of them, as Python's; what is none of these stays, to be refused."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _dimensions(given: object) -> int:
    try:
        return np.ndim(given)  # type: ignore[arg-type]
    except ValueError:  # rows of different lengths
        return 0


def within_range(where: LocalMask, volume: Volume, lower: float | None, upper: float | None) -> LocalMask:
    """The voxels of a mask whose intensity lies between two bounds, both included; None is no bound."""
    if lower is None and upper is None:
        return where
    keep = in_range(volume.array[where.region.slices], lower, upper) & (where.values > 0)
    return LocalMask(keep, where.region, where.volume_size)
