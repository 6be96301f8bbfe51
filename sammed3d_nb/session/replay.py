"""Running a record again: does the same come out, and what would another model have made of it?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session import record
from sammed3d_nb.session.making import Maker
from sammed3d_nb.session.objects import Said, SegmentedObject
from sammed3d_nb.session.steps import History


@dataclass(frozen=True)
class Replayed:
    """How one object came out when everything said about it was said again.

    Attributes:
        name: The object.
        same: Whether every voxel of the mask is the same.
        dice: Overlap of both masks, 1 when they are the same.
        note: A sentence if the mask was made with another model than the one that it was replayed with, else "".
        curve: Dice with the recorded mask after each prompt, edits between them among it.
        recorded: The same, as it was then.
    """

    name: str
    same: bool
    dice: float
    note: str = ""
    curve: tuple[float, ...] = ()
    recorded: tuple[float, ...] = ()

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Replayed":
        """From its fields, which may have been JSON meanwhile."""
        return cls(**{**fields, "curve": tuple(fields["curve"]), "recorded": tuple(fields["recorded"])})

    def prompts_to(self, dice: float, *, recorded: bool = False) -> int | None:
        """After how many prompts the mask was, and stayed, that close to the recorded one; None if never."""
        curve = self.recorded if recorded else self.curve
        short = [number for number, score in enumerate(curve, start=1) if score < dice]
        needed = short[-1] + 1 if short else 1
        return needed if needed <= len(curve) else None


def replay(path: Path, *, volume: Volume, model: Engine, other_model: bool = False) -> Iterator[Replayed]:
    """Say everything in a record again and compare the masks, one object at a time.

    Args:
        path: A file that `Session.save` wrote.
        volume: The volume that it was made on.
        model: The model that it was made with.
        other_model: Take another model than that one too.

    Raises:
        RecordError: The file is no record, is damaged, or was made on another volume or with another model.
    """
    fields = record.load(path)
    if not other_model:
        record.check_model(fields["model"], model, path)
    history = record.history_of(fields, volume, path)
    objects = history.state.listed
    masks = _masks_then(history)
    for item in objects:
        then: list[float] = []
        for said in item.history:
            if said in masks:
                _note(then, _dice(masks[said], item.local), said.told is not None)
        yield _replayed(item, volume, model, tuple(then))


def _masks_then(history: History) -> dict[Said, LocalMask]:
    """The masks after everything that was said, as the record has them; the history goes back to its beginning."""
    masks: dict[Said, LocalMask] = {}
    while True:
        for item in history.state.objects.values():
            if item.said is not None:
                masks.setdefault(item.said, item.local)
        if not history.past:
            return masks
        history.undo()


def _note(curve: list[float], score: float, prompted: bool) -> None:
    """Add a score; an edit counts to the prompt before it."""
    if prompted or not curve:
        curve.append(score)
    else:
        curve[-1] = score


def _replayed(item: SegmentedObject, volume: Volume, model: Engine, recorded: tuple[float, ...]) -> Replayed:
    curve: list[float] = []

    def watch(mask: LocalMask, prompted: bool) -> None:
        _note(curve, _dice(mask, item.local), prompted)

    again = Maker(volume, model).remake(item, watch=watch).local if item.said is not None else item.local
    made_with = next((said.told.model for said in item.history if said.told), ("", model.fingerprint))
    note = "" if made_with[1] == model.fingerprint else f"made with another model file ({made_with[0]})"
    return Replayed(item.name, again == item.local, _dice(again, item.local), note, tuple(curve), recorded)


def _dice(a: LocalMask, b: LocalMask) -> float:
    total = a.count + b.count
    return 2 * (a & b).count / total if total else 1.0
