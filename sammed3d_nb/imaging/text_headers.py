"""The headers of NRRD and MetaImage files: lines of text, read without trusting that they end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sammed3d_nb.errors import VolumeError

_LONGEST_LINE, _MOST_BYTES = 1 << 20, 16 << 20
_LONGEST_FIELD = 512
"""Characters of an NRRD field but for `content`: NrrdIO copies one that it refuses into 1024 bytes."""
_LONGEST_TEXT, _LONGEST_KEY, _LONGEST_VALUE = 250, 200, 16_000
"""Characters that MetaIO has room for: 255 of its own texts and of any name, 32,768 of what programs add."""
_METAIO_TEXTS = frozenset(
    """Comment ObjectType ObjectSubType ObjectTypeName ObjectSubTypeName TransformType Name ID ParentID AcquisitionDate
    BinaryData BinaryDataByteOrderMSB ElementByteOrderMSB CompressedData CompressedDataSize CompressionLevel
    DistanceUnits AnatomicalOrientation Modality ElementType ElementDataFile HeaderSize NDims""".split()  # noqa: SIM905
)


@dataclass
class TextHeader:
    """What a header says.

    Attributes:
        fields: The format's own; NRRD's with their names in small letters.
        keys: What programs added: in NRRD those with ``:=``, in MetaImage all fields.
        length: Bytes up to the first voxel, of a header that has its voxels behind it.
    """

    fields: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    length: int = 0


def read_nrrd(path: Path) -> TextHeader:
    """The header of an NRRD file; an empty line ends it."""
    header = TextHeader()

    def take(line: str) -> bool:
        if line.startswith("#"):
            return True
        key, mark, value = line.partition(":=")
        if mark and ": " not in key:
            header.keys[key] = value.replace("\\n", "\n").replace("\\\\", "\\")
        else:
            key, colon, value = line.partition(":")
            if len(line.encode()) > _LONGEST_FIELD and key.strip().lower() != "content":
                raise _too_long(path, key)
            if colon:
                _once(path, header.fields, key.strip().lower())
                header.fields[key.strip().lower()] = value.strip()
        return bool(line)

    header.length = _each_line(path, take)
    return header


def read_metaimage(path: Path) -> TextHeader:
    """The header of a MetaImage file; ``ElementDataFile`` ends it."""
    header = TextHeader()

    def take(line: str) -> bool:
        key, value = (part.strip() for part in [*re.split("[=:]", line, maxsplit=1), ""][:2])
        longest = _LONGEST_TEXT if key in _METAIO_TEXTS else _LONGEST_VALUE
        if len(key.encode()) > _LONGEST_KEY or len(value.encode()) > longest:
            raise _too_long(path, key)
        _once(path, header.fields, key)
        header.fields[key] = value
        return key != "ElementDataFile"

    header.length = _each_line(path, take)
    header.keys = {key: value.replace("\\n", "\n").replace("\\\\", "\\") for key, value in header.fields.items()}
    return header


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a header, stripped, for as long as it can be one.

    Raises:
        VolumeError: A line, or all of it, is longer than any header's.
    """
    with path.open("rb") as file:
        yield from _lines(path, file)


def _each_line(path: Path, take: Callable[[str], bool]) -> int:
    """Give lines to `take` until it returns False; returns the bytes read."""
    with path.open("rb") as file:
        for line in _lines(path, file):
            if not take(line):
                break
        return file.tell()


def _lines(path: Path, file: BinaryIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE or file.tell() > _MOST_BYTES:
            raise VolumeError(f"{path.name} has a header without end, so it is damaged; copy or export it again.")
        yield line.decode("utf-8", "replace").strip()


def _too_long(path: Path, key: str) -> VolumeError:
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in key[:40]).split())
    return VolumeError(
        f"{path.name} has a header without end, so it is damaged (at {shown} …); copy or export it again."
    )


def _once(path: Path, fields: dict[str, str], key: str) -> None:
    """Readers differ about which of two counts."""
    if key and key in fields:
        raise VolumeError(f"{path.name} is damaged: its header states {key[:40]} twice; export it again.")
