"""Saved sessions: one JSON file with clicks, masks, and what they were made on and with.

A mask is stored as its box and the zlib-compressed bits of the voxels in it, in array order (z, y, x). Resuming shows
the stored masks at once; the network is asked again only when one of them is clicked on.
"""

import base64
import contextlib
import hashlib
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sammed3d_nb.errors import RecordError
from sammed3d_nb.imaging.region import LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.predictor import Click, Predictor
from sammed3d_nb.session.objects import Result, SegmentedObject
from sammed3d_nb.session.session import Session
from sammed3d_nb.spaces import Trace
from sammed3d_nb.version import __version__

if TYPE_CHECKING:
    from sammed3d_nb.models.model import Model

FORMAT = "sammed3d-nb session"
VERSION = 1
_File = tuple[str | None, str | None]  # path and SHA-256, None for a network that never was in a file
_PARTS = {"volume": dict, "model": dict, "options": dict, "objects": list, "current": str}


@dataclass(frozen=True)
class Replayed:
    """How one object came out when its clicks were run again.

    Attributes:
        name: The object.
        same: Whether every voxel of the mask is the same.
        dice: Overlap of both masks, 1 when they are the same.
        note: A sentence if the mask was made with another model than the one that it was replayed with, else "".
    """

    name: str
    same: bool
    dice: float
    note: str = ""


def save(session: Session, path: Path) -> Path:
    """Write the session to `path`, whole or not at all."""
    model, volume = session.model, session.volume
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "software": __version__,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "volume": {
            "name": volume.name,
            "path": None if volume.path is None else str(volume.path.absolute()),
            "series": volume.series,
            "fingerprint": volume.fingerprint,
            "size": volume.size,
            "spacing": volume.spacing,
            "origin": volume.origin,
            "direction": np.ravel(volume.direction).tolist(),
        },
        "model": {
            "name": model.spec.name,
            "architecture": model.spec.architecture,
            "sha256": model.spec.sha256,
            "source": model.spec.source,
            "files": [{"path": str(file.path), "sha256": file.sha256} for file in model.files],
        },
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
    wrong = [name for name, kind in _PARTS.items() if not isinstance(fields.get(name), kind)]
    if wrong:
        raise RecordError(f"{path.name} is damaged (no {', '.join(wrong)}); take an older copy of it.")
    if not _told(fields["volume"], "path", "name", "series") or not _told_model(fields["model"]):
        raise RecordError(f"{path.name} is damaged (its volume or model is no text); take an older copy of it.")
    return fields


def _told(part: Any, *names: str) -> bool:
    """Whether these fields are text or not there."""
    return isinstance(part, dict) and all(isinstance(part.get(name) or "", str) for name in names)


def _told_model(part: dict[str, Any]) -> bool:
    files = part.get("files") or []
    named = _told(part, "name", "architecture", "source", "sha256")
    return named and isinstance(files, list) and all(_told(file, "path", "sha256") for file in files)


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
    except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise RecordError(f"{path.name} is damaged ({error!r}); take an older copy of it.") from error
    return session


def replay(path: Path, *, volume: Volume, model: "Model", other_model: bool = False) -> Iterator[Replayed]:
    """Run every object's clicks again and compare the masks, one object at a time.

    Args:
        path: A file that `save` wrote.
        volume: The volume that it was made on.
        model: The model that it was made with.
        other_model: Take another model than that one too.

    Raises:
        RecordError: The file is no record, is damaged, or was made on another volume or with another model.
    """
    if not other_model:
        _check_model(load(path)["model"], model, path)
    for item in resume(Session(volume, model), path).objects:
        again = item.local
        if item.result is not None:
            predictor = Predictor(volume, model, grow=item.result.grow, adapt=item.result.adapt)
            again = predictor.predict(item.clicks).mask.without(item.result.spared)
        shared = item.local.count - item.local.without(again).count
        total = item.local.count + again.count
        made_with = item.result.model if item.result else ("", model.fingerprint)
        note = "" if made_with[1] == model.fingerprint else f"made with another model file ({made_with[0]})"
        yield Replayed(item.name, 2 * shared == total, 2 * shared / total if total else 1.0, note)


def export(session: Session, path: Path) -> Path:
    """Write the label map and, beside it, a JSON file that names the labels."""
    labels = session.labels
    session.volume.write_mask(labels, path)
    counts = np.bincount(labels.ravel(), minlength=len(session.objects) + 1)
    voxel_ml = float(np.prod(session.volume.spacing)) / 1000
    names = {
        str(number): {"name": item.name, "colour": item.colour, "volume_ml": round(counts[number] * voxel_ml, 3)}
        for number, item in enumerate(session.objects, start=1)
    }
    _write(
        path.with_name(path.name.removesuffix(".gz").rsplit(".", 1)[0] + ".labels.json"), json.dumps(names, indent=1)
    )
    return path


