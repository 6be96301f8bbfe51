"""The app without a browser: messages go in as the page sends them, and the panel, status line and frames come out."""

import gc
import io
import json
import math
import types
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from support import BallNetwork, model_of

import sammed3d_nb as snb
from sammed3d_nb.ui.planes import PLANES

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

SIZE = (60, 50, 20)
BALL = (20, 30, 9)


def ball_volume() -> snb.Volume:
    """A bright ball in an oblique, anisotropic volume."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij")
    distance = np.sqrt((x - BALL[0]) ** 2 + (y - BALL[1]) ** 2 + (2 * (z - BALL[2])) ** 2)
    values = np.where(distance < 9, 100, -50).astype(np.int16)
    angle = np.radians(10)
    direction = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, -1]]
    return snb.Volume.from_array(values.transpose(2, 1, 0), (1.5, 1.5, 3.0), direction, (10, -20, 30), modality="CT")


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def app(model, tmp_path) -> Iterator[snb.App]:
    app = snb.App(ball_volume(), model, output=tmp_path)
    yield app
    app.close()


class Browser:
    """One view's canvas as a page shows it: sends what ipympl's page sends, keeps the frames that arrive."""

    def __init__(self, app: snb.App, view: str, ratio: float = 1) -> None:
        self.app, self.view, self.ratio = app, app.views.views[view], ratio
        self.canvas = self.view.canvas
        self.frames: list[bytes] = []
        self.sent: list[dict] = []
        self.canvas.send = self._receive
        self.open()

    def _receive(self, content: dict, buffers=None) -> None:
        message = json.loads(content["data"])
        self.sent.append(message)
        if message["type"] == "binary":
            self.frames.append(buffers[0])

    def tell(self, kind: str, **fields) -> None:
        self.canvas._handle_message(self.canvas, {"type": kind, **fields}, [])

    def open(self) -> None:
        if self.ratio != 1:
            self.tell("set_dpi_ratio", dpi_ratio=self.ratio)
            self.tell("set_device_pixel_ratio", device_pixel_ratio=self.ratio)
        for kind in ("refresh", "send_image_mode", "initialized"):
            self.tell(kind)

    def mouse(self, kind: str, x: float, y: float, button: int = 0, **fields) -> None:
        """An event at a CSS position; the browser hands on whole CSS pixels, times the ratio."""
        held = {"button_press": {0: 1, 1: 4, 2: 2}[button], "motion_notify": fields.pop("held", 0)}.get(kind, 0)
        self.tell(
            kind,
            x=math.floor(x) * self.ratio,
            y=math.floor(y) * self.ratio,
            button=button,
            buttons=held,
            **{"modifiers": [], "guiEvent": {}, **fields},
        )

    def click(self, voxel, offset=(0.0, 0.0), **fields) -> None:
        x, y = self.view.canvas_of(voxel)
        self.mouse("button_press", x + offset[0], y + offset[1], **fields)
        self.app.wait()

    def picture(self) -> np.ndarray:
        """The next frame, whole."""
        self.tell("refresh")
        self.tell("draw")
        return np.asarray(Image.open(io.BytesIO(self.frames[-1])).convert("RGB"))


def drawn_at(view, voxel) -> tuple[float, float]:
    """Where matplotlib draws a voxel's centre, in CSS pixels right and down."""
    column, row, _ = view.plane.from_voxel(voxel)
    x, y = view.axes.transData.transform((column, row))
    ratio = view.canvas.device_pixel_ratio
    return x / ratio, (view.canvas.get_renderer().height - y) / ratio


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
            place = drawn_at(app.views.views[view], voxel)
            assert app.views.views[view].canvas_of(voxel) == pytest.approx(place, abs=1e-6)
            browser.mouse("motion_notify", *place)
            assert browser.app.chain._hovered.trace["voxel"].point == tuple(voxel)


def test_a_press_segments_and_the_panel_tells_its_way(app) -> None:
    app.views.move_to(BALL)
    axial = Browser(app, "axial", 2)
    axial.click(BALL)
    result = app.session.result
    assert app.session.clicks[0].ijk == BALL
    assert result.distance_mm == 0
    path = app.chain.clicked
    assert path.trace.spaces == ("canvas", "plane", "array", "voxel", "lps", "ras", "cube", "grid")
    assert path.trace["voxel"].point == BALL
    assert path.trace["array"].point == BALL[::-1]
    assert path.trace.round_trip_error < 1e-9
    np.testing.assert_allclose(path.trace["ras"].point, app.session.volume.voxel_to_ras(BALL))
    assert path.raw["canvas"].point[2] == BALL[2]
    assert np.abs(np.subtract(path.raw["plane"].point, path.trace["plane"].point)).max() <= 0.5
    html = app.chain._html.value
    assert f'data-point="{BALL[0]} {BALL[1]} {BALL[2]}"' in html
    assert "inside the mask" in html
    assert "Positive click in axial" in html
    copied = json.loads(app.page.clipboard)
    assert copied["view"] == "axial"
    assert [step["space"] for step in copied["steps"]] == list(path.trace.spaces)
    assert "after 1 click" in app.status.message


