"""Volumes: 3-D scalar images with their geometry, read and written by SimpleITK.

The geometry (spacing, origin, direction) is kept as the file states it; a file whose geometry cannot be trusted is
refused with one sentence, and what is usable but odd (a tilted gantry, disagreeing headers) lands in
``Volume.warnings``. Positions are in LPS mm as in ITK and DICOM, or in RAS mm as in NIfTI and 3D Slicer.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.spaces import LPS_TO_RAS, Transform

Triple = tuple[float, float, float]

# |DᵀD − 1| beyond this is a shear or scaling that no rigid patient frame has; headers with 4 digits stay below
ORTHONORMAL_TOLERANCE = 1e-3

_MASK_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True, eq=False)
class Volume:
    """An immutable 3-D scalar image and where it lies in the patient.

    Args:
        image: A 3-D scalar SimpleITK image; it must not be changed afterwards.
        name: What to call it, usually the file's name without its suffix.
        path: The file or folder it came from.
        modality: "CT", "MR", … as DICOM says; "CT" is also guessed when the smallest value is that of air in
            Hounsfield units; otherwise "".
        warnings: Sentences about the file that the user should see.
        series: Which DICOM series it is, its SeriesInstanceUID; None for other files.

    Raises:
        VolumeError: The image is not a finite 3-D scalar volume with an orthonormal direction.
    """

    image: Any
    name: str = "volume"
    path: Path | None = None
    modality: str = ""
    warnings: tuple[str, ...] = ()
    series: str | None = None

    def __post_init__(self) -> None:
        check_shape(self.name, self.image)
        check_geometry(self.name, self.image.GetSpacing(), self.image.GetDirection(), self.image.GetOrigin())
        check_finite(self.name, self.array)
        if not self.modality and -3100 <= float(self.array.min()) <= -900:
            object.__setattr__(self, "modality", "CT")

    @classmethod
    def read(cls, path: str | Path, *, series: str | None = None) -> Volume:
        """Read a NIfTI, NRRD, MetaImage or DICOM file, or a folder with a DICOM series.

        Args:
            path: The file or folder.
            series: For a DICOM folder, which series: its SeriesInstanceUID, its number or its description. Without
                it the largest one is read.

        Raises:
            VolumeError: Whatever is wrong with the file, in one sentence.
        """
        from sammed3d_nb.readers import read_image  # here, since readers raise errors with checks of this module

        path = Path(os.path.expanduser(path))  # noqa: PTH111  pathlib fails on a file that is called ~name
        found = read_image(path, series=series)
        return cls(
            found.image,
            name=found.name,
            path=path,
            modality=found.modality,
            warnings=found.warnings,
            series=found.series,
        )

    @classmethod
    def from_array(
        cls,
        array: npt.ArrayLike,
        spacing: Sequence[float],
        direction: npt.ArrayLike | None = None,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        *,
        name: str = "array",
        modality: str = "",
    ) -> Volume:
        """Make a volume of an array (copied).

        Args:
            array: Shape (z, y, x) = (k, j, i), any real numeric type.
            spacing: mm along i, j, k.
            direction: (3, 3), columns are the LPS directions of i, j and k; identity when left out.
            origin: LPS mm of the centre of voxel (0, 0, 0).
            name: What to call it.
            modality: "CT", "MR" or "".

        Raises:
            VolumeError: Wrong shape, type or geometry, or values that are not finite.
        """
        values = np.asarray(array)
        if values.ndim != 3:
            raise VolumeError(f"{name} has {values.ndim} dimensions {values.shape}; expected a 3-D array (z, y, x).")
        if values.dtype == np.bool_:
            values = values.astype(np.uint8)
        elif values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
            values = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
        elif values.dtype.kind not in "iuf":
            raise VolumeError(f"{name} holds {values.dtype} values; expected real numbers, one per voxel.")
        axes = np.eye(3) if direction is None else np.asarray(direction, dtype=np.float64)
        check_geometry(name, spacing, axes, origin)
        image = sitk.GetImageFromArray(values.astype(values.dtype.newbyteorder("="), copy=False))
        image.SetSpacing([float(s) for s in spacing])
        image.SetOrigin([float(o) for o in origin])
        image.SetDirection([float(d) for d in np.ravel(axes)])
        return cls(image, name=name, modality=modality)

    @cached_property
    def array(self) -> npt.NDArray[Any]:
        """The voxels, shape (z, y, x), native type: a read-only view of ``image``, not a copy."""
        view = np.asarray(_Buffer(self.image))
        view.flags.writeable = False
        return view

    @property
    def size(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        i, j, k = self.image.GetSize()
        return i, j, k

    @property
    def spacing(self) -> Triple:
        """Distance of voxel centres along i, j, k, in mm."""
        i, j, k = self.image.GetSpacing()
        return i, j, k

    @property
    def origin(self) -> Triple:
        """LPS mm of the centre of voxel (0, 0, 0)."""
        x, y, z = self.image.GetOrigin()
        return x, y, z

    @cached_property
    def direction(self) -> npt.NDArray[np.float64]:
        """(3, 3): the columns are the directions of i, j and k in LPS."""
        matrix = np.array(self.image.GetDirection(), dtype=np.float64).reshape(3, 3)
        matrix.flags.writeable = False
        return matrix

    @property
    def file_stem(self) -> str:
        """The name, for file names: what file systems refuse, e.g. the slash of "ABD/PEL 5.0", becomes "_"."""
        return re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", self.name).strip(". ") or "volume"

    @cached_property
    def voxel_to_lps(self) -> Transform:
        """From voxel indices (i, j, k) to LPS mm."""
        return Transform.from_parts("voxel", "lps", self.direction * np.array(self.spacing), self.origin)

    @cached_property
    def voxel_to_ras(self) -> Transform:
        """From voxel indices (i, j, k) to RAS mm."""
        return self.voxel_to_lps.then(LPS_TO_RAS)

    @cached_property
    def array_to_voxel(self) -> Transform:
        """From array indices (z, y, x) to voxel indices (i, j, k)."""
        return Transform("array", "voxel", np.eye(4)[[2, 1, 0, 3]])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the voxels, their type and the geometry."""
        digest = hashlib.sha256(f"{self.array.dtype.str} {self.size} ".encode())
        geometry = np.concatenate([self.spacing, self.origin, self.direction.ravel()])
        digest.update(geometry.astype("<f8").tobytes())
        digest.update(np.ascontiguousarray(self.array).data)
        return digest.hexdigest()

    def contains(self, ijk: Sequence[float]) -> bool:
        """Whether the voxel (i, j, k) exists; a fractional index counts for the voxel it lies in."""
        return all(-0.5 <= index < size - 0.5 for index, size in zip(ijk, self.size, strict=True))

    def write_mask(self, mask: npt.ArrayLike, path: str | Path) -> Path:
        """Write a mask or label map with this volume's geometry.

        Args:
            mask: Whole numbers from 0 or booleans, shape (z, y, x) as ``array``; stored in the smallest unsigned type
                that holds them.
            path: Ends in .nii, .nii.gz, .nrrd, .mha or .mhd; the suffix chooses the format.

        Returns:
            The path written.

        Raises:
            VolumeError: Another shape, type or suffix, the volume's own file, or a place that cannot be written.
        """
        from sammed3d_nb.readers import quiet

        path = Path(os.path.expanduser(path))  # noqa: PTH111  as in ``read``
        check_mask_path(path, self.path)
        values = np.asarray(mask)
        if values.shape != self.array.shape:
            raise VolumeError(
                f"The mask has shape {values.shape}; {self.name} has {self.array.shape} (z, y, x), and they must match."
            )
        if values.dtype.kind not in "biu" or values.min() < 0:
            raise VolumeError(
                f"The mask holds {values.dtype} numbers from {values.min()}; expected booleans or whole numbers from 0:"
                " compare it with a threshold first."
            )
        image = sitk.GetImageFromArray(values.astype(np.min_scalar_type(int(values.max()))))
        image.CopyInformation(self.image)
        # written beside it first, so that a full disk leaves an older mask whole; .mhd names its second file inside
        suffix = next(suffix for suffix in reversed(_MASK_SUFFIXES) if path.name.lower().endswith(suffix))
        beside = path if suffix == ".mhd" else path.with_name(f".{path.name}.part{suffix}")
        try:
            with quiet():
                sitk.WriteImage(image, str(beside), useCompression=True)
            beside.replace(path)
        except (RuntimeError, OSError) as error:
            if beside != path:
                beside.unlink(missing_ok=True)
            raise VolumeError(f"{path} cannot be written; check the disk's space and your permissions.") from error
        return path

    def __repr__(self) -> str:
        spacing = " × ".join(f"{s:.4g}" for s in self.spacing)
        size = " × ".join(str(s) for s in self.size)
        return f"Volume({self.name!r}, {size} voxels of {spacing} mm, {self.array.dtype}, {self.modality or 'unknown'})"


class _Buffer:
    """Hands NumPy the image's memory and keeps the image alive as long as any array uses it."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__


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
    spacing: Sequence[float],
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
    if steps.shape != (3,) or not np.all(np.isfinite(steps)) or np.any(steps <= 0):
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


def check_mask_path(path: Path, source: Path | None = None) -> None:
    """Refuse a path that ``Volume.write_mask`` could not write, before any work is done; see ``check_not_source``."""
    if not path.name.lower().endswith(_MASK_SUFFIXES):
        raise VolumeError(f"{path.name} ends in no known mask format; use one of {', '.join(_MASK_SUFFIXES)}.")
    if not path.absolute().parent.is_dir():
        raise VolumeError(f"The folder {path.absolute().parent} does not exist; make it first or choose another.")
    check_not_source(path, source)


def check_not_source(path: Path, source: Path | None) -> None:
    """Refuse to write over the image file, or over a slice of the DICOM folder, that a volume is read from."""
    from sammed3d_nb.dicom_header import is_dicom

    if source is None or not source.exists() or not path.is_file():
        return
    if path.samefile(source) or (source.resolve() in path.resolve().parents and is_dicom(path)):
        raise VolumeError(f"{path} is the image itself and would be overwritten; choose another name.")
