"""The operations on a whole mask: what each makes of it, and which options it has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import Index, LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume

Array = NDArray[np.bool_]


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


def _largest(asked: Asked) -> Array:
    labels, count = ndimage.label(asked.mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = 1 + np.flatnonzero(sizes == sizes.max())
    if len(largest) > 1:  # the same one, however the volume's axes run: the uppermost in space
        centres = np.reshape(ndimage.center_of_mass(asked.mask, labels, largest), (-1, 3))[:, ::-1]
        places = (centres * asked.spacing[::-1] @ asked.volume.direction.T).round(6)
        largest = largest[np.lexsort(places.T)[-1:]]
    return np.asarray(labels == largest[0])


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
    grown = ndimage.distance_transform_edt(~asked.mask, sampling=asked.spacing) <= mm + _TIE
    allowed = in_range(asked.values, lower, upper)
    return np.asarray(asked.mask | (grown & allowed))


def _shrink(asked: Asked, mm: float) -> Array:
    # the volume's faces are no border: what is cut there goes on
    if asked.mask.all():
        return asked.mask
    return np.asarray(ndimage.distance_transform_edt(asked.mask, sampling=asked.spacing) > mm + _TIE)


def _threshold(asked: Asked, lower: float | None, upper: float | None, beyond_mm: float) -> Array:
    where = asked.mask
    if beyond_mm:
        where = ndimage.distance_transform_edt(~where, sampling=asked.spacing) <= beyond_mm + _TIE
    return np.asarray(where & in_range(asked.values, lower, upper))


def _flood(asked: Asked, at: Sequence[float] | None, lower: float | None, upper: float | None, mm: float) -> Array:
    """What hangs together with a voxel by faces, in a range of intensities and a ball round it."""
    i, j, k = _seed(at, asked.volume)
    if lower is None and upper is None:
        lower, upper = near_range(asked.volume, (i, j, k))
    allowed = in_range(asked.values, lower, upper)
    squares = [
        ((np.arange(n) + first - place) * edge) ** 2
        for n, first, place, edge in zip(
            asked.mask.shape, asked.region.start[::-1], (k, j, i), asked.spacing, strict=True
        )
    ]
    allowed &= squares[0][:, None, None] + squares[1][:, None] + squares[2] <= mm**2 + _TIE
    labels, _ = ndimage.label(allowed)
    seed = labels[tuple(np.subtract((k, j, i), asked.region.start[::-1]))]
    if not seed:
        value = asked.volume.array[k, j, i]
        raise PromptError(f"Voxel ({i}, {j}, {k}) has {value:g}, which is not in the range to fill; widen it.")
    return np.asarray(labels == seed)


def near_range(volume: Volume, ijk: Index) -> tuple[float, float]:
    """Intensities like those round a voxel: mean ± 2.5 standard deviations of the 3 × 3 × 3 voxels there."""
    near = volume.array[tuple(slice(max(0, n - 1), n + 2) for n in ijk[::-1])].astype(np.float64)
    return float(near.mean() - _FLOOD_SD * near.std()), float(near.mean() + _FLOOD_SD * near.std())


def _seed(at: Sequence[float] | None, volume: Volume) -> Index:
    if at is None:
        raise PromptError("Filling needs the voxel at which it begins; give at = (i, j, k).")
    i, j, k = triple(np.rint(at))
    if not volume.contains((i, j, k)):
        raise PromptError(f"Voxel ({i}, {j}, {k}) lies outside the volume; fill from a voxel inside it.")
    return i, j, k


def _cut(asked: Asked, first: Sequence[float] | None, last: Sequence[float] | None, axis: str | None) -> Array:
    """One side of the plane through a line on a slice, perpendicular to it; voxels right on the plane stay.

    The side with more positive clicks stays; with as many on both, the larger one.
    """
    if first is None or last is None or axis is None:
        raise PromptError("A cut needs a line on a slice: its ends first and last, and the axis across the slice.")
    normal = "ijk".index(axis)
    u, v = (other for other in range(3) if other != normal)
    along = np.subtract(last, first)
    if not along[[u, v]].any():
        raise PromptError("The line to cut along has no length in its slice; draw it longer.")

    def side(places: Sequence[Any]) -> Any:
        return along[u] * (places[v] - first[v]) - along[v] * (places[u] - first[u])

    axes = np.meshgrid(*(np.arange(n) for n in asked.mask.shape), indexing="ij", sparse=True)
    sides = side([places + start for places, start in zip(axes[::-1], asked.region.start, strict=True)])
    counts = [int(np.count_nonzero(asked.mask & part)) for part in (sides > 0, sides < 0)]
    if not all(counts):
        raise PromptError("The line leaves the whole mask on one side; draw it across the mask.")
    clicks = [sum(side(click) * sign > 0 for click in asked.clicks) for sign in (1, -1)]
    kept = (clicks[0], counts[0]) >= (clicks[1], counts[1])
    if clicks[0] == clicks[1] and counts[0] == counts[1]:  # the same half, however the volume's axes run
        uphill = np.zeros(3)
        uphill[u], uphill[v] = -along[v], along[u]
        way = asked.volume.direction @ (uphill / asked.volume.spacing)
        kept = bool(way[np.argmax(np.abs(way).round(9))] > 0)
    return np.asarray(asked.mask & (sides >= 0 if kept else sides <= 0))


def _interpolate(asked: Asked, axis: str | None) -> Array:
    """Shape-based: signed distances of the drawn slices, linear in between (Raya and Udupa, IEEE TMI 9, 1990).

    Both are moved to the middle between their centres first: shapes that share no place would leave nothing in between.
    """
    drawn = {
        name: np.flatnonzero(np.moveaxis(asked.mask, along, 0).any(axis=(1, 2))) for along, name in enumerate("kji")
    }
    gaps = {name: int(np.diff(at).max(initial=1)) - 1 for name, at in drawn.items()}
    name = axis or max(gaps, key=lambda one: (gaps[one], _line(asked.volume.direction[:, "ijk".index(one)])))
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
            planes[at] = (1 - share) * _moved(below, share * way) + share * _moved(above, (share - 1) * way) > _TIE
    return np.moveaxis(planes, 0, along)


def _line(way: NDArray[np.float64]) -> tuple[float, ...]:
    """What orders lines in space, whichever way they run, the one most along Superior last."""
    way = way.round(9)[::-1] + 0.0
    return tuple((way * np.sign(way[np.argmax(way != 0)])).tolist())


def _signed(plane: Array, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Distance in mm to the border, positive inside; a full plane has none, and ends at its edges."""
    if plane.all():
        return _signed(np.pad(plane, 1), spacing)[1:-1, 1:-1]
    inside = ndimage.distance_transform_edt(plane, sampling=spacing)
    return np.asarray(inside - ndimage.distance_transform_edt(~plane, sampling=spacing))


