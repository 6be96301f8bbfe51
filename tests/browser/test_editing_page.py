"""Finishing a mask in the page: operations seen before they are applied, a drawn cut, doubt, table, comparison."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from screen import Geometry, Screen
from small_models import save, weights

SEED = (176, 132, 22)  # inside the phantom's body


@pytest.fixture(scope="module")
def geometry(phantom_file: Path) -> Geometry:
    return Geometry.read(phantom_file)


@pytest.fixture(scope="module")
def screen(chromium, serve, phantom_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """One page for all tests of this file, each of which goes on where the one before ended.

    The network answers at once; what it says means nothing, but it is unsure of much.
    """
    model = save(tmp_path_factory.mktemp("model") / "unsure.pth", {"model_state_dict": weights(seed=5)})
    dashboard = serve(phantom_file, model=str(model))
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    screen = Screen(context.new_page())
    screen.page.goto(dashboard.page())
    screen.wait_for_status("Click on an organ")
    screen.settle()
    yield screen
    context.close()


def differs(screen: Screen, before: np.ndarray, view: str = "axial") -> int:
    """How many pixels of a view look another way than before."""
    return int((np.abs(screen.settled_pixels(view).astype(int) - before).max(axis=2) > 20).sum())


def press(screen: Screen, selector: str) -> None:
    screen.page.locator(selector).click()


def operation(screen: Screen, text: str) -> None:
    """Choose an operation and wait for its preview."""
    press(screen, f".snb-operations button:text-is('{text}')")
    screen.page.wait_for_function("document.querySelector('.snb-foot .snb-told')?.innerText.includes('→')")
    screen.settle()


def test_a_mask_is_filled_from_the_crosshair_and_seen_before(screen: Screen, geometry: Geometry) -> None:
    screen.look_at(geometry, SEED)
    plain = screen.settled_pixels("axial").astype(int)
    screen.page.keyboard.press("a")
    screen.page.wait_for_selector(".snb-operations", state="visible")
    operation(screen, "Fill")
    assert differs(screen, plain) > 300, "the preview is on the screen"
    assert screen.page.locator(".snb-current .snb-ml").inner_text() == "–", "and is no mask yet"
    press(screen, ".snb-edit-cancel")
    screen.page.wait_for_function("document.querySelector('.snb-foot .snb-told').innerText === ''")
    assert differs(screen, plain) == 0
    operation(screen, "Fill")
    press(screen, ".snb-edit-apply")
    screen.wait_for_status("after 1 edit")
    assert screen.millilitres() > 1
    assert differs(screen, plain) > 300


def test_a_slider_changes_the_preview(screen: Screen) -> None:
    before = screen.millilitres()
    operation(screen, "Grow")
    first = screen.settled_pixels("axial").astype(int)
    told = screen.page.inner_text(".snb-foot .snb-told")
    handle = screen.page.locator(".snb-tabs .widget-hslider:visible .noUi-handle")
    handle.focus()
    for _ in range(6):
        screen.page.keyboard.press("ArrowRight")
    screen.page.wait_for_function("t => document.querySelector('.snb-foot .snb-told').innerText !== t", arg=told)
    assert differs(screen, first) > 50
    assert screen.millilitres() == before
    press(screen, ".snb-edit-apply")
    screen.wait_for_status("after 2 edits")
    assert screen.millilitres() > before
    screen.page.keyboard.press("Control+z")
    screen.wait_for_status("Undone: grow 1 of object 1")
    assert screen.millilitres() == before


def test_a_cut_is_drawn_with_the_mouse(screen: Screen, geometry: Geometry) -> None:
    before = screen.millilitres()
    screen.page.evaluate("document.querySelector('.sammed3d-app').focus()")
    screen.page.keyboard.press("/")
    plain = screen.settled_pixels("axial").astype(int)
    box = screen.box("axial")
    x, _ = screen.place(geometry, "axial", SEED)
    top, bottom = (screen.point("axial", x + 8, place) for place in (30, box["height"] - 30))
    screen.page.mouse.move(*top)
    screen.page.mouse.down()
    screen.page.mouse.move(top[0], (top[1] + bottom[1]) / 2, steps=4)
    screen.page.mouse.move(*bottom, steps=4)
    screen.page.mouse.up()
    screen.page.wait_for_function("document.querySelector('.snb-foot .snb-told')?.innerText.includes('→')")
    assert differs(screen, plain) > 100
    press(screen, ".snb-edit-apply")
    screen.wait_for_status("after 2 edits")
    assert 0.05 * before < screen.millilitres() < 0.95 * before


def test_the_table_is_downloaded_and_says_what_the_list_says(screen: Screen, tmp_path: Path) -> None:
    screen.page.keyboard.press("k")
    screen.page.wait_for_selector(".snb-measures td")
    with screen.page.expect_download() as downloading:
        press(screen, ".snb-csv")
    downloading.value.save_as(tmp_path / "table.csv")
    (row,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert float(row["volume_ml"]) == pytest.approx(screen.millilitres(), rel=0.01)
    assert row["edits"] == "2"
    cells = [cell.inner_text() for cell in screen.page.locator(".snb-measures tbody td").all()]
    assert cells[0] == f"{float(row['volume_ml']):.4g}"


def test_a_file_opens_beside_and_is_compared(screen: Screen, phantom_file: Path, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(phantom_file))
    i, j, k = SEED
    values = np.zeros(image.GetSize()[::-1], np.uint8)
    values[k - 3 : k + 4, j - 30 : j + 31, i - 30 : i + 31] = 1
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(image)
    sitk.WriteImage(labels, str(tmp_path / "reader.nii.gz"))
    plain = screen.settled_pixels("axial").astype(int)
    screen.page.keyboard.press("Shift+K")
    with screen.page.expect_file_chooser() as choosing:
        press(screen, ".snb-open-beside")
    choosing.value.set_files(str(tmp_path / "reader.nii.gz"))
    screen.wait_for_status("reader.nii.gz: 1 structure beside")
    assert differs(screen, plain) > 100
    outlined = screen.settled_pixels("axial").astype(int)
    screen.page.locator(".snb-compare-a select").select_option(label="object 1")
    screen.page.locator(".snb-compare-b select").select_option(index=2)
    screen.page.wait_for_selector(".snb-compared")
    told = screen.page.inner_text(".snb-compared")
    assert 0 < float(told.split("Dice")[1].split()[0]) < 1
    assert "HD95" in told
    assert differs(screen, outlined) > 100, "the overlap has colours"
    with screen.page.expect_file_chooser() as choosing:
        press(screen, ".snb-open-start")
    choosing.value.set_files(str(tmp_path / "reader.nii.gz"))
    screen.wait_for_status("reader.nii.gz: 1 object to go on from")
    assert screen.page.locator(".snb-object").count() == 2
    press(screen, ".snb-beside-away")
    screen.page.keyboard.press("Control+z")
    screen.wait_for_status("Undone: load 1 object")


def test_doubt_is_a_key_away_and_so_is_the_next_place(screen: Screen, geometry: Geometry) -> None:
    screen.page.evaluate("document.querySelector('.sammed3d-app').focus()")
    screen.page.keyboard.press("f")
    screen.page.wait_for_function("document.querySelector('.snb-tabs').innerText.includes('click on it first')")
    screen.page.keyboard.press("n")
    screen.wait_for_status("object 2: no clicks yet")
    screen.page.mouse.click(*screen.point("axial", *screen.place(geometry, "axial", (40, 132, 22))))
    screen.wait_for_status("after 1 click")
    screen.page.wait_for_function("!document.querySelector('.snb-tabs').innerText.includes('click on it first')")
    shown = screen.settled_pixels("axial").astype(int)
    screen.page.keyboard.press("f")
    assert differs(screen, shown) > 500, "the heat map goes"
    screen.page.keyboard.press("f")
    screen.page.keyboard.press("y")
    text = screen.wait_for_status("Look here: the network is unsure round voxel")
    place = [int(n) for n in text.split("voxel ")[1].split(".")[0].split(", ")]
    assert int(screen.page.get_attribute(".snb-axial", "data-slice")) == place[2]
