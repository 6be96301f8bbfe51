"""The panel of a case in the app, without a page: what it says, and what its messages do."""

import json
from threading import Event

import pytest
from case_app import LABELS, OTHER, VOXEL, ask, list_asks, shown, until

from sammed3d_nb.worklist.labels import Label, LabelSet

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


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
