"""Options of the commands that can spread their work: over processes, machines, or Slurm's jobs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.commands.arguments import number
from sammed3d_nb.commands.launch import check_folder

if TYPE_CHECKING:
    from sammed3d_nb.measure.tasks import Each


def add_spread(command: argparse.ArgumentParser, *, progress: bool = False) -> None:
    """Where the work is done; with `progress`, for results that depend on their task alone, where to keep them."""
    group = command.add_argument_group("many machines")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--local", type=partial(number, "processes", 1), default=0, metavar="N", help="use N processes of this machine"
    )
    where.add_argument("--scheduler", metavar="ADDRESS", help="use the workers of a Dask scheduler")
    where.add_argument("--slurm", type=Path, metavar="FILE", help="use jobs of Slurm, as a YAML file describes them")
    if progress:
        told = "keep results in FILE as they come; the same command goes on there"
        group.add_argument("--progress", type=Path, metavar="FILE", help=told)


@contextmanager
def each_of(options: argparse.Namespace, **made_with: Any) -> Iterator[Each]:
    """What does the work, as the options say.

    Args:
        options: With those of `add_spread`.
        made_with: What results depend on, kept in the file of ``--progress``; see `tasks.remembered`.
    """
    from sammed3d_nb import __version__
    from sammed3d_nb.measure.tasks import remembered, serially

    def kept(each: Each) -> Each:
        if getattr(options, "progress", None) is None:
            return each
        check_folder(options.progress.parent)
        return remembered(each, options.progress, {"software": __version__, **made_with})

    if not (options.local or options.scheduler or options.slurm):
        yield kept(serially)
        return
    from sammed3d_nb.cluster.each import over
    from sammed3d_nb.cluster.workers import workers

    with workers(local=options.local, scheduler=options.scheduler, slurm=options.slurm) as client:
        yield kept(over(client))
