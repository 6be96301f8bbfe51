"""The mouse over the views, without a browser: where its clicks land, and what its wheel, drags and rests do."""

import math
import time
import types
from collections import namedtuple
from threading import Event

import numpy as np
import pytest
from support import BallNetwork, model_of
from ui_page import BALL, SIZE, Browser, ball_volume

import sammed3d_nb as snb
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.under_cursor import idle_share

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def drawn_at(picture, voxel) -> tuple[float, float]:
    """Where matplotlib draws a voxel's centre, in CSS pixels right and down."""
    column, row, _ = picture.view.plane.from_voxel(voxel)
    x, y = picture.axes.transData.transform((column, row))
    ratio = picture.canvas.device_pixel_ratio
    return x / ratio, (picture.canvas.get_renderer().height - y) / ratio


@pytest.mark.parametrize("ratio", [1, 1.25, 1.5, 2])
@pytest.mark.parametrize("view", PLANES)
def test_clicks_land_on_their_voxels_at_every_pixel_ratio(app, view: str, ratio: float) -> None:
    browser = Browser(app, view, ratio)
    app.arrange(1333, 777)
    normal = app.views.views[view].plane.axes[2]
    rng = np.random.default_rng(0)
    for magnified in (False, True):
        if magnified:
            app.views.active = view
            app.views.zoom(0.35)  # voxels smaller than a CSS pixel in one direction: half a pixel decides
        for _ in range(10):
            voxel = [int(rng.integers(0, n)) for n in SIZE]
            voxel[normal] = app.views.views[view].index
            place = drawn_at(app.views.renderer.pictures[view], voxel)
            assert app.views.views[view].canvas_of(voxel) == pytest.approx(place, abs=1 / ratio)  # a whole picture
            browser.mouse("motion_notify", *place)
            assert browser.app.chain._hovered.trace["voxel"].point == tuple(voxel)


@pytest.mark.parametrize(
    ("fields", "positive"),
    [({}, True), ({"button": 2}, False), ({"modifiers": ["ctrl"]}, False)],
    ids=["left", "right", "ctrl"],
)
def test_the_sign_of_a_click(app, fields: dict, positive: bool) -> None:
    app.click(BALL)
    Browser(app, "axial").click((BALL[0], BALL[1] + 5, 9), **fields)
    assert [click.positive for click in app.session.clicks] == [True, positive]


def test_t_makes_the_left_button_negative(app) -> None:
    app.click(BALL)
    app.page._message(app.page, {"type": "key", "key": "t"}, [])
    Browser(app, "axial").click((BALL[0], BALL[1] + 5, 9))
    assert not app.session.clicks[-1].positive


def test_a_double_click_is_one_click(app) -> None:
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    x, y = app.views.views["axial"].canvas_of(BALL)
    for kind in ("button_press", "button_release", "button_press", "button_release", "dblclick"):
        axial.mouse(kind, x, y)
    app.wait()
    assert len(app.session.clicks) == 1


def test_the_wheel_scrolls_one_slice_and_links_the_views(app) -> None:
    axial = Browser(app, "axial")
    start = app.views.cross
    axial.mouse("motion_notify", 250, 300)
    under = app.chain._hovered.trace["voxel"].point
    axial.mouse("scroll", 250, 300, step=1, guiEvent={"deltaY": -100})
    assert app.chain._hovered.trace["voxel"].point == (*under[:2], under[2] - 1), "another voxel under a still mouse"
    i, j, k = app.views.cross
    assert (i, j) == start[:2]
    assert k == start[2] - 1, "superior, and this volume's k runs down"
    axial.mouse("scroll", 100, 100, step=-1, guiEvent={"deltaY": 0, "deltaX": 40})  # sideways
    assert app.views.cross == (i, j, k)
    for _ in range(50):
        axial.mouse("scroll", 100, 100, step=-1, guiEvent={"deltaY": 100})
    assert app.views.cross == (i, j, SIZE[2] - 1)
    assert app.views.renderer._sliders["axial"].value == SIZE[2] - 1


def test_shift_drag_changes_the_window_and_shift_click_moves_the_crosshair(app) -> None:
    axial = Browser(app, "axial")
    window = app.views.display.window
    axial.mouse("button_press", 100, 100, modifiers=["shift"])
    axial.mouse("motion_notify", 180, 60, held=1, modifiers=["shift"])
    axial.mouse("button_release", 180, 60, modifiers=["shift"])
    assert app.views.display.window.width > window.width
    assert app.views.display.window.level > window.level
    assert app.display.window.value == "Manual"
    x, y = app.views.views["axial"].canvas_of((5, 6, app.views.cross[2]))
    axial.mouse("button_press", x, y, modifiers=["shift"])
    axial.mouse("button_release", x, y, modifiers=["shift"])
    assert app.views.cross[:2] == (5, 6)
    assert app.session.clicks == ()


