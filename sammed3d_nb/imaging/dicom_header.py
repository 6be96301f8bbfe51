"""Headers of DICOM files, read by pydicom: which files are images, of which series, and which are damaged."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.checks import expect_memory

_TAGS = [
    "SOPClassUID", "Modality", "SeriesDescription", "PatientID", "SeriesInstanceUID",
    "SeriesNumber", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "FrameOfReferenceUID", "ReferencedSeriesSequence",
]  # fmt: skip

_LAST_OF_IMAGE = 0x00280031  # size and pixel spacing are told by then

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LONGEST_META = 1 << 16
_HARMLESS = 1 << 18  # no file of so few bytes unpacks to much


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
    with tolerant():
        try:
            _expect_bounded(path)
            with path.open("rb") as file:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)
                header.pixels_begin = _pixels_begin(file)
            for _ in (*header.file_meta, *header.iterall()):  # converted on first use: let damage show here
                pass
            if "Rows" in header:
                voxels(header)
        except Exception:  # whatever a damaged file makes pydicom stumble over
            kept = pydicom.Dataset()
            for keyword in ("SOPClassUID", "SeriesInstanceUID"):
                with suppress(Exception):
                    setattr(kept, keyword, header[keyword].value)
            header = kept
    return header


def brief(path: Path) -> Any | None:
    """The tags before and about the image's size, for lists of many files; None of what is no DICOM or is damaged.

    Of a file with many frames, what is told of each is not among them; see `read`. Values are looked at when they are
    used, and may be damaged then.
    """
    from pydicom.filereader import read_partial

    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return read(path) if is_dicom(path) else None
        file.seek(0)
        with tolerant():
            try:
                _expect_bounded(path)
                return read_partial(file, lambda tag, _, __: tag > _LAST_OF_IMAGE, specific_tags=_numbers_of_tags())
            except Exception:  # whatever a damaged file makes pydicom stumble over
                return None


@cache
def _numbers_of_tags() -> list[Any]:
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in _TAGS]


def read_whole(path: Path) -> Any:
    """The whole dataset of a file, its pixels as they are stored."""
    import pydicom

    _expect_bounded(path)
    with tolerant():
        return pydicom.dcmread(path, force=True)


def pixels_at(header: Any) -> int:
    """The byte of the file at which the element with the pixels begins; 0 where there is none."""
    return int(getattr(header, "pixels_begin", 0))


def syntax(header: Any) -> Any:
    """The transfer syntax; None where the file does not say."""
    return getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)


@contextmanager
def tolerant() -> Iterator[None]:
    """Odd values in tags that are not used here are nobody's concern."""
    import pydicom

    log = logging.getLogger("pydicom")
    level = log.level
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def _pixels_begin(file: BinaryIO) -> int:
    """The place of the pixel element at which pydicom stopped; 1 where it lies inside deflated data; 0 for none."""
    at = file.tell()
    tag = file.read(4)
    if tag in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        return at
    file.seek(0)
    return 0 if tag or _DEFLATED not in file.read(_LONGEST_META) else 1


def _expect_bounded(path: Path) -> None:
    """Refuse deflated files that unpack to more than the memory left: pydicom would unpack them all at once."""
    size = path.stat().st_size
    if size < _HARMLESS:
        return
    with path.open("rb") as file:
        head = file.read(_LONGEST_META)
    if head[128:132] != b"DICM" or head[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        start, deflated = 0, _DEFLATED in head
    else:
        start = 144 + int.from_bytes(head[140:144], "little")
        deflated = _DEFLATED in head[:start]
        if start > _LONGEST_META:
            raise truncated(path)
    if deflated:
        import psutil

        free, found, unpack = int(psutil.virtual_memory().available), 0, zlib.decompressobj(-15)
        with path.open("rb") as file:
            file.seek(start)
            while not unpack.eof and (block := unpack.unconsumed_tail or file.read(1 << 20)):
                found += len(unpack.decompress(block, 1 << 20))
                if 2 * found > free:
                    expect_memory(path.name, 2 * found)


def is_damaged(header: Any) -> bool:
    """Whether this is the header of an image, or of nobody knows what, that ends before it tells the image's size."""
    return "Rows" not in header and ("Image Storage" in storage(header) or not storage(header))


def truncated(path: Path) -> VolumeError:
    """The error to raise for a damaged file."""
    return VolumeError(f"{path.name} is truncated (its DICOM header ends early); copy or export it again.")


def endless(path: Path) -> VolumeError:
    """The error to raise for a file one of whose elements announces more than there is."""
    return VolumeError(
        f"{path.name} is truncated or damaged: one of its DICOM elements announces more bytes than there are; copy or"
        " export it again."
    )


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
    return plain(getattr(uid, "name", ""))


def plain(text: Any) -> str:
    """A text of the file for a sentence: on one line, of bounded length."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)[:200]).split())


def kind(header: Any) -> str:
    """What to call the object in a sentence."""
    return storage(header) or plain(header.get("Modality", "unknown kind"))