def _moved(distances: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(ndimage.shift(distances, by, order=1, mode="nearest"))


def in_range(values: NDArray[Any], lower: float | None, upper: float | None) -> Array:
    """Where values lie between two bounds, both included; None is no bound."""
    allowed = np.ones(values.shape, dtype=bool)
    if lower is not None:
        allowed &= values >= lower
    if upper is not None:
        allowed &= values <= upper
    return allowed


_TIE = 1e-6
"""mm; nearer distances are the same: sums in another order of the axes differ in their last digits."""
_TRUNCATE = 3.0  # standard deviations
_FLOOD_SD = 2.5
_MOST_MM = 200.0


@dataclass(frozen=True)
class Entry:
    """An operation.

    Attributes:
        work: From what it is asked of, and its options, to the mask afterwards, in the same box.
        defaults: Its options.
        reach: mm beyond the mask that it looks at.
        begins: Whether it needs no mask to begin with: it is asked for what is added, `mm` round the voxel `at`.
    """

    work: Callable[..., Array]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reach: Callable[[Mapping[str, Any]], float] = lambda options: 0.0
    begins: bool = False

    def check(self, operation: str, name: str, value: Any) -> None:
        """Refuse a value that is not of its option's kind.

        Raises:
            PromptError: Says what was expected.
        """
        if name == "axis":
            right = value is None or (isinstance(value, str) and value in ("i", "j", "k"))
            expected = "i, j, k or None"
        elif name in ("lower", "upper"):
            right, expected = value is None or _is_number(value), "an intensity or None"
        elif name in ("first", "last", "at"):
            row = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)
            right = row and len(value) == 3 and all(map(_is_number, value))
            expected = "three numbers i, j, k"
        else:
            least = 0 if name == "beyond_mm" else 1e-9
            right = _is_number(value) and least <= value <= _MOST_MM
            expected = f"millimetres {'from' if name == 'beyond_mm' else 'above'} 0, {_MOST_MM:g} at most"
        if not right:
            raise PromptError(f"“{operation}” got {name} = {value!r:.40}; expected {expected}.")


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return bool(number and np.isfinite(value))


OPERATIONS: Mapping[str, Entry] = {
    "largest component": Entry(_largest),
    "keep clicked": Entry(_keep_clicked),
    "fill holes": Entry(_fill, {"axis": None}),
    "smooth": Entry(_smooth, {"sigma_mm": 1.5}, lambda options: _TRUNCATE * options["sigma_mm"]),
    "grow": Entry(_grow, {"mm": 2.0, "lower": None, "upper": None}, lambda options: options["mm"]),
    "shrink": Entry(_shrink, {"mm": 2.0}),
    "threshold": Entry(
        _threshold, {"lower": None, "upper": None, "beyond_mm": 0.0}, lambda options: options["beyond_mm"]
    ),
    "fill": Entry(_flood, {"at": None, "lower": None, "upper": None, "mm": 30.0}, begins=True),
    "cut": Entry(_cut, {"first": None, "last": None, "axis": None}),
    "interpolate slices": Entry(_interpolate, {"axis": None}),
}
"""Every operation of `Session.apply` on one mask, with its options: lengths in mm, bounds in the image's own unit."""


def run(name: str, options: Mapping[str, Any], mask: LocalMask, volume: Volume, clicks: Sequence[Index]) -> LocalMask:
    """The mask after an operation; see `edits.operate`."""
    entry = OPERATIONS[name]
    if not mask.count and not entry.begins:
        raise PromptError(f"There is no mask to apply “{name}” to; click or paint first.")
    options = {**entry.defaults, **options}
    if entry.begins:
        region = _round(Region(_seed(options["at"], volume), (1, 1, 1)), options["mm"], volume)
    else:
        region = _round(mask.region, entry.reach(options), volume)
    z, y, x = volume.spacing[::-1]
    asked = Asked(mask.crop(region) > 0, region, (z, y, x), volume, clicks)
    made = LocalMask(entry.work(asked, **options), region, volume.size)
    return mask | made if entry.begins else made


def _round(region: Region, mm: float, volume: Volume) -> Region:
    """A box with so much more on each side, and a voxel, as far as the volume goes."""
    room = np.ceil(mm / np.array(volume.spacing)).astype(int) + 1
    low = np.maximum(np.subtract(region.start, room), 0)
    return Region.between(low, np.minimum(np.add(region.stop, room), volume.size))
