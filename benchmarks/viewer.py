"""How fast the slices are on the screen: the page that draws by itself next to matplotlib in the kernel.

Both run in turn in one Chromium on the same image, without and with latency between page and kernel: `python
benchmarks/viewer.py [IMAGE]`. Without an image, a noisy CT-like volume of 512 × 512 × 320 voxels is made.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from chromium import find

from sammed3d_nb.commands.servers import door_environment, launch_environment, voila_command

RENDERERS = ("ipympl", "page")
SIZES = {"1440 × 900": (1440, 900), "3840 × 2160": (3840, 2160)}
GOALS = {
    "page ready": "≤ 3 s",
    "wheel → frame, slice there": "≤ 16 ms",
    "jump → frame, slice not there": "≤ 60 ms",
    "frames/s in a burst, 1440 × 900": "≥ 50",
    "frames/s in a burst, 3840 × 2160": "≥ 30",
    "kB received a new slice": "≤ 150",
    "click → mark": "≤ 30 ms",
    "kernel's CPU while scrolling": "idle",
}

# What is measured is the time from an event to the moment when the page has drawn what it asks for: the end of the
# drawImage (slices) or stroke (marks) on a canvas of the axial view.
_WATCH = """
    window.drawn = []; window.marked = [];
    const { drawImage, stroke } = CanvasRenderingContext2D.prototype;
    const axial = (context) => context.canvas.closest?.(".snb-axial");
    CanvasRenderingContext2D.prototype.drawImage = function (...rest) {
        const result = drawImage.apply(this, rest);
        if (axial(this)) window.drawn.push(performance.now());
        return result;
    };
    CanvasRenderingContext2D.prototype.stroke = function (...rest) {
        const result = stroke.apply(this, rest);
        if (axial(this) && this.strokeStyle === "#35e07f") window.marked.push(performance.now());
        return result;
    };
    for (const type of ["wheel", "pointerup"])
        window.addEventListener(type, () => { window[type + "At"] = performance.now(); }, { capture: true });
"""


def made_image(folder: Path) -> Path:
    """A body of soft tissue with 12 HU of noise in air, 60 % of the slice, with organs that change along it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = (x / 0.95) ** 2 + (y / 0.8) ** 2 < 1
    values = np.full((320, 512, 512), -1024, np.int16)
    for k, piece in enumerate(values):
        organ = (x - 0.4 * np.sin(k / 40)) ** 2 + (y - 0.3 * np.cos(k / 55)) ** 2 < 0.06
        piece[body] = rng.normal(40, 12, int(body.sum()))
        piece[organ] += 60
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.8, 0.8, 1.0))
    path = folder / "ct.nrrd"
    sitk.WriteImage(image, str(path))
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(image: Path, renderer: str, folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The dashboard on a port of its own."""
    port = free_port()
    environment = {**os.environ, **launch_environment([image], output=folder, renderer=renderer)}
    process = subprocess.Popen(
        voila_command(port=port, open_browser=False),
        env={**environment, **door_environment("secret")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=folder,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/voila/static/none", timeout=2).close()
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield port, process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A proxy that hands everything on after so many seconds, each way; its port."""
    if not seconds:
        yield port
        return

    async def hand_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(due - time.monotonic(), 0))
                if not data:
                    target.close()
                    return
                target.write(data)
                await target.drain()

        delivering = asyncio.create_task(deliver())
        while data := await source.read(1 << 16):
            line.put_nowait((time.monotonic() + seconds, data))
        line.put_nowait((time.monotonic() + seconds, b""))
        await delivering

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(hand_on(reader, back), hand_on(there, writer))
        except OSError:
            writer.close()

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", 0), loop).result()
    yield int(server.sockets[0].getsockname()[1])
    loop.call_soon_threadsafe(loop.stop)


