"""How the notebooks are served: commands and settings for Voilà (annotators) and JupyterLab (researchers)."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.ui.worklist import MODEL, MODELS, OUTPUT, PATHS, SAMPLE

_PACKAGE = Path(__file__).parents[1]
_JUPYTER = _PACKAGE / "ui" / "jupyter"

_LARGEST_MESSAGE = 512 * 1024 * 1024
"""Bytes; beyond the default of 10 MiB a page of JupyterLab would lose its connection."""


def notebooks_folder() -> Path:
    """The folder of the notebooks: beside the package in a clone, inside it when installed from a wheel."""
    for folder in (_PACKAGE.parent / "notebooks", _PACKAGE / "notebooks"):
        if (folder / "dashboard.ipynb").is_file():
            return folder
    raise UserError("The notebooks are missing from this installation; install sammed3d-nb again.")


def launch_environment(
    paths: Sequence[str | Path] = (),
    *,
    sample: str | None = None,
    model: str | None = None,
    models: str | Path | None = None,
    output: str | Path | None = None,
) -> dict[str, str]:
    """The environment variables that tell a dashboard's kernel what it may open.

    Args:
        paths: Files and folders, the allow-list; the page's address can only choose one of them by number.
        sample: ``"phantom"`` or ``"ct"``, opened when there are no paths.
        model: A model's name or file; the default one when left out.
        models: Folder with more models for the menu.
        output: Folder for saved sessions and masks; the working directory when left out.
    """
    absolute = [str(Path(path).absolute()) for path in paths]
    found = {
        PATHS: json.dumps(absolute),
        OUTPUT: str(Path(output or Path.cwd()).absolute()),
        "JUPYTER_PATH": _in_front(_JUPYTER, "JUPYTER_PATH"),
        "JUPYTER_CONFIG_PATH": _in_front(_JUPYTER / "config", "JUPYTER_CONFIG_PATH"),
    }
    if sample is not None:
        found[SAMPLE] = sample
    if model is not None:
        found[MODEL] = str(Path(model).absolute()) if Path(model).exists() else model
    if models is not None:
        found[MODELS] = str(Path(models).absolute())
    return found


def voila_command(*, port: int = 8866, open_browser: bool = True) -> list[str]:
    """The command that serves the dashboard on 127.0.0.1; run it with `launch_environment`.

    The settings are in ``jupyter/config/voila.json``, which `launch_environment` puts in force. Cross-site checks are
    off there, else a page may not end its own kernel (voila#1458): hence this address and no other. A kernel whose page
    has gone is ended after 20 minutes, since a dropped tunnel comes back sooner; messages may be larger than 10 MiB,
    else the page loses its connection.
    """
    return [
        sys.executable,
        "-m",
        "voila",
        str(notebooks_folder() / "dashboard.ipynb"),
        f"--Voila.port={port}",
        f"--Voila.open_browser={open_browser}",
    ]


def lab_command(*, host: str = "127.0.0.1", port: int = 8888, open_browser: bool = True) -> list[str]:
    """The command that serves JupyterLab on the notebooks; it asks for its token, which it prints."""
    return [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        str(notebooks_folder()),
        f"--ServerApp.ip={host}",
        f"--ServerApp.port={port}",
        f"--ServerApp.open_browser={open_browser}",
        f"--ServerApp.tornado_settings={{'websocket_max_message_size': {_LARGEST_MESSAGE}}}",
        f"--ServerApp.allow_root={hasattr(os, 'geteuid') and os.geteuid() == 0}",  # in a container, one is root
    ]


def _in_front(folder: Path, variable: str) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))
