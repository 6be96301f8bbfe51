"""The cases that a dashboard may open: an allow-list from the launcher, asked for by number only."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sammed3d_nb.errors import RecordError, UserError

if TYPE_CHECKING:
    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.models.model import Model
    from sammed3d_nb.session.session import Session

PATHS, SAMPLE, OUTPUT = "SAMMED3D_PATHS", "SAMMED3D_SAMPLE", "SAMMED3D_OUTPUT"
MODEL, MODELS = "SAMMED3D_MODEL", "SAMMED3D_MODELS"
"""Environment variables by which the launcher tells the dashboard's kernel what to open; see `serve`. The paths are a
JSON list."""

RECORD = ".sammed3d.json"
_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Case:
    """One entry of the list.

    Attributes:
        name: What the menu shows.
        open: From a model and a folder for automatic saves (or None) to a session; what was saved there is resumed.
    """

    name: str
    open: "Callable[[Model, Path | None], Session]"


def cases_of(paths: Sequence[str | Path], *, sample: str | None = None) -> list[Case]:
    """The cases of a list of files and folders.

    A folder that holds NIfTI, NRRD or MetaImage files is one case for each of them, any other folder is a DICOM
    series; a saved session is resumed. Files of the same name are told apart by their folder's. Without paths,
    the sample (``"phantom"`` by default, or ``"ct"``) is the only case.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(f for f in path.iterdir() if f.name.lower().endswith(_SUFFIXES)) if path.is_dir() else []
        files += inside or [path]
    names = Counter(file.name for file in files)
    cases = [_file_case(f, f.name if names[f.name] == 1 else f"{f.parent.name}/{f.name}") for f in files]
    return cases or [_sample_case(sample or "phantom")]


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


def file_stem(volume: "Volume") -> str:
    """The start of a volume's file names: its own, and what tells it from others of the same name."""
    return f"{volume.file_stem}-{volume.fingerprint[:8]}"


def _file_case(path: Path, name: str) -> Case:
    def volume(model: "Model", autosaves: Path | None) -> "Session":
        from sammed3d_nb.imaging.volume import Volume
        from sammed3d_nb.session.session import Session

        volume = Volume.read(path)
        if autosaves is None:
            return Session(volume, model)
        saved = autosaves / f"{file_stem(volume)}{RECORD}"
        try:
            if saved.exists():
                return Session.resume(saved, volume=volume, model=model, autosave=saved)
        except RecordError as error:  # damaged, or another version's: start afresh, keep the file
            kept = saved.replace(saved.with_name(f"{saved.name}.damaged"))
            session = Session(volume, model, autosave=saved)
            session.autosave_error = f"{error} The case starts afresh; that file is kept as {kept.name}."
            return session
        return Session(volume, model, autosave=saved)

    def record(model: "Model", autosaves: Path | None) -> "Session":
        from sammed3d_nb.imaging.volume import Volume
        from sammed3d_nb.session.record import load
        from sammed3d_nb.session.session import Session

        made_on = load(path)["volume"]
        if made_on.get("path") is None:
            raise UserError(f"{path.name} was made on a volume that is in no file; resume it where that volume is.")
        volume = Volume.read(made_on["path"], series=made_on.get("series"))
        return Session.resume(path, volume=volume, model=model, autosave=path)

    return Case(name, record if path.name.endswith(".json") else volume)


def _sample_case(name: str) -> Case:
    def sample(model: "Model", autosaves: Path | None) -> "Session":
        from sammed3d_nb.imaging.sample import open_sample
        from sammed3d_nb.session.session import Session

        return Session(open_sample(name), model)  # a demonstration starts afresh

    return Case({"phantom": "Sample: phantom", "ct": "Sample: CT"}.get(name, name), sample)
