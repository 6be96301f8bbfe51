"""Operations in the page: shown before they are applied, applied as one step, and left without a trace."""

import threading
import time

import numpy as np
import pytest
from ui_page import BALL, Browser, Tab, mask_of

from sammed3d_nb.ui.edit_panel import _CHOICES, CUT
from sammed3d_nb.ui.scene import EXTRA
from sammed3d_nb.ui.stroke import Stroke

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def shown(app):
    """The preview's mask on the views, None without one."""
    return next((one.mask.full > 0 for one in app.views.objects if one.name == f"{EXTRA}edit"), None)


def choose(app, operation: str) -> None:
    app.edits.choose(operation)
    settle(app)


def settle(app) -> None:
    """Until a change is done, and the preview that it asked for."""
    for _ in range(3):
        app.wait()


def test_an_operation_is_seen_before_it_is_a_step(app) -> None:
    app.click(BALL)
    before, steps = app.session.mask > 0, len(app.session.steps)
    app.act("toggle_edits")
    choose(app, "grow")
    preview = shown(app)
    assert preview.sum() > before.sum()
    assert (preview >= before).all()
    np.testing.assert_array_equal(app.session.mask > 0, before)
    assert len(app.session.steps) == steps
    app.edits.mm.value = 9.0
    app.wait()
    assert shown(app).sum() > preview.sum()
    expected = shown(app)
    app.edits.apply.click()
    app.wait()
    np.testing.assert_array_equal(app.session.mask > 0, expected)
    assert app.session.steps[-1].name == "grow 1 of object 1"
    assert shown(app) is None
    assert app.edits.choice.value is None
    app.act("undo")
    app.wait()
    np.testing.assert_array_equal(app.session.mask > 0, before)


@pytest.mark.parametrize("leave", ["cancel", "key", "other case"])
def test_what_is_left_leaves_no_trace(app, leave: str) -> None:
    app.click(BALL)
    app.act("toggle_edits")
    choose(app, "shrink")
    assert shown(app) is not None
    if leave == "cancel":
        app.edits.cancel.click()
    elif leave == "key":
        app.act("close_panels")
        assert app.edits.panel.layout.display == "none"
    else:
        app.stage.show(app.session)
        app.stage.refresh()
    assert shown(app) is None
    assert len(app.session.steps) == 1


def test_a_preview_that_is_cancelled_while_it_is_worked_out_is_not_shown(app, monkeypatch) -> None:
    app.click(BALL)
    app.act("toggle_edits")
    begun, go_on = threading.Event(), threading.Event()
    real = app.session.mask_after

    def slow(*arguments, **options):
        begun.set()
        assert go_on.wait(10)
        return real(*arguments, **options)

    monkeypatch.setattr(app.session, "mask_after", slow)
    app.edits.choose("grow")
    assert begun.wait(10)
    started = time.monotonic()
    app.edits.cancel.click()
    assert time.monotonic() - started < 5, "the page waited for what it had cancelled"
    go_on.set()
    app.wait()
    assert shown(app) is None


def test_many_moves_of_a_slider_cost_one_preview(app, monkeypatch) -> None:
    app.click(BALL)
    app.act("toggle_edits")
    choose(app, "grow")
    asked = []
    real = app.session.mask_after
    monkeypatch.setattr(app.session, "mask_after", lambda *a, **o: asked.append(o) or real(*a, **o))
    hold = threading.Event()
    app.stage.worker.submit(None, lambda: hold.wait(10))
    for mm in (3.0, 4.0, 5.0, 6.0):
        app.edits.mm.value = mm
    hold.set()
    app.wait()
    assert asked == [{"mm": 6.0}]


def test_the_preview_follows_undo_and_another_object(app) -> None:
    app.click(BALL)
    app.click((BALL[0] + 12, BALL[1], BALL[2]))
    app.act("toggle_edits")
    choose(app, "grow")
    two = shown(app).sum()
    app.act("undo")
    settle(app)
    assert 0 < shown(app).sum() < two
    app.act("new_object")
    settle(app)
    assert shown(app) is None
    assert "no mask to apply “grow” to" in app.status.message
    assert app.edits.apply.disabled


