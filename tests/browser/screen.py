"""The app on a page, as a user finds it: views, panel and status line; and where a voxel ought to be on the screen."""

import base64
import io
import math
import time
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import ClassVar

import numpy as np
import SimpleITK as sitk
from PIL import Image
from playwright.sync_api import BrowserContext, Page

REAL_CT = Path(__file__).parents[2].parent / "shared" / "data" / "ct_torso" / "image.nii.gz"
TIMEOUT = 90_000  # ms; CI machines are slow, and a cube is encoded on two cores


class Geometry:
    """Where voxels ought to appear, worked out from the image file alone, with none of the app's code.

    A view that fits its slice shows it with 98 % of the largest scale at which it fits, in the middle; the patient's
    right and anterior are on the left, anterior (axial) and superior are on top.
    """

    TOWARDS: ClassVar = {  # LPS axis and sign of: a column to the right, a row down
        "axial": ((0, 1), (1, 1)),
        "coronal": ((0, 1), (2, -1)),
        "sagittal": ((1, 1), (2, -1)),
    }

    def __init__(self, image: sitk.Image) -> None:
        self.size = image.GetSize()
        self.spacing = image.GetSpacing()
        self.direction = np.array(image.GetDirection()).reshape(3, 3)
        cosines = np.abs(self.direction)
        self.axis_of = max(permutations(range(3)), key=lambda axes: sum(cosines[row, axes[row]] for row in range(3)))

    @classmethod
    def read(cls, path: Path) -> "Geometry":
        return cls(sitk.ReadImage(str(path)))

    def normal(self, view: str) -> int:
        """The voxel axis that the view scrolls."""
        shown = {self.axis_of[lps] for lps, _ in self.TOWARDS[view]}
        return ({0, 1, 2} - shown).pop()

    def position(self, view: str, voxel: Sequence[float], width: float, height: float) -> tuple[float, float]:
        """CSS pixels from the left and top edge of the canvas to a voxel's centre."""
        x, y = (
            room / 2 + step * (voxel[axis] - (self.size[axis] - 1) / 2)
            for axis, room, step in self._axes(view, width, height)
        )
        return x, y

    def voxel(
        self, view: str, x: float, y: float, shown: Sequence[int], width: float, height: float
    ) -> tuple[float, ...]:
        """The fractional voxel at CSS pixels from the left and top edge, in the slice through the voxel `shown`."""
        found = [float(index) for index in shown]
        for place, (axis, room, step) in zip((x, y), self._axes(view, width, height), strict=True):
            found[axis] = (place - room / 2) / step + (self.size[axis] - 1) / 2
        return tuple(found)

    def _axes(self, view: str, width: float, height: float) -> list[tuple[int, float, float]]:
        """For columns and rows: the voxel axis, the room in CSS pixels, and CSS pixels from voxel to voxel."""
        axes = [self.axis_of[lps] for lps, _ in self.TOWARDS[view]]
        room = (width, height)
        scale = 0.98 * min(room[n] / (self.size[axis] * self.spacing[axis]) for n, axis in enumerate(axes))
        ways = [
            np.sign(self.direction[lps, axis]) * sign
            for axis, (lps, sign) in zip(axes, self.TOWARDS[view], strict=True)
        ]
        return [(axis, room[n], ways[n] * self.spacing[axis] * scale) for n, axis in enumerate(axes)]


_KEYS_ARE_THE_APPS = """  // a field in which Enter was pressed gives them back with the next frame
    () => !document.activeElement.matches("input:not([type=checkbox]):not([type=range]), textarea, select")
"""
_COUNT_DECODING = """
    window.decoding = 0;  // frames that have arrived and are not on a canvas yet
    const { createObjectURL } = URL;
    URL.createObjectURL = (blob) => {
        const address = createObjectURL.call(URL, blob);
        if (blob.type === "image/png") {
            window.decoding++;
            const twin = new Image();
            twin.onload = twin.onerror = () => requestAnimationFrame(() => window.decoding--);
            twin.src = address;
        }
        return address;
    };
"""


