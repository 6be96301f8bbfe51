"""The panels beside the views: doubt, the table of objects, another segmentation, two masks compared."""

import csv
import io
import json
import time

import numpy as np
import pytest
import SimpleITK as sitk
from support import BallNetwork, model_of
from ui_page import BALL, Browser, Tab, ball_volume

import sammed3d_nb as snb
from sammed3d_nb.imaging.label_maps import NamedMask
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.session.statistics import Measured
from sammed3d_nb.ui.doubt_panel import BANDS
from sammed3d_nb.ui.scene import EXTRA
from sammed3d_nb.ui.table_panel import table_html
from sammed3d_nb.ui.upload import LARGEST, _safe

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def extras(app, tool: str) -> list:
    return [one for one in app.views.objects if one.name.startswith(f"{EXTRA}{tool}")]


def settle(app) -> None:
    for _ in range(4):
        app.wait()


def act(app, action: str) -> None:
    app.act(action)
    settle(app)


# -- the tabs ----------------------------------------------------------------------------------------------------------


def test_one_panel_is_open_at_a_time_by_keys_and_buttons(app) -> None:
    def opened() -> list[str]:
        shown = [tab.title for tab in app.tabs.tabs if tab.panel.layout.display != "none"]
        assert shown == [tab.title for tab in app.tabs.tabs if tab.open]
        assert shown == [button.description for button in app.tabs.buttons if button.value]
        return shown

    assert opened() == []
    for tab in app.tabs.tabs:
        act(app, tab.action)
        assert opened() == [tab.title]
    act(app, app.tabs.tabs[-1].action)
    assert opened() == []
    app.tabs.buttons[0].value = True
    app.tabs.buttons[1].value = True
    assert opened() == ["Doubt"]
    app.tabs.buttons[1].value = False
    assert opened() == []
    act(app, "toggle_edits")
    act(app, "close_panels")
    assert opened() == []


# -- doubt -------------------------------------------------------------------------------------------------------------


def test_the_heat_map_is_what_the_network_says_and_goes_again(app) -> None:
    app.click(BALL)
    act(app, "toggle_doubt")
    doubt = app.session.doubt()
    shown = extras(app, "doubt")
    assert shown
    for one in shown:
        level = BANDS[int(one.name.split()[-1])][0]
        assert np.array_equal(one.mask.full > 0, app.session.unsure(level).full > 0)
        assert not one.outline
        assert np.array_equal(one.mask.full > 0, doubt >= round(level * 255) / 255 - 1e-6)
    app.click((BALL[0] + 14, BALL[1], BALL[2]))
    settle(app)
    moved = extras(app, "doubt")
    assert np.array_equal(moved[0].mask.full > 0, app.session.unsure(BANDS[0][0]).full > 0)
    assert moved[0].mask != shown[0].mask
    act(app, "toggle_doubt")
    assert extras(app, "doubt") == []


def test_the_heat_map_is_in_both_renderers(app, page_app) -> None:
    for one in (app, page_app):
        one.click(BALL)
    browser, tab = Browser(app, "axial"), Tab(page_app)
    plain = browser.picture().astype(int)
    for one in (app, page_app):
        act(one, "toggle_doubt")
    assert (np.abs(browser.picture().astype(int) - plain).sum(axis=2) > 40).sum() > 30
    objects = tab.last("objects")
    assert len(objects) == 1 + len(extras(page_app, "doubt")) > 2
    assert [found["outline"] for found in objects[1:]] == [False] * (len(objects) - 1)


def test_masks_that_are_hidden_are_shown_for_the_heat_map(app) -> None:
    app.click(BALL)
    act(app, "toggle_masks")
    act(app, "toggle_doubt")
    assert app.views.display.masks
    assert "masks were hidden" in app.status.message


def test_before_an_answer_the_panel_says_why_there_is_no_map(app) -> None:
    act(app, "toggle_doubt")
    assert "click on it first" in app.doubt.told.value
    assert extras(app, "doubt") == []
    act(app, "look_next")
    assert "click on it first" in app.status.message
    app.click(BALL)
    settle(app)
    assert app.doubt.told.value == ""
    assert extras(app, "doubt")


