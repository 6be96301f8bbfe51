"""The real commands in processes of their own, on free ports."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(*arguments, **options):
    """The real command in a process of its own; yields it and the lines it prints."""
    command = [sys.executable, "-P", "-m", "sammed3d_nb.commands.cli", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the server did not end when it was asked to") from None
        reader.join(5)


def answer(url, process, lines, seconds=90):
    """The first bytes and the status that the server gives, as soon as it does."""
    end = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        assert process.poll() is None, "".join(lines)
        try:
            with opener.open(url, timeout=seconds) as response:
                return response.status, response.read(2000).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read(2000).decode("utf-8", "replace")
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError("no answer: " + "".join(lines))
