"""What every reader and writer asks of SimpleITK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.nifti import NiftiGeometry


@dataclass(frozen=True)
class ImageFile:
    """What a reader found: the image, what to call it, and what the user should know about it."""

    image: Any
    name: str
    modality: str = ""
    warnings: tuple[str, ...] = ()
    series: str | None = None
    stated: NiftiGeometry | None = None


def load(path: Path, reader: str) -> Any:
    """Read the voxels with the named ITK reader, silently."""
    with quiet():
        try:
            return sitk.ReadImage(str(path), imageIO=reader)
        except RuntimeError as error:
            raise VolumeError(
                f"{path.name} is damaged or truncated: its header can be read but its voxels cannot; copy or export"
                " it again."
            ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ITK's warnings off the terminal: what matters is checked here and told in sentences."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
