"""Who gets into a served app, and how: each row of attacks that worked once, tried on the real servers."""

import json
import os
import re
import stat
import uuid

import psutil
import pytest
from doors import V1, door, message, opened_app, told, until
from running import free_port, server

from sammed3d_nb.commands import access

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sockets and modes of files are POSIX's")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with opened_app(tmp_path_factory.mktemp("output")) as found:
        yield found


# Row 1: whoever had an account on the machine opened the page, read the widgets and ended kernels.


@pytest.mark.parametrize("token", [None, "wrong", "0" * 48])
def test_a_stranger_gets_neither_page_nor_widgets(app, token):
    before = len(app.kernels())
    status, headers, _ = app.ask(token=token)
    assert (status, headers["Location"].split("?")[0]) == (302, "/login")
    assert app.ask(f"?token={token}")[0] == 302
    assert app.ask(f"api/kernels/{app.kernel}", token=token)[0] == 403
    assert app.ask(f"api/kernels/{app.kernel}", "DELETE", token=token)[0] == 403
    assert app.ask(f"voila/api/shutdown/{app.kernel}", "POST", b"", token=token)[0] == 403
    assert app.websocket(app.kernel, told) == 403
    assert app.websocket(app.kernel, told, Authorization=f"token {token}") == 403
    assert len(app.kernels()) == before


def test_the_owner_gets_both_and_a_cookie_that_other_sites_cannot_use(app):
    status, headers, _ = app.ask(f"api/kernels/{app.kernel}", token=app.token)
    assert status == 200
    assert "SameSite=Lax" in headers["Set-Cookie"]
    assert "HttpOnly" in headers["Set-Cookie"]
    cookie = headers["Set-Cookie"].split(";")[0]
    assert app.websocket(app.kernel, told, Cookie=cookie) == "ipython"


def test_the_token_is_in_no_command_line_no_log_and_no_kernel(app):
    processes = [psutil.Process(app.process.pid), *psutil.Process(app.process.pid).children(recursive=True)]
    assert len(processes) >= 2
    assert not [process for process in processes if app.token in " ".join(process.cmdline())]
    assert not [kernel for kernel in app.kernels() if "JUPYTER_TOKEN" in kernel.environ()]
    app.ask(f"none?token={app.token}")
    assert app.token not in "".join(app.lines)


def test_the_file_with_the_address_is_its_owners(app):
    assert re.fullmatch(rf"http://127\.0\.0\.1:{app.port}/\?token=[0-9a-f]{{48}}", app.address)
    assert stat.S_IMODE(app.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(app.file.parent.stat().st_mode) == 0o700


def test_a_terminal_shows_the_address(monkeypatch, tmp_path):
    from sammed3d_nb.commands import launch

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = list(launch._told("The dashboard", access.Access(token="a/b"), tmp_path))
    assert lines[0] == "The dashboard will be at http://127.0.0.1:8866/?token=a%2Fb (Ctrl+C ends it)."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["app", "lab"])
def test_the_browser_is_opened_through_a_page_that_only_its_owner_reads(tmp_path, command):
    browser, shown = tmp_path / "browser", tmp_path / "shown"
    browser.write_text(f"""#!/bin/sh
page="${{1#file://}}"
{{ stat -c %a "$(dirname "$page")" "$page"; cat "$page"; echo; echo "$1"; }} > {shown}.new
mv {shown}.new {shown}
""")
    browser.chmod(0o700)
    environment = {**os.environ, "BROWSER": f"{browser} %s", "JUPYTER_TOKEN": "mine"}
    environment.pop("SSH_CONNECTION", None)
    with server(command, "--port", free_port(), env=environment) as (process, lines):
        until(shown.exists, process, lines)
    said = shown.read_text().splitlines()
    assert said[0] == "700", "nobody else enters the page's folder"
    assert said[1] in ("600", "640")
    assert "token=mine" in "".join(said[2:-1])
    assert said[-1].startswith("file:")
    assert "mine" not in said[-1]


