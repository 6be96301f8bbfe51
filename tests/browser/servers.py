"""Servers of our own on free ports, ended with all their kernels."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
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


class Tunnel:
    """A TCP proxy to a port, as an SSH port forward is one, that can be cut, frozen and restored."""

    def __init__(self, port: int) -> None:
        self._to, self._pairs, self.frozen = port, [], False
        self._listening: socket.socket | None = None
        self.port = free_port()
        self.restore()

    def restore(self) -> None:
        """Let connections through."""
        self.frozen = False
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        for end in [end for pair in self._pairs for end in pair]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near = listening.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                if self._listening is not listening:
                    return
                continue
            self._pairs.append((near, far))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.frozen:  # else it is swallowed, and nobody is told
                    target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
