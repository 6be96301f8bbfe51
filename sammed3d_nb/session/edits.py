"""Edits: what a hand does to a mask. Each is a function of the mask, the volume and its options, and is replayed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import Index, LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Scribble

Array = NDArray[np.bool_]


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

    def __str__(self) -> str:
        return self.name


Edit = Paint | Operation


@dataclass(frozen=True)
class Asked:
    """What an operation works on.

    Attributes:
        mask: bool (z, y, x), the mask in a box that leaves room round it, the volume's faces permitting.
        region: That box.
        spacing: mm along z, y, x.
        volume: The volume.
        clicks: Positive clicks (i, j, k) of the object.
    """

    mask: Array
    region: Region
    spacing: tuple[float, float, float]
    volume: Volume
    clicks: Sequence[Index]

    @property
    def values(self) -> NDArray[Any]:
        """The image in the box, (z, y, x)."""
        part: NDArray[Any] = self.volume.array[self.region.slices]
        return part


def operate(operation: Operation, mask: LocalMask, volume: Volume, clicks: Sequence[Index]) -> LocalMask:
    """The mask after an operation.

    Args:
        operation: What to do; checked by `check_operation` before.
        mask: The mask.
        volume: The volume that it lies on.
        clicks: Positive clicks (i, j, k) of the object, for "keep clicked".

    Raises:
        PromptError: There is nothing to work on.
    """
    if not mask.count:
        raise PromptError(f"There is no mask to apply “{operation.name}” to; click or paint first.")
    entry = OPERATIONS[operation.name]
    options = {**entry.defaults, **operation.options}
    room = np.ceil(entry.reach(options) / np.array(volume.spacing)).astype(int) + 1
    low = np.maximum(np.subtract(mask.region.start, room), 0)
    region = Region.between(low, np.minimum(np.add(mask.region.stop, room), volume.size))
    z, y, x = volume.spacing[::-1]
    asked = Asked(mask.crop(region) > 0, region, (z, y, x), volume, clicks)
    return LocalMask(entry.work(asked, **options), region, volume.size)


def check_operation(operation: Operation) -> None:
    """Refuse operations and options that are not known or not of their kind.

    Raises:
        PromptError: Says which.
    """
    entry = OPERATIONS.get(operation.name)
    if entry is None:
        raise PromptError(f"There is no operation “{operation.name}”; there are {', '.join(OPERATIONS)}.")
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


def _dimensions(given: object) -> int:
    try:
        return np.ndim(given)  # type: ignore[arg-type]
    except ValueError:  # rows of different lengths
        return 0


def within_range(where: LocalMask, volume: Volume, lower: float | None, upper: float | None) -> LocalMask:
    """The voxels of a mask whose intensity lies between two bounds, both included; None is no bound."""
    if lower is None and upper is None:
        return where
    values = volume.array[where.region.slices]
    keep = where.values > 0
    if lower is not None:
        keep &= values >= lower
    if upper is not None:
        keep &= values <= upper
    return LocalMask(keep, where.region, where.volume_size)


# -- the operations ------------------------------------------------------------------------------------------------


def _largest(asked: Asked) -> Array:
    labels, count = ndimage.label(asked.mask)
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel(), minlength=count + 1)[1:])))


def _keep_clicked(asked: Asked) -> Array:
    labels, _ = ndimage.label(asked.mask)
    at = np.array(asked.clicks, dtype=int).reshape(-1, 3) - asked.region.start
    inside = at[((at >= 0) & (at < asked.region.size)).all(axis=1)]
    hit = {int(label) for label in labels[inside[:, 2], inside[:, 1], inside[:, 0]]} - {0}
    if not hit:
        raise PromptError("No positive click lies in the mask, so no part of it is the clicked one; click on it first.")
    return np.isin(labels, list(hit))


def _fill(asked: Asked, axis: str | None) -> Array:
    if axis is None:
        return np.asarray(ndimage.binary_fill_holes(asked.mask))
    along = "kji".index(axis)
    planes = np.moveaxis(asked.mask, along, 0)
    return np.moveaxis(np.stack([ndimage.binary_fill_holes(plane) for plane in planes]), 0, along)


def _smooth(asked: Asked, sigma_mm: float) -> Array:
    sigma = [sigma_mm / edge for edge in asked.spacing]
    return np.asarray(ndimage.gaussian_filter(asked.mask.astype(np.float32), sigma, truncate=_TRUNCATE) > 0.5)


def _grow(asked: Asked, mm: float, lower: float | None, upper: float | None) -> Array:
    grown = ndimage.distance_transform_edt(~asked.mask, sampling=asked.spacing) <= mm
    allowed = _in_range(asked.values, lower, upper)
    return np.asarray(asked.mask | (grown & allowed))


def _shrink(asked: Asked, mm: float) -> Array:
    # the volume's faces are no border: what is cut there goes on
    if asked.mask.all():
        return asked.mask
    return np.asarray(ndimage.distance_transform_edt(asked.mask, sampling=asked.spacing) > mm)


def _threshold(asked: Asked, lower: float | None, upper: float | None) -> Array:
    return np.asarray(asked.mask & _in_range(asked.values, lower, upper))


def _interpolate(asked: Asked, axis: str | None) -> Array:
    """Shape-based: signed distances of the drawn slices, linear in between (Raya and Udupa, IEEE TMI 9, 1990).

    Both are moved to the middle between their centres first: shapes that share no place would leave nothing in between.
    """
    drawn = {
        name: np.flatnonzero(np.moveaxis(asked.mask, along, 0).any(axis=(1, 2))) for along, name in enumerate("kji")
    }
    gaps = {name: int(np.diff(at).max(initial=1)) - 1 for name, at in drawn.items()}
    name = axis or max(gaps, key=lambda one: gaps[one])
    if not gaps[name]:
        raise PromptError(
            "There are no empty slices between drawn ones to interpolate; paint on two slices with some between them."
        )
    along = "kji".index(name)
    planes = np.moveaxis(asked.mask.copy(), along, 0)
    spacing = [edge for other, edge in enumerate(asked.spacing) if other != along]
    for first, last in zip(drawn[name], drawn[name][1:], strict=False):
        if last - first < 2:
            continue
        below, above = (_signed(planes[at], spacing) for at in (first, last))
        way = np.subtract(*(ndimage.center_of_mass(planes[at]) for at in (last, first)))
        for at in range(first + 1, last):
            share = (at - first) / (last - first)
            planes[at] = (1 - share) * _moved(below, share * way) + share * _moved(above, (share - 1) * way) > 0
    return np.moveaxis(planes, 0, along)


def _signed(plane: Array, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Distance in mm to the border, positive inside; a full plane has none, and ends at its edges."""
    if plane.all():
        return _signed(np.pad(plane, 1), spacing)[1:-1, 1:-1]
    inside = ndimage.distance_transform_edt(plane, sampling=spacing)
    return np.asarray(inside - ndimage.distance_transform_edt(~plane, sampling=spacing))


