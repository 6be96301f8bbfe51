"""Objects as files that other programs read: label maps, 3D Slicer's segmentations, DICOM SEG, surfaces."""

import glob
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError, VolumeError
from sammed3d_nb.imaging import dicom_seg_writer, surfaces
from sammed3d_nb.imaging.label_maps import NamedMask
from sammed3d_nb.imaging.label_names import beside
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.imaging.writers import LAYERED, MASK_SUFFIXES, check_mask_path, is_ours
from sammed3d_nb.segmenters.prompts import StartMask
from sammed3d_nb.session.objects import Said, SegmentedObject

SUFFIXES = (*MASK_SUFFIXES, LAYERED, dicom_seg_writer.SUFFIX, *surfaces.SUFFIXES)
"""What an export may end in."""


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


def predicted(item: SegmentedObject) -> list[Said]:
    """What a network was asked: a mask to begin with is nobody's answer."""
    return [said for said in item.history if said.told is not None and not isinstance(said.action, StartMask)]


def made_with(item: SegmentedObject) -> dict[str, str]:
    """The models whose licences the mask may inherit, and those licences."""
    told = [said.told for said in predicted(item) if said.told is not None and said.told.licence]
    if not told:
        return {}
    return {
        "model": ", ".join(dict.fromkeys(one.model[0] for one in told)),
        "licence": ", ".join(dict.fromkeys(one.licence for one in told)),
    }


def check_suffix(path: Path) -> None:
    """Refuse a name that ends in no known format."""
    if not path.name.lower().endswith(SUFFIXES):
        raise VolumeError(f"{path.name} ends in no known format; use one of {', '.join(SUFFIXES)}.")


def refuse_identifying(path: Path) -> None:
    """Refuse a format that tells whose image it is.

    Raises:
        UserError: It is a DICOM SEG.
    """
    if path.name.lower().endswith(dicom_seg_writer.SUFFIX):
        raise UserError("A DICOM segmentation names the patient of its image; write .seg.nrrd or .nii.gz instead.")


def check_export(path: Path, volume: Volume, *, overwrite: bool) -> None:
    """Refuse a path that cannot be exported to, before any work is done.

    Raises:
        UserError: An unknown suffix, no such folder, a file that is there, a DICOM SEG of an image that is no DICOM.
    """
    check_suffix(path)
    name = path.name.lower()
    if name.endswith(MASK_SUFFIXES):
        check_mask_path(path, volume.path, overwrite=overwrite)
        return
    if not path.absolute().parent.is_dir():
        raise VolumeError(f"The folder {path.absolute().parent} does not exist; make it first or choose another.")
    if name.endswith(dicom_seg_writer.SUFFIX):
        dicom_seg_writer.check_source(volume)
    check_free(path, volume, overwrite=overwrite)


def check_free(path: Path, volume: Volume, *, overwrite: bool) -> None:
    """Refuse a name that is taken, or is the image's own."""
    if path.exists() and not overwrite:
        raise VolumeError(f"{path} is there already and was not to be overwritten; choose another name.")
    if path.is_file() and volume.path is not None and volume.path.exists():
        inside = volume.path.is_dir() and volume.path.resolve() in path.resolve().parents
        if path.samefile(volume.path) or (inside and path.name.lower().endswith(dicom_seg_writer.SUFFIX)):
            raise VolumeError(f"{path} is the image itself and would be overwritten; choose another name.")


def files_of(path: Path) -> list[Path]:
    """What an export to `path` has written: the file, further layers, the list of names."""
    return [file for file in (path, *_layers_beside(path), beside(path)) if file.is_file()]


def write_export(
    objects: Sequence[SegmentedObject], volume: Volume, path: Path, *, overwrite: bool, each: bool = False
) -> Path:
    """Write the objects in the format that the suffix names; see `Session.export`.

    Raises:
        UserError: There is no mask, or a file is there already, or cannot be written.
    """
    if not any(item.local.count for item in objects):
        raise UserError("There is no mask to export yet; click on an organ first.")
    if each:
        paths = _path_of_each(objects, path)
        for one in paths.values():
            check_export(one, volume, overwrite=overwrite)
        for number, one in paths.items():
            write_export([objects[number]], volume, one, overwrite=overwrite)
        return path
    check_export(path, volume, overwrite=overwrite)
    name = path.name.lower()
    if name.endswith(MASK_SUFFIXES):
        return _write_label_maps(objects, volume, path, overwrite=overwrite)
    seen = [item for item in objects if item.local.count]
    licensed = any(made_with(item) for item in seen)
    if licensed and not overwrite:
        _refuse_names(beside(path))
    masks = [NamedMask(item.name, item.colour, item.local) for item in seen]
    if name.endswith(surfaces.SUFFIXES):
        surfaces.write_surface(masks, volume, path, overwrite=overwrite)
    else:
        _write_seg(seen, masks, volume, path, overwrite=overwrite)
    if licensed:  # no licence is lost on the way
        _write_names(beside(path), _listed(seen, volume))
    return path


