"""A hand on a page: what draws on the axial view, and what became of it in the record."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from screen import Geometry, Screen
from servers import Server, Tunnel

import sammed3d_nb as snb

SLICE = 22  # of the axial view; the phantom has 44


class Hand:
    """A page, what draws on it, and the record that it saves."""

    def __init__(self, screen: Screen, image: Path, model: str, server: Server, tunnel: Tunnel) -> None:
        self.screen, self.server, self.tunnel = screen, server, tunnel
        self.geometry, self.volume = Geometry.read(image), snb.Volume.read(image)
        self.page, self.model = screen.page, snb.load_model(model)
        self.cdp = self.page.context.new_cdp_session(self.page)

    def place(self, voxel) -> tuple[float, float]:
        """Page coordinates of a voxel in the axial view."""
        return self.screen.point("axial", *self.screen.place(self.geometry, "axial", voxel))

    def draw(self, *voxels, button: str = "left", lift: bool = True) -> None:
        """By mouse, with few events: a fast hand."""
        places = [self.place(voxel) for voxel in voxels]
        self.page.mouse.move(*places[0])
        self.page.mouse.down(button=button)
        for place in places[1:]:
            self.page.mouse.move(*place)
        if lift:
            self.page.mouse.up(button=button)

    def pen(self, *voxels) -> None:
        places = [self.place(voxel) for voxel in voxels]
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            more = {"button": "left", "buttons": 0 if kind == "mouseReleased" else 1, "clickCount": 1}
            self.cdp.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "pointerType": "pen", **more})

    def finger(self, *voxels) -> None:
        places = [{"x": x, "y": y} for x, y in map(self.place, voxels)]
        kinds = ["touchStart", *["touchMove"] * (len(places) - 1)]
        for kind, place in zip(kinds, places, strict=True):
            self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
        self.cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def point(self, kind: str, voxel, pointer: str, *, button: int = 0, buttons: int = 1) -> None:
        """A pointer that no protocol of the browser's sends, by its events, as the standard has them."""
        self.page.evaluate(
            """([type, [x, y], pointerType, button, buttons]) => {
                const canvas = [...document.querySelectorAll(".snb-axial canvas")].pop();
                canvas.setPointerCapture = () => {};  // of a pointer that is not there
                const pointerId = pointerType === "pen" ? 77 : 78;
                canvas.dispatchEvent(new PointerEvent(type, {
                    clientX: x, clientY: y, button, buttons, pointerType, pointerId, bubbles: true,
                }));
                delete canvas.setPointerCapture;
            }""",
            [kind, list(self.place(voxel)), pointer, button, buttons],
        )

    def pen_end(self, *voxels) -> None:
        """The eraser of a pen."""
        self.point("pointerdown", voxels[0], "pen", button=5, buttons=32)
        for voxel in voxels:
            self.point("pointermove", voxel, "pen", button=-1, buttons=32)
        self.point("pointerup", voxels[-1], "pen", button=5, buttons=0)

    @contextmanager
    def kernel_stopped(self) -> Iterator[None]:
        """The kernel hears nothing meanwhile, and then everything in its order: a very slow way."""
        kernels = psutil.Process(self.server.process.pid).children(recursive=True)
        for kernel in kernels:
            os.kill(kernel.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for kernel in kernels:
                os.kill(kernel.pid, signal.SIGCONT)

    def tool(self, key: str, name: str) -> None:
        """Choose a tool by its key; the page knows it at once."""
        self.page.keyboard.press(key)
        self.page.wait_for_selector(f".snb-drawn-here[data-tool={name}]", timeout=1000)

    def afresh(self, name: str) -> None:
        """Another object, from which the test begins."""
        self.screen.new_object(name)
        self.page.mouse.move(5, 5)

    @property
    def record(self) -> Path:
        (record,) = self.server.log.parent.glob("phantom*.sammed3d.json")
        return record

    def frames(self) -> None:
        """Until the page has drawn what it knows; the kernel is not asked, and a stroke goes on."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def session(self) -> snb.Session:
        """What is in the record now."""
        self.screen.settle()
        return snb.Session.resume(self.record, volume=self.volume, model=self.model)

    def seen(self) -> np.ndarray:
        return self.screen.pixels("axial")[:, :, :3].astype(int)

    def under(self, voxels, mm: float) -> np.ndarray:
        """bool (rows, columns) of the slice: what a brush along voxels covers on the screen, by geometry alone."""
        i, j = np.meshgrid(*(np.arange(n) for n in self.geometry.size[:2]), indexing="xy")
        box = self.screen.box("axial")
        size = box["width"], box["height"]
        centres = np.stack(self.geometry.position("axial", (i, j, SLICE), *size), axis=-1)
        corner = np.array([box["x"], box["y"]])
        line = [np.array(self.place(voxel)) - corner for voxel in voxels]
        _, _, step = self.geometry._axes("axial", *size)[0]
        radius = mm / 2 * abs(step) / self.geometry.spacing[0]
        found = np.zeros(i.shape, bool)
        for first, last in pairwise(line) if len(line) > 1 else [(line[0], line[0])]:
            for share in np.linspace(0, 1, 300):
                found |= np.linalg.norm(centres - first - share * (last - first), axis=-1) <= radius
        return found


def alike(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(bool), b.astype(bool)
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)
