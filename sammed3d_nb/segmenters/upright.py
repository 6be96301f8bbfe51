"""A volume's voxels as an upright array, for engines that know no orientation.

nnInteractive works on arrays: no direction travels with its protocol, and its servers take what they get for axial
slices. So the array is turned first, and the mask turned back. Whatever way an image is stored, such an engine sees
the same array, and its answer lies at the same place in the patient.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import closest_canonical
from sammed3d_nb.spaces import Transform

Span = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""A box of an array: (first, one past the last) along each of its axes."""


class Upright:
    """The array of a volume with its axes exchanged and turned to run towards Superior, Posterior, Left.

    Its slices are axial and lie as DICOM stores them. Only axes are exchanged and turned round: no value changes, and
    an oblique volume stays oblique.

    Args:
        volume: The volume.

    Attributes:
        shape: Of the array (k, j, i) = (S, P, L).
        axes: Which axis of the volume (0, 1, 2 for i, j, k) each of the array's is.
        volume_size: Voxels (i, j, k) of the volume.
        to_upright: From voxel (i, j, k) of the volume to the array's index, in the array's order.
    """

    def __init__(self, volume: Volume) -> None:
        axes, signs = closest_canonical(volume.voxel_to_ras.affine[:3, :3])
        self._volume = volume
        self.volume_size = volume.size
        self.axes = tuple(int(axis) for axis in reversed(axes))  # of the volume, for S, P, L
        self._back = tuple(bool(sign < 0) for sign in (signs[2], -signs[1], -signs[0]))
        self.shape = tuple(volume.size[axis] for axis in self.axes)
        linear, offset = np.zeros((3, 3)), np.zeros(3)
        for row, (axis, back) in enumerate(zip(self.axes, self._back, strict=True)):
            linear[row, axis] = -1 if back else 1
            offset[row] = volume.size[axis] - 1 if back else 0
        self.to_upright = Transform.from_parts("voxel", "upright", linear, offset)

    @property
    def array(self) -> NDArray[np.generic]:
        """The voxels, (S, P, L), in a type that travels (none of 64 bits); a view where they lie like that."""
        values = self._turned(self._volume.array)
        wide = values.dtype.itemsize > 4 or values.dtype.kind == "f"
        return _plain(values.astype(np.float32, copy=False) if wide else values)

    @property
    def properties(self) -> dict[str, list[float]]:
        """The geometry of the array: spacing (k, j, i) in mm as the protocol has it; origin and direction (LPS) too.

        The columns of the direction, row by row, are where i, j and k run; the origin is the centre of voxel (0, 0, 0).
        Published servers ignore both.
        """
        volume = self._volume
        signs = np.where(self._back, -1, 1)
        direction = (volume.direction[:, self.axes] * signs)[:, ::-1]
        corner = self.to_upright.inverse((0, 0, 0))
        return {
            "spacing": [float(volume.spacing[axis]) for axis in self.axes],
            "origin": volume.voxel_to_lps(corner).tolist(),
            "direction": direction.ravel().tolist(),
        }

    def voxels(self, ijk: ArrayLike) -> NDArray[np.int64]:
        """Voxels (…, 3) of the volume (i, j, k) as indices of the array."""
        mapped = np.asarray(ijk, dtype=np.int64)[..., self.axes]
        last = np.array(self.shape) - 1
        return np.where(self._back, last - mapped, mapped)

    def span(self, region: Region) -> Span:
        """A box of the volume as one of the array."""
        corners = self.voxels(np.stack([region.start, np.subtract(region.stop, 1)]))
        low, high = corners.min(axis=0), corners.max(axis=0) + 1
        a, b, c = ((int(first), int(last)) for first, last in zip(low, high, strict=True))
        return a, b, c

    def region(self, span: Sequence[Sequence[int]]) -> Region:
        """A box of the array as one of the volume."""
        ends = np.array(span)
        corners = np.stack([ends[:, 0], ends[:, 1] - 1])
        last = np.array(self.shape) - 1
        turned = np.where(self._back, last - corners, corners)
        home = np.empty_like(turned)
        home[:, self.axes] = turned
        return Region.between(home.min(axis=0), home.max(axis=0) + 1)

    def home(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Part of the array (S, P, L) as the same part of the volume's, (z, y, x)."""
        flipped = values[tuple(slice(None, None, -1 if back else 1) for back in self._back)]
        return flipped.transpose(np.argsort(self.axes)).transpose()

    def crop(self, mask: LocalMask) -> tuple[Span, NDArray[np.uint8]]:
        """The box round a mask as one of the array, and the mask in it."""
        return self.span(mask.region), _plain(self._turned(mask.values))

    def _turned(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = values.transpose().transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if back else 1) for back in self._back)]


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """The same values one after the other; NumPy calls an axis of one voxel contiguous that runs backwards."""
    well = values.flags.c_contiguous and min(values.strides) > 0
    return values if well else values.copy(order="C")
