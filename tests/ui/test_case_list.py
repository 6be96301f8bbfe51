"""The list of cases in the app, without a page: its rows, and the keys that go through it."""

from pathlib import Path

import pytest
from case_app import VOXEL, ask, list_asks, until

import sammed3d_nb as snb
from sammed3d_nb.ui.case_list import first_of

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def test_the_list_tells_rows_once_and_then_what_has_changed(begin) -> None:
    app = begin("anna")
    until(lambda: any(entry.held for entry in app.list._survey.entries))
    list_asks(app, do="ready")
    rows = [content for content, _ in app.list.rows.got if content["type"] == "rows"]
    assert [row["name"] for row in rows[-1]["rows"]] == ["case0", "case1", "case2"]
    assert rows[-1]["all"]
    assert rows[-1]["rows"][0]["held"] == "open by you"
    app.list.rows.got.clear()
    ask(app, "note", {"number": 1, "text": "hip"})
    until(lambda: bool(app.list.rows.got))
    rows = [content for content, _ in app.list.rows.got if content["type"] == "rows"]
    assert [(row["number"], row["notes"]) for one in rows for row in one["rows"]] == [(1, "hip")]
    assert not rows[-1]["all"]
    list_asks(app, do="pictures", numbers=[2, 1])
    until(lambda: sum(content["type"] == "picture" for content, _ in app.list.rows.got) == 2)
    pictures = {content["number"]: buffers[0] for content, buffers in app.list.rows.got if content["type"] == "picture"}
    assert set(pictures) == {1, 2}
    assert all(data.startswith(b"\xff\xd8") for data in pictures.values())


@pytest.mark.parametrize(
    "content",
    [
        {"do": "open", "number": 99},
        {"do": "open", "number": -1},
        {"do": "open", "number": "../../etc/passwd"},
        {"do": "order", "numbers": [7, -1, "x", None]},
        {"do": "pictures", "numbers": [99, "x", -1]},
        {"do": "note"},
        {},
    ],
)
def test_what_a_page_should_not_ask_changes_nothing(begin, content: dict) -> None:
    app = begin("anna")
    before = app.session
    list_asks(app, **content)
    app.case.widget._handle_custom_msg(content, [])
    app.wait()
    assert app.session is before
    assert all(0 <= number < 3 for number in app.list.order)


def test_keys_go_through_the_list_as_it_is_shown(begin) -> None:
    app = begin("anna")
    list_asks(app, do="order", numbers=[2, 0])
    app.act("previous_case")
    app.wait()
    assert app.session.volume.name == "case2"
    with pytest.raises(snb.UserError, match="first case"):
        app.act("previous_case")
    app.act("next_case")
    app.wait()
    assert app.session.volume.name == "case0"
    list_asks(app, do="order", numbers=[])
    with pytest.raises(snb.UserError, match="shows no case"):
        app.act("next_case")
    list_asks(app, do="open", number=1)
    assert app.session.volume.name == "case1"


def test_keys_pass_by_cases_that_others_have_open(begin) -> None:
    anna, berta = begin("anna"), begin("berta")
    assert (anna.cases.shown, berta.cases.shown) == (0, 1)
    until(lambda: any(entry.held and entry.number == 1 for entry in anna.list._survey.entries))
    anna.act("next_case")
    anna.wait()
    assert anna.cases.shown == 2
    anna.act("previous_case")
    anna.wait()
    assert anna.cases.shown == 0


def test_keys_go_on_from_where_a_case_stood_that_is_no_longer_listed(begin) -> None:
    app = begin("anna")
    app.open(1).result()
    app.wait()
    list_asks(app, do="order", numbers=[0, 2])  # as the filter “to do” leaves it when case 1 is done
    app.act("next_case")
    app.wait()
    assert app.cases.shown == 2


def test_the_first_case_is_what_is_to_be_done(begin, data: Path) -> None:
    app = begin("anna")
    app.click(VOXEL)
    app.act("case_done")
    app.wait()
    app.close()
    app = begin("anna")
    assert app.session.volume.name == "case1"
    app.close()
    (data.parent / "cases.csv").write_text(
        "image,annotator\ndata/case1/image.nii.gz,berta\ndata/case2/image.nii.gz,anna\n"
    )
    listed = snb.Worklist(data.parent / "cases.csv", output=data.parent / "out", annotator="anna")
    assert first_of(listed, listed.entries()) == 1


def test_the_keys_of_a_worklist_say_where_there_is_none(data: Path, model) -> None:
    from sammed3d_nb.ui.worklist import cases_of

    app = snb.App(model=model, cases=cases_of([data]), output=data.parent)
    app.open(0).result()
    for action in ("toggle_cases", "case_done", "previous_case"):
        with pytest.raises(snb.UserError, match=r"There is no (worklist|earlier case)"):
            app.act(action)
    app.act("next_case")
    app.wait()
    assert app.session.volume.name == "case1"
    app.close()
