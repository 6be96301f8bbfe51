"""From the launcher to the page: what the dashboard may open, and how Voilà and JupyterLab are told to serve it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import SimpleITK as sitk
from support import BallNetwork, model_of
from voila.paths import collect_template_paths

import sammed3d_nb as snb
from sammed3d_nb.commands.servers import lab_command, launch_environment, notebooks_folder, voila_command
from sammed3d_nb.ui.dashboard import dashboard
from sammed3d_nb.ui.worklist import cases_from, cases_of, requested

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small image in a file whose name a shell or a list of paths would stumble over."""
    path = tmp_path / "patient 7: first, second.nii.gz"
    values = np.random.default_rng(0).integers(-100, 200, (12, 20, 24)).astype(np.int16)
    sitk.WriteImage(snb.Volume.from_array(values, (2, 2, 4)).image, str(path))
    return path


def test_the_environment_survives_any_file_name(image: Path, tmp_path: Path) -> None:
    environ = launch_environment([image], output=tmp_path)
    (case,) = cases_from(environ)
    assert case.name == image.name


def test_relative_paths_are_resolved_where_the_launcher_is(image: Path, monkeypatch) -> None:
    monkeypatch.chdir(image.parent)
    environ = launch_environment([image.name])
    assert json.loads(environ["SAMMED3D_PATHS"]) == [str(image)]
    assert environ["SAMMED3D_OUTPUT"] == str(image.parent)


def test_without_paths_the_sample_is_the_only_case() -> None:
    assert [case.name for case in cases_from(launch_environment())] == ["Sample: phantom"]
    assert [case.name for case in cases_from(launch_environment(sample="ct"))] == ["Sample: CT"]


def test_a_folder_of_images_is_a_worklist(image: Path, tmp_path: Path) -> None:
    other = tmp_path / "more" / image.name
    other.parent.mkdir()
    other.write_bytes(image.read_bytes())
    (tmp_path / "notes.txt").write_text("no image")
    assert [case.name for case in cases_of([tmp_path])] == [image.name]
    assert [case.name for case in cases_of([image, other])] == [
        f"{tmp_path.name}/{image.name}",
        f"more/{image.name}",
    ]


@pytest.mark.parametrize("query", ["", "case=1", "x=5&case=1", "case=%31"])
def test_the_address_chooses_by_number(query: str) -> None:
    cases = cases_of(["a.nii", "b.nii"])
    assert requested({"QUERY_STRING": query}, cases) == (1 if query else 0)


@pytest.mark.parametrize("wanted", ["2", "-1", "a.nii", "/etc/passwd", "1.0", "²", "", " 1"])
def test_the_address_cannot_choose_anything_else(wanted: str) -> None:
    from urllib.parse import urlencode

    cases = cases_of(["a.nii", "b.nii"])
    if not wanted:  # an empty value is no wish
        assert requested({"QUERY_STRING": "case="}, cases) == 0
        return
    with pytest.raises(snb.UserError, match="expected a number from 0 to 1"):
        requested({"QUERY_STRING": urlencode({"case": wanted})}, cases)


