"""The cases that a dashboard may open: an allow-list from the launcher, asked for by number only."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sammed3d_nb.errors import UserError
from sammed3d_nb.worklist.listing import Found, found_in

if TYPE_CHECKING:
    from sammed3d_nb.segmenters.segmenter import Engine
    from sammed3d_nb.session.session import Session
    from sammed3d_nb.worklist.worklist import Worklist

PATHS, SAMPLE, OUTPUT = "SAMMED3D_PATHS", "SAMMED3D_SAMPLE", "SAMMED3D_OUTPUT"
LISTED, ANONYMOUS = "SAMMED3D_LISTED", "SAMMED3D_ANONYMOUS"
MODEL, MODELS, RENDERER = "SAMMED3D_MODEL", "SAMMED3D_MODELS", "SAMMED3D_RENDERER"
WORKLIST = "SAMMED3D_WORKLIST"
"""Environment variables by which the launcher tells the dashboard's kernel what to open; see `serve`. The paths are a
JSON list; what was found in them may stand in a file, `LISTED`, so that not every page looks at every slice. What
`WORKLIST` holds are arguments of `worklist.Worklist`, as a JSON object."""


@dataclass(frozen=True)
class Case:
    """One entry of the list.

    Attributes:
        name: What to call it.
        open: From a model and a folder for automatic saves (or None) to a session; what was saved there is resumed.
        take_over: The same where another session has the record open: it is taken from that one.
        details: What tells it from others: modality, description, size and spacing, as far as its header says.
    """

    name: str
    open: "Callable[[Engine, Path | None], Session]"
    take_over: "Callable[[Engine, Path | None], Session] | None" = None
    details: str = ""


def cases_of(paths: Sequence[str | Path], *, sample: str | None = None, anonymous: bool = False) -> list[Case]:
    """The cases of a list of files and folders, as `listing.found_in` finds them; a saved session is resumed.

    Without paths, the sample (``"phantom"`` by default, or ``"ct"``) is the only case.
    What is saved and exported of them leaves out whose they are where `anonymous` is set; see `Session`.
    """
    return [_case(found, anonymous) for found in found_in(paths)] or [_sample_case(sample or "phantom")]


def cases_of_worklist(worklist: "Worklist") -> list[Case]:
    """The cases of a worklist, which says who has one and keeps what they did."""
    return [
        Case(
            found.name,
            partial(_open_listed, worklist, number),
            partial(_open_listed, worklist, number, take_over=True),
            found.details,
        )
        for number, found in enumerate(worklist.cases)
    ]


def cases_from(environ: Mapping[str, str]) -> list[Case]:
    """The cases that the launcher put into the environment."""
    found, anonymous = _found(environ), ANONYMOUS in environ
    return [_case(one, anonymous) for one in found] or [_sample_case(environ.get(SAMPLE) or "phantom")]


def worklist_from(environ: Mapping[str, str]) -> "Worklist | None":
    """The same as a worklist, where there are several cases or the launcher asks for one; None else."""
    found, settings = _found(environ), json.loads(environ.get(WORKLIST, "{}"))
    if not found or (len(found) == 1 and not settings) or OUTPUT not in environ:
        return None
    from sammed3d_nb.worklist.worklist import Worklist

    return Worklist(cases=found, output=environ[OUTPUT], anonymous=ANONYMOUS in environ, **settings)


def _found(environ: Mapping[str, str]) -> list[Found]:
    if LISTED in environ:
        return [Found(**fields) for fields in json.loads(Path(environ[LISTED]).read_text(encoding="utf-8"))]
    return found_in(json.loads(environ.get(PATHS, "[]")))


def as_text(found: Sequence[Found]) -> str:
    """What `cases_from` reads from the file `LISTED`."""
    return json.dumps([asdict(one) for one in found])


def requested(environ: Mapping[str, str], cases: Sequence[object]) -> int:
    """Which case the page's address asks for (``?case=2``); the first one when it does not ask.

    Raises:
        UserError: It asks for something that is no number of a case. Paths are never taken from the address.
    """
    wanted = parse_qs(environ.get("QUERY_STRING", "")).get("case", ["0"])[-1]
    if not (wanted.isdecimal() and wanted.isascii() and int(wanted) < len(cases)):
        raise UserError(
            f"The address asks for case {wanted!r:.40}; expected a number from 0 to {len(cases) - 1}, showing case 0."
        )
    return int(wanted)


def _case(found: Found, anonymous: bool) -> Case:
    path = Path(found.path)

    def opened(model: "Engine", autosaves: Path | None, take_over: bool = False) -> "Session":
        from sammed3d_nb.imaging.volume import Volume
        from sammed3d_nb.worklist.records import open_record, open_volume

        if path.name.endswith(".json"):
            return open_record(path, model, take_over=take_over, anonymous=anonymous)
        series = found.series if path.is_dir() else None
        volume = Volume.read(path, series=series)
        return open_volume(volume, model, autosaves, take_over=take_over, anonymous=anonymous)

    return Case(found.name, opened, partial(opened, take_over=True), found.details)


def _open_listed(
    worklist: "Worklist", number: int, model: "Engine", _autosaves: Path | None, *, take_over: bool = False
) -> "Session":
    return worklist.open(number, model, take_over=take_over)


def _sample_case(name: str) -> Case:
    def sample(model: "Engine", autosaves: Path | None) -> "Session":
        from sammed3d_nb.imaging.sample import open_sample
        from sammed3d_nb.session.session import Session

        return Session(open_sample(name), model)  # a demonstration starts afresh

    return Case({"phantom": "Sample: phantom", "ct": "Sample: CT"}.get(name, name), sample)
