"""The kernel's end of the views that the page draws: what a page is sent, and what its messages do."""

import gc
import json
import math
import weakref

import numpy as np
import pytest
from support import BallNetwork, model_of
from ui_page import BALL, SIZE, Tab, ball_volume, mask_of, unpacked

import sammed3d_nb as snb
from sammed3d_nb.ui.compose import CT_WINDOWS, Window
from sammed3d_nb.ui.ipympl_renderer import IpymplRenderer
from sammed3d_nb.ui.planes import PLANES


def test_a_page_is_sent_the_volume_and_its_middle_slices_in_one_message(page_app) -> None:
    tab = Tab(page_app)
    content, buffers = tab.got[-1]
    assert content["type"] == "scene"
    assert content["volume"] == list(SIZE)
    assert content["cross"] == [n // 2 for n in SIZE]
    assert {found["name"] for found in content["slices"]} == set(PLANES)
    for found in content["slices"]:
        plane = page_app.views.views[found["name"]].plane
        wanted = plane.slice_of(page_app.session.volume.array, found["index"])
        np.testing.assert_array_equal(unpacked(found["image"], buffers[found["at"]]), wanted)


@pytest.mark.parametrize("view", PLANES)
def test_any_slice_can_be_had_with_its_masks(page_app, view: str) -> None:
    page_app.click(BALL)
    tab = Tab(page_app)
    plane = page_app.views.views[view].plane
    for index in (0, BALL[plane.axes[2]], plane.slices - 1):
        found, (image, bits) = tab.ask(view, index)
        np.testing.assert_array_equal(
            unpacked(found["image"], image), plane.slice_of(page_app.session.volume.array, index)
        )
        mask = plane.slice_of(page_app.session.mask, index) > 0
        boxes = [item["box"] for item in found["masks"]]
        np.testing.assert_array_equal(mask_of(boxes[0] if boxes else None, bits, plane.shape), mask)
        only, (nothing, _) = tab.ask(view, index, what=2)
        assert only["image"] is None
        assert nothing == b""


def test_slices_that_are_not_there_are_left_out(page_app) -> None:
    tab = Tab(page_app)
    tab.tell(type="want", list=[["axial", -1, 3], ["axial", SIZE[2], 3]])
    assert [content["slices"] for content, _ in tab.got[-2:]] == [[], []]


@pytest.mark.parametrize("ratio", [0.9, 1, 1.25, 1.5, 2, 3])
@pytest.mark.parametrize("view", PLANES)
def test_the_chain_begins_with_the_pages_own_transform(page_app, view: str, ratio: float) -> None:
    tab = Tab(page_app)
    page_app.arrange(1333, 777)
    rng = np.random.default_rng(0)
    for factor in (1, 0.35, 8):
        page_app.views.active = view
        page_app.views.zoom(factor)
        voxel = [int(rng.integers(0, n)) for n in SIZE]
        tab.hover(view, voxel, **tab.at(view, voxel, ratio=ratio))
        path = page_app.chain._hovered
        assert path.trace.spaces[:4] == ("canvas", "plane", "array", "voxel")
        assert path.trace["voxel"].point == tuple(voxel)
        assert path.raw["canvas"].point == pytest.approx(tab.at(view, voxel, ratio=ratio)["canvas"])


@pytest.mark.parametrize(
    ("fields", "positive"),
    [({}, True), ({"button": 2, "left": False}, False), ({"modifiers": ["ctrl"], "left": False}, False)],
    ids=["left", "right", "ctrl"],
)
def test_the_sign_of_a_click(page_app, fields: dict, positive: bool) -> None:
    page_app.click(BALL)
    Tab(page_app).click("axial", (BALL[0], BALL[1] + 5, 9), **fields)
    assert [click.positive for click in page_app.session.clicks] == [True, positive]


def test_t_tells_the_page_that_the_left_button_is_negative(page_app) -> None:
    tab = Tab(page_app)
    assert tab.last("left") is True
    page_app.page._message(page_app.page, {"type": "key", "key": "t"}, [])
    assert tab.last("left") is False


def test_a_click_is_on_the_slice_that_the_page_showed(page_app) -> None:
    tab = Tab(page_app)
    page_app.views.move_to((30, 20, 4))
    tab.click("axial", BALL)  # the page was still, or again, on another slice
    assert page_app.session.clicks[0].ijk == BALL


def test_a_click_marks_is_answered_and_shows_its_mask(page_app) -> None:
    tab = Tab(page_app)
    tab.got.clear()
    tab.click("axial", BALL)
    updates = [content for content, _ in tab.got]
    first = next(content for content in updates if "marks" in content)
    assert first["marks"] == [[*BALL, True]]
    heard = next(content for content in updates if "heard" in content)
    assert heard["heard"] == {"n": 1, "kind": "press"}
    assert tab.last("cross") == list(BALL)
    content, buffers = next((c, b) for c, b in reversed(tab.got) if c.get("objects"))
    (known,) = content["objects"]
    assert {found["name"] for found in content["slices"]} == set(PLANES), "the slices shown come with the masks"
    for found in content["slices"]:
        assert found["image"] is None
        (mask,) = found["masks"]
        assert (mask["id"], mask["version"]) == (known["id"], known["version"])
        plane = page_app.views.views[found["name"]].plane
        wanted = plane.slice_of(page_app.session.mask, found["index"]) > 0
        np.testing.assert_array_equal(mask_of(mask["box"], buffers[found["at"] + 1], plane.shape), wanted)


def test_a_mask_that_changes_says_where(page_app) -> None:
    page_app.click(BALL)
    tab = Tab(page_app)
    before = page_app.session.mask
    first = tab.last("objects")[0]
    page_app.change("Painting", lambda session: session.paint([(1, 2, 3), (4, 2, 3)])).result()
    page_app.wait()
    second = tab.last("objects")[0]
    assert second["id"] == first["id"]
    assert second["version"] == first["version"] + 1
    assert second["changed"] == [[1, 2, 3], [5, 3, 4]]
    assert (page_app.session.mask != before).sum() == 2
    page_app.act("undo")
    page_app.wait()
    assert tab.last("objects")[0]["changed"] == [[1, 2, 3], [5, 3, 4]]


def test_nothing_is_sent_that_the_page_has(page_app) -> None:
    tab = Tab(page_app)
    tab.got.clear()
    page_app.stage.refresh()
    assert tab.got == []
    tab.tell(type="state", cross=[3, 4, 5], looks={"coronal": [7.5, 8.5, 2.25]}, window=[50.0, 350.0], active="coronal")
    assert [content for content, _ in tab.got if set(content) & {"cross", "looks", "window"}] == []
    assert page_app.views.cross == (3, 4, 5)
    assert [view.index for view in page_app.views.views.values()] == [5, 4, 3]
    region = page_app.views.views["coronal"].region
    assert (region.centre, region.scale) == ((7.5, 8.5), 2.25)
    assert page_app.views.display.window == Window(50, 350)
    assert page_app.display.window.value == "Manual"
    assert page_app.views.active == "coronal"
    page_app.act("slice_up")
    assert tab.last("cross") == [3, 3, 5], "by code, from where the page was: anterior is against this volume's j"


def test_scrolling_and_a_click_on_the_way_do_not_pull_the_page_back(page_app) -> None:
    tab = Tab(page_app)
    tab.click("axial", BALL, state={"type": "state", "cross": list(BALL)})
    assert not any("cross" in content for content, _ in tab.got[1:])
    tab.tell(type="state", cross=[2, 2, 2])
    page_app.stage.refresh()
    assert not any("cross" in content for content, _ in tab.got[1:])
    assert page_app.views.cross == (2, 2, 2)


def test_a_page_that_is_not_a_number_or_far_out_moves_nothing(page_app) -> None:
    tab = Tab(page_app)
    cross = page_app.views.cross
    tab.tell(type="state", cross=["x", 0, 0])
    assert "unexpected" in page_app.status.message
    assert page_app.views.cross == cross
    tab.tell(type="state", cross=[9999, -5, 3])
    assert page_app.views.cross == (SIZE[0] - 1, 0, 3)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_moves_and_shows_nothing(page_app, number: float) -> None:
    tab = Tab(page_app)
    page_app.click(BALL)
    views = page_app.views
    before = views.cross, views.display.window, {name: view.region for name, view in views.views.items()}
    for broken in (
        {"cross": [number, 0, 0]}, {"window": [number, 400]}, {"window": [40, number]},
        {"looks": {"axial": [1, number, 3]}}, {"looks": {"axial": [1, 1, number]}}, {"looks": {"axial": [1, 1, 0]}},
    ):  # fmt: skip
        page_app.status.clear()
        tab.tell(type="state", **broken)
        assert "The page" in page_app.status.message, broken
    tab.click("axial", BALL, canvas=[number, 3, 9])
    tab.click("axial", BALL, matrix=[[1, 0, number], [0, 1, 0]])
    views.renderer.widget.opacity = number
    assert (views.cross, views.display.window, {name: view.region for name, view in views.views.items()}) == before
    assert 0 <= views.display.opacity <= 1
    assert len(page_app.session.clicks) == 1
    json.dumps([content for content, _ in tab.got], allow_nan=False)


def test_clicks_on_a_case_that_is_gone_and_before_there_is_one_are_told(page_app) -> None:
    tab = Tab(page_app)
    page_app.views.show(page_app.session.volume)  # another generation
    tab.click("axial", BALL)
    assert page_app.session.clicks == ()
    assert "click again" in page_app.status.message
    page_app.status.clear()
    tab.tell(type="early")
    assert "wait until it is shown" in page_app.status.message


def test_two_pages_show_the_same(page_app) -> None:
    one, two = Tab(page_app, "one"), Tab(page_app, "two")
    one.got.clear()
    two.got.clear()
    one.tell(type="state", cross=[1, 2, 3])
    assert two.last("cross") == [1, 2, 3]
    assert not any("cross" in content for content, _ in one.got)
    two.click("axial", BALL)
    assert one.last("marks") == two.last("marks") == [[*BALL, True]]
    assert one.last("objects") == two.last("objects") != []
    assert one.last("heard") == {"n": 1, "kind": "state"}
    assert two.last("heard") == {"n": 1, "kind": "press"}


def test_the_display_is_switched_in_the_page_and_by_code(page_app) -> None:
    Tab(page_app)
    widget = page_app.views.renderer.widget
    page_app.page._message(page_app.page, {"type": "key", "key": "v"}, [])
    assert widget.masks is False
    page_app.display.opacity.value = 0.6
    assert widget.opacity == 0.6
    widget.crosshair = False  # as the page does it: the button, which is linked to it there, says so too
    assert page_app.views.display.crosshair is False
    links = [link for link in page_app.views.renderer._links if link.target[0] is widget]
    assert {link.target[1] for link in links} == set(widget.trait_names()) & set(vars(page_app.views.display))


def test_the_page_knows_the_windows_of_the_keys(page_app) -> None:
    content = Tab(page_app).got[-1][0]
    assert content["presets"]["window_2"] == [CT_WINDOWS["Lung"].level, CT_WINDOWS["Lung"].width]
    assert content["keys"]["2"] == "window_2"
    assert set(content["presets"]) == {f"window_{n}" for n in (1, 2, 3, 4, 5, "fit")}


def test_the_cubes_corners_are_sent(page_app) -> None:
    page_app.click(BALL)
    tab = Tab(page_app)
    (corners,) = tab.last("cubes")
    cube = page_app.session.result.cube
    inside = np.abs(np.subtract(corners[0], corners[1])) * page_app.session.volume.spacing
    assert inside == pytest.approx([cube.size * cube.spacing] * 3)


def test_another_size_keeps_what_is_seen(page_app) -> None:
    tab = Tab(page_app)
    tab.tell(type="state", looks={"axial": [10.0, 11.0, 5.0]})
    tab.got.clear()
    page_app.arrange(1900, 1000)
    rooms = tab.last("arrange")["rooms"]
    assert rooms["axial"][0] > rooms["coronal"][0]
    look = tab.last("looks")["axial"]
    assert look[:2] == [10, 11]
    assert look[2] > 5
    assert tab.last("looks")["coronal"] is None, "a whole slice stays whole"


def test_a_page_that_cannot_draw_gets_the_kernels_pictures_and_is_told(page_app) -> None:
    tab = Tab(page_app)
    page_app.click(BALL)
    tab.tell(type="unable", why="this browser cannot decompress by itself")
    assert isinstance(page_app.views.renderer, IpymplRenderer)
    assert "the kernel draws" in page_app.status.message
    assert "cannot decompress" in page_app.status.message
    axial = page_app.views.renderer.pictures["axial"]
    page_app.views.move_to(BALL)
    assert axial._title.get_text() == f"Axial  {BALL[2] + 1} / {SIZE[2]}"
    assert tuple(map(round, axial.canvas.shown_size)) == page_app.views.views["axial"].size
    page_app.display.set("masks", False)
    page_app.act("toggle_masks")


def test_a_renderer_that_is_not_there_is_refused() -> None:
    with pytest.raises(snb.UserError, match=r"'vtk'.*page, ipympl"):
        snb.App(renderer="vtk")


def test_the_environment_chooses_where_the_program_does_not(monkeypatch) -> None:
    monkeypatch.setenv("SAMMED3D_RENDERER", "ipympl")
    app = snb.App(ball_volume(), model_of(BallNetwork()))
    assert isinstance(app.views.renderer, IpymplRenderer)
    app.close()


def test_closing_lets_go_of_the_volume_while_pages_are_open() -> None:
    volume = ball_volume()
    app = snb.App(volume, model_of(BallNetwork()), renderer="page")
    app.click(BALL)
    tab = Tab(app)
    held = weakref.ref(volume)
    del volume
    app.close()
    del app, tab
    gc.collect()
    assert held() is None


def test_canvas_of_is_where_the_page_draws(page_app) -> None:
    tab = Tab(page_app)
    view = page_app.views.views["axial"]
    x, y = view.canvas_of(BALL)
    content = tab.at("axial", BALL)
    (a, _, c), (_, e, f) = content["matrix"]
    column, row, _ = view.plane.from_voxel(BALL)
    assert math.isclose(a * x + c, column)
    assert math.isclose(e * y + f, row)
