"""A session: one volume, one model, named objects, what has been said about them, and a history that loses nothing."""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sammed3d_nb.errors import ClickError, PromptError
from sammed3d_nb.imaging.label_maps import read_label_map
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Point, Prompt, StartMask
from sammed3d_nb.segmenters.segmenter import Engine, Options
from sammed3d_nb.session import record
from sammed3d_nb.session.autosave import Autosave, keep_other, signature
from sammed3d_nb.session.making import Maker
from sammed3d_nb.session.objects import LONGEST_NAME, Result, SegmentedObject, free_colour, numbered
from sammed3d_nb.session.output import Output, absolute
from sammed3d_nb.spaces import Trace, Transform


class Session(Output):
    """Interactive segmentation of one volume with one model.

    Args:
        volume: The volume; nothing is computed before the first prompt.
        model: The model.
        grow: Whether to ask neighbouring cubes when a mask touches a face of its cube.
        adapt: Whether to choose finer or coarser cubes by the mask's size, for networks trained on several.
        overlap: Whether objects may share voxels; see also `allow_overlap`.
        autosave: Where to save the session after every change; see `save`. A file that is there already is kept
            beside it as ``….bak``. When saving fails, `autosave_error` says why; the change itself stands.
        take_over: Take the autosave from another session that has it open; that one goes on under another name.
        annotator: Who works on it; the record says it.
        anonymous: Leave out of what is saved and exported what could tell whose image it is; see `save`.

    All methods may be called from any thread; one change runs at a time. `close` lets go of the autosave's lock; so
    does the end of the session's life.

    Raises:
        RecordInUse: Another session has the autosave open.
    """

    def __init__(
        self,
        volume: Volume,
        model: Engine,
        *,
        grow: bool = True,
        adapt: bool = True,
        overlap: bool = False,
        autosave: str | Path | None = None,
        take_over: bool = False,
        annotator: str | None = None,
        anonymous: bool = False,
    ) -> None:
        super().__init__(volume)
        self.grow = grow
        self.adapt = adapt
        self.overlap = overlap
        self.annotator = annotator
        self.anonymous = anonymous
        self._maker = Maker(volume, model)
        self.on_close: Callable[[], None] = lambda: None
        """Called once when the session is closed."""
        self._saved: dict[Path, tuple[int, int] | None] = {}  # records of this session, as it left or found them
        self._saver: Autosave | None = None
        if autosave is not None:
            record.refuse_source(absolute(autosave), volume.path)
            self._saver = Autosave(absolute(autosave), take_over=take_over)
        if self._saver is not None:
            weakref.finalize(self, self._saver.close)

    # -- what there is -----------------------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The model that answers."""
        return self._maker.engine

    # -- prompts -----------------------------------------------------------------------------------------------

    def click(self, ijk: Sequence[float], positive: bool = True, *, approach: Sequence[Transform] = ()) -> Result:
        """Click on a voxel for the current object and predict its mask: ``add(Point(ijk, positive))``.

        Args:
            ijk: The voxel (i, j, k), whole numbers.
            positive: True adds to the object, False removes from it.
            approach: The transforms that led to ``array``, e.g. ``canvas → plane → array``, for the trace.

        Raises:
            ClickError: The voxel lies outside the volume or in another object, the object is locked, or a negative
                click comes first.
        """
        return self.add(Point(tuple(ijk), positive), approach=approach)  # type: ignore[arg-type]

    def add(self, prompt: Prompt, *, approach: Sequence[Transform] = ()) -> Result:
        """Say something about the current object and predict its mask.

        Args:
            prompt: A `Point`, `Box`, `Scribble`, `Lasso` or `StartMask`.
            approach: As in `click`.

        Returns:
            The answer; its `notes` are sentences that the user should read.

        Raises:
            PromptError: The prompt reaches outside the volume, the model refuses its kind, it takes from a mask that
                is not there, or the object is locked.
            ClickError: It names a voxel that belongs to another object.
        """
        if not isinstance(prompt, Prompt):
            raise PromptError(f"{type(prompt).__name__} is no prompt; give a Point, Box, Scribble, Lasso or StartMask.")
        with self._lock:
            prompt.check(self.volume)
            item = self._unlocked(self.current)
            if self.model.prompts.get(prompt.kind) == "refused":
                known = ", ".join(kind for kind, how in self.model.prompts.items() if how != "refused")
                raise PromptError(f"{self.model.spec.name} takes no {prompt.kind}; it takes {known}.")
            if not prompt.positive and not item.local.count:
                raise ClickError(
                    f"A negative {prompt.gesture} removes from a mask and “{item.name}” has none yet; "
                    "say first where it is."
                )
            others = self._others(item)
            self._refuse_others_voxels(prompt, others)
            said = self._maker.say(item, prompt, self._options, others, approach)
            assert said.said is not None
            self._replace(said, f"{prompt.gesture} {said.said.number} of {item.name}")
            result = said.result
            assert result is not None
            return result

    def remove_prompt(self, number: int) -> Result | None:
        """Take one prompt of the current object out of what was said; its mask is made anew from all the rest.

        A step like any other, which can be undone. Edits stay; what finds nothing to work on now changes nothing.

        Args:
            number: Which one of `prompts`, from 0.

        Returns:
            The answer to the last prompt left; None where there is none.

        Raises:
            PromptError: There is no such prompt.
            ClickError: The object is locked.
        """
        with self._lock:
            item = self._unlocked(self.current)
            prompted = [said for said in item.history if said.told is not None]
            if not 0 <= number < len(prompted):
                raise PromptError(
                    f"There is no prompt {number} of “{item.name}”, which has {len(prompted)}, counted from 0."
                )
            gone = prompted[number]
            kept = [said for said in item.history if said is not gone]
            others = [other.local for other in self._others(item)]
            after = self._maker.remake(item, others, history=kept)
            assert isinstance(gone.action, Prompt)
            self._replace(after, f"remove {gone.action.gesture} {gone.number} of {item.name}")
            return after.result

    def preview(self, ijk: ArrayLike, *, approach: Sequence[Transform] = ()) -> Trace:
        """The trace that a click at a voxel would have; nothing is predicted or changed.

        Args:
            ijk: The voxel (i, j, k); may be fractional and outside the volume.
            approach: As in `click`.
        """
        return self._maker.trace(self.current, np.asarray(ijk, dtype=np.float64), self._options, approach)

    def prepare(self, ijk: Sequence[float], stop: Callable[[], bool] = lambda: False) -> None:
        """Compute ahead what a positive click at a voxel would need; meant for a background thread.

        Args:
            ijk: The voxel.
            stop: Asked between cubes: whether something else waits, and the rest is to be left.

        Raises:
            ClickError: The voxel lies outside the volume.
        """
        point = Point(tuple(ijk))  # type: ignore[arg-type]
        point.check(self.volume)
        self._maker.prepare(self.current, point, self._options, stop)

    # -- edits -------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the current object's prompts, edits and mask (which can be undone)."""
        with self._lock:
            item = self._unlocked(self.current)
            if item.said is not None or item.local.count:
                empty = SegmentedObject.empty(item.key, item.name, item.colour, self.volume.size)
                self._replace(
                    replace(item, local=empty.local, fixed=empty.fixed, edited=empty.edited, said=None),
                    f"clear {item.name}",
                )

    # -- other masks and models --------------------------------------------------------------------------------

    def load_masks(self, path: str | Path) -> tuple[SegmentedObject, ...]:
        """Add the objects of a label map, a .seg.nrrd or a DICOM-SEG, with their names and colours, to go on from.

        A name that an object has already gets a number behind it; what there is to say of the file is in the objects'
        `result.notes`.

        Raises:
            UserError: The file is none of these, holds no object, or lies on another place than the volume.
        """
        found = read_label_map(absolute(path), self.volume)
        with self._lock:
            made: list[SegmentedObject] = []
            absent = [f"“{name}” has no voxel in this volume." for name, _, mask in found if not mask.count]
            remarks = (*found.remarks, *absent)
            for name, colour, mask in (one for one in found if one.mask.count):
                listed = (*self.objects, *made)
                taken = {item.name for item in listed}
                free = next(n for n in numbered(name.strip()[: LONGEST_NAME - 9] or "object") if n not in taken)
                item = SegmentedObject.empty(self._new_key(), free, colour or free_colour(listed), self.volume.size)
                others = [other for other in listed if not self._may_share(item, other)]
                made.append(self._maker.say(item, StartMask(mask), self._options, others, remarks=remarks))
            keys = [item.key for item in made]
            what = f"load {len(made)} object{'s' if len(made) > 1 else ''} of {Path(path).name}"
            self._commit(what, {item.key: item for item in made}, added=keys, select=keys[0])
            return tuple(made)

    def set_model(self, model: Engine) -> None:
        """Change the model; everything said is kept and said to it again, but for locked objects, which stay.

        When that fails, model and masks stay as they were.
        """
        with self._lock:
            maker = Maker(self.volume, model)
            remade: dict[int, SegmentedObject] = {}
            left = [item for item in self.objects if item.locked or item.said is None]
            # what hands and files have set comes first: no network's answer takes it
            said = (item for item in self.objects if item.said is not None and not item.locked)
            waiting = sorted(said, key=_is_predicted)
            while waiting:
                item = waiting.pop(0)
                others = [other.local for other in left if not self._may_share(item, other)]
                others += [other.fixed & other.local for other in waiting if not self._may_share(item, other)]
                remade[item.key] = maker.remake(item, others)
                left.append(remade[item.key])
            self._maker = maker
            self._commit(f"model {model.spec.name}", remade)

    # -- files -------------------------------------------------------------------------------------------------

    @property
    def autosave(self) -> Path | None:
        """Where the session is saved after every change."""
        return None if self._saver is None else self._saver.path

    @property
    def autosave_error(self) -> str | None:
        """Why the last automatic save failed, or what else the user should know of it."""
        return None if self._saver is None else self._saver.error

    @autosave_error.setter
    def autosave_error(self, sentence: str | None) -> None:
        if self._saver is not None:
            self._saver.error = sentence

    def save(self, path: str | Path, *, anonymous: bool | None = None) -> Path:
        """Save everything as one JSON file, whole or not at all; see `record`.

        A record that another session has written there is kept beside it as ``….bak``.

        Args:
            path: The file.
            anonymous: Leave out names and paths of image, model and loaded files, and the DICOM series; the image is
                known again by its checksum. By default as the session's attribute `anonymous` says, which this sets:
                what has been saved so is saved so from then on.

        Raises:
            RecordError: It cannot be written there, the volume's own file would be overwritten, or `path` names the
                image and the record is to be anonymous.
            RecordInUse: Another session has that record open.
        """
        saved = absolute(path)
        with self._lock:
            self.anonymous = self._checked_anonymous(anonymous, saved)
            record.refuse_source(saved, self.volume.path)
            if self._saver is not None and saved == self._saver.path.absolute():
                return self._saver.rewrite(self._text)
            if self._saved.get(saved) != signature(saved):
                keep_other(saved)
            record.write(saved, self._text())
            self._saved[saved] = signature(saved)
            return saved

    @classmethod
    def resume(cls, path: str | Path, *, volume: Volume, model: Engine, **options: Any) -> "Session":
        """Go on with a saved session, its undo history included.

        Args:
            path: A file that `save` wrote.
            volume: The volume that it was made on.
            model: The model that answers from now on.
            options: As for `Session`; `grow`, `adapt`, `overlap`, `anonymous` and `annotator` are as they were saved
                unless given.

        Raises:
            RecordError: The file is no such record, or was made on another volume.
            RecordInUse: Another session has the autosave open.
        """
        path = absolute(path)
        fields = record.load(path)
        session = cls(volume, model, **{**fields["options"], "annotator": fields.get("annotator"), **options})
        found = signature(path)
        loaded = record.load(path)  # now that the lock, if there is to be one, keeps others from adding to it
        history = record.history_of(loaded, volume, path)
        session._history = history
        session._keys = 1 + max([*history.state.objects, *(key for step in history.past for key in step.changes)])
        session._saved[path] = found
        if session._saver is not None:
            session._saver.goes_on_from(path, loaded["size"])
        return session

    @property
    def record_text(self) -> str:
        """The record as `save` writes it."""
        with self._lock:
            return self._text()

    def close(self) -> None:
        """Let go of the autosave, so that others may open it; nobody is called after changes any more."""
        self._observers.clear()
        if self._saver is not None:
            self._saver.close()
        ended, self.on_close = self.on_close, lambda: None
        ended()

    # -- inside ------------------------------------------------------------------------------------------------

    def _keep(self, line: Callable[[], dict[str, Any]]) -> None:
        if self._saver is not None:
            told = record.anonymous(line()) if self.anonymous else line()
            self._saver.append(told, self._text, (record.of_model(self.model), self._set))

    @property
    def _options(self) -> Options:
        return Options(grow=self.grow, adapt=self.adapt)

    def _text(self) -> str:
        return record.text_of(self._history, self.volume, self.model, self._set, self.annotator)

    @property
    def _set(self) -> dict[str, bool]:
        return {"grow": self.grow, "adapt": self.adapt, "overlap": self.overlap, "anonymous": self.anonymous}

    def _may_share(self, item: SegmentedObject, other: SegmentedObject) -> bool:
        return not other.locked and (self.overlap or item.overlaps or other.overlaps)

    def _others(self, item: SegmentedObject) -> list[SegmentedObject]:
        """The objects whose voxels this one must leave alone."""
        others = (other for other in self.objects if other.key != item.key and other.local.count)
        return [other for other in others if not self._may_share(item, other)]

    def _refuse_others_voxels(self, prompt: Prompt, others: Iterable[SegmentedObject]) -> None:
        if not (isinstance(prompt, Point) and prompt.positive):
            return
        for other in others:
            if prompt.ijk in other.local:
                way = "unlock it" if other.locked else "allow overlap, or erase it there"
                state = "locked " if other.locked else ""
                raise ClickError(f"Voxel {prompt.ijk} belongs to the {state}“{other.name}”; {way}, or click elsewhere.")


def _is_predicted(item: SegmentedObject) -> bool:
    """Whether a network has answered for an object."""
    return any(not isinstance(prompt, StartMask) for prompt in item.prompts)
