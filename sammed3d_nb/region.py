"""Boxes of voxels, and masks that are stored only inside their box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Index = tuple[int, int, int]


@dataclass(frozen=True)
class Region:
    """A box of whole voxels.

    Attributes:
        start: First voxel (i, j, k).
        size: Numbers of voxels along (i, j, k); all zero when the box is empty.
    """

    start: Index
    size: Index

    @classmethod
    def between(cls, low: ArrayLike, high: ArrayLike) -> "Region":
        """The box from voxel `low` to voxel `high`, both (i, j, k) and `high` excluded; empty unless low < high."""
        start = np.asarray(low, dtype=int)
        size = np.asarray(high, dtype=int) - start
        return cls(triple(start), triple(size) if (size > 0).all() else (0, 0, 0))

    @property
    def stop(self) -> Index:
        """One past the last voxel (i, j, k)."""
        return triple(np.add(self.start, self.size))

    @property
    def shape(self) -> Index:
        """Shape of an array (z, y, x) over the box."""
        return self.size[::-1]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as slices of an array in order (z, y, x)."""
        z, y, x = (slice(first, last) for first, last in zip(self.start[::-1], self.stop[::-1], strict=True))
        return z, y, x

    def within(self, outer: "Region") -> "Region":
        """The same box counted from the first voxel of `outer`."""
        return Region(triple(np.subtract(self.start, outer.start)), self.size)

    def intersection(self, other: "Region") -> "Region":
        """The voxels in both boxes."""
        return Region.between(np.maximum(self.start, other.start), np.minimum(self.stop, other.stop))

    @staticmethod
    def union(regions: Sequence["Region"]) -> "Region":
        """The smallest box round all `regions` that are not empty."""
        filled = [region for region in regions if 0 not in region.size] or [Region((0, 0, 0), (0, 0, 0))]
        low = np.min([region.start for region in filled], axis=0)
        return Region.between(low, np.max([region.stop for region in filled], axis=0))


class LocalMask:
    """A binary mask over a whole volume, of which only the box round its voxels is stored.

    Args:
        values: Non-zero inside the mask; array order (z, y, x), of the shape of `region`.
        region: Where `values` lies in the volume; it is tightened to the voxels that are set.
        volume_size: Voxels (i, j, k) of the whole volume.
    """

    def __init__(self, values: NDArray[np.generic], region: Region, volume_size: Index) -> None:
        inside = np.asarray(values) > 0
        bounds = []
        for axis in (2, 1, 0):  # i, j, k
            used = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
            bounds.append((used[0], used[-1] + 1) if used.size else (0, 0))
        low, high = np.array(bounds).T
        self.region = Region.between(low + region.start, high + region.start)
        self.values = np.ascontiguousarray(inside[self.region.within(region).slices], dtype=np.uint8)
        self.values.flags.writeable = False
        self.volume_size = volume_size
        self.count = int(self.values.sum(dtype=np.int64))

    @classmethod
    def of(cls, mask: NDArray[np.generic]) -> "LocalMask":
        """From a mask (z, y, x) over the whole volume."""
        size = triple(mask.shape[::-1])
        return cls(mask, Region((0, 0, 0), size), size)

    @classmethod
    def empty(cls, volume_size: Index) -> "LocalMask":
        """A mask with no voxel."""
        return cls(np.zeros((0, 0, 0)), Region((0, 0, 0), (0, 0, 0)), volume_size)

    @property
    def full(self) -> NDArray[np.uint8]:
        """A new uint8 array (z, y, x) over the whole volume, 1 inside."""
        mask = np.zeros(self.volume_size[::-1], dtype=np.uint8)
        mask[self.region.slices] = self.values
        return mask

    def slice(self, axis: int, index: int) -> NDArray[np.uint8]:
        """One slice of the mask, without building the whole volume.

        Args:
            axis: Array axis (0, 1, 2 for z, y, x).
            index: Slice number along it.

        Returns:
            uint8, the two remaining array axes in order.
        """
        shape = self.volume_size[::-1]
        plane = np.zeros([n for other, n in enumerate(shape) if other != axis], dtype=np.uint8)
        slices = self.region.slices
        if slices[axis].start <= index < slices[axis].stop:
            rest = tuple(part for other, part in enumerate(slices) if other != axis)
            plane[rest] = self.values.take(index - slices[axis].start, axis=axis)
        return plane

    def without(self, other: "LocalMask") -> "LocalMask":
        """The voxels of this mask that are not in `other`."""
        shared = self.region.intersection(other.region)
        if 0 in shared.size:
            return self
        values = self.values.copy()
        values[shared.within(self.region).slices] &= 1 - other.values[shared.within(other.region).slices]
        return LocalMask(values, self.region, self.volume_size)

    def __contains__(self, ijk: Index) -> bool:
        if any(not low <= n < high for n, low, high in zip(ijk, self.region.start, self.region.stop, strict=True)):
            return False
        i, j, k = np.subtract(ijk, self.region.start)
        return bool(self.values[k, j, i])

    def distance_mm(self, ijk: Index, spacing: Sequence[float]) -> float:
        """Distance in mm from a voxel's centre to that of the nearest voxel of the mask; infinite if it is empty.

        Args:
            ijk: The voxel (i, j, k).
            spacing: mm along i, j, k; the axes are orthogonal.
        """
        if not self.count:
            return float("inf")
        if ijk in self:
            return 0.0
        kji = np.argwhere(self.values)
        offsets = (kji[:, ::-1] + np.subtract(self.region.start, ijk)) * np.asarray(spacing)
        return float(np.sqrt((offsets**2).sum(axis=1).min()))


def triple(values: ArrayLike) -> Index:
    """Three whole numbers as a plain tuple."""
    a, b, c = (int(value) for value in np.asarray(values))
    return a, b, c
