"""Label sets: which objects a case has, from a YAML file.

.. code-block:: yaml

    name: Abdomen
    guideline: Contour on 1 mm slices; leave out fat.
    labels:
      - name: liver
        colour: "#e69f00"          # by default one of the palette
        required: true             # by default true
        snomed: 10200004           # optional; a code of SNOMED CT
        guideline: Without the gallbladder; up to the dome.
      - spleen                     # a name alone
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import UserError
from sammed3d_nb.session.objects import LONGEST_NAME, SNOMED, SegmentedObject, checked_colour
from sammed3d_nb.session.palette import COLOURS

_LARGEST = 1_000_000  # bytes
_MOST = 500
_SET, _LABEL = ("name", "guideline", "labels"), ("name", "colour", "color", "required", "snomed", "guideline")


@dataclass(frozen=True)
class Label:
    """One object that a case may have.

    Attributes:
        name: As the object is called.
        colour: ``#rrggbb``.
        required: Whether a case without it is not done.
        guideline: How to draw it; may be empty.
        code: Its SNOMED CT code; "" without one.
    """

    name: str
    colour: str
    required: bool = True
    guideline: str = ""
    code: str = ""


@dataclass(frozen=True)
class LabelSet:
    """The objects of a case, in their order.

    Attributes:
        name: What to call the set.
        labels: The objects.
        guideline: What holds for all of them; may be empty.
    """

    name: str
    labels: tuple[Label, ...]
    guideline: str = ""

    def missing(self, objects: Iterable[SegmentedObject]) -> list[str]:
        """The names of the required objects that have no voxel."""
        there = {item.name for item in objects if item.local.count}
        return [label.name for label in self.labels if label.required and label.name not in there]

    def get(self, name: str) -> Label | None:
        """The label of a name; None without one."""
        return next((label for label in self.labels if label.name == name), None)

    def next_of(self, objects: Sequence[SegmentedObject]) -> Label | None:
        """The first label that no object has yet; None when all are there."""
        there = {item.name for item in objects}
        return next((label for label in self.labels if label.name not in there), None)


def read_labels(path: str | Path) -> LabelSet:
    """Read a label set.

    Raises:
        UserError: There is no such file, or it is no label set; the sentence says where.
    """
    import yaml

    path = Path(path).expanduser()
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path.name} is too large for a label set; expected a YAML file with a list of labels.")
        told = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"The label set {path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The label set {path.name} is not in UTF-8; save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or "it is no YAML"
        raise UserError(f"{path.name}{where}: {why}; expected YAML as docs/worklist.md shows it.") from error
    if isinstance(told, list):
        told = {"labels": told}
    if not isinstance(told, dict) or not isinstance(told.get("labels"), list) or not told["labels"]:
        raise UserError(f"{path.name} has no list of labels; expected “labels:” and below it a line for each object.")
    if len(told["labels"]) > _MOST:
        raise UserError(f"{path.name} has {len(told['labels'])} labels; at most {_MOST} are taken.")
    _check_keys(told, _SET, path.name)
    given = {fields.get("colour") or fields.get("color") for fields in told["labels"] if isinstance(fields, dict)}
    labels: list[Label] = []
    for number, fields in enumerate(told["labels"], start=1):
        labels.append(_label(fields, f"{path.name}, label {number}", labels, given))
    return LabelSet(_text(told, "name", path.name) or path.stem, tuple(labels), _text(told, "guideline", path.name))


def listed(names: Sequence[str]) -> str:
    """Names of objects in a sentence."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _label(fields: Any, where: str, before: Sequence[Label], given: Iterable[Any]) -> Label:
    if isinstance(fields, str):
        fields = {"name": fields}
    if not isinstance(fields, dict):
        raise UserError(f"{where} is {fields!r:.40}; expected a name, or “name:” with colour, required and so on.")
    _check_keys(fields, _LABEL, where)
    name = _text(fields, "name", where)
    if not name or len(name) > LONGEST_NAME:
        raise UserError(f"{where} has no name, or a longer one than {LONGEST_NAME} characters; give it one.")
    if any(label.name.lower() == name.lower() for label in before):
        raise UserError(f"{where}: there is another label {name!r:.60}; give each a name of its own.")
    required = fields.get("required", True)
    if not isinstance(required, bool):
        raise UserError(f"{where} ({name}): required is {required!r:.40}; expected true or false.")
    colour = _text(fields, "colour", where) or _text(fields, "color", where)
    try:
        colour = checked_colour(colour) if colour else _free_colour(before, given)
    except UserError as error:
        raise UserError(f"{where} ({name}): {error}") from error
    code = fields.get("snomed", "")
    if isinstance(code, bool) or not re.fullmatch(f"({SNOMED})?", str(code)):
        raise UserError(f"{where} ({name}): snomed is {code!r:.40}; expected a number such as 10200004.")
    return Label(name, colour, required, _text(fields, "guideline", where), str(code))


def _free_colour(before: Sequence[Label], given: Iterable[Any]) -> str:
    taken = {str(colour).lower() for colour in (*given, *(label.colour for label in before))}
    return next((colour for colour in COLOURS if colour not in taken), COLOURS[len(before) % len(COLOURS)])


def _check_keys(fields: dict[Any, Any], known: Sequence[str], where: str) -> None:
    for key in fields:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            meant = f"did you mean “{near[0]}”?" if near else f"it may have {', '.join(known)}."
            raise UserError(f"{where} has a field {key!r:.40} that is not known; {meant}")


def _text(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if isinstance(value, bool | int | float) and name == "name":
        return str(value)
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} is {value!r:.40}; expected text.")
    return value.strip()
