"""What Binder runs after the installation, on a free port of this machine."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("bash") is None, reason="binder/start is a bash script")
def test_binders_server_shows_the_dashboard(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    server = [sys.executable, "-m", "jupyter", "lab", "--allow-root", "--no-browser", f"--ServerApp.port={port}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["bash", ROOT / "binder" / "start", *server, "--IdentityProvider.token=", "--ServerApp.ip=127.0.0.1"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        page = fetch(f"http://127.0.0.1:{port}/voila/render/notebooks/dashboard.ipynb", process, tmp_path / "log")
    finally:
        process.terminate()
        process.wait(30)
    assert "templates/sammed3d/" in page
    assert "application/vnd.jupyter.widget-view+json" in page  # the app was made


def fetch(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """The page, once the server is up."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=90) as answer:
                return str(answer.read().decode())
        except ConnectionError:
            time.sleep(0.3)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.3)
    return pytest.fail(f"the server did not answer:\n{log.read_text()[-3000:]}")