class Page:
    """The dashboard in a page of a size."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int]) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.page.add_init_script(_WATCH)
        self.received = self.pictures = 0
        self.page.on("websocket", lambda one: one.on("framereceived", self._received))
        began = time.perf_counter()
        self.page.goto(address)
        self.page.wait_for_function("window.drawn.length > 0 && document.querySelector('.snb-axial canvas') !== null")
        self.ready = time.perf_counter() - began
        self.page.wait_for_function("/Click on an organ/.test(document.querySelector('.snb-status')?.innerText)")
        self.page.wait_for_timeout(3000)

    def _received(self, payload: str | bytes) -> None:
        self.received += len(payload)
        self.pictures += len(payload) > 8000

    def middle(self, view: str, down: float = 0.5) -> tuple[float, float]:
        """A place in the middle of a view, or further up or down."""
        box = self.page.locator(f".snb-{view} canvas").last.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] * down

    def ms_until(self, event: str, act: Callable[[], None], what: str = "drawn") -> float:
        """Milliseconds from an event to the drawing that it asks for: of a slice the last one, of a mark the first."""
        self.page.evaluate(f"window.{what}.length = 0; window.{event}At = Infinity")
        act()
        there = f"window.{what}.some((at) => at >= window.{event}At) && !document.querySelector('[data-busy]')"
        self.page.wait_for_function(there, polling=5)
        of = "at(-1)" if what == "drawn" else f"find((at) => at >= window.{event}At)"
        return float(self.page.evaluate(f"window.{what}.{of} - window.{event}At"))


def wheel(page: Page, count: int) -> float:
    """Median ms from one notch of the wheel to its frame, where the slice is there already."""
    page.page.mouse.move(*page.middle("axial"))
    found = []
    for n in range(count):
        down = 100 if n % 8 < 4 else -100  # to and fro over a few slices
        found.append(page.ms_until("wheel", lambda down=down: page.page.mouse.wheel(0, down)))
        page.page.wait_for_timeout(250)
    return statistics.median(found[4:])


def jump(page: Page, count: int) -> float:
    """Median ms from a Shift+click in the coronal view to the axial slice through it, which nobody has seen."""
    places = np.random.default_rng(1).permutation(np.linspace(0.3, 0.7, count))
    page.page.keyboard.down("Shift")
    found = []
    for place in places:
        page.page.mouse.move(*page.middle("coronal", float(place)))
        page.page.wait_for_timeout(500)
        at = page.middle("coronal", float(place))
        found.append(page.ms_until("pointerup", lambda at=at: page.page.mouse.click(*at)))
        page.page.wait_for_timeout(1500)
    page.page.keyboard.up("Shift")
    return statistics.median(found)


def burst(page: Page, count: int) -> float:
    """Frames/s while the wheel turns with every frame of the browser, up to the last one drawn."""
    page.page.mouse.move(*page.middle("axial"))
    page.page.mouse.wheel(0, 100)
    page.page.wait_for_timeout(2500)
    page.page.evaluate(
        """async (count) => {
            const canvas = [...document.querySelectorAll(".snb-axial canvas")].pop();
            const box = canvas.getBoundingClientRect();
            const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
            window.drawn.length = 0;
            window.began = performance.now();
            for (let n = 0; n < count; n++) {
                canvas.dispatchEvent(new WheelEvent("wheel", {
                    deltaY: Math.floor(n / 15) % 2 ? -100 : 100, bubbles: true, cancelable: true, ...at }));
                await new Promise((done) => requestAnimationFrame(done));
            }
            window.ended = performance.now();
        }""",
        count,
    )
    last = -1
    while last != (last := page.page.evaluate("window.drawn.length")):
        page.page.wait_for_timeout(1500)
    drawn = page.page.evaluate("window.drawn.filter((at, n, all) => n === 0 || at - all[n - 1] > 1).length")
    seconds = page.page.evaluate("(Math.max(window.ended, window.drawn.at(-1) ?? 0) - window.began) / 1000")
    return float(drawn) / float(seconds)


def bytes_per_slice(page: Page, count: int) -> float:
    """Kilobytes that arrive for each slice that is new to the page (ipympl: for each frame of the three views)."""
    page.page.mouse.move(*page.middle("axial"))
    page.received = page.pictures = 0
    for _ in range(count):
        page.page.mouse.wheel(0, -100)
        page.page.wait_for_timeout(200)
    page.page.wait_for_timeout(1500)
    return page.received / max(page.pictures, 1) / 1000


def click(page: Page, count: int) -> float:
    """Median ms from a click to its mark."""
    x, y = page.middle("axial")
    drawn_here = page.page.locator(".snb-drawn-here").count() > 0
    found = []
    for n in range(count):
        place = x - 60 + 17 * n, y - 30 + 7 * n
        page.page.mouse.move(*place)
        page.page.wait_for_timeout(700)
        what = "marked" if drawn_here else "drawn"
        found.append(page.ms_until("pointerup", lambda place=place: page.page.mouse.click(*place), what))
        page.page.wait_for_function(f"/after {n + 1} click/.test(document.querySelector('.snb-status').innerText)")
        page.page.wait_for_timeout(500)
    return statistics.median(found)


def kernel_share(page: Page, server: subprocess.Popen[bytes], seconds: float) -> float:
    """Percent of a core that the kernels use while the wheel goes to and fro over slices that have been seen."""
    kernels = [p for p in psutil.Process(server.pid).children(recursive=True) if "ipykernel" in " ".join(p.cmdline())]
    page.page.mouse.move(*page.middle("axial"))
    used = -sum(sum(kernel.cpu_times()[:2]) for kernel in kernels)
    began = time.perf_counter()
    n = 0
    while time.perf_counter() - began < seconds:
        page.page.mouse.wheel(0, 100 if n % 16 < 8 else -100)
        page.page.wait_for_timeout(50)
        n += 1
    used += sum(sum(kernel.cpu_times()[:2]) for kernel in kernels)
    return 100 * used / (time.perf_counter() - began)


def measure(browser: Any, image: Path, renderer: str, latency: float, count: int) -> dict[str, float]:
    """All figures of one renderer; a server and a folder for each size, for what was clicked would be resumed."""
    found: dict[str, float] = {}
    for name, size in SIZES.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            served(image, renderer, Path(folder)) as (port, server),
            delayed(port, latency) as reached,
        ):
            page = Page(browser, f"http://127.0.0.1:{reached}/?token=secret", size)
            found[f"frames/s in a burst, {name}"] = burst(page, 10 * count)
            if size[0] < 2000:
                found["page ready"] = page.ready
                found["wheel → frame, slice there"] = wheel(page, 4 + count)
                found["kernel's CPU while scrolling"] = kernel_share(page, server, 5)
                found["kB received a new slice"] = bytes_per_slice(page, count)
                found["jump → frame, slice not there"] = jump(page, count)
                found["click → mark"] = click(page, 3)
            page.context.close()
    return found


def main() -> None:
    """Print the table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--latency", type=float, nargs="*", default=[0, 80], help="ms each way")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    options = parser.parse_args()
    count = 6 if options.quick else 15
    chromium = find()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        image = options.image or made_image(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        load = os.getloadavg()[0]
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, load before {load:.1f}", flush=True)
        for latency in options.latency:
            both = {name: measure(browser, image.absolute(), name, latency / 1000, count) for name in RENDERERS}
            load = os.getloadavg()[0]
            print(f"\n{latency:g} ms of latency each way (load after: {load:.1f})")
            print(f"{'':36}{'ipympl':>10}{'page':>10}{'ratio':>9}   goal")
            for name, goal in GOALS.items():
                before, now = (both[renderer][name] for renderer in RENDERERS)
                ratio = now / before if name.startswith("frames") else before / max(now, 1e-9)
                print(f"{name:36}{before:>10.3g}{now:>10.3g}{ratio:>8.3g}×   {goal}", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
