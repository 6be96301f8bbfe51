"""The masks in 3D: surfaces in the right place, closed, few enough; and the panel in the app."""

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from support import BallNetwork, bright_ball, model_of, torso_like

import sammed3d_nb as snb
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.ui.preview_matplotlib import MatplotlibPicture
from sammed3d_nb.ui.preview_webgl import WebGLPicture
from sammed3d_nb.ui.surface import surface

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

VOXEL = (110, 100, 30)
MOST_TRIANGLES = MatplotlibPicture.most


def enclosed_mm3(triangles: np.ndarray) -> float:
    """Positive if the corners run anticlockwise seen from outside."""
    return float(np.einsum("ni,ni->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2]))) / 6


@pytest.mark.parametrize(("most", "exact_mm"), [(MOST_TRIANGLES, 0.6), (500, 2)])
def test_a_balls_surface_lies_on_the_ball_in_mm(most: int, exact_mm: float) -> None:
    volume = bright_ball(VOXEL, 30)  # tilted, thick slices
    triangles = surface(LocalMask.of(volume.array > 500), volume, most)
    assert 200 < len(triangles) <= most
    radius = np.linalg.norm(triangles - volume.voxel_to_ras(VOXEL), axis=-1)
    assert radius.mean() == pytest.approx(30, abs=exact_mm)
    assert np.abs(radius - 30).max() < 4 * exact_mm
    assert np.allclose(triangles.mean(axis=(0, 1)), volume.voxel_to_ras(VOXEL), atol=exact_mm)
    assert enclosed_mm3(triangles) == pytest.approx(4 / 3 * np.pi * 30**3, rel=0.15)


@pytest.mark.parametrize("step", [1, -1])
def test_axes_that_are_mirrored_do_not_turn_a_surface_inside_out(step: int) -> None:
    array = np.zeros((12, 20, 20), dtype=np.uint8)
    array[3:9, 5:15, 5:15] = 1
    volume = snb.Volume.from_array(array, (1, 1, 2), np.diag([step, 1, 1]), (0, 0, 0))
    assert enclosed_mm3(surface(LocalMask.of(array), volume, MOST_TRIANGLES)) == pytest.approx(1200, rel=0.1)


def test_one_voxel_a_thread_and_noise_have_a_surface_too() -> None:
    volume = torso_like()
    voxel, thread = np.zeros((2, *volume.array.shape), dtype=bool)
    voxel[30, 100, 110] = thread[30, 100, :] = True
    noise = np.random.default_rng(0).random(volume.array.shape) < 0.01
    for mask in (voxel, thread, noise):
        assert 0 < len(surface(LocalMask.of(mask), volume, 2000)) <= 2000


@pytest.fixture
def app(tmp_path) -> Iterator[snb.App]:
    app = snb.App(torso_like(), model_of(BallNetwork()), output=tmp_path, renderer="ipympl")
    yield app
    app.close()


def test_the_panel_opens_follows_the_masks_and_closes(app) -> None:
    app.act("toggle_preview")
    app.wait()
    assert not app.preview.open
    assert app.status.message == "There is no mask to show in 3D yet; click on an organ first."
    app.click(VOXEL)
    assert app.preview.picture is None, "nothing is computed before it is asked for"
    app.page._message(app.page, {"type": "key", "key": "d"}, [])
    app.wait()
    assert app.preview.open

    def shown() -> tuple[int, np.ndarray]:
        (mesh,) = app.preview.picture.canvas.figure.axes[0].collections
        return len(mesh.get_facecolor()), np.unique(mesh.get_facecolor()[:, :3].argmax(axis=1))

    one, colours = shown()
    assert 500 < one <= MOST_TRIANGLES

    def strongest(*names: str) -> list[int]:
        colours = [item.colour for item in app.session.objects if item.name in names]
        return sorted(int(np.argmax([int(colour[at : at + 2], 16) for at in (1, 3, 5)])) for colour in colours)

    assert list(colours) == strongest("object 1"), "shades of the object's colour"
    app.change("Adding", lambda s: s.new_object()).result()
    app.click((20, 20, 10))
    two, colours = shown()
    assert two <= MOST_TRIANGLES
    assert list(colours) == strongest("object 1", "object 2")
    app.change("Hiding", lambda s: s.show("object 1", False)).result()
    assert list(shown()[1]) == strongest("object 2")
    axes = app.preview.picture.canvas.figure.axes[0]
    for azimuth, hidden in ((70, "P"), (-110, "A")):
        axes.view_init(elev=12, azim=azimuth)
        app.preview.picture.canvas.figure.savefig(app.output / "turned.png")
        assert [text.get_text() for text in axes.texts if not text.get_visible()] == [hidden], "it lies behind"
    before = app.preview._drawn
    app.change("Selecting", lambda s: s.select("object 1")).result()
    assert app.preview._drawn is before, "nothing is drawn again that has not changed"
    app.preview.picture.canvas.figure.savefig(app.output / "preview.png")
    app.act("toggle_preview")
    app.wait()
    assert not app.preview.open
    app.change("Hiding", lambda s: s.show("object 2", False)).result()
    app.act("toggle_preview")
    app.wait()
    assert not app.preview.picture.canvas.figure.axes[0].collections, "all are hidden"


def test_a_surface_that_fails_does_not_hide_the_click(app, monkeypatch) -> None:
    app.click(VOXEL)
    app.act("toggle_preview")
    app.wait()
    monkeypatch.setattr("sammed3d_nb.ui.preview.surface", lambda *_: 1 / 0)
    redrawn = []
    monkeypatch.setattr(app.views, "redraw", lambda: redrawn.append(True))
    assert app.click((100, 100, 30)).volume_ml > 0
    app.wait()
    assert redrawn
    assert "ZeroDivisionError" in app.status.message or "zero" in app.status.message


def test_closing_the_app_releases_the_panels_figure() -> None:
    app = snb.App(torso_like(), model_of(BallNetwork()), renderer="ipympl")
    app.click(VOXEL)
    app.act("toggle_preview")
    app.wait()
    figure = weakref.ref(app.preview.picture.canvas.figure)
    app.close()
    del app
    gc.collect()
    assert figure() is None


@pytest.fixture
def page_app(tmp_path) -> Iterator[snb.App]:
    app = snb.App(torso_like(), model_of(BallNetwork()), output=tmp_path)
    yield app
    app.close()


def test_the_page_draws_masks_and_slices_and_only_what_has_changed(page_app) -> None:
    app = page_app
    app.click(VOXEL)
    app.act("toggle_preview")
    app.wait()
    picture = app.preview.picture
    assert isinstance(picture, WebGLPicture)
    meshes = [item for item in picture.widget.objects if item.type == "Mesh"]
    assert len(meshes) == 1
    corners = meshes[0].vertices
    volume = app.session.volume
    assert np.linalg.norm(corners.mean(axis=0) - volume.voxel_to_ras(VOXEL)) < 3
    assert 2000 < len(meshes[0].indices) <= WebGLPicture.most
    red, green, blue = (int(app.session.current.colour[at : at + 2], 16) for at in (1, 3, 5))
    assert meshes[0].color == (red << 16) + (green << 8) + blue
    camera = list(picture.widget.camera)

    lines = [item for item in picture.widget.objects if item.type == "Line"]
    assert len(lines) == 3
    axial = next(line for line in lines if np.ptp(line.vertices @ (volume.direction[:, 2] * [-1, -1, 1])) < 1)
    before = axial.vertices.copy()
    app.views.move_to((VOXEL[0], VOXEL[1], VOXEL[2] + 5))
    moved = np.linalg.norm(axial.vertices - before, axis=1)
    assert np.allclose(moved, 5 * volume.spacing[2], atol=0.01)

    app.change("New", lambda s: s.new_object("two")).result()
    app.click((60, 100, 30))
    app.wait()
    now = [item for item in picture.widget.objects if item.type == "Mesh"]
    assert now[0] is meshes[0], "kept"
    assert len(now) == 2
    assert list(picture.widget.camera) == camera, "where the user looks from is the user's"
    app.change("Hiding", lambda s: s.show("two", False)).result()
    app.wait()
    assert len([item for item in picture.widget.objects if item.type == "Mesh"]) == 1
