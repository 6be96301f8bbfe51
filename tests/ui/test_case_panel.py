"""The worklist in the app, without a page: what the panel and the list say, and what their messages do."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import SimpleITK as sitk
from support import BallNetwork, model_of

import sammed3d_nb as snb
from sammed3d_nb.commands.cli import main
from sammed3d_nb.ui.case_list import first_of
from sammed3d_nb.ui.dashboard import dashboard
from sammed3d_nb.ui.worklist import OUTPUT, PATHS, WORKLIST
from sammed3d_nb.worklist.labels import Label, LabelSet

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

SIZE = (12, 20, 24)
VOXEL, OTHER = (10, 9, 5), (22, 1, 11)
LABELS = LabelSet("t", (Label("liver", "#e69f00", guideline="To the dome."), Label("cyst", "#d55e00", False)), "All.")


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed in range(3):
        path = tmp_path / "data" / f"case{seed}" / "image.nii.gz"
        path.parent.mkdir(parents=True)
        values = np.random.default_rng(seed).integers(-100, 200, SIZE).astype(np.int16)
        sitk.WriteImage(snb.Volume.from_array(values, (2, 2, 4)).image, str(path))
    return tmp_path / "data"


@pytest.fixture
def begin(data: Path, model):
    """begin(who, …) → the app of an annotator."""
    apps: list[snb.App] = []

    def make(who: str, **options) -> snb.App:
        worklist = snb.Worklist(data, output=data.parent / "out", annotator=who, **options)
        app = snb.App(model=model, worklist=worklist)
        apps.append(app)
        app.open_first().result()
        app.list.rows.got = []
        send = app.list.rows.send

        def keep(content, buffers=None) -> None:
            app.list.rows.got.append((content, buffers))
            send(content, buffers)

        app.list.rows.send = keep
        return app

    yield make
    for app in apps:
        app.close()


def ask(app: snb.App, do: str, value: object = None) -> None:
    app.case.widget._handle_custom_msg({"do": do, "value": value}, [])
    app.wait()


def list_asks(app: snb.App, **content) -> None:
    app.list.rows._handle_custom_msg(content, [])
    app.wait()


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def shown(app: snb.App) -> dict:
    return app.case.widget.shown


def test_labels_are_offered_and_the_case_is_done_when_they_are_there(begin) -> None:
    app = begin("anna", labels=LABELS)
    assert [(x["name"], x["done"], x["required"], x["current"]) for x in shown(app)["labels"]] == [
        ("liver", False, True, True),
        ("cyst", False, False, False),
    ]
    assert shown(app)["guideline"] == "To the dome."
    assert app.objects.list.rows[0]["fixed"]
    app.act("case_done")
    app.wait()
    assert "“liver” has no mask" in app.status.message
    app.click(VOXEL)
    assert shown(app)["labels"][0]["done"]
    assert shown(app)["state"] == "in progress"
    ask(app, "label", "cyst")
    assert [item.name for item in app.session.objects] == ["liver", "cyst"]
    assert app.session.current.colour == "#d55e00"
    assert shown(app)["guideline"] == "All."
    ask(app, "label", "liver")
    assert app.session.current.name == "liver"
    app.act("new_object")
    app.wait()
    assert "Every object of the label set is there" in app.status.message
    app.act("case_done")
    app.wait()
    assert (shown(app)["state"], shown(app)["progress"]) == ("done", [1, 3])
    assert "1 of 3 cases are done" in app.status.message
    app.act("undo")
    app.wait()
    assert shown(app)["state"] == "in progress"


def test_n_adds_the_next_label(begin) -> None:
    app = begin("anna", labels=LABELS)
    app.act("new_object")
    app.wait()
    assert app.session.current.name == "cyst"


def test_objects_of_a_label_set_carry_its_codes(begin) -> None:
    app = begin("anna", labels=LabelSet("t", (Label("Leber", "#e69f00", code="10200004"),
                                              Label("Milz", "#d55e00", code="78961009"))))  # fmt: skip
    app.act("new_object")
    app.wait()
    assert [(item.name, item.code) for item in app.session.objects] == [("Leber", "10200004"), ("Milz", "78961009")]


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


def test_leaving_a_case_lets_others_have_it(begin) -> None:
    anna, berta = begin("anna"), begin("berta")
    assert (anna.session.volume.name, berta.session.volume.name) == ("case0", "case1")
    anna.click(VOXEL)
    berta.open(0)
    berta.wait()
    assert "anna for less than a minute has this case open" in berta.status.message
    anna.open(2).result()
    anna.wait()
    berta.open(0).result()
    assert berta.session.volume.name == "case0"
    assert not berta.session.clicks


def test_a_case_that_was_taken_over_says_so_and_is_taken_back(begin) -> None:
    anna, berta = begin("anna"), begin("berta")
    anna.click(VOXEL)
    berta.cases.open(0, take_over=True).result()
    until(lambda: shown(anna).get("lost", False))
    assert "berta has taken over this case" in shown(anna)["banner"]
    anna.click(VOXEL)
    assert anna.session.autosave_error is None
    ask(anna, "take_back")
    assert not shown(anna).get("lost")
    until(lambda: shown(berta).get("lost", False))
    anna.open(2).result()
    anna.wait()
    berta.list.show_list(True)  # it looks at once, and finds that nobody has the case any more
    until(lambda: not shown(berta).get("lost", False))
    assert berta.worklist.entry(0).held.holder.user == "berta"


def test_what_ones_own_other_page_did_is_on_the_screen_when_it_is_left(begin) -> None:
    one, two = begin("anna"), begin("anna")
    one.open(0).result()
    one.click(VOXEL)
    until(lambda: one.session.autosave.is_file())
    two.cases.open(0, take_over=True).result()
    until(lambda: shown(one).get("lost", False))
    two.click(OTHER)
    two.act("case_done")
    two.wait()
    two.open(2).result()
    two.wait()
    one.list.show_list(True)  # it looks at once
    until(lambda: len(one.session.clicks) == 2)
    one.wait()
    assert shown(one)["state"] == "done"
    assert one.worklist.entry(0).state == "done"


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


def test_a_note_is_written_whatever_the_worker_does(begin) -> None:
    app = begin("anna")
    going = Event()
    app.stage.worker.submit("Waiting", going.wait)
    app.case.widget._handle_custom_msg({"do": "note", "value": {"number": 0, "text": "hip"}}, [])
    assert app.worklist.entry(0).notes == "hip"
    assert shown(app)["notes"] == "hip"
    going.set()


def test_a_reviewers_case_is_opened_again_when_its_annotator_has_changed_it(begin) -> None:
    anna = begin("anna")
    anna.open(0).result()
    anna.click(VOXEL)
    anna.act("case_done")
    anna.wait()
    anna.open(2).result()
    anna.wait()
    carla = begin("carla", review=True)
    anna.cases.open(0, take_over=True).result()
    anna.click(OTHER)
    anna.act("case_done")
    anna.wait()
    anna.open(2).result()
    anna.wait()
    ask(carla, "accept", "")
    assert "open it again to see that" in carla.status.message
    list_asks(carla, do="open", number=0)
    assert len(carla.session.clicks) == 2
    ask(carla, "accept", "")
    assert shown(carla)["state"] == "done"


def test_going_on_from_a_colleagues_work(begin) -> None:
    anna = begin("anna")
    anna.click(VOXEL)
    anna.open(1).result()
    anna.wait()
    berta = begin("berta")
    berta.open(0).result()
    until(lambda: shown(berta).get("others") == ["anna"])
    ask(berta, "go_on", "anna")
    assert [click.ijk for click in berta.session.clicks] == [VOXEL]
    assert berta.session.autosave.name.endswith(".berta.sammed3d.json")
    until(lambda: shown(berta)["state"] == "in progress")
    assert shown(berta)["others"] == []


def test_a_reviewer_compares_rejects_and_accepts(begin) -> None:
    for who, voxel in (("anna", VOXEL), ("berta", OTHER)):
        app = begin(who, readings=2)
        app.open(0).result()
        app.click(voxel)
        app.act("case_done")
        app.wait()
        assert "case0: done" in app.status.message
        app.close()
    carla = begin("carla", readings=2, review=True)
    assert carla.session.volume.name == "case0"
    until(lambda: [one["who"] for one in shown(carla).get("readings", [])] == ["anna", "berta"])
    ask(carla, "difference")
    assert shown(carla)["difference"][0][0].startswith("object 1: Dice 0.")
    extras = carla.views.extras["readings"]
    assert extras
    assert sum(one.mask.count for one in extras) > carla.session.current.local.count
    ask(carla, "difference")
    assert carla.views.extras["readings"] == []
    ask(carla, "reject", "")
    assert "write in the comment" in carla.status.message
    ask(carla, "reading", "berta")
    assert [click.ijk for click in carla.session.clicks] == [OTHER]
    ask(carla, "reject", "both are wrong")
    assert shown(carla)["state"] == "rejected"
    anna = begin("anna", readings=2)
    assert anna.session.volume.name == "case0", "what comes back comes first"
    until(lambda: shown(anna).get("banner_kind") == "rejected")
    assert shown(anna)["banner"] == "Rejected by carla: both are wrong"
    anna.close()
    carla.open(0).result()
    carla.click((5, 5, 2))
    ask(carla, "accept", "as I have mended it")
    assert (shown(carla)["state"], shown(carla)["progress"]) == ("done", [1, 3])
    assert shown(carla)["banner"] == "Corrected and accepted by carla: as I have mended it"


def test_what_a_blinded_reader_is_shown_names_nobody(begin) -> None:
    anna = begin("anna")
    anna.click(VOXEL)
    ask(anna, "note", {"number": 0, "text": "secret"})
    ask(anna, "second")
    ask(anna, "done")
    berta = begin("berta", blind=True)
    berta.open(0).result()
    until(lambda: len(berta.list._survey.entries) == 3)
    list_asks(berta, do="ready")
    told = json.dumps([shown(berta), [content for content, _ in berta.list.rows.got]])
    assert "anna" not in told
    assert "secret" not in told
    assert "second reading" in told


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


def test_the_dashboard_begins_a_worklist_for_several_cases_or_when_asked(data: Path, model, tmp_path: Path) -> None:
    environ = {PATHS: json.dumps([str(data)]), OUTPUT: str(tmp_path / "out")}
    app = dashboard({**environ, WORKLIST: json.dumps({"annotator": "anna", "readings": 2})})
    app.wait(60)
    assert app.worklist.who == "anna"
    assert app.session.annotator == "anna"
    app.close()
    one = json.dumps([str(data / "case0" / "image.nii.gz")])
    app = dashboard({**environ, PATHS: one, WORKLIST: "{}"})
    app.wait(60)
    assert app.worklist is None
    assert app.session is not None
    app.close()


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


def test_a_worklist_has_its_own_cases(data: Path, model) -> None:
    worklist = snb.Worklist(data, output=data.parent / "out", annotator="anna")
    with pytest.raises(snb.UserError, match="own cases"):
        snb.App(snb.Volume.from_array(np.zeros((2, 2, 2)), (1, 1, 1)), model, worklist=worklist)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--labels", "none.yaml"], "cannot be read"),
        (["--blind", "--review"], "--review or --blind"),
        (["--annotator", " "], "no name of an annotator"),
        (["--readings", "0"], "readings"),
    ],
)
def test_the_command_line_says_what_is_wrong_before_a_server_starts(data: Path, capsys, words, told: str) -> None:
    try:
        status = main(["app", str(data), "--no-browser", "--port", "18994", *words])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert told in capsys.readouterr().err


def test_a_folder_is_exported_by_its_finished_cases(begin, data: Path, capsys, tmp_path: Path) -> None:
    app = begin("anna")
    out = data.parent / "out"
    app.click(VOXEL)
    assert main(["export", str(out), "-o", str(tmp_path / "set"), "--nnunet"]) == 2
    assert "No case of the worklist" in capsys.readouterr().err
    app.act("case_done")
    app.wait()
    app.open(1).result()
    app.click(VOXEL)
    app.open(2).result()
    app.wait()
    assert main(["export", str(out), "-o", str(tmp_path / "set"), "--nnunet"]) == 0
    told = capsys.readouterr()
    assert "1 finished, 1 other records left out (--all takes them)" in told.err
    labels = sorted(path.name for path in (tmp_path / "set" / "labelsTr").iterdir())
    assert len(labels) == 1
    assert labels[0].startswith("case0-")
    assert main(["export", str(out), "-o", str(tmp_path / "all"), "--nnunet", "--all"]) == 0
    assert len(list((tmp_path / "all" / "labelsTr").iterdir())) == 2
