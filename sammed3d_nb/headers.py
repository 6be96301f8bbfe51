"""Raw headers of NIfTI, NRRD and MetaImage files: what SimpleITK would silently repair, drop or ignore.

Field offsets follow the NIfTI-1 and NIfTI-2 standards (nifti.nimh.nih.gov), the fields of the other two the NRRD
format definition (teem.sourceforge.net/nrrd) and the MetaIO documentation (itk.org).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb.errors import VolumeError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNITS_IN_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: metre, mm, micrometre
_COLOUR_AND_COMPLEX = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA"}
_METAIMAGE_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1 or NIfTI-2 header that decide about shape, size and geometry."""

    dim: tuple[int, ...]
    pixdim: tuple[float, ...]
    datatype: int
    bitpix: int
    data_offset: int
    paired: bool
    qform_code: int
    sform_code: int
    unit: float
    quaternion: tuple[float, float, float]
    offset: tuple[float, float, float]
    srow: tuple[float, ...]

    @classmethod
    def parse(cls, head: bytes) -> NiftiHeader:
        """Parse the first 348 (NIfTI-1) or 540 (NIfTI-2) bytes, of either byte order."""
        order = "<" if struct.unpack("<i", head[:4])[0] in (348, 540) else ">"

        def get(form: str, offset: int) -> tuple[Any, ...]:
            return struct.unpack_from(order + form, head, offset)

        if struct.unpack(order + "i", head[:4])[0] == 348:
            return cls(
                dim=get("8h", 40),
                datatype=get("h", 70)[0],
                bitpix=get("h", 72)[0],
                pixdim=get("8f", 76),
                data_offset=int(get("f", 108)[0]),
                paired=head[344:347] == b"ni1",
                unit=_UNITS_IN_MM.get(head[123] & 7, 1.0),
                qform_code=get("h", 252)[0],
                sform_code=get("h", 254)[0],
                quaternion=get("3f", 256),  # type: ignore[arg-type]  # struct cannot tell the length
                offset=get("3f", 268),  # type: ignore[arg-type]
                srow=get("12f", 280),
            )
        return cls(
            dim=get("8q", 16),
            datatype=get("h", 12)[0],
            bitpix=get("h", 14)[0],
            pixdim=get("8d", 104),
            data_offset=get("q", 168)[0],
            paired=head[4:7] == b"ni2",
            unit=_UNITS_IN_MM.get(get("i", 500)[0] & 7, 1.0),
            qform_code=get("i", 344)[0],
            sform_code=get("i", 348)[0],
            quaternion=get("3d", 352),  # type: ignore[arg-type]
            offset=get("3d", 376),  # type: ignore[arg-type]
            srow=get("12d", 400),
        )

    @property
    def sform(self) -> npt.NDArray[np.float64]:
        """Voxel → RAS mm by the affine that the header states."""
        return np.diag([self.unit] * 3 + [1.0]) @ np.vstack([np.reshape(self.srow, (3, 4)), [0.0, 0.0, 0.0, 1.0]])

    @property
    def qform(self) -> npt.NDArray[np.float64]:
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


def is_nifti(head: bytes) -> bool:
    """Whether these first bytes are those of a NIfTI file, of either version and byte order."""
    if len(head) >= 348 and head[344:348] in (b"n+1\0", b"ni1\0"):
        return struct.unpack("<i", head[:4])[0] == 348 or struct.unpack(">i", head[:4])[0] == 348
    return len(head) >= 540 and head[4:7] in (b"n+2", b"ni2")


def is_metaimage(head: bytes) -> bool:
    """Whether these first bytes are those of a MetaImage header."""
    start = head.lstrip()
    return start.startswith((b"ObjectType", b"NDims", b"Comment")) and b"=" in start


def check_nifti(path: Path, head: bytes) -> tuple[str, ...]:
    """Refuse what ITK would load wrongly: 2-D, 4-D, colour, bad spacing, truncated voxels."""
    from sammed3d_nb.readers import content_bytes

    header, name = NiftiHeader.parse(head), path.name
    count = header.dim[0]
    if not 1 <= count <= 7 or any(n < 1 for n in header.dim[1 : count + 1]):
        raise VolumeError(f"{name} has a damaged header (its dimensions read {header.dim}); copy or export it again.")
    dims = header.dim[1 : count + 1]
    shown = " × ".join(str(n) for n in dims)
    if header.datatype in _COLOUR_AND_COMPLEX or (count >= 5 and dims[4] > 1):
        kind = _COLOUR_AND_COMPLEX.get(header.datatype, "vectors")
        raise VolumeError(f"{name} holds {kind} ({shown}); expected one real number per voxel: save one channel.")
    if count < 3 or min(dims[:3]) < 2:
        raise VolumeError(
            f"{name} is 2-D ({shown}); expected a 3-D volume with at least 2 slices: open the whole stack."
        )
    if max(dims[3:], default=1) > 1:
        raise VolumeError(
            f"{name} is 4-D ({shown}); expected one 3-D volume: save one of its time points as a file of its own."
        )
    steps = np.array(header.pixdim[1:4])
    if not np.all(np.isfinite(steps)) or np.any(steps <= 0):
        shown = " × ".join(f"{s:g}" for s in steps)
        raise VolumeError(
            f"{name} has spacing {shown} mm; expected three positive numbers: repair the header or export again."
        )
    voxels = path
    if header.paired:
        voxels = _paired_data(path)
    expected = header.data_offset * (1 if not header.paired else 0) + int(np.prod(dims)) * header.bitpix // 8
    _expect_bytes(voxels, expected, content_bytes(voxels))
    if not (header.qform_code > 0 or header.sform_code > 0):
        return (f"{name} states no orientation; left–right and front–back may be wrong.",)
    return ()


