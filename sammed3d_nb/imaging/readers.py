"""Read image files by SimpleITK after looking at their raw headers.

SimpleITK alone is too forgiving for this package: it loads truncated NIfTI with zeros in place of the missing
voxels, drops the sign of a NIfTI spacing, straightens sheared axes, and chooses between disagreeing orientations,
all without a word. So each format's header is read here first.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import dicom, headers
from sammed3d_nb.imaging.dicom_header import is_dicom
from sammed3d_nb.imaging.itk import ImageFile, load
from sammed3d_nb.imaging.naming import stem
from sammed3d_nb.imaging.nifti import HEADER_BYTES, kind_of
from sammed3d_nb.imaging.nifti_reader import GEOMETRIES, header_of, read_nifti
from sammed3d_nb.imaging.streams import first_bytes, is_gzipped

KNOWN = "NIfTI, NRRD, MetaImage or DICOM"
_OTHER_FORMATS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"II*\0": "a TIFF picture, which tells no orientation",
    b"MM\0*": "a TIFF picture, which tells no orientation",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x93NUMPY": "a NumPy array without geometry: use Volume.from_array",
    b"{": "a JSON file",
}


def read_image(
    path: Path, *, series: str | None = None, geometry: str | None = None, straighten: bool = False
) -> ImageFile:
    """Read any supported file or DICOM folder; see ``Volume.read``."""
    if not path.exists():
        raise VolumeError(f"{path} does not exist; check the path.")
    if geometry is not None and geometry not in GEOMETRIES:
        raise VolumeError(f"The geometry {geometry!r} is not known; say one of {', '.join(GEOMETRIES)}.")
    try:
        with np.errstate(all="ignore"):  # a damaged header can hold any number
            if path.is_dir():
                return dicom.read_folder(path, series, straighten=straighten)
            if not path.is_file():
                raise VolumeError(f"{path} is a device or a pipe; expected a file with {KNOWN}.")
            path = header_of(path)
            head = first_bytes(path, HEADER_BYTES)
            if not head:
                raise VolumeError(f"{path.name} is empty (0 bytes); expected {KNOWN}: copy or export it again.")
            if is_dicom(path):
                return dicom.read_file(path, straighten=straighten)
            return read_plain(path, head, geometry)
    except OSError as error:
        raise VolumeError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    except MemoryError as error:
        raise VolumeError(f"{path.name} does not fit into memory; close other programs or crop it first.") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, struct.error) as error:
        # numbers that are none, values of the wrong kind: a damaged header can hold anything
        raise VolumeError(f"{path.name} has a damaged header; copy or export it again.") from error


def read_plain(path: Path, head: bytes, geometry: str | None = None) -> ImageFile:
    """Read a NIfTI, Analyze, NRRD or MetaImage file whose first bytes (after gunzip) are given."""
    if kind_of(head):
        _check_nifti_suffix(path)
        found = read_nifti(path, head, geometry)
    elif head.startswith(b"NRRD"):
        checked = headers.check_nrrd(path)
        found = ImageFile(load(path, "NrrdImageIO", checked.size), stem(path), warnings=checked.warnings)
        if checked.mm != 1:
            found.image.SetSpacing([step * checked.mm for step in found.image.GetSpacing()])
            found.image.SetOrigin([place * checked.mm for place in found.image.GetOrigin()])
    elif headers.is_metaimage(head):
        checked = headers.check_metaimage(path)
        found = ImageFile(load(path, "MetaImageIO", checked.size), stem(path), warnings=checked.warnings)
    else:
        raise VolumeError(_no_image(path.name, head))
    if found.image.GetDimension() == 4 and found.image.GetSize()[3] == 1:
        note = f"{path.name} is 4-D with a single time point; it is used as a 3-D volume."
        notes = found.warnings if found.stated else (*found.warnings, note)  # NIfTI's reader has said so
        found = replace(found, image=found.image[:, :, :, 0], warnings=notes)
    return found


def _check_nifti_suffix(path: Path) -> None:
    """ITK's NIfTI reader goes by the name: it needs .nii or .nii.gz (or a .hdr/.img pair), as the content is."""
    wanted = ".nii.gz" if is_gzipped(path) else ".nii"
    if not path.name.lower().endswith((wanted, ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")):
        raise VolumeError(f"{path.name} is a NIfTI image, but its name hides it; rename it to end in {wanted}.")


def _no_image(name: str, head: bytes) -> str:
    """The sentence for a file that holds no volume, naming what people try."""
    for start, what in _OTHER_FORMATS.items():
        if head.startswith(start):
            return f"{name} is {what}; expected a 3-D image as {KNOWN}."
    return f"{name} is not an image that can be read; expected {KNOWN}."