def test_the_mask_shows_in_all_views_and_undo_restores_every_pixel(app) -> None:
    app.views.move_to(BALL)
    browsers = {view: Browser(app, view) for view in PLANES}
    plain = {view: browser.picture() for view, browser in browsers.items()}
    browsers["axial"].click(BALL)
    with_mask = {view: browser.picture() for view, browser in browsers.items()}
    volume = app.session.result.volume_ml
    for view in PLANES:
        red = with_mask[view].astype(int) - plain[view]
        assert ((red[:, :, 0] > 15) & (red[:, :, 1] < 0)).sum() > 100, view
    browsers["axial"].click((BALL[0] + 6, BALL[1], BALL[2]), button=2)
    assert not app.session.clicks[1].positive
    assert app.session.result.volume_ml < volume
    app.act("undo")
    app.wait()
    app.views.move_to(BALL)
    for view in PLANES:
        np.testing.assert_array_equal(browsers[view].picture(), with_mask[view])
    app.act("undo")
    app.wait()
    for view in PLANES:
        np.testing.assert_array_equal(browsers[view].picture(), plain[view])


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
    assert app.views._sliders["axial"].value == SIZE[2] - 1


def test_shift_drag_changes_the_window_and_shift_click_moves_the_crosshair(app) -> None:
    axial = Browser(app, "axial")
    window = app.views.display.window
    axial.mouse("button_press", 100, 100, modifiers=["shift"])
    axial.mouse("motion_notify", 180, 60, held=1, modifiers=["shift"])
    axial.mouse("button_release", 180, 60, modifiers=["shift"])
    assert app.views.display.window.width > window.width
    assert app.views.display.window.level > window.level
    assert app.toolbar.window.value == "Manual"
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


def test_errors_reach_the_status_line_as_one_sentence_and_nothing_is_lost(app) -> None:
    app.click(BALL)
    mask = app.session.mask
    with pytest.raises(snb.UserError):
        app.click((1000, 0, 0))
    assert "outside the volume" in app.status.message
    assert "snb-error" in app.status._text.value
    np.testing.assert_array_equal(app.session.mask, mask)
    app.objects._shown[0].title.value = "ball"
    app.wait()
    app.act("new_object")
    app.wait()
    Browser(app, "axial").click(BALL, button=2)
    assert "A negative click removes" in app.status.message
    app.objects._shown[1].title.value = "ball"
    app.wait()
    assert "already" in app.status.message
    assert [row.title.value for row in app.objects._shown] == ["ball", "object 2"]


def test_an_unexpected_error_in_a_handler_is_shown_too(app, monkeypatch) -> None:
    def broken(*arguments, **options):
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr(app.session, "preview", broken)
    Browser(app, "axial").mouse("motion_notify", 200, 200)
    assert "ZeroDivisionError: a slip" in app.status.message


def test_objects_are_listed_locked_hidden_and_removed(app) -> None:
    app.click(BALL)
    app.act("new_object")
    app.wait()
    first, second = app.objects._shown
    assert [row.name for row in (first, second)] == ["object 1", "object 2"]
    first.locked.value = True
    first.visible.value = False
    app.wait()
    assert app.session.objects[0].locked
    assert not app.session.objects[0].visible
    assert app.views.objects == []
    first.swatch.click()
    app.wait()
    assert app.session.current.name == "object 1"
    second.remove.click()
    app.wait()
    assert [item.name for item in app.session.objects] == ["object 1"]
    assert len(app.objects._shown) == 1


def test_keys_change_the_display(app) -> None:
    display = app.views.display
    for key, field in (("h", "prompts"), ("x", "crosshair"), ("v", "masks"), ("b", "cube"), ("i", "smooth")):
        before = getattr(display, field)
        app.page._message(app.page, {"type": "key", "key": key}, [])
        assert getattr(display, field) is not before
        assert app.display.flags[field].value is not before
    app.page._message(app.page, {"type": "key", "key": "2"}, [])
    assert app.toolbar.window.value == "Lung"
    app.page._message(app.page, {"type": "key", "key": "?"}, [])
    assert app._help.layout.display == "block"
    app.page._message(app.page, {"type": "key", "key": "escape"}, [])
    assert app._help.layout.display == "none"


