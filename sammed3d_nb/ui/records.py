"""Where the work on a volume is kept: the names of its files, and opening a volume with the work that lies there."""

from pathlib import Path

from sammed3d_nb.errors import RecordError, UserError
from sammed3d_nb.imaging.naming import stem
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models.model import Model
from sammed3d_nb.session import record
from sammed3d_nb.session.session import Session

RECORD = ".sammed3d.json"


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


def open_volume(volume: Volume, model: Model, autosaves: Path | None) -> Session:
    """A session on a volume that saves itself in the folder `autosaves`, and goes on with what was saved there."""
    if autosaves is None:
        return Session(volume, model)
    saved = _record_of(volume, autosaves)
    try:
        made(autosaves)
        if saved.exists():
            return Session.resume(saved, volume=volume, model=model, autosave=saved)
    except RecordError as error:  # damaged, or another version's: start afresh, keep the file
        kept = saved.replace(saved.with_name(f"{saved.name}.damaged"))
        session = Session(volume, model, autosave=saved)
        session.autosave_error = f"{error} The case starts afresh; that file is kept as {kept.name}."
        return session
    except UserError as error:  # each change tries again to save
        session = Session(volume, model, autosave=saved)
        session.autosave_error = f"Nothing is saved by itself. {error}"
        return session
    return Session(volume, model, autosave=saved)


def open_record(path: Path, model: Model) -> Session:
    """Go on with a saved session, on the volume that it names; it saves itself there."""
    made_on = record.load(path)["volume"]
    if made_on.get("path") is None:
        raise UserError(f"{path.name} was made on a volume that is in no file; resume it where that volume is.")
    volume = Volume.read(made_on["path"], series=made_on.get("series"))
    return Session.resume(path, volume=volume, model=model, autosave=path)


def _record_of(volume: Volume, folder: Path) -> Path:
    saved = folder / f"{file_stem(volume)}{RECORD}"
    if volume.path is not None:  # earlier ones are called image-…, whoever the patient is
        older = folder / f"{stem(volume.path)}-{volume.fingerprint[:8]}{RECORD}"
        if older.exists() and not saved.exists():
            return older
    return saved
