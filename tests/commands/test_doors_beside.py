"""The other doors: a socket, a host, no token; each tried as a stranger would."""

import contextlib
import os
import socket
import stat
import subprocess
import threading
import uuid

import psutil
import pytest
from doors import Door, door, told, until
from running import free_port, server

from sammed3d_nb import UserError
from sammed3d_nb.commands import access, cli, doctor
from sammed3d_nb.commands.servers import voila_command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sockets and modes of files are POSIX's")

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
