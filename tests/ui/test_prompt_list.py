"""The list of prompts: what was said, one by one, shown on the views and taken back singly."""

import pytest
from ui_page import BALL, Tab, differing

import sammed3d_nb as snb
from sammed3d_nb.session.replay import replay
from sammed3d_nb.ui import prompts

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

AXIAL = [(14, 24, 9), (26, 24, 9), (26, 36, 9)]


def rows(app) -> list[tuple]:
    return [(row["text"], row["where"], row["positive"], row["chosen"]) for row in app.prompt_list.list.rows]


def press(app, do: str, number: int) -> None:
    key = app.prompt_list.list.rows[number]["key"]
    app.prompt_list.list._handle_custom_msg({"do": do, "key": key}, [])
    app.wait()


def test_prompts_are_listed_shown_and_taken_back_singly(page_app) -> None:
    tab = Tab(page_app)
    page_app.click(BALL)
    page_app.act("tool_box")
    tab.draw("axial", (12, 22, 9), (28, 38, 9))
    page_app.click((40, 40, 9))
    page_app.act("tool_brush")
    tab.draw("axial", (50, 10, 9))
    assert rows(page_app) == [
        ("Click 1", "voxel 20, 30, 9", True, False),
        ("Box 1", "axial slice 10", True, False),
        ("Click 2", "voxel 40, 40, 9", True, False),
    ]
    press(page_app, "choose", 1)
    assert page_app.views.cross == (20, 30, 9)
    assert [line["chosen"] for line in tab.last("lines")] == [True]
    press(page_app, "choose", 2)
    assert page_app.views.cross == (40, 40, 9)
    assert [(line["kind"], line["chosen"]) for line in tab.last("lines")] == [("box", False), ("point", True)]
    press(page_app, "choose", 2)
    assert [row[3] for row in rows(page_app)] == [False] * 3
    press(page_app, "remove", 1)
    assert [row[0] for row in rows(page_app)] == ["Click 1", "Click 2"]
    wanted = snb.Session(page_app.session.volume, page_app.session.model)
    wanted.click(BALL)
    wanted.click((40, 40, 9))
    painted = page_app.session.current.fixed
    assert painted.count > 0
    assert differing(page_app.session.mask, wanted.mask | painted.full) == 0
    assert page_app.history.undo.tooltip == "Undo remove box 1 of object 1 (Ctrl+Z)"
    page_app.act("undo")
    page_app.wait()
    assert [row[0] for row in rows(page_app)] == ["Click 1", "Box 1", "Click 2"]
    stale = {"do": "remove", "key": "0 box 9"}
    page_app.prompt_list.list._handle_custom_msg(stale, [])
    page_app.wait()
    assert "not there any more" in page_app.status.message


def test_everything_drawn_is_saved_resumed_and_replayed(page_app, tmp_path) -> None:
    tab = Tab(page_app)
    for tool, places, positive in (
        ("box", [(12, 22, 9), (28, 38, 9)], True),
        ("scribble", [(14, 30, 9), (26, 30, 9)], True),
        ("lasso", [(12, 22, 9), (28, 22, 9), (20, 38, 9)], True),
        ("brush", AXIAL, True),
        ("scribble", [(40, 10, 9), (45, 12, 9)], False),
        ("eraser", [(20, 24, 9)], False),
    ):
        page_app.act(f"tool_{tool}")
        tab.draw("axial", *places, positive=positive)
    press(page_app, "remove", 1)
    session = page_app.session
    assert len(session.steps) == 7
    path = session.save(tmp_path / "all.sammed3d.json")
    (again,) = replay(path, volume=session.volume, model=session.model)
    assert again.same
    resumed = snb.Session.resume(path, volume=session.volume, model=session.model)
    assert differing(resumed.mask, session.mask) == 0
    resumed.undo()
    session.undo()
    assert differing(resumed.mask, session.mask) == 0


def test_the_highlight_and_a_late_cross_are_of_the_prompt_that_is_gone(page_app) -> None:
    page_app.click(BALL)
    page_app.click((40, 40, 9))
    press(page_app, "choose", 1)
    late = {"do": "remove", "key": page_app.prompt_list.list.rows[1]["key"]}
    press(page_app, "remove", 1)
    page_app.click((24, 30, 9))
    assert rows(page_app)[1] == ("Click 2", "voxel 24, 30, 9", True, False), (
        "the new second click is not the chosen one"
    )
    page_app.prompt_list.list._handle_custom_msg(late, [])
    page_app.wait()
    assert len(rows(page_app)) == 2, "a second press on a cross takes no other prompt"
    assert "not there any more" in page_app.status.message
    page_app.act("undo")
    page_app.act("undo")
    page_app.wait()
    assert page_app.prompt_list.list.rows[1]["key"] == late["key"], "what comes back has its name again"
    page_app.prompt_list.list._handle_custom_msg(late, [])
    page_app.wait()
    assert len(rows(page_app)) == 1


def test_marks_are_made_once(page_app, monkeypatch) -> None:
    made = []
    real = prompts._marks
    monkeypatch.setattr(prompts, "_marks", lambda action, *, chosen: made.append(action) or real(action, chosen=chosen))
    tab = Tab(page_app)
    for tool in ("lasso", "scribble"):
        page_app.act(f"tool_{tool}")
        tab.draw("axial", *AXIAL)
    for _ in range(3):
        page_app.stage.refresh()
    assert [action.kind for action in made] == ["lasso", "scribble"]
    press(page_app, "choose", 0)
    assert [action.kind for action in made] == ["lasso", "scribble", "lasso"]
    assert [line["chosen"] for line in tab.last("lines")] == [True, False]
