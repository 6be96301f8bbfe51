"""A CT-like phantom of the upper abdomen, made in about a second: for machines without any other image.

Organs are smooth implicit shapes bent by a smooth random displacement, painted over one another with soft edges at
1 × 1 × 2.5 mm and averaged to 5 mm slices, so that borders show the partial volumes of a real thick-slice CT.
Hounsfield units are those of a portal-venous contrast phase. Coordinates are LPS mm round the body's centre.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb.imaging.volume import Volume

Field = npt.NDArray[Any]
Point = Sequence[float] | npt.NDArray[np.float64]
_Box = tuple[slice, slice, slice]

NAMES: Mapping[int, str] = {
    1: "liver", 2: "spleen", 3: "right kidney", 4: "left kidney", 5: "stomach", 6: "aorta", 7: "right lung",
    8: "left lung", 9: "spine", 10: "inferior vena cava", 11: "gallbladder", 12: "pancreas",
}  # fmt: skip
"""Label values of the phantom's structures."""

SIZE = (352, 264, 44)
SPACING = (1.0, 1.0, 5.0)
_FINE = 2  # sub-slices in each slice
_TILT = np.radians([3.0, -2.0, 5.0])  # about x, y, z: slightly oblique, as patients lie


@dataclass(frozen=True)
class Phantom:
    """The phantom, what is where in it, and where to click.

    Attributes:
        volume: int16 Hounsfield units, 352 × 264 × 44 voxels of 1 × 1 × 5 mm, slightly oblique.
        labels: uint8 (z, y, x), values as in `NAMES`, 0 elsewhere.
        clicks: For each name the voxel (i, j, k) deepest inside the structure.
    """

    volume: Volume
    labels: npt.NDArray[np.uint8]
    clicks: Mapping[str, tuple[int, int, int]]


