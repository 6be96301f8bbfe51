"""A worklist as a .csv: a row for each case."""

import csv
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.worklist import people

COLUMNS = ("image", "series", "name", "modality", "label_set", "notes", "annotator", "readings")
_LARGEST = 50_000_000  # bytes
_MOST_READINGS = 9


@dataclass(frozen=True)
class Row:
    """What a row says.

    Attributes:
        number: Its line in the file, the heading's is 1.
        image: File or folder, from the folder of the .csv.
        series: A SeriesInstanceUID; may be empty, as all that follow.
        name: What to call the case.
        modality: Of the image.
        label_set: A YAML file, from the folder of the .csv.
        notes: For whoever reads it.
        annotators: Whose it is.
        readings: How many annotators are to read it.
    """

    number: int
    image: str
    series: str
    name: str
    modality: str
    label_set: str
    notes: str
    annotators: tuple[str, ...]
    readings: int | None


def read_table(path: Path) -> Iterator[Row]:
    """The rows of a worklist: comma, semicolon or tab between the columns, whose names stand in the first line.

    There has to be a column ``image``; the others of `COLUMNS` may be there, and further ones are passed over.

    Raises:
        UserError: It cannot be read, or a row cannot be understood; the sentence says which.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path.name} is too large for a list of cases.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not in UTF-8; save it as “CSV UTF-8”.") from error
    heading = text.split("\n", 1)[0]
    between = max(",;\t", key=heading.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=between, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UserError(f"{path.name}, row {reader.line_num}: {error}; mend its quotation marks.") from error
    columns = [name.lower().replace(" ", "_") for name in rows[0][1]] if rows else []
    _check_columns(columns, path.name)
    for number, cells in rows[1:]:
        if any(cells):
            yield _row(number, columns, cells, path.name)


def _check_columns(columns: list[str], name: str) -> None:
    if "image" not in columns:
        raise UserError(f"{name} has no column “image”; its first line names the columns, as in: image,name,notes")
    for column in columns:
        if column in COLUMNS and columns.count(column) > 1:
            raise UserError(f"{name} has two columns “{column}”; leave one.")
        near = difflib.get_close_matches(column, COLUMNS, 1, cutoff=0.84)
        if near and column not in COLUMNS and near[0] not in columns:
            raise UserError(f"{name} has a column “{column}”; if it is to be “{near[0]}”, call it so, else otherwise.")


def _row(number: int, columns: list[str], cells: list[str], name: str) -> Row:
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        raise UserError(
            f"{name}, row {number} has {len(cells)} values for {len(columns)} columns; put text with a comma in quotes."
        )
    told = {column: cell for column, cell in zip(columns, cells, strict=False) if column in COLUMNS}
    if not told.get("image"):
        raise UserError(f"{name}, row {number} names no image; fill in its column “image”.")
    try:
        who = tuple(people.checked(one) for one in told.get("annotator", "").split("|") if one.strip())
    except UserError as error:
        raise UserError(f"{name}, row {number}: {error}") from error
    readings = told.get("readings", "")
    if readings and not (readings.isdecimal() and readings.isascii() and 1 <= int(readings) <= _MOST_READINGS):
        raise UserError(f"{name}, row {number}: readings is {readings:.20}; expected 1 to {_MOST_READINGS}.")
    fields = {column: told.get(column, "") for column in ("series", "name", "modality", "label_set", "notes")}
    return Row(number, told["image"], annotators=who, readings=int(readings) if readings else None, **fields)
