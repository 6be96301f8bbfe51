"""Masks that wait: the bits of their box, compressed."""

import zlib
from dataclasses import dataclass

from sammed3d_nb.imaging.region import Index, LocalMask, Region

_LEVEL = 1  # masks compress well at any level; higher ones take ten times as long


@dataclass(frozen=True)
class PackedMask:
    """A `LocalMask` as compressed bytes.

    Attributes:
        region: The box round its voxels.
        data: The zlib-compressed `LocalMask.packed` bits in it; empty when there is no voxel.
    """

    region: Region
    data: bytes

    @classmethod
    def of(cls, mask: LocalMask) -> "PackedMask":
        """Compress a mask."""
        return cls(mask.region, zlib.compress(mask.packed, _LEVEL) if mask.count else b"")

    def unpack(self, volume_size: Index) -> LocalMask:
        """The mask over a volume of that many voxels (i, j, k).

        Raises:
            ValueError: The box reaches outside the volume, or the bytes are not those of such a box.
        """
        if not self.data:
            return LocalMask.empty(volume_size)
        i, j, k = self.region.size
        ends = zip(self.region.start, self.region.stop, volume_size, strict=True)
        if min(i, j, k) < 1 or not all(0 <= low < high <= size for low, high, size in ends):
            raise ValueError(f"a mask of {i} × {j} × {k} voxels at {self.region.start} lies outside {volume_size}")
        need = (i + 7) // 8 * j * k
        inflate = zlib.decompressobj()
        try:
            bits = inflate.decompress(self.data, need + 1)
        except zlib.error as error:
            raise ValueError("the bits of a mask do not unpack") from error
        if len(bits) != need or not inflate.eof:
            raise ValueError(f"the bits of a mask unpack to another length than {need} bytes")
        return LocalMask.unpack(bits, self.region, volume_size)
