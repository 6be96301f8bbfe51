"""Mouse, trackpad, finger and keys on the views; what needs no kernel works without one."""

import os
import signal

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from renderers import RENDERERS
from screen import Geometry, Screen

from sammed3d_nb.imaging.sample import open_sample
from sammed3d_nb.session.palette import POSITIVE_MARK


@pytest.fixture(scope="module")
def phantom() -> Geometry:
    return Geometry(open_sample("phantom").image)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list:
    """The phantom, a dark and a bright volume, and one that is no image."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{name}.nii.gz" for name in ("phantom", "dark", "bright", "bad")]
    sitk.WriteImage(open_sample("phantom").image, str(paths[0]))
    for path, value in zip(paths[1:3], (-500, 500), strict=True):
        values = np.full((20, 30, 40), value, np.int16)
        values[0], values[-1] = -1000, 1000  # so that the window of CT fits both
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    paths[3].write_bytes(b"this is no image")
    return paths


@pytest.fixture(scope="module")
def dashboards(serve, files) -> dict:
    """A dashboard for each renderer, started when it is needed."""
    started: dict = {}

    def get(renderer: str):
        if renderer not in started:
            started[renderer] = serve(*files, renderer=renderer)
        return started[renderer]

    return get


@pytest.fixture
def screen(request: pytest.FixtureRequest, chromium, dashboards) -> Screen:
    """The phantom on a page, drawn by the renderer asked for."""
    dashboard = dashboards(getattr(request, "param", "page"))
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, has_touch=True)
    dashboard.forget()
    screen = Screen(context.new_page())
    screen.server = dashboard
    screen.kernels = set(psutil.Process(dashboard.process.pid).children(recursive=True))
    screen.page.goto(dashboard.page())
    screen.wait_for_status("Click on an organ")
    screen.settle()
    return screen


both = pytest.mark.parametrize("screen", RENDERERS, indirect=True)


def under_mouse(screen: Screen, x: float, y: float) -> tuple[float, ...]:
    """Column, row and slice at page coordinates in the axial view, by the chain panel, after a real move there."""
    for place in ((x + 30, y + 30), (x, y)):
        screen.page.mouse.move(*place)
        screen.page.wait_for_timeout(100)  # ipympl hands on a move late
        screen.settle()
    screen.page.mouse.move(x, y)  # the panel by which `settle` asks may have lain over the mouse
    screen.page.wait_for_selector(".snb-hover [data-space=plane]")
    return screen.space("plane")


def middle(screen: Screen, view: str = "axial") -> tuple[float, float]:
    box = screen.box(view)
    return screen.point(view, box["width"] / 2, box["height"] / 2)


@both
def test_a_drag_is_no_click_and_a_trembling_click_is_one(screen: Screen) -> None:
    x, y = middle(screen)
    said = screen.wait_for_status("Click on an organ")
    screen.page.mouse.move(x - 60, y)
    screen.page.mouse.down()
    screen.page.mouse.move(x - 10, y + 3, steps=5)
    screen.page.mouse.up()
    screen.settle()
    screen.page.wait_for_timeout(500)
    assert screen.wait_for_status(".") == said
    screen.page.mouse.move(x - 60, y)
    screen.page.mouse.down()
    screen.page.mouse.move(x - 57, y + 2)
    screen.page.mouse.up()
    screen.wait_for_status("after 1 click")
    assert screen.page.locator("[data-space=voxel]").count() == 1


@both
@pytest.mark.parametrize("how", ["alt", "middle"])
def test_the_image_stays_under_the_mouse_that_moves_it(screen: Screen, how: str) -> None:
    x, y = middle(screen)
    before = under_mouse(screen, x, y)
    if how == "alt":
        screen.page.keyboard.down("Alt")
    screen.page.mouse.down(button="left" if how == "alt" else "middle")
    for step in range(1, 41):
        screen.page.mouse.move(x + 2 * step, y - step)
        screen.page.wait_for_timeout(5)
    screen.page.mouse.up(button="left" if how == "alt" else "middle")
    if how == "alt":
        screen.page.keyboard.up("Alt")
    after = under_mouse(screen, x + 80, y - 40)
    assert np.abs(np.subtract(before, after)).max() <= 1, "within the voxel that the panel rounds to"


@both
def test_ctrl_wheel_zooms_at_the_mouse(screen: Screen) -> None:
    x, y = middle(screen)
    at = under_mouse(screen, x - 100, y - 50)
    aside = under_mouse(screen, x, y - 50)
    screen.page.mouse.move(x - 100, y - 50)
    screen.page.keyboard.down("Control")
    for _ in range(4):
        screen.page.mouse.wheel(0, -100)
        screen.page.wait_for_timeout(150)
    screen.page.keyboard.up("Control")
    screen.settle()
    zoomed = under_mouse(screen, x, y - 50)
    assert under_mouse(screen, x - 100, y - 50) == pytest.approx(at, abs=1)
    assert zoomed[0] - at[0] == pytest.approx((aside[0] - at[0]) / 1.2**4, abs=1.5)


@pytest.mark.parametrize("style", ["zoom: 1.25", "transform: scale(0.8); transform-origin: 0 0"])
def test_a_page_scaled_by_css_is_measured_as_it_is_seen(screen: Screen, style: str) -> None:
    width = screen.box("axial")["width"]
    at = under_mouse(screen, *middle(screen))
    screen.page.add_style_tag(content=f".sammed3d-app {{ {style} }}")
    screen.page.wait_for_timeout(1000)  # the app may take another size
    screen.settle()
    assert screen.box("axial")["width"] != width
    assert under_mouse(screen, *middle(screen)) == pytest.approx(at, abs=1)


def shown(screen: Screen, view: str = "axial") -> int:
    screen.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return int(screen.page.get_attribute(f".snb-{view}", "data-slice"))


def test_a_notch_is_a_slice_and_a_trackpad_adds_up(screen: Screen) -> None:
    screen.page.mouse.move(*middle(screen))
    start = shown(screen)
    up = 1 if (screen.page.mouse.wheel(0, -100), shown(screen))[1] > start else -1
    assert shown(screen) == start + up
    for _ in range(9):
        screen.page.mouse.wheel(0, -4)
    assert shown(screen) == start + up, "36 pixels are no slice yet"
    for _ in range(11):
        screen.page.mouse.wheel(0, -4)
    assert shown(screen) == start + 3 * up, "80 are two"
    screen.page.mouse.wheel(60, 0)
    assert shown(screen) == start + 3 * up, "sideways is no scrolling"
    for _ in range(60):
        screen.page.mouse.wheel(0, 100)
    screen.settle()
    assert shown(screen) in (0, 43), "and ends at the end"


def test_a_pinch_on_a_trackpad_is_one_zoom(screen: Screen) -> None:
    x, y = middle(screen)
    left, right = under_mouse(screen, x - 100, y), under_mouse(screen, x + 100, y)
    screen.page.mouse.move(x, y)
    screen.page.keyboard.down("Control")  # a browser tells a pinch as Ctrl and a wheel of 100 ln(factor) pixels in all
    for _ in range(20):
        screen.page.mouse.wheel(0, -100 * np.log(2) / 20)
    screen.page.keyboard.up("Control")
    screen.settle()
    apart = under_mouse(screen, x + 100, y)[0] - under_mouse(screen, x - 100, y)[0]
    assert apart == pytest.approx((right[0] - left[0]) / 2, abs=2)
    assert shown(screen) == 22, "no slice was scrolled"


def test_a_finger_clicks_scrolls_and_two_zoom(screen: Screen) -> None:
    x, y = middle(screen)
    start = shown(screen)
    session = screen.page.context.new_cdp_session(screen.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (x, y))
    for step in range(1, 9):
        touch("touchMove", (x, y + 6 * step))
    touch("touchEnd")
    assert abs(shown(screen) - start) == 3
    assert "Click on an organ" in screen.wait_for_status("."), "that was no click"
    left, right = under_mouse(screen, x - 100, y), under_mouse(screen, x + 100, y)
    touch("touchStart", (x - 50, y))
    touch("touchStart", (x - 50, y), (x + 50, y))
    for step in range(1, 11):
        touch("touchMove", (x - 50 - 5 * step, y), (x + 50 + 5 * step, y))
    touch("touchEnd")
    screen.settle()
    apart = under_mouse(screen, x + 100, y)[0] - under_mouse(screen, x - 100, y)[0]
    assert apart == pytest.approx((right[0] - left[0]) / 2, abs=2)
    screen.page.touchscreen.tap(x - 60, y)
    screen.wait_for_status("after 1 click")


def test_what_needs_no_kernel_works_without_one(screen: Screen) -> None:
    x, y = middle(screen)
    screen.click("axial", *(side / 2 for side in (screen.box("axial")["width"] - 120, screen.box("axial")["height"])))
    screen.page.wait_for_timeout(2000)  # slices round the present ones have come
    (kernel,) = set(psutil.Process(screen.server.process.pid).children(recursive=True)) - screen.kernels
    os.kill(kernel.pid, signal.SIGSTOP)
    try:
        pictures = [screen.pixels("axial")]

        def changes(what: str) -> None:
            screen.page.evaluate(
                "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            pictures.append(screen.pixels("axial"))
            assert (pictures[-1] != pictures[-2]).any(), what

        screen.page.mouse.move(x, y)
        start = shown(screen)
        for _ in range(4):
            screen.page.mouse.wheel(0, -100)
        assert abs(shown(screen) - start) == 4
        changes("scrolling")
        screen.page.keyboard.press("ArrowUp")
        changes("keys")
        screen.page.keyboard.press("2")
        changes("a window's key")
        screen.page.keyboard.down("Shift")
        screen.page.mouse.down()
        screen.page.mouse.move(x + 50, y + 30, steps=3)
        screen.page.mouse.up()
        screen.page.keyboard.up("Shift")
        changes("the window")
        screen.page.keyboard.press("+")
        changes("zoom")
        screen.page.keyboard.press(".")
        changes("opacity by key")
        slider = screen.page.locator(
            ".snb-display .slider-container .noUi-handle, .snb-display input[type=range]"
        ).first
        box = slider.bounding_box()
        screen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        screen.page.mouse.down()
        screen.page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2, steps=3)
        changes("opacity by its slider")
        screen.page.mouse.up()
        screen.page.click(".snb-display button >> text=Masks")
        changes("masks off by their button")
        screen.page.mouse.click(x - 60, y)
        screen.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        mark = [int(POSITIVE_MARK[at : at + 2], 16) for at in (1, 3, 5)]
        off = np.abs(screen.pixels("axial")[:, :, :3].astype(int) - mark).max(axis=2)
        assert (off < 8).sum() > 5, "a click's mark"
    finally:
        os.kill(kernel.pid, signal.SIGCONT)
    screen.wait_for_status("after 2 clicks")  # which was only late


def test_no_frame_shows_two_patients(screen: Screen) -> None:
    screen.page.evaluate(
        """() => {
            window.frames_seen = new Set();
            const look = () => {
                const greys = ["axial", "coronal", "sagittal"].map((view) => {
                    const canvas = document.querySelector(`.snb-${view} canvas`);
                    const middle = [canvas.width / 2 - 30, canvas.height / 2 - 20];
                    return canvas.getContext("2d").getImageData(...middle.map(Math.floor), 1, 1).data[0];
                });
                window.frames_seen.add(greys.join(" "));
                requestAnimationFrame(look);
            };
            look();
        }"""
    )
    for _ in range(3):
        for number, case in ((1, "dark"), (2, "bright")):
            screen.page.locator(".snb-case select").select_option(index=number)
            screen.wait_for_status(f"^{case}: .*Click on an organ")
            screen.settle()
    seen = [tuple(map(int, text.split())) for text in screen.page.evaluate("[...window.frames_seen]")]
    dark, bright = (0, 0, 0), (255, 255, 255)  # what is not the image has another grey
    assert {dark, bright} <= set(seen)
    others = set(seen) - {dark, bright}
    assert len(others) <= 1, f"the phantom was the first, and no case is mixed with another: {others}"


def test_a_click_before_there_is_an_image_is_told(chromium, dashboards) -> None:
    dashboard = dashboards("page")
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    screen = Screen(context.new_page())
    screen.page.goto(dashboard.page("case=3"))
    screen.page.wait_for_selector(".snb-status .snb-error")
    screen.settle()
    screen.page.mouse.click(*middle(screen))
    screen.wait_for_status("There is no image yet")


def test_a_page_that_forbids_our_javascript_gets_the_kernels_pictures(chromium, dashboards) -> None:
    dashboard = dashboards("page")
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    dashboard.forget()
    screen = Screen(context.new_page())

    screen.page.add_init_script(
        """new MutationObserver((_, observer) => {
            if (document.head === null) return;
            observer.disconnect();
            const policy = document.createElement("meta");
            policy.httpEquiv = "Content-Security-Policy";
            policy.content = "script-src 'self' 'unsafe-inline' 'unsafe-eval'";
            document.head.prepend(policy);
        }).observe(document, { childList: true, subtree: true });"""
    )
    screen.page.goto(dashboard.page())
    screen.wait_for_status("This page cannot draw the slices")
    screen.page.wait_for_selector(".snb-axial .jupyter-matplotlib canvas")
    screen.page.wait_for_function("window.decoding === 0")
    box = screen.box("axial")
    screen.click("axial", box["width"] / 2 - 60, box["height"] / 2)  # and is answered
