"""An app on a known volume, and what a page sends to one of its views and gets from it."""

import io
import json
import math
import zlib
from itertools import pairwise

import numpy as np
from PIL import Image

import sammed3d_nb as snb

SIZE = (60, 50, 20)
BALL = (20, 30, 9)


def ball_volume() -> snb.Volume:
    """A bright ball in an oblique, anisotropic volume."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij")
    distance = np.sqrt((x - BALL[0]) ** 2 + (y - BALL[1]) ** 2 + (2 * (z - BALL[2])) ** 2)
    values = np.where(distance < 9, 100, -50).astype(np.int16)
    angle = np.radians(10)
    direction = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, -1]]
    return snb.Volume.from_array(values.transpose(2, 1, 0), (1.5, 1.5, 3.0), direction, (10, -20, 30), modality="CT")


def near(app: snb.App, places, mm: float, *, slices=None) -> np.ndarray:
    """bool (z, y, x): voxel centres within half of `mm` of a line through places, in space, by brute force."""
    volume = app.session.volume
    k, j, i = np.indices(volume.array.shape)
    centres = volume.voxel_to_lps(np.stack([i, j, k], axis=-1))
    line = volume.voxel_to_lps(np.array(places, dtype=float))
    found = np.zeros(volume.array.shape, bool)
    for first, last in pairwise(line) if len(line) > 1 else [(line[0], line[0])]:
        for share in np.linspace(0, 1, 400):
            found |= np.linalg.norm(centres - (first + share * (last - first)), axis=-1) <= mm / 2
    if slices is not None:
        axis, index = slices
        keep = np.zeros_like(found)
        keep[tuple(index if n == 2 - axis else slice(None) for n in range(3))] = True
        found &= keep
    return found


def differing(a: np.ndarray, b: np.ndarray) -> int:
    return int((a.astype(bool) != b.astype(bool)).sum())


def ask(app: snb.App, do: str, number: int, value: object = None) -> None:
    """What the page sends when a row of the list of objects is used."""
    key = app.objects.list.rows[number]["key"]
    app.objects.list._handle_custom_msg({"do": do, "key": key, "value": value}, [])
    app.wait()


class Browser:
    """One view's ipympl canvas as a page shows it: sends what ipympl's page sends, keeps the frames that arrive."""

    def __init__(self, app: snb.App, view: str, ratio: float = 1) -> None:
        self.app, self.view, self.ratio = app, app.views.views[view], ratio
        self.picture_of = app.views.renderer.pictures[view]
        self.canvas = self.picture_of.canvas
        self.frames: list[bytes] = []
        self.sent: list[dict] = []
        self.canvas.send = self._receive
        self.open()

    def _receive(self, content: dict, buffers=None) -> None:
        message = json.loads(content["data"])
        self.sent.append(message)
        if message["type"] == "binary":
            self.frames.append(buffers[0])

    def tell(self, kind: str, **fields) -> None:
        self.canvas._handle_message(self.canvas, {"type": kind, **fields}, [])

    def open(self) -> None:
        if self.ratio != 1:
            self.tell("set_dpi_ratio", dpi_ratio=self.ratio)
            self.tell("set_device_pixel_ratio", device_pixel_ratio=self.ratio)
        for kind in ("refresh", "send_image_mode", "initialized"):
            self.tell(kind)

    def mouse(self, kind: str, x: float, y: float, button: int = 0, **fields) -> None:
        """An event at a CSS position; the browser hands on whole CSS pixels, times the ratio."""
        held = {"button_press": {0: 1, 1: 4, 2: 2}[button], "motion_notify": fields.pop("held", 0)}.get(kind, 0)
        self.tell(
            kind,
            x=math.floor(x) * self.ratio,
            y=math.floor(y) * self.ratio,
            button=button,
            buttons=held,
            **{"modifiers": [], "guiEvent": {}, **fields},
        )

    def click(self, voxel, offset=(0.0, 0.0), **fields) -> None:
        x, y = self.view.canvas_of(voxel)
        self.mouse("button_press", x + offset[0], y + offset[1], **fields)
        self.mouse("button_release", x + offset[0], y + offset[1], **fields)
        self.app.wait()

    def draw(self, *voxels, button: int = 0, **fields) -> None:
        """Press at the first of some voxels, move through the others and let go at the last one."""
        held = {0: 1, 1: 4, 2: 2}[button]
        places = [self.view.canvas_of(voxel) for voxel in voxels]
        self.mouse("button_press", *places[0], button, **fields)
        for place in places[1:]:
            self.mouse("motion_notify", *place, button, held=held, **fields)
        self.mouse("button_release", *places[-1], button, **fields)
        self.app.wait()

    def picture(self) -> np.ndarray:
        """The next frame, whole."""
        self.tell("refresh")
        self.tell("draw")
        return np.asarray(Image.open(io.BytesIO(self.frames[-1])).convert("RGB"))


class Tab:
    """A page that draws by itself, without the drawing: sends what `views.js` sends, keeps what arrives."""

    def __init__(self, app: snb.App, name: str = "tab") -> None:
        self.app, self.name, self.views = app, name, app.views.views
        self.widget = app.views.renderer.widget
        self.got: list[tuple[dict, list[bytes]]] = []
        before = self.widget.send

        def send(content: dict, buffers=None) -> None:
            if content.get("page", name) == name and content.get("origin") != name:
                self.got.append((json.loads(json.dumps(content)), list(buffers or [])))
            before(content, buffers)

        self.widget.send = send
        self.presses = 0
        self.tell(type="hello")
        self.generation = self.got[-1][0]["generation"]

    def tell(self, **content) -> None:
        content = {"page": self.name, "generation": getattr(self, "generation", 0), "n": 1, "kind": "state", **content}
        self.app.views.renderer._message(self.widget, json.loads(json.dumps(content)), [])

    def at(self, view: str, voxel, offset=(0.0, 0.0), ratio: float = 1) -> dict:
        """A position near a voxel's centre, with the transform of a page that shows what the kernel knows."""
        shown = self.views[view]
        x, y = np.add(shown.canvas_of(voxel), offset) * ratio
        matrix = (shown.to_plane.affine[:2, [0, 1, 3]] / (ratio, ratio, 1)).tolist()
        return {"plane": view, "canvas": [x, y, voxel[shown.plane.axes[2]]], "matrix": matrix}

    def hover(self, view: str, voxel, **fields) -> None:
        self.tell(**{"type": "hover", "kind": "hover", "modifiers": [], **self.at(view, voxel), **fields})

    def click(self, view: str, voxel, **fields) -> None:
        self.presses += 1
        base = {"type": "press", "kind": "press", "n": self.presses, "left": True, "button": 0, "modifiers": []}
        self.tell(**{**base, "state": None, **self.at(view, voxel), **fields})
        self.app.wait()

    def draw(self, view: str, *voxels, ratio: float = 1, wait: bool = True, **fields) -> None:
        """Draw through some voxels, of which the first names the slice, with the tool that is armed."""
        self.presses += 1
        at = self.at(view, voxels[0], ratio=ratio)
        points = [(np.array(self.views[view].canvas_of(voxel)) * ratio).tolist() for voxel in voxels]
        armed = self.app.views.armed
        base = {
            "type": "stroke", "kind": "stroke", "n": self.presses, "button": 0, "modifiers": [], "state": None,
            "plane": view, "points": points, "slice": at["canvas"][2], "matrix": at["matrix"], "positive": True,
            "tool": armed.name, "mm": armed.mm, "ball": armed.ball,
        }  # fmt: skip
        self.tell(**{**base, **fields})
        if wait:
            self.app.wait()

    def ask(self, view: str, index: int, what: int = 3) -> tuple[dict, list[bytes]]:
        """A slice: what there is to know of it, its bytes and those of its masks."""
        self.tell(type="want", list=[[view, index, what]])
        content, buffers = self.got[-1]
        (found,) = content["slices"]
        return found, buffers[found["at"] : found["at"] + 2]

    def last(self, field: str):
        """What the page was told last of something."""
        return next(content[field] for content, _ in reversed(self.got) if field in content)


