"""The official server of nnInteractive, in a process of its own."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from running import free_port

KEY = "a-key-that-nobody-may-see"
MISSING = "the package nnInteractive is missing: make nninteractive installs it and runs these tests"


def needs_package() -> None:
    """Skip a module where nnInteractive itself is not installed."""
    pytest.importorskip("nnInteractive.inference.inference_session", reason=MISSING)


class OfficialServer:
    """Serves a folder with weights on a port that stays the same when it is started again.

    Args:
        folder: With a model.
        log: Where it writes what it does.
        options: More of its command line.
    """

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log, self._folder = log, str(folder)
        self._command = [
            *(sys.executable, "-m", "nnInteractive.inference.server.main", "--model-dir", str(folder), "--fold", "0"),
            *("--device", "cpu", "--torch-n-threads", "1", "--port", str(self.port), *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def with_folder(self, folder: Path) -> "OfficialServer":
        """One with another model, for the same port."""
        other = OfficialServer(folder, self._log)
        other._command = [str(folder) if part == self._folder else part for part in self._command]
        other.port, other.url = self.port, self.url
        return other

    def stop_answering(self) -> None:
        """From now on it hears what is asked and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(1500):  # on a busy machine its imports take minutes
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.2)
            else:
                return
        self.kill()
        raise AssertionError("the official server does not answer")

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def asked(self, path: str) -> int:
        """How often something was asked of it so far, over all its lives."""
        return self._log.read_text().count(f" /{path} HTTP")

    @property
    def reaped(self) -> int:
        """How many leases it has ended for want of prompts."""
        return self._log.read_text().count("reaped idle")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
