"""Where a network is unsure: its logits on the volume's own grid as doubt, and the places worth a look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import Index, LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.pieces import Pieces, blended

FULL = 255
"""What 1 is in `Doubt.values`."""
UNSURE = 0.5
"""Doubt from which a voxel counts as unsure: probabilities from a quarter to three quarters."""
REACH_MM = 5.0
"""Standard deviation of the Gaussian that adds up doubt round a voxel, for "blob"."""
APART_MM = 15.0
"""Two places are at least so far from each other."""
SCORES = ("depth", "blob", "volume", "integral")
"""How unsure regions are ranked; see `places`. The first did best in `benchmarks/doubt.py`."""
_FAINT = -4.6  # logit: below it doubt is less than 0.02


@dataclass(frozen=True)
class Doubt:
    """How unsure a network is of each voxel: 1 − |2p − 1|, with p the probability that it belongs to the object.

    Attributes:
        values: uint8 (z, y, x) over `region`, from 0 (sure, of one or the other) to `FULL` (p is a half).
        region: Its box in the volume; outside it there is no doubt.
        volume_size: Voxels (i, j, k) of the whole volume.
    """

    values: NDArray[np.uint8]
    region: Region
    volume_size: Index

    @property
    def full(self) -> NDArray[np.float32]:
        """float32 (z, y, x) over the whole volume, 0 to 1; a new array at each call."""
        whole = np.zeros(self.volume_size[::-1], dtype=np.float32)
        whole[self.region.slices] = self.values / np.float32(FULL)
        return whole

    def without(self, *masks: LocalMask) -> "Doubt":
        """The same with no doubt in some masks: what a hand has set, or is another object's."""
        values = self.values.copy()
        for mask in masks:
            shared = mask.region.intersection(self.region)
            if 0 not in shared.size:
                values[shared.within(self.region).slices][mask.crop(shared) > 0] = 0
        return Doubt(values, self.region, self.volume_size)

    def above(self, level: float) -> LocalMask:
        """The voxels of at least that doubt, from 0 to 1."""
        return LocalMask(self.values >= max(1, round(level * FULL)), self.region, self.volume_size)


@dataclass(frozen=True)
class Place:
    """One place worth a look.

    Attributes:
        at: The voxel (i, j, k).
        score: What it was ranked by; in mL.
        doubt: At that voxel, 0 to 1.
    """

    at: Index
    score: float
    doubt: float


def doubt_of(pieces: Pieces, volume: Volume) -> Doubt:
    """The doubt in the answers of cubes, blended where they overlap as the mask is."""
    near = [piece.cube.region(volume, piece.logits, threshold=_FAINT) for piece in pieces.all]
    region = Region.union(near)
    if 0 in region.size:
        return Doubt(np.zeros((0, 0, 0), np.uint8), region, volume.size)
    logits = np.nan_to_num(blended(pieces.all, volume, region), nan=-np.inf)
    return Doubt(np.rint(FULL * (1 - np.abs(np.tanh(logits / 2)))).astype(np.uint8), region, volume.size)


def places(doubt: Doubt, spacing: Sequence[float], score: str = SCORES[0]) -> Iterator[Place]:
    """The places worth a look, the most so first.

    An answer is unsure all along its border, in a thin shell that is one connected region; what counts is where the
    shell is thick. "depth" takes the voxels deepest inside the regions of `UNSURE` voxels, ranked by the mL of a ball
    as deep. "blob" adds up the doubt round each voxel (a Gaussian of `REACH_MM`) and takes its peaks. Both leave
    `APART_MM` between two places. "volume" and "integral" take the connected regions of `UNSURE` voxels, ranked by
    their mL or by their doubt times mL, and in each the most unsure voxel.

    Args:
        doubt: Where the network is unsure.
        spacing: mm along i, j, k.
        score: One of `SCORES`.

    Raises:
        PromptError: It is none.
    """
    if score not in SCORES:
        raise PromptError(f"Places are ranked by one of {', '.join(SCORES)}, not by {score!r:.40}; choose one of them.")
    return _ranked(doubt, spacing, score)


def _ranked(doubt: Doubt, spacing: Sequence[float], score: str) -> Iterator[Place]:
    if not doubt.values.any():
        return
    edges = tuple(spacing)[::-1]
    ml = float(np.prod(edges)) / 1000
    if score in ("volume", "integral"):
        labels, count = ndimage.label(doubt.values >= UNSURE * FULL)
        weights = None if score == "volume" else doubt.values.ravel() / FULL
        totals = np.bincount(labels.ravel(), weights, minlength=count + 1)[1:] * ml
        parts = ndimage.find_objects(labels)
        for number in np.argsort(-totals, kind="stable"):
            part = parts[number]
            inside = np.where(labels[part] == number + 1, doubt.values[part], 0)
            peak = np.unravel_index(int(np.argmax(inside)), inside.shape)
            yield _place(doubt, [n + box.start for n, box in zip(peak, part, strict=True)], float(totals[number]))
        return
    if score == "depth":
        deep = ndimage.distance_transform_edt(np.pad(doubt.values >= UNSURE * FULL, 1), sampling=edges)
        strength = (4 / 3 * np.pi * deep[1:-1, 1:-1, 1:-1] ** 3 / 1000).astype(np.float32)
    else:
        sigma = [REACH_MM / edge for edge in edges]
        whole = float((2 * np.pi) ** 1.5 * REACH_MM**3 / 1000)  # mL under the Gaussian
        strength = ndimage.gaussian_filter(doubt.values.astype(np.float32) / FULL, sigma, mode="constant") * whole
    while strength.max() > ml / 2:
        peak = np.unravel_index(int(np.argmax(strength)), strength.shape)
        yield _place(doubt, [int(n) for n in peak], float(strength[peak]))
        _clear(strength, peak, edges)


def _place(doubt: Doubt, at: Sequence[int], score: float) -> Place:
    voxel = triple(np.add(at[::-1], doubt.region.start))
    return Place(voxel, score, float(doubt.values[tuple(at)]) / FULL)


def _clear(strength: NDArray[np.float32], at: Sequence[np.intp], edges: Sequence[float]) -> None:
    """Nothing within `APART_MM` of a voxel counts any more."""
    room = [int(APART_MM / edge) for edge in edges]
    part = tuple(slice(max(0, int(n) - r), int(n) + r + 1) for n, r in zip(at, room, strict=True))
    z, y, x = (
        ((np.arange(box.start, min(box.stop, n)) - int(middle)) * edge) ** 2
        for box, n, middle, edge in zip(part, strength.shape, at, edges, strict=True)
    )
    strength[part][z[:, None, None] + y[:, None] + x <= APART_MM**2] = 0
