"""The command ``replay``: saved sessions once more, with their own model or another."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.commands.arguments import add_model, add_reading, add_series, open_recorded
from sammed3d_nb.commands.spread import add_spread, each_of
from sammed3d_nb.errors import UserError
from sammed3d_nb.measure.tasks import Failed, ModelSource

if TYPE_CHECKING:
    from sammed3d_nb.session.replay import Replayed

CLOSE = 0.9
"""Dice with the recorded mask from which on a mask counts as there."""


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    replay = commands.add_parser("replay", help="run saved sessions again", description=run.__doc__)
    replay.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="saved sessions (.json)")
    replay.add_argument("--image", metavar="IMAGE", help="the image, if it is no longer where it was")
    add_series(replay, default="the recorded one")
    add_reading(replay)
    add_model(replay)
    replay.add_argument(
        "--other-model", action="store_true", help="take another model too; a table says how many prompts it needs"
    )
    add_spread(replay)
    replay.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Say everything in saved sessions again and tell whether each mask came out the same (exit status 1 if not)."""
    if options.image is not None and len(options.records) > 1:
        raise UserError(
            f"--image names one image and there are {len(options.records)} records; replay them one by one."
        )
    from sammed3d_nb.session.replay import Replayed

    source = ModelSource(options.model, options.decoder, options.device, options.precision, options.api_key_file)
    reading = (options.image, options.series, options.geometry, options.straighten)
    tasks = [Task(path.absolute(), source, options.other_model, *reading) for path in options.records]
    good = True
    with each_of(options) as each:
        for task, found in zip(tasks, each(replayed, tasks), strict=True):
            if isinstance(found, Failed) and len(tasks) == 1:
                raise UserError(str(found))
            if len(tasks) > 1:
                print(task.record)
            if isinstance(found, Failed):
                good = False
                print(found, file=sys.stderr)
            else:
                good = _tell([Replayed.of(fields) for fields in found]) and good
    return 0 if good else 1


@dataclass(frozen=True)
class Task:
    """One record to replay, for one machine to do; the rest as `open_recorded` takes it.

    Attributes:
        record: The saved session.
        source: The model; without a source the recorded one.
        other_model: Whether another model than that may be taken.
    """

    record: Path
    source: ModelSource
    other_model: bool
    image: str | None
    series: str | None
    geometry: str | None
    straighten: bool


def replayed(task: Task) -> list[dict[str, Any]]:
    """Replay one record; returns the fields of `Replayed` for each object."""
    from sammed3d_nb.session import record
    from sammed3d_nb.session.replay import replay

    fields = record.load(task.record)
    volume = open_recorded(
        fields["volume"], task.record, task.image, task.series, geometry=task.geometry, straighten=task.straighten
    )
    source = task.source
    if source.source is None:
        name, decoder = _recorded_model(fields["model"])
        source = replace(source, source=name, decoder=source.decoder or decoder)
    return [asdict(item) for item in replay(task.record, volume=volume, model=source(), other_model=task.other_model)]


def _tell(found: list[Replayed]) -> bool:
    """Print how each object came out; whether all came out the same."""
    for item in found:
        verdict = "the same" if item.same else f"different, Dice {item.dice:.4f}"
        print(f"{item.name}: {verdict}{item.note and f' ({item.note})'}", flush=True)
    if any(item.note for item in found):
        print(*_table(found), sep="\n")
    return all(item.same for item in found)


def _table(found: list[Replayed]) -> list[str]:
    """How many prompts it took each model until the mask was, and stayed, close to the recorded one."""

    def shown(count: int | None) -> str:
        return "never" if count is None else str(count)

    def then(item: Replayed) -> str:
        known = len(item.recorded) == len(item.curve)  # else the record holds the last mask alone
        return shown(item.prompts_to(CLOSE, recorded=True)) if known else "unknown"

    rows = [f"{'':<28}{'prompts':>8}{f'to Dice {CLOSE} then':>20}{'now':>8}{'Dice at the end':>17}"]
    rows += [
        f"{item.name:<28}{len(item.curve):>8}{then(item):>20}{shown(item.prompts_to(CLOSE)):>8}{item.dice:>17.3f}"
        for item in found
        if item.curve
    ]
    return rows


def _recorded_model(made_with: dict[str, Any]) -> tuple[str | None, str | None]:
    """The model and decoder of a record: known ones by their checksum, else the files they were.

    Where one is gone, None: of the first file for the default, which `replay` takes only if it is the same one.

    Raises:
        UserError: It was on a server: a record alone sends no image anywhere.
    """
    from sammed3d_nb.models.hub import KNOWN
    from sammed3d_nb.models.remote import is_address
    from sammed3d_nb.session.record import files_of

    if is_address(made_with.get("source")):
        raise UserError(
            f"It was made with a model at {made_with['source']:.200}; if you trust that server with the image, say so: "
            f"--model {made_with['source']:.200} (and --api-key-file, if it wants a key)."
        )
    names = {known.sha256: name for name, known in KNOWN.items()}
    files = files_of(made_with)
    found = [names.get(sha or "") or (path if path and Path(path).exists() else None) for path, sha in files]
    return found[0], found[1] if len(found) > 1 and found[0] is not None else None
