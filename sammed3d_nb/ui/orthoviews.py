"""Three linked views: axial, coronal and sagittal, with the mouse gestures on them."""

from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.spaces import Transform
from sammed3d_nb.ui.compose import Region, Window, default_window
from sammed3d_nb.ui.planes import PLANES, Plane
from sammed3d_nb.ui.view import Display, Pointer, Shown, SliceView

Voxel = tuple[int, int, int]

_ANY_SLICE = 100_000  # range of a slider before there is a volume: the page cuts no value to it, and sends none back
_SLIDER_HEIGHT = 22
_GAP = 4
_CLICK_SLACK = 4  # CSS pixels that the mouse may move between press and release of a click
_WHEEL_ZOOM = 1.2


class OrthoViews:
    """The three views; `widget` shows them.

    Their slices and the crosshair are one thing, the voxel `cross`: scrolling a view moves it along that view's
    normal, a click moves it to the voxel clicked.

    Args:
        lock: Guards drawing, and everything that the views show.
        on_error: Called with exceptions from handlers.
        radiological: Show the patient's right on the left of the screen.

    Attributes:
        on_prompt: Called with the pointer and True for a left, False for a right or Ctrl+click.
        on_hover: Called with the pointer when another voxel comes under the cursor, None when none is.
        on_window: Called with the window that a drag asks for.
    """

    def __init__(self, lock: RLock, on_error: Callable[[BaseException], None], *, radiological: bool = True) -> None:
        self._lock, self._on_error = lock, on_error
        self.on_prompt: Callable[[Pointer, bool], object] = lambda pointer, left: None
        self.on_hover: Callable[[Pointer | None], object] = lambda pointer: None
        self.on_window: Callable[[Window], object] = lambda window: None
        self.radiological = radiological
        self.display = Display()
        self.views = {name: SliceView(name, self.display, lock, on_error) for name in PLANES}
        self.active = PLANES[0]
        self.large = PLANES[0]
        self.cross: Voxel = (0, 0, 0)
        self._showing = False
        self.objects: Sequence[Shown] = ()
        self.clicks: Sequence[tuple[Sequence[int], bool]] = ()
        self.volume: Volume | None = None
        self._size = (900, 700)
        self._drag: _Drag | None = None
        self._hovered: tuple[str, Voxel] | None = None
        self._sliders = {name: self._slider(name) for name in PLANES}
        self._boxes = {
            name: widgets.VBox([view.canvas, self._sliders[name]], layout=widgets.Layout(grid_area=name))
            for name, view in self.views.items()
        }
        for name, box in self._boxes.items():
            box.add_class("snb-view")
            box.add_class(f"snb-{name}")
        self.widget = widgets.GridBox(list(self._boxes.values()))
        self.widget.add_class("snb-views")
        for view in self.views.values():
            self._listen(view)
        self.arrange(*self._size)

    def show(self, volume: Volume | None) -> None:
        """Show another volume from its middle, with its default window; None to show nothing."""
        with self._lock:
            self.volume, self.objects, self.clicks = volume, (), ()
            self._hovered = None
            if volume is not None:
                i, j, k = (n // 2 for n in volume.size)
                self.cross = (i, j, k)
                self.display.window = default_window(volume.array, volume.modality)
            self._showing = True  # a slider whose range shrinks moves by itself: that is no wish of the user's
            for name, view in self.views.items():
                plane = None if volume is None else Plane.of(name, volume, radiological=self.radiological)
                view.show(plane, None if volume is None else volume.array)
                view.set_cubes([])
                if plane is not None:
                    with self._sliders[name].hold_sync():  # in one message: the page cuts a value to an older range
                        self._sliders[name].max = plane.slices - 1
                        self._sliders[name].value = self.cross[plane.axes[2]]
            self._showing = False
            self.follow()
            self.redraw()

    def move_to(self, voxel: Sequence[int]) -> None:
        """Move the crosshair to a voxel (i, j, k), cut to the volume, and show the slices through it."""
        if self.volume is None:
            return
        i, j, k = (min(max(int(v), 0), n - 1) for v, n in zip(voxel, self.volume.size, strict=True))
        with self._lock:
            if (i, j, k) != self.cross:
                self.cross = (i, j, k)
                self.follow()
                self.redraw()

    def scroll(self, steps: int, name: str | None = None) -> None:
        """Scroll a view (the active one by default) by slices; positive goes superior, anterior or left."""
        plane = self.views[name or self.active].plane
        if plane is not None:
            cross = list(self.cross)
            cross[plane.axes[2]] += steps * plane.up
            self.move_to(cross)

    def zoom(self, factor: float) -> None:
        """Magnify the active view about its centre."""
        view = self.views[self.active]
        with self._lock:
            view.look(view.region.zoomed(factor, view.region.centre))
            self.redraw([view.name])

    def fit(self) -> None:
        """Show whole slices again."""
        with self._lock:
            for view in self.views.values():
                view.fit()
            self.redraw()

    def set_window(self, window: Window) -> None:
        """Change the grey-scale window of all views."""
        with self._lock:
            self.display.window = window
            self.redraw()

    def set_cubes(self, cubes: Sequence[tuple[Transform, int]]) -> None:
        """The network's cubes to outline, each by its affine to the array and its edge in voxels."""
        for view in self.views.values():
            view.set_cubes(cubes)

    def redraw(self, names: Iterable[str] = PLANES) -> None:
        """Compose some views anew, the one under the mouse first."""
        cross = None if self.volume is None else self.cross
        with self._lock:
            for name in sorted(names, key=lambda name: name != self.active):
                self.views[name].draw(self.objects, self.clicks, cross)

    def arrange(self, width: int, height: int, *, large: str | None = None) -> None:
        """Give the views a room in CSS pixels: one of them large on the left, the others above each other."""
        self.large = large or self.large
        self._size = (width, height)
        small_width = max(160, round(0.36 * (width - _GAP)))
        large_width = max(200, width - _GAP - small_width)
        small_height = (height - _GAP) // 2
        others = [name for name in PLANES if name != self.large]
        layout = self.widget.layout
        layout.grid_template_areas = f'"{self.large} {others[0]}" "{self.large} {others[1]}"'
        layout.grid_template_columns = f"{large_width}px {small_width}px"
        layout.grid_template_rows = f"{small_height}px {small_height}px"
        layout.grid_gap = f"{_GAP}px"
        with self._lock:
            for name, view in self.views.items():
                size = (large_width, 2 * small_height + _GAP) if name == self.large else (small_width, small_height)
                view.resize(size[0], max(80, size[1] - _SLIDER_HEIGHT))
            self.redraw()

    def enlarge(self, name: str) -> None:
        """Show one of the views large."""
        self.arrange(*self._size, large=name)

    def release(self) -> None:
        """Let go of the figures."""
        for view in self.views.values():
            view.canvas.release()

    def follow(self) -> None:
        """Show the slices through the crosshair."""
        for name, view in self.views.items():
            if view.plane is not None:
                view.index = self.cross[view.plane.axes[2]]
                self._sliders[name].value = view.index

    def _slider(self, name: str) -> widgets.IntSlider:
        slider = widgets.IntSlider(
            0, 0, _ANY_SLICE, readout=False, layout=widgets.Layout(width="auto", height=f"{_SLIDER_HEIGHT}px")
        )

        def moved(change: dict[str, Any]) -> None:
            plane = self.views[name].plane
            if plane is not None and not self._showing and change["new"] != self.cross[plane.axes[2]]:
                cross = list(self.cross)
                cross[plane.axes[2]] = change["new"]
                self.move_to(cross)

        slider.observe(moved, names="value")
        return slider

    def _listen(self, view: SliceView) -> None:
        handlers = {
            "button_press_event": self._press,
            "button_release_event": self._release,
            "motion_notify_event": self._motion,
            "scroll_event": self._wheel,
            "figure_enter_event": self._enter,
            "figure_leave_event": self._leave,
        }
        for event, handler in handlers.items():
            view.canvas.mpl_connect(event, lambda e, handler=handler: self._guard(handler, view, e))

    def _guard(self, handler: Callable[[SliceView, Any], None], view: SliceView, event: Any) -> None:
        try:
            handler(view, event)
        except Exception as error:
            self._on_error(error)

    def _press(self, view: SliceView, event: Any) -> None:
        self.active = view.name
        pointer = view.pointer(event)
        if pointer is None or event.dblclick:  # a double click sends two presses, then this third one
            return
        if pointer.button == 2 or (pointer.button == 1 and "alt" in pointer.modifiers):
            self._drag = _Drag("pan", pointer, view.region, self.display.window)
        elif pointer.button == 1 and "shift" in pointer.modifiers:
            self._drag = _Drag("window", pointer, view.region, self.display.window)
        elif pointer.button in (1, 3):
            self.on_prompt(pointer, pointer.button == 1 and "ctrl" not in pointer.modifiers)

    def _motion(self, view: SliceView, event: Any) -> None:
        self.active = view.name
        if self._drag is not None and not getattr(event, "buttons", True):
            self._drag = None  # the button was let go outside the view
        pointer = view.pointer(event)
        if pointer is None:
            return
        if self._drag is not None:
            self._dragged(view, pointer)
        else:
            self._look_under(pointer)

    def _look_under(self, pointer: Pointer) -> None:
        """Report the voxel under the cursor if it is another one."""
        hovered = (pointer.plane, pointer.voxel)
        if hovered != self._hovered:
            self._hovered = hovered
            self.on_hover(pointer if pointer.inside else None)

    def _dragged(self, view: SliceView, pointer: Pointer) -> None:
        drag = self._drag
        assert drag is not None
        ratio = view.canvas.device_pixel_ratio
        right, down = ((now - then) / ratio for now, then in zip(pointer.canvas, drag.start.canvas[:2], strict=False))
        drag.moved = drag.moved or max(abs(right), abs(down)) > _CLICK_SLACK
        if not drag.moved or view.name != drag.start.plane or view.plane is None:
            return
        if drag.kind == "window":
            width, height = view.canvas.shown_size
            self.on_window(drag.window.drag(right / width, -down / height))
        else:
            rows_mm, columns_mm = view.plane.spacing
            scale = drag.region.scale
            view.look(drag.region.moved(-right / (scale * columns_mm), -down / (scale * rows_mm)))
            self.redraw([view.name])

    def _release(self, view: SliceView, event: Any) -> None:
        drag, self._drag = self._drag, None
        if drag is not None and drag.kind == "window" and not drag.moved and drag.start.inside:
            self.move_to(drag.start.voxel)

    def _wheel(self, view: SliceView, event: Any) -> None:
        self.active = view.name
        pointer = view.pointer(event)
        if pointer is None or (event.guiEvent or {}).get("deltaY") == 0:  # sideways scrolling arrives as "down"
            return
        up = event.step > 0
        if "ctrl" in pointer.modifiers:
            column, row, _ = pointer.chain[0](pointer.canvas)
            view.look(view.region.zoomed(_WHEEL_ZOOM if up else 1 / _WHEEL_ZOOM, (column, row)))
            self.redraw([view.name])
        else:
            self.scroll(1 if up else -1, view.name)
        moved = view.pointer_at(*pointer.canvas[:2])  # the mouse has not moved, but another voxel is under it
        if moved is not None:
            self._look_under(moved)

    def _enter(self, view: SliceView, event: Any) -> None:
        self.active = view.name

    def _leave(self, view: SliceView, event: Any) -> None:
        self._hovered = None
        self.on_hover(None)


class _Drag:
    """A drag in progress: ``"pan"`` or ``"window"``, and what it started from."""

    def __init__(self, kind: str, start: Pointer, region: Region, window: Window) -> None:
        self.kind, self.start, self.region, self.window = kind, start, region, window
        self.moved = False
