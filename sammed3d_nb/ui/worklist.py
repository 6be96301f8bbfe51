"""The cases that a dashboard may open: an allow-list from the launcher, asked for by number only."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging import naming

if TYPE_CHECKING:
    from sammed3d_nb.segmenters.segmenter import Engine
    from sammed3d_nb.session.session import Session

PATHS, SAMPLE, OUTPUT = "SAMMED3D_PATHS", "SAMMED3D_SAMPLE", "SAMMED3D_OUTPUT"
MODEL, MODELS = "SAMMED3D_MODEL", "SAMMED3D_MODELS"
"""Environment variables by which the launcher tells the dashboard's kernel what to open; see `serve`. The paths are a
JSON list."""

_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Case:
    """One entry of the list.

    Attributes:
        name: What the menu shows.
        open: From a model and a folder for automatic saves (or None) to a session; what was saved there is resumed.
        take_over: The same where another session has the record open: it is taken from that one.
    """

    name: str
    open: "Callable[[Engine, Path | None], Session]"
    take_over: "Callable[[Engine, Path | None], Session] | None" = None


def cases_of(paths: Sequence[str | Path], *, sample: str | None = None) -> list[Case]:
    """The cases of a list of files and folders.

    A folder that holds NIfTI, NRRD or MetaImage files, or folders of them, is one case for each of them, but for what
    was exported and label maps beside their image; any other folder is a DICOM series. A saved session is resumed.
    Files of the same name are told apart by their folder's. Without paths, the sample (``"phantom"`` by default, or
    ``"ct"``) is the only case.
    """
    files = [file for path in map(Path, paths) for file in (_files_in(path) if path.is_dir() else []) or [path]]
    if not files:
        return [_sample_case(sample or "phantom")]
    return [_file_case(file, name) for file, name in zip(files, _names(files), strict=True)]


def cases_from(environ: Mapping[str, str]) -> list[Case]:
    """The cases that the launcher put into the environment."""
    return cases_of(json.loads(environ.get(PATHS, "[]")), sample=environ.get(SAMPLE))


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


def _files_in(folder: Path, levels: int = 4) -> list[Path]:
    """The images of a folder; without any, those of its folders, as where each patient has one."""
    from sammed3d_nb.imaging.writers import is_ours

    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:  # it will be told when it is opened
        return []
    files = [f for f in entries if f.name.lower().endswith(_SUFFIXES) and f.is_file()]
    files = [file for file in files if not (naming.is_export(file) or is_ours(file))]
    images = [file for file in files if not naming.is_label_map(file)] or files
    if images or levels == 0:
        return images
    return [file for entry in entries if entry.is_dir() for file in _files_in(entry, levels - 1)]


def _names(paths: Sequence[Path]) -> list[str]:
    """What to call each path in the list: by its name, or by its folder's, with more folders where names are equal."""
    names = []
    for path in paths:
        told = naming.telling_name(naming.stem(path), path)
        names.append(path.name if told == naming.stem(path) else told)
    for folders in range(2, max(len(path.parts) for path in paths) + 1):
        count = Counter(names)
        names = [
            name if count[name] == 1 else "/".join(path.parts[-folders:])
            for name, path in zip(names, paths, strict=True)
        ]
    return names


def _file_case(path: Path, name: str) -> Case:
    def opened(model: "Engine", autosaves: Path | None, take_over: bool = False) -> "Session":
        from sammed3d_nb.imaging.volume import Volume
        from sammed3d_nb.ui.records import open_record, open_volume

        if path.name.endswith(".json"):
            return open_record(path, model, take_over=take_over)
        return open_volume(Volume.read(path), model, autosaves, take_over=take_over)

    return Case(name, opened, partial(opened, take_over=True))


def _sample_case(name: str) -> Case:
    def sample(model: "Engine", autosaves: Path | None) -> "Session":
        from sammed3d_nb.imaging.sample import open_sample
        from sammed3d_nb.session.session import Session

        return Session(open_sample(name), model)  # a demonstration starts afresh

    return Case({"phantom": "Sample: phantom", "ct": "Sample: CT"}.get(name, name), sample)
