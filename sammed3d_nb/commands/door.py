"""What runs as the server's process: Voilà or JupyterLab behind a door that is closed to others.

``python -P -m sammed3d_nb.commands.door app|lab …``, as `servers` writes it; the token comes by the environment. The
working directory becomes a private folder, so that no module, no settings and no template are taken from wherever the
user happened to be, and what the server writes is closed to strangers.
"""

from __future__ import annotations

import asyncio
import atexit
import html
import os
import shutil
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_server.log import log_request
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_unix_socket
from tornado.web import HTTPError
from traitlets import Bool, Int, Unicode, default
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from sammed3d_nb.commands.access import RUNTIME, TOKEN, Access, is_loopback, private_folder, write_private
from sammed3d_nb.commands.doctor import free_memory

_A_PAGE = 1e9
"""Bytes that a page's kernel may come to need, with its model and image."""

_PATIENCE = 5.0
"""Seconds that a new page waits for one that is being closed, as when a page is loaded again."""

_FULL = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>No more pages</title>
<body style="margin: 0; display: grid; place-items: center; height: 100vh; background: #101318; color: #d9dfe7;
font: 16px/1.6 system-ui, sans-serif"><main style="max-width: 34em; padding: 24px">
<h1 style="font-size: 1.3em">No more pages</h1><p>{}</p></main></body></html>"""


def pages_for(memory: float) -> int:
    """How many pages this many bytes of memory can carry; never fewer than two, for one is needed to replace one."""
    return max(2, int(memory / _A_PAGE))


class Pages(AsyncMappingKernelManager):
    """Kernels, one for each page, up to a number."""

    most = 2
    _opening = 0

    async def start_kernel(self, **options: Any) -> str:  # type: ignore[override]
        """Start a page's kernel.

        Raises:
            HTTPError: There are as many as there may be.
        """
        end = time.monotonic() + _PATIENCE
        while len(self) + self._opening >= self.most:
            if time.monotonic() > end:
                raise HTTPError(503, "as many pages are open as there may be")
            await asyncio.sleep(0.1)
        self._opening += 1
        try:
            kernel: str = await super().start_kernel(**options)
        finally:
            self._opening -= 1
        return kernel


class Page(TornadoVoilaHandler):
    """The page; says so when there are too many."""

    def write_error(self, status_code: int, **details: Any) -> None:
        """Write the page that stands in the place of the app."""
        if status_code != 503:
            super().write_error(status_code, **details)
            return
        said = (
            f"This server shows {Pages.most} pages at a time, and as many are open. Close one of them and load this"
            " page again; a page that has lost its connection counts for another 20 minutes. Whoever has started the"
            f" server can allow more: sammed3d-nb app --most-pages {Pages.most + 1}."
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.write(_FULL.format(html.escape(said)))


class Channels(VoilaKernelWebsocketHandler):
    """A page's websocket; messages that announce more parts than they hold never reach the loops over those parts."""

    def on_message(self, ws_message: str | bytes) -> None:
        """Take a message from the page."""
        if isinstance(ws_message, bytes) and not _holds_its_parts(ws_message, legacy=not self.selected_subprotocol):
            self.close(1007, "damaged message")
            return
        super().on_message(ws_message)

    def write_message(self, message: Any, binary: bool = False) -> Any:
        """Send a message of the kernel's; Voilà reads those of the legacy protocol wrongly and then never ends."""
        if isinstance(message, bytes) and not _holds_its_parts(message, legacy=False):
            return super(VoilaKernelWebsocketHandler, self).write_message(message, binary)
        return super().write_message(message, binary)


def _holds_its_parts(message: bytes, *, legacy: bool) -> bool:
    size = 4 if legacy else 8
    return int.from_bytes(message[:size], "big" if legacy else "little") * size <= len(message)


