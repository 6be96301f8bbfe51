"""The answers of several cubes as one mask on the volume's grid, and a mask as what the next cube is told."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sammed3d_nb.imaging.region import Index, LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import MARGIN, Cube, grid_to_cube, itk_affine

OVERLAP = 48
"""Cube voxels that a neighbouring cube shares with the one whose mask it continues."""
UNKNOWN = -6.0
"""Prompt logit of cells that no cube has seen yet: background until shown otherwise."""
TIE = 1e-5
"""Logit up to which a voxel is outside: right between cells of ±`HAND` it is 0 but for rounding."""
HAND = 6.0
"""Prompt logit, positive or negative, of cells that a hand has set or a start mask names."""


@dataclass(frozen=True)
class Piece:
    """One cube's answer.

    Attributes:
        cube: The cube.
        logits: float32 (n, n, n) over it, > 0 inside the object.
        parent: The cube whose mask it goes on from beyond a face; None for one that answered a prompt.
    """

    cube: Cube
    logits: NDArray[np.float32]
    parent: Cube | None = None

    @property
    def grown(self) -> bool:
        """Whether the cube was added because the mask touched a face of another one."""
        return self.parent is not None


@dataclass(frozen=True)
class Chosen:
    """The click that was taken for a box.

    Attributes:
        ijk: The voxel (i, j, k).
        sure: Whether its answer did so well that it stays a click when the user has clicked better.
    """

    ijk: Index
    sure: bool


@dataclass(frozen=True)
class Pieces:
    """All answers of an object: what its next prompt goes on from.

    Attributes:
        all: The cubes asked.
        active: Number of the piece that answered the last prompt.
        chosen: The click taken for each positive box so far, see `Hints.choices`.
    """

    all: tuple[Piece, ...]
    active: int
    chosen: tuple[Chosen, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that the logits take."""
        return sum(piece.logits.nbytes for piece in self.all)