def test_voila_takes_our_settings_and_listens_here_only(tmp_path: Path) -> None:
    program = """
import json, pathlib, sys
from sammed3d_nb.commands.door import Dashboard
Dashboard.runtime, Dashboard.secret = pathlib.Path(sys.argv.pop(1)), "secret"
app = Dashboard()
app.initialize(sys.argv[1:])
assert (app.ip, app.port, app.port_retries, app.token) == ("127.0.0.1", 1, 0, "secret")
assert app.tornado_settings.pop("log_function")
print(json.dumps({**app.config, "settings": app.tornado_settings}))
"""
    python, _, _, _, what, *arguments = voila_command(port=1)
    assert what == "app"
    environ = {**os.environ, **launch_environment(output=tmp_path)}
    shown = subprocess.run(
        [python, "-c", program, str(tmp_path), *arguments], env=environ, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    config = json.loads(shown.stdout)
    assert config["settings"]["disable_check_xsrf"] is True
    assert config["settings"]["allow_remote_access"] is False
    assert config["settings"]["websocket_max_message_size"] > 10 * 1024**2
    assert config["IdentityProvider"]["cookie_options"] == {"SameSite": "Lax"}
    assert config["KernelManager"]["transport"] == "ipc" or os.name != "posix"
    assert config["VoilaConfiguration"]["template"] == "sammed3d"
    assert config["MappingKernelManager"]["cull_idle_timeout"] >= 600
    assert "Warning" not in shown.stderr


def test_voila_finds_the_template(monkeypatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", launch_environment()["JUPYTER_PATH"])
    folders = [Path(path) for path in collect_template_paths(["voila", "nbconvert"], "sammed3d", prune=True)]
    assert any((folder / "index.html.j2").is_file() and folder.name == "sammed3d" for folder in folders)


def test_the_commands_name_notebooks_that_are_there() -> None:
    assert str(notebooks_folder() / "dashboard.ipynb") in voila_command()
    assert str(notebooks_folder()) in lab_command()
    assert (notebooks_folder() / "segment.ipynb").is_file()


def open_dashboard(environ: dict[str, str], model) -> snb.App:
    """The dashboard, with a small model in the place of the default one."""
    import sammed3d_nb.models.model as home

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "load_model", lambda *arguments, **options: model)
        app = dashboard(environ)
        app.wait()
    return app


def test_the_dashboard_opens_the_case_saves_by_itself_and_resumes(image: Path, tmp_path: Path, model) -> None:
    environ = launch_environment([image], output=tmp_path)
    app = open_dashboard(environ, model)
    assert "Click on an organ" in app.status.message
    mask = app.click((10, 9, 5)).mask
    app.close()
    (record,) = tmp_path.glob("*.sammed3d.json")
    again = open_dashboard(environ, model)
    assert "resumed with 1 object" in again.status.message
    np.testing.assert_array_equal(again.session.mask, mask)
    again.close()
    from_record = open_dashboard(launch_environment([record], output=tmp_path), model)
    np.testing.assert_array_equal(from_record.session.mask, mask)
    from_record.close()


def test_a_damaged_automatic_save_does_not_lock_the_case(image: Path, tmp_path: Path, model) -> None:
    environ = launch_environment([image], output=tmp_path)
    app = open_dashboard(environ, model)
    app.click((10, 9, 5))
    app.close()
    (record,) = tmp_path.glob("*.sammed3d.json")
    record.write_text(record.read_text()[:500])
    again = open_dashboard(environ, model)
    assert f"starts afresh; that file is kept as {record.name}.damaged" in again.status.message
    assert (tmp_path / f"{record.name}.damaged").stat().st_size == 500
    assert again.click((10, 9, 5)).mask.any()
    again.close()


def test_a_failed_automatic_save_is_told_and_the_click_stands(image: Path, tmp_path: Path, model) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    app = open_dashboard(launch_environment([image], output=folder), model)
    shutil.rmtree(folder)
    app.click((10, 9, 5))
    assert "snb-warning" in app.status._text.value
    assert str(folder) in app.status.message
    assert len(app.session.clicks) == 1
    app.close()


def test_a_bad_case_leaves_the_good_one_on_the_screen(image: Path, tmp_path: Path, model) -> None:
    bad = tmp_path / "bad.nii"
    bad.write_bytes(b"no image")
    app = open_dashboard(launch_environment([image, bad], output=tmp_path), model)
    session = app.session
    app.open(1)
    app.wait()
    assert app.session is session
    assert "bad.nii" in app.status.message
    assert app.cases.menu.value == 0
    app.close()


def test_a_wrong_address_says_so_and_shows_the_first_case(image: Path, tmp_path: Path, model) -> None:
    environ = {**launch_environment([image], output=tmp_path), "QUERY_STRING": "case=9"}
    app = open_dashboard(environ, model)
    app.wait()
    assert app.session is not None
    assert "expected a number from 0 to 0" in app.status.message
    app.close()


def test_a_model_that_is_not_there_can_be_replaced_from_the_menu(image: Path, tmp_path: Path, model) -> None:
    app = dashboard(launch_environment([image], model=str(tmp_path / "missing.pth"), output=tmp_path))
    app.wait()
    assert "missing.pth" in app.status.message
    assert app.session is None
    import sammed3d_nb.models.model as home

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "load_model", lambda *arguments, **options: model)
        app.choose_model("compact")
        app.wait()
    assert app.session is not None
    assert app.session.model is model
    app.click((10, 9, 5))
    clicks = app.session.clicks
    other = model_of(BallNetwork())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "load_model", lambda *arguments, **options: other)
        app.choose_model("sam-med3d-turbo")
        app.wait()
    assert app.session.model is other
    assert app.session.clicks == clicks
    assert isinstance(app.widget, ipywidgets.Widget)
    app.close()
