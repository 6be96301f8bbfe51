"""DICOM objects that are no image of the patient: what to leave out of a folder, and what to say of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import dicom_header

_NO_IMAGES = (
    "Raw Data",
    "Presentation State",
    "Segmentation",
    "Dose Storage",
    "Encapsulated",
    "Waveform",
    "Plan Storage",
)
_MOST_LOOKED_AT = 600


def is_image(header: Any) -> bool:
    """Whether the object is an image that can be part of a volume; pictures of the screen (SC) have no place."""
    return bool(dicom_header.pixels_at(header)) and may_be_image(header)


def may_be_image(header: Any) -> bool:
    """The same as far as a header tells that was not read up to the pixels."""
    storage = dicom_header.storage(header)
    if "Rows" not in header or any(kind in storage for kind in _NO_IMAGES):
        return False
    placed = "ImagePositionPatient" in header or "PerFrameFunctionalGroupsSequence" in header
    return placed or "Secondary Capture" not in storage


def left_out(folder: Path, objects: Sequence[tuple[Path, Any]]) -> tuple[str, ...]:
    """The sentence about what a folder holds beside images."""
    if not objects:
        return ()
    kinds: dict[str, list[str]] = {}
    for path, header in objects:
        kinds.setdefault(dicom_header.kind(header), []).append(path.name)
    told = "; ".join(
        f"{kind}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for kind, names in kinds.items()
    )
    return (f"{folder.name} also holds objects without an image to segment, which are left out ({told}).",)


def refuse(path: Path, header: Any) -> None:
    """Raise the sentence about a segmentation or a dose that is given as the image; others pass."""
    storage = dicom_header.storage(header)
    if "Segmentation" in storage and "Rows" in header:
        what = "a DICOM segmentation, which holds masks and no image"
        then = ", then give this file to session.load_masks"
    elif "Dose Storage" in storage:
        what, then = "an RT dose, which holds doses and no image", ""
    else:
        return
    raise VolumeError(f"{path.name} is {what}; open the image that it refers to ({_where(path, header)}){then}.")


def _where(path: Path, header: Any) -> str:
    """Where the image lies that an object was made on, as far as that can be found beside it."""
    items = header.get("ReferencedSeriesSequence") or ()
    series = str(items[0].get("SeriesInstanceUID", "")) if items else ""
    frame = str(header.get("FrameOfReferenceUID", ""))
    for other in islice(sorted(p for p in path.parent.iterdir() if p.is_file() and p != path), _MOST_LOOKED_AT):
        found = dicom_header.read(other) if dicom_header.is_dicom(other) else None
        if found is None or not is_image(found):
            continue
        uid = dicom_header.series_uid(found)
        if uid == series or (not series and frame and frame == str(found.get("FrameOfReferenceUID", ""))):
            return f"series {uid} in {path.parent}"
    return f"series {series}" if series else "the planning CT"
