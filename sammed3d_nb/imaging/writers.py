"""Writing label maps on an image's grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.dicom_header import is_dicom
from sammed3d_nb.imaging.itk import quiet

MASK_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def write_labels(values: npt.NDArray[Any], like: Any, path: Path, *, source: Path | None = None) -> Path:
    """Write a mask or label map with the geometry of an image; see ``Volume.write_mask``.

    Args:
        values: (z, y, x) whole numbers from 0 or booleans, on the grid of `like`.
        like: The SimpleITK image.
        path: Ends in one of `MASK_SUFFIXES`.
        source: The image's own file or folder, which is never written over.

    Returns:
        The path written.

    Raises:
        VolumeError: Another type or suffix, the image's own file, or a place that cannot be written.
    """
    check_mask_path(path, source)
    if values.dtype.kind not in "biu" or values.min() < 0:
        raise VolumeError(
            f"The mask holds {values.dtype} numbers from {values.min()}; expected booleans or whole numbers from 0:"
            " compare it with a threshold first."
        )
    image = sitk.GetImageFromArray(values.astype(np.min_scalar_type(int(values.max())), copy=False))
    image.CopyInformation(like)
    # written beside it first, so that a full disk leaves an older mask whole; .mhd names its second file inside
    suffix = next(suffix for suffix in reversed(MASK_SUFFIXES) if path.name.lower().endswith(suffix))
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


def check_mask_path(path: Path, source: Path | None = None) -> None:
    """Refuse a path that ``Volume.write_mask`` could not write, before any work is done; see ``check_not_source``."""
    if not path.name.lower().endswith(MASK_SUFFIXES):
        raise VolumeError(f"{path.name} ends in no known mask format; use one of {', '.join(MASK_SUFFIXES)}.")
    if not path.absolute().parent.is_dir():
        raise VolumeError(f"The folder {path.absolute().parent} does not exist; make it first or choose another.")
    check_not_source(path, source)


def check_not_source(path: Path, source: Path | None) -> None:
    """Refuse to write over the image file, or over a slice of the DICOM folder, that a volume is read from."""
    if source is None or not source.exists() or not path.is_file():
        return
    if path.samefile(source) or (source.resolve() in path.resolve().parents and is_dicom(path)):
        raise VolumeError(f"{path} is the image itself and would be overwritten; choose another name.")
