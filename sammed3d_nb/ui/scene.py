"""What the three linked views show and how one moves through it, whatever draws them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from threading import RLock
from typing import Any

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.spaces import Transform
from sammed3d_nb.ui.compose import Window, default_window
from sammed3d_nb.ui.planes import PLANES, Plane
from sammed3d_nb.ui.stroke import Armed, Mark, Stroke
from sammed3d_nb.ui.view import Display, Pointer, Shown, SliceView

Voxel = tuple[int, int, int]

EXTRA = "\0"
GAP = 4  # CSS pixels between the views
SLIDER_HEIGHT = 22


class Scene(ABC):
    """Three views. Their slices and the crosshair are one thing, the voxel `cross`.

    Scrolling a view moves the crosshair along that view's normal, a click moves it to the voxel clicked.

    Args:
        lock: Guards drawing, and everything that the views show.
        on_error: Called with exceptions from handlers.
        radiological: Show the patient's right on the left of the screen.

    Attributes:
        on_prompt: Called with the pointer and True for a left, False for a right or Ctrl+click.
        on_hover: Called with the pointer when another voxel comes under the cursor, None when none is.
        on_window: Called with the window that a drag asks for.
        on_stroke: Called with what was drawn with the tool that is armed; answers with what is being done about it,
            None where that is done.
        on_switch: Called with what the page has switched by itself: "tool" (a name), "mm" (the brush), "left".
        armed: What pointing does now.
        armed_before: Name of the tool that was armed before that one.
        tools: What there is to arm, each with the reason why not, or "".
        marks: What was said with other prompts than clicks, to be drawn like these.
        measures: What was measured.
        followers: Called when the crosshair has moved.
        left: What a left click says: True positive, False negative, None where it is no prompt; so that a page can
            draw its mark before the kernel has heard of it.
        extras: Masks that tools show over the objects, by tool: a preview, doubt, a comparison. Their names begin with
            ``EXTRA``, so that they are none of an object's.
        cubes: The network's cubes to outline, each by its affine to the array and its edge in voxels.
    """

    def __init__(self, lock: RLock, on_error: Callable[[BaseException], None], *, radiological: bool = True) -> None:
        self.lock, self.on_error = lock, on_error
        self.on_prompt: Callable[[Pointer, bool], object] = lambda pointer, left: None
        self.on_hover: Callable[[Pointer | None], object] = lambda pointer: None
        self.on_window: Callable[[Window], object] = lambda window: None
        self.on_stroke: Callable[[Stroke], Future[Any] | None] = lambda stroke: None
        self.on_switch: Callable[[Mapping[str, Any]], object] = lambda switched: None
        self.armed = Armed()
        self.armed_before = self.armed.name
        self.tools: Sequence[tuple[Armed, str]] = ()
        self.marks: Sequence[Mark] = ()
        self.measures: Sequence[Mark] = ()
        self.radiological = radiological
        self.display = Display()
        self.views = {name: SliceView(name) for name in PLANES}
        self.active = PLANES[0]
        self.large = PLANES[0]
        self.cross: Voxel = (0, 0, 0)
        self.followers: list[Callable[[], object]] = []
        self.left: bool | None = None
        self.objects: Sequence[Shown] = ()
        self.extras: dict[str, Sequence[Shown]] = {}
        self.clicks: Sequence[tuple[Sequence[int], bool]] = ()
        self.cubes: Sequence[tuple[Transform, int]] = ()
        self.volume: Volume | None = None
        self.size = (900, 700)
        self._hovered: tuple[str, Voxel] | None = None

    @property
    @abstractmethod
    def renderer(self) -> "Renderer":
        """What draws the views."""

    def show(self, volume: Volume | None) -> None:
        """Show another volume from its middle, with its default window; None to show nothing."""
        with self.lock:
            self.volume, self.objects, self.clicks, self.cubes = volume, (), (), ()
            self.extras = {}
            self.marks, self.measures = (), ()
            self._hovered = None
            if volume is not None:
                i, j, k = (n // 2 for n in volume.size)
                self.cross = (i, j, k)
                self.display.window = default_window(volume.array, volume.modality)
            for name, view in self.views.items():
                view.show(None if volume is None else Plane.of(name, volume, radiological=self.radiological))
            self._follow()
            self.renderer.opened()

    def move_to(self, voxel: Sequence[int]) -> None:
        """Move the crosshair to a voxel (i, j, k), cut to the volume, and show the slices through it."""
        if self.volume is None:
            return
        i, j, k = (min(max(int(v), 0), n - 1) for v, n in zip(voxel, self.volume.size, strict=True))
        with self.lock:
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
        with self.lock:
            view.look(view.region.zoomed(factor, view.region.centre))
            self.redraw([view.name])

    def fit(self) -> None:
        """Show whole slices again."""
        with self.lock:
            for view in self.views.values():
                view.fit()
            self.redraw()

    def set_window(self, window: Window) -> None:
        """Change the grey-scale window of all views."""
        with self.lock:
            self.display.window = window
            self.redraw()

    def arm(self, armed: Armed) -> None:
        """Let pointing at the views do something else from now on."""
        with self.lock:
            if armed.name != self.armed.name:
                self.armed_before = self.armed.name
            self.armed = armed
            self.redraw()

    def set_cubes(self, cubes: Sequence[tuple[Transform, int]]) -> None:
        """The network's cubes to outline, each by its affine to the array and its edge in voxels."""
        self.cubes = cubes

    def redraw(self, names: Iterable[str] = PLANES) -> None:
        """Draw some views anew, the one under the mouse first."""
        with self.lock:
            self.renderer.draw(sorted(names, key=lambda name: name != self.active))

    def follow(self) -> None:
        """Show the slices through the crosshair."""
        self._follow()
        self.renderer.followed()
        for follower in self.followers:
            follower()

    def arrange(self, width: int, height: int, *, large: str | None = None) -> None:
        """Give the views a room in CSS pixels: one of them large on the left, the others above each other."""
        with self.lock:
            self.large = large or self.large
            self.size = (width, height)
            for name, (view_width, view_height) in self.rooms().items():
                self.views[name].resize(view_width, max(80, view_height - SLIDER_HEIGHT))
            self.renderer.arranged()

    def rooms(self) -> dict[str, tuple[int, int]]:
        """Width and height in CSS pixels of each view with its slider."""
        width, height = self.size
        small_width = max(160, round(0.36 * (width - GAP)))
        large_width = max(200, width - GAP - small_width)
        small_height = (height - GAP) // 2
        small = small_width, small_height
        return {name: (large_width, 2 * small_height + GAP) if name == self.large else small for name in PLANES}

    def enlarge(self, name: str) -> None:
        """Show one of the views large."""
        self.arrange(*self.size, large=name)

    def look_under(self, pointer: Pointer) -> None:
        """Report the voxel under the cursor if it is another one."""
        hovered = (pointer.plane, pointer.voxel)
        if hovered != self._hovered:
            self._hovered = hovered
            self.on_hover(pointer if pointer.inside else None)

    def leave(self) -> None:
        """The cursor has left the views."""
        self._hovered = None
        self.on_hover(None)

    def _follow(self) -> None:
        for view in self.views.values():
            if view.plane is not None:
                view.index = self.cross[view.plane.axes[2]]


class Renderer(ABC):
    """Draws a scene, and tells it what the mouse does.

    Attributes:
        widget: Shows the views.
    """

    widget: Any

    @abstractmethod
    def opened(self) -> None:
        """Show another volume, or none. The lock is held, here and in the methods below."""

    @abstractmethod
    def arranged(self) -> None:
        """Take over the views' sizes, which of them is large, and draw them."""

    @abstractmethod
    def followed(self) -> None:
        """The crosshair has moved; `draw` follows."""

    @abstractmethod
    def draw(self, names: Sequence[str]) -> None:
        """Draw some views anew, in this order."""

    def under(self, pointer: Pointer) -> Pointer | None:
        """What is under a mouse that has not moved since; None where the page tells that by itself."""
        del pointer
        return None

    def link(self, field: str, control: Any) -> None:
        """A widget's `value` is a field of `view.Display`: where the page draws, it need not ask the kernel."""
        del field, control

    @abstractmethod
    def release(self) -> None:
        """Let go of the volume and of everything that the page shows."""