def _described(item: SegmentedObject) -> dict[str, Any]:
    return {
        "name": item.name,
        "colour": item.colour,
        "locked": item.locked,
        "visible": item.visible,
        "clicks": [{"ijk": click.ijk, "positive": click.positive} for click in item.clicks],
        "mask": _packed(item.local),
        "result": None if item.result is None else _described_result(item.result),
    }


def _described_result(result: Result) -> dict[str, Any]:
    cubes = [{"affine": cube.affine.tolist(), "size": cube.size} for cube in result.cubes]
    return {
        "trace": result.trace.to_dict(),
        "distance_mm": None if math.isinf(result.distance_mm) else result.distance_mm,
        "quality": result.quality,
        "volume_ml": result.volume_ml,
        "cubes": cubes,
        "cube": result.cubes.index(result.cube),
        "model": result.model,
        "grow": result.grow,
        "adapt": result.adapt,
        "spared": _packed(result.spared),
    }


def _restored(fields: dict[str, Any], volume: Volume) -> SegmentedObject:
    local = _unpacked(fields["mask"], volume)
    clicks = tuple(Click(triple(click["ijk"]), bool(click["positive"])) for click in fields["clicks"])
    item = SegmentedObject(
        name=fields["name"],
        colour=fields["colour"],
        local=local,
        locked=fields["locked"],
        visible=fields["visible"],
        clicks=clicks,
    )
    saved = fields["result"]
    if saved is None:
        return item
    cubes = tuple(Cube(cube["affine"], size=cube["size"]) for cube in saved["cubes"])
    result = Result(
        local=local,
        trace=Trace.from_dict(saved["trace"]),
        distance_mm=math.inf if saved["distance_mm"] is None else saved["distance_mm"],
        quality=saved["quality"],
        volume_ml=saved["volume_ml"],
        clicks=clicks,
        cube=cubes[saved["cube"]],
        cubes=cubes,
        seconds={},
        embedding_reused=False,
        model=(saved["model"][0], saved["model"][1]),
        grow=saved["grow"],
        adapt=saved["adapt"],
        spared=_unpacked(saved["spared"], volume),
    )
    return replace(item, result=result)


def _packed(mask: LocalMask) -> dict[str, Any]:
    values = mask.values
    return {
        "start": mask.region.start,
        "size": mask.region.size,
        "bits": base64.b64encode(zlib.compress(np.packbits(values).tobytes())).decode(),
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
    }


def _unpacked(fields: dict[str, Any], volume: Volume) -> LocalMask:
    region = Region(triple(fields["start"]), triple(fields["size"]))
    bits = np.frombuffer(zlib.decompress(base64.b64decode(fields["bits"])), dtype=np.uint8)
    values = np.unpackbits(bits, count=int(np.prod(region.size))).reshape(region.shape)
    if hashlib.sha256(values.tobytes()).hexdigest() != fields["sha256"]:
        raise ValueError("a mask does not match its checksum")
    return LocalMask(values, region, volume.size)


def _check_volume(fields: dict[str, Any], volume: Volume, path: Path) -> None:
    made_on = fields.get("volume", {})
    if made_on.get("fingerprint") != volume.fingerprint:
        raise RecordError(
            f"{path.name} was made on {made_on.get('name')} of size {tuple(made_on.get('size', ()))}, but "
            f"{volume.name} of size {volume.size} has other voxels or geometry; open the volume that it was made on."
        )


def files_of(made_with: dict[str, Any]) -> list[_File]:
    """Path and SHA-256 of the files of a record's model, the encoder's first."""
    # without files: a network that never was in one, or a record of the days when a model had but one
    files = made_with.get("files") or [{"path": made_with.get("source"), "sha256": made_with.get("sha256")}]
    return [(file.get("path"), file.get("sha256")) for file in files]


def _check_model(made_with: dict[str, Any], model: "Model", path: Path) -> None:
    spec, needed = model.spec, files_of(made_with)
    present: list[_File] = [(str(file.path), file.sha256) for file in model.files]
    present = present or [(spec.source, spec.sha256)]
    if made_with.get("architecture") == spec.architecture and [f[1] for f in needed] == [f[1] for f in present]:
        return
    raise RecordError(
        f"{path.name} was made with {_named(made_with.get('name'), needed)}, this is {_named(spec.name, present)}; "
        "give the same one (--model, and --decoder if there are two files), or ask for another one on purpose "
        "(--other-model)."
    )


def _named(name: str | None, files: Sequence[_File]) -> str:
    """A model with its files, e.g. ``FastSAM3D (student.pth, SHA-256 0123456789ab… + turbo.pth, SHA-256 …)``."""
    told = " + ".join(f"{Path(path).name}, SHA-256 {sha[:12]}…" for path, sha in files if path and sha)
    return f"{name or 'a model'} ({told})" if told else name or "an unnamed model"


def _write(path: Path, text: str) -> Path:
    """Write beside `path` first, so that a crash or a full disk leaves the old file whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); make room or choose a folder that you may write to."
        ) from error
    return path
