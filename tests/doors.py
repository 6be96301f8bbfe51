"""Running servers, as their owner and as a stranger see them, for tests of who gets in."""

import asyncio
import contextlib
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import psutil
from running import answer, free_port, server
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

V1 = "v1.kernel.websocket.jupyter.org"


class Door:
    """A running server, as its owner and as a stranger see it."""

    def __init__(self, process, lines, port, path="voila/static/none", host="127.0.0.1"):
        self.process, self.lines, self.port, self.host = process, lines, port, host
        self.url = f"http://{host}:{port}/"
        answer(self.url + path, process, lines)
        found = re.search(r"with the token is in (\S+)\.", "".join(lines[:1]))
        self.file = Path(found[1]) if found else None
        self.address = self.file.read_text().strip() if self.file else ""
        self.token = self.address.partition("token=")[2]

    def ask(self, path="", method="GET", body=None, token=None, seconds=60, **headers):
        """Status, headers and text of an answer; redirections are not followed."""
        request = urllib.request.Request(self.url + path, method=method, data=body)
        for name, value in headers.items():
            request.add_header(name, value)
        if token:
            request.add_header("Authorization", f"token {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay())
        try:
            with opener.open(request, timeout=seconds) as response:
                return response.status, response.headers, response.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode("utf-8", "replace")

    def open_page(self):
        """A page opened by its owner; the number of its kernel."""
        status, _, page = self.ask(token=self.token)
        assert status == 200, page
        return re.search(r'"kernelId": ?"([0-9a-f-]{36})"', page)[1]

    def kernels(self):
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]

    def websocket(self, kernel, talk=None, protocol=None, **headers):
        """Open a kernel's websocket and talk over it; the status where it is refused."""

        async def run():
            request = HTTPRequest(f"ws://{self.host}:{self.port}/api/kernels/{kernel}/channels", headers=headers)
            try:
                connection = await asyncio.wait_for(
                    websocket_connect(request, subprotocols=[protocol] if protocol else None), 20
                )
            except HTTPClientError as error:
                return error.code
            try:
                return await asyncio.wait_for(talk(connection), 30) if talk else 101
            finally:
                connection.close()

        return asyncio.run(run())


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *details):
        return None


@contextlib.contextmanager
def door(*arguments, path="voila/static/none", **options):
    port = free_port()
    with server(*arguments, "--port", port, "--no-browser", **options) as (process, lines):
        yield Door(process, lines, port, path)


@contextlib.contextmanager
def opened_app(folder):
    """A running app with one open page."""
    with door("app", "--output", folder, "--most-pages", 2, "--renderer", "ipympl") as found:
        found.kernel = found.open_page()
        yield found


def message(kind, content, **metadata):
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "session": "s",
        "username": "u",
        "version": "5.3",
        "date": "",
    }
    header["date"] = "2026-01-01T00:00:00Z"
    return json.dumps(
        {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": metadata,
            "content": content,
            "buffers": [],
        }
    )


async def told(connection):
    """What the kernel says about itself."""
    await connection.write_message(message("kernel_info_request", {}))
    while True:
        got = await connection.read_message()
        assert got is not None, "the connection was closed"
        if isinstance(got, str) and json.loads(got)["msg_type"] == "kernel_info_reply":
            return json.loads(got)["content"]["implementation"]


def until(there, process, lines, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, "".join(lines)
        assert time.monotonic() < end, "".join(lines)
        time.sleep(0.1)
