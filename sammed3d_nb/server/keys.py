"""One key for each user, in a file that holds names and hashes: ``NAME:sha256:HEX``, a line each.

A key is 32 random bytes, so a plain SHA-256 of it gives nothing away, and comparing hashes in constant time tells
nobody how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError
from sammed3d_nb.server.keeping import NOBODY
from sammed3d_nb.server.refusals import Refused

_PREFIX = "snb-"
_LARGEST = 2**20
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,39}):sha256:([0-9a-f]{64})")


class Keys:
    """Who may come in. The file is read again when it changes.

    Args:
        path: The file; None: everybody may.

    Raises:
        UserError: It cannot be read, holds something else, or others could write it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, str] = {}
        self._seen: tuple[int, int] | None = None
        self._look()
        if path is not None and not self._known:
            raise UserError(f"{path} holds no key; add one: sammed3d-nb keys add {path} NAME.")

    @property
    def needed(self) -> bool:
        """Whether one has to have a key."""
        return self.path is not None

    def who(self, authorization: str | None) -> str:
        """The name of the key in an ``Authorization`` header.

        Raises:
            Refused: It is missing or wrong (401).
        """
        if self.path is None:
            return NOBODY
        try:
            self._look()
        except UserError as error:
            raise Refused(401, f"The server's keys cannot be read at present: {error}") from None
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refused(401, "This server asks for a key and none came; enter yours where your program asks for one.")
        digest, found = _digest(key.strip()), None
        for name, known in self._known.items():  # all of them, whichever is right
            if hmac.compare_digest(digest, known):
                found = name
        if found is None:
            raise Refused(401, "The key is none of this server's; check it, or ask the server's owner for one.")
        return found

    def _look(self) -> None:
        if self.path is None:
            return
        try:
            state = self.path.stat()
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({atomic.reason(error)}); check the path.") from None
        seen = (state.st_mtime_ns, state.st_size)
        if seen != self._seen:
            self._known, self._seen = read(self.path), seen


def read(path: Path) -> dict[str, str]:
    """The hashes of a file of keys, by name.

    Raises:
        UserError: It cannot be read, holds something else, or others could write it.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > _LARGEST:
            raise UserError(f"{path} is no file of keys; make one: sammed3d-nb keys add {path} NAME.")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no file of keys; make one: sammed3d-nb keys add {path} NAME.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({atomic.reason(error)}); check the path.") from None
    if os.name == "posix" and (state.st_mode & 0o022 or state.st_uid not in (0, os.geteuid())):
        raise UserError(f"Others could write {path}, and so let themselves in; close it: chmod 600 {path}.")
    found = {}
    for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path} holds a line that is no key; expected NAME:sha256:HEX, as sammed3d-nb keys add writes it."
            )
        found[match[1]] = match[2]
    return found


def add(path: Path, name: str) -> str:
    """Make a key and add its hash to a file; the key itself is returned and kept nowhere.

    Raises:
        UserError: The name is taken or cannot be one, or the file cannot be written.
    """
    if _LINE.fullmatch(f"{name}:sha256:{'0' * 64}") is None or name == NOBODY:
        raise UserError(f"{name!r:.60} cannot be a key's name; take up to 40 letters, digits, dots, dashes.")
    known = read(path) if path.exists() else {}
    if name in known:
        raise UserError(f"{path} has a key of {name} already; remove it first: sammed3d-nb keys remove {path} {name}.")
    key = _PREFIX + secrets.token_urlsafe(32)
    _write(path, {**known, name: _digest(key)})
    return key


def remove(path: Path, name: str) -> None:
    """Take a key out of a file; whoever has it is let in no more.

    Raises:
        UserError: There is none of that name, or the file cannot be written.
    """
    known = read(path)
    if name not in known:
        raise UserError(f"{path} has no key of {name}; it has {', '.join(known) or 'none'}.")
    del known[name]
    _write(path, known)


def _write(path: Path, known: dict[str, str]) -> None:
    text = "".join(f"{name}:sha256:{digest}\n" for name, digest in known.items())
    try:
        atomic.write_bytes(path, text.encode())  # drafts are closed to others
        path.chmod(0o600)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({atomic.reason(error)}); choose another place.") from None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
