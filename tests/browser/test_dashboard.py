"""The real dashboard in a real browser: clicks land on their voxels, masks appear, undo brings them back."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from renderers import RENDERERS
from screen import REAL_CT, Geometry, Screen

from sammed3d_nb.imaging.sample import open_sample, phantom_clicks

RATIOS = (1, 2)


@pytest.fixture(scope="module", params=RENDERERS)
def renderer(request: pytest.FixtureRequest) -> str:
    """What draws the slices: everything here holds for both."""
    return request.param


@pytest.fixture(scope="module", params=["phantom", "ct_torso"])
def case(request: pytest.FixtureRequest, renderer: str, serve):
    """A served dashboard, the geometry of its volume, and a voxel inside an organ."""
    if request.param == "phantom":
        image = open_sample("phantom").image
        return serve(renderer=renderer), Geometry(image), phantom_clicks()["spleen"]
    if not REAL_CT.is_file():
        pytest.skip("the real CT (../shared/data/ct_torso) is not here")
    return serve(REAL_CT, renderer=renderer), Geometry.read(REAL_CT), spleen_of_torso()


@pytest.fixture
def opened(request: pytest.FixtureRequest, chromium, case):
    """The dashboard on a page of the requested pixel ratio, its volume shown."""
    server, geometry, organ = case
    context = chromium.new_context(
        viewport={"width": 1280, "height": 800}, device_scale_factor=getattr(request, "param", 1)
    )
    screen = Screen(context.new_page())
    server.forget()
    screen.page.goto(server.page())
    screen.wait_for_status("Click on an organ")
    screen.settle()
    return screen, geometry, organ


@pytest.mark.parametrize("opened", RATIOS, indirect=True, ids=lambda ratio: f"ratio {ratio}")
def test_clicks_in_all_planes_are_read_back_exactly(opened) -> None:
    screen, geometry, organ = opened
    assert screen.page.evaluate("devicePixelRatio") in RATIOS
    voxel = [n // 2 for n in geometry.size]  # what the views show at first
    rng = np.random.default_rng(7)
    for view in screen.VIEWS:
        normal = geometry.normal(view)
        for _ in range(6):  # looks under the cursor, all over the slice
            wanted = [int(rng.integers(0, n)) for n in geometry.size]
            wanted[normal] = voxel[normal]
            place, aimed = screen.aim(geometry, view, wanted)
            screen.hover(view, *place, aimed)
        wanted = [round(0.5 * (a + b)) for a, b in zip(organ, voxel, strict=True)]
        wanted[normal] = voxel[normal]
        place, aimed = screen.aim(geometry, view, wanted)
        screen.click(view, *place)
        assert screen.space("voxel") == aimed
        assert screen.space("array") == aimed[::-1]
        voxel = list(aimed)  # the click has moved the crosshair, so the other views show its slices


def test_the_mask_appears_shrinks_and_comes_back_bit_for_bit(opened, case, tmp_path: Path) -> None:
    screen, geometry, organ = opened
    page = screen.page

    def click(view: str, voxel: tuple[int, ...], **options: object) -> None:
        screen.click(view, *screen.place(geometry, view, voxel), **options)

    screen.look_at(geometry, organ)
    assert all(screen.tinted(view) == 0 for view in screen.VIEWS)
    click("axial", organ)
    assert all(screen.tinted(view) > 50 for view in screen.VIEWS), "the mask shows in all three views"
    assert page.inner_text("[data-fact='click → mask']") == "inside the mask"
    before = {view: screen.settled_pixels(view) for view in screen.VIEWS}
    first = export(screen, tmp_path / "first.nii.gz")
    volume = screen.millilitres()

    mask = first
    inside = np.argwhere(mask[organ[2]] > 0)  # (y, x) in the axial slice
    y, x = inside[np.abs(inside - (organ[1], organ[0])).sum(axis=1).argmax()]
    click("axial", (int(x), int(y), organ[2]), button="right")
    assert screen.page.inner_text(".snb-kind").startswith("Negative click")
    assert screen.millilitres() < volume
    second = export(screen, tmp_path / "second.nii.gz")
    assert 0 < second.sum() < first.sum()

    assert page.get_attribute("button.snb-undo", "title") == "Undo click 2 of object 1 (Ctrl+Z)"
    page.keyboard.press("Control+z")
    screen.wait_for_status("Undone: click 2 of object 1.")
    screen.look_at(geometry, organ)
    for view in screen.VIEWS:
        np.testing.assert_array_equal(screen.settled_pixels(view), before[view], err_msg=view)
    np.testing.assert_array_equal(export(screen, tmp_path / "third.nii.gz"), first)


def test_the_mask_turns_in_3d(opened) -> None:
    screen, geometry, organ = opened
    screen.look_at(geometry, organ)
    screen.click("axial", *screen.place(geometry, "axial", organ))
    screen.page.click("button.snb-toggle_preview")
    screen.page.wait_for_selector(".snb-preview canvas", state="visible")
    screen.page.set_viewport_size({"width": 1280, "height": 720})
    for view in screen.VIEWS:
        free = screen.until(lambda view=view: screen.seen(f".snb-{view} canvas:last-of-type") == 1)
        assert free, f"nothing lies over the {view} view"
    assert screen.until(lambda: screen.tinted("preview") > 1000), "the mask is seen"
    before = screen.pixels("preview")
    x, y = screen.point("preview", 150, 150)
    screen.page.mouse.move(x, y)
    screen.page.mouse.down()
    screen.page.mouse.move(x + 80, y + 30, steps=4)
    screen.page.mouse.up()
    turned = screen.until(lambda: (screen.pixels("preview") != before).any(axis=-1).sum() > 1000)
    assert turned, "from another side now"
    assert screen.until(lambda: screen.tinted("preview") > 1000)
    screen.page.keyboard.press("d")
    screen.page.wait_for_selector(".snb-preview", state="hidden")


def export(screen: Screen, path: Path) -> np.ndarray:
    """The masks as the browser downloads them, in array order."""
    with screen.page.expect_download() as download:
        screen.page.click("button.snb-export")
    packed = path.with_suffix(".zip")
    download.value.save_as(packed)
    screen.settle()
    with zipfile.ZipFile(packed) as files:
        path.write_bytes(files.read(next(name for name in files.namelist() if name.endswith(".masks.nii.gz"))))
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def spleen_of_torso() -> tuple[int, int, int]:
    labels = json.loads((REAL_CT.parent / "info.json").read_text())["labels"]
    number = next(int(k) for k, v in labels.items() if v["name"] == "spleen")
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(REAL_CT.parent / "label.nii.gz"))) == number
    z, y, x = np.argwhere(mask)[mask.sum() // 2]
    return int(x), int(y), int(z)
