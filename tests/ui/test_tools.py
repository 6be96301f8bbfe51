"""The tool row through the app: what each tool's stroke becomes, by the page and by the kernel's own views."""

from itertools import pairwise

import numpy as np
import pytest
from support import BallNetwork, model_of
from ui_page import BALL, Browser, Tab, ball_volume

import sammed3d_nb as snb
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.stroke import Armed

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

TOOLS = ["point", "box", "scribble", "lasso", "brush", "eraser", "ruler", "statistics"]
AXIAL = [(14, 24, 9), (26, 24, 9), (26, 36, 9)]


def near(app, places, mm: float, *, slices=None) -> np.ndarray:
    """bool (z, y, x): voxel centres within half of `mm` of a line through places, in space, by brute force."""
    volume = app.session.volume
    k, j, i = np.indices(volume.array.shape)
    centres = volume.voxel_to_lps(np.stack([i, j, k], axis=-1))
    line = volume.voxel_to_lps(np.array(places, dtype=float))
    found = np.zeros(volume.array.shape, bool)
    for first, last in pairwise(line) if len(line) > 1 else [(line[0], line[0])]:
        for share in np.linspace(0, 1, 400):
            found |= np.linalg.norm(centres - (first + share * (last - first)), axis=-1) <= mm / 2
    if slices is not None:
        axis, index = slices
        keep = np.zeros_like(found)
        keep[tuple(index if n == 2 - axis else slice(None) for n in range(3))] = True
        found &= keep
    return found


def differing(a: np.ndarray, b: np.ndarray) -> int:
    return int((a.astype(bool) != b.astype(bool)).sum())


# -- prompts ---------------------------------------------------------------------------------------------------------


