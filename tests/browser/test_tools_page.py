"""Every tool of the row by mouse, pen, finger and keyboard: what is seen while drawing is what the mask becomes."""

import numpy as np
import pytest
from hand import SLICE, Hand, alike

from sammed3d_nb.session.replay import replay

LIVER, BESIDE = (90, 110, SLICE), (150, 100, SLICE)


def test_the_brush_is_seen_at_once_and_paints_what_it_showed(hand: Hand) -> None:
    hand.afresh("brush")
    hand.tool("b", "brush")
    way = [(70, 100, SLICE), (110, 104, SLICE), (120, 140, SLICE)]
    before = hand.screen.settled_pixels("axial")[:, :, :3].astype(int)
    hand.draw(*way, lift=False)
    hand.page.mouse.move(*hand.place((120, 141, SLICE)))
    hand.frames()
    drawn = (np.abs(hand.seen() - before).max(axis=2) > 20) & (hand.seen()[:, :, 1] > before[:, :, 1] + 15)
    hand.page.mouse.up()
    hand.screen.wait_for_status("after 1 edit")
    mask = hand.session().mask
    assert mask.sum() == mask[SLICE].sum() > 300, "round on the slice"
    assert alike(mask[SLICE], hand.under([*way, (120, 141, SLICE)], 10)) > 0.97
    hand.page.mouse.move(5, 5)
    blue = hand.screen.settled_pixels("axial")[:, :, :3].astype(int)
    tinted = np.abs(blue - before).max(axis=2) > 12
    assert alike(drawn, tinted) > 0.8, "what is painted was seen while it was drawn"


def test_the_brush_grows_by_keys_and_wheel_and_its_circle_is_as_large_as_it(hand: Hand) -> None:
    hand.afresh("size")
    hand.tool("b", "brush")
    x, y = hand.place(BESIDE)

    def across() -> float:
        """Diameter of the circle in mm."""
        hand.page.mouse.move(5, 5)
        without = hand.screen.settled_pixels("axial").astype(int)
        hand.page.mouse.move(x, y)
        hand.frames()
        circle = np.abs(hand.screen.pixels("axial").astype(int) - without).max(axis=2) > 90
        columns = np.flatnonzero(circle.any(axis=0))
        _, _, step = hand.geometry._axes("axial", *(hand.screen.box("axial")[side] for side in ("width", "height")))[0]
        return (columns[-1] - columns[0]) / abs(step) * hand.geometry.spacing[0]

    assert across() == pytest.approx(10, abs=2.5)
    for _ in range(5):
        hand.page.keyboard.press("]")
    assert across() == pytest.approx(10 * 1.2**5, abs=2.5)
    hand.page.keyboard.press("[")
    hand.page.keyboard.down("Shift")
    slices = hand.page.get_attribute(".snb-axial", "data-slice")
    for _ in range(2):
        hand.page.mouse.wheel(0, -100)
    hand.page.keyboard.up("Shift")
    hand.page.wait_for_timeout(300)
    mm = float(hand.page.input_value(".snb-brush-size input"))
    assert mm == pytest.approx(10 * 1.2**6, rel=0.02)
    assert across() == pytest.approx(mm, abs=2.5)
    assert hand.page.get_attribute(".snb-axial", "data-slice") == slices, "it does not scroll"
    hand.draw(BESIDE)
    hand.screen.wait_for_status("after 1 edit")
    assert alike(hand.session().mask[SLICE], hand.under([BESIDE], mm)) > 0.97
    for _ in range(6):
        hand.page.keyboard.press("[")


