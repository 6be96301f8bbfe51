"""Segments of a DICOM SEG file, each as an image on the file's own grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import dicom_header
from sammed3d_nb.imaging.checks import check_geometry, expect_memory
from sammed3d_nb.imaging.label_names import clean
from sammed3d_nb.imaging.tilt import Leaning

_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # segmentation, label map segmentation
_MOST_SEGMENTS, _MOST_FRAMES = 1000, 1_000_000
_ON_GRID = 0.05  # of a slice: how far a frame may lie from its place


class Segment(NamedTuple):
    """What the file says of one segment; `colour` is ``#rrggbb`` or None."""

    number: int
    name: str
    colour: str | None


@dataclass(frozen=True)
class Segments:
    """A DICOM SEG: iterating gives each segment and its image, one at a time."""

    name: str
    described: tuple[Segment, ...]
    remarks: tuple[str, ...]
    frames: npt.NDArray[Any]
    segment_of: tuple[int, ...]
    plane_of: tuple[int, ...]
    planes: int
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    leans: bool = False  # put upright, as the stack of a tilted gantry's slices is

    def __iter__(self) -> Iterator[tuple[Segment, Any]]:
        for segment in self.described:
            values = np.zeros((self.planes, *self.frames.shape[1:]), dtype=np.uint8)
            for frame, number, plane in zip(self.frames, self.segment_of, self.plane_of, strict=True):
                if number == 0:  # a label map: its frames hold the numbers
                    values[plane] |= frame == segment.number
                elif number == segment.number:
                    values[plane] |= frame
            image = sitk.GetImageFromArray(values)
            image.SetSpacing(self.spacing)
            image.SetOrigin(self.origin)
            image.SetDirection(self.direction)
            yield segment, image


def is_seg(header: Any) -> bool:
    """Whether this is the header of a segmentation."""
    return str(header.get("SOPClassUID", "")) in _STORAGE


def find(path: Path) -> Path | None:
    """The DICOM SEG that a path means: the file, or the only one below a folder; None when there is none."""
    if path.is_file():
        return path if dicom_header.is_dicom(path) and is_seg(dicom_header.read(path)) else None
    if not path.is_dir():
        return None
    found = [
        file
        for file in sorted(p for p in path.rglob("*") if p.is_file())
        if dicom_header.is_dicom(file) and is_seg(dicom_header.read(file))
    ]
    if len(found) > 1:
        raise VolumeError(f"{path} holds {len(found)} DICOM segmentations; name one of them, e.g. {found[0].name}.")
    return found[0] if found else None


def read(path: Path, leaning: Leaning | None = None) -> Segments:
    """Read a DICOM SEG: binary, fractional (from one half on) or a label map.

    Args:
        path: The file.
        leaning: Of an image of a tilted gantry: frames that lie as its slices do are put where its stack shows them.

    Raises:
        VolumeError: Whatever is wrong with the file, in one sentence.
    """
    try:
        with dicom_header.tolerant():
            return _read(path, leaning)
    except VolumeError:
        raise
    except MemoryError as error:
        raise VolumeError(f"{path.name} does not fit into memory; close other programs.") from error
    except Exception as error:  # whatever a damaged file makes pydicom stumble over
        raise VolumeError(f"{path.name} is a damaged DICOM segmentation; copy or export it again.") from error


def _read(path: Path, leaning: Leaning | None) -> Segments:
    data = dicom_header.read_whole(path)
    count = int(data.get("NumberOfFrames", 1) or 1)
    per_frame, shared = data.get("PerFrameFunctionalGroupsSequence"), data.get("SharedFunctionalGroupsSequence")
    if per_frame is None or len(per_frame) != count or not 1 <= count <= _MOST_FRAMES:
        raise VolumeError(f"{path.name} does not say where its {count} frames lie; export the segmentation again.")

    def find(index: int, sequence: str, keyword: str) -> Any:
        for group in (per_frame[index], shared[0] if shared else None):
            items = group.get(sequence) if group is not None else None
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return None

    kind = str(data.get("SegmentationType", ""))
    positions = np.array(
        [find(n, "PlanePositionSequence", "ImagePositionPatient") for n in range(count)], dtype=np.float64
    ).reshape(count, 3)
    axes = np.array(
        [find(n, "PlaneOrientationSequence", "ImageOrientationPatient") for n in range(count)], dtype=np.float64
    ).reshape(count, 2, 3)
    rows, columns = (float(n) for n in find(0, "PixelMeasuresSequence", "PixelSpacing"))
    if not np.allclose(axes, axes[0], atol=1e-4):
        raise VolumeError(f"{path.name} has frames of different orientation; expected parallel slices.")
    normal = np.cross(*axes[0])
    leans = leaning is not None and _lies_as(leaning, positions, axes[0], (columns, rows))
    if leaning is not None and leans:
        positions = leaning.upright(positions)
    stated = find(0, "PixelMeasuresSequence", "SpacingBetweenSlices")
    thickness = find(0, "PixelMeasuresSequence", "SliceThickness")
    planes, gap = _places(path.name, positions, axes[0], normal, (columns, rows), stated, thickness)
    check_geometry(path.name, (columns, rows, gap), np.column_stack([*axes[0], normal]), positions[0])
    first = positions[int(np.argmin(positions @ normal))]
    direction = np.column_stack([axes[0][0], axes[0][1], normal / np.linalg.norm(normal)])
    numbers = (
        (0,) * count
        if kind == "LABELMAP"
        else tuple(int(find(n, "SegmentIdentificationSequence", "ReferencedSegmentNumber")) for n in range(count))
    )
    described = _described(path.name, data)
    frames, remarks = _frames(path.name, data, count, kind)
    return Segments(
        name=path.name,
        described=described,
        remarks=remarks,
        frames=frames,
        segment_of=numbers,
        plane_of=tuple(planes.tolist()),
        planes=int(planes.max()) + 1,
        spacing=(columns, rows, gap),
        origin=(float(first[0]), float(first[1]), float(first[2])),
        direction=tuple(direction.ravel().tolist()),
        leans=leans,
    )


