"""Labelled cases: volumes with a label map on their grid, told apart by names that no two share."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.volume import Volume


@dataclass(frozen=True)
class LabelledCase:
    """A volume with a label map on its grid.

    Attributes:
        name: What to call it.
        volume: The volume.
        labels: (z, y, x) integers, 0 is background.
        names: Of the labels, as they were given; `unique_names` tells equal ones apart.
    """

    name: str
    volume: Volume
    labels: NDArray[np.integer[Any]]
    names: dict[int, str]

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> "LabelledCase":
        """Read ``image.nii.gz``, ``label.nii.gz`` and, if it is there, ``info.json`` (names of labels).

        Args:
            folder: With these files.
            name: What to call the case; the folder's name by default.

        Raises:
            UserError: One of the two images is missing, their grids differ, or ``info.json`` cannot be understood.
        """
        image, label, info = folder / "image.nii.gz", folder / "label.nii.gz", folder / "info.json"
        for path in (image, label):
            if not path.is_file():
                raise UserError(
                    f"{folder} is no labelled case: {path.name} is missing; a case is a folder with image.nii.gz and "
                    f"label.nii.gz on the same grid."
                )
        volume, labels = Volume.read(image), Volume.read(label)
        if volume.size != labels.size:
            raise UserError(
                f"{folder} cannot be evaluated: the image has {volume.size} voxels and the label map {labels.size}; "
                f"both must lie on one grid."
            )
        ends = np.vstack([np.zeros(3), np.diag(np.array(volume.size) - 1)])
        apart = float(np.linalg.norm(volume.voxel_to_ras(ends) - labels.voxel_to_ras(ends), axis=1).max())
        if apart > 0.5 * min(volume.spacing):
            raise UserError(
                f"{folder} cannot be evaluated: image and label map lie up to {apart:.1f} mm apart; both must lie on "
                f"one grid."
            )
        values = np.rint(labels.array).astype(np.int32)
        if values.min() < 0:
            raise UserError(f"{label} holds the label {values.min()}; labels are whole numbers from 0, the background.")
        try:
            known = json.loads(info.read_text(encoding="utf-8")).get("labels", {}) if info.is_file() else {}
            names = {int(value): str(entry["name"]) for value, entry in known.items() if entry.get("name")}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f'{info} does not name labels; expected {{"labels": {{"1": {{"name": "liver"}}, …}}}}, mend or remove '
                "it."
            ) from error
        return cls(name or folder.resolve().name, volume, values, names)

    @cached_property
    def unique_names(self) -> dict[int, str]:
        """Of every label: its name, followed by its number where another one has the same; "label 7" if it has none."""
        labels = sorted({*self.names, *np.unique(self.labels).tolist()} - {0})
        names = {label: self.names.get(label, f"label {label}") for label in labels}
        while len(set(names.values())) < len(names):
            times = Counter(names.values())
            names = {label: f"{name} ({label})" if times[name] > 1 else name for label, name in names.items()}
        return names


def cases_in(folders: Sequence[Path]) -> dict[str, Path]:
    """The labelled cases among folders and, for those that are none, in them, each once.

    Returns:
        Folders by name: the folder's own, with as many of those above it as tell it from the others.

    Raises:
        UserError: A folder neither is nor holds a labelled case.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        inside = [folder] if (folder / "image.nii.gz").exists() else _inside(folder)
        if not inside:
            raise UserError(
                f"{folder} holds no labelled case; give folders with image.nii.gz and label.nii.gz, or one of such."
            )
        found.update((case.resolve(), case) for case in inside)
    return dict(zip(_names(list(found)), found.values(), strict=True))


def _inside(folder: Path) -> list[Path]:
    return sorted(image.parent for image in folder.glob("*/image.nii.gz"))


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest end of each path that no other path has."""

    def name(path: Path) -> str:
        for count in range(1, len(path.parts)):
            end = path.parts[-count:]
            if sum(other.parts[-count:] == end for other in paths) == 1:
                return "/".join(end)
        return str(path)

    return [name(path) for path in paths]
