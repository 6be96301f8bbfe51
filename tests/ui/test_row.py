"""The tool row: what is armed with which sign and brush, and who hears of it."""

import json

import numpy as np
import pytest
from ui_page import BALL, Tab

from sammed3d_nb.ui.stroke import Armed

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

TOOLS = ["point", "box", "scribble", "lasso", "brush", "eraser", "ruler", "statistics"]
AXIAL = [(14, 24, 9), (26, 24, 9), (26, 36, 9)]


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


def test_the_pages_word_comes_before_its_controls_own_and_neither_is_sent_back(page_app) -> None:
    """As over a slow line: sign, ball and diameter by their controls, and strokes before any answer."""
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.got.clear()
    tab.tell(type="state", ball=True)
    tab.tell(type="state", mm=12.5)
    tab.tell(type="state", left=False)
    assert (page_app.row.ball.value, page_app.row.size.value, page_app.row.sign.value) == (True, 12.5, False)
    assert (page_app.views.armed.ball, page_app.views.armed.mm, page_app.views.left) == (True, 12.5, False)
    page_app.row.ball.value, page_app.row.size.value, page_app.row.sign.value = True, 12.5, False  # their own messages
    assert not any({"armed", "left"} & set(content) for content, _ in tab.got), "nothing moves under the user's hand"
    page_app.act("tool_point")
    tab.tell(type="state", left=True)
    tab.click("axial", BALL)
    tab.click("axial", (20, 36, 9), state={"type": "state", "left": False})
    assert [click.positive for click in page_app.session.clicks] == [True, False]


def test_a_brush_of_no_size_is_refused(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    before = page_app.views.armed.mm
    tab.tell(type="state", mm=float("nan"))
    assert "nan" in page_app.status.message
    assert page_app.row.size.value == page_app.views.armed.mm == before
    assert tab.last("armed")["mm"] == before, "the page is put right"
    page_app.row.size.value = float("nan")
    assert page_app.row.size.value == page_app.views.armed.mm == before


def test_the_row_says_what_cannot_be_done_where_the_kernel_draws(app, page_app) -> None:
    for shown, said in ((app, True), (page_app, False)):
        shown.stage.refresh()
        for name, entry in shown.row._entries.items():
            assert ("Esc drops no line" in entry.button.tooltip) is (said and name != "point")
            assert ("pen's eraser" in entry.button.tooltip) is (said and name != "point")


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


def test_only_the_page_that_drew_is_told_and_made_up_pages_leave_nothing(page_app) -> None:
    tab, other = Tab(page_app), Tab(page_app, "other")
    page_app.act("tool_brush")
    other.got.clear()
    tab.draw("axial", *AXIAL)
    assert tab.last("settled") == {"tab": 1}
    assert not any("settled" in content for content, _ in other.got)
    renderer = page_app.views.renderer
    for n in range(100):
        tab.tell(type="hello", page=f"made up {n}")
        tab.draw("axial", *AXIAL, page=f"never said hello {n}", points=[])
    assert len(renderer._pages) <= 20
    assert len(json.dumps(renderer._fields())) < 5000
    other.got.clear()
    tab.draw("axial", AXIAL[0])
    assert tab.last("settled") == {"tab": tab.presses}, "a page that was there before"
    assert any("objects" in content for content, _ in other.got)


def test_a_stroke_on_a_case_that_is_gone_is_told(page_app) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    page_app.views.show(page_app.session.volume)  # another generation
    tab.draw("axial", *AXIAL)
    assert page_app.session.steps == ()
    assert "draw it where you mean it" in page_app.status.message
