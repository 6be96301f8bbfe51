"""The commands ``app`` and ``lab``: look that the server can start, then become it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.commands.access import Access

APP_PORT = 8866
LAB_PORT = 8888


def app(options: argparse.Namespace) -> int:
    """Serve the Voilà dashboard on 127.0.0.1, with the images given or else a sample, and open it in the browser.

    Several images are a worklist: see docs/worklist.md.
    """
    from sammed3d_nb.commands.access import LOOPBACK, Access, is_loopback, new_token, prepare_socket
    from sammed3d_nb.commands.servers import launch_environment, voila_command
    from sammed3d_nb.ui.worklist import ANONYMOUS, WORKLIST

    host = options.host or LOOPBACK
    if options.socket and options.host:
        raise UserError("Give --socket or --host, not both; a socket has no address.")
    if options.no_token and not is_loopback(host):
        raise UserError(f"Without a token the app is served to this machine alone; leave out --no-token for {host}.")

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
    listens = prepare_socket(options.socket) if options.socket else None
    if listens is None:
        _check_port("app", options.port, host)
    if options.sample == "ct":
        from sammed3d_nb.imaging.sample import fetch_ct

        fetch_ct(progress=True)
    sample = options.sample or (None if options.paths else "phantom")
    key_file = {} if options.api_key_file is None else _key_file(options.api_key_file)
    environment = launch_environment(
        options.paths,
        sample=sample,
        model=options.model,
        models=options.models,
        output=options.output,
        renderer=options.renderer,
    )
    if options.anonymous:
        environment[ANONYMOUS] = "1"
    environment[WORKLIST] = json.dumps(_of_worklist(options))
    access = Access(host, options.port, "" if options.no_token else new_token(), listens)
    command = voila_command(
        host=host,
        port=options.port,
        socket=listens,
        token=not options.no_token,
        open_browser=_opens_browser(options),
        most_pages=options.most_pages,
    )
    settings = {**environment, **key_file}
    return _serve("The dashboard", "voila", access, command, settings, listed=options.paths)


def _of_worklist(options: argparse.Namespace) -> dict[str, Any]:
    """What the user says of a worklist, checked before a server starts; empty where they say nothing."""
    from sammed3d_nb.worklist.labels import read_labels
    from sammed3d_nb.worklist.people import annotator

    if options.blind and options.review:
        raise UserError("A reviewer sees what others did, and a blinded reader does not; give --review or --blind.")
    if options.labels is not None:
        read_labels(options.labels)
    who = annotator(options.annotator)
    said = {
        "labels": None if options.labels is None else str(options.labels.expanduser().absolute()),
        "readings": options.readings,
        "blind": options.blind or None,
        "review": options.review or None,
        "annotator": options.annotator and who,
    }
    said = {name: value for name, value in said.items() if value is not None}
    if said and not options.paths:
        raise UserError("A worklist is made of images; give them, their folder or a .csv.")
    return said


def lab(options: argparse.Namespace) -> int:
    """Serve JupyterLab on the notebooks on 127.0.0.1 and open it in the browser."""
    from sammed3d_nb.commands.access import LOOPBACK, Access, new_token
    from sammed3d_nb.commands.servers import lab_command

    _check_port("lab", options.port, LOOPBACK)
    access = Access(LOOPBACK, options.port, new_token(), page="/lab")
    command = lab_command(port=options.port, open_browser=_opens_browser(options))
    environment = {"SAMMED3D_RENDERER": options.renderer} if options.renderer else {}
    return _serve("JupyterLab", "jupyterlab", access, command, environment)


def _key_file(path: Path) -> dict[str, str]:
    """The variable by which the app's kernels find the key; the key itself stays in its file."""
    from sammed3d_nb.models.remote import KEY_FILE_VARIABLE, key_of

    key_of(path)  # says now what is wrong with it
    return {KEY_FILE_VARIABLE: str(path.expanduser().absolute())}


def _opens_browser(options: argparse.Namespace) -> bool:
    """A browser on a machine that one only reaches by SSH is of no use."""
    remote = "SSH_CONNECTION" in os.environ and "DISPLAY" not in os.environ
    return not options.no_browser and not remote


def _check_port(command: str, port: int, host: str) -> None:
    from sammed3d_nb.commands.doctor import port_is_free

    if not port_is_free(port, host):
        raise UserError(
            f"Port {port} on {host} is taken by another program; end that one or choose another port: "
            f"sammed3d-nb {command} --port {port + 1 if port < 65535 else APP_PORT}."
        )


def _check_model_name(model: str) -> None:
    from sammed3d_nb.models.hub import FOLDERS, KNOWN
    from sammed3d_nb.models.remote import is_address

    names = ("compact", *KNOWN, *FOLDERS)
    if model not in names and not is_address(model) and not Path(model).expanduser().exists():
        raise UserError(
            f"There is no model {model}; give the path of a file or one of {', '.join(names)}, or a server's address."
        )


def _serve(
    what: str,
    package: str,
    access: Access,
    command: list[str],
    environment: dict[str, str],
    *,
    listed: Sequence[Path] = (),
) -> int:
    """Become the server, so that signals reach it and nothing is left behind; what `listed` holds is looked up once."""
    from sammed3d_nb.commands.access import private_folder, write_private
    from sammed3d_nb.commands.servers import door_environment

    if find_spec(package) is None:
        raise UserError(f"The package {package} is missing; install sammed3d-nb again, or run sammed3d-nb doctor.")
    runtime = private_folder()
    if listed:
        from sammed3d_nb.ui.worklist import LISTED, as_text
        from sammed3d_nb.worklist.listing import found_in

        text = as_text(found_in([path.absolute() for path in listed]))
        environment = {**environment, LISTED: str(write_private(runtime / "cases", text))}
    for line in _told(what, access, runtime):
        print(line, flush=True)
    merged = {**os.environ, **environment, **door_environment(access.token, runtime)}
    if os.name == "posix":
        os.execve(command[0], command, merged)  # does not return
    import subprocess

    return subprocess.call(command, env=merged)


def _told(what: str, access: Access, runtime: Path) -> Iterator[str]:
    """Where to go, and what closes the door or does not."""
    from sammed3d_nb.commands.access import is_loopback, write_private
    from sammed3d_nb.commands.doctor import tunnel

    if not access.token or sys.stdout.isatty():
        yield f"{what} will be at {access.address} (Ctrl+C ends it)."
    else:  # others may read it, as a job's log
        path = write_private(runtime / "address", access.address + "\n")
        yield f"{what} will be at {access.here} (Ctrl+C ends it). Its address with the token is in {path}."
    if access.socket or is_loopback(access.host):
        yield f"From another computer, type there first: {tunnel(access.port, access.socket)}"
    else:
        yield "Token, images and masks travel unencrypted to other computers: whoever listens between them reads them."
    if not access.token:
        who = "reaches that port of your computer" if access.socket else "has an account on this machine"
        yield f"There is no token: whoever {who} can see the images and change the masks."


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there, before any work is done."""
    if not folder.absolute().is_dir():
        raise UserError(f"The folder {folder} does not exist; make it first or choose another.")
