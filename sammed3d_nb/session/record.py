"""The record: a session on disk, one JSON file that grows by a line with every step.

Its first line says what it was made on and with; the second holds the objects to begin with; each further line is a
step, or says that one was undone or done again, or that another object was selected. A mask is what the steps changed
of it, as the zlib-compressed bits of a box in array order (z, y, x), each row to whole bytes. Resuming shows the masks
at once; the network is asked again only when something more is said.

A line is added by writing over the file's closing bracket, so that the file is whole JSON between two steps and
whatever was there before is never touched; after a crash in the middle of a line the lines before it count.
"""

import contextlib
import json
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sammed3d_nb import atomic
from sammed3d_nb.errors import RecordError, UserError, VolumeError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.imaging.writers import check_not_source
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session import codec, version1
from sammed3d_nb.session.steps import History
from sammed3d_nb.version import __version__

FORMAT = "sammed3d-nb session"
VERSION = 2
SUFFIX = ".sammed3d.json"
OPTIONS = ("grow", "adapt", "overlap", "anonymous")
END = "\n]}\n"
LARGEST = 2**31
"""Bytes of a record that is opened at most."""
DAMAGE = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError, UserError,
    zlib.error,
)  # fmt: skip
"""What a damaged file can raise where its fields are read."""
_LOADED = re.compile(r"^(load \d+ objects?) of .*$", re.DOTALL)
_File = tuple[str | None, str | None]  # path and SHA-256, None for a network that never was in a file


def text_of(
    history: History, volume: Volume, model: Engine, options: dict[str, bool], annotator: str | None = None
) -> str:
    """The whole record of a session; see `anonymous` for what it leaves out where ``options["anonymous"]`` is set."""
    undone = list(history.future)
    begin = History(history.state, volume.size)
    begin.past, begin.future = list(history.past), []
    while begin.past:
        begin.undo()
    lines = [codec.of_state(begin.state)]
    for step in [*history.past, *reversed(undone)]:
        begin.run(step)
        lines.append(codec.of_step(step, begin.state))
    lines += [{"undo": True}] * len(undone)
    lines.append({"select": history.state.selected})
    bare = options.get("anonymous", False)
    if bare:
        lines = [anonymous(line) for line in lines]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "software": __version__,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "volume": _of_volume(volume, bare),
        "model": of_model(model, anonymous=bare),
        "options": options,
        **({"annotator": annotator} if annotator and not bare else {}),
    }
    return json.dumps(head)[:-1] + ', "steps": [\n' + ",\n".join(map(json.dumps, lines)) + END


def write(path: Path, text: str, *, source: Path | None = None) -> Path:
    """Write a record, whole or not at all; never over the image that it was made on."""
    refuse_source(path, source)
    with atomic.told(path, RecordError):
        return atomic.write_bytes(path, text.encode())


def refuse_source(path: Path, source: Path | None) -> None:
    """Refuse to write a record over the image that it is made on.

    Raises:
        RecordError: `path` is that image, or a slice of it.
    """
    try:
        check_not_source(path, source)
    except VolumeError as error:
        raise RecordError(str(error)) from error


def load(path: Path) -> dict[str, Any]:
    """The fields of a record; its steps are checked by `history_of`.

    Returns:
        ``volume``, ``model``, ``options`` (the known ones), ``version``, the lines ``steps`` (or ``objects`` for
        version 1), and ``size``: bytes of the file if lines can be added to it, else None.

    Raises:
        RecordError: The file is missing or no record that this version reads.
    """
    size = path.stat().st_size if path.is_file() else None
    fields, whole = _parsed(path)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise _no_record(path)
    version = fields.get("version")
    if version not in (1, VERSION):
        raise RecordError(
            f"{path.name} has record version {version!r:.40}, this program reads 1 and {VERSION}; use sammed3d-nb "
            f"{fields.get('software', 'of that time')!s:.20} for it."
        )
    parts = {"volume": dict, "model": dict, "options": dict, **version1.PARTS} if version == 1 else {
        "volume": dict, "model": dict, "options": dict, "steps": list}  # fmt: skip
    wrong = [name for name, kind in parts.items() if not isinstance(fields.get(name), kind)]
    if wrong:
        raise RecordError(f"{path.name} is damaged (no {', '.join(wrong)}); take an older copy of it.")
    if (
        not _told(fields["volume"], "path", "name", "series")
        or not _told_model(fields["model"])
        or not _told(fields, "annotator")
    ):
        raise RecordError(
            f"{path.name} is damaged (its volume, model or annotator is no text); take an older copy of it."
        )
    options = {name: value for name, value in fields["options"].items() if name in OPTIONS}
    if not all(isinstance(value, bool) for value in options.values()):
        raise RecordError(f"{path.name} is damaged (an option is no yes or no); take an older copy of it.")
    return {**fields, "options": options, "size": size if whole and version == VERSION else None}


def history_of(fields: dict[str, Any], volume: Volume, path: Path) -> History:
    """The objects and steps of a record on the volume that it was made on.

    Args:
        fields: What `load` returned.
        volume: The volume.
        path: The record, for the sentence.

    Raises:
        RecordError: It is damaged, or was made on another volume.
    """
    _check_volume(fields, volume, path)
    try:
        if fields["version"] == 1:
            return History(version1.to_state(fields, volume), volume.size)
        lines: Sequence[Any] = fields["steps"]
        history = History(codec.to_state(lines[0], volume), volume.size)
        for line in lines[1:]:
            _run(line, history, volume)
    except DAMAGE as error:
        raise RecordError(f"{path.name} is damaged ({error!r:.200}); take an older copy of it.") from error
    return history