def test_every_button_does_what_it_says_on_a_mask_that_allows_it(app) -> None:
    """Each choice is applied once: the step has its name, or the status line says why it cannot be."""
    session = app.session
    app.click(BALL)
    session.paint(np.argwhere(np.ones((1, 4, 4)))[:, ::-1] + (2, 2, 2))
    session.paint(np.argwhere(np.ones((1, 4, 4)))[:, ::-1] + (2, 2, 6))
    app.wait()
    app.change("b", lambda s: (s.new_object("b"), s.allow_overlap("b"))).result()
    app.click(BALL)
    app.change("a", lambda s: s.select("object 1")).result()
    app.act("toggle_edits")
    app.views.move_to(BALL)
    for name in (name for name in _CHOICES if name != CUT):
        steps = len(session.steps)
        choose(app, name)
        assert shown(app) is not None, (name, app.status.message)
        app.edits.apply.click()
        app.wait()
        step = session.steps[-1].name
        assert len(session.steps) == steps + 1
        assert step.startswith(name), (name, step)
        app.act("undo")
        app.wait()
    assert [item.name for item in session.objects] == ["object 1", "b"]


def draw(app, view: str, *voxels: tuple[int, int, int]) -> None:
    """Draw with the tool that is armed, as a page tells it."""
    shown = app.views.views[view]
    canvas = [(*shown.canvas_of(voxel), voxel[shown.plane.axes[2]]) for voxel in voxels]
    stroke = Stroke.on(app.views.armed, shown.plane, shown.to_plane, canvas, True)
    app.stage.guarded(app.views.on_stroke)(stroke)
    settle(app)


@pytest.mark.parametrize("begin", ["panel", "key"])
def test_a_cut_is_drawn_seen_moved_and_applied(app, begin: str) -> None:
    app.click(BALL)
    before = app.session.mask > 0
    if begin == "panel":
        app.act("toggle_edits")
        choose(app, CUT)
        assert "Draw a line" in app.edits.told.value
        assert app.edits.apply.disabled
        assert shown(app) is None
    else:
        app.act("tool_cut")
    assert app.views.armed.name == "cut"
    x, y, z = BALL
    draw(app, "axial", (x + 5, y - 20, z), (x + 5, y + 15, z))
    i = np.arange(before.shape[2])
    np.testing.assert_array_equal(shown(app), before & (i <= x + 5))
    draw(app, "coronal", (x - 10, y, z + 3), (x + 10, y, z + 3))
    k = np.arange(before.shape[0])[:, None, None]
    np.testing.assert_array_equal(shown(app), before & (k <= z + 3))
    app.edits.apply.click()
    settle(app)
    np.testing.assert_array_equal(app.session.mask > 0, before & (k <= z + 3))
    assert app.session.steps[-1].name == "cut 1 of object 1"
    assert app.views.armed.name == "point", "the next click is a click again"
    app.act("tool_cut")
    draw(app, "axial", (x, y, z))
    assert "A cut needs a line" in app.status.message
    draw(app, "axial", (0, 0, z), (1, 0, z))
    assert "on one side" in app.status.message
    assert shown(app) is None
    app.act("close_panels")
    assert app.views.armed.name == "point"


def test_the_brush_may_be_kept_to_what_is_unsure(app) -> None:
    app.click(BALL)
    before, unsure = app.session.mask > 0, app.session.unsure().full > 0
    app.act("tool_brush")
    app.row.size.value = 60.0
    app.brush.unsure.value = True
    draw(app, "axial", BALL)
    painted = app.session.mask > 0
    assert not (painted & ~before & ~unsure).any()
    assert (painted & ~before).any()
    app.act("undo")
    app.wait()
    app.act("new_object")
    app.wait()
    draw(app, "axial", BALL)
    assert "click on it first" in app.status.message
    app.brush.unsure.value = False
    draw(app, "axial", (2, 2, 2))
    assert app.session.mask.any()


def test_filling_begins_at_the_crosshair_and_its_range_follows(app) -> None:
    app.act("toggle_edits")
    app.views.move_to(BALL)
    choose(app, "fill")
    values = app.session.volume.array
    assert (values[shown(app)] == 100).all()
    assert shown(app)[BALL[::-1]]
    app.views.move_to((2, 2, 2))
    app.wait()
    assert (values[shown(app)] == -50).all()
    app.edits.apply.click()
    app.wait()
    assert app.session.steps[-1].name == "fill 1 of object 1"


