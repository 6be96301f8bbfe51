"""Which voxels an axial, coronal or sagittal view shows, and the affine from its pixels to the volume.

A view shows slices of the volume's own grid: for each anatomical plane the voxel axis closest to its normal is
scrolled and the other two are shown, flipped so that the patient lies as radiologists expect. Nothing is resampled,
so an oblique volume is shown oblique, and its orientation letters say so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.segmenters.cube import closest_canonical
from sammed3d_nb.spaces import LPS_TO_RAS, Transform

AXIAL, CORONAL, SAGITTAL = "axial", "coronal", "sagittal"
PLANES = (AXIAL, CORONAL, SAGITTAL)

# Anatomical axis (0 left, 1 posterior, 2 superior) and sign, in LPS, of: column →, row ↓, and scrolling up.
_RADIOLOGICAL = {
    AXIAL: ((0, 1), (1, 1), (2, 1)),
    CORONAL: ((0, 1), (2, -1), (1, -1)),
    SAGITTAL: ((1, 1), (2, -1), (0, 1)),
}
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
_OBLIQUE = 0.25  # a direction cosine above this (about 15°) earns a second letter


class Grid(Protocol):
    """What a plane needs to know of a volume."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres along i, j, k."""

    @property
    def direction(self) -> NDArray[np.float64]:
        """(3, 3); its columns are the LPS directions of i, j, k."""


@dataclass(frozen=True)
class Plane:
    """One anatomical plane of a volume.

    Attributes:
        name: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        axes: The voxel axes (0 i, 1 j, 2 k) shown as columns, as rows, and scrolled.
        flips: Whether columns, and rows, run against their voxel axis.
        up: +1 or −1, the change of the slice number when scrolling up (superior, anterior or left).
        shape: Rows and columns of a slice.
        slices: How many slices there are.
        spacing: Millimetres from row to row and from column to column.
        letters: Patient directions at the left, right, top and bottom edge.
    """

    name: str
    axes: tuple[int, int, int]
    flips: tuple[bool, bool]
    up: int
    shape: tuple[int, int]
    slices: int
    spacing: tuple[float, float]
    letters: tuple[str, str, str, str]

    @classmethod
    def of(cls, name: str, grid: Grid, *, radiological: bool = True) -> "Plane":
        """The plane `name` of a volume; `radiological` puts the patient's right on the left of the screen."""
        column, row, normal = _RADIOLOGICAL[name]
        if not radiological and name != SAGITTAL:
            column = (column[0], -column[1])
        nearest, _ = closest_canonical(LPS_TO_RAS.affine[:3, :3] @ grid.direction)
        axes = (nearest[column[0]], nearest[row[0]], nearest[normal[0]])
        signs = [
            sign * (1 if grid.direction[anatomical, axis] >= 0 else -1)
            for (anatomical, sign), axis in zip((column, row, normal), axes, strict=True)
        ]
        right = signs[0] * grid.direction[:, axes[0]]
        down = signs[1] * grid.direction[:, axes[1]]
        return cls(
            name=name,
            axes=axes,
            flips=(signs[0] < 0, signs[1] < 0),
            up=signs[2],
            shape=(grid.size[axes[1]], grid.size[axes[0]]),
            slices=grid.size[axes[2]],
            spacing=(grid.spacing[axes[1]], grid.spacing[axes[0]]),
            letters=_four(direction_letters(way) for way in (-right, right, -down, down)),
        )

    @property
    def array_axis(self) -> int:
        """The axis (0, 1, 2) of a (z, y, x) array that is scrolled."""
        return 2 - self.axes[2]

    def oriented(self, part: NDArray[Any]) -> NDArray[Any]:
        """A slice of a (z, y, x) array along `array_axis` as (rows, columns) of this view; a view, no copy."""
        if self.axes[0] > self.axes[1]:  # the slice has the higher voxel axis first, which must be the rows
            part = part.T
        return part[:: -1 if self.flips[1] else 1, :: -1 if self.flips[0] else 1]

    def slice_of(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """Slice `index` of a (z, y, x) array as (rows, columns), a view without a copy."""
        selector: list[int | slice] = [slice(None)] * 3
        selector[self.array_axis] = index
        return self.oriented(array[tuple(selector)])

    @property
    def to_array(self) -> Transform:
        """``plane`` (column, row, slice number) → ``array`` (z, y, x)."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        extents = (self.shape[1], self.shape[0], self.slices)
        for position, (axis, flipped) in enumerate(zip(self.axes, (*self.flips, False), strict=True)):
            matrix[2 - axis, position] = -1 if flipped else 1
            matrix[2 - axis, 3] = extents[position] - 1 if flipped else 0
        return Transform("plane", "array", matrix)

    def to_voxel(self, column: float, row: float, index: int) -> tuple[int, int, int]:
        """The voxel (i, j, k) whose area holds a point of slice `index`; it may lie outside the volume."""
        z, y, x = np.floor(self.to_array((column, row, index)) + 0.5).astype(int)
        return int(x), int(y), int(z)

    def from_voxel(self, voxel: ArrayLike) -> tuple[float, float, float]:
        """Column, row and slice number of a voxel position (i, j, k)."""
        column, row, index = self.to_array.inverse(np.asarray(voxel, dtype=float)[::-1])
        return float(column), float(row), float(index)


def _four(texts: Iterable[str]) -> tuple[str, str, str, str]:
    left, right, top, bottom = texts
    return left, right, top, bottom


def direction_letters(direction: ArrayLike) -> str:
    """Patient letters of an LPS direction, the nearest axis first: ``"L"``, or ``"LA"`` when oblique."""
    cosines = np.asarray(direction, dtype=float)
    order = sorted(range(3), key=lambda axis: -abs(cosines[axis]))
    return "".join(_LETTERS[axis][int(cosines[axis] < 0)] for axis in order[:2] if abs(cosines[axis]) > _OBLIQUE)
