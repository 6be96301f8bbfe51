"""A session: one volume, one model, named objects, clicks, and a history in which nothing is lost."""

import re
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import ClickError, UserError
from sammed3d_nb.imaging.region import Index, LocalMask, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.predictor import Click, Prediction, Predictor
from sammed3d_nb.session.history import History
from sammed3d_nb.session.objects import COLOURS, Result, SegmentedObject, State
from sammed3d_nb.spaces import Trace, Transform

if TYPE_CHECKING:
    from sammed3d_nb.models.model import Model


class Session:
    """Interactive segmentation of one volume with one model.

    Args:
        volume: The volume; nothing is computed before the first click.
        model: The model.
        grow: Whether to ask neighbouring cubes when a mask touches a face of its cube.
        adapt: Whether to choose finer or coarser cubes by the mask's size, for networks trained on several.
        autosave: Where to save the session after every change; see `save`. A file that is there already is kept
            beside it as ``….bak``. When saving fails, `autosave_error` says why; the change itself stands.

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
        self.autosave_error: str | None = None
        self._autosaved = False
        self._predictor = Predictor(volume, model, grow=grow, adapt=adapt)
        self._lock = threading.RLock()
        self._history = History(State((SegmentedObject("object 1", COLOURS[0], LocalMask.empty(volume.size)),), 0))

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
        return self._history.present.objects

    @property
    def current(self) -> SegmentedObject:
        """The object that clicks go to."""
        state = self._history.present
        return state.objects[state.current]

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
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone step to do again."""
        return self._history.can_redo

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
            item = self._unlocked(self.current)
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
        point = np.asarray(ijk, dtype=np.float64)
        return self._trace(self._predictor.cube_for(point, self.current.prediction), point, approach)

    def prepare(self, ijk: Sequence[float]) -> None:
        """Encode ahead what a positive click at a voxel would need; meant for a background thread.

        Raises:
            ClickError: The voxel lies outside the volume.
        """
        item, click = self.current, Click(self._checked(ijk))
        if item.prediction is not None or not item.clicks:
            self._predictor.prepare((*item.clicks, click), item.prediction)

    def undo(self) -> Result | None:
        """Take back the last change; returns the current object's result then. Without one, nothing happens."""
        with self._lock:
            if self.can_undo:
                self._history.undo()
                self._save_change()
            return self.result

    def redo(self) -> Result | None:
        """Do again what was undone; returns the current object's result then. Without one, nothing happens."""
        with self._lock:
            if self.can_redo:
                self._history.redo()
                self._save_change()
            return self.result

    def reset(self) -> None:
        """Forget the current object's clicks and mask (which can be undone)."""
        with self._lock:
            if self._unlocked(self.current).clicks:
                self._replace_current(
                    replace(
                        self.current, clicks=(), local=LocalMask.empty(self.volume.size), result=None, prediction=None
                    )
                )

    # -- objects -----------------------------------------------------------------------------------------------

    def new_object(self, name: str | None = None) -> SegmentedObject:
        """Add an object and make it the current one.

        Raises:
            UserError: There is one of this name, or it is empty.
        """
        with self._lock:
            item = self._fresh(self._history.present.free_name(name))
            self._commit(State((*self.objects, item), len(self.objects)))
            return item

    def select(self, name: str) -> SegmentedObject:
        """Make an object the current one (no step of the history)."""
        with self._lock:
            state = self._history.present
            self._history.present = replace(state, current=state.index(name))
            return self.current

    def rename(self, name: str, new: str) -> None:
        """Give an object another name."""
        with self._lock:
            self._change(name, name=new if new == name else self._history.present.free_name(new))

    def recolour(self, name: str, colour: str) -> None:
        """Give an object another colour, ``#rrggbb``."""
        if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise UserError(f"“{colour}” is no colour; expected #rrggbb, e.g. {COLOURS[0]}.")
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
            state = self._history.present
            index = state.index(name)
            self._unlocked(self.objects[index])
            left = self.objects[:index] + self.objects[index + 1 :] or (self._fresh("object 1"),)
            current = state.current - (index < state.current)
            self._commit(State(left, min(current, len(left) - 1)))

    def set_model(self, model: "Model") -> None:
        """Change the model; clicks are kept and predicted again, but for locked objects, which stay as they are.

        When that fails, model and masks stay as they were.
        """
        with self._lock:
            before = self._predictor
            self._predictor = Predictor(self.volume, model, grow=before.grow, adapt=before.adapt)
            try:
                objects = [
                    self._predicted(item, item.clicks, None) if item.clicks and not item.locked else item
                    for item in self.objects
                ]
            except BaseException:
                self._predictor = before
                raise
            self._history.cool()  # those logits are another network's
            self._commit(replace(self._history.present, objects=tuple(objects)))

    # -- files -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Save clicks, masks and what they were made with as one JSON file, whole or not at all; see `record`."""
        from sammed3d_nb.session import record

        with self._lock:
            saved = record.save(self, Path(path))
            if saved == self.autosave:
                self._autosaved, self.autosave_error = True, None
            return saved

    @classmethod
    def resume(cls, path: str | Path, *, volume: Volume, model: "Model", **options: Any) -> "Session":
        """Go on with a saved session.

        Args:
            path: A file that `save` wrote.
            volume: The volume that it was made on.
            model: The model that answers from now on.
            options: As for `Session`; `grow` and `adapt` are as they were saved unless given.

        Raises:
            RecordError: The file is no such record, or was made on another volume.
        """
        from sammed3d_nb.session import record

        return record.resume(cls(volume, model, **{**record.load(Path(path))["options"], **options}), Path(path))

    def export(self, path: str | Path) -> Path:
        """Write all objects as one label map with the volume's geometry, and their names beside it.

        Args:
            path: NIfTI, NRRD or MetaImage by its suffix. Labels are 1, 2, … in the order of `objects`; a JSON file of
                the same name lists them.
        """
        from sammed3d_nb.session import record

        with self._lock:
            return record.export(self, Path(path))

    # -- inside ------------------------------------------------------------------------------------------------

    def restore(self, objects: Sequence[SegmentedObject], current: int) -> None:
        """Take over the objects of a record, with an empty history."""
        with self._lock:
            self._history = History(State(tuple(objects), current))

    def _checked(self, ijk: Sequence[float]) -> Index:
        try:
            point = np.asarray(ijk, dtype=np.float64)
        except (TypeError, ValueError):
            point = np.empty(0)
        if point.shape != (3,) or not np.isfinite(point).all() or not np.array_equal(point, np.rint(point)):
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
        for other in self.objects:
            if other.locked and other.name != item.name:
                local = local.without(other.local)
        result = Result(
            local=local,
            trace=self._trace(prediction.cube, clicks[-1].ijk, approach),
            distance_mm=local.distance_mm(clicks[-1].ijk, self.volume.spacing),
            quality=prediction.quality,
            volume_ml=local.volume_ml(self.volume.spacing),
            clicks=clicks,
            cube=prediction.cube,
            cubes=tuple(piece.cube for piece in prediction.pieces),
            seconds=prediction.seconds,
            embedding_reused=prediction.embedding_reused,
            model=(self.model.spec.name, self.model.fingerprint),
            grow=self.grow,
            adapt=self.adapt,
            spared=prediction.mask.without(local),
        )
        return replace(item, clicks=clicks, local=local, result=result, prediction=prediction)

    def _trace(self, cube: Cube, point: Any, approach: Sequence[Transform]) -> Trace:
        chain = cube.chain(self.volume, grid=self.model.spec.grid_size)
        return chain.preceded_by(*approach).trace(point, "voxel")

    def _change(self, which: str, **fields: Any) -> None:
        with self._lock:
            state = self._history.present
            index = state.index(which)
            self._commit(state.having(index, replace(state.objects[index], **fields)))

    def _replace_current(self, item: SegmentedObject) -> None:
        state = self._history.present
        self._commit(state.having(state.current, item))

    def _commit(self, state: State) -> None:
        self._history.commit(state)
        self._save_change()

    def _save_change(self) -> None:
        if self.autosave is None:
            return
        try:
            if not self._autosaved and self.autosave.exists():  # another session's: nothing is lost
                shutil.copy2(self.autosave, self.autosave.with_name(f"{self.autosave.name}.bak"))
            self.save(self.autosave)
        except (OSError, UserError) as error:  # the change itself has worked
            self.autosave_error = str(error)

    def _unlocked(self, item: SegmentedObject) -> SegmentedObject:
        if item.locked:
            raise ClickError(f"“{item.name}” is locked; unlock it or choose another object.")
        return item

    def _fresh(self, name: str) -> SegmentedObject:
        return SegmentedObject(name, self._history.present.free_colour, LocalMask.empty(self.volume.size))
