"""The doctor looks at what is really there, and says what will not work."""

import json
import socket
from importlib import metadata

import pytest
from small_models import save, weights

from sammed3d_nb.commands import cli, doctor
from sammed3d_nb.commands.doctor import FAIL, OK, WARN


@pytest.fixture
def checkpoint(tmp_path):
    return save(tmp_path / "small.pth", weights())


def test_this_machine_is_well(checkpoint, capsys):
    port = free_port()
    status = cli.main(["doctor", "--model", str(checkpoint), "--port", str(port)])
    out = capsys.readouterr().out
    failed = [line for line in out.splitlines() if line.startswith("fail")]
    assert failed == []
    assert status == 0
    for what in ("Python", "packages", "front ends", "memory", "model", "disk", "port", "from afar"):
        assert f" {what} " in out
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in out
    assert "torch" in out
    assert "first cube" in out


def test_a_missing_model_fails_with_its_sentence(tmp_path, capsys):
    (check,) = doctor.check_model(str(tmp_path / "none.pth"))
    assert check.status == FAIL
    assert "none.pth" in check.found
    assert cli.main(["doctor", "--model", str(tmp_path / "none.pth")]) == 1
    assert "\nfail  model" in capsys.readouterr().out


def test_a_check_that_breaks_is_named_and_the_others_go_on(checkpoint):
    checks = list(doctor.examine(model=str(checkpoint), port=70_000))  # beyond what a socket takes
    (broken,) = [check for check in checks if "Error" in check.found]
    assert str(broken).startswith("fail  port         OverflowError: ")
    assert checks[-1].what == "from afar"


def test_a_broken_model_fails(tmp_path):
    state = weights()
    name = next(iter(state))
    state[name][...] = float("nan")
    (check,) = doctor.check_model(str(save(tmp_path / "nan.pth", state)))
    assert check.status == FAIL


def test_versions_known_to_clash_fail_and_say_why(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: {"ipykernel": "7.1.0", "voila": "0.4.3"}.get(name, real(name))
    )
    checks = {check.what: check for check in doctor.check_packages()}
    assert checks["ipykernel"].status == FAIL
    assert "two threads at once" in checks["ipykernel"].found
    assert "pip install 'ipykernel" in checks["ipykernel"].found
    assert checks["voila"].status == FAIL
    assert "packages" not in checks


def test_an_old_notebook_and_a_missing_package(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "pooch":
            raise metadata.PackageNotFoundError(name)
        return "6.5.7" if name == "notebook" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    checks = {check.what: check for check in doctor.check_packages()}
    assert checks["pooch"].status == FAIL
    assert "missing" in checks["pooch"].found
    assert checks["notebook"].status == WARN


def test_an_older_front_end_elsewhere_is_found(monkeypatch, tmp_path):
    folder = tmp_path / "labextensions" / "jupyter-matplotlib"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": "0.9.0"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    checks = {check.what: check for check in doctor.check_extensions()}
    assert checks["ipympl"].status == WARN
    assert f"0.9.0 from {folder}" in checks["ipympl"].found
    assert checks["front ends"].status == OK


def test_a_missing_front_end_fails(monkeypatch, tmp_path):
    import jupyter_core.paths

    monkeypatch.setattr(jupyter_core.paths, "jupyter_path", lambda *parts: [str(tmp_path)])
    checks = {check.what: check for check in doctor.check_extensions()}
    assert checks["ipympl"].status == FAIL
    assert "pip install" in checks["ipympl"].found


def test_a_port_that_is_taken(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (check,) = doctor.check_port(port)
        assert check.status == WARN
        assert f"--port {port + 1}" in check.found
        assert not doctor.port_is_free(port)
    assert doctor.port_is_free(port)


def test_little_memory(monkeypatch):
    monkeypatch.setattr(doctor, "_container_limit", lambda: (2_000_000_000, 1_500_000_000))
    (check,) = doctor.check_memory()
    assert check.status == FAIL
    assert "0.5 GB free of 2.0 GB" in check.found


def test_a_gpu_is_named_with_its_memory(monkeypatch):
    import torch

    free = {0: 70e9, 1: 1e9}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (int(free[index]), int(84e9)))
    first, second = doctor.check_device()
    assert first.status == OK
    assert "NVIDIA H100 80GB HBM3, 70.0 GB free of 84.0 GB" in first.found
    assert second.status == WARN
    assert "models may move to the CPU" in second.found


def test_a_torch_without_cuda_next_to_a_driver_is_told(monkeypatch):
    import shutil

    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU that torch can use")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    (check,) = doctor.check_device()
    assert check.status == WARN
    assert "there is an NVIDIA driver" in check.found
    assert "see pytorch.org" in check.found


def test_a_full_disk_is_told(monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**10, 10**10, 10**8))
    (check,) = doctor.check_disk()
    assert check.status == WARN
    assert "0.1 GB" in check.found


def test_a_look_that_breaks_does_not_end_the_others(monkeypatch, checkpoint):
    def check_device():
        raise ImportError("libcudart.so.12: cannot open shared object file\nmore")
        yield

    monkeypatch.setattr(doctor, "check_device", check_device)
    checks = list(doctor.examine(model=str(checkpoint), port=free_port()))
    (broken,) = [check for check in checks if check.status == FAIL]
    assert str(broken) == "fail  device       ImportError: libcudart.so.12: cannot open shared object file"
    assert checks[-1].what == "from afar"


def test_a_container_without_user_names(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(doctor.getpass, "getuser", nobody)
    assert doctor.tunnel(8866).startswith("ssh -N -L 8866:127.0.0.1:8866 user@")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_every_package_asked_for_is_looked_at():
    (check,) = doctor.check_packages()
    assert (check.status, check.what) == (OK, "packages")
    assert int(check.found.split()[1]) >= 12
