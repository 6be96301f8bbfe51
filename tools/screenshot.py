"""Take the README's picture: the real dashboard on the phantom, three organs segmented, the transform chain in view.

``python tools/screenshot.py [docs/dashboard.png]`` serves the dashboard as ``sammed3d-nb app`` does, drives it in
Chromium with the mouse, and writes a PNG of at most 400 kB.
"""

import io
import sys
import tempfile
from pathlib import Path

from chromium import find
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the tests know where a voxel is on the screen

from screen import Geometry, Screen  # noqa: E402
from servers import Server, free_port  # noqa: E402

from sammed3d_nb.commands.servers import door_environment, launch_environment, voila_command  # noqa: E402
from sammed3d_nb.imaging.sample import open_sample, phantom_clicks  # noqa: E402

SIZE = (1440, 900)
ORGANS = {  # and where to click after the first click, which goes to the organ's middle
    "left kidney": [],
    "liver": [(95, 185, 27), (160, 80, 27)],
    "spleen": [],  # the last one stays in the panel
}
LARGEST = 400_000  # bytes


def take(url: str) -> bytes:
    """The picture, as Chromium sees the page at `url`."""
    geometry, clicks = Geometry(open_sample("phantom").image), phantom_clicks()
    chromium = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        screen = Screen(browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="dark"))
        screen.page.goto(url)
        screen.wait_for_status("Click on an organ")
        screen.settle()
        for number, (organ, more) in enumerate(ORGANS.items()):
            if number == 0:
                screen.name(organ)
            else:
                screen.new_object(organ)
            for voxel in (clicks[organ], *more):
                screen.look_at(geometry, voxel)
                screen.click("axial", *screen.place(geometry, "axial", voxel))
        screen.page.mouse.move(SIZE[0] / 2, 20)  # off the views, so that the panel shows the click
        screen.settle()
        picture = screen.page.screenshot()
        browser.close()
    return picture


def main() -> int:
    """Write the picture; 1 if it is too large."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "dashboard.png"
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = voila_command(port=port, open_browser=False)
        environment = {**launch_environment(output=folder), **door_environment("secret")}
        server = Server(command, environment, f"http://127.0.0.1:{port}/", Path(folder) / "server.log", "secret")
        try:
            server.wait(server.url + "voila/static/none")
            picture = Image.open(io.BytesIO(take(server.page())))
        finally:
            server.stop()
    target.parent.mkdir(exist_ok=True)
    # a palette by coverage, since the grey image would take all places of one by frequency from the few colours
    small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    small.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
    return int(target.stat().st_size > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
