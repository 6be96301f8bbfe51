"""Who may reach a server: its token, its address, the folder of its sockets, the places that only its owner enters."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sammed3d_nb.errors import UserError

TOKEN = "JUPYTER_TOKEN"
"""The environment variable of the token: a command line would show it to everybody who types ``ps``."""

RUNTIME = "SAMMED3D_RUNTIME"
"""The environment variable that tells a server its private folder."""

LOOPBACK = "127.0.0.1"

_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of a UNIX socket's path; the system takes no more."""
_KERNEL_SOCKET = len("/voila_12345678/kernel-") + 36 + len("-ipc-1")


@dataclass(frozen=True)
class Access:
    """Where a server listens and what it asks for.

    Attributes:
        host: The address that it listens on.
        port: Its port; with a `socket`, the port of one's own computer that leads to it.
        token: What a browser has to know; empty when everybody may come in.
        socket: The UNIX socket that it listens on instead of a port.
        page: The path of the page to open.
    """

    host: str = LOOPBACK
    port: int = 8866
    token: str = ""
    socket: Path | None = None
    page: str = "/"

    @property
    def here(self) -> str:
        """The address without the token."""
        host = LOOPBACK if self.socket else socket.gethostname() if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        return f"{self.here}{self.page}?token={quote(self.token, safe='')}" if self.token else f"{self.here}{self.page}"


def new_token() -> str:
    """The token that the user has set, or a new one."""
    return os.environ.get(TOKEN) or secrets.token_hex(24)


def is_loopback(host: str) -> bool:
    """Whether an address is one that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def private_folder() -> Path:
    """A new folder that nobody else enters, of a path short enough for the kernels' sockets.

    Raises:
        UserError: There is no place for it.
    """
    places = [tempfile.gettempdir(), *(["/tmp", "/var/tmp"] if os.name == "posix" else [])]
    for place in dict.fromkeys(places):
        room = _LONGEST_SOCKET - _KERNEL_SOCKET - len("/snb-12345678")
        if os.name == "posix" and len(os.fsencode(place)) > room:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="snb-", dir=place))
        except OSError:  # full, or not writable
            continue
    raise UserError("The server needs a folder of a short path for its sockets; make one and set TMPDIR to it.")


def write_private(path: Path, text: str) -> Path:
    """Write a new file that only its owner reads."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def prepare_socket(path: Path) -> Path:
    """See that only the owner of this process reaches a UNIX socket of this path; make its folder where it is missing.

    Returns:
        The path, absolute and without links.

    Raises:
        UserError: Others could reach or replace it, or the path cannot be used.
    """
    if os.name != "posix":
        raise UserError("--socket needs UNIX sockets, which this system lacks; leave it out to serve on a port.")
    path = path.expanduser().absolute()
    folder = path.parent
    if not folder.exists() and folder.parent.is_dir():
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise UserError(f"The folder {folder} cannot be made ({error.strerror}); choose another.") from None
    if not folder.is_dir():
        raise UserError(f"The folder {folder} does not exist; make it first (chmod 700) or choose another.")
    path = check_private(folder, "a socket") / path.name
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise UserError(f"{path} is too long for a socket, which takes {_LONGEST_SOCKET} bytes; choose a shorter path.")
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UserError(f"{path} is there and is no socket; choose another name.")
        if _answers(path):
            raise UserError(f"Another server listens on {path}; end that one or choose another name.")
    return path


def check_private(folder: Path, what: str) -> Path:
    """See that nobody else enters a folder.

    Args:
        folder: It is there.
        what: What it is for.

    Returns:
        The folder, absolute and without links.

    Raises:
        UserError: Others could enter or replace it.
    """
    folder = folder.resolve()
    if os.name != "posix":
        return folder
    state = folder.stat()
    if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise UserError(
            f"Others can enter {folder}; give {what} in a folder of your own that is closed to them (chmod 700),"
            " or in one that is not there yet."
        )
    for above in folder.parents:
        state = above.stat()
        if state.st_uid not in (0, os.geteuid()) or (state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX):
            raise UserError(f"Others could replace {folder}, for they may write in {above}; choose another folder.")
    return folder


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:  # left behind by a server that was killed
            return False
    return True
