"""Labelled cases: volumes with a label map on their grid, told apart by names that no two share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.volume import Volume


@dataclass(frozen=True)
class LabelledCase:
    """A volume with a label map on its grid.

    Attributes:
        name: What to call it.
        volume: The volume.
        labels: (z, y, x) integers, 0 is background.
        names: Of the labels, as they were given; `name_of` tells equal ones apart.
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
        values = np.rint(labels.array).astype(np.int32)
        try:
            known = json.loads(info.read_text(encoding="utf-8")).get("labels", {}) if info.is_file() else {}
            names = {int(value): str(entry["name"]) for value, entry in known.items() if entry.get("name")}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f'{info} does not name labels; expected {{"labels": {{"1": {{"name": "liver"}}, …}}}}, mend or remove '
                "it."
            ) from error
        return cls(name or folder.resolve().name, volume, values, names)

    def name_of(self, label: int) -> str:
        """The label's name, followed by its number where another label has the same name or it has none."""
        name = self.names.get(label)
        if name is None:
            return f"label {label}"
        shared = any(other == name for value, other in self.names.items() if value != label)
        return f"{name} ({label})" if shared else name


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
