"""Who works: the name that stands in records and leases, and how it looks in the name of a file."""

import getpass
import os
import re
from collections.abc import Mapping
from hashlib import sha256

from sammed3d_nb.errors import UserError

LONGEST = 60
HUB = "JUPYTERHUB_USER"
"""Where JupyterHub says who has logged in."""


def annotator(given: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The annotator's name: as JupyterHub has let them in, else the one given, else the name of the login.

    Raises:
        UserError: The name is empty, too long or not printable, or JupyterHub says another one.
    """
    hub = environ.get(HUB)
    if hub and given is not None and given != hub:
        raise UserError(f"You are logged in to JupyterHub as {hub}, not as {given!r:.80}; leave out the annotator.")
    return checked(hub or given or _login())


def checked(name: str) -> str:
    """A name that may stand in files.

    Raises:
        UserError: It is empty, too long or not printable.
    """
    name = name.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise UserError(f"{name!r:.80} is no name of an annotator; expected 1 to {LONGEST} printable characters.")
    return name


def slug(name: str) -> str:
    """A name as a part of a file's name: unlike that of any other name, also where large and small letters are one."""
    if re.fullmatch(r"[a-z0-9-]{1,40}", name):
        return name
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name)[:40].strip("_")
    return f"{plain}_{sha256(name.encode()).hexdigest()[:6]}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
