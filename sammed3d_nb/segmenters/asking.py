"""The network's work for one prompt: asking a cube, a finer or coarser one, and its neighbours."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import LocalMask, dice
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.network.spec import ModelSpec
from sammed3d_nb.segmenters import zoom
from sammed3d_nb.segmenters.cube import Cube, grid_to_cube
from sammed3d_nb.segmenters.embeddings import EmbeddingCache
from sammed3d_nb.segmenters.pieces import OVERLAP, UNKNOWN, Chosen, Piece, corrected, outside_of

MOST_CUBES = 8
"""Cubes asked for one prompt at most."""
AGREEMENT = 0.5
"""A neighbour's answer counts only if its Dice with the prompt, in the overlap, reaches this: no leaks."""

Logits = NDArray[np.float32]


class CubeModel(Protocol):
    """A network on its device, as `Model` is; cubes in order d0, d1, d2 (towards Right, Anterior, Superior)."""

    @property
    def spec(self) -> ModelSpec:
        """What the network is."""

    def prepare(self, values: NDArray[np.float32]) -> Any:
        """Normalise raw intensities (n, n, n)."""

    def encode(self, tensor: Any) -> Any:
        """Encode a prepared cube."""

    def decode(self, embedding: Any, points: Any, labels: Any, previous: Any = None, drawn: Any = None) -> Any:
        """Answer clicks: points (N, 3) in cube index, labels (N,), the logits before; `logits` and `quality`.

        ``drawn`` are maps of what is drawn, for networks that know some.
        """


class StoppedError(Exception):
    """Nobody waits for the answer any more."""


