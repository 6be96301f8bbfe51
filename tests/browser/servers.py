"""Servers of our own on free ports, ended with all their kernels."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


class Server:
    """A Voilà or JupyterLab of our own, with its log; ended with all its kernels."""

    def __init__(self, command: list[str], environment: dict[str, str], url: str, log: Path, token: str = "") -> None:
        self.url, self.log, self.token = url, log, token
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=log.parent,
            )

    def page(self, query: str = "") -> str:
        """The address of the page, with the token."""
        return f"{self.url}?token={self.token}{query and '&'}{query}"

    def wait(self, address: str, seconds: float = 60) -> None:
        """Until the server answers at `address`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(address, timeout=2).close()
                return
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the server did not come up:\n{self.log.read_text()}")

    def forget(self) -> None:
        """Remove what the app has saved by itself, so that the next page starts afresh."""
        for record in self.log.parent.glob("*.sammed3d.json"):
            record.unlink()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
