"""Masks in the making: an object's mask is a function of what has been said about it, and this is the function."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.readable import readable_ml
from sammed3d_nb.segmenters.doubt import Doubt
from sammed3d_nb.segmenters.prompts import Point, Prompt, StartMask
from sammed3d_nb.segmenters.segmenter import Answer, Engine, Options, Situation, licence_of
from sammed3d_nb.session.edits import Combine, Edit, Paint, combine, operate
from sammed3d_nb.session.objects import Said, SegmentedObject, Told
from sammed3d_nb.spaces import Trace, Transform

MEMORY_BYTES = 96 * 2**20
"""Of logits held for objects to go on from; what is let go is computed again when it is needed."""

_NOTHING = "The answer is an empty mask: say more, or say it in another place."

Free = Callable[[LocalMask], LocalMask]
"""From a wanted mask to what of it the object may have."""


@dataclass(frozen=True)
class Form:
    """A mask in the making; the fields are those of `SegmentedObject`, and the segmenter's memory."""

    local: LocalMask
    fixed: LocalMask
    edited: LocalMask
    prompts: tuple[Prompt, ...] = ()
    memory: Any = None


class Maker:
    """Makes masks with one model on one volume.

    Args:
        volume: The volume.
        engine: The model.
    """

    def __init__(self, volume: Volume, engine: Engine) -> None:
        self.volume = volume
        self.engine = engine
        self.segmenter = engine.segmenter(volume)
        self._memories = _Memories(MEMORY_BYTES)

    def say(
        self,
        item: SegmentedObject,
        action: Prompt | Edit,
        options: Options,
        others: Sequence[SegmentedObject],
        approach: Sequence[Transform] = (),
        remarks: Sequence[str] = (),
    ) -> SegmentedObject:
        """The object after one more prompt or edit.

        Args:
            item: The object so far.
            action: The prompt or edit, checked.
            options: How to answer it.
            others: The objects whose voxels it must leave alone.
            approach: The transforms that led to ``array``, for the trace.
            remarks: What else there is to say of it, for the answer's notes.

        Raises:
            PromptError: It cannot be answered.
        """
        same = (
            (said.number for said in item.said.back() if _kind(said.action) == _kind(action)) if item.said else iter(())
        )
        number = 1 + next(same, 0)
        form = Form(item.local, item.fixed, item.edited, item.prompts, self._memory(item, action))
        after, spared, answer = self._after(form, action, options, _without([other.local for other in others]))
        notes = (*remarks, *left_to(others, spared, self.volume))
        told = None if answer is None else self._told(answer, after.local, approach, notes)
        said = Said(action, options, PackedMask.of(spared), told, item.said, number)
        if answer is not None:
            self._memories.put(said, after.memory)
        return replace(item, local=after.local, fixed=after.fixed, edited=after.edited, said=said)

    def tried(self, item: SegmentedObject, edit: Edit, others: Sequence[SegmentedObject]) -> LocalMask:
        """The mask that an object would have after an edit; as `say`, but nothing comes of it."""
        form = Form(item.local, item.fixed, item.edited, item.prompts)
        return self._after(form, edit, Options(), _without([other.local for other in others]))[0].local

    def doubt(self, item: SegmentedObject) -> Doubt | None:
        """How unsure the model is of an object's mask, computed again where its logits were let go.

        None where there is nothing to tell: no answer of this model's, or an engine that gives masks alone.
        """
        last = item.answered
        if last is None or not isinstance(last.action, Prompt):
            return None
        return self.segmenter.doubt(self._memory(item, last.action))

    def remake(
        self,
        item: SegmentedObject,
        others: Sequence[LocalMask] | None = None,
        watch: Callable[[LocalMask, bool], None] | None = None,
        history: Sequence[Said] | None = None,
    ) -> SegmentedObject:
        """The object with everything said once more, by this maker's model.

        What finds nothing to work on this time (an edit, a negative prompt) is kept and changes nothing.

        Args:
            item: The object.
            others: Masks whose voxels it must leave alone; by default, what it spared then.
            watch: Called with the mask after each prompt (True) and edit (False).
            history: What is to be said instead of all that was.
        """
        form, last = self._again(item.history if history is None else history, others, watch)
        return replace(item, local=form.local, fixed=form.fixed, edited=form.edited, said=last)

    def prepare(self, item: SegmentedObject, prompt: Prompt, options: Options, stop: Callable[[], bool]) -> None:
        """Compute ahead what a prompt would need, unless that would take making the mask again first."""
        if item.answered is not None and item.answered not in self._memories:
            return
        self.segmenter.prepare(self._situation(item, prompt, options), stop)

    def trace(self, item: SegmentedObject, ijk: ArrayLike, options: Options, approach: Sequence[Transform]) -> Trace:
        """The trace that a click at a voxel (i, j, k), may be fractional, would have."""
        at = Point(tuple(int(n) for n in np.rint(np.nan_to_num(ijk))))  # type: ignore[arg-type]
        chain = self.segmenter.chain(ijk, self._situation(item, at, options))
        return chain.preceded_by(*approach).trace(ijk, "voxel")

    @property
    def held_bytes(self) -> int:
        """Bytes of what is held for objects to go on from."""
        return self._memories.nbytes

    # -- inside ------------------------------------------------------------------------------------------------

    def _after(
        self, form: Form, action: Prompt | Edit, options: Options, free: Free
    ) -> tuple[Form, LocalMask, Answer | None]:
        """The form after an action, what it left to other objects, and the answer to a prompt."""
        if isinstance(action, Prompt):
            prompts = (*form.prompts, action)
            situation = Situation(prompts, form.local, form.fixed | form.edited, form.memory, options)
            answer = self.segmenter.answer(situation)
            wanted = answer.mask
            if form.fixed.count:
                wanted = wanted.without(form.fixed) | (form.local & form.fixed)
            local = _own_and_free(wanted, form.local, free)
            edited = LocalMask.empty(self.volume.size)
            if isinstance(action, StartMask) and not action.positive:
                edited = form.edited | form.local.without(local)
            return Form(local, form.fixed, edited, prompts, answer.memory), wanted.without(local), answer
        if isinstance(action, Paint):
            where = action.where.unpack(self.volume.size)
            allowed = _own_and_free(where, form.local, free) if action.add else where
            local = form.local | allowed if action.add else form.local.without(where)
            after = replace(form, local=local, fixed=form.fixed | allowed, edited=form.edited.without(allowed))
            return after, where.without(allowed), None
        clicks = [prompt.ijk for prompt in form.prompts if isinstance(prompt, Point) and prompt.positive]
        if isinstance(action, Combine):
            wanted = combine(action, form.local, self.volume)
        else:
            wanted = operate(action, form.local, self.volume, clicks)
        local = _own_and_free(wanted, form.local, free)
        changed = local ^ form.local
        after = replace(form, local=local, fixed=form.fixed.without(changed), edited=form.edited | changed)
        return after, wanted.without(local), None

    def _told(
        self, answer: Answer, local: LocalMask, approach: Sequence[Transform], notes: tuple[str, ...] = ()
    ) -> Told:
        return Told(
            trace=answer.chain.preceded_by(*approach).trace(answer.anchor, "voxel"),
            distance_mm=local.distance_mm(answer.anchor, self.volume.spacing),
            quality=answer.quality,
            volume_ml=local.volume_ml(self.volume.spacing),
            cubes=answer.cubes,
            seconds=answer.seconds,
            embedding_reused=answer.embedding_reused,
            model=self._name,
            notes=(*answer.notes, *notes, *(() if local.count else (_NOTHING,))),
            licence=licence_of(self.engine),
        )

    def _situation(self, item: SegmentedObject, prompt: Prompt, options: Options) -> Situation:
        last = item.answered
        cubes = () if last is None or last.told is None else last.told.cubes
        memory = None if last is None else self._memories.get(last)
        return Situation((*item.prompts, prompt), item.local, item.fixed | item.edited, memory, options, cubes)

    def _memory(self, item: SegmentedObject, action: Prompt | Edit) -> Any:
        """What the segmenter goes on from, computed again where it was let go; edits need none.

        None after another model's answer: its mask is told to this one as a start mask is.
        """
        last = item.answered
        if last is None or last.told is None or not isinstance(action, Prompt) or last.told.model != self._name:
            return None
        if last not in self._memories:
            history = item.history
            form, _ = self._again(history[: history.index(last) + 1])
            self._memories.put(last, form.memory)
        return self._memories.get(last)

    def _again(
        self,
        history: Sequence[Said],
        others: Sequence[LocalMask] | None = None,
        watch: Callable[[LocalMask, bool], None] | None = None,
    ) -> tuple[Form, Said | None]:
        """What comes of saying everything once more, and the last of it as it is now; see `remake`."""
        form, last = self._nothing(), None
        for said in history:
            prompted = isinstance(said.action, Prompt)
            free = _without([said.spared.unpack(self.volume.size)] if others is None else others)
            spared, told = LocalMask.empty(self.volume.size), None
            if isinstance(said.action, Prompt) and not said.action.positive and not form.local.count:
                form = replace(form, prompts=(*form.prompts, said.action))
                told = said.told and replace(said.told, volume_ml=0.0, distance_mm=np.inf, cubes=(), model=self._name)
            else:
                with suppress(*(() if prompted else (PromptError,))):
                    form, spared, answer = self._after(form, said.action, said.options, free)
                    if answer is not None:
                        approach = () if said.told is None else said.told.trace.approach
                        told = self._told(answer, form.local, approach)
            if watch is not None:
                watch(form.local, prompted)
            last = replace(said, spared=PackedMask.of(spared), told=told, before=last)
        if last is not None and last.told is not None:
            self._memories.put(last, form.memory)
        return form, last

    @property
    def _name(self) -> tuple[str, str | None]:
        return self.engine.spec.name, self.engine.fingerprint

    def _nothing(self) -> Form:
        nothing = LocalMask.empty(self.volume.size)
        return Form(nothing, nothing, nothing)


