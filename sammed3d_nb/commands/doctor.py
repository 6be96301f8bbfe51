"""What this machine has for sammed3d-nb, and what will not work on it."""

from __future__ import annotations

import errno
import getpass
import http.client
import json
import os
import platform
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any

from sammed3d_nb.commands.access import is_loopback
from sammed3d_nb.errors import UserError

OK, WARN, FAIL = "OK", "warn", "fail"

_GB = 1e9
_EXTENSIONS = {  # the halves of our widgets that run in the browser
    "ipywidgets": "@jupyter-widgets/jupyterlab-manager",
    "ipympl": "jupyter-matplotlib",
    "anywidget": "anywidget",
}
_WHY = {
    "ipykernel": "7 runs widget callbacks in two threads at once: blank canvases, corrupted plots (ipympl#610)",
    "jupyterlab": "the widgets' front ends are built for JupyterLab 4",
    "voila": "0.5.8 and later serve JupyterLab 4 widgets",
    "ipywidgets": "7 speaks another protocol with JupyterLab 4's widget manager",
    "jupyter_server": "older ones are unsafe: CVE-2026-40934, CVE-2026-40110",
    "pydicom": "older ones are unsafe: CVE-2026-32711",
    "torch": "older ones are unsafe: CVE-2026-24747",
    "tornado": "older ones are unsafe: CVE-2026-31958",
}
_KEPT = (".sammed3d.json", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".zraw", ".img", ".hdr", ".dcm", ".bak")


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        status: "OK", "warn" or "fail".
        what: The thing looked at.
        found: What was found and, where it is not well, what to do.
    """

    status: str
    what: str
    found: str

    def __str__(self) -> str:
        return f"{self.status:<5} {self.what:<12} {self.found}"


def examine(
    *, model: str | None = None, api_key: Path | None = None, port: int = 8866, output: Path | None = None
) -> Iterator[Check]:
    """Look at everything, one check after the other.

    Args:
        model: The model to load; the shipped one when left out.
        api_key: A file with the key for a model on a server.
        port: Where the app is to listen, or listens.
        output: The app's folder of masks and saved sessions; the working directory when left out.
    """
    looks: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("Python", check_python),
        ("packages", check_packages),
        ("front ends", check_extensions),
        ("memory", check_memory),
        ("device", check_device),
        ("model", lambda: check_model(model, api_key)),
        ("disk", check_disk),
        ("port", lambda: check_port(port)),
        ("files", lambda: check_files(output or Path.cwd())),
    ]
    for name, look in looks:
        try:
            yield from look()
        except Exception as error:  # a broken installation breaks in any way; the other checks still help
            yield Check(FAIL, name, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    yield Check(OK, "from afar", f"on your own computer: {tunnel(port)}   then open the address that the app printed")


def tunnel(port: int, path: Path | None = None) -> str:
    """The command to type on one's own computer to reach a port of this machine, or a UNIX socket."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for this user, as in some containers
        user = "user"
    there = f"127.0.0.1:{port}" if path is None else quote(str(path))
    return f"ssh -N -L {port}:{there} {user}@{socket.gethostname()}"


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server can listen on the port of an address of this machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UserError(f"{host} is no address of this machine; give one of its addresses.") from None
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # as servers do, so that a connection that has just ended does not count
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], port, *address[2:]))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise UserError(f"{host} is no address of this machine; give one of its addresses.") from None
                return False
    return True


def check_server(url: str) -> Iterator[Check]:
    """Whether a server of the nnInteractive protocol, ours or any other, keeps it; its key is in the environment."""
    from sammed3d_nb.server.extra import check_installed

    check_installed()
    from sammed3d_nb.server.conformance import examine

    for finding in examine(url, os.environ.get("NN_INTERACTIVE_API_KEY")):
        yield Check(finding.status, finding.what, finding.found)


def check_python() -> Iterator[Check]:
    """The interpreter and the system."""
    version = platform.python_version()
    where = f"{version} ({sys.executable}) on {platform.system()} {platform.machine()}"
    yield Check(OK if sys.version_info >= (3, 11) else FAIL, "Python", where)


