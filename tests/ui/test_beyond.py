"""Strokes that no hand draws: from far away, endless, on no slice, of what is no number."""

import tracemalloc

import pytest
from ui_page import BALL, Tab, differing, near

AXIAL = [(14, 24, 9), (26, 24, 9), (26, 36, 9)]


@pytest.mark.parametrize("tool", ["scribble", "brush", "lasso", "box", "statistics"])
def test_a_line_from_far_away_costs_no_more_than_the_image(page_app, tool: str) -> None:
    tab = Tab(page_app)
    page_app.act(f"tool_{tool}")
    tab.draw("axial", BALL, mm=4)  # what is loaded at first is not the line's
    tracemalloc.start()
    tab.draw("axial", (-4e7, 30, 9), (20, 30, 9), (20, 4e7, 9), (3e7, 3e7, 9), mm=4)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30e6
    session = page_app.session
    if tool == "scribble":
        wanted = [[n, 30, 9] for n in range(21)] + [[20, n, 9] for n in range(31, 50)]
        assert session.prompts[-1].voxels.tolist() == wanted
    elif tool == "brush":
        wanted = near(page_app, [(-5, 30, 9), (20, 30, 9), (20, 60, 9)], 4, slices=(2, 9))
        assert differing(session.mask, wanted) == 0
    elif tool == "lasso":
        assert session.prompts[-1].voxels.tolist() == [[0, 30, 9], [20, 30, 9], [20, 49, 9], [59, 49, 9]]


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([[float(n % 300), 150.0] for n in range(20_001)], "has 20001 points, and one may have 20000"),
        ([[-2000.0 + 4000 * (n % 2), 150.0] for n in range(20_000)], "voxels long, and one may be 333333 voxels"),
        ([[1e300, 1.0], [2.0, 1.0]], "arrived without a place"),
    ],
    ids=["too many points", "too long", "nowhere"],
)
@pytest.mark.parametrize("tool", ["scribble", "brush"])
def test_a_line_beyond_all_measure_is_refused_and_nothing_is_lost(page_app, tool, points, sentence) -> None:
    tab = Tab(page_app)
    page_app.click(BALL)
    page_app.act(f"tool_{tool}")
    tab.draw("axial", BALL, points=points)
    assert sentence in page_app.status.message
    assert [step.name for step in page_app.session.steps] == ["click 1 of object 1"]
    assert tab.last("settled") == {"tab": 1}
    tab.draw("axial", *AXIAL)
    assert len(page_app.session.steps) == 2


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["mm", "points", "matrix", "slice"])
def test_a_stroke_with_what_is_no_number_is_refused(page_app, field: str, number: float) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    broken = {"mm": number, "points": [[number, 1]], "matrix": [[number, 0, 0], [0, 1, 0]], "slice": number}
    tab.draw("axial", *AXIAL, **{field: broken[field]})
    assert page_app.session.steps == ()
    assert "again" in page_app.status.message


@pytest.mark.parametrize("slice_", [-1, 20, 10**30])
def test_a_stroke_on_no_slice_is_refused(page_app, slice_: int) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", *AXIAL, slice=slice_)
    assert page_app.session.steps == ()
    assert "arrived without a place" in page_app.status.message


@pytest.mark.parametrize("broken", [{"points": []}, {"points": [[float("nan"), 1]]}, {"tool": "nothing"}])
def test_a_broken_message_changes_nothing(page_app, broken: dict) -> None:
    tab = Tab(page_app)
    page_app.act("tool_brush")
    tab.draw("axial", *AXIAL, **broken)
    assert page_app.session.steps == ()
    assert "again" in page_app.status.message or "choose another" in page_app.status.message
