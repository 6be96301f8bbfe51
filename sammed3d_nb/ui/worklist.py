"""The cases that a dashboard may open: an allow-list from the launcher, asked for by number only."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging import naming
from sammed3d_nb.imaging.dicom_series import Series, series_of
from sammed3d_nb.imaging.glance import glance

if TYPE_CHECKING:
    from sammed3d_nb.segmenters.segmenter import Engine
    from sammed3d_nb.session.session import Session

PATHS, SAMPLE, OUTPUT = "SAMMED3D_PATHS", "SAMMED3D_SAMPLE", "SAMMED3D_OUTPUT"
LISTED, ANONYMOUS = "SAMMED3D_LISTED", "SAMMED3D_ANONYMOUS"
MODEL, MODELS, RENDERER = "SAMMED3D_MODEL", "SAMMED3D_MODELS", "SAMMED3D_RENDERER"
"""Environment variables by which the launcher tells the dashboard's kernel what to open; see `serve`. The paths are a
JSON list; what was found in them may stand in a file, `LISTED`, so that not every page looks at every slice."""

_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Case:
    """One entry of the list.

    Attributes:
        name: What to call it.
        open: From a model and a folder for automatic saves (or None) to a session; what was saved there is resumed.
        take_over: The same where another session has the record open: it is taken from that one.
        details: What tells it from others: modality, description, size and spacing, as far as its header says.
    """

    name: str
    open: "Callable[[Engine, Path | None], Session]"
    take_over: "Callable[[Engine, Path | None], Session] | None" = None
    details: str = ""


@dataclass(frozen=True)
class Found:
    """An image in the list, before anybody opens it.

    Attributes:
        path: The file, or the folder with its slices.
        series: Of a DICOM folder, the SeriesInstanceUID.
        name: What to call it.
        details: As of `Case`.
    """

    path: str
    series: str | None
    name: str
    details: str = ""


def found_in(paths: Sequence[str | Path]) -> list[Found]:
    """What a list of files and folders holds: see `cases_of`."""
    places: list[tuple[Path, Series | None, Path | None]] = []  # of a series also the folder that was given
    for path in map(Path, paths):
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
        Found(str(path), None, next(files), glance(path))
        if one is None
        else Found(str(path), one.uid or None, next(series), str(one))
        for path, one, _ in places
    ]


def cases_of(paths: Sequence[str | Path], *, sample: str | None = None, anonymous: bool = False) -> list[Case]:
    """The cases of a list of files and folders.

    A folder stands for the NIfTI, NRRD and MetaImage files in it, but for what was exported and label maps beside
    their image; where it holds none, for those of its folders, and for each DICOM series below it (by a look at the
    beginning of every file). A saved session is resumed. Files of the same name are told apart by their folder's.
    Without paths, the sample (``"phantom"`` by default, or ``"ct"``) is the only case.
    What is saved and exported of them leaves out whose they are where `anonymous` is set; see `Session`.
    """
    return [_case(found, anonymous) for found in found_in(paths)] or [_sample_case(sample or "phantom")]


def cases_from(environ: Mapping[str, str]) -> list[Case]:
    """The cases that the launcher put into the environment."""
    anonymous = ANONYMOUS in environ
    if LISTED in environ:
        listed = json.loads(Path(environ[LISTED]).read_text(encoding="utf-8"))
        return [_case(Found(**fields), anonymous) for fields in listed]
    return cases_of(json.loads(environ.get(PATHS, "[]")), sample=environ.get(SAMPLE), anonymous=anonymous)


def as_text(found: Sequence[Found]) -> str:
    """What `cases_from` reads from the file `LISTED`."""
    return json.dumps([asdict(one) for one in found])


def requested(environ: Mapping[str, str], cases: Sequence[Case]) -> int:
    """Which case the page's address asks for (``?case=2``); the first one when it does not ask.

    Raises:
        UserError: It asks for something that is no number of a case. Paths are never taken from the address.
    """
    wanted = parse_qs(environ.get("QUERY_STRING", "")).get("case", ["0"])[-1]
    if not (wanted.isdecimal() and wanted.isascii() and int(wanted) < len(cases)):
        raise UserError(
            f"The address asks for case {wanted!r:.40}; expected a number from 0 to {len(cases) - 1}, showing case 0."
        )
    return int(wanted)


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
    for entry in (entry for entry in entries if entry.is_dir() and not entry.is_symlink()):
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


def _case(found: Found, anonymous: bool) -> Case:
    path = Path(found.path)

    def opened(model: "Engine", autosaves: Path | None, take_over: bool = False) -> "Session":
        from sammed3d_nb.imaging.volume import Volume
        from sammed3d_nb.ui.records import open_record, open_volume

        if path.name.endswith(".json"):
            return open_record(path, model, take_over=take_over, anonymous=anonymous)
        series = found.series if path.is_dir() else None
        volume = Volume.read(path, series=series)
        return open_volume(volume, model, autosaves, take_over=take_over, anonymous=anonymous)

    return Case(found.name, opened, partial(opened, take_over=True), found.details)


def _sample_case(name: str) -> Case:
    def sample(model: "Engine", autosaves: Path | None) -> "Session":
        from sammed3d_nb.imaging.sample import open_sample
        from sammed3d_nb.session.session import Session

        return Session(open_sample(name), model)  # a demonstration starts afresh

    return Case({"phantom": "Sample: phantom", "ct": "Sample: CT"}.get(name, name), sample)
