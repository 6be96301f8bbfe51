"""The command ``agree``: how far annotators agree, and what it took them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.commands.arguments import open_recorded
from sammed3d_nb.commands.export import records_in
from sammed3d_nb.commands.launch import check_folder
from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.measure.agreement import Agreement, Work


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    agree = commands.add_parser("agree", help="compare annotators' saved sessions", description=run.__doc__)
    agree.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="saved sessions, or folders of them")
    agree.add_argument("--image", metavar="IMAGE", help="the image of all of them, if it is no longer where it was")
    agree.add_argument("--csv", type=Path, metavar="FILE", help="write every comparison")
    agree.add_argument("--plot", type=Path, metavar="FILE", help="write a Bland–Altman figure (.png, .pdf, .svg)")
    agree.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare saved sessions of the same images, object by object.

    Dice, surface Dice, volumes with their limits of agreement, and each annotator's prompts, edits and minutes.
    """
    from sammed3d_nb.measure import agreement

    for file in (options.csv, options.plot):
        if file is not None:
            check_folder(file.parent)
            if file.is_dir():
                raise UserError(f"{file} is a folder; give the name of a file to write.")
    if options.plot is not None and options.plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"{options.plot.name} ends in no known format for figures; use .png, .pdf or .svg.")
    works, found = _compared(_readings_in(options.records), options.image)
    if not found:
        raise UserError(
            "No two of these records are of the same image; give at least two annotators' records of one case."
        )
    for line in agreement.lines(works, found):
        print(line)
    if options.csv is not None:
        agreement.write_csv(works, found, options.csv)
    if options.plot is not None:
        agreement.write_plot(found, options.plot)
    return 0


def _readings_in(paths: Sequence[Path]) -> list[Path]:
    """The records that are named; of folders with a worklist those that stand for somebody's work, of others all."""
    from sammed3d_nb.worklist.worklist import aside

    found: set[Path] = set()
    for path in paths:
        left = aside(path) if path.is_dir() else set()
        found |= {file for file in records_in([path]) if file not in left}
        if left:
            names = ", ".join(sorted(file.name for file in left))
            print(f"{path}: left out, for the worklist names others of the same people: {names}.", file=sys.stderr)
    return sorted(found)


def _compared(paths: list[Path], image: str | None) -> tuple[list[Work], list[Agreement]]:
    """Case by case, so that one image at a time is in memory."""
    from sammed3d_nb.measure.agreement import compare, readers, work_in
    from sammed3d_nb.session import record

    cases: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    loaded = [(path, record.load(path)) for path in paths]
    whose = readers(loaded)
    for path, fields in loaded:
        cases.setdefault(str(fields["volume"].get("fingerprint")), []).append((path, fields))
    works: list[Work] = []
    found: list[Agreement] = []
    for records in cases.values():
        if len(records) < 2:
            print(f"{records[0][0]} is the only record of its image; it is left out.", file=sys.stderr)
            continue
        volume = open_recorded(records[0][1]["volume"], records[0][0], image)
        here: list[Work] = []
        for path, fields in records:
            new = work_in(path, fields, volume, whose[path])
            if new and any(one.annotator == new[0].annotator for one in here):
                raise UserError(
                    f"{path} is {new[0].annotator}'s second record of {volume.name}; give one of each annotator."
                )
            here += new
        works += here
        found += compare(here, volume.spacing)
    return works, found
