"""An app on a known volume, and what a page sends to one of its views and gets from it."""

import io
import json
import math

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


def ask(app: snb.App, do: str, number: int, value: object = None) -> None:
    """What the page sends when a row of the list of objects is used."""
    key = app.objects.list.rows[number]["key"]
    app.objects.list._handle_custom_msg({"do": do, "key": key, "value": value}, [])
    app.wait()


class Browser:
    """One view's canvas as a page shows it: sends what ipympl's page sends, keeps the frames that arrive."""

    def __init__(self, app: snb.App, view: str, ratio: float = 1) -> None:
        self.app, self.view, self.ratio = app, app.views.views[view], ratio
        self.canvas = self.view.canvas
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
        self.app.wait()

    def picture(self) -> np.ndarray:
        """The next frame, whole."""
        self.tell("refresh")
        self.tell("draw")
        return np.asarray(Image.open(io.BytesIO(self.frames[-1])).convert("RGB"))