class Dashboard(Voila):
    """Voilà with a token, a socket instead of a port where wanted, and a limit on pages."""

    most_pages = Int(0, help="pages open at a time; 0: as many as the free memory carries").tag(config=True)
    socket = Unicode("", help="path of a UNIX socket to listen on instead of a port").tag(config=True)
    no_token = Bool(False, help="let everybody in who reaches the port").tag(config=True)

    runtime: Path
    secret: str

    @default("config_file_paths")
    def _config_file_paths_default(self) -> list[str]:
        """Our own folder of settings: not the working directory, where anybody's may lie."""
        return [str(Path(__file__).parents[1] / "ui" / "jupyter" / "config")]

    def initialize(self, argv: Sequence[str] | None = None) -> None:
        """Read the settings and close the door."""
        super().initialize(argv)
        outside = not self.socket and not is_loopback(self.ip)
        if not self.secret and (outside or not self.no_token):
            sys.exit(f"The token is missing: it comes by the environment variable {TOKEN}.")
        self.token = "" if self.no_token and not outside else self.secret
        self.connection_dir_root = str(self.runtime)
        self.voila_configuration.multi_kernel_manager_class = Pages
        Pages.most = self.most_pages or pages_for(free_memory()[0])
        settings = {
            **self.tornado_settings,
            "allow_remote_access": outside,  # else only names of this machine are answered
            "log_function": log_request,  # Tornado's own would write the token into the log
        }
        self.set_trait("tornado_settings", settings)

    @property
    def display_url(self) -> str:
        """What the log says: never the token."""
        return self.socket or str(self.connection_url)

    def init_handlers(self) -> list[Any]:
        """Voilà's handlers, with ours in the places of two."""
        ours = {TornadoVoilaHandler: Page, VoilaKernelWebsocketHandler: Channels}
        return [(rule[0], ours.get(rule[1], rule[1]), *rule[2:]) for rule in super().init_handlers()]

    def listen(self) -> None:
        """Listen until a signal comes, on the socket or on the port."""
        if not self.socket:
            super().listen()
            return
        server = HTTPServer(self.app)
        server.add_socket(bind_unix_socket(self.socket, mode=0o600))
        self.log.info("Voilà is running at:\n%s", self.display_url)
        self.ioloop = IOLoop.current()
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            self.log.info("Stopping...")
        finally:
            with suppress(OSError):
                Path(self.socket).unlink()
            self.stop()

    def launch_browser(self) -> None:
        """Open the browser on a page that only its owner reads and that leads to the address with the token."""
        address = html.escape(Access(self.ip, self.port, self.token).address)
        page = f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">Open</a>'
        path = write_private(self.runtime / "open.html", page)
        try:
            browser = webbrowser.get(self.browser or None)
        except webbrowser.Error as error:
            self.log.warning("No web browser found: %s.", error)
            return
        threading.Thread(target=browser.open, args=(path.as_uri(), self.webbrowser_open_new), daemon=True).start()


def main() -> None:
    """Become the server that the first argument names."""
    what, *words = sys.argv[1:]
    runtime = Path(os.environ.pop(RUNTIME, "") or private_folder())
    atexit.register(_leave, runtime)
    os.chdir(runtime)
    os.umask(os.umask(0o077) | 0o007)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
    secret = os.environ.pop(TOKEN, "")  # no kernel needs it
    if what == "app":
        Dashboard.runtime, Dashboard.secret = runtime, secret
        Dashboard.launch_instance(words)
        return
    from jupyterlab.labapp import LabApp

    if not secret:
        sys.exit(f"The token is missing: it comes by the environment variable {TOKEN}.")
    LabApp.launch_instance([*words, f"--IdentityProvider.token={secret}"])  # stronger than the user's settings


def _leave(runtime: Path) -> None:
    os.chdir(os.path.sep)
    shutil.rmtree(runtime, ignore_errors=True)


if __name__ == "__main__":
    from sammed3d_nb.commands import door  # under its own name, so that there is only one of it

    door.main()
