"""The network's cube: where it lies in a volume, what it holds, and the way home for its logits.

A cube is one affine from its index (dims 0, 1, 2 increasing towards the patient's Right, Anterior, Superior) to RAS
mm. Everything else follows from that affine: the volume is sampled directly through it and logits go home directly
through it, one interpolation each way; the whole volume is never resampled.
"""

from itertools import permutations
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.imaging.region import Region, bounding_box, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.spaces import LPS_TO_RAS, Matrix, Transform, TransformChain, box

SIZE = 128
SPACING_MM = 1.5
MARGIN = 8
"""Cube voxels (12 mm): a click nearer than this to a face of the cube moves the cube."""

_NO_LOGIT = -1000.0  # of voxels outside the cube: no threshold in use reaches it


class Cube:
    """A cubic box of `size`³ voxels, given by its affine.

    Args:
        affine: (4, 4), cube index (d0, d1, d2) → RAS mm.
        size: Voxels along each edge.
    """

    def __init__(self, affine: ArrayLike, *, size: int = SIZE) -> None:
        self.size = size
        self.to_ras = Transform("cube", "ras", affine)

    @classmethod
    def at(cls, volume: Volume, ijk: ArrayLike, *, spacing: float = SPACING_MM, size: int = SIZE) -> "Cube":
        """The cube round a voxel of a volume.

        Its axes are the volume's own, permuted and flipped to the closest of (R, A, S), so an oblique volume stays
        oblique. The voxel is at cube index ``size / 2``; the cube is then shifted along an axis only where that
        keeps more of the volume inside.

        Args:
            volume: The volume.
            ijk: Voxel (i, j, k), may be fractional.
            spacing: Edge of a cube voxel in mm.
            size: Voxels along each edge.
        """
        axes, signs = closest_canonical(volume.voxel_to_ras.affine[:3, :3])
        voxel_mm = np.asarray(volume.spacing)[list(axes)]
        step = signs * spacing / voxel_mm  # volume voxels for one cube voxel, along the volume axis of each dim
        middle = np.asarray(ijk, dtype=np.float64)[list(axes)]
        extent = np.asarray(volume.size)[list(axes)]

        first = middle - step * (size / 2)  # where cube index 0 lies
        faces = np.sort([first - 0.5 * step, first + (size - 0.5) * step], axis=0)
        before, after = faces[0] + 0.5, extent - 0.5 - faces[1]  # volume voxels inside (> 0) or padding (< 0)
        room = before + after  # volume beyond the cube, all in all; negative when the volume is the smaller one
        low = np.minimum(0, room)
        shift = np.clip(before, low, np.maximum(0, room)) - before
        first = first + shift

        linear = np.zeros((3, 3))
        origin = np.zeros(3)
        for dim, axis in enumerate(axes):
            linear[axis, dim] = step[dim]
            origin[axis] = first[dim]
        to_voxel = Transform.from_parts("cube", "voxel", linear, origin)
        return cls(to_voxel.then(volume.voxel_to_ras).affine, size=size)

    @property
    def affine(self) -> Matrix:
        """(4, 4), cube index → RAS mm."""
        return self.to_ras.affine

    @property
    def spacing(self) -> float:
        """Edge of a cube voxel in mm (the geometric mean, should the affine be uneven)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) ** (1 / 3))

    def chain(self, volume: Volume, *, grid: int = 32) -> TransformChain:
        """The chain ``array → voxel → lps → ras → cube → grid``, with the bounds of each index space.

        Args:
            volume: The volume.
            grid: Cells along each edge of the network's logits.
        """
        return TransformChain(
            [
                volume.array_to_voxel,
                volume.voxel_to_lps,
                LPS_TO_RAS,
                self.to_ras.inverse,
                grid_to_cube(grid, self.size).inverse,
            ],
            bounds={
                "array": box(volume.size[::-1]),
                "voxel": box(volume.size),
                "cube": box((self.size,) * 3),
                "grid": box((grid,) * 3),
            },
        )

    def from_voxel(self, volume: Volume) -> Transform:
        """The single affine from the volume's voxel index to the cube's index."""
        return volume.voxel_to_ras.then(self.to_ras.inverse)

    def holds(self, volume: Volume, ijk: ArrayLike, *, margin: float = MARGIN) -> bool:
        """Whether a voxel lies in the cube, at least `margin` cube voxels from each face that cuts the volume.

        A face beyond which the volume ends needs no margin: there is nothing more to see behind it.
        """
        point = self.from_voxel(volume)(ijk)
        cut = self.open_faces(volume)
        low = np.array([margin if (dim, -1) in cut else 0 for dim in range(3)]) - 0.5
        high = self.size - 0.5 - np.array([margin if (dim, 1) in cut else 0 for dim in range(3)])
        return bool(((point >= low) & (point < high)).all())

    def reaches(self, ras: ArrayLike) -> NDArray[np.bool_]:
        """Which of the RAS points (N, 3) lie in the cube."""
        points = self.to_ras.inverse(ras)
        return np.asarray(((points >= -0.5) & (points < self.size - 0.5)).all(axis=1))

    def open_faces(self, volume: Volume) -> list[tuple[int, int]]:
        """The faces, as (dim, −1 or +1), beyond which the volume goes on for at least one cube voxel."""
        low, high = self._extent(volume)
        faces = [(dim, -1) for dim in range(3) if low[dim] < -1.5]
        return faces + [(dim, 1) for dim in range(3) if high[dim] > self.size + 0.5]

    def touched(self, volume: Volume, logits: Any) -> dict[tuple[int, int], NDArray[np.float64]]:
        """The open faces that the mask touches: beyond them the object may go on.

        Args:
            volume: The volume.
            logits: (n, n, n), or with leading axes of length 1, over the whole cube; the mask is where they are > 0.

        Returns:
            For each such face (dim, −1 or +1), the cube indices (N, 3) one voxel beyond it where the mask would go on.
        """
        mask = _cubic(logits) > 0
        cells = grid_to_cube(len(mask), self.size)
        beyond = {}
        for dim, side in self.open_faces(volume):
            rows, columns = np.nonzero(mask.take(0 if side < 0 else -1, axis=dim))
            if rows.size:
                points = cells(np.insert(np.stack([rows, columns], axis=1), dim, 0, axis=1))
                points[:, dim] = -1 if side < 0 else self.size
                beyond[dim, side] = points
        return beyond

    def sample(self, volume: Volume) -> NDArray[np.float32]:
        """Raw intensities in the cube.

        Returns:
            float32 (size, size, size) in cube order (d0, d1, d2), linearly interpolated in the volume, 0 outside it.
        """
        to_lps = self.to_ras.then(LPS_TO_RAS.inverse)
        sampled = sitk.Resample(
            volume.image, (self.size,) * 3, itk_affine(to_lps), sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3, _IDENTITY, 0.0,
            sitk.sitkFloat32,
        )  # fmt: skip
        return np.ascontiguousarray(sitk.GetArrayViewFromImage(sampled).transpose())

    def normalised(self, volume: Volume) -> NDArray[np.float32]:
        """The cube after SAM-Med3D's normalisation.

        Its padding is 0 *before* the normalisation, which subtracts the mean and divides by the standard deviation of
        the voxels > 0 (as the published inference code of SAM-Med3D does; a network that wants another one says so in
        ``model.spec.normalisation``).

        Returns:
            float32 (size, size, size) in cube order (d0, d1, d2).
        """
        import torch

        from sammed3d_nb.network.normalise import normalise

        return normalise("positive-zscore", torch.from_numpy(self.sample(volume))).numpy()

    def region(self, volume: Volume, logits: Any | None = None, *, threshold: float = 0.0) -> Region:
        """The cube's bounding box in the volume, cut to the volume.

        Args:
            volume: The volume.
            logits: (n, n, n), or with leading axes of length 1, over the whole cube; if given, only the box of the
                voxels whose interpolated logit can be above `threshold`.
            threshold: As in `bring_home`.
        """
        low, high = np.full(3, -0.5), np.full(3, self.size - 0.5)
        if logits is not None:
            mask = _cubic(logits) > threshold
            box = bounding_box(mask)
            if box is None:
                return Region((0, 0, 0), (0, 0, 0))
            cells = grid_to_cube(len(mask), self.size)  # a cell reaches as far as its neighbours' centres
            low = np.maximum(low, cells([part.start - 1 for part in box]))
            high = np.minimum(high, cells([part.stop for part in box]))
        corners = [[(low, high)[bit][dim] for dim, bit in enumerate(bits)] for bits in _CORNERS]
        voxels = self.from_voxel(volume).inverse(corners)
        first = np.maximum(np.ceil(voxels.min(axis=0)), 0)
        last = np.minimum(np.floor(voxels.max(axis=0)) + 1, volume.size)
        return Region.between(first, last)

    def logits_home(self, logits: Any, volume: Volume, region: Region) -> NDArray[np.float32]:
        """Logits on a box of the volume's own grid, linearly interpolated from the network's grid.

        Args:
            logits: (n, n, n), or with leading axes of length 1, over the whole cube in cube order; array or tensor.
            volume: The volume.
            region: Voxels to compute.

        Returns:
            float32 in array order (z, y, x), of the region's shape; −1000 outside the cube.
        """
        values = _cubic(logits)
        if 0 in region.size:
            return np.zeros(region.shape, dtype=np.float32)
        start = Transform.from_parts("region", "voxel", (1, 1, 1), region.start)
        to_grid = start.then(self.from_voxel(volume)).then(grid_to_cube(len(values), self.size).inverse)
        reached = to_grid([np.multiply(bits, np.subtract(region.size, 1)) for bits in _CORNERS])
        # only the cells that the region needs: copying all of them takes as long as the rest
        low = np.clip(np.floor(reached.min(axis=0)).astype(int), 0, len(values) - 1)
        high = np.clip(np.ceil(reached.max(axis=0)).astype(int) + 1, low + 1, len(values))
        part = values[tuple(map(slice, low, high))]
        to_part = to_grid.then(Transform.from_parts("grid", "grid", (1, 1, 1), -low))
        home = sitk.Resample(
            _image(part), region.size, itk_affine(to_part), sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3, _IDENTITY,
            _NO_LOGIT, sitk.sitkFloat32,
        )  # fmt: skip
        return sitk.GetArrayFromImage(home)

    def bring_home(self, logits: Any, volume: Volume, *, threshold: float = 0.0) -> NDArray[np.uint8]:
        """The mask on the volume's own grid: the *logits* are sampled there, then cut at `threshold`.

        Args:
            logits: (n, n, n), or with leading axes of length 1, over the whole cube in cube order; array or tensor.
            volume: The volume.
            threshold: Logits above it belong to the mask.

        Returns:
            uint8 (z, y, x), 1 inside the mask.
        """
        mask = np.zeros(volume.size[::-1], dtype=np.uint8)
        region = self.region(volume, logits, threshold=threshold)
        mask[region.slices] = self.logits_home(logits, volume, region) > threshold
        return mask

    def carry(self, logits: Any, target: "Cube", *, beyond: float | None = None) -> NDArray[np.float32]:
        """Logits of this cube on the grid of another one, so that a mask goes along when the cube moves.

        Args:
            logits: (n, n, n), or with leading axes of length 1, over the whole of this cube; array or tensor.
            target: The other cube.
            beyond: Logit of the cells outside this cube; by default they repeat its nearest face.

        Returns:
            float32 (n, n, n) in cube order.
        """
        values = _cubic(logits)
        n = len(values)
        theirs = grid_to_cube(n, target.size).then(target.to_ras)
        to_grid = theirs.then(self.to_ras.inverse).then(grid_to_cube(n, self.size).inverse)
        carried = sitk.Resample(
            _image(values), (n,) * 3, itk_affine(to_grid), sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3, _IDENTITY,
            0.0 if beyond is None else beyond, sitk.sitkFloat32, beyond is None,
        )  # fmt: skip
        return np.ascontiguousarray(sitk.GetArrayViewFromImage(carried).transpose())

    def neighbour(self, volume: Volume, dim: int, side: int, *, overlap: int) -> "Cube":
        """The next cube of the same kind along `dim` towards `side` (−1 or +1), no further than the volume goes.

        Args:
            volume: The volume.
            dim: Cube dim 0, 1 or 2.
            side: −1 for lower, +1 for higher indices.
            overlap: Cube voxels that both share.
        """
        low, high = self._extent(volume)
        room = high[dim] - (self.size - 0.5) if side > 0 else -0.5 - low[dim]
        offset = np.zeros(3)
        offset[dim] = side * min(self.size - overlap, room)
        moved = Transform.from_parts("cube", "cube", (1, 1, 1), offset).then(self.to_ras)
        return Cube(moved.affine, size=self.size)

    def _extent(self, volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest cube index (3,) that the volume reaches."""
        corners = [[(-0.5, n - 0.5)[bit] for n, bit in zip(volume.size, bits, strict=True)] for bits in _CORNERS]
        reached = self.from_voxel(volume)(corners)
        return reached.min(axis=0), reached.max(axis=0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cube) and self.size == other.size and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.size, self.affine.tobytes()))

    def __repr__(self) -> str:
        centre = self.to_ras([(self.size - 1) / 2] * 3)
        return f"Cube({self.size}³ voxels of {self.spacing:.3g} mm round RAS {np.round(centre, 1).tolist()})"


