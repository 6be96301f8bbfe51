"""The objects of a session, and every change of them as a step of its history."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import ClickError, UserError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Point, Prompt
from sammed3d_nb.session import codec
from sammed3d_nb.session.objects import (
    Result,
    SegmentedObject,
    checked_code,
    checked_colour,
    find,
    free_colour,
    free_name,
)
from sammed3d_nb.session.steps import MASKS, History, State, Step, change_between

LONGEST_WORK = 60.0
"""Seconds between two steps that count as work at most; longer ones are a pause."""
_BACK = "take back "
"""Begins the name of a step that `ObjectTable.take_back` made."""


class ObjectTable:
    """Named objects on one volume, with undo and redo of every change; see `Session`, which adds what is said of them.

    Args:
        volume: The volume.
    """

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._lock = threading.RLock()
        self._keys = 1
        self._since = time.monotonic()
        self._observers: list[Callable[[], None]] = []
        first = SegmentedObject.empty(0, "object 1", free_colour(()), volume.size)
        self._history = History(State({0: first}, (0,), 0), volume.size)

    # -- what there is -----------------------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[SegmentedObject, ...]:
        """All objects, in the order they were made."""
        return self._history.state.listed

    @property
    def current(self) -> SegmentedObject:
        """The object that prompts go to."""
        state = self._history.state
        return state.objects[state.selected]

    @property
    def result(self) -> Result | None:
        """The answer to the current object's last prompt."""
        return self.current.result

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The current object's prompts."""
        return self.current.prompts

    @property
    def clicks(self) -> tuple[Point, ...]:
        """The current object's clicks."""
        return self.current.clicks

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x), 1 inside the current object."""
        return self.current.mask

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everything that was done and not undone, in order."""
        return tuple(self._history.past)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._history.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone step to do again."""
        return bool(self._history.future)

    @property
    def undo_name(self) -> str | None:
        """What `undo` would take back, e.g. "click 3 of spleen"."""
        return self._history.past[-1].name if self._history.past else None

    @property
    def redo_name(self) -> str | None:
        """What `redo` would do again."""
        return self._history.future[-1].name if self._history.future else None

    # -- history -----------------------------------------------------------------------------------------------

    def undo(self) -> Result | None:
        """Take back the last step; returns the current object's result then. Without one, nothing happens."""
        with self._lock:
            if self.can_undo:
                self._history.undo()
                self._changed(lambda: {"undo": True})
            return self.result

    def redo(self) -> Result | None:
        """Do again what was undone; returns the current object's result then. Without one, nothing happens."""
        with self._lock:
            if self.can_redo:
                self._history.redo()
                self._changed(lambda: {"redo": True})
            return self.result

    def take_back(self) -> str | None:
        """Take back what was done last to the current object's mask, whatever was done to other objects since.

        Where that is the session's last step it is undone; else another step goes back, which can be undone in turn.

        Returns:
            The name of what was taken back; None where there is nothing.
        """
        with self._lock:
            item = self.current
            lasting = self._lasting(item.key)
            if not lasting:
                return None
            last = lasting[-1]
            if last is self._history.past[-1]:
                self.undo()
                return last.name
            before = last.changes[item.key].before
            assert before is not None
            masks: dict[str, Any] = {mask: self._mask_before(last, item, mask) for mask in MASKS}
            self._replace(replace(item, said=before.said, **masks), f"{_BACK}{last.name}")
            return last.name

    def return_to(self, mask: LocalMask) -> bool:
        """Select the object that has a mask, or had it: what was done to it since is taken back.

        Returns:
            False, and nothing is changed, where no object had it.
        """
        with self._lock:
            for item in self.objects:
                form, count = item, 0
                for step in reversed(self._lasting(item.key)):
                    if form.local == mask:
                        break
                    form, count = replace(form, local=self._mask_before(step, form, "local")), count + 1
                if form.local == mask:
                    self.select(item.name)
                    for _ in range(count):
                        self.take_back()
                    return True
            return False

    def _lasting(self, key: int) -> list[Step]:
        """The steps that an object's mask is made of, in order, without those that were taken back."""
        lasting: list[Step] = []
        for step in self._history.past:
            change = step.changes.get(key)
            if change is None:
                continue
            if change.before is None or change.after is None:
                lasting = []  # made or removed: nothing before belongs to it
            elif step.name.startswith(_BACK):
                lasting.pop()
            elif change.masks or change.before.said is not change.after.said:
                lasting.append(step)
        return lasting

    def _mask_before(self, step: Step, item: SegmentedObject, mask: str) -> LocalMask:
        """One of `MASKS` of an object as it was before its last lasting step."""
        after: LocalMask = getattr(item, mask)
        differs = step.changes[item.key].masks.get(mask)
        return after if differs is None else after ^ differs.unpack(self.volume.size)

    def observe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function after every change, from the thread that makes it; returns a function that ends this."""
        self._observers.append(callback)
        return lambda: self._observers.remove(callback) if callback in self._observers else None

    # -- objects -----------------------------------------------------------------------------------------------

    def begin_with(self, name: str, colour: str, code: str = "") -> None:
        """Call the only object of a session so in which nothing has been done yet: no step of the history.

        Raises:
            UserError: Something was done, or it is no name, colour or code.
        """
        with self._lock:
            if self._history.past or self._history.future or len(self.objects) != 1:
                raise UserError(f"The session has begun; add “{name}” as a new object, or rename one.")
            free = free_name((), name)
            first = replace(self.current, name=free, colour=checked_colour(colour), code=checked_code(code))
            self._history.state = State({first.key: first}, (first.key,), first.key)

    def new_object(self, name: str | None = None, *, colour: str | None = None, code: str = "") -> SegmentedObject:
        """Add an object and make it the current one.

        Args:
            name: Unlike any other's; by default “object 2”, ….
            colour: ``#rrggbb``; by default the one of the palette that is used least.
            code: What it is, in SNOMED CT: a DICOM SEG states it. Without one, what its name says.

        Raises:
            UserError: There is one of this name, or it is empty, or the colour or the code is none.
        """
        with self._lock:
            free = free_name(self.objects, name)
            colour = free_colour(self.objects) if colour is None else checked_colour(colour)
            item = SegmentedObject.empty(self._new_key(), free, colour, self.volume.size)
            item = replace(item, code=checked_code(code))
            self._commit(f"new object {free}", {item.key: item}, added=[item.key], select=item.key)
            return item

    def select(self, name: str) -> SegmentedObject:
        """Make an object the current one (no step of the history)."""
        with self._lock:
            self._history.select(find(self.objects, name).key)
            self._changed(lambda: {"select": self._history.state.selected})
            return self.current

    def rename(self, name: str, new: str) -> None:
        """Give an object another name; a code that it had was that of the name before."""
        with self._lock:
            free = new if new == name else free_name(self.objects, new)
            code = find(self.objects, name).code if new == name else ""
            self._change(name, f"rename {name} to {free}", name=free, code=code)

    def recolour(self, name: str, colour: str) -> None:
        """Give an object another colour, ``#rrggbb``."""
        self._change(name, f"colour of {name}", colour=checked_colour(colour))

    def lock(self, name: str, on: bool = True) -> None:
        """Lock an object: later objects leave its voxels alone and changes of it are refused."""
        self._change(name, f"{'lock' if on else 'unlock'} {name}", locked=bool(on))

    def show(self, name: str, on: bool = True) -> None:
        """Show or hide an object."""
        self._change(name, f"{'show' if on else 'hide'} {name}", visible=bool(on))

    def allow_overlap(self, name: str, on: bool = True) -> None:
        """Let an object share voxels with others that are not locked, or no longer from the next prompt on."""
        self._change(name, f"{'allow' if on else 'forbid'} overlap of {name}", overlaps=bool(on))

    def remove(self, name: str) -> None:
        """Remove an object (which can be undone); the last one leaves an empty object behind."""
        with self._lock:
            gone = self._unlocked(find(self.objects, name))
            order = [key for key in self._history.state.order if key != gone.key]
            after: dict[int, SegmentedObject | None] = {gone.key: None}
            if not order:
                item = SegmentedObject.empty(self._new_key(), "object 1", free_colour(()), self.volume.size)
                after[item.key], order = item, [item.key]
            select = None
            if self._history.state.selected == gone.key:
                place = self._history.state.order.index(gone.key)
                select = order[min(place, len(order) - 1)]
            self._commit(f"remove {name}", after, order=order, select=select)

    # -- inside ------------------------------------------------------------------------------------------------

    def _new_key(self) -> int:
        self._keys += 1
        return self._keys - 1

    def _unlocked(self, item: SegmentedObject) -> SegmentedObject:
        if item.locked:
            raise ClickError(f"“{item.name}” is locked; unlock it or choose another object.")
        return item

    def _change(self, which: str, what: str, **fields: Any) -> None:
        with self._lock:
            self._replace(replace(find(self.objects, which), **fields), what)

    def _replace(self, item: SegmentedObject, what: str) -> None:
        self._commit(what, {item.key: item})

    def _commit(
        self,
        what: str,
        after: Mapping[int, SegmentedObject | None],
        *,
        added: Sequence[int] = (),
        order: Sequence[int] | None = None,
        select: int | None = None,
    ) -> None:
        """Take a step: objects by their keys as they are afterwards, None for those removed."""
        state = self._history.state
        new_order = tuple(order) if order is not None else (*state.order, *added)
        objects = {**state.objects, **{key: item for key, item in after.items() if item is not None}}
        for key, item in after.items():
            if item is None:
                del objects[key]
        now, since = time.monotonic(), self._since
        self._since = now
        step = Step(
            what,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            round(min(now - since, LONGEST_WORK), 3),
            {key: change_between(state.objects.get(key), item) for key, item in after.items()},
            None if new_order == state.order else (state.order, new_order),
            None if select is None or select == state.selected else (state.selected, select),
        )
        self._history.commit(step, State(objects, new_order, state.selected if select is None else select))
        self._changed(lambda: codec.of_step(step, self._history.state))

    def _keep(self, line: Callable[[], dict[str, Any]]) -> None:
        """Save what was done; `line` makes the record's line of it, which only those need who save."""

    def _changed(self, line: Callable[[], dict[str, Any]]) -> None:
        """Save what was done, and tell those who watch."""
        self._keep(line)
        for callback in list(self._observers):
            callback()
