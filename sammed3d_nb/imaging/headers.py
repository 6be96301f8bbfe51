"""Raw headers of NIfTI, NRRD and MetaImage files: what SimpleITK would silently repair, drop or ignore.

Field offsets follow the NIfTI-1 standard (nifti.nimh.nih.gov), the fields of the other two the NRRD format
definition (teem.sourceforge.net/nrrd) and the MetaIO documentation (itk.org).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.checks import ORTHONORMAL_TOLERANCE, check_geometry, refuse_not_finite
from sammed3d_nb.imaging.nifti import NiftiHeader
from sammed3d_nb.imaging.streams import count_inflated, unpacked
from sammed3d_nb.spaces import LPS_TO_RAS

_NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_MILLIMETRES = ("", "mm", "millimeter", "millimeters", "millimetre", "millimetres")
_ITK_TOLERANCE = 2e-4  # beyond it ITK does not accept an sform (found by trial, ITK 5.4)
_COLOUR_AND_COMPLEX = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA"}
_METAIMAGE_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


def is_metaimage(head: bytes) -> bool:
    """Whether these first bytes are those of a MetaImage header."""
    start = head.lstrip()
    return start.startswith((b"ObjectType", b"NDims", b"Comment")) and b"=" in start


def check_nifti(path: Path, head: bytes) -> tuple[str, ...]:
    """Refuse what ITK would load wrongly: 2-D, 4-D, colour, bad spacing, truncated voxels."""
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
    if header.datatype not in _NIFTI_TYPES:
        raise VolumeError(
            f"{name} has voxels of data type {header.datatype}, which is not supported; save it as int16."
        )
    check_geometry(name, header.geometry.pixdim[1:4], np.eye(3), (0, 0, 0))
    if header.geometry.sform_code > 0:
        # ITK would use the qform in place of such axes without a word, or fail when there is none
        steps = np.linalg.norm(header.geometry.sform[:3, :3], axis=0)
        axes = header.geometry.sform[:3, :3] / np.where(steps > 0, steps, 1)
        tolerance = ORTHONORMAL_TOLERANCE if header.geometry.qform_code > 0 else _ITK_TOLERANCE
        check_geometry(name, steps, axes, header.geometry.sform[:3, 3], tolerance=tolerance)
    voxels = _paired_data(path) if header.paired else path
    dtype = np.dtype(header.order + _NIFTI_TYPES[header.datatype])
    start = 0 if header.paired else max(header.data_offset, 348)
    _check_nifti_voxels(voxels, start, int(np.prod(dims)), dtype)
    notes: tuple[str, ...] = ()
    if count > 3:
        notes += (f"{name} is {count}-D with a single time point; it is used as a 3-D volume.",)
    if not (header.geometry.qform_code > 0 or header.geometry.sform_code > 0):
        notes += (f"{name} states no orientation; left–right and front–back may be wrong.",)
    return notes


def check_nifti_geometry(path: Path, head: bytes, image: Any) -> tuple[str, ...]:
    """Compare what ITK made of the geometry with what the header states.

    A NIfTI header can hold two affines. Both are compared where stated; which one ITK took is told when they
    disagree by more than half a voxel somewhere.
    """
    header = NiftiHeader.parse(head)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (-1, image.GetDimension()))[:3, :3] * image.GetSpacing()[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    read = LPS_TO_RAS.affine @ matrix
    stated = {}
    if header.geometry.sform_code > 0:
        stated["sform"] = header.geometry.sform
    if header.geometry.qform_code > 0:
        stated["qform"] = header.geometry.qform
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
    """Refuse bad spacing, other units than mm and missing data files; tell when there is no orientation."""
    fields, name = _nrrd_fields(path), path.name
    vectors = [
        [float(n) for n in text.split(",")] for text in re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
    ]
    steps = [float(np.linalg.norm(vector)) for vector in vectors]
    steps = steps or [float(n) for n in fields.get("spacings", "").split() if n.lower() != "nan"]
    if len(steps) == 3:
        check_geometry(name, steps, np.eye(3), (0, 0, 0))
    units = fields.get("space units") or ("" if vectors else fields.get("units", ""))
    others = [unit for unit in re.findall(r'"([^"]*)"', units)[:3] if unit.strip().lower() not in _MILLIMETRES]
    if others:
        raise VolumeError(
            f"{name} states its spacing in {others[0]}; expected mm, which 3-D images use: convert it first."
        )
    detached = fields.get("data file") or fields.get("datafile")
    if detached and not detached.startswith("LIST") and "%" not in detached:
        _expect_file(path, path.parent / detached)
    if not vectors:
        return (f"{name} states no orientation; left–right and front–back may be wrong.",)
    return ()


def check_metaimage(path: Path) -> tuple[str, ...]:
    """Refuse bad spacing and axes, and voxel data that are missing, truncated or damaged."""
    fields, header_bytes = _metaimage_fields(path)
    name = path.name
    if not {"NDims", "DimSize", "ElementType", "ElementDataFile"} <= fields.keys():
        raise VolumeError(f"{name} is truncated: its MetaImage header is not complete; copy or export it again.")
    if fields["NDims"] == "3":
        steps = _numbers(fields.get("ElementSpacing") or fields.get("ElementSize") or "1 1 1")
        axes = _numbers(fields.get("TransformMatrix") or fields.get("Rotation") or "1 0 0 0 1 0 0 0 1")
        check_geometry(name, steps, np.reshape(axes, (3, -1)).T if len(axes) == 9 else axes, (0, 0, 0))
    where = fields["ElementDataFile"]
    if where.upper().startswith("LIST") or "%" in where:
        return ()
    local = where.upper() == "LOCAL"
    data = path if local else path.parent / where
    _expect_file(path, data)
    start = header_bytes if local else max(int(fields.get("HeaderSize", 0)), 0)
    element = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY").removeprefix("U")
    count = int(np.prod(_numbers(fields["DimSize"]))) * int(fields.get("ElementNumberOfChannels", 1))
    expected = count * _METAIMAGE_BYTES.get(element, 0)
    if fields.get("CompressedData", "").lower() == "true":
        found, start = count_inflated(data, start), 0
    else:
        found = data.stat().st_size
    _expect_bytes(data, start + expected, found)
    return ()


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]


def _check_nifti_voxels(path: Path, start: int, count: int, dtype: np.dtype[Any]) -> None:
    """Read all voxels once, as ITK fills missing voxels with zeros and puts zeros in place of NaN and infinity."""
    found = nans = infinite = 0
    for chunk in unpacked(path, skip=start):
        found += len(chunk)
        if dtype.kind == "f":
            values = np.frombuffer(chunk, dtype, count=len(chunk) // dtype.itemsize)
            here = int(np.isnan(values).sum())
            nans, infinite = nans + here, infinite + int((~np.isfinite(values)).sum()) - here
    _expect_bytes(path, start + count * dtype.itemsize, start + found)
    refuse_not_finite(path.name, count, nans, infinite)


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
