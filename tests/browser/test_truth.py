"""What a page says when its kernel, its server or the way there is gone; and that what it says is true."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from screen import Screen
from servers import Tunnel

BANNER = ".snb-lost-banner"


@pytest.fixture
def open_page(chromium) -> Callable[..., Screen]:
    """Opens an address on a page of its own and waits for the image: open_page(address) → Screen."""

    def opened(address: str, **options) -> Screen:
        context = chromium.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark", **options)
        screen = Screen(context.new_page())
        screen.page.goto(address)
        screen.wait_for_status("Click on an organ|resumed with")
        return screen

    return opened


@pytest.fixture(scope="module")
def dashboard(serve, phantom_file: Path, small_model: str):
    return serve(phantom_file, model=small_model)


@pytest.fixture
def tunnel(dashboard) -> Iterator[Tunnel]:
    """A way to the dashboard that can be cut; open again at the end, so that the page can end its kernel."""
    tunnel = Tunnel(urlsplit(dashboard.url).port)
    yield tunnel
    tunnel.cut()
    tunnel.restore()


def kernel_of(screen: Screen, server) -> psutil.Process:
    """The process behind a page."""
    script = "JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId"
    ident = screen.page.evaluate(script)
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if ident in " ".join(child.cmdline()))


def click(screen: Screen, right: int = 0) -> None:
    screen.settle()
    box = screen.box("axial")
    screen.click("axial", box["width"] / 2 + right, box["height"] / 2)


def wait_for_banner(screen: Screen, state: str, seconds: int = 60) -> str:
    screen.page.wait_for_selector(f"{BANNER}[data-state={state}]", timeout=seconds * 1000)
    assert screen.seen(BANNER) == 1, "on the screen, not clipped away"
    return screen.page.inner_text(BANNER)


def reddish(screen: Screen) -> int:
    """Pixels of the banner's colour."""
    return int((np.abs(screen.picture().astype(int) - (0x7A, 0x2E, 0x12)).max(axis=2) < 3).sum())


def test_a_killed_kernel_is_told_with_what_is_safe_and_the_way_back(dashboard, open_page) -> None:
    dashboard.forget()
    screen = open_page(dashboard.page())
    click(screen)
    before = screen.picture()[200:, :1100].astype(int)
    kernel = kernel_of(screen, dashboard)
    kernel.kill()
    text = wait_for_banner(screen, "gone")
    assert "The kernel of this page has ended." in text
    assert re.search(r"Everything up to the last answer is saved in phantom-\w+\.sammed3d\.json", text)
    assert reddish(screen) > 10_000
    after = screen.picture()[200:, :1100].astype(int)
    assert (np.abs(after - before).max(axis=2) > 40).mean() < 0.02, "no broken icons, no burst layout"
    screen.page.get_by_role("button", name="Start again").click()
    screen.wait_for_status("object 1|phantom: .*")
    screen.page.wait_for_selector("button.snb-undo:enabled")
    assert screen.page.get_attribute("button.snb-undo", "title") == "Undo click 1 of object 1 (Ctrl+Z)"


def test_a_server_started_anew_is_told_and_the_old_kernel_is_asked_for_no_more(serve, phantom_file, open_page) -> None:
    first = serve(phantom_file)
    screen = open_page(first.page())
    first.stop()
    text = wait_for_banner(screen, "away")
    assert "The server is not reached." in text
    assert screen.page.get_by_role("button", name="Try again now").is_visible()
    again = serve(phantom_file, folder=first.log.parent, port=urlsplit(first.url).port)
    assert "asks for its new token" in wait_for_banner(screen, "shut")
    asked = []
    screen.page.on("request", lambda request: asked.append(request.url))
    screen.page.on("websocket", lambda socket: asked.append(socket.url))
    screen.page.wait_for_timeout(8000)
    assert asked == [], "what is gone for ever is left in peace"
    screen.page.get_by_role("button", name="Reload the page").click()
    screen.wait_for_status("Click on an organ|resumed")
    assert again.url in screen.page.url


def test_clicks_made_while_the_tunnel_is_down_are_kept_and_arrive(dashboard, tunnel, open_page) -> None:
    dashboard.forget()
    screen = open_page(dashboard.page().replace(dashboard.url, f"http://127.0.0.1:{tunnel.port}/"))
    click(screen)
    tunnel.cut()
    wait_for_banner(screen, "away")
    box = screen.box("axial")
    screen.page.mouse.click(*screen.point("axial", box["width"] / 2 + 60, box["height"] / 2 + 40))
    screen.page.wait_for_function(
        f"document.querySelector('{BANNER}').innerText.includes('1 click or key waits for it')"
    )
    tunnel.restore()
    screen.page.wait_for_function(f"document.querySelector('{BANNER}').hidden", timeout=60_000)
    screen.wait_for_status("after 2 clicks")


def test_clicks_that_got_lost_on_the_way_are_told(dashboard, tunnel, open_page) -> None:
    dashboard.forget()
    screen = open_page(dashboard.page().replace(dashboard.url, f"http://127.0.0.1:{tunnel.port}/"))
    screen.settle()
    screen.page.wait_for_timeout(3500)  # a heartbeat after the last key
    tunnel.frozen = True  # as when a laptop has left its network: nothing arrives, and nothing says so
    box = screen.box("axial")
    screen.page.mouse.click(*screen.point("axial", box["width"] / 2, box["height"] / 2))
    screen.page.wait_for_timeout(1000)
    tunnel.cut()
    tunnel.restore()
    text = wait_for_banner(screen, "lost")
    assert "1 click or key got lost on the way: please do that again." in text
    screen.page.get_by_role("button", name="Close").click()
    assert screen.seen(BANNER) == 0
    click(screen)


