"""What else a page must do: show errors in one sentence, notice a silent kernel, and work in JupyterLab."""

from pathlib import Path

import pytest
from renderers import RENDERERS
from screen import TIMEOUT, Geometry, Screen

from sammed3d_nb.imaging.sample import open_sample, phantom_clicks


@pytest.fixture(scope="module")
def phantom() -> Geometry:
    return Geometry(open_sample("phantom").image)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A good file and one that is no image."""
    import SimpleITK as sitk

    folder = tmp_path_factory.mktemp("files")
    good, bad = folder / "good.nii.gz", folder / "bad.nii.gz"
    sitk.WriteImage(open_sample("phantom").image, str(good))
    bad.write_bytes(b"this is no image")
    return [good, bad]


@pytest.fixture(scope="module", params=RENDERERS)
def dashboard(request: pytest.FixtureRequest, serve, files: list[Path]):
    return serve(*files, renderer=request.param)


@pytest.fixture
def screen(chromium, dashboard) -> Screen:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    dashboard.forget()
    return Screen(context.new_page())


def test_a_bad_file_shows_one_sentence_and_the_next_one_opens(screen: Screen, dashboard) -> None:
    screen.page.goto(dashboard.page("case=1"))
    message = screen.page.inner_text(".snb-status .snb-error")
    assert "bad.nii.gz" in message
    assert "Traceback" not in screen.page.inner_text("body")
    assert message.count(". ") == 0
    assert message.strip().endswith(".")
    menu = screen.page.locator(".snb-case select")
    told = [label.replace("\xa0", " ") for label in menu.locator("option").all_text_contents()]
    labels = {label.split(" · ")[0]: label for label in told}
    menu.select_option(labels["good.nii.gz"])
    screen.wait_for_status("good: .* Click on an organ")
    menu.select_option(labels["bad.nii.gz"])
    assert screen.page.inner_text(".snb-status .snb-error") == message
    assert menu.input_value() == labels["good.nii.gz"], "what is open stays open"


def test_the_address_chooses_a_case_by_number_only(screen: Screen, dashboard) -> None:
    screen.page.goto(dashboard.page("case=../../etc/passwd"))
    assert "expected a number from 0 to 1" in screen.wait_for_status("The address asks for case")


def test_a_double_click_is_one_click_and_keys_reach_the_app(screen: Screen, dashboard, phantom: Geometry) -> None:
    screen.page.goto(dashboard.page())
    screen.wait_for_status("Click on an organ")
    assert screen.until(lambda: screen.pixels("axial")[..., :3].max() > 200)  # and not a moment later: nothing is lost
    box = screen.box("axial")
    middle = [n // 2 for n in phantom.size]
    screen.page.mouse.dblclick(*screen.point("axial", box["width"] / 2, box["height"] / 2))
    screen.wait_for_status("after 1 click,")
    assert screen.space("voxel")[2] == middle[2]
    screen.page.keyboard.press("ArrowUp")  # from wherever the focus is
    screen.page.keyboard.press("n")
    screen.wait_for_status("object 2: no clicks yet")
    screen.page.keyboard.press("t")
    screen.page.wait_for_selector(".snb-sign button.mod-active >> text=Negative")
    screen.page.locator(".snb-current .snb-title").fill("t")  # a name may hold keys of shortcuts
    screen.page.keyboard.press("Enter")
    screen.wait_for_status("^t: no clicks yet")
    assert screen.page.locator(".snb-sign button.mod-active").inner_text() == "− Negative"


def test_the_wheel_scrolls_and_the_pointer_reads_the_slice_shown(screen: Screen, dashboard, phantom: Geometry) -> None:
    screen.page.goto(dashboard.page())
    screen.wait_for_status("Click on an organ")
    screen.settle()
    voxel = [n // 2 for n in phantom.size]
    for view in screen.VIEWS:
        place, aimed = screen.aim(phantom, view, voxel)
        screen.hover(view, *place, aimed)
        before = screen.settled_pixels(view)
        screen.page.mouse.wheel(0, -100)
        screen.settle()
        assert (screen.pixels(view) != before).any()
        x, y = place
        screen.page.mouse.move(*screen.point(view, x + 40, y))
        screen.page.wait_for_selector(".snb-hover")
        normal = phantom.normal(view)
        moved = screen.space("voxel")[normal] - voxel[normal]
        towards = {"axial": 2, "coronal": 1, "sagittal": 0}[view]  # superior; anterior, against LPS; left
        assert moved == (-1 if view == "coronal" else 1) * (1 if phantom.direction[towards, normal] > 0 else -1)
        voxel[normal] += int(moved)


def test_a_reloaded_page_goes_on_where_it_was(screen: Screen, dashboard) -> None:
    screen.page.goto(dashboard.page())
    screen.wait_for_status("Click on an organ")
    screen.settle()
    box = screen.box("axial")
    screen.click("axial", box["width"] / 2, box["height"] / 2)
    volume = screen.millilitres()
    screen.page.reload()
    screen.wait_for_status("resumed with 1 object")
    assert screen.millilitres() == volume
    screen.settle()
    screen.clicks = 1
    screen.click("axial", box["width"] / 2 + 30, box["height"] / 2)
    assert screen.millilitres() != volume


@pytest.fixture(scope="module")
def lab(serve_lab):
    return serve_lab()


@pytest.mark.parametrize("name", ["coordinates", "evaluate", "segment", "dashboard"])
def test_no_notebook_is_changed_by_being_opened(chromium, lab, name: str) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(lab.url + f"lab/tree/{name}.ipynb?token=test&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    page.wait_for_function("document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')")
    page.wait_for_timeout(2000)
    assert page.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0


@pytest.mark.parametrize("ratio", [1, 2])
def test_the_notebook_in_jupyterlab(chromium, lab, phantom: Geometry, ratio: int) -> None:
    context = chromium.new_context(viewport={"width": 1500, "height": 950}, device_scale_factor=ratio)
    page = context.new_page()
    screen = Screen(page)
    page.goto(lab.url + "lab/tree/segment.ipynb?token=test&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    # a cell that is run before the kernel has answered is silently left alone
    page.wait_for_function("document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')")
    page.locator(".jp-CodeCell .jp-InputArea-editor").first.click()
    page.keyboard.press("Shift+Enter")
    screen.wait_for_status("Click on an organ")
    organ = phantom_clicks()["spleen"]
    voxel = [n // 2 for n in phantom.size]
    cells = page.locator(".jp-Cell").count()
    page.click(".snb-brand")  # the keys go to the app from now on
    screen.settle()
    for view in screen.VIEWS:
        normal = phantom.normal(view)
        wanted = [v if axis == normal else o for axis, (o, v) in enumerate(zip(organ, voxel, strict=True))]
        place, aimed = screen.aim(phantom, view, wanted)
        screen.click(view, *place)
        assert screen.space("voxel") == aimed
        voxel = aimed
    assert all(screen.tinted(view) > 50 for view in screen.VIEWS)
    for key in "ddx":  # JupyterLab's own keys for deleting a cell must not reach it
        page.keyboard.press(key)
    screen.settle()
    assert page.locator(".jp-Cell").count() == cells


def test_running_the_notebooks_cell_again_ends_the_app_before(chromium, lab) -> None:
    context = chromium.new_context(viewport={"width": 1500, "height": 950})
    page = context.new_page()
    screen = Screen(page)
    page.goto(lab.url + "lab/tree/segment.ipynb?token=test&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    page.wait_for_function("document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')")
    page.locator(".jp-CodeCell .jp-InputArea-editor").last.click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.insert_text("from ipywidgets.widgets.widget import _instances\nprint(len(_instances), 'widgets')")
    shows = page.locator(".jp-CodeCell").first
    counts = page.locator(".jp-CodeCell").filter(has_text="_instances")

    def run(cell, done: str) -> str:
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Shift+Enter")
        cell.locator(".jp-InputPrompt", has_text="[*]").wait_for(state="detached")
        cell.locator(".jp-OutputArea-output", has_text=done).last.wait_for()
        return cell.locator(".jp-OutputArea-output").last.inner_text()

    found = []
    for _ in range(3):
        run(shows, "Click on an organ")
        page.click(".snb-brand")  # the keys go to the app from now on
        screen.clicks = 0
        screen.settle()
        box = screen.box("axial")
        screen.click("axial", box["width"] / 2, box["height"] / 2)
        assert page.locator(".sammed3d-app").count() == 1
        found.append(run(counts, "widgets"))
    assert len(set(found)) == 1, found
