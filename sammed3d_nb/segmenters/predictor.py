"""From clicks to a mask: which cubes are asked, with which prompt, and how their answers are put together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from sammed3d_nb.imaging.region import Index, LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models.model import Model
from sammed3d_nb.segmenters import zoom
from sammed3d_nb.segmenters.cache import EmbeddingCache
from sammed3d_nb.segmenters.cube import MARGIN, Cube, grid_to_cube

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
        pieces: The cubes asked.
        active: Number of the piece that answered the last click.
        mask: On the volume's own grid.
        quality: The network's own estimate of the mask's IoU in the active cube.
        seconds: Time spent on "encode", "decode", "home" (bringing the mask home) and "other".
        embedding_reused: Whether no cube had to be encoded.
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
        self.cache = EmbeddingCache(least=MOST_CUBES + 2)

    def cube_for(self, ijk: ArrayLike, before: Prediction | None) -> Cube:
        """The cube that would be asked first about a click at voxel (i, j, k), after the prediction `before`."""
        piece = self._holding(ijk, before)
        if piece is not None:
            return piece.cube
        return Cube.at(self.volume, ijk, spacing=self.first_spacing, size=self.model.spec.cube_size)

    @property
    def first_spacing(self) -> float:
        """Spacing in mm of an object's first cube."""
        spec = self.model.spec
        if self.adapt and spec.spacing_range_mm[0] < spec.spacing_mm:
            return zoom.first_spacing(self.volume, spec.spacing_mm, spec.spacing_range_mm[0])
        return spec.spacing_mm

    def prepare(self, clicks: Sequence[Click], before: Prediction | None) -> None:
        """Encode what `predict` would need for the last of these clicks; safe from any thread."""
        self._answer(_Run(self, clicks), before)

    def predict(self, clicks: Sequence[Click], before: Prediction | None = None) -> Prediction:
        """Answer the last of an object's clicks.

        Args:
            clicks: All clicks of the object so far, at least one.
            before: What was predicted from all but the last one; without it they are all run through again.
        """
        if before is None:
            for count in range(1, len(clicks)):
                before = self._step(clicks[:count], before)
        return self._step(clicks, before)

    def _step(self, clicks: Sequence[Click], before: Prediction | None) -> Prediction:
        started = time.perf_counter()
        run = _Run(self, clicks)
        pieces, quality = self._answer(run, before)
        active = len(pieces) - 1
        if self.grow:
            run.extend(pieces)
        homeward = time.perf_counter()
        mask = assemble(pieces, self.volume)
        run.seconds["home"] = time.perf_counter() - homeward
        run.seconds["other"] = max(0.0, time.perf_counter() - started - sum(run.seconds.values()))
        return Prediction(tuple(pieces), active, mask, quality, run.seconds, run.encoded == 0)

    def _answer(self, run: "_Run", before: Prediction | None) -> tuple[list[Piece], float]:
        """The clicked pieces, the one for the last click at the end, and its quality."""
        ijk = run.clicks[-1].ijk
        cube, holding = self.cube_for(ijk, before), self._holding(ijk, before)
        earlier = () if before is None else before.pieces
        kept = [piece for piece in earlier if not piece.grown and piece is not holding]
        prompt = _prompt(earlier, cube) if holding is None else holding.logits
        logits, quality = run.ask(cube, prompt)
        if self.adapt and not kept:
            cube, logits, quality = run.zoom(cube, logits, quality)
        return [*kept, Piece(cube, logits)], quality

    def _holding(self, ijk: ArrayLike, before: Prediction | None) -> Piece | None:
        """The piece whose cube holds the voxel: the active one first, then other clicked ones, then grown ones."""
        if before is None:
            return None
        others = sorted(before.pieces, key=lambda piece: piece.grown)
        for piece in (before.pieces[before.active], *others):
            if piece.cube.holds(self.volume, ijk):
                return piece
        return None


