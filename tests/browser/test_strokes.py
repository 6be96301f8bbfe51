"""A stroke on its way: a slow line, a lost one, other fingers, buttons and keys meanwhile."""

import numpy as np
import pytest
from hand import SLICE, Hand, alike

LIVER = (90, 110, SLICE)


def test_what_is_drawn_while_the_kernel_stands_still_is_seen_and_kept(hand: Hand) -> None:
    hand.afresh("still")
    without = hand.screen.settled_pixels("axial").astype(int)
    with hand.kernel_stopped():
        hand.tool("b", "brush")  # no answer is needed
        hand.draw((70, 190, SLICE), (120, 190, SLICE))
        hand.tool("e", "eraser")
        hand.draw((90, 180, SLICE), (90, 200, SLICE))
        hand.page.keyboard.press("t")  # the page turns the sign by itself
        hand.tool("b", "brush")
        hand.draw((110, 190, SLICE))
        hand.page.mouse.move(5, 5)
        hand.page.wait_for_timeout(500)
        seen = np.abs(hand.screen.pixels("axial").astype(int) - without).max(axis=2) > 20
        assert seen.sum() > 300, "they wait on the screen"
    hand.screen.wait_for_status("after 3 edits")
    names = ["paint 1 of still", "erase 1 of still", "erase 2 of still"]
    assert [step.name for step in hand.session().steps[-3:]] == names
    hand.page.wait_for_selector(".snb-sign button.mod-active >> text=Negative")
    hand.page.keyboard.press("t")
    hand.page.wait_for_selector(".snb-sign button.mod-active >> text=Positive")


def test_sign_ball_and_diameter_count_at_once_however_slow_the_way(hand: Hand) -> None:
    hand.afresh("slow")
    hand.tool("b", "brush")
    hand.draw((200, 190, SLICE), (300, 190, SLICE))
    hand.screen.wait_for_status("after 1 edit")
    without = hand.screen.settled_pixels("axial").astype(int)
    typed = hand.page.locator(".snb-brush-size input")
    with hand.kernel_stopped():
        hand.page.click(".snb-sign button >> text=Negative")
        hand.draw((230, 190, SLICE), (270, 190, SLICE))
        hand.page.mouse.move(5, 5)
        hand.frames()
        x, y = (
            round(at - hand.screen.box("axial")[side])
            for at, side in zip(hand.place((250, 190, SLICE)), "xy", strict=True)
        )
        red, green, _, _ = hand.screen.pixels("axial").astype(int)[y, x] - without[y, x]
        assert red > green, "it looks like what it becomes"
        hand.page.click(".snb-sign button >> text=Positive")
        hand.page.click(".snb-brush-ball")
        typed.fill("14")  # and not confirmed
        hand.draw((300, 100, SLICE))
    hand.screen.wait_for_status("after 3 edits")
    session = hand.session()
    assert [step.name for step in session.steps[-3:]] == ["paint 1 of slow", "erase 1 of slow", "paint 2 of slow"]
    radius = [np.sqrt(plane.sum() / np.pi) for plane in session.mask[SLICE - 1 : SLICE + 2, 85:116, 285:316]]
    assert radius == pytest.approx([np.sqrt(7**2 - 5**2), 7, np.sqrt(7**2 - 5**2)], abs=0.4), "slices 5 mm apart"
    hand.page.wait_for_selector(".snb-sign button.mod-active >> text=Positive")
    hand.page.wait_for_selector(".snb-brush-ball.mod-active")
    assert float(typed.input_value()) == 14
    hand.page.click(".snb-brush-ball")
    typed.fill("10")
    hand.page.keyboard.press("Enter")
    hand.screen.settle()


def test_scrolling_on_after_a_prompt_is_not_undone(hand: Hand) -> None:
    hand.afresh("on")
    hand.tool("s", "scribble")
    with hand.kernel_stopped():
        hand.draw((90, 100, SLICE), (110, 120, SLICE))
        for view, axis in (("coronal", 1), ("sagittal", 0)):
            there = (100, 110)[axis]
            hand.page.wait_for_function(
                "([view, there]) => Math.abs(document.querySelector(`.snb-${view} input`).value - there) <= 1",
                arg=[view, there],
            )
        for _ in range(2):
            hand.page.keyboard.press("PageUp")
    hand.screen.wait_for_status("after 1 prompt")
    hand.screen.settle()
    assert int(hand.page.get_attribute(".snb-axial", "data-slice")) != SLICE
    (scribble,) = hand.session().prompts
    assert (scribble.voxels[:, 2] == SLICE).all()
    for _ in range(2):
        hand.page.keyboard.press("PageDown")
    hand.page.wait_for_selector(f".snb-axial[data-slice='{SLICE}']")


