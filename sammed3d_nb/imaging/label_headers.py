"""Headers of label maps: the image's geometry, and the labels' names and colours where other programs look for them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.nifti import NiftiGeometry

MARK = "sammed3d-nb label map"
"""Stands in the header of every label map that is written here."""

_NIFTI_TYPES = {"u1": 2, "u2": 512, "u4": 768, "u8": 1280}
_NRRD_TYPES = {"u1": "unsigned char", "u2": "unsigned short", "u4": "unsigned int", "u8": "uint64"}
_METAIMAGE_TYPES = {"u1": "MET_UCHAR", "u2": "MET_USHORT", "u4": "MET_UINT", "u8": "MET_ULONG_LONG"}
_NIFTI_LABELS, _CARET = 1002, 30  # codes of the NIfTI standard: intent "label", extension of Caret and Workbench
_NIFTI_LONGEST = 32767


@dataclass(frozen=True)
class Label:
    """What a label map says of one of its values.

    Attributes:
        value: From 1.
        name: For people.
        colour: ``#rrggbb``, or None.
        extent: First and last voxel along i, j, k: (i0, i1, j0, j1, k0, k1); all zero where it has no voxel.
        layer: Which of the maps of a .seg.nrrd holds it.
    """

    value: int
    name: str
    colour: str | None
    extent: tuple[int, ...]
    layer: int = 0

    @property
    def rgb(self) -> tuple[float, float, float] | None:
        """Red, green and blue from 0 to 1."""
        if self.colour is None:
            return None
        red, green, blue = (int(self.colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        return red, green, blue


def describe(
    values: npt.NDArray[Any], names: Mapping[int, str], colours: Mapping[int, str] | None = None
) -> tuple[Label, ...]:
    """The labels of a map (z, y, x), or of layers of them (z, y, x, layer), that have names, in the order of values."""
    from scipy.ndimage import find_objects

    numbers = sorted(names)
    if not numbers:
        return ()
    values = values.view(np.uint8) if values.dtype == np.bool_ else values
    maps = [values] if values.ndim == 3 else [values[..., layer] for layer in range(values.shape[3])]
    boxes = [find_objects(one, numbers[-1]) for one in maps]
    described = []
    for value in numbers:
        layer = next((layer for layer, found in enumerate(boxes) if found[value - 1]), 0)
        box = boxes[layer][value - 1] or (slice(0, 1),) * 3
        extent = tuple(int(n) for part in box[::-1] for n in (part.start, part.stop - 1))
        described.append(Label(value, names[value], (colours or {}).get(value), extent, layer))
    return tuple(described)


def nifti(like: Any, dtype: np.dtype[Any], stated: NiftiGeometry | None, labels: Sequence[Label]) -> bytes:
    """A NIfTI-1 header with its extensions, up to the first voxel.

    Names and colours go into the label table that Connectome Workbench and TotalSegmentator write and read.

    Args:
        like: The SimpleITK image whose grid it is.
        dtype: Of the voxels, little-endian.
        stated: The geometry as the image's own NIfTI file states it; it is kept whole.
        labels: What is known about them.
    """
    size = like.GetSize()
    if max(size) > _NIFTI_LONGEST:
        raise VolumeError(f"NIfTI holds at most {_NIFTI_LONGEST} voxels along an axis, not {max(size)}; write .nrrd.")
    geometry = stated or NiftiGeometry.of(like)
    extensions = _caret(labels) if labels else b""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    head[38:39] = b"r"  # "regular", as the Analyze format before it asks for
    struct.pack_into("<8h", head, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into("<3h", head, 68, _NIFTI_LABELS, _NIFTI_TYPES[dtype.str[1:]], 8 * dtype.itemsize)
    struct.pack_into("<8f", head, 76, *geometry.pixdim[:4], *[0.0] * 4)
    struct.pack_into("<f", head, 108, 352 + len(extensions))
    struct.pack_into("<f", head, 112, 1.0)  # slope
    head[123] = geometry.units
    head[148 : 148 + len(MARK)] = MARK.encode()
    struct.pack_into("<2h", head, 252, geometry.qform_code, geometry.sform_code)
    struct.pack_into("<18f", head, 256, *geometry.quaternion, *geometry.offset, *geometry.srow)
    head[344:348] = b"n+1\0"
    head[348] = bool(extensions)
    return bytes(head) + extensions


def _caret(labels: Sequence[Label]) -> bytes:
    rows = []
    for label in labels:
        red, green, blue = label.rgb or (1.0, 1.0, 1.0)
        rows.append(
            f'<Label Key="{label.value}" Red="{red:.6g}" Green="{green:.6g}" Blue="{blue:.6g}" Alpha="1">'
            f"{escape(label.name)}</Label>"
        )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0"><LabelTable>'
        f"{''.join(rows)}</LabelTable><StudyMetaDataLinkSet></StudyMetaDataLinkSet>"
        "<VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>"
    ).encode()
    length = -(-(8 + len(text)) // 16) * 16
    return struct.pack("<2i", length, _CARET) + text.ljust(length - 8, b"\0")


def nrrd(like: Any, dtype: np.dtype[Any], labels: Sequence[Label], layers: int | None = None) -> bytes:
    """An NRRD header up to the gzipped voxels, with the names as 3D Slicer writes them into a .seg.nrrd.

    Args:
        like: The SimpleITK image whose grid it is.
        dtype: Of the voxels, little-endian.
        labels: What is known about them.
        layers: How many values each voxel has, one for each layer; None for a plain label map.
    """
    matrix = np.reshape(like.GetDirection(), (3, 3)) * like.GetSpacing()
    first = ("", "", "") if layers is None else (f"{layers} ", "none ", "list ")  # the axis that runs fastest
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {_NRRD_TYPES[dtype.str[1:]]}",
        f"dimension: {3 if layers is None else 4}",
        "space: left-posterior-superior",
        f"sizes: {first[0]}{_row(like.GetSize())}",
        f"space directions: {first[1]}{' '.join(_vector(column) for column in matrix.T)}",
        f"kinds: {first[2]}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(like.GetOrigin())}",
        f"made by:={MARK}",
    ]
    lines += [f"{key}:={_one_line(value)}" for key, value in _slicer(labels)]
    return ("\n".join(lines) + "\n\n").encode()


def metaimage(like: Any, dtype: np.dtype[Any], labels: Sequence[Label], *, packed: int, where: str) -> bytes:
    """A MetaImage header of compressed voxels, with the names under the keys of 3D Slicer.

    Args:
        like: The SimpleITK image whose grid it is.
        dtype: Of the voxels, little-endian.
        labels: What is known about them.
        packed: Bytes of the voxels after compression.
        where: The file that holds them, or "LOCAL".
    """
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        f"Comment = {MARK}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {packed}",
        f"TransformMatrix = {_row(np.reshape(like.GetDirection(), (3, 3)).T.ravel())}",
        f"Offset = {_row(like.GetOrigin())}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_row(like.GetSpacing())}",
        f"DimSize = {_row(like.GetSize())}",
        f"ElementType = {_METAIMAGE_TYPES[dtype.str[1:]]}",
    ]
    lines += [f"{key} = {_one_line(value)}" for key, value in _slicer(labels) if value]
    return ("\n".join(lines) + f"\nElementDataFile = {where}\n").encode()


def _slicer(labels: Sequence[Label]) -> list[tuple[str, str]]:
    """Keys and values of 3D Slicer's segmentations."""
    if not labels:
        return []
    rows = [
        ("Segmentation_MasterRepresentation", "Binary labelmap"),
        ("Segmentation_ContainedRepresentationNames", "Binary labelmap|"),
        ("Segmentation_ReferenceImageExtentOffset", "0 0 0"),
    ]
    for number, label in enumerate(labels):
        start = f"Segment{number}_"
        rows += [
            (f"{start}ID", f"Segment_{label.value}"),
            (f"{start}Name", label.name),
            (f"{start}NameAutoGenerated", "0"),
            (f"{start}LabelValue", str(label.value)),
            (f"{start}Layer", str(label.layer)),
            (f"{start}Extent", _row(label.extent)),
        ]
        if label.rgb is not None:
            rows += [(f"{start}Color", _row(round(part, 6) for part in label.rgb)), (f"{start}ColorAutoGenerated", "0")]
    return rows


def _row(numbers: Any) -> str:
    return " ".join(_exact(number) for number in numbers)


def _vector(numbers: Any) -> str:
    return f"({','.join(_exact(number) for number in numbers)})"


def _exact(number: Any) -> str:
    """As short as it can be and still be read back as the same double."""
    return repr(float(number)).removesuffix(".0") if isinstance(number, float) else str(int(number))


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\r", " ").replace("\n", "\\n")
