"""Reading label maps of any program as masks on a volume's grid."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import dicom_seg
from sammed3d_nb.imaging.checks import check_geometry
from sammed3d_nb.imaging.label_names import Named, names_of
from sammed3d_nb.imaging.readers import read_image
from sammed3d_nb.imaging.region import LocalMask, Region, bounding_box, triple
from sammed3d_nb.imaging.tilt import Leaning
from sammed3d_nb.imaging.volume import Volume

_MOST_LABELS = 1000
_SAME_GRID = 0.1  # of a voxel, at any corner: what NIfTI's float32 and rounded headers leave


class NamedMask(NamedTuple):
    """One structure of a label map.

    Attributes:
        name: As the file says it, else "label 3".
        colour: ``#rrggbb``, or None.
        mask: On the volume's grid.
    """

    name: str
    colour: str | None
    mask: LocalMask


class LabelMap(list[NamedMask]):
    """The structures of a label map, in the file's order, with what the user should know about them in `remarks`."""

    def __init__(self, masks: Sequence[NamedMask], remarks: Sequence[str] = ()) -> None:
        super().__init__(masks)
        self.remarks = tuple(remarks)


def read_label_map(path: str | Path, volume: Volume) -> LabelMap:
    """Read a label map: NIfTI, NRRD, MetaImage, 3D Slicer's .seg.nrrd (with layers) or a DICOM SEG.

    Names and colours come from the file, or from ``….labels.json`` beside it. A map on another grid is brought to the
    volume's by nearest neighbour, which a remark says.

    Args:
        path: The file (or a folder that holds one DICOM SEG).
        volume: Where the masks shall lie.

    Raises:
        VolumeError: No label map, or one that does not overlap the volume.
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111  pathlib fails on a file that is called ~name
    segments = dicom_seg.find(path)
    if segments is not None:
        leaning = None if volume.tilt is None else Leaning.of(volume.slices or volume.image, volume.tilt)
        return _from_segments(dicom_seg.read(segments, leaning), volume)
    found = read_image(path)
    if found.image.GetDimension() != 3:
        raise VolumeError(f"{path.name} is {found.image.GetDimension()}-D; expected a 3-D label map.")
    remarks = list(found.warnings)
    here, moved = _onto(path.name, found.image, volume)
    named, known = names_of(path), set()
    masks = []
    for layer, values in enumerate(_layers(here)):
        numbers = _numbers(path.name, values)
        boxes = _boxes(values, numbers)
        for label in (label for label in named if label.layer == layer):
            known.add((layer, label.value))
            masks.append((label, _mask(values, label.value, boxes, volume)))
        for value in numbers:
            if (layer, value) not in known:
                masks.append((Named(layer, value, f"label {value}", None), _mask(values, value, boxes, volume)))
    _expect_overlap(path.name, [mask for _, mask in masks], found.image, volume)
    return LabelMap(_unique([NamedMask(label.name, label.colour, mask) for label, mask in masks]), [*remarks, *moved])


def _from_segments(found: dicom_seg.Segments, volume: Volume) -> LabelMap:
    masks, remarks = [], list(found.remarks)
    moved: list[str] = []
    for segment, image in found:
        if found.leans:
            here = _onto_slices(image, volume)
        else:
            here, moved = _onto(found.name, image, volume)
        remarks += [remark for remark in moved if remark not in remarks]
        masks.append(NamedMask(segment.name, segment.colour, LocalMask.of(sitk.GetArrayViewFromImage(here))))
    _expect_overlap(found.name, [mask.mask for mask in masks], image, volume)
    return LabelMap(_unique(masks), remarks)


def _onto(name: str, image: Any, volume: Volume) -> tuple[Any, list[str]]:
    """The label map on the volume's grid, and the remark that it was brought there."""
    check_geometry(name, image.GetSpacing(), image.GetDirection(), image.GetOrigin())
    if _same_grid(image, volume.image):
        return image, []
    if volume.slices is not None and _same_grid(image, volume.slices):
        return _on_straightened(image, volume), []
    remark = f"{name} lies on another grid than {volume.name}; it was brought to that by nearest neighbour."
    here = sitk.Resample(image, volume.image, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    return here, [remark]


def _onto_slices(image: Any, volume: Volume) -> Any:
    """Frames that lie as the slices of a tilted gantry do, put upright, where the volume shows those slices."""
    slices = volume.slices or volume.image
    onto = slices.GetSize(), sitk.Transform(), sitk.sitkNearestNeighbor
    here = sitk.Resample(image, *onto, slices.GetOrigin(), slices.GetSpacing(), slices.GetDirection())
    return here if volume.slices is None else _on_straightened(here, volume)


def _on_straightened(image: Any, volume: Volume) -> Any:
    """A label map of a tilted gantry's slices where the straightened volume shows them."""
    assert volume.slices is not None
    made = sitk.GetImageFromArray(volume.slices.take_along(sitk.GetArrayViewFromImage(image), volume.array.shape))
    made.CopyInformation(volume.image)
    return made


def _same_grid(first: Any, second: Any) -> bool:
    """Whether the corners of two grids are the same places, to a fraction of a voxel."""
    if first.GetSize() != second.GetSize():
        return False
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(first.GetSize()) - 1)
    places = []
    for grid in (first, second):
        axes = np.reshape(grid.GetDirection(), (3, 3)) * grid.GetSpacing()
        places.append(corners @ axes.T + grid.GetOrigin())
    return bool(np.abs(places[0] - places[1]).max() < _SAME_GRID * min(second.GetSpacing()))