def test_the_users_own_token_is_taken_and_nothing_is_left_behind():
    with door("app", env={**os.environ, "JUPYTER_TOKEN": "my own"}) as found:
        assert found.address.endswith("/?token=my%20own")
        assert found.ask(f"api/kernels/{uuid.uuid4()}", token="my own")[0] == 404
        folder = found.file.parent
    assert not folder.exists()


def test_lab_asks_for_its_token_whatever_the_users_settings_say(tmp_path):
    (tmp_path / "jupyter_server_config.json").write_text('{"IdentityProvider": {"token": ""}}')
    with door("lab", path="api", env={**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path)}) as found:
        assert found.ask("api/contents")[0] == 403
        assert found.ask("api/contents", token=found.token)[0] == 200
        assert found.address == f"{found.url}lab?token={found.token}"
        assert found.token not in " ".join(psutil.Process(found.process.pid).cmdline())
        assert found.token not in "".join(found.lines)


# Row 4: pages of other sites reached the app by another name for 127.0.0.1, and started kernels by their pictures.


def test_another_name_for_this_machine_is_not_answered(app):
    before = len(app.kernels())
    for path, method in (("", "GET"), (f"api/kernels/{app.kernel}", "DELETE")):
        assert app.ask(path, method, token=app.token, Host=f"evil.example:{app.port}")[0] == 403
    host = {"Host": f"evil.example:{app.port}", "Origin": f"http://evil.example:{app.port}"}
    assert app.websocket(app.kernel, told, Authorization=f"token {app.token}", **host) == 403
    assert len(app.kernels()) == before


def test_another_sites_page_cannot_connect_with_the_cookie(app):
    cookie = app.ask(f"api/kernels/{app.kernel}", token=app.token)[1]["Set-Cookie"].split(";")[0]
    assert app.websocket(app.kernel, told, Cookie=cookie, Origin="http://evil.example") == 403


def test_there_are_no_more_pages_than_allowed():
    with door("app", "--most-pages", 1) as found:
        kernel = found.open_page()
        status, _, page = found.ask(token=found.token)
        assert status == 503
        assert "This server shows 1 pages at a time" in page
        assert "--most-pages 2" in page
        assert len(found.kernels()) == 1
        assert found.ask(f"voila/api/shutdown/{kernel}", "POST", b"", token=found.token)[0] == 204
        found.open_page()


# Row 6: one binary frame of the legacy protocol hung the server.


def test_damaged_and_legacy_frames_do_not_hang_the_server(app):
    assert app.websocket(app.kernel, told) == 403, "a stranger gets no frame to it"

    async def damaged(connection):
        await connection.write_message(b"\x7f\xff\xff\xff" * 4, binary=True)
        return await connection.read_message()

    for protocol in (None, V1):
        app.websocket(app.kernel, damaged, protocol, Authorization=f"token {app.token}")
        assert app.ask("voila/static/none", seconds=5)[0] in (403, 404)

    async def binary(connection):
        """The picture with which a kernel answers a page of the legacy protocol."""
        await connection.write_message(
            message("comm_open", {"comm_id": "c", "target_name": "jupyter.widget.control", "data": {}}, version="1.0.0")
        )
        await connection.write_message(message("comm_msg", {"comm_id": "c", "data": {"method": "request_states"}}))
        while True:
            got = await connection.read_message()
            assert got is not None
            if isinstance(got, bytes):
                return got
            data = json.loads(got)["content"].get("data", {})
            if isinstance(data, dict) and data.get("method") == "update_states":
                canvas = next(name for name, it in data["states"].items() if it["model_name"] == "MPLCanvasModel")
                draw = {"comm_id": canvas, "data": {"method": "custom", "content": {"type": "draw"}}}
                await connection.write_message(message("comm_msg", draw))

    frame = app.websocket(app.kernel, binary, Authorization=f"token {app.token}")
    assert len(frame) > 1000
    assert app.ask("voila/static/none", seconds=5)[0] in (403, 404)