def test_a_threshold_starts_from_the_mask_and_a_handle_at_its_end_is_no_bound(app) -> None:
    app.click(BALL)
    app.act("toggle_edits")
    choose(app, "threshold")
    app.edits.range.value = (0.0, app.edits.range.max)
    app.wait()
    app.edits.apply.click()
    app.wait()
    options = app.session.current.said.action.options
    assert options == {"lower": 0.0, "upper": None, "beyond_mm": 0.0}
    assert (app.session.volume.array[app.session.mask > 0] == 100).all()


def test_the_preview_is_in_both_renderers(app, page_app) -> None:
    for one in (app, page_app):
        one.click(BALL)
        one.act("toggle_edits")
    browser, tab = Browser(app, "axial"), Tab(page_app)
    plain = browser.picture().astype(int)
    for one in (app, page_app):
        choose(one, "grow")
    grown = browser.picture().astype(int)
    assert (np.abs(grown - plain).sum(axis=2) > 60).sum() > 50
    objects = tab.last("objects")
    assert [found["fill"] for found in objects] == [True, True]
    assert objects[1]["colour"] != objects[0]["colour"]
    head, (_, bits) = tab.ask("axial", BALL[2])
    plane = tab.views["axial"].plane
    wanted = {found["id"] for found in objects}
    assert {found["id"] for found in head["masks"]} == wanted
    page_app.act("close_panels")
    head, (_, bits) = tab.ask("axial", BALL[2])
    (left,) = head["masks"]
    expected = plane.oriented(page_app.session.mask[BALL[2]]) > 0
    np.testing.assert_array_equal(mask_of(left["box"], bits, plane.shape), expected)


def test_another_case_has_its_own_range_of_intensities(app) -> None:
    from support import BallNetwork, model_of

    import sammed3d_nb as snb

    for low, high in ((-3000, -2000), (5000, 6000), (-10, 10)):
        array = np.linspace(low, high, 8**3).reshape(8, 8, 8).astype(np.int16)
        app.stage.show(snb.Session(snb.Volume.from_array(array, (1, 1, 1)), model_of(BallNetwork())))
        assert (app.edits.range.min, app.edits.range.max) == (low, high)


def test_filling_with_its_range_open_takes_every_intensity(app) -> None:
    app.act("toggle_edits")
    app.views.move_to(BALL)
    choose(app, "fill")
    app.edits.mm.value = 50.0
    app.edits.range.value = (app.edits.range.min, app.edits.range.max)
    settle(app)
    values = app.session.volume.array[shown(app)]
    assert values.min() == -50, "both ends open is every intensity, not those near the crosshair"
    assert values.max() == 100


def test_a_suggestion_beyond_the_slider_is_cut_and_the_controls_are_still_heard(app, monkeypatch) -> None:
    from sammed3d_nb.ui import edit_panel

    app.act("toggle_edits")
    app.views.move_to(BALL)
    for beyond in ((5000.0, 6000.0), (-6000.0, -5000.0)):  # a bright voxel in a slice that the slider did not see
        monkeypatch.setattr(edit_panel, "near_range", lambda *_, found=beyond: found)
        choose(app, "fill")
        low, high = app.edits.range.value
        assert app.edits.range.min <= low <= high <= app.edits.range.max
        assert "Something unexpected" not in app.status.message
        assert not app.edits._quiet
        app.edits.choose(None)
    with pytest.raises(RuntimeError), app.edits._quiet:
        raise RuntimeError
    app.click(BALL)
    choose(app, "grow")
    before = shown(app).sum()
    app.edits.mm.value = 9.0
    settle(app)
    assert shown(app).sum() > before


@pytest.mark.parametrize("begin", ["panel", "key"])
def test_after_a_cut_the_tool_of_before_is_armed_again(app, begin: str) -> None:
    app.click(BALL)
    x, y, z = BALL
    for tool in ("brush", "box"):
        app.act(f"tool_{tool}")
        if begin == "panel":
            app.edits.choose(CUT)
            settle(app)
        else:
            app.act("tool_cut")
        draw(app, "axial", (x + 5, y - 20, z), (x + 5, y + 15, z))
        app.edits.apply.click()
        settle(app)
        assert app.views.armed.name == tool
        app.act("undo")
        settle(app)
