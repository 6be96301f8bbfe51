"""Where the work on a volume is kept: the names of its files, and opening a volume with the work that lies there."""

from pathlib import Path

from sammed3d_nb.errors import RecordError, RecordInUse, UserError
from sammed3d_nb.imaging.naming import stem
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session import record
from sammed3d_nb.session.session import Session


def file_stem(volume: Volume) -> str:
    """The start of a volume's file names: its own, and what tells it from others of the same name."""
    return f"{volume.file_stem}-{volume.fingerprint[:8]}"


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


def open_volume(volume: Volume, model: Engine, autosaves: Path | None, *, take_over: bool = False) -> Session:
    """A session on a volume that saves itself in the folder `autosaves`, and goes on with what was saved there.

    Args:
        volume: The volume.
        model: The model that answers.
        autosaves: The folder; None for a session that does not save itself.
        take_over: Take the record from another session that has it open.

    Raises:
        RecordInUse: Another session has it open.
    """
    if autosaves is None:
        return Session(volume, model)
    saved = _record_of(volume, autosaves)
    told = ""
    try:
        made(autosaves)
        if saved.exists():
            return Session.resume(saved, volume=volume, model=model, autosave=saved, take_over=take_over)
    except RecordInUse:
        raise
    except RecordError as error:  # damaged, or another version's: start afresh, keep the file
        kept = saved.replace(saved.with_name(f"{saved.name}.damaged"))
        told = f"{error} The case starts afresh; that file is kept as {kept.name}."
    except UserError as error:  # each change tries again to save
        told = f"Nothing is saved by itself. {error}"
    session = Session(volume, model, autosave=saved, take_over=take_over)
    if told:
        session.autosave_error = told
    return session


def open_record(path: Path, model: Engine, *, take_over: bool = False) -> Session:
    """Go on with a saved session, on the volume that it names; it saves itself there.

    Raises:
        RecordInUse: Another session has it open.
    """
    made_on = record.load(path)["volume"]
    if made_on.get("path") is None:
        raise UserError(f"{path.name} was made on a volume that is in no file; resume it where that volume is.")
    volume = Volume.read(made_on["path"], **record.reading(made_on))
    return Session.resume(path, volume=volume, model=model, autosave=path, take_over=take_over)


def _record_of(volume: Volume, folder: Path) -> Path:
    saved = folder / f"{file_stem(volume)}{record.SUFFIX}"
    if volume.path is not None:  # earlier ones are called image-…, whoever the patient is
        older = folder / f"{stem(volume.path)}-{volume.fingerprint[:8]}{record.SUFFIX}"
        if older.exists() and not saved.exists():
            return older
    return saved
