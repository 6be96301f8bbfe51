"""How the notebooks are served: commands and settings for Voilà (annotators) and JupyterLab (researchers)."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.ui.worklist import MODEL, MODELS, OUTPUT, PATHS, SAMPLE

_PACKAGE = Path(__file__).parents[1]
_TEMPLATES = Path(__file__).parent / "jupyter"

_CULL_AFTER = 20 * 60
"""Seconds after which a kernel whose page has gone is ended; a dropped tunnel comes back sooner."""
_LARGEST_MESSAGE = 512 * 1024 * 1024
"""Bytes; beyond the default of 10 MiB the page would lose its connection."""


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
        "JUPYTER_PATH": os.pathsep.join(filter(None, [str(_TEMPLATES), os.environ.get("JUPYTER_PATH")])),
    }
    if sample is not None:
        found[SAMPLE] = sample
    if model is not None:
        found[MODEL] = str(Path(model).absolute()) if Path(model).exists() else model
    if models is not None:
        found[MODELS] = str(Path(models).absolute())
    return found


def voila_command(
    *, host: str = "127.0.0.1", port: int = 8866, open_browser: bool = True, notebook: Path | None = None
) -> list[str]:
    """The command that serves the dashboard; run it with `launch_environment`.

    Args:
        host: Address to listen on. On anything but the loopback address, cross-site checks stay on and a token is
            asked for.
        port: Port to listen on.
        open_browser: Whether to open the page in a browser here.
        notebook: Another notebook than the dashboard.
    """
    settings: dict[str, object] = {"websocket_max_message_size": _LARGEST_MESSAGE}
    local = host in ("127.0.0.1", "localhost", "::1")
    if local:  # else the page may not end its own kernel: the shutdown request is refused (voila#1458)
        settings["disable_check_xsrf"] = True
    return [
        sys.executable,
        "-m",
        "voila",
        str(notebook or notebooks_folder() / "dashboard.ipynb"),
        f"--Voila.ip={host}",
        f"--Voila.port={port}",
        f"--Voila.open_browser={open_browser}",
        f"--Voila.tornado_settings={settings}",
        f"--Voila.auto_token={not local}",
        "--VoilaConfiguration.template=sammed3d",
        "--VoilaConfiguration.theme=dark",
        "--VoilaConfiguration.allow_template_override=NO",
        "--VoilaConfiguration.allow_theme_override=NO",
        "--VoilaConfiguration.file_allowlist=[]",
        f"--MappingKernelManager.cull_idle_timeout={_CULL_AFTER}",
        "--MappingKernelManager.cull_interval=60",
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