def test_pen_finger_eraser_and_ball(hand: Hand) -> None:
    hand.afresh("pen")
    hand.tool("b", "brush")
    way = [(200, 170, SLICE), (220, 170, SLICE), (240, 170, SLICE)]
    hand.pen(*way)
    hand.screen.wait_for_status("after 1 edit")
    mm = float(hand.page.input_value(".snb-brush-size input"))
    first = hand.session().mask
    assert alike(first[SLICE], hand.under(way, mm)) > 0.97
    hand.finger((200, 200, SLICE), (220, 202, SLICE), (240, 200, SLICE))
    hand.screen.wait_for_status("after 2 edits")
    both = hand.session().mask
    lower = both & (1 - first)
    assert alike(lower[SLICE], hand.under([(200, 200, SLICE), (220, 202, SLICE), (240, 200, SLICE)], mm)) > 0.95
    hand.pen_end((220, 160, SLICE), (220, 180, SLICE))
    hand.screen.wait_for_status("after 3 edits")
    cut = hand.session().mask
    erased = both[SLICE] & hand.under([(220, 160, SLICE), (220, 180, SLICE)], mm)
    assert alike(both[SLICE] & (1 - cut[SLICE]), erased) > 0.9
    hand.tool("e", "eraser")
    hand.draw((200, 170, SLICE), (210, 170, SLICE))
    hand.screen.wait_for_status("after 4 edits")
    assert hand.session().mask.sum() < cut.sum() - 30
    hand.draw((200, 170, SLICE), (210, 170, SLICE), button="right")
    hand.screen.wait_for_status("after 5 edits")
    assert hand.session().mask.sum() >= cut.sum(), "the right button turns the eraser round"
    hand.tool("b", "brush")
    hand.page.click(".snb-brush-ball")
    hand.page.wait_for_selector(".snb-brush-ball.mod-active")
    hand.page.locator(".snb-brush-size input").fill("14")
    hand.page.keyboard.press("Enter")
    hand.screen.settle()  # buttons and numbers are the kernel's
    hand.draw((300, 200, SLICE))
    hand.screen.wait_for_status("after 6 edits")
    ball = hand.session().mask[:, 190:211, 290:311]
    radius = [np.sqrt(plane.sum() / np.pi) for plane in ball[SLICE - 2 : SLICE + 3]]
    assert radius == pytest.approx([0, np.sqrt(7**2 - 5**2), 7, np.sqrt(7**2 - 5**2), 0], abs=0.4), "slices 5 mm apart"
    hand.page.click(".snb-brush-ball")
    hand.page.locator(".snb-brush-size input").fill("10")
    hand.page.keyboard.press("Enter")
    hand.screen.settle()


def test_boxes_scribbles_and_lassos_are_prompts_with_marks(hand: Hand) -> None:
    hand.afresh("prompts")
    hand.page.keyboard.press("v")  # no masks: what is seen are marks
    without = hand.screen.settled_pixels("axial").astype(int)
    hand.page.keyboard.press("v")
    hand.tool("r", "box")
    hand.draw((200, 90, SLICE), (290, 150, SLICE))
    hand.screen.wait_for_status("after 1 prompt")
    hand.tool("l", "lasso")
    corners = [(215, 105, SLICE), (275, 105, SLICE), (275, 140, SLICE), (215, 140, SLICE)]
    hand.pen(*corners)
    hand.screen.wait_for_status("after 2 prompts")
    hand.tool("s", "scribble")
    hand.draw((230, 115, SLICE), (260, 135, SLICE))
    hand.screen.wait_for_status("after 3 prompts")
    hand.tool("p", "point")
    hand.draw((240, 112, SLICE))
    hand.screen.wait_for_status("after 4 prompts")
    box, lasso, scribble, point = hand.session().prompts
    assert np.abs(np.subtract([box.first, box.last], [(200, 90, SLICE), (290, 150, SLICE)])).max() <= 1
    assert np.abs(lasso.voxels - corners).max() <= 1
    assert np.abs(np.diff(scribble.voxels, axis=0)).max() == 1, "no gaps"
    assert np.abs(scribble.voxels[[0, -1]] - [(230, 115, SLICE), (260, 135, SLICE)]).max() <= 1
    assert np.abs(np.subtract(point.ijk, (240, 112, SLICE))).max() <= 1
    hand.page.keyboard.press("v")
    hand.page.mouse.move(5, 5)
    marked = np.abs(hand.screen.settled_pixels("axial").astype(int) - without).max(axis=2) > 40
    corner = hand.screen.box("axial")
    for voxel in ((220, 90, SLICE), (290, 100, SLICE), (230, 105, SLICE), (215, 130, SLICE), (255, 132, SLICE)):
        column, row = (round(at - corner[side]) for at, side in zip(hand.place(voxel), ("x", "y"), strict=True))
        assert marked[row - 6 : row + 7, column - 6 : column + 7].sum() > 8, f"a mark passes {voxel}"
    hand.page.keyboard.press("v")


