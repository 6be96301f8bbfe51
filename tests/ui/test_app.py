"""The app without a browser: messages go in as the page sends them, and the panel, status line and frames come out."""

import gc
import io
import json
import time
import weakref
import zipfile

import numpy as np
import pytest
from ipywidgets import Widget
from support import BallNetwork, model_of
from ui_page import BALL, Browser, ask, ball_volume

import sammed3d_nb as snb
from sammed3d_nb.ui.planes import PLANES

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


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
        more = with_mask[view].astype(int) - plain[view]  # of blue
        assert ((more[:, :, 2] > 15) & (more[:, :, 0] < more[:, :, 2] - 15)).sum() > 100, view
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


def test_errors_reach_the_status_line_as_one_sentence_and_nothing_is_lost(app) -> None:
    app.click(BALL)
    mask = app.session.mask
    with pytest.raises(snb.UserError):
        app.click((1000, 0, 0))
    assert "outside the volume" in app.status.message
    assert "snb-error" in app.status._text.value
    np.testing.assert_array_equal(app.session.mask, mask)
    ask(app, "rename", 0, "ball")
    app.act("new_object")
    app.wait()
    Browser(app, "axial").click(BALL, button=2)
    assert "A negative click removes" in app.status.message
    ask(app, "rename", 1, "ball")
    assert "already" in app.status.message
    assert [row["name"] for row in app.objects.list.rows] == ["ball", "object 2"]


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
    assert [row["name"] for row in app.objects.list.rows] == ["object 1", "object 2"]
    ask(app, "lock", 0, True)
    ask(app, "show", 0, False)
    assert app.session.objects[0].locked
    assert not app.session.objects[0].visible
    assert app.views.objects == []
    ask(app, "select", 0)
    assert app.session.current.name == "object 1"
    ask(app, "remove", 1)
    assert [item.name for item in app.session.objects] == ["object 1"]
    assert len(app.objects.list.rows) == 1


def test_keys_change_the_display(app) -> None:
    display = app.views.display
    for key, field in (("h", "prompts"), ("x", "crosshair"), ("v", "masks"), ("c", "cube"), ("i", "smooth")):
        before = getattr(display, field)
        app.page._message(app.page, {"type": "key", "key": key}, [])
        assert getattr(display, field) is not before
        assert app.display.flags[field].value is not before
    app.page._message(app.page, {"type": "key", "key": "2"}, [])
    assert app.display.window.value == "Lung"
    app.page._message(app.page, {"type": "key", "key": "?"}, [])
    assert app.help.panel.layout.display == "block"
    app.page._message(app.page, {"type": "key", "key": "escape"}, [])
    assert app.help.panel.layout.display == "none"


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
    assert sent[0][0] == {"type": "download", "name": f"{stem}.zip"}
    packed = zipfile.ZipFile(io.BytesIO(sent[0][1][0]))
    names = [f"{stem}.masks.nii.gz", f"{stem}.masks.labels.json", f"{stem}.sammed3d.json", "about.json"]
    assert packed.namelist() == names
    assert packed.read(names[0]) == (tmp_path / names[0]).read_bytes()
    told = json.loads(packed.read("about.json"))
    assert (told["case"], told["objects"][0]["said"]) == ("array", ["+ click"])
    assert told["objects"][0]["volume_ml"] == app.session.measure()[0].volume_ml
    (tmp_path / "again.sammed3d.json").write_bytes(packed.read(names[2]))
    again = snb.Session.resume(tmp_path / "again.sammed3d.json", volume=app.session.volume, model=app.session.model)
    np.testing.assert_array_equal(again.mask, app.session.mask)
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
    app.page._message(app.page, {"type": "press", "page": 7}, [])
    app.page._message(app.page, {"type": "key", "key": "x", "page": 7}, [])
    app.page._message(app.page, {"type": "ping", "page": 7, "sent": 3}, [])
    app.page._message(app.page, {"type": "ping", "page": 8, "sent": 0}, [])
    assert sent == [
        {"type": "pong", "page": 7, "sent": 3, "heard": 2},
        {"type": "pong", "page": 8, "sent": 0, "heard": 0},
    ]
    app.page.size = [1920, 1080, 74]
    width, height = app.views.views["axial"].size
    assert width > 850
    assert height > 850
    app.page.size = [1920, 1080, 106]  # the bar has wrapped
    assert app.views.views["axial"].size[1] == height - 32