def unpacked(head: dict, data: bytes) -> np.ndarray:
    """A slice as `codec.js` restores it, by the definition and not in a hurry."""
    rows, columns, width = head["rows"], head["columns"], head["width"]
    planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(width, -1, rows, columns).astype(np.int64)
    coded = sum(plane << (8 * place) for place, plane in enumerate(planes))
    words = []
    for missed in (coded >> 1) ^ -(coded & 1):
        word = np.zeros((rows, columns), np.int64)
        for row, column in np.ndindex(rows, columns):
            left = int(word[row, column - 1]) if column else 0
            up = int(word[row - 1, column]) if row else 0
            corner = int(word[row - 1, column - 1]) if row and column else 0
            guess = sorted((left, up, left + up - corner))[1] if row and column else left if column else up
            word[row, column] = (guess + int(missed[row, column]) + 2**31) % 2**32 - 2**31
        words.append(word.astype(np.int32))
    if head["type"] == "float32":
        return np.where(words[0] < 0, words[0] ^ 0x7FFFFFFF, words[0]).astype(np.int32).view(np.float32)
    if head["type"] == "float64":
        return np.stack([words[1], words[0]], -1).reshape(rows, 2 * columns).view(np.float64)
    return words[0].astype(head["type"])


def mask_of(box: list[int] | None, data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """The only mask of a slice, as `codec.js` restores it."""
    mask = np.zeros(shape, bool)
    if box is not None:
        top, left, rows, columns = box
        bits = np.unpackbits(np.frombuffer(zlib.decompress(data), np.uint8), count=rows * columns)
        mask[top : top + rows, left : left + columns] = bits.reshape(rows, columns)
    return mask