def test_look_next_moves_the_crosshair_and_goes_on(app) -> None:
    app.click(BALL)
    twin = snb.Session(ball_volume(), model_of(BallNetwork()))
    twin.click(BALL)
    seen = []
    while (place := twin.look_next()) is not None:
        act(app, "look_next")
        assert app.views.cross == place.at
        assert f"voxel {', '.join(map(str, place.at))}" in app.status.message
        seen.append(place.at)
    assert len(seen) > 1
    act(app, "look_next")
    assert "No other place" in app.status.message
    act(app, "look_next")
    assert app.views.cross == seen[0]


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_follows_and_its_file_says_the_same(app, monkeypatch) -> None:
    act(app, "toggle_table")
    app.click(BALL)
    app.change("", lambda s: s.rename("object 1", "=evil, <b>")).result()
    settle(app)
    (one,) = app.session.measure()
    assert "&lt;b&gt;" in app.table.table.value
    assert "<b>" not in app.table.table.value
    assert f"{one.volume_ml:.4g}" in app.table.table.value
    sent = []
    monkeypatch.setattr(app.page, "download", lambda name, data: sent.append((name, data)))
    app.table.panel.children[1].children[0].click()
    settle(app)
    ((name, data),) = sent
    assert name.endswith("-objects.csv")
    (row,) = csv.DictReader(io.StringIO(data.decode()))
    assert row["object"] == "'=evil, <b>", "no spreadsheet takes it for a formula"
    assert float(row["volume_ml"]) == one.volume_ml
    assert float(row["mean"]) == one.mean
    assert (row["prompts"], row["edits"]) == ("1", "0")


def test_the_file_of_an_anonymous_session_names_nobody(app, monkeypatch) -> None:
    app.stage.show(snb.Session(ball_volume(), model_of(BallNetwork()), annotator="Dr Jane Doe", anonymous=True))
    app.click(BALL)
    settle(app)
    sent = []
    monkeypatch.setattr(app.page, "download", lambda name, data: sent.append((name, data.decode())))
    app.table.panel.children[1].children[0].click()
    settle(app)
    ((_, text),) = sent
    assert text == app.session.table_text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["case"], row["annotator"], row["prompts"]) == ("", "", "1")
    assert "Doe" not in text


def test_large_numbers_are_read_without_exponents() -> None:
    one = Measured("a", 12345.6, 1234.5, 123.4, (0, 0, 0), (1, 1, 1), (1.0, 1.0, 1.0), 1, 0, 60.0)
    told = table_html([one], {})
    assert "12346" in told
    assert "1234 ± 123" in told
    assert "e+" not in told


def test_nothing_to_measure_is_one_sentence(app) -> None:
    act(app, "toggle_table")
    app.table.panel.children[1].children[0].click()
    settle(app)
    assert "no mask to measure yet" in app.status.message


def test_only_masks_that_have_changed_are_looked_at(app, monkeypatch) -> None:
    from sammed3d_nb.session import statistics

    looked = []
    real = statistics._mean_and_sd
    monkeypatch.setattr(statistics, "_mean_and_sd", lambda mask, volume: looked.append(mask) or real(mask, volume))
    act(app, "toggle_table")
    app.click(BALL)
    settle(app)
    app.change("", lambda s: s.new_object("b")).result()
    app.change("", lambda s: s.paint([(1, 1, 1)])).result()
    settle(app)
    assert len(looked) == 2


# -- other segmentations -----------------------------------------------------------------------------------------------


