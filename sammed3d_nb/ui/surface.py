"""A mask's surface as triangles, few enough to be turned fluently."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume


def surface(mask: LocalMask, volume: Volume, most: int, detail: int = 40) -> NDArray[np.float64]:
    """A mask's surface.

    Args:
        mask: At least one voxel.
        volume: Its volume.
        most: Triangles at most, but for the 100 that any shape may have.
        detail: Cells along its longest edge, where that many triangles allow it.

    Returns:
        (n, 3, 3) float64 triangles, corners x, y, z in RAS mm, anticlockwise seen from outside.
    """
    from skimage.measure import block_reduce, marching_cubes

    spacing, values = np.array(volume.spacing[::-1]), mask.values
    step = max(float(np.multiply(values.shape, spacing).max()) / detail, float(spacing.min()))
    while True:
        block = np.maximum(0.5 * step / spacing, 1).astype(int)  # voxels averaged first: large masks have millions
        shares = block_reduce(np.pad(values, [(2 * n, 2 * n) for n in block]), tuple(block), np.mean)
        edges = spacing * block
        blurred = ndimage.gaussian_filter(shares.astype(np.float32), 0.5 * step / edges, mode="constant")
        cells = np.ceil((np.array(shares.shape) - 1) * edges / step).astype(int) + 1
        even = ndimage.affine_transform(blurred, step / edges, output_shape=tuple(cells), order=1, mode="constant")
        corners, faces, *_ = marching_cubes(np.pad(even, 1), min(0.5, float(even.max()) / 2))  # thin ones stay
        if len(faces) <= max(most, 100):
            break
        step *= 1.15
    inside = (corners - 1) * step / spacing + (block - 1) / 2 - 2 * block
    array = inside + np.array(mask.region.start)[::-1]
    triangles: NDArray[np.float64] = volume.voxel_to_ras(array[:, ::-1])[faces]
    enclosed = np.einsum("ni,ni->n", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum()
    return triangles if enclosed > 0 else triangles[:, ::-1]  # which way round depends on the volume's axes
