"""Several people at one worklist, each in a browser of their own: leases, two readings, a review, all on the screen."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from screen import Geometry, Screen

from sammed3d_nb.imaging.sample import open_sample, phantom_clicks
from sammed3d_nb.session import record
from sammed3d_nb.ui.case_list import CaseRows
from sammed3d_nb.ui.worklist import WORKLIST

LABELS = """
name: Abdomen
guideline: Contour what belongs to the organ, without fat.
labels:
  - {name: liver, colour: "#e69f00", snomed: 10200004, guideline: Up to the dome.}
  - {name: spleen, colour: "#009e73", required: false}
"""
HEAT = (224, 24, 45)  # more than 5 mm apart


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients."""
    folder = tmp_path_factory.mktemp("worklist")
    image = open_sample("phantom").image
    for number in range(3):
        path = folder / "data" / f"patient{number}" / "ct.nii.gz"
        path.parent.mkdir(parents=True)
        shifted = SimpleITK.Cast(image + number, SimpleITK.sitkInt16)
        SimpleITK.WriteImage(shifted, str(path))
    (folder / "labels.yaml").write_text(LABELS)
    return folder


@pytest.fixture
def person(folder: Path, chromium, serve, monkeypatch) -> Callable[..., Screen]:
    """Somebody at a browser of their own: person(name, review=…) → the page."""

    def begin(who: str, **settings: object) -> Screen:
        told = {"annotator": who, "labels": str(folder / "labels.yaml"), "readings": 2, **settings}
        monkeypatch.setenv(WORKLIST, json.dumps(told))
        output = folder / "output"
        output.mkdir(exist_ok=True)
        server = serve(folder / "data", folder=output)
        server.log.rename(output / f"{who}.log")
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        screen = Screen(context.new_page())
        screen.page.goto(server.page())
        return screen

    return begin


def state(screen: Screen, wanted: str) -> None:
    """Until the panel shows a state of the case."""
    screen.page.wait_for_function(
        "w => document.querySelector('.snb-case-head .snb-state')?.textContent === w", arg=wanted
    )


def row(screen: Screen, number: int) -> str:
    """What the worklist says of a case, read off its row; the list is open."""
    screen.page.wait_for_selector(f"#snb-case-{number}")
    assert screen.seen(f"#snb-case-{number}") > 0.9
    return screen.page.inner_text(f"#snb-case-{number}")


def wait_for_row(screen: Screen, number: int, wanted: str) -> None:
    screen.page.wait_for_function(
        "([n, w]) => document.querySelector(`#snb-case-${n}`)?.innerText.includes(w)", arg=[number, wanted]
    )


def open_from_list(screen: Screen, name: str) -> None:
    """Open a case by its name, with keys alone."""
    screen.page.keyboard.press("Shift+L")
    screen.page.wait_for_selector(".snb-cases-search:focus")
    screen.page.keyboard.type(name)
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_selector(f".snb-case-name:has-text('{name}')")


def coloured(screen: Screen, view: str, colour: tuple[int, int, int]) -> int:
    """How many pixels of a view have about the hue of a colour."""
    pixels = screen.settled_pixels(view)[..., :3].astype(float)
    strong = pixels.max(axis=2) - pixels.min(axis=2) > 30
    hue = pixels - pixels.mean(axis=2, keepdims=True)
    wanted = np.array(colour) - np.mean(colour)
    cosine = (hue @ wanted) / np.maximum(np.linalg.norm(hue, axis=2) * np.linalg.norm(wanted), 1e-6)
    return int((strong & (cosine > 0.97)).sum())


def picture(screen: Screen, name: str) -> None:
    """For people who want to look: pages as they were, in the folder that SAMMED3D_PICTURES names."""
    if "SAMMED3D_PICTURES" in os.environ:
        screen.page.screenshot(path=str(Path(os.environ["SAMMED3D_PICTURES"]) / f"worklist-{name}.png"))


