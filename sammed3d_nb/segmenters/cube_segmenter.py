"""The segmenter of networks that see cubes: which cubes are asked about a prompt, and what becomes of their answers."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import Index, LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.network.spec import ModelSpec
from sammed3d_nb.segmenters import zoom
from sammed3d_nb.segmenters.asking import MOST_CUBES, Asking, CubeModel, Logits, StoppedError
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.doubt import Doubt, doubt_of
from sammed3d_nb.segmenters.drawn import drawn_maps
from sammed3d_nb.segmenters.embeddings import EmbeddingCache
from sammed3d_nb.segmenters.pieces import Chosen, Piece, Pieces, assemble, corrected, prompt_for
from sammed3d_nb.segmenters.prompts import Box, Prompt, StartMask
from sammed3d_nb.segmenters.segmenter import Answer, Options, Situation
from sammed3d_nb.segmenters.translation import BETTER, GOOD, SURE, Hints, bounded, carved, fit, translate
from sammed3d_nb.spaces import TransformChain

KINDS = ("point", "box", "scribble", "lasso", "mask")
"""All kinds of prompts."""
FAR = 48.0
"""Cube voxels from a positive prompt beyond which it takes nothing away."""


def prompts_of(spec: ModelSpec) -> dict[str, str]:
    """How a network that sees cubes takes each kind of prompt: what it was not trained on becomes clicks."""
    return {kind: "native" if kind in spec.native else "translated" for kind in KINDS}


class CubeSegmenter:
    """Answers prompts on a volume by a network that sees cubes; see `Segmenter`.

    Args:
        volume: The volume.
        model: The network on its device.
    """

    tells_doubt = True

    def __init__(self, volume: Volume, model: CubeModel) -> None:
        self.volume = volume
        self.model = model
        self.cache = EmbeddingCache(least=MOST_CUBES + 2)

    def chain(self, ijk: ArrayLike, situation: Situation) -> TransformChain:
        """The transforms ``array → … → grid`` of the cube that would be asked about a voxel (i, j, k)."""
        point = np.asarray(ijk, dtype=np.float64)
        if situation.memory is None:
            known = next((cube for cube in reversed(situation.cubes) if cube.holds(self.volume, point)), None)
            if known is not None:
                return self._chain(known)
        return self._chain(self._cube_for(point, self._extent(situation, None), situation)[0])

    def prepare(self, situation: Situation, stop: Callable[[], bool] = lambda: False) -> None:
        """Encode what `answer` would need for the last prompt, cube by cube; safe from any thread."""
        if not isinstance(situation.prompts[-1], StartMask):
            asking, hints = self._asking(situation)
            asking.stop = stop
            with suppress(StoppedError):
                self._answer(asking, hints, situation)

    def doubt(self, memory: Pieces | None) -> Doubt | None:
        """The doubt in the logits of the last answer."""
        return None if memory is None else doubt_of(memory, self.volume)

    def answer(self, situation: Situation) -> Answer:
        """Answer the last of an object's prompts; see `Segmenter`."""
        prompt = situation.prompts[-1]
        if isinstance(prompt, StartMask):
            return self._started(prompt, situation)
        if not prompt.positive and not situation.mask.count:
            raise PromptError(f"A {prompt} takes from a mask and there is none yet; say first where the object is.")
        started = time.perf_counter()
        asking, hints = self._asking(situation)
        pieces, dropped, quality = self._answer(asking, hints, situation)
        active = len(pieces) - 1
        notes = asking.grow(pieces, situation.options.grow, situation.mask)
        homeward = time.perf_counter()
        mask = self._home(pieces, pieces[active:], dropped, situation.mask)
        if prompt.positive:
            mask = mask | self._far(situation.mask, hints, pieces[active].cube.spacing)
        else:
            mask = mask & situation.mask  # it takes away, whatever the network makes of it elsewhere
        mask = carved(mask, since_start(situation.prompts))
        asking.seconds["home"] = time.perf_counter() - homeward
        asking.seconds["other"] = max(0.0, time.perf_counter() - started - sum(asking.seconds.values()))
        memory = Pieces(tuple(pieces), active, asking.chosen)
        cubes = tuple(piece.cube for piece in [*pieces[:active], *pieces[active + 1 :], pieces[active]])
        chain = self._chain(pieces[active].cube)
        return Answer(mask, hints.anchor, chain, cubes, quality, asking.seconds, asking.encoded == 0, notes, memory)

    def _started(self, prompt: StartMask, situation: Situation) -> Answer:
        """A start mask is its own answer; the network hears of it with the next prompt."""
        mask = prompt.mask if prompt.positive else situation.mask.without(prompt.mask)
        memory = None if prompt.positive else situation.memory
        hints = translate(prompt, self.volume)
        cube = self._cube_for(hints.anchor, prompt.region, situation)[0]
        return Answer(mask, hints.anchor, self._chain(cube), (), None, {}, True, (), memory)

    def _asking(self, situation: Situation) -> tuple[Asking, Hints]:
        prompts = since_start(situation.prompts)
        before: Pieces | None = situation.memory
        chosen = () if before is None else before.chosen
        taken = iter(chosen)
        hints = []
        native = self.model.spec.native
        for number, prompt in enumerate(prompts[:-1]):
            hint = translate(prompt, self.volume)
            if hint.choices is not None:
                click = next(taken, Chosen(hint.anchor, sure=False))
                better = any(one.positive and not isinstance(one, Box) for one in prompts[number + 1 :])
                # a network that is shown the box itself needs no click for it any more
                counts = prompt.kind not in native and (click.sure or not better)
                hint = translate(prompt, self.volume, click.ijk, counts=counts)
            hints.append(hint)
        hints.append(translate(prompts[-1], self.volume))
        points = np.vstack([hint.points for hint in hints])
        labels = np.concatenate([hint.labels for hint in hints])

        def limit(logits: NDArray[np.float32], cube: Cube) -> NDArray[np.float32]:
            return bounded(logits, cube, prompts[-1], self.volume, first=len(situation.prompts) == 1)

        def draw(cube: Cube) -> NDArray[np.float32] | None:
            return drawn_maps(prompts, native, cube, self.volume, cube.size // 2)

        first = self._first_spacing(situation.options)
        if situation.options.adapt:
            spec = self.model.spec
            shown = [
                zoom.showing(hint.extent, self.volume, spec.spacing_range_mm, spec.cube_size)
                for hint in hints
                if hint.extent is not None
            ]
            first = min([first, *(cube.spacing for cube in shown if cube is not None)])
        asking = Asking(self.volume, self.model, self.cache, points, labels, first, limit, draw)
        asking.chosen = chosen
        return asking, hints[-1]

    def _answer(
        self, asking: Asking, hints: Hints, situation: Situation
    ) -> tuple[list[Piece], list[Piece], float | None]:
        """The pieces, the one that answered the last prompt at the end; those dropped; and the answer's quality."""
        prompt, mask, told = situation.prompts[-1], situation.mask, situation.told
        before = _corrected(situation.memory, mask, told, self.volume)
        earlier = () if before is None else before.all
        cube, number = self._cube_for(hints.anchor, self._extent(situation, hints.extent), situation)
        holding = None if number is None else earlier[number]
        kept = [piece for piece in earlier if piece is not holding]
        cells = self.model.spec.grid_size
        if holding is not None:
            so_far: NDArray[np.float32] | None = holding.logits
        else:
            so_far = prompt_for(cube, earlier, mask, told, self.volume, cells)
        if hints.choices is not None:
            logits, quality = self._chosen(asking, hints.choices, cube, so_far, prompt)
        else:
            logits, quality = asking.ask(cube, so_far)
        if so_far is not None and prompt.positive:
            logits = asking.nothing_lost_far(cube, logits, so_far, _named(hints), FAR)
        elif so_far is not None:
            logits = np.where((so_far <= 0) & (logits > 0), so_far, logits)
        if situation.options.adapt and not kept:
            cube, logits, quality = asking.zoom(cube, logits, quality)
        answered = Piece(cube, logits)
        if not prompt.positive:
            kept = _attached(kept, [*kept, answered], self.volume)
        pieces = [*kept, answered]
        gone = [piece for piece in earlier if not any(piece.cube == left.cube for left in pieces)]
        return pieces, gone, quality

    def _chosen(
        self, asking: Asking, choices: NDArray[np.int64], cube: Cube, so_far: Logits | None, prompt: Prompt
    ) -> tuple[Logits, float]:
        """The answer that fits a box best, and its click among those of `asking` from now on."""
        assert isinstance(prompt, Box)
        points, labels, limit = asking.points, asking.labels, asking.limit
        asking.limit = lambda logits, cube: logits  # what lies outside the box tells how well the answer fits
        best: tuple[float, Index, Logits, float] | None = None
        for choice in choices:
            if not cube.holds(self.volume, choice, margin=0):  # of a box larger than a cube that is there already
                continue
            asking.points, asking.labels = np.vstack([points, choice]), np.append(labels, 1)
            logits, quality = asking.ask(cube, so_far)
            score = fit(logits, cube, prompt, self.volume) * max(quality, 0.0)
            if best is None or score > best[0] + BETTER:
                best = score, triple(choice), logits, quality
            if score >= GOOD:
                break
        assert best is not None, "the first choice chose the cube"
        asking.points, asking.labels, asking.limit = np.vstack([points, best[1]]), np.append(labels, 1), limit
        asking.chosen = (*asking.chosen, Chosen(best[1], best[0] >= SURE))
        return limit(best[2], cube), best[3]

    def _home(
        self, pieces: Sequence[Piece], fresh: Sequence[Piece], gone: Sequence[Piece], so_far: LocalMask
    ) -> LocalMask:
        """The mask so far, computed anew where cubes have answered or are gone."""
        base = so_far
        for piece in gone:
            region = piece.cube.region(self.volume).intersection(base.region)
            base = base.pasted(region, np.zeros(region.shape, dtype=np.uint8))
        regions = [
            part
            for piece in [*fresh, *gone]
            for part in (
                piece.cube.region(self.volume, piece.logits),
                piece.cube.region(self.volume).intersection(so_far.region),
            )
        ]
        region = Region.union(regions)
        return base.pasted(region, assemble(pieces, self.volume, region, base.crop(region)))

    def _far(self, mask: LocalMask, hints: Hints, spacing: float) -> LocalMask:
        """The part of a mask that a positive prompt takes nothing from: beyond `FAR` along some axis, to the voxel."""
        reach = np.ceil(FAR * spacing / np.array(self.volume.spacing)).astype(int)
        named = _named(hints)
        near = Region.between(named.min(axis=0) - reach, named.max(axis=0) + reach + 1).intersection(mask.region)
        return mask.pasted(near, np.zeros(near.shape, dtype=np.uint8))

    def _chain(self, cube: Cube) -> TransformChain:
        return cube.chain(self.volume, grid=self.model.spec.grid_size)

    def _first_spacing(self, options: Options) -> float:
        """Spacing in mm of an object's first cube."""
        spec = self.model.spec
        if options.adapt and spec.spacing_range_mm[0] < spec.spacing_mm:
            return zoom.first_spacing(self.volume, spec.spacing_mm, spec.spacing_range_mm[0])
        return spec.spacing_mm

    def _extent(self, situation: Situation, extent: Region | None) -> Region | None:
        """What the cube should show whole: what the prompt says, or a start mask that no cube has seen."""
        said_before = len(situation.prompts) > 1  # paint alone may be a dot in something large
        if extent is None and situation.memory is None and situation.mask.count and said_before:
            return situation.mask.region
        return extent

    def _cube_for(self, ijk: ArrayLike, extent: Region | None, situation: Situation) -> tuple[Cube, int | None]:
        """The cube to ask about a voxel, and the number of the piece whose cube it is.

        A piece that holds the voxel comes first: the active one, then others that answered prompts, then grown ones.
        """
        before: Pieces | None = situation.memory
        if before is not None:
            others = sorted(range(len(before.all)), key=lambda number: before.all[number].grown)
            for number in (before.active, *others):
                if before.all[number].cube.holds(self.volume, ijk):
                    return before.all[number].cube, number
        spec = self.model.spec
        spacing = self._first_spacing(situation.options)
        if extent is not None and situation.options.adapt:
            cube = zoom.showing(extent, self.volume, spec.spacing_range_mm, spec.cube_size)
            if cube is not None and cube.holds(self.volume, ijk):
                return cube, None
        return Cube.at(self.volume, ijk, spacing=spacing, size=spec.cube_size), None


def _named(hints: Hints) -> NDArray[np.int64]:
    """(N, 3) the voxels that a prompt names."""
    return hints.points if len(hints.points) else np.array([hints.anchor])


def since_start(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that count: a start mask replaces whatever was said before it."""
    starts = [n for n, prompt in enumerate(prompts) if isinstance(prompt, StartMask) and prompt.positive]
    return list(prompts[starts[-1] :] if starts else prompts)


def _corrected(before: Pieces | None, mask: LocalMask, told: LocalMask, volume: Volume) -> Pieces | None:
    """The pieces with what a hand has set since."""
    if before is None or not told.count:
        return before
    pieces = tuple(
        replace(piece, logits=corrected(piece.logits, piece.cube, mask, told, volume)) for piece in before.all
    )
    return replace(before, all=pieces)


def _attached(kept: Sequence[Piece], pieces: Sequence[Piece], volume: Volume) -> list[Piece]:
    """The pieces without grown ones that nothing leads to any more: a negative prompt has cut them off."""
    logits = {piece.cube: piece.logits for piece in pieces}
    left = list(kept)
    while True:
        cubes = {piece.cube for piece in left} | {pieces[-1].cube}

        def holds(piece: Piece, cubes: set[Cube] = cubes) -> bool:
            if piece.parent is None:
                return True
            faces = piece.parent.touched(volume, logits[piece.parent]).values() if piece.parent in cubes else ()
            return any(piece.cube.reaches(piece.parent.to_ras(beyond)).any() for beyond in faces)

        stay = [piece for piece in left if holds(piece)]
        if len(stay) == len(left):
            return left
        left = stay
