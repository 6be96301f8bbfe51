"""Two readings of one case: where they agree, and how far apart they are where they do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from sammed3d_nb.imaging.region import LocalMask, Region, dice
from sammed3d_nb.session.objects import SegmentedObject

HEAT = ((2.0, "#ffe066"), (5.0, "#ff9326"), (np.inf, "#e0182d"))
"""Voxels that only one reading has: up to how many mm from the other reading's surface, and their colour."""
BOTH = "#5b7f95"
"""The colour of voxels that both readings have."""


@dataclass(frozen=True)
class Layer:
    """Voxels to be shown in a colour.

    Attributes:
        name: What they are.
        colour: ``#rrggbb``.
        mask: Where.
    """

    name: str
    colour: str
    mask: LocalMask


@dataclass(frozen=True)
class Difference:
    """Two readings next to each other.

    Attributes:
        layers: What both have, then what only one has, by distance.
        scores: For each object its name and Dice; 0 where one of them has no such object.
    """

    layers: tuple[Layer, ...]
    scores: tuple[tuple[str, float], ...]


def difference(
    first: Sequence[SegmentedObject], second: Sequence[SegmentedObject], spacing: Sequence[float]
) -> Difference:
    """Compare two readings, object by object, by their names.

    Args:
        first: One reading's objects.
        second: The other's, on the same volume.
        spacing: mm along i, j, k.
    """
    masks = [{item.name: item.local for item in side if item.local.count} for side in (first, second)]
    names = list(dict.fromkeys([*masks[0], *masks[1]]))
    layers: list[Layer] = []
    scores: list[tuple[str, float]] = []
    for name in names:
        here = [side[name] for side in masks if name in side]
        size = (first or second)[0].local.volume_size
        region = Region.union([mask.region for mask in here])
        a, b = (side[name].crop(region) > 0 if name in side else np.zeros(region.shape, bool) for side in masks)
        scores.append((name, dice(a, b)))
        found = [(f"{name}: both", BOTH, a & b), *_apart(name, a, b, spacing)]
        layers += [Layer(told, colour, LocalMask(mask, region, size)) for told, colour, mask in found if mask.any()]
    return Difference(tuple(layers), tuple(scores))


def _apart(name: str, a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> list[tuple[str, str, np.ndarray]]:
    """The voxels that only one has, by their distance from the other's surface."""
    distance = np.where(a, _to_surface(b, spacing), _to_surface(a, spacing))
    only, least, found = a ^ b, -1.0, []
    for most, colour in HEAT:
        told = f"up to {most:g} mm" if np.isfinite(most) else f"more than {least:g} mm"
        found.append((f"{name}: {told} apart", colour, only & (distance > least) & (distance <= most)))
        least = most
    return found


def _to_surface(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Mm from each voxel to the nearest voxel of a mask's surface; infinite without one."""
    surface = mask & ~binary_erosion(mask)
    if not surface.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(distance_transform_edt(~surface, sampling=tuple(spacing)[::-1]))
