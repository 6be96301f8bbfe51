"""The views that the page draws: what is on the screen is what is clicked, and what needs no kernel needs none."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from screen import Geometry, Screen

SIZE = (29, 23, 17)  # i, j, k; all different, and odd, so that nothing is symmetric
SPACING = (1.7, 1.1, 2.9)


def bright_voxels() -> dict[str, tuple[int, int, int]]:
    """A voxel for each view, none in another's slices."""
    return {"axial": (4, 17, 3), "coronal": (21, 5, 12), "sagittal": (12, 11, 8)}


def image(direction: np.ndarray) -> sitk.Image:
    """A dark volume with the bright voxels."""
    values = np.full(SIZE[::-1], -1000, np.int16)
    for i, j, k in bright_voxels().values():
        values[k, j, i] = 1000
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(SPACING)
    made.SetDirection(direction.ravel().tolist())
    return made


def orientations() -> list[np.ndarray]:
    """All 48 ways in which voxel axes can run along the patient's."""
    found = []
    for axes in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            direction = np.zeros((3, 3))
            for axis, (to, sign) in enumerate(zip(axes, signs, strict=True)):
                direction[to, axis] = sign
            found.append(direction)
    return found


@pytest.fixture(scope="module")
def served(serve, tmp_path_factory: pytest.TempPathFactory):
    """A dashboard with one case for each orientation, and one oblique one as the first."""
    folder = tmp_path_factory.mktemp("orientations")
    angle = np.radians(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    paths = []
    for number, direction in enumerate([turn, *orientations()]):
        paths.append(folder / f"case{number:02d}.nrrd")
        sitk.WriteImage(image(direction), str(paths[-1]))
    return serve(*paths), paths


def show(screen: Screen, view: str, index: int) -> None:
    """Bring a slice into a view by its slider."""
    move = "(slider, index) => { slider.value = index; slider.dispatchEvent(new Event('input')); }"
    screen.page.locator(f".snb-{view} input[type=range]").evaluate(move, index)
    screen.page.wait_for_selector(f".snb-{view}[data-slice='{index}']")
    screen.page.wait_for_function("document.querySelector('.snb-views[data-busy]') === null")
    screen.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def bright_box(screen: Screen, view: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the bright voxel as it is seen, in CSS pixels of the page."""
    box = screen.box(view)
    ratio = screen.page.evaluate("devicePixelRatio")
    pixels = screen.pixels(view)[:, :, :3].min(axis=2) > 200  # the texts are greyer
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    assert len(rows), f"the voxel is not to be seen in {view}"
    left, top = columns[0] / ratio + box["x"], rows[0] / ratio + box["y"]
    return left, top, (columns[-1] + 1) / ratio + box["x"], (rows[-1] + 1) / ratio + box["y"]


def check_voxels(screen: Screen, geometry: Geometry, *, corners: int = 4) -> None:
    """Point at the bright voxel that is seen in each view, in its middle and just inside its corners."""
    for view in screen.VIEWS:
        normal = geometry.normal(view)
        voxel = next(v for name, v in bright_voxels().items() if name == view)
        show(screen, view, voxel[normal])
        left, top, right, bottom = bright_box(screen, view)
        ratio = screen.page.evaluate("devicePixelRatio")
        edge = 1.5 / ratio  # in the second pixel from the edge: the first may show two voxels
        assert right - left > 3 * edge
        assert bottom - top > 3 * edge
        places = [((left + right) / 2, (top + bottom) / 2)]
        places += [(x, y) for x in (left + edge, right - edge) for y in (top + edge, bottom - edge)][:corners]
        for x, y in places:
            screen.page.mouse.move(x + 40, y + 40)  # elsewhere, so that what is read is new
            screen.page.wait_for_function(
                "w => document.querySelector('.snb-hover [data-space=voxel]')?.dataset.point !== w"
                " || document.querySelector('.snb-hover') === null",
                arg=" ".join(map(str, voxel)),
            )
            screen.page.mouse.move(x, y)
            screen.page.wait_for_function(
                "w => document.querySelector('.snb-hover [data-space=voxel]')?.dataset.point === w",
                arg=" ".join(map(str, voxel)),
                timeout=15_000,
            )


def open_page(chromium, served, ratio: float, size: tuple[int, int] = (1280, 800)) -> Screen:
    server, _ = served
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=ratio, has_touch=True
    )
    server.forget()
    screen = Screen(context.new_page())
    screen.page.goto(server.page())
    screen.wait_for_status("Click on an organ")
    screen.page.wait_for_selector(".snb-axial[data-slice]")
    screen.page.keyboard.press("i")  # blocky: a voxel has edges
    screen.page.keyboard.press("x")
    screen.settle()
    return screen


@pytest.fixture
def screen(request: pytest.FixtureRequest, chromium, served) -> Screen:
    return open_page(chromium, served, getattr(request, "param", 1))


@pytest.mark.parametrize("screen", [0.9, 1, 1.25, 1.5, 2, 3], indirect=True, ids=lambda ratio: f"ratio {ratio}")
def test_what_is_seen_is_what_is_pointed_at(screen: Screen, served) -> None:
    geometry = Geometry.read(served[1][0])
    check_voxels(screen, geometry)
    for view in screen.VIEWS:  # zoomed about the voxel, and panned
        voxel = bright_voxels()[view]
        show(screen, view, voxel[geometry.normal(view)])
        left, top, right, bottom = bright_box(screen, view)
        screen.page.mouse.move((left + right) / 2, (top + bottom) / 2)
        screen.page.keyboard.down("Control")
        for _ in range(3):
            screen.page.mouse.wheel(0, -100)
        screen.page.keyboard.up("Control")
        screen.page.mouse.down(button="middle")
        screen.page.mouse.move((left + right) / 2 + 17, (top + bottom) / 2 - 23, steps=3)
        screen.page.mouse.up(button="middle")
    check_voxels(screen, geometry)
    screen.page.set_viewport_size({"width": 1033, "height": 941})
    screen.page.wait_for_function("document.querySelector('.snb-views').getBoundingClientRect().width < 750")
    screen.settle()
    check_voxels(screen, geometry)


@pytest.mark.parametrize("screen", [1.25], indirect=True)
def test_all_orientations_show_and_name_the_same_voxels(screen: Screen, served) -> None:
    for number, path in enumerate(served[1][1:], start=1):
        screen.page.locator(".snb-case select").select_option(index=number)
        screen.wait_for_status(f"^{path.stem}: ")
        screen.settle()
        check_voxels(screen, Geometry.read(path), corners=0)  # a mirrored axis puts the voxel elsewhere altogether
