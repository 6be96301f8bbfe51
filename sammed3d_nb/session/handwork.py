"""What a hand does to the current object of a session: painting, operations on its mask, two objects combined."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.segmenters.segmenter import Options
from sammed3d_nb.session.doubting import Doubting
from sammed3d_nb.session.edits import WITH_ANOTHER, Combine, Edit, Operation, Paint, voxels_of, within_range
from sammed3d_nb.session.making import left_to
from sammed3d_nb.session.objects import LONGEST_NAME, SegmentedObject, find, free_colour, free_name, numbered


class Handwork(Doubting):
    """The part of a `Session` that takes edits; each is a step.

    Args:
        volume: The volume.
    """

    @property
    @abstractmethod
    def _options(self) -> Options:
        """How prompts are answered, which a step keeps."""

    def paint(
        self,
        voxels: "ArrayLike | LocalMask",
        add: bool = True,
        *,
        lower: float | None = None,
        upper: float | None = None,
        within: LocalMask | None = None,
    ) -> LocalMask:
        """Set voxels of the current object by hand; later prompts leave them as they are.

        Args:
            voxels: (N, 3) voxels (i, j, k), or a mask (z, y, x) over the whole volume, or a `LocalMask`.
            add: True: they belong to the object; False: they do not.
            lower: Only voxels of at least this intensity.
            upper: Only voxels of at most this intensity.
            within: Only voxels of this mask, e.g. `unsure`.

        Returns:
            What was left to other objects.

        Raises:
            PromptError: The voxels are none or lie outside the volume, or the object is locked.
        """
        with self._lock:
            where = within_range(voxels_of(voxels, self.volume), self.volume, lower, upper)
            if within is not None:
                where = where & voxels_of(within, self.volume)
            if not where.count:
                raise PromptError(
                    "There is no voxel to paint: none was given, or none lies where painting is allowed (the intensity "
                    "range, or what the network is unsure of)."
                )
            return self._edit(Paint(PackedMask.of(where), add))

    def apply(self, operation: str, **options: Any) -> LocalMask:
        """Change the current object's mask as a whole.

        Args:
            operation: "largest component", "keep clicked" (the parts with a positive click), "fill holes", "smooth",
                "grow", "shrink", "threshold", "fill" (what hangs together with a voxel), "cut" (along a line on a
                slice), "interpolate slices", "merge" (another object becomes part of this one), "subtract" or
                "intersect" (another object's voxels).
            options: By operation: ``axis`` ("i", "j" or "k": slice by slice across it; fill holes, interpolate
                slices), ``sigma_mm`` (smooth), ``mm`` (grow, shrink; fill: at most so far from the voxel), ``lower``
                and ``upper`` (threshold, grow, fill: image intensities, e.g. HU), ``beyond_mm`` (threshold: how far
                round the mask it paints too), ``at`` (fill: the voxel (i, j, k)), ``first``, ``last`` and ``axis``
                (cut: the line's ends (i, j, k) and the axis across its slice; the side with more positive clicks
                stays, else the larger one), ``other`` (merge, subtract, intersect: the other object's name).

        Returns:
            What was left to other objects.

        Raises:
            PromptError: The operation or an option is not known, there is no mask, or the object is locked.
        """
        if operation in WITH_ANOTHER:
            with self._lock:
                return self._combine(operation, **options)
        edit = Operation.of(operation, options)
        with self._lock:
            return self._edit(edit)

    def mask_after(self, operation: str, **options: Any) -> LocalMask:
        """The mask that the current object would have after `apply`; nothing is changed, and nobody has to wait."""
        with self._lock:
            item = self._unlocked(self.current)
            if operation in WITH_ANOTHER:
                other = self._other(operation, item, **options)
                edit: Edit = Combine(operation, other.name, PackedMask.of(other.local))
                others = [one for one in self._others(item) if operation != "merge" or one.key != other.key]
            else:
                edit, others = Operation.of(operation, options), self._others(item)
            maker = self._maker
        return maker.tried(item, edit, others)

    def copy(self, name: str | None = None) -> SegmentedObject:
        """A new object with the current one's mask, which may share voxels with others; it becomes the current one.

        Args:
            name: Of the copy; by default the first free "copy of …".

        Raises:
            UserError: The name is taken, or the current object has no mask.
        """
        with self._lock:
            source = self.current
            if not source.local.count:
                raise PromptError(f"“{source.name}” has no mask to copy yet.")
            taken = {item.name for item in self.objects}
            stem = f"copy of {source.name}"[: LONGEST_NAME - 9]
            called = free_name(self.objects, name or next(n for n in numbered(stem) if n not in taken))
            new = SegmentedObject.empty(self._new_key(), called, free_colour(self.objects), self.volume.size)
            edit = Combine("copy", source.name, PackedMask.of(source.local))
            new = self._maker.say(replace(new, overlaps=True), edit, self._options, ())
            self._commit(f"copy {source.name}", {new.key: new}, added=[new.key], select=new.key)
            return new

    def left(self, spared: LocalMask) -> tuple[str, ...]:
        """The sentence to say at once of what `paint` or `apply` returned; none where nothing was left to others."""
        with self._lock:
            return left_to(self._others(self.current), spared, self.volume)

    def _other(self, operation: str, item: SegmentedObject, other: Any = None, **unknown: Any) -> SegmentedObject:
        """The object that one of `WITH_ANOTHER` takes."""
        if unknown or not isinstance(other, str):
            raise PromptError(f"“{operation}” takes one option, other: the name of another object.")
        found = find(self.objects, other)
        if found.key == item.key:
            raise PromptError(f"“{operation}” needs two objects, and “{other}” is the current one.")
        return self._unlocked(found) if operation == "merge" else found

    def _combine(self, operation: str, **options: Any) -> LocalMask:
        """Combine the current object with another one; a merged one is gone afterwards, in the same step."""
        item = self._unlocked(self.current)
        other = self._other(operation, item, **options)
        edit = Combine(operation, other.name, PackedMask.of(other.local))
        if operation != "merge":
            return self._edit(edit)
        others = [one for one in self._others(item) if one.key != other.key]
        after = self._maker.say(item, edit, self._options, others)
        assert after.said is not None
        order = [key for key in self._history.state.order if key != other.key]
        self._commit(f"merge {other.name} into {item.name}", {item.key: after, other.key: None}, order=order)
        return after.said.spared.unpack(self.volume.size)

    def _edit(self, edit: Edit) -> LocalMask:
        item = self._unlocked(self.current)
        after = self._maker.say(item, edit, self._options, self._others(item))
        assert after.said is not None
        spared = after.said.spared.unpack(self.volume.size)
        self._replace(after, f"{edit} {after.said.number} of {item.name}")
        return spared
