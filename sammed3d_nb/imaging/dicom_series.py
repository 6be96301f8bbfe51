"""The series below a folder: which DICOM files are of which, and what to tell somebody who is to choose one."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb.imaging import dicom_header, dicom_kinds

Key = tuple[str, str]


@dataclass(frozen=True)
class Series:
    """What can be said of a series by its headers, before anything is checked.

    Attributes:
        uid: SeriesInstanceUID.
        number: SeriesNumber, as text.
        description: SeriesDescription.
        modality: "CT", "MR", …
        files: Its files: slices, or one that holds a whole volume.
        size: Voxels along i, j, k.
        spacing: mm along i, j, k; what is not said is 0.
    """

    uid: str
    number: str
    description: str
    modality: str
    files: tuple[Path, ...]
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def place(self) -> Path:
        """What to open: the file that holds all of it, or the innermost folder with all of its slices."""
        if len(self.files) == 1:
            return self.files[0]
        return Path(os.path.commonpath([path.parent for path in self.files]))

    @property
    def name(self) -> str:
        """What to call it."""
        return self.description or (f"series {self.number}" if self.number else self.place.name)

    def __str__(self) -> str:
        return ", ".join(part for part in (self.modality, self.description, extent(self.size, self.spacing)) if part)


def extent(size: Sequence[int], spacing: Sequence[float]) -> str:
    """Size and spacing for people: ``512 × 512 × 300, 0.7 × 0.7 × 1 mm``; what is not known is left out."""
    shown = " × ".join(f"{n}" for n in size)
    known = len(spacing) == len(size) and all(0 < step < 1e6 for step in spacing)
    return shown + (", " + " × ".join(f"{step:.3g}" for step in spacing) + " mm" if known else "")


def key_of(header: Any) -> Key:
    """What tells one series from another; some programs give the same SeriesInstanceUID to several patients.

    Not the study: what SimpleITK writes slice by slice has another one for each.
    """
    return dicom_header.series_uid(header), str(header.get("PatientID") or "")


def series_of(paths: Iterable[Path]) -> list[Series]:
    """The series that files are of, by a look at the beginning of each; what is no DICOM image is passed over.

    A file that holds a whole volume is one by itself, whatever series it says it is of.
    """
    found: dict[tuple[Key, Path | None], list[tuple[Path, Any]]] = defaultdict(list)
    for path in paths:
        with suppress(Exception), dicom_header.tolerant():  # whatever a damaged header makes pydicom stumble over
            header = dicom_header.brief(path)
            alone = header is not None and _frames(header) > 1
            if alone:
                header = dicom_header.read(path)
            if header is None or not dicom_kinds.may_be_image(header):
                continue
            found[key_of(header), path if alone else None].append((path, header))
    listed = [described(files) for files in found.values()]
    return sorted(listed, key=lambda one: (str(one.files[0].parent), _number(one.number), one.uid, one.files))


def described(files: Sequence[tuple[Path, Any]]) -> Series:
    """What the headers of a series say of it.

    Args:
        files: Each file and its header, of `dicom_header.read` or, of slices, `dicom_header.brief`.
    """
    first = files[0][1]
    count, spacing = len(files), (0.0, 0.0, 0.0)
    with suppress(Exception), np.errstate(all="ignore"):  # a damaged header can hold anything; this is but a list
        count = _frames(first) if len(files) == 1 else count
        spacing = _spacing(first, [header for _, header in files])
    return Series(
        uid=dicom_header.series_uid(first),
        number=dicom_header.plain(first.get("SeriesNumber") or ""),
        description=dicom_header.plain(first.get("SeriesDescription") or ""),
        modality=dicom_header.plain(first.get("Modality") or ""),
        files=tuple(path for path, _ in files),
        size=(_whole(first, "Columns"), _whole(first, "Rows"), count),
        spacing=spacing,
    )


def choices(listed: Sequence[Series], taken: Series | None = None) -> tuple[str, ...]:
    """A line for each series with the word by which to choose it; the one that was taken is marked."""
    words = _words(listed)
    width = max(map(len, words), default=0)
    return tuple(
        f"{'*' if one == taken else ' '} --series {word:<{width}}  {one}, {_count(one)}"
        for word, one in zip(words, listed, strict=True)
    )


def _words(listed: Sequence[Series]) -> list[str]:
    """How to name each on the command line: its number where no other has it, else its UID."""
    count = Counter(one.number for one in listed)
    return [one.number if one.number and count[one.number] == 1 else one.uid for one in listed]


def _count(one: Series) -> str:
    return "1 file" if len(one.files) == 1 else f"{len(one.files)} files"


def _whole(header: Any, keyword: str) -> int:
    with suppress(Exception):
        return int(header.get(keyword) or 0)
    return 0


def _frames(header: Any) -> int:
    return max(1, _whole(header, "NumberOfFrames"))


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() and len(text) < 12 else (10**12, text)


def _spacing(first: Any, headers: Sequence[Any]) -> tuple[float, float, float]:
    rows, columns = (float(n) for n in _stated(first, 0, "PixelSpacing", "PixelMeasuresSequence"))
    axes = _stated(first, 0, "ImageOrientationPatient", "PlaneOrientationSequence")
    if len(headers) > 1:
        positions = [header.get("ImagePositionPatient") for header in headers]
    else:
        positions = [_stated(first, n, "ImagePositionPatient", "PlanePositionSequence") for n in range(_frames(first))]
    places = np.array([position for position in positions if position], dtype=np.float64).reshape(-1, 3)
    return columns, rows, _gap(places, np.array(axes, dtype=np.float64).reshape(2, 3))


def _gap(places: npt.NDArray[np.float64], axes: npt.NDArray[np.float64]) -> float:
    gaps = np.diff(np.sort(places @ np.cross(*axes)))
    gaps = gaps[gaps > 1e-3]
    return float(np.median(gaps)) if gaps.size else 0.0


def _stated(header: Any, frame: int, keyword: str, sequence: str) -> Any:
    """A value of a frame: its own, what all frames share, or the file's."""
    for name, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        groups = header.get(name)
        items = groups[index].get(sequence) if groups is not None and len(groups) > index else None
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return header.get(keyword)
