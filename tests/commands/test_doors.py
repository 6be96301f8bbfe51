"""Who gets into a served app, and how: each row of attacks that worked once, tried on the real servers."""

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import psutil
import pytest
import zmq
from running import answer, free_port, server
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from sammed3d_nb import UserError
from sammed3d_nb.commands import access, cli, doctor
from sammed3d_nb.commands.servers import door_environment, lab_command, launch_environment, voila_command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sockets and modes of files are POSIX's")
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


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A running app with one open page."""
    folder = tmp_path_factory.mktemp("output")
    with door("app", "--output", folder, "--most-pages", 2, "--renderer", "ipympl") as found:
        found.kernel = found.open_page()
        yield found


@pytest.fixture(scope="module")
def lab():
    with door("lab", path="api") as found:
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


# Row 2: modules and settings in the working directory ran, or opened the port to other machines.


@pytest.mark.parametrize("command", ["app", "lab"])
def test_nothing_is_taken_from_the_working_directory(tmp_path, command):
    folder, ran = tmp_path / "here", tmp_path / "ran"
    folder.mkdir()
    for name in ("voila", "jinja2", "jupyter", "jupyterlab", "tornado", "ipykernel_launcher", "jupyter_server_config"):
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    settings = {"Voila": {"ip": "0.0.0.0"}, "ServerApp": {"ip": "0.0.0.0"}}
    for name in ("voila", "jupyter_server_config", "jupyter_config"):
        (folder / f"{name}.json").write_text(json.dumps(settings))
    with door(command, path="api" if command == "lab" else "voila/static/none", cwd=folder) as found:
        if command == "app":
            found.open_page()
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", found.port))
    assert not ran.exists(), ran.read_text()


# Row 3: every user of the machine could listen to what a kernel publishes on its TCP port.


def test_nobody_overhears_the_apps_kernels(app):
    assert overheard(app, app.kernel, f"token {app.token}") == []


def test_nobody_overhears_the_notebooks_kernels(lab):
    status, _, text = lab.ask("api/kernels", "POST", b"{}", token=lab.token)
    assert status == 201, text
    kernel = json.loads(text)["id"]
    assert overheard(lab, kernel, f"token {lab.token}") == []
    lab.ask(f"api/kernels/{kernel}", "DELETE", token=lab.token)


def overheard(found, kernel, token):
    """What a stranger gets from all ports of the kernels while a kernel publishes."""
    assert found.websocket(kernel, told, Authorization=token) == "ipython"  # it is up, with all its ports
    ports = {
        one.laddr.port
        for process in found.kernels()
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    with zmq.Context() as context, context.socket(zmq.SUB) as stranger:
        stranger.linger = 0
        stranger.subscribe(b"")
        for port in ports:  # one that takes what forked children print, and gives nothing
            stranger.connect(f"tcp://127.0.0.1:{port}")
        time.sleep(1)
        assert found.websocket(kernel, told, Authorization=token) == "ipython"
        return [stranger.recv_multipart()] if stranger.poll(2000) else []


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


# Row 5: where the port was taken meanwhile, the server moved to the next one and the browser went to the squatter.


@pytest.mark.parametrize("command", ["app", "lab"])
def test_a_server_does_not_move_to_another_port(tmp_path, command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = (voila_command if command == "app" else lab_command)(port=port, open_browser=False)
        environment = {**os.environ, **launch_environment(output=tmp_path), **door_environment("secret")}
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended.stderr
    assert "port" in ended.stderr


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


# The other doors: a socket, a host, no token.


@contextlib.contextmanager
def tunnel(path):
    """What ``ssh -L`` does: a port whose connections lead to the socket."""

    opened = []

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                opened.extend((near, far))
                far.connect(str(path))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=copy, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
    for each in opened:
        each.close()


def test_a_socket_serves_page_and_websocket_to_its_owner_alone():
    folder = access.private_folder()
    path = folder / "new" / "app.sock"
    try:
        with server("app", "--socket", path, "--port", 8866, "--output", folder) as (process, lines):
            until(path.exists, process, lines)
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert lines[0].startswith("The dashboard will be at http://127.0.0.1:8866 ")
            assert f"ssh -N -L 8866:{path} " in lines[1]
            with tunnel(path) as port:
                found = Door(process, lines, port)
                assert found.ask()[0] == 302, "it asks for its token"
                kernel = found.open_page()
                assert found.websocket(kernel, told, Authorization=f"token {found.token}") == "ipython"
            ports = psutil.Process(process.pid).net_connections("inet")
            assert [one for one in ports if one.status == psutil.CONN_LISTEN] == []
            with pytest.raises(UserError, match="Another server listens"):
                access.prepare_socket(path)
        assert not path.exists()
    finally:
        with contextlib.suppress(OSError):
            path.parent.rmdir()
            folder.rmdir()


def test_a_socket_that_others_reach_or_replace_is_refused(tmp_path):
    place = access.private_folder()
    try:
        closed, open_, shared = place / "closed", place / "open", place / "shared"
        for folder, mode in ((closed, 0o700), (open_, 0o750), (shared, 0o777), (shared / "mine", 0o700)):
            folder.mkdir()
            folder.chmod(mode)
        assert access.prepare_socket(closed / "s") == closed.resolve() / "s"
        (closed / "file").touch()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(closed / "left"))
        assert access.prepare_socket(closed / "left"), "left behind by a server that was killed"
        (place / "link").symlink_to(open_)
        for path, said in (
            (open_ / "s", "Others can enter"),
            (place / "link" / "s", "Others can enter"),
            (shared / "mine" / "s", "Others could replace"),
            (closed / ("s" * 100), "too long"),
            (closed / "file", "no socket"),
            (place / "none" / "none" / "s", "does not exist"),
        ):
            with pytest.raises(UserError, match=said):
                access.prepare_socket(path)
    finally:
        subprocess.run(["rm", "-r", str(place)], check=True)


def test_without_a_token_the_app_says_what_that_means_and_stays_here(capsys):
    with door("app", "--no-token") as found:
        assert "There is no token: whoever has an account on this machine can see the images" in found.lines[2]
        assert found.ask(f"api/kernels/{uuid.uuid4()}")[0] == 404
        (check,) = doctor.check_port(found.port)
        assert check.status == doctor.WARN
        assert "without a token: whoever has an account" in check.found
        assert found.ask(Host="evil.example")[0] == 403
    assert cli.main(["app", "--no-token", "--host", "0.0.0.0"]) == 2
    assert "Without a token the app is served to this machine alone" in capsys.readouterr().err
    with pytest.raises(UserError, match="this machine alone"):
        voila_command(host="192.0.2.1", token=False)


def test_another_address_needs_the_token_and_is_told_to_be_unencrypted(tmp_path):
    from sammed3d_nb.commands.launch import _told

    lines = list(_told("The dashboard", access.Access("192.0.2.1", token="secret"), tmp_path))
    assert "travel unencrypted" in lines[1]
    assert len(lines) == 2
    words = [word for word in voila_command(host="0.0.0.0", port=1) if word != "--Voila.port_retries=0"]
    ended = subprocess.run(
        [*words, "--Dashboard.no_token=True"],
        env={name: value for name, value in os.environ.items() if name != "JUPYTER_TOKEN"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "The token is missing" in ended.stderr


def test_other_computers_reach_it_with_the_token_alone(tmp_path):
    """Served live on this machine's own address in its network, as other computers reach it."""
    found = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET and not access.is_loopback(entry.address)
    ]
    if not found:
        pytest.skip("this machine has no address but loopback")
    port = free_port()
    with server("app", "--host", found[0], "--port", port, "--no-browser", "--output", tmp_path) as (process, lines):
        there = Door(process, lines, port, host=found[0])
        assert "travel unencrypted to other computers: whoever listens between them reads them" in lines[1]
        assert there.token
        assert there.token not in "".join(lines)
        for token in (None, "wrong"):
            status, _, text = there.ask(token=token)
            assert status in (302, 403)
            assert "kernelId" not in text
        kernel = there.open_page()
        assert there.websocket(kernel, told) == 403
        assert there.websocket(kernel, told, Authorization=f"token {there.token}") == "ipython"
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "it listens where it was told, and nowhere else"


