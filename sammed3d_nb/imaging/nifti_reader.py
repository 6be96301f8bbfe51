"""Reading NIfTI-1, NIfTI-2 and Analyze 7.5: sizes before bytes, exact lengths, and one geometry of the two.

SimpleITK fills missing voxels with zeros, puts zeros in place of NaN, drops the sign of a spacing and chooses between
disagreeing geometries, all without a word; so the header and every byte are looked at here first. What it cannot read
(NIfTI-2, Analyze, a .hdr beside an .img.gz, axes that it takes for sheared) is read here altogether.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.checks import ORTHONORMAL_TOLERANCE, check_geometry, expect_memory, refuse_not_finite
from sammed3d_nb.imaging.itk import ImageFile, load
from sammed3d_nb.imaging.naming import stem
from sammed3d_nb.imaging.nifti import Affine, NiftiHeader
from sammed3d_nb.imaging.streams import could_hold, expect_bytes, expect_no_more, is_gzipped, own_file, unpacked
from sammed3d_nb.spaces import LPS_TO_RAS

GEOMETRIES = ("sform", "qform")

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_OTHERS = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA"}
_UNITS = {1: "metres", 3: "micrometres"}
_ITK_TOLERANCE = 2e-4  # beyond it ITK does not accept an sform (found by trial, ITK 5.4)
_SAME = 0.01  # of a voxel, at any corner: within it ITK's geometry, to the last bit, is the one wanted


def read_nifti(path: Path, head: bytes, geometry: str | None = None) -> ImageFile:
    """Read a file whose first bytes (after gunzip) are those of a NIfTI or Analyze header.

    Args:
        path: The .nii, or the .hdr of a pair.
        head: The first bytes.
        geometry: "sform" or "qform" where both are stated; by default the sform, as most programs do.

    Raises:
        VolumeError: 2-D, 4-D, colour, bad spacing, missing or surplus voxels, axes that no straight grid has.
    """
    header, name = NiftiHeader.parse(head), path.name
    dims, notes = _check_dimensions(header, name)
    spacing = np.array(header.geometry.pixdim[1:4])
    if header.kind == "Analyze 7.5":
        spacing = np.abs(spacing)  # some wrote a flip that way, which nobody reads
    check_geometry(name, spacing, np.eye(3), (0, 0, 0))
    affine, chosen = _choose(header, name, geometry, dims)
    if affine is not None:
        steps, axes, origin = _parts(affine)
        check_geometry(name, steps, axes, origin, tolerance=ORTHONORMAL_TOLERANCE)
    voxels = paired_data(path) if header.paired else path
    dtype = np.dtype(header.order + _TYPES[header.datatype])
    start = max(header.data_offset, 0 if header.paired else 348)
    count = math.prod(dims)
    could_hold(voxels, start + count * dtype.itemsize)
    scaled = _scaled(header, dtype)
    itk_reads = _itk_reads(path, voxels, header)
    kept = (scaled or dtype).itemsize if itk_reads and not scaled else (scaled or dtype).itemsize + dtype.itemsize
    expect_memory(name, count * kept)
    _check_voxels(voxels, start, count, dtype)
    image = load(path, "NiftiImageIO", dims) if itk_reads else _load(voxels, start, dims, dtype, header, scaled)
    if affine is not None:
        _place(image, affine)
    elif not itk_reads:
        _place_unstated(image, header, spacing)
    unit = _UNITS.get(header.geometry.units & 7)
    if unit:
        notes += (f"{name} states its geometry in {unit}; it was converted to mm.",)
    analyze = header.kind == "Analyze 7.5"
    if analyze:
        notes += (
            f"{name} is Analyze 7.5, which does not say which side is left: it is shown as most programs take it"
            " (stored from the patient's right to the left), and left and right may be swapped.",
        )
    stated = None if analyze else header.geometry
    return ImageFile(image, stem(path), warnings=notes + chosen, stated=stated)


def paired_data(header: Path) -> Path:
    """The .img, gzipped or not, of a .hdr (either one may be given).

    Raises:
        VolumeError: It is not there, or is no regular file.
    """
    base = _base(header)
    zipped = header.name.lower().endswith(".gz")
    for suffix in (".img.gz", ".img") if zipped else (".img", ".img.gz"):
        for spelt in (suffix, suffix.upper()):
            if base.with_name(base.name + spelt).exists():
                return own_file(header, base.name + spelt)
    return own_file(header, base.name + (".img.gz" if zipped else ".img"))


def header_of(path: Path) -> Path:
    """The .hdr of an .img, where there is one; else the path itself."""
    if path.name.lower().endswith((".img", ".img.gz")):
        base = _base(path)
        for suffix in (".hdr", ".hdr.gz"):
            if base.with_name(base.name + suffix).is_file():
                return base.with_name(base.name + suffix)
    return path


def _base(path: Path) -> Path:
    return path.with_suffix("").with_suffix("") if path.name.lower().endswith(".gz") else path.with_suffix("")


def _check_dimensions(header: NiftiHeader, name: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers of voxels along i, j, k, and what to say of them."""
    count = header.dim[0]
    if not 1 <= count <= 7 or any(n < 1 for n in header.dim[1 : count + 1]):
        raise VolumeError(f"{name} has a damaged header (its dimensions read {header.dim}); copy or export it again.")
    dims = header.dim[1 : count + 1]
    shown = " × ".join(str(n) for n in dims)
    if header.datatype in _OTHERS or (count >= 5 and dims[4] > 1):
        kind = _OTHERS.get(header.datatype, "vectors")
        raise VolumeError(f"{name} holds {kind} ({shown}); expected one real number per voxel: save one channel.")
    if count < 3 or min(dims[:3]) < 2:
        raise VolumeError(
            f"{name} is 2-D ({shown}); expected a 3-D volume with at least 2 slices: open the whole stack."
        )
    if max(dims[3:], default=1) > 1:
        raise VolumeError(
            f"{name} is 4-D ({shown}); expected one 3-D volume: save one of its time points as a file of its own."
        )
    if header.datatype not in _TYPES:
        raise VolumeError(
            f"{name} has voxels of data type {header.datatype}, which is not supported; save it as int16."
        )
    if count > 3:
        return dims[:3], (f"{name} is {count}-D with a single time point; it is used as a 3-D volume.",)
    return dims, ()


