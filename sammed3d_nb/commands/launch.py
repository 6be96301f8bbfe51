"""The commands ``app`` and ``lab``: look that the server can start, then become it."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from sammed3d_nb.errors import UserError

APP_PORT = 8866
LAB_PORT = 8888


def app(options: argparse.Namespace) -> int:
    """Serve the Voilà dashboard on 127.0.0.1, with the images given or else a sample, and open it in the browser."""
    from sammed3d_nb.commands.servers import launch_environment, voila_command

    if options.paths and options.sample:
        raise UserError(f"Give images or --sample {options.sample}, not both; the sample opens when there is no image.")
    for path in options.paths:
        if not path.exists():
            raise UserError(f"{path} does not exist; check the path.")
    if options.model is not None:
        _check_model_name(options.model)
    for folder in (options.models, options.output):
        if folder is not None:
            check_folder(folder)
    _check_port("app", options.port)
    if options.sample == "ct":
        from sammed3d_nb.imaging.sample import fetch_ct

        fetch_ct(progress=True)
    sample = options.sample or (None if options.paths else "phantom")
    environment = launch_environment(
        options.paths, sample=sample, model=options.model, models=options.models, output=options.output
    )
    command = voila_command(port=options.port, open_browser=_opens_browser(options))
    return _serve("The dashboard", options.port, command, environment)


def lab(options: argparse.Namespace) -> int:
    """Serve JupyterLab on the notebooks on 127.0.0.1 and open it in the browser."""
    from sammed3d_nb.commands.servers import lab_command

    _check_port("lab", options.port)
    return _serve("JupyterLab", options.port, lab_command(port=options.port, open_browser=_opens_browser(options)), {})


def _opens_browser(options: argparse.Namespace) -> bool:
    """A browser on a machine that one only reaches by SSH is of no use."""
    remote = "SSH_CONNECTION" in os.environ and "DISPLAY" not in os.environ
    return not options.no_browser and not remote


def _check_port(command: str, port: int) -> None:
    from sammed3d_nb.commands.doctor import port_is_free

    if not port_is_free(port):
        raise UserError(
            f"Port {port} on 127.0.0.1 is taken by another program; end that one or choose another port: "
            f"sammed3d-nb {command} --port {port + 1 if port < 65535 else APP_PORT}."
        )


def _check_model_name(model: str) -> None:
    from sammed3d_nb.models.hub import KNOWN

    names = ("compact", *KNOWN)
    if model not in names and not Path(model).expanduser().is_file():
        raise UserError(f"There is no model {model}; give the path of a file or one of {', '.join(names)}.")


def _serve(what: str, port: int, command: list[str], environment: dict[str, str]) -> int:
    """Become the server, so that signals reach it and nothing is left behind."""
    from sammed3d_nb.commands.doctor import tunnel

    module = command[command.index("-m") + 1]
    if find_spec(module) is None:
        raise UserError(f"The package {module} is missing; install sammed3d-nb again, or run sammed3d-nb doctor.")
    print(f"{what} will be at http://127.0.0.1:{port} (Ctrl+C ends it).")
    print(f"From another computer, type there first: {tunnel(port)}", flush=True)
    merged = {**os.environ, **environment}
    if os.name == "posix":
        os.execve(command[0], command, merged)  # does not return
    import subprocess

    return subprocess.call(command, env=merged)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there, before any work is done."""
    if not folder.absolute().is_dir():
        raise UserError(f"The folder {folder} does not exist; make it first or choose another.")
