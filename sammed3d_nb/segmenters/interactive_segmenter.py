"""The segmenter of engines that keep an image and what was said of it: nnInteractive, here or on a server."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sammed3d_nb.errors import PromptError, UserError
from sammed3d_nb.imaging.region import Index, LocalMask, triple
from sammed3d_nb.segmenters.conversation import Conversation, begun
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble, StartMask
from sammed3d_nb.segmenters.sayings import Abilities, Saying, saying
from sammed3d_nb.segmenters.segmenter import Answer, Situation
from sammed3d_nb.spaces import TransformChain, box


@dataclass(frozen=True)
class Remembered:
    """What an object goes on from.

    Attributes:
        sayings: What was said of it that counts still.
        mask: What the engine made of that.
        inside: Voxels that a hand has set and that belong to the object, as the engine knows them.
        outside: Those that a hand has taken away.
    """

    sayings: tuple[Saying, ...]
    mask: LocalMask
    inside: LocalMask
    outside: LocalMask

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        masks = self.mask.nbytes + self.inside.nbytes + self.outside.nbytes
        return masks + sum(one.nbytes for one in self.sayings)


class InteractiveSegmenter:
    """Answers prompts on a volume by a session of nnInteractive; see `Segmenter`.

    What a hand has set is told as a mask to go on from, which is how this engine's own programs do it.

    Args:
        conversation: About the volume; segmenters may share one.
        abilities: What the model takes.
    """

    tells_doubt = False

    def __init__(self, conversation: Conversation, abilities: Abilities) -> None:
        self.volume = conversation.volume
        self._conversation = conversation
        self._abilities = abilities

    def answer(self, situation: Situation) -> Answer:
        """Answer the last of an object's prompts; see `Segmenter`."""
        started = time.perf_counter()
        prompt = situation.prompts[-1]
        if self._abilities.prompts[prompt.kind] == "refused":
            raise PromptError(f"This model takes no {prompt.kind}; say it in another way.")
        if not prompt.positive and not situation.mask.count:
            raise PromptError(f"A {prompt} takes from a mask and there is none yet; say first where the object is.")
        if isinstance(prompt, StartMask):
            return self._started(prompt, situation)
        notes: tuple[str, ...] = ()
        inside, outside = _set_by_hand(situation)
        sayings, so_far, knows = self._known(situation, inside, outside)
        if not knows:
            notes = ("This model takes no mask to go on from: it does not know what the mask was before.",)
        upright, grow = self._conversation.upright, situation.options.grow
        new, told = saying(prompt, self.volume, upright, self._abilities, grow=grow)
        sayings = (*sayings, new)
        mask, reused = self._conversation.answer(sayings, so_far)
        seconds = {"other": time.perf_counter() - started}
        memory = Remembered(sayings, mask, inside, outside)
        return Answer(mask, self._anchor(prompt), self._chain, (), None, seconds, reused, (*notes, *told), memory)

    def doubt(self, memory: Remembered | None) -> None:
        """None: the engine gives masks, and says nothing of how sure it is."""
        del memory

    def prepare(self, situation: Situation, stop: Callable[[], bool] = lambda: False) -> None:
        """Give the image to the engine, if it does not have it yet."""
        with suppress(UserError):  # the next answer says it
            self._conversation.prepare()

    def chain(self, ijk: ArrayLike, situation: Situation) -> TransformChain:
        """The transforms ``array → voxel → upright``, the same for every voxel."""
        return self._chain

    @property
    def _chain(self) -> TransformChain:
        volume, upright = self.volume, self._conversation.upright
        bounds = {"array": box(volume.array.shape), "voxel": box(volume.size), "upright": box(upright.shape)}
        return TransformChain([volume.array_to_voxel, upright.to_upright], bounds=bounds)

    def _started(self, prompt: StartMask, situation: Situation) -> Answer:
        """A start mask is its own answer; the engine hears of it with the next prompt."""
        mask = prompt.mask if prompt.positive else situation.mask.without(prompt.mask)
        nothing = LocalMask.empty(self.volume.size)
        memory = Remembered((begun(mask),), mask, nothing, nothing) if prompt.positive else situation.memory
        return Answer(mask, self._anchor(prompt), self._chain, (), None, {}, True, (), memory)

    def _known(
        self, situation: Situation, inside: LocalMask, outside: LocalMask
    ) -> tuple[tuple[Saying, ...], LocalMask, bool]:
        """What brings the engine to the mask so far, that mask as the engine has it, and whether it does."""
        before: Remembered | None = situation.memory
        mask = situation.mask
        if before is None:
            said: tuple[Saying, ...] = ()
            known, new = LocalMask.empty(self.volume.size), mask.count > 0
        else:
            said, known = before.sayings, before.mask
            new = bool(inside.without(before.inside).count or outside.without(before.outside).count)
        if not new:
            return said, known, True
        if not self._abilities.start:
            return said, known, False
        return ((begun(mask),) if mask.count else ()), mask, True

    def _anchor(self, prompt: Prompt) -> Index:
        """The voxel that stands for a prompt: of those that it names, the nearest to their middle."""
        upright = self._conversation.upright
        if isinstance(prompt, Point):
            return prompt.ijk
        if isinstance(prompt, Box):
            middle = [(first + last - 1) // 2 for first, last in upright.span(prompt.region)]
            return triple(np.rint(upright.to_upright.inverse(middle)))
        if isinstance(prompt, Lasso):
            voxels = prompt.inside
        elif isinstance(prompt, StartMask):
            voxels = np.argwhere(prompt.mask.values)[:, ::-1] + prompt.region.start
        else:
            assert isinstance(prompt, Scribble)
            voxels = prompt.voxels
        places = upright.voxels(voxels)
        away = ((2 * places - places.min(axis=0) - places.max(axis=0)) ** 2).sum(axis=1)
        nearest = np.flatnonzero(away == away.min())
        return triple(voxels[min(nearest, key=lambda number: tuple(places[number]))])


def _set_by_hand(situation: Situation) -> tuple[LocalMask, LocalMask]:
    """The voxels that a hand has set, those of the mask and those outside it."""
    return situation.told & situation.mask, situation.told.without(situation.mask)