def test_the_page_is_told_what_is_safe_and_hostile_places_change_nothing(app) -> None:
    assert app.page.saved == "This case does not save itself: what was not saved by hand is lost."
    key, cross = app.page.place, app.views.cross
    good = {"cross": [1, 2, 3], "large": "coronal", "window": [5, 7], "looks": {"axial": [3, 4, 5]}, "display": {}}
    for bad in (
        {**good, "cross": ["x", 2, 3]},
        {**good, "window": [5, float("nan")]},
        {**good, "cross": [1, 2]},
        {},
    ):
        app.place._known = False
        app.page._message(app.page, {"type": "place", "key": key, "place": bad}, [])
        assert app.views.cross == cross
    app.place._known = False
    app.page._message(app.page, {"type": "place", "key": "another volume's", "place": good}, [])
    assert app.views.cross == cross
    app.page._message(app.page, {"type": "place", "key": key, "place": good}, [])
    assert (app.views.cross, app.views.large, app.views.display.window.width) == ((1, 2, 3), "coronal", 7)
    app.page._message(app.page, {"type": "place", "key": key, "place": {**good, "cross": [9, 9, 9]}}, [])
    assert app.views.cross == (1, 2, 3), "once: the user has gone on since"
    app.page.send = lambda content, buffers=None: sent.append(content)
    sent = []
    app.page._message(app.page, {"type": "ping", "page": 7, "sent": 0}, [])
    assert sent[0]["place"][0] == key
    assert sent[0]["place"][1]["looks"]["axial"] == pytest.approx([3, 4, 5])


def test_closing_releases_widgets_figures_and_thread() -> None:
    app = snb.App(ball_volume(), model_of(BallNetwork()), renderer="ipympl")
    app.click(BALL)
    figures = [weakref.ref(picture.canvas.figure) for picture in app.views.renderer.pictures.values()]
    session = weakref.ref(app.session)
    app.close()
    del app
    for _ in range(50):  # a thread may be about to end
        gc.collect()
        if not any(figure() for figure in figures):
            break
        time.sleep(0.1)
    assert [figure() for figure in figures] == [None, None, None]
    assert session() is None


def test_the_cubes_are_outlined_and_growing_can_be_switched_off(app) -> None:
    app.click(BALL)
    assert app.growth.button.value is app.session.grow is True
    app.page._message(app.page, {"type": "key", "key": "g"}, [])
    assert app.growth.button.value is app.session.grow is False
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    plain = axial.picture()
    app.page._message(app.page, {"type": "key", "key": "c"}, [])
    app.views.views["axial"].look(app.views.views["axial"].region.zoomed(0.4, (30, 25)))  # the cube is larger
    app.views.redraw()
    assert app.views.renderer.pictures["axial"]._cubes.get_segments()
    assert (axial.picture() != plain).any()


def test_what_the_model_has_to_say_is_shown(app) -> None:
    app.session.model.notes.append("Out of memory on cuda:0: the model goes on in bfloat16 on cuda:0.")
    app.click(BALL)
    assert app.status.message.startswith("Out of memory on cuda:0")
    app.click((BALL[0], BALL[1] + 2, BALL[2]))
    assert "after 2 clicks" in app.status.message
    app.session.model.notes.clear()


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".glb", ".dcm"])
def test_the_format_is_chosen_beside_the_button(app, tmp_path, suffix: str) -> None:
    app.click(BALL)
    files = next(tool for tool in app.stage.tools if hasattr(tool, "format"))
    files.format.widget.value = suffix
    app.act("export")
    app.wait()
    written = [path for path in tmp_path.iterdir() if path.name.endswith(suffix)]
    if suffix == ".dcm":
        assert "was not read from DICOM" in app.status.message
    assert len(written) == (suffix != ".dcm")


def test_a_new_page_catches_up_with_what_changed_while_it_loaded(app, monkeypatch) -> None:
    told: dict[str, dict] = {}
    monkeypatch.setattr(Widget, "send_state", lambda self, key=None: told.update({self.model_id: self.get_state(key)}))
    app.page._message(app.page, {"type": "ping", "page": 7, "sent": 0}, [])
    text, menu = app.status.widget.children[0], app.models.menu.widget
    assert told[text.model_id]["value"] == text.value
    assert told[menu.model_id]["_options_labels"] == menu._options_labels
    assert told[text.layout.model_id]["flex"] == text.layout.flex
    assert not any({"_esm", "_css", "_view_name"} & set(state) for state in told.values())
    assert sum(len(json.dumps(state, default=str)) for state in told.values()) < 300_000, "within a breath"
    told.clear()
    app.page._message(app.page, {"type": "ping", "page": 7, "sent": 0}, [])
    assert told == {}


def test_a_page_that_lives_keeps_its_count_and_made_up_ones_cost_little(app, monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr("sammed3d_nb.ui.page.monotonic", lambda: now)
    sent, new = [], []
    monkeypatch.setattr(app.page, "send", lambda content, buffers=None: sent.append(content))
    app.page.on_new = lambda: new.append(now)

    def ping(page: int, clicks: int) -> int:
        app.page._message(app.page, {"type": "ping", "page": page, "sent": clicks}, [])
        return sent[-1]["heard"]

    ping(7, 0)
    app.page._message(app.page, {"type": "press", "page": 7}, [])
    for n in range(100):  # other pages come and go, this one is merely looked at
        ping(1000 + n, 0)
        assert ping(7, 1) == 1, "none of its clicks got lost"
    assert new == [100], "all pages hear what one has missed: not at every ping"
    now += 1
    ping(7, 1)
    assert new == [100, 101], "those that came meanwhile hear it a little later"
    now += 9
    ping(7, 1)
    assert new == [100, 101], "and then there is nothing to tell"
