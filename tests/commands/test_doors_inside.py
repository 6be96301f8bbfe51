"""What a server takes in and gives away beside its pages: settings, kernels' messages, its port, files; the doctor."""

import json
import os
import re
import socket
import subprocess
import time
import tomllib
from pathlib import Path

import psutil
import pytest
import zmq
from doors import door, opened_app, told

from sammed3d_nb.commands import access, doctor
from sammed3d_nb.commands.servers import door_environment, lab_command, launch_environment, voila_command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sockets and modes of files are POSIX's")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with opened_app(tmp_path_factory.mktemp("output")) as found:
        yield found


@pytest.fixture(scope="module")
def lab():
    with door("lab", path="api") as found:
        yield found


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