def _choose(
    header: NiftiHeader, name: str, wanted: str | None, dims: tuple[int, ...]
) -> tuple[Affine | None, tuple[str, ...]]:
    """Voxel → RAS mm by one of the stated geometries, and what to say about the choice; None where none is stated."""
    geometry = header.geometry
    stated = {}
    if geometry.sform_code > 0:
        stated["sform"] = geometry.sform
    if geometry.qform_code > 0:
        stated["qform"] = geometry.qform
    if wanted is not None and wanted not in stated:
        there = f"only its {next(iter(stated))}" if stated else "none"
        raise VolumeError(f"{name} states no {wanted}, {there}; leave the choice out.")
    if not stated:
        if header.kind == "Analyze 7.5":
            return None, ()
        return None, (f"{name} states no orientation; left–right and front–back may be wrong.",)
    used = wanted or next(iter(stated))
    affine = stated[used]
    for other in (form for form in stated if form != used):
        apart = _distance(affine, stated[other], dims)
        if apart > 0.5 * min(_parts(affine)[0]):
            return affine, (
                f"{name} states two geometries that lie up to {apart:.1f} mm apart; its {used} is used, its {other} is"
                " not.",
            )
    return affine, ()


def _parts(affine: Affine) -> tuple[npt.NDArray[np.float64], Affine, npt.NDArray[np.float64]]:
    """Spacing, direction and origin of voxel → RAS mm, in LPS."""
    lps = LPS_TO_RAS.affine @ affine
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    return steps, lps[:3, :3] / np.where(steps > 0, steps, 1), lps[:3, 3]


