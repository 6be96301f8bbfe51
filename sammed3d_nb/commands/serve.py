"""The commands ``serve``, which gives our sessions to 3D Slicer, napari and MITK, and ``keys``, who may come in."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.commands.arguments import number, port
from sammed3d_nb.errors import UserError
from sammed3d_nb.server.extra import check_installed

if TYPE_CHECKING:
    from sammed3d_nb.server.house import House
    from sammed3d_nb.server.served import Served

PORT = 1527
"""Where the extensions look."""
_GB = 10**9


def add_to(commands: Any) -> None:
    """Add the commands to the parser's."""
    serve = commands.add_parser("serve", help="serve 3D Slicer, napari and MITK", description=run.__doc__)
    serve.add_argument("--host", metavar="H", help="address to listen on (default 127.0.0.1: this machine alone)")
    serve.add_argument("--port", type=port, default=PORT, help="port to listen on (default %(default)s)")
    serve.add_argument(
        "--socket", type=Path, metavar="PATH", help="listen on a UNIX socket in a folder that only you enter, instead"
    )
    serve.add_argument(
        "--model", action="append", metavar="M", dest="models",
        help="a known name or a checkpoint file (default: the shipped one); several may be given: the first is at "
        "the address itself, each at /m/NAME",
    )  # fmt: skip
    serve.add_argument("--decoder", metavar="M", help="SAM-Med3D file for a first model that is an encoder alone")
    serve.add_argument("--device", metavar="D", help="cuda, mps or cpu (default: the first that is there)")
    serve.add_argument("--precision", metavar="P", help="float32, bfloat16 or float16 (default float32)")
    serve.add_argument("--api-key-file", type=Path, metavar="F", help="who may come in; see sammed3d-nb keys")
    serve.add_argument(
        "--orientation", metavar="XYZ",
        help="where the axes i, j, k of images run, for clients that do not say so (all that are known), e.g. RAS "
        "(default: LPS, axial, is assumed)",
    )  # fmt: skip
    serve.add_argument(
        "--spacing", metavar="I,J,K",
        help="mm along i, j, k for clients that send none (extensions up to 0.3.2); 1mm accepts that size unseen",
    )  # fmt: skip
    serve.add_argument("--places", type=partial(number, "places", 1), default=16, metavar="N",
                       help="clients at a time (default %(default)s)")  # fmt: skip
    serve.add_argument("--idle", type=partial(number, "seconds", 1), default=600, metavar="S",
                       help="seconds after which an idle session ends (default %(default)s)")  # fmt: skip
    serve.add_argument("--liveness", type=partial(number, "seconds", 1), default=60, metavar="S",
                       help="seconds without a sign of life after which it does (default %(default)s)")  # fmt: skip
    serve.add_argument("--memory", type=partial(number, "GB", 1), metavar="GB",
                       help="memory for images (default: half of what is free)")  # fmt: skip
    serve.add_argument("--records", type=Path, metavar="FOLDER", help="where sessions are kept (default: your data)")
    serve.add_argument("--images", type=partial(number, "GB", 0), default=20, metavar="GB",
                       help="images kept there for replay, in all (default %(default)s; 0 keeps none)")  # fmt: skip
    serve.set_defaults(run=run)

    keys = commands.add_parser("keys", help="who may use the server", description=keys_list.__doc__)
    actions = keys.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make a key for somebody", description=keys_add.__doc__)
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("name", metavar="NAME")
    add.set_defaults(run=keys_add)
    remove = actions.add_parser("remove", help="take a key back", description=keys_remove.__doc__)
    remove.add_argument("file", type=Path, metavar="FILE")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=keys_remove)
    listed = actions.add_parser("list", help="whose keys there are", description=keys_list.__doc__)
    listed.add_argument("file", type=Path, metavar="FILE")
    listed.set_defaults(run=keys_list)


def run(options: argparse.Namespace) -> int:
    """Serve 3D Slicer's nnInteractive extension, napari-nninteractive, MITK and whatever else speaks their protocol."""
    check_installed()
    from sammed3d_nb.commands.access import LOOPBACK, is_loopback, prepare_socket
    from sammed3d_nb.server.log import to_stderr

    host = options.host or LOOPBACK
    if options.socket and options.host:
        raise UserError("Give --socket or --host, not both; a socket has no address.")
    if not options.socket and not is_loopback(host) and options.api_key_file is None:
        raise UserError(
            f"Without keys the server is for this machine alone; give --api-key-file for {host} (sammed3d-nb keys add "
            "makes one)."
        )
    os.umask(0o077)  # what is kept is its owner's
    listens = prepare_socket(options.socket) if options.socket else None
    if listens is None:
        _check_port(options.port, host)
    house = furnish(options)
    to_stderr()
    local = frozenset({LOOPBACK, "localhost", "::1"})
    for line in _told(options, house, host, listens):
        print(line, flush=True)
    _serve(house, local if listens or is_loopback(host) else None, _bound(host, options.port, listens))
    if listens is not None:
        with suppress(OSError):
            listens.unlink()
    return 0


