"""What can be said to nnInteractive, in its own words, and how our prompts become that.

A saying is one call of its interface, the same for the package in this process and for a server of its protocol. It
holds all that the call needs, so that the state of any session can be made again by saying the same once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble, StartMask
from sammed3d_nb.segmenters.upright import Span, Upright

Changed = Sequence[Sequence[int]] | None
"""The box of the target buffer that a call changed, (first, one past the last) along each axis; None for nothing."""


class Interactive(Protocol):
    """What sessions of nnInteractive have in common, in this process and on a server; arrays are (k, j, i)."""

    @property
    def supports_undo(self) -> bool:
        """Whether `undo` can take something back."""

    @property
    def do_autozoom(self) -> bool:
        """Whether it looks again at a coarser scale where an answer reaches the edge of what it saw."""

    def set_do_autozoom(self, do_autozoom: bool) -> None:
        """Choose that."""

    def set_image(self, image: NDArray[np.generic], image_properties: dict[str, Any] | None = None) -> None:
        """Take an image (1, k, j, i); whatever was said before is forgotten."""

    def set_target_buffer(self, target_buffer: NDArray[np.uint8]) -> None:
        """Write answers into this array from now on."""

    def reset_interactions(self) -> None:
        """Forget what was said, and clear the target buffer."""

    def undo(self) -> bool:
        """Take back what was said last; False if that cannot be."""

    def add_point_interaction(self, coordinates: Sequence[int], include_interaction: bool) -> Changed:
        """A click."""

    def add_bbox_interaction(self, bbox_coords: Sequence[Sequence[int]], include_interaction: bool) -> Changed:
        """A box."""

    def add_scribble_interaction(
        self, image: NDArray[np.uint8], include_interaction: bool, *, interaction_bbox: Sequence[Sequence[int]]
    ) -> Changed:
        """A stroke, as an image of its voxels in a box."""

    def add_lasso_interaction(
        self, image: NDArray[np.uint8], include_interaction: bool, *, interaction_bbox: Sequence[Sequence[int]]
    ) -> Changed:
        """What a closed line encloses, as an image in a box."""

    def add_initial_seg_interaction(self, initial_seg: NDArray[np.uint8], run_prediction: bool = False) -> Changed:
        """Forget what was said, and go on from a mask over the whole image."""

    def close(self) -> None:
        """End the session; may be called again."""


@dataclass(frozen=True)
class Pointed:
    """A click at an index of the array."""

    at: tuple[int, int, int]
    positive: bool
    autozoom: bool = True
    nbytes = 64

    def say(self, session: Interactive, upright: Upright) -> Changed:
        """Say it to a session."""
        _choose(session, self.autozoom)
        return session.add_point_interaction(self.at, self.positive)


@dataclass(frozen=True)
class Boxed:
    """A box of the array."""

    span: Span
    positive: bool
    autozoom: bool = True
    nbytes = 96

    def say(self, session: Interactive, upright: Upright) -> Changed:
        """Say it to a session."""
        _choose(session, self.autozoom)
        return session.add_bbox_interaction([list(ends) for ends in self.span], self.positive)


@dataclass(frozen=True)
class Drawn:
    """Voxels of a stroke (``"scribble"``) or within a line (``"lasso"``), compressed, on the volume's grid."""

    kind: str
    mask: PackedMask
    positive: bool
    autozoom: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return len(self.mask.data)

    def say(self, session: Interactive, upright: Upright) -> Changed:
        """Say it to a session."""
        _choose(session, self.autozoom)
        span, image = upright.crop(self.mask.unpack(upright.volume_size))
        call = session.add_scribble_interaction if self.kind == "scribble" else session.add_lasso_interaction
        return call(image, self.positive, interaction_bbox=[list(ends) for ends in span])


@dataclass(frozen=True)
class Begun:
    """A mask to go on from; whatever was said before it counts no more."""

    mask: PackedMask

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return len(self.mask.data)

    def say(self, session: Interactive, upright: Upright) -> Changed:
        """Say it to a session; the target buffer becomes the mask."""
        span, values = upright.crop(self.mask.unpack(upright.volume_size))
        whole = np.zeros(upright.shape, dtype=np.uint8)
        whole[tuple(slice(*ends) for ends in span)] = values
        session.add_initial_seg_interaction(whole, run_prediction=False)
        return span


def _choose(session: Interactive, autozoom: bool) -> None:
    if session.do_autozoom != autozoom:
        session.set_do_autozoom(autozoom)