def left_to(others: Sequence[SegmentedObject], spared: LocalMask, volume: Volume) -> tuple[str, ...]:
    """The sentence to say of voxels that were left to others; none where there are no such voxels."""
    if not spared.count:
        return ()
    owners = ", ".join(f"“{other.name}”" for other in others if (spared & other.local).count)
    return (f"{readable_ml(spared.volume_ml(volume.spacing))} were left to {owners}, whose they are.",)


def _kind(action: Prompt | Edit) -> str:
    """What counts as the same kind in names of steps: "click 3" is the third click, whatever its sign."""
    return action.kind if isinstance(action, Prompt) else str(action)


def _own_and_free(wanted: LocalMask, own: LocalMask, free: Free) -> LocalMask:
    """What of a wanted mask an object may have: what it has already, shared or not, and what is free."""
    allowed = free(wanted)
    return wanted if allowed is wanted else allowed | (wanted & own)


def _without(others: Sequence[LocalMask]) -> Free:
    return lambda wanted: wanted.without(*others)


class _Memories:
    """Segmenters' memories by what was said last, bounded in bytes; the least recently used goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[Said, Any] = OrderedDict()
        self._lock = threading.Lock()  # what is encoded ahead looks here from another thread

    def __contains__(self, said: Said | None) -> bool:
        with self._lock:
            return said in self._held

    @property
    def nbytes(self) -> int:
        return sum(0 if one is None else int(one.nbytes) for one in self._held.values())

    def get(self, said: Said) -> Any:
        with self._lock:
            if said not in self._held:
                return None
            self._held.move_to_end(said)
            return self._held[said]

    def put(self, said: Said, memory: Any) -> None:
        with self._lock:
            self._held[said] = memory
            self._held.move_to_end(said)
            total = self.nbytes
            while total > self._limit and len(self._held) > 1:
                _, gone = self._held.popitem(last=False)
                total -= 0 if gone is None else int(gone.nbytes)
