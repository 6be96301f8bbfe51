"""How good a model is at being prompted: simulated users on labelled cases, through the whole product path.

Everything is measured on the volume's own grid after `Session.add`, so cubes, zoom, growing and the way home all count;
`simulation` says how users are simulated.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import dice
from sammed3d_nb.measure.baseline import RegionGrowing
from sammed3d_nb.measure.distances import surface_dice
from sammed3d_nb.measure.labelled import LabelledCase, cases_in
from sammed3d_nb.measure.simulation import anywhere_inside, first_prompt, next_click
from sammed3d_nb.measure.tables import (
    Measurement,
    anywhere_lines,
    curve_line,
    later_clicks,
    summarise,
    table_lines,
    write_csv,
)
from sammed3d_nb.measure.tasks import Each, Failed, serially
from sammed3d_nb.segmenters.prompts import Point, Prompt
from sammed3d_nb.segmenters.segmenter import Engine
from sammed3d_nb.session.session import Session

SMALLEST_ML = 1.0
GROUPS = {  # what a structure's name says of its kind; the first that fits
    "bone": r"vertebra|rib|costa|hip_|femur|sacrum|sternum|scapula|humerus|clavicula|skull|bone|spine",
    "vessel": r"aorta|vena|vein|artery|vessel",
    "muscle": r"glute|autochthon|iliopsoas|muscle|psoas",
    "lesion": r"tumou?r|lesion|cyst|node",
    "hollow": r"stomach|bowel|colon|duodenum|esophagus|bladder|rectum",
    "brain": r"hippocamp|anterior|posterior|cortex|ventricle|thalam|amygdala|cerebell",
}


@dataclass(frozen=True)
class User:
    """A simulated user.

    Attributes:
        clicks: Prompts for each structure.
        first: What the first of them is, see `simulation.FIRST_PROMPTS`; clicks follow.
        seed: Of what chance decides.
        sloppy: Voxels by which each click may miss its place.
    """

    clicks: int = 5
    first: str = "point"
    seed: int = 0
    sloppy: int = 0


class Clicker(Protocol):
    """Anything that answers prompts on one volume: a `Session`, or the baseline."""

    def reset(self) -> None:
        """Forget the prompts so far."""

    def add(self, prompt: Prompt, /) -> Any:
        """Answer a prompt; the result has ``mask`` (z, y, x) and ``distance_mm``."""


def group_of(name: str) -> str:
    """The kind of structure that a name stands for; ``"organ"`` when nothing else fits."""
    return next((group for group, words in GROUPS.items() if re.search(words, name.lower())), "organ")


def simulate(clicker: Clicker, case: LabelledCase, label: int, user: User = User()) -> list[Measurement]:
    """Show one structure, and correct the answers.

    When a mask is already right, the remaining clicks are not made and its figures stand for them.

    Args:
        clicker: A session (or the baseline) on the case's volume.
        case: The case.
        label: The structure.
        user: Who does it.
    """
    rng = np.random.default_rng([user.seed, label])
    truth = case.labels == label
    spacing = case.volume.spacing[::-1]
    name = case.unique_names[label]
    ml = float(truth.sum() * np.prod(case.volume.spacing) / 1000)
    clicker.reset()
    prompt: Prompt = first_prompt(user.first, truth, spacing, rng, user.sloppy)
    found: list[Measurement] = []
    for number in range(1, user.clicks + 1):
        started = perf_counter()
        result = clicker.add(prompt)
        mask = np.asarray(result.mask) > 0
        seconds = perf_counter() - started
        voxel = prompt.ijk if isinstance(prompt, Point) else prompt.region.start
        hit = bool(mask[voxel[::-1]]) if isinstance(prompt, Point) else result.distance_mm == 0
        obeyed = hit == prompt.positive
        found.append(
            Measurement(
                case.name, name, group_of(name), ml, number, prompt.positive, *voxel, dice(mask, truth),
                surface_dice(mask, truth, spacing), obeyed, float(result.distance_mm), seconds,
            )
        )  # fmt: skip
        following = next_click(truth, mask, spacing, rng, user.sloppy)
        if following is None:
            last = asdict(found[-1])
            return found + [Measurement(**last | {"click": n}) for n in range(number + 1, user.clicks + 1)]
        prompt = Point(*following)
    return found


def anywhere(clicker: Clicker, case: LabelledCase, label: int, places: int, seed: int = 0) -> list[float]:
    """Dice after a single click at each of some random places inside one structure; see `anywhere_inside`."""
    truth = case.labels == label
    rng = np.random.default_rng([seed, label])
    scores = []
    for voxel in anywhere_inside(truth, case.volume.spacing[::-1], rng, places):
        clicker.reset()
        scores.append(dice(np.asarray(clicker.add(Point(voxel)).mask) > 0, truth))
    return scores


def structures(case: LabelledCase, smallest_ml: float = SMALLEST_ML) -> list[int]:
    """The labels of a case whose structures are large enough."""
    counts = np.bincount(case.labels.ravel())
    voxel_ml = float(np.prod(case.volume.spacing)) / 1000
    return [int(label) for label in np.flatnonzero(counts[1:] * voxel_ml >= smallest_ml) + 1]


def evaluate(
    case: LabelledCase, clicker: Clicker, user: User = User(), *, smallest_ml: float = SMALLEST_ML
) -> Iterator[list[Measurement]]:
    """Every structure of a case that is large enough, one list of measurements each."""
    for label in structures(case, smallest_ml):
        yield simulate(clicker, case, label, user)


@dataclass(frozen=True)
class Task:
    """One case, or one structure of it, for one machine to do.

    Attributes:
        folder: The case.
        name: What to call it.
        load: Loads the model; None for `baseline.RegionGrowing`.
        user: Who is simulated.
        places: A single click at so many random places inside instead; 0 for `user.clicks` prompts.
        label: The structure; 0 for none.
    """

    folder: Path
    name: str
    load: Callable[[], Engine] | None
    user: User
    places: int = 0
    label: int = 0


def structures_of(task: Task) -> list[tuple[int, str]]:
    """The labels of the case's structures that are large enough, and their names."""
    case = LabelledCase.read(task.folder, task.name)
    return [(label, case.unique_names[label]) for label in structures(case)]


