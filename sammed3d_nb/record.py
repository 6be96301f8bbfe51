"""Saved sessions: one JSON file with clicks, masks, and what they were made on and with.

A mask is stored as its box and the zlib-compressed bits of the voxels in it, in array order (z, y, x). Resuming shows
the stored masks at once; the network is asked again only when one of them is clicked on.
"""

import base64
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sammed3d_nb
from sammed3d_nb.errors import RecordError
from sammed3d_nb.objects import SegmentedObject
from sammed3d_nb.predictor import Click, Predictor
from sammed3d_nb.region import LocalMask, Region, triple
from sammed3d_nb.session import Session
from sammed3d_nb.volume import Volume

if TYPE_CHECKING:
    from sammed3d_nb.model import Model

FORMAT = "sammed3d-nb session"
VERSION = 1


@dataclass(frozen=True)
class Replayed:
    """How one object came out when its clicks were run again.

    Attributes:
        name: The object.
        same: Whether every voxel of the mask is the same.
        dice: Overlap of both masks, 1 when they are the same.
    """

    name: str
    same: bool
    dice: float


def save(session: Session, path: Path) -> Path:
    """Write the session to `path`, whole or not at all."""
    spec, volume = session.model.spec, session.volume
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "software": sammed3d_nb.__version__,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "volume": {
            "name": volume.name,
            "path": None if volume.path is None else str(volume.path.absolute()),
            "fingerprint": volume.fingerprint,
            "size": volume.size,
            "spacing": volume.spacing,
            "origin": volume.origin,
            "direction": np.ravel(volume.direction).tolist(),
        },
        "model": {"name": spec.name, "architecture": spec.architecture, "sha256": spec.sha256},
        "options": {"grow": session.grow, "adapt": session.adapt},
        "current": session.current.name,
        "objects": [_described(item) for item in session.objects],
    }
    return _write(path, json.dumps(fields, indent=1))


def load(path: Path) -> dict[str, Any]:
    """The fields of a record.

    Raises:
        RecordError: The file is missing or no record that this version reads.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"There is no record {path}; check the path.") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path.name} is not a saved session; expected the JSON file that “Save” writes.") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise RecordError(f"{path.name} is not a saved session; expected the JSON file that “Save” writes.")
    if fields.get("version") != VERSION:
        raise RecordError(
            f"{path.name} has record version {fields.get('version')}, this program reads {VERSION}; "
            f"use sammed3d-nb {fields.get('software', 'of that time')} for it."
        )
    return fields


def resume(session: Session, path: Path) -> Session:
    """Put the objects of a record into a fresh session on the same volume.

    Raises:
        RecordError: The file is no record, is damaged, or was made on another volume.
    """
    fields = load(path)
    _check_volume(fields, session.volume, path)
    try:
        objects = [_restored(item, session.volume) for item in fields["objects"]]
        names = [item.name for item in objects]
        session.restore(objects, names.index(fields["current"]))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise RecordError(f"{path.name} is damaged ({error!r}); take an older copy of it.") from error
    return session


def replay(path: Path, *, volume: Volume, model: "Model") -> Iterator[Replayed]:
    """Run every object's clicks again and compare the masks, one object at a time.

    Raises:
        RecordError: The file is no record, is damaged, or was made on another volume.
    """
    fields = load(path)
    saved = {item.name: item for item in resume(Session(volume, model), path).objects}
    predictor = Predictor(volume, model, **fields["options"])
    for item in saved.values():
        again = predictor.predict(item.clicks).mask if item.clicks else item.local
        for name in item.spared:
            again = again.without(saved[name].local) if name in saved else again
        first, second = item.local.full, again.full
        total = item.local.count + again.count
        shared = int(np.count_nonzero(first & second))
        yield Replayed(item.name, np.array_equal(first, second), 2 * shared / total if total else 1.0)


def export(session: Session, path: Path) -> Path:
    """Write the label map and, beside it, a JSON file that names the labels."""
    session.volume.write_mask(session.labels, path)
    voxel_ml = float(np.prod(session.volume.spacing)) / 1000
    names = {
        str(number): {"name": item.name, "colour": item.colour, "volume_ml": round(item.local.count * voxel_ml, 3)}
        for number, item in enumerate(session.objects, start=1)
    }
    _write(
        path.with_name(path.name.removesuffix(".gz").rsplit(".", 1)[0] + ".labels.json"), json.dumps(names, indent=1)
    )
    return path


def _described(item: SegmentedObject) -> dict[str, Any]:
    mask = item.local
    return {
        "name": item.name,
        "colour": item.colour,
        "locked": item.locked,
        "visible": item.visible,
        "clicks": [{"ijk": click.ijk, "positive": click.positive} for click in item.clicks],
        "spared": item.spared,
        "quality": item.quality,
        "trace": None if item.result is None else item.result.trace.to_dict(),
        "mask": {
            "start": mask.region.start,
            "size": mask.region.size,
            "bits": base64.b64encode(zlib.compress(np.packbits(mask.values).tobytes())).decode(),
            "sha256": hashlib.sha256(mask.values.tobytes()).hexdigest(),
        },
    }


def _restored(fields: dict[str, Any], volume: Volume) -> SegmentedObject:
    region = Region(triple(fields["mask"]["start"]), triple(fields["mask"]["size"]))
    bits = np.frombuffer(zlib.decompress(base64.b64decode(fields["mask"]["bits"])), dtype=np.uint8)
    values = np.unpackbits(bits, count=int(np.prod(region.size))).reshape(region.shape)
    if hashlib.sha256(values.tobytes()).hexdigest() != fields["mask"]["sha256"]:
        raise ValueError(f"the mask of {fields['name']} does not match its checksum")
    return SegmentedObject(
        name=fields["name"],
        colour=fields["colour"],
        local=LocalMask(values, region, volume.size),
        locked=fields["locked"],
        visible=fields["visible"],
        clicks=tuple(Click(triple(click["ijk"]), bool(click["positive"])) for click in fields["clicks"]),
        spared=tuple(fields["spared"]),
    )


def _check_volume(fields: dict[str, Any], volume: Volume, path: Path) -> None:
    made_on = fields.get("volume", {})
    if made_on.get("fingerprint") != volume.fingerprint:
        raise RecordError(
            f"{path.name} was made on {made_on.get('name')} of size {tuple(made_on.get('size', ()))}, but "
            f"{volume.name} of size {volume.size} has other voxels or geometry; open the volume that it was made on."
        )


def _write(path: Path, text: str) -> Path:
    """Write beside `path` first, so that a crash or a full disk leaves the old file whole."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); choose a folder that you may write to."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); make room or choose another folder."
        ) from error
    return path
