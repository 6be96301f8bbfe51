"""Headers of DICOM files, read by pydicom: which files are images, of which series, and which are damaged."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import VolumeError

_TAGS = [
    "SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Rows", "Columns",
    "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Whether the file has DICOM's mark, or lacks the preamble but reads as a DICOM image all the same."""
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:132] == b"DICM":
        return True
    # old files without preamble begin with a tag of a low group in little-endian order
    return head[:2] in (b"\x08\x00", b"\x02\x00") and "Rows" in read(path)


def read(path: Path) -> Any:
    """The tags needed here; of a damaged file only its kind and series, where these can be read."""
    import pydicom

    header = pydicom.Dataset()
    log = logging.getLogger("pydicom")
    level = log.level
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():  # odd values in tags unused here
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
            for _ in header.iterall():  # pydicom converts values on first use: let damage show here
                pass
            if "Rows" in header:
                voxels(header)
        except Exception:  # whatever a damaged file makes pydicom stumble over
            kept = pydicom.Dataset()
            for keyword in ("SOPClassUID", "SeriesInstanceUID"):
                with suppress(Exception):
                    setattr(kept, keyword, header[keyword].value)
            header = kept
        finally:
            log.setLevel(level)
    return header


def read_whole(path: Path) -> Any:
    """The whole dataset of a file, its pixels as they are stored."""
    import pydicom

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path)


def is_damaged(header: Any) -> bool:
    """Whether this is the header of an image, or of nobody knows what, that ends before it tells the image's size."""
    return "Rows" not in header and ("Image Storage" in storage(header) or not storage(header))


def truncated(path: Path) -> VolumeError:
    """The error to raise for a damaged file."""
    return VolumeError(f"{path.name} is truncated (its DICOM header ends early); copy or export it again.")


def voxels(header: Any) -> int:
    """Number of pixels of all frames."""
    return int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames", 1) or 1)


def series_uid(header: Any) -> str:
    """The SeriesInstanceUID, or ""."""
    return str(header.get("SeriesInstanceUID") or "")


def storage(header: Any) -> str:
    """What kind of DICOM object it is, in the standard's words, or ""; a DICOMDIR tells it in its file meta alone."""
    meta = getattr(header, "file_meta", None) or {}
    uid = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    return str(getattr(uid, "name", ""))


def kind(header: Any) -> str:
    """What to call the object in a sentence."""
    return storage(header) or str(header.get("Modality", "unknown kind"))
