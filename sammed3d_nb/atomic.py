"""Files that appear whole or not at all, whatever the disk or another user of the folder does.

A draft is written in a folder of its own beside its target: new, of a name nobody can guess, open to nobody else. So
nothing that was planted in a shared folder is followed, and a full disk leaves the older file as it was.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sammed3d_nb.errors import UserError, VolumeError


@contextmanager
def drafts(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A private folder beside `path`: the files left in it take the places of those of the same name beside `path`.

    All of them do, or none: on any error, also in the block, what was there before stays. `path` itself, which may
    name the others inside, comes last.

    Args:
        path: The file to make; a link is replaced, never followed.
        overwrite: Whether files that are there already may be replaced.

    Raises:
        FileExistsError: One is there and may not be replaced.
        OSError: The folder cannot be written, the disk is full, …
    """
    place = path.absolute().parent
    folder = Path(tempfile.mkdtemp(prefix=".sammed3d-", dir=place))
    try:
        yield folder
        drafted = sorted(folder.iterdir(), key=lambda draft: draft.name == path.name)
        for draft in drafted:
            _keep_mode(draft, place / draft.name)
            sync(draft)
        _commit(drafted, place, overwrite)
        with suppress(OSError):  # not every file system can
            sync(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(path: Path, content: bytes, *, overwrite: bool = True) -> Path:
    """Write a file, read it back and put it in its place; see `drafts`.

    Raises:
        OSError: It could not be written whole, or reads back differently; what was there before stays.
    """
    with drafts(path, overwrite=overwrite) as folder:
        draft = folder / path.name
        draft.write_bytes(content)
        if draft.read_bytes() != content:
            raise differs(path)
    return path


@contextmanager
def told(path: Path, kind: type[UserError] = VolumeError) -> Iterator[None]:
    """What keeps a file from being written, as a sentence.

    Args:
        path: The file.
        kind: Of the error that is raised.
    """
    try:
        yield
    except FileExistsError as error:
        raise kind(f"{path} is there already and was not to be overwritten; choose another name.") from error
    except OSError as error:
        raise kind(
            f"{path} cannot be written; check the disk's space and your permissions ({reason(error)})."
        ) from error


def differs(path: Path) -> OSError:
    """The error for a file that reads back differently."""
    return OSError(5, "it reads back differently from what was written", str(path))


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reason(error: OSError) -> str:
    """What the system says, in a few words for a sentence in parentheses."""
    return error.strerror or type(error).__name__


def _keep_mode(draft: Path, target: Path) -> None:
    """Whoever closed the older file to others finds the new one closed too."""
    with suppress(OSError):
        old = target.lstat().st_mode
        if stat.S_ISREG(old):
            draft.chmod(stat.S_IMODE(old))


def _commit(drafted: Sequence[Path], place: Path, overwrite: bool) -> None:
    """Move all drafts into their place, or none of them."""
    targets = [place / draft.name for draft in drafted]
    for target in targets:
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(21, "Is a directory", str(target))
        if not overwrite and os.path.lexists(target):
            raise FileExistsError(17, "File exists", str(target))
    undo: list[tuple[Path, Path | None]] = []  # a single file needs none: it is replaced or it is not
    try:
        for draft, target in zip(drafted, targets, strict=True):
            existed = os.path.lexists(target)
            if len(drafted) > 1 and existed:
                kept = draft.with_name(f"{draft.name}.kept")
                undo.append((target, kept))
                _second_name(target, kept)
            _move(draft, target, overwrite)
            if len(drafted) > 1 and not existed:
                undo.append((target, None))
    except BaseException:
        for target, older in reversed(undo):
            with suppress(OSError):
                target.unlink() if older is None else older.replace(target)
        raise


def _move(draft: Path, target: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(draft, target)  # fails when somebody was quicker, as no renaming does
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(target):
                raise FileExistsError(17, "File exists", str(target)) from None
        else:
            return
    draft.replace(target)


def _second_name(target: Path, kept: Path) -> None:
    try:
        os.link(target, kept, follow_symlinks=False)
    except OSError:  # a file system without hard links
        target.replace(kept)
