"""The command ``export``: saved sessions as files that other programs read, or as a training set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.commands.arguments import add_anonymous, open_recorded
from sammed3d_nb.commands.spread import add_spread, each_of
from sammed3d_nb.errors import UserError
from sammed3d_nb.measure.tasks import Failed

if TYPE_CHECKING:
    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.session.objects import SegmentedObject


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    export = commands.add_parser("export", help="write saved sessions in other formats", description=run.__doc__)
    export.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="saved sessions, or folders of them")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="file, or folder")
    export.add_argument("--as", dest="suffix", metavar="SUFFIX", help="format in a folder: .nii.gz (default), .dcm, …")
    export.add_argument("--each", action="store_true", help="a file for each object")
    export.add_argument("--nnunet", action="store_true", help="make OUT a training set in nnU-Net's layout")
    export.add_argument("--image", metavar="IMAGE", help="the image of one session, if it is no longer where it was")
    export.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_anonymous(export)
    add_spread(export)
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the objects of saved sessions: by suffix as label maps, .seg.nrrd, DICOM SEG or surfaces; no model runs.

    A session that cannot be exported is named and does not stop the others (exit status 1).
    """
    from sammed3d_nb.session import record
    from sammed3d_nb.session.export import SUFFIXES

    found = records_in(options.records)
    if options.image is not None and len(found) > 1:
        raise UserError(f"--image names one image and there are {len(found)} records; export them one by one.")
    if options.nnunet:
        if options.each or options.suffix:
            raise UserError("--nnunet sets layout and format by itself; leave out --each and --as.")
        if options.anonymous:
            raise UserError("A training set holds the images themselves, which --anonymous does not change.")
        return _training_set(found, options)
    suffix = options.suffix or ".nii.gz"
    if suffix not in SUFFIXES:
        raise UserError(f"{suffix} is no known format; use one of {', '.join(SUFFIXES)}.")
    single = options.output.name.lower().endswith(SUFFIXES) and not options.output.is_dir()
    if single and len(found) > 1:
        raise UserError(f"{options.output} is one file and there are {len(found)} records; name a folder.")
    if single and options.suffix and not options.output.name.lower().endswith(suffix):
        raise UserError(f"{options.output.name} does not end in {suffix}; leave out --as, or name a folder.")
    if not single:
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{options.output} is no folder and cannot be made one; choose another name.") from error
    output = options.output.absolute()
    targets = [output if single else output / f"{path.name.removesuffix(record.SUFFIX)}{suffix}" for path in found]
    twice = next((target.name for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise UserError(f"Several of these records would become {twice}; export each folder on its own.")
    tasks = [
        Task(path.absolute(), target, options.image, options.overwrite, options.each, options.anonymous)
        for path, target in zip(found, targets, strict=True)
    ]
    failed = 0
    with each_of(options) as each:
        for task, told in zip(tasks, each(write, tasks), strict=True):
            if isinstance(told, Failed) and len(tasks) == 1:
                raise UserError(str(told))
            if isinstance(told, Failed):
                failed += 1
                print(f"{task.record}: {told}", file=sys.stderr)
            else:
                print(told, flush=True)
    return 1 if failed else 0


@dataclass(frozen=True)
class Task:
    """One record to export, for one machine to do.

    Attributes:
        record: The saved session.
        target: The file to write.
        image: Where its image is, if it is no longer where it was.
        overwrite: Whether a file that is there may be replaced.
        apart: Whether to write a file for each object.
        anonymous: Whether the file is not to tell whose image it is, also where the record does.
    """

    record: Path
    target: Path
    image: str | None
    overwrite: bool
    apart: bool
    anonymous: bool


def write(task: Task) -> str:
    """Export one record; returns the file's path."""
    from sammed3d_nb.imaging.writers import refuse_name
    from sammed3d_nb.session.export import refuse_identifying, write_export

    volume, objects, anonymous = _opened(task.record, task.image)
    if anonymous or task.anonymous:
        refuse_name(task.target, volume.path)
        refuse_identifying(task.target)
    write_export(objects, volume, task.target, overwrite=task.overwrite, each=task.apart)
    return str(task.target)


def _training_set(found: list[Path], options: argparse.Namespace) -> int:
    from sammed3d_nb.session.training_set import TrainingSet

    made = TrainingSet(options.output, overwrite=options.overwrite)
    failed = 0
    for path in found:
        try:
            volume, objects, _ = _opened(path, options.image)
            print(made.add(path, volume, objects), flush=True)
        except UserError as error:
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
    print(made.finish())
    return 1 if failed else 0


def records_in(paths: Sequence[Path]) -> list[Path]:
    """The records that are named, and those below the folders that are; each once."""
    return sorted({file for path in paths for file in _records(path)})


def _records(path: Path) -> Iterator[Path]:
    from sammed3d_nb.session.record import SUFFIX

    if not path.is_dir():
        yield path
        return
    inside = [file for file in path.rglob(f"*{SUFFIX}") if file.is_file()]
    if not inside:
        raise UserError(f"The folder {path} holds no saved session (*{SUFFIX}); save one, or name another folder.")
    yield from inside


def _opened(path: Path, image: str | None) -> tuple[Volume, tuple[SegmentedObject, ...], bool]:
    """The image and the objects of a record, and whether it is to tell nothing of whose image it is."""
    from sammed3d_nb.session import record

    fields = record.load(path)
    volume = open_recorded(fields["volume"], path, image)
    objects = tuple(record.history_of(fields, volume, path).state.listed)
    return volume, objects, bool(fields["options"].get("anonymous"))