def _aside(positions: npt.NDArray[np.float64], axes: npt.NDArray[np.float64], spacing: tuple[float, float]) -> bool:
    """Whether frames do not lie one above the other."""
    return bool(np.abs((positions - positions[0]) @ axes.T).max() > 0.5 * min(spacing))


def _lies_as(
    leaning: Leaning, positions: npt.NDArray[np.float64], axes: npt.NDArray[np.float64], spacing: tuple[float, float]
) -> bool:
    """Whether frames lean as the slices do; a single one is taken for one of them."""
    if abs(float(np.cross(*axes) @ leaning.normal)) < 0.999:
        return False
    single = np.ptp(positions @ leaning.normal) < 1e-2
    return (bool(single) or _aside(positions, axes, spacing)) and not _aside(leaning.upright(positions), axes, spacing)


def _places(
    name: str,
    positions: npt.NDArray[np.float64],
    axes: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
    spacing: tuple[float, float],
    stated: Any,
    thickness: Any,
) -> tuple[npt.NDArray[np.int_], float]:
    """The plane of each frame, from 0, and the distance of planes in mm."""
    heights = positions @ normal
    heights = heights - heights.min()
    if _aside(positions, axes, spacing):
        raise VolumeError(f"{name} has frames that do not lie in line; expected parallel slices one above the other.")
    gaps = np.diff(np.unique(np.round(heights, 3)))
    smallest = float(gaps[gaps > 1e-2].min()) if (gaps > 1e-2).any() else 0.0
    for gap in (float(stated or 0), smallest, float(thickness or 0)):
        if gap > 0:
            planes = np.rint(heights / gap)
            if np.abs(heights / gap - planes).max() < max(_ON_GRID, 0.1 / gap if gap > 1 else 0) and planes.max() < 1e5:
                return planes.astype(int), gap
    raise VolumeError(f"{name} has unevenly spaced frames; expected slices at even distances.")


def _described(name: str, data: Any) -> tuple[Segment, ...]:
    sequence = data.get("SegmentSequence") or ()
    if not 1 <= len(sequence) <= _MOST_SEGMENTS:
        raise VolumeError(f"{name} describes {len(sequence)} segments; expected from 1 to {_MOST_SEGMENTS}.")
    described = []
    for item in sequence:
        number = int(item.SegmentNumber)
        lab = item.get("RecommendedDisplayCIELabValue")
        described.append(Segment(number, clean(item.get("SegmentLabel", ""), number), _hex(lab) if lab else None))
    return tuple(segment for segment in described if segment.number > 0)


def _frames(name: str, data: Any, count: int, kind: str) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The pixels (frames, rows, columns): 0 and 1, or numbers of a label map."""
    rows, columns = int(data.Rows), int(data.Columns)
    need = count * rows * columns
    syntax = data.file_meta.TransferSyntaxUID
    expect_memory(name, 2 * need * (2 if kind == "LABELMAP" else 1))
    if kind == "BINARY" and int(data.BitsAllocated) == 1 and not syntax.is_encapsulated:
        content = data.PixelData
        if len(content) * 8 < need:
            raise VolumeError(
                f"{name} is truncated: it holds {len(content) * 8:,} of {need:,} pixels; copy or export it again."
            )
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=need, bitorder="little")
        return bits.reshape(count, rows, columns), ()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise VolumeError(f"{name} is a DICOM segmentation of the kind {kind!r}; expected BINARY or LABELMAP.")
    found = np.asarray(data.pixel_array)
    if found.size != need:
        raise VolumeError(f"{name} holds {found.size:,} pixels instead of {need:,}; copy or export it again.")
    values = found.reshape(count, rows, columns)
    if kind == "LABELMAP":
        return values, ()
    if kind == "BINARY":
        return (values > 0).astype(np.uint8), ()
    half = int(data.get("MaximumFractionalValue", 255)) / 2
    return (values >= half).astype(np.uint8), (f"{name} holds fractions; what is half or more belongs to a segment.",)


def _hex(lab: Any) -> str:
    """``#rrggbb`` of DICOM's CIELab numbers, of 16 bits each."""
    from skimage.color import lab2rgb

    light, a, b = (int(n) / 65535 for n in lab)
    red, green, blue = lab2rgb([light * 100, a * 255 - 128, b * 255 - 128])
    return "#" + "".join(f"{round(255 * min(max(float(part), 0.0), 1.0)):02x}" for part in (red, green, blue))
