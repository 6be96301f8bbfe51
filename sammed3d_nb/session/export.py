"""Masks as files that other programs read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError, VolumeError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.imaging.writers import check_mask_path
from sammed3d_nb.session.objects import SegmentedObject


def label_map(objects: Sequence[SegmentedObject], volume: Volume, *, only: Sequence[int] | None = None) -> NDArray[Any]:
    """uint8 or uint16 (z, y, x): n in the n-th object, else 0; where they overlap a locked one wins, else the later.

    Args:
        objects: All objects.
        volume: The volume.
        only: Numbers of the objects to show; all by default.
    """
    labels = np.zeros(volume.size[::-1], dtype=np.uint16 if len(objects) > 255 else np.uint8)
    numbered = [(number, item) for number, item in enumerate(objects, start=1) if only is None or number in only]
    for number, item in sorted(numbered, key=lambda entry: entry[1].locked):
        labels[item.local.region.slices][item.local.values > 0] = number
    return labels


def layers(objects: Sequence[SegmentedObject]) -> list[list[int]]:
    """Numbers of the objects, 1 for the first, in as few layers as hold no voxel twice; each in the first that fits."""
    found: list[list[int]] = []
    for number, item in enumerate(objects, start=1):
        for layer in found:
            if not any((item.local & objects[other - 1].local).count for other in layer):
                layer.append(number)
                break
        else:
            found.append([number])
    return found


def _made_with(item: SegmentedObject) -> dict[str, str]:
    """The models whose licences the mask may inherit, and those licences."""
    told = [said.told for said in item.history if said.told is not None and said.told.licence]
    if not told:
        return {}
    return {
        "model": ", ".join(dict.fromkeys(one.model[0] for one in told)),
        "licence": ", ".join(dict.fromkeys(one.licence for one in told)),
    }


def write_export(objects: Sequence[SegmentedObject], volume: Volume, path: Path, *, overwrite: bool) -> Path:
    """Write the label maps and, beside the first, a JSON file that names the labels; see `Session.export`.

    Raises:
        UserError: There is no mask, or a file is there already, or cannot be written.
    """
    if not any(item.local.count for item in objects):
        raise UserError("There is no mask to export yet; click on an organ first.")
    stacked = layers(objects)
    suffixes = "".join(path.suffixes[-2:]) if path.name.lower().endswith(".nii.gz") else path.suffix
    stem = path.name[: len(path.name) - len(suffixes)]
    paths = [path, *(path.with_name(f"{stem}.layer{n}{suffixes}") for n in range(2, len(stacked) + 1))]
    names_path = path.with_name(f"{stem}.labels.json")
    for one in paths:
        check_mask_path(one, volume.path, overwrite=overwrite)
    if names_path.exists() and not overwrite:
        raise VolumeError(f"{names_path} is there already and was not to be overwritten; choose another name.")
    names = {number: item.name for number, item in enumerate(objects, start=1)}
    colours = {number: item.colour for number, item in enumerate(objects, start=1)}
    for layer, one in zip(stacked, paths, strict=True):
        labels = label_map(objects, volume, only=layer if len(stacked) > 1 else None)
        shown = {number: names[number] for number in layer}
        volume.write_mask(labels, one, overwrite=overwrite, names=shown, colours={n: colours[n] for n in layer})
        del labels
    listed = {
        str(number): {
            "name": item.name,
            "colour": item.colour,
            "volume_ml": round(item.local.volume_ml(volume.spacing), 3),
            **_made_with(item),
            **({"file": paths[n].name} if len(paths) > 1 else {}),
        }
        for n, layer in enumerate(stacked)
        for number, item in ((number, objects[number - 1]) for number in layer)
    }
    try:
        atomic.write_bytes(names_path, json.dumps(listed, indent=1).encode())
    except OSError as error:
        raise UserError(
            f"{names_path} cannot be written ({atomic.reason(error)}); make room or choose a folder that you may write "
            "to."
        ) from error
    return path
