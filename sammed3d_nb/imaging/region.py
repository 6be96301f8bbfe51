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
        (i, j, k), (a, b, c) = self.start, self.size
        return i + a, j + b, k + c

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
        # in plain numbers, a fifth of NumPy's time: every step asks it of every other object
        (i, j, k), (a, b, c) = map(max, self.start, other.start), map(min, self.stop, other.stop)
        filled = i < a and j < b and k < c
        return Region((i, j, k), (a - i, b - j, c - k) if filled else (0, 0, 0))

    @staticmethod
    def union(regions: Sequence["Region"]) -> "Region":
        """The smallest box round all `regions` that are not empty."""
        filled = [region for region in regions if 0 not in region.size] or [Region((0, 0, 0), (0, 0, 0))]
        low = np.min([region.start for region in filled], axis=0)
        return Region.between(low, np.max([region.stop for region in filled], axis=0))


class LocalMask:
    """A binary mask over a whole volume, of which only the box round its voxels is stored, a bit for each.

    Args:
        values: Non-zero inside the mask; array order (z, y, x), of the shape of `region`.
        region: Where `values` lies in the volume; it is tightened to the voxels that are set.
        volume_size: Voxels (i, j, k) of the whole volume.
    """

    def __init__(self, values: NDArray[np.generic], region: Region, volume_size: Index) -> None:
        inside = np.asarray(values) > 0
        box = bounding_box(inside) or (slice(0, 0),) * 3
        low, high = ([getattr(part, end) for part in box[::-1]] for end in ("start", "stop"))  # i, j, k
        self.region = Region.between(np.add(low, region.start), np.add(high, region.start))
        if 0 in self.region.size:
            self.region = Region((0, 0, 0), (0, 0, 0))  # one form of an empty mask, so that they are equal
        tight = inside[box]
        self._bits = np.packbits(tight, axis=2)  # along x
        self.volume_size = volume_size
        self.count = int(np.count_nonzero(tight))

    @property
    def values(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x) over the box `region`, 1 inside; a new array at each call."""
        return np.unpackbits(self._bits, axis=2, count=self.region.size[0])

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
            inner = index - slices[axis].start
            rest = tuple(part for other, part in enumerate(slices) if other != axis)
            if axis == 2:
                plane[rest] = self._bits[:, :, inner // 8] >> (7 - inner % 8) & 1
            else:
                plane[rest] = np.unpackbits(self._bits.take(inner, axis), axis=1, count=self.region.size[0])
        return plane

    def crop(self, region: Region) -> NDArray[np.uint8]:
        """The mask over any box: uint8 (z, y, x) of the region's shape, 0 outside `region` of its own."""
        values = np.zeros(region.shape, dtype=np.uint8)
        shared = self.region.intersection(region)
        if 0 not in shared.size:
            values[shared.within(region).slices] = self._crop(shared)
        return values

    def pasted(self, region: Region, values: NDArray[np.generic]) -> "LocalMask":
        """This mask with other voxels in a box: `values` (z, y, x) of the region's shape, non-zero inside."""
        if 0 in region.size:
            return self
        whole = Region.union([self.region, region])
        together = self.crop(whole)
        together[region.within(whole).slices] = np.asarray(values) > 0
        return LocalMask(together, whole, self.volume_size)

    def without(self, *others: "LocalMask") -> "LocalMask":
        """The voxels of this mask that are in none of the others; itself where they share none."""
        values = None
        for other in others:
            shared = self.region.intersection(other.region)
            if 0 in shared.size:
                continue
            values = self.values if values is None else values
            part = values[shared.within(self.region).slices]
            part &= 1 - other._crop(shared)
        if values is None or np.count_nonzero(values) == self.count:
            return self
        return LocalMask(values, self.region, self.volume_size)

    def __and__(self, other: "LocalMask") -> "LocalMask":
        shared = self.region.intersection(other.region)
        if 0 in shared.size:
            return LocalMask.empty(self.volume_size)
        return LocalMask(self._crop(shared) & other._crop(shared), shared, self.volume_size)

    def __or__(self, other: "LocalMask") -> "LocalMask":
        if not other.count or not self.count:
            return self if self.count else other
        whole = Region.union([self.region, other.region])
        return LocalMask(self.crop(whole) | other.crop(whole), whole, self.volume_size)

    def __xor__(self, other: "LocalMask") -> "LocalMask":
        if not other.count or not self.count:
            return self if self.count else other
        whole = Region.union([self.region, other.region])
        return LocalMask(self.crop(whole) ^ other.crop(whole), whole, self.volume_size)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LocalMask)
            and self.volume_size == other.volume_size
            and self.region == other.region
            and np.array_equal(self._bits, other._bits)
        )

    def __hash__(self) -> int:
        return hash((self.volume_size, self.region, self.count))

    def _crop(self, inner: Region) -> NDArray[np.uint8]:
        """The values over a box inside `region`; only its slices are unpacked."""
        z, y, x = inner.within(self.region).slices
        return np.unpackbits(self._bits[z, y], axis=2, count=self.region.size[0])[:, :, x]

    @property
    def packed(self) -> bytes:
        """The bits of the voxels in its box, row by row in array order (z, y, x), each row to whole bytes; `unpack`."""
        return self._bits.tobytes()

    @classmethod
    def unpack(cls, packed: bytes, region: Region, volume_size: Index) -> "LocalMask":
        """A mask from its `packed` bits over its box.

        Raises:
            ValueError: The bits are too few or too many, or do not fill their box.
        """
        i, j, k = region.size
        row = (i + 7) // 8
        if len(packed) != row * j * k:
            raise ValueError(f"a mask of {i} × {j} × {k} voxels needs {row * j * k} bytes, got {len(packed)}")
        bits = np.frombuffer(packed, dtype=np.uint8).reshape(k, j, row)
        mask = cls(np.unpackbits(bits, axis=2, count=i), region, volume_size)
        if mask.region != region and mask.count:
            raise ValueError("a mask does not fill its box")
        return mask

    @property
    def nbytes(self) -> int:
        """Bytes of memory that its voxels take."""
        return self._bits.nbytes

    def __contains__(self, ijk: Index) -> bool:
        if any(not low <= n < high for n, low, high in zip(ijk, self.region.start, self.region.stop, strict=True)):
            return False
        i, j, k = np.subtract(ijk, self.region.start)
        return bool(self._bits[k, j, i // 8] >> (7 - i % 8) & 1)

    def volume_ml(self, spacing: Sequence[float]) -> float:
        """Its volume in mL, for voxels of `spacing` mm."""
        return self.count * float(np.prod(spacing)) / 1000

    def distance_mm(self, ijk: Index, spacing: Sequence[float]) -> float:
        """Distance in mm from a voxel's centre to that of the nearest voxel of the mask; infinite if it is empty.

        Args:
            ijk: The voxel (i, j, k).
            spacing: mm along i, j, k; the axes are orthogonal.
        """
        i, j, k = np.subtract(ijk, self.region.start)
        heights = np.abs(np.arange(self.region.size[2]) - k) * spacing[2]
        nearest = float("inf")
        for z in np.argsort(heights, kind="stable"):  # slice by slice from the click: little memory, early end
            if heights[z] >= nearest:
                break
            y, x = np.nonzero(np.unpackbits(self._bits[z], axis=1, count=self.region.size[0]))
            if y.size:
                across = (((x - i) * spacing[0]) ** 2 + ((y - j) * spacing[1]) ** 2).min()
                nearest = min(nearest, float(np.hypot(heights[z], np.sqrt(across))))
        return nearest


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice of two masks of one shape; 1 when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box round a 3-D mask's voxels, as slices in the array's order; None if there are none."""
    box: list[slice] = []
    for axis in range(3):  # each axis looks only at what the ones before have left
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if not used.size:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
        mask = mask[(slice(None),) * axis + (box[-1],)]
    return box[0], box[1], box[2]


def triple(values: ArrayLike) -> Index:
    """Three whole numbers as a plain tuple."""
    a, b, c = (int(value) for value in np.asarray(values))
    return a, b, c
