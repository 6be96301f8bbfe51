"""Steps: the unit of undo, of the record and of replay, and the history of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import Index, LocalMask
from sammed3d_nb.session.objects import SegmentedObject

MASKS = ("local", "fixed", "edited")
"""The masks of a `SegmentedObject`; steps keep what they change of them."""


@dataclass(frozen=True)
class ObjectChange:
    """What a step did to one object.

    Attributes:
        before: The object without its masks; None if the step made it.
        after: The same afterwards; None if the step removed it.
        masks: For each of `MASKS` that changed, the voxels that differ.
    """

    before: SegmentedObject | None
    after: SegmentedObject | None
    masks: Mapping[str, PackedMask]


@dataclass(frozen=True)
class Step:
    """One prompt, edit or change of objects.

    Attributes:
        name: What to call it, e.g. "click 3 of spleen".
        time: When it ended, ISO 8601 in UTC.
        seconds: Of work for it: since the step before, at most `table.LONGEST_WORK`.
        changes: What it did, by the objects' keys.
        order: Keys of all objects before and after, where the step changed them.
        selected: Key of the selected object before and after, where the step changed it.
    """

    name: str
    time: str
    seconds: float
    changes: Mapping[int, ObjectChange]
    order: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    selected: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels that it keeps."""
        return sum(len(mask.data) for change in self.changes.values() for mask in change.masks.values())

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class State:
    """The objects at one time.

    Attributes:
        objects: By their keys.
        order: Their keys, in the order of the list.
        selected: The key of the one that prompts go to.
    """

    objects: Mapping[int, SegmentedObject]
    order: tuple[int, ...]
    selected: int

    @property
    def listed(self) -> tuple[SegmentedObject, ...]:
        """The objects in order."""
        return tuple(self.objects[key] for key in self.order)


class History:
    """The present state, the steps that led to it, and those undone.

    Args:
        state: The state to begin with.
        volume_size: Voxels (i, j, k) of the volume.
    """

    def __init__(self, state: State, volume_size: Index) -> None:
        self.state = state
        self.past: list[Step] = []
        self.future: list[Step] = []
        self._size = volume_size

    def commit(self, step: Step, state: State) -> None:
        """Go on to another state by a step; what was undone before is forgotten."""
        self.past.append(step)
        self.future.clear()
        self.state = state

    def undo(self) -> Step:
        """Take back the last step; it is returned."""
        step = self.past.pop()
        self.future.append(step)
        self.state = self._moved(step, back=True)
        return step

    def redo(self) -> Step:
        """Do the last undone step again; it is returned."""
        step = self.future.pop()
        self.past.append(step)
        self.state = self._moved(step, back=False)
        return step

    def select(self, key: int) -> None:
        """Select another object; no step.

        Raises:
            KeyError: There is no such object.
        """
        self.state = replace(self.state, selected=self.state.objects[key].key)

    def run(self, step: Step) -> None:
        """Do a step of a record, as `redo` does."""
        self.future.clear()
        self.past.append(step)
        self.state = self._moved(step, back=False)

    def _moved(self, step: Step, *, back: bool) -> State:
        objects = dict(self.state.objects)
        for key, change in step.changes.items():
            target = change.before if back else change.after
            held = objects.pop(key, None)
            if target is None:
                continue
            masks: dict[str, Any] = {}
            for name in MASKS:
                mask: LocalMask = LocalMask.empty(self._size) if held is None else getattr(held, name)
                differs = change.masks.get(name)
                masks[name] = mask if differs is None else mask ^ differs.unpack(self._size)
            objects[key] = replace(target, **masks)
        order = self.state.order if step.order is None else step.order[0 if back else 1]
        selected = self.state.selected
        if step.selected is not None and (not back or selected == step.selected[1] or selected not in objects):
            selected = step.selected[0 if back else 1]
        if selected not in objects:  # another one was selected since, and the step takes it away
            selected = order[min(self.state.order.index(selected), len(order) - 1)]
        return State(objects, order, selected)


def change_between(before: SegmentedObject | None, after: SegmentedObject | None) -> ObjectChange:
    """What changes when one form of an object follows another; bytes in proportion to that."""
    some = after or before
    assert some is not None
    nothing = LocalMask.empty(some.local.volume_size)
    masks = {}
    for name in MASKS:
        old, new = (nothing if item is None else getattr(item, name) for item in (before, after))
        if old is not new and (differs := old ^ new).count:
            masks[name] = PackedMask.of(differs)
    bare: dict[str, Any] = dict.fromkeys(MASKS, nothing)
    return ObjectChange(before and replace(before, **bare), after and replace(after, **bare), masks)
