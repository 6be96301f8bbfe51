"""What an image must be to count as a volume: 3-D, scalar, finite, with perpendicular axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb.errors import VolumeError

# |DᵀD − 1| beyond this is a shear or scaling that no rigid patient frame has; headers with 4 digits stay below
ORTHONORMAL_TOLERANCE = 1e-3
_SMALLEST = 1e-9  # mm; beyond it, and its inverse, numbers run out in products


def check_shape(name: str, image: Any) -> None:
    """Refuse whatever is not one scalar per voxel in three dimensions of at least two voxels each."""
    size = " × ".join(str(n) for n in image.GetSize())
    channels = image.GetNumberOfComponentsPerPixel()
    if "complex" in image.GetPixelIDTypeAsString():
        raise VolumeError(f"{name} holds complex numbers; expected real ones: save the magnitude and open that.")
    if channels != 1:
        raise VolumeError(
            f"{name} holds {channels} values per voxel (colour or vector, {size}); expected one: save one channel."
        )
    if image.GetDimension() > 3:
        raise VolumeError(f"{name} is {image.GetDimension()}-D ({size}); expected 3-D: save one time point of it.")
    if image.GetDimension() < 3 or min(image.GetSize()) < 2:
        raise VolumeError(
            f"{name} is 2-D ({size}); expected a 3-D volume with at least 2 slices: open the whole stack or series."
        )


def check_geometry(
    name: str,
    spacing: npt.ArrayLike,
    direction: npt.ArrayLike,
    origin: npt.ArrayLike,
    *,
    tolerance: float = ORTHONORMAL_TOLERANCE,
) -> None:
    """Refuse spacing that is not positive and directions that are not orthonormal.

    Args:
        name: What to call the image in the sentence.
        spacing: mm along i, j, k.
        direction: Nine numbers or (3, 3); the columns are the directions of i, j, k.
        origin: LPS mm.
        tolerance: Largest |DᵀD − 1| of the direction D that still counts as orthonormal.
    """
    steps = np.asarray(spacing, dtype=np.float64)
    if steps.shape != (3,) or not np.all((steps > _SMALLEST) & (steps < 1 / _SMALLEST)):
        shown = " × ".join(f"{s:g}" for s in np.ravel(steps))
        raise VolumeError(
            f"{name} has spacing {shown} mm; expected three positive numbers: repair the header or export again."
        )
    if np.shape(origin) != (3,) or not np.all(np.isfinite(origin)):
        raise VolumeError(f"{name} has origin {np.ravel(origin).tolist()}; expected three finite numbers in mm.")
    matrix = np.asarray(direction, dtype=np.float64)
    if matrix.size != 9 or not np.all(np.isfinite(matrix)):
        raise VolumeError(f"{name} has a direction of {matrix.size} numbers; expected 3 × 3 finite ones.")
    matrix = matrix.reshape(3, 3)
    deviation = float(np.abs(matrix.T @ matrix - np.eye(3)).max())
    if deviation > tolerance:
        raise VolumeError(
            f"{name} has axes that are not orthonormal (off by {deviation:.3g}: sheared or scaled); expected "
            "perpendicular axes: resample it to a straight grid first."
        )


def check_finite(name: str, array: npt.NDArray[Any]) -> None:
    """Refuse NaN and infinite voxels, with their number."""
    if array.dtype.kind != "f":
        return
    nans = sum(int(np.isnan(plane).sum()) for plane in array)
    refuse_not_finite(name, array.size, nans, sum(int(np.isinf(plane).sum()) for plane in array))


def refuse_not_finite(name: str, voxels: int, nans: int, infinite: int) -> None:
    """Raise the sentence about voxels that are NaN or infinite, if there are any."""
    if nans + infinite:
        raise VolumeError(
            f"{name} has {nans + infinite} of {voxels} voxels that are no finite numbers ({nans} NaN, {infinite}"
            " infinite); replace them before opening it, e.g. by the value of air."
        )


def expect_memory(name: str, need: int) -> None:
    """Refuse what announces more bytes than this machine has left, before they are asked for."""
    import psutil

    free = int(psutil.virtual_memory().available)
    if need > free:
        raise VolumeError(
            f"{name} needs {need / 1e9:,.1f} GB of memory and {free / 1e9:.1f} GB are free; close other programs, or"
            " crop the image first."
        )