def _itk_reads(path: Path, voxels: Path, header: NiftiHeader) -> bool:
    """Whether SimpleITK reads this file, and would not refuse its axes."""
    if header.kind != "NIfTI-1" or (header.paired and is_gzipped(path) != is_gzipped(voxels)):
        return False
    if header.paired and not path.name.lower().endswith((".hdr", ".hdr.gz")):
        return False
    geometry = header.geometry
    for code, affine in ((geometry.sform_code, geometry.sform), (geometry.qform_code, geometry.qform)):
        if code > 0:
            axes = _parts(affine)[1]
            if not np.abs(axes.T @ axes - np.eye(3)).max() <= _ITK_TOLERANCE:
                return False
    return True


def _scaled(header: NiftiHeader, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The type of the voxels after slope and intercept; None where the header does not ask for them."""
    slope, intercept = header.slope, header.intercept
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0 or (slope, intercept) == (1, 0):
        return None
    return np.dtype(np.float64 if dtype.itemsize > 4 or dtype.str[1:] in ("i4", "u4") else np.float32)


def _check_voxels(path: Path, start: int, count: int, dtype: np.dtype[Any]) -> None:
    """Read all voxels once: missing ones, and values that are no finite numbers."""
    found = nans = infinite = 0
    expected = count * dtype.itemsize
    for chunk in unpacked(path, skip=start):
        found += len(chunk)
        expect_no_more(path, expected, found)
        if dtype.kind == "f":
            values = np.frombuffer(chunk, dtype, count=len(chunk) // dtype.itemsize)
            here = int(np.isnan(values).sum())
            nans, infinite = nans + here, infinite + int((~np.isfinite(values)).sum()) - here
    expect_bytes(path, start + expected, start + found)
    refuse_not_finite(path.name, count, nans, infinite)


def _load(path: Path, start: int, dims: tuple[int, ...], dtype: np.dtype[Any], header: NiftiHeader, scaled: Any) -> Any:
    """The voxels of a file that `_check_voxels` has passed, without geometry."""
    values = np.empty(math.prod(dims), dtype.newbyteorder("="))
    at = 0
    for chunk in unpacked(path, skip=start):
        part = np.frombuffer(chunk, dtype, count=len(chunk) // dtype.itemsize)[: values.size - at]
        values[at : at + part.size] = part
        at += part.size
    expect_bytes(path, start + values.nbytes, start + at * dtype.itemsize)
    if scaled:
        values = values.astype(scaled) * scaled.type(header.slope) + scaled.type(header.intercept)
    return sitk.GetImageFromArray(values.reshape(dims[::-1]))


def _place(image: Any, affine: Affine) -> None:
    """Put the image where voxel → RAS mm says, unless it lies there already."""
    dimensions = image.GetDimension()
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (dimensions, dimensions))[:3, :3] * image.GetSpacing()[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    spacing, direction, origin = _parts(affine)
    if _distance(LPS_TO_RAS.affine @ matrix, affine, image.GetSize()[:3]) <= _SAME * min(spacing):
        return
    rest = dimensions - 3
    axes = np.eye(dimensions)
    axes[:3, :3] = direction
    image.SetSpacing([*spacing.tolist(), *image.GetSpacing()[3:]])
    image.SetOrigin([*origin.tolist(), *[0.0] * rest])
    image.SetDirection(axes.ravel().tolist())


def _place_unstated(image: Any, header: NiftiHeader, spacing: npt.NDArray[np.float64]) -> None:
    """Where nothing is stated: NIfTI as ITK does, Analyze as SPM and nibabel do."""
    steps = spacing * header.geometry.unit
    image.SetSpacing(steps.tolist())
    if header.kind == "Analyze 7.5":
        centre = header.centre or tuple((n - 1) / 2 for n in image.GetSize())
        axes = np.diag([1.0, -1.0, 1.0])  # to the left, forward, up, in LPS
        image.SetDirection(axes.ravel().tolist())
        image.SetOrigin((-axes @ (steps * centre)).tolist())


def _distance(first: Affine, second: Affine, size: tuple[int, ...]) -> float:
    """Largest distance in mm between the two places of any of the volume's eight corners."""
    corners = np.array([[i, j, k, 1] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())
