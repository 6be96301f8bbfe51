"""Volumes: 3-D scalar images with their geometry, read and written by SimpleITK.

The geometry (spacing, origin, direction) is kept as the file states it; a file whose geometry cannot be trusted is
refused with one sentence, and what is usable but odd (a tilted gantry, disagreeing headers) lands in
``Volume.warnings``. Positions are in LPS mm as in ITK and DICOM, or in RAS mm as in NIfTI and 3D Slicer.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.checks import check_finite, check_geometry, check_shape
from sammed3d_nb.imaging.naming import telling_name
from sammed3d_nb.imaging.nifti import NiftiGeometry
from sammed3d_nb.imaging.readers import read_image
from sammed3d_nb.imaging.tilt import Slices
from sammed3d_nb.imaging.writers import LAYERED, write_labels
from sammed3d_nb.spaces import LPS_TO_RAS, Transform

Triple = tuple[float, float, float]

_USUAL_SPACING = (0.005, 50.0)  # mm, from micro-CT to the thickest slices


@dataclass(frozen=True, eq=False)
class Volume:
    """An immutable 3-D scalar image and where it lies in the patient.

    Args:
        image: A 3-D scalar SimpleITK image; it must not be changed afterwards.
        name: What to call it, usually the file's name without its suffix; see `naming`.
        path: The file or folder it came from.
        modality: "CT", "MR", … as DICOM says; "CT" is also guessed when the smallest value is that of air in
            Hounsfield units; otherwise "".
        warnings: Sentences about the file that the user should see.
        series: Which DICOM series it is, its SeriesInstanceUID; None for other files.
        stated: The geometry as its NIfTI file states it, which masks in NIfTI keep whole; None for other files.
        slices: The slices of a tilted gantry that it was straightened from, on which masks are written; else None.
        geometry: Which of two geometries of a NIfTI file was asked for, "sform" or "qform"; None for neither.
        choices: Of a DICOM folder from which one of several series was taken, unasked: a line for each series.
        tilt: Of a tilted gantry, the LPS mm by which each slice was taken aside of the one before; None else.

    Raises:
        VolumeError: The image is not a finite 3-D scalar volume with an orthonormal direction.
    """

    image: Any
    name: str = "volume"
    path: Path | None = None
    modality: str = ""
    warnings: tuple[str, ...] = ()
    series: str | None = None
    stated: NiftiGeometry | None = None
    slices: Slices | None = None
    geometry: str | None = None
    choices: tuple[str, ...] = ()
    tilt: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_shape(self.name, self.image)
        check_geometry(self.name, self.image.GetSpacing(), self.image.GetDirection(), self.image.GetOrigin())
        check_finite(self.name, self.array)
        if not self.modality and -3100 <= float(self.array.min()) <= -900:
            object.__setattr__(self, "modality", "CT")
        remarks = [remark for remark in self._remarks() if remark not in self.warnings]
        if remarks:
            object.__setattr__(self, "warnings", (*self.warnings, *remarks))

    @classmethod
    def read(
        cls, path: str | Path, *, series: str | None = None, geometry: str | None = None, straighten: bool = False
    ) -> Volume:
        """Read a NIfTI, NRRD, MetaImage or DICOM file, or a folder with a DICOM series.

        Args:
            path: The file or folder.
            series: For a DICOM folder, which series: its SeriesInstanceUID, its number or its description. Without
                it the largest one is read.
            geometry: "sform" or "qform", of a NIfTI file that states both; by default the sform, as most programs do.
            straighten: Whether slices of a tilted gantry are shifted to where they lie in the patient; masks are
                written on the slices as they were taken all the same.

        Raises:
            VolumeError: Whatever is wrong with the file, in one sentence.
        """
        path = Path(os.path.expanduser(path))  # noqa: PTH111  pathlib fails on a file that is called ~name
        found = read_image(path, series=series, geometry=geometry, straighten=straighten)
        return cls(
            found.image,
            name=telling_name(found.name, path),
            path=path,
            modality=found.modality,
            warnings=found.warnings,
            series=found.series,
            stated=found.stated,
            slices=found.slices,
            geometry=geometry,
            choices=found.choices,
            tilt=found.tilt,
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
        warnings: Sequence[str] = (),
    ) -> Volume:
        """Make a volume of an array (copied).

        Args:
            array: Shape (z, y, x) = (k, j, i), any real numeric type.
            spacing: mm along i, j, k.
            direction: (3, 3), columns are the LPS directions of i, j and k; identity when left out.
            origin: LPS mm of the centre of voxel (0, 0, 0).
            name: What to call it.
            modality: "CT", "MR" or "".
            warnings: Sentences about it that the user should see.

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
        return cls(image, name=name, modality=modality, warnings=tuple(warnings))

    def kept_at(self, path: Path) -> Volume:
        """The same volume, of which `path` is the file."""
        same = copy.copy(self)  # what has been computed of it goes along
        object.__setattr__(same, "path", path)
        return same

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

    def write_mask(
        self,
        mask: npt.ArrayLike,
        path: str | Path,
        *,
        overwrite: bool | None = None,
        names: Mapping[int, str] | None = None,
        colours: Mapping[int, str] | None = None,
    ) -> Path:
        """Write a mask or label map with this volume's geometry: whole, read back and compared, or not at all.

        Args:
            mask: Whole numbers from 0 or booleans, shape (z, y, x) as ``array``; stored in the smallest unsigned type
                that holds them. A .seg.nrrd takes layers of them too, (z, y, x, layer), for labels that share voxels.
            path: Ends in .nii, .nii.gz, .nrrd, .mha or .mhd; the suffix chooses the format.
            overwrite: Whether a file that is there may be replaced; when left out, one that this method wrote may be,
                and no other. The volume's own file never is.
            names: What the labels 1, 2, … are called, written into the file where 3D Slicer (.nrrd, .mha) and
                Connectome Workbench (.nii) look for it.
            colours: Of the labels, ``#rrggbb``.

        Returns:
            The path written.

        Raises:
            VolumeError: Another shape, type or suffix, the volume's own file, a file that must not be replaced, or a
                place that cannot be written.
        """
        values, path = np.asarray(mask), Path(os.path.expanduser(path))  # noqa: PTH111
        layered = values.ndim == 4 and path.name.lower().endswith(LAYERED)
        if values.shape[: 3 if layered else None] != self.array.shape:
            raise VolumeError(
                f"The mask has shape {values.shape}; {self.name} has {self.array.shape} (z, y, x), and they must match."
            )
        if self.slices is not None:
            values = self.slices.take_back(values)
        return write_labels(
            values,
            self.slices or self.image,
            path,
            source=self.path,
            stated=self.stated,
            overwrite=overwrite,
            names=names,
            colours=colours,
        )

    def _remarks(self) -> list[str]:
        """What is odd about any image, whatever it came from."""
        remarks = []
        if not all(_USUAL_SPACING[0] <= step <= _USUAL_SPACING[1] for step in self.spacing):
            shown = " × ".join(f"{step:.4g}" for step in self.spacing)
            remarks.append(
                f"{self.name} has voxels of {shown} mm, which no scanner for patients makes; perhaps its header states"
                " them in another unit: check it before you trust volumes and distances."
            )
        first = self.array[0, 0, 0]
        if all(bool((plane == first).all()) for plane in self.array):
            remarks.append(f"{self.name} holds the value {first:g} in every voxel, so there is nothing to see in it.")
        return remarks

    def __repr__(self) -> str:
        spacing = " × ".join(f"{s:.4g}" for s in self.spacing)
        size = " × ".join(str(s) for s in self.size)
        return f"Volume({self.name!r}, {size} voxels of {spacing} mm, {self.array.dtype}, {self.modality or 'unknown'})"


class _Buffer:
    """Hands NumPy the image's memory and keeps the image alive as long as any array uses it."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__
