"""Whether what the server needs is installed: the extra ``[slicer]``."""

from __future__ import annotations

from importlib.util import find_spec

from sammed3d_nb.errors import UserError

_NEEDED = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "nnInteractive": "nninteractive-client",
}


def check_installed() -> None:
    """Refuse to begin without the packages of the extra.

    Raises:
        UserError: Names those that are missing.
    """
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"The server needs {', '.join(missing)}; install them with: pip install 'sammed3d-nb[slicer]'.")