def test_a_silent_kernel_is_told_and_its_return_too(dashboard, open_page) -> None:
    screen = open_page(dashboard.page())
    screen.settle()
    screen.page.wait_for_timeout(2000)  # idle, and known to be
    kernel = kernel_of(screen, dashboard)
    os.kill(kernel.pid, signal.SIGSTOP)
    try:
        assert "No answer from the kernel." in wait_for_banner(screen, "silent")
        assert reddish(screen) > 10_000
    finally:
        os.kill(kernel.pid, signal.SIGCONT)
    screen.page.wait_for_function(f"document.querySelector('{BANNER}').hidden", timeout=60_000)


def test_the_status_line_tells_how_long_the_user_waited(dashboard, open_page) -> None:
    dashboard.forget()
    screen = open_page(dashboard.page())
    screen.settle()
    box = screen.box("axial")
    place = screen.point("axial", box["width"] / 2, box["height"] / 2)
    screen.page.mouse.move(*place)
    started = time.monotonic()
    screen.page.mouse.click(*place)
    status = screen.wait_for_status("after 1 click")
    waited = time.monotonic() - started
    told = float(re.search(r"([\d.]+) s\.", status)[1])
    assert told <= waited
    assert told > 0.5 * waited - 0.3, "the user's time, not the network's alone"


def test_a_page_that_comes_back_shows_what_it_showed(dashboard, open_page) -> None:
    dashboard.forget()
    screen = open_page(dashboard.page())
    click(screen)
    box = screen.box("coronal")
    screen.page.mouse.move(*screen.point("coronal", box["width"] / 2, box["height"] / 2))
    for _ in range(3):
        screen.page.keyboard.press("ArrowUp")
    screen.page.keyboard.press("+")
    screen.page.keyboard.press("3")
    screen.page.keyboard.press("m")
    screen.page.mouse.move(600, 20)
    screen.page.wait_for_timeout(1500)  # the page asks where it is once all is at rest
    before = {view: screen.settled_pixels(view) for view in screen.VIEWS}
    screen.page.reload()
    screen.page.wait_for_selector("button.snb-undo:enabled")
    screen.page.wait_for_timeout(1500)
    assert screen.page.locator(".snb-window select").input_value() == "Bone"
    for view in screen.VIEWS:
        after = screen.settled_pixels(view)
        assert after.shape == before[view].shape, "the same view is large"
        np.testing.assert_array_equal(after, before[view], err_msg=view)
    screen.page.keyboard.press("Control+z")
    screen.wait_for_status("Undone: click 1 of object 1")


def test_a_page_that_comes_back_is_on_the_same_case(serve, phantom_file, small_model, open_page, tmp_path) -> None:
    other = tmp_path / "other.nii.gz"
    other.write_bytes(phantom_file.read_bytes())
    server = serve(phantom_file, other, model=small_model)
    screen = open_page(server.page())
    screen.page.locator(".snb-case select").select_option(index=1)
    screen.wait_for_status("^other: ")
    screen.page.wait_for_function("location.search.includes('case=1')")
    screen.page.reload()
    assert screen.wait_for_status("Click on an organ|resumed").startswith("other: ")


def test_a_click_where_there_is_no_image_is_answered(chromium, serve, small_model, tmp_path) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"this is no image")
    server = serve(bad, model=small_model)
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    screen = Screen(context.new_page())
    screen.page.goto(server.page())
    screen.page.wait_for_selector(".snb-status .snb-error")
    screen.settle()
    screen.page.mouse.click(300, 400)
    assert "that click was not taken" in screen.wait_for_status("There is no image yet")


def test_the_value_under_the_mouse_follows_the_keys(dashboard, open_page) -> None:
    screen = open_page(dashboard.page())
    screen.settle()
    box = screen.box("axial")
    screen.page.mouse.move(*screen.point("axial", box["width"] / 2 + 30, box["height"] / 2))
    screen.page.wait_for_selector(".snb-hover")
    before = screen.space("voxel")
    screen.page.keyboard.press("ArrowUp")
    screen.page.wait_for_function(
        "z => document.querySelector('.snb-hover [data-space=voxel]').dataset.point.split(' ')[2] !== z",
        arg=str(int(before[2])),
    )
    after = screen.space("voxel")
    assert (after[:2], abs(after[2] - before[2])) == (before[:2], 1)
    assert f"{int(after[0])}, {int(after[1])}, {int(after[2])}" in screen.page.inner_text(".snb-status")


def test_a_click_for_a_hidden_object_shows_it_and_says_so(dashboard, open_page) -> None:
    dashboard.forget()
    screen = open_page(dashboard.page())
    screen.page.click(".snb-current .snb-eye")
    screen.page.wait_for_selector(".snb-current .snb-eye[aria-pressed=false]")
    screen.page.keyboard.press("v")
    box = screen.box("axial")
    screen.page.mouse.click(*screen.point("axial", box["width"] / 2, box["height"] / 2))
    status = screen.wait_for_status("after 1 click")
    assert "“object 1” was hidden and is shown again." in status
    assert "The masks were hidden and are shown again." in status
    screen.page.wait_for_selector(".snb-current .snb-eye[aria-pressed=true]")