def test_prompts_in_the_list_are_chosen_and_taken_back_by_mouse_and_keyboard(hand: Hand) -> None:
    hand.afresh("list")
    hand.tool("p", "point")
    hand.draw(LIVER)
    hand.screen.wait_for_status("after 1 click")
    hand.tool("s", "scribble")
    hand.draw((150, 180, SLICE), (160, 180, SLICE))
    hand.page.wait_for_selector(".snb-prompt >> nth=1")
    told = hand.page.locator(".snb-prompt-pick")
    assert told.nth(1).get_attribute("aria-label") == f"Scribble 1, positive, axial slice {SLICE + 1}"
    assert hand.screen.seen(".snb-prompt") == 1
    hand.page.keyboard.press("PageUp")
    told.nth(1).click()
    hand.page.wait_for_selector(".snb-prompt.snb-chosen")
    hand.page.wait_for_selector(f".snb-axial[data-slice='{SLICE}']")
    before = hand.session()
    assert len(before.prompts) == 2
    told.nth(1).focus()
    hand.page.keyboard.press("Delete")
    hand.page.wait_for_function("document.querySelectorAll('.snb-prompt').length === 1")
    after = hand.session()
    assert [prompt.kind for prompt in after.prompts] == ["point"]
    assert after.undo_name == "remove scribble 1 of list"
    hand.page.keyboard.press("Control+z")
    hand.page.wait_for_selector(".snb-prompt >> nth=1")
    hand.page.locator(".snb-prompt-remove").first.click()
    hand.screen.wait_for_status("^list: .*after 1 prompt")
    assert [prompt.kind for prompt in hand.session().prompts] == ["scribble"]


def test_ruler_and_statistics_stay_until_they_are_cleared(hand: Hand) -> None:
    hand.afresh("measures")
    hand.tool("w", "ruler")
    hand.draw((100, 100, SLICE), (130, 140, SLICE))
    said = hand.screen.wait_for_status(f"mm in the axial slice {SLICE + 1}")
    assert float(said.split()[0]) == pytest.approx(50, abs=1.5), "3-4-5, voxels of 1 mm"
    hand.tool("q", "statistics")
    hand.draw(LIVER, (100, 110, SLICE))
    said = hand.screen.wait_for_status("voxels .*: mean")
    mm = float(hand.page.input_value(".snb-brush-size input"))
    values = hand.volume.array[SLICE][hand.under([LIVER, (100, 110, SLICE)], mm)]
    assert int(said.split()[0]) == pytest.approx(values.size, rel=0.05)
    assert float(said.split("mean ")[1].split()[0]) == pytest.approx(values.mean(), abs=2)
    hand.page.mouse.move(5, 5)
    shown = hand.screen.settled_pixels("axial").astype(int)
    hand.page.click("text=Clear measures")
    hand.page.wait_for_selector(".snb-clear_measures:disabled")
    hand.page.mouse.move(5, 5)
    gone = hand.screen.settled_pixels("axial").astype(int)
    assert (np.abs(shown - gone).max(axis=2) > 40).sum() > 300


def test_the_row_is_used_by_keyboard_alone_says_what_it_is_and_fits_a_narrow_page(hand: Hand) -> None:
    hand.afresh("row")
    tools = hand.page.locator(".snb-tool")
    names = ["Point", "Box", "Scribble", "Lasso", "Brush", "Eraser", "Ruler", "Statistics"]
    assert tools.all_inner_texts()[: len(names)] == names
    for n, name in enumerate(names):
        tools.nth(n).focus()
        hand.page.keyboard.press("Enter")
        hand.page.wait_for_selector(f".snb-drawn-here[data-tool={name.lower()}]")
        hand.page.wait_for_function(
            "n => document.querySelectorAll('.snb-tool')[n].getAttribute('aria-pressed') === 'true'", arg=n
        )
    assert hand.page.locator(".snb-tool[aria-pressed=true]").count() == 1
    assert "(B)" in (tools.nth(4).get_attribute("title") or "")
    badge = "n => getComputedStyle(document.querySelectorAll('.snb-tool')[n], '::after').content"
    assert "≈" in hand.page.evaluate(badge, 1), "a box is translated for this model"
    assert "≈" not in hand.page.evaluate(badge, 0)
    hand.page.keyboard.press("?")
    hand.page.wait_for_selector(".snb-help-panel", state="visible")
    assert "Smaller brush" in hand.page.inner_text(".snb-help-panel")
    hand.page.keyboard.press("Escape")
    hand.tool("b", "brush")
    for width in (1280, 700, 430):
        hand.page.set_viewport_size({"width": width, "height": 800})
        hand.page.wait_for_timeout(600)
        for n in range(len(names)):
            box = tools.nth(n).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width, f"{names[n]} at {width}"
        assert hand.screen.seen(".snb-brush-size input") > 0.9
        bar, view = (hand.page.locator(what).first.bounding_box() for what in (".snb-toolbar", ".snb-axial"))
        assert bar["y"] + bar["height"] <= view["y"] + 1, "it covers no view"
    hand.page.set_viewport_size({"width": 1280, "height": 800})


def test_the_record_of_all_this_replays_to_the_same_masks(hand: Hand) -> None:
    found = list(replay(hand.record, volume=hand.volume, model=hand.model))
    assert len(found) == 8
    assert all(one.same for one in found), [one.name for one in found if not one.same]