def check_nifti_geometry(path: Path, head: bytes, image: Any) -> tuple[str, ...]:
    """Compare what ITK made of the geometry with what the header states.

    A NIfTI header can hold two affines. Both are compared where stated; which one ITK took is told when they
    disagree by more than half a voxel somewhere.
    """
    header = NiftiHeader.parse(head)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (-1, image.GetDimension()))[:3, :3] * image.GetSpacing()[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    read = _LPS_TO_RAS @ matrix
    stated = {}
    if header.sform_code > 0:
        stated["sform"] = header.sform
    if header.qform_code > 0:
        stated["qform"] = header.qform
    size = image.GetSize()[:3]
    half = 0.5 * min(image.GetSpacing()[:3])
    apart = {form: _distance(read, affine, size) for form, affine in stated.items()}
    if stated and min(apart.values()) > half:
        raise VolumeError(
            f"{path.name} states axes ({', '.join(stated)}) that no straight grid of {_mm(image.GetSpacing())} mm has;"
            " expected perpendicular axes: resample it first or repair the header."
        )
    if len(stated) == 2 and max(apart.values()) > half:
        used, other = sorted(apart, key=lambda form: apart[form])
        return (
            f"{path.name} states two geometries that lie up to {apart[other]:.1f} mm apart; its {used} is used, its"
            f" {other} is not.",
        )
    return ()


def check_nrrd(path: Path) -> tuple[str, ...]:
    """Refuse bad spacing and missing data files; tell when there is no orientation."""
    fields = _nrrd_fields(path)
    steps = [float(s) for s in fields.get("spacings", "").split() if s.lower() != "nan"]
    if any(s <= 0 for s in steps):
        raise VolumeError(
            f"{path.name} has spacing {_mm(steps)} mm; expected three positive numbers: repair the header or export"
            " again."
        )
    detached = fields.get("data file") or fields.get("datafile")
    if detached and " " not in detached and "%" not in detached and detached != "LIST":
        _expect_file(path, path.parent / detached)
    if "space directions" not in fields:
        return (f"{path.name} states no orientation; left–right and front–back may be wrong.",)
    return ()


def check_metaimage(path: Path) -> tuple[str, ...]:
    """Refuse bad spacing, missing or truncated voxel data."""
    fields, header_bytes = _metaimage_fields(path)
    for key in ("ElementSpacing", "ElementSize"):
        steps = [float(s) for s in fields.get(key, "").split()]
        if any(s <= 0 for s in steps) and (key == "ElementSpacing" or "ElementSpacing" not in fields):
            raise VolumeError(
                f"{path.name} has spacing {_mm(steps)} mm; expected three positive numbers: repair the header or"
                " export again."
            )
    where = fields.get("ElementDataFile", "")
    if where.upper() == "LOCAL":
        data, offset = path, header_bytes
    elif where and where.upper() != "LIST" and "%" not in where:
        data, offset = path.parent / where, int(fields.get("HeaderSize", 0))
        _expect_file(path, data)
    else:
        return ()
    if fields.get("CompressedData", "False").lower() == "true":
        voxels = int(fields.get("CompressedDataSize", 0))
    else:
        element = fields.get("ElementType", "").removeprefix("MET_").replace("UCHAR", "CHAR").replace("ULONG", "LONG")
        element = element.replace("USHORT", "SHORT").replace("UINT", "INT").removesuffix("_ARRAY")
        count = int(np.prod([int(n) for n in fields.get("DimSize", "0").split()]))
        channels = int(fields.get("ElementNumberOfChannels", 1))
        voxels = count * channels * _METAIMAGE_BYTES.get(element, 0)
    _expect_bytes(data, max(offset, 0) + voxels, data.stat().st_size)
    return ()


def _nrrd_fields(path: Path) -> dict[str, str]:
    fields = {}
    with path.open("rb") as file:
        for line in file:
            text = line.decode("utf-8", "replace").strip()
            if not text:
                break
            key, colon, value = text.partition(":")
            if colon and not text.startswith("#"):
                fields[key.strip().lower()] = value.strip()
    return fields


def _metaimage_fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields and its length in bytes; ``ElementDataFile`` ends it."""
    fields = {}
    with path.open("rb") as file:
        for line in file:
            key, _, value = line.decode("utf-8", "replace").partition("=")
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        return fields, file.tell()


def _paired_data(header: Path) -> Path:
    """The .img of a NIfTI .hdr (either one may be opened)."""
    zipped = ".gz" if header.name.lower().endswith(".gz") else ""
    base = header.with_suffix("").with_suffix("") if zipped else header.with_suffix("")
    data = base.with_name(base.name + ".img" + zipped)
    _expect_file(header, data)
    return data


def _expect_file(header: Path, data: Path) -> None:
    if not data.exists():
        raise VolumeError(f"{header.name} keeps its voxels in {data.name}, which is not beside it; copy both files.")


def _expect_bytes(path: Path, expected: int, found: int) -> None:
    if found < expected:
        raise VolumeError(
            f"{path.name} is truncated: it holds {found:,} of the {expected:,} bytes that its header announces; copy"
            " or export it again."
        )


def _distance(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], size: tuple[int, ...]) -> float:
    """Largest distance in mm between the two places of any of the volume's eight corners."""
    corners = np.array([[i, j, k, 1] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())


def _mm(steps: Any) -> str:
    return " × ".join(f"{s:g}" for s in steps)