def test_two_annotators_and_a_reviewer_finish_a_case(folder: Path, person) -> None:
    geometry = Geometry(open_sample("phantom").image)
    liver, spleen = phantom_clicks()["liver"], phantom_clicks()["spleen"]

    anna = person("anna")
    anna.wait_for_status("patient0: .* Click on an organ")
    assert anna.page.inner_text(".snb-case-panel .snb-progress-text") == "0 of 3 done"
    assert anna.page.inner_text(".snb-guideline") == "Up to the dome."
    assert anna.page.input_value(".snb-current .snb-title") == "liver", "offered, not typed"
    anna.page.keyboard.press("Shift+D")
    anna.wait_for_status("patient0 is not done yet: “liver” has no mask")
    anna.look_at(geometry, liver)
    anna.click("axial", *anna.place(geometry, "axial", liver))
    state(anna, "in progress")
    assert coloured(anna, "axial", (230, 159, 0)) > 500, "in the colour of the label"
    anna.page.wait_for_selector(".snb-label.snb-label-done:has-text('liver')")

    berta = person("berta")
    berta.wait_for_status("patient1: .* Click on an organ")  # the first that nobody has
    berta.page.keyboard.press("Shift+L")
    wait_for_row(berta, 0, "open: anna for")
    assert "in progress" in row(berta, 0)
    berta.page.wait_for_function("document.querySelector('#snb-case-0 img')?.naturalWidth > 40")
    picture(berta, "list")
    berta.page.fill(".snb-cases-search", "patient0")
    berta.page.wait_for_selector("#snb-case-1", state="detached")
    berta.page.keyboard.press("Enter")
    berta.wait_for_status("anna for .* has this case open")
    assert berta.page.inner_text(".snb-case-name") == "patient1", "that one stays on the screen"
    berta.page.click("button.snb-take_over")
    berta.wait_for_status("patient0: .* Click on an organ")
    anna.page.wait_for_selector(".snb-case-banner:has-text('berta has taken over this case')")
    assert anna.seen(".snb-case-banner") > 0.9
    picture(anna, "taken over")

    berta.look_at(geometry, spleen)
    berta.click("axial", *berta.place(geometry, "axial", spleen))  # she takes the spleen for the liver
    berta.page.keyboard.press("Shift+D")
    berta.wait_for_status("patient0: done. 0 of 3 cases are done")
    berta.page.keyboard.press("Shift+N")
    berta.wait_for_status("last case of the list as it is shown")  # for she has searched
    berta.page.keyboard.press("Shift+L")
    berta.page.fill(".snb-cases-search", "")
    berta.page.keyboard.press("Escape")
    berta.page.wait_for_selector(".snb-cases-over", state="hidden")
    berta.page.keyboard.press("Shift+N")
    berta.wait_for_status("patient1: .* Click on an organ")
    anna.page.keyboard.press("Shift+D")
    anna.wait_for_status("patient0: done.")
    open_from_list(anna, "patient2")
    records = sorted((folder / "output").glob("patient0-*.sammed3d.json"))
    assert [record.load(path)["annotator"] for path in records] == ["anna", "berta"], "each has a record of their own"

    carla = person("carla", review=True)
    carla.wait_for_status("patient0: .* resumed with 1 object")
    state(carla, "needs review")
    assert carla.page.locator(".snb-reading").all_inner_texts() == ["anna", "berta"]
    carla.look_at(geometry, spleen)
    before = coloured(carla, "axial", HEAT)
    carla.page.click(".snb-difference")
    carla.page.wait_for_selector(".snb-score:has-text('liver: Dice 0.000')")
    assert coloured(carla, "axial", HEAT) > before + 200, "the spleen is no liver, and far from one"
    picture(carla, "difference")
    carla.page.click(".snb-reject")
    carla.wait_for_status("write in the comment what is to be mended")
    carla.page.fill(".snb-comment", "Which of you is right?")
    carla.page.click(".snb-reject")
    carla.wait_for_status("patient0: rejected")
    state(carla, "rejected")
    picture(carla, "rejected")

    open_from_list(anna, "patient0")
    anna.page.wait_for_selector(".snb-case-banner[data-kind=rejected]:has-text('Rejected by carla: Which of you')")
    picture(anna, "rejected to her")
    anna.look_at(geometry, liver)
    anna.click("axial", *(n + 12 for n in anna.place(geometry, "axial", liver)))
    state(anna, "in progress")
    anna.page.keyboard.press("Shift+D")
    anna.wait_for_status("patient0: needs review")
    open_from_list(anna, "patient2")

    carla.page.click(".snb-accept")
    carla.wait_for_status("anna has worked on patient0 since it was opened here")
    carla.page.click(".snb-reading:has-text('anna')")
    carla.wait_for_status("patient0: .* resumed with 1 object")
    carla.page.click(".snb-accept")
    carla.wait_for_status("patient0: accepted")
    state(carla, "done")
    carla.page.wait_for_selector(".snb-case-panel .snb-progress-text:has-text('1 of 3 done')")
    anna.page.keyboard.press("Shift+L")
    anna.page.fill(".snb-cases-search", "")
    wait_for_row(anna, 0, "done")
    picture(anna, "done")
    anna.page.wait_for_function("document.querySelector('.snb-cases .snb-progress-text').textContent === '1 of 3 done'")