def _run(line: Any, history: History, volume: Volume) -> None:
    """Do what a line of the record says."""
    if "undo" in line:
        history.undo()
    elif "redo" in line:
        history.redo()
    elif "select" in line:
        history.select(codec.need(line, "select", int))
    else:
        history.run(codec.to_step(line, history.state, volume))
        codec.check_step(line, history.state)


def _parsed(path: Path) -> tuple[Any, bool]:
    """The file's JSON, and whether it was whole; of one that breaks off, the lines before."""
    try:
        if not path.exists():
            raise RecordError(f"There is no record {path}; check the path.")
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise _no_record(path)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _no_record(path) from error
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text), True
    lines = text.split("\n")
    for _ in range(5):  # a crash leaves something behind the last whole line, or the end is missing
        if len(lines) <= 2:
            break
        lines.pop()
        whole = "\n".join(lines)
        for ended in (whole, whole.removesuffix(",]}"), whole.removesuffix("]}")):
            with contextlib.suppress(ValueError, RecursionError):
                return json.loads(ended.rstrip(",\n") + END), False
    raise _no_record(path)


def _no_record(path: Path) -> RecordError:
    return RecordError(f"{path.name} is not a saved session; expected the JSON file that “Save” writes.")


# -- what it was made on and with --------------------------------------------------------------------------------------


def anonymous(line: Any) -> Any:
    """A line of a record without what names files: notes, and which file was loaded.

    The first line of such a record leaves out the image's name, path and series, and the model's paths; the image's
    checksum and place remain, by which `Session.resume` knows it.
    """
    if isinstance(line, dict):
        return {
            key: [] if key == "notes" else _LOADED.sub(r"\1", value) if key == "step" else anonymous(value)
            for key, value in line.items()
        }
    return [anonymous(part) for part in line] if isinstance(line, list) else line


def _of_volume(volume: Volume, bare: bool = False) -> dict[str, Any]:
    return {
        "name": None if bare else volume.name,
        "path": None if bare or volume.path is None else str(volume.path.absolute()),
        "series": None if bare else volume.series,
        "geometry": volume.geometry,
        "straighten": volume.slices is not None,
        "remarks": [] if bare else volume.warnings,
        "fingerprint": volume.fingerprint,
        "size": volume.size,
        "spacing": volume.spacing,
        "origin": volume.origin,
        "direction": np.ravel(volume.direction).tolist(),
    }


def of_model(model: Any, *, anonymous: bool = False) -> dict[str, Any]:
    """What a record tells of the model that it was made with; an anonymous one knows it by its checksums."""
    return {
        "name": model.spec.name,
        "architecture": model.spec.architecture,
        "sha256": model.spec.sha256,
        "source": None if anonymous else model.spec.source,
        "files": [{"path": None if anonymous else str(file.path), "sha256": file.sha256} for file in model.files],
        **({"about": told} if (told := _about(model, anonymous)) else {}),
    }


def _about(model: Any, anonymous: bool) -> dict[str, str]:
    about = getattr(model, "about", None) or {}
    return {key: value for key, value in about.items() if not (anonymous and key == "server")}


def reading(made_on: dict[str, Any]) -> dict[str, Any]:
    """How the volume of a record was read: the options of `Volume.read`."""
    geometry = made_on.get("geometry")
    return {
        "series": made_on.get("series"),
        "geometry": geometry if geometry in ("sform", "qform") else None,
        "straighten": made_on.get("straighten") is True,
    }


def _told(part: Any, *names: str) -> bool:
    """Whether these fields are text or not there."""
    return isinstance(part, dict) and all(isinstance(part.get(name) or "", str) for name in names)


def _told_model(part: dict[str, Any]) -> bool:
    files = part.get("files") or []
    named = _told(part, "name", "architecture", "source", "sha256")
    return named and isinstance(files, list) and all(_told(file, "path", "sha256") for file in files)


def _check_volume(fields: dict[str, Any], volume: Volume, path: Path) -> None:
    made_on = fields["volume"]
    if made_on.get("fingerprint") != volume.fingerprint:
        name, size = made_on.get("name") or "an image", made_on.get("size")
        raise RecordError(
            f"{path.name} was made on {name!s:.200} of size {size!s:.60}, but "
            f"{volume.name} of size {volume.size} has other voxels or geometry; open the volume that it was made on."
        )


def files_of(made_with: dict[str, Any]) -> list[_File]:
    """Path and SHA-256 of the files of a record's model, the encoder's first."""
    # without files: a network that never was in one, or a record of the days when a model had but one
    files = made_with.get("files") or [{"path": made_with.get("source"), "sha256": made_with.get("sha256")}]
    return [(file.get("path"), file.get("sha256")) for file in files]


def check_model(made_with: dict[str, Any], model: Any, path: Path) -> None:
    """Refuse another model than the one that a record was made with.

    Raises:
        RecordError: Names both.
    """
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