def check_packages() -> Iterator[Check]:
    """The installed versions against those that this package asks for."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in metadata.requires("sammed3d-nb") or ()]
    needed = [item for item in needed if item.marker is None or item.marker.evaluate({"extra": ""})]
    bad = 0
    for item in needed:
        why = f" ({_WHY[item.name]})" if item.name in _WHY else ""
        try:
            version = metadata.version(item.name)
        except metadata.PackageNotFoundError:
            bad += 1
            yield Check(FAIL, item.name, f"missing{why}; pip install '{item}'")
            continue
        if not item.specifier.contains(version, prereleases=True):
            bad += 1
            yield Check(FAIL, item.name, f"{version} does not fit {item.specifier}{why}; pip install '{item}'")
    if not bad:
        shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("jupyterlab", "voila", "ipykernel", "ipympl"))
        yield Check(OK, "packages", f"all {len(needed)} as required ({shown})")
    try:
        notebook = metadata.version("notebook")
    except metadata.PackageNotFoundError:
        return
    if int(notebook.split(".")[0]) < 7:
        yield Check(
            WARN, "notebook", f"{notebook} cannot show these widgets; pip install 'notebook>=7', or use JupyterLab"
        )


def check_extensions() -> Iterator[Check]:
    """The browser halves of the widgets: there, and not hidden by older copies elsewhere."""
    from jupyter_core.paths import jupyter_path

    own = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
    well = []
    for package, extension in _EXTENSIONS.items():
        copies = [Path(folder) / extension / "package.json" for folder in jupyter_path("labextensions")]
        copies = [copy for copy in copies if copy.is_file()]
        if not copies:
            yield Check(FAIL, package, f"its front end {extension} is missing; pip install --force-reinstall {package}")
            continue
        versions = [json.loads(copy.read_text(encoding="utf-8")).get("version") for copy in copies]
        here = own / extension / "package.json"
        mine = versions[copies.index(here)] if here in copies else versions[0]
        if versions[0] != mine:
            found = (
                f"JupyterLab serves the front end {versions[0]} from {copies[0].parent} instead of this environment's"
                f" {mine}, which blanks or freezes views; remove that folder"
            )
            yield Check(WARN, package, found)
        else:
            well.append(f"{package} {versions[0]}")
    if well:
        yield Check(OK, "front ends", ", ".join(well))


def check_memory() -> Iterator[Check]:
    """Processor cores and memory, within the container's limit where there is one."""
    free, total = free_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    status = OK if free > 2 * _GB else WARN if free > 1 * _GB else FAIL
    advice = "" if status == OK else "; a session needs about 1 GB, so close other programs"
    yield Check(status, "memory", f"{free / _GB:.1f} GB free of {total / _GB:.1f} GB, {cores} processor cores{advice}")


def free_memory() -> tuple[int, int]:
    """Free and whole memory in bytes, within the container's limit where there is one."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    limit = _container_limit()
    if limit is not None and limit[0] < total:
        total, free = limit[0], min(free, limit[0] - limit[1])
    return free, total


def _container_limit() -> tuple[int, int] | None:
    """The container's memory limit and use in bytes (Linux control groups, version 2), if there is one."""
    folder = Path("/sys/fs/cgroup")
    try:
        return int((folder / "memory.max").read_text()), int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or "max"
        return None


def check_device() -> Iterator[Check]:
    """torch, and what it computes on."""
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            status = OK if free > 2 * _GB else WARN
            advice = "" if status == OK else "; other programs hold the rest, so models may move to the CPU"
            found = f"torch {torch.__version__}, {name}, {free / _GB:.1f} GB free of {total / _GB:.1f} GB{advice}"
            yield Check(status, f"GPU {index}", found)
    elif torch.backends.mps.is_available():
        yield Check(OK, "GPU", f"torch {torch.__version__}, Apple MPS")
    elif shutil.which("nvidia-smi"):
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        found = f"there is an NVIDIA driver, but torch {torch.__version__} ({built}) cannot use it; see pytorch.org"
        yield Check(WARN, "GPU", found)
    else:
        yield Check(OK, "device", f"torch {torch.__version__}, CPU ({torch.get_num_threads()} threads), no GPU")