def test_keys_go_from_case_to_case_as_the_list_shows_them(folder: Path, person) -> None:
    dora = person("dora")
    dora.wait_for_status("Click on an organ|resumed")
    dora.page.keyboard.press("Shift+L")
    dora.page.wait_for_selector("#snb-case-2")
    dora.page.click(".snb-cases-heading .snb-c-name")
    dora.page.click(".snb-cases-heading .snb-c-name")  # the last name first
    dora.page.keyboard.press("ArrowUp")
    dora.page.keyboard.press("ArrowUp")
    dora.page.keyboard.press("Enter")
    dora.page.wait_for_selector(".snb-case-name:has-text('patient2')")
    dora.page.wait_for_selector(".snb-cases-over", state="hidden")
    dora.page.keyboard.press("Shift+N")
    dora.page.wait_for_selector(".snb-case-name:has-text('patient1')")
    dora.page.keyboard.press("Shift+P")
    dora.page.wait_for_selector(".snb-case-name:has-text('patient2')")
    dora.page.keyboard.press("Shift+P")
    dora.wait_for_status("first case of the list as it is shown")
    dora.page.fill(".snb-notes", "artefacts near the hip")
    dora.page.keyboard.press("Escape")
    dora.page.keyboard.press("Shift+L")
    wait_for_row(dora, 2, "artefacts near the hip")
    deadline = time.monotonic() + 20
    while not (found := list((folder / "output").rglob("*.dora.work.json"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert json.loads(found[0].read_text())["notes"] == "artefacts near the hip"


LIST = """async ([source, rows]) => {
    const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    const heard = {};
    window.sent = [];
    const on = (what, then) => { heard[what] = then; };
    const model = { get: () => -1, send: (told) => sent.push(told), on, off: () => {} };
    widget.render({ model, el: document.getElementById("list") });
    window.tell = (told) => heard["msg:custom"](told);
    tell({ type: "rows", rows, all: true, done: 3 });
}"""


def test_two_thousand_rows_are_a_screenful_of_elements(chromium) -> None:
    page = chromium.new_page(viewport={"width": 1000, "height": 700})
    page.set_content('<div class="snb-cases-over" style="height: 600px"><div id="list"></div></div>')
    page.add_style_tag(content=CaseRows._css)
    rows = [
        {
            "number": n, "name": f"patient{n}", "details": "", "modality": "CT" if n % 2 else "MR", "size": "8 × 8 × 4",
            "voxels": n % 7, "state": "done" if n % 4 == 0 else "new", "rank": 4 if n % 4 == 0 else 3, "who": "anna",
            "held": "", "seconds": n, "notes": "<b>hip</b>" if n == 1500 else "", "todo": n % 4 != 0, "mine": True,
        }
        for n in range(2000)
    ]  # fmt: skip
    page.evaluate(LIST, [CaseRows._esm, rows])

    def elements() -> list[str]:
        return page.locator(".snb-cases-inside .snb-cases-row .snb-c-name").all_inner_texts()

    def order() -> list[int]:
        return page.evaluate("sent.filter((told) => told.do === 'order').at(-1).numbers")

    assert len(elements()) < 40
    assert order() == list(range(2000))
    assert page.inner_text(".snb-progress-text") == "3 of 2000 done"
    page.fill(".snb-cases-search", "PATIENT19 ct")
    assert order() == [n for n in range(2000) if str(n).startswith("19") and n % 2]
    page.fill(".snb-cases-search", "hip")
    assert order() == [1500]
    assert page.inner_text("#snb-case-1500 .snb-c-notes") == "<b>hip</b>", "it is text, whatever stands in it"
    page.fill(".snb-cases-search", "nobody")
    assert page.is_visible(".snb-cases-nothing")
    page.fill(".snb-cases-search", "")
    page.click(".snb-cases-filters button:has-text('To do')")
    assert order() == [n for n in range(2000) if n % 4]
    page.click(".snb-cases-filters button:has-text('All')")
    page.click(".snb-cases-heading .snb-c-name")
    assert order() == list(range(2000)), "10 comes after 9"
    page.click(".snb-cases-heading .snb-c-minutes")
    page.click(".snb-cases-heading .snb-c-minutes")
    assert order() == list(range(1999, -1, -1))
    page.evaluate("document.querySelector('.snb-cases-scroller').scrollTop = 52 * 1000")
    page.wait_for_selector("#snb-case-999")
    assert len(elements()) < 40
    page.wait_for_function("sent.some((told) => told.do === 'pictures' && told.numbers.includes(999))")
    page.focus(".snb-cases-search")
    page.keyboard.press("PageDown")
    page.keyboard.press("Enter")
    opened = page.evaluate("sent.find((told) => told.do === 'open').number")
    assert 0 <= opened < 2000
    page.evaluate("row => tell({ type: 'rows', rows: [row], all: false, done: 4 })", {**rows[999], "state": "rejected"})
    page.evaluate("document.querySelector('.snb-cases-scroller').scrollTop = 52 * 1000")
    page.wait_for_selector("#snb-case-999 .snb-state[data-state=rejected]")
    page.close()
