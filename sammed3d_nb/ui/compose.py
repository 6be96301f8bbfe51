"""What a view shows, computed in NumPy: grey values through a window, masks as colour, outlines, the visible region."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Window:
    """The grey-scale window: `level` (its centre) and `width`, in the volume's intensity units (HU for CT)."""

    level: float
    width: float

    def drag(self, right: float, up: float) -> "Window":
        """The window after dragging by fractions of the view: right widens it, up raises the level."""
        width = self.width * 2.0 ** (2 * right)
        return replace(self, width=max(width, 1e-6), level=self.level + up * self.width)

    def to_grey(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Intensities of any shape as grey values, 0 below the window and 255 above it."""
        lowest = self.level - self.width / 2
        grey = (values.astype(np.float32) - np.float32(lowest)) * np.float32(255 / self.width)
        clipped: NDArray[np.uint8] = np.clip(grey, 0, 255).astype(np.uint8)
        return clipped

    @classmethod
    def fitting(cls, array: NDArray[Any]) -> "Window":
        """A window from the 1st to the 99th percentile of about 100,000 voxels, for images without a unit."""
        sample = array.reshape(-1)[:: max(1, array.size // 100_000)]
        low, high = np.percentile(sample, (1, 99))
        if high <= low:
            low, high = float(sample.min()), float(sample.max()) + 1.0
        return cls(level=float(low + high) / 2, width=float(high - low))


CT_WINDOWS = {
    "Soft tissue": Window(40, 400),
    "Lung": Window(-600, 1500),
    "Bone": Window(480, 2500),
    "Brain": Window(40, 80),
    "Liver": Window(90, 150),
}


def default_window(array: NDArray[Any], modality: str) -> Window:
    """Soft tissue for CT, else what fits the intensities."""
    return CT_WINDOWS["Soft tissue"] if modality == "CT" else Window.fitting(array)


def compose(
    grey: NDArray[np.uint8], fills: Iterable[tuple[NDArray[np.bool_], RGB]], opacity: float
) -> NDArray[np.uint8]:
    """One opaque picture of a slice: grey values with masks blended in.

    Args:
        grey: (rows, columns) grey values.
        fills: (rows, columns) masks with their colours; a later one covers an earlier one.
        opacity: 0 (masks invisible) to 1 (masks hide the image).

    Returns:
        uint8 (rows, columns, 3).
    """
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    for mask, colour in fills:
        if opacity > 0 and mask.any():
            tint = np.asarray(colour, dtype=np.float32) * opacity
            base = grey[mask].astype(np.float32)[:, None] * (1 - opacity)
            picture[mask] = (base + tint + 0.5).astype(np.uint8)
    return picture


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Outlines of a (rows, columns) mask as (n, 2) lines of (column, row), half-way between voxel centres."""
    if not mask.any():
        return []
    from skimage.measure import find_contours

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float32)
    return [line[:, ::-1] + (left - 1, top - 1) for line in find_contours(part, 0.5)]


@dataclass(frozen=True)
class Region:
    """The part of a slice that a view shows.

    Attributes:
        centre: Column and row at the middle of the view.
        scale: CSS pixels per millimetre.
    """

    centre: tuple[float, float]
    scale: float

    @classmethod
    def whole(cls, shape: Sequence[int], spacing: Sequence[float], size: Sequence[float]) -> "Region":
        """The region that fits a whole slice.

        Args:
            shape: Rows and columns of the slice.
            spacing: Millimetres from row to row and from column to column.
            size: Width and height of the view in CSS pixels.
        """
        scale = min(size[0] / (shape[1] * spacing[1]), size[1] / (shape[0] * spacing[0]))
        return cls(centre=((shape[1] - 1) / 2, (shape[0] - 1) / 2), scale=0.98 * scale)

    def limits(self, spacing: Sequence[float], size: Sequence[float]) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge in columns and rows; a millimetre is equally long both ways."""
        half_columns = size[0] / (2 * self.scale * spacing[1])
        half_rows = size[1] / (2 * self.scale * spacing[0])
        column, row = self.centre
        return column - half_columns, column + half_columns, row + half_rows, row - half_rows

    def zoomed(self, factor: float, at: tuple[float, float]) -> "Region":
        """The region magnified by `factor`, with the point `at` (column, row) staying under the cursor."""
        scale = float(np.clip(self.scale * factor, 0.05, 200))
        kept = self.scale / scale
        column, row = (fixed + (old - fixed) * kept for fixed, old in zip(at, self.centre, strict=True))
        return Region(centre=(column, row), scale=scale)

    def moved(self, columns: float, rows: float) -> "Region":
        """The region moved by a number of columns and rows."""
        return replace(self, centre=(self.centre[0] + columns, self.centre[1] + rows))
