"""Headers of NIfTI-1, NIfTI-2 and Analyze 7.5 files: size, voxel type, and the two geometries that they can state.

Field offsets follow the standards (nifti.nimh.nih.gov); of Analyze, also what SPM put into its unused fields.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb.spaces import LPS_TO_RAS

Affine = npt.NDArray[np.float64]

HEADER_BYTES = 540
"""Of the longest of them, NIfTI-2."""

_UNITS_IN_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: metre, mm, micrometre
_MILLIMETRE, _SCANNER = 2, 1


@dataclass(frozen=True)
class NiftiGeometry:
    """Both geometries of a NIfTI file as it states them, before any choice or conversion."""

    pixdim: tuple[float, ...]
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    offset: tuple[float, ...]
    srow: tuple[float, ...]

    @classmethod
    def of(cls, image: Any) -> NiftiGeometry:
        """The geometry of a SimpleITK image, stated both ways."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        ras = LPS_TO_RAS.affine @ affine
        axes = ras[:3, :3] / image.GetSpacing()
        flip = -1.0 if np.linalg.det(axes) < 0 else 1.0
        return cls(
            pixdim=(flip, *image.GetSpacing()),
            units=_MILLIMETRE,
            qform_code=_SCANNER,
            sform_code=_SCANNER,
            quaternion=_quaternion(axes * [1.0, 1.0, flip]),
            offset=tuple(ras[:3, 3].tolist()),
            srow=tuple(ras[:3].ravel().tolist()),
        )

    @property
    def unit(self) -> float:
        """Millimetres of the unit that it is stated in."""
        return _UNITS_IN_MM.get(self.units & 7, 1.0)

    @property
    def sform(self) -> Affine:
        """Voxel → RAS mm by the affine that the header states."""
        affine = np.eye(4)
        affine[:3] = np.reshape(self.srow, (3, 4)) * self.unit
        return affine

    @property
    def qform(self) -> Affine:
        """Voxel → RAS mm by the quaternion, the offset and ``pixdim``."""
        b, c, d = self.quaternion
        a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
        norm = np.sqrt(a * a + b * b + c * c + d * d)
        a, b, c, d = a / norm, b / norm, c / norm, d / norm
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        affine = np.eye(4)
        flip = -1.0 if self.pixdim[0] < 0 else 1.0
        affine[:3, :3] = rotation * (np.array(self.pixdim[1:4]) * [1.0, 1.0, flip] * self.unit)
        affine[:3, 3] = np.array(self.offset) * self.unit
        return affine


@dataclass(frozen=True)
class NiftiHeader:
    """The fields that decide about shape, size and geometry.

    Attributes:
        kind: "NIfTI-1", "NIfTI-2" or "Analyze 7.5".
        order: "<" or ">", the byte order of header and voxels.
        dim: The number of dimensions, then the number of voxels along each.
        datatype: The standard's code.
        data_offset: Byte of the first voxel, in the file that holds them.
        paired: Whether the voxels lie in a file of their own.
        slope: By which stored numbers are multiplied; 0 for "not at all".
        intercept: What is then added.
        geometry: Where the voxels lie; Analyze states no more than spacings.
        centre: Of Analyze: the voxel (i, j, k), from 0, that SPM places at the origin; None if it is not said.
    """

    kind: str
    order: str
    dim: tuple[int, ...]
    datatype: int
    data_offset: int
    paired: bool
    slope: float
    intercept: float
    geometry: NiftiGeometry
    centre: tuple[float, ...] | None = None

    @classmethod
    def parse(cls, head: bytes) -> NiftiHeader:
        """Parse the first `HEADER_BYTES` (fewer of a short file), of either byte order; see `kind_of`."""
        kind = kind_of(head)
        size = 540 if kind == "NIfTI-2" else 348
        order = "<" if struct.unpack("<i", head[:4])[0] == size else ">"

        def row(form: str, offset: int) -> tuple[Any, ...]:
            return struct.unpack_from(order + form, head, offset)

        def one(form: str, offset: int) -> Any:
            return row(form, offset)[0]

        if kind == "NIfTI-2":
            return cls(
                kind=kind,
                order=order,
                dim=row("8q", 16),
                datatype=one("h", 12),
                data_offset=one("q", 168),
                paired=head[4:7] == b"ni2",
                slope=one("d", 176),
                intercept=one("d", 184),
                geometry=NiftiGeometry(
                    pixdim=row("8d", 104),
                    units=one("i", 500) & 255,
                    qform_code=one("i", 344),
                    sform_code=one("i", 348),
                    quaternion=row("3d", 352),
                    offset=row("3d", 376),
                    srow=row("12d", 400),
                ),
            )
        dim, analyze = row("8h", 40), kind == "Analyze 7.5"
        geometry = NiftiGeometry(
            pixdim=row("8f", 76),
            units=head[123],
            qform_code=one("h", 252),
            sform_code=one("h", 254),
            quaternion=row("3f", 256),
            offset=row("3f", 268),
            srow=row("12f", 280),
        )
        if analyze:
            geometry = NiftiGeometry(geometry.pixdim, 0, 0, 0, (0.0,) * 3, (0.0,) * 3, (0.0,) * 12)
        return cls(
            kind=kind,
            order=order,
            dim=dim,
            datatype=one("h", 70),
            data_offset=int(one("f", 108)),
            paired=analyze or head[344:347] == b"ni1",
            slope=one("f", 112),
            intercept=0.0 if analyze else one("f", 116),
            geometry=geometry,
            centre=_centre(row("3h", 253), dim) if analyze else None,
        )


def kind_of(head: bytes) -> str:
    """Which of the three kinds these first bytes are of, or ""."""
    if len(head) < 348:
        return ""
    sizes = struct.unpack("<i", head[:4]) + struct.unpack(">i", head[:4])
    if 540 in sizes:
        return "NIfTI-2" if len(head) >= 540 and head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n") else ""
    if 348 not in sizes:
        return ""
    return "NIfTI-1" if head[344:348] in (b"n+1\0", b"ni1\0") else "Analyze 7.5"


def _centre(origin: tuple[int, ...], dim: tuple[int, ...]) -> tuple[float, ...] | None:
    """SPM counts voxels from 1 and leaves zeros where it knows nothing."""
    if not any(origin) or any(not -n < at < 2 * n for at, n in zip(origin, dim[1:4], strict=True)):
        return None
    return tuple(float(at - 1) for at in origin)


def _quaternion(rotation: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """b, c, d of the unit quaternion a + bi + cj + dk, a ≥ 0, of a rotation."""
    from scipy.spatial.transform import Rotation

    b, c, d, a = Rotation.from_matrix(rotation).as_quat()
    return tuple(float(part) for part in (np.array([b, c, d]) * (-1.0 if a < 0 else 1.0)))