def assemble(pieces: Sequence[Piece], volume: Volume, region: Region, base: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One mask from the answers of all cubes, on the volume's own grid; see `blended`.

    Args:
        pieces: The answers.
        volume: The volume.
        region: The voxels to compute.
        base: uint8 (z, y, x) of the region's shape: the mask where no cube reaches.

    Returns:
        uint8 (z, y, x) of the region's shape, 1 inside.
    """
    reached = _reached(pieces, volume, region)
    if len(reached) == 1:  # no second array of floats for what is no blend
        mask = base.copy()
        piece, part = reached[0]
        mask[part.within(region).slices] = piece.cube.logits_home(piece.logits, volume, part) > TIE
        return mask
    logits = blended(pieces, volume, region)
    return np.where(np.isnan(logits), base, logits > TIE).astype(np.uint8)


def blended(pieces: Sequence[Piece], volume: Volume, region: Region) -> NDArray[np.float32]:
    """The logits of all cubes on the volume's own grid.

    Where cubes overlap they are blended: a later one fades in from those of its faces beyond which the volume goes on.
    A grown one does so over half the overlap; a clicked one within `MARGIN`, so that it alone answers clicks which only
    it was told of.

    Returns:
        float32 (z, y, x) of the region's shape, NaN where no cube reaches.
    """
    whole = np.full(region.shape, np.nan, dtype=np.float32)
    parts: list[Region] = []
    for piece, part in _reached(pieces, volume, region):
        home = piece.cube.logits_home(piece.logits, volume, part)
        before = whole[part.within(region).slices].copy()
        ramp = _ramp(piece, volume) if parts else None
        for earlier in parts:
            shared = part.intersection(earlier)
            if 0 in shared.size:
                continue
            here = shared.within(part).slices
            share = np.clip(piece.cube.logits_home(ramp, volume, shared), 0, 1)
            known = ~np.isnan(before[here])
            home[here] = np.where(known, before[here] + share * (home[here] - before[here]), home[here])
            before[here] = np.nan  # blended now; another earlier cube that overlaps here too must not fade it again
        whole[part.within(region).slices] = home
        parts.append(part)
    return whole


def _reached(pieces: Sequence[Piece], volume: Volume, region: Region) -> list[tuple[Piece, Region]]:
    """The pieces that reach into a box, each with its part of it."""
    parts = [(piece, piece.cube.region(volume).intersection(region)) for piece in pieces]
    return [(piece, part) for piece, part in parts if 0 not in part.size]


def prompt_for(
    target: Cube, pieces: Sequence[Piece], mask: LocalMask, told: LocalMask, volume: Volume, cells: int
) -> NDArray[np.float32] | None:
    """The mask so far as a prompt for a cube.

    Args:
        target: The cube.
        pieces: The answers so far; later ones win.
        mask: The object's mask so far.
        told: Where a hand has set it; without pieces all of it counts as such.
        volume: The volume.
        cells: Cells along each edge of the network's logits.

    Returns:
        float32 (cells, cells, cells); None if there is nothing to tell.
    """
    prompt: NDArray[np.float32] | None = None
    for piece in pieces:
        carried = piece.logits if piece.cube == target else piece.cube.carry(piece.logits, target, beyond=np.nan)
        prompt = np.full_like(carried, UNKNOWN) if prompt is None else prompt
        prompt = np.where(np.isnan(carried), prompt, carried)
    unseen = outside_of(pieces, mask, volume)
    if prompt is None and unseen.count:
        prompt = np.full((cells,) * 3, UNKNOWN, dtype=np.float32)
    return prompt if prompt is None else corrected(prompt, target, mask, told | unseen, volume)


def outside_of(pieces: Sequence[Piece], mask: LocalMask, volume: Volume) -> LocalMask:
    """The part of a mask that lies in no piece's cube: a start mask's, or a hand's."""
    for piece in pieces:
        region = piece.cube.region(volume).intersection(mask.region)
        if region == mask.region:
            return LocalMask.empty(mask.volume_size)
        mask = mask.pasted(region, np.zeros(region.shape, dtype=np.uint8))
    return mask


def corrected(
    logits: NDArray[np.float32], cube: Cube, mask: LocalMask, told: LocalMask, volume: Volume
) -> NDArray[np.float32]:
    """Logits over a cube that say what a hand has set: beyond `HAND` where it did, unchanged elsewhere."""
    if not told.count:
        return logits
    inside = on_grid(mask & told, cube, volume, len(logits))
    outside = on_grid(told.without(mask), cube, volume, len(logits))
    raised = np.where(inside > outside, np.maximum(logits, HAND), logits)
    return np.where((outside > 0) & (outside >= inside), np.minimum(raised, -HAND), raised)


def on_grid(mask: LocalMask, cube: Cube, volume: Volume, cells: int) -> NDArray[np.float32]:
    """The share of a mask in each cell of a cube's grid, by linear interpolation.

    Returns:
        float32 (cells, cells, cells) in cube order, from 0 to 1.
    """
    shared = mask.region.intersection(cube.region(volume))
    if not mask.count or 0 in shared.size:
        return np.zeros((cells,) * 3, dtype=np.float32)
    margin = Region.between(np.subtract(shared.start, 1), np.add(shared.stop, 1))  # fades to 0 round the mask
    image = sitk.GetImageFromArray(mask.crop(margin).astype(np.float32))
    image.SetOrigin([float(start) for start in margin.start])
    to_voxel = grid_to_cube(cells, cube.size).then(cube.from_voxel(volume).inverse)
    sampled = sitk.Resample(
        image, (cells,) * 3, itk_affine(to_voxel), sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3,
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), 0.0, sitk.sitkFloat32,
    )  # fmt: skip
    # rounded: a cell right between two voxels has no share, whichever way the volume's axes run
    return np.ascontiguousarray(sitk.GetArrayFromImage(sampled).transpose()).round(4)


def _ramp(piece: Piece, volume: Volume) -> NDArray[np.float32]:
    """Weights of a piece, in cells of two cube voxels: lowest at open faces, 1 further inside."""
    size = piece.cube.size
    # 1 at the last cell centre before the depth that a click has
    width = OVERLAP / 2 if piece.grown else MARGIN - 1
    weights = np.ones((size // 2,) * 3, dtype=np.float32)
    rising = np.minimum(1, (2 * np.arange(size // 2, dtype=np.float32) + 1) / width)
    for dim, side in piece.cube.open_faces(volume):
        shape = [-1 if axis == dim else 1 for axis in range(3)]
        weights = np.minimum(weights, (rising if side < 0 else rising[::-1]).reshape(shape))
    return weights
