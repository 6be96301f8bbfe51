"""The views drawn by the page itself: the kernel's end of `viewer/views.js`.

The page has the state: it scrolls, zooms and windows by itself and tells the kernel late. What the kernel changes by
itself is sent as the difference to what the page is known to have, so that nothing moves under a user's hand. Every
message carries the number of the volume, the generation; what belongs to another one is dropped at either end.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from math import isfinite
from typing import Any

import ipywidgets as widgets
import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.session.palette import MARK_EDGE, NEGATIVE_MARK, POSITIVE_MARK
from sammed3d_nb.ui.compose import CT_WINDOWS, Region, Window
from sammed3d_nb.ui.packing import pack_masks, pack_slice
from sammed3d_nb.ui.page_fields import armed_fields, corners, number, plane_fields, to_plane, tool_fields
from sammed3d_nb.ui.planes import Plane
from sammed3d_nb.ui.scene import GAP, SLIDER_HEIGHT, Renderer, Scene
from sammed3d_nb.ui.shortcuts import ACTIONS
from sammed3d_nb.ui.slice_views import FLAGS, SliceViews
from sammed3d_nb.ui.stroke import LEAST_MM, MOST_MM, Stroke
from sammed3d_nb.ui.view import Pointer

_BUTTONS = (1, 2, 3)  # as the page counts them (0, 1, 2) → as `Pointer` does

IMAGE, MASKS = 1, 2  # what the page asks for

_SWITCHES = ("tool", "mm", "ball", "left")  # by the page itself
_MOST_PAGES = 20  # that are told apart
_MOST_POINTS = 20_000  # of one stroke: a pen that reports 240 a second is drawn with for more than a minute


class _Object:
    """One object's mask as the page has it; `changed` is the box in which it differs from the version before."""

    def __init__(self, number: int, mask: LocalMask) -> None:
        self.id, self.mask, self.version = number, mask, 0
        self.changed: list[list[int]] | None = None

    def update(self, mask: LocalMask) -> None:
        if mask is not self.mask:
            region = (self.mask ^ mask).region
            self.changed = [list(region.start), list(region.stop)]
            self.mask, self.version = mask, self.version + 1