Saying = Pointed | Boxed | Drawn | Begun


@dataclass(frozen=True)
class Abilities:
    """What a model behind nnInteractive's interface takes.

    Attributes:
        supported: For each of "points", "bbox2d", "bbox3d", "scribble", "lasso", whether it does.
        start: Whether it goes on from a mask.
        thickness: Voxels across a stroke that it likes best, along (k, j, i).
        autozoom: Whether it looks at coarser scales where nobody chooses.
    """

    supported: Mapping[str, bool]
    start: bool
    thickness: tuple[float, float, float] = (1.0, 1.0, 1.0)
    autozoom: bool = True

    @property
    def prompts(self) -> dict[str, str]:
        """As `Engine.prompts`: nothing is translated but a box with depth for a model that knows boxes on a slice."""
        known = {
            "point": self.takes("points"),
            "box": self.takes("bbox2d") or self.takes("bbox3d"),
            "scribble": self.takes("scribble"),
            "lasso": self.takes("lasso"),
            "mask": self.start,
        }
        return {kind: "native" if takes else "refused" for kind, takes in known.items()}

    def takes(self, kind: str) -> bool:
        """Whether the model takes nnInteractive's kind of prompt."""
        return bool(self.supported.get(kind, False))


def saying(
    prompt: Prompt, volume: Volume, upright: Upright, abilities: Abilities, *, grow: bool = True
) -> tuple[Saying, tuple[str, ...]]:
    """A prompt in nnInteractive's words, and what there is to tell the user of it.

    Args:
        prompt: Any prompt that `Abilities.prompts` does not refuse.
        volume: The volume.
        upright: Its array.
        abilities: What the model takes.
        grow: Whether the answer may reach beyond what the model sees at first.
    """
    zoom = grow and abilities.autozoom
    if isinstance(prompt, Point):
        a, b, c = (int(n) for n in upright.voxels(prompt.ijk))
        return Pointed((a, b, c), prompt.positive, zoom), ()
    if isinstance(prompt, Box):
        span = upright.span(prompt.region)
        if abilities.takes("bbox3d") or any(last - first == 1 for first, last in span):
            return Boxed(span, prompt.positive, zoom), ()
        middle = (span[0][0] + span[0][1] - 1) // 2
        note = "This model takes boxes on a slice: it was shown the middle axial slice of the box."
        return Boxed(((middle, middle + 1), *span[1:]), prompt.positive, zoom), (note,)
    if isinstance(prompt, Scribble):
        stroke = _thick(prompt.voxels, volume, upright, abilities.thickness)
        return Drawn("scribble", PackedMask.of(stroke), prompt.positive, zoom), ()
    if isinstance(prompt, Lasso):
        return Drawn("lasso", PackedMask.of(_mask_of(prompt.inside, volume)), prompt.positive, zoom), ()
    if isinstance(prompt, StartMask):
        return Begun(PackedMask.of(prompt.mask)), ()
    raise TypeError(f"{type(prompt).__name__} is no prompt")


def _mask_of(voxels: NDArray[np.int32], volume: Volume) -> LocalMask:
    region = Region.between(voxels.min(axis=0), voxels.max(axis=0) + 1)
    values = np.zeros(region.shape, dtype=np.uint8)
    i, j, k = (voxels - region.start).T
    values[k, j, i] = 1
    return LocalMask(values, region, volume.size)


def _thick(voxels: NDArray[np.int32], volume: Volume, upright: Upright, thickness: Sequence[float]) -> LocalMask:
    """A stroke as thick as the model likes it: on its own slice if it lies on one, the same to every side."""
    stroke = _mask_of(voxels, volume)
    flat = [size == 1 for size in stroke.region.size]
    along = dict(zip(upright.axes, thickness, strict=True))
    reach = [0 if flat[axis] and sum(flat) == 1 else int(along[axis] // 2) for axis in range(3)]
    if not any(reach):
        return stroke
    low = np.maximum(np.subtract(stroke.region.start, reach), 0)
    region = Region.between(low, np.minimum(np.add(stroke.region.stop, reach), volume.size))
    values = stroke.crop(region) > 0
    for axis, steps in enumerate(reach):
        across = [3 if axis == 2 - dim else 1 for dim in range(3)]
        if steps:
            values = ndimage.binary_dilation(values, np.ones(across), iterations=steps)
    return LocalMask(values, region, volume.size)
