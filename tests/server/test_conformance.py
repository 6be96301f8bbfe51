"""The kit that tries servers: ours with the oldest and the newest client, and servers that break the protocol."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array, unpack_array
from running import free_port
from serving import running

from sammed3d_nb.commands.cli import main
from sammed3d_nb.server.attempts import ATTEMPTS
from sammed3d_nb.server.conformance import FAIL, OK, examine

OLDEST = Path(sys.prefix) / "clients" / "oldest"
"""Where `make` puts the oldest client that the extension pins, beside the newest."""


@pytest.mark.parametrize("client", ["newest", "oldest"])
def test_ours_keeps_the_protocol_with_the_oldest_and_the_newest_client(server, client):
    environment = dict(os.environ)
    if client == "oldest":
        if not OLDEST.is_dir():
            pytest.skip(f"{OLDEST} is missing: make .venv/.test puts the oldest client there")
        environment["PYTHONPATH"] = os.pathsep.join([str(OLDEST), environment.get("PYTHONPATH", "")])
    told = "import nnInteractive.inference.remote as r; from importlib.metadata import version as v;"
    told += "print(r.__file__, v('nninteractive-client'))"
    where = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=environment, check=True)
    assert (str(OLDEST) in where.stdout and "2.5.1" in where.stdout) == (client == "oldest")
    command = [sys.executable, "-m", "sammed3d_nb.commands.cli", "doctor", "--server", server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lines) == len(ATTEMPTS)
    assert all(line.startswith("OK") for line in lines), done.stdout


class Broken:
    """Our server, of which one thing is spoilt on the way out."""

    def __init__(self, app, spoil):
        self.app, self.spoil = app, spoil

    async def __call__(self, scope, receive, send):
        kept = []

        async def held(message):
            if scope["type"] != "http":
                await send(message)
                return
            kept.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                headers = {key.decode(): value.decode() for key, value in kept[0]["headers"]}
                body = b"".join(part.get("body", b"") for part in kept[1:])
                status, headers, body = self.spoil(scope["path"], kept[0]["status"], headers, body)
                headers["content-length"] = str(len(body))
                raw = [(key.encode(), value.encode()) for key, value in headers.items()]
                await send({"type": "http.response.start", "status": status, "headers": raw})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, held)


def swapped(path, status, headers, body):
    meta = json.loads(headers.get("x-meta", "{}"))
    if not meta.get("bbox"):
        return status, headers, body
    box = [*meta["bbox"][:1], meta["bbox"][2], meta["bbox"][1]]
    headers["x-meta"] = json.dumps({**meta, "bbox": box})
    return status, headers, pack_array(np.ascontiguousarray(unpack_array(body).transpose(0, 2, 1)))


def changed(path, **fields):
    def spoil(where, status, headers, body):
        if where.endswith(path) and status == 200 and body:
            body = json.dumps({**json.loads(body), **fields}).encode()
        return status, headers, body

    return spoil


def failing(path, when):
    return lambda where, status, headers, body: (
        (500, {"content-type": "text/plain"}, b"Internal Server Error")
        if where.endswith(path) and status in when
        else (status, headers, body)
    )


def forgetting(where, status, headers, body):
    return (status, {**headers, "x-meta": '{"ran_prediction": false, "bbox": null}'}, b"") if where == "/undo" else (
        status, headers, body)  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "caught"),
    [
        (swapped, {"point": FAIL}),
        (changed("/capabilities", supported_interactions={}), {"capabilities": FAIL}),
        (changed("/set_image", original_image_shape=[1, 96, 72, 36]), {"image": FAIL}),
        (failing("/add_point_interaction", {400}), {"outside": FAIL}),
        (failing("/set_image", {400, 413}), {"damaged": FAIL, "too large": FAIL, "all zero": FAIL}),
        (forgetting, {"undo": FAIL}),
        (failing("/undo", {410}), {"leases": FAIL}),
    ],
)
def test_what_is_broken_is_found(tmp_path, spoil, caught):
    with running(tmp_path / "kept") as server:
        inner = server.app.__class__.__call__

        async def call(self, scope, receive, send):
            await Broken(lambda *three: inner(self, *three), spoil)(scope, receive, send)

        server.app.__class__ = type("Spoilt", (server.app.__class__,), {"__call__": call})
        found = {finding.what: finding for finding in examine(server.url)}
    for what, status in caught.items():
        assert found[what].status == status, found[what]
    assert found["healthz"].status == OK


def test_where_no_server_is_there_is_one_sentence(capsys):
    assert main(["doctor", "--server", f"http://127.0.0.1:{free_port()}"]) == 2
    assert "No server answers" in capsys.readouterr().err


def test_a_key_is_taken_from_the_environment(tmp_path, monkeypatch, capsys):
    from sammed3d_nb.server import keys
    from sammed3d_nb.server.keys import Keys

    key = keys.add(tmp_path / "keys", "ann")
    with running(tmp_path / "kept", keys=Keys(tmp_path / "keys")) as server:
        monkeypatch.setenv("NN_INTERACTIVE_API_KEY", "wrong")
        assert main(["doctor", "--server", server.url]) == 1
        assert "fail" in capsys.readouterr().out
        monkeypatch.setenv("NN_INTERACTIVE_API_KEY", key)
        assert main(["doctor", "--server", server.url]) == 0