def test_masks_and_sessions_are_written(app, tmp_path) -> None:
    app.act("export")
    app.wait()
    assert "no mask to export" in app.status.message
    app.click(BALL)
    sent = []
    app.page.send = lambda content, buffers=None: sent.append((content, buffers))
    app.act("export")
    app.wait()
    stem = f"array-{app.session.volume.fingerprint[:8]}"  # cases of the same name must not overwrite each other
    written = snb.Volume.read(tmp_path / f"{stem}.masks.nii.gz")
    np.testing.assert_array_equal(written.array > 0, app.session.mask > 0)
    assert sent[0][0] == {"type": "download", "name": f"{stem}.masks.nii.gz"}
    assert sent[0][1] == [(tmp_path / f"{stem}.masks.nii.gz").read_bytes()]
    app.act("save")
    app.wait()
    record = tmp_path / f"{stem}.sammed3d.json"
    resumed = snb.Session.resume(record, volume=app.session.volume, model=app.session.model)
    np.testing.assert_array_equal(resumed.mask, app.session.mask)


@pytest.mark.parametrize("size", [(20, 20, 10), (100, 100, 10)])
def test_another_volume_opens_in_its_middle(app, size: tuple[int, int, int]) -> None:
    views = app.views
    views.show(snb.Volume.from_array(np.zeros((100, 20, 20), np.int16), (1, 1, 1)))
    views.show(snb.Volume.from_array(np.zeros(size[::-1], np.int16), (1, 1, 1)))
    middle = tuple(n // 2 for n in size)
    assert views.cross == middle
    assert [view.index for view in views.views.values()] == [middle[v.plane.axes[2]] for v in views.views.values()]


def test_the_page_is_answered_and_may_resize_the_app(app) -> None:
    sent = []
    app.page.send = lambda content, buffers=None: sent.append(content)
    app.page._message(app.page, {"type": "ping"}, [])
    assert sent == [{"type": "pong"}]
    app.page.size = [1920, 1080]
    width, height = app.views.views["axial"].canvas.shown_size
    assert width > 850
    assert height > 850


def test_closing_releases_widgets_figures_and_thread(model) -> None:
    app = snb.App(ball_volume(), model)
    app.click(BALL)
    figures = [weakref.ref(view.canvas.figure) for view in app.views.views.values()]
    session = weakref.ref(app.session)
    app.close()
    del app
    gc.collect()
    assert [figure() for figure in figures] == [None, None, None]
    assert session() is None


def test_a_resting_mouse_encodes_ahead_where_there_is_a_gpu(app, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(app.session, "prepare", asked.append)
    axial = Browser(app, "axial")
    voxel = (30, 20, app.views.cross[2])
    axial.mouse("motion_notify", *app.views.views["axial"].canvas_of(voxel))
    assert not app._resting.is_alive(), "a CPU is left free for the click"
    monkeypatch.setattr(app.session.model, "device", types.SimpleNamespace(type="cuda"))
    for target in ((31, 20, voxel[2]), voxel):
        axial.mouse("motion_notify", *app.views.views["axial"].canvas_of(target))
    app._resting.join()
    app.wait()
    assert asked == [voxel], "where the mouse rested, not where it passed"


def test_the_cubes_are_outlined_and_growing_can_be_switched_off(app) -> None:
    app.click(BALL)
    assert app.display.growing.value is app.session.grow is True
    app.page._message(app.page, {"type": "key", "key": "g"}, [])
    assert app.display.growing.value is app.session.grow is False
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    plain = axial.picture()
    app.page._message(app.page, {"type": "key", "key": "b"}, [])
    app.views.views["axial"].look(app.views.views["axial"].region.zoomed(0.4, (30, 25)))  # the cube is larger
    app.views.redraw()
    assert app.views.views["axial"]._cubes.get_segments()
    assert (axial.picture() != plain).any()


def test_what_is_under_the_mouse_stays_in_view_until_the_click_is_answered(app) -> None:
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    axial.mouse("motion_notify", *app.views.views["axial"].canvas_of(BALL))
    shown = app.chain._html.value
    assert "Under the cursor" in shown
    with app._lock:
        app._refresh()
    assert app.chain._html.value == shown
    axial.click(BALL)
    assert "Positive click" in app.chain._html.value


def test_what_the_model_has_to_say_is_shown(app) -> None:
    app.session.model.notes.append("Out of memory on cuda:0: the model goes on in bfloat16 on cuda:0.")
    app.click(BALL)
    assert app.status.message.startswith("Out of memory on cuda:0")
    app.click((BALL[0], BALL[1] + 2, BALL[2]))
    assert "after 2 clicks" in app.status.message
    app.session.model.notes.clear()