@lru_cache(maxsize=2)
def make_phantom(seed: int = 0) -> Phantom:
    """The phantom of a seed; the same seed always gives the same voxels."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    canvas = _Canvas(rng)
    _paint_body(canvas)
    _paint_chest(canvas)
    _paint_bones(canvas)
    _paint_organs(canvas)
    hounsfield = canvas.thick(canvas.values)
    texture = gaussian_filter(rng.standard_normal(hounsfield.shape, dtype=np.float32), (0.3, 0.8, 0.8))
    hounsfield = gaussian_filter(hounsfield, (0, 0.6, 0.6)) + texture * (13.0 / texture.std())
    array = np.clip(np.rint(hounsfield), -1024, 3071).astype(np.int16)
    direction = _rotation(*_TILT)
    origin = -direction @ (np.array(SPACING) * (np.array(SIZE) - 1) / 2)
    volume = Volume.from_array(array, SPACING, direction, origin.tolist(), name="phantom", modality="CT")
    canvas.labels.flags.writeable = False
    return Phantom(volume, canvas.labels, {name: _deepest(canvas.labels == n) for n, name in NAMES.items()})


class _Canvas:
    """Paints soft shapes over one another and remembers which label is on top."""

    def __init__(self, rng: np.random.Generator) -> None:
        nx, ny, nz = SIZE
        fine = nz * _FINE
        x, y = np.arange(nx, dtype=np.float32) - (nx - 1) / 2, np.arange(ny, dtype=np.float32) - (ny - 1) / 2
        z = (np.arange(fine, dtype=np.float32) - (fine - 1) / 2) * np.float32(SPACING[2] / _FINE)
        self.rng = rng
        # three smooth displacements of a few mm, each a sum of products of one-dimensional waves
        self.x, self.y, self.z = (
            axis + self._waves(x, y, z, amplitude)
            for axis, amplitude in ((x[None, None, :], 4.0), (y[None, :, None], 4.0), (z[:, None, None], 4.0))
        )
        # depth below the skin in mm, roughly: a superellipse, flatter at the back than an ellipse
        radius = (np.abs(self.x / 164) ** 2.4 + np.abs(self.y / 112) ** 2.4) ** (1 / 2.4)
        self.depth: Field = (1 - radius) * np.float32(125)
        self.values = np.full(self.x.shape, -1000, np.float32)
        self.labels = np.zeros((nz, ny, nx), np.uint8)

    def _waves(self, x: Field, y: Field, z: Field, amplitude: float, count: int = 8) -> Field:
        def waves(axis: Field) -> Field:
            lengths = self.rng.uniform(70, 190, (count, 1))  # mm
            phases = self.rng.uniform(0, 2 * np.pi, (count, 1))
            return np.sin(2 * np.pi * axis[None] / lengths + phases).astype(np.float32)

        weights = self.rng.normal(0, amplitude / np.sqrt(count / 4), (count, 1)).astype(np.float32)
        planes = (weights * waves(y))[:, :, None] * waves(x)[:, None, :]
        return (waves(z).T @ planes.reshape(count, -1)).reshape(len(z), len(y), len(x))

    def paint(self, inside: Field, value: float | Field, label: int | None = None, box: _Box | None = None) -> None:
        """Paint where ``inside`` (roughly mm from the border, positive within) is positive, with a soft edge.

        Args:
            inside: Over the whole canvas or over ``box``.
            value: Hounsfield units, one number or over the same grid.
            label: What to call it; 0 takes the label away, None leaves it.
            box: The part of the canvas that ``inside`` covers.
        """
        here = box or (slice(None), slice(None), slice(None))
        weight = np.clip(0.5 + 0.5 * inside, 0, 1)
        self.values[here] += weight * (value - self.values[here])
        if label is not None:
            coarse = (slice(here[0].start // _FINE, here[0].stop // _FINE), *here[1:]) if box else here
            self.labels[coarse][self.thick(weight) >= 0.5] = label

    @staticmethod
    def thick(fine: Field) -> Field:
        """Average sub-slices to slices."""
        slices: Field = fine.reshape(-1, _FINE, *fine.shape[1:]).mean(axis=1)
        return slices

    def box(self, centre: Point, reach: Point) -> _Box:
        """The part of the canvas within ``reach`` mm of ``centre``, in whole slices."""
        steps = (SPACING[0], SPACING[1], SPACING[2])
        edges = []
        for c, r, step, count in zip(centre, reach, steps, SIZE, strict=True):
            middle, half = c / step + (count - 1) / 2, (r + 20) / step  # 20 mm: displacement and blending
            edges.append((max(0, int(middle - half)), min(count, int(middle + half) + 2)))
        (i0, i1), (j0, j1), (k0, k1) = edges
        return slice(k0 * _FINE, k1 * _FINE), slice(j0, j1), slice(i0, i1)

    def ellipsoid(self, centre: Point, radii: Point, box: _Box | None = None) -> Field:
        """Approximate distance in mm from the surface, positive inside."""
        here = box or (slice(None), slice(None), slice(None))
        (a, b, c), (ra, rb, rc) = centre, radii
        squared = ((self.x[here] - a) / ra) ** 2 + ((self.y[here] - b) / rb) ** 2 + ((self.z[here] - c) / rc) ** 2
        return (1 - np.sqrt(squared)) * np.float32(min(radii))


def _paint_body(canvas: _Canvas) -> None:
    """Skin, subcutaneous fat, muscle wall, fat inside, and the table under the back."""
    depth = canvas.depth
    canvas.paint(depth, 20.0)
    canvas.paint(depth - 2.5, -105.0)
    canvas.paint(depth - 16 - 4 * np.sin(canvas.x / 45), 55.0)
    canvas.paint(depth - 29 - 3 * np.sin(canvas.x / 30), -95.0)
    for side in (-1.0, 1.0):
        for centre, radii, value in (
            ((side * 36, 84.0, 0.0), (32.0, 19.0, 900.0), 58.0),  # muscles of the back
            ((side * 36, 58.0, -120.0), (17.0, 18.0, 105.0), 60.0),  # psoas
        ):
            box = canvas.box(centre, radii)
            canvas.paint(canvas.ellipsoid(centre, radii, box), value, None, box)
    y = np.arange(SIZE[1], dtype=np.float32) - (SIZE[1] - 1) / 2
    canvas.values[:, np.abs(y - 128) < 3, 30:-30] = -250.0


def _paint_chest(canvas: _Canvas) -> None:
    """Lung bases above the diaphragm's two domes, with vessels, and the heart's lower tip between them."""
    for label, side, top in ((7, -1.0, 82.0), (8, 1.0, 72.0)):
        box = canvas.box((side * 72, 0.0, 60.0), (75.0, 112.0, 60.0))
        x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
        dome = top - ((x - side * 72) / 8.5) ** 2 - (y / 10.5) ** 2
        mediastinum = np.abs(x - 6) - 20 - np.maximum(0, y - 20) * 0.2
        lung = np.minimum(np.minimum(canvas.depth[box] - 31, (z - dome) * 0.6), np.minimum(side * x - 4, mediastinum))
        vessels = np.sin(x / 5.3) * np.sin(y / 6.1 + z / 7.7) * np.sin(z / 8.9 + x / 9)
        canvas.paint(lung, -860 + 330 * np.clip(vessels * 6 - 3.6, 0, 1), label, box)
    heart = canvas.box((28.0, -30.0, 106.0), (48.0, 42.0, 30.0))
    canvas.paint(canvas.ellipsoid((28.0, -30.0, 106.0), (48.0, 42.0, 30.0), heart), 130.0, 0, heart)


def _paint_bones(canvas: _Canvas) -> None:
    """Ribs that slope forward and down within the wall, vertebrae with discs, canal and processes."""
    depth = canvas.depth
    slope = canvas.z - 0.42 * canvas.y  # ribs lie higher at the back
    rib = 4.6 - np.hypot(depth - 25, (slope + 5) % 29 - 14.5)
    rib = np.minimum(rib, (slope + 50 + 60 * (canvas.y > 0)) * 0.2)  # none low in front
    rib = np.minimum(rib, np.abs(canvas.x) - 30)
    canvas.paint(rib, 560.0, 0)
    canvas.paint(rib - 2.2, 280.0)
    box = canvas.box((0.0, 66.0, 0.0), (50.0, 45.0, 120.0))
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    body = canvas.ellipsoid((0.0, 58.0, 0.0), (22.0, 17.0, 900.0), box)
    level = np.abs((z + 12) % 32 - 16)  # mm from the middle of a disc's gap at 16
    spinous = 4.0 - np.hypot(x, np.maximum(0, np.abs(y - 97) - 10)) + np.minimum(0, 9 - level)
    arch = 5.0 - np.abs(np.hypot(x, y - 83) - 12) + np.minimum(0, 11 - level)
    transverse = 4.0 - np.hypot(np.maximum(0, np.abs(x) - 36), np.hypot(y - 80, (level - 2) * 0.7))
    canvas.paint(np.maximum(np.maximum(spinous, arch), transverse), 420.0, 9, box)
    canvas.paint(body, 85.0, 9, box)  # discs
    bone = np.minimum(body, 12.5 - level)
    canvas.paint(bone, 520.0, 9, box)
    canvas.paint(bone - 2.5, 240.0, 9, box)
    canvas.paint(8.5 - np.hypot(x, y - 83), 30.0, 0, box)  # canal


def _paint_organs(canvas: _Canvas) -> None:
    """Bowel first, then the organs from back to front."""
    for _ in range(26):
        centre = canvas.rng.uniform((-100, -62, -105), (100, 15, -25)).tolist()
        radii = canvas.rng.uniform((12, 10, 10), (24, 17, 22)).tolist()
        _organ(canvas, [(centre, radii)], float(canvas.rng.uniform(25, 60)), None)
    _vessel(canvas, lambda z: (14 + 4 * np.sin(z / 60), 34 - 3 * np.cos(z / 45)), 10.5, 165.0, 6)
    _vessel(canvas, lambda z: (-20 + 3 * np.sin(z / 50), 32 - 5 * z / 110), 11.5, 140.0, 10)
    _organ(canvas, [((-74.0, 2.0, 22.0), (62.0, 66.0, 60.0)), ((-8.0, -42.0, 42.0), (58.0, 30.0, 27.0)),
                    ((-88.0, 20.0, -28.0), (36.0, 38.0, 38.0))], 110.0, 1)  # fmt: skip
    _organ(canvas, [((98.0, 40.0, 34.0), (22.0, 36.0, 40.0)), ((88.0, 58.0, 16.0), (22.0, 22.0, 34.0))], 122.0, 2)
    stomach = [((62.0, -28.0, 44.0), (34.0, 38.0, 32.0)), ((30.0, -46.0, 6.0), (38.0, 24.0, 20.0))]
    _organ(canvas, stomach, 65.0, 5)
    _organ(canvas, stomach, lambda box: np.where(canvas.y[box] < -50, -960, 18).astype(np.float32), 5, shrink=4.0)
    pancreas = [((-12.0, -6.0, -6.0), (20.0, 15.0, 20.0)), ((22.0, 0.0, 6.0), (30.0, 11.0, 12.0)),
                ((56.0, 14.0, 14.0), (26.0, 10.0, 11.0))]  # fmt: skip
    _organ(canvas, pancreas, 98.0, 12)
    _organ(canvas, [((-46.0, -50.0, -24.0), (17.0, 15.0, 25.0))], 12.0, 11)
    for label, side, height in ((3, -1.0, -34.0), (4, 1.0, -14.0)):
        kidney = [((side * 64, 46.0, height), (27.0, 24.0, 48.0))]
        _organ(canvas, kidney, 200.0, label)
        _organ(canvas, kidney, 168.0, label, shrink=7.0)  # medulla
        _organ(canvas, [((side * 44, 40.0, height), (15.0, 9.0, 15.0))], -60.0, 0)  # sinus fat
        _organ(canvas, [((side * 42, 38.0, height - 4), (9.0, 5.0, 8.0))], 15.0, 0)  # renal pelvis


def _organ(
    canvas: _Canvas,
    parts: Sequence[tuple[Point, Point]],
    value: float | Callable[[_Box], Field],
    label: int | None,
    *,
    shrink: float = 0.0,
) -> None:
    """Paint a smooth union of ellipsoids, each a (centre, radii) in mm, ``shrink`` mm smaller."""
    low = np.min([np.subtract(centre, radii) for centre, radii in parts], axis=0)
    high = np.max([np.add(centre, radii) for centre, radii in parts], axis=0)
    box = canvas.box((low + high) / 2, (high - low) / 2)
    inside = canvas.ellipsoid(*parts[0], box)
    for centre, radii in parts[1:]:
        other = canvas.ellipsoid(centre, radii, box)
        blend = np.maximum(8 - np.abs(inside - other), 0) / 8  # polynomial smooth maximum over 8 mm
        inside = np.maximum(inside, other) + blend**2 * 2
    canvas.paint(inside - shrink, value(box) if callable(value) else value, label, box)


def _vessel(
    canvas: _Canvas, path: Callable[[Field], tuple[Field, Field]], radius: float, value: float, label: int
) -> None:
    """Paint a vessel that runs along z; ``path`` gives its (x, y) at a height."""
    middle_x, middle_y = path(np.zeros(1, np.float32))
    box = canvas.box((float(middle_x[0]), float(middle_y[0]), 0.0), (radius + 6, radius + 6, 900.0))
    a, b = path(canvas.z[box])
    canvas.paint(radius - np.hypot(canvas.x[box] - a, canvas.y[box] - b), value, label, box)


def _deepest(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    """The voxel (i, j, k) farthest from the border, in mm."""
    from scipy.ndimage import distance_transform_edt, find_objects

    (box,) = find_objects(mask.astype(np.uint8))
    depth = distance_transform_edt(np.pad(mask[box], 1), sampling=SPACING[::-1])[1:-1, 1:-1, 1:-1]
    k, j, i = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(i) + box[2].start, int(j) + box[1].start, int(k) + box[0].start


def _rotation(a: float, b: float, c: float) -> npt.NDArray[Any]:
    """The rotation by a about x, then b about y, then c about z, in radians."""
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    rotation: npt.NDArray[Any] = about_z @ about_y @ about_x
    return rotation
