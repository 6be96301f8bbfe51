"""What a list says of an image before it is opened: size and spacing as the header states them, nothing checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.dicom_header import is_dicom
from sammed3d_nb.imaging.dicom_series import extent, series_of
from sammed3d_nb.imaging.headers import unit_of
from sammed3d_nb.imaging.nifti import HEADER_BYTES, NiftiHeader, kind_of
from sammed3d_nb.imaging.nifti_reader import header_of
from sammed3d_nb.imaging.streams import first_bytes
from sammed3d_nb.imaging.text_headers import read_metaimage, read_nrrd


class Glance(NamedTuple):
    """What a header says; empty where it does not.

    Attributes:
        details: For people: modality, description, size and spacing, as far as known.
        modality: Of DICOM, "CT", "MR", ….
        size: Voxels along i, j, k.
    """

    details: str = ""
    modality: str = ""
    size: tuple[int, ...] = ()


def glance(path: Path) -> Glance:
    """Size and spacing of an image file, of DICOM also modality and description."""
    try:
        if not path.is_file():
            return Glance()
        if is_dicom(path):
            return next((Glance(str(one), one.modality, one.size) for one in series_of([path])), Glance())
        size, spacing = _grid(header_of(path))
        return Glance(extent(size, spacing), "", tuple(int(n) for n in size))
    except (OSError, UserError, ValueError, ArithmeticError, LookupError):  # it will be told when it is opened
        return Glance()


def _grid(path: Path) -> tuple[Sequence[int], Sequence[float]]:
    head = first_bytes(path, HEADER_BYTES)
    if kind_of(head):
        header = NiftiHeader.parse(head)
        unit = header.geometry.unit
        return header.dim[1:4], [abs(step) * unit for step in header.geometry.pixdim[1:4]]
    if head.startswith(b"NRRD"):
        fields = read_nrrd(path).fields
        vectors = re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
        steps = [float(np.linalg.norm(_numbers(vector.replace(",", " ")))) for vector in vectors]
        steps = steps or _numbers(fields.get("spacings", ""))
        mm, _ = unit_of(path.name, fields)
        return _whole(fields["sizes"]), [step * mm for step in steps]
    fields = read_metaimage(path).fields
    return _whole(fields["DimSize"]), _numbers(fields.get("ElementSpacing", ""))


def _numbers(text: str) -> list[float]:
    return [float(n) for n in text.split()]


def _whole(text: str) -> list[int]:
    return [int(n) for n in text.split()]
