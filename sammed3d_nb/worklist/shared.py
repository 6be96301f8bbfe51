"""Folders and files in a folder that several people share: open to those to whom it is open, whatever the umask."""

import os
import stat
from contextlib import suppress
from pathlib import Path


def made(folder: Path) -> Path:
    """A folder, made if it is not there with the permissions of the one that it is in.

    Raises:
        OSError: It cannot be made.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))
    return folder


def mode_in(folder: Path) -> int:
    """The permissions of a file that whoever may write in a folder may write."""
    return stat.S_IMODE(folder.stat().st_mode) & 0o666


def free(path: Path) -> Path:
    """The path, or that with the first number behind it of which there is no file."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}{number}")
    return found