def test_an_address_that_is_not_here_and_two_places_at_once_are_refused(capsys, tmp_path):
    assert cli.main(["app", "--host", "192.0.2.1"]) == 2
    assert capsys.readouterr().err == "192.0.2.1 is no address of this machine; give one of its addresses.\n"
    assert cli.main(["app", "--host", "localhost", "--socket", str(tmp_path / "s")]) == 2
    assert "Give --socket or --host, not both" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process's umask")
def test_what_a_server_writes_is_closed_to_strangers(app, lab):
    for found in (app, lab):
        mask = re.search(r"^Umask:\s*(\d+)$", Path(f"/proc/{found.process.pid}/status").read_text(), re.MULTILINE)[1]
        assert int(mask, 8) & 0o007 == 0o007


def test_the_number_of_pages_follows_the_memory():
    from sammed3d_nb.commands.door import pages_for

    assert [pages_for(memory) for memory in (0, 1.5e9, 8.2e9)] == [2, 2, 8]


# The doctor.


def test_the_doctor_tells_who_can_reach_a_running_app(app, monkeypatch):
    (check,) = doctor.check_port(app.port)
    assert (check.status, check.found) == (
        doctor.OK,
        f"{app.port}: a server answers and asks for its token; no one else comes in",
    )
    monkeypatch.setattr(doctor, "_listens_outside", lambda port: True)
    (check,) = doctor.check_port(app.port)
    assert check.status == doctor.WARN
    assert "unencrypted" in check.found


def test_the_doctor_tells_what_strangers_can_read(tmp_path, monkeypatch):
    folder = access.private_folder()
    try:
        assert "cannot enter" in next(doctor.check_files(folder)).found
        folder.chmod(0o755)
        assert "can read no masks" in next(doctor.check_files(folder)).found
        for name, mode in (("a.nii.gz", 0o644), ("b.sammed3d.json", 0o660), ("c.txt", 0o644)):
            (folder / name).touch()
            (folder / name).chmod(mode)
        (check,) = doctor.check_files(folder)
        assert check.status == doctor.WARN
        assert "can read 1 masks" in check.found
        assert "(a.nii.gz)" in check.found
        assert f"chmod o-rwx {folder}" in check.found
    finally:
        subprocess.run(["rm", "-r", str(folder)], check=True)


@pytest.mark.parametrize("package", ["torch", "jupyter_server", "tornado", "pydicom"])
def test_the_doctor_names_unsafe_versions(monkeypatch, package):
    from importlib import metadata

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    real = metadata.version
    monkeypatch.setattr(metadata, "requires", lambda name: project["dependencies"])
    monkeypatch.setattr(metadata, "version", lambda name: "1.0" if name == package else real(name))
    (check,) = [check for check in doctor.check_packages() if check.what == package]
    assert check.status == doctor.FAIL
    assert "unsafe: CVE-2026-" in check.found


def until(there, process, lines, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, "".join(lines)
        assert time.monotonic() < end, "".join(lines)
        time.sleep(0.1)
