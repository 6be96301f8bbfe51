"""Which cases there are: the images and DICOM series in files, folders and lists, by a look at their headers."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging import naming
from sammed3d_nb.imaging.dicom_series import Series, series_of
from sammed3d_nb.imaging.glance import Glance, glance
from sammed3d_nb.worklist.labels import read_labels
from sammed3d_nb.worklist.table import Row, read_table

STATE = "sammed3d-worklist"
"""The folder, in that of the records, in which the state of a worklist lies; it holds no image."""
_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Found:
    """An image in the list, before anybody opens it.

    Attributes:
        path: The file, or the folder with its slices.
        series: Of a DICOM folder, the SeriesInstanceUID.
        name: What to call it.
        details: What tells it from others: modality, description, size and spacing, as far as its header says.
        modality: As its header says, or the list.
        size: Voxels along i, j, k; empty where the header does not say.
        key: By which its state is found again, on another machine too: see `keyed`.
        notes: What the list says of it.
        label_set: File of its label set, where the list names one.
        annotators: Whom the list gives it to; nobody in particular when empty.
        readings: How many annotators are to read it; None for as many as the worklist says.
    """

    path: str
    series: str | None
    name: str
    details: str = ""
    modality: str = ""
    size: tuple[int, ...] = ()
    key: str = ""
    notes: str = ""
    label_set: str | None = None
    annotators: tuple[str, ...] = ()
    readings: int | None = None

    def __post_init__(self) -> None:  # as it comes back from JSON
        object.__setattr__(self, "size", tuple(self.size))
        object.__setattr__(self, "annotators", tuple(self.annotators))


def found_in(paths: Sequence[str | Path]) -> list[Found]:
    """The cases of a list of files and folders; a .csv is a list of them, see `table.read_table`.

    A folder stands for the NIfTI, NRRD and MetaImage files in it, but for what was exported and label maps beside
    their image; where it holds none, for those of its folders, and for each DICOM series below it (by a look at the
    beginning of every file). Files of the same name are told apart by their folder's.
    """
    tables = [path for path in map(Path, paths) if path.suffix.lower() == ".csv" and not path.is_dir()]
    cases = _in_places([path for path in map(Path, paths) if path not in tables])
    for path in tables:
        cases += _listed(path)
    return keyed(cases)


def keyed(cases: Sequence[Found]) -> list[Found]:
    """The cases, each with its key: of the last two parts of its path and its series.

    So a case is known again where the data is mounted elsewhere; only cases of which these are equal are told apart by
    their whole path.
    """
    short = [_digest("/".join(Path(one.path).parts[-2:]), one.series) for one in cases]
    whole = [_digest(os.path.abspath(one.path), one.series) for one in cases]  # noqa: PTH100  links stay
    count = Counter(key for key, _ in set(zip(short, whole, strict=True)))  # what is given twice is one case
    return [
        replace(one, key=key if count[key] == 1 else longer)
        for one, key, longer in zip(cases, short, whole, strict=True)
    ]


def _digest(place: str, series: str | None) -> str:
    return sha256(f"{place}\n{series or ''}".encode()).hexdigest()[:12]


def _in_places(paths: Sequence[Path]) -> list[Found]:
    places: list[tuple[Path, Series | None, Path | None]] = []  # of a series also the folder that was given
    for path in paths:
        images, slices = _look_into(path) if path.is_dir() else ([], [])
        listed = series_of(slices)
        listed = [one for one in listed if one.size[2] > 1] or listed  # a scout is no volume
        places += [(image, None, None) for image in images]
        places += [(one.place, one, path) for one in listed]
        if not images and not listed:
            places.append((path, None, None))
    files = iter(_names([path for path, series, _ in places if series is None]))
    series = iter(_series_names([(one, given) for _, one, given in places if one is not None and given is not None]))
    return [
        Found(str(path), None, next(files), *glance(path))
        if one is None
        else Found(str(path), one.uid or None, next(series), *Glance(str(one), one.modality, one.size))
        for path, one, _ in places
    ]


def _listed(table: Path) -> list[Found]:
    """The cases of a .csv, each with what its row says."""
    cases: list[Found] = []
    wrong: list[str] = []
    rows: dict[tuple[str, str | None], int] = {}
    places, checked = cache(lambda path: _in_places([path])), cache(read_labels)  # many rows may name one of each
    for row in read_table(table):
        try:
            one = _of_row(row, table, places, checked)
        except UserError as error:
            wrong.append(f"row {row.number}: {error}")
            continue
        first = rows.setdefault((one.path, one.series), row.number)
        if first != row.number:
            wrong.append(f"row {row.number}: it names the image of row {first} again.")
        cases.append(one)
    if wrong:
        more = f" And {len(wrong) - 5} more." if len(wrong) > 5 else ""
        raise UserError(f"{table.name} cannot be used. {' '.join(_capital(text) for text in wrong[:5])}{more}")
    if not cases:
        raise UserError(f"{table.name} lists no case; write a row with an image for each.")
    names = _names([Path(one.path) for one in cases])
    count = Counter(one.name for one in cases if one.name)
    cases = [replace(one, name=one.name or name) for one, name in zip(cases, names, strict=True)]
    return [replace(one, name=f"{one.name} ({Path(one.path).name})") if count[one.name] > 1 else one for one in cases]


def _of_row(row: Row, table: Path, places: Callable[[Path], list[Found]], checked: Callable[[str], object]) -> Found:
    path = Path(os.path.abspath(table.parent / Path(row.image).expanduser()))  # noqa: PTH100  links stay
    if not path.exists():
        raise UserError(f"there is no {row.image}; give its path from the folder of {table.name}.")
    found = places(path)
    if row.series:
        found = [one for one in found if one.series == row.series]
        if not found:
            raise UserError(f"{row.image} holds no series {row.series:.80}; give its SeriesInstanceUID.")
    if len(found) > 1:
        raise UserError(f"{row.image} holds {len(found)} images; name one of them, or give its series.")
    labels = None
    if row.label_set:
        labels = str(table.parent / Path(row.label_set).expanduser())
        if not Path(labels).is_file():
            labels = next((f"{labels}{end}" for end in (".yaml", ".yml") if Path(f"{labels}{end}").is_file()), None)
        if labels is None:
            raise UserError(f"there is no label set {row.label_set}; give its path from the folder of {table.name}.")
        checked(labels)
    (one,) = found
    return replace(
        one,
        name=row.name,
        modality=row.modality or one.modality,
        notes=row.notes,
        label_set=labels,
        annotators=row.annotators,
        readings=row.readings,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _look_into(folder: Path, levels: int = 4) -> tuple[list[Path], list[Path]]:
    """The images of a folder, or of the folders in it, as where each patient has one; and what may be DICOM slices."""
    from sammed3d_nb.imaging.writers import is_ours

    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:  # it will be told when it is opened
        return [], []
    files = [entry for entry in entries if entry.is_file()]
    known = [file for file in files if file.name.lower().endswith(_SUFFIXES)]
    own = [file for file in known if not (naming.is_export(file) or is_ours(file))]
    images = [file for file in own if not naming.is_label_map(file)] or own
    if images and levels >= 0:
        return images, []
    slices = [file for file in files if file not in known]
    for entry in (entry for entry in entries if entry.is_dir() and not entry.is_symlink() and entry.name != STATE):
        more_images, more_slices = _look_into(entry, levels - 1)
        images, slices = images + more_images, slices + more_slices
    return images, slices


def _names(paths: Sequence[Path]) -> list[str]:
    """What to call each path in the list: by its name, or by its folder's, with more folders where names are equal."""
    names: list[str] = []
    for path in paths:
        told = naming.telling_name(naming.stem(path), path)
        names.append(path.name if told == naming.stem(path) else told)
    for folders in range(2, max((len(path.parts) for path in paths), default=0) + 1):
        count = Counter(names)
        names = [
            name if count[name] == 1 else "/".join(path.parts[-folders:])
            for name, path in zip(names, paths, strict=True)
        ]
    return names


def _series_names(listed: Sequence[tuple[Series, Path]]) -> Iterator[str]:
    """What to call each series: as it is described, behind the folder in which series of one patient lie."""
    for one, given in listed:
        folders = [other.files[0].parent for other, whose in listed if whose == given]
        inside = one.files[0].parent.relative_to(os.path.commonpath(folders)).parts
        yield f"{inside[0]}/{one.name}" if inside and inside[0] != one.name else one.name
