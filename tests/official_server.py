"""The official server of nnInteractive, in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx
import pytest
from running import free_port

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
        self._log = log
        self._command = [
            *(sys.executable, "-m", "nnInteractive.inference.server.main", "--model-dir", str(folder), "--fold", "0"),
            *("--device", "cpu", "--torch-n-threads", "1", "--port", str(self.port), *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(1500):  # on a busy machine its imports take minutes
            try:
                httpx.get(f"{self.url}/healthz", timeout=5)
            except httpx.HTTPError:
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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