def check_model(source: str | None = None, api_key: Path | None = None) -> Iterator[Check]:
    """Whether the model is there, loads, and how long a cube and a click take."""
    from sammed3d_nb.commands.trying import sees_cubes, try_model

    if not sees_cubes(source):
        try:
            answers, found = try_model(source, api_key)
        except UserError as error:
            yield Check(FAIL, "model", str(error))
        else:
            yield Check(
                OK if answers else WARN, "model", found + ("" if answers else "; it found nothing in a bright ball")
            )
        return
    import numpy as np

    from sammed3d_nb.models.model import load_model

    try:
        start = time.perf_counter()
        model: Any = load_model(source)
        loaded = time.perf_counter()
        edge = model.spec.cube_size
        noise = np.random.default_rng(0).normal(50, 20, (edge, edge, edge)).astype(np.float32)
        embedding = model.encode(model.prepare(noise))
        encoded = time.perf_counter()
        quality = model.decode(embedding, [[edge / 2] * 3], [1]).quality.item()
        decoded = time.perf_counter()
    except UserError as error:
        yield Check(FAIL, "model", str(error))
        return
    spec = model.spec
    size = "" if spec.megabytes is None else f", {spec.megabytes:.0f} MB"
    found = (
        f"{spec.name} ({spec.parameters / 1e6:.1f} M parameters{size}) on {model.device}: loaded in"
        f" {loaded - start:.1f} s, first cube {encoded - loaded:.2f} s, first click {decoded - encoded:.2f} s"
    )
    if quality != quality:
        yield Check(FAIL, "model", found + ", but it answers with NaN; fetch the file again")
    else:
        yield Check(OK, "model", found)


def check_disk() -> Iterator[Check]:
    """Room where masks, samples and models go."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from pooch import os_cache

    places = {"here": Path.cwd(), "samples": Path(os_cache("sammed3d-nb")), "models": Path(HF_HUB_CACHE)}
    shown, status = [], OK
    for name, place in places.items():
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        writable = os.access(existing, os.W_OK)
        shown.append(f"{name} {free / _GB:.1f} GB" + ("" if writable else " (not writable)"))
        if free < 1 * _GB or not writable:
            status = WARN
    advice = "" if status == OK else "; masks need a few MB, SAM-Med3D 402 MB: make room or set HF_HOME"
    yield Check(status, "disk", "free: " + ", ".join(shown) + advice)


def check_port(port: int) -> Iterator[Check]:
    """Whether the app can listen where it wants to; where one listens already, who can reach it."""
    if port_is_free(port):
        yield Check(OK, "port", f"{port} on 127.0.0.1 is free")
        return
    asks = _asks_for_token(port)
    if asks is None:
        yield Check(WARN, "port", f"{port} on 127.0.0.1 is taken; choose another: sammed3d-nb app --port {port + 1}")
        return
    outside = _listens_outside(port)
    near = "this machine's network" if outside else "an account on this machine"
    if asks:
        status, found = OK, "a server answers and asks for its token; no one else comes in"
        if outside:
            status = WARN
            found += ", but token and images travel unencrypted to other computers"
    else:
        status = WARN
        found = f"a server answers without a token: whoever has {near} sees the images and changes the masks"
    yield Check(status, "port", f"{port}: {found}")


def _asks_for_token(port: int) -> bool | None:
    """Whether the Jupyter or Voilà server on a port lets only those in who know its token; nothing if it is neither."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    none = "00000000-0000-0000-0000-000000000000"  # asks for a kernel that is not there, so that none is started
    try:
        with opener.open(f"http://127.0.0.1:{port}/api/kernels/{none}", timeout=5):
            return None
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(2000)
        if error.code == 403 and b"Forbidden" in said:
            return True
        return False if error.code == 404 and b"Kernel does not exist" in said else None
    except (OSError, http.client.HTTPException):
        return None


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *details: object) -> None:
        return None


def _listens_outside(port: int) -> bool:
    """Whether other computers reach the port, as far as the system tells."""
    import psutil

    try:
        found = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):  # macOS tells it to root alone
        return False
    addresses = {item.laddr.ip for item in found if item.status == psutil.CONN_LISTEN and item.laddr.port == port}
    return any(not is_loopback(address) for address in addresses)


def check_files(folder: Path) -> Iterator[Check]:
    """Whether other users of this machine can read what the app has written."""
    if os.name != "posix":
        return
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        yield Check(WARN, "files", f"the folder {folder} does not exist")
        return
    if any(not place.stat().st_mode & 0o001 for place in (folder, *folder.parents)):
        yield Check(OK, "files", f"strangers cannot enter {folder}")
        return
    found = [path for path in folder.iterdir() if path.name.lower().endswith(_KEPT)]
    read = [path.name for path in found if path.is_file() and path.stat().st_mode & 0o004]
    if read:
        some = ", ".join(sorted(read)[:3]) + (", …" if len(read) > 3 else "")
        found_there = f"everybody on this machine can read {len(read)} masks, images or records in {folder} ({some})"
        yield Check(WARN, "files", f"{found_there}; to close it: chmod o-rwx {quote(str(folder))}")
    else:
        yield Check(OK, "files", f"strangers can read no masks, images or records in {folder}")
