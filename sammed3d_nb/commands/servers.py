"""How the notebooks are served: commands and settings for Voilà (annotators) and JupyterLab (researchers)."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sammed3d_nb.commands.access import LOOPBACK, RUNTIME, TOKEN, is_loopback
from sammed3d_nb.errors import UserError
from sammed3d_nb.ui.worklist import MODEL, MODELS, OUTPUT, PATHS, RENDERER, SAMPLE

_PACKAGE = Path(__file__).parents[1]
_JUPYTER = _PACKAGE / "ui" / "jupyter"

_LARGEST_MESSAGE = 512 * 1024 * 1024
"""Bytes; beyond the default of 10 MiB a page of JupyterLab would lose its connection."""

_BETWEEN = ["--KernelManager.transport=ipc"] if os.name == "posix" else []
"""Sockets in a private folder between server and kernel: every user of a machine can listen on its TCP ports."""


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
    renderer: str | None = None,
) -> dict[str, str]:
    """The environment variables that tell a dashboard's kernel what it may open.

    Args:
        paths: Files and folders, the allow-list; the page's address can only choose one of them by number.
        sample: ``"phantom"`` or ``"ct"``, opened when there are no paths.
        model: A model's name or file; the default one when left out.
        models: Folder with more models for the menu.
        output: Folder for saved sessions and masks; the working directory when left out.
        renderer: What draws the slices, as `App` takes it.
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
    if renderer is not None:
        found[RENDERER] = renderer
    return found


def voila_command(
    *,
    host: str = LOOPBACK,
    port: int = 8866,
    socket: Path | None = None,
    token: bool = True,
    open_browser: bool = True,
    most_pages: int | None = None,
) -> list[str]:
    """The command that serves the dashboard; run it with `launch_environment` and `door_environment`.

    The settings are in ``jupyter/config/voila.json``, and nowhere else. Cross-site checks are off there, else a page
    may not end its own kernel (voila#1458); the token's cookie is sent by no other site's page, and the Origin check
    stays in force. A kernel whose page has gone is ended after 20 minutes, since a dropped tunnel comes back sooner;
    messages may be larger than 10 MiB, else the page loses its connection.

    Args:
        host: The address to listen on.
        port: The port, and no other where it is taken.
        socket: A UNIX socket to listen on instead, as `access.prepare_socket` gives it.
        token: Whether a browser has to know the token.
        open_browser: Whether to open one on this machine.
        most_pages: How many pages may be open at a time; by the free memory when left out.
    """
    if not token and not socket and not is_loopback(host):
        raise UserError(f"Without a token the app is served to this machine alone; leave out --no-token for {host}.")
    return [
        *_door("app"),
        str(notebooks_folder() / "dashboard.ipynb"),
        f"--Voila.ip={host}",
        f"--Voila.port={port}",
        "--Voila.port_retries=0",
        f"--Voila.open_browser={open_browser and socket is None}",
        *([f"--Dashboard.socket={socket}"] if socket else []),
        *([] if token else ["--Dashboard.no_token=True"]),
        *([f"--Dashboard.most_pages={most_pages}"] if most_pages else []),
        *_BETWEEN,
    ]


def lab_command(*, port: int = 8888, open_browser: bool = True) -> list[str]:
    """The command that serves JupyterLab on the notebooks; run it with `door_environment`."""
    return [
        *_door("lab"),
        str(notebooks_folder()),
        f"--ServerApp.ip={LOOPBACK}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.open_browser={open_browser}",
        "--ServerApp.contents_manager_class=sammed3d_nb.commands.notebooks.Notebooks",
        f"--ServerApp.tornado_settings={{'websocket_max_message_size': {_LARGEST_MESSAGE}}}",
        "--IdentityProvider.cookie_options={'SameSite': 'Lax'}",
        f"--ServerApp.allow_root={hasattr(os, 'geteuid') and os.geteuid() == 0}",  # in a container, one is root
        *_BETWEEN,
    ]


def door_environment(token: str, runtime: Path | None = None) -> dict[str, str]:
    """The environment variables that tell a server its token and its private folder (`access.private_folder`)."""
    return {TOKEN: token, **({RUNTIME: str(runtime)} if runtime else {})}


def _door(what: str) -> list[str]:
    """Python without the working directory's modules, with our own module that becomes the server."""
    return [sys.executable, "-P", "-m", "sammed3d_nb.commands.door", what]


def _in_front(folder: Path, variable: str) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))