def test_a_box_is_said_with_the_slice_and_the_way_that_it_was_drawn_on(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_box")
    page_app.views.move_to((1, 2, 3))  # the page showed another slice
    tab.draw("axial", (12, 22, 9), (28, 38, 9))
    (box,) = page_app.session.prompts
    assert (box.first, box.last, box.positive) == ((12, 22, 9), (28, 38, 9), True)
    assert page_app.session.result.trace.spaces[:4] == ("canvas", "plane", "array", "voxel")
    assert page_app.chain.clicked.gesture == "box"
    assert "Positive box" in page_app.chain._html.value
    assert page_app.views.cross == (20, 30, 9), "the other views show it too"


@pytest.mark.parametrize("ratio", [1, 1.25, 2])
@pytest.mark.parametrize("view", PLANES)
def test_what_is_drawn_lands_on_its_voxels_in_every_view(page_app, view: str, ratio: float) -> None:
    tab = Tab(page_app)
    page_app.act("tool_box")
    normal = page_app.views.views[view].plane.axes[2]
    first, last = [12, 20, 5], [30, 40, 14]
    first[normal] = last[normal] = BALL[normal]
    tab.draw(view, first, last, ratio=ratio)
    (box,) = page_app.session.prompts
    assert (box.first, box.last) == (tuple(first), tuple(last))


def test_a_fast_scribble_has_no_gaps_and_a_negative_one_removes(page_app) -> None:
    tab = Tab(page_app)
    page_app.click(BALL)
    page_app.act("tool_scribble")
    tab.draw("axial", (5, 5, 9), (45, 20, 9), (40, 41, 9), positive=False)
    scribble = page_app.session.prompts[-1]
    assert scribble.kind == "scribble"
    assert not scribble.positive
    assert tuple(scribble.voxels[0]) == (5, 5, 9)
    assert tuple(scribble.voxels[-1]) == (40, 41, 9)
    assert np.abs(np.diff(scribble.voxels, axis=0)).max() == 1
    assert len(np.unique(scribble.voxels, axis=0)) == len(scribble.voxels)


def test_a_lasso_is_its_corners_cut_at_the_image(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_lasso")
    tab.draw("axial", (-9, 22, 9), (30, 22, 9), (30, 40, 9), (12, 40, 9))
    (lasso,) = page_app.session.prompts
    assert lasso.kind == "lasso"
    assert lasso.voxels.tolist() == [[0, 22, 9], [30, 22, 9], [30, 40, 9], [12, 40, 9]]


@pytest.mark.parametrize(
    ("tool", "places", "sentence"),
    [
        ("box", [BALL], "box encloses nothing; press at one corner"),
        ("lasso", [BALL, (21, 30, 9)], "lasso encloses nothing; draw it round"),
        ("scribble", [(-9, -9, 9), (-5, -4, 9)], "scribble lies outside the image"),
        ("box", [(-9, 5, 9), (-5, 9, 9)], "box lies outside the image"),
        ("brush", [(-30, 5, 9)], "brush lies outside the image"),
        ("ruler", [BALL], "ruler needs two ends"),
    ],
)
def test_what_means_nothing_is_told_in_a_sentence_and_changes_nothing(page_app, tool, places, sentence) -> None:
    tab = Tab(page_app)
    page_app.act(f"tool_{tool}")
    tab.draw("axial", *places)
    assert sentence in page_app.status.message
    assert page_app.session.steps == ()
    assert tab.last("settled") == {"tab": 1}, "the page shows it no longer"


# -- brush and eraser ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ball", [False, True])
@pytest.mark.parametrize("view", PLANES)
def test_the_brush_is_as_wide_in_space_as_it_says(page_app, view: str, ball: bool) -> None:
    tab = Tab(page_app)
    normal = page_app.views.views[view].plane.axes[2]
    places = np.array([(14.3, 24.2, 5.0), (26.1, 24.4, 9.0), (26.2, 36.3, 12.0)])
    places[:, normal] = BALL[normal]
    page_app.act("tool_brush")
    tab.draw(view, *places, mm=12.5, ball=ball)
    wanted = near(page_app, places, 12.5, slices=None if ball else (normal, BALL[normal]))
    assert wanted.sum() > 50
    assert differing(page_app.session.mask, wanted) <= 2, "but for voxels that lie on the edge"
    assert [step.name for step in page_app.session.steps] == ["paint 1 of object 1"]


def test_a_brush_finer_than_a_voxel_paints_those_that_it_crosses(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", (10.4, 10.3, 9), (14.4, 10.3, 9), mm=0.5)
    assert np.argwhere(page_app.session.mask)[:, ::-1].tolist() == [[n, 10, 9] for n in range(10, 15)]


@pytest.mark.parametrize(("tool", "adds"), [("brush", True), ("eraser", False)], ids=["brush paints", "eraser erases"])
def test_each_button_says_what_it_says(tool: str, adds: bool) -> None:
    brush = Armed("brush", "brush", turns=True)
    eraser = Armed("eraser", "brush", says="no", turns=True)
    box = Armed("box", "box")
    armed = {"brush": brush, "eraser": eraser}[tool]
    assert armed.positive(left=True, end=False, sign=True) is adds
    assert armed.positive(left=False, end=False, sign=True) is not adds
    assert armed.positive(left=True, end=True, sign=True) is False, "a pen's eraser erases"
    assert brush.positive(left=True, end=False, sign=False) is False
    assert brush.positive(left=False, end=False, sign=False) is True
    assert eraser.positive(left=True, end=False, sign=False) is False, "the sign is not the eraser's"
    assert box.positive(left=False, end=False, sign=False) is False, "as a right click says"


def test_painting_and_erasing_are_steps_that_are_undone(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", *AXIAL)
    painted = page_app.session.mask
    page_app.act("tool_eraser")
    tab.draw("axial", AXIAL[0], mm=6.0, positive=False)
    assert 0 < page_app.session.mask.sum() < painted.sum()
    page_app.act("undo")
    page_app.wait()
    assert differing(page_app.session.mask, painted) == 0


def test_a_range_keeps_the_brush_to_its_intensities(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    page_app.row.range.value = True
    assert (page_app.row.lower.value, page_app.row.upper.value) == (-160, 240), "the window, where nothing was typed"
    page_app.row.lower.value, page_app.row.upper.value = 50, 200
    tab.draw("axial", (5, 30, 9), (40, 30, 9), mm=15)
    values = page_app.session.volume.array
    assert page_app.session.mask.any()
    assert (values[page_app.session.mask > 0] == 100).all()
    page_app.row.lower.value = 300
    tab.draw("axial", (5, 30, 9), (40, 30, 9), mm=15)
    assert "type the lower one first" in page_app.status.message


def test_painting_what_is_hidden_shows_it_again(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", *AXIAL)
    page_app.session.show("object 1", False)
    page_app.wait()
    page_app.act("toggle_masks")
    tab.draw("axial", AXIAL[0], mm=1e9)
    assert page_app.session.current.visible
    assert page_app.views.display.masks
    assert "was hidden and is shown again" in page_app.status.message
    assert tab.last("objects")
    assert page_app.session.mask.sum() == page_app.session.mask[9].sum(), "100 mm at most, on the slice"


def test_voxels_of_other_objects_are_spared_and_that_is_said(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", *AXIAL)
    first = page_app.session.mask
    page_app.session.new_object("other")
    page_app.wait()
    tab.draw("axial", *AXIAL, mm=20)
    assert not (page_app.session.mask & first).any()
    assert "left to other objects" in page_app.status.message


# -- measuring -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", PLANES)
def test_the_ruler_tells_mm_in_space_and_stays_until_cleared(page_app, view: str) -> None:
    tab = Tab(page_app)
    ends = [[12.25, 20.5, 5.0], [30.0, 40.75, 14.5]]
    normal = page_app.views.views[view].plane.axes[2]
    ends[0][normal] = ends[1][normal] = BALL[normal]
    page_app.act("tool_ruler")
    tab.draw(view, *ends)
    wanted = np.linalg.norm(np.subtract(*ends) * (1.5, 1.5, 3.0))
    (ruler,) = tab.last("measures")
    assert ruler["text"] == f"{wanted:.1f} mm"
    np.testing.assert_allclose(ruler["places"], ends, atol=0.01)
    assert f"{wanted:.1f} mm in the {view} slice {BALL[normal] + 1}" in page_app.status.message
    assert page_app.session.steps == (), "it is no step"
    page_app.click(BALL)
    assert len(tab.last("measures")) == 1
    page_app.act("clear_measures")
    assert tab.last("measures") == []


def test_statistics_tell_what_lies_under_the_brush(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_statistics")
    ends = [(20, 30, 9), (34, 30, 9)]
    tab.draw("axial", *ends, mm=10)
    values = page_app.session.volume.array[near(page_app, ends, 10, slices=(2, 9))].astype(float)
    assert len(set(values)) == 2, "some of the ball, some of what lies round it"
    said = page_app.status.message.replace("−", "-")
    assert f"{len(values)} voxels" in said
    assert f"mean {values.mean():.4g} ± {values.std():.4g} HU, from -50 to 100 HU" in said
    assert not page_app.session.mask.any()
    page_app.row.range.value = True
    page_app.row.lower.value, page_app.row.upper.value = 5000, 6000
    tab.draw("axial", *ends, mm=9)
    assert "No voxel under the brush" in page_app.status.message


def test_measures_belong_to_their_volume(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_ruler")
    tab.draw("axial", BALL, (30, 30, 9))
    page_app.stage.show(snb.Session(ball_volume(), model_of(BallNetwork())))
    assert page_app.views.measures == []


# -- the row ---------------------------------------------------------------------------------------------------------


def test_a_page_arms_tools_sizes_the_brush_and_turns_the_sign_by_itself(page_app) -> None:
    tab = Tab(page_app)
    tab.got.clear()
    tab.tell(type="state", tool="brush", mm=14.5, left=False)
    assert (page_app.views.armed.name, page_app.views.armed.mm) == ("brush", 14.5)
    assert page_app.row.size.value == 14.5
    assert page_app.row.sign.value is False
    assert not any({"armed", "left"} & set(content) for content, _ in tab.got), "nothing moves under the user's hand"
    other = Tab(page_app, "other")
    tab.tell(type="state", tool="eraser")
    assert other.last("armed")["name"] == "eraser"
    tab.tell(type="state", tool="chainsaw")
    assert "There is no tool “chainsaw”" in page_app.status.message
    assert tab.last("armed")["name"] == "eraser", "the page is put right"


def test_keys_arm_tools_and_size_the_brush_where_the_kernel_hears_them(page_app) -> None:
    for key, name in zip("prslbewq", TOOLS, strict=True):
        page_app.page._message(page_app.page, {"type": "key", "key": key}, [])
        assert page_app.views.armed.name == name
        pressed = [tool for tool, entry in page_app.row._entries.items() if "mod-active" in entry.button._dom_classes]
        assert pressed == [name]
    before = page_app.views.armed.mm
    page_app.page._message(page_app.page, {"type": "key", "key": "]"}, [])
    assert page_app.views.armed.mm == pytest.approx(before * 1.2)
    for _ in range(60):
        page_app.page._message(page_app.page, {"type": "key", "key": "["}, [])
    assert page_app.views.armed.mm == 0.5


def test_the_row_shows_what_the_model_takes_and_why_a_tool_is_off(page_app) -> None:
    Tab(page_app)
    buttons = {name: entry.button for name, entry in page_app.row._entries.items()}
    assert "snb-translated" in buttons["box"]._dom_classes
    assert "told clicks" in buttons["box"].tooltip
    assert "snb-translated" not in buttons["point"]._dom_classes
    assert buttons["brush"].tooltip == "Paint by hand; the right button erases (B)."
    page_app.act("tool_lasso")
    page_app.session.model.prompts = {**page_app.session.model.prompts, "lasso": "refused", "scribble": "native"}
    page_app.stage.refresh()
    assert buttons["lasso"].disabled
    assert "takes no lasso" in buttons["lasso"].tooltip
    assert "snb-translated" not in buttons["scribble"]._dom_classes
    assert page_app.views.armed.name == "point", "it is put down"
    page_app.page._message(page_app.page, {"type": "key", "key": "l"}, [])
    assert "takes no lasso" in page_app.status.message
    assert page_app.views.armed.name == "point"


def test_a_tool_of_any_shape_can_be_added_and_gets_its_outline(page_app) -> None:
    got = []
    page_app.row.add(Armed("cut", "line", says="yes"), "Cut", "Cut along a line", got.append)
    tab = Tab(page_app)
    assert "cut" in [tool["name"] for tool in tab.last("tools")]
    page_app.row.choose("cut")
    tab.draw("coronal", (14, 24, 5), (26, 24, 9))
    (stroke,) = got
    assert stroke.plane.name == "coronal"
    np.testing.assert_allclose(stroke.places, [(14, 24, 5), (26, 24, 9)], atol=1e-6)
    np.testing.assert_allclose(stroke.outline, [stroke.plane.from_voxel(place) for place in stroke.places], atol=1e-6)


# -- on the way ------------------------------------------------------------------------------------------------------


def test_a_stroke_is_settled_once_its_mask_is_there(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.got.clear()
    tab.draw("axial", *AXIAL)
    order = [name for content, _ in tab.got for name in ("objects", "settled") if content.get(name)]
    assert order == ["objects", "settled"]


def test_a_stroke_on_a_case_that_is_gone_is_told(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    page_app.views.show(page_app.session.volume)  # another generation
    tab.draw("axial", *AXIAL)
    assert page_app.session.steps == ()
    assert "draw it where you mean it" in page_app.status.message


@pytest.mark.parametrize("broken", [{"points": []}, {"points": [[float("nan"), 1]]}, {"tool": "nothing"}])
def test_a_broken_message_changes_nothing(page_app, broken: dict) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", *AXIAL, **broken)
    assert page_app.session.steps == ()
    assert "again" in page_app.status.message or "choose another" in page_app.status.message


# -- the other renderer ----------------------------------------------------------------------------------------------


def test_the_kernels_own_views_draw_with_every_tool(app) -> None:
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    blank = axial.picture()
    app.act("tool_brush")
    axial.draw(*AXIAL)
    wanted = near(app, AXIAL, app.views.armed.mm, slices=(2, 9))
    assert differing(app.session.mask, wanted) < 0.2 * wanted.sum(), "a pixel is more than a voxel here"
    axial.draw(AXIAL[0], AXIAL[1], button=2)
    assert differing(app.session.mask, wanted) > 20, "the right button erases"
    app.act("undo")
    app.act("tool_eraser")
    axial.draw(AXIAL[0], AXIAL[1])
    app.act("reset")
    app.act("tool_box")
    axial.draw((12, 22, 9), (28, 38, 9))
    (box,) = app.session.prompts
    assert np.abs(np.subtract([box.first, box.last], [(12, 22, 9), (28, 38, 9)])).max() <= 1
    app.act("tool_lasso")
    axial.draw((12, 22, 9), (28, 22, 9), (20, 38, 9))
    app.act("tool_scribble")
    axial.draw((12, 22, 9), (28, 30, 9), button=2)
    assert [(prompt.kind, prompt.positive) for prompt in app.session.prompts] == [
        ("box", True), ("lasso", True), ("scribble", False),
    ]  # fmt: skip
    app.act("tool_ruler")
    axial.draw((12, 22, 9), (32, 22, 9))
    assert float(app.views.measures[0].text.removesuffix(" mm")) == pytest.approx(30, abs=1.5)
    app.act("tool_statistics")
    axial.draw(BALL)
    assert "mean 100 ± 0 HU" in app.status.message
    assert (axial.picture() != blank).any()


def test_the_kernels_own_views_show_the_stroke_the_brush_and_the_marks(app) -> None:
    axial = Browser(app, "axial")
    app.views.move_to(BALL)
    app.act("tool_brush")
    app.row.size.value = 20
    before = axial.picture()
    x, y = axial.view.canvas_of((30, 25, 9))
    axial.mouse("motion_notify", x, y)
    ring = (axial.picture() != before).any(axis=2)
    columns = np.nonzero(ring)[1]
    assert (columns.max() - columns.min()) / axial.view.region.scale == pytest.approx(20, abs=1.5), "mm"
    axial.mouse("button_press", x, y)
    axial.mouse("motion_notify", x + 60, y, held=1)
    assert (axial.picture() != before).any(axis=2).sum() > 2 * ring.sum(), "under the mouse, at once"
    assert app.session.steps == ()
    axial.mouse("button_release", x + 60, y)
    app.wait()
    assert len(app.session.steps) == 1
    axial.mouse("scroll", x, y, step=1, modifiers=["shift"], guiEvent={"deltaY": 0, "deltaX": -100})
    assert app.views.armed.mm == 24
    app.act("reset")
    app.act("tool_box")
    app.wait()
    without = axial.picture()
    axial.draw((12, 22, 9), (28, 38, 9))
    app.act("toggle_masks")
    shown = axial.picture()
    app.act("toggle_prompts")
    hidden = axial.picture()
    assert (shown != hidden).any(axis=2).sum() > 200
    assert (without != hidden).any(axis=2).sum() < (shown != hidden).any(axis=2).sum()
