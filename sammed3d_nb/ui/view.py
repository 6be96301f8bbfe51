"""One ortho view, whatever draws it: its plane, slice and region, and what is under a position on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.spaces import Transform, TransformChain, box
from sammed3d_nb.ui.compose import RGB, Region, Window
from sammed3d_nb.ui.planes import Plane

BACKGROUND = "#0b0d10"


@dataclass(frozen=True)
class Shown:
    """One mask as a view needs it: an object's, or one that a tool shows besides.

    Attributes:
        mask: Its voxels.
        colour: Of fill and outline.
        current: Whether prompts go to it.
        name: Tells a mask that has changed from another one.
        fill: Whether it is filled.
        outline: Whether it is outlined.
    """

    mask: LocalMask
    colour: RGB
    current: bool = False
    name: str = ""
    fill: bool = True
    outline: bool = True


@dataclass
class Display:
    """What all views show, besides their slices; shared by them."""

    window: Window = field(default_factory=lambda: Window(40, 400))
    opacity: float = 0.35
    masks: bool = True
    contours: bool = True
    prompts: bool = True
    crosshair: bool = True
    cube: bool = False
    smooth: bool = True


@dataclass(frozen=True)
class Pointer:
    """The mouse on a view: where, over which voxel, and with which keys and buttons.

    Attributes:
        plane: Name of the plane.
        canvas: Device pixels right and down, and the slice number that was shown.
        voxel: (i, j, k) under the mouse; may lie outside the volume.
        chain: ``canvas → plane → array`` at that moment.
    """

    plane: str
    canvas: tuple[float, float, float]
    voxel: tuple[int, int, int]
    chain: TransformChain
    button: int = 0
    modifiers: frozenset[str] = frozenset()
    inside: bool = True


class SliceView:
    """What one view shows.

    Attributes:
        plane: The plane of the volume; None before there is a volume.
        index: The slice.
        region: The part of it that is seen.
        whole: Whether that is all of it, which stays so when the view is resized.
        size: Width and height of the view in CSS pixels.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.plane: Plane | None = None
        self.index = 0
        self.region = Region((0, 0), 1)
        self.whole = True
        self.size: tuple[float, float] = (400, 400)

    def show(self, plane: Plane | None) -> None:
        """Show another volume, or none: its middle slice, whole."""
        self.plane = plane
        self.index = 0 if plane is None else plane.slices // 2
        self.fit()

    def resize(self, width: float, height: float) -> None:
        """Take another size in CSS pixels: a whole slice stays whole, a magnified part grows with it."""
        old, self.size = self.size, (width, height)
        if self.whole:
            self.fit()
        else:
            self.look(replace(self.region, scale=self.region.scale * min(width / old[0], height / old[1])))

    def fit(self) -> None:
        """Show the whole slice."""
        if self.plane:
            self.region = Region.whole(self.plane.shape, self.plane.spacing, self.size)
        self.whole = True

    def look(self, region: Region) -> None:
        """Show a region of the slice."""
        self.region, self.whole = region, False

    def pointer_at(
        self,
        to_plane: Transform,
        canvas: tuple[float, float, float],
        button: int = 0,
        modifiers: frozenset[str] = frozenset(),
    ) -> Pointer | None:
        """What is at a position on the view; None before there is a volume.

        Args:
            to_plane: ``canvas → plane`` as the picture was drawn.
            canvas: Device pixels right and down, and the slice that the picture showed.
            button: The button pressed: 1 left, 2 middle, 3 right.
            modifiers: ``"ctrl"``, ``"shift"``, ``"alt"``.
        """
        if self.plane is None:
            return None
        chain = TransformChain([to_plane, self.plane.to_array])
        column, row, _ = chain[0](canvas)
        rows, columns = self.plane.shape
        return Pointer(
            plane=self.name,
            canvas=canvas,
            voxel=self.plane.to_voxel(column, row, round(canvas[2])),
            chain=TransformChain(chain, bounds={"plane": box((columns, rows, self.plane.slices))}),
            button=button,
            modifiers=modifiers,
            inside=-0.5 <= column < columns - 0.5 and -0.5 <= row < rows - 0.5,
        )

    @property
    def to_plane(self) -> Transform:
        """``canvas`` (CSS pixels right and down, slice number) → ``plane`` (column, row, slice number)."""
        if self.plane is None:
            raise ValueError("the view shows no volume yet")
        steps = np.multiply(self.region.scale, self.plane.spacing[::-1])  # CSS pixels from column to column, row to row
        matrix = np.diag([*(1 / steps), 1, 1])
        matrix[:2, 3] = np.subtract(self.region.centre, np.divide(self.size, 2) / steps)
        return Transform("canvas", "plane", matrix)

    def canvas_of(self, voxel: Sequence[int]) -> tuple[float, float]:
        """Where a voxel's centre is drawn, in CSS pixels right and down (whichever slice is shown)."""
        to_plane = self.to_plane
        assert self.plane is not None
        x, y, _ = to_plane.inverse(self.plane.from_voxel(voxel))
        return float(x), float(y)
