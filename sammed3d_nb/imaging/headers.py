"""Headers of NRRD and MetaImage files against the bytes that are there: what SimpleITK would silently repair or ignore.

The fields follow the NRRD format definition (teem.sourceforge.net/nrrd) and the MetaIO documentation (itk.org). Every
path on which fewer voxels arrive than announced is refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.checks import check_geometry, expect_memory
from sammed3d_nb.imaging.streams import Stored, own_file
from sammed3d_nb.imaging.text_headers import lines_of, read_metaimage, read_nrrd

_MM = {
    "m": 1000.0, "meter": 1000.0, "metre": 1000.0, "cm": 10.0, "centimeter": 10.0, "centimetre": 10.0,
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "": 1.0, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3,
    "micrometer": 1e-3, "micrometre": 1e-3, "nm": 1e-6, "nanometer": 1e-6, "nanometre": 1e-6,
}  # fmt: skip
_NRRD_BYTES = {
    "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "short int": 2, "signed short": 2, "signed short int": 2, "int16": 2, "int16_t": 2,
    "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "uint16": 2, "uint16_t": 2,
    "int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4, "uint32": 4, "uint32_t": 4,
    "longlong": 8, "long long": 8, "long long int": 8, "signed long long": 8, "signed long long int": 8, "int64": 8,
    "int64_t": 8, "ulonglong": 8, "unsigned long long": 8, "unsigned long long int": 8, "uint64": 8, "uint64_t": 8,
    "float": 4, "double": 8,
}  # fmt: skip
_NRRD_ENCODINGS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "txt": "text", "text": "text", "ascii": "text", "hex": "hex"
}  # fmt: skip
_METAIMAGE_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_MOST_FILES = 100_000


@dataclass(frozen=True)
class Checked:
    """What a header says, after the file has been found to hold it.

    Attributes:
        size: Numbers of voxels along the axes; 0 where it is not for the reader to compare.
        mm: How many mm the unit of its geometry has.
        warnings: What the user should know.
    """

    size: tuple[int, ...]
    mm: float = 1.0
    warnings: tuple[str, ...] = ()


def is_metaimage(head: bytes) -> bool:
    """Whether these first bytes are those of a MetaImage header."""
    start = head.lstrip()
    return start.startswith((b"ObjectType", b"NDims", b"Comment")) and b"=" in start


def check_nrrd(path: Path) -> Checked:
    """Refuse bad spacing, unknown units and voxels that are not all there; tell when there is no orientation."""
    header, name = read_nrrd(path), path.name
    fields = header.fields
    sizes = [int(n) for n in fields.get("sizes", "").split()]
    if not sizes or len(sizes) != int(fields.get("dimension", 0)) or min(sizes) < 1:
        raise VolumeError(f"{name} is truncated: its NRRD header is not complete; copy or export it again.")
    vectors = [
        [float(n) for n in text.split(",")] for text in re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
    ]
    steps = [float(np.linalg.norm(vector)) for vector in vectors]
    steps = steps or [float(n) for n in fields.get("spacings", "").split() if n.lower() != "nan"]
    if len(steps) == 3:
        check_geometry(name, steps, np.eye(3), (0, 0, 0))
    mm, notes = unit_of(name, fields)
    bytes_each = _NRRD_BYTES.get(fields.get("type", "").lower())
    encoding = _NRRD_ENCODINGS.get(fields.get("encoding", "").lower())
    if bytes_each is None or encoding is None:
        raise VolumeError(
            f"{name} has voxels of the type {fields.get('type')!r:.40}, encoded as {fields.get('encoding')!r:.40}, and"
            " cannot be read; save it as int16, gzip."
        )
    lines, skip = (int(fields.get(f"{what} skip", fields.get(f"{what}skip", 0))) for what in ("line", "byte"))
    stored = Stored(encoding, bytes_each, lines=lines, skip=skip)
    _expect_voxels(path, math.prod(sizes), stored, _nrrd_files(path, fields), header.length)
    if not vectors or ("space" not in fields and len(sizes) == 3):
        notes += (f"{name} states no orientation; left–right and front–back may be wrong.",)
    plain = "none" not in fields.get("space directions", "") and len(sizes) == 3
    return Checked(tuple(sizes) if plain else (), mm, notes)


def check_metaimage(path: Path) -> Checked:
    """Refuse bad spacing and axes, and voxels that are not all there."""
    header, name = read_metaimage(path), path.name
    fields = header.fields
    if not {"NDims", "DimSize", "ElementType", "ElementDataFile"} <= fields.keys():
        raise VolumeError(f"{name} is truncated: its MetaImage header is not complete; copy or export it again.")
    sizes = [int(n) for n in fields["DimSize"].split()]
    if len(sizes) != int(fields["NDims"]) or min(sizes) < 1:
        raise VolumeError(f"{name} has a damaged header (its size reads {fields['DimSize']!s:.60}); export it again.")
    if len(sizes) == 3:
        steps = _numbers(fields.get("ElementSpacing") or fields.get("ElementSize") or "1 1 1")
        axes = _numbers(fields.get("TransformMatrix") or fields.get("Rotation") or "1 0 0 0 1 0 0 0 1")
        check_geometry(name, steps, np.reshape(axes, (3, -1)).T if len(axes) == 9 else axes, (0, 0, 0))
    element = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    bytes_each = _METAIMAGE_BYTES.get(element.removeprefix("U"))
    if bytes_each is None:
        raise VolumeError(f"{name} has voxels of the type {fields['ElementType']!r:.40}; save it as MET_SHORT.")
    packed = _yes(fields, "CompressedData")
    binary = _yes(fields, "BinaryData", "True")
    files = _metaimage_files(path, fields)
    local = not files
    stored = Stored("zlib" if packed else "raw" if binary else "text", bytes_each)
    if packed:
        stored.packed = int(fields["CompressedDataSize"]) if "CompressedDataSize" in fields else None
        if (local and not stored.packed) or len(files) > 1 or not binary:
            # ITK would take whatever lies in memory for the voxels
            raise VolumeError(
                f"{name} is damaged: it does not say how long its compressed voxels are; export it again."
            )
    if not local:
        stored.skip = int(fields.get("HeaderSize", 0))
    count = math.prod(sizes) * int(fields.get("ElementNumberOfChannels", 1))
    _expect_voxels(path, count, stored, files, header.length)
    return Checked(tuple(sizes))


def _expect_voxels(path: Path, count: int, stored: Stored, files: Sequence[Path], header_bytes: int) -> None:
    """Every file that holds voxels must hold its share of them: no fewer, and compressed no more either."""
    if count % max(len(files), 1):
        raise VolumeError(f"{path.name} spreads its voxels unevenly over {len(files)} files; export it as one file.")
    share = count // max(len(files), 1)
    for file in files or [path]:
        stored.could_hold(file, 0 if files else header_bytes, share)
    expect_memory(path.name, count * stored.bytes_each)
    for file in files or [path]:
        stored.check(file, 0 if files else header_bytes, share)


def unit_of(name: str, fields: dict[str, str]) -> tuple[float, tuple[str, ...]]:
    """How many mm the unit has that an NRRD header states, and what to say of it."""
    vectors = "(" in fields.get("space directions", "")
    text = fields.get("space units") or ("" if vectors else fields.get("units", ""))
    stated = [unit.strip() for unit in re.findall(r'"([^"]*)"', text)[:3]]
    known = [_MM.get(unit.lower(), _MM.get(unit.lower()[:-1]) if unit[1:].endswith("s") else None) for unit in stated]
    other = next((unit for unit, mm in zip(stated, known, strict=True) if mm is None), None)
    if other is not None or len(set(known)) > 1:
        shown = other or " and ".join(dict.fromkeys(stated))
        raise VolumeError(
            f"{name} states its spacing in {shown!s:.60}; expected one unit of length, such as mm: convert it first."
        )
    mm = known[0] if known and known[0] is not None else 1.0
    return mm, () if mm == 1 else (f"{name} states its geometry in {stated[0]}; it was converted to mm.",)


def _nrrd_files(path: Path, fields: dict[str, str]) -> list[Path]:
    """The files that hold the voxels, all beside the header; none where they lie behind it."""
    where = fields.get("data file") or fields.get("datafile")
    if not where:
        return []
    if where.split()[0] == "LIST":
        return [own_file(path, name) for name in _names_behind(path, "data file:", "datafile:")]
    return _spelt_out(path, where)


def _metaimage_files(path: Path, fields: dict[str, str]) -> list[Path]:
    where = fields["ElementDataFile"]
    if where.upper() == "LOCAL":
        return []
    if where.upper().startswith(("LIST", "LOCAL")):
        return [own_file(path, name) for name in _names_behind(path, "ElementDataFile")]
    return _spelt_out(path, where)


def _spelt_out(path: Path, where: str) -> list[Path]:
    """The file of that name, or those of a pattern such as ``slice%03d.raw 1 20 1``."""
    if "%" not in where:
        return [own_file(path, where)]
    match = re.fullmatch(r"([^%]*)%(0?\d?)d([^%\s]*)\s+(\d+)\s+(\d+)(?:\s+(\d+))?(?:\s+\d+)?", where)
    numbers = range(int(match[4]), int(match[5]) + 1, max(int(match[6] or 1), 1)) if match else range(0)
    if match is None or not 1 <= len(numbers) <= _MOST_FILES:
        raise VolumeError(f"{path.name} names its files in an unknown way ({where[:60]!r}); export it as one file.")
    return [own_file(path, f"{match[1]}{number:{match[2]}d}{match[3]}") for number in numbers]


def _names_behind(path: Path, *starts: str) -> Iterator[str]:
    """The lines behind the one that begins so, each the name of a file."""
    behind, count = False, 0
    for line in lines_of(path):
        if behind and line:
            count += 1
            if count > _MOST_FILES:
                raise VolumeError(f"{path.name} names more than {_MOST_FILES:,} files; export it as one file.")
            yield line
        behind = behind or line.startswith(starts)


def _yes(fields: dict[str, str], key: str, otherwise: str = "False") -> bool:
    """MetaIO looks at the first letter."""
    return fields.get(key, otherwise)[:1] in ("T", "t", "1")


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]