def test_zoom_and_pan_keep_the_point_under_the_mouse(app) -> None:
    axial = Browser(app, "axial")
    view = app.views.views["axial"]
    voxel = (11, 12, app.views.cross[2])
    x, y = (math.floor(value) + 0.5 for value in view.canvas_of(voxel))
    axial.mouse("motion_notify", x, y)
    axial.mouse("scroll", x, y, step=1, modifiers=["ctrl"], guiEvent={"deltaY": -100})
    assert view.region.scale > 0
    assert np.hypot(*np.subtract(view.canvas_of(voxel), (x, y))) < 3
    before = view.canvas_of(voxel)
    axial.mouse("button_press", x, y, button=1)
    axial.mouse("motion_notify", x + 30, y - 20, held=4)
    assert view.canvas_of(voxel) == pytest.approx((before[0] + 30, before[1] - 20), abs=1e-6)
    axial.mouse("motion_notify", x + 90, y - 90, held=0)  # let go outside the view
    assert view.canvas_of(voxel) == pytest.approx((before[0] + 30, before[1] - 20), abs=1e-6)
    app.act("fit")
    assert app.session.clicks == ()


def test_a_page_on_another_screen_resets_the_pixel_ratio(app) -> None:
    first = Browser(app, "axial", 2)
    assert first.canvas.device_pixel_ratio == 2
    again = Browser(app, "axial", 1)  # a 1:1 screen sends no ratio
    assert again.canvas.device_pixel_ratio == 1
    voxel = (30, 20, app.views.cross[2])
    again.mouse("motion_notify", *app.views.views["axial"].canvas_of(voxel))
    assert app.chain._hovered.trace["voxel"].point == voxel


@pytest.mark.parametrize(("device", "idle", "encodes"), [("cpu", 0.9, True), ("cpu", 0.3, False), ("cuda", 0.3, True)])
def test_a_resting_mouse_encodes_ahead_on_a_cpu_only_if_it_is_idle(app, monkeypatch, device, idle, encodes) -> None:
    app.under_cursor.resting.join()  # the middle of the volume
    app.wait()
    asked = []
    monkeypatch.setattr("sammed3d_nb.ui.under_cursor.idle_share", lambda before, after: idle)
    monkeypatch.setattr(app.session, "prepare", lambda voxel, stop: asked.append(voxel))
    monkeypatch.setattr(app.session.model, "device", types.SimpleNamespace(type=device))
    axial = Browser(app, "axial")
    voxel = (30, 20, app.views.cross[2])
    for target in ((31, 20, voxel[2]), voxel):
        axial.mouse("motion_notify", *app.views.views["axial"].canvas_of(target))
    app.under_cursor.resting.join()
    app.wait()
    assert asked == ([voxel] if encodes else []), "where the mouse rested, not where it passed"


def test_the_first_cube_is_encoded_while_the_user_looks_around(monkeypatch) -> None:
    monkeypatch.setattr("sammed3d_nb.ui.under_cursor.idle_share", lambda before, after: 1.0)
    network = BallNetwork()
    app = snb.App(ball_volume(), model_of(network))
    app.under_cursor.resting.join()
    app.wait()
    assert network.encoded == 1
    assert app.click(app.views.cross).embedding_reused
    app.close()


def test_the_idle_share_counts_what_nobody_used() -> None:
    times = namedtuple("times", "user system idle iowait")
    assert idle_share(times(1, 1, 1, 0), times(2, 1, 3, 1)) == pytest.approx(0.75)
    assert idle_share(times(1, 1, 1, 0), times(1, 1, 1, 0)) == 1


def test_what_is_under_the_mouse_stays_in_view_until_the_click_is_answered(app) -> None:
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    axial.mouse("motion_notify", *app.views.views["axial"].canvas_of(BALL))
    shown = app.chain._html.value
    assert "Under the cursor" in shown
    app.stage.refresh()
    assert app.chain._html.value == shown
    axial.click(BALL)
    assert "Positive click" in app.chain._html.value


def test_what_nobody_asked_for_hides_no_message_and_gives_way(app) -> None:
    app.wait()
    app.status.say("Click on an organ.")
    begun, go_on = Event(), Event()
    app.stage.worker.submit(None, lambda: (begun.set(), go_on.wait(10)))
    begun.wait(10)
    assert "Click on an organ." in app.status.widget.children[0].value
    assert not app.stage.worker.awaited
    asked = app.stage.worker.submit("Segmenting", lambda: None)
    assert app.stage.worker.awaited
    assert "Click on an organ." in app.status.widget.children[0].value, "it does not run yet"
    go_on.set()
    asked.result(10)


def test_a_job_that_ends_at_once_leaves_nothing_behind_in_the_status_line(app) -> None:
    for _ in range(300):
        app.stage.worker.submit("Segmenting", lambda: None)
    app.wait()
    app.stage.worker.submit("Segmenting", lambda: None).result(10)
    until = time.monotonic() + 5
    while "snb-doing" in app.status.widget.children[0].value and time.monotonic() < until:
        time.sleep(0.01)
    assert "snb-doing" not in app.status.widget.children[0].value
