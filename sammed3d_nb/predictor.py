"""From clicks to a mask: which cubes are asked, with which prompt, and how their answers are put together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb import zoom
from sammed3d_nb.cache import EmbeddingCache
from sammed3d_nb.cube import Cube, grid_to_cube
from sammed3d_nb.model import Model
from sammed3d_nb.region import Index, LocalMask, Region
from sammed3d_nb.volume import Volume

OVERLAP = 48
"""Cube voxels that a neighbouring cube shares with the one whose mask it continues."""
MOST_CUBES = 8
"""Cubes asked for one object at most."""
AGREEMENT = 0.5
"""A neighbour's answer counts only if its Dice with the prompt, in the overlap, reaches this: no leaks."""
UNKNOWN = -6.0
"""Prompt logit of cells that no cube has seen yet: background until shown otherwise."""


@dataclass(frozen=True)
class Click:
    """One click.

    Attributes:
        ijk: The clicked voxel (i, j, k).
        positive: True adds to the object, False removes from it.
    """

    ijk: Index
    positive: bool = True


@dataclass(frozen=True)
class Piece:
    """One cube's answer.

    Attributes:
        cube: The cube.
        logits: float32 (n, n, n) over it, > 0 inside the object.
        grown: Whether the cube was added because the mask touched a face of another one, not because of a click.
    """

    cube: Cube
    logits: NDArray[np.float32]
    grown: bool = False


@dataclass(frozen=True)
class Prediction:
    """What the network makes of an object's clicks.

    Attributes:
        pieces: The cubes asked, the newest clicked one first in `active`.
        active: Number of the piece that answered the last click.
        mask: On the volume's own grid.
        quality: The network's own estimate of the mask's IoU in the active cube.
        seconds: Time spent on "encode", "decode" and "home".
        embedding_reused: Whether the active cube's embedding was there before the click.
    """

    pieces: tuple[Piece, ...]
    active: int
    mask: LocalMask
    quality: float
    seconds: dict[str, float]
    embedding_reused: bool

    @property
    def cube(self) -> Cube:
        """The cube that answered the last click."""
        return self.pieces[self.active].cube


class Predictor:
    """Asks a model about a volume.

    Args:
        volume: The volume.
        model: The model.
        grow: Whether to ask neighbouring cubes when the mask touches a face of the cube.
        adapt: Whether to choose a finer or coarser cube from the mask's size, for networks that know several.
    """

    def __init__(self, volume: Volume, model: Model, *, grow: bool = True, adapt: bool = True) -> None:
        self.volume = volume
        self.model = model
        self.grow = grow
        self.adapt = adapt
        self.cache = EmbeddingCache()

    def first_cube(self, ijk: Index) -> Cube:
        """The cube that a first click at a voxel would use."""
        spec = self.model.spec
        spacing = spec.spacing_mm
        if self.adapt and spec.spacing_range_mm[0] < spacing:
            spacing = zoom.first_spacing(self.volume, spacing, spec.spacing_range_mm[0])
        return Cube.at(self.volume, ijk, spacing=spacing, size=spec.cube_size)

    def encode(self, cube: Cube) -> tuple[Any, bool]:
        """The cube's embedding, and whether it was known; safe from any thread."""
        return self.cache.get(cube, lambda: self.model.encode(self.model.prepare(cube.sample(self.volume))))

    def predict(self, clicks: Sequence[Click], before: Prediction | None = None) -> Prediction:
        """Answer the last of an object's clicks.

        Args:
            clicks: All clicks of the object so far, at least one.
            before: What was predicted from all but the last one.
        """
        if before is None and len(clicks) > 1:
            before = self.predict(clicks[:-1])
        run = _Run(self, clicks)
        kept = [] if before is None else [piece for piece in before.pieces if not piece.grown]
        newest = None if before is None else before.pieces[before.active]
        holding = next((p for p in [newest, *kept] if p and p.cube.holds(self.volume, clicks[-1].ijk)), None)
        prompt: NDArray[np.float32] | None = None
        if holding is not None:
            cube, prompt = holding.cube, holding.logits
            kept = [piece for piece in kept if piece.cube != cube]
        else:
            cube = self.first_cube(clicks[-1].ijk)
            if newest is not None:
                prompt = newest.cube.carry(newest.logits, cube, beyond=UNKNOWN)
        logits, quality, reused = run.ask(cube, prompt)
        if self.adapt and not kept:
            cube, logits, quality = run.zoom(cube, logits, quality)
        pieces = [*kept, Piece(cube, logits)]
        active = len(kept)
        if self.grow:
            run.extend(pieces)
        started = time.perf_counter()
        mask = assemble(pieces, self.volume)
        run.seconds["home"] = time.perf_counter() - started
        return Prediction(tuple(pieces), active, mask, quality, run.seconds, reused)