class _Run:
    """The work for one click, with its stopwatch."""

    def __init__(self, predictor: Predictor, clicks: Sequence[Click]) -> None:
        self.clicks = clicks
        self.cache = predictor.cache
        self.volume = predictor.volume
        self.first_spacing = predictor.first_spacing
        self.model = predictor.model
        self.voxels = np.array([click.ijk for click in clicks], dtype=np.float64)
        self.labels = np.array([int(click.positive) for click in clicks])
        self.seconds = {"encode": 0.0, "decode": 0.0}
        self.encoded = 0

    def ask(
        self, cube: Cube, prompt: NDArray[np.float32] | None, extra: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float32], float]:
        """The cube's logits and quality from all clicks inside it (and positive `extra` points, in cube index)."""
        import torch

        started = time.perf_counter()
        embedding, known = self.cache.get(cube, lambda: self.model.encode(self.model.prepare(cube.sample(self.volume))))
        self.encoded += not known
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
        return logits, float(decoded.quality.reshape(-1)[0])

    def zoom(self, cube: Cube, logits: NDArray[np.float32], quality: float) -> tuple[Cube, NDArray[np.float32], float]:
        """Ask again with a finer or coarser cube while the mask calls for one and the answer gets no worse."""
        spacing_range = self.model.spec.spacing_range_mm
        positive = self.voxels[self.labels == 1]
        for _ in range(zoom.MOST if spacing_range[0] < spacing_range[1] else 0):
            target = zoom.wanted(cube, logits, self.volume, positive, spacing_range, self.first_spacing)
            if target is None or not all(target.holds(self.volume, voxel, margin=0) for voxel in positive):
                break
            prompt = cube.carry(logits, target, beyond=UNKNOWN)
            closer, score = self.ask(target, prompt)
            agrees = _dice(closer > 0, prompt > 0) >= zoom.AGREEMENT
            if not agrees or self._hits(target, closer) < self._hits(cube, logits):
                break
            cube, logits, quality = target, closer, score
        return cube, logits, quality

    def _hits(self, cube: Cube, logits: NDArray[np.float32]) -> int:
        """How many clicks the logits agree with."""
        cells = grid_to_cube(len(logits), cube.size).inverse(cube.from_voxel(self.volume)(self.voxels))
        i, j, k = np.clip(np.rint(cells).astype(int), 0, len(logits) - 1).T
        return int(((logits[i, j, k] > 0) == (self.labels == 1)).sum())

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
                logits, _ = self.ask(target, prompt, seed)
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

    Where cubes overlap their logits are blended: a later one fades in from those of its faces beyond which the volume
    goes on. A grown one does so over half the overlap; a clicked one within `MARGIN`, so that it alone answers clicks
    which only it was told of.
    """
    region = Region.union([piece.cube.region(volume, piece.logits) for piece in pieces])
    if len(pieces) == 1:
        home = pieces[0].cube.logits_home(pieces[0].logits, volume, region)
        return LocalMask(home > 0, region, volume.size)
    blended = np.full(region.shape, np.nan, dtype=np.float32)
    parts: list[Region] = []
    for piece in pieces:
        part = piece.cube.region(volume).intersection(region)
        home = piece.cube.logits_home(piece.logits, volume, part)
        before = blended[part.within(region).slices].copy()
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
        blended[part.within(region).slices] = home
        parts.append(part)
    return LocalMask(blended > 0, region, volume.size)


def _prompt(pieces: Sequence[Piece], target: Cube) -> NDArray[np.float32] | None:
    """The mask so far as a prompt for another cube; later pieces win. None if there is none."""
    prompt: NDArray[np.float32] | None = None
    for piece in pieces:
        carried = piece.cube.carry(piece.logits, target, beyond=np.nan)
        prompt = np.full_like(carried, UNKNOWN) if prompt is None else prompt
        prompt = np.where(np.isnan(carried), prompt, carried)
    return prompt


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


def _deepest(mask: NDArray[np.bool_], size: int) -> NDArray[np.float64] | None:
    """(1, 3) cube index of the cell furthest from the mask's border; None if the mask is empty."""
    if not mask.any():
        return None
    step = max(1, len(mask) // 64)  # deep enough is good enough, and eight times faster
    coarse = mask[::step, ::step, ::step] if mask[::step, ::step, ::step].any() else mask
    depth = ndimage.distance_transform_edt(np.pad(coarse, 1))[1:-1, 1:-1, 1:-1]
    cell = np.multiply(np.unravel_index(int(np.argmax(depth)), coarse.shape), len(mask) // len(coarse))
    return grid_to_cube(len(mask), size)([cell])


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