def leave(context: BrowserContext) -> None:
    """Go elsewhere with every page, as a user does, so that it ends its kernel; then close them."""
    for page in context.pages:
        page.goto("about:blank")
    context.close()


class Screen:
    """One page with the app on it."""

    VIEWS = ("axial", "coronal", "sagittal")

    def __init__(self, page: Page) -> None:
        self.page = page
        page.add_init_script(_COUNT_DECODING)
        self.clicks = 0
        page.set_default_timeout(TIMEOUT)

    def wait_for_status(self, pattern: str) -> str:
        """Until the status line matches; returns it."""
        self.page.wait_for_function(
            "p => new RegExp(p).test(document.querySelector('.snb-status .widget-html')?.innerText ?? '')", arg=pattern
        )
        return self.page.inner_text(".snb-status .widget-html")

    def seen(self, selector: str) -> float:
        """Which share of an element's middle is really on the screen: hidden, clipped or covered parts are not.

        Playwright calls an element visible that its parents clip away.
        """
        return float(
            self.page.evaluate(
                """selector => {
                    const element = document.querySelector(selector);
                    if (!element || getComputedStyle(element).visibility !== "visible") return 0;
                    const box = element.getBoundingClientRect();
                    let seen = 0;
                    for (let n = 0; n < 100; n++) {
                        const x = box.x + box.width * (0.05 + 0.1 * (n % 10));
                        const y = box.y + box.height * (0.05 + 0.1 * Math.floor(n / 10));
                        const found = document.elementFromPoint(x, y);
                        if (found && (found === element || element.contains(found))) seen++;
                    }
                    return box.width > 0 && box.height > 0 ? seen / 100 : 0;
                }""",
                selector,
            )
        )

    def picture(self) -> np.ndarray:
        """The page as it looks: uint8 (rows, columns, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))

    def box(self, view: str) -> dict[str, float]:
        canvas = self.page.locator(f".snb-{view} canvas").last
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        return box

    def point(self, view: str, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a position on a view's canvas, moved to the middle of a pixel, as a mouse would be.

        Where the page draws that is a pixel of the screen, where the kernel does, a CSS pixel.
        """
        box = self.box(view)
        ratio = self.page.evaluate("document.querySelector('.snb-drawn-here') ? devicePixelRatio : 1")
        across, down = ((math.floor(place * ratio) + 0.5) / ratio for place in (box["x"] + x, box["y"] + y))
        return across, down

    def click(self, view: str, x: float, y: float, **options: object) -> None:
        """Click on a view and wait for the mask."""
        self.clicks += 1
        self.page.mouse.click(*self.point(view, x, y), **options)
        self.wait_for_status(rf"after {self.clicks} click")

    def millilitres(self) -> float:
        """The current object's volume, by the list of objects."""
        return float(self.page.inner_text(".snb-current .snb-ml").removesuffix(" mL"))

    def place(self, geometry: Geometry, view: str, voxel: Sequence[float]) -> tuple[float, float]:
        """CSS pixels from the left and top edge of a view to where a voxel ought to be."""
        box = self.box(view)
        return geometry.position(view, voxel, box["width"], box["height"])

    def aim(self, geometry: Geometry, view: str, voxel: Sequence[int]) -> tuple[tuple[float, float], tuple[int, ...]]:
        """A CSS pixel near a voxel's centre, and the voxel that the middle of this pixel lies in.

        That is the voxel itself, or its neighbour where voxels are smaller than pixels.
        """
        box = self.box(view)
        size = box["width"], box["height"]
        near = geometry.position(view, voxel, *size)
        for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x, y = self.point(view, near[0] + right, near[1] + down)
            found = geometry.voxel(view, x - box["x"], y - box["y"], voxel, *size)
            if all(abs(index - round(index)) < 0.45 for index in found):  # else rounding might decide
                return (near[0] + right, near[1] + down), tuple(round(index) for index in found)
        raise AssertionError(f"no pixel near {voxel} lies well inside a voxel")

    def look_at(self, geometry: Geometry, voxel: Sequence[int]) -> None:
        """Move the crosshair to a voxel by Shift+click, in the axial and then in the coronal view.

        Whatever slice a view shows, Shift+click moves the other two axes only; after both views, all three are right.
        """
        self.page.keyboard.down("Shift")
        for view in ("axial", "coronal"):
            self.page.mouse.click(*self.point(view, *self.place(geometry, view, voxel)))
        self.page.keyboard.up("Shift")
        self.settle()

    def new_object(self, name: str) -> None:
        """Add an object by its key and name it."""
        self.page.keyboard.press("n")
        self.wait_for_status("object .*: no clicks yet")
        self.name(name)
        self.clicks = 0

    def name(self, name: str) -> None:
        """Name the current object in the list."""
        self.page.locator(".snb-current .snb-title").fill(name)
        self.page.keyboard.press("Enter")
        self.wait_for_status(f"^{name}: ")

    def space(self, name: str) -> tuple[float, ...]:
        """The coordinates that the transform chain panel shows for a space."""
        text = self.page.get_attribute(f"[data-space={name}]", "data-point")
        assert text is not None
        return tuple(float(number) for number in text.split())

    def hover(self, view: str, x: float, y: float, voxel: Sequence[int]) -> None:
        """Move the mouse and wait until the panel previews a voxel."""
        self.page.mouse.move(*self.point(view, x, y))
        wanted = " ".join(map(str, voxel))
        try:
            self.page.wait_for_function(
                "w => document.querySelector('.snb-hover [data-space=voxel]')?.dataset.point === w",
                arg=wanted,
                timeout=15_000,
            )
        except Exception as error:
            raise AssertionError(f"hovering {voxel} in {view} previews {self.space('voxel')}") from error

    def pixels(self, view: str) -> np.ndarray:
        """The view's picture as the page holds it: uint8 (rows, columns, 4) in device pixels.

        That of the 3D panel is as it is on the screen: WebGL keeps none.
        """
        if view == "preview":
            png = self.page.locator(".snb-preview canvas").first.screenshot()
            return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
        width, height, data = self.page.evaluate(
            """view => {
                const layers = document.querySelectorAll(`.snb-${view} .snb-canvases canvas`);
                let canvas = document.querySelector(`.snb-${view} canvas`);
                if (layers.length > 0) {
                    canvas = document.createElement("canvas");
                    [canvas.width, canvas.height] = [layers[0].width, layers[0].height];
                    for (const layer of layers) canvas.getContext("2d").drawImage(layer, 0, 0);
                }
                const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let text = "";
                for (let start = 0; start < image.data.length; start += 32768)
                    text += String.fromCharCode(...image.data.subarray(start, start + 32768));
                return [canvas.width, canvas.height, btoa(text)];
            }""",
            view,
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    def settle(self) -> None:
        """Until everything that the app has drawn is on the page.

        The kernel answers in order, so the answer to a key (the ? panel) comes after the frames asked for before it;
        then the browser has to decode and paint them.
        """
        self.page.wait_for_function(_KEYS_ARE_THE_APPS)
        self.page.keyboard.press("?")
        self.page.wait_for_selector(".snb-help-panel", state="visible")
        self.page.keyboard.press("Escape")
        self.page.wait_for_selector(".snb-help-panel", state="hidden")
        self.page.wait_for_function("window.decoding === 0 && document.querySelector('.snb-views[data-busy]') === null")
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def until(self, seen: Callable[[], bool], seconds: float = 30) -> bool:
        """Whether something is seen, at once or a little later: what WebGL draws comes when it comes."""
        end = time.monotonic() + seconds
        while not (found := seen()) and time.monotonic() < end:
            self.page.wait_for_timeout(200)
        return found

    def settled_pixels(self, view: str) -> np.ndarray:
        """The view's picture after `settle`."""
        self.settle()
        return self.pixels(view)

    def tinted(self, view: str) -> int:
        """How many pixels of a view are blue, as the first object is."""
        red, _, blue, _ = np.moveaxis(self.settled_pixels(view).astype(int), 2, 0)
        return int((blue > red + 30).sum())
