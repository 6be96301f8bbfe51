"""The views drawn by matplotlib in the kernel, by ipympl: for pages that may run no JavaScript of ours."""

from collections.abc import Callable, Sequence
from math import hypot
from typing import Any

import ipywidgets as widgets
import numpy as np

from sammed3d_nb.ui.compose import Region, Window
from sammed3d_nb.ui.ipympl_view import Picture
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.scene import GAP, SLIDER_HEIGHT, Renderer, Scene
from sammed3d_nb.ui.stroke import BRUSH, CLICK, FINER, LEAST_MM, MOST_MM, Armed, Stroke
from sammed3d_nb.ui.view import Pointer

_ANY_SLICE = 100_000  # range of a slider before there is a volume: the page cuts no value to it, and sends none back
_CLICK_SLACK = 4  # CSS pixels that the mouse may move between press and release of a click
_WHEEL_ZOOM = 1.2


class IpymplRenderer(Renderer):
    """A figure and a slider for each view, and the mouse on them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.pictures = {
            name: Picture(view, scene.display, scene.lock, scene.on_error) for name, view in scene.views.items()
        }
        self._showing = False
        self._drag: _Drag | None = None
        self._sliders = {name: self._slider(name) for name in PLANES}
        boxes = {
            name: widgets.VBox([picture.canvas, self._sliders[name]], layout=widgets.Layout(grid_area=name))
            for name, picture in self.pictures.items()
        }
        for name, shown in boxes.items():
            shown.add_class("snb-view")
            shown.add_class(f"snb-{name}")
        self.widget = widgets.GridBox(list(boxes.values()))
        for picture in self.pictures.values():
            self._listen(picture)

    def opened(self) -> None:
        """Show another volume, or none."""
        self._showing = True  # a slider whose range shrinks moves by itself: that is no wish of the user's
        for name, picture in self.pictures.items():
            picture.open(self._scene.volume)
            plane = picture.view.plane
            if plane is not None:
                with self._sliders[name].hold_sync():  # in one message: the page cuts a value to an older range
                    self._sliders[name].max = plane.slices - 1
                    self._sliders[name].value = picture.view.index
        self._showing = False
        self.draw(PLANES)

    def followed(self) -> None:
        """Move the sliders to the slices shown."""
        for name, picture in self.pictures.items():
            if picture.view.plane is not None:
                self._sliders[name].value = picture.view.index

    def draw(self, names: Sequence[str]) -> None:
        """Compose some views anew and ask the page to fetch them."""
        scene = self._scene
        cross = None if scene.volume is None else scene.cross
        marks = [*(scene.marks if scene.display.prompts else ()), *scene.measures]
        for name in names:
            picture = self.pictures[name]
            if scene.armed.shape != BRUSH and picture.view.plane is not None:
                picture.marks.circle(None, scene.armed, picture.view.plane)
            picture.draw(scene.objects, scene.clicks, cross, scene.cubes, marks)

    def arranged(self) -> None:
        """Lay out the figures."""
        scene = self._scene
        rooms = scene.rooms()
        others = [name for name in PLANES if name != scene.large]
        layout = self.widget.layout
        layout.grid_template_areas = f'"{scene.large} {others[0]}" "{scene.large} {others[1]}"'
        layout.grid_template_columns = f"{rooms[scene.large][0]}px {rooms[others[0]][0]}px"
        layout.grid_template_rows = " ".join([f"{rooms[others[0]][1]}px"] * 2)
        layout.grid_gap = f"{GAP}px"
        for name, picture in self.pictures.items():
            picture.canvas.resize(rooms[name][0], max(80, rooms[name][1] - SLIDER_HEIGHT))
        self.draw(PLANES)

    def under(self, pointer: Pointer) -> Pointer | None:
        """What lies now where the mouse was."""
        return self.pictures[pointer.plane].pointer_at(*pointer.canvas[:2])

    def release(self) -> None:
        """Let go of the figures."""
        for picture in self.pictures.values():
            picture.canvas.release()

    def _slider(self, name: str) -> widgets.IntSlider:
        slider = widgets.IntSlider(
            0, 0, _ANY_SLICE, readout=False, layout=widgets.Layout(width="auto", height=f"{SLIDER_HEIGHT}px")
        )

        def moved(change: dict[str, Any]) -> None:
            plane = self._scene.views[name].plane
            if plane is not None and not self._showing and change["new"] != self._scene.cross[plane.axes[2]]:
                cross = list(self._scene.cross)
                cross[plane.axes[2]] = change["new"]
                self._scene.move_to(cross)

        slider.observe(moved, names="value")
        return slider

    def _listen(self, picture: Picture) -> None:
        handlers = {
            "button_press_event": self._press,
            "button_release_event": self._release,
            "motion_notify_event": self._motion,
            "scroll_event": self._wheel,
            "figure_enter_event": self._enter,
            "figure_leave_event": self._leave,
        }
        for event, handler in handlers.items():
            picture.canvas.mpl_connect(event, lambda e, handler=handler: self._guard(handler, picture, e))

    def _guard(self, handler: Callable[[Picture, Any], None], picture: Picture, event: Any) -> None:
        try:
            handler(picture, event)
        except Exception as error:
            self._scene.on_error(error)

    def _press(self, picture: Picture, event: Any) -> None:
        self._scene.active = picture.view.name
        pointer = picture.pointer(event)
        if pointer is None or event.dblclick:  # a double click sends two presses, then this third one
            return
        if pointer.button == 2 or (pointer.button == 1 and "alt" in pointer.modifiers):
            kind = "pan"
        elif pointer.button == 1 and "shift" in pointer.modifiers:
            kind = "window"
        elif pointer.button in (1, 3):
            kind = "prompt" if self._scene.armed.shape == CLICK else "draw"
        else:
            return
        self._drag = _Drag(kind, pointer, picture.view.region, self._scene.display.window)
        if kind == "draw":
            left = pointer.button == 1 and "ctrl" not in pointer.modifiers
            self._drag.armed = self._scene.armed
            self._drag.positive = self._scene.armed.positive(left=left, end=False, sign=self._scene.left is not False)
            self._extend(picture, pointer)

    def _motion(self, picture: Picture, event: Any) -> None:
        self._scene.active = picture.view.name
        if self._drag is not None and not getattr(event, "buttons", True):
            self._drop(picture)  # the button was let go outside the view
        pointer = picture.pointer(event)
        if pointer is None:
            return
        if self._scene.armed.shape == BRUSH and picture.view.plane is not None:
            column, row, _ = pointer.chain[0](pointer.canvas)
            picture.marks.circle((column, row), self._scene.armed, picture.view.plane)
            picture.canvas.draw_idle()
        if self._drag is not None:
            self._dragged(picture, pointer)
        else:
            self._scene.look_under(pointer)

    def _dragged(self, picture: Picture, pointer: Pointer) -> None:
        drag, view = self._drag, picture.view
        assert drag is not None
        if drag.kind == "draw":
            if view.name == drag.start.plane and view.index == drag.start.canvas[2]:
                self._extend(picture, pointer)
            return
        ratio = picture.canvas.device_pixel_ratio
        right, down = ((now - then) / ratio for now, then in zip(pointer.canvas, drag.start.canvas[:2], strict=False))
        drag.moved = drag.moved or max(abs(right), abs(down)) > _CLICK_SLACK
        if not drag.moved or view.name != drag.start.plane or view.plane is None:
            return
        if drag.kind == "window":
            width, height = picture.canvas.shown_size
            self._scene.on_window(drag.window.drag(right / width, -down / height))
        elif drag.kind == "pan":
            rows_mm, columns_mm = view.plane.spacing
            scale = drag.region.scale
            view.look(drag.region.moved(-right / (scale * columns_mm), -down / (scale * rows_mm)))
            self._scene.redraw([view.name])

    def _release(self, picture: Picture, event: Any) -> None:
        drag, self._drag = self._drag, None
        if drag is None:
            return
        pointer = picture.pointer(event)  # the motion before it may not have been sent
        if pointer is not None and pointer.plane == drag.start.plane:
            self._drag = drag
            self._dragged(picture, pointer)
            self._drag = None
        if drag.kind == "draw":
            self._finish(drag)
        if drag.moved:
            return
        if drag.kind == "prompt":
            self._scene.on_prompt(drag.start, drag.start.button == 1 and "ctrl" not in drag.start.modifiers)
        elif drag.kind == "window" and drag.start.inside:
            self._scene.move_to(drag.start.voxel)

    def _extend(self, picture: Picture, pointer: Pointer) -> None:
        """Draw the stroke on to where the mouse is."""
        drag = self._drag
        assert drag is not None
        column, row, _ = pointer.chain[0](pointer.canvas)
        scale = picture.view.region.scale
        if not drag.points or hypot(column - drag.points[-1][0], row - drag.points[-1][1]) > 0:
            drag.points.append((float(column), float(row)))
        picture.marks.draw(np.array(drag.points), drag.armed, drag.positive, scale)
        picture.canvas.draw_idle()

    def _finish(self, drag: "_Drag") -> None:
        """Hand on what was drawn; it is seen until that has become what it was to become."""
        picture, scene = self.pictures[drag.start.plane], self._scene
        assert picture.view.plane is not None
        way = drag.start.chain[0]
        places = np.array([(column, row, drag.start.canvas[2]) for column, row in drag.points])
        stroke = Stroke.on(drag.armed, picture.view.plane, way, way.inverse(places), drag.positive)

        def done(_: Any = None) -> None:
            with scene.lock:
                if self._drag is None or self._drag.kind != "draw":  # else the next one is being drawn there
                    picture.marks.draw(None, drag.armed, drag.positive, 1)
                    picture.canvas.draw_idle()

        doing = None
        try:
            doing = scene.on_stroke(stroke)
        finally:
            if doing is None:
                done()
            else:
                doing.add_done_callback(done)

    def _drop(self, picture: Picture) -> None:
        """Forget a drag; what was drawn so far counts, as it was seen."""
        drag, self._drag = self._drag, None
        if drag is not None and drag.kind == "draw":
            self._finish(drag)

    def _wheel(self, picture: Picture, event: Any) -> None:
        view = picture.view
        self._scene.active = view.name
        pointer = picture.pointer(event)
        turned = event.guiEvent or {}
        armed = self._scene.armed
        if pointer is not None and "shift" in pointer.modifiers and armed.shape == BRUSH:
            larger = -(turned.get("deltaY") or turned.get("deltaX") or -event.step) > 0
            mm = round(armed.mm * (FINER if larger else 1 / FINER), 1)
            self._scene.on_switch({"mm": min(max(mm, LEAST_MM), MOST_MM)})
            return
        if pointer is None or turned.get("deltaY") == 0:  # sideways scrolling arrives as "down"
            return
        up = event.step > 0
        if "ctrl" in pointer.modifiers:
            column, row, _ = pointer.chain[0](pointer.canvas)
            view.look(view.region.zoomed(_WHEEL_ZOOM if up else 1 / _WHEEL_ZOOM, (column, row)))
            self._scene.redraw([view.name])
        else:
            self._scene.scroll(1 if up else -1, view.name)
        moved = picture.pointer_at(*pointer.canvas[:2])  # the mouse has not moved, but another voxel is under it
        if moved is not None:
            self._scene.look_under(moved)

    def _enter(self, picture: Picture, event: Any) -> None:
        self._scene.active = picture.view.name

    def _leave(self, picture: Picture, event: Any) -> None:
        if self._scene.armed.shape == BRUSH and picture.view.plane is not None:
            picture.marks.circle(None, self._scene.armed, picture.view.plane)
            picture.canvas.draw_idle()
        self._scene.leave()


class _Drag:
    """What a held button does: ``"pan"``, ``"window"``, ``"prompt"`` or ``"draw"``, and what it started from."""

    def __init__(self, kind: str, start: Pointer, region: Region, window: Window) -> None:
        self.kind, self.start, self.region, self.window = kind, start, region, window
        self.moved = False
        self.armed = Armed()  # of what is drawn, with its sign and its columns and rows so far
        self.positive = True
        self.points: list[tuple[float, float]] = []