def measure_structure(task: Task) -> list[Any]:
    """`simulate` as rows of `Measurement`, or `anywhere`."""
    case, clicker = _opened(task.folder, task.name, task.load)
    if task.places:
        return anywhere(clicker, case, task.label, task.places, task.user.seed)
    return [asdict(one) for one in simulate(clicker, case, task.label, task.user)]


@lru_cache(maxsize=1)
def _opened(folder: Path, name: str, load: Callable[[], Engine] | None) -> tuple[LabelledCase, Clicker]:
    """The case that this process worked on last; its structures come one after the other."""
    case = LabelledCase.read(folder, name)
    return case, RegionGrowing(case.volume) if load is None else Session(case.volume, load())


def run(
    folders: Sequence[Path],
    *,
    load: Callable[[], Engine] | None,
    user: User = User(),
    places: int = 0,
    csv: Path | None = None,
    each: Each = serially,
) -> Iterator[str]:
    """The ``evaluate`` command: lines of the table, as they come.

    A case that cannot be read, or a structure whose measuring fails, is a line that says so, and an error at the end.

    Args:
        folders: Labelled cases, or folders of such.
        load: Loads the model; None for `baseline.RegionGrowing`, which needs no weights.
        user: Who is simulated.
        places: Instead: a single click at so many random places inside each structure.
        csv: Where to write every measurement.
        each: Who measures the structures.

    Raises:
        UserError: A folder is no labelled case and holds none, region growing was to answer more than clicks, or, at
            the end, something failed.
    """
    if load is None and user.first != "point":
        raise UserError(f"Region growing takes clicks alone, no {user.first}; leave out --prompt or --baseline.")
    cases = [Task(folder, name, load, user, places) for name, folder in cases_in(folders).items()]
    tasks: list[tuple[Task, str]] = []
    failed = 0
    for case, found in zip(cases, each(structures_of, cases), strict=True):
        if isinstance(found, Failed):
            failed += 1
            yield f"{case.name}  {found}"
        elif not found:
            yield f"{case.name}  has no structure of at least {SMALLEST_ML:g} mL"
        else:
            tasks += [(replace(case, label=label), name) for label, name in found]
    measurements: list[Measurement] = []
    scores: dict[tuple[str, str], list[float]] = {}
    for (task, name), found in zip(tasks, each(measure_structure, [task for task, _ in tasks]), strict=True):
        if isinstance(found, Failed):
            failed += 1
            yield f"{task.name}  {name}  {found}"
        elif places:
            scores[task.name, name] = found
            yield from anywhere_lines({(task.name, name): found}, total=False)
        else:
            curve = [Measurement(**row) for row in found]
            measurements += curve
            yield curve_line(curve)
            if csv is not None:
                write_csv(measurements, csv)
    _opened.cache_clear()
    if scores:
        yield from ("", *anywhere_lines(scores, total=True))
    if measurements:
        for by in ("case", "group"):
            yield ""
            yield from table_lines(summarise(measurements, by), by)
        if told := later_clicks(measurements):
            yield from ("", told)
    if failed:
        raise UserError(f"{failed} of these could not be measured; the lines above say why.")
