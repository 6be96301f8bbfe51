"""What label maps say about their labels: names and colours inside the file, or in a JSON file beside it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import unescape

from sammed3d_nb.imaging.nifti import HEADER_BYTES, NiftiHeader, kind_of
from sammed3d_nb.imaging.streams import first_bytes
from sammed3d_nb.imaging.text_headers import read_metaimage, read_nrrd

_MOST_JSON, _MOST_EXTENSIONS, _LONGEST_NAME = 4 << 20, 16 << 20, 200
_LABEL = re.compile(r"<Label\s([^<>]*)>(.*?)</Label>", re.DOTALL)


class Named(NamedTuple):
    """One label of a map.

    Attributes:
        layer: Which of the file's label maps it is in; 0 where there is one.
        value: Its number there.
        name: For people.
        colour: ``#rrggbb``, or None.
    """

    layer: int
    value: int
    name: str
    colour: str | None


def names_of(path: Path) -> list[Named]:
    """What the file, or else the JSON file beside it, says of its labels; nothing where neither says anything."""
    return _inside(path) or _beside(path)


def beside(path: Path) -> Path:
    """The JSON file that names the labels of a label map."""
    return path.with_name(path.name.removesuffix(".gz").rsplit(".", 1)[0] + ".labels.json")


def clean(name: object, value: int) -> str:
    """A name on one line, of bounded length."""
    return " ".join(str(name).split())[:_LONGEST_NAME] or f"label {value}"


def _inside(path: Path) -> list[Named]:
    head = first_bytes(path, HEADER_BYTES)
    if head.startswith(b"NRRD"):
        return _slicer(read_nrrd(path).keys)
    if kind_of(head):
        end = NiftiHeader.parse(head).data_offset
        return _caret(first_bytes(path, min(max(end, 0), _MOST_EXTENSIONS)).decode("utf-8", "replace"))
    return _slicer(read_metaimage(path).keys)


def _slicer(keys: Mapping[str, str]) -> list[Named]:
    """3D Slicer's keys, ``Segment0_Name`` and so on."""
    found = []
    for number in sorted(int(match[1]) for key in keys if (match := re.fullmatch(r"Segment(\d{1,6})_Name", key))):
        start = f"Segment{number}_"
        value, layer = _whole(keys.get(f"{start}LabelValue", "")), _whole(keys.get(f"{start}Layer", ""))
        value = number + 1 if value is None else value
        colour = _hex(keys.get(f"{start}Color", "").split())
        found.append(Named(layer or 0, value, clean(keys[f"{start}Name"], value), colour))
    return found


def _caret(text: str) -> list[Named]:
    """The label table of Connectome Workbench and TotalSegmentator; read as text, so that no XML can do anything."""
    found = []
    for attributes, content in _LABEL.findall(text):
        stated = dict(re.findall(r'(\w+)="([^"]*)"', attributes))
        value = _whole(stated.get("Key", ""))
        if value:  # 0 is what belongs to nothing
            name = re.sub(r"^\s*<!\[CDATA\[(.*)\]\]>\s*$", r"\1", content, flags=re.DOTALL)
            colour = _hex([stated.get(part, "") for part in ("Red", "Green", "Blue")])
            found.append(Named(0, value, clean(unescape(name), value), colour))
    return found


def _beside(path: Path) -> list[Named]:
    """The file that `Session.export` writes: for each number a name and a colour."""
    file = beside(path)
    try:
        if not file.is_file() or file.stat().st_size > _MOST_JSON:
            return []
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    found = []
    for key, said in fields.items() if isinstance(fields, dict) else ():
        value = _whole(key)
        if value and isinstance(said, dict) and isinstance(said.get("name"), str):
            colour = said.get("colour")
            known = isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour)
            found.append(Named(0, value, clean(said["name"], value), colour if known else None))
    return found


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}", text.strip()) else None


def _hex(parts: list[str]) -> str | None:
    """``#rrggbb`` of three numbers from 0 to 1."""
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        return None
    return "#" + "".join(f"{round(255 * min(max(number, 0.0), 1.0)):02x}" for number in numbers)