def label_file(path, masks: list[np.ndarray]):
    """A label map on the app's volume."""
    volume = ball_volume()
    labels = np.zeros(volume.array.shape, np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(volume.image)
    sitk.WriteImage(image, str(path))
    return path


def send(app, how: str, name: str, data: bytes, piece: int = 1000) -> list[dict]:
    """What the page does with a file: it announces it, and sends the pieces that are asked for."""
    upload, asked = app.compare.upload, []
    upload.send = lambda content, buffers=None: asked.append(json.loads(json.dumps(content)))
    upload._handle_custom_msg({"do": "file", "ask": "1", "how": how, "name": name, "size": len(data)}, [])
    done = 0
    while done < len(asked):
        at = asked[done]["want"]
        done += 1
        upload._handle_custom_msg({"do": "piece", "ask": "1", "at": at}, [memoryview(data[at : at + piece])])
    settle(app)
    return asked


@pytest.fixture
def masks() -> list[np.ndarray]:
    shape = ball_volume().array.shape
    found = [np.zeros(shape, bool) for _ in range(2)]
    found[0][6:12, 24:36, 14:50] = True
    found[1][2:4, 2:9, 2:9] = True
    return found


def test_a_segmentation_opens_beside_and_changes_nothing(app, masks, tmp_path) -> None:
    data = label_file(tmp_path / "old.nii.gz", masks).read_bytes()
    steps = len(app.session.steps)
    asked = send(app, "beside", "C:\\scans\\old.nii.gz", data, piece=100)
    assert [one["want"] for one in asked] == list(range(0, len(data), 100))
    shown = extras(app, "beside")
    assert [np.array_equal(one.mask.full > 0, mask) for one, mask in zip(shown, masks, strict=True)] == [True, True]
    assert [(one.fill, one.outline) for one in shown] == [(False, True)] * 2
    assert len(app.session.steps) == steps
    assert [item.local.count for item in app.session.objects] == [0]
    assert app.status.message == "old.nii.gz: 2 structures beside, read only."
    app.compare.away.click()
    assert extras(app, "beside") == []


def test_a_segmentation_opens_as_the_start(app, masks, tmp_path) -> None:
    data = label_file(tmp_path / "old.nii.gz", masks).read_bytes()
    send(app, "start", "old.nii.gz", data)
    assert [np.array_equal(item.mask > 0, mask) for item, mask in zip(app.session.objects[1:], masks, strict=True)] == [
        True,
        True,
    ]
    act(app, "undo")
    assert len(app.session.objects) == 1


def test_files_that_are_none_are_one_sentence_and_leave_nothing_behind(app, tmp_path, monkeypatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    for how in ("start", "beside"):
        for name, data in (
            ("notes.txt", b"hello"),
            ("x.nii.gz", b"no gzip"),
            ("../../.bashrc", b"x"),
            ("y.mhd", b"NDims = 3\n"),
        ):
            send(app, how, name, data)
            assert 'class="snb-error"' in app.status._text.value, name
            assert "Something unexpected" not in app.status.message, (name, app.status.message)
    upload = app.compare.upload
    upload._handle_custom_msg({"do": "file", "ask": "2", "how": "start", "name": "a", "size": LARGEST + 1}, [])
    assert "at most" in app.status.message
    upload._handle_custom_msg({"do": "file", "ask": "3", "how": "start", "name": "a.nii", "size": 10}, [])
    upload._handle_custom_msg({"do": "piece", "ask": "3", "at": 0}, [b"0123456789x"])
    assert "changed while it was read" in app.status.message
    upload._handle_custom_msg({"do": "piece", "ask": "3", "at": 0}, [b"0123456789"])
    settle(app)
    for _ in range(100):  # a folder goes when its job is over, a moment after that has been said
        if set(tmp_path.iterdir()) == before:
            break
        time.sleep(0.05)
    assert set(tmp_path.iterdir()) == before
    assert [item.local.count for item in app.session.objects] == [0]


def test_names_of_files_are_made_harmless() -> None:
    assert _safe("../../etc/passwd") == "passwd"
    assert _safe("C:\\a\\liver (1).seg.nrrd") == "liver (1).seg.nrrd"
    assert _safe("..") == "masks"
    assert _safe("a\0b\n.nii") == "a_b_.nii"
    assert len(_safe("x" * 500 + ".nii.gz")) == 100
    assert _safe("x" * 500 + ".nii.gz").endswith(".nii.gz")


def test_two_masks_are_compared(app, masks, tmp_path) -> None:
    from sammed3d_nb.measure.distances import compare_masks

    app.click(BALL)
    act(app, "toggle_compare")
    send(app, "beside", "old.nii.gz", label_file(tmp_path / "old.nii.gz", masks).read_bytes())
    app.compare.first.value = ("object", app.session.current.key)
    settle(app)
    a, b = app.session.current.local, app.compare.beside[0].mask
    expected = compare_masks(a, b, app.session.volume.spacing)
    told = app.compare.told.value
    assert f"{expected.dice:.4f}" in told
    assert f"{expected.mean_mm:.2f} mm" in told
    assert f"{expected.hd95_mm:.2f} mm" in told
    shown = [one.mask for one in extras(app, "compare")]
    assert shown == [a.without(b), b.without(a), a & b]
    app.click((BALL[0] + 14, BALL[1], BALL[2]))
    settle(app)
    assert extras(app, "compare")[0].mask == app.session.current.local.without(b)
    assert app.compare.told.value != told
    act(app, "toggle_compare")
    assert extras(app, "compare") == []
    assert extras(app, "beside") != [], "the layer beside stays"


def test_another_case_has_no_layer_of_the_one_before(app, masks, tmp_path) -> None:
    send(app, "beside", "old.nii.gz", label_file(tmp_path / "old.nii.gz", masks).read_bytes())
    act(app, "toggle_compare")
    app.stage.show(snb.Session(ball_volume(), model_of(BallNetwork())))
    app.stage.refresh()
    assert extras(app, "") == []
    assert app.compare.second.options == (("–", None),)


def test_two_structures_of_one_name_are_two_choices(app, masks) -> None:
    app.compare.beside = [NamedMask("rib", None, LocalMask.of(mask)) for mask in masks]
    act(app, "toggle_compare")
    named = dict(app.compare.second.options)
    assert list(named) == ["–", "beside: rib (1)", "beside: rib (2)"]
    app.compare.first.value, app.compare.second.value = named["beside: rib (1)"], named["beside: rib (2)"]
    settle(app)
    shown = [one.mask.full > 0 for one in extras(app, "compare")]
    assert [np.array_equal(one, mask) for one, mask in zip(shown, masks, strict=True)] == [True, True]