class PageRenderer(Renderer):
    """Speaks for a scene with the pages that draw it; there may be several, e.g. two tabs on one kernel."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.widget = SliceViews()
        self.widget.on_msg(self._message)
        self.widget.observe(self._switched, names=list(FLAGS))
        self._links: list[Any] = []
        self._pages: dict[str, None] = {}  # that have said hello, newest last
        self._generation = 0
        self._known: dict[str, Any] = {}  # what the pages have
        self._objects: dict[str, _Object] = {}
        self._numbers = 0
        self._switching = False  # what a page has switched is being followed: what differs is sent afterwards
        self._fit: Window | None = None
        self.able = False  # a page has said that it draws
        self.webgl = True  # until a page says that it has none
        self.on_unable: Callable[[str], object] = lambda why: None

    # -- from the scene ----------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Send another volume, with the three slices to show at first, or none."""
        self._generation += 1
        self._known, self._objects, self._fit = {}, {}, None
        if self._pages:
            self._send_scene()

    def arranged(self) -> None:
        """Send the views' sizes."""
        self._flush()

    def followed(self) -> None:
        """Nothing: `draw` follows."""

    def draw(self, names: Sequence[str]) -> None:
        """Send what has changed."""
        for flag in FLAGS:
            value = getattr(self._scene.display, flag)
            if getattr(self.widget, flag) != value:
                setattr(self.widget, flag, value)
        self._flush()

    def link(self, field: str, control: Any) -> None:
        """Couple a control with what the page draws, in the page itself."""
        self._links.append(widgets.jslink((control, "value"), (self.widget, field)))

    def release(self) -> None:
        """Let go of the masks and of the widget."""
        for link in self._links:
            link.close()
        self._links.clear()
        self._objects.clear()
        self._pages.clear()
        self.widget.on_msg(self._message, remove=True)
        self.widget.unobserve_all()

    # -- to the pages ------------------------------------------------------------------------------------------------

    def _send_scene(self, page: str | None = None) -> None:
        """Send everything, to one page or all."""
        scene, volume = self._scene, self._scene.volume
        self._count_objects()
        planes = {name: view.plane for name, view in scene.views.items()}
        slices, buffers = self._slices([(name, view.index, IMAGE | MASKS) for name, view in scene.views.items()])
        if volume is not None and self._fit is None:
            self._fit = Window.fitting(volume.array)
        presets = {f"window_{n}": window for n, window in enumerate(CT_WINDOWS.values(), start=1)}
        if self._fit is not None:
            presets["window_fit"] = self._fit
        fields = self._fields()
        if page is None or len(self._pages) == 1:
            self._known = fields
        content = {
            "type": "scene",
            "generation": self._generation,
            "volume": None if volume is None else list(volume.size),
            "planes": None
            if volume is None
            else {name: plane_fields(plane) for name, plane in planes.items() if plane},
            "keys": ACTIONS,
            "shades": [NEGATIVE_MARK, POSITIVE_MARK, MARK_EDGE],
            "presets": {name: [window.level, window.width] for name, window in presets.items()},
            "slices": slices,
            **fields,
            **({} if page is None else {"page": page}),
        }
        self.widget.send(content, buffers=buffers)

    def _flush(self, heard: dict[str, Any] | None = None) -> None:
        """Send what differs from what the pages have, and to one of them that it was heard or settled."""
        if not self._pages or self._switching:
            return
        self._count_objects()
        fields = self._fields()
        changed = {name: value for name, value in fields.items() if self._known.get(name, self) != value}
        if not changed and heard is None:
            return
        slices: list[dict[str, Any]] = []
        buffers: list[bytes] = []
        if "objects" in changed:
            slices, buffers = self._slices([(name, v.index, MASKS) for name, v in self._scene.views.items() if v.plane])
        self._known = fields
        content = {"type": "update", "generation": self._generation, "slices": slices, **changed}
        if heard is not None and (len(self._pages) == 1 or not changed):
            self.widget.send({**content, **heard}, buffers=buffers)
            return
        self.widget.send(content, buffers=buffers)
        if heard is not None:
            self.widget.send({"type": "update", "generation": self._generation, **heard})

    def _fields(self) -> dict[str, Any]:
        """What the pages have to know beside slices, as JSON."""
        scene = self._scene
        window = scene.display.window
        looks = {
            name: None if view.whole else [*map(float, view.region.centre), float(view.region.scale)]
            for name, view in scene.views.items()
        }
        return {
            "cross": [int(index) for index in scene.cross],
            "window": [float(window.level), float(window.width)],
            "arrange": {"large": scene.large, "rooms": scene.rooms(), "slider": SLIDER_HEIGHT, "gap": GAP},
            "looks": looks,
            "left": scene.left,
            "armed": armed_fields(scene.armed),
            "tools": [{**tool_fields(tool), "refused": why} for tool, why in scene.tools],
            "marks": [[*map(int, voxel), bool(positive)] for voxel, positive in scene.clicks],
            "lines": [mark.fields for mark in scene.marks],
            "measures": [mark.fields for mark in scene.measures],
            "cubes": [corners(to_array, size) for to_array, size in scene.cubes],
            "objects": [
                {
                    "id": known.id,
                    "version": known.version,
                    "changed": known.changed,
                    "box": [list(known.mask.region.start), list(known.mask.region.stop)],
                    "colour": list(shown.colour),
                    "current": shown.current,
                    "fill": shown.fill,
                    "outline": shown.outline,
                }
                for shown in scene.objects
                if (known := self._objects[shown.name])
            ],
        }

    def _count_objects(self) -> None:
        """Bring the objects' versions up to date."""
        names = {shown.name for shown in self._scene.objects}
        self._objects = {name: known for name, known in self._objects.items() if name in names}
        for shown in self._scene.objects:
            if shown.name in self._objects:
                self._objects[shown.name].update(shown.mask)
            else:
                self._numbers += 1
                self._objects[shown.name] = _Object(self._numbers, shown.mask)

    def _slices(self, wanted: Iterable[tuple[str, int, int]]) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Slices for the page: (plane, index, what) each."""
        volume = self._scene.volume
        heads: list[dict[str, Any]] = []
        buffers: list[bytes] = []
        for name, index, what in wanted:
            plane = self._scene.views[name].plane
            if volume is None or plane is None or not 0 <= index < plane.slices:
                continue
            image, data = pack_slice(plane.slice_of(volume.array, index)) if what & IMAGE else (None, b"")
            known = [item for item in self._objects.values() if _cut(item.mask, plane, index)]
            boxes, bits = pack_masks(
                [plane.oriented(item.mask.slice(plane.array_axis, index)).view(np.bool_) for item in known]
            )
            masks = [
                {"id": item.id, "version": item.version, "box": found} for item, found in zip(known, boxes, strict=True)
            ]
            heads.append({"name": name, "index": index, "image": image, "masks": masks, "at": len(buffers)})
            buffers += [data, bits]
        return heads, buffers

    # -- from a page -------------------------------------------------------------------------------------------------

    def _message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        try:
            with self._scene.lock:
                self._take(content)
        except Exception as error:
            self._scene.on_error(error)

    def _take(self, content: dict[str, Any]) -> None:
        kind, page = content.get("type"), str(content.get("page"))
        if kind == "unable":
            self.on_unable(str(content.get("why")))
        elif kind == "able":
            self.able, self.webgl = True, bool(content.get("webgl"))
        elif kind == "hello":
            self.able = True
            self._pages.pop(page, None)
            self._pages[page] = None
            while len(self._pages) > _MOST_PAGES:
                del self._pages[next(iter(self._pages))]
            self._send_scene(page)
        elif kind == "early":
            if self._scene.volume is not None:  # else `Prompts` says that there is no image
                raise UserError("That slice is still on its way; wait until it is shown, and click again.")
        elif content.get("generation") != self._generation:
            if kind == "press":
                raise UserError(
                    "The click was on the case before, which had just been left; click again where you mean it."
                )
            if kind == "stroke":
                raise UserError(
                    "That was drawn on the case before, which had just been left; draw it where you mean it."
                )
        elif kind == "want":
            self._answer(page, content["list"])
        elif self._scene.volume is not None:
            try:
                self._follow(kind, page, content)
            finally:
                self._flush({"heard": {"n": content["n"], "kind": content["kind"]}, "page": page})

    def _switched(self, change: dict[str, Any]) -> None:
        """The page has switched something: the control that is linked to it says so too, a moment later."""
        if isfinite(change["new"]):
            setattr(self._scene.display, change["name"], change["new"])

    def _answer(self, page: str, wanted: Sequence[tuple[str, int, int]]) -> None:
        """Send slices that a page has asked for, each as soon as it is packed."""
        for name, index, what in wanted:
            slices, sent = self._slices([(name, index, what)])
            self.widget.send(
                {"type": "slice", "generation": self._generation, "page": page, "slices": slices}, buffers=sent
            )

    def _follow(self, kind: str | None, page: str, content: dict[str, Any]) -> None:
        scene = self._scene
        if kind == "state":
            self._take_state(page, content)
        elif kind == "hover":
            pointer = self._pointer(content)
            if pointer is not None:
                scene.look_under(pointer)
        elif kind == "leave":
            scene.leave()
        elif kind == "press":
            if content.get("state"):
                self._take_state(page, content["state"])
            pointer = self._pointer(content)
            if pointer is not None:
                scene.active = pointer.plane
                scene.on_prompt(pointer, bool(content["left"]))
        elif kind == "stroke":
            self._take_stroke(page, content)

    def _take_stroke(self, page: str, content: dict[str, Any]) -> None:
        """What was drawn on a page, with the tool that it was drawn with; the page shows it until it is settled."""
        scene, drawn = self._scene, int(content["n"])

        def settle(_: Any = None) -> None:
            with scene.lock:
                self._flush({"settled": {page: drawn}, "page": page})

        doing: Future[Any] | None = None
        try:
            if content.get("state"):
                self._take_state(page, content["state"])
            view = scene.views[content["plane"]]
            tool = next((armed for armed, _ in scene.tools if armed.name == content["tool"]), None)
            if tool is None or view.plane is None:
                raise UserError("There is no such tool any more; choose another one.")
            scene.active = view.name
            armed = replace(tool, mm=min(max(number(content["mm"]), LEAST_MM), MOST_MM), ball=bool(content["ball"]))
            points, way = content["points"], to_plane(content["matrix"])
            if len(points) > _MOST_POINTS:
                raise UserError(
                    f"That {tool.name} has {len(points)} points, and one may have {_MOST_POINTS};"
                    " nothing was changed, draw it in several pieces."
                )
            canvas = [[x, y, content["slice"]] for x, y in points]
            doing = scene.on_stroke(Stroke.on(armed, view.plane, way, canvas, bool(content["positive"]), followed=True))
        finally:
            if doing is None:
                settle()
            else:
                doing.add_done_callback(settle)

    def _take_state(self, page: str, content: dict[str, Any]) -> None:
        """Where a page is now: the scene follows, and the other pages with it."""
        scene, volume = self._scene, self._scene.volume
        assert volume is not None
        told: dict[str, Any] = {}
        if content.get("active") in scene.views:
            scene.active = content["active"]
        if "cross" in content:
            i, j, k = (min(max(int(number(v)), 0), n - 1) for v, n in zip(content["cross"], volume.size, strict=True))
            scene.cross = (i, j, k)
            told["cross"] = self._known["cross"] = [i, j, k]
            scene.follow()
        for name, look in content.get("looks", {}).items():
            view = scene.views[name]
            if look is None:
                view.fit()
            else:
                column, row, scale = map(number, look)
                if scale <= 0:
                    raise UserError("The page magnifies by nothing; press 0 to see whole slices.")
                view.look(Region((column, row), scale))
            told.setdefault("looks", {})[name] = look
            self._known["looks"] = {**self._known["looks"], name: look}
        if "window" in content:
            level, width = map(number, content["window"])
            told["window"] = self._known["window"] = [level, width]
            scene.on_window(Window(level, max(width, 1e-6)))
        switched: dict[str, Any] = {name: content[name] for name in _SWITCHES if name in content}
        if switched:
            self._known |= {"armed": None, "left": None}  # sent again, unless they are as the page says
            self._switching = True
            try:
                scene.on_switch(switched)
            finally:
                self._switching = False
            now = {"armed": armed_fields(scene.armed), "left": scene.left}
            armed = scene.armed
            is_so = {"tool": armed.name, "mm": armed.mm, "ball": armed.ball, "left": scene.left}
            if switched.items() <= is_so.items():
                told |= now
                self._known |= now
        if told and len(self._pages) > 1:
            self.widget.send({"type": "update", "generation": self._generation, "origin": page, **told})

    def _pointer(self, content: dict[str, Any]) -> Pointer | None:
        """A position on a view with the page's own transform."""
        x, y, index = map(number, content["canvas"])
        button = content.get("button", -1)
        return self._scene.views[content["plane"]].pointer_at(
            to_plane(content["matrix"]),
            (x, y, index),
            _BUTTONS[button] if button in range(3) else 0,
            frozenset(content.get("modifiers", ())),
        )


def _cut(mask: LocalMask, plane: Plane, index: int) -> bool:
    """Whether a slice goes through a mask's box."""
    axis = plane.axes[2]
    return mask.region.start[axis] <= index < mask.region.stop[axis]
