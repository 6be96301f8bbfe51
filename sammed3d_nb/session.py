"""A session: one volume, one model, named objects, clicks, and a history in which nothing is lost."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.cube import Cube
from sammed3d_nb.errors import ClickError, UserError
from sammed3d_nb.objects import COLOURS, Result, SegmentedObject, State
from sammed3d_nb.predictor import Click, Prediction, Predictor
from sammed3d_nb.region import Index, LocalMask, triple
from sammed3d_nb.spaces import Trace, Transform
from sammed3d_nb.volume import Volume

if TYPE_CHECKING:
    from sammed3d_nb.model import Model

HISTORY = 200
"""Steps that can be undone."""
WARM = 5
"""Steps back whose logits are still held; older ones are computed again when they are clicked on."""


class Session:
    """Interactive segmentation of one volume with one model.

    Args:
        volume: The volume; nothing is computed before the first click.
        model: The model.
        grow: Whether to ask neighbouring cubes when a mask touches a face of its cube.
        adapt: Whether to choose finer or coarser cubes by the mask's size, for networks trained on several.
        autosave: Where to save the session after every change; see `save`.

    All methods may be called from any thread; one change runs at a time.
    """

    def __init__(
        self,
        volume: Volume,
        model: "Model",
        *,
        grow: bool = True,
        adapt: bool = True,
        autosave: str | Path | None = None,
    ) -> None:
        self.volume = volume
        self.autosave = None if autosave is None else Path(autosave)
        self._predictor = Predictor(volume, model, grow=grow, adapt=adapt)
        self._lock = threading.RLock()
        self._state = State((self._fresh("object 1", 0),), 0)
        self._past: list[State] = []
        self._future: list[State] = []

    # -- what there is -----------------------------------------------------------------------------------------

    @property
    def model(self) -> "Model":
        """The model that answers."""
        return self._predictor.model

    @property
    def grow(self) -> bool:
        """Whether neighbouring cubes are asked when a mask touches a face of its cube."""
        return self._predictor.grow

    @grow.setter
    def grow(self, on: bool) -> None:
        self._predictor.grow = on

    @property
    def adapt(self) -> bool:
        """Whether finer or coarser cubes are chosen by the mask's size."""
        return self._predictor.adapt

    @property
    def objects(self) -> tuple[SegmentedObject, ...]:
        """All objects, in the order they were made."""
        return self._state.objects

    @property
    def current(self) -> SegmentedObject:
        """The object that clicks go to."""
        return self._state.objects[self._state.current]

    @property
    def result(self) -> Result | None:
        """The answer to the current object's last click."""
        return self.current.result

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The current object's clicks."""
        return self.current.clicks

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x), 1 inside the current object."""
        return self.current.mask

    @property
    def labels(self) -> NDArray[np.uint16]:
        """uint16 (z, y, x): n in the n-th object, else 0; where objects overlap a locked one wins, else the later."""
        labels = np.zeros(self.volume.size[::-1], dtype=np.uint16)
        numbered = list(enumerate(self.objects, start=1))
        for number, item in sorted(numbered, key=lambda entry: entry[1].locked):
            labels[item.local.region.slices][item.local.values > 0] = number
        return labels

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone step to do again."""
        return bool(self._future)

    # -- clicks ------------------------------------------------------------------------------------------------

    def click(self, ijk: Sequence[float], positive: bool = True, *, approach: Sequence[Transform] = ()) -> Result:
        """Click on a voxel for the current object and predict its mask.

        Args:
            ijk: The voxel (i, j, k), whole numbers.
            positive: True adds to the object, False removes from it.
            approach: The transforms that led to ``array``, e.g. ``canvas → plane → array``, for the trace.

        Raises:
            ClickError: The voxel lies outside the volume, the object is locked, or a negative click comes first.
        """
        with self._lock:
            voxel = self._checked(ijk)
            item = self.current
            if item.locked:
                raise ClickError(f"“{item.name}” is locked; unlock it or choose another object to click for.")
            if not positive and not item.clicks:
                raise ClickError(
                    f"A negative click removes from a mask and “{item.name}” has none yet; click inside it first."
                )
            clicks = (*item.clicks, Click(voxel, positive))
            updated = self._predicted(item, clicks, self._warm(item), approach)
            assert updated.result is not None
            self._replace_current(updated)
            return updated.result

    def preview(self, ijk: Sequence[float], *, approach: Sequence[Transform] = ()) -> Trace:
        """The trace that a click at a voxel would have; nothing is predicted or changed.

        Args:
            ijk: The voxel (i, j, k); may be fractional and outside the volume.
            approach: As in `click`.
        """
        prediction = self.current.prediction
        point = np.asarray(ijk, dtype=np.float64)
        if prediction is not None and prediction.cube.holds(self.volume, point):
            cube = prediction.cube
        else:
            cube = self._predictor.first_cube(triple(np.rint(point)))
        return self._trace(cube, point, approach)

    def prepare(self, ijk: Sequence[float]) -> None:
        """Encode ahead the cube that a click at a voxel would use; meant for a background thread.

        Raises:
            ClickError: The voxel lies outside the volume.
        """
        voxel = self._checked(ijk)
        prediction = self.current.prediction
        if prediction is None or not prediction.cube.holds(self.volume, voxel):
            self._predictor.encode(self._predictor.first_cube(voxel))

    def undo(self) -> Result | None:
        """Take back the last change; returns the current object's result then. Without one, nothing happens."""
        with self._lock:
            if self._past:
                self._future.append(self._state)
                self._restore(self._past.pop())
            return self.result

    def redo(self) -> Result | None:
        """Do again what was undone; returns the current object's result then. Without one, nothing happens."""
        with self._lock:
            if self._future:
                self._past.append(self._state)
                self._restore(self._future.pop())
            return self.result

    def reset(self) -> None:
        """Forget the current object's clicks and mask (which can be undone)."""
        with self._lock:
            if self.current.clicks:
                self._replace_current(
                    replace(
                        self.current, clicks=(), local=LocalMask.empty(self.volume.size), result=None, prediction=None
                    )
                )

    # -- objects -----------------------------------------------------------------------------------------------

    def new_object(self, name: str | None = None) -> SegmentedObject:
        """Add an object and make it the current one.

        Raises:
            UserError: There is one of this name.
        """
        with self._lock:
            number = len(self.objects)
            while name is None:
                number += 1
                name = None if any(item.name == f"object {number}" for item in self.objects) else f"object {number}"
            if any(item.name == name for item in self.objects):
                raise UserError(f"There is an object “{name}” already; select it or choose another name.")
            item = self._fresh(name, len(self.objects))
            self._commit(State((*self.objects, item), len(self.objects)))
            return item

    def select(self, name: str) -> SegmentedObject:
        """Make an object the current one (no step of the history)."""
        with self._lock:
            self._state = replace(self._state, current=self._index(name))
            return self.current

    def rename(self, name: str, new: str) -> None:
        """Give an object another name."""
        with self._lock:
            if new != name and any(item.name == new for item in self.objects):
                raise UserError(f"There is an object “{new}” already; choose another name.")
            self._change(name, name=new)

    def recolour(self, name: str, colour: str) -> None:
        """Give an object another colour, ``#rrggbb``."""
        self._change(name, colour=colour)

    def lock(self, name: str, on: bool = True) -> None:
        """Lock an object: later objects leave its voxels alone and clicks on it are refused."""
        self._change(name, locked=on)

    def show(self, name: str, on: bool = True) -> None:
        """Show or hide an object."""
        self._change(name, visible=on)

    def remove(self, name: str) -> None:
        """Remove an object (which can be undone); the last one leaves an empty object behind."""
        with self._lock:
            index = self._index(name)
            left = self.objects[:index] + self.objects[index + 1 :]
            self._commit(State(left or (self._fresh("object 1", 0),), max(0, min(self._state.current, len(left) - 1))))

    def set_model(self, model: "Model") -> None:
        """Change the model; every object's clicks are kept and predicted again.

        When that fails, model and masks stay as they were.
        """
        with self._lock:
            before = self._predictor
            self._predictor = Predictor(self.volume, model, grow=before.grow, adapt=before.adapt)
            try:
                objects = [self._predicted(item, item.clicks, None) if item.clicks else item for item in self.objects]
            except BaseException:
                self._predictor = before
                raise
            self._past = [state.cooled() for state in self._past]  # their logits are another network's
            self._commit(replace(self._state, objects=tuple(objects)))

    # -- files -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Save clicks, masks and what they were made with as one JSON file, whole or not at all; see `record`."""
        from sammed3d_nb import record

        with self._lock:
            return record.save(self, Path(path))

    @classmethod
    def resume(cls, path: str | Path, *, volume: Volume, model: "Model", **options: Any) -> "Session":
        """Go on with a saved session.

        Args:
            path: A file that `save` wrote.
            volume: The volume that it was made on.
            model: The model that answers from now on.
            options: As for `Session`.

        Raises:
            RecordError: The file is no such record, or was made on another volume.
        """
        from sammed3d_nb import record

        return record.resume(cls(volume, model, **options), Path(path))

    def export(self, path: str | Path) -> Path:
        """Write all objects as one label map with the volume's geometry, and their names beside it.

        Args:
            path: NIfTI, NRRD or MetaImage by its suffix. Labels are 1, 2, … in the order of `objects`; a JSON file of
                the same name lists them.
        """
        from sammed3d_nb import record

        with self._lock:
            return record.export(self, Path(path))

    # -- inside ------------------------------------------------------------------------------------------------

    def restore(self, objects: Sequence[SegmentedObject], current: int) -> None:
        """Take over the objects of a record, with an empty history."""
        with self._lock:
            self._state = State(tuple(objects), current)
            self._past, self._future = [], []

    def _checked(self, ijk: Sequence[float]) -> Index:
        point = np.asarray(ijk, dtype=np.float64)
        if point.shape != (3,) or not np.array_equal(point, np.rint(point)):
            raise ClickError(f"A click needs three whole numbers (i, j, k), got {np.ravel(ijk).tolist()}.")
        voxel = triple(point)
        if not self.volume.contains(voxel):
            last = triple(np.subtract(self.volume.size, 1))
            raise ClickError(f"Voxel {voxel} lies outside the volume; choose one between (0, 0, 0) and {last}.")
        return voxel

    def _warm(self, item: SegmentedObject) -> Prediction | None:
        """The object's prediction with its logits, computed again where they were let go."""
        return item.prediction or (self._predictor.predict(item.clicks) if item.clicks else None)

    def _predicted(
        self,
        item: SegmentedObject,
        clicks: tuple[Click, ...],
        before: Prediction | None,
        approach: Sequence[Transform] = (),
    ) -> SegmentedObject:
        prediction = self._predictor.predict(clicks, before)
        local = prediction.mask
        spared = [other for other in self.objects if other.locked and other.name != item.name]
        for other in spared:
            local = local.without(other.local)
        result = Result(
            local=local,
            trace=self._trace(prediction.cube, clicks[-1].ijk, approach),
            distance_mm=local.distance_mm(clicks[-1].ijk, self.volume.spacing),
            quality=prediction.quality,
            volume_ml=local.count * float(np.prod(self.volume.spacing)) / 1000,
            clicks=clicks,
            cube=prediction.cube,
            cubes=tuple(piece.cube for piece in prediction.pieces),
            seconds=prediction.seconds,
            embedding_reused=prediction.embedding_reused,
        )
        names = tuple(other.name for other in spared)
        return replace(item, clicks=clicks, local=local, result=result, prediction=prediction, spared=names)

    def _trace(self, cube: Cube, point: Any, approach: Sequence[Transform]) -> Trace:
        chain = cube.chain(self.volume, grid=self.model.spec.grid_size)
        return chain.preceded_by(*approach).trace(point, "voxel")

    def _change(self, which: str, **fields: Any) -> None:
        with self._lock:
            index = self._index(which)
            changed = replace(self.objects[index], **fields)
            objects = (*self.objects[:index], changed, *self.objects[index + 1 :])
            self._commit(replace(self._state, objects=objects))

    def _replace_current(self, item: SegmentedObject) -> None:
        index = self._state.current
        self._commit(replace(self._state, objects=(*self.objects[:index], item, *self.objects[index + 1 :])))

    def _commit(self, state: State) -> None:
        self._past.append(self._state)
        del self._past[:-HISTORY]
        self._future.clear()
        if len(self._past) > WARM:
            self._past[-WARM - 1] = self._past[-WARM - 1].cooled()
        self._restore(state)

    def _restore(self, state: State) -> None:
        self._state = state
        if self.autosave is not None:
            self.save(self.autosave)

    def _index(self, name: str) -> int:
        for index, item in enumerate(self.objects):
            if item.name == name:
                return index
        names = ", ".join(f"“{item.name}”" for item in self.objects)
        raise UserError(f"There is no object “{name}”; there are {names}.")

    def _fresh(self, name: str, number: int) -> SegmentedObject:
        return SegmentedObject(name, COLOURS[number % len(COLOURS)], LocalMask.empty(self.volume.size))