def keys_add(options: argparse.Namespace) -> int:
    """Make a key for somebody, add its hash to FILE, and print the key, which is kept nowhere else."""
    from sammed3d_nb.server import keys

    print(keys.add(options.file, options.name))
    return 0


def keys_remove(options: argparse.Namespace) -> int:
    """Take somebody's key out of FILE; a server that runs with it lets them in no more."""
    from sammed3d_nb.server import keys

    keys.remove(options.file, options.name)
    return 0


def keys_list(options: argparse.Namespace) -> int:
    """Tell whose keys are in FILE; the keys themselves are in no file."""
    from sammed3d_nb.server import keys

    for name in keys.read(options.file):
        print(name)
    return 0


def furnish(options: argparse.Namespace) -> House:
    """Everything that the server works with."""
    import psutil

    from sammed3d_nb.server.house import House
    from sammed3d_nb.server.keeping import Keeping
    from sammed3d_nb.server.keys import Keys
    from sammed3d_nb.server.leases import Leases
    from sammed3d_nb.server.placing import Placing
    from sammed3d_nb.server.room import Room
    from sammed3d_nb.server.turns import Turns

    placing = Placing.of(options.orientation, options.spacing)
    keys = Keys(options.api_key_file)
    folder = _folder(options.records)
    memory = options.memory * _GB if options.memory else int(psutil.virtual_memory().available) // 2
    return House(
        served=_models(options),
        placing=placing,
        keeping=Keeping(folder, options.images * _GB),
        room=Room(memory),
        keys=keys,
        leases=Leases(options.places, options.idle, options.liveness),
        turns=Turns(),
    )


def _folder(given: Path | None) -> Path:
    from sammed3d_nb.commands.access import check_private
    from sammed3d_nb.server.keeping import open_folder

    if given is None:
        from platformdirs import user_data_path

        given = user_data_path("sammed3d-nb", appauthor=False) / "served"
    return check_private(open_folder(given.expanduser().absolute()), "--records")


def _models(options: argparse.Namespace) -> list[Served]:
    from sammed3d_nb.models.model import load_model
    from sammed3d_nb.server.served import serve

    served: list[Served] = []
    for number_, source in enumerate(options.models or [None]):
        decoder = options.decoder if number_ == 0 else None
        engine = load_model(source, decoder=decoder, device=options.device, precision=options.precision)
        one = serve(None if source == "compact" else source, engine)
        if any(one.name == other.name for other in served):
            raise UserError(f"Two models are called {one.name}; give one of them another file name.")
        served.append(one)
        _warm(one)
    return served


def _warm(served: Served) -> None:
    """Compute once what is never looked at: the first click of the first user is then like any other."""
    import numpy as np

    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.session.session import Session

    if hasattr(served.engine, "encode"):  # a network here, none behind another server
        noise = np.random.default_rng(0).normal(0, 50, (16, 16, 16)).astype(np.float32)
        volume = Volume.from_array(noise, (4.0, 4.0, 4.0))
        Session(volume, served).click((8, 8, 8))
        served.forget(volume)


def _check_port(wanted: int, host: str) -> None:
    from sammed3d_nb.commands.doctor import port_is_free

    if not port_is_free(wanted, host):
        raise UserError(
            f"Port {wanted} on {host} is taken by another program; end that one or choose another port: "
            f"sammed3d-nb serve --port {wanted + 1 if wanted < 65535 else PORT}."
        )


def _bound(host: str, wanted: int, path: Path | None) -> socket.socket:
    """The socket that the server listens on."""
    if path is not None:
        with suppress(FileNotFoundError):
            path.unlink()  # left behind by a server that was killed: `prepare_socket` has looked
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        return listening
    family, kind, protocol, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    return listening


def _serve(house: House, hosts: frozenset[str] | None, listening: socket.socket) -> None:
    import uvicorn

    from sammed3d_nb.server.app import App

    config = uvicorn.Config(
        App(house, hosts),
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
        h11_max_incomplete_event_size=2**17,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _told(options: argparse.Namespace, house: House, host: str, path: Path | None) -> Iterator[str]:
    """Where it is, what to type into the programs, what is assumed, and what closes the door or does not."""
    from sammed3d_nb.commands.access import Access, is_loopback
    from sammed3d_nb.commands.doctor import tunnel

    here = Access(host, options.port, socket=path).here
    yield f"The server will be at {here} (Ctrl+C ends it)."
    yield f"In 3D Slicer: nnInteractive, Configuration, Remote, server URL {here}; in napari: nnInteractive, Remote."
    if path or is_loopback(host):
        yield f"From another computer, type there first: {tunnel(options.port, path)}"
    else:
        yield "Keys, images and masks travel unencrypted to other computers: whoever listens between them reads them."
    for one in house.served:
        yield f"Model {one.spec.name}: {here}/m/{one.name}, licence {one.licence}."
    told = house.placing.told
    yield f"Axes i, j, k of images: {told['orientation']}. Voxel size: {told['spacing']}."
    yield f"Sessions are kept in {house.keeping.folder}, and images for replay up to {options.images} GB."
    if not house.keys.needed:
        who = "reaches that port of your computer" if path else "has an account on this machine"
        yield f"No key is asked for: whoever {who} can use the server; --api-key-file closes it."
