"""The command ``measure``: saved sessions' objects in numbers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sammed3d_nb.commands.arguments import open_recorded
from sammed3d_nb.commands.export import records_in
from sammed3d_nb.commands.launch import check_folder
from sammed3d_nb.errors import UserError


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    measure = commands.add_parser("measure", help="saved sessions' objects in numbers", description=run.__doc__)
    measure.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="saved sessions, or folders of them")
    measure.add_argument("--image", metavar="IMAGE", help="the image of all of them, if it is no longer where it was")
    measure.add_argument("--csv", type=Path, metavar="FILE", help="write there instead of printing")
    measure.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    measure.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Tell volume, intensities, extents, prompts, edits and minutes of every object, as comma-separated values."""
    from sammed3d_nb.session import record
    from sammed3d_nb.session.statistics import csv_text, measured, write_table

    if options.csv is not None:
        check_folder(options.csv.parent)
        if options.csv.is_dir():
            raise UserError(f"{options.csv} is a folder; give the name of a file to write.")
    text = ""
    for path in records_in(options.records):
        fields = record.load(path)
        volume = open_recorded(fields["volume"], path, options.image)
        history = record.history_of(fields, volume, path)
        found = measured(history.state.listed, volume, history.past)
        who = fields.get("annotator")
        annotator = who if isinstance(who, str) else None
        anonymous = bool(fields["options"].get("anonymous"))
        text += csv_text(found, volume.name, annotator, anonymous=anonymous, head=not text)
    if options.csv is None:
        sys.stdout.write(text)
    else:
        print(f"Wrote {write_table(text, options.csv, overwrite=options.overwrite)}.")
    return 0