class _Run:
    """The work for one click, with its stopwatch."""

    def __init__(self, predictor: Predictor, clicks: Sequence[Click]) -> None:
        self.predictor = predictor
        self.volume = predictor.volume
        self.model = predictor.model
        self.voxels = np.array([click.ijk for click in clicks], dtype=np.float64)
        self.labels = np.array([int(click.positive) for click in clicks])
        self.seconds = {"encode": 0.0, "decode": 0.0}

    def ask(
        self, cube: Cube, prompt: NDArray[np.float32] | None, extra: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float32], float, bool]:
        """The cube's logits and quality from all clicks inside it (and positive `extra` points, in cube index)."""
        import torch

        started = time.perf_counter()
        embedding, known = self.predictor.encode(cube)
        encoded = time.perf_counter()
        points = cube.from_voxel(self.volume)(self.voxels)
        inside = ((points >= -0.5) & (points < cube.size - 0.5)).all(axis=1)
        points, labels = points[inside], self.labels[inside]
        if extra is not None:
            points, labels = np.vstack([points, extra]), np.append(labels, np.ones(len(extra), dtype=int))
        previous = None if prompt is None else torch.from_numpy(prompt)[None, None]
        decoded = self.model.decode(embedding, points, labels, previous)
        logits = decoded.logits[0, 0].cpu().numpy()
        self.seconds["encode"] += encoded - started
        self.seconds["decode"] += time.perf_counter() - encoded
        return logits, float(decoded.quality.reshape(-1)[0]), known

    def zoom(self, cube: Cube, logits: NDArray[np.float32], quality: float) -> tuple[Cube, NDArray[np.float32], float]:
        """Ask again with a finer or coarser cube while the mask calls for one."""
        spacing_range = self.model.spec.spacing_range_mm
        positive = self.voxels[self.labels == 1]
        for _ in range(zoom.MOST if spacing_range[0] < spacing_range[1] else 0):
            target = zoom.wanted(cube, logits, self.volume, positive, spacing_range)
            if target is None or not all(target.holds(self.volume, voxel, margin=0) for voxel in positive):
                break
            prompt = cube.carry(logits, target, beyond=UNKNOWN)
            cube, (logits, quality, _) = target, self.ask(target, prompt)
        return cube, logits, quality

    def extend(self, pieces: list[Piece]) -> None:
        """Append neighbouring cubes while the mask touches a face beyond which the volume goes on."""
        waiting = list(pieces)
        while waiting:
            piece = waiting.pop(0)
            for (dim, side), beyond in piece.cube.touched(self.volume, piece.logits).items():
                if len(pieces) >= MOST_CUBES:
                    return
                if self._covered(piece.cube.to_ras(beyond), pieces):
                    continue
                target = piece.cube.neighbour(self.volume, dim, side, overlap=OVERLAP)
                prompt = piece.cube.carry(piece.logits, target, beyond=UNKNOWN)
                seed = _deepest(prompt > 0, target.size)
                if seed is None:
                    continue
                logits, _, _ = self.ask(target, prompt, seed)
                seen = piece.cube.carry(np.zeros_like(logits), target, beyond=1.0) < 0.5
                if _dice(logits[seen] > 0, prompt[seen] > 0) >= AGREEMENT:
                    waiting.append(Piece(target, logits, grown=True))
                    pieces.append(waiting[-1])

    def _covered(self, ras: NDArray[np.float64], pieces: Sequence[Piece]) -> bool:
        """Whether each point lies in some cube or outside the volume, so that nothing is left to ask there."""
        voxels = self.volume.voxel_to_ras.inverse(ras)
        left = ((voxels >= -0.5) & (voxels < np.array(self.volume.size) - 0.5)).all(axis=1)
        for piece in pieces:
            points = piece.cube.to_ras.inverse(ras)
            left &= ~((points >= -0.5) & (points < piece.cube.size - 0.5)).all(axis=1)
        return not left.any()


def assemble(pieces: Sequence[Piece], volume: Volume) -> LocalMask:
    """One mask from the answers of all cubes, on the volume's own grid.

    Where cubes overlap their logits are blended: a later one fades in over half the overlap from its faces inwards.
    """
    region = Region.union([piece.cube.region(volume, piece.logits) for piece in pieces])
    if len(pieces) == 1:
        home = pieces[0].cube.logits_home(pieces[0].logits, volume, region)
        return LocalMask(home > 0, region, volume.size)
    blended = np.full(region.shape, np.nan, dtype=np.float32)
    for piece in pieces:
        part = piece.cube.region(volume).intersection(region)
        home = piece.cube.logits_home(piece.logits, volume, part)
        share = np.clip(piece.cube.logits_home(_ramp(piece.cube.size), volume, part), 0, 1)
        target = blended[part.within(region).slices]
        target[...] = np.where(np.isnan(target), home, target + share * (home - target))
    return LocalMask(blended > 0, region, volume.size)


def _ramp(size: int) -> NDArray[np.float32]:
    """Weights of a cube of `size`³ voxels, in cells of two: 0 at its faces, 1 from half the overlap inwards."""
    cells = np.arange(size // 2, dtype=np.float32)
    line = np.minimum(1, 2 * (np.minimum(cells, cells[::-1]) + 0.5) / (OVERLAP / 2))
    return np.minimum(np.minimum(line[:, None, None], line[:, None]), line)


def _deepest(mask: NDArray[np.bool_], size: int) -> NDArray[np.float64] | None:
    """(1, 3) cube index of the cell furthest from the mask's border; None if the mask is empty."""
    if not mask.any():
        return None
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    cell = np.unravel_index(int(np.argmax(depth)), mask.shape)
    return grid_to_cube(len(mask), size)([cell])


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
