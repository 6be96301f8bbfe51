"""Where the work on a volume is kept: the names of its files, and opening a volume with the work that lies there."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import RecordError, RecordInUse, UserError
from sammed3d_nb.imaging.naming import stem
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session import record
from sammed3d_nb.session.session import Session
from sammed3d_nb.worklist.people import slug
from sammed3d_nb.worklist.shared import free


def file_stem(volume: Volume, *, anonymous: bool = False) -> str:
    """The start of a volume's file names: its own, if that may be told, and what tells it from others."""
    return f"{'case' if anonymous else volume.file_stem}-{volume.fingerprint[:8]}"


def made(folder: Path) -> Path:
    """The folder, which is made if it is not there.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made ({error.strerror}); start the app where you may write."
        ) from error
    return folder


def open_volume(
    volume: Volume,
    model: Engine,
    autosaves: Path | None,
    *,
    take_over: bool = False,
    anonymous: bool = False,
    annotator: str | None = None,
    own: str | None = None,
    taken: Collection[str] = (),
    unnamed: bool = True,
) -> Session:
    """A session on a volume that saves itself in the folder `autosaves`, and goes on with what was saved there.

    Args:
        volume: The volume.
        model: The model that answers.
        autosaves: The folder; None for a session that does not save itself.
        take_over: Take the record from another session that has it open.
        anonymous: As of `Session`; what was saved with names is gone on with, and stays as it is.
        annotator: Who works on it, where several do: each has a record of their own. One without a name, of the days
            when there was one for all, is gone on with by whoever opens it first.
        own: Name of the file of their record, where it is known.
        taken: Names of the files that are others'.
        unnamed: Whether a record without a name may be gone on with: not by a blinded reader.

    Raises:
        RecordInUse: Another session has it open.
    """
    if autosaves is None:
        return Session(volume, model, anonymous=anonymous, annotator=annotator)
    if annotator is None:
        saved, there = _record_of(volume, autosaves, anonymous)
    else:
        saved, there = _own_record(volume, autosaves, anonymous, annotator, own, taken, unnamed)
    more: dict[str, Any] = {"anonymous": True} if anonymous else {}
    if annotator is not None:
        more["annotator"] = annotator
    told = ""
    try:
        made(autosaves)
        if there.exists():
            return Session.resume(there, volume=volume, model=model, autosave=saved, take_over=take_over, **more)
    except RecordInUse:
        raise
    except RecordError as error:  # damaged, or another version's: start afresh, keep the file
        kept = there.replace(free(there.with_name(f"{there.name}.damaged")))
        told = f"{error} The case starts afresh; that file is kept as {kept.name}."
    except UserError as error:  # each change tries again to save
        told = f"Nothing is saved by itself. {error}"
    session = Session(volume, model, autosave=saved, take_over=take_over, anonymous=anonymous, annotator=annotator)
    if told:
        session.autosave_error = told
    return session


def open_record(path: Path, model: Engine, *, take_over: bool = False, anonymous: bool = False) -> Session:
    """Go on with a saved session, on the volume that it names; it saves itself there, from now on as `anonymous` says.

    Raises:
        RecordInUse: Another session has it open.
    """
    fields = record.load(path)
    made_on, more = fields["volume"], {"anonymous": True} if anonymous else {}
    if made_on.get("path") is None:
        raise UserError(
            f"{path.name} does not say on which image it was made; open that image, with {path.parent} as --output:"
            " the work on it is found by its checksum."
            if fields["options"].get("anonymous")
            else f"{path.name} was made on a volume that is in no file; resume it where that volume is."
        )
    volume = Volume.read(made_on["path"], **record.reading(made_on))
    return Session.resume(path, volume=volume, model=model, autosave=path, take_over=take_over, **more)


def check_own(path: Path, who: str) -> None:
    """Refuse a saved session that is somebody else's, which would be gone on with in its own file.

    Raises:
        UserError: Its annotator is another one.
    """
    whose = record.load(path).get("annotator")
    if whose and whose != who:
        raise UserError(
            f"{path.name} is {whose}'s saved session, and you are {who}; give its image to work on it in a record of "
            "your own."
        )


def record_name(volume: Volume, annotator: str, *, anonymous: bool = False, ends: str = record.SUFFIX) -> str:
    """The name of the file of one annotator's record of a volume."""
    return f"{file_stem(volume, anonymous=anonymous)}.{slug(annotator)}{ends}"


def _own_record(
    volume: Volume,
    folder: Path,
    anonymous: bool,
    annotator: str,
    own: str | None,
    taken: Collection[str],
    unnamed: bool,
) -> tuple[Path, Path]:
    """Where one annotator's work on a volume is to be kept, and where it is so far."""
    new = folder / record_name(volume, annotator, anonymous=anonymous)
    named = [folder / own] if own else []
    named += [new, folder / record_name(volume, annotator, anonymous=not anonymous)]
    there = next((path for path in named if path.exists()), None)
    if there is not None:
        return (new if anonymous else there), there
    for path in _older(volume, folder, anonymous):
        if not path.exists() or path.name in taken:
            continue
        try:
            whose = record.load(path).get("annotator")
        except RecordError:  # damaged: it says nothing, and stays where it is
            continue
        if whose == annotator or (unnamed and not whose):
            return (new if anonymous else path), path
    return new, new


def _record_of(volume: Volume, folder: Path, anonymous: bool) -> tuple[Path, Path]:
    """Where the work on a volume is to be kept, and where it is so far."""
    names = _older(volume, folder, anonymous)
    there = next((path for path in names if path.exists()), names[0])
    return (names[0] if anonymous else there), there


def _older(volume: Volume, folder: Path, anonymous: bool) -> list[Path]:
    """The files in which the work of all is kept where nobody says who they are; the first for what is new."""
    own, bare = (folder / f"{file_stem(volume, anonymous=mode)}{record.SUFFIX}" for mode in (False, True))
    names = [own, bare]
    if volume.path is not None:  # earlier ones are called image-…, whoever the patient is
        names.insert(1, folder / f"{stem(volume.path)}-{volume.fingerprint[:8]}{record.SUFFIX}")
    if anonymous:
        names.reverse()
    return names