def test_a_palm_that_was_down_first_does_not_spoil_the_pens_stroke(hand: Hand) -> None:
    hand.afresh("palm")
    hand.tool("b", "brush")
    palm, way = (270, 190, SLICE), [(80, 150, SLICE), (100, 150, SLICE), (120, 150, SLICE)]
    hand.point("pointerdown", palm, "touch")
    hand.point("pointermove", (260, 190, SLICE), "touch")
    hand.point("pointerdown", way[0], "pen")
    hand.point("pointermove", way[1], "pen")
    hand.point("pointermove", (265, 195, SLICE), "touch")
    hand.point("pointerup", palm, "touch", buttons=0)
    hand.point("pointermove", way[2], "pen")
    hand.point("pointerup", way[2], "pen", buttons=0)
    hand.screen.wait_for_status("after 1 edit")
    mm = float(hand.page.input_value(".snb-brush-size input"))
    assert alike(hand.session().mask[SLICE], hand.under(way, mm)) > 0.97


def test_two_buttons_together_make_one_stroke_and_the_next_press_another(hand: Hand) -> None:
    hand.afresh("buttons")
    hand.tool("b", "brush")
    way = [(80, 180, SLICE), (100, 180, SLICE)]
    hand.draw(*way, lift=False)
    hand.page.mouse.down(button="right")
    hand.page.mouse.up(button="left")
    hand.page.mouse.up(button="right")
    hand.screen.wait_for_status("after 1 edit")
    hand.draw((200, 100, SLICE), (220, 100, SLICE))
    hand.screen.wait_for_status("after 2 edits")
    mm = float(hand.page.input_value(".snb-brush-size input"))
    wanted = hand.under(way, mm) | hand.under([(200, 100, SLICE), (220, 100, SLICE)], mm)
    assert alike(hand.session().mask[SLICE], wanted) > 0.97, "nothing between them"


def test_another_tool_while_a_button_is_held_makes_no_click(hand: Hand) -> None:
    hand.afresh("armed")
    hand.tool("b", "brush")
    hand.draw(LIVER, lift=False)
    hand.tool("p", "point")
    hand.page.mouse.up()
    assert hand.session().steps[-1].name.startswith("rename")
    hand.draw(LIVER)
    hand.screen.wait_for_status("after 1 click")


def test_a_stroke_that_got_lost_is_told_and_no_longer_shown(hand: Hand) -> None:
    hand.afresh("lost")
    hand.tool("b", "brush")
    hand.page.mouse.move(5, 5)
    without = hand.screen.settled_pixels("axial").astype(int)
    hand.page.wait_for_timeout(3500)  # a heartbeat after the last key

    def changed() -> int:
        return int((np.abs(hand.screen.pixels("axial").astype(int) - without).max(axis=2) > 20).sum())

    hand.tunnel.frozen = True  # as when a laptop has left its network: nothing arrives, and nothing says so
    hand.draw((70, 190, SLICE), (120, 190, SLICE))
    hand.page.mouse.move(5, 5)
    hand.page.wait_for_timeout(1000)
    assert changed() > 300
    hand.tunnel.cut()
    hand.tunnel.restore()
    hand.page.wait_for_selector(".snb-lost-banner[data-state=lost]:not([hidden])")
    assert "1 click or key got lost on the way" in hand.page.inner_text(".snb-lost-banner")
    hand.page.get_by_role("button", name="Close").click()
    hand.page.mouse.move(5, 5)
    hand.screen.settle()
    assert changed() == 0
    hand.draw((70, 190, SLICE), (120, 190, SLICE))
    hand.screen.wait_for_status("^lost: .*after 1 edit")


def test_escape_drops_a_stroke_and_a_second_finger_moves_the_image(hand: Hand) -> None:
    hand.afresh("dropped")
    hand.tool("b", "brush")
    before = hand.screen.settled_pixels("axial").astype(int)
    hand.draw((70, 190, SLICE), (120, 190, SLICE), lift=False)
    hand.page.keyboard.press("Escape")
    hand.page.mouse.up()
    x, y = hand.place(LIVER)
    send = hand.cdp.send
    send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    points = [{"x": x, "y": y, "id": 0}, {"x": x + 60, "y": y, "id": 1}]
    send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    hand.page.mouse.move(5, 5)
    after = hand.screen.settled_pixels("axial").astype(int)
    assert (np.abs(after - before).max(axis=2) > 20).sum() == 0
    assert hand.session().steps[-1].name.startswith("rename")