def _moved(distances: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(ndimage.shift(distances, by, order=1, mode="nearest"))


def _in_range(values: NDArray[Any], lower: float | None, upper: float | None) -> Array:
    allowed = np.ones(values.shape, dtype=bool)
    if lower is not None:
        allowed &= values >= lower
    if upper is not None:
        allowed &= values <= upper
    return allowed


_TRUNCATE = 3.0  # standard deviations
_MOST_MM = 200.0


@dataclass(frozen=True)
class _Entry:
    work: Callable[..., Array]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reach: Callable[[Mapping[str, Any]], float] = lambda options: 0.0
    """mm beyond the mask that it looks at."""

    def check(self, operation: str, name: str, value: Any) -> None:
        """Refuse a value that is not of its option's kind."""
        number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        if name == "axis":
            right, expected = value in (None, "i", "j", "k"), "i, j, k or None"
        elif name in ("lower", "upper"):
            right, expected = value is None or number, "an intensity or None"
        else:
            right, expected = number and 0 < value <= _MOST_MM, f"millimetres above 0, {_MOST_MM:g} at most"
        if not right:
            raise PromptError(f"“{operation}” got {name} = {value!r:.40}; expected {expected}.")


OPERATIONS: Mapping[str, _Entry] = {
    "largest component": _Entry(_largest),
    "keep clicked": _Entry(_keep_clicked),
    "fill holes": _Entry(_fill, {"axis": None}),
    "smooth": _Entry(_smooth, {"sigma_mm": 1.5}, lambda options: _TRUNCATE * options["sigma_mm"]),
    "grow": _Entry(_grow, {"mm": 2.0, "lower": None, "upper": None}, lambda options: options["mm"]),
    "shrink": _Entry(_shrink, {"mm": 2.0}),
    "threshold": _Entry(_threshold, {"lower": None, "upper": None}),
    "interpolate slices": _Entry(_interpolate, {"axis": None}),
}
"""Every operation of `Session.apply` with its options: lengths in mm, bounds in the image's intensities."""