def grid_to_cube(cells: int, size: int = SIZE) -> Transform:
    """From the grid of `cells`³ logits to the cube of `size`³ voxels that they cover; both centred at the integers."""
    ratio = size / cells
    return Transform.from_parts("grid", "cube", (ratio,) * 3, ((ratio - 1) / 2,) * 3)


def closest_canonical(linear: ArrayLike) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Which voxel axis runs closest to R, A and S.

    Args:
        linear: (3, 3), columns are the steps of i, j, k in RAS mm.

    Returns:
        The voxel axis (0, 1, 2) for each of R, A, S, and the sign (+1, −1) with which it runs towards them.
    """
    linear = np.asarray(linear, dtype=np.float64)
    cosines = linear / np.linalg.norm(linear, axis=0)
    axes = max(permutations(range(3)), key=lambda order: sum(abs(cosines[row, axis]) for row, axis in enumerate(order)))
    signs = np.array([np.sign(cosines[row, axis]) or 1.0 for row, axis in enumerate(axes)])
    return triple(axes), signs


_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_CORNERS = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]


def _cubic(logits: Any) -> NDArray[np.float32]:
    values = logits.detach().float().cpu().numpy() if hasattr(logits, "detach") else np.asarray(logits)
    cubic = values.reshape(values.shape[-3:])
    if len(set(cubic.shape)) != 1:
        raise ValueError(f"logits must have shape (n, n, n), got {values.shape}")
    return cubic.astype(np.float32, copy=False)


def _image(values: NDArray[np.float32]) -> sitk.Image:
    """A cube-ordered array as an image whose physical points are its indices."""
    return sitk.GetImageFromArray(values.transpose())


def itk_affine(transform: Transform) -> sitk.AffineTransform:
    """A transform as ITK takes it."""
    itk = sitk.AffineTransform(3)
    itk.SetMatrix(transform.affine[:3, :3].ravel().tolist())
    itk.SetTranslation(transform.affine[:3, 3].tolist())
    return itk
