"""Finished cases as a training set in the layout of nnU-Net version 2.

``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz`` and ``dataset.json``, as its documentation of the dataset
format describes; an object has the same number in every case.
"""

import json
import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.imaging.writers import write_labels
from sammed3d_nb.session.export import layers, made_with
from sammed3d_nb.session.objects import SegmentedObject

_SUFFIX = ".nii.gz"


class TrainingSet:
    """A folder that cases are added to, one at a time.

    Args:
        folder: Made where it is missing.
        overwrite: Whether cases that are there already may be replaced; without it they are refused, each alone.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self.folder, self.overwrite = folder, overwrite
        self._described = folder / "dataset.json"
        self.labels: dict[str, int] = {"background": 0}
        self.channel: str | None = None
        self.licences: list[str] = []
        self.added = 0
        self._named: set[str] = set()  # in this run
        self._resume()
        try:
            for part in ("imagesTr", "labelsTr"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be made ({atomic.reason(error)}); name a folder that you may write to."
            ) from error

    def add(self, record: Path, volume: Volume, objects: Sequence[SegmentedObject]) -> str:
        """Write a case: its image and one label map; returns the case's name.

        Raises:
            UserError: It has no mask, its objects share voxels (which a label map cannot hold), its modality is not
                that of the others, it is there already, or it cannot be written.
        """
        seen = [item for item in objects if item.local.count]
        if not seen:
            raise UserError(f"{record.name} has no mask; finish it first.")
        if len(layers(seen)) > 1:
            raise UserError(
                f"{record.name} has objects that share voxels, which nnU-Net's label maps cannot hold; take the shared"
                " voxels from one of them."
            )
        channel = volume.modality or "image"
        if self.channel not in (None, channel):
            raise UserError(
                f"{record.name} is {channel} and this set holds {self.channel}; make a set for each modality."
            )
        case = self._name(record)
        image = self.folder / "imagesTr" / f"{case}_0000{_SUFFIX}"
        label = self.folder / "labelsTr" / f"{case}{_SUFFIX}"
        if label.exists() and not self.overwrite:
            raise UserError(f"{label} is there already and was not to be overwritten; choose another folder.")
        labels = dict(self.labels)
        values = np.zeros(volume.array.shape, np.uint8 if len(labels) + len(seen) < 256 else np.uint16)
        for item in seen:
            number = labels.setdefault(item.name, len(labels))
            values[item.local.region.slices][item.local.values > 0] = number
        _write_image(volume, image)
        names = {number: name for name, number in labels.items() if number}
        write_labels(values, volume.image, label, overwrite=self.overwrite, names=names)
        self.labels, self.channel = labels, channel
        found = [made["licence"] for item in seen if (made := made_with(item))]
        self.licences = list(dict.fromkeys([*self.licences, *found]))
        self.added += 1
        self._describe()
        return case

    def _name(self, record: Path) -> str:
        """The record's name in letters that nnU-Net takes; with a number where another record of this run has it."""
        stem = re.sub(r"[^A-Za-z0-9.-]+", "_", record.name.split(".sammed3d")[0]).strip("._-") or "case"
        names = (f"{stem}_{number}" if number > 1 else stem for number in count(1))
        case = next(name for name in names if name.lower() not in self._named)
        self._named.add(case.lower())
        return case

    def finish(self) -> str:
        """A sentence about the set."""
        names = ", ".join(name for name in self.labels if name != "background")
        cases = len(list((self.folder / "labelsTr").glob(f"*{_SUFFIX}")))
        return f"{self.folder}: {cases} case{'' if cases == 1 else 's'} ({self.added} new) of {names or 'nothing'}."

    def _resume(self) -> None:
        """Go on with a set that is there: its objects keep their numbers."""
        if not self._described.exists():
            return
        try:
            told = json.loads(self._described.read_text(encoding="utf-8"))
            labels, channel = dict(told["labels"]), told["channel_names"]["0"]
            ours = labels["background"] == 0 and sorted(labels.values()) == list(range(len(labels)))
        except (OSError, ValueError, KeyError, TypeError):
            ours = False
        if not ours:
            raise UserError(f"{self._described} was made by another program or is damaged; choose another folder.")
        self.labels, self.channel = labels, channel
        self.licences = [told["licence"]] if isinstance(told.get("licence"), str) else []

    def _describe(self) -> None:
        told = {
            "channel_names": {"0": self.channel},
            "labels": self.labels,
            "numTraining": len(list((self.folder / "labelsTr").glob(f"*{_SUFFIX}"))),
            "file_ending": _SUFFIX,
            **({"licence": ", ".join(self.licences)} if self.licences else {}),
        }
        with atomic.told(self._described):
            atomic.write_bytes(self._described, json.dumps(told, indent=1, ensure_ascii=False).encode())


def _write_image(volume: Volume, path: Path) -> None:
    """The image in NIfTI, read back and compared: SimpleITK reports success on a full disk."""
    try:
        with atomic.told(path), atomic.drafts(path) as folder:
            draft = folder / path.name
            sitk.WriteImage(volume.image, str(draft), useCompression=True)
            if not np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(draft))), volume.array):
                raise atomic.differs(path)
    except RuntimeError as error:
        raise UserError(f"{path} cannot be written; check the disk's space and your permissions.") from error