class Asking:
    """The work for one prompt, with its stopwatch.

    Args:
        volume: The volume.
        model: The network.
        cache: Where embeddings are kept.
        points: (N, 3) all clicks of the object so far, voxels (i, j, k).
        labels: (N,) 1 for a positive, 0 for a negative one.
        first_spacing: Spacing in mm of an object's first cube.
        limit: What the prompt rules out of any cube's logits.
        draw: Maps of what is drawn about the object, for a cube; None where there is nothing.

    `chosen` are the clicks taken for boxes, among `points` as well.
    """

    def __init__(
        self,
        volume: Volume,
        model: CubeModel,
        cache: EmbeddingCache,
        points: NDArray[np.int64],
        labels: NDArray[np.int64],
        first_spacing: float,
        limit: Callable[[Logits, Cube], Logits],
        draw: Callable[[Cube], NDArray[np.float32] | None] = lambda cube: None,
    ) -> None:
        self.volume, self.model, self.cache = volume, model, cache
        self.points, self.labels = points.astype(np.float64), labels
        self.first_spacing, self.limit, self.draw = first_spacing, limit, draw
        self.seconds = {"encode": 0.0, "decode": 0.0}
        self.encoded = 0
        self.chosen: tuple[Chosen, ...] = ()
        self.stop: Callable[[], bool] = lambda: False

    def ask(self, cube: Cube, prompt: Logits | None, extra: NDArray[np.float64] | None = None) -> tuple[Logits, float]:
        """The cube's logits and quality from all clicks inside it (and positive `extra` points, in cube index)."""
        import torch

        started = time.perf_counter()
        if self.stop():
            raise StoppedError
        embedding, known = self.cache.get(cube, lambda: self.model.encode(self.model.prepare(cube.sample(self.volume))))
        self.encoded += not known
        encoded = time.perf_counter()
        points = cube.from_voxel(self.volume)(self.points)
        inside = ((points >= -0.5) & (points < cube.size - 0.5)).all(axis=1)
        points, labels = points[inside], self.labels[inside]
        if extra is not None:
            points, labels = np.vstack([points, extra]), np.append(labels, np.ones(len(extra), dtype=int))
        previous = None if prompt is None else torch.from_numpy(prompt)[None, None]
        maps = self.draw(cube)
        drawn = {} if maps is None else {"drawn": torch.from_numpy(maps)[None]}
        decoded = self.model.decode(embedding, points, labels, previous, **drawn)
        logits = self.limit(decoded.logits[0, 0].cpu().numpy(), cube)
        self.seconds["encode"] += encoded - started
        self.seconds["decode"] += time.perf_counter() - encoded
        return logits, float(decoded.quality.reshape(-1)[0])

    def nothing_lost_far(
        self, cube: Cube, logits: Logits, before: Logits, points: NDArray[np.int64], reach: float
    ) -> Logits:
        """Logits that keep the mask of those before further than `reach` cube voxels from all `points` (N, 3)."""
        if not ((before > 0) & (logits <= 0)).any():
            return logits
        line = grid_to_cube(len(logits), cube.size)(np.repeat(np.arange(len(logits))[:, None], 3, axis=1))[:, 0]
        far = np.ones(logits.shape, dtype=bool)
        for point in cube.from_voxel(self.volume)(points.astype(np.float64)):
            squares = [((line - at) ** 2).astype(np.float32) for at in point]
            far &= squares[0][:, None, None] + squares[1][:, None] + squares[2] > reach**2
        # also where the mask was not: what is brought home lies between the cells
        return np.where(far, np.maximum(logits, before), logits)

    def zoom(self, cube: Cube, logits: Logits, quality: float) -> tuple[Cube, Logits, float]:
        """Ask again with a finer or coarser cube while the mask calls for one and the answer gets no worse."""
        spacing_range = self.model.spec.spacing_range_mm
        positive = self.points[self.labels == 1]
        for _ in range(zoom.MOST if spacing_range[0] < spacing_range[1] and len(positive) else 0):
            target = zoom.wanted(cube, logits, self.volume, positive, spacing_range, self.first_spacing)
            if target is None or not all(target.holds(self.volume, voxel, margin=0) for voxel in positive):
                break
            prompt = cube.carry(logits, target, beyond=UNKNOWN)
            closer, score = self.ask(target, prompt)
            agrees = dice(closer > 0, prompt > 0) >= zoom.AGREEMENT
            if not agrees or self._hits(target, closer) < self._hits(cube, logits):
                break
            cube, logits, quality = target, closer, score
        return cube, logits, quality

    def grow(self, pieces: list[Piece], on: bool, mask: LocalMask) -> tuple[str, ...]:
        """Append neighbouring cubes of the last piece while the mask touches a face beyond which the volume goes on.

        Args:
            pieces: The answers so far; further ones are appended.
            on: Whether neighbours may be asked.
            mask: The object's mask before: where no cube has seen it, a neighbour is told of it.

        Returns:
            A sentence where the mask ends at a face all the same.
        """
        waiting, asked, doubted = [pieces[-1]], 1, False
        unseen = outside_of(pieces, mask, self.volume)
        while waiting:
            piece = waiting.pop(0)
            for (dim, side), beyond in piece.cube.touched(self.volume, piece.logits).items():
                if self._covered(piece.cube.to_ras(beyond), pieces):
                    continue
                if not on:
                    return ("The mask ends at a face of its cube: the object may go on, but growing is switched off.",)
                if asked >= MOST_CUBES:
                    return (
                        f"The mask ends at a face of the last of {MOST_CUBES} cubes: where the object goes on, "
                        "click on it there.",
                    )
                target = piece.cube.neighbour(self.volume, dim, side, overlap=OVERLAP)
                prompt = piece.cube.carry(piece.logits, target, beyond=UNKNOWN)
                prompt = corrected(prompt, target, unseen, unseen, self.volume)
                seed = _deepest(prompt > 0, target.size)
                if seed is None:
                    continue
                logits, _ = self.ask(target, prompt, seed)
                asked += 1
                seen = piece.cube.carry(np.zeros_like(logits), target, beyond=1.0) < 0.5
                if dice(logits[seen] > 0, prompt[seen] > 0) >= AGREEMENT:
                    waiting.append(Piece(target, logits, parent=piece.cube))
                    pieces.append(waiting[-1])
                else:
                    doubted = True
        if doubted:
            return ("The mask ends at a face of its cube, beyond which the network is unsure; click there to go on.",)
        return ()

    def _hits(self, cube: Cube, logits: Logits) -> int:
        """How many clicks the logits agree with."""
        cells = grid_to_cube(len(logits), cube.size).inverse(cube.from_voxel(self.volume)(self.points))
        i, j, k = np.clip(np.rint(cells).astype(int), 0, len(logits) - 1).T
        return int(((logits[i, j, k] > 0) == (self.labels == 1)).sum())

    def _covered(self, ras: NDArray[np.float64], pieces: Sequence[Piece]) -> bool:
        """Whether each point lies in some cube or outside the volume, so that nothing is left to ask there."""
        voxels = self.volume.voxel_to_ras.inverse(ras)
        left = ((voxels >= -0.5) & (voxels < np.array(self.volume.size) - 0.5)).all(axis=1)
        for piece in pieces:
            left &= ~piece.cube.reaches(ras)
        return not left.any()


def _deepest(mask: NDArray[np.bool_], size: int) -> NDArray[np.float64] | None:
    """(1, 3) cube index of the cell furthest from the mask's border; None if the mask is empty."""
    if not mask.any():
        return None
    step = max(1, len(mask) // 64)  # deep enough is good enough, and eight times faster
    coarse = mask[::step, ::step, ::step] if mask[::step, ::step, ::step].any() else mask
    depth = ndimage.distance_transform_edt(np.pad(coarse, 1))[1:-1, 1:-1, 1:-1]
    cell = np.multiply(np.unravel_index(int(np.argmax(depth)), coarse.shape), len(mask) // len(coarse))
    return grid_to_cube(len(mask), size)([cell])
