"""The command line and the app with models that see no cubes: nnInteractive in this process, and on its own server."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nninteractive_story import image
from nninteractive_weights import LICENCE
from official_server import KEY, OfficialServer, needs_package

import sammed3d_nb as snb
from sammed3d_nb.commands import cli
from sammed3d_nb.imaging.writers import write_labels

needs_package()


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfficialServer]:
    with OfficialServer(folder, tmp_path_factory.mktemp("server") / "log.txt", "--api-key", KEY) as found:
        yield found


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(KEY)
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(image().image, str(path))
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_segment_replay_and_doctor_with_a_server(
    server: OfficialServer, folder: Path, scan: Path, key_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lasso = tmp_path / "lasso.txt"
    lasso.write_text("9,8,12\n20,8,12\n20,15,12\n9,13,12\n")
    prompts = ("--click", "20,16,11", "--box", "8,9,11:19,15,11", "--lasso", lasso, "--click", "20,16,11:-")
    there = ("--model", server.url, "--api-key-file", key_file)
    record = tmp_path / "case.sammed3d.json"
    assert run("segment", scan, *prompts, *there, "-o", tmp_path / "there.nii.gz", "--save", record, "--trace") == 0
    out, _ = capfd.readouterr()
    assert out.count("\n") > 16
    assert "upright" in out
    assert KEY not in out
    assert run("segment", scan, *prompts, "--model", folder, "-o", tmp_path / "here.nii.gz", "--device", "cpu") == 0
    masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}.nii.gz"))) for name in ("here", "there")]
    assert masks[0].sum() > 100
    assert np.array_equal(*masks)
    capfd.readouterr()

    assert run("replay", record, *there) == 0
    assert capfd.readouterr().out == "object 1: the same\n"
    asked = server.asked("claim")
    assert run("replay", record) == 2  # a record alone sends no image anywhere
    assert f"--model {server.url}" in capfd.readouterr().err
    assert server.asked("claim") == asked
    assert run("replay", record, "--model", folder, "--other-model") == 0
    assert "object 1: the same (made with another model file" in capfd.readouterr().out

    assert run("doctor", *there, "--output", tmp_path) in (0, 1)  # for other reasons
    line = next(line for line in capfd.readouterr().out.splitlines() if line.split()[1] == "model")
    assert line.startswith("OK")
    assert f"nnInteractive server at {server.url}, {LICENCE}: loaded in" in line
    assert "second click" in line


def test_a_folder_replays_by_itself_and_doctor_tells_its_memory(
    folder: Path, scan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "case.sammed3d.json"
    arguments = ("segment", scan, "--click", "20,16,11", "--model", folder, "-o", tmp_path / "m.nrrd", "--save", record)
    assert run(*arguments) == 0
    assert json.loads(record.read_text())["model"]["about"]["licence"] == LICENCE
    capfd.readouterr()
    assert run("replay", record) == 0
    assert capfd.readouterr().out == "object 1: the same\n"
    assert run("doctor", "--model", folder, "--output", tmp_path) in (0, 1)
    line = next(line for line in capfd.readouterr().out.splitlines() if line.split()[1] == "model")
    assert "an image of 512 × 512 × 300 voxels takes 1.5 GB of memory" in line
    assert f"is under {LICENCE}" in line


def test_evaluate_takes_such_models(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case = tmp_path / "case"
    case.mkdir()
    volume = image()
    sitk.WriteImage(volume.image, str(case / "image.nii.gz"))
    label = np.zeros(volume.array.shape, np.uint8)
    label[8:14, 12:20, 16:26] = 1
    write_labels(label, volume.image, case / "label.nii.gz", source=None, stated=None, overwrite=True)
    assert run("evaluate", case, "--model", folder, "--clicks", 2) == 0
    assert "1" in capfd.readouterr().out


def test_app_tells_its_kernels_where_the_key_is_not_what_it_is(
    scan: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from running import free_port

    from sammed3d_nb.commands import access

    calls: list[tuple[list[str], dict[str, str]]] = []

    def execve(program: str, command: list[str], environment: dict[str, str]) -> None:
        calls.append((command, environment))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(access, "private_folder", lambda: tmp_path)
    arguments = ("app", scan, "--model", "http://gpu:1527", "--api-key-file", key_file, "--port", free_port())
    with pytest.raises(SystemExit):
        run(*arguments, "--no-browser")
    command, environment = calls[0]
    assert environment["SAMMED3D_API_KEY_FILE"] == str(key_file)
    assert environment["SAMMED3D_MODEL"] == "http://gpu:1527"
    assert KEY not in " ".join([*command, *environment.values()])
    key_file.chmod(0o644)
    assert run(*arguments, "--no-browser") == 2
    assert "chmod 600" in capsys.readouterr().err


def test_the_app_answers_with_a_server_and_says_when_it_is_gone(server: OfficialServer, tmp_path: Path) -> None:
    from ui_page import Browser

    app = snb.App(image(), snb.load_model(server.url, api_key=KEY), output=tmp_path, renderer="ipympl")
    try:
        page = Browser(app, "axial")
        app.wait(60)
        page.mouse("motion_notify", 150, 150)
        assert "upright" in app.chain.widget.children[-1].value
        result = app.click((20, 16, 11))
        assert result.mask.sum() > 20
        assert app.chain.clicked.trace.spaces == ("array", "voxel", "upright")
        assert f"nnInteractive server at {server.url}" in app.chain.clicked.network
        app.click((22, 16, 11), positive=False)
        app.act("undo")
        app.wait(60)
        server.kill()
        with pytest.raises(snb.UserError, match="does not answer"):
            app.click((26, 16, 11))
        app.wait(60)
        assert "does not answer" in app.status.message
        assert np.array_equal(app.session.mask, result.mask)
        server.start()
        app.click((26, 16, 11))
        assert app.session.mask.sum() > result.mask.sum()
    finally:
        app.close()