def write_licences(objects: Sequence[SegmentedObject], volume: Volume, path: Path) -> None:
    """Beside a mask that was written alone, the list of names, if a licence has to be told."""
    if any(made_with(item) for item in objects):
        _write_names(beside(path), _listed(objects, volume))


def _write_seg(
    seen: Sequence[SegmentedObject], masks: Sequence[NamedMask], volume: Volume, path: Path, *, overwrite: bool
) -> None:
    told = [[said.told for said in predicted(item) if said.told is not None] for item in seen]
    answered_by = [answers[-1].model[0] if answers else "" for answers in told]
    codes = [item.code for item in seen]
    dicom_seg_writer.write_seg(masks, volume, path, answered_by=answered_by, codes=codes, overwrite=overwrite)


def _write_label_maps(objects: Sequence[SegmentedObject], volume: Volume, path: Path, *, overwrite: bool) -> Path:
    """The label maps and, beside the first, a JSON file that names the labels."""
    stacked = layers(objects)
    paths, names_path = _paths(path, 1 if _is_layered(path) else len(stacked)), beside(path)
    for one in paths[1:]:
        check_mask_path(one, volume.path, overwrite=overwrite)
    if not overwrite:
        _refuse_names(names_path)
    described = {number: (item.name, item.colour) for number, item in enumerate(objects, start=1)}
    for one, held in zip(paths, [list(described)] if _is_layered(path) else stacked, strict=True):
        if _is_layered(path) and len(stacked) > 1:
            labels = np.stack([label_map(objects, volume, only=layer) for layer in stacked], axis=-1)
        else:
            labels = label_map(objects, volume, only=held if len(stacked) > 1 else None)
        names, colours = ({number: described[number][part] for number in held} for part in (0, 1))
        volume.write_mask(labels, one, overwrite=overwrite, names=names, colours=colours)
        del labels
    listed = _listed(objects, volume)
    if len(paths) > 1:
        for one, layer in zip(paths, stacked, strict=True):
            for number in layer:
                listed[str(number)]["file"] = one.name
    _write_names(names_path, listed)
    for old in set(_layers_beside(path)) - set(paths):  # of an export before, with more layers
        if is_ours(old):
            old.unlink()
    return path


def _layers_beside(path: Path) -> list[Path]:
    stem, suffix = _split(path)
    return sorted(path.parent.glob(f"{glob.escape(stem)}.layer*{glob.escape(suffix)}"))


def _refuse_names(names_path: Path) -> None:
    if names_path.exists():
        raise VolumeError(f"{names_path} is there already and was not to be overwritten; choose another name.")


def _listed(objects: Sequence[SegmentedObject], volume: Volume) -> dict[str, dict[str, Any]]:
    """What the JSON file says of each object, by its number."""
    return {
        str(number): {
            "name": item.name,
            "colour": item.colour,
            "volume_ml": round(item.local.volume_ml(volume.spacing), 3),
            **made_with(item),
        }
        for number, item in enumerate(objects, start=1)
    }


def _write_names(names_path: Path, listed: dict[str, dict[str, Any]]) -> None:
    with atomic.told(names_path):
        atomic.write_bytes(names_path, json.dumps(listed, indent=1).encode())


def _is_layered(path: Path) -> bool:
    return path.name.lower().endswith(LAYERED)


def _paths(path: Path, count: int) -> list[Path]:
    """The file of each layer."""
    stem, suffix = _split(path)
    return [path, *(path.with_name(f"{stem}.layer{n}{suffix}") for n in range(2, count + 1))]


def _split(path: Path) -> tuple[str, str]:
    suffix = max((end for end in SUFFIXES if path.name.lower().endswith(end)), key=len, default="")
    cut = len(path.name) - len(suffix)
    return path.name[:cut], path.name[cut:]


def _path_of_each(objects: Sequence[SegmentedObject], path: Path) -> dict[int, Path]:
    """A file for each object that has a mask: its name stands before the suffix."""
    stem, suffix = _split(path)
    found: dict[int, Path] = {}
    for number, item in enumerate(objects):
        if item.local.count:
            name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\s]+', "_", item.name).strip("._") or "object"
            taken = [one.name.lower() for one in found.values()]
            free = name if f"{stem}.{name}{suffix}".lower() not in taken else f"{name}_{number + 1}"
            found[number] = path.with_name(f"{stem}.{free}{suffix}")
    return found
