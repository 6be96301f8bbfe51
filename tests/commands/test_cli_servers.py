"""``app`` and ``lab``: what they check before they start, and that the real servers answer and end cleanly."""

import json
import os
import socket
import urllib.error
import urllib.request

import pytest
from running import answer, free_port, server

from sammed3d_nb.commands import access, cli
from sammed3d_nb.imaging import sample


def refusal(capsys, *arguments):
    assert cli.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What ``app`` or ``lab`` would become, instead of becoming it."""
    calls = []

    def execve(program, command, environment):
        calls.append((command, environment))
        raise SystemExit(0)  # execve never returns

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(access, "private_folder", lambda: tmp_path)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return calls


def test_app_serves_the_dashboard_on_the_loopback_address(tmp_path):
    port = free_port()
    with server("app", "--port", str(port), "--no-browser", "--output", str(tmp_path)) as (process, lines):
        status, page = answer(f"http://127.0.0.1:{port}/", process, lines)
        assert status == 200
        assert "<html" in page.lower()
        assert "Log in" in page  # it asks for its token
        assert lines[0].startswith(f"The dashboard will be at http://127.0.0.1:{port} ")
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in lines[1]
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))  # listens on 127.0.0.1 alone


def test_lab_serves_the_notebooks():
    port = free_port()
    with server("lab", "--port", str(port), "--no-browser") as (process, lines):
        status, _ = answer(f"http://127.0.0.1:{port}/api", process, lines)
        assert status == 200
        assert "JupyterLab will be at" in lines[0]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://127.0.0.1:{port}/api/contents", timeout=20
            )  # asks for its token


def test_app_passes_paths_model_and_sample(started, tmp_path, capsys):
    image, model = tmp_path / "ct.nii.gz", tmp_path / "m.pth"
    image.write_bytes(b"")
    model.write_bytes(b"")
    words = ["app", image, tmp_path, "--model", model, "--models", tmp_path, "--port", free_port(), "--no-browser"]
    with pytest.raises(SystemExit):
        cli.main([str(word) for word in words])
    ((command, environment),) = started
    assert json.loads(environment["SAMMED3D_PATHS"]) == [str(image), str(tmp_path)]
    assert environment["SAMMED3D_MODEL"] == str(model)
    assert environment["SAMMED3D_MODELS"] == str(tmp_path)
    assert "SAMMED3D_SAMPLE" not in environment
    assert environment["PATH"] == os.environ["PATH"]
    assert "--Voila.open_browser=False" in command
    assert not [word for word in command if str(image) in word]  # images go by the environment, never by address


def test_app_without_images_opens_the_phantom(started, capsys):
    with pytest.raises(SystemExit):
        cli.main(["app", "--port", str(free_port())])
    ((command, environment),) = started
    assert environment["SAMMED3D_SAMPLE"] == "phantom"
    assert "--Voila.open_browser=True" in command


def test_no_browser_is_opened_behind_ssh(started, monkeypatch, capsys):
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SystemExit):
        cli.main(["lab", "--port", str(free_port())])
    ((command, _),) = started
    assert "--ServerApp.open_browser=False" in command


def test_a_taken_port_is_refused_and_another_named(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in ("app", "lab"):
            sentence = refusal(capsys, command, "--port", port)
            assert f"Port {port} on 127.0.0.1 is taken" in sentence
            assert f"sammed3d-nb {command} --port {port + 1}" in sentence


def test_what_does_not_exist_is_refused_before_the_server_starts(started, capsys, tmp_path):
    assert "none.nii does not exist" in refusal(capsys, "app", tmp_path / "none.nii")
    sentence = refusal(capsys, "app", "--model", tmp_path / "none.pth")
    assert "none.pth; give the path of a file or one of compact, sam-med3d-turbo" in sentence
    for option in ("--output", "--models"):
        assert "make it first" in refusal(capsys, "app", option, tmp_path / "nowhere")
    assert started == []


def test_images_and_a_sample_together_are_refused(started, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv(sample.URL_VARIABLE, "http://127.0.0.1:9/none")  # it would fail to be fetched
    monkeypatch.setenv(sample.CACHE_VARIABLE, str(tmp_path))
    sentence = refusal(capsys, "app", tmp_path, "--sample", "ct", "--port", free_port())
    assert "Give images or --sample ct, not both" in sentence
    assert started == []


def test_a_sample_that_cannot_be_fetched_is_refused_before_the_server_starts(started, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv(sample.URL_VARIABLE, "http://127.0.0.1:9/none")
    monkeypatch.setenv(sample.CACHE_VARIABLE, str(tmp_path))
    assert "the server cannot be reached" in refusal(capsys, "app", "--sample", "ct", "--port", free_port())
    assert started == []