def _layers(image: Any) -> Iterator[npt.NDArray[Any]]:
    """The label maps (z, y, x) of a file; 3D Slicer keeps overlapping segments in several."""
    values = sitk.GetArrayViewFromImage(image)
    if values.ndim == 3:
        yield values
        return
    for layer in range(values.shape[3]):
        yield np.ascontiguousarray(values[..., layer])


def _numbers(name: str, values: npt.NDArray[Any]) -> list[int]:
    """Which labels there are."""
    found: set[float] = set()
    for plane in values:
        found.update(np.unique(plane).tolist())
        odd = next((value for value in found if value != value or value < 0 or value != int(value)), None)
        if odd is not None:
            raise VolumeError(f"{name} holds the value {odd:g}; expected whole numbers from 0, one for each label.")
        if len(found) > _MOST_LABELS:
            raise VolumeError(
                f"{name} holds more than {_MOST_LABELS} different values, as an image does; expected a label map."
            )
    return sorted(int(value) for value in found if value)


def _boxes(values: npt.NDArray[Any], numbers: Sequence[int]) -> dict[int, tuple[slice, slice, slice]]:
    """The box of each label, (z, y, x)."""
    if values.dtype.kind in "iu" and max(numbers, default=0) <= 65535:
        from scipy.ndimage import find_objects

        boxes = find_objects(values, max(numbers, default=0)) if numbers else []
        return {value: boxes[value - 1] for value in numbers}
    return {value: box for value in numbers if (box := bounding_box(values == value)) is not None}


def _mask(
    values: npt.NDArray[Any], value: int, boxes: dict[int, tuple[slice, slice, slice]], volume: Volume
) -> LocalMask:
    box = boxes.get(value)
    if box is None:
        return LocalMask.empty(volume.size)
    region = Region.between([part.start for part in box[::-1]], [part.stop for part in box[::-1]])
    return LocalMask(values[box] == value, region, triple(volume.size))


def _expect_overlap(name: str, masks: Sequence[LocalMask], image: Any, volume: Volume) -> None:
    if any(mask.count for mask in masks):
        return
    if not sitk.GetArrayViewFromImage(image).any():
        raise VolumeError(f"{name} labels no voxel; expected a label map with at least one.")
    raise VolumeError(
        f"{name} labels nothing inside {volume.name}; expected a label map of the same patient space: check that it"
        " belongs to this image."
    )


def _unique(masks: Sequence[NamedMask]) -> list[NamedMask]:
    """The masks, with numbers behind names that come more than once."""
    taken: set[str] = set()
    unique = []
    for mask in masks:
        name, number = mask.name, 1
        while name in taken:
            number += 1
            name = f"{mask.name} {number}"
        taken.add(name)
        unique.append(mask._replace(name=name))
    return unique
