"""An ipympl canvas without ipympl's traps: exact clicks, fast frames, no toolbar, no hidden keys, complete release.

What is corrected, and why, was measured with JupyterLab 4.6, Voilà 0.5.13, ipympl 0.10 and matplotlib 3.11.
"""

import sys
from collections.abc import Callable
from io import BytesIO
from threading import RLock
from typing import Any

import numpy as np
from PIL import Image

from sammed3d_nb.spaces import Transform

_previous = sys.modules["matplotlib"].get_backend(auto_select=False) if "matplotlib" in sys.modules else None
from ipympl.backend_nbagg import Canvas, FigureManager  # noqa: E402 - switches matplotlib's backend: put it back
from matplotlib import use as _use_backend  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

if _previous is not None:
    _use_backend(_previous)

DOTS_PER_INCH = 72  # so that a matplotlib point is a CSS pixel


class ViewCanvas(Canvas):  # type: ignore[misc]
    """The canvas of one figure that an ortho view draws on.

    Args:
        size: Width and height in CSS pixels.
        lock: Held while a message from the page is handled, drawing included.
        on_error: Called with any exception that handling a message raises; ipympl would lose it.
    """

    def __init__(self, size: tuple[int, int], lock: RLock, on_error: Callable[[Exception], None]) -> None:
        self._lock, self._on_error = lock, on_error
        self._ratio_sent = False
        figure = Figure(figsize=(size[0] / DOTS_PER_INCH, size[1] / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
        super().__init__(figure)
        self._force_full = self._png_is_old = True  # the next frame is sent whole
        self._last_buff: np.ndarray[Any, Any] = np.empty((0, 0))
        manager = FigureManager(self, 0)  # not pyplot's: nothing is registered globally, nothing is shown twice
        self.mpl_disconnect(manager.key_press_handler_id)  # matplotlib's keys are live: l turns axes logarithmic
        self.manager = manager
        self.header_visible = self.footer_visible = self.resizable = False
        self.toolbar_visible = False  # the fading toolbar swallows clicks
        self.capture_scroll = True
        self.set_capture_scroll(True)

    def _handle_message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        try:
            with self._lock:
                if content["type"] in ("set_device_pixel_ratio", "set_dpi_ratio"):
                    self._ratio_sent = True
                if content["type"] == "initialized":
                    if not self._ratio_sent:  # a page on a 1:1 screen sends none: the page before may have sent 2
                        self._handle_set_device_pixel_ratio(1)
                    self._ratio_sent = False
                    self.send_state("resizable")  # the page has just undone it
                super()._handle_message(widget, content, buffers)
        except Exception as error:
            self._on_error(error)

    def get_diff_image(self) -> bytes | None:
        """The frame as PNG, packed fast: half the time of ipympl's own, which packs tightly.

        Where little has changed, only that is sent, on transparent ground.
        """
        if not self._png_is_old:
            return None
        pixels = np.asarray(self.get_renderer().buffer_rgba())  # opaque: the figure has an opaque background
        frame = pixels.view(np.uint32).squeeze(2)
        changed = None if self._force_full or frame.shape != self._last_buff.shape else frame != self._last_buff
        if changed is None or np.count_nonzero(changed) > changed.size // 3:
            self.set_image_mode("full")
            picture = np.ascontiguousarray(pixels[:, :, :3])  # a quarter less to pack
        else:
            self.set_image_mode("diff")
            picture = np.where(changed, frame, 0).view(np.uint8).reshape(pixels.shape)
        self._last_buff = frame.copy()
        self._force_full = self._png_is_old = False
        png = BytesIO()
        Image.fromarray(picture).save(png, format="png", compress_level=1)
        return png.getvalue()

    @property
    def shown_size(self) -> tuple[float, float]:
        """Width and height in CSS pixels."""
        width, height = self.figure.bbox.size
        return width / self.device_pixel_ratio, height / self.device_pixel_ratio

    def resize(self, width: int, height: int) -> None:
        """Give the figure another size in CSS pixels, on the page too."""
        if (width, height) != tuple(round(side) for side in self.shown_size):
            self.handle_resize({"width": width, "height": height})

    def to_plane(self, axes: Any) -> Transform:
        """``canvas`` (device pixels right and down, slice number) → ``plane`` (column, row, slice number).

        The browser floors a click to whole CSS pixels, so half a CSS pixel is added: without it, a click misses by a
        voxel wherever a voxel is smaller than a CSS pixel.
        """
        half = 0.5 * self.device_pixel_ratio
        height = int(self.figure.bbox.height)
        from_browser = np.array([[1, 0, half], [0, -1, height - half], [0, 0, 1]])
        flat = np.linalg.inv(axes.transData.get_matrix()) @ from_browser
        matrix = np.eye(4)
        matrix[:2, :2], matrix[:2, 3] = flat[:2, :2], flat[:2, 2]
        return Transform("canvas", "plane", matrix)

    def position(self, event: Any) -> tuple[float, float]:
        """Where a mouse event happened, in device pixels right and down, as the browser reported it.

        `event.x` is truncated to an integer, which is wrong at a fractional pixel ratio; `event.xdata` is not.
        """
        x, y = event.inaxes.transData.transform((event.xdata, event.ydata))
        return float(x), float(int(self.figure.bbox.height) - y)

    def release(self) -> None:
        """Close every widget that pins the figure."""
        toolbar = self.manager.toolbar
        for widget in (toolbar, toolbar.layout, self, self.layout):
            widget.close()
        self.manager.web_sockets.clear()
        self.figure.clear()
