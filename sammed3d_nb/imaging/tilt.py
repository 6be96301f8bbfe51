"""Slices of a tilted gantry: shifted onto a straight grid to be seen upright, and masks shifted back onto them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk


@dataclass(frozen=True)
class Slices:
    """The grid of the slices as they were taken, and where each lies on the straightened one.

    Attributes:
        size: Voxels along i, j, k.
        spacing: mm.
        origin: LPS mm.
        direction: Nine numbers.
        shifts: (k, 2): by how many voxels along i and j slice k is moved on the straightened grid.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    shifts: npt.NDArray[np.float64]

    def GetSize(self) -> tuple[int, int, int]:  # noqa: N802  as SimpleITK calls it
        """As of a SimpleITK image."""
        return self.size

    def GetSpacing(self) -> tuple[float, float, float]:  # noqa: N802
        """As of a SimpleITK image."""
        return self.spacing

    def GetOrigin(self) -> tuple[float, float, float]:  # noqa: N802
        """As of a SimpleITK image."""
        return self.origin

    def GetDirection(self) -> tuple[float, ...]:  # noqa: N802
        """As of a SimpleITK image."""
        return self.direction

    def take_back(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels (z, y, x, …) of the straightened grid on the slices as they were taken, each from the nearest."""
        columns, rows, count = self.size
        back = np.empty((count, rows, columns, *labels.shape[3:]), labels.dtype)
        for k, (i, j) in enumerate(np.rint(self.shifts).astype(int)):
            back[k] = labels[k, j : j + rows, i : i + columns]
        return back

    def take_along(self, labels: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Labels (z, y, x, …) of the slices as they were taken on the straightened grid of that shape (z, y, x)."""
        columns, rows, _ = self.size
        along = np.zeros((*shape, *labels.shape[3:]), labels.dtype)
        for k, (i, j) in enumerate(np.rint(self.shifts).astype(int)):
            along[k, j : j + rows, i : i + columns] = labels[k]
        return along


@dataclass(frozen=True)
class Leaning:
    """How the slices of a tilted gantry lean away from the stack on which they are shown.

    Attributes:
        origin: LPS mm of the first voxel of the first slice.
        normal: Unit vector across the slices.
        per_mm: LPS mm by which a slice lies aside for each mm of height.
    """

    origin: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]
    per_mm: npt.NDArray[np.float64]

    @classmethod
    def of(cls, grid: Any, tilt: npt.ArrayLike) -> Leaning:
        """Of a stack (a SimpleITK image or `Slices`) and the LPS mm from one slice to the next across its normal."""
        normal = np.reshape(grid.GetDirection(), (3, 3))[:, 2]
        return cls(np.array(grid.GetOrigin()), normal, np.asarray(tilt, dtype=np.float64) / grid.GetSpacing()[2])

    def upright(self, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Places (n, 3) in the patient, in LPS mm, to where the stack shows them."""
        return positions - np.outer((positions - self.origin) @ self.normal, self.per_mm)


def straightened(image: Any, tilt: npt.NDArray[np.float64]) -> tuple[Any, Slices]:
    """Shift each slice to where it lies in the patient, linearly between pixels; the smallest value fills the rest.

    Args:
        image: The slices, one upon the other, with the place of the first.
        tilt: LPS mm by which each slice lies aside of the one before.

    Returns:
        The image on a straight grid that holds all slices, and how to bring masks back.
    """
    from scipy.ndimage import shift

    direction = np.reshape(image.GetDirection(), (3, 3))
    step = (direction[:, :2].T @ tilt) / image.GetSpacing()[:2]  # voxels along i, j from one slice to the next
    shifts = np.arange(image.GetSize()[2])[:, None] * step
    lowest = np.floor(shifts.min(axis=0))
    shifts = shifts - lowest
    slices = Slices(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(), shifts)
    values = sitk.GetArrayViewFromImage(image)
    more_i, more_j = np.ceil(shifts.max(axis=0)).astype(int).tolist()
    count, rows, columns = values.shape
    fill = values.min()
    upright = np.full((count, rows + more_j, columns + more_i), fill, values.dtype)
    for k, (i, j) in enumerate(shifts):
        upright[k, :rows, :columns] = values[k]
        moved = shift(upright[k].astype(np.float64), (j, i), order=1, mode="constant", cval=float(fill))
        upright[k] = np.rint(moved) if values.dtype.kind in "iu" else moved
    made = sitk.GetImageFromArray(upright)
    made.SetSpacing(image.GetSpacing())
    made.SetDirection(image.GetDirection())
    start = direction[:, :2] @ (lowest * image.GetSpacing()[:2])
    made.SetOrigin((np.array(image.GetOrigin()) + start).tolist())
    return made, slices
